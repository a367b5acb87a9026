# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints that the original scripts saved with `use_llm_lora` or `use_backbone_lora`: adapters in between.

Their model wraps its language model or tower with peft when it is built, and saves the weights under these names:

    language_model.base_model.model.model.layers.0.attention.wqkv.base_layer.weight        W
    language_model.base_model.model.model.layers.0.attention.wqkv.lora_A.default.weight    A, (r, in)
    language_model.base_model.model.model.layers.0.attention.wqkv.lora_B.default.weight    B, (out, r)

(early releases of peft leave `base_layer.` out). Such a checkpoint becomes a plain one, with `W + 2 * B @ A` for
weights: the original alpha is twice the rank. Or it is taken apart, into the plain checkpoint that the training set
out from, and a peft adapter. All of it file by file, whatever the language model.

Source: `wrap_llm_lora`, `wrap_backbone_lora` of `modeling_internvl_chat.py`, `tools/merge_lora.py` (original code).
"""

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from transformers import AutoConfig

from ..files.copies import copy_auxiliary_files
from ..files.folders import CONFIG, atomic_folder, local_folder, read_json, write_json
from ..files.weight_streams import Entry, Span, WeightStream, as_bytes
from ..files.writing import Shard, write_weights
from .adapters import Adapter, to_canonical

SCALE = 2.0  # alpha / r, with the original alpha = 2 * r
DROPOUT = 0.05

_WRAPPED = re.compile(r"^(language_model|vision_model)\.base_model\.model\.")
_LORA = re.compile(r"\.lora_([AB])\.default\.weight$")
_FLAGS = ("use_llm_lora", "use_backbone_lora")


def merge_legacy(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Write a plain checkpoint with the adapters merged: `W + 2 * B @ A`, computed in float32 and rounded once.

    Args:
        source: folder or Hub id of the original checkpoint with adapters in it.
        target: a new folder. All other tensors, fields and files are the source's.

    Raises:
        ValueError: there are no adapters, or they are incomplete.
        FileExistsError: something is at `target`.
    """
    source = local_folder(source)
    weights, adapters = _open(source)
    with atomic_folder(target) as folder:
        _write_plain(source, folder, weights, adapters, merge=True)


def extract_legacy(source: str | os.PathLike, target: str | os.PathLike, adapter_target: str | os.PathLike) -> None:
    """Take a checkpoint with adapters apart: the plain one without them, and a peft adapter for our classes.

    Args:
        source: folder or Hub id of the original checkpoint with adapters in it.
        target: a new folder for the plain checkpoint.
        adapter_target: a new folder for the adapter, which fits the plain checkpoint when that is loaded by this
            package, and what is converted from it.

    Raises:
        ValueError: there are no adapters, or they are incomplete.
        FileExistsError: something is at one of the targets.
    """
    source = local_folder(source)
    weights, adapters = _open(source)
    config = AutoConfig.from_pretrained(source)
    adapter = to_canonical(_as_peft(weights, adapters), config)
    adapter.config.base_model_name_or_path = os.fspath(target)
    with atomic_folder(adapter_target) as folder:
        adapter.save_pretrained(folder)
        with atomic_folder(target) as plain:
            _write_plain(source, plain, weights, adapters, merge=False)


def _open(folder: Path) -> tuple[WeightStream, dict[str, dict[str, str]]]:
    """The weights, and of every adapted module, by its plain name, the names of A and B."""
    weights = WeightStream(folder)
    adapters: dict[str, dict[str, str]] = {}
    for name in weights.entries:
        if kind := _LORA.search(name):
            adapters.setdefault(plain_name(name[: kind.start()]), {})[kind[1]] = name
    if not adapters:
        raise ValueError(f"{folder} holds no weights of adapters: nothing to merge or to take out.")
    bases = {plain_name(name) for name in weights.entries}
    for module, names in adapters.items():
        if len(names) != 2 or f"{module}.weight" not in bases:
            raise ValueError(f"{folder} is incomplete: {module} needs its weight, lora_A and lora_B.")
    return weights, adapters


def plain_name(name: str) -> str:
    """The name that a weight has in a checkpoint without adapters."""
    return _WRAPPED.sub(r"\1.", name).replace(".base_layer.", ".")


def _write_plain(
    source: Path, folder: Path, weights: WeightStream, adapters: dict[str, dict[str, str]], merge: bool
) -> None:
    """The checkpoint without adapters, one file at a time."""
    copy_auxiliary_files(source, folder)
    config = read_json(folder / CONFIG)
    write_json(folder / CONFIG, {**config, **{flag: 0 for flag in _FLAGS if flag in config}})
    shards: dict[Path, dict[str, Entry]] = {}
    for name, entry in weights.entries.items():
        if not _LORA.search(name):
            shards.setdefault(entry.file, {})[plain_name(name)] = entry
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    files = {
        name: Shard(
            [(key, entry.on_meta()) for key, entry in entries.items()],
            partial(_contents, weights, entries, adapters, merge),
        )
        for name, entries in zip(names if len(names) > 1 else ["model.safetensors"], shards.values(), strict=True)
    }
    write_weights(folder, files, progress=len(files) > 1)


def _contents(
    weights: WeightStream, entries: dict[str, Entry], adapters: dict[str, dict[str, str]], merge: bool
) -> Iterator[memoryview | Span]:
    """The bytes of a file."""
    for name, entry in entries.items():
        yield from _content(weights, name, entry, adapters, merge)


def _content(
    weights: WeightStream, name: str, entry: Entry, adapters: dict[str, dict[str, str]], merge: bool
) -> Iterator[memoryview | Span]:
    """The bytes of a weight, merged or as they are."""
    pair = adapters.get(name.removesuffix(".weight")) if merge and name.endswith(".weight") else None
    if pair is None:
        yield from weights.pieces(entry)
    else:
        down, up = (weights.read(weights.entries[pair[kind]]) for kind in "AB")
        yield as_bytes(merged(weights.read(entry), down, up))


def merged(weight: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float = SCALE) -> torch.Tensor:
    """`W + scale * B @ A` in the dtype of `W`, computed in float32. `(out, in)`, `(r, in)`, `(out, r)`."""
    return torch.addmm(weight.float(), up.float(), down.float(), alpha=scale).to(weight.dtype)


def _as_peft(weights: WeightStream, adapters: dict[str, dict[str, str]]) -> Adapter:
    """The adapters on the original modules as one peft adapter."""
    from peft import LoraConfig

    tensors = {
        f"{module}.lora_{kind}.weight": weights.read(weights.entries[name])
        for module, pair in adapters.items()
        for kind, name in pair.items()
    }
    ranks = {module: weights.entries[pair["A"]].shape[0] for module, pair in adapters.items()}
    rank = max(ranks.values())
    config = LoraConfig(
        r=rank,
        lora_alpha=round(SCALE * rank),
        lora_dropout=DROPOUT,
        target_modules=set(adapters),
        rank_pattern={module: each for module, each in ranks.items() if each != rank},
        alpha_pattern={module: round(SCALE * each) for module, each in ranks.items() if each != rank},
        task_type="CAUSAL_LM",
    )
    return Adapter.from_tensors(config, tensors)


__all__ = ["extract_legacy", "merge_legacy", "merged", "plain_name"]
