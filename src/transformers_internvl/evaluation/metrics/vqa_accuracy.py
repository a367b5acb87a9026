# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""VQA accuracy (VQAv2, OKVQA, TextVQA, VizWiz, ST-VQA): agreement with several human answers, both sides normalised.

The normaliser of the VQA challenge drops articles and punctuation, spells numbers as digits and repairs contractions.
The scripts of InternVL and of VLMEvalKit differ in it, and both keep two slips of their models: only the first 32 full
stops are removed, and punctuation is judged on the text as it came.
"""

import re
from collections.abc import Sequence

from .metric import Row, Scores, percent
from .reading import accepted_answers

ANNOTATORS = 10
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_ARTICLES = frozenset(["a", "an", "the"])
_STOPS = 32  # re.UNICODE stands where the number of replacements belongs
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(digit) for digit, word in enumerate(_NUMBERS)} | {"none": "0"}
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
    he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've
    needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
    somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll
    that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've
    weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've
    why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
    you've
"""


def _contractions() -> dict[str, str]:
    """From each contraction that lacks one apostrophe to the whole one."""
    repaired = {"somebody'd": "somebodyd"}
    for word in _CONTRACTED.split():
        for place, sign in enumerate(word):
            if sign == "'":
                repaired[word[:place] + word[place + 1 :]] = word
    return repaired


_CONTRACTIONS = _contractions()


def normalise_evalai(text: str) -> str:
    """Normalise as InternVL's `EvalAIAnswerProcessor`: commas, question marks and every stop before no digit go first.

    Source: OpenGVLab/InternVL `eval/vqa/textvqa_eval.py`, after mmf's processor.
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    return words_as_digits(drop_punctuation(text, r"(?<=\d),+(?=\d)", r"\.(?!\d)"))


def normalise_vlmevalkit(text: str) -> str:
    """Normalise as VLMEvalKit's `process_answer`: a stop beside a digit stays.

    Source: open-compass/VLMEvalKit `vlmeval/dataset/utils/vqa_eval.py`, `vlmeval/smp/misc.py`.
    """
    text = text.replace("\n", " ").replace("\t", " ").strip()
    return words_as_digits(drop_punctuation(text, r"\d,\d", r"(?<!\d)\.(?!\d)"))


def normalise_tiny_lvlm(text: str) -> str:
    """Normalise as `VQAEval` of Tiny LVLM (OpenGVLab/InternVL `eval/tiny_lvlm/tools.py`)."""
    text = text.replace("\n", " ").replace("\t", " ").strip()
    return words_as_digits(drop_punctuation(text, r"\d,\d", r"\.(?!\d)"))


def drop_punctuation(text: str, comma: str = r"\d,\d", stop: str = r"(?<!\d)\.(?!\d)") -> str:
    """Remove punctuation beside a space, or all where `comma` matches the text; elsewhere a space takes its place.

    Args:
        comma: pattern of a comma between digits.
        stop: pattern of the full stops that go. The first 32 do.
    """
    joined = re.search(comma, text) is not None
    result = text
    for sign in _PUNCTUATION:
        beside_a_space = sign + " " in text or " " + sign in text
        result = result.replace(sign, "" if joined or beside_a_space else " ")
    return re.sub(stop, "", result, count=_STOPS)


def words_as_digits(text: str) -> str:
    """Lower case, words of numbers as digits, no articles, contractions with all their apostrophes."""
    words = (_DIGITS.get(word, word) for word in text.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(answers: Sequence[str], prediction: str) -> float:
    """Mean over the annotators left out of min(1, others who agree / 3). All texts are normalised already.

    Raises:
        ValueError: there is no answer.
    """
    if not answers:
        raise ValueError(f"VQA accuracy needs the answers of annotators for the prediction {prediction!r}, got none.")
    return sum(left_out_accuracies(answers, prediction)) / len(answers)


def left_out_accuracies(answers: Sequence[str], prediction: str) -> list[float]:
    """For each annotator, min(1, others who gave the prediction / 3)."""
    agree = sum(answer == prediction for answer in answers)
    return [min(1.0, (agree - (answer == prediction)) / 3) for answer in answers]


def textvqa_accuracy(answers: Sequence[str], prediction: str) -> float:
    """VQA accuracy as InternVL's `TextVQAAccuracyEvaluator`, which wants exactly ten answers.

    Raises:
        ValueError: there are not ten answers; the official code fails there, too.
    """
    if len(answers) != ANNOTATORS:
        raise ValueError(
            f"TextVQA accuracy needs the answers of {ANNOTATORS} annotators, got {len(answers)}; "
            "`vqa_accuracy_vlmevalkit` takes any number."
        )
    return vqa_accuracy([normalise_evalai(answer) for answer in answers], normalise_evalai(prediction))


def vqa_accuracy_vlmevalkit(answers: Sequence[str], prediction: str) -> float:
    """VQA accuracy as VLMEvalKit's `process_line` of TextVQA and VizWiz, of any number of answers."""
    return vqa_accuracy([normalise_vlmevalkit(answer) for answer in answers], normalise_vlmevalkit(prediction))


def stvqa_accuracy(answers: Sequence[str], prediction: str) -> float:
    """1 where the prediction is one of the answers, else 0. Source: InternVL `STVQAAccuracyEvaluator`."""
    return float(normalise_evalai(prediction) in [normalise_evalai(answer) for answer in answers])


def score_textvqa(rows: Sequence[Row]) -> Scores:
    """Mean of [`textvqa_accuracy`] in percent."""
    scores = [textvqa_accuracy(accepted_answers(row), row["prediction"]) for row in rows]
    return Scores(percent(scores), samples=tuple(scores))


def score_stvqa(rows: Sequence[Row]) -> Scores:
    """Mean of [`stvqa_accuracy`] in percent."""
    scores = [stvqa_accuracy(accepted_answers(row), row["prediction"]) for row in rows]
    return Scores(percent(scores), samples=tuple(scores))


__all__ = [
    "ANNOTATORS",
    "drop_punctuation",
    "left_out_accuracies",
    "normalise_evalai",
    "normalise_tiny_lvlm",
    "normalise_vlmevalkit",
    "score_stvqa",
    "score_textvqa",
    "stvqa_accuracy",
    "textvqa_accuracy",
    "vqa_accuracy",
    "vqa_accuracy_vlmevalkit",
    "words_as_digits",
]
