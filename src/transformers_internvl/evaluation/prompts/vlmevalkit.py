# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The prompts that VLMEvalKit builds for InternVL models, from rows in its columns.

Source of the rules: open-compass/VLMEvalKit e8e78f05, `vlmeval/vlm/internvl/internvl_chat.py` and `utils.py`. Oddities
are kept, since the published scores have them: a Chinese character anywhere makes the instruction Chinese, the Chinese
instruction stays beside a chain-of-thought text, yes/no questions are never asked for a chain of thought.
"""

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .requests import IMAGE, ChatRequest, ImageRule
from .settings import AskingStyle
from .vlmevalkit_sets import has_any, is_video, max_tiles, set_type, tiles_of_each
from .vlmevalkit_videos import frame_prompt

Row = Mapping[str, Any]

SHORT_ANSWER = "Answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."
_LETTER_ZH, _DIRECT_ZH = "请直接回答选项字母。", "请直接回答问题。"
_CHINESE = re.compile("[\u4e00-\u9fff]")

_COT_LETTER = (
    "Answer the preceding multiple choice question. The last line of your response should follow this format: "
    "'Answer: \\boxed{$LETTER}' (without quotes), where LETTER is one of the options. If you are uncertain or the "
    "problem is too complex, make a reasoned guess based on the information provided. Avoid repeating steps "
    "indefinitely—provide your best guess even if unsure. Think step by step logically, considering all relevant "
    "information before answering."
)
COT_ANSWER = (
    "Answer the preceding question. The last line of your response should follow this format: 'Answer: "
    "\\boxed{$FINAL_ANSWER}' (without quotes), where 'FINAL_ANSWER' is your conclusion based on the reasoning "
    "provided. If you are uncertain or the problem is too complex, make a reasoned guess based on the information "
    "provided. Avoid repeating steps indefinitely—provide your best guess even if unsure. Think step by step "
    "logically, considering all relevant information before answering."
)
COT_MPO = (
    "Your task is to answer the question below. Give step by step reasoning before you answer, and when you're ready "
    'to answer, please use the format "Final answer: .."\n\nQuestion:\n\n'
)

# Part of the name of a yes/no set -> what follows the question.
_YES_NO: dict[tuple[str, ...], str] = {
    ("MME",): f" {SHORT_ANSWER}",
    ("HallusionBench", "AMBER"): f" Please answer yes or no. {SHORT_ANSWER}",
}
_DETAIL = ("LLaVABench", "WildVision")
_SHORT = (
    "OCRVQA", "TextVQA", "ChartQA", "DocVQA", "InfoVQA", "OCRBench", "DUDE", "SLIDEVQA", "GQA", "MMLongBench_DOC",
)  # fmt: skip
_AS_GIVEN = (
    "MathVista", "MathVision", "VCR", "MTVQA", "MMVet", "MMDU", "CRPE", "MIA-Bench", "MM-Math", "DynaMath", "QSpatial",
    "WeMath", "LogicVista", "MM-IFEval", "ChartMimic", "MMReason",
)  # fmt: skip
# Sets whose rows bring the prompt: by name, or by a part of it.
_OWN_PROMPT = (
    "atomic_dataset", "electro_dataset", "mechanics_dataset", "optics_dataset", "quantum_dataset",
    "statistics_dataset", "SSI_Bench",
)  # fmt: skip
_OWN_PROMPT_PARTS = (
    "MMDU", "MME-RealWorld", "WeMath_COT", "MMAlignBench", "ChartQAPro", "ChartMuseum", "MMSIVideo_U50",
    "MMSIVideo_SC",
)  # fmt: skip
_MPO_ALWAYS = ("MMStar", "HallusionBench", "OCRBench")
_WEMATH_FORMAT = (
    "Regarding the format, please answer following the template below, and be sure to include two <> symbols:\n"
    "<Thought process>: <<your thought process>> <Answer>: <<your option>>"
)


def builds_prompt(name: str) -> bool:
    """Whether InternVL models build the prompt of a data set; otherwise the set brings its own, as all videos do."""
    if name in _OWN_PROMPT or has_any(name, _OWN_PROMPT_PARTS) or is_video(name):
        return False
    return not (set_type(name) == "MCQ" and "LEGO" in name)


def is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty: None or not-a-number."""
    return value is None or value != value


def options_of(row: Row) -> dict[str, Any]:
    """The options of a row, by letter: its columns A, B, C, ... that are not empty."""
    return {letter: row[letter] for letter in string.ascii_uppercase if not is_missing(row.get(letter))}


def question_text(row: Row, name: str, style: AskingStyle) -> str:
    """The text of a question of a data set for which InternVL models build the prompt.

    Args:
        row: in the kit's columns: `question`, and `hint`, `A`, `B`, ... of choices.
        name: the data set's name in the kit.
        style: how the model is asked.
    """
    question, kind = str(row["question"]), set_type(name)
    if kind == "Y/N":
        text = question + next((end for parts, end in _YES_NO.items() if has_any(name, parts)), "")
    elif kind == "MCQ":
        text = choice_text(row)
        if style.cot:
            text = f"{text.replace(LETTER, '').strip()}\n{style.cot_text or _COT_LETTER}"
    elif kind == "VQA":
        text = _open_question(question, name, style)
    else:
        text = _with_cot(question, style)
    if asks_as_mpo(name, style) and not has_any(name, ("LLaVABench", "MMVet")):
        return _mpo_text(row, name)
    return text


def choice_text(row: Row) -> str:
    """A question with its hint, its options and the instruction, which is Chinese if any character of it is."""
    lines = [] if is_missing(row.get("hint")) else [str(row["hint"])]
    options = options_of(row)
    lines += [str(row["question"]), *(f"{letter}. {option}" for letter, option in options.items())]
    text = "\n".join(lines)
    chinese = _CHINESE.search(text)
    if options:
        return f"{text}\n{_LETTER_ZH if chinese else LETTER}"
    return f"{text}\n{_DIRECT_ZH if chinese else 'Answer the question directly.'}"


def _open_question(question: str, name: str, style: AskingStyle) -> str:
    if has_any(name, _DETAIL):
        return f"{question}\nAnswer this question in detail."
    if has_any(name, _SHORT):
        return f"{question}\n{SHORT_ANSWER}"
    if has_any(name, ("MathVerse",)):
        return _with_cot(question.replace("please directly answer the question and", "please"), style)
    if has_any(name, _AS_GIVEN):
        return _with_cot(question, style)
    return f"{question}\n{SHORT_ANSWER}"


def _with_cot(question: str, style: AskingStyle) -> str:
    return f"{question}\n{style.cot_text or COT_ANSWER}" if style.cot else question


def asks_as_mpo(name: str | None, style: AskingStyle) -> bool:
    """Whether a question is asked as the MPO models were trained: with chains of thought, and always in three sets."""
    return style.mpo and (style.cot or name in _MPO_ALWAYS)


def _mpo_text(row: Row, name: str) -> str:
    """The question and its options alone: hint and instruction are lost, as in the kit."""
    question = str(row["question"])
    if has_any(name, ("MathVerse", "MathVision")):
        question = question.split("Question:", 1)[-1].strip().replace("Choices:\n", "").strip()
    if has_any(name, ("WeMath",)):
        question = question.replace(_WEMATH_FORMAT, "").strip()
    options = "".join(f"{letter}. {option}\n" for letter, option in options_of(row).items())
    if options.strip():
        question = f"{question}\n{options}"
    return f"{COT_MPO}{question}".strip()


def lay_out(pieces: Sequence[str | None], name: str | None) -> str:
    """The question of a `marked` request from its pieces: texts, and None for each image.

    One image stands in front of the texts, joined by line breaks; several are listed in front as `Image-1: <image>`,
    and where they stood is left out if they stood side by side, else written as `<Image-1>`. MUIRBench, BMMR and
    MMSI-Video have rules of their own (`reorganize_prompt`).

    Args:
        pieces: in order.
        name: the data set's name in the kit; None = no rule of its own.
    """
    texts, images = [piece for piece in pieces if piece is not None], sum(piece is None for piece in pieces)
    listed = "".join(f"Image-{number}: {IMAGE}\n" for number in range(1, images + 1))
    name = name or ""
    if "MUIRBench" in name:
        text = "\n".join(texts).replace(" ".join([IMAGE] * images), "")
        for number in range(1, images + 1):
            text = text.replace(IMAGE, f"<Image-{number}>", 1)
        return listed + text
    if "bmmr" in name.lower():  # its rows hold the marks
        return ("\n" if images == 1 else "").join(texts)
    if "mmsivideo" in name.lower():
        return "".join(IMAGE if piece is None else piece for piece in pieces)
    if images == 1:
        return f"{IMAGE}\n" + "\n".join(texts)
    places = iter(range(1, images + 1))
    text = listed + "".join(f"<Image-{next(places)}>" if piece is None else piece for piece in pieces)
    side_by_side = "".join(f"<Image-{number}>" for number in range(1, images + 1))
    return text.replace(side_by_side, "") if images else text


def chat_request(
    pieces: Iterable[str | None], name: str | None, style: AskingStyle, *, limit: int | None = None
) -> ChatRequest:
    """What a model is asked, from the pieces of a question: texts, and None for each image or frame.

    Args:
        pieces: in order; for rows of images the text of [`question_text`], then the images.
        name: the data set's name in the kit; None = a set that the kit does not know.
        style: how the model is asked.
        limit: maximum number of tiles of an image, before it is shared; None = the data set's.

    Raises:
        ValueError: the style takes one image, and there are more.
    """
    pieces = list(pieces)
    images = sum(piece is None for piece in pieces)
    texts = [piece for piece in pieces if piece is not None]
    at_least = 8196 if name is not None and "BMMR" in name and not is_video(name) else 0
    generation = style.generation(max(style.max_new_tokens, at_least))
    limit = max_tiles(name) if limit is None else limit
    if style.layout == "square":
        if images > 1:
            raise ValueError(
                f"InternVL-Chat-V1-1 and V1-2 are asked about one image in {name or 'this data set'}, got {images}."
            )
        question, rules = "\n".join(texts), (ImageRule(1),) * images
        return ChatRequest(question, rules, "none", generation, style.system_message)
    tiles = tiles_of_each(limit, images) if images else 1
    enlarged = style.layout == "marked" and name is not None and "MMMU" in name
    rules = tuple(ImageRule(tiles, 2 if enlarged and number == 0 else 1) for number in range(images))
    video = name is not None and is_video(name)
    question = "\n".join(texts) if style.layout == "joined" else lay_out(pieces, name)
    if video:
        question = frame_prompt(question, str(name))
    counts = "none" if style.layout == "joined" else "each"
    return ChatRequest(question, rules, counts, generation, style.system_message)  # type: ignore[arg-type]


__all__ = [
    "LETTER",
    "SHORT_ANSWER",
    "asks_as_mpo",
    "builds_prompt",
    "chat_request",
    "choice_text",
    "is_missing",
    "lay_out",
    "options_of",
    "question_text",
]
