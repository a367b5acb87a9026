# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From a question of a benchmark to what a model is asked: prompt, images and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from ..prompts.original_scripts import SCRIPTS, flags_of, script_request
from ..prompts.requests import ChatRequest
from ..prompts.settings import AskingStyle
from ..prompts.vlmevalkit import builds_prompt, chat_request, options_of, question_text
from ..prompts.vlmevalkit_videos import VIDEO_SETS, other_video, video_mme
from .benchmark import Benchmark, Prompts
from .questions import Questions

DEFAULT_FRAMES = 16
_TILE = 256  # tokens

# Image sets of the kit that bring their own prompt: data set -> what follows the question and its options.
_REAL_WORLD = (
    "Select the best answer to the above multiple-choice question based on the image. Respond with only the letter "
    "(A, B, C, D, or E) of the correct option. \nThe best answer is:"
)
_OWN_PROMPTS = {
    "MME-RealWorld": _REAL_WORLD,
    "MME-RealWorld-Lite": _REAL_WORLD,
    "MME-RealWorld-CN": (
        "根据图像选择上述多项选择题的最佳答案。只需回答正确选项的字母（A, B, C, D 或 E）。\n最佳答案为："
    ),
}


@dataclass(frozen=True)
class Asking:
    """How the questions of a run are asked.

    Attributes:
        style: the generation's way of asking, see [`asking_style`].
        model: name of the release, by which the original scripts' flags are found.
        prompts: `vlmevalkit` or `scripts`; None = those of the published number, see `prompts_for`.
        max_tiles: maximum number of tiles of an image before sharing; None = the official one.
        use_thumbnail: whether images of several tiles are followed by a thumbnail.
        frames: frames of a video; None = the benchmark's first number, or 16.
        instruction: what follows the question in sets of the user's own, in place of the kit's.
        dynamic: whether the original scripts split images into tiles (`--dynamic`); None = as documented.
        generation: arguments of `generate` that replace the official ones.
    """

    style: AskingStyle
    model: str = ""
    prompts: Prompts | None = None
    max_tiles: int | None = None
    use_thumbnail: bool = True
    frames: int | None = None
    instruction: str | None = None
    dynamic: bool | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)

    def prompts_for(self, benchmark: Benchmark) -> Prompts:
        """Whose prompts a benchmark is asked with: the chosen ones, or those of the published number.

        Scripts that do not ask for thoughts or chains of thought give way to VLMEvalKit's prompts in these modes.
        """
        if self.prompts is not None:
            return self.prompts
        if benchmark.prompts == "scripts" and benchmark.dataset is not None and self.style.cot:
            script = SCRIPTS[str(benchmark.script)]
            return "vlmevalkit" if script.cot is None or self.style.mode == "thinking" else "scripts"
        return benchmark.prompts


@dataclass
class Asked:
    """A question as it is sent to the model: the request, its images (or frames) in order, the answer's beginning.

    A `prefix` is continued: the reply is what follows it, with the space at its beginning. Of a conversation,
    `request` is the first question, and `further` pairs each of the model's answers with the question that followed.
    """

    request: ChatRequest
    images: list[Image.Image]
    prefix: str = ""
    further: tuple[tuple[str, str], ...] = ()


def estimated_length(benchmark: Benchmark, questions: Questions, position: int, asking: Asking) -> int:
    """Estimated length of a question's prompt in tokens, without decoding its images; to sort questions by it."""
    row = questions.rows[position]
    if _has_video(benchmark, row):
        return _TILE * _frames(benchmark, asking)
    sizes = questions.sizes(position)
    request = _request(benchmark, row, sizes, asking)
    return _TILE * sum(request.num_patches(sizes)) + len(request.question) // 4


def _has_video(benchmark: Benchmark, row: Mapping[str, Any]) -> bool:
    return benchmark.is_video or row.get("video") is not None


def _frames(benchmark: Benchmark, asking: Asking) -> int:
    return asking.frames or next(iter(benchmark.frames), DEFAULT_FRAMES)


def ask(benchmark: Benchmark, questions: Questions, position: int, asking: Asking, said: Sequence[str] = ()) -> Asked:
    """What a model is asked for a question.

    Args:
        benchmark, questions, position: the question; of a conversation, one of its turns.
        asking: how it is asked.
        said: what the model answered to the turns before.

    Raises:
        ValueError: a column lacks, an image cannot be read, or the set's own prompt is not known; the message names
            file and line.
    """
    where = questions.where_of(position)
    row = questions.rows[position]
    if benchmark.turns:
        row = {**row, "question": row[benchmark.turns[0]]}
    if _has_video(benchmark, row):
        frames = questions.frames(position, _frames(benchmark, asking), benchmark.dataset)
        images = frames.images
        if benchmark.subtitles:
            row = {**row, "subtitles": questions.subtitles(position, frames)}
    else:
        images = questions.images(position)
    try:
        request = _request(benchmark, row, [image.size for image in images], asking)
    except KeyError as error:
        raise ValueError(f"{where}: the prompt of {benchmark.name} needs the column {error}.") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    rules = tuple(replace(rule, use_thumbnail=rule.use_thumbnail and asking.use_thumbnail) for rule in request.images)
    generation = {**request.generation, **asking.generation}
    if (generation.get("min_new_tokens") or 0) > generation["max_new_tokens"]:
        generation["min_new_tokens"] = generation["max_new_tokens"]
    request = replace(request, images=rules, generation=generation)
    return Asked(request, images[: len(rules)], further=_further(benchmark, questions, position, said))


def _further(
    benchmark: Benchmark, questions: Questions, position: int, said: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    row = questions.rows[position]
    return tuple((answer, str(row[column])) for answer, column in zip(said, benchmark.turns[1:], strict=False))


def _request(
    benchmark: Benchmark, row: Mapping[str, Any], sizes: Sequence[tuple[int, int]], asking: Asking
) -> ChatRequest:
    if asking.prompts_for(benchmark) == "scripts" and (benchmark.script or benchmark.dataset):
        if benchmark.script is None:
            raise ValueError(f"there is no original script for {benchmark.name}: use the prompts of VLMEvalKit.")
        dynamic, limit = flags_of(benchmark.script_task, asking.model)
        return script_request(
            benchmark.script,
            row,
            sizes,
            dataset=benchmark.script_set,
            dynamic=dynamic if asking.dynamic is None else asking.dynamic,
            max_tiles=asking.max_tiles or limit,
            cot=asking.style.cot,
        )
    pieces = _pieces(benchmark, row, len(sizes), asking)
    return chat_request(pieces, benchmark.dataset, asking.style, limit=asking.max_tiles)


def _pieces(benchmark: Benchmark, row: Mapping[str, Any], images: int, asking: Asking) -> list[str | None]:
    """Texts, and None for each image."""
    name, marks = benchmark.dataset, [None] * images
    if benchmark.turns:
        return [str(row["question"]), *marks]
    if name is None:
        return [_own_question(row, asking), *marks]
    if benchmark.is_video:
        if benchmark.subtitles:
            return video_mme(row, images, str(row.get("subtitles") or ""))
        return VIDEO_SETS.get(name, other_video)(row, images)
    if name in _OWN_PROMPTS:
        return [*marks, f"{row['question']} {row['multi-choice options']}\n{_OWN_PROMPTS[name]}"]
    if builds_prompt(name):
        return [question_text(row, name, asking.style), *marks]
    if asking.instruction is None:
        raise ValueError(
            f"{name} brings its own prompt in VLMEvalKit, which is not part of this package: say what should follow "
            "the questions (`--instruction`, which may be empty)."
        )
    return [_own_question(row, asking), *marks]


def _own_question(row: Mapping[str, Any], asking: Asking) -> str:
    """A question of a user's own set: a choice if there are options, else a question that is answered shortly.

    As in VLMEvalKit, where a set that it does not know is one of choices if it has the columns A and B.
    """
    if asking.instruction is not None:
        options = [f"{letter}. {option}" for letter, option in options_of(row).items()]
        return "\n".join(line for line in [str(row["question"]), *options, asking.instruction] if line)
    name = "custom" if len(options_of(row)) > 1 else "custom_openended"  # names that the kit does not know
    return question_text(row, name, asking.style)


__all__ = ["DEFAULT_FRAMES", "Asked", "Asking", "ask", "estimated_length"]
