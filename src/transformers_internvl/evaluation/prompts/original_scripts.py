# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The prompts and settings of the original evaluation scripts, with which the reports up to InternVL 2 were measured.

Source of the rules: OpenGVLab/InternVL 2410d1db, `internvl_chat/eval/*/evaluate_*.py` and `evaluate.sh`. A script is a
row of `SCRIPTS`; a data set of a script may have other numbers (`_SETS`).
"""

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any, Literal

from .requests import IMAGE, ChatRequest, ImageRule
from .vlmevalkit import LETTER, SHORT_ANSWER, is_missing, options_of
from .vlmevalkit_videos import candidates_of, lettered

Row = Mapping[str, Any]

_UNANSWERABLE = "When the provided information is insufficient, respond with 'Unanswerable'. "
_REGION = "Please provide the bounding box coordinate of the region this sentence describes: <ref>{}</ref>"
_WATCH = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of "
    "objects, and the action and pose of persons. Based on your observations, select the best option that accurately "
    "addresses the question.\n"
)
_COT_BEFORE = (
    "Your task is to answer the question below. Give step by step reasoning before you answer, and when you're ready "
    'to answer, please use the format "Final answer: .."\n\nQuestion:\n\n'
)
_COT_MMHAL = (
    "Please think step by step and output in the following format:\n\nRationale:\n{rationale}\nAnswer: {answer}\n\n"
    "where rationale is the reasoning process of the given question."
)
_OPTION_LETTER = "Answer with the option letter from the given choices directly."
_FORMAT = (
    "The last line of your response should be of the following format: 'Answer: $LETTER' (without quotes) where "
    "LETTER is one of options."
)
_LAST_LINE = f"{_FORMAT} Think step by step before answering."
_BEST_ANSWER = (  # the blanks are those of the source's continued line
    f"Select the best answer to the above multiple-choice question based on the image.{' ' * 13}Respond with only the "
    "letter (A, B, C, D, or E) of the correct option. \nThe best answer is:"
)
# MIRB: task -> instruction.
_MIRB: dict[tuple[str, ...], str] = {
    (
        "analogy", "attribute", "plot_code", "plot_text", "sightseeing", "image_needles", "image_needles_concat",
        "visual_chain", "visual_chain_concat",
    ): "Answer with a single word.",
    ("codeu", "food", "image_jigsaw", "codeu_text"): "Answer with the option symbol.",
    ("arxiv", "arxiv_text"): "Answer with the paper title.",
    ("count", "count_concat"): "Answer with a single number.",
    ("3d_scene", "3d_scene_concat"): (
        "The following images are different views of the same 3D scene. Answer with a single number."
    ),
}  # fmt: skip


def _question(row: Row) -> str:
    """The question, by any of the names that the scripts' files have for it."""
    for name in ("question", "text", "query", "Question", "questions"):
        if not is_missing(row.get(name)):
            return str(row[name])
    raise ValueError(f"Expected a question in the column `question`, got a row with {', '.join(map(repr, row))}.")


def _listed(row: Row) -> list[str]:
    """The options: a list (or its text) in `choices` or `options`, else the columns A, B, ..."""
    for name in ("choices", "options"):
        value = row.get(name)
        if isinstance(value, str):
            return [str(option) for option in ast.literal_eval(value)]
        if value is not None and not is_missing(value):
            return [str(option) for option in value]
    return [str(option) for option in options_of(row).values()]


def _followed_by(instruction: str) -> Callable[[Row], str]:
    return lambda row: f"{_question(row)} {instruction}"


def _as_given(row: Row) -> str:
    return _question(row)


def _pope(row: Row) -> str:
    """The question, with the instruction; the script's file holds it already."""
    question = _question(row)
    return (question if SHORT_ANSWER in question else f"{question}\n{SHORT_ANSWER}").strip()


def _cot_of_pope(text: str) -> str:
    return _COT_BEFORE + text.replace(SHORT_ANSWER, "").strip()


def _cot_of_science_qa(text: str) -> str:
    return _COT_BEFORE + text.removesuffix(LETTER).strip()


def _cot_of_mathvista(text: str) -> str:
    return _COT_BEFORE + text


def _cot_of_mmhal(text: str) -> str:
    return f"{text}\n\n{_COT_MMHAL}".strip()


def _science_qa(row: Row) -> str:
    hint = row.get("hint")
    lines = [] if is_missing(hint) or not hint else [str(hint)]
    return "\n".join([*lines, _question(row), lettered(_listed(row), "{}. {}"), LETTER]).strip()


def _mmbench(chinese: bool) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        lines = [] if is_missing(row.get("hint")) else [str(row["hint"])]
        options = {letter: text for letter, text in options_of(row).items() if letter in "ABCDE"}
        lines += [_question(row), *(f"{letter}. {option}" for letter, option in options.items())]
        return "\n".join([*lines, "请直接回答选项字母。" if chinese else LETTER])

    return text


def _mmmu(row: Row) -> str:
    options = [option.strip() for option in _listed(row)]
    kind = row.get("question_type") or ("multiple-choice" if options else "open")
    lines = [_question(row).strip(), *([lettered(options, "{}. {}")] if options else [])]
    return "\n".join([*lines, LETTER if kind == "multiple-choice" else SHORT_ANSWER]).strip()


def _mmmu_pro(row: Row) -> str:
    """Standard setting: `<image 1>` in the question and its options becomes the place of the image."""
    text = "\n".join([_question(row), lettered(_listed(row), "{}. {}"), _OPTION_LETTER])
    return re.sub(r"<image [1-7]>", IMAGE, text)


def _cot_of_mmmu_pro(text: str) -> str:
    return f"{text.removesuffix(_OPTION_LETTER)}Answer the preceding multiple choice question. {_LAST_LINE}"


def _cot_of_mmmu_pro_vision(text: str) -> str:
    return f"Write out the multiple-choice question in the image and then solve it. {_LAST_LINE}"


def _mme_realworld(row: Row) -> str:
    """The script says "the choices are listed below" in Chinese to English questions, and the other way round."""
    options = row.get("multi-choice options")
    listed = str(options) if not is_missing(options) else "\n".join(_listed(row))
    return f"{_question(row)}选项如下所示:\n{listed}\n{_BEST_ANSWER}"


def _mantis(row: Row, images: int) -> str:
    question = _question(row).replace(" ".join([IMAGE] * images), "").strip()
    for number in range(1, images + 1):
        question = question.replace(IMAGE, f"Image-{number}", 1)
    options = [option.strip() for option in _listed(row)]
    choices = row.get("question_type", "multi-choice" if options else "short-answer") == "multi-choice"
    asked = ["\n".join(options), LETTER] if choices else [SHORT_ANSWER]
    return "\n".join([question, *asked]).strip()


def _mmvp(row: Row) -> str:
    options = _listed(row)
    if not is_missing(row.get("Options")):
        first, second = str(row["Options"]).split("(b)", 1)
        options = [first.replace("(a)", "").strip(), second.strip()]
    return "\n".join([_question(row), lettered(options, "{}. {}"), LETTER])


def _mirb(row: Row) -> str:
    for tasks, instruction in _MIRB.items():
        if row["task"] in tasks:
            return f"{_question(row)}\n{instruction}"
    raise ValueError(f"MIRB has no task {row['task']!r}: expected one of {sorted(chain.from_iterable(_MIRB))}.")


def _mmiu(row: Row) -> str:
    return f"{_question(row)}\n{row['context']}\n{LETTER}"


def _mvbench(row: Row) -> str:
    return f"{_WATCH}\nQuestion: {_question(row)}\nOptions:\n{lettered(candidates_of(row), '({}) {}')}".rstrip() + (
        "\nOnly give the best option."
    )


def _region(row: Row) -> str:
    question = str(row["sent"]) if not is_missing(row.get("sent")) else _question(row)
    return question if "<ref>" in question else _REGION.format(question)


@dataclass(frozen=True)
class Script:
    """How a script asks.

    Attributes:
        text: the question's text, from a row of its file or in VLMEvalKit's columns.
        max_new_tokens, min_new_tokens: of an answer.
        marks: where `<image>` stands. `none`: nowhere, all tiles are one image. `text`: in the text. `listed`:
            `Image-1: <image>` lines; one image alone has no number. `numbered`: the same, and a single image is
            numbered, too, where its tiles are several. `several`: listed, but a single image is not marked.
            `frames`: `Frame1: <image>` lines.
        shared: the number among whose images the tile limit is shared: None = each has it, 0 = itself, else a total.
        enlarged: the first image is enlarged twice, and others are one tile (MMMU).
        max_tiles: default of `--max-num`.
        cot: what `--cot` makes of the text; None = the script has no such flag.
        cot_tokens: maximum tokens of an answer with `--cot`.
        counts_images: whether `text` takes the number of images, too.
    """

    text: Callable[..., str]
    max_new_tokens: int
    min_new_tokens: int = 1
    marks: Literal["none", "text", "listed", "numbered", "several", "frames"] = "none"
    shared: int | None = None
    enlarged: bool = False
    max_tiles: int = 6
    cot: Callable[[str], str] | None = None
    cot_tokens: int = 4096
    counts_images: bool = False


SCRIPTS: dict[str, Script] = {
    "vqa": Script(_followed_by(SHORT_ANSWER), 100),
    "caption": Script(lambda row: "Provide a one-sentence caption for the provided image.", 30, min_new_tokens=8),
    "refcoco": Script(_region, 100),
    "pope": Script(_pope, 100, cot=_cot_of_pope),
    "mme": Script(_followed_by(SHORT_ANSWER), 20),
    "mmvet": Script(_followed_by(""), 1000),
    "mmvetv2": Script(lambda row: f"{_question(row).split('<IMG>')[0]} Answer this question in detail.", 1000),
    "llava_bench": Script(_followed_by("Please give a detailed answer."), 1000),
    "scienceqa": Script(_science_qa, 100, cot=_cot_of_science_qa),
    "mmbench": Script(_mmbench(chinese=False), 100),
    "mmbench_cn": Script(_mmbench(chinese=True), 100),
    "mmmu": Script(_mmmu, 10, enlarged=True),
    "mmmu_pro": Script(_mmmu_pro, 4096, marks="text", cot=_cot_of_mmmu_pro),
    "mmmu_pro_vision": Script(lambda row: f"{_OPTION_LETTER} {_FORMAT}", 4096, cot=_cot_of_mmmu_pro_vision),
    "mme_realworld": Script(_mme_realworld, 100),
    "mantis": Script(_mantis, 50, marks="listed", shared=0, counts_images=True),
    "mirb": Script(_mirb, 512, marks="listed", shared=0),
    "mmiu": Script(_mmiu, 100, marks="several", shared=0, max_tiles=12),
    "mmvp": Script(_mmvp, 100),
    "seed": Script(_as_given, 100),
    "mathvista": Script(_as_given, 4096, cot=_cot_of_mathvista),
    "mpdocvqa": Script(_followed_by(SHORT_ANSWER), 100, marks="numbered", shared=64),
    "tiny_lvlm": Script(_followed_by(SHORT_ANSWER), 30),
    "mmhal": Script(_as_given, 1024, cot=_cot_of_mmhal, cot_tokens=1024),
    "mvbench": Script(_mvbench, 1000, marks="frames", max_tiles=1),
}

# Data set of `vqa` -> (instruction, maximum tokens of an answer), where they are not the script's.
_SETS: dict[str, tuple[str, int]] = {
    **dict.fromkeys(
        (
            "vqav2_val",
            "vqav2_testdev",
            "okvqa_val",
            "textvqa_val",
            "textvqa_val_ocr",
            "gqa_testdev",
            "gqa_testdev_llava",
        ),
        (SHORT_ANSWER, 10),
    ),
    **dict.fromkeys(("vizwiz_val", "vizwiz_test"), (_UNANSWERABLE + SHORT_ANSWER, 10)),
    "ai2diagram_test": ("", 10),
}


def tokens_of(script: str, dataset: str | None = None) -> int:
    """Maximum tokens of an answer that a script asks for, in a data set of it."""
    return _SETS[dataset][1] if script == "vqa" and dataset in _SETS else SCRIPTS[script].max_new_tokens


_NEWEST = "InternVL2-8B"
"""Later models have no flags of their own in the documentation."""


def flags_of(task: str | None, model: str) -> tuple[bool, int | None]:
    """Whether a model's images are split, and into how many tiles at most, as documented for a task of `evaluate.sh`.

    Args:
        task: the first argument of `evaluate.sh`; None, or one without documentation = split, by the script's default.
        model: name of the release. Those that are not documented are evaluated as InternVL2.

    Source: docs/en/internvl{1.1,1.2,1.5,2.0}/evaluation.md of ErfeiCui/InternVL-doc 613579e2 (`script_flags.json`).
    """
    documented = _flags().get(task or "", {})
    found = {name: flags for flags, names in documented.items() for name in names}
    flags = found.get(model, found.get(_NEWEST, "--dynamic"))
    limit = re.search(r"--max-num (\d+)", flags)
    return "--dynamic" in flags, int(limit[1]) if limit else None


@cache
def _flags() -> dict[str, dict[str, list[str]]]:
    return json.loads(files(__package__).joinpath("script_flags.json").read_bytes())


def script_request(
    script: str,
    row: Row,
    sizes: Sequence[tuple[int, int]],
    *,
    dataset: str | None = None,
    dynamic: bool = True,
    max_tiles: int | None = None,
    cot: bool = False,
) -> ChatRequest:
    """What an original script asks a model.

    Args:
        script: a key of `SCRIPTS`.
        row: a row of its file, or in VLMEvalKit's columns.
        sizes: `(width, height)` of the question's images, or of the frames of its video.
        dataset: of `vqa`, as `textvqa_val`.
        dynamic: whether images are split into tiles (`--dynamic`).
        max_tiles: maximum number of tiles (`--max-num`); None = the script's default.
        cot: ask for a chain of thought (`--cot`).

    Raises:
        ValueError: an unknown script, one without `--cot`, or columns that lack.
    """
    if script not in SCRIPTS:
        raise ValueError(f"There is no original script {script!r}: expected one of {', '.join(SCRIPTS)}.")
    rule, images = SCRIPTS[script], len(sizes)
    text, tokens = rule.text(row, images) if rule.counts_images else rule.text(row), rule.max_new_tokens
    if script == "vqa" and dataset in _SETS:
        instruction, tokens = _SETS[dataset]
        text = f"{_question(row)} {instruction}" if instruction else _question(row)
    if cot:
        if rule.cot is None:
            raise ValueError(f"The original script {script!r} does not ask for a chain of thought.")
        text, tokens = rule.cot(text), rule.cot_tokens
    generation = {
        "do_sample": False,
        "max_new_tokens": tokens,
        "min_new_tokens": rule.min_new_tokens,
        "num_beams": 1,
        "temperature": 0.0,
    }
    rules = _image_rules(rule, images, max_tiles or rule.max_tiles, dynamic)
    counts: Literal["each", "none", "one"] = "none" if rule.marks == "none" else "each"
    if rule.marks not in ("none", "frames") and not dynamic and images:
        counts = "one"
    tiles = sum(ChatRequest("", rules).num_patches(sizes))
    return ChatRequest(_marked(text, rule, images, tiles), rules, counts, generation)


def _image_rules(rule: Script, images: int, limit: int, dynamic: bool) -> tuple[ImageRule, ...]:
    if not dynamic:
        return (ImageRule(1),) * (min(images, 1) if rule.enlarged else images)
    if rule.enlarged:
        return tuple(ImageRule(limit if number == 0 else 1, 2 if number == 0 else 1) for number in range(images))
    if rule.shared is not None and images:
        limit = max(1, min(limit, (rule.shared or limit) // images))
    return (ImageRule(limit),) * images


def _marked(text: str, rule: Script, images: int, tiles: int) -> str:
    if rule.marks == "frames":
        return "\n".join([*(f"Frame{number}: {IMAGE}" for number in range(1, images + 1)), text])
    alone = {"several": images == 1, "numbered": tiles == 1, "none": True, "text": True}.get(rule.marks, False)
    if alone or not images:
        return text
    if images == 1 and rule.marks == "listed":
        return f"{IMAGE}\n{text}"
    return "".join(f"Image-{number}: {IMAGE}\n" for number in range(1, images + 1)) + text


__all__ = ["SCRIPTS", "Script", "flags_of", "script_request", "tokens_of"]
