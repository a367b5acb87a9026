# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""When the frames of a video are shown, and how a frame is turned before it is.

Files declare a frame rate, which is often a guess: recordings of browsers, phones and screens have frames at uneven
times. Where the time stamps of the frames say otherwise than the declared rate, they decide.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
from transformers.video_utils import VideoMetadata


class TimedVideoMetadata(VideoMetadata):
    """Transformers' description of a video, and when its frames are shown.

    Attributes:
        frame_times: when each frame is shown first, in seconds from the first one on; None if frames are spaced
            evenly, so that `fps` says it. No entry of the mapping.
    """

    frame_times: list[float] | None = None

    @property
    def timestamps(self) -> list[float]:
        """When the chosen frames are shown, in seconds."""
        if self.frame_times is None or self.frames_indices is None:
            return super().timestamps
        return [self.frame_times[index] for index in self.frames_indices]


def seconds_of(stamps: Sequence[int | None], time_base: Fraction | None) -> list[float] | None:
    """Time stamps as seconds from the first on; None if some are missing, or they do not rise."""
    known = [stamp for stamp in stamps if stamp is not None]
    rising = all(before < after for before, after in pairwise(known))
    if not known or len(known) < len(stamps) or not rising or time_base is None:
        return None
    return [float((stamp - known[0]) * time_base) for stamp in known]


def describe_timing(
    count: int, times: list[float] | None, last: float | None, declared: Iterable[Fraction | float | None]
) -> dict:
    """`fps`, `duration` and `frame_times` of a video.

    Args:
        count: its frames.
        times: when each is shown, in seconds, or None if that is not known.
        last: for how long the last one is, or None.
        declared: the rates that the file states, the more trustworthy ones first.

    A rate that brings every frame to less than half a frame from its time is the video's: the first declared one that
    does, else the mean one. Where none does, frames are not spaced evenly, and `fps` is their mean rate.
    """
    stated = [float(rate) for rate in declared if rate]
    if times is None or count == 1:
        rate = stated[0] if stated else None
        return {"fps": rate, "duration": count / rate if rate else None, "frame_times": None}
    mean = (count - 1) / times[-1]
    for rate in (*stated, mean):
        if np.abs(np.asarray(times) * rate - np.arange(count)).max() < 0.5:
            return {"fps": rate, "duration": count / rate, "frame_times": None}
    duration = times[-1] + (last or 1 / mean)
    return {"fps": count / duration, "duration": duration, "frame_times": times}


def upright(pixels: np.ndarray, matrix: bytes | None) -> np.ndarray:
    """A frame as it is to be shown.

    Args:
        pixels: `[H, W, C]`.
        matrix: the display matrix of the frame: 9 little-endian integers of 32 bits, of which the first two columns
            of the first two rows turn and mirror. None leaves the frame as it is. Angles between quarter turns count
            as the nearest one.

    Source: `libavutil/display.h` of FFmpeg: the point (p, q) is shown at (a p + c q, b p + d q).
    """
    if matrix is None:
        return pixels
    a, b, _, c, d = struct.unpack("=5i", matrix[:20])
    if abs(a) + abs(d) < abs(b) + abs(c):
        pixels, right, down = pixels.swapaxes(0, 1), c, b
    else:
        right, down = a, d
    if right < 0:
        pixels = pixels[:, ::-1]
    if down < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


__all__ = ["TimedVideoMetadata", "describe_timing", "seconds_of", "upright"]
