# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`InternVLLlavaProcessor`: prompts and images of InternVL-Chat v1.

The original code splits a prompt at every `<image>`, tokenizes the pieces one by one, and later puts the image's
tokens between them, without anything around. Here the same ids come with the image's tokens in place:
`<IMG_CONTEXT>`, the first id behind Vicuna's vocabulary, as often as the model has tokens for an image.
"""

import re
from typing import Any

from transformers import AddedToken, AutoConfig, BatchFeature, ProcessingKwargs, ProcessorMixin
from transformers.image_utils import ImageInput
from transformers.processing_utils import Unpack

from ..hub.arguments import hub_arguments
from .chat_templates import get_chat_template
from .images.image_processing import NORMALIZE_TYPES
from .images.image_processing_llava import InternVLLlavaImageProcessor
from .processor import InternVLProcessor
from .processor_files import ProcessorBase, check_tokenizer_files, chosen_options
from .text import untrusted_text
from .text.placeholders import IMAGE_CONTEXT, Place, checked_length, token_id
from .text.untrusted_text import Prompt, find_token
from .tokenizers.loading import load_tokenizer

CHAT_TEMPLATE = "vicuna_v1"


class InternVLLlavaProcessor(InternVLProcessor):
    """Image processor and tokenizer of InternVL-Chat v1 as one; it is called as [`InternVLProcessor`].

    `from_pretrained` reads LLaVA's layout, where it takes the size of images, their padding and the tokens of an
    image from `config.json`, and what `save_pretrained` wrote. Vicuna's tokenizer gets the token `<IMG_CONTEXT>`.

    Args:
        image_processor: turns an image into one square.
        tokenizer: must know `<IMG_CONTEXT>`.
        image_seq_length: tokens of an image.
        chat_template: text of the template; None takes the tokenizer's.

    Raises:
        ValueError: the tokenizer lacks the token; a video is passed.
    """

    videos_kwargs: dict[str, Any] = {}
    _tokens_around_image = 0
    video_processor = None

    def __init__(
        self, image_processor=None, tokenizer=None, image_seq_length: int = 576, chat_template=None, **kwargs
    ):
        if chat_template is None:
            chat_template = getattr(tokenizer, "chat_template", None)
        # Not the parent's own, which would ask for a video processor and for the tokens around an image.
        super(InternVLProcessor, self).__init__(image_processor, tokenizer, chat_template=chat_template, **kwargs)
        self.images_kwargs: dict[str, Any] = {}
        self.image_seq_length = checked_length(image_seq_length)
        self.image_token, self.image_token_id = IMAGE_CONTEXT, token_id(tokenizer, IMAGE_CONTEXT)
        self.video_token = self.video_token_id = None

    @property
    def image_token_ids(self) -> list[int]:
        """What counts as image in `mm_token_type_ids`."""
        return [self.image_token_id]

    # Prompts and images to inputs -------------------------------------------------------------------------------

    # Transformers asks this signature what a processor takes.
    def __call__(  # type: ignore[override]
        self,
        images: ImageInput | None = None,
        text: str | list[str] | None = None,
        **kwargs: Unpack[ProcessingKwargs],
    ) -> BatchFeature:
        """Encode ready prompts, see [`InternVLProcessor`]; there are no videos."""
        return super().__call__(images, text, **kwargs)

    def _encode(
        self,
        prompts: list[Prompt],
        places: list[list[Place]],
        images: list[list[Any]],
        videos: list[list[Any]],
        **kwargs,
    ) -> BatchFeature:
        if any(videos) or any(place.kind == "video" for sample in places for place in sample):
            raise ValueError("InternVL-Chat v1 sees images, no videos: pass frames as images, or leave them out.")
        return super()._encode(prompts, places, images, videos, **kwargs)

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs) -> str:
        """What stands in the prompt for one image: its tokens."""
        return IMAGE_CONTEXT * self.image_seq_length

    def _tokenize(self, prompts: list[Prompt], pattern: re.Pattern[str] | None, options: dict[str, Any]) -> Any:
        for prompt in prompts:
            prompt.restarts = _ends_of_images(prompt)
        pattern = pattern or untrusted_text.control_pattern(self.tokenizer, "")
        return untrusted_text.encode_batch(self.tokenizer, prompts, pattern, **options)

    # Files --------------------------------------------------------------------------------------------------------

    @classmethod
    def _settings_of_config(cls, settings: dict[str, Any], name_or_path: Any, **hub_options: Any) -> dict | None:
        return None if "image_seq_length" in settings else llava_settings(name_or_path, **hub_options)

    @classmethod
    def _get_arguments_from_pretrained(cls, pretrained_model_name_or_path, processor_dict=None, **kwargs):
        path = pretrained_model_name_or_path
        settings = cls.get_processor_dict(path, **kwargs)[0] if processor_dict is None else processor_dict
        hub = hub_arguments(kwargs)
        check_tokenizer_files(path, **hub)
        image_options = chosen_options(kwargs, InternVLLlavaImageProcessor)
        tokenizer = load_tokenizer(path, **{k: v for k, v in kwargs.items() if k not in image_options})
        tokenizer.padding_side = "left"  # batches are generated from
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.unk_token  # as the original training code does
        known = find_token(tokenizer, IMAGE_CONTEXT) is not None
        if IMAGE_CONTEXT not in tokenizer.all_special_tokens:  # listed there, it gets no space in front
            token = AddedToken(IMAGE_CONTEXT, special=True, normalized=False)
            tokenizer.add_special_tokens({"extra_special_tokens": [token]}, replace_extra_special_tokens=False)
        if not known:
            _check_id(tokenizer, path, **hub)
        image_settings = settings["image_processor"]
        return [InternVLLlavaImageProcessor.from_dict(dict(image_settings), **image_options), tokenizer]

    def to_dict(self) -> dict[str, Any]:
        """The settings, with the image processor under transformers' name: its class gives the same pixels."""
        settings = ProcessorMixin.to_dict(self)
        settings["image_processor"]["image_processor_type"] = "LlavaImageProcessor"
        return settings

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs):
        """Save all files in the present layout of transformers."""
        return ProcessorBase.save_pretrained(self, save_directory, push_to_hub, **kwargs)


def _check_id(tokenizer: Any, name_or_path: Any, **hub_options: Any) -> None:
    """Raise `ValueError` if the tokenizer's new token is not the one that the model takes for an image."""
    expected = AutoConfig.from_pretrained(name_or_path, **hub_options).image_token_id
    found = token_id(tokenizer, IMAGE_CONTEXT)
    if found != expected:
        raise ValueError(
            f"The tokenizer has {found} tokens, so {IMAGE_CONTEXT} becomes {found}, but for the model {expected} "
            "stands for an image, the first id behind its vocabulary. Take the tokenizer that belongs to this model; "
            f"or, if the model has embeddings to spare, write `image_token_id: {found}` into config.json."
        )


def _ends_of_images(prompt: Prompt) -> list[int]:
    """Where the runs of image tokens begin and end that stand for images, not what a user typed."""
    matches = [match.span() for match in re.finditer(IMAGE_CONTEXT, prompt.text)]
    bounds: list[int] = []
    for start, end in matches:
        if prompt.is_data(start, end):
            continue
        if bounds and bounds[-1] == start:
            bounds[-1] = end
        else:
            bounds += [start, end]
    return bounds


def llava_settings(name_or_path: Any, **hub_options: Any) -> dict[str, Any]:
    """Processor settings from the config.json of a checkpoint in LLaVA's layout; keys of `processor_config.json`.

    Raises:
        ValueError: the folder is of another layout, and has no processor files.
    """
    config = AutoConfig.from_pretrained(name_or_path, **hub_options)
    if config.model_type != "llava_llama":
        raise ValueError(
            f"{name_or_path} has no processor_config.json, and its config.json ({config.model_type!r}) is not of "
            "LLaVA's layout: save the processor beside the model."
        )
    mean, std = NORMALIZE_TYPES["imagenet"]
    side = config.tile_size
    return {
        "image_seq_length": config.image_seq_length,
        "chat_template": get_chat_template(CHAT_TEMPLATE),
        "image_processor": {
            "size": {"shortest_edge": side},
            "crop_size": {"height": side, "width": side},
            "image_mean": list(mean),
            "image_std": list(std),
            "do_pad": config.image_aspect_ratio == "pad",
        },
    }


__all__ = ["InternVLLlavaProcessor"]
