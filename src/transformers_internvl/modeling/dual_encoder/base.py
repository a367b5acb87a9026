# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the dual encoder and its halves have in common: outputs, loading, initialization, the encoding of text.

Shape letters: B images, T texts, L text positions, N queries, M tokens of the tower, W its width, D width of QLLaMA,
E width of the shared space.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling, ModelOutput
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, torch_compilable_check
from transformers.utils.generic import can_return_tuple

from ..pretrained.base import InternVLPreTrainedModel
from ..vision.layers import AttentionPoolAttention
from .configuration import InternVLDualEncoderConfig

MODES = ("InternVL-C", "InternVL-G")


@dataclass
class InternVLDualEncoderImageOutput(BaseModelOutputWithPooling):
    """The tower's `last_hidden_state` `(B, M, W)`; `pooler_output` `(B, E)`, the image's vector, not normalized.

    `query_hidden_states` `(B, N, D)`: what QLLaMA makes of the queries, in mode InternVL-G.
    """

    query_hidden_states: torch.Tensor | None = None


@dataclass
class InternVLDualEncoderOutput(ModelOutput):
    """Outputs of [`InternVLDualEncoderModel`].

    `logits_per_image` `(B, T)` and `logits_per_text` `(T, B)` are scaled cosines; `image_embeds` `(B, E)` and
    `text_embeds` `(T, E)` are normalized.
    """

    loss: torch.Tensor | None = None
    logits_per_image: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    image_embeds: torch.Tensor | None = None
    text_model_output: BaseModelOutputWithPooling | None = None
    vision_model_output: InternVLDualEncoderImageOutput | None = None


class InternVLDualEncoderPreTrainedModel(InternVLPreTrainedModel):
    """Loading, weight initialization and capabilities that the whole and its halves share."""

    config_class = InternVLDualEncoderConfig
    config: InternVLDualEncoderConfig
    base_model_prefix = "dual_encoder"
    input_modalities: tuple[str, ...] = ("image", "text")
    strict_loading = True
    _no_split_modules = ["InternVLVisionLayer", "QLlamaDecoderLayer", "AttentionPool"]
    _supports_flash_attn = False
    _supports_flex_attn = False
    _can_compile_fullgraph = False
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq"]
    modules_to_not_convert = ("vision_model", "clip_projector", "clip_projector2", "itm_head", "qllama.lm_head")
    accepts_loss_kwargs = False  # losses are means over pairs: `Trainer` shall average them over accumulation steps

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As transformers', and strict; captions end with QLLaMA's end token."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if model.can_generate():
            # The original folders have no generation_config.json, and in config.json the ids belong to QLLaMA.
            for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
                if getattr(model.generation_config, name) is None:
                    setattr(model.generation_config, name, getattr(model.config.qllama_config, name))
        return loaded

    @classmethod
    def _explain_misfit(cls, unexpected: list[str], missing: list[str]) -> str:
        if "qllama.model.norm.weight" in missing:
            return "The folder has no text half: load InternVLDualEncoderVisionModel for the vision half."
        if "vision_model.embeddings.cls_token" in missing:
            return "The folder has no vision half: load InternVLDualEncoderTextModel for the text half."
        return super()._explain_misfit(unexpected, missing)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AttentionPoolAttention):
            module.init_biases()
        for name, parameter in module.named_parameters(recurse=False):
            if name == "query_tokens":
                init.normal_(parameter, std=self.config.initializer_range)
            elif name == "text_projection":
                init.normal_(parameter, std=self.config.qllama_config.hidden_size**-0.5)
            elif name == "logit_scale":
                init.constant_(parameter, math.log(1 / 0.07))

    def set_image_size(self, image_size: int) -> None:
        """Fit the tower's position table to images of another size permanently, as between the phases of stage 1.

        Images of any size are encoded without it, too; then the table is interpolated at every call. The table is a
        new parameter: an optimizer made before does not hold it (`training.image_size` has a way on).

        Args:
            image_size: side in pixels, a multiple of the patch size.

        Raises:
            ValueError: another size, or the text half alone.
        """
        tower = getattr(self, "vision_model", None)
        if tower is None:
            raise ValueError(f"{type(self).__name__} has no vision tower whose image size could be set.")
        patch = tower.config.patch_size[0]
        if image_size < patch or image_size % patch:
            raise ValueError(f"`image_size` must be a multiple of the patch size {patch}, got {image_size}.")
        tower.resize_pos_embeddings(tower.config.image_size[0], image_size, patch)
        self.config.vision_config.image_size = (image_size, image_size)
        if self.config.force_image_size:
            self.config.force_image_size = image_size


class TextFeatureMixin:
    """The text half: `qllama` and `text_projection` of the class it is mixed into."""

    qllama: Any
    text_projection: nn.Parameter

    def get_input_embeddings(self) -> nn.Module:
        """The embeddings of text tokens."""
        return self.qllama.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embeddings of text tokens."""
        self.qllama.set_input_embeddings(value)

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Encode texts: QLLaMA without queries, causal; the last real token is the text.

        Args:
            input_ids: `(T, L)`: `summarize:` and the text, with the end token.
            attention_mask: `(T, L)`, 1 where a token is real. None: where the id is above 0, as originally.

        Returns:
            `pooler_output` `(T, E)`, the text's vector, not normalized; `last_hidden_state` `(T, L, D)`.

        Raises:
            ValueError: a text without any real token, or with more tokens than the model has positions.
        """
        if attention_mask is None:
            attention_mask = input_ids > 0
        real = attention_mask.bool().any(dim=-1)  # (T,)
        torch_compilable_check(
            real.all(),
            lambda: f"Text {int(real.long().argmin())} of the batch has no token: its `attention_mask` is zero.",
        )
        outputs = self.qllama.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **kwargs)
        return BaseModelOutputWithPooling(
            last_hidden_state=outputs.last_hidden_state,
            pooler_output=self._project_text(outputs.last_hidden_state, attention_mask),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def encode_text(self, text: torch.Tensor) -> torch.Tensor:
        """By the original name: ids `(T, L)`, padded with 0, to the texts' vectors `(T, E)`, not normalized."""
        return self.get_text_features(text, return_dict=True).pooler_output

    def _project_text(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The last real position of every row in the shared space: `(T, L, D)` to `(T, E)`."""
        mask = attention_mask.to(hidden_states.device).bool()
        positions = torch.arange(mask.shape[1], device=mask.device)
        last = (positions * mask).argmax(dim=-1)  # (T,)
        rows = torch.arange(hidden_states.shape[0], device=last.device)
        return hidden_states[rows, last] @ self.text_projection.to(hidden_states.device)


def check_mode(mode: str) -> str:
    """The mode, if it is one.

    Raises:
        ValueError: it is none of `MODES`.
    """
    if mode not in MODES:
        raise ValueError(f"`mode` must be one of {', '.join(MODES)}, got {mode!r}.")
    return mode


__all__ = [
    "MODES",
    "TextFeatureMixin",
    "InternVLDualEncoderImageOutput",
    "InternVLDualEncoderOutput",
    "InternVLDualEncoderPreTrainedModel",
    "check_mode",
]
