# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL-14B: InternVL-C and InternVL-G, images and texts in one space, and captions (arXiv:2312.14238).

InternVL-C pools the tower's tokens into one vector. InternVL-G adds to it what QLLaMA's queries make of them. Both
compare it with the same text vector. Parameter names are the original code's.

Shape letters: B images, T texts, L text positions, N queries, M tokens of the tower, W its width, D width of QLLaMA,
E width of the shared space.

Source: `modeling_internvl.py` of the released checkpoints.
"""

import math
from typing import Any

import torch
from torch import nn
from transformers import GenerationConfig, GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple

from ..pretrained.parallel import gather_plans
from ..pretrained.upstream import on_every_rank
from ..vision.layers import AttentionPool
from ..vision.model import InternVisionModel
from .base import (
    InternVLDualEncoderImageOutput,
    InternVLDualEncoderOutput,
    InternVLDualEncoderPreTrainedModel,
    TextFeatureMixin,
    check_mode,
)
from .configuration import InternVLDualEncoderConfig
from .losses import contrastive_loss
from .qllama import QLlamaForCausalLM, QLlamaModel


class InternVLDualEncoderVisionModel(InternVLDualEncoderPreTrainedModel):
    """The vision half alone: InternVL-C's image vectors from the same folder, at less than half the memory."""

    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _keys_to_ignore_on_load_unexpected = [
        r"^qllama\.",
        r"^clip_projector2\.",
        r"^itm_head\.",
        r"^(query_tokens|text_projection|logit_scale)$",
    ]

    def __init__(self, config: InternVLDualEncoderConfig):
        super().__init__(config)
        self.vision_model = InternVisionModel(config.vision_config)
        width, heads = config.vision_config.hidden_size, config.attn_pool_num_heads
        self.clip_projector = AttentionPool(config, width, heads, config.clip_embed_dim)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The patch embeddings."""
        return self.vision_model.get_input_embeddings()

    @can_return_tuple
    def get_image_features(
        self, pixel_values: torch.Tensor, mode: str = "InternVL-C", **kwargs: Unpack[TransformersKwargs]
    ) -> InternVLDualEncoderImageOutput:
        """As [`InternVLDualEncoderModel.get_image_features`], in mode InternVL-C alone."""
        if check_mode(mode) != "InternVL-C":
            raise ValueError(f"Mode {mode!r} needs QLLaMA, which this half is without: load InternVLDualEncoderModel.")
        outputs = self.vision_model(pixel_values, **kwargs)
        return InternVLDualEncoderImageOutput(
            last_hidden_state=outputs.last_hidden_state,
            pooler_output=self.clip_projector(outputs.last_hidden_state),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def get_text_features(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Not in this half.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "This is the vision half of InternVL-14B, it has no text encoder: load InternVLDualEncoderTextModel, or "
            "InternVLDualEncoderModel for the whole, from a folder that holds it."
        )

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> InternVLDualEncoderImageOutput:
        """Image vectors, as `get_image_features`."""
        return self.get_image_features(pixel_values, **kwargs)


class InternVLDualEncoderTextModel(TextFeatureMixin, InternVLDualEncoderPreTrainedModel):
    """The text half alone: text vectors from the same folder, without the cross attention, which text never uses."""

    input_modalities = ("text",)
    _keys_to_ignore_on_load_unexpected = [
        r"^(vision_model|clip_projector2?|itm_head)\.",
        r"^(query_tokens|logit_scale)$",
        r"\.cross_attn\.",
        r"^qllama\.lm_head\.",
        r"rotary_emb\.inv_freq",
    ]

    def __init__(self, config: InternVLDualEncoderConfig):
        super().__init__(config)
        self.qllama = _TextBody(config)
        self.text_projection = nn.Parameter(torch.zeros(config.qllama_config.hidden_size, config.clip_embed_dim))
        self.post_init()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Text vectors, as `get_text_features`."""
        return self.get_text_features(input_ids, attention_mask, **kwargs)


class _TextBody(nn.Module):
    """QLLaMA's body under the names it has inside the whole, without head and cross attention."""

    def __init__(self, config: InternVLDualEncoderConfig):
        super().__init__()
        self.model = QLlamaModel(config.qllama_config, cross_attention=False)
        gather_plans(self, {"model": self.model})

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)


class InternVLDualEncoderModel(TextFeatureMixin, InternVLDualEncoderPreTrainedModel, GenerationMixin):
    """InternVL-C and InternVL-G: vectors of images and texts, their similarities, and captions."""

    main_input_name = "pixel_values"

    def __init__(self, config: InternVLDualEncoderConfig):
        super().__init__(config)
        text_width, vision_width = config.qllama_config.hidden_size, config.vision_config.hidden_size
        self.vision_model = InternVisionModel(config.vision_config)
        self.qllama = QLlamaForCausalLM(config.qllama_config)
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_token, text_width))
        self.text_projection = nn.Parameter(torch.zeros(text_width, config.clip_embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        heads = config.attn_pool_num_heads
        self.clip_projector = AttentionPool(config, vision_width, heads, config.clip_embed_dim)
        self.clip_projector2 = AttentionPool(config, text_width, heads, config.clip_embed_dim)
        self.itm_head = nn.Linear(text_width, 2)
        self.post_init()
        self.generation_config = GenerationConfig.from_model_config(config.qllama_config)

    def get_output_embeddings(self) -> nn.Module:
        """The language modeling head."""
        return self.qllama.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the language modeling head."""
        self.qllama.lm_head = new_embeddings

    def freeze_for_stage_2(self) -> None:
        """Train what stage 2 adds, and nothing else: queries, cross attention and the heads on them.

        Tower, Llama body, `clip_projector` and `text_projection` are frozen (arXiv:2312.14238, section 3.3).
        """
        trained = ("query_tokens", "logit_scale", "clip_projector2.", "itm_head.")
        for name, parameter in self.named_parameters():
            in_bridge = name.startswith("qllama.") and ".cross_attn." in name
            parameter.requires_grad_(in_bridge or name.startswith(trained))

    @can_return_tuple
    def get_image_features(
        self, pixel_values: torch.Tensor, mode: str = "InternVL-C", **kwargs: Unpack[TransformersKwargs]
    ) -> InternVLDualEncoderImageOutput:
        """Encode images.

        Args:
            pixel_values: `(B, 3, height, width)`, normalized; sides any multiple of the patch size (14).
            mode: `"InternVL-C"`: the tower's tokens, pooled. `"InternVL-G"`: the sum of that vector and the pooled
                queries of QLLaMA, both normalized first.

        Returns:
            `pooler_output` `(B, E)`, the image's vector, not normalized; `last_hidden_state` `(B, M, W)` of the tower;
            in mode InternVL-G `query_hidden_states` `(B, N, D)`.

        Raises:
            ValueError: an unknown mode, or sides that no whole number of patches fits.
        """
        check_mode(mode)
        tower = self.vision_model(pixel_values, **kwargs)
        pooled, queries = self.clip_projector(tower.last_hidden_state), None
        if mode == "InternVL-G":
            queries = self.qllama.model.encode_queries(self.query_tokens, tower.last_hidden_state)
            pooled = nn.functional.normalize(self.clip_projector2(queries)) + nn.functional.normalize(pooled)
        return InternVLDualEncoderImageOutput(
            last_hidden_state=tower.last_hidden_state,
            pooler_output=pooled,
            hidden_states=tower.hidden_states,
            attentions=tower.attentions,
            query_hidden_states=queries,
        )

    def encode_image(self, image: torch.Tensor, mode: str) -> torch.Tensor:
        """By the original name: pixel values `(B, 3, h, w)` to the images' vectors `(B, E)`, not normalized."""
        return self.get_image_features(image, mode, return_dict=True).pooler_output

    def _behind_queries(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Queries in front of texts: embeddings `(B, N + L, D)` and their padding mask `(B, N + L)`."""
        text = self.get_input_embeddings()(input_ids)  # (B, L, D)
        queries = self.query_tokens.to(text.device).expand(text.shape[0], -1, -1)
        real = attention_mask.new_ones(queries.shape[:2])
        return torch.cat([queries, text], dim=1), torch.cat([real, attention_mask], dim=1)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        mode: str = "InternVL-C",
        return_loss: bool = False,
        image: torch.Tensor | None = None,
        text: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> InternVLDualEncoderOutput | tuple[torch.Tensor, torch.Tensor]:
        """Compare images with texts.

        Args:
            pixel_values: `(B, 3, height, width)`.
            input_ids, attention_mask: `(T, L)`, as in `get_text_features`.
            mode: `"InternVL-C"` or `"InternVL-G"`, as in `get_image_features`.
            return_loss: compute the contrastive loss of pairs (then `B == T`, row by row), over all ranks.
            image, text: the original names of `pixel_values` and `input_ids`. Who uses them, or their order with the
                mode in third place, gets what the original model returns, the tuple of `logits_per_image` and
                `logits_per_text`.

        Raises:
            ValueError: images or texts are missing; as `get_image_features` and `get_text_features`; with
                `return_loss`, texts that do not pair up.
        """
        if isinstance(attention_mask, str):  # `model(image, text, mode)`, the original order
            image, text, mode, attention_mask = pixel_values, input_ids, attention_mask, None
        if image is not None and text is not None:
            outputs = self(image, text, attention_mask, mode, return_dict=True, **kwargs)
            return outputs.logits_per_image, outputs.logits_per_text
        if pixel_values is None or input_ids is None:
            raise ValueError(
                "`forward` compares images with texts: give `pixel_values` and `input_ids`. For one side alone there "
                "are `get_image_features` and `get_text_features`."
            )
        images = self.get_image_features(pixel_values, mode, return_dict=True, **kwargs)
        texts = self.get_text_features(input_ids, attention_mask, return_dict=True, **kwargs)
        image_embeds = nn.functional.normalize(images.pooler_output)
        text_embeds = nn.functional.normalize(texts.pooler_output).to(image_embeds.device)
        scale = on_every_rank(self.logit_scale).exp().to(image_embeds.device)
        logits = scale * image_embeds @ text_embeds.T  # (B, T)
        loss = None
        if return_loss:
            smoothing, copies = self.config.label_smoothing, self.tp_size or 1
            loss = contrastive_loss(image_embeds, text_embeds, scale, smoothing, copies=copies)
        return InternVLDualEncoderOutput(
            loss=loss,
            logits_per_image=logits,
            logits_per_text=logits.T,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
            text_model_output=texts,
            vision_model_output=images,
        )

    @torch.no_grad()
    def generate(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Caption images.

        Args:
            pixel_values: `(B, 3, height, width)`.
            input_ids: `(B, L)`, the prompt (`English caption:`, without end token); padding goes to the left.
            attention_mask: `(B, L)`. None: wherever the id is above 0.
            generation_config, kwargs: as of transformers' `generate`.

        Returns:
            What `generate` returns; sequences are the new tokens only.

        Raises:
            ValueError: another number of prompts than of images; prompts padded on the right.
        """
        if len(input_ids) != len(pixel_values):
            raise ValueError(f"Give one prompt per image: got {len(input_ids)} for {len(pixel_values)} images.")
        attention_mask = (input_ids > 0).long() if attention_mask is None else attention_mask
        if not attention_mask[:, -1].all():
            raise ValueError("A prompt ends with padding, behind which no caption can go on: pad on the left.")
        embeds, attention_mask = self._behind_queries(input_ids, attention_mask)
        self.qllama.generation_config = self.generation_config  # this model's is the one that is loaded and saved
        return self.qllama.generate(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            vision_hidden_states=self.vision_model(pixel_values).last_hidden_state,
            generation_config=generation_config,
            **kwargs,
        )


__all__ = ["InternVLDualEncoderModel", "InternVLDualEncoderTextModel", "InternVLDualEncoderVisionModel"]
