# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which option of a multiple-choice question an answer means, by rule."""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

UNDECIDED = ""
REFUSED = "Z"
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_FAILED_CALL = "Failed to obtain answer via API"
_SEPARATORS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_LAST_WORDS = 4
_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])\**", re.IGNORECASE)
ANSWER_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
)


def can_infer(answer: str, choices: Mapping[str, Any]) -> str:
    """The option that an answer means: by its letter, or else by its text. `UNDECIDED` where neither is clear.

    Args:
        answer: the text of the model.
        choices: from the letters of the options to their texts.

    Source of this function and the next two: open-compass/VLMEvalKit `vlmeval/utils/matching_util.py`.
    """
    return can_infer_option(answer, choices) or can_infer_text(answer, choices)


def can_infer_option(answer: str, choices: Mapping[str, Any]) -> str:
    """The only letter of an option among the words, if it first occurs among the last four; `REFUSED` of a refusal.

    `A` counts where it is an article, too. Failing that, the letter after `answer is`. `UNDECIDED` otherwise.
    """
    if _FAILED_CALL in answer:
        return UNDECIDED
    if any(refusal in answer for refusal in _REFUSALS):
        return REFUSED
    words = answer.translate(_SEPARATORS).split()
    letters = [letter for letter in choices if letter in words]
    if len(letters) == 1 and words.index(letters[0]) >= len(words) - _LAST_WORDS:
        return letters[0]
    if not letters and REFUSED in words:
        return REFUSED
    said = _ANSWER_IS.search(answer)
    if said and said[1].upper() in choices:
        return said[1].upper()
    return UNDECIDED


def can_infer_text(answer: str, choices: Mapping[str, Any]) -> str:
    """The only option whose text is in the answer, unless that is twice as long as all options; else `UNDECIDED`."""
    answer = answer.lower()
    if len(answer) > 2 * sum(len(str(text)) for text in choices.values()):
        return UNDECIDED
    found = [letter for letter, text in choices.items() if str(text).lower() in answer]
    return found[0] if len(found) == 1 else UNDECIDED


def build_choices(row: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a row, from the columns `A` to `Z` that are not empty. Source: VLMEvalKit `build_choices`."""
    return {letter: row[letter] for letter in ascii_uppercase if row.get(letter) is not None}


def post_process_internvl(answer: str, choices: Mapping[str, str]) -> str:
    """The letter of an option, or the answer as it is, without spaces at its ends.

    A single character stays; an answer that begins with the letter of an option is that letter (`Apple` is `A`); else
    the first option whose text is in the answer. Nothing stays nothing, where the official code raises.

    Source: OpenGVLab/InternVL `eval/{mmbench,mmmu,mmvp,mmiu}/evaluate_*.py` `post_process`.
    """
    answer = answer.strip()
    if len(answer) < 2:
        return answer
    if answer[0] in choices:
        return answer[0]
    return next((letter for letter, text in choices.items() if text in answer), answer)


def post_process_scienceqa(answer: str, choices: Mapping[str, str]) -> str:
    """[`post_process_internvl`], and where no option was found, the character before a full stop or in brackets.

    A lone bracket with one character after it stays, where the official code raises.

    Source: OpenGVLab/InternVL `eval/scienceqa/evaluate_scienceqa.py`.
    """
    answer = answer.strip()
    found = post_process_internvl(answer, choices)
    if len(answer) < 2 or answer[0] in choices or any(text in answer for text in choices.values()):
        return found
    if answer[1] == ".":
        return answer[0]
    if answer[0] == "(" and answer[2:3] == ")":
        return answer[1]
    return answer


def first_letter(response: str, letters: str, prefixes: Sequence[str]) -> str:
    """The first of the letters anywhere in a response, once its beginnings are removed; else `UNDECIDED`."""
    found = re.search(f"[{letters}]", remove_all(response.strip(), prefixes))
    return found[0] if found else UNDECIDED


def extract_characters_regex(response: str) -> str:
    """The first capital letter of an option anywhere in a response, once usual beginnings are removed.

    `Cannot` is C. Without such a letter, the first option `(A)` to `(E)` that contains the whole response (nothing is
    A); else `UNDECIDED`.

    Source: open-compass/VLMEvalKit `vlmeval/dataset/utils/multiple_choice.py` (MME-RealWorld and others).
    """
    letter = first_letter(response, "ABCDE", ANSWER_PREFIXES)
    rest = remove_all(response.strip(), ANSWER_PREFIXES).lower()
    if letter or len(rest.split()) > 10:
        return letter
    return next((letter for letter in "ABCDE" if rest in f"({letter.lower()})"), UNDECIDED)


def remove_all(text: str, parts: Sequence[str]) -> str:
    """The text without any of the parts, removed in their order."""
    for part in parts:
        text = text.replace(part, "")
    return text


__all__ = [
    "ANSWER_PREFIXES",
    "REFUSED",
    "UNDECIDED",
    "build_choices",
    "can_infer",
    "can_infer_option",
    "can_infer_text",
    "extract_characters_regex",
    "first_letter",
    "post_process_internvl",
    "post_process_scienceqa",
    "remove_all",
]
