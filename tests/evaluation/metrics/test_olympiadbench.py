# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""OlympiadBench: pairs of answers, by hand after the rules of both official scorers."""

import threading
import time

import pytest

from transformers_internvl.evaluation.metrics import score_answers
from transformers_internvl.evaluation.metrics.correctness import latex_score
from transformers_internvl.evaluation.metrics.formulas import can_be_computed, parse_formula, time_limit
from transformers_internvl.evaluation.metrics.olympiadbench import final_answer, is_equal_answer

BOTH, AUTHORS, NEITHER = (True, True), (True, False), (False, False)


@pytest.mark.parametrize(
    ("prediction", "answer", "equal"),
    [
        ("\\boxed{3}", "3", BOTH),
        ("So $x$, and\nthen $3$", "3", BOTH),  # the last line
        ("\\boxed{1} or \\boxed{2}", "2, 1", BOTH),
        ("\\boxed{1", "1", NEITHER),  # not closed
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}", BOTH),
        ("0.5", "50%", BOTH),  # hundredfold
        ("50", "0.5", BOTH),
        ("0.5", "5", NEITHER),
        ("1000", "1000.00000001", BOTH),  # 1e-8, with a little on top
        ("1000", "1000.0000001", NEITHER),
        ("1/2", "0.5", AUTHORS),
        ("\\frac{1}{2}", "\\frac{2}{4}", AUTHORS),
        ("(x+1)^2", "x^2+2x+1", AUTHORS),
        ("x+1", "x + 1", BOTH),  # the same parse tree
        ("x", "2", NEITHER),
        ("y=3", "3", BOTH),
        ("x+y=1", "2x+2y=2", BOTH),
        ("x+y=1", "x+2y=2", NEITHER),
        ("x=x+1", "x=1+x", NEITHER),  # never true
        ("x=x", "2x=2x", NEITHER),  # always
        ("y=3", "x=3", NEITHER),  # not the right sides alone where both are equations
        ("(0, 1]", "(0,1]", BOTH),
        ("(0, 1]", "(0, 1)", NEITHER),
        ("[0,\\frac{1}{2})\\cup(2,3)", "[0,0.5)\\cup(2,3)", AUTHORS),
        ("x \\in (0,1)", "(0,1)", BOTH),
        ("2 \\pm 1", "1, 3", AUTHORS),
        ("\\pi", "3.14159265", AUTHORS),
        ("90^\\circ", "90", BOTH),
        ("5 \\mathrm{~m}", "5 m", BOTH),
        ("能", "不能", BOTH),  # Chinese is dropped on both sides
        ("3，4", "4,3", BOTH),
        ("1, 1, 2", "1, 2, 2", NEITHER),
        ("", "", BOTH),
        ("no", "3", NEITHER),
        ("10^{10^{10^{10}}}", "10^{10}", NEITHER),
        ("1+10^{10^{10^{10}}}", "2", NEITHER),
        ("10000000!", "2", NEITHER),
    ],
)
def test_pairs(prediction, answer, equal):
    assert (is_equal_answer(prediction, answer), is_equal_answer(prediction, answer, kit=True)) == equal


def test_precisions():
    assert is_equal_answer("3.1", "3.2", 0.1) and not is_equal_answer("3.1", "3.3", 0.1)
    assert is_equal_answer("\\frac{31}{10}", "3.2", 0.1)
    assert is_equal_answer("1.1, 5", "1, 5", [0.1, 1e-8]) and not is_equal_answer("1, 5.1", "1, 5", [0.1, 1e-8])
    assert is_equal_answer("1.1, 5.1", "1, 5", [0.1])
    assert not is_equal_answer("1, 2, 4", "2, 1, 5", [0.1, 0.1])  # fewer than answers


def test_the_last_statement_counts():
    text = "So the final answer is 1. No. So the final answer is $2$.\nSo the final answer is $3$.\nDone."
    assert final_answer(text, False) == "$3$." and final_answer("2", False) == "2"
    assert final_answer("所以最终答案是\\boxed{3}。", True) == "\\boxed{3}。"
    assert final_answer("So the final answer is 3", True) == "So the final answer is 3"


def rows(*cells, **more):
    names = ("prediction", "final_answer", "source", "error")
    return [{"answer_type": "Numerical", **dict(zip(names, row, strict=True)), **more} for row in cells]


def test_scores_of_a_set():
    given = rows(
        ("\\boxed{1/2}", "['0.5']", "OE_MM_maths_en_COMP", None),
        ("\\boxed{2.1}", "['2']", "OE_MM_maths_zh_CEE", "0.1"),
        ("\\boxed{2.1, 1}", "['2, 1']", "OE_TO_physics_zh_CEE", "0.1,"),
        ("\\boxed{7}", "['7']", "TP_MM_maths_en_COMP", None),  # no source that is scored
    )
    scores = score_answers("olympiadbench", given)
    assert scores.samples == (1, 1, 1, 1) and scores.overall == 75
    kit = score_answers("olympiadbench_vlmevalkit", given)
    assert kit.samples == (0, 1, 1, 1) and kit.overall == 50
    assert kit.table == {
        "OE_MM_maths_en_COMP": 0, "OE_MM_maths_zh_CEE": 100, "OE_TO_physics_zh_CEE": 100,
        "zh_maths": 100, "zh_physics": 100, "en_maths": 0, "maths": 50, "physics": 100, "AVG": 50,
    }  # fmt: skip
    exact = rows(("\\boxed{2.1}", ["2"], "OE_MM_maths_zh_CEE", "0.1"), answer_type="Tuple")
    assert score_answers("olympiadbench", exact).overall == 0  # tuples have no precision of their own
    with pytest.raises(ValueError, match="`error` must be a number.*'about'"):
        score_answers("olympiadbench", rows(("1", "['1']", "OE_MM_maths_zh_CEE", "about")))


def test_formulas_are_read_with_any_antlr():
    assert latex_score("\\frac{1}{2}", "\\frac{2}{4}") and not latex_score("\\frac{1}{2}", "\\frac{1}{4}")
    assert not can_be_computed(parse_formula("1 + 2^{1001}")) and can_be_computed(parse_formula("1 + 2^{1000}"))
    assert not can_be_computed(parse_formula("3 + 1001!")) and can_be_computed(parse_formula("x^{y}"))


def test_a_formula_may_not_take_for_ever():
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="more than 1 seconds"), time_limit(0.05):
        while time.monotonic() < begun + 5:
            pass
    assert time.monotonic() < begun + 4
    reached = []

    def elsewhere():
        with time_limit(0.001):
            reached.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert reached == [True]
