# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`InternVLChatModel`: the canonical model behind the original format and calling surface.

A model card's snippet runs unchanged once `trust_remote_code` is deleted:

    model = AutoModel.from_pretrained("OpenGVLab/InternVL2_5-8B", dtype=torch.bfloat16)
    response, history = model.chat(tokenizer, pixel_values, "<image>\\nWhat is this?", {"max_new_tokens": 64},
    return_history=True)

It stands above `modeling` and `processing` because `chat` needs both: the model's weights and the prompts' grammar.

Source: `modeling_internvl_chat.py` of the released checkpoints.
"""

import functools
import os
from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.utils import logging

from .hub.arguments import pinned
from .modeling.internvl.model import InternVLForConditionalGeneration, InternVLModel, pixel_shuffle
from .modeling.internvl.visual_positions import VisualStride, stride_of_call
from .modeling.original.attributes import OriginalAttributesMixin
from .modeling.original.calls import FORWARD, GENERATE, begins_with_pixels, by_name, encoded_images, tiles_of_images
from .modeling.original.canonical import CanonicalFormMixin
from .modeling.original.configuration_chat import InternVLChatConfig
from .modeling.pretrained.answer_decoding import AnswerCriteria, AnswerProcessors
from .modeling.pretrained.older_arguments import todays_arguments
from .processing.chat_templates import TEMPLATES, chat_messages, get_chat_template
from .processing.text.conversation import Conversation, chat_prompt, get_conv_template
from .processing.text.untrusted_text import Prompt, control_pattern, encode_batch
from .processing.tokenizers.loading import added_token_ids, as_trained, stop_first

logger = logging.get_logger(__name__)

IMAGE_MARK, IMAGE_CONTEXT = "<image>", "<IMG_CONTEXT>"
IMAGE_START, IMAGE_END = "<img>", "</img>"
# Beginnings of the names of InternVL3.5-Flash's own weights, on disk and here.
FLASH_WEIGHTS = (
    "mlp2.",
    "gating.",
    "pooling_before_gating.",
    "model.resolution_router.",
    "model.compressed_projector.",
)
History = list[tuple[str, str]]


class InternVLChatBody(InternVLModel):
    """Tower, projector and language model of an [`InternVLChatModel`]: a class of its own, for its weights' names."""

    config: InternVLChatConfig


class InternVLChatModel(OriginalAttributesMixin, CanonicalFormMixin, InternVLForConditionalGeneration):
    """InternVL-Chat-V1-1 to InternVL 3.5 in the original format (`model_type: internvl_chat`).

    It is an [`InternVLForConditionalGeneration`]: same `forward`, same `generate`. On top of it stand the original
    `chat`, `batch_chat` and `extract_feature`. `save_pretrained` writes the original layout; with
    `save_original_format=False` the canonical `-hf` one.

    A `repetition_penalty`, a `no_repeat_ngram_size`, and logits processors and stopping criteria of the caller's see
    the answer alone, as in the original code. Of the same weights in the canonical layout they see the prompt, too, as
    in upstream transformers.
    """

    config: InternVLChatConfig
    body_class = InternVLChatBody
    saves_original_format = True
    strict_loading = True
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq"]

    # --- loading and saving ------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> Any:
        """As transformers', and strict: every weight must have a place, every place a weight.

        The ids of `<IMG_CONTEXT>` and of the template's stop token, which `config.json` does not hold, are read from
        the tokenizer files beside the weights.

        `load_in_8bit`, `use_flash_attn` and what else model cards pass is taken, see [`todays_arguments`]. A
        `device_map` may have the original names of modules, as that of the cards' `split_model` does.

        Raises:
            ValueError: for weights we have no place for, or places without weights.
        """
        kwargs = todays_arguments(cls, kwargs)
        if pretrained_model_name_or_path is None:
            return super().from_pretrained(None, *args, **kwargs)
        where = pinned(pretrained_model_name_or_path, kwargs)
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **{**kwargs, **where})
        model = loaded[0] if kwargs.get("output_loading_info", False) else loaded
        model._read_token_ids(str(pretrained_model_name_or_path), where)
        return loaded

    def gather_sharded_state_dict_for_save(self, model_to_save: Any, *args: Any, **kwargs: Any) -> dict:
        """What is written, as transformers gathers it. The original code ties a head from 3.5 on only: before, a head
        that is tied all the same is written a second time, and is apart from the embeddings where the folder is read.
        """
        weights = super().gather_sharded_state_dict_for_save(model_to_save, *args, **kwargs)
        if not self.config.series_3_5:
            for head, embeddings in (model_to_save.all_tied_weights_keys or {}).items():
                if head in weights and embeddings in weights:
                    logger.warning(f"{head} is tied, which the original files know from 3.5 on only: it is written.")
                    weights[head] = weights[embeddings].clone()
        return weights

    @classmethod
    def _explain_misfit(cls, unexpected: list[str], missing: list[str]) -> str:
        if any(key.startswith(FLASH_WEIGHTS) for key in unexpected):
            return (
                "They are the resolution router of InternVL3.5-Flash, which `flash_mode` in config.json announces: "
                "set it there, or pass `flash_mode=False` to `from_pretrained` for whole tiles."
            )
        if any(key.startswith(FLASH_WEIGHTS) for key in missing):
            return (
                "They are the resolution router of InternVL3.5-Flash, which `flash_mode` in config.json announces: "
                "complete the folder, or, if the model was never one of them, take `flash_mode` out of config.json."
            )
        return super()._explain_misfit(unexpected, missing)

    def _read_token_ids(self, folder: str, where: dict[str, Any]) -> None:
        """Take the ids that the config lacks from the tokenizer files of the checkpoint, if it has any."""
        ids = added_token_ids(folder, **where)
        self.config.image_token_of_tokenizer = ids.get(IMAGE_CONTEXT)
        if self.config.image_token_id is None:
            self.config.image_token_id = self.config.image_token_of_tokenizer
        row = TEMPLATES.get(self.config.template or "")
        stop = ids.get(row.stop) if row is not None else None
        if stop is not None and self.generation_config is not None:
            self.generation_config.eos_token_id = stop_first(stop, self.generation_config.eos_token_id)

    # --- generation: what looks at ids sees those of the answer ------------------------------------------------------

    def _get_logits_processor(
        self,
        generation_config: GenerationConfig,
        input_ids_seq_length: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        logits_processor: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> LogitsProcessorList:
        generation_config.prompt_length = input_ids_seq_length or 0  # this call's own; the criteria are made next
        processors = super()._get_logits_processor(
            generation_config=generation_config,
            input_ids_seq_length=input_ids_seq_length,
            model_kwargs=model_kwargs,
            logits_processor=logits_processor,
            **kwargs,
        )
        return AnswerProcessors(processors, logits_processor or (), generation_config.prompt_length)

    def _get_stopping_criteria(
        self, generation_config: GenerationConfig, stopping_criteria: Sequence[Any] | None, **kwargs: Any
    ) -> StoppingCriteriaList:
        criteria = super()._get_stopping_criteria(
            generation_config=generation_config, stopping_criteria=stopping_criteria, **kwargs
        )
        return AnswerCriteria(criteria, stopping_criteria or (), getattr(generation_config, "prompt_length", 0))

    # --- the original calling surface --------------------------------------------------------------------------------

    @functools.wraps(InternVLForConditionalGeneration.forward)
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As [`InternVLForConditionalGeneration.forward`], also in the original order: pixels, then ids."""
        if begins_with_pixels(args):
            args, kwargs = (), by_name(args, FORWARD, kwargs)
        return super().forward(*args, **kwargs)

    def generate(self, *args: Any, visual_features: torch.Tensor | None = None, **kwargs: Any) -> Any:
        """As transformers' `generate`, also in the original order: pixels, ids, mask, features, generation config.

        Sequences are transformers' in either order: the ids of the prompt, then those of the answer.

        Args:
            visual_features: `(T, n, D)`, what `extract_feature` made of the pixels, in their place.
        """
        if begins_with_pixels(args):
            args, kwargs = (), by_name(args, GENERATE, kwargs)
            kwargs.pop("return_dict", None)  # the original method has no use for it
            visual_features = kwargs.pop("visual_features", visual_features)
        if visual_features is not None:
            kwargs["mm_encoder_outputs"] = encoded_images(visual_features, self.num_image_token)
            kwargs.pop("pixel_values", None)
        return super().generate(*args, **kwargs)

    @property
    def conv_template(self) -> Conversation:
        """An empty conversation in this model's template."""
        conversation = get_conv_template(self.template)
        if self.system_message is not None:
            conversation.set_system_message(self.system_message)
        return conversation

    @property
    def num_image_token(self) -> int:
        """Image tokens of one tile."""
        return self.config.image_seq_length

    @num_image_token.setter
    def num_image_token(self, value: int) -> None:
        self.config.image_seq_length = value

    @property
    def img_context_token_id(self) -> int | None:
        """Id of `<IMG_CONTEXT>`, by the original name."""
        return self.config.image_token_id

    @img_context_token_id.setter
    def img_context_token_id(self, value: int | None) -> None:
        self.config.image_token_id = value

    @property
    def template(self) -> str:
        """Name of the conversation template."""
        name = self.config.template
        if name not in TEMPLATES:
            raise ValueError(
                f"`config.template` must name a conversation template to chat with, one of {', '.join(TEMPLATES)}; "
                f"got {name!r}. Set `model.config.template`."
            )
        return name

    @template.setter
    def template(self, value: str) -> None:
        self.config.template = value

    @property
    def system_message(self) -> str | None:
        """System message that `chat` sends: the config's, or None for the template's own."""
        return self.config.system_message

    @system_message.setter
    def system_message(self, value: str | None) -> None:
        self.config.system_message = value

    def pixel_shuffle(self, x: torch.Tensor, scale_factor: float = 0.5) -> torch.Tensor:
        """[`pixel_shuffle`] in this model's version: `(T, h, w, C)` to `(T, h*s, w*s, C/s**2)`."""
        return pixel_shuffle(x, scale_factor, self.config.ps_version)

    def extract_feature(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Image tokens of tiles: `(T, 3, height, width)` to `(T, n, D)`."""
        return self.get_image_features(pixel_values, return_dict=True).pooler_output

    @torch.no_grad()
    def chat(
        self,
        tokenizer: Any,
        pixel_values: torch.Tensor | None,
        question: str,
        generation_config: dict[str, Any] | None = None,
        history: History | None = None,
        return_history: bool = False,
        num_patches_list: Sequence[int] | None = None,
        IMG_START_TOKEN: str = IMAGE_START,
        IMG_END_TOKEN: str = IMAGE_END,
        IMG_CONTEXT_TOKEN: str = IMAGE_CONTEXT,
        verbose: bool = False,
        v2pe_stride: VisualStride = None,
        rope_pos_id_version: str | None = None,
        rope_pos_id_stride: int | None = None,
        num_tiles: Any = None,
    ) -> str | tuple[str, History]:
        """Answer a question about images, in a conversation.

        Args:
            tokenizer: the checkpoint's.
            pixel_values: `(T, 3, height, width)`, the tiles of every image one after the other; None for text alone.
            question: the user's turn. `<image>` marks the place of an image; without any mark the first question gets
                one in front. Other special tokens in it are text.
            generation_config: arguments of `generate`. Not changed. Penalties see the answer alone.
            history: what an earlier call returned.
            return_history: return the conversation with this turn added, too.
            num_patches_list: tiles of every image; None: all tiles are one image.
            IMG_START_TOKEN, IMG_END_TOKEN, IMG_CONTEXT_TOKEN: of the original signature; no others are taken.
            verbose: accepted for the original signature; has no effect.
            v2pe_stride: by how much positions grow from one token of an image to the next, a power of two; None or
                1: as of any token.
            rope_pos_id_version, rope_pos_id_stride: the same in the original V2PE code: `"v2pe_fix"` and the positions
                that a tile takes, by default the configuration's.
            num_tiles: accepted for the signature of the V2PE code; has no effect.

        Returns:
            The answer, or `(answer, history)`.

        Raises:
            ValueError: tiles of another shape or number, fewer `<image>` marks than images, or an unknown template.
        """
        _refuse_other_tokens(IMG_START_TOKEN, IMG_END_TOKEN, IMG_CONTEXT_TOKEN)
        tokenizer, history = as_trained(tokenizer), list(history or [])
        tiles = tiles_of_images(pixel_values, num_patches_list)
        prompt = self._prompt(tokenizer, question, history, tiles)
        generation = self._with_stride(generation_config, v2pe_stride, rope_pos_id_version, rope_pos_id_stride)
        answer = self._answer(tokenizer, [prompt], pixel_values, generation)[0]
        asked = chat_messages(question, history, with_images=bool(tiles))[-1]["content"]
        return (answer, [*history, (asked, answer)]) if return_history else answer

    def multi_image_chat(
        self,
        tokenizer: Any,
        pixel_values: torch.Tensor,
        image_counts: Sequence[int],
        question: str,
        generation_config: dict[str, Any] | None = None,
        history: History | None = None,
        return_history: bool = False,
        **kwargs: Any,
    ) -> str | tuple[str, History]:
        """Answer a question about several numbered images: the method of that name of Mono-InternVL's repository.

        It is [`chat`](Self.chat) with every image announced as `<image 1> (图1):` in front of the first question.

        Args:
            pixel_values: `(T, 3, height, width)`, the tiles of every image one after the other.
            image_counts: tiles of every image.
            tokenizer, generation_config, history, return_history, **kwargs: as of `chat`.
        """
        if not history:
            images = (f"<image {number}> (图{number}):{IMAGE_MARK}" for number in range(1, len(image_counts) + 1))
            question = "".join(images) + "\n" + question
        return self.chat(
            tokenizer, pixel_values, question, generation_config, history, return_history, image_counts, **kwargs
        )

    @torch.no_grad()
    def batch_chat(
        self,
        tokenizer: Any,
        pixel_values: torch.Tensor | None,
        questions: Sequence[str],
        generation_config: dict[str, Any] | None = None,
        num_patches_list: Sequence[int] | None = None,
        history: None = None,
        return_history: bool = False,
        IMG_START_TOKEN: str = IMAGE_START,
        IMG_END_TOKEN: str = IMAGE_END,
        IMG_CONTEXT_TOKEN: str = IMAGE_CONTEXT,
        verbose: bool = False,
        image_counts: Sequence[int] | None = None,
        v2pe_stride: VisualStride = None,
        rope_pos_id_version: str | None = None,
        rope_pos_id_stride: int | None = None,
        num_tiles: Any = None,
    ) -> list[str]:
        """Answer several questions at once, each about its own image (or all without images).

        Args:
            pixel_values: `(T, 3, height, width)`, the tiles of the first question's image, then the second's, ...
            questions: one per image.
            num_patches_list: tiles of every question's image; `image_counts` is its older name.
            generation_config, verbose, IMG_START_TOKEN, IMG_END_TOKEN, IMG_CONTEXT_TOKEN: as of `chat`.
            v2pe_stride, rope_pos_id_version, rope_pos_id_stride, num_tiles: as of `chat`.

        Raises:
            ValueError: for a history, which the original method does not take either, or counts that differ.
        """
        _refuse_other_tokens(IMG_START_TOKEN, IMG_END_TOKEN, IMG_CONTEXT_TOKEN)
        if image_counts is not None:
            if num_patches_list is not None:
                raise ValueError("`image_counts` is the older name of `num_patches_list`: give one of them.")
            logger.warning_once("`image_counts` is the older name of `num_patches_list`.")
            num_patches_list = image_counts
        if history is not None or return_history:
            raise ValueError("`batch_chat` keeps no history: use `chat`, one conversation at a time.")
        if not questions:
            raise ValueError("`questions` is empty: ask at least one.")
        tokenizer, tiles = as_trained(tokenizer), list(num_patches_list or [])
        if pixel_values is not None and len(tiles) != len(questions):
            raise ValueError(
                f"`num_patches_list` must have one entry per question: {len(tiles)} for {len(questions)}."
            )
        tiles_of_images(pixel_values, num_patches_list)
        prompts = [
            self._prompt(tokenizer, question, [], tiles[index : index + 1] if pixel_values is not None else [])
            for index, question in enumerate(questions)
        ]
        generation = self._with_stride(generation_config, v2pe_stride, rope_pos_id_version, rope_pos_id_stride)
        return self._answer(tokenizer, prompts, pixel_values, generation)

    def _with_stride(self, generation: dict[str, Any] | None, *of_call: Any) -> dict[str, Any]:
        """Arguments of `generate`, with the stride that a call says."""
        stride = stride_of_call(self.config, *of_call)
        return dict(generation or {}) if stride is None else {**(generation or {}), "v2pe_stride": stride}

    def _prompt(self, tokenizer: Any, question: str, history: History, tiles: list[int]) -> Prompt:
        return chat_prompt(
            self.template,
            question,
            history,
            num_patches=tiles,
            num_image_token=self.num_image_token,
            system_message=self.system_message,
            tokenizer=tokenizer,
        )

    def _answer(
        self, tokenizer: Any, prompts: list[Prompt], pixel_values: torch.Tensor | None, generation: dict[str, Any]
    ) -> list[str]:
        """Generate behind the prompts and cut the answers at the template's stop string."""
        if self.config.image_token_id is None:
            self.config.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_CONTEXT)
        pattern = control_pattern(tokenizer, get_chat_template(self.template))
        batch = encode_batch(tokenizer, prompts, pattern, padding=True, padding_side="left", return_tensors="pt")
        inputs = {key: batch[key].to(self.device) for key in ("input_ids", "attention_mask")}
        if pixel_values is not None:
            inputs["pixel_values"] = pixel_values
        stop = TEMPLATES[self.template].stop
        stops = {"eos_token_id": tokenizer.convert_tokens_to_ids(stop)}
        sequences = self.generate(**inputs, **{**stops, **generation})
        sequences = getattr(sequences, "sequences", sequences)[:, inputs["input_ids"].shape[1] :]
        skip = not self.config.answers_keep_special_tokens
        texts = tokenizer.batch_decode(sequences, skip_special_tokens=skip)
        return [text.split(stop)[0].strip() for text in texts]


def _refuse_other_tokens(*tokens: str) -> None:
    """The tokens around an image are the tokenizer's, and no others have a meaning."""
    known = (IMAGE_START, IMAGE_END, IMAGE_CONTEXT)
    if tokens != known:
        raise ValueError(f"The tokens of an image must be {known}, those of the released tokenizers, got {tokens}.")


__all__ = ["InternVLChatModel"]
