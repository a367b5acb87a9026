# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How each generation of chat models is asked and generates: one row a way of asking, and presets by name.

The rows are those of VLMEvalKit (`vlmeval/config.py` and `vlmeval/vlm/internvl/internvl_chat.py` at e8e78f05), with
which the reports from InternVL 2.5 on were measured.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ...processing.chat_templates import TEMPLATES, THINKING_SYSTEM_MESSAGE

Layout = Literal["square", "joined", "marked"]
Mode = Literal["direct", "cot", "thinking"]

COT_BOXED = "Please answer the question and put the final answer within \\boxed{}."
# The line breaks of the kit's source are in the text, with the blanks that begin its lines.
_BREAK = " " * 13
COT_LONG = (
    f"Answer the preceding multiple-choice question{_BREAK}by carefully analyzing the provided image. \nPlease answer "
    f"with{_BREAK}carefully thought step by step. Apply the thinking process{_BREAK}recursively at both macro and "
    f"micro levels. \nVerify consistency{_BREAK}of reasoning and look for potential flaws or gaps during{_BREAK}"
    f"thinking. \nWhen realize mistakes, explain why the previous{_BREAK}thinking was incorrect, fix it and then "
    f"continue thinking.\nThe{_BREAK}last line of your response should follow this format: 'Answer:{_BREAK}"
    f"\\boxed{{$LETTER}}' (without quotes), where LETTER is one of the{_BREAK}options\n\n"
)


@dataclass(frozen=True)
class AskingStyle:
    """How a model is asked.

    Attributes:
        layout: `square`: no marks, an image is one square tile (V1.1, V1.2). `joined`: no marks, texts are joined by
            line breaks, the tiles of all images are one image (V1.5). `marked`: `Image-1: <image>` lines (2.0 and
            later).
        mode: `direct`, `cot` (chain of thought), or `thinking` (asked for in the system message); for reports.
        cot: whether the question asks for a chain of thought.
        max_new_tokens: maximum tokens of an answer.
        sampled: whether answers are sampled, at temperature 0.6 and top-p 0.95.
        cot_text: what asks for a chain of thought; None = by the type of the question.
        mpo: whether chains of thought are asked for as the MPO models were trained, "Final answer: ..".
        system_message: instead of the chat template's own; None = the template's.
    """

    layout: Layout = "marked"
    mode: Mode = "direct"
    cot: bool = False
    max_new_tokens: int = 4096
    sampled: bool = False
    cot_text: str | None = None
    mpo: bool = False
    system_message: str | None = None

    def generation(self, max_new_tokens: int | None = None) -> dict[str, Any]:
        """Arguments of `generate`. From 2.0 on temperature and top-p are named in greedy runs, too, without effect."""
        settings: dict[str, Any] = {"do_sample": self.sampled, "max_new_tokens": max_new_tokens or self.max_new_tokens}
        if self.layout != "marked":
            return {**settings, "top_p": None}
        return {**settings, "temperature": 0.6, "top_p": 0.95}


THINKING_TOKENS = 2**16


@dataclass(frozen=True)
class Generation:
    """One row of `GENERATIONS`: the models whose name fits, and their styles by mode.

    Attributes:
        name: shown to users.
        pattern: regular expression for the last part of a checkpoint's name, in any case.
        styles: mode -> style. A mode that is missing has no official style.
    """

    name: str
    pattern: str
    styles: Mapping[str, AskingStyle] = field(default_factory=dict)


def _modes(style: AskingStyle, *modes: Mode) -> dict[str, AskingStyle]:
    return {mode: replace(style, mode=mode, cot=mode != "direct") for mode in ("direct", *modes)}


_MARKED = AskingStyle()
_THINKING = AskingStyle(
    mode="thinking",
    cot=True,
    max_new_tokens=THINKING_TOKENS,
    sampled=True,
    cot_text=COT_BOXED,
    system_message=THINKING_SYSTEM_MESSAGE,
)
_V3_5 = {**_modes(_MARKED, "cot"), "thinking": _THINKING}

# The first row whose pattern fits counts.
GENERATIONS: tuple[Generation, ...] = (
    Generation("InternVL-Chat-V1-1", r"internvl-chat-(chinese-)?v1-1", _modes(AskingStyle("square"))),
    Generation("InternVL-Chat-V1-2", r"internvl-chat-(chinese-)?v1-2", _modes(AskingStyle("square"))),
    Generation("InternVL-Chat-V1-5", r"internvl-chat-.*v1-5", _modes(AskingStyle("joined"), "cot")),
    Generation("InternVL2-MPO", r"internvl2-.*mpo-cot", _modes(replace(_MARKED, mpo=True), "cot")),
    Generation("InternVL2.5-MPO", r"internvl2_5-.*mpo", _modes(replace(_MARKED, mpo=True), "cot")),
    Generation(
        "InternVL3.5-241B",
        r"internvl3_5-241b",
        {**_modes(replace(_MARKED, max_new_tokens=2**14), "cot"), "thinking": _THINKING},
    ),
    Generation("InternVL3.5", r"internvl3_5", _V3_5),
    Generation("InternVL 2, 2.5, 3", r"", _modes(_MARKED, "cot")),
)


def generation_of(model: str) -> Generation:
    """The row of a checkpoint, by the last part of its name or path."""
    return next(row for row in GENERATIONS if re.search(row.pattern, _last_part(model)))


def asking_style(model: str, mode: str = "direct") -> AskingStyle:
    """How a checkpoint is asked in a mode, by its name.

    A name that ends in `-Thinking`, as VLMEvalKit calls the thinking mode of 3.5, is a checkpoint in that mode.

    Raises:
        ValueError: the generation has no such mode.
    """
    row = generation_of(model)
    if model.lower().endswith("-thinking") and mode == "direct":
        mode = "thinking"
    if mode not in row.styles:
        raise ValueError(
            f"{row.name} is not asked in the mode {mode!r}: choose one of {', '.join(row.styles)} (by the name "
            f"{model!r}; a checkpoint under another name: give the name that it has on the Hub)."
        )
    return row.styles[mode]


def default_system_message(model: str) -> str | None:
    """The system message that a release was evaluated with, for chat templates that send none (`-hf` checkpoints).

    None for names that are no release from InternVL 2.5 on: earlier ones have no such checkpoints.
    """
    name = _last_part(model)
    if not re.match(r"internvl(2_5|3|3_5)-", name):
        return None
    return TEMPLATES["internvl3_5_gpt_oss" if "gpt-oss" in name else "internvl2_5"].system_message


def _last_part(model: str) -> str:
    """The last part of a name or path, in lower case, with the Hub's spelling of versions."""
    name = re.split(r"[/\\]", model.rstrip("/\\"))[-1].lower()
    return name.replace("internvl2.5", "internvl2_5").replace("internvl3.5", "internvl3_5")


__all__ = [
    "COT_BOXED",
    "COT_LONG",
    "GENERATIONS",
    "THINKING_TOKENS",
    "AskingStyle",
    "Generation",
    "asking_style",
    "default_system_message",
    "generation_of",
]
