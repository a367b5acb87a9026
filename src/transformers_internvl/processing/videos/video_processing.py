# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Videos to tiles: `InternVLVideoProcessor`.

A video is a few frames, and a frame is an image on one tile. Which frames is `frame_sampling`'s question, reading
them `video_decoding`'s; the pixels are treated as those of images are (see `image_processing`). Frames are read,
resized and dropped one at a time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import torch
from huggingface_hub.dataclasses import validate_typed_dict
from transformers import BatchFeature, PilBackend, TensorType, VideosKwargs
from transformers.image_utils import PILImageResampling, validate_kwargs
from transformers.processing_utils import Unpack
from transformers.video_processing_utils import VideoProcessorMixin
from transformers.video_utils import VideoMetadata

from ..images.image_processing import NORMALIZE_TYPES, check_options, check_pair, with_statistics
from ..images.pixels import (
    check_room,
    check_statistics,
    checked_size,
    empty_tiles,
    error_context,
    image_pixels,
    scale_and_shift,
    to_levels,
    write_tiles,
)
from ..images.settings import check_settings
from .frame_sampling import SAMPLINGS, frame_indices
from .video_frames import VideoFrames, is_frame, open_video


class InternVLVideoProcessorKwargs(VideosKwargs, total=False):
    r"""
    sampling (`str`, *optional*, defaults to `self.sampling`):
        How `num_frames` are chosen: `"segments"` (the model cards' rule), `"middle"` or `"rand"` (those of training).
    bound (`tuple[float, float]`, *optional*):
        Look only at the video between these seconds.
    max_num_frames (`int`, *optional*):
        With `fps`, at most so many frames: the first ones.
    normalize_type (`str`, *optional*):
        `"imagenet"`, `"clip"` or `"siglip"`: sets `image_mean` and `image_std`, and wins over them.
    backend (`str`, *optional*, defaults to `self.backend`):
        `"pil"` (exact) or `"torch"` (faster, within 2 levels of 255).
    max_image_pixels (`int`, *optional*, defaults to `self.max_image_pixels`):
        Frames with more pixels are refused.
    """

    sampling: str | None
    bound: tuple | list | None
    max_num_frames: int | None
    normalize_type: str | None
    backend: str | None
    max_image_pixels: int | None


class InternVLVideoProcessor(VideoProcessorMixin, PilBackend):
    """Turns videos into one tile a frame, without torchvision.

    A video is a path, URL, data URI, base64 text or bytes (read with PyAV, the extra `video`); or its frames: a list
    of PIL images or arrays, an array `[T, H, W, C]` or `[T, C, H, W]`, or the path of a folder of images, which are
    taken in the order of the numbers in their names. Several videos are a list of these.

    Encoded videos and folders are sampled: `num_frames` (8) by the original rule, or `fps` a second. Frames that are
    given are taken as they are, unless the call itself asks for `num_frames`, `fps`, `bound`, `sampling` or
    `do_sample_frames=True`. With `do_sample_frames=False`, set or passed, every frame of any video is taken. A video
    shorter than the request repeats frames, as the original code does; a folder gives each frame once.

    Encoded frames are turned as the file asks for, as phones' files do. `fps` and `bound` follow the time stamps of
    the frames: where these are spaced unevenly, as in recordings of browsers, a second belongs to the frame that is
    shown then.

    Returns a `BatchFeature` with `pixel_values_videos`: float32 `[videos, frames, 3, S, S]` where tensors are asked
    for and all videos have equally many frames, else a list of `[frames, 3, S, S]`; and with `return_metadata=True`,
    `video_metadata`, with the chosen frames in `frames_indices`.

    Raises `ValueError`, with the index of the video, on videos that are empty or broken, on requests that pick no
    frame, and on requests in seconds where the frame rate is not known.
    """

    valid_kwargs = InternVLVideoProcessorKwargs
    model_input_names = ["pixel_values_videos"]

    size = {"height": 448, "width": 448}
    resample = PILImageResampling.BICUBIC
    image_mean, image_std = NORMALIZE_TYPES["imagenet"]
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    do_sample_frames = True
    num_frames = 8
    fps = None
    sampling = "segments"
    bound = None
    max_num_frames = None
    rng: random.Random | None = None  # of `sampling="rand"`; training sets it for each sample
    backend = "pil"
    max_image_pixels = 2**28
    return_metadata = False

    def __init__(self, **kwargs: Unpack[InternVLVideoProcessorKwargs]):
        super().__init__(**kwargs)
        if self.fps is not None and kwargs.get("num_frames") is None:
            self.num_frames = None  # a rate in place of the number
        check_options(**{name: getattr(self, name) for name in ("size", "backend")})
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"`sampling` is one of {list(SAMPLINGS)}, got {self.sampling!r}.")

    @classmethod
    def from_dict(cls, video_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As transformers', of settings that were looked at."""
        return super().from_dict(check_settings(video_processor_dict, cls), **kwargs)

    def _standardize_kwargs(self, normalize_type: str | None = None, **kwargs) -> dict:
        check_pair(kwargs.get("size"))
        return with_statistics(super()._standardize_kwargs(**kwargs), normalize_type)

    def _validate_preprocess_kwargs(self, **kwargs) -> None:
        super()._validate_preprocess_kwargs(**kwargs)
        check_options(**kwargs)
        check_statistics(**kwargs)

    def preprocess(self, videos: Any, **kwargs: Unpack[InternVLVideoProcessorKwargs]) -> BatchFeature:
        """Preprocess a video or several; see the class."""
        known = [*self.valid_kwargs.__annotations__, "return_tensors"]
        validate_kwargs(captured_kwargs=kwargs.keys(), valid_processor_keys=known)
        validate_typed_dict(self.valid_kwargs, kwargs)

        request = self._sampling_request(kwargs)
        for name in self.valid_kwargs.__annotations__:
            kwargs.setdefault(name, getattr(self, name, None))
        kwargs = self._standardize_kwargs(**kwargs)
        self._validate_preprocess_kwargs(**kwargs)

        items = make_list_of_videos(videos)
        metadata = _metadata_of_each(kwargs["video_metadata"], len(items))
        tiles = []
        for index, item in enumerate(items):
            with (
                error_context(f"Video {index}"),
                closing(open_video(item, metadata[index], kwargs["max_image_pixels"])) as video,
            ):
                indices = self._choose_frames(video, request)
                metadata[index] = video.metadata
                metadata[index].frames_indices = indices
                tiles.append(_video_tiles(video, indices, **kwargs))

        return_tensors = kwargs["return_tensors"]
        collected, ragged = _collect(tiles, return_tensors)
        features = BatchFeature(
            data={"pixel_values_videos": collected},
            tensor_type=return_tensors,
            skip_tensor_conversion=["pixel_values_videos"] if ragged else None,
        )
        if kwargs["return_metadata"]:
            features["video_metadata"] = metadata
        return features

    def sample_frames(
        self, metadata: VideoMetadata, num_frames: int | None = None, fps: float | None = None, **kwargs
    ) -> np.ndarray:
        """The indices of the frames to look at in a video described by `metadata`; see `frame_indices`."""
        request = self._sampling_request({"num_frames": num_frames, "fps": fps, **kwargs})
        return np.asarray(self._indices(metadata, request))

    def fetch_videos(self, video_url_or_urls: Any, sample_indices_fn=None) -> Any:
        """The frames `[T, H, W, 3]` and the metadata of an encoded video or a folder, or lists of both for several."""
        if isinstance(video_url_or_urls, (list, tuple)):
            fetched = [self.fetch_videos(item, sample_indices_fn) for item in video_url_or_urls]
            return [frames for frames, _ in fetched], [metadata for _, metadata in fetched]
        with closing(open_video(video_url_or_urls, None, self.max_image_pixels)) as video:
            chosen = list(range(video.metadata.total_num_frames))
            if sample_indices_fn is not None:
                chosen = [int(index) for index in sample_indices_fn(metadata=video.metadata)]
            check_room(len(chosen), video.metadata.height or 1, video.metadata.width or 1, 3)
            found = ((index, _as_rgb(frame, self.max_image_pixels)) for index, frame in video.frames(chosen))
            frames = dict(found)
            video.metadata.frames_indices = chosen
            return np.stack([frames[index] for index in chosen]), video.metadata

    def _sampling_request(self, kwargs: dict) -> dict:
        """What the call asks for, completed from the processor's settings; `explicit` if the call itself asks."""
        asked = {name: kwargs.get(name) for name in ("num_frames", "fps", "bound", "sampling", "max_num_frames")}
        if asked["num_frames"] is not None and asked["fps"] is not None:
            raise ValueError("`num_frames` and `fps` exclude each other: give one of them.")
        wanted = kwargs.get("do_sample_frames")
        request = {name: getattr(self, name) if value is None else value for name, value in asked.items()}
        if asked["num_frames"] is not None:
            request["fps"] = None
        elif request["fps"] is not None:
            request["num_frames"] = None
        explicit = bool(wanted) or any(value is not None for value in asked.values())
        return {**request, "do_sample": self.do_sample_frames if wanted is None else wanted, "explicit": explicit}

    def _choose_frames(self, video: VideoFrames, request: dict) -> list[int]:
        total, wanted = video.metadata.total_num_frames, request["num_frames"]
        if not video.repeats and wanted is not None and wanted > total and request["bound"] is None:
            return list(range(total))
        if request["do_sample"] and (request["explicit"] or not video.decoded):
            return self._indices(video.metadata, request)
        return list(range(video.metadata.total_num_frames))

    def _indices(self, metadata: VideoMetadata, request: dict) -> list[int]:
        options = {name: value for name, value in request.items() if name not in ("explicit", "do_sample")}
        times = getattr(metadata, "frame_times", None)
        return frame_indices(
            metadata.total_num_frames, video_fps=metadata.fps, rng=self.rng, frame_times=times, **options
        )


def _as_rgb(frame: Any, max_pixels: int | None) -> np.ndarray:
    """A frame as levels `[H, W, 3]`."""
    checked_size(frame, None, max_pixels)
    return to_levels(image_pixels(frame))[0].transpose(1, 2, 0)


def make_list_of_videos(videos: Any) -> list[Any]:
    """All videos in `videos`, in order: a flat list of paths, bytes, frame arrays and lists of frames.

    As in transformers, texts in a list are videos each; only in a list of lists of lists are the innermost texts the
    frames of one video. Raises `ValueError` if there is no video, or something else.
    """
    found = list(_flatten(videos, depth=0))
    if not found:
        raise ValueError("No video was given: the list is empty.")
    return found


def _flatten(videos: Any, depth: int) -> Iterator[Any]:
    if _is_video(videos) or is_frame(videos):
        yield videos
    elif isinstance(videos, (np.ndarray, torch.Tensor)) and videos.ndim == 5:
        yield from videos
    elif not isinstance(videos, (list, tuple)):
        raise ValueError(f"Expected a video (path, URL, bytes, frames) or a list of them, got {type(videos)}.")
    elif depth == 2 and videos and all(isinstance(item, (str, bytes)) for item in videos):
        yield videos
    else:
        for item in videos:
            yield from _flatten(item, depth + 1)


def _is_video(item: Any) -> bool:
    if isinstance(item, (str, os.PathLike, bytes)):
        return True
    if isinstance(item, (np.ndarray, torch.Tensor)):
        return item.ndim == 4
    return isinstance(item, (list, tuple)) and bool(item) and all(is_frame(frame) for frame in item)


def _metadata_of_each(metadata: Any, count: int) -> list[Any]:
    if metadata is None:
        return [None] * count
    flat = [metadata] if isinstance(metadata, (dict, VideoMetadata)) else list(metadata)
    while any(isinstance(item, (list, tuple)) for item in flat):
        flat = [inner for item in flat for inner in (item if isinstance(item, (list, tuple)) else [item])]
    if len(flat) != count:
        raise ValueError(f"`video_metadata` describes {len(flat)} videos, but {count} were given.")
    return flat


def _video_tiles(
    video: VideoFrames,
    indices: list[int],
    *,
    do_convert_rgb,
    input_data_format,
    max_image_pixels,
    device,
    do_resize,
    size,
    resample,
    backend,
    do_rescale,
    rescale_factor,
    do_normalize,
    image_mean,
    image_std,
    **kwargs,
) -> torch.Tensor:
    """The chosen frames as tiles `[frames, C, S, S]`, each frame read and resized once, however often it is chosen."""
    if not indices:
        raise ValueError("has no frames")
    places: dict[int, list[int]] = {}
    for place, index in enumerate(indices):
        places.setdefault(index, []).append(place)
    tiles = None
    for index, frame in video.frames(places):
        with error_context(f"frame {index}"):
            checked_size(frame, input_data_format, max_image_pixels)
            pixels = image_pixels(frame, do_convert_rgb, input_data_format)
            levels, unit = to_levels(
                pixels, keep_fractions=not do_resize, depth=video.depth(pixels, do_convert_rgb, input_data_format)
            )
            affine = scale_and_shift(
                len(levels), unit, do_rescale, rescale_factor, do_normalize, image_mean, image_std
            )
            shape = (len(levels), size.height, size.width) if do_resize else levels.shape
            if tiles is None:
                tiles = empty_tiles(len(indices), *shape, levels, affine, device)
            if tiles.shape[1:] != shape:
                raise ValueError(f"has shape {shape}, the ones before {tuple(tiles.shape[1:])}; resize them")
            first, *others = places[index]
            write_tiles(levels, tiles[first : first + 1], (1, 1) if do_resize else None, affine, resample, backend)
            for other in others:
                tiles[other] = tiles[first]
    return tiles


def _collect(tiles: list[torch.Tensor], return_tensors: str | TensorType | None) -> tuple[Any, bool]:
    """One tensor or array of all videos if asked for and possible, else a list; and whether it is ragged."""
    if return_tensors is None:
        return tiles, False
    as_numpy = TensorType(return_tensors) == TensorType.NUMPY
    ragged = len({video.shape for video in tiles}) > 1
    if ragged:
        return [video.cpu().numpy() for video in tiles] if as_numpy else tiles, True
    stacked = tiles[0][None] if len(tiles) == 1 else torch.stack(tiles)
    return stacked.cpu().numpy() if as_numpy else stacked, False
