# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL: tower -> pixel shuffle -> projector -> language model (arXiv:2404.16821, section 3.1).

Class, parameter and argument names are upstream transformers'; what upstream has not is optional and named in the
docstrings.

Shape letters: T tiles, n image tokens of a tile; B rows, L positions, D width of the language model, V vocabulary.
"""

from typing import Any

import torch
from torch import nn
from transformers import AutoModel, Cache
from transformers import InternVLConfig as UpstreamInternVLConfig
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, is_torchdynamo_compiling, torch_compilable_check
from transformers.utils.deprecation import deprecate_kwarg
from transformers.utils.generic import can_return_tuple

from ..flash.generation import tile_lengths
from ..flash.router import CompressedProjector, PoolingAttention, ResolutionRouter, TilePooling
from ..flash.shortening import IGNORED, Shortening, at_kept, shifted_at_kept, tiles_of_samples
from ..losses import share_of_step, supervised_loss, token_losses
from ..outputs import InternVLCausalLMOutputWithPast, InternVLModelOutputWithPast
from ..pretrained.base import InternVLPreTrainedModel
from ..pretrained.generation import InternVLGenerationMixin, embed_known, has_no_embedding
from ..pretrained.older_arguments import refuse_stray_caches
from ..pretrained.packed_masks import packed_masks, use_cache_of_packs
from ..pretrained.parallel import is_sharded
from ..pretrained.upstream import replace_stateful_rope
from .configuration import InternVLConfig
from .image_features import (
    PROJECTORS,
    ImageFeatureMixin,
    InternVLMiddlewareTower,
    build_tower,
    move_padding_tiles_last,
    pixel_shuffle,
)
from .token_pruning import TokenPruningGenerationMixin, refuse_late, take_reduction
from .visual_generation import VisualPositionsGenerationMixin
from .visual_positions import VisualStride, is_off, stride_of_training, visual_positions


class InternVLModel(ImageFeatureMixin, InternVLPreTrainedModel):
    """Tower, projector and language model, without a language modeling head."""

    config: InternVLConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text", "video")
    modules_to_not_convert = ("vision_tower", "multi_modal_projector", "resolution_router", "compressed_projector")
    # The first joins two outputs, the second has parameters of its own; tower and language model add theirs.
    _no_split_modules = ["InternVLTwoMLPProjector", "ResolutionRouter"]

    def __init__(self, config: InternVLConfig):
        if not isinstance(config, UpstreamInternVLConfig):
            raise ValueError(
                f"{type(self).__name__} needs an InternVLConfig, got {type(config).__name__}: load "
                "this folder with AutoModel."
            )
        super().__init__(config)
        self.vision_tower = build_tower(config)
        self.multi_modal_projector = PROJECTORS[config.projector_type](config)
        if config.flash_mode is not None:  # InternVL3.5-Flash
            self.resolution_router = ResolutionRouter(config)
            self.compressed_projector = CompressedProjector(config)
        self.language_model = AutoModel.from_config(config.text_config)
        replace_stateful_rope(self.language_model)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, InternVLMiddlewareTower):
            init.normal_(module.query_tokens, std=self.config.middleware_config.initializer_range)
        elif isinstance(module, TilePooling):
            module.reset(self.config.vision_config.initializer_range)
        elif isinstance(module, PoolingAttention):
            module.reset()

    def get_placeholder_mask(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor,
        image_features: torch.Tensor,
        num_tiles: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Where the image tokens go: `(B, L, 1)`, True at placeholders, of which there must be as many as features.

        Args:
            image_features: `(T, n, D)`; or of tiles of several lengths, one after the other, `(N, D)`.
            num_tiles: how many of the features' tiles are meant, `()`. None: all.
        """
        if image_features.shape[-1] != inputs_embeds.shape[-1]:
            raise ValueError(
                f"Image features are {image_features.shape[-1]} wide, the language model is {inputs_embeds.shape[-1]}"
                ": they were computed by another model, or are the tower's, not the projector's."
            )
        mask = self.find_placeholders(input_ids, inputs_embeds)
        tiles, per_tile = image_features.shape[0] if num_tiles is None else num_tiles, image_features.shape[1]
        features = image_features.numel() // image_features.shape[-1] if num_tiles is None else num_tiles * per_tile
        placeholders = mask.sum()
        torch_compilable_check(
            placeholders == features,
            lambda: (
                f"Image features and image tokens do not match, tokens: {placeholders}, features: {features}"
                f"{f' ({tiles} tiles of {per_tile})' if image_features.dim() == 3 else ''}. Every tile needs its "
                "own run of <IMG_CONTEXT> in the prompt: let the processor expand it, and do not truncate the result."
            ),
        )
        return mask.unsqueeze(-1).to(inputs_embeds.device)

    def find_placeholders(self, input_ids: torch.Tensor | None, inputs_embeds: Any = None) -> torch.Tensor:
        """Where image tokens stand, `(B, L)`, in ids `(B, L)`, or in embeddings `(B, L, D)` without ids.

        Raises:
            ValueError: nobody knows the id of an image token, or embeddings cannot show it.
        """
        token = self.config.image_token_id
        if token is None:
            raise ValueError(
                "The config does not say which token stands for an image (`image_token_id`), and no tokenizer lay "
                "beside the checkpoint to read it from. Set `model.config.image_token_id = "
                "tokenizer.convert_tokens_to_ids('<IMG_CONTEXT>')`, or pass `image_token_id=` to `from_pretrained`."
            )
        if input_ids is not None:
            return input_ids == token  # (B, L)
        if has_no_embedding(self.config):
            raise ValueError(
                f"Image token {token} has no embedding (the vocabulary has {self.config.text_config.vocab_size}), so "
                "images cannot be placed by `inputs_embeds`: pass `input_ids`."
            )
        embedding = self.get_input_embeddings()(torch.tensor(token, device=inputs_embeds.device))
        return (inputs_embeds == embedding).all(-1)

    @can_return_tuple
    @deprecate_kwarg("past_key_values", "5.40.0", new_name="cache")
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        image_flags: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        image_copies: int = 1,
        v2pe_stride: VisualStride = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> InternVLModelOutputWithPast:
        """Run the language model over text and image tokens.

        Args:
            input_ids: `(B, L)` with `config.image_token_id` at every image token; or `inputs_embeds` `(B, L, D)`.
            pixel_values: `(T, 3, height, width)`: the tiles of all rows, in the order of their placeholders.
            image_flags: `(T,)`, 0 marks dummy tiles, which are not encoded. In a compiled or exported model they are,
                and stand behind the others in `image_outputs`.
            mm_encoder_outputs: `{"image": get_image_features(...)}` computed earlier, in place of `pixel_values`.
            image_copies: how often the rows go through all tiles; each is encoded once.
            flash_mode, flash_relative_threshold, flash_absolute_threshold, compressed_tiles: of InternVL3.5-Flash,
                which tiles are compressed (`modeling/flash/compression.py`); without any of them none is. The rows
                become shorter, and outputs are those of `kept_positions`.
            kept_tokens, pruning, pruning_seed: how many image tokens of every tile are kept, and how they are chosen
                (`modeling/internvl/token_pruning.py`); without them all are. The rows become shorter as well.
            position_ids: `(B, L)`. Where they begin again within a row, and there is neither `attention_mask` nor
                `cache`, the row is a pack: its samples do not see each other, and no cache is made. Fractions are
                those of V2PE, and begin again where they do not grow.
            v2pe_stride: by how much positions grow from one token of an image to the next, a power of two (1: off);
                `(images,)`, for every image its own; or `"random"`: see `visual_positions.py`.
        """
        refuse_stray_caches(self, kwargs)
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        if pixel_values is not None and mm_encoder_outputs:
            raise ValueError("You cannot specify both pixel_values and mm_encoder_outputs at the same time")
        if inputs_embeds is None:
            inputs_embeds = embed_known(self.get_input_embeddings(), input_ids, self.config)  # (B, L, D)

        # How many tiles are real is data, which no graph has as a shape: compiled, all go through the tower.
        compiled_flags = image_flags if pixel_values is not None and is_torchdynamo_compiling() else None
        compression = take_reduction(self.config, kwargs)
        image_outputs = refuse_late((mm_encoder_outputs or {}).get("image"), compression)
        if pixel_values is not None and (compiled_flags is not None or image_flags is None or image_flags.any()):
            if compression is not None:
                prompts = (input_ids, inputs_embeds, attention_mask, position_ids, image_copies)
                compression = compression.of_samples(self._tiles_of_samples(pixel_values, image_flags, *prompts))
            image_outputs = self.get_image_features(
                pixel_values,
                vision_feature_layer=vision_feature_layer,
                vision_feature_select_strategy=vision_feature_select_strategy,
                image_flags=image_flags if compiled_flags is None else None,
                compression=compression,
                return_dict=True,
            )
        shortened = self._shorten(image_outputs, image_copies, input_ids, inputs_embeds, attention_mask)
        if shortened is not None:
            input_ids = None if input_ids is None else shortened.apply(input_ids)
            inputs_embeds, attention_mask = shortened.apply(inputs_embeds), shortened.mask(attention_mask)
            position_ids = shortened.positions(position_ids)
        if getattr(self.language_model, "routes_image_tokens", False) and "image_token_mask" not in kwargs:
            kwargs["image_token_mask"] = self._image_token_mask(input_ids, inputs_embeds, cache)
        if not is_off(v2pe_stride):
            placeholders = self.find_placeholders(input_ids, inputs_embeds)
            position_ids = self._visual_positions(placeholders, v2pe_stride, attention_mask, position_ids, cache)
        if image_outputs is not None:
            inputs_embeds, image_outputs = self._merge_image_tokens(
                input_ids, inputs_embeds, image_outputs, image_copies, compiled_flags
            )
        no_image = image_outputs is None or _is_empty(image_outputs.pooler_output)
        if no_image and self._needs_dummy_vision_forward(cache, mm_encoder_outputs):
            inputs_embeds = self._dummy_vision_forward(inputs_embeds)

        outputs = self._run_language_model(inputs_embeds, attention_mask, position_ids, cache, kwargs)
        return InternVLModelOutputWithPast(
            last_hidden_state=outputs.last_hidden_state,
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_outputs=image_outputs,
            router_logits=getattr(outputs, "router_logits", None),
            kept_positions=None if shortened is None else shortened.kept,
        )

    def _tiles_of_samples(
        self,
        pixel_values: torch.Tensor,
        image_flags: torch.Tensor | None,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor,
        attention_mask: torch.Tensor | None,
        position_ids: torch.Tensor | None,
        image_copies: int,
    ) -> list[int]:
        """How many real tiles each sample of the rows `(B, L)` has, of which `image_copies` are the same."""
        placeholders = self.find_placeholders(input_ids, inputs_embeds)[: len(inputs_embeds) // image_copies]
        num_tiles = len(pixel_values) if image_flags is None else int((image_flags == 1).sum())
        return tiles_of_samples(placeholders, num_tiles, attention_mask, position_ids)

    def _run_language_model(
        self,
        inputs_embeds: torch.Tensor,
        attention_mask: Any,
        position_ids: torch.Tensor | None,
        cache: Cache | None,
        options: dict[str, Any],
    ) -> Any:
        """Outputs for embeddings `(B, L, D)`; packed samples are kept apart."""
        use_cache = use_cache_of_packs(options.get("use_cache"), attention_mask, position_ids, cache)
        if self.training and cache is None and use_cache is None:
            use_cache = False
        if use_cache is not None:
            options = {**options, "use_cache": use_cache}
        config = self.config.text_config
        return self.language_model(
            attention_mask=packed_masks(config, inputs_embeds, attention_mask, position_ids, cache, options),
            position_ids=position_ids,
            cache=cache,
            inputs_embeds=inputs_embeds,
            **options,
        )

    def _visual_positions(
        self,
        placeholders: torch.Tensor,
        stride: Any,
        attention_mask: torch.Tensor | None,
        position_ids: torch.Tensor | None,
        cache: Cache | None,
    ) -> torch.Tensor:
        """Positions of rows with placeholders `(B, L)` under V2PE, `(B, L)`."""
        if position_ids is not None and (position_ids.is_floating_point() or attention_mask is not None):
            raise ValueError("`v2pe_stride` makes the position ids: leave out `position_ids`, or the stride.")
        if cache is not None and cache.get_seq_length() > 0:
            raise ValueError(
                "The positions of what a cache holds are not known, so that `v2pe_stride` cannot count on: pass "
                "`position_ids` that go on from the last one."
            )
        return visual_positions(placeholders, stride, self.config.image_seq_length, attention_mask, position_ids)

    def _shorten(
        self,
        image_outputs: BaseModelOutputWithPooling | None,
        image_copies: int,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor,
        attention_mask: torch.Tensor | None,
    ) -> Shortening | None:
        """What stays of rows `(B, L)` that were written for whole tiles; None: all of it."""
        lengths = None if image_outputs is None else tile_lengths(image_outputs)
        if not lengths:
            return None
        placeholders = self.find_placeholders(input_ids, inputs_embeds)
        lengths = lengths * image_copies
        if int(placeholders.sum()) == sum(lengths):
            return None
        return Shortening.of(placeholders, lengths, attention_mask)

    def _image_token_mask(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor, cache: Cache | None
    ) -> torch.Tensor | None:
        """Where the prompt has image tokens: `(B, L)`, for language models with experts for them.

        A single position behind others is a token of the answer, which is text whatever its id is.
        """
        if cache is not None and inputs_embeds.shape[1] == 1:
            return None
        return self.find_placeholders(input_ids, inputs_embeds)

    def _merge_image_tokens(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor,
        image_outputs: BaseModelOutputWithPooling,
        image_copies: int,
        image_flags: torch.Tensor | None,
    ) -> tuple[torch.Tensor, BaseModelOutputWithPooling]:
        """Put image features in the place of image tokens.

        Args:
            input_ids: `(B, L)`, or None.
            inputs_embeds: `(B, L, D)`.
            image_outputs: of the tower and projector, features `(T, n, D)` in `pooler_output`, or T tensors `(n, D)`.
            image_copies: how often the rows go through all tiles.
            image_flags: `(T,)`, 0 marks dummy tiles among the features. None: there are none.

        Returns:
            The embeddings `(B, L, D)`, and the image outputs with the features that were used, dummy tiles last.
        """
        given = image_outputs.pooler_output
        features = given if isinstance(given, torch.Tensor) else torch.cat(list(given))  # (T, n, D) or (N, D)
        features = features.to(inputs_embeds.device, inputs_embeds.dtype)
        if image_copies > 1:
            features = features.repeat(image_copies, *[1] * (features.dim() - 1))
        num_tiles = None
        if image_flags is not None:
            features, num_tiles = move_padding_tiles_last(features, image_flags.reshape(-1).repeat(image_copies))
        mask = self.get_placeholder_mask(input_ids, inputs_embeds, features, num_tiles)  # (B, L, 1)
        used = features if isinstance(given, torch.Tensor) else given
        outputs = type(image_outputs)(**{**image_outputs, "pooler_output": used})
        return inputs_embeds.masked_scatter(mask, features), outputs

    def _needs_dummy_vision_forward(self, cache: Cache | None, mm_encoder_outputs: dict | None) -> bool:
        """Whether a step without an image must pass through tower and projector nevertheless.

        Ranks of a distributed run must take part in the same collectives: one whose batch has no image would wait
        forever. They reduce gradients of trained weights together, and gather sharded weights, trained or not: that,
        too, in evaluation and for the prompt of a generation, but not where all ranks have their features already.
        """
        parts = (self.vision_tower, self.multi_modal_projector)
        if self.training and torch.is_grad_enabled() and any(p.requires_grad for m in parts for p in m.parameters()):
            return True
        if mm_encoder_outputs is not None:
            return False
        seen = 0 if cache is None else cache.get_seq_length()
        if isinstance(seen, int) and seen > 0:
            return False
        # A static cache has its length on the device: asking for it stops the device, and ends a compiled graph.
        return any(is_sharded(part) for part in parts) and bool(seen == 0)

    def _dummy_vision_forward(self, inputs_embeds: torch.Tensor) -> torch.Tensor:
        """Let a blank tile pass through tower and projector, with weight zero."""
        config = self.config.vision_config
        blank = inputs_embeds.new_zeros(1, config.num_channels, *config.image_size)
        features = self.get_image_features(blank, return_dict=True).pooler_output
        return inputs_embeds + 0.0 * features.sum().to(inputs_embeds.device, inputs_embeds.dtype)


class InternVLForConditionalGeneration(
    InternVLPreTrainedModel, TokenPruningGenerationMixin, VisualPositionsGenerationMixin, InternVLGenerationMixin
):
    """InternVL with its language modeling head: generates text about images, videos and text."""

    config: InternVLConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text", "video")
    modules_to_not_convert = (*(f"model.{name}" for name in InternVLModel.modules_to_not_convert), "lm_head")
    _no_split_modules = InternVLModel._no_split_modules
    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}
    _fsdp_plan = {"lm_head": "keep_full_weight"}
    body_class = InternVLModel

    def __init__(self, config: InternVLConfig):
        super().__init__(config)
        self.model = self.body_class(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.loss_type = "ForConditionalGeneration"  # labels are shifted here: so does `Trainer` count them
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def get_image_features(self, pixel_values: torch.Tensor, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Image tokens of tiles; see [`InternVLModel.get_image_features`]."""
        return self.model.get_image_features(pixel_values, *args, **kwargs)

    @can_return_tuple
    @deprecate_kwarg("past_key_values", "5.40.0", new_name="cache")
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        image_sizes: torch.Tensor | None = None,
        image_flags: torch.Tensor | None = None,
        loss_weight: torch.Tensor | None = None,
        skip_logits: bool | None = None,
        loss_reduction: str | None = None,
        smoothing: float = 0.0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        v2pe_stride: VisualStride = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> InternVLCausalLMOutputWithPast:
        """Logits and, with `labels`, the loss. The arguments of [`InternVLModel.forward`], and:

        Args:
            v2pe_stride: as of [`InternVLModel.forward`]. None with `labels`: what the configuration says,
                `rope_pos_id_version`.
            labels: `(B, L)`, not shifted, -100 where a position is not supervised.
            logits_to_keep: compute only the last so many logits (0: all), or those of the given positions.
            loss_weight: `(B, L)` weights of the positions, in place of the config's `loss_reduction`.
            skip_logits: with `labels`, compute logits at supervised positions only and return none. Defaults to True
                in training, where they are not used, and False in evaluation.
            loss_reduction: in place of the config's; `"none"`: `loss` `(B, L)` holds the entropy of every label.
            smoothing: the share of every label that is spread over the whole vocabulary. (`Trainer` takes an argument
                with `label` in its name for a column of labels.)
            flash_mode, kept_tokens and others: as of [`InternVLModel.forward`]; labels and weights go by
                `kept_positions`, too.
            num_items_in_batch: what the sum is divided by, as `Trainer` passes it; see [`losses.supervised_loss`].
            image_sizes: accepted for upstream's signature; has no effect.
        """
        counted = position_ids is None or not position_ids.is_floating_point()
        if labels is not None and v2pe_stride is None and counted:
            v2pe_stride = stride_of_training(self.config, self.training)
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            inputs_embeds=inputs_embeds,
            vision_feature_layer=vision_feature_layer,
            vision_feature_select_strategy=vision_feature_select_strategy,
            image_flags=image_flags,
            mm_encoder_outputs=mm_encoder_outputs,
            v2pe_stride=v2pe_stride,
            **kwargs,
        )
        hidden_states = outputs.last_hidden_state  # (B, L, D)
        if outputs.kept_positions is not None:
            labels, loss_weight, attention_mask = _at_kept(outputs, labels, loss_weight, attention_mask, kwargs)
        own_loss = getattr(self, "_loss_function", None)  # `model.loss_function` of a user: it is fed logits
        skip = labels is not None and own_loss is None and (self.training if skip_logits is None else skip_logits)
        logits = None if skip else self.lm_head(_keep(hidden_states, logits_to_keep))
        loss = aux_loss = None
        if labels is not None:
            options = {"loss_reduction": loss_reduction, "loss_weight": loss_weight, "smoothing": smoothing}
            loss = self._language_modeling_loss(hidden_states, logits, labels, own_loss, options, kwargs)
        if loss is not None and outputs.router_logits:
            aux_loss = self._load_balancing_loss(outputs.router_logits, attention_mask, hidden_states)
            if loss_reduction != "none":
                share = share_of_step(
                    labels, loss_weight, kwargs.get("num_items_in_batch"), kwargs.get("shift_labels")
                )
                loss = loss + share * self.config.text_config.router_aux_loss_coef * aux_loss.to(loss.device)
        return InternVLCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_outputs=outputs.image_outputs,
            aux_loss=aux_loss,
            router_logits=outputs.router_logits,
            kept_positions=outputs.kept_positions,
        )

    def _language_modeling_loss(
        self,
        hidden_states: torch.Tensor,
        logits: torch.Tensor | None,
        labels: torch.Tensor,
        own_loss: Any,
        options: dict[str, Any],
        kwargs: Any,
    ) -> torch.Tensor:
        """The loss of `labels` `(B, L)`, by the user's function if there is one; `options` are those of `forward`."""
        smoothing, reduction = options["smoothing"], options["loss_reduction"]
        if own_loss is not None:
            if smoothing:
                raise ValueError("`smoothing` is not for a `loss_function` of your own: smooth labels in it.")
            return own_loss(logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **kwargs)
        if reduction == "none":
            return token_losses(hidden_states, self.lm_head, labels, smoothing)
        return supervised_loss(
            hidden_states,
            self.lm_head,
            labels,
            reduction or self.config.loss_reduction,
            options["loss_weight"],
            kwargs.get("num_items_in_batch"),
            logits if logits is not None and logits.shape[1] == labels.shape[1] else None,
            kwargs.get("shift_labels"),
            smoothing,
        )

    def _load_balancing_loss(
        self,
        router_logits: tuple[torch.Tensor, ...],
        attention_mask: torch.Tensor | None,
        hidden_states: torch.Tensor,
    ) -> torch.Tensor:
        """The loss that spreads tokens over experts (arXiv:2101.03961), over the positions that are not padding."""
        text = self.config.text_config
        experts = getattr(text, "num_experts", None) or text.num_local_experts
        loss = load_balancing_loss_func(router_logits, experts, text.num_experts_per_tok, attention_mask)
        if self.is_activation_checkpointing and hidden_states.requires_grad and not loss.requires_grad:
            raise ValueError(
                "The load-balancing loss of the experts has no gradient: reentrant gradient checkpointing cuts it "
                'off. Set `gradient_checkpointing_kwargs={"use_reentrant": False}`.'
            )
        return loss


def _at_kept(
    outputs: InternVLModelOutputWithPast,
    labels: torch.Tensor | None,
    loss_weight: torch.Tensor | None,
    attention_mask: torch.Tensor | None,
    options: Any,
) -> tuple[torch.Tensor | None, ...]:
    """Labels, their weights and the mask, `(B, L)`, of the positions that were kept; so `shift_labels`."""
    kept: Any = outputs.kept_positions
    if options.get("shift_labels") is not None:
        options["shift_labels"] = shifted_at_kept(options["shift_labels"], kept)
    labels = None if labels is None else at_kept(labels, kept, IGNORED)
    loss_weight = None if loss_weight is None else at_kept(loss_weight, kept)
    return labels, loss_weight, None if attention_mask is None else (kept >= 0).long()


def _is_empty(features: torch.Tensor | list[torch.Tensor]) -> bool:
    """Whether there is no tile. `len` of a tensor would fix the number of tiles of an exported program."""
    return features.shape[0] == 0 if isinstance(features, torch.Tensor) else not features


def _keep(hidden_states: torch.Tensor, logits_to_keep: int | torch.Tensor) -> torch.Tensor:
    """The positions whose logits are wanted."""
    positions = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) and logits_to_keep else logits_to_keep
    return hidden_states if isinstance(positions, int) else hidden_states[:, positions]


__all__ = ["InternVLForConditionalGeneration", "InternVLModel", "pixel_shuffle"]
