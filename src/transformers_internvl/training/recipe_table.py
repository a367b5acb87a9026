# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The recipes of `recipes.py`, one row for all sizes that share their numbers. A new recipe is a new row.

Where a shell leaves the tile limit to its default, it is 12. Stochastic depth is set as the shells set it, also where
the tower is frozen: there it still acts on the tower's branches.
"""

from typing import Any

PROJECTOR = ("projector",)
TOWER = ("vision", "projector")
LLM = ("projector", "language", "head")  # the tower is frozen
ALL = ("vision", "projector", "language", "head")
ADAPTERS: tuple[str, ...] = ()

_PACKED = {"packed_tokens": 16384, "packed_tiles": 48, "loss_reduction": "square"}
_PACKED_LONG = {"packed_tokens": 32768, "packed_tiles": 96, "loss_reduction": "square"}
_MPO = {"objective": "mpo"}
_LORA = {"lora_rank": 16}
_COCO = {"lora_rank": 128}
_SINGLE = {"image_size": 336}
_RETRIEVAL = {
    "objective": "retrieval",
    "image_size": 364,
    "layer_decay": {"vision": 0.9, "text": 0.9, "bridge": 0.9, "temperature": 0.9},
}
_DUAL = ("vision", "text", "bridge", "temperature", "head")


def _steps(number: int) -> dict[str, int]:
    return {"max_steps": number}


# fmt: off
# series, sizes, stage, trains, learning rate, weight decay, warm-up, drop path, tokens, tiles, batch, what else
_TABLE: list[tuple[str, str, str, tuple[str, ...], float, float, float, float, int, int, int, dict[str, Any]]] = [
    # InternVL 1. The paper writes 164K and 20K: 256 and 128 for each of 640 and 160 GPUs.
    ("internvl", "14b", "contrastive", ("vision", "text", "temperature"), 1e-3, .1, 5000, .2, 80, 1, 163840,
     {"objective": "contrastive", "image_size": 196, "patch_dropout": .5, "adam_betas": (.9, .95),
      "part_learning_rates": {"text": 1e-4}, "max_steps": 175000}),
    ("internvl", "14b", "generative", ("bridge", "temperature"), 5e-5, .05, 2000, 0., 80, 1, 20480,
     {"objective": "generative", "image_size": 224, "adam_betas": (.9, .98), "max_steps": 80000}),
    ("internvl", "14b", "retrieval-flickr", _DUAL, 1e-6, .05, 100, .3, 80, 1, 1024, {**_RETRIEVAL, "epochs": 10}),
    ("internvl", "14b", "retrieval-coco", _DUAL, 1e-6, .05, 100, .3, 80, 1, 1024, {**_RETRIEVAL, "epochs": 5}),
    ("internvl-chat", "7b 13b", "pretrain", PROJECTOR, 1e-3, 0., .03, 0., 2048, 1, 256, _SINGLE),
    ("internvl-chat", "7b 13b", "finetune", LLM, 2e-5, 0., .03, 0., 2048, 1, 128, _SINGLE),
    ("internvl-chat", "13b", "custom", LLM, 2e-5, 0., .03, 0., 2048, 1, 512, _SINGLE),

    ("internvl1.2", "40b", "finetune", ALL, 1e-5, .05, .03, .4, 2048, 1, 512, {}),
    ("internvl1.2", "40b", "full", LLM, 1e-5, .05, .03, 0., 2048, 1, 128, {}),
    ("internvl1.2", "40b", "lora", ADAPTERS, 1e-5, .05, .03, 0., 2048, 1, 16, _LORA),

    ("internvl1.5", "2b", "pretrain", TOWER, 2e-5, .01, 100, .1, 4096, 12, 2048, {}),
    ("internvl1.5", "4b", "pretrain", PROJECTOR, 2e-4, .05, 100, 0., 4096, 12, 2048, {}),
    ("internvl1.5", "26b", "pretrain", TOWER, 1e-5, .05, 100, .2, 4096, 12, 2048, {}),
    ("internvl1.5", "40b", "pretrain", PROJECTOR, 1e-4, .05, 100, 0., 4096, 12, 2048, {}),
    ("internvl1.5", "2b", "finetune", ALL, 4e-5, .01, .03, .1, 8192, 12, 1024, {}),
    ("internvl1.5", "4b", "finetune", ALL, 4e-5, .05, .03, .1, 8192, 12, 1024, {}),
    ("internvl1.5", "26b 40b", "finetune", ALL, 2e-5, .05, .03, .4, 4096, 12, 1024, {}),
    ("internvl1.5", "2b", "full", LLM, 4e-5, .01, .03, .1, 4096, 12, 128, {}),
    ("internvl1.5", "4b", "full", LLM, 4e-5, .05, .03, .1, 4096, 12, 128, {}),
    ("internvl1.5", "26b", "full", LLM, 2e-5, .05, .03, .4, 4096, 12, 128, {}),
    ("internvl1.5", "2b", "lora", ADAPTERS, 4e-5, .01, .03, 0., 4096, 12, 16, _LORA),
    ("internvl1.5", "4b", "lora", ADAPTERS, 4e-5, .05, .03, 0., 4096, 12, 16, _LORA),
    ("internvl1.5", "26b", "lora", ADAPTERS, 2e-5, .05, .03, 0., 4096, 12, 16, _LORA),

    ("internvl2", "1b 2b 4b", "full", LLM, 4e-5, .01, .03, .1, 4096, 6, 128, {}),
    ("internvl2", "8b", "full", LLM, 4e-5, .05, .03, .1, 4096, 6, 128, {}),
    ("internvl2", "26b 40b 76b", "full", LLM, 2e-5, .05, .03, .4, 4096, 6, 128, {}),
    ("internvl2", "1b 2b 4b", "lora", ADAPTERS, 4e-5, .01, .03, 0., 4096, 6, 16, _LORA),
    ("internvl2", "8b", "lora", ADAPTERS, 4e-5, .05, .03, 0., 4096, 6, 16, _LORA),
    ("internvl2", "26b 40b 76b", "lora", ADAPTERS, 2e-5, .05, .03, 0., 4096, 6, 16, _LORA),
    ("internvl2", "2b", "lora-coco", ADAPTERS, 4e-5, .01, .03, 0., 4096, 6, 512, _COCO),
    ("internvl2", "8b", "mpo", ALL, 5e-6, .05, .03, .1, 6144, 12, 256, _MPO),
    # Domain adaptation (arXiv:2410.16261). The steps of the shells win over their epochs (2; 4B: 1).
    ("mini-internvl", "1b 2b 4b", "bdd", ALL, 1e-5, .01, .03, .1, 8192, 12, 64, {**_PACKED, **_steps(240)}),
    ("mini-internvl", "1b 2b 4b", "drivelm", ALL, 1e-5, .01, .03, .1, 8192, 12, 8, {**_PACKED, **_steps(15100)}),
    ("mini-internvl", "1b 2b 4b", "medical", ALL, 1e-5, .01, .03, .1, 8192, 12, 64, {**_PACKED, **_steps(2200)}),
    ("mini-internvl", "1b 2b 4b", "remote", ALL, 1e-5, .01, .03, .1, 8192, 12, 64, {**_PACKED, **_steps(2500)}),

    # InternVL 2.5 (arXiv:2412.05271, table 3). 100000 steps are the shells' upper bound, the authors stopped by hand.
    ("internvl2.5", "1b 2b 4b", "stage1", PROJECTOR, 2e-4, .01, 100, 0., 16384, 12, 512,
     {**_PACKED, **_steps(100000)}),
    ("internvl2.5", "8b 26b 38b 78b", "stage1", PROJECTOR, 2e-4, .05, 100, 0., 16384, 12, 512,
     {**_PACKED, **_steps(100000)}),
    ("internvl2.5", "8b", "stage1.5", TOWER, 1e-5, .05, 100, .1, 16384, 12, 1024, {**_PACKED, **_steps(100000)}),
    ("internvl2.5", "26b", "stage1.5", TOWER, 1e-5, .05, 100, .4, 16384, 12, 1024, {**_PACKED, **_steps(100000)}),
    ("internvl2.5", "1b 2b", "stage2", ALL, 4e-5, .01, .03, .1, 16384, 12, 512, {**_PACKED, **_steps(22000)}),
    ("internvl2.5", "4b", "stage2", ALL, 4e-5, .01, .03, .1, 16384, 12, 512, {**_PACKED, **_steps(11000)}),
    ("internvl2.5", "8b", "stage2", ALL, 4e-5, .05, .03, .1, 16384, 12, 512, {**_PACKED, **_steps(5500)}),
    ("internvl2.5", "26b 38b 78b", "stage2", ALL, 2e-5, .05, .03, .4, 16384, 12, 512, {**_PACKED, **_steps(5500)}),
    ("internvl2.5", "1b 2b 4b", "full", LLM, 4e-5, .01, .03, .1, 8192, 6, 128, {}),
    ("internvl2.5", "8b", "full", LLM, 4e-5, .05, .03, .1, 8192, 6, 128, {}),
    ("internvl2.5", "26b 38b 78b", "full", LLM, 2e-5, .05, .03, .4, 8192, 6, 128, {}),
    ("internvl2.5", "1b 2b 4b", "lora", ADAPTERS, 4e-5, .01, .03, 0., 8192, 6, 16, _LORA),
    ("internvl2.5", "8b", "lora", ADAPTERS, 4e-5, .05, .03, 0., 8192, 6, 16, _LORA),
    ("internvl2.5", "26b 38b 78b", "lora", ADAPTERS, 2e-5, .05, .03, 0., 8192, 6, 16, _LORA),
    ("internvl2.5", "2b", "lora-coco", ADAPTERS, 4e-5, .01, .03, 0., 8192, 6, 512, _COCO),
    ("internvl2.5", "1b 2b 4b 8b", "mpo", ALL, 1e-6, .05, .03, .1, 8192, 12, 256, _MPO),
    ("internvl2.5", "26b", "mpo", ALL, 1e-6, .05, .03, .4, 8192, 12, 256, _MPO),
    ("internvl2.5", "38b 78b", "mpo", ALL, 1e-6, .05, .03, .4, 8192, 12, 512, _MPO),

    ("internvl3", "1b", "full", LLM, 1e-5, .05, .03, 0., 16384, 12, 128, {}),
    ("internvl3", "2b 8b 9b", "full", LLM, 2e-5, .05, .03, 0., 16384, 12, 128, {}),
    ("internvl3", "14b", "full", LLM, 2e-5, .05, .03, .1, 16384, 12, 128, {}),
    ("internvl3", "38b", "full", LLM, 2e-5, .05, .03, .2, 16384, 12, 128, {}),
    ("internvl3", "78b", "full", LLM, 2e-5, .05, .03, .4, 16384, 12, 128, {}),
    ("internvl3", "1b 2b 8b 9b 14b", "mpo", ALL, 2e-7, .05, .03, .1, 12288, 12, 256, _MPO),
    ("internvl3", "38b 78b", "mpo", ALL, 2e-7, .05, .03, .4, 8192, 12, 512, _MPO),

    ("internvl3.5", "gpt-oss-20b", "stage0", PROJECTOR, 1e-3, .05, .01, .1, 16384, 12, 256,
     {**_PACKED_LONG, **_steps(5000)}),
    ("internvl3.5", "gpt-oss-20b", "stage1", ALL, 2e-5, .05, .03, .1, 32768, 12, 512,
     {**_PACKED_LONG, **_steps(15000)}),
    ("internvl3.5", "1b 2b 4b", "sft", ALL, 8e-5, .05, .03, 0., 32768, 12, 512, {**_PACKED_LONG, **_steps(8000)}),
    ("internvl3.5", "8b 14b 30b gpt-oss-20b", "sft", ALL, 8e-5, .05, .03, .1, 32768, 12, 512,
     {**_PACKED_LONG, **_steps(8000)}),
    ("internvl3.5", "38b", "sft", ALL, 8e-5, .05, .03, .4, 32768, 12, 512, {**_PACKED_LONG, **_steps(8000)}),
    ("internvl3.5", "241b", "sft", ALL, 2e-5, .05, .03, .4, 32768, 12, 512, {**_PACKED_LONG, **_steps(8000)}),
    ("internvl3.5", "1b 2b 4b", "mpo", ALL, 2e-7, .05, .03, 0., 16384, 12, 256, _MPO),
    ("internvl3.5", "8b 14b 30b gpt-oss-20b", "mpo", ALL, 2e-7, .05, .03, .1, 16384, 12, 256, _MPO),
    ("internvl3.5", "38b 241b", "mpo", ALL, 2e-7, .05, .03, .4, 16384, 12, 256, _MPO),
]
# fmt: on

_COLUMNS = (
    "trains",
    "learning_rate",
    "weight_decay",
    "warmup",
    "drop_path",
    "max_length",
    "max_tiles",
    "batch_size",
)

ROWS: list[dict[str, Any]] = [
    {"name": f"{series}-{size}-{stage}", **dict(zip(_COLUMNS, row, strict=True)), **more}
    for series, sizes, stage, *row, more in _TABLE
    for size in sizes.split()
]

__all__ = ["ROWS"]
