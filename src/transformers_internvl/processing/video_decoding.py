# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Reading chosen frames of an encoded video with PyAV (the extra `video`).

Frames are numbered in the order in which they are shown. A first look at the packets, without decoding, tells how many
there are and where; then only what leads to a chosen frame is decoded, from the nearest key frame before it.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from transformers.video_utils import VideoMetadata

from .sources import open_source

FORMATS = (
    "mov,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,nut,mxf,wtv,ivf,gif,apng,webp,"
    "h264,hevc,vvc,av1,obu,m4v,mpegvideo,mpeg2video,mjpeg,dv,yuv4mpegpipe"
)
"""The demuxers of FFmpeg that are tried, by its names: those of files that hold a video, and no names of others."""


def open_container(file: BinaryIO) -> Any:
    """PyAV's container of a binary file. What the file names is never opened: no other file, address or device.

    FFmpeg chooses the format by looking at the bytes, and some formats are lists of what to open: playlists (HLS,
    DASH, ffconcat), descriptions of sessions (SDP, which opens ports). Only `FORMATS` are tried, and no protocol is
    allowed.

    Raises `ImportError` without PyAV, and PyAV's error if the file is in none of these formats.
    """
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
    return _import_av().open(file, container_options=options)


class VideoReader:
    """The frames of one encoded video, given as a path, URL, data URI, base64 text, bytes or binary file.

    `metadata` tells their number, rate, size and duration. Use as a context manager, or call `close`. Raises
    `ImportError` without PyAV, and `ValueError` if there is no readable video stream or no frame in it.
    """

    def __init__(self, source: Any):
        self._av = _import_av()
        self._errors = (self._av.error.FFmpegError, EOFError)
        self._file = open_source(source) if isinstance(source, (str, os.PathLike, bytes)) else source
        self._container: Any = None
        try:
            self._reopen()
            self._times, self._keys = self._index()
            if not self._times:
                raise ValueError("has no frames")
        except self._errors as error:
            self.close()
            raise ValueError(f"cannot be read as a video: {error}") from error
        except ValueError:
            self.close()
            raise
        self.metadata = self._describe()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
        self._file.close()

    def frames(self, indices: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """`(index, pixels)` of every index, each once and in ascending order; pixels are uint8 `[H, W, 3]` RGB.

        One frame is held at a time. Raises `ValueError` for an index outside of the video, or a frame that cannot be
        decoded.
        """
        wanted = sorted({int(index) for index in indices})
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self._times):
            raise ValueError(f"frames {wanted[0]} to {wanted[-1]} asked of a video with {len(self._times)} frames")
        try:
            yield from self._seeking(wanted) if self._keys else self._counting(wanted)
        except self._errors as error:
            raise ValueError(f"cannot be decoded (broken or cut off?): {error}") from error

    def _reopen(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.seek(0)
        self._container = open_container(self._file)
        if not self._container.streams.video:
            raise ValueError("has no video stream")
        self._stream = self._container.streams.video[0]
        if not hasattr(self._stream, "width"):
            raise ValueError("has a video stream of no known codec")

    def _index(self) -> tuple[list[Any], list[int]]:
        """The presentation times of all frames in order, and those of key frames; no keys if times are not known."""
        times, keys = [], []
        for packet in self._container.demux(self._stream):
            if packet.size == 0 or packet.is_discard:
                continue
            times.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
        if any(time is None for time in times) or len(set(times)) < len(times):
            return times, []
        return sorted(times), sorted(keys)

    def _seeking(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """By time stamps: jump to the key frame before a frame, unless decoding on from here gets there sooner."""
        decoded, here = None, None
        for index in wanted:
            time = self._times[index]
            key = self._keys[max(0, bisect_right(self._keys, time) - 1)]
            if decoded is None or here is None or key > here:
                self._container.seek(key, stream=self._stream, backward=True)
                decoded = self._container.decode(self._stream)
            for frame in decoded:
                here = frame.pts
                if here is not None and here >= time:
                    break
            if here != time:
                raise ValueError(f"frame {index} cannot be found (broken or cut off?)")
            yield index, frame.to_ndarray(format="rgb24")

    def _counting(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Without usable time stamps: decode from the start, and count."""
        remaining = iter(wanted)
        index = next(remaining, None)
        self._reopen()  # a bare stream cannot be rewound
        for number, frame in enumerate(self._container.decode(self._stream)):
            if index is None:
                return
            if number == index:
                yield index, frame.to_ndarray(format="rgb24")
                index = next(remaining, None)
        if index is not None:
            raise ValueError(f"frame {index} cannot be found (broken or cut off?)")

    def _describe(self) -> VideoMetadata:
        rate = self._stream.average_rate or self._stream.guessed_rate
        return VideoMetadata(
            total_num_frames=len(self._times),
            fps=float(rate) if rate else None,
            width=self._stream.width,
            height=self._stream.height,
            duration=float(len(self._times) / rate) if rate else None,
            video_backend="pyav",
        )


def _import_av():
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "Reading encoded videos needs PyAV: `pip install av` or `pip install 'transformers_internvl[video]'`. Or "
            "pass the frames."
        ) from error
    return av
