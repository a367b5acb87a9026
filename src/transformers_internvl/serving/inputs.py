# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From the messages of a request to the inputs of the model.

Runs in a process of its own (see `helper`), since it decodes untrusted data. Images are decoded one at a time, when
they are split into tiles, and are not kept.
"""

import re
from io import BytesIO
from typing import Any

from jinja2 import TemplateError
from PIL import Image

from ..processing.sources import DECODING_ERRORS
from .media import Limits
from .requests import RequestError

# Formats that cannot hold code or refer to other files or URLs, unlike PostScript or playlists.
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_SLOWER = 64  # factor where Pillow decodes in Python: run-length BMP, PPM in decimal digits or of odd levels
_SCAN = b"\xff\xda"
_MOST_PASSES = 16  # over all pixels of a JPEG
_USUAL_PASSES = 10  # of a progressive one
LIGHT = 16_000_000
"""Maximum number of pixels of all images of a request that is not heavy."""
LIGHT_TEXT = 100_000
"""Maximum number of bytes of its texts."""
# The complete beginning of MP4 and MOV, Matroska and WebM, and AVI; other formats can share a part of it.
_VIDEO_MARKS = re.compile(rb"\0...ftyp|\x1a\x45\xdf\xa3.{,64}(?:matroska|webm)|RIFF....AVI LIST", re.DOTALL)


class Heavy(Exception):
    """The images of a request take long: it has to wait for other such requests."""


class SentImage(Image.Image):
    """An encoded image of known size. Each conversion decodes it again, so that the pixels are not kept.

    Args:
        data: the file.
        limits: of its pixels.

    Attributes:
        work: the number of its pixels, times the factor by which decoding is slower than usual.

    Raises:
        RequestError: no image, an unsupported format, or too large.
    """

    def __init__(self, data: bytes, limits: Limits):
        super().__init__()
        self._sent = data
        image = self._opened()
        self._size, self._mode = image.size, "RGBX"  # not RGB: a conversion to RGB has to decode
        pixels = image.width * image.height
        if pixels > limits.pixels:
            raise RequestError(
                f"An image of {image.width} x {image.height} pixels is too large: at most {limits.pixels} are "
                "accepted."
            )
        decoders = [tile[0] for tile in getattr(image, "tile", ())]
        if pixels * _SLOWER > limits.pixels and any(decoder in Image.DECODERS for decoder in decoders):
            raise RequestError(
                f"A {image.format} of {image.width} x {image.height} pixels in this coding takes too long: at "
                f"most {limits.pixels // _SLOWER} are accepted; send a PNG."
            )
        scans = data.count(_SCAN) if image.format == "JPEG" else 1
        if scans * pixels > _MOST_PASSES * limits.pixels:
            raise RequestError(
                f"A JPEG of {image.width} x {image.height} pixels in {scans} scans takes too long: save it with "
                "fewer scans."
            )
        slower = _SLOWER if any(decoder in Image.DECODERS for decoder in decoders) else 1
        self.work = pixels * max(slower, scans // _USUAL_PASSES)

    def _opened(self) -> Image.Image:
        try:
            return Image.open(BytesIO(self._sent), formats=IMAGE_FORMATS)
        except (*DECODING_ERRORS, ValueError) as error:
            raise RequestError(f"No image in one of the formats {', '.join(IMAGE_FORMATS)}.") from error

    def convert(self, mode: str | None = None, *args: Any, **kwargs: Any) -> Image.Image:
        """Decode and convert, without keeping the decoded image."""
        image = self._opened()
        image.load()
        return image if image.mode == mode else image.convert(mode, *args, **kwargs)

    def load(self) -> Any:
        """Decode and keep the pixels, for uses other than a conversion."""
        image = self._opened()
        image.load()
        self.im, self._mode = image.im, image.mode
        return image.load()


def check_video(data: bytes) -> None:
    """Raise `RequestError` unless `data` begins as a container of videos does."""
    if not _VIDEO_MARKS.match(data):
        raise RequestError("No video in one of the formats MP4, MOV, Matroska, WebM, AVI.")


def prepare(
    processor: Any, context: int, messages: list[dict], options: dict[str, Any], limits: Limits, light: bool = False
) -> Any:
    """The inputs of the model, on the CPU. Texts are untrusted: no message can write a special token.

    Args:
        processor: the model's.
        context: how many image tokens there is room for.
        messages: in the template's form, with the bytes of images and videos as `data`.
        options: of the template and of images and videos.
        limits: of pixels.
        light: whether to refuse images and texts that take long.

    Raises:
        Heavy: images or texts take long and `light` is set; nothing has been decoded or tokenized.
        RequestError: images that cannot be decoded or do not fit into the context, or what the template refuses.
    """
    taken = [{**message, "content": [_item(part, limits) for part in message["content"]]} for message in messages]
    _check_media(processor, context, taken, options, limits)
    items = [item for message in taken for item in message["content"]]
    work = sum(item["image"].work for item in items if item["type"] == "image")
    text = sum(len(item["text"].encode(errors="replace")) for item in items if item["type"] == "text")
    if light and (work > LIGHT or text > LIGHT_TEXT):
        raise Heavy
    for name in ("image_processor", "video_processor"):
        own = getattr(processor, name, None)
        if own is not None and getattr(own, "max_image_pixels", None):
            own.max_image_pixels = min(own.max_image_pixels, limits.pixels)
    try:
        return processor.apply_chat_template(
            taken, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", **options
        )
    except (ValueError, ImportError, TemplateError, *DECODING_ERRORS) as error:
        raise RequestError(" ".join(str(error).split())[:500], param="messages") from error


def _item(part: dict[str, Any], limits: Limits) -> dict[str, Any]:
    if part["type"] == "text":
        return part
    data = part["data"]
    rest = {name: value for name, value in part.items() if name != "data"}
    if part["type"] == "video":
        check_video(data)
        return {**rest, "video": data}
    return {**rest, "image": SentImage(data, limits)}


def _check_media(processor: Any, context: int, messages: list[dict], options: dict[str, Any], limits: Limits) -> None:
    """Check that images and videos fit into limits and context, before any of them is decoded."""
    tokens = pixels = 0
    shared = {"max_patches": options["max_patches"]} if options.get("max_patches") else {}
    frames = options.get("num_frames") or getattr(processor.video_processor, "num_frames", None) or 1
    for item in (item for message in messages for item in message["content"]):
        if item["type"] == "image":
            own = {"max_patches": item["max_patches"]} if "max_patches" in item else shared
            pixels += item["image"].width * item["image"].height
            tokens += processor.count_tokens([item["image"].size[::-1]], **own)[0]
        elif item["type"] == "video":
            tokens += frames * processor.image_seq_length
    if pixels > limits.all_pixels:
        raise RequestError(
            f"The images have {pixels} pixels together: at most {limits.all_pixels} are accepted. Shrink them first.",
            param="messages",
        )
    if tokens >= context:
        raise RequestError(
            f"The images and videos take {tokens} tokens, and the model's context has room for {context}: send fewer, "
            'smaller ones, or `"detail": "low"`.',
            param="messages",
            code="context_length_exceeded",
        )
