# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Image tokens that the language model has no embedding for.

Vicuna's vocabulary is full: in InternVL-Chat v1 the first id behind it stands for an image token (the authors write a
single -200 for an image). No output has such an id, it can only come from a prompt. Its embedding is never read: the
features take its place. And logits processors, some of which index scores by a prompt's ids, must not see it.

Shape letters: B rows, L positions, V vocabulary, D width.
"""

from typing import Any

import torch
from torch import nn
from transformers import LogitsProcessorList, SuppressTokensLogitsProcessor
from transformers.generation.candidate_generator import CandidateGenerator, PromptLookupCandidateGenerator

from ..pretrained.exact_decoding import DecodesExactly
from .configuration import InternVLConfig

# What a processor says about its inputs on request, for who called it; no model needs it.
_DESCRIPTIONS = (
    "num_patches",
    "grids",
    "video_metadata",
    "mm_token_type_ids",
    "assistant_masks",
    "text_replacement_offsets",
)
_IMAGES = ("pixel_values", "image_flags", "mm_encoder_outputs")
STAND_IN = 0  # `<unk>` in Llama's vocabulary


def has_no_embedding(config: InternVLConfig) -> bool:
    """Whether the id of an image token lies behind the vocabulary."""
    return config.image_token_id is not None and config.image_token_id >= config.text_config.vocab_size


def embed_known(embeddings: nn.Module, input_ids: torch.Tensor, config: InternVLConfig) -> torch.Tensor:
    """Embed ids `(B, L)` to `(B, L, D)`; in the place of image tokens without an embedding stands another's."""
    if has_no_embedding(config):
        input_ids = input_ids.masked_fill(input_ids == config.image_token_id, STAND_IN)
    return embeddings(input_ids)


class HidesImageTokens(LogitsProcessorList):
    """Logits processors that see `<unk>` where an image stands."""

    def __init__(self, processors: LogitsProcessorList, config: InternVLConfig):
        super().__init__(processors)
        self.token = config.image_token_id

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Scores `(B, V)` after ids `(B, L)`."""
        return super().__call__(input_ids.masked_fill(input_ids == self.token, STAND_IN), scores, **kwargs)


class InternVLGenerationMixin(DecodesExactly):
    """transformers' generation; where an image token has no embedding, nothing looks for its score."""

    config: InternVLConfig

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers'. Images that are None are none: `generate(input_ids=ids, pixel_values=None)`.

        What the processor returned beside the inputs, such as `num_patches`, may be passed with them.
        """
        kwargs = {
            key: value
            for key, value in kwargs.items()
            if key not in _DESCRIPTIONS and (value is not None or key not in _IMAGES)
        }
        return super().generate(*args, **kwargs)

    def _get_logits_processor(self, *args: Any, **kwargs: Any) -> LogitsProcessorList:
        processors = super()._get_logits_processor(*args, **kwargs)
        return HidesImageTokens(processors, self.config) if has_no_embedding(self.config) else processors

    def _get_candidate_generator(self, **kwargs: Any) -> CandidateGenerator:
        """As transformers'; nobody drafts an image token, which together with the prompt would want features."""
        token: Any = self.config.image_token_id
        logits_processor = kwargs.pop("logits_processor")
        if token is not None:
            suppress = SuppressTokensLogitsProcessor([token], device=self.device)
            logits_processor = LogitsProcessorList([*(logits_processor or []), suppress])
        if has_no_embedding(self.config):
            logits_processor = HidesImageTokens(logits_processor, self.config)
        generator = super()._get_candidate_generator(logits_processor=logits_processor, **kwargs)
        if has_no_embedding(self.config) and isinstance(generator, PromptLookupCandidateGenerator):
            generator.vocab_size = token + 1  # of the scores by which it asks what is suppressed
        return generator


__all__ = ["InternVLGenerationMixin", "embed_known", "has_no_embedding"]
