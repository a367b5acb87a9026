# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The prompts of VLMEvalKit's video sets, which build their own messages, and what InternVL models make of them.

Source of the rules: open-compass/VLMEvalKit e8e78f05, `vlmeval/dataset/{mvbench,videomme,mmbench_video,longvideobench,
vsibench}.py` and `build_video_prompt` of `vlmeval/vlm/internvl/utils.py`.
"""

import ast
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...processing.videos.frame_sampling import segment_indices
from .vlmevalkit_sets import has_any

Row = Mapping[str, Any]
Pieces = list[str | None]
"""Texts, and None for each frame."""

_MOST_FRAMES = 64
_LETTER = "Answer with the option's letter from the given choices directly."
_WATCH = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of "
    "objects, and the action and pose of persons. Based on your observations, select the best option that accurately "
    "addresses the question.\n"
)
_VIDEO_MME = (
    "Select the best answer to the following multiple-choice question based on the video. Respond with only the "
    "letter (A, B, C, or D) of the correct option.\n"
)
# VSI-Bench: types of questions with options; the others are answered with a number.
_VSI_CHOICES = (
    "obj_appearance_order", "object_rel_direction_easy", "object_rel_direction_hard", "object_rel_direction_medium",
    "object_rel_distance", "route_planning",
)  # fmt: skip
_VSI_NUMBERS = ("object_abs_distance", "object_size_estimation", "object_counting", "room_size_estimation")


def frame_prompt(question: str, name: str) -> str:
    """What InternVL models make of a video set's question: images become frames, and some endings change.

    Only complete runs of eight `<Image-i>` are removed, the first 64 `Image-i` are renamed, and where "Answer:" is
    taken off the end a blank stays, as in the kit.
    """
    for start in range(0, _MOST_FRAMES, 8):
        question = question.replace("".join(f"<Image-{number}>" for number in range(start + 1, start + 9)), "")
    for number in range(1, _MOST_FRAMES + 1):
        question = question.replace(f"Image-{number}", f"Frame-{number}")
    if has_any(name, ("MMBench-Video",)):
        return question.replace("\nAnswer:", "")
    if has_any(name, ("Video-MME", "WorldSense")):
        return question.replace("\nAnswer:", "") + f"\n{_LETTER}"
    if has_any(name, ("MVBench",)):
        return question.replace("Best option:(", "")
    return question


def candidates_of(row: Row) -> list[str]:
    """The options of a video question: a list, or its text in the column `candidates`."""
    candidates = row["candidates"]
    if isinstance(candidates, str):
        try:
            candidates = ast.literal_eval(candidates)
        except (ValueError, SyntaxError) as error:
            raise ValueError(
                f"Expected `candidates` to be a list such as \"['a', 'b']\", got {candidates!r}."
            ) from error
    return [str(candidate) for candidate in candidates]


def lettered(candidates: Sequence[str], form: str) -> str:
    """The options one a line; `form` takes letter and text, such as `({}) {}`."""
    letters = string.ascii_uppercase
    return "\n".join(form.format(letter, text) for letter, text in zip(letters, candidates, strict=False))


def mvbench(row: Row, frames: int) -> Pieces:
    """MVBench, and MVBench_MP4."""
    question = f"Question: {row['question']}\nOptions:\n{lettered(candidates_of(row), '({}) {}')}".rstrip()
    return [_WATCH, *[None] * frames, question, "\nOnly give the best option.", "Best option:("]


def video_mme(row: Row, frames: int, subtitles: str | None = None) -> Pieces:
    """Video-MME; `subtitles` are those of the frames, one a line, in the setting with subtitles."""
    listed = "" if subtitles is None else f"This video's subtitles are listed below:\n{subtitles}\n"
    question = "\n".join([str(row["question"]), *candidates_of(row)])
    frames_of = f"\nThese are the frames of a video. {listed}{_VIDEO_MME}"
    return ["", *[None] * frames, frames_of, f"Question: {question}\nAnswer: "]


def mmbench_video(row: Row, frames: int) -> Pieces:
    """MMBench-Video, one question at a time."""
    told = (
        f"\nYou will be provided with {frames} separate frames uniformly sampled from a video, the frames are "
        "provided in chronological order of the video.\nPlease analyze these images and provide the answer to the "
        "question about the video content.\nPlease directly reply with your response to the only question.\n"
    )
    return [told, *[None] * frames, f"Question: {row['question']}\nAnswer: "]


def long_video_bench(row: Row, frames: int) -> Pieces:
    """LongVideoBench, without subtitles."""
    question = f"{row['question']}\n{lettered(candidates_of(row), '{}. {}')}\n{_LETTER}"
    return ["", *[None] * frames, question]


def vsi_bench(row: Row, frames: int) -> Pieces:
    """VSI-Bench: options, or a number, by the type of the question."""
    kind = str(row["question_type"])
    if kind not in _VSI_CHOICES + _VSI_NUMBERS:
        raise ValueError(
            f"VSI-Bench has no questions of type {kind!r}: expected one of {_VSI_CHOICES + _VSI_NUMBERS}."
        )
    asked = [*candidates_of(row), _LETTER] if kind in _VSI_CHOICES else [_IN_ONE_NUMBER]
    return [*[None] * frames, "\n".join(["These are frames of a video.", str(row["question"]), *asked])]


_IN_ONE_NUMBER = "Answer briefly and directly in one float number."


def other_video(row: Row, frames: int) -> Pieces:
    """A video set without a row of its own: the question, and the options where there are any."""
    if row.get("candidates") is None:
        return [*[None] * frames, str(row["question"])]
    return long_video_bench(row, frames)[1:]


# Data set in the kit -> the pieces of a question.
VIDEO_SETS: dict[str, Callable[[Row, int], Pieces]] = {
    "MVBench": mvbench,
    "MVBench_MP4": mvbench,
    "Video-MME": video_mme,
    "MMBench-Video": mmbench_video,
    "LongVideoBench": long_video_bench,
    "VSI-Bench": vsi_bench,
    "VSI-Bench-Debiased": vsi_bench,
}


def kit_frames(name: str, total: int, frames: int, fps: float = 0.0, bound: tuple[float, float] | None = None) -> list:
    """The frames that a video set of the kit looks at.

    Args:
        name: the data set.
        total: frames of the video.
        frames: how many to look at.
        fps: frames a second of the video, for `bound`.
        bound: `(start, end)` in seconds (MVBench).

    Returns:
        Frame numbers, from 0. VSI-Bench adds the last frame where it is not among them.
    """
    if name.startswith("MVBench"):
        return segment_indices(total - 1, frames, fps=fps, bound=bound)
    if name.startswith("VSI-Bench"):
        chosen = np.linspace(0, total - 1, frames, dtype=int).tolist()
        return chosen if chosen[-1] == total - 1 else [*chosen, total - 1]
    step = total / (frames + 1)
    return [int(number * step) for number in range(1, frames + 1)]


__all__ = ["VIDEO_SETS", "candidates_of", "frame_prompt", "kit_frames", "lettered", "other_video", "video_mme"]
