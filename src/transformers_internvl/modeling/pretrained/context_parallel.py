# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Context parallelism: several ranks share the positions of one long row, and the tiles of its images.

Each rank runs the language model on a part of the positions. For attention the ranks exchange: every rank gets all
positions of a part of the heads, computes them as one process does, and gives them back (arXiv:2309.14509).

             between attentions                    in attention
    rank 0   positions 0 ... l-1,  all heads  ->   all positions, heads 0 ... H/n-1
    rank 1   positions l ... 2l-1, all heads  ->   all positions, heads H/n ... H-1

Tiles are shared likewise: every rank encodes a part of them, and all get the features of all. The loss of a rank is
that of its positions; the losses of the ranks, and their gradients, add up to those of one process.

Shape letters: B rows, L positions of the row, l of a rank, n ranks, H heads, G key-value heads, d width of a head,
T tiles.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import distributed
from transformers import PreTrainedConfig
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .packed_masks import PackedCausalMask, packed_masks, sample_numbers
from .upstream import MASKS, masks_by_layer_type

ATTENTION = "sdpa_context_parallel"
_LENGTH_DEPENDENT = ("dynamic", "longrope")


class ContextGroup:
    """The ranks that share a row. Copies of a model share it, as they do the ranks.

    Args:
        group: of `torch.distributed`; None: all ranks.
    """

    def __init__(self, group: Any = None):
        self.group, self.rank, self.size = group, distributed.get_rank(group), distributed.get_world_size(group)

    def __deepcopy__(self, memo: dict) -> "ContextGroup":
        return self

    def share(self, values: torch.Tensor, dim: int = 1, fill: Any = 0) -> torch.Tensor:
        """The part of this rank of values that all ranks have, filled up to a multiple of the ranks."""
        missing = -values.shape[dim] % self.size
        if missing:
            shape = list(values.shape)
            shape[dim] = missing
            values = torch.cat([values, values.new_full(shape, fill)], dim)
        return values.chunk(self.size, dim)[self.rank]

    def agreed(self, values: torch.Tensor) -> torch.Tensor:
        """The values that the first of the ranks has."""
        values = values.contiguous().clone()
        distributed.broadcast(
            values, distributed.get_global_rank(self.group or distributed.group.WORLD, 0), self.group
        )
        return values

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """The parts of all ranks, joined along the first axis; gradients of all ranks come back to the part."""
        return _Gather.apply(values, self)

    def exchange(self, values: torch.Tensor) -> torch.Tensor:
        """`(n, ...)`: entry `i` goes to rank `i`; what comes from rank `i` is entry `i`."""
        return _Exchange.apply(values, self)


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, ranks: ContextGroup) -> torch.Tensor:
        ctx.ranks = ranks
        values = values.contiguous()
        found = torch.empty_like(values)
        distributed.all_to_all_single(found, values, group=ranks.group)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _Exchange.apply(gradients[0], ctx.ranks), None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, ranks: ContextGroup) -> torch.Tensor:
        ctx.ranks, values = ranks, values.contiguous()
        parts = [torch.empty_like(values) for _ in range(ranks.size)]
        distributed.all_gather(parts, values, group=ranks.group)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed, group=ctx.ranks.group)
        return summed.chunk(ctx.ranks.size)[ctx.ranks.rank], None


# --- attention -------------------------------------------------------------------------------------------------------


def context_parallel_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    context_group: ContextGroup | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """`sdpa` attention on heads instead of positions; without a `context_group` it is `sdpa` itself.

    Args:
        query: `(B, H, l, d)`.
        key, value: `(B, G, l, d)`.
        attention_mask: of the whole row, `(B, 1, L, L)`.
        context_group: the ranks that share the row.

    Returns:
        `(B, l, H, d)`, and None in the place of weights.
    """
    options = {"dropout": dropout, "scaling": scaling, "is_causal": is_causal, **kwargs}
    if context_group is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    heads = query.shape[1]
    groups = heads // key.shape[1]
    if key.shape[1] % context_group.size:  # too few key-value heads for a whole number each
        key, value, groups = repeat_kv(key, groups), repeat_kv(value, groups), 1
    states = [_to_heads(each, context_group) for each in (query, key, value)]
    # What `sdpa_attention_forward` asks the module.
    like = SimpleNamespace(num_key_value_groups=groups, is_causal=True, training=module.training)
    output, _ = sdpa_attention_forward(like, *states, attention_mask, **options)
    return _to_positions(output, context_group)[:, :, :heads], None


def _to_heads(states: torch.Tensor, ranks: ContextGroup) -> torch.Tensor:
    """`(B, H, l, d)` to `(B, H / n, L, d)`; heads that are missing to a multiple of n are zeros."""
    missing = -states.shape[1] % ranks.size
    if missing:
        states = torch.nn.functional.pad(states, (0, 0, 0, 0, 0, missing))
    by_rank = states.unflatten(1, (ranks.size, -1)).transpose(0, 1)  # (n, B, H/n, l, d)
    return ranks.exchange(by_rank).permute(1, 2, 0, 3, 4).flatten(2, 3)


def _to_positions(states: torch.Tensor, ranks: ContextGroup) -> torch.Tensor:
    """`(B, L, H / n, d)` to `(B, l, H, d)`."""
    by_rank = states.unflatten(1, (ranks.size, -1)).transpose(0, 1)  # (n, B, l, H/n, d)
    return ranks.exchange(by_rank).permute(1, 2, 0, 3, 4).flatten(2, 3)


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, context_parallel_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


# --- the language model ----------------------------------------------------------------------------------------------


def set_context_group(config: PreTrainedConfig, ranks: ContextGroup | None) -> None:
    """Let a language model of this configuration run with other ranks, or, with None, alone again.

    Raises:
        ValueError: what it needs is not there: attention by `sdpa`, and no experts.
    """
    if ranks is None:
        if config._attn_implementation == ATTENTION:
            config._attn_implementation = "sdpa"
        return
    if config._attn_implementation not in ("sdpa", ATTENTION):
        raise ValueError(
            f"Context parallelism needs attention by 'sdpa', the language model has {config._attn_implementation!r}: "
            "load it with `attn_implementation='sdpa'`."
        )
    if any(getattr(config, name, None) for name in ("num_experts", "num_local_experts")):
        raise ValueError(
            f"Context parallelism is not for experts ({config.model_type}): their load-balancing loss is a mean over "
            "the positions of all ranks."
        )
    config._attn_implementation = ATTENTION


def run_context_parallel(
    language_model: torch.nn.Module,
    ranks: ContextGroup,
    rows: Any,
    options: dict[str, Any],
) -> Any:
    """Run a language model on this rank's part of the positions.

    Args:
        language_model: a decoder without head.
        rows: the same on all ranks (`modeling/internvl/rows.py`): `inputs_embeds` `(B, L, D)`; `attention_mask`
            `(B, L)`, or None; `position_ids` `(B, L)`, which begin again with every packed sample, or None.
        options: other arguments of the language model.

    Returns:
        Its outputs for `(B, l, D)`, where `l` is `L / n`, rounded up.

    Raises:
        ValueError: rotary positions that depend on the length of the row, beyond the length of training.
    """
    inputs_embeds, attention_mask, position_ids = rows.inputs_embeds, rows.attention_mask, rows.position_ids
    config, length = language_model.config, inputs_embeds.shape[1]
    missing = -length % ranks.size
    if position_ids is None:
        counted = None if attention_mask is None else (attention_mask.cumsum(-1) - 1).clamp(min=0)
        places = torch.arange(length, device=inputs_embeds.device)[None]
        position_ids = places if counted is None else counted
    position_ids = ranks.agreed(position_ids.expand(len(inputs_embeds), -1))  # strides of V2PE may be drawn
    _refuse_length_dependent(config, position_ids)
    if missing:  # a sample of its own
        filling = torch.arange(missing, device=position_ids.device).to(position_ids.dtype)
        position_ids = torch.cat([position_ids, filling.expand(len(position_ids), -1)], dim=1)
        if attention_mask is not None:
            attention_mask = torch.nn.functional.pad(attention_mask, (0, missing))
    whole = torch.nn.functional.pad(inputs_embeds, (0, 0, 0, missing))
    if options.get("image_token_mask") is not None:  # Mono-InternVL's
        options = {**options, "image_token_mask": ranks.share(options["image_token_mask"])}
    return language_model(
        attention_mask=_whole_mask(config, whole, attention_mask, position_ids, options),
        position_ids=ranks.share(position_ids),
        inputs_embeds=ranks.share(whole),
        context_group=ranks,
        **{**options, "use_cache": False},
    )


def _refuse_length_dependent(config: PreTrainedConfig, position_ids: torch.Tensor) -> None:
    rope = getattr(config, "rope_parameters", None) or {}
    trained = rope.get("original_max_position_embeddings") or config.max_position_embeddings
    if rope.get("rope_type") in _LENGTH_DEPENDENT and int(position_ids.max()) >= trained:
        raise ValueError(
            f"Rotary positions of kind {rope['rope_type']!r} depend on the length of the row beyond {trained} "
            "positions, of which a rank sees a part: shorten the packs, or train without context parallelism."
        )


def _whole_mask(
    config: PreTrainedConfig,
    inputs_embeds: torch.Tensor,
    attention_mask: torch.Tensor | None,
    position_ids: torch.Tensor,
    options: dict[str, Any],
) -> Any:
    """The mask of all positions, which is never None: the language model would make one for its part."""
    options = {**options, "use_cache": False}
    mask = packed_masks(config, inputs_embeds, attention_mask, position_ids, None, options)
    if isinstance(mask, (PackedCausalMask, dict)):
        return mask
    window = getattr(config, "sliding_window", None)
    length = inputs_embeds.shape[1]
    one_sample = attention_mask is None and len(inputs_embeds) == 1 and sample_numbers(position_ids) is None
    if one_sample and (window is None or length <= window):
        return PackedCausalMask([length], inputs_embeds.device)
    inputs = {"inputs_embeds": inputs_embeds, "attention_mask": attention_mask, "cache": None}
    inputs["position_ids"] = position_ids
    if getattr(config, "layer_types", None):
        return masks_by_layer_type(config, **inputs)
    mask = MASKS["full_attention" if window is None else "sliding_attention"](config=config, **inputs)
    if mask is None:  # causal
        mask = torch.ones(length, length, dtype=torch.bool, device=inputs_embeds.device).tril()[None, None]
    return mask


__all__ = ["ContextGroup", "context_parallel_attention", "run_context_parallel", "set_context_group"]
