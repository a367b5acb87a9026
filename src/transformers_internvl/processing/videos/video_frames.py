# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A video, whatever it came as: its frames, a folder of them, or an encoded file. All are read in one way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.video_utils import VideoMetadata

from ..images.pixels import depth_of, error_context, has_eight_bits, image_pixels
from ..sources import open_image
from .video_decoding import VideoReader
from .video_timing import TimedVideoMetadata


class GivenFrames:
    """A video that came as its frames.

    Attributes:
        decoded: whether its frames are there already, so that all of them are taken unless a call asks otherwise.
        repeats: whether a request for more frames than there are repeats some.
        metadata: their number, and what is known besides.
    """

    decoded = True
    repeats = True

    def __init__(self, frames: Sequence[Any], metadata: VideoMetadata | dict | None):
        self._frames = [
            open_image(frame) if isinstance(frame, (str, os.PathLike, bytes)) else frame for frame in frames
        ]
        self._depths: dict[np.dtype, float] = {}
        self.metadata = _described(len(frames), metadata)

    def frames(self, indices: Iterable[int]) -> Iterator[tuple[int, Any]]:
        """`(index, image)` of every index, each once and in ascending order."""
        for index in sorted(set(indices)):
            yield index, self._frames[index]

    def depth(self, pixels: np.ndarray, *conversion: Any) -> float | None:
        """What is white in a frame: the same in all frames of its type, of which some may be dark."""
        if pixels.dtype == np.uint8:
            return None
        if pixels.dtype not in self._depths:
            deep = (image_pixels(frame, *conversion) for frame in self._frames if not has_eight_bits(frame))
            self._depths[pixels.dtype] = depth_of(frame for frame in deep if frame.dtype == pixels.dtype)
        return self._depths[pixels.dtype]

    def close(self) -> None:
        """Nothing is open."""


class FolderFrames:
    """A folder of frames, one an image file; in the order of the numbers in their names, as in the original code.

    Raises `ValueError` if it holds no images.
    """

    decoded = False
    repeats = False

    def __init__(self, folder: str | os.PathLike, metadata: VideoMetadata | dict | None):
        self._files = frame_files(folder)
        self.metadata = _described(len(self._files), metadata)

    def frames(self, indices: Iterable[int]) -> Iterator[tuple[int, Any]]:
        """As of `GivenFrames`; each file is opened when it is its turn."""
        for index in sorted(set(indices)):
            with error_context(os.path.basename(self._files[index])):
                image = open_image(self._files[index])
            with image:
                yield index, image

    def depth(self, *pixels: Any) -> None:
        """As each frame says for itself."""
        return None

    def close(self) -> None:
        """Nothing is open."""


class EncodedFrames(VideoReader):
    """The frames of an encoded video."""

    decoded = False
    repeats = True

    def depth(self, *pixels: Any) -> None:
        """Decoded frames have levels."""
        return None


VideoFrames = GivenFrames | FolderFrames | EncodedFrames


def _described(count: int, metadata: VideoMetadata | dict | None) -> TimedVideoMetadata:
    known = {name: value for name, value in dict(metadata or {}).items() if value is not None}
    stated = known.pop("total_num_frames", None)
    if stated is not None and stated != count:
        # The rate of `metadata` is that of the whole video: it says nothing about the frames that are left.
        known.pop("fps", None)
    described = TimedVideoMetadata(total_num_frames=count, **known)
    if stated == count:
        described.frame_times = getattr(metadata, "frame_times", None)
    return described


def frame_files(folder: str | os.PathLike) -> list[str]:
    """The image files of a folder, hidden ones aside, in the order of the numbers in their names.

    Raises `ValueError` if there is none.
    """
    endings = Image.registered_extensions()
    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    names = [name for name in names if os.path.splitext(name)[1].lower() in endings]
    if not names:
        raise ValueError(f"the folder {os.fspath(folder)} holds no images: a frame is a file such as frame_1.jpg")
    return [os.path.join(folder, name) for name in sorted(names, key=_by_numbers)]


def _by_numbers(name: str) -> tuple[list[Any], str]:
    """`a_9` before `a_10`: every second part is a number."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def open_video(video: Any, metadata: VideoMetadata | dict | None, max_pixels: int | None) -> VideoFrames:
    """A video to read from; see `InternVLVideoProcessor` for what it may be.

    Args:
        video: the video.
        metadata: what the caller knows about given frames.
        max_pixels: most pixels of a frame of an encoded video.
    """
    if isinstance(video, (str, os.PathLike)) and os.path.isdir(video):
        return FolderFrames(video, metadata)
    if isinstance(video, (str, os.PathLike, bytes)):
        return EncodedFrames(video, max_pixels)
    return GivenFrames([video] if is_frame(video) else video, metadata)


def is_frame(item: Any) -> bool:
    """Whether something is an image by itself."""
    return isinstance(item, Image.Image) or (isinstance(item, (np.ndarray, torch.Tensor)) and item.ndim == 3)


__all__ = ["EncodedFrames", "FolderFrames", "GivenFrames", "VideoFrames", "frame_files", "is_frame", "open_video"]
