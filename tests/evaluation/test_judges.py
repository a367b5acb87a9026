# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which answers each judge is asked about, what it is told, and what its replies become."""

import json

import pytest

from tests.evaluation.test_judge import prompt_of, served
from transformers_internvl.evaluation.metrics import score_answers
from transformers_internvl.evaluation.metrics.dynamath import is_right, parse_answer
from transformers_internvl.evaluation.metrics.judged import mmhal_rating, wildvision_verdict
from transformers_internvl.evaluation.run import JUDGES, JudgeModel


def graded(metric, rows, folder, replies):
    """The rows as a judge graded them, what it was sent, and what that took."""
    with served(replies) as (url, bodies):
        rows, took = JudgeModel(url, "gpt", requests=1).judge(metric, rows, folder, quiet=True)
    return rows, bodies, took


def in_turn(*texts):
    return lambda number, _: texts[number]


def test_mathvision_extracts_where_no_rule_decides(tmp_path):
    row = {"question": "How many?", "answer": "3", "choices": "[]", "category": "counting"}
    rows = [{**row, "prediction": said} for said in ("3", "There are three.", "four")]
    found, bodies, _ = graded("mathvision", rows, tmp_path, in_turn("3", "4"))
    assert [row.get("extraction") for row in found] == [None, "3", "4"]
    assert prompt_of(bodies[0]).endswith("\nHow many?\nModel respone: There are three.Extracted answer:")
    assert prompt_of(bodies[0]).startswith("\nPlease read the following example.\nThen extract the answer")
    assert "max_tokens" not in bodies[0]
    assert score_answers("mathvision", found).overall == pytest.approx(200 / 3)


def test_mathverse_extracts_and_then_compares(tmp_path):
    row = {"question": "x", "question_for_eval": "Which number?", "answer": "3"}
    row |= {"problem_version": "Text Lite", "metadata": {"subject": "s", "subfield": "f"}}
    rows = [{**row, "prediction": said} for said in ("It is 3.", "three m", "four", "five")]
    replies = in_turn("3", "three", "1", "four", "yes", "0", "five", *["?"] * 5)
    found, bodies, took = graded("mathverse", rows, tmp_path, replies)
    assert [(row["extraction"], row.get("score")) for row in found] == [
        ("3", None), ("three", 1.0), ("four", 0.0), ("five", 0.0),
    ]  # fmt: skip
    assert prompt_of(bodies[0]).endswith("\n7.\nModel response: 'It is 3.'\nExtracted Answer: ")
    assert prompt_of(bodies[2]).endswith(
        "\n    [Question]: Which number?\n    [Standard Answer]: 3\n    [Model_answer] : three\n    Judgement:"
    )
    assert [body["temperature"] for body in bodies[3:6]] == [0, 0, 0.5]
    assert (took.asked, took.replies, took.unread) == (4, 12, 1)
    assert score_answers("mathverse", found).overall == 50
    again, bodies, _ = graded("mathverse", found, tmp_path, in_turn())
    assert not bodies and again[1] == found[1]


def test_mathvista_of_the_original_scripts(tmp_path):
    row = {"question": "Q", "query": "Hint. Q", "answer": "3", "question_type": "free_form", "answer_type": "integer"}
    row |= {"choices": None, "precision": None, "metadata": {}}
    rows = [{**row, "prediction": said} for said in ("3", "", "I see three.", "four")]
    found, bodies, _ = graded("mathvista_internvl", rows, tmp_path, in_turn("3", "", " 4 "))
    assert [row.get("extraction") for row in found] == [None, None, "3", "4"]
    assert prompt_of(bodies[0]).endswith("Extracted answer: B\n\nHint. Q\n\nI see three.\n\nExtracted answer: ")
    assert [(body["temperature"], body["max_tokens"]) for body in bodies] == [(0, 256)] * 3
    assert score_answers("mathvista_internvl", found).overall == 50


def test_charxiv_has_its_prompt_in_the_data(tmp_path):
    row = {"grading_query": "Grade {PREDICTION}!", "qid": 1, "inst_category": 4}
    replies = (
        '{"extracted_answer": "a", "score": 1}', "no JSON", '{"extracted_answer": "b", "score": 0.5}',
        "[]", '{"score": 1}', '{"extracted_answer": "c", "score": null}', *["{"] * 10,
    )  # fmt: skip
    rows = [{**row, "prediction": said} for said in "abcdef"]
    rows[1]["qid"] = 12
    found, bodies, took = graded("charxiv_descriptive", rows, tmp_path, in_turn(*replies))
    assert [row["score"] for row in found] == [1, 0.5, 0, 0, 0, 0]
    assert prompt_of(bodies[0]) == "Grade a!"
    assert {key: bodies[0][key] for key in ("seed", "top_p", "temperature", "max_tokens")} == {
        "seed": 42, "top_p": 1, "temperature": 0, "max_tokens": 256,
    }  # fmt: skip
    assert took.unread == 1
    scores = score_answers("charxiv_descriptive", found)
    assert (scores.overall, scores.table) == (25, {"Information Extraction": 20, "Counting": 50})
    assert score_answers("charxiv_reasoning", found).table == {"Number-in-General": 25}
    with pytest.raises(ValueError, match="`qid` must be one of .*got 20"):
        score_answers("charxiv_descriptive", [{**found[0], "qid": 20}])


def test_wildvision_is_shown_the_image(tmp_path):
    row = {"index": "1", "question": "Q?", "claude3_sonnet": "Claude's", "image": "aGk="}
    rows = [{**row, "prediction": said} for said in ("a", "b", "c", "d")]
    replies = in_turn("so [[B>A]]", "[[A>>B]] or [[A=B]]", "[[A>>B]]", "?", "??", "[[A=B]] [[A=B]]")
    found, bodies, _ = graded("wildvision", rows, tmp_path, replies)
    assert [row["score"] for row in found] == ["B>A", "A>>B", "Unknown", "A=B"]
    system, user = bodies[0]["messages"]
    assert system["content"].startswith("Please act as an impartial judge") and system["content"].endswith('[[A=B]]".')
    text, picture = user["content"]
    assert picture["image_url"] == {"url": "data:image/jpeg;base64,aGk=", "detail": "high"}
    assert text["text"] == (
        '"<|User Prompt|>\nQ?\n\n'
        "<|The Start of Assistant A's Answer|>\nClaude's\n<|The End of Assistant A's Answer|>\n\n"
        "<|The Start of Assistant B's Answer|>\na\n<|The End of Assistant B's Answer|>\n"
    )
    scores = score_answers("wildvision", found)
    assert scores.overall == 25
    assert scores.table == {
        "Much Better": 0, "Better": 1, "Tie": 2, "Worse": 0, "Much Worse": 1, "Reward": -12.5, "Win Rate": 25,
    }  # fmt: skip
    with pytest.raises(ValueError, match="Question 1: the judge sees the image.*'dog.jpg'"):
        graded("wildvision", [{**rows[0], "image": "dog.jpg"}], tmp_path / "path", in_turn())


@pytest.mark.parametrize(("reply", "verdict"), [("[[A>B]]", "A>B"), ("[[]] [[B>>A]]", "B>>A"), ("[A>B]", None)])
def test_verdicts(reply, verdict):
    assert wildvision_verdict(reply) == verdict


def test_mmhal_rates_from_0_to_6(tmp_path):
    row = {"question": "Q", "image_content": ["dog", "cat"], "gt_answer": "two"}
    rows = [{**row, "prediction": said} for said in "abc"]
    found, bodies, took = graded(
        "mmhal", rows, tmp_path, in_turn("- Rating: 6, good", "rating: 1 or Rating: 2", "Rating: 3")
    )
    assert [row["score"] for row in found] == [6, 0, 3] and took.unread == 1
    told = "### Image Contents\ndog, cat\n\n### Question\nQ\n\n### Standard Human-Generated Answer\ntwo\n\n"
    assert prompt_of(bodies[0]).endswith(f"{told}### LMM Response to Evaluate\na\n")
    scores = score_answers("mmhal", found * 3)
    assert scores.overall == 3
    assert scores.table["hallucination_rate"] == pytest.approx(1 / 3)
    assert scores.table["types"]["0"] == 4.5  # the first and the ninth: 6 and 3
    assert mmhal_rating("RATING: 5") == 5 and mmhal_rating("rating: 7") is None


@pytest.mark.parametrize(
    ("kind", "answer", "said", "right"),
    [
        ("float", "0.5", '```{"solution": "x", "short answer": "0.5005"}```', True),
        ("float", "0.5", '{"short answer": "0.502"}', False),
        ("float", "6.283", '{"short answer": "2\u03c0 rad"}', True),
        ("float", "12", "12", True),
        ("float", "3", "\u00b3", False),
        ("float", "3", '{"short answer": 3}', False),  # no text
        ("multiple choice", "B", '{"short answer": "b"}', True),
        ("multiple choice", "B", '{"short answer": "(B)"}', True),
        ("multiple choice", "B", '{"short answer": "A or B"}', False),
        ("multiple choice", "B", "B. a cat", True),  # the letter among the first three
        ("multiple choice", "B", "or B, a cat", False),
        ("multiple choice", "B", "\\text{B}", True),
        ("free-form", "A dog runs", '{"short answer": "Dog"}', True),
        ("free-form", "A dog runs", "cats", False),
    ],
)
def test_dynamath_by_rule(kind, answer, said, right):
    assert is_right({"answer_type": kind, "answer": answer, "prediction": said}) is right


def test_dynamath_with_a_judge(tmp_path):
    row = {"answer": "0.5", "answer_type": "float", "subject": "algebra", "knowledge_level": "high", "qid": 1}
    rows = [{**row, "prediction": said} for said in ('{"short answer": "0.5"}', "It is one half.", "Unclear", "0.5")]
    rows[3] |= {"qid": 2, "subject": "graphs"}
    found, bodies, _ = graded("dynamath", rows, tmp_path, in_turn("0.500", "0.7"))
    assert prompt_of(bodies[0]) == (
        "Free-form answer: It is one half.\nInstruction: Output a three-digit floating-point number in a single line."
    )
    assert bodies[0]["messages"][0]["content"].endswith("according to the instruction.\n")
    scores = score_answers("dynamath", found)
    assert (scores.overall, scores.samples) == (75, (1, 1, 0, 1))
    assert scores.table["worst case"] == {"overall": 50, "algebra": 0, "graphs": 100, "high": 50}
    assert scores.table["average"]["algebra"] == pytest.approx(200 / 3)
    assert score_answers("dynamath", rows).overall == 50
    assert parse_answer("C", "multiple choice") == "C" and parse_answer("x", "float") is None


def test_logicvista_extracts_letters(tmp_path):
    row = {"question": "Which?", "answer": "B, D", "skill": "inductive"}
    rows = [{**row, "prediction": said} for said in ("b and d", "none")]
    found, bodies, took = graded("logicvista", rows, tmp_path, in_turn("B and D", "DB\n", *["?"] * 5))
    assert [row["extraction"] for row in found] == ["DB", ""] and took.unread == 1
    assert prompt_of(bodies[0]).endswith(
        "Example 5: \nQuestion: <start>\nWhich?\n<end>\nAnswer: <start>\nb and d\n<end>\nYour output: "
    )
    assert prompt_of(bodies[0]).startswith("You are a information extractor that extracts multiple choice letter")
    assert [(body["temperature"], body["max_tokens"]) for body in bodies[:3]] == [(0, 128), (0.5, 128), (0, 128)]
    assert score_answers("logicvista", found).overall == 50


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1, "The first component is: 'a'. |The first component is worth: 4 scores. List"),
        (
            2,
            "The first component is: 'a', and the second component is 'b'. |"
            "The first and second component is each worth 4 and 6 scores. List",
        ),
        (
            3,
            "The first component is: 'a', and the second component is 'b', and the third component is 'c'. |"
            "The first, second, and third component is each worth 4, 6, and 1 scores.List",
        ),
    ],
)
def test_mia_bench_is_told_components_and_sees_the_image(tmp_path, count, told):
    row = {"index": "1", "question": "Describe.", "prediction": "A dog.", "image": "aGk=", "num_of_component": count}
    row |= {"components": "['a', 'b', 'c']", "component_weight": "[4, 6, 1]", "component_type": "['x', 'y', 'z']"}
    found, bodies, _ = graded("mia_bench", [row], tmp_path, in_turn(" score of component 1: 1/4, total score: 4/10. "))
    text, picture = prompt_of(bodies[0])
    components, worth = told.split("|")
    assert text["text"].startswith("Here is an instruction for a multimodal LLM: 'Describe.'. You need to grade if")
    assert f"component of the instruction. {components}The response is: 'A dog.'. You need" in text["text"]
    assert f"follows the instruction. {worth} scores of each component" in text["text"]
    assert text["text"].endswith("total score: z/10. Then explain your reasons.")
    assert picture["image_url"] == {"url": "data:image/jpeg;base64,aGk=", "detail": "low"}
    assert found[0]["score_raw"] == "score of component 1: 1/4, total score: 4/10."
    assert score_answers("mia_bench", found).table == {"x": 25, "total_score": 40}
    with pytest.raises(ValueError, match="Question 1: expected 1 to 5 components.*got 4 with 3 components"):
        graded("mia_bench", [{**row, "num_of_component": 4}], tmp_path / "many", in_turn())


def test_prompts_of_a_judge_are_whole():
    from importlib.resources import files

    texts = json.loads(files("transformers_internvl.evaluation.run").joinpath("judge_prompts.json").read_bytes())
    assert {
        "mathvision",
        "mathverse_extraction",
        "mathverse_score",
        "wildvision",
        "mmhal",
        "mathvista_internvl",
    } <= set(texts)
    assert "\n".join(texts["mmhal"]).count("{}") == 4
    assert all(judge.source and judge.unread for judge in JUDGES.values())
