# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Reading chosen frames of an encoded video with PyAV (the extra `video`).

Frames are numbered in the order in which they are shown, as PyAV decodes them. Of files with an index, a first look at
the packets, without decoding, shows how many there are and where; then only what leads to a chosen frame is decoded,
from the nearest key frame before it. All other files are decoded once to count their frames, and again up to the last
one that is chosen: packets of streams (MPEG-TS, MPEG-PS) and of trimmed clips do not say which of them are shown.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from ..images.pixels import check_pixels
from ..sources import open_source
from .video_timing import TimedVideoMetadata, describe_timing, seconds_of, upright

# Formats (by their names in FFmpeg) whose index lists where the packets are, and when frames are shown.
_INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")

_EDGES = 2**26  # pixels beyond the limit that a decoder may hold: those of up to 128 more lines and columns

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

    `metadata` holds their number, rate, size, duration and, where they are spaced unevenly, times; sizes are those of
    the frames as they are shown, turned as the file asks for. Use as a context manager, or call `close`.

    Args:
        source: the video.
        max_pixels: most pixels of a frame, as the file declares them before anything is decoded, and as each frame
            does; None = any number.

    Raises `ImportError` without PyAV, and `ValueError` if there is no readable video stream, no frame in it, or frames
    are too large.
    """

    def __init__(self, source: Any, max_pixels: int | None = 2**28):
        self._av = _import_av()
        self._errors = (self._av.error.FFmpegError, EOFError)
        self._max_pixels = max_pixels
        self._file = open_source(source) if isinstance(source, (str, os.PathLike, bytes)) else source
        self._container: Any = None
        try:
            self._reopen()
            self.metadata = self._describe()
        except self._errors as error:
            self.close()
            raise ValueError(f"cannot be read as a video: {error}") from error
        except ValueError:
            self.close()
            raise

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
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self._stamps):
            raise ValueError(f"frames {wanted[0]} to {wanted[-1]} asked of a video with {len(self._stamps)} frames")
        try:
            for index, frame in self._seeking(wanted) if self._keys else self._counting(wanted):
                check_pixels(frame.width, frame.height, self._max_pixels)
                yield index, upright(frame.to_ndarray(format="rgb24"), _display_matrix(frame))
        except self._errors as error:
            raise ValueError(f"cannot be decoded (broken or incomplete?): {error}") from error

    def _reopen(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.seek(0)
        self._container = open_container(self._file)
        if not self._container.streams.video:
            raise ValueError("has no video stream")
        self._stream = self._container.streams.best("video") or self._container.streams.video[0]
        if not hasattr(self._stream, "width"):
            raise ValueError("has a video stream of no known codec")
        check_pixels(self._stream.width, self._stream.height, self._max_pixels)
        if self._max_pixels is not None:  # each frame may have a size of its own
            self._stream.codec_context.options = {"max_pixels": str(max(0, self._max_pixels) + _EDGES)}

    def _describe(self) -> TimedVideoMetadata:
        """Find out how many frames there are and when they are shown, and decode the first."""
        self._stamps, self._keys, last = self._index() if self._container.format.name in _INDEXED else ([], [], None)
        first = None
        if self._keys:
            self._container.seek(self._keys[0], stream=self._stream, backward=True)
            first = next(self._container.decode(self._stream), None)
        if first is None or first.pts != self._stamps[0]:  # packets that are not shown, or a seek that missed
            self._stamps, self._keys, first, last = self._count()
        if first is None:
            raise ValueError("has no frames")
        times, base = seconds_of(self._stamps, self._stream.time_base), self._stream.time_base
        rates = [self._stream.average_rate, self._stream.guessed_rate]
        if times is None:  # of a bare stream the average is the reader's guess
            rates.insert(0, self._stream.codec_context.framerate)
        timing = describe_timing(len(self._stamps), times, float(last * base) if last and base else None, rates)
        size = (first.height, first.width, 1)
        height, width, _ = upright(np.empty(size, np.uint8), _display_matrix(first)).shape
        metadata = TimedVideoMetadata(
            total_num_frames=len(self._stamps),
            fps=timing["fps"],
            width=width,
            height=height,
            duration=timing["duration"],
            video_backend="pyav",
        )
        metadata.frame_times = timing["frame_times"]
        return metadata

    def _index(self) -> tuple[list[Any], list[int], int | None]:
        """Of packets: the time stamps of all frames in order, those of key frames, and the duration of the last.

        No keys if the packets do not show them: their stamps are missing or not unique, the first of them is no key
        frame, or some of them are not shown.
        """
        found: dict[Any, Any] = {}
        keys: list[int] = []
        reliable = True
        for packet in self._container.demux(self._stream):
            if packet.size == 0 or _invisible(packet):
                continue
            reliable &= not packet.is_discard and packet.pts is not None and packet.pts not in found
            reliable &= bool(keys) or packet.is_keyframe
            found[packet.pts] = packet.duration
            if packet.is_keyframe:
                keys.append(packet.pts)
        if not reliable or not found:
            return [], [], None
        return sorted(found), sorted(keys), found[max(found)]

    def _count(self) -> tuple[list[Any], list[int], Any, int | None]:
        """As `_index`, with the first frame, by decoding all of them; no keys, since seeking cannot be relied on."""
        self._reopen()  # a bare stream cannot be rewound
        stamps, first, last = [], None, None
        for frame in self._container.decode(self._stream):
            stamps.append(frame.pts)
            first = frame if first is None else first
            last = getattr(frame, "duration", None)
        return stamps, [], first, last

    def _seeking(self, wanted: list[int]) -> Iterator[tuple[int, Any]]:
        """By time stamps: jump to the key frame before a frame, unless decoding on from here gets there sooner."""
        decoded: Any = None
        here = None
        for index in wanted:
            stamp = self._stamps[index]
            key = self._keys[max(0, bisect_right(self._keys, stamp) - 1)]
            if here is None or key > here:
                self._container.seek(key, stream=self._stream, backward=True)
                decoded = self._container.decode(self._stream)
            frame = _forward(decoded, stamp)
            if frame is None or frame.pts != stamp:  # the jump led too far: from the start, and on from there
                self._reopen()
                self._keys = self._keys[:1]
                decoded = self._container.decode(self._stream)
                frame = _forward(decoded, stamp)
            if frame is None or frame.pts != stamp:
                raise ValueError(f"frame {index} cannot be found (broken or incomplete?)")
            here = stamp
            yield index, frame

    def _counting(self, wanted: list[int]) -> Iterator[tuple[int, Any]]:
        """Decode from the start, and count."""
        remaining = iter(wanted)
        index = next(remaining, None)
        self._reopen()
        for number, frame in enumerate(self._container.decode(self._stream)):
            if index is None:
                return
            if number == index:
                yield index, frame
                index = next(remaining, None)
        if index is not None:
            raise ValueError(f"frame {index} cannot be found (broken or incomplete?)")


def _forward(frames: Any, stamp: int) -> Any:
    """The first of the frames to come that is not before `stamp`, or None."""
    return next((frame for frame in frames if frame.pts is not None and frame.pts >= stamp), None)


def _invisible(packet: Any) -> bool:
    """Whether a packet of VP8 only leads to later frames: the bit `show_frame` of RFC 6386, section 9.1."""
    return packet.stream.codec_context.name == "vp8" and not bytes(packet)[0] >> 4 & 1


def _display_matrix(frame: Any) -> bytes | None:
    data = frame.side_data.get("DISPLAYMATRIX")
    return None if data is None else bytes(data)


def _import_av():
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "Reading encoded videos needs PyAV: `pip install av` or `pip install 'transformers_internvl[video]'`. Or "
            "pass the frames."
        ) from error
    return av
