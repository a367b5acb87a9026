# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""LogicVista, MIA-Bench and ERQA: values worked out by hand from the rules of the official code."""

import pytest

from transformers_internvl.evaluation.metrics import score_answers
from transformers_internvl.evaluation.metrics.graded_sets import listed_texts, logicvista_is_right, mia_scores


@pytest.mark.parametrize(
    ("answer", "letters", "right"),
    [
        ("A", "A", True),
        ("B, D", "DB", True),  # any order
        ("B, D", "B", False),
        ("A", "AA", False),  # each letter as often as it stands there
        ("A", "a", False),
        ("A", "A.", False),
        ("A", "", False),
        ("B,D", "BD", False),  # only a comma and a blank separate letters
    ],
)
def test_letters_of_logicvista(answer, letters, right):
    assert logicvista_is_right({"answer": answer, "extraction": letters}) is right


def test_skills_of_logicvista_overlap():
    skills = ("inductive", "inductive, spatial", "numerical", "spatial")
    rows = [
        {"answer": "A", "skill": skill, "extraction": said, "prediction": ""}
        for skill, said in zip(skills, "ABAB", strict=True)
    ]
    scores = score_answers("logicvista", rows)
    assert scores.overall == 50 and scores.samples == (1, 0, 1, 0)
    assert scores.table == {
        "Overall": 50, "inductive": 50, "deductive": None, "numerical": 100, "spatial": 0, "mechanical": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ("score of component 1: 2/2, score of component 2: 6/8, total score: 8/10. Since", (1.0, 0.75, 0.8)),
        ("score of component 1: 1/2, total score: 5/10", (0.5, None, 0.5)),
        ("a: 1/2, b: 3/4/5, c: 7/10", (0.5, 0.75, 0.7)),  # what follows a second slash is not read
        ("score of component 1: 1.5/2, total score: 8/10", None),  # the sentence ends at the point
        ("total score: 8/10.", None),
        ("score of component 1:2/2, total score: 8/10.", None),  # a character behind the colon is dropped
        ("score of component 1: 0/0, total score: 8/10.", None),
        ("a: 1/2, b: 1/2, c: 1/2, d: 1/2", None),  # more components than types
        ("score of component 1: 2/2, total score: eight/10.", None),
        ("", None),
    ],
)
def test_replies_of_mia_bench(reply, scores):
    found = mia_scores(reply, ["ocr", "tone"])
    if scores is None:
        assert found is None
    else:
        ocr, tone, total = scores
        assert found == {"ocr": ocr, **({} if tone is None else {"tone": tone}), "total_score": total}


def test_mia_bench_leaves_out_what_it_cannot_read():
    replies = ("a: 2/2, b: 1/4, total: 4/10.", "a: 1/2, total: 8/10.", "Well")
    rows = [{"component_type": "['ocr', 'tone']", "score_raw": text, "prediction": ""} for text in replies]
    scores = score_answers("mia_bench", rows)
    assert scores.overall == pytest.approx(60) and scores.samples == (0.4, 0.8, None)
    assert scores.table == pytest.approx({"ocr": 75, "tone": 25, "total_score": 60})
    alike = [{**rows[0], "component_type": ["ocr", "ocr"]}]
    assert score_answers("mia_bench", alike).table == pytest.approx({"ocr": 25, "total_score": 40})  # the last counts
    assert score_answers("mia_bench", rows[2:]).overall is None


def test_lists_in_cells():
    assert listed_texts("['a', 2]") == ["a", 2] and listed_texts(("a",)) == ["a"]
    for cell in ("'a'", "[a]", "3"):
        with pytest.raises(ValueError, match="expected a list, got"):
            listed_texts(cell)


def test_both_scorers_of_erqa():
    said = ("A", " a. ", "A. The left one", "B", "N/A")
    rows = [{"answer": "A", "category": kind, "prediction": text} for kind, text in zip("yxxyy", said, strict=True)]
    authors = score_answers("erqa", rows)
    assert authors.samples == (1, 1, 0, 0, 0) and authors.overall == 40 and authors.table == {}
    kit = score_answers("erqa_vlmevalkit", rows)
    assert kit.samples == (1, 0, 0, 0, 0)
    assert kit.table == pytest.approx({"Overall": 20, "x": 0, "y": 100 / 3}) and list(kit.table)[1:] == ["x", "y"]
    assert score_answers("erqa_vlmevalkit", [{"answer": "nan", "prediction": "N/A"}]).table["Unknown"] == 100
