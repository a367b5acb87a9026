# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a language model that judges answers is asked, and how its reply is read: one row of `JUDGES` a metric.

The fixed texts are the benchmarks' own, in `judge_prompts.json`, with their source.
"""

import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from ..metrics import Row, mathematics, mathvista
from ..metrics.dynamath import short_answer, without_backslashes
from ..metrics.graded_sets import listed_texts
from ..metrics.judged import mmhal_rating, wildvision_verdict
from ..metrics.yes_no import yes_or_no_vlmevalkit
from .convbench import CONVBENCH
from .judging import Judge


@cache
def _text(name: str) -> str:
    return "\n".join(json.loads(files(__package__).joinpath("judge_prompts.json").read_bytes())[name])


def _mathvista_prompt(row: Row) -> str:
    """`respone` and the missing line break are the official prompt's."""
    return f"{_text('mathvista')}{row['question']}\nModel respone: {row['prediction']}Extracted answer:"


def _mathvista_extraction(reply: str) -> dict[str, Any] | None:
    return {"extraction": reply.strip()} if reply.strip() else None


def _mmvet_prompt(row: Row) -> str:
    answer = str(row["answer"]).replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    return f"{_text('mmvet')}\n" + " | ".join([row["question"], answer, row["prediction"], ""])


def _mmvet_grade(reply: str) -> dict[str, Any] | None:
    grade = _number(reply)
    return {"score": grade} if grade is not None and 0 <= grade <= 1 else None


def _llavabench_prompt(row: Row) -> str:
    answers = (row["gpt4_ans"], row["prediction"])
    told = [f"[Assistant {n}]\n{text}\n\n[End of Assistant {n}]\n\n" for n, text in enumerate(answers, start=1)]
    rule = f"[System]\n{_text('llavabench')}\n\n"
    return f"[Context]\n{row['caption']}\n\n[Question]\n{row['question']}\n\n{''.join(told)}{rule}"


def _llavabench_grades(reply: str) -> dict[str, Any] | None:
    """The two numbers of the first line: of GPT-4's answer and of the model's."""
    grades = [_number(word) for word in reply.split("\n")[0].replace(",", " ").split(" ")]
    if len(grades) != 2 or grades[0] is None or grades[1] is None:
        return None
    return {"gpt4_score": grades[0], "score": grades[1]}


def _yes_no_prompt(row: Row) -> str:
    """The question mark is added to questions that have one, too, as the official code does."""
    return f"{_text('yes_no')}Question: {row['question']}?\nAnswer: {row['prediction']}\nYour output: "


def _yes_no_reading(reply: str) -> dict[str, Any] | None:
    found = yes_or_no_vlmevalkit(reply)
    return None if found == "Unknown" else {"extraction": found}


def _extraction(reply: str) -> dict[str, Any]:
    return {"extraction": reply}


def _mathvista_internvl_prompt(row: Row) -> str:
    query = row.get("query", row["question"])
    return f"{_text('mathvista_internvl')}\n\n{query}\n\n{row['prediction']}\n\nExtracted answer: "


def _mathvision_prompt(row: Row) -> str:
    return f"{_text('mathvision')}{row['question']}\nModel respone: {row['prediction']}Extracted answer:"


def _mathverse_extraction_prompt(row: Row) -> str:
    return f"{_text('mathverse_extraction')}{row['prediction']}'\nExtracted Answer: "


def _mathverse_score_prompt(row: Row) -> str:
    asked = f"{row['question_for_eval']}\n    [Standard Answer]: {row['answer']}"
    return f"{_text('mathverse_score')}{asked}\n    [Model_answer] : {row['extraction']}\n    Judgement:"


def _mathverse_score(reply: str) -> dict[str, Any] | None:
    return {"score": float(reply.strip())} if reply.strip() in ("0", "1") else None


def _charxiv_prompt(row: Row) -> str:
    """The prompt is part of the data."""
    return str(row["grading_query"]).replace("{PREDICTION}", row["prediction"])


def _charxiv_grade(reply: str) -> dict[str, Any] | None:
    """Of a JSON object. JSON of another form is no grade, and is not asked for again, as in the official code."""
    try:
        found = json.loads(reply)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or "extracted_answer" not in found:
        return dict(_NO_GRADE)
    grade = _number(str(found.get("score")))
    return dict(_NO_GRADE) if grade is None else {"extracted_answer": found["extracted_answer"], "score": grade}


def _wildvision_prompt(row: Row) -> str:
    """The quotation mark at the beginning is the official prompt's. Claude's answer is A, the model's B."""
    answers = (("A", row["claude3_sonnet"]), ("B", row["prediction"]))
    told = [
        f"<|The Start of Assistant {name}'s Answer|>\n{text}\n<|The End of Assistant {name}'s Answer|>\n"
        for name, text in answers
    ]
    return f'"<|User Prompt|>\n{row["question"]}\n\n' + "\n".join(told)


def _mmhal_prompt(row: Row) -> str:
    contents = row["image_content"]
    parts = _text("mmhal").split("{}")
    told = (contents if isinstance(contents, str) else ", ".join(contents), row["question"], row["gt_answer"])
    return "".join(f"{part}{text}" for part, text in zip(parts, (*told, row["prediction"], ""), strict=True))


def _dynamath_prompt(row: Row) -> str:
    """`corresponing` is the official prompt's."""
    instruction = {
        "multiple choice": "Output the corresponing choice option, such as 'A', 'B', 'C', 'D', in a single line.",
        "float": "Output a three-digit floating-point number in a single line.",
    }.get(
        row["answer_type"],
        "Output a short answer in a single line. Any float numbers in the answer should be formatted as three-digit "
        "floating-point numbers.",
    )
    return f"Free-form answer: {without_backslashes(row['prediction'])}\nInstruction: {instruction}"


def _letters(reply: str) -> dict[str, Any] | None:
    letters = reply.strip()
    return {"extraction": letters} if letters.isupper() and letters.isalpha() else None


_NUMBERS = ("first", "second", "third", "fourth", "fifth")


def _mia_prompt(row: Row) -> str:
    """Behind the scores of three and more components the official text has no space."""
    count = int(row["num_of_component"])
    components, weights = (listed_texts(row[name]) for name in ("components", "component_weight"))
    if not 1 <= count <= min(len(components), len(weights), len(_NUMBERS)):
        raise ValueError(
            f"Question {row.get('index')}: expected 1 to 5 components, each with its weight, got {count} with "
            f"{len(components)} components and {len(weights)} weights."
        )
    told = [f"the {name} component is{':' * (not at)} '{text}'" for at, (name, text) in
            enumerate(zip(_NUMBERS[:count], components, strict=False))]  # fmt: skip
    parts = f"T{', and '.join(told)[1:]}. "
    names, worth = _in_a_row(_NUMBERS[:count]), _in_a_row([str(weight) for weight in weights[:count]])
    score = f"The {names} component is{' each' * (count > 1)} worth {worth} scores."
    if count == 1:
        score = f"The first component is worth: {worth} scores."
    return (
        f"Here is an instruction for a multimodal LLM: '{row['question']}'. You need to grade if the response from "
        f"the model follows each component of the instruction. {parts}The response is: '{row['prediction']}'. "
        "You need to score the response and be strict. The total score ranges from 0 to 10, depending on if the "
        f"response follows the instruction. {score}{' ' * (count < 3)}List scores of each component, and the total "
        "score in one sentence in this format: score of component 1: x/2, score of component 2: y/8, total score: "
        "z/10. Then explain your reasons."
    )


def _in_a_row(texts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b, and c`."""
    if len(texts) < 3:
        return " and ".join(texts)
    return f"{', '.join(texts[:-1])}, and {texts[-1]}"


def _graded(name: str, read: Callable[[str], Any]) -> Callable[[str], dict[str, Any] | None]:
    """A reader of one column, from a function that gives None for replies that it cannot read."""

    def columns(reply: str) -> dict[str, Any] | None:
        found = read(reply)
        return None if found is None else {name: found}

    return columns


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


_NO_GRADE = {"extracted_answer": "Failed to parse response", "score": 0.0}

# Metric -> its judge.
JUDGES: dict[str, Judge] = {
    "convbench": CONVBENCH,
    "logicvista": Judge(
        lambda row: (
            f"{_text('logicvista')}{row['question']}\n<end>\nAnswer: <start>\n{row['prediction']}"
            "\n<end>\nYour output: "
        ),
        _letters,
        unread={"extraction": ""},
        columns=("question", "answer"),
        source="utils/logicvista.py",
        max_tokens=128,
    ),
    "mia_bench": Judge(
        _mia_prompt,
        lambda reply: {"score_raw": reply.strip()},
        unread={"score_raw": ""},
        columns=("question", "components", "component_weight", "num_of_component", "component_type", "image"),
        source="miabench.py",
        temperatures=(0.0,),
        max_tokens=2048,
        picture="low",
    ),
    "mathvista_vlmevalkit": Judge(
        _mathvista_prompt,
        _mathvista_extraction,
        unread={"extraction": ""},
        columns=("question",),
        source="utils/mathvista.py",
        decided=lambda row: bool(mathvista.prefetch(row, row["prediction"])),
        max_tokens=128,
    ),
    "mmvet": Judge(
        _mmvet_prompt,
        _mmvet_grade,
        unread={"score": 0.0},
        columns=("question", "answer"),
        source="utils/mmvet.py",
        max_tokens=3,
    ),
    "llavabench": Judge(
        _llavabench_prompt,
        _llavabench_grades,
        unread={"gpt4_score": -1.0, "score": -1.0},
        columns=("question", "caption", "gpt4_ans"),
        source="utils/llavabench.py",
        temperatures=(0.2,),
        system_message="You are a helpful and precise assistant for checking the quality of the answer.",
    ),
    "hallusionbench": Judge(
        _yes_no_prompt,
        _yes_no_reading,
        unread={"extraction": "Unknown"},
        columns=("question",),
        source="utils/yorn.py",
        decided=lambda row: yes_or_no_vlmevalkit(row["prediction"]) != "Unknown",
    ),
    "mathvista_internvl": Judge(
        _mathvista_internvl_prompt,
        _mathvista_extraction,
        unread={"extraction": ""},
        columns=("question", "question_type", "answer_type", "choices"),
        source="eval/mathvista/extract_answer.py",
        decided=lambda row: mathvista.extract_answer(row["prediction"], row) is not None,
        temperatures=(0.0,) * 5,
        max_tokens=256,
    ),
    "mathvision": Judge(
        _mathvision_prompt,
        _extraction,
        unread={"extraction": ""},
        columns=("question",),
        source="utils/mathv.py",
        decided=lambda row: bool(mathematics.prefetch(row, row["prediction"])),
    ),
    "mathverse": Judge(
        _mathverse_extraction_prompt,
        _extraction,
        unread={"extraction": ""},
        columns=("question_for_eval", "answer"),
        source="utils/mathverse.py",
        follow=Judge(
            _mathverse_score_prompt,
            _mathverse_score,
            unread={"score": 0.0},
            columns=(),
            source="utils/mathverse.py",
            decided=lambda row: mathematics.mathverse_post_check_score(row["answer"], row["extraction"]),
        ),
    ),
    **{
        f"charxiv_{kind}": Judge(
            _charxiv_prompt,
            _charxiv_grade,
            unread=_NO_GRADE,
            columns=("grading_query",),
            source="charxiv.py",
            temperatures=(0.0,) * 10,
            max_tokens=256,
            extra={"seed": 42, "top_p": 1},
        )
        for kind in ("descriptive", "reasoning")
    },
    "wildvision": Judge(
        _wildvision_prompt,
        _graded("score", wildvision_verdict),
        unread={"score": "Unknown"},
        columns=("question", "claude3_sonnet", "image"),
        source="wildvision.py",
        temperatures=(0.0, 0.0),
        max_tokens=4096,
        system_message=_text("wildvision"),
        picture="high",
    ),
    "mmhal": Judge(
        _mmhal_prompt,
        _graded("score", mmhal_rating),
        unread={"score": 0.0},
        columns=("question", "image_content", "gt_answer"),
        source="eval/mmhal/eval_gpt_mmhal.py",
        temperatures=(0.0,),
    ),
    "dynamath": Judge(
        _dynamath_prompt,
        _extraction,
        unread={"extraction": ""},
        columns=("answer_type",),
        source="dynamath.py",
        decided=lambda row: short_answer(row) is not None,
        temperatures=(0.0,),
        system_message=(
            "You are a helpful assistant that helps me to format free-form answers into a short answer according to "
            "the instruction.\n"
        ),
    ),
}

__all__ = ["JUDGES", "Judge"]
