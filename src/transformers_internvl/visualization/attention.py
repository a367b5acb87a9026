# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Attention of an answer's tokens over the image.

Fused attention (SDPA, FlashAttention) computes no attention weights, and those of a whole prompt would not fit into
memory: one matrix `(L, L)` for every head and layer. So the prompt runs with the model's own attention, and only the
tokens of the answer run with `eager` attention, one row of weights each, of which the chosen layers and heads are
averaged at once.

Shape letters: A answer tokens, L positions before an answer token, H heads, s tokens along a side of a tile.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from .token_maps import join_maps


@dataclass(frozen=True)
class ImageAttention:
    """Attention of the answer's tokens over one image. Values are shares of a token's whole attention, float32.

    Attributes:
        image: the pixels that the model got, a `PIL.Image` in RGB.
        grid: `(columns, rows)` of the tiles.
        tiles: `(A, rows * s, columns * s)`: over the tiles, each put back to its place in the image.
        thumbnail: `(A, s, s)`: over the thumbnail, which shows the whole image, too. None: there is none.
        box: `(left, top, right, bottom)` in pixels of the image: what the maps cover. That is the image itself, but
            where it was padded to a square, which reaches beyond it.
    """

    image: Any
    grid: tuple[int, int]
    tiles: torch.Tensor
    thumbnail: torch.Tensor | None
    box: tuple[int, int, int, int]

    @property
    def joined(self) -> torch.Tensor:
        """`(A, rows * s, columns * s)`: tiles and thumbnail together. The sum of a map is the token's `share`."""
        return join_maps(self.tiles, self.thumbnail)

    @property
    def share(self) -> torch.Tensor:
        """`(A,)`: how much of a token's attention goes to this image; the rest goes to text and other images."""
        return self.joined.sum((1, 2))


class Recording:
    """Attention of answer tokens at chosen positions of the prompt, filled by `record_attention`."""

    def __init__(self, positions: torch.Tensor):
        self.positions = positions.cpu()
        self._rows: dict[int, list[torch.Tensor]] = {}

    def add(self, layer: int, weights: torch.Tensor, first_query: int) -> None:
        """Take the weights `(H, queries, keys)` of a layer; `keys` may be the last ones of a sliding window only."""
        mean = weights.detach().float().mean(0).cpu()  # (queries, keys)
        queries, keys = mean.shape
        at = self.positions - (first_query + queries - keys)
        row = torch.where(at >= 0, mean[:, at.clamp(min=0)], 0.0)  # (queries, positions)
        self._rows.setdefault(layer, []).append(row)

    def mean(self) -> torch.Tensor:
        """`(A, positions)`: the mean over the layers."""
        return torch.stack([torch.cat(rows) for rows in self._rows.values()]).mean(0)


@contextmanager
def record_attention(
    model: Any,
    positions: torch.Tensor,
    prompt_length: int,
    layers: Collection[int] | None = None,
    heads: Collection[int] | None = None,
) -> Iterator[Recording]:
    """Record the attention of what runs in the block, tokens behind a prompt, with `eager` attention.

    Args:
        model: a chat model.
        positions: `(N,)`, whose attention is recorded.
        prompt_length: the position from which the block counts: that of the first query.
        layers, heads: which of the language model's are averaged; negative numbers count from the last. None: all.

    Raises:
        ValueError: there is no such layer or head.
    """
    language_model = plain_model(model).model.language_model
    modules = [layer.self_attn for layer in language_model.layers]
    config = language_model.config
    chosen = _numbers("layers", layers, len(modules))
    kept_heads = _numbers("heads", heads, config.num_attention_heads)
    recording, done = Recording(positions), dict.fromkeys(chosen, 0)

    def hook_of(layer: int) -> Any:
        def hook(module: Any, inputs: Any, outputs: Any) -> None:
            weights = outputs[1][0][kept_heads]  # (1, H, queries, keys) of one conversation
            recording.add(layer, weights, prompt_length + done[layer])
            done[layer] += weights.shape[1]

        return hook

    before = config._attn_implementation
    hooks = [modules[layer].register_forward_hook(hook_of(layer)) for layer in chosen]
    try:
        plain_model(model).set_attn_implementation({"text_config": "eager"})
        yield recording
    finally:
        plain_model(model).set_attn_implementation({"text_config": before})
        for hook in hooks:
            hook.remove()


def plain_model(model: Any) -> Any:
    """The chat model inside of a model with adapters; else the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _numbers(name: str, chosen: Collection[int] | None, count: int) -> Sequence[int]:
    """Numbers from 0 of chosen layers or heads."""
    if chosen is None:
        return list(range(count))
    wrong = [number for number in chosen if not isinstance(number, int) or not -count <= number < count]
    if wrong or not chosen:
        got = f"got {wrong[0]!r}" if wrong else "got none"
        raise ValueError(f"`{name}` are whole numbers from {-count} to {count - 1}, {got}.")
    return sorted({number % count for number in chosen})


__all__ = ["ImageAttention", "Recording", "plain_model", "record_attention"]
