# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The heuristic rules find what is planted, and spare ordinary texts."""

import base64
import random

import pytest

from transformers_internvl.curation.heuristics import (
    HeuristicRules,
    RepetitionRules,
    duplicate_lines,
    first_finding,
    length,
    loop,
    repeated_ngrams,
    repeated_words,
    senseless_lines,
    sentence_length,
    timestamps,
    words_of,
    zero_run,
)

from .corpus import ENGLISH, FAULTS, KOREAN, answer, spoiled

CODE = """def area(shapes):
    total = 0
    for shape in shapes:
        if shape.kind == "circle":
            total += 3.14159 * shape.radius ** 2
        else:
            total += shape.width * shape.height
    return total
"""
TABLE = "| year | price | tax |\n|------|-------|-----|\n" + "".join(
    f"| {1990 + n} | {n * 37 % 91}.50 | {n * 11 % 17}.25 |\n" for n in range(12)
)
FORMULAS = r"""We solve $x^2 - 5x + 6 = 0$. The discriminant is
\[ D = (-5)^2 - 4 \cdot 1 \cdot 6 = 25 - 24 = 1, \]
so that $x_{1,2} = \frac{5 \pm \sqrt{1}}{2}$, that is $x_1 = 3$ and $x_2 = 2$. \boxed{2, 3}"""
BOXES = "<ref>the cat</ref><box>[[100, 200, 300, 400], [0, 0, 1000, 1000]]</box> sits on <ref>a mat</ref>."
MENU = "\n".join(f"{n}. Click on **{word}** and confirm." for n, word in enumerate(["File", "Edit", "View", "Help"]))
LINK = "See https://example.org/a/very/long/path/with-Many-Parts/0123456789abcdef/AbCdEf0123456789.html for more."
CHINESE = "长城始建于春秋战国时期，历史长达两千多年。今天所指的长城多指明代修筑的长城，它是世界文化遗产之一。"
FINE = [
    CODE,
    TABLE,
    FORMULAS,
    BOXES,
    MENU,
    LINK,
    CHINESE,
    "A",
    "$1,000,000,000.00",
    "The train leaves at 7:30 and 8:15.",
]


def rules():
    return [*HeuristicRules().answer_rules(), *RepetitionRules().rules()]


@pytest.mark.parametrize("text", FINE)
def test_ordinary_texts_pass(text):
    assert first_finding(text, rules()) is None


@pytest.mark.parametrize("words", [ENGLISH, KOREAN], ids=["English", "Korean"])
def test_answers_pass(words):
    draw = random.Random(3)
    found = [first_finding(answer(words, draw, sentences=draw.randint(1, 25)), rules()) for _ in range(200)]
    assert [finding for finding in found if finding is not None] == []


REASONS = {
    "loop": ("loop", "sentence length"),
    "zero run": ("zero run",),
    "timestamps": ("timestamps",),
    "senseless": ("lines without sense",),
    "duplicate lines": ("duplicate lines",),
}


@pytest.mark.parametrize("words", [ENGLISH, KOREAN], ids=["English", "Korean"])
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault in REASONS])
def test_planted_faults_are_found(fault, words):
    draw = random.Random(fault)
    for _ in range(25):
        text = spoiled(fault, answer(words, draw), words, draw)
        found = first_finding(text, rules())
        assert found is not None and found.reason in REASONS[fault], text


def test_length():
    assert length("  ab ", 2, 5) is None and length("abcde", 2, 5) is None
    assert length(" a ", 2, 5).detail == "1 characters, expected 2 to 5"
    assert length("abcdef", 2, 5).reason == "length"


def test_sentence_length():
    assert sentence_length("word " * 20 + ". " + "word " * 20, 101) is None
    assert sentence_length("word\n" * 100, 101) is None
    assert sentence_length("version 3.5 of it" * 10, 101).detail.startswith("170 characters without an end")
    assert sentence_length("short. " + "x" * 102, 101).reason == "sentence length"
    assert sentence_length("汉" * 90 + "。" + "字" * 90, 100) is None


@pytest.mark.parametrize(("text", "zeros"), [("0" * 7, 7), ("1" + "0" * 7 + "1", 7), ("0, 0.0 00,0 0", 7)])
def test_zero_runs(text, zeros):
    assert zero_run(text, zeros) is None
    assert zero_run(text, zeros - 1).detail == f"{zeros} zeros in a row, over {zeros - 1}"
    assert zero_run("1 0 2 0 3 0 4 0", 1) is None


def test_timestamps():
    subtitles = "\n".join(f"[00:{n:02d}] some words are said" for n in range(8))
    assert timestamps(subtitles, 8, 12).detail == "8 times of day, such as 00:00"
    assert timestamps(subtitles, 9, 12) is None
    assert timestamps(subtitles, 8, 4) is None
    assert timestamps("2024-01-05T10:20:30.123 started\n" * 8, 8, 12).reason == "timestamps"
    assert timestamps("verse 12:7 and odds of 5:1, " * 9, 8, 12) is None


def test_duplicate_lines():
    lines = ["this is a line", *(f"another line {n}" for n in range(6)), "this is a line"]
    assert duplicate_lines("\n".join(lines), 8, 0.2) is None
    assert duplicate_lines("\n".join([*lines, "this is a line"]), 8, 0.2).detail.startswith("2 of 9 lines are copies")
    assert duplicate_lines("\n".join(["|-----|-----|"] * 20 + ["}"] * 20), 8, 0.2) is None  # rules, short lines


def test_lines_without_sense():
    good = "A sentence that is as long as the other one.\n"
    assert senseless_lines(good * 3, 0.3) is None
    assert senseless_lines(good + "\ufffd\ufffd\ufffd" * 8, 0.3).detail.startswith("1 of 2 lines")
    assert senseless_lines(good * 9 + "\ufffd\ufffd\ufffd" * 8, 0.3) is None
    assert senseless_lines("}{][)(*&^%$#@!~;:<>.,;", 0.3).reason == "lines without sense"
    encoded = base64.b64encode(random.Random(0).randbytes(90)).decode()
    assert senseless_lines(encoded, 0.3) is not None and senseless_lines(f"https://example.org/{encoded}", 0.3) is None
    jpeg = "/9j/" + base64.b64encode(random.Random(1).randbytes(90)).decode()
    assert senseless_lines(jpeg, 0.3) is not None
    assert senseless_lines("/usr/lib/Python3/Site-Packages/Module2/Data5/Part7/File9.txt", 0.3) is None
    assert senseless_lines("pneumonoultramicroscopicsilicovolcanoconiosis", 0.3) is None


@pytest.mark.parametrize("piece", ["ha", "the same words ", "哈哈你好", "1, ", LINK])
def test_loops(piece):
    times = max(8, 40 // len(piece) + 1)
    assert loop(f"Some text. {piece * times} more", 8).reason == "loop"
    assert loop(f"Some text. {piece * 7}", 8) is None
    assert loop(f"Some text. {piece * times}", times + 1) is None


def test_loops_of_signs_are_lines():
    assert loop("-" * 500 + "\n" + "=+" * 300, 8) is None
    assert loop("", 8) is None and loop("ab", 8) is None


def test_repeated_words():
    assert words_of("The Cat's 长城 한국어 3.5") == ["the", "cat", "'", "s", "长", "城", "한국어", "3", ".", "5"]
    text = " ".join(f"w{n}" for n in range(50))
    assert repeated_words(text, 8, 40, 0.4) is None
    assert repeated_words(f"{text} {text}", 8, 40, 0.4).detail == "50% of 100 words came before"
    assert repeated_words(f"{text} {text}", 8, 101, 0.4) is None


def test_repeated_ngrams_are_those_of_the_original_code():
    text = " ".join(f"w{n}" for n in range(40))
    assert repeated_ngrams(f"{text} {text}", 10, 0.4).detail == "ratio 0.44 of 10-grams"
    assert repeated_ngrams(text, 10, 0.4) is None
