# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Masks of packed samples: those that cost only the samples' own pairs, and those that language models do not make.

Most of transformers' language models see from `position_ids` where a packed sample begins, and make a mask of all
pairs of tokens. On `sdpa` they get a [`PackedCausalMask`] instead, which runs attention one sample at a time:

      keys  a a a b b c
        a   x . . . . .     3 + 2 + 1 tokens: three triangles are computed, not the square around them
        a   x x . . . .
        a   x x x . . .
        b   . . . x . .
        b   . . . x x .
        c   . . . . . x

Those that make their masks without looking at positions would let samples see each other; they get their masks
ready-made, one a layer type. And none looks at positions once it has a cache, so a pack is computed without one.

Positions of images may be fractions (V2PE). transformers (5.24) takes every step other than 1 for the beginning of a
sample: here a sample begins where fractions do not grow, and the language model gets a mask that says so.

Shape letters: B rows, L tokens, H heads, n samples of one length l that follow each other, D width, d of a head.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._pytree import tree_map_only
from transformers import PreTrainedConfig
from transformers.masking_utils import find_packed_sequence_indices
from transformers.utils import is_tracing, logging

from .upstream import IGNORE_POSITIONS, MASKS, masks_by_layer_type

logger = logging.get_logger(__name__)
_BY_SAMPLE = ("sdpa", "sdpa_context_parallel")  # the kinds of attention that run a `PackedCausalMask`


class PackedCausalMask(torch.Tensor):
    """The mask `(1, 1, L, L)` of a row of packed samples, True where a token sees another, which holds no values.

    `scaled_dot_product_attention` with it as `attn_mask` runs causal attention on every sample by itself. For any
    other operation the values are made.

    Args:
        lengths: of the samples, in tokens, in their order.
        device: where the mask is said to be.
    """

    runs: list[tuple[int, int]]  # (n, l): padding is a run of samples of one token

    @staticmethod
    def __new__(cls, lengths: list[int], device: torch.device | str = "cpu") -> "PackedCausalMask":
        shape = (1, 1, sum(lengths), sum(lengths))
        mask = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.bool, device=device)
        mask.runs = [(len(list(same)), length) for length, same in groupby(lengths)]
        return mask

    def dense(self) -> torch.Tensor:
        """The same mask as an ordinary tensor."""
        blocks = [torch.ones(length, length, dtype=torch.bool) for count, length in self.runs for _ in range(count)]
        return torch.block_diag(*blocks).tril().to(self.device)[None, None]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            if func is scaled_dot_product_attention:
                return _attend(*args, **(kwargs or {}))
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map_only(cls, cls.dense, (args, kwargs or {}))
        return func(*args, **kwargs)

    def __repr__(self, **options: Any) -> str:
        return f"{type(self).__name__}({[length for count, length in self.runs for _ in range(count)]})"


@torch.compiler.disable  # a compiled layer would be compiled again for every pack
def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: PackedCausalMask,
    dropout_p: float = 0.0,
    is_causal: bool = False,  # the mask already says so
    **options: Any,
) -> torch.Tensor:
    """`scaled_dot_product_attention` of `(1, H, L, d)`, run by run."""
    tokens = [count * length for count, length in attn_mask.runs]
    pieces = zip(*(states.split(tokens, dim=2) for states in (query, key, value)), strict=True)
    outputs = []
    for (count, _), piece in zip(attn_mask.runs, pieces, strict=True):
        q, k, v = (states[0].unflatten(1, (count, -1)).transpose(0, 1) for states in piece)  # (n, H, l, d)
        output = scaled_dot_product_attention(q, k, v, dropout_p=dropout_p, is_causal=True, **options)
        outputs.append(output.transpose(1, 2).flatten(0, 1))  # (n * l, H, d)
    return torch.cat(outputs).transpose(0, 1)[None]


def use_cache_of_packs(
    use_cache: bool | None, attention_mask: Any, position_ids: torch.Tensor | None, cache: Any
) -> bool | None:
    """The `use_cache` to call a language model with: False for packs, where a cache would hide where samples begin.

    They would then see each other, in evaluation as in training. And nothing could be continued from such a cache.

    Args:
        use_cache: what the caller said; None: nothing, and the config decides.
        attention_mask, cache: of the caller; with either, nothing is packed.
        position_ids: `(B, L)`, which begin again with every packed sample.

    Raises:
        ValueError: a cache is asked for in a graph that is traced, which cannot depend on positions.
    """
    if attention_mask is not None or cache is not None or position_ids is None:
        return use_cache
    if is_tracing(position_ids):
        if use_cache:
            raise ValueError(
                "A compiled or exported model cannot see from `position_ids` whether rows are packs, which no cache "
                "may be made of: pass `attention_mask` with rows that are not, or a cache, or `use_cache=False`."
            )
        return False
    if sample_numbers(position_ids) is None:
        return use_cache
    if use_cache:
        logger.warning_once("No cache is made of packs, which nothing can continue: `use_cache=True` has no effect.")
    return False


def sample_numbers(position_ids: torch.Tensor) -> torch.Tensor | None:
    """To which packed sample every token belongs.

    Args:
        position_ids: `(B, L)`: whole numbers that begin again with every sample, or fractions that do not grow there.

    Returns:
        `(B, L)`, equal numbers within a sample; None: every row is one sample.
    """
    if not position_ids.is_floating_point():
        return find_packed_sequence_indices(position_ids)
    numbers = torch.nn.functional.pad((position_ids.diff(dim=-1) <= 0).long().cumsum(-1), (1, 0))
    one_each = not is_tracing(position_ids) and not numbers[:, -1].any()
    return None if one_each else numbers


def _counted(position_ids: torch.Tensor) -> torch.Tensor:
    """Whole numbers `(B, L)` that begin again where the fractions `(B, L)` do."""
    places = torch.arange(position_ids.shape[1], device=position_ids.device).expand(len(position_ids), -1)
    begins = torch.nn.functional.pad(position_ids.diff(dim=-1) <= 0, (1, 0), value=True)
    return places - torch.where(begins, places, 0).cummax(-1).values


def packed_masks(
    config: PreTrainedConfig,
    inputs_embeds: torch.Tensor,
    attention_mask: Any,
    position_ids: torch.Tensor | None,
    cache: Any,
    options: Mapping[str, Any],
) -> Any:
    """What to give to a language model as `attention_mask`.

    Args:
        config: of the language model.
        inputs_embeds: `(B, L, D)`.
        attention_mask: of the caller; anything but None is left as it is.
        position_ids: `(B, L)`, which begin again with every packed sample.
        cache: with a cache nothing is packed.
        options: other arguments of the language model, of which `use_cache` and `is_causal` are looked at.

    Returns:
        `attention_mask`, or what keeps samples apart where the language model would not, or not as cheaply.

    Raises:
        ValueError: several rows of packs under flash attention, which looks for samples in a single row only; or an
            image with fractional positions behind a cache, whose keys it would not see.
    """
    _refuse_fractions_behind_cache(config, position_ids, cache)
    if attention_mask is not None or cache is not None or position_ids is None:
        return attention_mask
    fractions = position_ids.is_floating_point()
    position_ids = _counted(position_ids) if fractions else position_ids
    _refuse_rows_of_packs(config, inputs_embeds, position_ids)
    if config.model_type not in IGNORE_POSITIONS:
        mask = _by_sample(config, inputs_embeds, position_ids, options)
        return _said(config, inputs_embeds, position_ids) if mask is None and fractions else mask
    inputs = {"inputs_embeds": inputs_embeds, "attention_mask": None, "cache": None, "position_ids": position_ids}
    return masks_by_layer_type(config, **inputs)


def _refuse_fractions_behind_cache(config: PreTrainedConfig, position_ids: torch.Tensor | None, cache: Any) -> None:
    """transformers (5.24) takes such a row for a pack under flash attention, which sees nothing in front of itself."""
    if cache is None or position_ids is None or "flash" not in (config._attn_implementation or ""):
        return
    if len(position_ids) != 1 or not position_ids.is_floating_point() or is_tracing(position_ids):
        return
    if int(cache.get_seq_length()) > 0 and bool((position_ids.diff(dim=-1) != 1).any()):
        raise ValueError(
            "Flash attention does not see what a cache holds from an image with fractional positions (V2PE): give the "
            "whole prompt at once, without `prefill_chunk_size` and an earlier cache, or load the model with "
            "`attn_implementation='sdpa'`."
        )


def _said(config: PreTrainedConfig, inputs_embeds: torch.Tensor, position_ids: torch.Tensor) -> Any:
    """The mask of rows whose fractional positions a language model would take for those of packs.

    Flash attention begins a sample at every position 0, whatever the steps: it needs none.
    """
    if "flash" in (config._attn_implementation or ""):
        return None
    if not is_tracing(position_ids) and sample_numbers(position_ids.expand(len(inputs_embeds), -1)) is None:
        return torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)  # (B, L)
    inputs = {"inputs_embeds": inputs_embeds, "attention_mask": None, "cache": None, "position_ids": position_ids}
    if getattr(config, "layer_types", None):
        return masks_by_layer_type(config, **inputs)
    kind = "full_attention" if getattr(config, "sliding_window", None) is None else "sliding_attention"
    return MASKS[kind](config=config, **inputs)


def _refuse_rows_of_packs(config: PreTrainedConfig, inputs_embeds: torch.Tensor, position_ids: torch.Tensor) -> None:
    rows = len(inputs_embeds)
    if rows == 1 or "flash" not in (config._attn_implementation or "") or is_tracing(position_ids):
        return
    if find_packed_sequence_indices(position_ids) is not None:
        raise ValueError(
            f"Flash attention keeps the samples of a pack apart in a single row, got {rows} rows of packs: join them "
            "to one row, as `PackingCollator` does, or load the model with `attn_implementation='sdpa'`."
        )


def _by_sample(
    config: PreTrainedConfig, inputs_embeds: torch.Tensor, position_ids: torch.Tensor, options: Mapping[str, Any]
) -> PackedCausalMask | None:
    """The mask of one packed row if it is that of every layer, else None: the language model makes its own."""
    given = {name: options.get(name) for name in ("use_cache", "is_causal")}
    given = {name: getattr(config, name, None) if value is None else value for name, value in given.items()}
    kinds = getattr(config, "layer_types", None) or MASKS
    if (
        config._attn_implementation not in _BY_SAMPLE
        or given["use_cache"]
        or given["is_causal"] is False
        or not set(kinds) <= set(MASKS)
        or is_tracing(inputs_embeds)
        or len(inputs_embeds) != 1
    ):
        return None
    sample = find_packed_sequence_indices(position_ids)  # (1, L), None if there is one sample
    if sample is None:
        return None
    lengths = torch.bincount(sample[0]).tolist()
    window = getattr(config, "sliding_window", None)
    return None if window is not None and max(lengths) > window else PackedCausalMask(lengths, inputs_embeds.device)


__all__ = ["PackedCausalMask", "packed_masks", "sample_numbers", "use_cache_of_packs"]
