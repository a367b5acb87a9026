# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Images and videos of a batch: taken out of conversations, turned into tiles, put into the order of the prompts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch
from transformers.image_utils import make_flat_list_of_images

from .images.tiling import tile_budget
from .text.placeholders import Place

SOURCES = {"image": ("image", "url", "path", "base64"), "video": ("video", "url", "path")}
"""Keys of a content item under which its image or video may lie."""
IMAGE_OPTIONS = ("min_patches", "max_patches")
VIDEO_OPTIONS = ("num_frames", "fps", "max_num_frames", "bound", "sampling")
"""Keys of a content item that set an option of the processor for it alone."""

_OPTIONS = {"image": IMAGE_OPTIONS, "video": VIDEO_OPTIONS}


@dataclass(frozen=True)
class Overrides:
    """Options of the processors for single images and videos of a batch, in order."""

    image: list[dict[str, Any]] = field(default_factory=list)
    video: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Media:
    """What the conversations of a batch carry, one list a conversation.

    Attributes:
        image, video: PIL images, arrays, paths, URLs, ...
        carried: the options of the items that carry them.
        awaited: the options of those that carry none, for media that are passed beside the conversations.
    """

    image: list[list[Any]] = field(default_factory=list)
    video: list[list[Any]] = field(default_factory=list)
    carried: Overrides = field(default_factory=Overrides)
    awaited: Overrides = field(default_factory=Overrides)

    @classmethod
    def of(cls, conversations: Iterable[list[dict[str, Any]]]) -> "Media":
        media = cls()
        for conversation in conversations:
            contents = [message.get("content") for message in conversation]
            items = chain.from_iterable(content for content in contents if isinstance(content, (list, tuple)))
            known = [item for item in items if isinstance(item, dict)]
            for kind, names in _OPTIONS.items():
                found = []
                for item in known:
                    if item.get("type") != kind:
                        continue
                    own = {name: item[name] for name in names if item.get(name) is not None}
                    source = _carried(item, kind)
                    getattr(media.awaited if source is None else media.carried, kind).append(own)
                    found += [] if source is None else [source]
                getattr(media, kind).append(found)
        return media

    def overrides(self, **beside: Any) -> Overrides:
        """The options of single images and videos.

        Args:
            beside: `image`, `video`: lists of those that were passed beside the conversations, in order; None or
                empty where the items carry them.

        Raises:
            ValueError: items with options, and another number of media beside them.
        """
        chosen = {}
        for kind in _OPTIONS:
            given, awaited = beside.get(kind), getattr(self.awaited, kind)
            if not given:
                chosen[kind] = getattr(self.carried, kind)
            elif len(given) == len(awaited) or not any(awaited):
                chosen[kind] = awaited if len(given) == len(awaited) else []
            else:
                raise ValueError(
                    f"{len(given)} {kind}s were passed beside the conversation, which has {len(awaited)} items of "
                    f"type '{kind}' without one, some with options: it is not known whose they are."
                )
        return Overrides(**chosen)


def _carried(item: dict[str, Any], kind: str) -> Any:
    return next((item[key] for key in SOURCES[kind] if item.get(key) is not None), None)


def listed_images(image_processor: Any, images: Any) -> tuple[list[Any], bool]:
    """Images in any form that `__call__` takes as a list, and whether its items are lists, one a sample."""
    if images is None or (isinstance(images, (list, tuple)) and len(images) == 0):
        return [], False
    if isinstance(images, (list, tuple)) and any(item is None or isinstance(item, (list, tuple)) for item in images):
        return list(images), True
    return list(make_flat_list_of_images(image_processor.fetch_images(images))), False


def image_tiles(
    image_processor: Any,
    samples: list[list[Any]],
    overrides: list[dict[str, Any]] | None,
    options: dict[str, Any],
) -> tuple[dict[str, Any], list[int]]:
    """Call the image processor for all samples of a batch.

    Args:
        image_processor: ours or transformers'.
        samples: the images of each sample.
        overrides: options for single images, one dictionary an image of the batch.
        options: for all.

    Returns:
        The outputs, `pixel_values` of `[tiles, 3, S, S]` among them, and the number of tiles of each image.
    """
    if not any(samples):
        return {}, []
    if overrides is None or not any(overrides):
        outputs = dict(image_processor([sample for sample in samples if sample], **options))
        return outputs, _counts(outputs.pop("num_patches", None), samples, outputs["pixel_values"])
    parts = []
    images = [(image, len(sample)) for sample in samples for image in sample]
    for (image, in_sample), override in zip(images, overrides, strict=True):
        own = {**options, **override}
        shared = own.pop("share_tile_budget", None)
        if getattr(image_processor, "share_tile_budget", False) if shared is None else shared:
            budget = own.get("max_patches") or image_processor.max_patches
            own["max_patches"] = override.get("max_patches") or tile_budget(budget, in_sample)
        if shared is not None or hasattr(image_processor, "share_tile_budget"):
            own["share_tile_budget"] = False  # given already, by the limit
        parts.append(image_processor([image], **own))
    outputs = {name: joined([part[name] for part in parts]) for name in parts[0] if name != "num_patches"}
    return outputs, [int(part["num_patches"][0]) for part in parts]


def _counts(num_patches: Any, samples: list[list[Any]], pixel_values: Any) -> list[int]:
    """The number of tiles of each image; a processor that does not return it must make one for each."""
    if num_patches is not None:
        return [int(count) for count in num_patches]
    images = sum(len(sample) for sample in samples)
    if len(pixel_values) != images:
        raise ValueError(
            f"The image processor made {len(pixel_values)} tiles of {images} images and returned no `num_patches`: it "
            "is not known which tiles belong to which image. Use the image processor of the checkpoint."
        )
    return [1] * images


def video_frames(
    video_processor: Any, samples: list[list[Any]], overrides: list[dict[str, Any]], options: dict[str, Any]
) -> tuple[dict[str, Any], list[Any]]:
    """Call the video processor for all samples: its outputs, and the frames of each video, `[F, 3, S, S]`.

    Args:
        video_processor: ours or transformers'.
        samples: the videos of each sample.
        overrides: options for single videos, one dictionary a video of the batch.
        options: for all.
    """
    if not any(samples):
        return {}, []
    # One list a sample, since a list of frames in a flat list could also be a sample of videos.
    if not any(overrides):
        outputs = dict(video_processor([sample for sample in samples if sample], **options))
        return outputs, list(outputs["pixel_values_videos"])
    outputs, clips = {"video_metadata": []}, []
    for video, own in zip(chain.from_iterable(samples), overrides, strict=True):
        excluded = {"num_frames"} if "fps" in own else {"fps"} if "num_frames" in own else set()
        shared = {name: value for name, value in options.items() if name not in excluded}
        asked = {"do_sample_frames": True, **own} if own else {}
        part = video_processor([[video]], **{**shared, **asked})
        clips += list(part["pixel_values_videos"])
        outputs["video_metadata"] += part.get("video_metadata") or []
    return outputs, clips


def tiles_in_order(pixel_values: Any, num_patches: list[int], clips: list[Any], places: list[list[Place]]) -> Any:
    """The tiles of images, `[tiles, 3, S, S]`, and of videos, one array each, in the order of their places."""
    ends = np.cumsum(num_patches)
    images = iter([pixel_values[end - count : end] for end, count in zip(ends, num_patches, strict=True)])
    videos = iter(clips)
    return joined([next(images if place.kind == "image" else videos) for place in chain.from_iterable(places)])


def joined(parts: list[Any]) -> Any:
    """Tiles one after another, as whatever kind they are of."""
    if all(isinstance(part, torch.Tensor) for part in parts):
        return torch.cat(parts)
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return list(chain.from_iterable(parts))
