# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""transformers' generation, without those of its ways that would give other tokens than one step after the other.

Chunked prefill and speculation (an assistant, prompt lookup) rest on this: a token's keys are the same, however many
tokens go through the model together. With a rotary base that depends on the length so far they are not, beyond the
length from which it does:

    dynamic NTK (InternLM2)     every further token changes the base
    LongRoPE (Phi-3)            one step, from short factors to long ones

    prompt of 20, limit 16      at once      all keys with the base of 20
                                in fours     keys 0-15 with the base of 16, 16-19 with that of 20

And transformers (5.24) splits and drafts by ids, which a prompt of embeddings does not have.

Vicuna's vocabulary is full: in InternVL-Chat v1 the first id behind it stands for an image token (the original code
writes a single -200 for an image). No output has such an id, it can only come from a prompt. Its embedding is never
read: the features take its place. Logits processors, some of which index scores by a prompt's ids, must not see it.

Shape letters: B rows, L positions, V vocabulary, D width.
"""

from typing import Any

import torch
from torch import nn
from transformers import (
    GenerationConfig,
    GenerationMixin,
    LogitsProcessorList,
    PreTrainedConfig,
    SuppressTokensLogitsProcessor,
)
from transformers.generation.candidate_generator import (
    AssistedCandidateGenerator,
    CandidateGenerator,
    PromptLookupCandidateGenerator,
)

from .prefix_cache import PrefixCache, can_reuse, generate_from_prefix
from .upstream import short_drafts, without_padding

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
# Arguments of `get_image_features` that `generate` takes.
_FEATURE_ARGUMENTS = ("vision_feature_layer", "vision_feature_select_strategy", "image_flags", "vision_chunk_size")
_OF_ASSISTANT = "image of the assistant"  # in `mm_encoder_outputs`, beside `"image"`
STAND_IN = 0  # `<unk>` in Llama's vocabulary


# Rope type -> where the limit stands, and whether all is well again when the prompt alone is beyond it.
_LIMITS = {
    "dynamic": (lambda config, rope: config.max_position_embeddings, False),
    "longrope": (lambda config, rope: rope["original_max_position_embeddings"], True),
}


def rotary_limit(config: PreTrainedConfig) -> tuple[int | None, bool]:
    """From how many positions on a language model's rotary base changes, None: never; and the second of `_LIMITS`."""
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") not in _LIMITS:
        return None, False
    limit, settles = _LIMITS[rope["rope_type"]]
    return limit(config, rope), settles


def has_no_embedding(config: PreTrainedConfig) -> bool:
    """Whether the id of an image token lies behind the vocabulary."""
    token = getattr(config, "image_token_id", None)
    return token is not None and token >= config.text_config.vocab_size


def embed_known(embeddings: nn.Module, input_ids: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """Embed ids `(B, L)` to `(B, L, D)`; in the place of image tokens without an embedding stands another's."""
    if has_no_embedding(config):
        input_ids = input_ids.masked_fill(input_ids == config.image_token_id, STAND_IN)
    return embeddings(input_ids)


class HidesImageTokens(LogitsProcessorList):
    """Logits processors that see `<unk>` where an image stands."""

    def __init__(self, processors: LogitsProcessorList, config: PreTrainedConfig):
        super().__init__(processors)
        self.token = config.image_token_id

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Scores `(B, V)` after ids `(B, L)`."""
        return super().__call__(input_ids.masked_fill(input_ids == self.token, STAND_IN), scores, **kwargs)


class InternVLGenerationMixin(GenerationMixin):
    """transformers' generation, without those of its ways that would change an answer in silence."""

    config: PreTrainedConfig
    prefix_cache: PrefixCache | None = None

    def keep_prefixes(self, max_bytes: int | None = 2**30) -> None:
        """Let `generate` keep image features and common beginnings of prompts, and go on from them.

        A further question of a conversation then runs its new tokens alone, and an image that was seen before is not
        encoded again. The answers are the same. See [`PrefixCache`] for what is not reused.

        Args:
            max_bytes: how much is kept, the least recently used goes first. None: nothing is kept any more.
        """
        self.prefix_cache = None if max_bytes is None else PrefixCache(max_bytes)

    def generate(self, *args: Any, use_prefix_cache: bool | None = None, **kwargs: Any) -> Any:
        """As transformers'. Images that are None are none: `generate(input_ids=ids, pixel_values=None)`.

        What the processor returned beside the inputs, such as `num_patches`, may be passed with them.

        An `assistant_model` that is an InternVL with the same tokens sees the images, too, by its own tower. One with
        another tokenizer, a language model, or one whose images come as `mm_encoder_outputs` drafts from text alone.
        The answer is the same either way.

        Args:
            use_prefix_cache: False: neither use nor keep what [`keep_prefixes`] set up, in this call.

        Raises:
            ValueError: the assistant has another number of image tokens for a tile; `use_prefix_cache=True` without
                `keep_prefixes`.
        """
        kwargs = {
            key: value
            for key, value in kwargs.items()
            if key not in _DESCRIPTIONS and (value is not None or key not in _IMAGES)
        }
        if self._drafter_sees(kwargs):
            kwargs = self._encode_for_both(kwargs)
        if use_prefix_cache and self.prefix_cache is None:
            raise ValueError("`use_prefix_cache=True` needs a cache: call `model.keep_prefixes()` first.")
        if self.prefix_cache is not None and use_prefix_cache is not False:
            return self._generate_from_prefix(self.prefix_cache, args, kwargs)
        return super().generate(*args, **kwargs)

    def _generate_from_prefix(self, store: PrefixCache, args: tuple, kwargs: dict[str, Any]) -> Any:
        named = {name: value for name, value in kwargs.items() if name != "inputs"}
        ids = args[0] if args else kwargs.get("inputs")
        named |= {"input_ids": ids} if ids is not None else {}
        config = kwargs.get("generation_config") or self.generation_config
        if len(args) > 1 or not can_reuse(self, config, named):
            return super().generate(*args, **kwargs)
        limit, _ = rotary_limit(self.config.get_text_config())
        return generate_from_prefix(self, store, named, limit, super().generate)

    def _drafter_sees(self, kwargs: dict[str, Any]) -> bool:
        """Whether an assistant of a call can look at its images: an InternVL with the same ids, given the pixels."""
        assistant: Any = kwargs.get("assistant_model")
        return (
            all(hasattr(model, "body_class") for model in (self, assistant))
            and kwargs.get("assistant_tokenizer") is None
            and kwargs.get("pixel_values") is not None
            and assistant.config.image_token_id == self.config.image_token_id
        )

    def _encode_for_both(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments with image features of this model and of the assistant, each by its own tower, for pixels.

        transformers (5.24) hands an assistant the features of the model it drafts for, and hides them from it.
        """
        pixel_values, assistant = kwargs["pixel_values"], kwargs["assistant_model"]
        options = {name: kwargs[name] for name in _FEATURE_ARGUMENTS if name in kwargs}
        flags = {name: value for name, value in options.items() if name == "image_flags"}
        with torch.no_grad():
            features = self.get_image_features(pixel_values, **options, return_dict=True)
            drafted = assistant.get_image_features(pixel_values.to(assistant.device), **flags, return_dict=True)
        seen, needed = drafted.pooler_output.shape[1], features.pooler_output.shape[1]
        if seen != needed:
            raise ValueError(
                f"The assistant makes {seen} image tokens of a tile, this model {needed}: it cannot draft from the "
                "same prompt. Take an assistant with the same tile size and `downsample_ratio`."
            )
        kwargs = {name: value for name, value in kwargs.items() if name != "pixel_values" and name not in options}
        return {**kwargs, "mm_encoder_outputs": {"image": features, _OF_ASSISTANT: drafted}}

    def _prefill(
        self,
        input_ids: torch.Tensor,
        generation_config: GenerationConfig,
        model_kwargs: dict[str, Any],
        is_first_iteration: bool = True,
    ) -> Any:
        self._refuse_checkpoints(generation_config)
        if generation_config.is_assistant and model_kwargs.get("mm_encoder_outputs"):
            # transformers calls no pass of an assistant the first one, and so hides images from all of them.
            cache = model_kwargs.get("cache")
            is_first_iteration = cache is None or int(cache.get_seq_length()) == 0
        chunk = generation_config.prefill_chunk_size
        if chunk is not None and not generation_config.is_assistant:
            self._refuse_chunks(chunk, input_ids, model_kwargs)
        return super()._prefill(input_ids, generation_config, model_kwargs, is_first_iteration)

    def _refuse_checkpoints(self, generation_config: GenerationConfig) -> None:
        """Without gradients, as `generate` runs, nothing is checkpointed. With them, checkpointed layers leave out
        the cache that the next step goes on from."""
        checkpoints = getattr(self, "is_activation_checkpointing", False)
        if torch.is_grad_enabled() and self.training and checkpoints and generation_config.use_cache:
            raise ValueError(
                "Activation checkpointing and a cache do not go together while gradients are kept: generate under "
                "`torch.no_grad()`, call `model.eval()`, or pass `use_cache=False`."
            )

    def _refuse_chunks(self, chunk: int, input_ids: torch.Tensor, model_kwargs: dict[str, Any]) -> None:
        embeds = model_kwargs.get("inputs_embeds")
        length = input_ids.shape[1] if embeds is None else embeds.shape[1]
        if embeds is not None and not length == input_ids.shape[1] <= chunk:
            raise ValueError(
                f"`prefill_chunk_size={chunk}` splits a prompt by its ids, but this one comes as `inputs_embeds` "
                f"{tuple(embeds.shape)}: leave `prefill_chunk_size` out."
            )
        limit, _ = rotary_limit(self.config.get_text_config())
        if limit is not None and length > limit and chunk < length:
            raise ValueError(
                f"The rotary base of this language model depends on the length beyond {limit} positions, so "
                f"`prefill_chunk_size={chunk}` would change the answer to a prompt of {length}: leave it out."
            )

    def _get_logits_processor(
        self,
        generation_config: GenerationConfig,
        input_ids_seq_length: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> LogitsProcessorList:
        """As transformers'; an image token without an embedding is hidden, and behind embeddings alone the padding in
        front of a prompt is not taken for answer.
        """
        processors = super()._get_logits_processor(
            generation_config=generation_config,
            input_ids_seq_length=input_ids_seq_length,
            model_kwargs=without_padding(model_kwargs, input_ids_seq_length),
            **kwargs,
        )
        return HidesImageTokens(processors, self.config) if has_no_embedding(self.config) else processors

    def _get_candidate_generator(
        self,
        *,
        generation_config: GenerationConfig,
        input_ids: torch.Tensor,
        logits_processor: Any = None,
        **kwargs: Any,
    ) -> CandidateGenerator:
        """As transformers'; refused where candidates that are checked together would not be those of single steps.

        Image tokens are never drafted: together with the prompt they would need features.
        """
        self._refuse_candidates(generation_config, input_ids, kwargs["model_kwargs"].get("inputs_embeds"))
        unseen, token = has_no_embedding(self.config), getattr(self.config, "image_token_id", None)
        if token is not None:
            suppress = SuppressTokensLogitsProcessor([token], device=self.device)
            logits_processor = LogitsProcessorList([*(logits_processor or []), suppress])
        if unseen:
            logits_processor = HidesImageTokens(logits_processor, self.config)
        generator = super()._get_candidate_generator(
            generation_config=generation_config, input_ids=input_ids, logits_processor=logits_processor, **kwargs
        )
        if isinstance(generator, AssistedCandidateGenerator):
            encoded = generator.assistant_kwargs.pop("mm_encoder_outputs", None) or {}
            if _OF_ASSISTANT in encoded:
                generator.assistant_kwargs["mm_encoder_outputs"] = {"image": encoded[_OF_ASSISTANT]}
        if unseen and isinstance(generator, PromptLookupCandidateGenerator):
            generator.vocab_size = (token or 0) + 1  # of the scores by which it asks what is suppressed
        return short_drafts(generator, generation_config.max_length)

    def _refuse_candidates(
        self, generation_config: GenerationConfig, input_ids: torch.Tensor, embeds: torch.Tensor | None
    ) -> None:
        if embeds is not None and generation_config.prompt_lookup_num_tokens is None:
            raise ValueError(
                "An assistant drafts from a prompt's ids, but this one comes as `inputs_embeds` "
                f"{tuple(embeds.shape)}: leave the assistant out."
            )
        if generation_config.assistant_early_exit is not None:
            raise ValueError(
                "`assistant_early_exit` is not for models with a vision tower: transformers looks for their number of "
                "layers in the wrong place. Take a smaller `assistant_model`, or `prompt_lookup_num_tokens`."
            )
        length = input_ids.shape[1] if embeds is None else embeds.shape[1]
        limit, settles = rotary_limit(self.config.get_text_config())
        if limit is not None and generation_config.max_length > limit and not (settles and length > limit):
            raise ValueError(
                f"The rotary base of this language model depends on the length beyond {limit} positions, so "
                f"checking several tokens at once (assistant, prompt lookup) could change the answer of up to "
                f"{generation_config.max_length}: leave them out, or keep prompt and `max_new_tokens` within {limit}."
            )


__all__ = ["InternVLGenerationMixin", "embed_known", "has_no_embedding", "rotary_limit"]
