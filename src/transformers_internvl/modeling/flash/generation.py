# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Generation whose prompt loses the image tokens that tiles do not have before it begins.

Images are encoded first and the prompt is shortened by what the router decides, or by what another reduction leaves
of them. From there on generation is that of any model: caches, beams, drafts and chunks of a prompt see the short one.
What comes back begins with the prompt as it was given, so whoever cuts it off at its length gets the answer.

Shape letters: B rows, L positions of the prompt, K of the shortened one, T tiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_outputs import ModelOutput

from .shortening import Shortening, tiles_of_samples, tokens_per_tile

# Arguments of `get_image_features` that `generate` takes.
_FEATURE_ARGUMENTS = ("vision_feature_layer", "vision_feature_select_strategy", "image_flags", "vision_chunk_size")
_IMAGES = ("pixel_values", "mm_encoder_outputs")
_CACHES = ("cache", "past_key_values")


@dataclass
class ShortPrompt:
    """What `generate` runs in place of a prompt whose images have fewer tokens than it was written for.

    Attributes:
        ids: `(B, K)`; None: the prompt is embeddings.
        given: `(B, L)`, the ids as they were given, where tokens were left out; None: none were, or embeddings.
        compressed: `(T,)`, which tiles InternVL3.5-Flash compressed; None: tokens were pruned.
    """

    ids: torch.Tensor | None
    given: torch.Tensor | None
    compressed: torch.Tensor | None

    def with_given_prompts(self, outputs: Any) -> Any:
        """What `generate` returned, with the prompts `(B, L)` as they were given, and the decision.

        Prompts of embeddings are not part of what it returns.
        """
        sequences = outputs if isinstance(outputs, torch.Tensor) else outputs.sequences
        if self.given is not None and self.ids is not None:
            prompts = self.given.repeat_interleave(len(sequences) // len(self.given), dim=0).to(sequences.device)
            sequences = torch.cat([prompts, sequences[:, self.ids.shape[1] :]], dim=1)
        if isinstance(outputs, ModelOutput):
            outputs["sequences"] = sequences
            if self.compressed is not None:
                outputs["compressed_tiles"] = self.compressed
            return outputs
        return sequences


def shorten_prompt(
    model: Any,
    inputs: torch.Tensor | None,
    args: tuple,
    kwargs: dict[str, Any],
    reduction: Any,
    asked: Sequence[str] = (),
) -> ShortPrompt | None:
    """Encode the images of a call of `generate`, and leave out the image tokens that have no feature.

    Args:
        model: a chat model, whose `model` has `get_image_features` and `find_placeholders`.
        inputs: `(B, L)`, the prompts; or they are in `kwargs`.
        args: further positional arguments of the call: the generation config.
        kwargs: the named ones. Images become features in them, and what belongs to the prompt is shortened.
        reduction: how tiles become shorter, a [`Compression`] or what stands in its place; None: they do not.
        asked: names of the arguments that asked for it, which come too late for images that are encoded already.

    Returns:
        The prompts to run, or None: those that were given.

    Raises:
        ValueError: images were encoded earlier, and their reduction is asked for; a cache comes without the decision
            that it was made with.
    """
    has_images = any(kwargs.get(name) is not None for name in _IMAGES) or holds_something(kwargs)
    ids = kwargs.get("input_ids") if inputs is None else inputs
    whole = reduction is None and not _comes_shortened(kwargs)
    if whole or not has_images or (ids is None and kwargs.get("inputs_embeds") is None):
        return None
    placeholders = model.model.find_placeholders(ids, kwargs.get("inputs_embeds"))  # (B, L)
    decided = _encode_images(model.model, placeholders, kwargs, reduction, asked) if placeholders.any() else None
    if decided is None:
        return None
    if inputs is None:
        kwargs.pop("input_ids", None)
    lengths, compressed = decided
    if sum(lengths) == int(placeholders.sum()):  # nothing is left out, or the prompt is short already
        return ShortPrompt(ids, None, compressed)
    settings = (args[0] if args else kwargs.get("generation_config")) or model.generation_config
    pad = kwargs.get("pad_token_id", getattr(settings, "pad_token_id", None))
    mask = _mask_of(ids, kwargs, pad, kwargs.get("eos_token_id", getattr(settings, "eos_token_id", None)))
    shortened = Shortening.of(placeholders, lengths, mask, pads_left=True)
    kwargs["attention_mask"] = shortened.mask(mask)
    if kwargs.get("position_ids") is not None:
        kwargs["position_ids"] = shortened.positions(kwargs["position_ids"])
    if kwargs.get("inputs_embeds") is not None:
        kwargs["inputs_embeds"] = shortened.apply(kwargs["inputs_embeds"])
    short_ids = None if ids is None else shortened.apply(ids, 0 if pad is None else pad)
    return ShortPrompt(short_ids, ids, compressed)


def _encode_images(
    body: Any, placeholders: torch.Tensor, kwargs: dict[str, Any], reduction: Any, asked: Sequence[str]
) -> tuple[list[int], torch.Tensor | None] | None:
    """Put image features into the arguments, in place of pixels.

    Returns:
        The image tokens of every tile, and which were compressed, `(T,)`; or None: there is no image, or it was
        encoded with all its tokens.
    """
    features = (kwargs.get("mm_encoder_outputs") or {}).get("image")
    if features is not None:
        if asked:
            raise ValueError(
                f"`{asked[0]}` comes too late for images that are encoded already (`mm_encoder_outputs`): pass "
                "it to `get_image_features`, or give the pixels."
            )
        return _decision(features)
    cached = holds_something(kwargs)
    if cached and (reduction.tiles is None or kwargs.get("pixel_values") is not None):
        raise ValueError(
            "A cache holds as many positions as compression left, and the prompt has all of them. To go on from "
            "it, pass the `compressed_tiles` of the output that it came with, and no pixels; with further images, "
            "give the whole conversation without a cache. `flash_mode=False`, in both calls, compresses nothing."
        )
    if cached:
        return _known_decision(placeholders, reduction.tiles)
    pixel_values = kwargs.pop("pixel_values", None)
    if pixel_values is None:
        return None
    options = {name: kwargs.pop(name) for name in _FEATURE_ARGUMENTS if name in kwargs}
    flags = options.get("image_flags")
    counts = tiles_of_samples(placeholders, len(pixel_values) if flags is None else int((flags == 1).sum()))
    with torch.no_grad():
        features = body.get_image_features(
            pixel_values, **options, compression=reduction.of_samples(counts), return_dict=True
        )
    kwargs["mm_encoder_outputs"] = {**(kwargs.get("mm_encoder_outputs") or {}), "image": features}
    return _decision(features)


def _mask_of(ids: torch.Tensor | None, kwargs: dict[str, Any], pad: int | None, stops: Any) -> torch.Tensor | None:
    """The mask of the prompts, by their padding if it was not given, as transformers infers it."""
    mask = kwargs.get("attention_mask")
    if mask is not None or ids is None or pad is None or not (ids == pad).any():
        return mask
    return None if pad in (stops if isinstance(stops, list) else [stops]) else (ids != pad).long()


def tile_lengths(features: Any) -> list[int] | None:
    """Image tokens of every tile of [`get_image_features`], or None: all are whole."""
    tokens = features.pooler_output
    return None if isinstance(tokens, torch.Tensor) else [len(tile) for tile in tokens]


def _decision(features: Any) -> tuple[list[int], torch.Tensor | None] | None:
    lengths = tile_lengths(features)
    return None if lengths is None else (lengths, features.get("compressed_tiles"))


def _known_decision(placeholders: torch.Tensor, tiles: Any) -> tuple[list[int], torch.Tensor]:
    """A decision that was made earlier about the tiles of these prompts."""
    tiles = torch.as_tensor(tiles, dtype=torch.bool)
    per_tile = tokens_per_tile(placeholders, len(tiles))
    return [per_tile // 4 if compressed else per_tile for compressed in tiles.tolist()], tiles


def _comes_shortened(kwargs: Mapping[str, Any]) -> bool:
    """Whether there are features that were encoded earlier, of tiles that need not be whole."""
    features = (kwargs.get("mm_encoder_outputs") or {}).get("image")
    return features is not None and tile_lengths(features) is not None


def holds_something(kwargs: Mapping[str, Any]) -> bool:
    """Whether the arguments have a cache that holds something."""
    caches = [kwargs[name] for name in _CACHES if kwargs.get(name) is not None]
    return any(int(cache.get_seq_length()) > 0 for cache in caches)


__all__ = ["ShortPrompt", "holds_something", "shorten_prompt", "tile_lengths"]
