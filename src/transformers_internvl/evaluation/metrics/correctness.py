# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Whether a sampled answer is correct, as the pipeline of MPO's preference pairs decides (arXiv:2411.10442).

An answer is parsed by the format that the prompt asks for ([`parse_answer`]), and compared by the modes that suit its
data set ([`modes_of`], [`check_answer`]). Formulas need `pip install transformers_internvl[evaluation]`.

Source: OpenGVLab/InternVL `tools/reasoning_data_pipeline/utils/accuracy_reward.py`.
"""

import re
from collections.abc import Callable, Sequence

from .anls import normalised_distance
from .extraction import THINK_END, THINK_START, boxed_content
from .formulas import parse_formula
from .metric import Row, Scores, percent
from .optional import needed
from .reading import accepted_answers
from .vqa_accuracy import ANNOTATORS, normalise_evalai, textvqa_accuracy

LETTERS = "ABCDEFGHIJKLMN"
ENOUGH = 0.9  # of a score, to be correct
SHORTEST_THOUGHTS = 20  # characters
_MARKERS = ("Final answer:", "Final Answer:", "答案:")
_UNITS = ("degrees", "degree", "\\angle", "degrees", "°", "%", "cm")
_THOUGHTS = re.compile(rf"{THINK_START}.*?{THINK_END}\s*.+", re.DOTALL)
_FRACTION = re.compile(r"\s*\d+\s*/\s*\d+\s*")
_GENERAL = ("vqa_score", "mc_score", "math_score", "math_verify_score")
_MODES = (  # parts of a data set's name, and its modes
    (("chartqa",), ("relaxed_accuracy",)),
    (("docvqa", "infographics"), ("anls",)),
    (
        ("SROIE", "CLEVR_math", "geos", "geometry"),
        ("relaxed_accuracy", "vqa_score", "mc_score", "math_verify_score"),
    ),
    (("mavis",), ("vqa_score", "mc_score", "math_score", "latex_score", "math_verify_score")),
)


def modes_of(data_set: str) -> tuple[str, ...]:
    """The modes of comparison that suit a data set, by its name. Source: `get_mode`."""
    return next((modes for parts, modes in _MODES if any(part in data_set for part in parts)), _GENERAL)


def parse_answer(response: str, version: str) -> tuple[str | None, str]:
    """Rationale and answer of a response.

    Args:
        version: of the prompt. `en`, `zh`: the answer follows `Final answer:` in the last line; `en_v2`, `zh_v2`: it
            stands in a box, and there is no rationale to return; `en_r1`, `zh_r1`: the same behind thoughts.

    Raises:
        ValueError: the response has another format, or the version is unknown.
    """
    if version in ("en", "zh"):
        return _marked_answer(response)
    if version not in ("en_v2", "zh_v2", "en_r1", "zh_r1"):
        raise ValueError(f"`version` must be en, zh, en_v2, zh_v2, en_r1 or zh_r1, got {version!r}.")
    if version.endswith("v2") and len(response) <= SHORTEST_THOUGHTS:
        raise ValueError(f"A chain of thought has more than {SHORTEST_THOUGHTS} characters, got {response!r}.")
    if version.endswith("r1") and not _has_thoughts(response):
        raise ValueError(
            f"The response must be {THINK_START}, thoughts of more than {SHORTEST_THOUGHTS - len(THINK_START)} "
            f"characters, {THINK_END} and an answer in a box, got {response!r}."
        )
    return None, boxed_content(response)


def check_answer(prediction: str, answer: str, modes: Sequence[str]) -> int:
    """1 where an answer is correct: equal but for case, or a score of more than 0.9 by any of the modes; else 0.

    Mode `anls` takes the distance in place of the similarity, as the official code does: very different texts are
    correct. Mode `latex_score` compares formulas by sympy.

    Raises:
        ImportError: a mode needs a library that is missing.
        ValueError: an unknown mode.
    """
    unknown = [mode for mode in modes if mode not in SCORERS]
    if unknown:
        raise ValueError(f"`modes` must be of {', '.join(SCORERS)}, got {', '.join(unknown)}.")
    if prediction.lower() == answer.lower():
        return 1
    score = 0.0
    for mode, scorer in SCORERS.items():  # in the official order: an empty text takes back what math_verify_score gave
        if mode in modes:
            score = max(score, float(scorer(prediction, answer)))
            if mode == "vqa_score" and not (normalise_evalai(prediction) and normalise_evalai(answer)):
                score = 0.0
    return int(score > ENOUGH)


def multi_choice_score(prediction: str, answer: str) -> bool:
    """Whether the texts are equal but for case, or the letter in front of a full stop or in brackets is the answer."""
    prediction, answer = prediction.strip().lower(), answer.strip().lower()
    if prediction == answer:
        return True
    if prediction[1:2] == ".":
        prediction = prediction[0]
    if prediction[:1] == "(" and prediction[2:3] == ")":
        prediction = prediction[1]
    return prediction == answer


def math_score(prediction: str, answer: str) -> bool:
    """Whether two numbers without units (degrees, percent, cm) differ by at most 0.1 %, or the texts but for case."""
    return _close(prediction, answer, _without_units, 1e-3)


def relaxed_correctness(answer: str, prediction: str) -> bool:
    """Relaxed correctness with percent signs dropped. An answer of four characters that begins with 20 is a text."""
    if len(answer) == 4 and answer.startswith("20"):
        return prediction.lower() == answer.lower()
    return _close(prediction, answer, _without_percent, 0.05)


def math_verify_score(prediction: str, answer: str) -> bool:
    """Whether `math_verify` finds the two equal, as formulas, numbers or letters.

    Raises:
        ImportError: `math-verify` is missing.
    """
    library = needed("math_verify", "math-verify", "Comparing formulas")
    kinds = [library.StringExtractionConfig(), library.LatexExtractionConfig(), library.ExprExtractionConfig()]
    try:
        found = library.parse(prediction, extraction_config=kinds)
        return bool(library.verify(library.parse(answer), found))
    except Exception:  # noqa: BLE001 parsers and sympy raise whatever an expression leads to
        return False


def latex_score(prediction: str, answer: str) -> bool:
    """Whether sympy finds two formulas equal. False where neither has a backslash or is a fraction.

    Raises:
        ImportError: sympy or antlr4 is missing.
    """
    if not any("\\" in text or _FRACTION.fullmatch(text) for text in (prediction, answer)):
        return False
    if prediction == answer:
        return True
    try:
        return bool(parse_formula(prediction).equals(parse_formula(answer)))
    except ImportError:
        raise
    except Exception:  # noqa: BLE001 the parser and sympy raise whatever an expression leads to
        return False


def fix_answer(response: str, prediction: str, answer: str) -> str:
    """A correct response with its answer written as the right answer is, and without asterisks around the last line.

    A response of one line has no asterisks to lose there; the official code raises.
    """
    found, right = prediction.lower(), answer.lower()
    if len(right) == 1 and right.upper() in LETTERS:
        letter = _letter(prediction)
        if letter is None:
            return response
        found, right = letter, right.upper()
    if right in found or right.strip(".").replace(",", "") in found.strip(".").replace(",", ""):
        response = answer.join(response.rsplit(prediction, 1)) if prediction else response
        response = response.strip().strip("*").strip()
    if "\n" not in response:
        return response
    others, last = response.rsplit("\n", 1)
    return f"{others}\n{last.replace('**Final', 'Final')}".strip() if "**Final" in last else response


def score_correctness(rows: Sequence[Row]) -> Scores:
    """Percent of correct answers by the general modes of MPO ([`check_answer`]), for any of the accepted answers."""
    hits = [
        float(any(check_answer(row["prediction"], answer, _GENERAL) for answer in accepted_answers(row)))
        for row in rows
    ]
    return Scores(percent(hits), samples=tuple(hits))


def _vqa_score(prediction: str, answer: str) -> float:
    return textvqa_accuracy([answer] * ANNOTATORS, prediction)


# In the order in which the official code asks them.
SCORERS: dict[str, Callable[[str, str], float]] = {
    "math_verify_score": math_verify_score,
    "vqa_score": _vqa_score,
    "relaxed_accuracy": lambda prediction, answer: relaxed_correctness(answer, prediction),
    "anls": lambda prediction, answer: normalised_distance(answer, prediction),
    "mc_score": multi_choice_score,
    "math_score": math_score,
    "latex_score": latex_score,
}


def _marked_answer(response: str) -> tuple[str, str]:
    marker = next((marker for marker in _MARKERS if marker in response), _MARKERS[-1])
    count = response.count(marker)
    if not 1 <= count <= 2 or response.count("\n") < 2:
        raise ValueError(
            "The response must give its reasons in several lines, and then once `Final answer:`, got "
            f"{count} markers and {response.count(chr(10))} line breaks: {response!r}."
        )
    rationale, answer = (part.strip() for part in response.rsplit(marker, 1))
    if not rationale or "\n" in answer:
        raise ValueError(f"There must be a rationale, and one line of answer behind {marker!r}, got {response!r}.")
    return rationale, answer


def _has_thoughts(response: str) -> bool:
    if not _THOUGHTS.fullmatch(response) or response.count(THINK_START) != 1 or response.count(THINK_END) != 1:
        return False
    thoughts, answer = (part.strip() for part in response.split(THINK_END))
    return boxed_content(answer) != answer and len(thoughts) > SHORTEST_THOUGHTS


def _close(prediction: str, answer: str, read: Callable[[str], float | None], tolerance: float) -> bool:
    found, right = read(prediction), read(answer)
    if found is not None and right:
        return abs(found - right) / abs(right) <= tolerance
    return prediction.lower() == answer.lower()


def _without_units(text: str) -> float | None:
    for unit in _UNITS:
        text = text.replace(unit, "")
    return _number(text)


def _without_percent(text: str) -> float | None:
    return _number(text.rstrip("%") if text.endswith("%") else text)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _letter(prediction: str) -> str | None:
    """The letter of an option at the beginning of a prediction, None where there is none."""
    text = prediction.strip().strip("*").strip().upper()
    if len(text) == 1:
        return text
    if len(text) > 1 and text[0] in LETTERS and not text[1].isalpha():
        return text[0]
    return text[1] if text[:1] == "(" and text[2:3] == ")" and text[1] in LETTERS else None


__all__ = [
    "SCORERS",
    "check_answer",
    "fix_answer",
    "latex_score",
    "math_score",
    "math_verify_score",
    "modes_of",
    "multi_choice_score",
    "parse_answer",
    "relaxed_correctness",
    "score_correctness",
]
