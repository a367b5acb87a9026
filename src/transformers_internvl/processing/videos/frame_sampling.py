# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which frames of a video are looked at. Counts and rates go in, frame indices come out.

The rules are the original: `segments` is `get_index` of the model cards (what the chat models are evaluated with);
`middle`, `rand` and `fps` are the modes of `get_frame_indices` of the training code (`internvl/train/dataset.py`).
Rounding is numpy's, halves to even.

The original code takes frames to be spaced evenly. Where they are not, seconds are looked up in the frames' own times:
a second belongs to the frame that is shown then.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

import numpy as np

Sampling = Literal["segments", "middle", "rand", "fps"]
MAX_FRAMES = 100_000
"""The most frames of a video that are asked for in earnest."""
SAMPLINGS = ("segments", "middle", "rand", "fps")
_TICK = 1e-3
"""The coarsest unit of time stamps, in seconds: Matroska rounds to it."""


def segment_indices(
    last_frame: int,
    num_segments: int,
    *,
    fps: float | None = None,
    bound: tuple[float, float] | None = None,
    first_frame: int = 0,
) -> list[int]:
    """The middle of each of `num_segments` equal parts of the frames `first_frame` to `last_frame` (inclusive).

    `bound` limits the range to `(start, end)` in seconds, for which `fps` must be given. Parts shorter than a frame
    repeat frames. The original code does not check the range; neither does this.

    >>> segment_indices(99, 4)
    [12, 37, 62, 86]
    """
    start, end = first_frame, last_frame
    if bound is not None:
        if fps is None:
            raise ValueError("`bound` is in seconds: finding its frames needs the video's frame rate (`fps`).")
        start, end = max(first_frame, round(bound[0] * fps)), min(round(bound[1] * fps), last_frame)
    segment = float(end - start) / num_segments
    return [int(start + segment / 2 + np.round(segment * number)) for number in range(num_segments)]


def middle_indices(total_frames: int, num_frames: int, *, fix_start: int | None = None) -> list[int]:
    """The middle frame of each of `num_frames` parts, or with `fix_start` the frame that far into each part.

    A video with fewer frames gives each of them, and repeats the last choice. With `fix_start`, indices past the end
    are possible, as in the original code.

    >>> middle_indices(100, 4), middle_indices(3, 5)
    ([12, 37, 62, 87], [0, 1, 2, 2, 2])
    """
    parts = _parts(total_frames, num_frames)
    if fix_start is not None:
        return _repeat_last([start + fix_start for start, _ in parts], num_frames)
    return _repeat_last([(start + end) // 2 for start, end in parts], num_frames)


def random_indices(total_frames: int, num_frames: int, rng: random.Random | None = None) -> list[int]:
    """A random frame of each of `num_frames` parts, never the last of a part; for training.

    If some part has one frame only, a random choice among all frames, in order, as in the original code.
    """
    generator = rng or random.Random()
    parts = _parts(total_frames, num_frames)
    if all(end > start for start, end in parts):
        chosen = [generator.randrange(start, end) for start, end in parts]
    else:
        chosen = sorted(generator.sample(range(total_frames), len(parts)))
    return _repeat_last(chosen, num_frames)


def fps_indices(
    total_frames: int, video_fps: float, target_fps: float, *, max_num_frames: int | None = None
) -> list[int]:
    """The middle of every `1 / target_fps` seconds; the first `max_num_frames` of them.

    Empty if the video is shorter than half of that time.

    >>> fps_indices(100, 25, 1), fps_indices(100, 25, 2, max_num_frames=3)
    ([12, 38, 62, 88], [6, 19, 31])
    """
    duration, step = float(total_frames) / video_fps, 1 / target_fps
    seconds = np.arange(step / 2, duration + step / 2, step)
    indices = [int(index) for index in np.around(seconds * video_fps).astype(int) if index < total_frames]
    return indices if max_num_frames is None else indices[:max_num_frames]


def frame_indices(
    total_frames: int,
    *,
    sampling: Sampling = "segments",
    num_frames: int | None = 8,
    fps: float | None = None,
    video_fps: float | None = None,
    bound: tuple[float, float] | None = None,
    max_num_frames: int | None = None,
    rng: random.Random | None = None,
    frame_times: Sequence[float] | None = None,
) -> list[int]:
    """The frames of a video of `total_frames` to look at, all of them within the video.

    `sampling` names the rule; `fps` asks for that many frames a second instead of `num_frames`, at most
    `max_num_frames`. `bound` is `(start, end)` in seconds. `frame_times` says when each frame is shown first, in
    seconds from the first one on, if frames are not spaced evenly; `video_fps` is their mean rate then.

    Raises `ValueError` for an empty video, a bound outside of it, a rate that picks no frame, and for `fps` or `bound`
    without the video's own rate `video_fps`.
    """
    if total_frames < 1:
        raise ValueError("has no frames")
    if (fps is not None or bound is not None) and not video_fps:
        raise ValueError(
            "`fps` and `bound` need the video's own frame rate, which is not known: pass "
            "`video_metadata=[{'fps': ..., 'total_num_frames': ...}]` or choose `num_frames` without them"
        )
    if video_fps and not (0 < video_fps < math.inf and total_frames / video_fps < math.inf):
        raise ValueError(f"says that it has {video_fps} frames a second, which cannot be")
    if sampling not in SAMPLINGS:
        raise ValueError(f"`sampling` is one of {list(SAMPLINGS)}, got {sampling!r}")
    first, last = _bounded(total_frames, video_fps, bound, frame_times)
    count = last - first + 1

    if fps is not None:
        return _by_rate(first, count, total_frames, float(video_fps or 0), fps, max_num_frames, bound, frame_times)
    if num_frames is None or num_frames < 1:
        raise ValueError(f"`num_frames` must be at least 1, or `fps` be given; got {num_frames} and {fps}")
    if num_frames > MAX_FRAMES:
        raise ValueError(f"`num_frames` is {num_frames}, more than the {MAX_FRAMES} that are supported; lower it")
    if sampling == "segments" and frame_times is not None:
        return segment_indices(last, num_frames, first_frame=first)
    if sampling == "segments":
        return segment_indices(total_frames - 1, num_frames, fps=video_fps, bound=bound)
    if sampling == "middle":
        return [first + index for index in middle_indices(count, num_frames)]
    if sampling == "rand":
        return [first + index for index in random_indices(count, num_frames, rng)]
    raise ValueError("`sampling='fps'` needs `fps`, the number of frames to take of a second")


def _by_rate(
    first: int,
    count: int,
    total_frames: int,
    rate: float,
    fps: float,
    max_num_frames: int | None,
    bound: tuple[float, float] | None,
    frame_times: Sequence[float] | None,
) -> list[int]:
    """`fps` frames a second of the `count` frames from `first` on, or of the seconds of `bound` if times are known."""
    if not 0 < fps < math.inf:
        raise ValueError(f"`fps` must be positive, got {fps}")
    start, end = 0.0, count / rate
    if frame_times is not None:
        duration = total_frames / rate
        start, end = (0.0, duration) if bound is None else (max(0.0, bound[0]), min(bound[1], duration))
    if (end - start) * fps > MAX_FRAMES:
        raise ValueError(
            f"`fps={fps}` asks for more than {MAX_FRAMES} frames of {end - start:.2f} s; lower it, or use `num_frames`"
        )
    if frame_times is None:
        chosen = [first + index for index in fps_indices(count, rate, fps, max_num_frames=max_num_frames)]
    else:
        seconds = start + (np.arange(math.ceil((end - start) * fps)) + 0.5) / fps  # the middle of every 1 / fps s
        chosen = [_shown_at(float(second), frame_times) for second in seconds if second < end][:max_num_frames]
    if not chosen:
        raise ValueError(f"`fps={fps}` picks no frame of {end - start:.2f} s; raise it, or use `num_frames`")
    return chosen


def _shown_at(second: float, frame_times: Sequence[float]) -> int:
    """The frame that is shown then: the last that began."""
    return max(0, bisect_right(frame_times, second + _TICK / 2) - 1)


def _bounded(
    total_frames: int,
    video_fps: float | None,
    bound: tuple[float, float] | None,
    frame_times: Sequence[float] | None,
) -> tuple[int, int]:
    """The first and the last frame of `bound`."""
    if bound is None or video_fps is None:
        return 0, total_frames - 1
    if len(bound) != 2 or not all(math.isfinite(second * video_fps) for second in bound):
        raise ValueError(f"`bound` is (start, end) in seconds, got {bound!r}")
    start, end = bound
    if frame_times is None:
        first, last = max(0, round(start * video_fps)), min(round(end * video_fps), total_frames - 1)
    else:
        first, last = _shown_at(start, frame_times), _shown_at(end, frame_times)
    if not start <= end or end < 0 or first > last or start > total_frames / video_fps:
        raise ValueError(
            f"`bound={tuple(bound)}` (seconds) lies outside of a video of {total_frames / video_fps:.2f} s"
        )
    return first, last


def _parts(total_frames: int, num_frames: int) -> list[tuple[int, int]]:
    """First and last frame of `num_frames` equal parts, or of as many as there are frames."""
    edges = np.linspace(start=0, stop=total_frames, num=min(num_frames, total_frames) + 1).astype(int).tolist()
    return [(start, following - 1) for start, following in zip(edges, edges[1:], strict=False)]


def _repeat_last(indices: list[int], num_frames: int) -> list[int]:
    return indices + indices[-1:] * (num_frames - len(indices))
