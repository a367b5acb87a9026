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
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, is_torchdynamo_compiling, torch_compilable_check
from transformers.utils.deprecation import deprecate_kwarg
from transformers.utils.generic import can_return_tuple

from ..flash.generation import shorten_prompt, tile_lengths
from ..flash.router import CompressedProjector, PoolingAttention, ResolutionRouter, TilePooling
from ..flash.shortening import Shortening, tiles_of_samples
from ..outputs import InternVLCausalLMOutputWithPast, InternVLModelOutputWithPast
from ..pretrained.base import InternVLPreTrainedModel
from ..pretrained.context_parallel import ContextGroup, run_context_parallel, set_context_group
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
from .layer_pruning import PrunedCache, cache_of_generation, run_pruned, take_layer_pruning
from .losses import Supervision, losses_of, own_loss_function
from .rows import Rows
from .token_pruning import refuse_late, take_reduction, take_reduction_of_generation
from .visual_generation import prompt_positions, refuse_positions
from .visual_positions import VisualStride, is_off, stride_of_training, visual_positions


class InternVLModel(ImageFeatureMixin, InternVLPreTrainedModel):
    """Tower, projector and language model, without a language modeling head.

    Arguments of `forward`:
        input_ids: `(B, L)` with `config.image_token_id` at every image token; or `inputs_embeds` `(B, L, D)`.
        pixel_values: `(T, 3, height, width)`: the tiles of all rows, in the order of their placeholders.
        image_flags: `(T,)`, 0 marks dummy tiles, which are not encoded. In a compiled or exported model they are, and
            stand behind the others in `image_outputs`.
        mm_encoder_outputs: `{"image": get_image_features(...)}` computed earlier, in place of `pixel_values`.
        image_copies: how often the rows go through all tiles; each is encoded once.
        flash_mode, flash_relative_threshold, flash_absolute_threshold, compressed_tiles: of InternVL3.5-Flash, which
            tiles are compressed (`modeling/flash/compression.py`); without any of them none is. The rows become
            shorter, and outputs are those of `kept_positions`.
        kept_tokens, pruning, pruning_seed: how many image tokens of every tile are kept, and how they are chosen
            (`modeling/internvl/token_pruning.py`); without them all are. The rows become shorter as well.
        pruning_layer: with `pruning="fastv"`, behind which layer of the language model they are chosen
            (`modeling/internvl/layer_pruning.py`). The cache that is returned is a [`PrunedCache`]; with it, `forward`
            goes on without these arguments.
        position_ids: `(B, L)`. Where they begin again within a row, and there is neither `attention_mask` nor `cache`,
            the row is a pack: its samples do not see each other, and no cache is made. Fractions are those of V2PE,
            and begin again where they do not grow.
        v2pe_stride: by how much positions grow from one token of an image to the next, a power of two (1: off);
            `(images,)`, for every image its own; or `"random"`: see `visual_positions.py`.
    """

    config: InternVLConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text", "video")
    modules_to_not_convert = ("vision_tower", "multi_modal_projector", "resolution_router", "compressed_projector")
    context_group: ContextGroup | None = None  # the ranks that share a row, see `set_context_group`
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

    def set_context_group(self, ranks: ContextGroup | None) -> None:
        """Share rows and tiles with other ranks while the model trains; None: no longer. See `context_parallel.py`.

        Raises:
            ValueError: the language model has no attention by `sdpa`, or experts; or tiles may be compressed.
        """
        if ranks is not None and self.config.flash_mode is not None:
            raise ValueError("Context parallelism is not for InternVL3.5-Flash, whose router compares all tiles.")
        set_context_group(self.language_model.config, ranks)
        self.context_group = ranks

    def shares_context(self, cache: Any = None) -> bool:
        """Whether this call computes a part of the positions and tiles: in training, without a cache."""
        return self.context_group is not None and self.training and cache is None

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
        """Run the language model over text and image tokens; the arguments are described at the class."""
        refuse_stray_caches(self, kwargs)
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = embed_known(self.get_input_embeddings(), input_ids, self.config)  # (B, L, D)
        rows = Rows(input_ids, inputs_embeds, attention_mask, position_ids, image_copies)
        options = {
            "vision_feature_layer": vision_feature_layer,
            "vision_feature_select_strategy": vision_feature_select_strategy,
        }
        cache = self._cache_of_pruning(cache, kwargs)
        # How many tiles are real is data, which no graph has as a shape: compiled, all go through the tower.
        encoded_dummies = image_flags if pixel_values is not None and is_torchdynamo_compiling() else None
        images = self._encode_images(rows, pixel_values, image_flags, mm_encoder_outputs, options, kwargs)
        shortened = None if images is None else self._shorten(rows, images)
        placeholders = self._prunable(rows, cache)
        if getattr(self.language_model, "routes_image_tokens", False) and "image_token_mask" not in kwargs:
            kwargs["image_token_mask"] = self._image_token_mask(rows, cache)
        if not is_off(v2pe_stride):
            rows.position_ids = self._visual_positions(rows, v2pe_stride, cache)
        if images is not None:
            images = self._merge_image_tokens(rows, images, encoded_dummies)
        if self._needs_dummy_vision_forward(images, cache, mm_encoder_outputs):
            rows.inputs_embeds = self._dummy_vision_forward(rows.inputs_embeds)

        if isinstance(cache, PrunedCache):
            outputs = self._run_pruned(rows, cache, placeholders, kwargs)
            shortened = shortened if placeholders is None else cache.kept_of(shortened)
        else:
            outputs = self._run_language_model(rows, cache, kwargs)
        return InternVLModelOutputWithPast(
            last_hidden_state=outputs.last_hidden_state,  # (B, L, D)
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_outputs=images,
            router_logits=getattr(outputs, "router_logits", None),
            kept_positions=None if shortened is None else shortened.kept,
        )

    def _encode_images(
        self,
        rows: Rows,
        pixel_values: torch.Tensor | None,
        image_flags: torch.Tensor | None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None,
        options: dict[str, Any],
        kwargs: dict[str, Any],
    ) -> BaseModelOutputWithPooling | None:
        """Image features of a batch: of its tiles, or those that were computed earlier; None: there is no image.

        What says that tiles are compressed or pruned is taken out of `kwargs`.
        """
        if pixel_values is not None and mm_encoder_outputs:
            raise ValueError("You cannot specify both pixel_values and mm_encoder_outputs at the same time")
        reduction = take_reduction(self.config, kwargs)
        known = refuse_late((mm_encoder_outputs or {}).get("image"), reduction)
        if pixel_values is None:
            return known
        real = None if is_torchdynamo_compiling() else image_flags
        if real is not None and not real.any():
            return None
        if reduction is not None:
            num_tiles = len(pixel_values) if image_flags is None else int((image_flags == 1).sum())
            reduction = reduction.of_samples(self._tiles_of_samples(rows, num_tiles))
        return self.get_image_features(
            pixel_values, **options, image_flags=real, compression=reduction, return_dict=True
        )

    def _tiles_of_samples(self, rows: Rows, num_tiles: int) -> list[int]:
        """How many of the real tiles each sample of the rows has, of which `image_copies` are the same."""
        placeholders = self.find_placeholders(rows.input_ids, rows.inputs_embeds)
        placeholders = placeholders[: len(placeholders) // rows.image_copies]
        return tiles_of_samples(placeholders, num_tiles, rows.attention_mask, rows.position_ids)

    def _run_language_model(self, rows: Rows, cache: Cache | None, options: dict[str, Any]) -> Any:
        """Outputs for embeddings `(B, L, D)`; packed samples are kept apart, and ranks compute their parts."""
        if self.context_group is not None and self.shares_context(cache):
            return run_context_parallel(self.language_model, self.context_group, rows, options)
        inputs_embeds, attention_mask, position_ids = rows.inputs_embeds, rows.attention_mask, rows.position_ids
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

    def _cache_of_pruning(self, cache: Cache | None, arguments: dict[str, Any]) -> Cache | None:
        """The cache of a call; a new one where FastV is asked for, whose arguments are taken out."""
        pruning = take_layer_pruning(self.config, arguments)
        if pruning is None:
            return cache
        if cache is not None:
            raise ValueError(
                "`pruning='fastv'` makes a cache of its own, and goes on from it without `pruning`: leave one of "
                "`cache` and `pruning` out."
            )
        return PrunedCache(self.config, pruning)

    def _prunable(self, rows: Rows, cache: Cache | None) -> torch.Tensor | None:
        """The image tokens of a prompt, `(B, L)`, some of which leave by FastV; None: it has run, or it is not asked
        for."""
        if not isinstance(cache, PrunedCache) or cache.get_seq_length() > 0:
            return None
        if self.training:
            raise ValueError("`pruning='fastv'` is for inference, not for training: call `model.eval()`.")
        if (self.tp_size or 1) > 1:
            raise ValueError("`pruning='fastv'` ranks by the mean over all heads, of which a rank has some only.")
        if use_cache_of_packs(None, rows.attention_mask, rows.position_ids, None) is not None:
            raise ValueError("`pruning='fastv'` ranks by the last token of a row: give samples as rows, not packed.")
        return self.find_placeholders(rows.input_ids, rows.inputs_embeds)

    def _run_pruned(
        self, rows: Rows, cache: PrunedCache, placeholders: torch.Tensor | None, options: dict[str, Any]
    ) -> Any:
        """Outputs for embeddings `(B, L, D)` of which image tokens leave, or have left, by FastV."""
        return run_pruned(
            self.language_model,
            cache,
            placeholders,
            rows.attention_mask,
            position_ids=rows.position_ids,
            inputs_embeds=rows.inputs_embeds,
            **options,
        )

    def _visual_positions(self, rows: Rows, stride: VisualStride, cache: Cache | None) -> torch.Tensor:
        """Positions of the rows under V2PE, `(B, L)`."""
        attention_mask, position_ids = rows.attention_mask, rows.position_ids
        if position_ids is not None and (position_ids.is_floating_point() or attention_mask is not None):
            raise ValueError("`v2pe_stride` makes the position ids: leave out `position_ids`, or the stride.")
        if cache is not None and cache.get_seq_length() > 0:
            raise ValueError(
                "The positions of what a cache holds are not known, so that `v2pe_stride` cannot count on: pass "
                "`position_ids` that go on from the last one."
            )
        placeholders = self.find_placeholders(rows.input_ids, rows.inputs_embeds)
        return visual_positions(placeholders, stride, self.config.image_seq_length, attention_mask, position_ids)

    def _shorten(self, rows: Rows, image_outputs: BaseModelOutputWithPooling) -> Shortening | None:
        """Leave out the image tokens of rows that have no feature, and return what stays; None: all of it."""
        lengths = tile_lengths(image_outputs)
        if not lengths:
            return None
        placeholders = self.find_placeholders(rows.input_ids, rows.inputs_embeds)
        lengths = lengths * rows.image_copies
        if int(placeholders.sum()) == sum(lengths):
            return None
        shortened = Shortening.of(placeholders, lengths, rows.attention_mask)
        rows.shorten(shortened)
        return shortened

    def _image_token_mask(self, rows: Rows, cache: Cache | None) -> torch.Tensor | None:
        """Where the prompt has image tokens: `(B, L)`, for language models with experts for them.

        A single position behind others is a token of the answer, which is text whatever its id is.
        """
        if cache is not None and rows.inputs_embeds.shape[1] == 1:
            return None
        return self.find_placeholders(rows.input_ids, rows.inputs_embeds)

    def _merge_image_tokens(
        self, rows: Rows, image_outputs: BaseModelOutputWithPooling, image_flags: torch.Tensor | None
    ) -> BaseModelOutputWithPooling:
        """Put image features in the place of image tokens.

        Args:
            rows: their embeddings change.
            image_outputs: of the tower and projector, features `(T, n, D)` in `pooler_output`, or T tensors `(n, D)`.
            image_flags: `(T,)`, 0 marks dummy tiles among the features. None: there are none.

        Returns:
            The image outputs with the features that were used, dummy tiles last.
        """
        given, copies = image_outputs.pooler_output, rows.image_copies
        features = given if isinstance(given, torch.Tensor) else torch.cat(list(given))  # (T, n, D) or (N, D)
        features = features.to(rows.inputs_embeds.device, rows.inputs_embeds.dtype)
        if copies > 1:
            features = features.repeat(copies, *[1] * (features.dim() - 1))
        num_tiles = None
        if image_flags is not None:
            features, num_tiles = move_padding_tiles_last(features, image_flags.reshape(-1).repeat(copies))
        mask = self.get_placeholder_mask(rows.input_ids, rows.inputs_embeds, features, num_tiles)  # (B, L, 1)
        rows.inputs_embeds = rows.inputs_embeds.masked_scatter(mask, features)
        used = features if isinstance(given, torch.Tensor) else given
        return type(image_outputs)(**{**image_outputs, "pooler_output": used})

    def _needs_dummy_vision_forward(
        self,
        image_outputs: BaseModelOutputWithPooling | None,
        cache: Cache | None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None,
    ) -> bool:
        """Whether a step without an image must pass through tower and projector nevertheless.

        Ranks of a distributed run must take part in the same collectives: one whose batch has no image would wait
        forever. They reduce gradients of trained weights together, and gather sharded weights, trained or not: that,
        too, in evaluation and for the prompt of a generation, but not where all ranks have their features already.
        """
        if image_outputs is not None and not _is_empty(image_outputs.pooler_output):
            return False
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


class InternVLForConditionalGeneration(InternVLPreTrainedModel, InternVLGenerationMixin):
    """InternVL with its language modeling head: generates text about images, videos and text.

    Arguments of `forward`, beside those of [`InternVLModel`]:
        labels: `(B, L)`, not shifted, -100 where a position is not supervised.
        v2pe_stride: None with `labels`: what the configuration says, `rope_pos_id_version`.
        logits_to_keep: compute only the last so many logits (0: all), or those of the given positions.
        loss_weight: `(B, L)` weights of the positions, in place of the config's `loss_reduction`.
        skip_logits: with `labels`, compute logits at supervised positions only and return none. Defaults to True in
            training, where they are not used, and False in evaluation.
        loss_reduction: in place of the config's; `"none"`: `loss` `(B, L)` holds the entropy of every label.
        smoothing: the share of every label that is spread over the whole vocabulary. (`Trainer` takes an argument
            with `label` in its name for a column of labels.)
        num_items_in_batch: what the sum is divided by, as `Trainer` passes it; see [`losses.supervised_loss`].
        image_sizes: accepted for upstream's signature; has no effect.

    Where tiles are compressed or pruned, labels and weights go by `kept_positions`, too.
    """

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
        """Logits and, with `labels`, the loss; the arguments are described at the class."""
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
        logits = loss = aux_loss = None
        if not self._skips_logits(labels, skip_logits):
            logits = self.lm_head(_keep(hidden_states, logits_to_keep))  # (B, L, V)
        if labels is not None:
            supervision = Supervision(labels, loss_weight, loss_reduction, smoothing, kwargs)
            loss, aux_loss = losses_of(self, outputs, logits, supervision, attention_mask)
        shared = {name: value for name, value in outputs.items() if name != "last_hidden_state"}
        return InternVLCausalLMOutputWithPast(loss=loss, logits=logits, aux_loss=aux_loss, **shared)

    def _skips_logits(self, labels: torch.Tensor | None, skip_logits: bool | None) -> bool:
        """Whether logits are left out: a loss is asked for, which needs those of supervised positions only."""
        if labels is None or own_loss_function(self) is not None:
            return False
        return self.training if skip_logits is None else skip_logits

    def generate(
        self, inputs: torch.Tensor | None = None, *args: Any, v2pe_stride: VisualStride = None, **kwargs: Any
    ) -> Any:
        """As transformers'. Tiles may be compressed or pruned, and image tokens take fractional positions.

        Args:
            inputs: `(B, L)`, the prompts; or `input_ids`.
            v2pe_stride: by how much positions grow from one token of an image to the next, a power of two; 1: off.
            flash_mode: of InternVL3.5-Flash. False: every tile is whole. None: as `config.flash_mode` says.
            flash_relative_threshold, flash_absolute_threshold: in place of the config's, see [`compressed_tiles`].
            compressed_tiles: `(T,)`, bool: the decision itself. To go on from a `cache`: the decision that it was made
                with, which the output of that call holds under this name.
            kept_tokens, pruning, pruning_seed: how many image tokens of every tile are kept, and how they are chosen,
                see `modeling/internvl/token_pruning.py`.
            pruning_layer: with `pruning="fastv"`, behind which layer, see `modeling/internvl/layer_pruning.py`.

        Returns:
            As transformers', the prompts as they were given in front of the answers. An output with fields has the
            decision in `compressed_tiles`.

        Raises:
            ValueError: a stride that is none, or `position_ids` beside it; thresholds are outside [0, 1], or missing;
                the model has no router; images were encoded earlier, and their compression is asked for; a cache comes
                without the decision that it was made with.
        """
        refuse_positions(v2pe_stride, kwargs.get("position_ids"))
        layer_pruning = take_layer_pruning(self.config, kwargs)
        if layer_pruning is not None:
            settings = (args[0] if args else kwargs.get("generation_config")) or self.generation_config
            kwargs["cache"] = cache_of_generation(self.config, kwargs, settings, layer_pruning)
        reduction, asked = take_reduction_of_generation(self.config, kwargs)
        short = shorten_prompt(self, inputs, args, kwargs, reduction, asked)
        if not is_off(v2pe_stride):
            kwargs["v2pe_stride"] = v2pe_stride
        outputs = super().generate(inputs if short is None else short.ids, *args, **kwargs)
        return outputs if short is None else short.with_given_prompts(outputs)

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Positions `(B, L)` of prompts, ids `(B, L)` or embeddings `(B, L, D)`."""
        stride = model_kwargs.pop("v2pe_stride", None)  # not for the steps: they get positions
        if stride is None:
            return super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)
        return prompt_positions(self, inputs_tensor, model_kwargs, stride)


def _is_empty(features: torch.Tensor | list[torch.Tensor]) -> bool:
    """Whether there is no tile. `len` of a tensor would fix the number of tiles of an exported program."""
    return features.shape[0] == 0 if isinstance(features, torch.Tensor) else not features


def _keep(hidden_states: torch.Tensor, logits_to_keep: int | torch.Tensor) -> torch.Tensor:
    """The positions whose logits are wanted."""
    positions = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) and logits_to_keep else logits_to_keep
    return hidden_states if isinstance(positions, int) else hidden_states[:, positions]


__all__ = ["InternVLForConditionalGeneration", "InternVLModel", "pixel_shuffle"]
