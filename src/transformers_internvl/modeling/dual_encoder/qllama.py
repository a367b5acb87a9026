# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""QLLaMA, the text half of InternVL-14B (arXiv:2312.14238, section 3.2).

A Llama with learnable queries at the front of the sequence. In every second layer, between self attention and MLP, the
queries, and they alone, attend to the vision tokens. Without vision tokens it is Llama.

Shape letters: B rows, N queries, L text positions, S = N + L positions, M vision tokens, D width, W width of the
vision tokens, H heads, C channels per head.

Source: `modeling_qllama.py` of the released checkpoints.
"""

from typing import Any

import torch
from torch import nn
from transformers import Cache, DynamicCache, LlamaForCausalLM, LlamaModel
from transformers.masking_utils import create_causal_mask, create_masks_for_generate
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
)
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.deprecation import deprecate_kwarg
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from ..pretrained.generation import InternVLGenerationMixin
from ..pretrained.older_arguments import refuse_stray_caches
from ..pretrained.packed_masks import use_cache_of_packs
from ..vision.layers import eager_attention_forward
from .configuration import QLlamaConfig

# --- who sees whom ---------------------------------------------------------------------------------------------------
# Rows of the sketches look, columns are seen; q queries, t text.


def generation_mask(padding_mask: torch.Tensor, num_queries: int, dtype: torch.dtype) -> torch.Tensor:
    """Queries see each other, text sees the queries and the text before it.

            q q t t
        q   x x . .
        q   x x . .
        t   x x x .
        t   x x x x

    Args:
        padding_mask: `(B, S)`, 1 where a position is real; the queries are the first `num_queries`.

    Returns:
        `(B, 1, S, S)` of `dtype`, to be added to the attention scores: 0 where seen, the lowest number elsewhere.
    """
    seen = _causal(padding_mask)
    seen[:num_queries, :num_queries] = True
    return _additive(seen, padding_mask, dtype)


def contrastive_mask(padding_mask: torch.Tensor, num_queries: int, dtype: torch.dtype) -> torch.Tensor:
    """Queries and text do not see each other.

            q q t t
        q   x x . .
        q   x x . .
        t   . . x .
        t   . . x x

    Arguments and result as in [`generation_mask`].
    """
    seen = _causal(padding_mask)
    seen[:num_queries, :num_queries] = True
    seen[num_queries:, :num_queries] = False
    return _additive(seen, padding_mask, dtype)


def matching_mask(padding_mask: torch.Tensor, num_queries: int, dtype: torch.dtype) -> torch.Tensor:
    """Queries and text all see each other.

    Arguments and result as in [`generation_mask`]; `num_queries` plays no part.
    """
    return _additive(torch.ones_like(_causal(padding_mask)), padding_mask, dtype)


def _causal(padding_mask: torch.Tensor) -> torch.Tensor:
    """`(S, S)`, True on and below the diagonal."""
    length = padding_mask.shape[1]
    return torch.ones(length, length, dtype=torch.bool, device=padding_mask.device).tril()


def _additive(seen: torch.Tensor, padding_mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Scores to add from what may be seen `(S, S)`, without padding `(B, S)`."""
    seen = seen & padding_mask.bool()[:, None, None, :]  # (B, 1, S, S)
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)


# --- the model -------------------------------------------------------------------------------------------------------


class QLlamaCrossAttention(nn.Module):
    """From the queries to the vision tokens; both are normalized first. No positions, no mask."""

    is_causal = False

    def __init__(self, config: QLlamaConfig):
        super().__init__()
        width, vision_width = config.hidden_size, config.vision_hidden_size
        self.config = config
        self.head_dim = width // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.norm1 = LlamaRMSNorm(width, eps=config.rms_norm_eps)
        self.norm2 = LlamaRMSNorm(vision_width, eps=config.rms_norm_eps)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(vision_width, width, bias=False)
        self.v_proj = nn.Linear(vision_width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, queries: torch.Tensor, vision_hidden_states: torch.Tensor) -> torch.Tensor:
        """`(B, N, D)` and `(B, M, W)` to `(B, N, D)`."""
        vision = self.norm2(vision_hidden_states)
        query = self._heads(self.q_proj(self.norm1(queries)))  # (B, H, N, C)
        key, value = self._heads(self.k_proj(vision)), self._heads(self.v_proj(vision))  # (B, H, M, C)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        output, _ = attend(self, query, key, value, None, dropout=0.0, scaling=self.scaling, is_causal=False)
        return self.o_proj(output.flatten(2))

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class QLlamaDecoderLayer(LlamaDecoderLayer):
    """A Llama block; every so many have a cross attention for the queries."""

    def __init__(self, config: QLlamaConfig, layer_idx: int, cross_attention: bool = True):
        super().__init__(config, layer_idx)
        crosses = cross_attention and layer_idx % config.cross_attention_frequency == 0
        self.num_queries = config.num_query_token
        self.cross_attn = QLlamaCrossAttention(config) if crosses else None

    def forward(
        self, hidden_states: torch.Tensor, vision_hidden_states: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + attended  # (B, S, D)
        if self.cross_attn is not None and vision_hidden_states is not None:
            queries, text = hidden_states[:, : self.num_queries], hidden_states[:, self.num_queries :]
            queries = queries + self.cross_attn(queries, vision_hidden_states)  # (B, N, D)
            hidden_states = torch.cat([queries, text], dim=1)
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))


class QLlamaModel(LlamaModel):
    """QLLaMA without its language modeling head.

    Args:
        cross_attention: whether to have the cross attention at all; text alone does without.
        text: whether to have the embeddings of text tokens; queries alone do without.
    """

    config_class = QLlamaConfig
    config: QLlamaConfig
    _no_split_modules = ["QLlamaDecoderLayer"]
    # The queries see each other, which these kernels' causal flag cannot say.
    _supports_flash_attn = False
    _supports_flex_attn = False
    _can_record_outputs = {"hidden_states": QLlamaDecoderLayer, "attentions": LlamaAttention}

    def __init__(self, config: QLlamaConfig, cross_attention: bool = True, text: bool = True):
        super(LlamaModel, self).__init__(config)  # not Llama's own: it would build the layers twice
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size
        self.embed_tokens: nn.Module | None = None
        if text:
            self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList(
            QLlamaDecoderLayer(config, index, cross_attention) for index in range(config.num_hidden_layers)
        )
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = LlamaRotaryEmbedding(config)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    @deprecate_kwarg("past_key_values", "5.40.0", new_name="cache")
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        vision_hidden_states: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPast:
        """Run the body.

        Args:
            input_ids: `(B, L)`, text alone.
            inputs_embeds: `(B, S, D)` in their place; with `vision_hidden_states` the first N are the queries.
            attention_mask: `(B, S)`, 1 where a position is real (with a cache, the cached ones included): text is
                causal, queries see each other. Or `(B, 1, S, S)`, one of this file's masks, taken as it is.
            vision_hidden_states: `(B, M, W)`, what the queries attend to. Ignored once the cache holds the queries.

        Returns:
            `last_hidden_state` `(B, S, D)`.

        Raises:
            ValueError: neither or both of ids and embeddings; more positions than the model has; vision tokens
                without queries.
        """
        refuse_stray_caches(self, kwargs)
        inputs_embeds = self._embed(input_ids, inputs_embeds)
        if use_cache and cache is None and use_cache_of_packs(None, attention_mask, position_ids, cache) is None:
            cache = DynamicCache(config=self.config)
        seen = cache.get_seq_length() if cache is not None else 0
        if vision_hidden_states is not None and seen > 0:
            vision_hidden_states = None
        self._check_length(inputs_embeds, vision_hidden_states)
        if position_ids is None:
            position_ids = torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device)[None] + seen
        if vision_hidden_states is not None and (attention_mask is None or attention_mask.dim() == 2):
            mask = self._prompt_mask(inputs_embeds, attention_mask, cache)
        else:
            mask = create_causal_mask(self.config, inputs_embeds, attention_mask, cache, position_ids)

        hidden_states = inputs_embeds
        rotations = self.rotary_emb(hidden_states, position_ids=position_ids)
        for layer in self.layers:
            hidden_states = layer(
                hidden_states,
                vision_hidden_states,
                attention_mask=mask,
                position_embeddings=rotations,
                position_ids=position_ids,
                cache=cache,
                use_cache=use_cache,
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_states), cache=cache)

    def encode_queries(self, query_tokens: torch.Tensor, vision_hidden_states: torch.Tensor) -> torch.Tensor:
        """What the queries make of the vision tokens, no text behind them.

        Args:
            query_tokens: `(1, N, D)`.
            vision_hidden_states: `(B, M, W)`.

        Returns:
            `(B, N, D)`.
        """
        queries = query_tokens.expand(vision_hidden_states.shape[0], -1, -1)
        outputs = self(inputs_embeds=queries, vision_hidden_states=vision_hidden_states, use_cache=False)
        return outputs.last_hidden_state

    def _embed(self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None) -> torch.Tensor:
        """The embeddings `(B, S, D)` that were given, or those of ids `(B, S)`."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of `input_ids` and `inputs_embeds`.")
        if inputs_embeds is not None:
            return inputs_embeds
        if self.embed_tokens is None:
            raise ValueError("This QLLaMA serves an image tower, it has no embeddings of text tokens.")
        return self.embed_tokens(input_ids)

    def _check_length(self, inputs_embeds: torch.Tensor, vision: torch.Tensor | None) -> None:
        """The positions that the model has, and room for the queries."""
        length, limit, queries = (
            inputs_embeds.shape[1],
            self.config.max_position_embeddings,
            self.config.num_query_token,
        )
        if length > limit:
            raise ValueError(
                f"The sequence has {length} positions, the model {limit} (`max_position_embeddings`"
                f"{f', {queries} of them queries' if vision is not None else ''}): shorten the text."
            )
        if vision is not None and length < queries:
            raise ValueError(
                f"With `vision_hidden_states` the first {queries} positions are the queries, but there are only "
                f"{length} in all: put `query_tokens` in front of the text's embeddings."
            )

    def _prompt_mask(
        self, inputs_embeds: torch.Tensor, padding_mask: torch.Tensor | None, cache: Cache | None
    ) -> torch.Tensor:
        """[`generation_mask`] for a prompt, wide enough for a cache that is longer than the prompt."""
        length = inputs_embeds.shape[1]
        if padding_mask is None:
            padding_mask = torch.ones(inputs_embeds.shape[:2], dtype=torch.bool, device=inputs_embeds.device)
        mask = generation_mask(padding_mask, self.config.num_query_token, inputs_embeds.dtype)
        if cache is None:
            return mask
        room = cache.get_mask_sizes(length, 0)[0] - length
        return nn.functional.pad(mask, (0, room), value=torch.finfo(mask.dtype).min)


class QLlamaForCausalLM(InternVLGenerationMixin, LlamaForCausalLM):
    """QLLaMA with its language modeling head; generates behind embeddings that begin with the queries."""

    config_class = QLlamaConfig
    config: QLlamaConfig
    _no_split_modules = ["QLlamaDecoderLayer"]
    _supports_flash_attn = False
    _supports_flex_attn = False
    _can_record_outputs = QLlamaModel._can_record_outputs

    def __init__(self, config: QLlamaConfig):
        super(LlamaForCausalLM, self).__init__(config)  # not Llama's own: it would build the body twice
        self.model = QLlamaModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    @deprecate_kwarg("past_key_values", "5.40.0", new_name="cache")
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        vision_hidden_states: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CausalLMOutputWithPast:
        """As Llama's, with `vision_hidden_states` `(B, M, W)` as in [`QLlamaModel`]."""
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            inputs_embeds=inputs_embeds,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            vision_hidden_states=vision_hidden_states,
            **kwargs,
        )

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        inputs_embeds: torch.Tensor | None = None,
        is_first_iteration: bool | None = False,
        vision_hidden_states: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As transformers', with the vision tokens for the prompt alone."""
        prompt = {"vision_hidden_states": vision_hidden_states} if is_first_iteration else {}
        return prompt | super().prepare_inputs_for_generation(
            input_ids, inputs_embeds=inputs_embeds, is_first_iteration=is_first_iteration, **kwargs
        )

    @staticmethod
    def create_masks_for_generate(
        attention_mask: torch.Tensor | None = None, is_first_iteration: bool = False, **kwargs: Any
    ) -> Any:
        """As transformers', but a prompt's padding mask stays one: `forward` knows whether it begins with queries."""
        return (
            attention_mask
            if is_first_iteration
            else create_masks_for_generate(attention_mask=attention_mask, **kwargs)
        )


__all__ = [
    "QLlamaForCausalLM",
    "QLlamaModel",
    "contrastive_mask",
    "generation_mask",
    "matching_mask",
]
