# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From the messages of a request to the inputs of the model.

Runs in a process of its own (see `helper`), since what is decoded here comes from strangers. Pictures are
decoded one at a time, when they are cut into tiles, and are not kept.
"""

import re
from io import BytesIO
from typing import Any

from jinja2 import TemplateError
from PIL import Image

from ..processing.sources import DECODING_ERRORS
from .media import Limits
from .requests import RequestError

# Formats without code, other files or other URLs in them, unlike PostScript or playlists.
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_SLOWER = 64  # times, where Pillow decodes in Python: BMP in runs, PPM in decimal digits or of odd levels
_SCAN = b"\xff\xda"
_MOST_PASSES = 16  # over all pixels of a JPEG
_USUAL_PASSES = 10  # of a progressive one
LIGHT = 16_000_000
"""Most pixels of the pictures of a request that does not wait for heavier ones."""
LIGHT_TEXT = 100_000
"""Most bytes of its texts."""
# What MP4 and MOV, Matroska and WebM, and AVI begin with: all of it, since a part can stand in other formats, too.
_VIDEO_MARKS = re.compile(rb"\0...ftyp|\x1a\x45\xdf\xa3.{,64}(?:matroska|webm)|RIFF....AVI LIST", re.DOTALL)


class Heavy(Exception):
    """The pictures of a request take long: it has to wait for others like it."""


class SentPicture(Image.Image):
    """A picture as it was sent. Its size is known; it is decoded anew by whoever converts it, so that nobody keeps it.

    Args:
        data: the file.
        limits: of its pixels.

    Attributes:
        work: its pixels, as many times as decoding takes longer than usual.

    Raises:
        RequestError: no picture, a format that is not taken, or too large.
    """

    def __init__(self, data: bytes, limits: Limits):
        super().__init__()
        self._sent = data
        picture = self._opened()
        self._size, self._mode = picture.size, "RGBX"  # not RGB, since nothing is here yet
        pixels = picture.width * picture.height
        if pixels > limits.pixels:
            raise RequestError(
                f"A picture of {picture.width} x {picture.height} pixels is too large: at most {limits.pixels} are "
                "taken."
            )
        decoders = [tile[0] for tile in getattr(picture, "tile", ())]
        if pixels * _SLOWER > limits.pixels and any(decoder in Image.DECODERS for decoder in decoders):
            raise RequestError(
                f"A {picture.format} of {picture.width} x {picture.height} pixels in this coding takes too long: at "
                f"most {limits.pixels // _SLOWER} are taken; send a PNG."
            )
        scans = data.count(_SCAN) if picture.format == "JPEG" else 1
        if scans * pixels > _MOST_PASSES * limits.pixels:
            raise RequestError(
                f"A JPEG of {picture.width} x {picture.height} pixels in {scans} scans takes too long: save it with "
                "fewer scans."
            )
        slower = _SLOWER if any(decoder in Image.DECODERS for decoder in decoders) else 1
        self.work = pixels * max(slower, scans // _USUAL_PASSES)

    def _opened(self) -> Image.Image:
        try:
            return Image.open(BytesIO(self._sent), formats=PICTURE_FORMATS)
        except (*DECODING_ERRORS, ValueError) as error:
            raise RequestError(f"No picture in one of the formats {', '.join(PICTURE_FORMATS)}.") from error

    def convert(self, mode: str | None = None, *args: Any, **kwargs: Any) -> Image.Image:
        """As of the decoded picture, without a copy of it."""
        picture = self._opened()
        picture.load()
        return picture if picture.mode == mode else picture.convert(mode, *args, **kwargs)

    def load(self) -> Any:
        """Decode to stay, for whoever asks for other than a conversion."""
        picture = self._opened()
        picture.load()
        self.im, self._mode = picture.im, picture.mode
        return picture.load()


def check_video(data: bytes) -> None:
    """Raise `RequestError` unless `data` begins as a container of videos does."""
    if not _VIDEO_MARKS.match(data):
        raise RequestError("No video in one of the formats MP4, MOV, Matroska, WebM, AVI.")


def prepare(
    processor: Any, context: int, messages: list[dict], options: dict[str, Any], limits: Limits, light: bool = False
) -> Any:
    """The inputs of the model, on the CPU. Text is data: no message can write a special token.

    Args:
        processor: the model's.
        context: most tokens of a prompt and its answer.
        messages: as the template takes them, with the bytes of pictures and videos as `data`.
        options: of the template and of pictures and videos.
        limits: of pixels.
        light: whether pictures and texts may not take long.

    Raises:
        Heavy: they would; nothing has been decoded or cut into tokens.
        RequestError: pictures that cannot be decoded or do not fit into the context, or what the template refuses.
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
    return {**rest, "image": SentPicture(data, limits)}


def _check_media(processor: Any, context: int, messages: list[dict], options: dict[str, Any], limits: Limits) -> None:
    """Whether pictures and videos fit into the budget and the context, before any of them is decoded."""
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
            f"The pictures have {pixels} pixels together: at most {limits.all_pixels} are taken. Shrink them first.",
            param="messages",
        )
    if tokens >= context:
        raise RequestError(
            f"The pictures and videos take {tokens} tokens, but the model's context is {context}: send fewer, "
            'smaller ones, or `"detail": "low"`.',
            param="messages",
            code="context_length_exceeded",
        )
