# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`InternVLDualEncoderProcessor`: images and texts to inputs of InternVL-14B (InternVL-C and InternVL-G).

Images are processed as CLIP's: the shorter side to the size of the position table, the square in the middle, values
normalized with ImageNet's statistics. The class for that is transformers' own, on Pillow: the original pixels, with or
without torchvision.
"""

import os
from typing import Any

from transformers import BatchFeature, CLIPImageProcessorPil, PreTrainedConfig, ProcessingKwargs, TextKwargs
from transformers.image_utils import ChannelDimension, ImageInput, make_flat_list_of_images
from transformers.processing_utils import Unpack

from ..hub.arguments import hub_arguments
from .images.image_processing import NORMALIZE_TYPES
from .images.pixels import error_context, image_pixels, rescale, to_levels
from .images.settings import check_settings
from .processor_files import ProcessorBase, check_tokenizer_files, chosen_options
from .sources import open_image, unwrapped
from .tokenizers.dual_encoder import CAPTION_PROMPT, InternVLDualEncoderTokenizer

TASKS = ("compare", "caption")


class InternVLDualEncoderTextKwargs(TextKwargs, total=False):
    """Options of the tokenizer.

    prefix: put in front of every text, see [`InternVLDualEncoderTokenizer`].
    add_eos_token: end every text with the end token.
    """

    prefix: str | None
    add_eos_token: bool | None


class InternVLDualEncoderProcessorKwargs(ProcessingKwargs, total=False):
    """Options of the processor, the tokenizer's own among them."""

    text_kwargs: InternVLDualEncoderTextKwargs


class InternVLDualEncoderProcessor(ProcessorBase):
    """Image processor and tokenizer as one.

    ```python
    inputs = processor(images=images, text=["a red panda", "一张熊猫的照片"], return_tensors="pt")
    probabilities = model(**inputs, mode="InternVL-G").logits_per_image.softmax(dim=-1)

    inputs = processor(images=images, task="caption", return_tensors="pt")
    captions = model.generate(**inputs, num_beams=5, min_new_tokens=8)
    print(processor.batch_decode(captions, skip_special_tokens=True))
    ```

    For retrieval the original code squeezes images into the square instead of cropping them; so does
    `processor(..., size={"height": 224, "width": 224}, do_center_crop=False)`.

    Args:
        image_processor: turns images into pixel values; `from_pretrained` takes transformers' CLIP class on Pillow.
        tokenizer: [`InternVLDualEncoderTokenizer`].
    """

    valid_processor_kwargs = InternVLDualEncoderProcessorKwargs
    text_kwargs = {"padding": True}

    hub_task = "zero-shot-image-classification"

    def __init__(self, image_processor=None, tokenizer=None, **kwargs):
        super().__init__(image_processor, tokenizer, **kwargs)

    def __call__(
        self,
        images: ImageInput | None = None,
        text: str | list[str] | None = None,
        task: str | None = None,
        **kwargs: Unpack[InternVLDualEncoderProcessorKwargs],
    ) -> BatchFeature:
        """Encode images, texts, or both.

        Args:
            images: one or a list: PIL images, arrays, tensors, paths, URLs, base64 or bytes.
            text: with `task="compare"` one text or a list, as many as you like; `summarize:` and the end token are
                added. With `task="caption"` the prompt, or one for each image; None is `English caption:`.
            task: `"compare"`, or None: for `forward`, `get_image_features` and `get_text_features`; texts are padded
                on the right. `"caption"`: for `generate`; prompts are left open, and padded on the left.
            kwargs: `return_tensors`, and options of the tokenizer and the image processor.

        Returns:
            `pixel_values` `(images, 3, height, width)`, float32, if there are images; `input_ids` and
            `attention_mask` `(texts, length)` if there are texts.

        Raises:
            ValueError: an unknown task, neither images nor texts, an image that cannot be read, a text that is too
                long (see the tokenizer), or for captions no images or another number of prompts than of images.
        """
        task = "compare" if task is None else task
        if task not in TASKS:
            raise ValueError(f"`task` must be one of {', '.join(map(repr, TASKS))}, got {task!r}.")
        if images is None and text is None:
            raise ValueError("Give `images`, `text`, or both.")
        given = None if images is None else _listed(images)
        if task == "caption":
            text = _prompts(text, given)
            kwargs = {"prefix": "", "add_eos_token": False, "padding_side": "left", **kwargs}
        options = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        data: dict[str, Any] = {}
        if given is not None:
            data.update(self._pixel_values(given, options["images_kwargs"]))
        if text is not None:
            data.update(self.tokenizer(text, **options["text_kwargs"]))
        return BatchFeature(data, tensor_type=options["text_kwargs"].get("return_tensors"))

    def _pixel_values(self, images: list[Any], options: dict[str, Any]) -> BatchFeature:
        """What the image processor makes of images whose alpha is dropped, as in the original code."""
        layout, return_tensors = options.get("input_data_format"), options.get("return_tensors")
        do_resize, do_rescale, rescale_factor = (
            getattr(self.image_processor, name) if options.get(name) is None else options[name]
            for name in ("do_resize", "do_rescale", "rescale_factor")
        )
        own = {**options, "input_data_format": ChannelDimension.FIRST, "return_tensors": None}
        pixels: list[Any] = []
        for position, image in enumerate(images):
            with error_context(f"Image {position}"):
                levels, unit = to_levels(image_pixels(image, layout=layout), keep_fractions=not do_resize)
                factor = rescale(unit, do_rescale, rescale_factor)
            scaled = {**own, "do_rescale": factor != 1, "rescale_factor": factor}
            pixels += self.image_processor([levels], **scaled)["pixel_values"]  # (3, H, W) each
        return BatchFeature({"pixel_values": pixels}, tensor_type=return_tensors)

    @classmethod
    def _get_arguments_from_pretrained(cls, pretrained_model_name_or_path, processor_dict=None, **kwargs):
        path = pretrained_model_name_or_path
        settings = cls.get_processor_dict(path, **kwargs)[0] if processor_dict is None else processor_dict
        hub = hub_arguments(kwargs)
        check_tokenizer_files(path, **hub)
        image_options = chosen_options(kwargs, CLIPImageProcessorPil)
        image_settings = settings.get("image_processor") or _image_settings(path, **hub)
        others = {name: value for name, value in kwargs.items() if name not in image_options}
        if others.pop("backend", None) not in (None, "pil"):
            raise ValueError(
                "The original pixels are Pillow's. For another backend set `processor.image_processor` to what "
                "`AutoImageProcessor.from_pretrained(..., backend=...)` gives."
            )
        return [
            CLIPImageProcessorPil.from_dict(
                check_settings(dict(image_settings), CLIPImageProcessorPil), **image_options
            ),
            InternVLDualEncoderTokenizer.from_pretrained(path, **others),
        ]


def _listed(images: Any) -> list[Any]:
    """Images in any form as a flat list; files are opened, and their EXIF orientation is left alone."""
    entries = list(images) if isinstance(images, (list, tuple)) else [images]
    if not entries:
        raise ValueError("Expected at least one image, got an empty list.")
    for position, entry in enumerate(entries):
        with error_context(f"Image {position}"):
            held = unwrapped(entry)
            entries[position] = open_image(held) if isinstance(held, (str, os.PathLike, bytes)) else held
    return list(make_flat_list_of_images(entries if len(entries) > 1 else entries[0]))


def _prompts(text: str | list[str] | None, images: list[Any] | None) -> list[str]:
    """One prompt for every image."""
    if images is None:
        raise ValueError('`task="caption"` needs `images`: there is one caption for each.')
    if text is None or isinstance(text, str):
        return [CAPTION_PROMPT if text is None else text] * len(images)
    if isinstance(text, (list, tuple)) and len(text) != len(images):
        raise ValueError(
            f"Give one prompt for all images, or one for each: got {len(text)} prompts for {len(images)} images."
        )
    return text


def _image_settings(path: str | os.PathLike, **hub: Any) -> dict[str, Any]:
    """The settings in preprocessor_config.json; without that file, what config.json says about the size.

    Raises:
        OSError: there is neither file.
        ValueError: there is only a config.json, without a size.
    """
    try:
        return CLIPImageProcessorPil.get_image_processor_dict(path, **hub)[0]
    except OSError:
        config, _ = PreTrainedConfig.get_config_dict(path, **hub)
    side = config.get("force_image_size") or config.get("vision_config", {}).get("image_size")
    if side is None:
        raise ValueError(
            f"{path} has no preprocessor_config.json, and its config.json names no image size: neither "
            "`force_image_size` nor `vision_config.image_size`."
        )
    height, width = (side, side) if isinstance(side, int) else side
    mean, std = NORMALIZE_TYPES["imagenet"]
    return {
        "size": {"shortest_edge": min(height, width)},
        "crop_size": {"height": height, "width": width},
        "image_mean": list(mean),
        "image_std": list(std),
    }


__all__ = ["TASKS", "InternVLDualEncoderProcessor"]
