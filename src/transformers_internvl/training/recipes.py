# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The recipes of `recipes.py`, one row for all sizes that share their numbers. A new recipe is a new row.

Where a shell leaves the tile limit to its default, it is 12. Stochastic depth is set as the shells set it, also where
the tower is frozen: there it still acts on the tower's branches.

How each model was trained: a table, and what it takes to run one of its rows.

    recipe = get_recipe("internvl2.5-8b-lora", learning_rate=2e-5)
    model = recipe.apply(model)                       # what trains, stochastic depth, loss weights, adapters
    Trainer(model, recipe.to_training_arguments("out", per_device_train_batch_size=4), ...)

The numbers are those of the original shells (`internvl_chat/shell`, `internvl_chat_gpt_oss/shell`,
`internvl_chat_llava/scripts_internvl`, `internvl_g/shell`), which agree with the papers' tables; of stages without
shells, the papers' (arXiv:2312.14238, tables 20 and 21).
"""

import dataclasses
import difflib
import os
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel, TrainingArguments

from ..modeling.vision.model import InternVLVisionModel, drop_path_rates
from .adapted import go_on_with_adapter, has_adapters, keep_exact, merged
from .lora import lora_config
from .parameters import set_trainable

PROJECTOR = ("projector",)
TOWER = ("vision", "projector")
LLM = ("projector", "language", "head")  # the tower is frozen
ALL = ("vision", "projector", "language", "head")
MONO = (*ALL, "visual_experts")
ADAPTERS: tuple[str, ...] = ()

_PACKED = {"packed_tokens": 16384, "packed_tiles": 48, "loss_reduction": "square"}
_PACKED_LONG = {"packed_tokens": 32768, "packed_tiles": 96, "loss_reduction": "square"}
_MPO = {"objective": "mpo"}
_GSPO = {"objective": "gspo", "scheduler": "constant"}
_LORA = {"lora_rank": 16}
_COCO = {"lora_rank": 128}
_SINGLE = {"image_size": 336}
_RETRIEVAL = {
    "objective": "retrieval",
    "image_size": 364,
    "layer_decay": {"vision": 0.9, "text": 0.9, "bridge": 0.9, "temperature": 0.9},
}
_SIZES = "1b 2b 4b 8b 14b 30b 38b 241b"
_DUAL = ("vision", "text", "bridge", "temperature", "head")


def _steps(number: int) -> dict[str, int]:
    return {"max_steps": number}


# Objective of online reinforcement -> what the ratio to the sampling policy is of.
REINFORCED = {"gspo": "sequence", "grpo": "token"}

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

    # Mono-InternVL (arXiv:2410.08202): S2, the only stage with a shell.
    ("mono-internvl", "2b", "finetune", MONO, 4e-5, .01, .03, .1, 2048, 6, 128, {}),

    # InternVL 2.5 (arXiv:2412.05271, table 3). 100000 steps are the maximum: original runs were stopped by hand.
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
    # Online reinforcement after MPO (shells of verl-internvl): 32 or 64 questions a step, 16 answers to each. Of the
    # frozen tower no path is dropped: ratios of answers would be noise.
    ("internvl3.5", "1b 2b 4b 8b 14b 30b 38b", "gspo", LLM, 1e-6, .01, 0., 0., 8192, 12, 512, _GSPO),
    ("internvl3.5", "241b", "gspo", LLM, 8e-7, .01, 0., 0., 8192, 12, 1024,
     {**_GSPO, "steps_per_rollout": 8, "max_grad_norm": .5, "epochs": 2}),
    # ViCO, both stages of InternVL3.5-Flash. No number of it is published: these are this package's.
    ("internvl3.5", _SIZES, "vico", (*ALL, "compressed"), 1e-5, .05, .03, 0., 16384, 12, 128, {"objective": "vico"}),
    ("internvl3.5", _SIZES, "vico-router", ("router",), 1e-4, 0., .03, 0., 16384, 12, 128,
     {"objective": "vico-router"}),
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


# Part that a recipe with adapters may train whole beside them -> its module, which peft saves with them.
WHOLE_BESIDE_ADAPTERS = {"projector": "multi_modal_projector", "vision": "vision_tower"}


@dataclass(frozen=True)
class Recipe:
    """One stage of training.

    Attributes:
        name: series, size and stage, as `get_recipe` knows it.
        trains: the parts that train (`freezing.PARTS`); with `lora_rank`, those that train whole beside the adapters
            of the language model: none, `"projector"`, `"vision"`, or both.
        learning_rate, weight_decay, warmup: of AdamW; `warmup` is a number of steps, or below 1 a fraction of them.
        drop_path: stochastic depth of the tower's last block.
        patch_dropout: share of the patches that the tower does not see in training.
        max_length: tokens of one sample.
        max_tiles: tiles of one image, without the thumbnail, where a data set does not say otherwise.
        batch_size: samples in an optimizer step, over all ranks and accumulation steps; packed sequences, if packed.
        epochs, max_steps: how long; `max_steps` wins where it is given.
        packed_tokens, packed_tiles: limits of a packed sequence; None: not packed.
        loss_reduction: weight of a token in its sample, see `modeling.losses`.
        lora_rank: rank of the language model's adapters; None: no adapters.
        objective: `"sft"`, `"prm"` (judgements of the steps of solutions), `"mpo"`, `"gspo"` and `"grpo"` (online
            reinforcement), `"vico"` and `"vico-router"` (the stages of InternVL3.5-Flash), `"contrastive"`,
            `"generative"` (contrast, matching, caption) or `"retrieval"`.
        image_size: side of a tile in pixels.
        scheduler: learning rate schedule, as transformers names it.
        adam_betas: of AdamW.
        part_learning_rates: learning rates of parts that differ from `learning_rate`.
        layer_decay: part -> factor by which learning rates fall per block, towards the input.
        max_grad_norm: to which gradients are clipped.
        num_generations, max_completion_length: of online reinforcement: answers to a question, which `batch_size`
            counts, and the tokens of one.
        steps_per_rollout: the same: optimizer steps on answers that were sampled at once.
    """

    name: str
    trains: tuple[str, ...]
    learning_rate: float
    weight_decay: float
    warmup: float
    drop_path: float
    max_length: int
    max_tiles: int
    batch_size: int
    epochs: int = 1
    max_steps: int | None = None
    packed_tokens: int | None = None
    packed_tiles: int | None = None
    loss_reduction: str = "token"
    lora_rank: int | None = None
    objective: str = "sft"
    image_size: int = 448
    patch_dropout: float = 0.0
    scheduler: str = "cosine"
    adam_betas: tuple[float, float] = (0.9, 0.999)
    part_learning_rates: dict[str, float] = field(default_factory=dict)
    layer_decay: dict[str, float] = field(default_factory=dict)
    max_grad_norm: float = 1.0
    num_generations: int = 16
    max_completion_length: int = 32768
    steps_per_rollout: int = 16

    def __post_init__(self) -> None:
        if (self.packed_tokens is None) != (self.packed_tiles is None):
            raise ValueError(
                f"Packing has two limits: give both of `packed_tokens` ({self.packed_tokens}) and `packed_tiles` "
                f"({self.packed_tiles}), or neither."
            )
        if self.lora_rank is not None and self.lora_rank < 1:
            raise ValueError(f"`lora_rank` is at least 1, or None for no adapters; got {self.lora_rank}.")
        if self.lora_rank is None and not self.trains:
            raise ValueError("Nothing would train: name parts in `trains`, or set `lora_rank` for adapters.")
        beside = [part for part in self.trains if part not in WHOLE_BESIDE_ADAPTERS]
        if self.lora_rank is not None and beside:
            raise ValueError(
                f"With `lora_rank`, the language model trains by its adapters, and beside them only "
                f"{' and '.join(WHOLE_BESIDE_ADAPTERS)} can train whole; `trains` names {', '.join(beside)}."
            )

    def apply(self, model: PreTrainedModel) -> Any:
        """Make a model ready to be trained by this recipe, in place.

        Sets what trains, stochastic depth of the tower and the weighting of the loss; a recipe with `lora_rank` wraps
        the model in adapters, or trains the adapter of a `PeftModel` further. Into a `PeftModel` that a recipe
        without `lora_rank` trains, the adapter is merged first. Activation checkpointing is a matter of the training
        arguments.

        Returns:
            The model; with adapters, the `PeftModel` around it. Train this one, not what was given.

        Raises:
            ValueError: the model lacks a part that the recipe trains; it carries an adapter of another rank, or one
                that peft did not wrap around it.
        """
        whole = [WHOLE_BESIDE_ADAPTERS[part] for part in self.trains] if self.lora_rank is not None else []
        if has_adapters(model):
            model = merged(model) if self.lora_rank is None else go_on_with_adapter(model, self.lora_rank, whole)
        set_drop_path(model, self.drop_path)
        for module in model.modules():
            if isinstance(module, InternVLVisionModel):
                module.config.patch_dropout = self.patch_dropout
        if hasattr(model.config, "loss_reduction"):
            model.config.loss_reduction = self.loss_reduction
        if self.lora_rank is None:
            set_trainable(model, self.trains)
        elif not has_adapters(model):
            from peft import get_peft_model

            model = get_peft_model(model, lora_config("llm", model, r=self.lora_rank, modules_to_save=whole or None))
            keep_exact(model)
        return model

    def to_training_arguments(
        self, output_dir: str | os.PathLike, ranks: int | None = None, **overrides: Any
    ) -> TrainingArguments:
        """The recipe as transformers' arguments.

        Accumulation steps follow from the recipe's batch, `per_device_train_batch_size` (1) and the number of ranks
        (`WORLD_SIZE` of torchrun), unless given.

        Args:
            output_dir: where checkpoints go.
            ranks: how many ranks read other data than each other; None: all.
            **overrides: any field of `TrainingArguments`, or of TRL's `GRPOConfig` for online reinforcement.

        Raises:
            ValueError: ranks and batch per device do not divide the recipe's batch.
            ImportError: the recipe is one of online reinforcement, and TRL is not installed.
        """
        kind: type[TrainingArguments] = rollout_config() if self.objective in REINFORCED else TrainingArguments
        return kind(output_dir=str(output_dir), **self.argument_values(ranks, **overrides))

    def argument_values(self, ranks: int | None = None, **overrides: Any) -> dict[str, Any]:
        """The fields that `to_training_arguments` passes on, for so many ranks (None: `WORLD_SIZE` of torchrun)."""
        ranks = int(os.environ.get("WORLD_SIZE", "1")) if ranks is None else ranks
        device_batch = overrides.setdefault("per_device_train_batch_size", 1)
        if "gradient_accumulation_steps" not in overrides:
            if self.batch_size % (ranks * device_batch):
                raise ValueError(
                    f"The batch of {self.name} is {self.batch_size}, which {ranks} rank(s) with "
                    f"per_device_train_batch_size={device_batch} cannot make up exactly. Change either, override "
                    "`batch_size` of the recipe, or say `gradient_accumulation_steps`."
                )
            overrides["gradient_accumulation_steps"] = self.batch_size // (ranks * device_batch)
        values: dict[str, Any] = {
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "warmup_steps": self.warmup,
            "lr_scheduler_type": self.scheduler,
            "adam_beta1": self.adam_betas[0],
            "adam_beta2": self.adam_betas[1],
            "num_train_epochs": self.epochs,
            "max_steps": -1 if self.max_steps is None else self.max_steps,
            "max_grad_norm": self.max_grad_norm,
            "bf16": True,
            "activation_checkpointing": overrides.pop("gradient_checkpointing", True),
            "logging_steps": 1,
            "remove_unused_columns": False,
        }
        if self.objective in REINFORCED:
            values |= self._rollout_values(overrides)
        return {**values, **overrides}

    def _rollout_values(self, overrides: dict[str, Any]) -> dict[str, Any]:
        """The fields of TRL's `GRPOConfig` beside those of `TrainingArguments`: no KL, no entropy, clipped at 0.2."""
        steps = self.steps_per_rollout * overrides["gradient_accumulation_steps"]
        return {
            "num_generations": self.num_generations,
            "num_generations_eval": 1,
            "max_completion_length": self.max_completion_length,
            "steps_per_generation": None if "generation_batch_size" in overrides else steps,
            "temperature": 1.0,
            "importance_sampling_level": REINFORCED[self.objective],
            "loss_type": "grpo",
            "scale_rewards": "group",
            "epsilon": 0.2,
            "beta": 0.0,
        }


def rollout_config() -> Any:
    """TRL's `GRPOConfig`.

    Raises:
        ImportError: TRL is not installed.
    """
    try:
        from trl import GRPOConfig
    except ImportError as error:
        raise ImportError("Online reinforcement runs on TRL: pip install trl (extra `reinforcement`).") from error
    return GRPOConfig


def set_drop_path(model: PreTrainedModel, rate: float) -> None:
    """Set stochastic depth of every InternViT within a model: 0 at the first block, `rate` at the last.

    Raises:
        ValueError: the rate is no probability below 1, or there is no tower.
    """
    towers = [module for module in model.modules() if isinstance(module, InternVLVisionModel)]
    if not towers:
        raise ValueError(f"{type(model).__name__} has no InternViT whose blocks could be dropped.")
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"`drop_path` is a probability in [0, 1), got {rate}.")
    for tower in towers:
        tower.config.drop_path_rate = rate
        for layer, probability in zip(tower.encoder.layer, drop_path_rates(tower.config), strict=True):
            layer.drop_path.probability = probability


def recipe_names() -> list[str]:
    """The names of all recipes, in the order of the table."""
    return list(_RECIPES)


def get_recipe(name: str, **overrides: Any) -> Recipe:
    """A row of the table.

    Args:
        name: series, size, stage: `"internvl2.5-8b-stage2"`. `recipe_names()` lists them.
        **overrides: fields of [`Recipe`] that differ from the row. With a `lora_rank` where the row has none, nothing
            trains beside the adapters unless `trains` is given, too.

    Raises:
        ValueError: no such recipe, or no such field.
    """
    if name not in _RECIPES:
        near = difflib.get_close_matches(name, _RECIPES, n=4, cutoff=0.5)
        hint = f"Did you mean {', '.join(near)}?" if near else f"There are {len(_RECIPES)}, see recipe_names()."
        raise ValueError(f"There is no recipe {name!r}. {hint}")
    fields = [entry.name for entry in dataclasses.fields(Recipe)]
    unknown = sorted(set(overrides) - set(fields))
    if unknown:
        raise ValueError(f"A recipe has no field {', '.join(map(repr, unknown))}. It has: {', '.join(fields)}.")
    row = _RECIPES[name]
    if row.lora_rank is None and overrides.get("lora_rank") is not None:
        overrides = {"trains": (), **overrides}
    return dataclasses.replace(row, **overrides)


_RECIPES = {row["name"]: Recipe(**row) for row in ROWS}


__all__ = ["REINFORCED", "ROWS", "Recipe", "get_recipe", "recipe_names", "rollout_config", "set_drop_path"]
