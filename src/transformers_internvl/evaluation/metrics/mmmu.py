# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""MMMU and MMMU-Pro: answers as the benchmark's own code reads them, scores by subject and domain.

An answer that no rule can read is `UNDECIDED` here, and wrong; the official code draws a letter at random.

Source: MMMU-Benchmark/MMMU `mmmu/utils/eval_utils.py`, of which InternVL has a copy (`eval/mmmu`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from .choices import UNDECIDED, build_choices, post_process_internvl
from .metric import Row, Scores
from .reading import read_answers

DOMAINS = {
    "Art and Design": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Health and Medicine": (
        "Basic_Medical_Science",
        "Clinical_Medicine",
        "Diagnostics_and_Laboratory_Medicine",
        "Pharmacy",
        "Public_Health",
    ),
    "Humanities and Social Science": ("History", "Literature", "Sociology", "Psychology"),
    "Tech and Engineering": (
        "Agriculture",
        "Architecture_and_Engineering",
        "Computer_Science",
        "Electronics",
        "Energy_and_Power",
        "Materials",
        "Mechanical_Engineering",
    ),
}
_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),  # with commas
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),  # with an exponent
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)
Parse = Callable[[str, Sequence[str]], str]


def parse_multi_choice_response(response: str, options: Sequence[str]) -> str:
    """The letter of the option that a response names last: in brackets, else between spaces, else by its text.

    Texts are only looked for in responses of more than five words.
    """
    response = f" {_stripped(response)} "
    for form in ("({})", " {} "):
        last = _last_named(response, [form.format(letter) for letter in ascii_uppercase[: len(options)]])
        if last is not None:
            return ascii_uppercase[last]
    return _by_text(response, options)


def parse_mmmu_pro_response(response: str, options: Sequence[str]) -> str:
    """The letter of an option in a response to MMMU-Pro.

    First the only letter behind the last `Answer:`; then as [`parse_multi_choice_response`], where a letter counts if
    a space or else a full stop follows it, whatever stands before (`USA ` is A); of several such letters the last
    that stands between spaces, or the first of the options.

    Source: OpenGVLab/InternVL `eval/mmmu_pro/evaluate.py`.
    """
    letters = ascii_uppercase[: len(options)]
    if "Answer:" in response:
        after = [letter for letter in letters if letter in response.rsplit("Answer:", 1)[1].strip()]
        if len(after) == 1:
            return after[0]
    response = f" {_stripped(response)} "
    last = _last_named(response, [f"({letter})" for letter in letters])
    if last is not None:
        return letters[last]
    for form in ("{} ", "{}."):
        named = [letter for letter in letters if form.format(letter) in response]
        if named:
            return max(named, key=lambda letter: response.rfind(f" {letter} "))
    return _by_text(response, options)


def normalize_str(text: str) -> list[str | float]:
    """A number rounded to two decimals, or the text in lower case; of a single character, two texts with a space."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lower = text.lower()
        return [f" {lower}", f"{lower} "] if len(lower) == 1 else [lower]


def extract_numbers(text: str) -> list[str]:
    """The numbers in a text: those with commas, those with an exponent, the others."""
    return [number for pattern in _NUMBERS for number in pattern.findall(text)]


def parse_open_response(response: str) -> list[str | float]:
    """The answers that a response to an open question may mean: key phrases and the numbers in them, each once."""
    phrases = _key_phrases(response)
    texts = phrases + [number for phrase in phrases for number in extract_numbers(phrase)]
    return list(dict.fromkeys(value for text in texts for value in normalize_str(text)))


def eval_multi_choice(gold: str | Sequence[str], prediction: str) -> bool:
    """Whether the predicted letter is the right one, or one of the right ones."""
    return prediction == gold if isinstance(gold, str) else prediction in gold


def eval_open(gold: str | Sequence[str], predictions: Sequence[str | float]) -> bool:
    """Whether a right answer is part of a predicted text, or equal to a predicted number."""
    answers = [value for text in ([gold] if isinstance(gold, str) else gold) for value in normalize_str(text)]
    for prediction in predictions:
        if isinstance(prediction, str):
            if any(isinstance(answer, str) and answer in prediction for answer in answers):
                return True
        elif prediction in answers:
            return True
    return False


def mmmu_table(hits: Mapping[str, Sequence[bool]]) -> dict[str, dict[str, float]]:
    """`num` and `acc` (three decimals) of each subject that occurs, of each domain, and `Overall`.

    Args:
        hits: from subjects to whether each question was right. Unknown subjects are left out, as officially.
    """
    results = {
        subject: (sum(hits[subject]) / len(hits[subject]), len(hits[subject]))
        for subjects in DOMAINS.values()
        for subject in subjects
        if hits.get(subject)
    }
    table = {}
    for domain, subjects in DOMAINS.items():
        known = {subject: results[subject] for subject in subjects if subject in results}
        table[f"Overall-{domain}"] = _weighted(known.values())
        for subject, (accuracy, number) in known.items():
            table[subject] = {"num": number, "acc": round(accuracy, 3)}
    return table | {"Overall": _weighted(results.values())}


def score_mmmu(rows: Sequence[Row], parse: Parse = parse_multi_choice_response) -> Scores:
    """MMMU in percent: a question with options by `parse` and [`eval_multi_choice`], an open one by [`eval_open`].

    `id` is `split_Subject_number`. `overall` has one decimal, as the table's three.

    Raises:
        ValueError: an `id` without a known subject.
    """
    hits: dict[str, list[bool]] = {}
    samples = []
    for number, row in enumerate(rows):
        subject = subject_of(row["id"])
        if not any(subject in subjects for subjects in DOMAINS.values()):
            raise ValueError(
                f"Row {number}: `id` must be split_Subject_number with a subject of MMMU, got {row['id']!r}."
            )
        gold = [str(answer) for answer in read_answers(row["answer"])]
        options = [str(text) for text in build_choices(row).values()]
        if options:
            hit = eval_multi_choice(gold, parse(row["prediction"], options))
        else:
            hit = eval_open(gold, parse_open_response(row["prediction"]))
        hits.setdefault(subject, []).append(hit)
        samples.append(float(hit))
    table = mmmu_table(hits)
    return Scores(100 * table["Overall"]["acc"] if rows else None, table, tuple(samples))


def score_mmmu_internvl(rows: Sequence[Row]) -> Scores:
    """MMMU of InternVL: options are read by [`post_process_internvl`], with no random letters. See [`score_mmmu`]."""
    return score_mmmu(rows, _post_processed)


def score_mmmu_pro(rows: Sequence[Row]) -> Scores:
    """MMMU-Pro: options are read by [`parse_mmmu_pro_response`]. See [`score_mmmu`]."""
    return score_mmmu(rows, parse_mmmu_pro_response)


def subject_of(question: str) -> str:
    """The subject in an id: `validation_Art_Theory_7` is of `Art_Theory`."""
    return "_".join(question.split("_")[1:-1])


def _post_processed(response: str, options: Sequence[str]) -> str:
    return post_process_internvl(response, dict(zip(ascii_uppercase, options, strict=False)))


def _stripped(response: str) -> str:
    for sign in (",", ".", "!", "?", ";", ":", "'"):
        response = response.strip(sign)
    return response


def _last_named(text: str, names: Sequence[str]) -> int | None:
    """The number of the name that occurs last, None where none does."""
    places = [text.rfind(name) for name in names]
    return places.index(max(places)) if places and max(places) >= 0 else None


def _by_text(response: str, options: Sequence[str]) -> str:
    if len(response.split()) <= 5:
        return UNDECIDED
    last = _last_named(response.lower(), [option.lower() for option in options])
    return UNDECIDED if last is None else ascii_uppercase[last]


def _key_phrases(response: str) -> list[str]:
    """The shortest tail behind a key word of each line, in lower case; the whole response where there is none.

    Behind `=`, too, in the last line.
    """
    response = response.strip().strip(".").lower()
    lines = response.split("\n")
    phrases = []
    for number, line in enumerate(lines, start=1):
        shortest = ""
        for key in (*_KEYS, "=") if number == len(lines) else _KEYS:
            if key in line:
                tail = line.split(key)[-1].strip()
                if not shortest or len(tail) < len(shortest):
                    shortest = tail
        if shortest and shortest not in (":", ",", ".", "!", "?", ";", "'"):
            phrases.append(shortest)
    return phrases or [response]


def _weighted(results: Any) -> dict[str, float]:
    total = sum(number for _, number in results)
    accuracy = sum(accuracy * number for accuracy, number in results) / total if total else 0
    return {"num": total, "acc": round(accuracy, 3)}


__all__ = [
    "DOMAINS",
    "eval_multi_choice",
    "eval_open",
    "extract_numbers",
    "mmmu_table",
    "normalize_str",
    "parse_mmmu_pro_response",
    "parse_multi_choice_response",
    "parse_open_response",
    "score_mmmu",
    "score_mmmu_internvl",
    "score_mmmu_pro",
    "subject_of",
]
