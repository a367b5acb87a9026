# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tensor operations between the original weights and this package's, each with its inverse.

transformers applies them while a checkpoint is read and, reversed, while a model is written; tensors pass through one
at a time. Splitting a fused tensor is safe under native tensor parallelism and FSDP2: there the loader hands an
operation the *fused* rows that belong to this rank, which are other rows than those of the parts, so the parts
are split from the whole.

Shape letters: N query heads, K key/value heads, G = N / K query heads of a group, C channels per head, D width.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import ConversionOps, PretrainedConfig

Split = Callable[[torch.Tensor, Any], tuple[torch.Tensor, ...]]
Merge = Callable[[list[torch.Tensor], Any], torch.Tensor]


def split_qkv(fused: torch.Tensor, config: PretrainedConfig) -> tuple[torch.Tensor, ...]:
    """InternViT's `qkv`: rows are all queries, all keys, all values. `(3*D, ...)` to three `(D, ...)`."""
    return fused.chunk(3, dim=0)


def merge_qkv(parts: list[torch.Tensor], config: PretrainedConfig) -> torch.Tensor:
    """Inverse of [`split_qkv`]."""
    return torch.cat(parts, dim=0)


def split_grouped_qkv(fused: torch.Tensor, config: PretrainedConfig) -> tuple[torch.Tensor, ...]:
    """InternLM2's `wqkv`: rows are grouped by key/value head, in each group its query heads, its key, its value.

        g0: q q k v   g1: q q k v   ...        (G = 2)

    `(K*(G+2)*C, ...)` to `(N*C, ...)`, `(K*C, ...)`, `(K*C, ...)`. Works on weights, biases and quantizer scales
    alike: what follows the rows, and how many rows a head has, is left as it is.
    """
    text = config.get_text_config()
    kv_heads, group = text.num_key_value_heads, text.num_attention_heads // text.num_key_value_heads
    rows = fused.unflatten(0, (kv_heads, group + 2, -1))  # (K, G+2, C, ...)
    return rows[:, :group].flatten(0, 2), rows[:, group].flatten(0, 1), rows[:, group + 1].flatten(0, 1)


def merge_grouped_qkv(parts: list[torch.Tensor], config: PretrainedConfig) -> torch.Tensor:
    """Inverse of [`split_grouped_qkv`]."""
    text = config.get_text_config()
    kv_heads, group = text.num_key_value_heads, text.num_attention_heads // text.num_key_value_heads
    query = parts[0].unflatten(0, (kv_heads, group, -1))  # (K, G, C, ...)
    key, value = (part.unflatten(0, (kv_heads, 1, -1)) for part in parts[1:])  # (K, 1, C, ...)
    return torch.cat([query, key, value], dim=1).flatten(0, 2)


class FusedOperation(ConversionOps):
    """An operation between one fused tensor and its parts, which knows how to go both ways."""

    def __init__(self, split: Split, merge: Merge):
        self.split, self.merge = split, merge


class SplitFused(FusedOperation):
    """Splits one fused tensor into the tensors of several parameters."""

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        full_layer_name: str | None = None,
        model: Any = None,
        config: Any = None,
        **kwargs: Any,
    ) -> dict[str, torch.Tensor]:
        (fused,) = map(first, input_dict.values())
        targets = self._parameters(target_patterns, full_layer_name, model)
        if targets is None or not isinstance(targets[0], DTensor):
            parts = self.split(fused, config)
            return {name: part.contiguous() for name, part in zip(target_patterns, parts, strict=True)}
        whole = _gather_like(fused, targets)
        parts = self.split(whole, config)
        return {
            name: distribute_tensor(part.contiguous(), target.device_mesh, target.placements, src_data_rank=None)
            .to_local()
            .clone()
            for name, part, target in zip(target_patterns, parts, targets, strict=True)
        }

    @staticmethod
    def _parameters(patterns: list[str], full_name: str | None, model: Any) -> list[torch.Tensor] | None:
        """The model's parameters that the parts belong to; None when there is no model to ask (a bare adapter)."""
        if model is None or full_name is None:
            return None
        names = [full_name.replace(patterns[0], pattern) for pattern in patterns]
        try:
            return [model.get_parameter(name) for name in names]
        except AttributeError:
            return None

    @property
    def reverse_op(self) -> ConversionOps:
        return MergeFused(self.split, self.merge)


class MergeFused(FusedOperation):
    """Joins the tensors of several parameters into one fused tensor: the inverse of [`SplitFused`]."""

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        config: Any = None,
        **kwargs: Any,
    ) -> dict[str, torch.Tensor]:
        parts = [first(input_dict[pattern]) for pattern in source_patterns]
        return {target_patterns[0]: self.merge(parts, config)}

    @property
    def reverse_op(self) -> ConversionOps:
        return SplitFused(self.split, self.merge)


def first(found: Any) -> torch.Tensor:
    """The tensor of a pattern: the loader gives a list, saving the tensor itself."""
    return found[0] if isinstance(found, list) else found


def _gather_like(local: torch.Tensor, targets: list[Any]) -> torch.Tensor:
    """The whole fused tensor from this rank's rows of it, which were split with the placements of the first target."""
    mesh, placements = targets[0].device_mesh, targets[0].placements
    shape = torch.Size([sum(target.shape[0] for target in targets), *targets[0].shape[1:]])
    stride = torch.empty(shape, device="meta").stride()
    local = local.contiguous()
    return DTensor.from_local(local, mesh, placements, run_check=False, shape=shape, stride=stride).full_tensor()


__all__ = [
    "FusedOperation",
    "MergeFused",
    "SplitFused",
    "merge_grouped_qkv",
    "merge_qkv",
    "split_grouped_qkv",
    "split_qkv",
]
