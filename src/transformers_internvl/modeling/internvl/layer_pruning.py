# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""FastV: image tokens that the language model hardly looks at leave it behind its first layers (arXiv:2403.06764).

    model.generate(**inputs, kept_tokens=0.5, pruning="fastv")                     half of the image tokens
    model.generate(**inputs, kept_tokens=64, pruning="fastv", pruning_layer=3)     64 for every tile, behind 3 layers

Behind layer K of the prompt's pass (`pruning_layer`, 2), image tokens are ranked by the attention that the last token
of the row pays them in that layer, averaged over heads. Those with most of it stay, the others are in no later layer:

    layers 1 ... K          a A A A A b b      keys and values of all positions
    layers K + 1 ...        a A     A b b      of those that stay, at the positions that they have

Positions, and all that follows, count as if nothing had left. The original code masks what has left, or drops it; both
give the same numbers, and here it is dropped. It chooses once, with the prompt.

The layers of the language model are those of transformers: hooks hand the later ones the shorter rows, with masks of
their own. Windows of sliding layers count the positions that stay.

Shape letters: B rows, L positions, K positions that a row keeps at most, H heads, D width, q positions of a pass.

Source: `fast_v_inplace` and `fast_v_token_mask` of the original repository.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedConfig

from ..flash.shortening import Shortening, at_kept
from ..pretrained.upstream import MASKS
from .token_pruning import ARGUMENTS, FASTV, check_kept

_FIRST_LAYERS = 2
# Arguments of a decoder layer that have a value for every position, `(B or 1, L, ...)`.
_BY_POSITION = ("position_embeddings", "position_ids", "image_token_mask")


@dataclass(frozen=True)
class LayerPruning:
    """How many image tokens stay behind which layer.

    Attributes:
        share: of the image tokens of a row, in (0, 1).
        layer: K, how many layers see all of them.
    """

    share: float
    layer: int = _FIRST_LAYERS


class PrunedCache(DynamicCache):
    """Keys and values of a prompt of which some image tokens are in the first layers only.

    Args:
        config: of the model.
        pruning: what leaves.

    Attributes:
        shortened: the positions of the prompt that stay, once it has run.
        real: `(B, K + answer)`, bool, False at padding, of the layers that have left some.
    """

    def __init__(self, config: PreTrainedConfig, pruning: LayerPruning):
        super().__init__(config=config)
        self.pruning = pruning
        self.shortened: Shortening | None = None
        self.real: torch.Tensor | None = None

    def kept_of(self, earlier: Shortening | None) -> Shortening | None:
        """The positions that stay, of rows that were shortened before they came here."""
        if earlier is None or self.shortened is None:
            return self.shortened
        return Shortening(at_kept(earlier.kept, self.shortened.kept, -1), earlier.length)

    def crop(self, tokens_to_remove: int) -> None:
        """Remove the last so many positions, a number below 0."""
        super().crop(tokens_to_remove)
        if tokens_to_remove and self.real is not None:
            self.real = self.real[:, :tokens_to_remove]

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Take rows `(B,)` in this order."""
        super().reorder_cache(beam_idx)
        self._of_rows(lambda rows: rows[beam_idx.to(rows.device)])

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows."""
        super().batch_select_indices(indices)
        self._of_rows(lambda rows: rows[indices.to(rows.device)])

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row so many times."""
        super().batch_repeat_interleave(repeats)
        self._of_rows(lambda rows: rows.repeat_interleave(repeats, dim=0))

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.shortened = self.real = None

    def _of_rows(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.real = None if self.real is None else change(self.real)


def take_layer_pruning(config: Any, arguments: dict[str, Any]) -> LayerPruning | None:
    """Take FastV's arguments out of those of a call. None: it is not asked for, or keeps everything.

    Args:
        config: of the chat model.
        arguments: of the call.

    Raises:
        ValueError: a value that is none, a layer that is none or the last, or a seed, as nothing is drawn.
    """
    if arguments.get("pruning") != FASTV:
        if arguments.get("pruning_layer") is not None:
            raise ValueError(
                f"`pruning_layer` is for `pruning='{FASTV}'`, got pruning={arguments.get('pruning')!r:.80}."
            )
        arguments.pop("pruning_layer", None)
        return None
    kept, _, seed, layer = (arguments.pop(name, None) for name in (*ARGUMENTS, "pruning_layer"))
    check_kept(kept)
    if seed is not None:
        raise ValueError(f"`pruning_seed` is for `pruning='random'`, '{FASTV}' draws nothing: leave it out.")
    layers, layer = config.get_text_config().num_hidden_layers, _FIRST_LAYERS if layer is None else layer
    if isinstance(layer, bool) or not isinstance(layer, int) or not 0 < layer < layers:
        raise ValueError(
            f"`pruning_layer` says how many layers see all image tokens: a whole number from 1 to {layers - 1} for "
            f"this language model of {layers}; got {layer!r:.80}."
        )
    per_tile = config.image_seq_length
    if isinstance(kept, int) and kept > per_tile:
        raise ValueError(f"A tile has {per_tile} image tokens, `kept_tokens={kept}` is more: keep {per_tile} at most.")
    share = kept / per_tile if isinstance(kept, int) else kept
    return None if share == 1 else LayerPruning(share, layer)


def cache_of_generation(
    config: Any, arguments: Mapping[str, Any], settings: Any, pruning: LayerPruning
) -> PrunedCache:
    """The cache with which `generate` prunes.

    Args:
        config: of the model.
        arguments: of the call.
        settings: its generation config.
        pruning: what leaves.

    Raises:
        ValueError: there is a cache already, or there shall be none, or the prompt shall run in chunks.
    """
    if any(arguments.get(name) is not None for name in ("cache", "past_key_values")):
        raise ValueError(
            f"`pruning='{FASTV}'` makes a cache of its own: leave `cache` out. To go on from the cache of an output "
            "that was pruned, leave `pruning` out."
        )
    for name, harmless in (("use_cache", (None, True)), ("prefill_chunk_size", (None,))):
        value = arguments.get(name)
        value = getattr(settings, name, None) if value is None else value
        if value not in harmless:
            raise ValueError(
                f"`pruning='{FASTV}'` looks at the whole prompt once, and keeps what is left in a cache: leave out "
                f"`{name}={value!r}`."
            )
    return PrunedCache(config, pruning)


def run_pruned(
    language_model: Any,
    cache: PrunedCache,
    placeholders: torch.Tensor | None,
    attention_mask: torch.Tensor | None,
    **arguments: Any,
) -> Any:
    """A pass of the language model: of a prompt, behind which image tokens leave, or of what follows it.

    Args:
        language_model: a decoder of transformers, with `layers`.
        cache: empty, or with what ran so far.
        placeholders: `(B, L)`, True at the image tokens of a prompt.
        attention_mask: `(B, past + L)`, 0 at padding.
        arguments: further ones of the language model, `inputs_embeds` among them.

    Returns:
        Its outputs; of a prompt, those of the positions that stay.
    """
    run = _Pass(language_model.config, cache, placeholders, attention_mask, arguments["inputs_embeds"])
    layers, first = language_model.layers, cache.pruning.layer
    hooks = [
        layer.register_forward_pre_hook(partial(run.before_layer, index), with_kwargs=True)
        for index, layer in enumerate(layers)
        if index >= first
    ]
    if cache.shortened is None:
        attention = layers[first - 1].self_attn
        hooks.append(attention.register_forward_pre_hook(run.before_attention, with_kwargs=True))
        hooks.append(attention.register_forward_hook(run.after_attention))
    try:
        outputs = language_model(attention_mask=attention_mask, cache=cache, **arguments)
    finally:
        for hook in hooks:
            hook.remove()
    cache.real = run.real
    return outputs


class _Pass:
    """One pass of a language model: what its hooks do and know. They leave passes with other caches alone."""

    def __init__(
        self,
        config: Any,
        cache: PrunedCache,
        placeholders: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        inputs_embeds: torch.Tensor,
    ):
        self.config, self.cache, self.placeholders = config, cache, placeholders
        rows, length = inputs_embeds.shape[:2]
        new = inputs_embeds.new_ones(rows, length, dtype=torch.bool)
        self.new = new if attention_mask is None else attention_mask[:, -length:].bool().to(new.device)  # (B, q)
        self.real = None if cache.real is None else torch.cat([cache.real, self.new.to(cache.real.device)], dim=1)
        self.seen: dict[str, Any] = {}
        self.masks: dict[bool, Any] = {}

    def before_attention(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Keep what the attention of layer K gets, and all its keys."""
        if kwargs.get("cache") is not self.cache:
            return None
        self.seen = {**kwargs, "cache": _Watched(self.cache)}
        return args, self.seen

    def after_attention(self, module: nn.Module, args: tuple, outputs: Any) -> None:
        """Choose what stays, by the last token's attention."""
        if self.seen:
            scores = last_attention(module, self.seen, self.new)
            self.cache.shortened = _chosen(scores, self.placeholders, self.new, self.cache.pruning.share)
            self.real = self.cache.shortened.real
            self.seen = {}

    def before_layer(self, index: int, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Give a layer behind layer K its rows, and the mask that goes with its keys."""
        if kwargs.get("cache") is not self.cache:
            return None
        hidden_states, *rest = args
        shortened = self.cache.shortened
        if self.cache.real is None and shortened is not None:  # a prompt
            if index == self.cache.pruning.layer:
                hidden_states = shortened.apply(hidden_states)
            kept = {name: kwargs[name] for name in _BY_POSITION if kwargs.get(name) is not None}
            kwargs = {**kwargs, **{name: _shorter(value, shortened) for name, value in kept.items()}}
        sliding = self.cache.is_sliding[index]
        if sliding not in self.masks:
            self.masks[sliding] = MASKS["sliding_attention" if sliding else "full_attention"](
                config=self.config,
                inputs_embeds=hidden_states,
                attention_mask=self.real,
                cache=self.cache,
                layer_idx=index,
            )
        return (hidden_states, *rest), {**kwargs, "attention_mask": self.masks[sliding]}


class _Watched:
    """A cache for one attention layer that remembers the keys and values it gives back."""

    def __init__(self, cache: PrunedCache):
        self._cache = cache
        self.states: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self.states = self._cache.update(*args, **kwargs)
        return self.states

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)


class _Known:
    """A cache that has all keys and values, those of the row's last token included."""

    def __init__(self, states: tuple[torch.Tensor, torch.Tensor]):
        self._states = states

    def update(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return self._states


@torch.no_grad()
def last_attention(attention: Any, arguments: Mapping[str, Any], real: torch.Tensor) -> torch.Tensor:
    """The attention of every row's last token, `(B, L)` in float32, averaged over heads.

    Fused kernels compute no weights, so the layer runs a second time, for one query a row, with `eager` attention.

    Args:
        attention: a layer of transformers.
        arguments: of its call: `hidden_states` `(B, L, D)`, `position_embeddings`, and as `cache` one that has seen
            its keys.
        real: `(B, L)`, False at padding.
    """
    columns = torch.arange(real.shape[1], device=real.device)
    last = torch.where(real, columns, 0).amax(-1, keepdim=True)  # (B, 1)
    visible = real & (columns <= last)
    window = getattr(attention, "sliding_window", None)
    if window is not None:
        visible &= columns > last - window
    hidden_states = arguments["hidden_states"]
    mask = torch.zeros_like(visible, dtype=hidden_states.dtype)
    mask = mask.masked_fill(~visible, torch.finfo(mask.dtype).min)[:, None, None]  # (B, 1, 1, L)
    eager = copy.copy(attention)  # shares weights and adapters; the settings of other threads stay
    eager.config = copy.copy(attention.config)
    eager.config._attn_implementation = "eager"
    call = {
        **arguments,
        "hidden_states": at_kept(hidden_states, last),
        "position_embeddings": tuple(_at(part, last) for part in arguments["position_embeddings"]),
        "attention_mask": mask.to(hidden_states.device),
        "cache": _Known(arguments["cache"].states),
    }
    if isinstance(call.get("position_ids"), torch.Tensor):
        call["position_ids"] = _at(call["position_ids"], last)
    _, weights = type(attention).forward(eager, **call)  # (B, H, 1, L)
    return weights[:, :, 0].float().mean(1)


def _chosen(scores: torch.Tensor, placeholders: Any, real: torch.Tensor, share: float) -> Shortening:
    """The positions that stay: text, and in every row the `share` of its image tokens with the highest scores."""
    images = placeholders.to(scores.device) & real.to(scores.device)  # (B, L)
    numbers = images.sum(-1)
    counts = (numbers * share).round().clamp(min=1).long()
    order = scores.masked_fill(~images, -1).sort(dim=-1, descending=True, stable=True).indices
    ranks = torch.empty_like(order).scatter(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    stays = real.to(scores.device) & (~images | (ranks < counts[:, None]))
    pads_right = bool(real[:, 0].all()) and not bool(real[:, -1].all())
    return Shortening.of_kept(stays, pads_left=not pads_right)


def _at(tensor: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """`(B or 1, L, ...)` at places `(B, K)`, -1 at padding."""
    return at_kept(tensor.expand(len(places), *tensor.shape[1:]), places)


def _shorter(value: Any, shortened: Shortening) -> Any:
    """A value of all positions, or several, at those that stay."""
    if isinstance(value, tuple):
        return tuple(_shorter(part, shortened) for part in value)
    return _at(value, shortened.kept)


__all__ = ["FASTV", "LayerPruning", "PrunedCache", "cache_of_generation", "run_pruned", "take_layer_pruning"]
