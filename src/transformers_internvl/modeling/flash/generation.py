# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Generation whose prompt loses the image tokens that tiles do not have before it begins.

Images are encoded first and the prompt is shortened by what the router decides, or by what another reduction leaves
of them. From there on generation is that of any model: caches, beams, drafts and chunks of a prompt see the short one.
What comes back begins with the prompt as it was given, so whoever cuts it off at its length gets the answer.

Shape letters: B rows, L positions of the prompt, K of the shortened one, T tiles.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import GenerationMixin
from transformers.modeling_outputs import ModelOutput

from .compression import ARGUMENTS, take_compression
from .shortening import Shortening, tiles_of_samples, tokens_per_tile

# Arguments of `get_image_features` that `generate` takes.
_FEATURE_ARGUMENTS = ("vision_feature_layer", "vision_feature_select_strategy", "image_flags", "vision_chunk_size")
_IMAGES = ("pixel_values", "mm_encoder_outputs")
_CACHES = ("cache", "past_key_values")


class FlashGenerationMixin(GenerationMixin):
    """Mixin in front of transformers' generation, for a model with `model.get_image_features`."""

    config: Any
    model: Any
    generation_config: Any
    reduction_arguments: tuple[str, ...] = ARGUMENTS  # that come too late for images that are encoded already

    def generate(self, inputs: torch.Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        """As transformers'. InternVL3.5-Flash compresses tiles as its config says, or as the arguments do.

        Args:
            inputs: `(B, L)`, the prompts; or `input_ids`.
            flash_mode: False: every tile is whole. None: as `config.flash_mode` says.
            flash_relative_threshold, flash_absolute_threshold: in place of the config's, see [`compressed_tiles`].
            compressed_tiles: `(T,)`, bool: the decision itself. To go on from a `cache`: the decision that it was made
                with, which the output of that call holds under this name.
            kept_tokens, pruning, pruning_seed: of any model, how many image tokens of every tile are kept, and how
                they are chosen, see `modeling/internvl/token_pruning.py`.

        Returns:
            As transformers', the prompts as they were given in front of the answers. An output with fields has the
            decision in `compressed_tiles`.

        Raises:
            ValueError: thresholds are outside [0, 1], or missing; the model has no router; images were encoded
                earlier, and their compression is asked for; a cache comes without the decision that it was made with.
        """
        explicit = [name for name in self.reduction_arguments if kwargs.get(name) is not None]
        reduction = self._take_reduction(kwargs)
        has_images = any(kwargs.get(name) is not None for name in _IMAGES) or holds_something(kwargs)
        ids = kwargs.get("input_ids") if inputs is None else inputs
        whole = reduction is None and not _comes_shortened(kwargs)
        if whole or not has_images or (ids is None and kwargs.get("inputs_embeds") is None):
            return super().generate(inputs, *args, **kwargs)
        placeholders = self.model.find_placeholders(ids, kwargs.get("inputs_embeds"))  # (B, L)
        decided = self._encode_images(placeholders, kwargs, reduction, explicit) if placeholders.any() else None
        if decided is None:
            return super().generate(inputs, *args, **kwargs)
        if inputs is None:
            kwargs.pop("input_ids", None)
        lengths, compressed = decided
        if sum(lengths) == int(placeholders.sum()):  # nothing is left out, or the prompt is short already
            return _with_whole_prompts(super().generate(ids, *args, **kwargs), None, 0, compressed)
        mask = self._mask_of(ids, args, kwargs)
        shortened = Shortening.of(placeholders, lengths, mask, pads_left=True)
        kwargs["attention_mask"] = shortened.mask(mask)
        if kwargs.get("position_ids") is not None:
            kwargs["position_ids"] = shortened.positions(kwargs["position_ids"])
        if kwargs.get("inputs_embeds") is not None:
            kwargs["inputs_embeds"] = shortened.apply(kwargs["inputs_embeds"])
        pad = self._pad_token_id(args, kwargs)
        short_ids = None if ids is None else shortened.apply(ids, 0 if pad is None else pad)
        outputs = super().generate(short_ids, *args, **kwargs)
        return _with_whole_prompts(outputs, ids, shortened.kept.shape[1], compressed)

    def _take_reduction(self, kwargs: dict[str, Any]) -> Any:
        """Take how tiles become shorter out of the arguments: a [`Compression`], or what stands in its place."""
        return take_compression(self.config, kwargs, default=self.config.flash_mode)

    def _encode_images(
        self, placeholders: torch.Tensor, kwargs: dict[str, Any], reduction: Any, explicit: list[str]
    ) -> tuple[list[int], torch.Tensor | None] | None:
        """Put image features into the arguments, in place of pixels.

        Returns:
            The image tokens of every tile, and which were compressed, `(T,)`; or None: there is no image, or it was
            encoded with all its tokens.
        """
        features = (kwargs.get("mm_encoder_outputs") or {}).get("image")
        if features is not None:
            if explicit:
                raise ValueError(
                    f"`{explicit[0]}` comes too late for images that are encoded already (`mm_encoder_outputs`): pass "
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
            features = self.model.get_image_features(
                pixel_values, **options, compression=reduction.of_samples(counts), return_dict=True
            )
        kwargs["mm_encoder_outputs"] = {**(kwargs.get("mm_encoder_outputs") or {}), "image": features}
        return _decision(features)

    def _mask_of(self, ids: torch.Tensor | None, args: tuple, kwargs: dict[str, Any]) -> torch.Tensor | None:
        """The mask of the prompts, by their padding if it was not given, as transformers infers it."""
        mask = kwargs.get("attention_mask")
        pad = self._pad_token_id(args, kwargs)
        if mask is not None or ids is None or pad is None or not (ids == pad).any():
            return mask
        stops = kwargs.get("eos_token_id", getattr(self._settings(args, kwargs), "eos_token_id", None))
        return None if pad in (stops if isinstance(stops, list) else [stops]) else (ids != pad).long()

    def _pad_token_id(self, args: tuple, kwargs: dict[str, Any]) -> int | None:
        return kwargs.get("pad_token_id", getattr(self._settings(args, kwargs), "pad_token_id", None))

    def _settings(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        return (args[0] if args else kwargs.get("generation_config")) or self.generation_config


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


def _with_whole_prompts(outputs: Any, ids: torch.Tensor | None, length: int, compressed: torch.Tensor | None) -> Any:
    """What `generate` returned, with the prompts `(B, L)` in place of those of `length` tokens.

    Prompts of embeddings are not part of what it returns.
    """
    sequences = outputs if isinstance(outputs, torch.Tensor) else outputs.sequences
    if ids is not None:
        prompts = ids.repeat_interleave(len(sequences) // len(ids), dim=0).to(sequences.device)
        sequences = torch.cat([prompts, sequences[:, length:]], dim=1)
    if isinstance(outputs, ModelOutput):
        outputs["sequences"] = sequences
        if compressed is not None:
            outputs["compressed_tiles"] = compressed
        return outputs
    return sequences


__all__ = ["FlashGenerationMixin", "holds_something", "tile_lengths"]
