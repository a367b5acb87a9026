# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`InternVLProcessor`: prompts and images to model inputs, for checkpoints of the original layout and the -hf one.

An image stands in a prompt as `<image>` or `<IMG_CONTEXT>`, a video as `<video>`. The processor puts
`<img><IMG_CONTEXT>...</img>` in its place, `image_seq_length` tokens a tile, and returns the tiles of images and
videos in the order of the prompts as one `pixel_values`.
"""

import re
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any

import numpy as np
from transformers import BatchFeature, ProcessingKwargs, TensorType
from transformers.image_utils import ImageInput
from transformers.processing_utils import MultiModalData, Unpack
from transformers.video_processing_utils import VideoProcessorMixin
from transformers.video_utils import VideoInput, make_batched_videos

from .content import check_content
from .images.image_processing import InternVLImageProcessor
from .media import Media, Overrides, image_tiles, listed_images, tiles_in_order, video_frames
from .processor_files import FRAME_LABEL, ProcessorFiles
from .text import untrusted_text
from .text.grounding import decode_regions, parse_answers
from .text.messages import chat_options, choose_template, normalized, refuse_contradictions
from .text.placeholders import (
    END_IMAGE,
    IMAGE_CONTEXT,
    START_IMAGE,
    VIDEO,
    Place,
    by_sample,
    check_image_tokens,
    checked_length,
    expand,
    find_places,
    ready_prompts,
    token_id,
)
from .text.untrusted_text import Prompt
from .text.video_token import read_template
from .threads import lock_of
from .tokenizers.upstream import truncated_on
from .videos.video_processing import InternVLVideoProcessor


class InternVLProcessor(ProcessorFiles):
    """Image processor, video processor and tokenizer as one; a superset of transformers' class of this name.

    `from_pretrained` reads both layouts: the -hf one from its processor files, and the original, which has none, from
    `config.json` (tile size, tiles, tokens a tile, chat template, system message). Special tokens are looked up in the
    tokenizer by their text.

    Args:
        image_processor: turns images into tiles.
        tokenizer: must know `<img>`, `</img>` and `<IMG_CONTEXT>`.
        video_processor: turns videos into frames of one tile each; None makes one like the image processor.
        image_seq_length: tokens of one tile, `(tile / patch size) ** 2 * downsample_ratio ** 2`.
        chat_template: text of the template, or texts by name; None takes the tokenizer's.
        frame_label: what stands before each frame of a video, with the number of the frame, from 1, in place of `{}`.
            The original cards write `Frame1: `; their fine-tuning code wrote `Frame-1: `, that is `"Frame-{}: "`.
        compressed_image_seq_length: of InternVL3.5-Flash: tokens of a tile that the model compresses. Prompts are
            written for whole tiles; which of them it compresses, the model decides by their pixels. None: none.

    Raises:
        ValueError: the tokenizer lacks one of the tokens.

    In the conversations of `apply_chat_template` text is untrusted: with `tokenize=True` whatever messages (of any
    role), tools and template variables spell is encoded as plain text. Only the template writes special tokens, and
    only content items stand for images: `{"type": "image", "image" | "url" | "path" | "base64": ...}`, with
    `"max_patches"` or `"min_patches"` for it alone, and `{"type": "video", "video" | "url" | "path": ...}`, with
    `"num_frames"`, `"fps"`, `"bound"`, ... for it alone. `{"type": "ref", "text": ...}` names a region as
    `<ref>...</ref>`. A string that is returned with `tokenize=False` cannot tell whose text is whose. What would be
    ignored is refused, but the thoughts of earlier answers (`reasoning_content`, `thinking`), which no prompt shows.

    Arguments of `apply_chat_template`:
        conversation: messages, or a list of conversations.
        chat_template: another template, as text, or by its name if the processor has several.
        tools, documents: given to the template.
        add_generation_prompt: end with the opening of the assistant's turn.
        continue_final_message: leave the last message open, to be continued.
        return_assistant_tokens_mask: add `assistant_masks`, 1 where the assistant wrote; needs `return_dict`. Its
            turns are then complete, as for training (`for_training` of `get_chat_template`).
        tokenize: return model inputs instead of text.
        return_tensors: of the model inputs.
        return_dict: return all model inputs instead of `input_ids`.
        load_audio_from_video: not available, InternVL does not hear.
        processor_kwargs: arguments of `__call__`; `images`, in the order of the placeholders, for items that carry
            none. `text` and `videos` are refused: items hold them.
        sanitize_control_tokens: transformers' name of the switch; False is `trust_text=True`.
        trust_text: True lets all text write special tokens and placeholders; roles, such as `("assistant",)`, let the
            messages of these roles do so. None: the attribute of this name, which is False.
        kwargs: variables of the template, such as `enable_thinking`; others are arguments of `__call__`.
    """

    text_kwargs = {"padding_side": "left"}
    videos_kwargs = {"return_tensors": "pt"}
    # Where others call `apply_chat_template`, as trainers do, on data that is meant to write tokens such as `<box>`.
    trust_text: bool | Collection[str] = False
    _tokens_around_image = 2

    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        video_processor=None,
        image_seq_length: int = 256,
        chat_template=None,
        frame_label: str = FRAME_LABEL,
        compressed_image_seq_length: int | None = None,
        **kwargs,
    ):
        if video_processor is None and image_processor is not None:
            shared = ("size", "image_mean", "image_std", "resample")
            video_processor = InternVLVideoProcessor(**{name: getattr(image_processor, name) for name in shared})
        chat_template = read_template(chat_template, tokenizer)
        super().__init__(image_processor, tokenizer, video_processor, chat_template=chat_template, **kwargs)
        # Transformers' processor always splits into tiles, whatever its image processor is set to; ours follows
        # its own setting.
        self.images_kwargs = {} if isinstance(image_processor, InternVLImageProcessor) else {"crop_to_patches": True}
        self.image_seq_length = checked_length(image_seq_length)
        self.frame_label = frame_label
        small = compressed_image_seq_length
        self.compressed_image_seq_length = None if small is None else checked_length(small)
        self.start_image_token, self.end_image_token, self.image_token = START_IMAGE, END_IMAGE, IMAGE_CONTEXT
        self.start_image_token_id = token_id(tokenizer, START_IMAGE)
        self.end_image_token_id = token_id(tokenizer, END_IMAGE)
        self.image_token_id = token_id(tokenizer, IMAGE_CONTEXT)
        self.video_token: str | None = VIDEO
        self.video_token_id = tokenizer.added_tokens_encoder.get(VIDEO)

    @property
    def image_token_ids(self) -> list[int]:
        """What counts as image in `mm_token_type_ids`: the image tokens and the two around them."""
        return [self.image_token_id, self.start_image_token_id, self.end_image_token_id]

    @property
    def model_input_names(self) -> list[str]:
        return [*self.tokenizer.model_input_names, *self.image_processor.model_input_names]

    def check_argument_for_proper_class(self, argument_name, argument):
        # Transformers looks this class up at the top level of transformers, where it is missing without torchvision.
        if argument_name == "video_processor":
            if not isinstance(argument, VideoProcessorMixin):
                raise TypeError(f"Expected a video processor, got {type(argument).__name__}.")
            return VideoProcessorMixin
        return super().check_argument_for_proper_class(argument_name, argument)

    # Prompts and media to inputs ----------------------------------------------------------------------------------

    def __call__(
        self,
        images: ImageInput | None = None,
        text: str | list[str] | None = None,
        videos: VideoInput | None = None,
        **kwargs: Unpack[ProcessingKwargs],
    ) -> BatchFeature:
        """Encode ready prompts. Their text is taken as it is, special tokens and placeholders included; for text
        that others typed use `apply_chat_template`.

        Args:
            images: one, a flat list in the order of the prompts, or one list a prompt (which may be empty). PIL
                images, arrays, tensors, paths, URLs or base64.
            text: a prompt or several, with `<image>` or `<IMG_CONTEXT>` for every image and `<video>` for every video.
            videos: one or a list in the order of the prompts.
            kwargs: options of the tokenizer (`truncation_side` among them), the image and the video processor,
                `return_tensors`, `return_mm_token_type_ids`; `return_num_patches=True` adds `num_patches`, the tiles
                of every image. `trust_text` can only be True here.

        Returns:
            `input_ids` and `attention_mask` `[batch, length]`, and with images or videos `pixel_values`
            `[tiles, 3, tile side, tile side]`, float32.

        Raises:
            ValueError: prompts and media do not fit together, or truncation cut off image tokens; the message names
                the sample and the counts. Or `trust_text` asks for less trust than there is.
        """
        prompts = ready_prompts(text, kwargs.pop("trust_text", None))
        clips = [] if videos is None else make_batched_videos(videos)
        image_list, nested = listed_images(self.image_processor, images)
        places = [find_places(prompt) for prompt in prompts]
        return self._encode(
            prompts,
            places,
            by_sample("image", image_list, places, nested=nested),
            by_sample("video", clips, places, nested=False),
            **kwargs,
        )

    def _encode(
        self,
        prompts: list[Prompt],
        places: list[list[Place]],
        images: list[list[Any]],
        videos: list[list[Any]],
        *,
        pattern: re.Pattern[str] | None = None,
        overrides: Overrides | None = None,
        truncation_side: str | None = None,
        return_num_patches: bool = False,
        return_assistant_tokens_mask: bool = False,
        **kwargs: Any,
    ) -> BatchFeature:
        """Inputs from prompts with known placeholders, and one list of images and of videos a prompt."""
        merged = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        text_options = merged["text_kwargs"]
        side = text_options.pop("truncation_side", truncation_side)  # no option of transformers' processors
        on_request = {
            name: text_options.pop(name, merged.get(name))
            for name in ("return_mm_token_type_ids", "return_text_replacement_offsets", "sanitize_control_tokens")
        }
        own = overrides or Overrides()
        image_outputs, num_patches = image_tiles(self.image_processor, images, own.image, merged["images_kwargs"])
        video_outputs, clips = video_frames(self.video_processor, videos, own.video, merged["videos_kwargs"])
        texts = {
            "image": [self.replace_image_token({"num_patches": num_patches}, i) for i in range(len(num_patches))],
            "video": [self.replace_video_token({"pixel_values_videos": clips}, i) for i in range(len(clips))],
        }
        prompts, replacements = expand(prompts, places, texts)

        if return_assistant_tokens_mask:
            text_options["return_offsets_mapping"] = True
        with truncated_on(self.tokenizer, side):
            data = dict(self._tokenize(prompts, pattern, text_options))
        check_image_tokens(data["input_ids"], replacements, self.image_token_id)
        if on_request["return_mm_token_type_ids"]:
            rows = [np.isin(np.asarray(row), self.image_token_ids) for row in data["input_ids"]]
            data["mm_token_type_ids"] = [row.astype(int).tolist() for row in rows]
        if on_request["return_text_replacement_offsets"]:
            data["text_replacement_offsets"] = replacements
        if return_assistant_tokens_mask:
            offsets = zip(data.pop("offset_mapping"), prompts, strict=True)
            data["assistant_masks"] = [untrusted_text.mask_of(row, prompt.generation) for row, prompt in offsets]

        data.update(image_outputs)
        if clips:
            data["pixel_values"] = tiles_in_order(data.get("pixel_values"), num_patches, clips, places)
        if clips and merged["videos_kwargs"].get("return_metadata"):
            data["video_metadata"] = video_outputs["video_metadata"]
        if return_num_patches:
            data["num_patches"] = num_patches
        return BatchFeature(
            data,
            tensor_type=text_options.get("return_tensors"),
            skip_tensor_conversion=["video_metadata", "text_replacement_offsets", "grids"],
        )

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs) -> str:
        """What stands in the prompt for one image: `<img>`, its tokens, `</img>`."""
        patches = int(image_inputs["num_patches"][image_idx])
        return f"{START_IMAGE}{IMAGE_CONTEXT * (self.image_seq_length * patches)}{END_IMAGE}"

    def replace_video_token(self, video_inputs: dict, video_idx: int, **kwargs) -> str:
        """What stands in the prompt for one video: its frames with their labels, one a line."""
        frames = len(video_inputs["pixel_values_videos"][video_idx])
        tile = f"{START_IMAGE}{IMAGE_CONTEXT * self.image_seq_length}{END_IMAGE}"
        return "\n".join(f"{self.frame_label.format(index + 1)}{tile}" for index in range(frames))

    def _tokenize(self, prompts: list[Prompt], pattern: re.Pattern[str] | None, options: dict[str, Any]) -> Any:
        if pattern is None or not any(prompt.splits for prompt in prompts):
            with lock_of(self.tokenizer):
                return self.tokenizer([prompt.text for prompt in prompts], **options)
        return untrusted_text.encode_batch(self.tokenizer, prompts, pattern, **options)

    def _get_num_multimodal_tokens(self, image_sizes: Sequence[tuple[int, int]] | None = None, **kwargs):
        """Tiles and tokens of images without their pixels, those around them counted (a contract of vLLM).

        Args:
            image_sizes: `(height, width)` of each image.
            kwargs: options of the image processor.
        """
        if image_sizes is None:
            return MultiModalData()
        options = dict(self._merge_kwargs(**kwargs)["images_kwargs"])
        shared = options.get("share_tile_budget")
        if getattr(self.image_processor, "share_tile_budget", False) if shared is None else shared:
            options["n_images"] = len(image_sizes)
        patches = [self.image_processor.get_number_of_image_patches(h, w, options) for h, w in image_sizes]
        tokens = [self._tokens_around_image + self.image_seq_length * count for count in patches]
        return MultiModalData(num_image_tokens=tokens, num_image_patches=patches)

    def count_tokens(self, image_sizes: Sequence[tuple[int, int]], **kwargs) -> list[int]:
        """Tokens that each image of a sample takes in a prompt, `<img>` and `</img>` included.

        Of InternVL3.5-Flash these are upper bounds, those of whole tiles: see [`count_token_bounds`].

        Args:
            image_sizes: `(height, width)` of the images of one sample.
            kwargs: options of the image processor, such as `max_patches`.
        """
        return list(self._get_num_multimodal_tokens(image_sizes, **kwargs)["num_image_tokens"])

    def count_token_bounds(self, image_sizes: Sequence[tuple[int, int]], **kwargs) -> tuple[int, int]:
        """Tokens that all images of a sample take together when the model answers: at least, and at most.

        InternVL3.5-Flash compresses tiles by their pixels, and at least one tile of a sample never. The two numbers
        are equal for other models, and for a sample of one tile.

        Args:
            image_sizes, kwargs: as of [`count_tokens`].
        """
        counted = self._get_num_multimodal_tokens(image_sizes, **kwargs)
        most, tiles = sum(counted["num_image_tokens"]), sum(counted["num_image_patches"])
        saved = self.image_seq_length - (self.compressed_image_seq_length or self.image_seq_length)
        return most - max(tiles - 1, 0) * saved, most

    # Conversations ------------------------------------------------------------------------------------------------

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]] | list[list[dict[str, Any]]],
        chat_template: str | None = None,
        tools: list[dict] | None = None,
        documents: list[dict[str, str]] | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        return_assistant_tokens_mask: bool = False,
        tokenize: bool = False,
        return_tensors: str | TensorType | None = "auto",
        return_dict: bool = False,
        load_audio_from_video: bool = False,
        processor_kwargs: dict[str, Any] | None = None,
        sanitize_control_tokens: bool | None = None,
        trust_text: bool | Collection[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Render conversations, and with `tokenize=True` encode them with their images and videos.

        The class describes conversations and arguments.

        Raises:
            ValueError: no template, one that does not know a variable of InternVL's, content that would be ignored,
                or counts that do not fit.
        """
        refuse_contradictions(
            load_audio_from_video,
            return_assistant_tokens_mask and not (tokenize and return_dict),
            continue_final_message and (add_generation_prompt or return_assistant_tokens_mask),
        )
        template = choose_template(self.chat_template, chat_template)
        settings: dict[str, Any] = {"return_tensors": return_tensors, "for_training": return_assistant_tokens_mask}
        variables, options = chat_options(template, kwargs, processor_kwargs, **settings)
        conversations, batched = normalized(conversation)
        check_content(conversations, template, tools=tools)
        pattern = untrusted_text.control_pattern(self.tokenizer, template)
        trusted = self.trust_text if trust_text is None else trust_text
        prompts = self._render_conversations(
            conversations,
            template,
            pattern,
            variables,
            trusted=True if sanitize_control_tokens is False or not tokenize else trusted,
            tools=tools,
            documents=documents,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
        )
        if not tokenize:
            return [prompt.text for prompt in prompts] if batched else prompts[0].text
        options["return_assistant_tokens_mask"] = return_assistant_tokens_mask
        inputs = self._encode_conversations(conversations, prompts, pattern, options, batched=batched)
        return inputs if return_dict else inputs["input_ids"]

    def _render_conversations(
        self,
        conversations: list[list[dict[str, Any]]],
        template: str,
        pattern: re.Pattern[str],
        variables: dict[str, Any],
        **options: Any,
    ) -> list[Prompt]:
        """Prompts of normalized conversations; `options` are those of `render_prompts`."""
        # Tokens are given to templates by name, as `bos_token`: the caller's choice, not untrusted text.
        tokens = {**self.tokenizer.special_tokens_map, **{k: v for k, v in variables.items() if k.endswith("_token")}}
        texts = {name: value for name, value in variables.items() if name not in tokens}
        return untrusted_text.render_prompts(conversations, template, pattern, variables=texts, **options, **tokens)

    def _encode_conversations(
        self,
        conversations: list[list[dict[str, Any]]],
        prompts: list[Prompt],
        pattern: re.Pattern[str],
        options: dict[str, Any],
        *,
        batched: bool,
    ) -> BatchFeature:
        """Inputs from rendered conversations and the media of their items; `options` are those of `__call__`."""
        if options["return_assistant_tokens_mask"] and not self.tokenizer.is_fast:
            raise ValueError("`return_assistant_tokens_mask=True` needs a tokenizer of the `tokenizers` library.")
        if prompts[0].begins_with(self.tokenizer.bos_token):
            options["add_special_tokens"] = False
        places = [find_places(prompt) for prompt in prompts]
        media = Media.of(conversations)
        images = options.pop("images", None)  # of items that carry none, in the order of their places
        if images is not None:
            images = self.image_processor.fetch_images(images if batched else [images])
        by_prompt = by_sample("image", media.image if images is None else images, places, nested=True)
        return self._encode(
            prompts,
            places,
            by_prompt,
            by_sample("video", media.video, places, nested=True),
            pattern=pattern,
            overrides=media.overrides(image=None if images is None else list(chain.from_iterable(by_prompt))),
            **options,
        )

    # Answers ------------------------------------------------------------------------------------------------------

    def decode_grounding(self, token_ids: Any) -> list[str]:
        """Decode answers, `[batch, length]` or one, without special tokens but those around regions (`<ref>`, ...)."""
        return decode_regions(self.tokenizer, token_ids)

    def post_process_grounding(self, text: str | list[str], image_sizes: Any) -> list[Any]:
        """The regions named in answers, in pixels: see `parse_grounding`, which this calls for each answer.

        Args:
            text: an answer, or several; decoded by `decode_grounding`.
            image_sizes: `(height, width)` of the image, or of the image of each answer.

        Returns:
            For one answer a list of `{"label": ..., "boxes": [...]}`, for several a list of such lists.

        Raises:
            ValueError: not as many sizes as answers.
        """
        return parse_answers(text, image_sizes)
