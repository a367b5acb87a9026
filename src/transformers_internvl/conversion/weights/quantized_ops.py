# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Fused weights that bitsandbytes has quantized: split on loading and joined on saving, with what belongs to them.

In eight bits a row of a weight has a scale of its own (`SCB`). In four bits a block of 64 numbers has one (`absmax`),
and rows of whole blocks can be taken apart and put together without any rounding. Scales that are themselves quantized
(`nested_absmax`) belong to one tensor as a whole: they are written as the numbers that they stand for.

Shape letters: R rows of the fused weight, D its width, S size of a block.
"""

from typing import Any

import torch
from transformers import ConversionOps, WeightConverter

from .ops import FusedOperation, Merge, Split, first

Tensors = dict[str, torch.Tensor]


def quantized_row(row: WeightConverter, hf_quantizer: Any) -> WeightConverter:
    """The row for weights that a quantizer has quantized or may have: itself if the quantizer keeps nothing beside."""
    source, targets = row._original_source_patterns[0], row._original_target_patterns
    names = hf_quantizer.serialized_names.get("weight", [])
    if "deserialize" not in hf_quantizer.get_load_operations() or not source.endswith(".weight") or len(names) < 2:
        return row
    sources, *parts = ([f"{pattern.removesuffix('weight')}{name}" for name in names] for pattern in (source, *targets))
    operation = SplitQuantized(row.operations[0].split, row.operations[0].merge, hf_quantizer)
    copy = WeightConverter(sources, [name for part in parts for name in part], [operation])
    copy.scope_prefix, copy.base_model_prefix = row.scope_prefix, row.base_model_prefix
    return copy


class _OnQuantized(FusedOperation):
    """An operation on weights that `hf_quantizer` quantizes, or may have."""

    supports_many_to_many = True

    def __init__(self, split: Split, merge: Merge, hf_quantizer: Any):
        super().__init__(split, merge)
        self.hf_quantizer = hf_quantizer


class SplitQuantized(_OnQuantized):
    """Splits one fused weight, quantized or not, into the weights of several parameters."""

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
    ) -> Tensors:
        (fused,) = _by_weight(input_dict, source_patterns)
        names = [pattern for pattern in target_patterns if pattern.endswith(".weight")]
        places = [str(full_layer_name).replace(target_patterns[0], name) for name in names]
        if len(fused) == 1:
            dtypes = [model.get_parameter(place).dtype for place in places]
            parts = self.split(fused["weight"], config)
            return {n: part.contiguous().to(dtype) for n, part, dtype in zip(names, parts, dtypes, strict=True)}
        rows = _split_8bit(fused, self.split, config) if "SCB" in fused else _split_4bit(fused, self.split, config)
        read = self.hf_quantizer.get_load_operations()["deserialize"](self.hf_quantizer)
        return {
            name: read.convert(dict(row), model=model, full_layer_name=place)["weight"]
            for name, place, row in zip(names, places, rows, strict=True)
        }

    @property
    def reverse_op(self) -> ConversionOps:
        return MergeQuantized(self.split, self.merge, self.hf_quantizer)


class MergeQuantized(_OnQuantized):
    """Joins the weights of several parameters, quantized or not: the inverse of [`SplitQuantized`]."""

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        config: Any = None,
        **kwargs: Any,
    ) -> Tensors:
        parts = _by_weight(input_dict, source_patterns)
        forms = {"SCB" in part and "8 bits" or len(part) > 1 and "4 bits" or "not at all" for part in parts}
        if len(forms) > 1:
            raise ValueError(
                f"Query, key and value of a layer are quantized differently ({', '.join(sorted(forms))}), which the "
                "original layout, where they are one weight, cannot say. Quantize all three or none of them, or save "
                "with `save_original_format=False`."
            )
        stem = target_patterns[0].removesuffix("weight")
        (form,) = forms
        if form == "not at all":
            return {target_patterns[0]: self.merge([part["weight"] for part in parts], config)}
        fused = (_merge_8bit if form == "8 bits" else _merge_4bit)(parts, self.merge, config)
        return {stem + name: tensor for name, tensor in fused.items()}

    @property
    def reverse_op(self) -> ConversionOps:
        return SplitQuantized(self.split, self.merge, self.hf_quantizer)


def _by_weight(found: dict[str, Any], patterns: list[str]) -> list[Tensors]:
    """One dictionary a weight, `"weight"` and what belongs to it, in the order of the patterns."""
    stems = [pattern.removesuffix("weight") for pattern in patterns if pattern.endswith(".weight")]
    return [
        {p.removeprefix(stem): first(found[p]) for p in patterns if p in found and p.startswith(stem)}
        for stem in stems
    ]


# --- eight bits ------------------------------------------------------------------------------------------------------


def _split_8bit(fused: Tensors, split: Split, config: Any) -> list[Tensors]:
    weights, scales = split(fused["weight"], config), split(fused["SCB"].reshape(-1), config)
    rest = {name: fused[name] for name in fused.keys() - {"weight", "SCB"}}
    return [{"weight": w.contiguous(), "SCB": s.contiguous(), **rest} for w, s in zip(weights, scales, strict=True)]


def _merge_8bit(parts: list[Tensors], merge: Merge, config: Any) -> Tensors:
    rest = {name: parts[0][name].clone() for name in parts[0].keys() - {"weight", "SCB"}}
    return {**rest, **{name: merge([part[name] for part in parts], config) for name in ("weight", "SCB")}}


# --- four bits -------------------------------------------------------------------------------------------------------


def _split_4bit(fused: Tensors, split: Split, config: Any) -> list[Tensors]:
    state, packed, scales = _rows_4bit(fused)
    pieces = zip(split(packed, config), split(scales, config), strict=True)
    return [_as_4bit(state, rows, absmax, fused["weight"].dtype) for rows, absmax in pieces]


def _merge_4bit(parts: list[Tensors], merge: Merge, config: Any) -> Tensors:
    rows = [_rows_4bit(part) for part in parts]
    packed, scales = (merge([row[index] for row in rows], config) for index in (1, 2))
    return _as_4bit(rows[0][0], packed, scales, parts[0]["weight"].dtype)


def _rows_4bit(weight: Tensors) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """bitsandbytes' state of a weight, its bytes `(R, D/2)` and its scales `(R, D/S)`, float32."""
    from bitsandbytes.functional import QuantState, dequantize_blockwise

    statistics = {name: tensor for name, tensor in weight.items() if name != "weight"}
    state = QuantState.from_dict(statistics, device=weight["weight"].device)
    height, width = state.shape
    if width % state.blocksize:
        raise ValueError(
            f"Rows of {width} numbers do not fill blocks of {state.blocksize}, so a weight in four bits cannot be "
            "split between them, nor joined. Save with `save_original_format=False`, which keeps the weights apart."
        )
    scales = state.absmax
    if state.nested:
        scales = dequantize_blockwise(state.absmax, state.state2) + state.offset
    packed = weight["weight"].contiguous().view(torch.uint8)
    return state, packed.reshape(height, width // 2), scales.float().reshape(height, width // state.blocksize)


def _as_4bit(state: Any, packed: torch.Tensor, scales: torch.Tensor, storage: torch.dtype) -> Tensors:
    """A weight as bitsandbytes writes it, from its bytes and scales."""
    from bitsandbytes.functional import QuantState

    shape = torch.Size((packed.shape[0], 2 * packed.shape[1]))
    own = QuantState(
        absmax=scales.contiguous().reshape(-1),
        shape=shape,
        code=state.code.clone(),  # files hold no tensor twice
        blocksize=state.blocksize,
        quant_type=state.quant_type,
        dtype=state.dtype,
    )
    written = {f"weight.{name}": tensor for name, tensor in own.as_dict(packed=True).items()}
    return {"weight": packed.contiguous().reshape(-1).view(storage).reshape(-1, 1), **written}


__all__ = ["MergeQuantized", "SplitQuantized", "quantized_row"]
