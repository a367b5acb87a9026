# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Preference pairs: by hand with a model that is played, and by the embedded one up to a step of MPO."""

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.training.drawn import short
from transformers_internvl.cli import main
from transformers_internvl.evaluation.benchmarks.asking import Asked
from transformers_internvl.evaluation.prompts.requests import ChatRequest
from transformers_internvl.evaluation.prompts.vlmevalkit import COT_MPO
from transformers_internvl.evaluation.run.answering import Reply
from transformers_internvl.evaluation.run.answers import read_answers
from transformers_internvl.evaluation.run.endpoint import EndpointModel
from transformers_internvl.evaluation.run.jobs import jobs_of
from transformers_internvl.nano import nano_path
from transformers_internvl.training.data.questions import Questions
from transformers_internvl.training.data.records import DataSet, JsonlRows, SkipPolicy
from transformers_internvl.training.preferences import PairSettings, build_pairs, first_half, pairable
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.run import prepare


class Played:
    """A model that answers by a function of what it is asked, and remembers it; question `fails_at` fails."""

    name, batch_size = "played", 2

    def __init__(self, says, fails_at: int = -1):
        self.says, self.fails_at, self.asked = says, fails_at, []

    def answer(self, batches, prepare):
        for batch in batches:
            replies = []
            for job in batch:
                asked = prepare(job)
                self.asked.append((job.index, job.sample, asked))
                if len(self.asked) == self.fails_at:
                    raise OSError("the server is gone")
                replies.append((job, Reply(self.says(job, asked), 3)))
            yield replies


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    rows = [
        {"image": "a.png", "question": "<image>\nHow many?", "answer": 3},
        {"image": ["a.png", "a.png"], "question": "<image>\n<image>\nWhich?", "answer": "B",
         "system_prompt": "Be brief."},
        {"image": "a.png", "question": "What color?", "answer": "red"},
    ]  # fmt: skip
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def questions(folder, method="correctness", **options):
    rows = JsonlRows(folder / "q.jsonl", str(folder))
    return Questions([DataSet("q", rows)], check=pairable(method), **options)


def pairs(folder):
    return [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]


def counting(job, asked):
    """3, 4, 5, ... for the first question; right for the second; wrong for the third."""
    return {"0": f"Answer: {3 + job.sample}", "1": "(B)", "2": "blue"}[job.index]


def test_right_answers_are_chosen_and_wrong_ones_rejected(folder):
    settings = PairSettings("correctness", samples=6, pairs=4, max_tiles=2)
    report = build_pairs(questions(folder), Played(counting), folder / "out", settings, quiet=True)
    assert (report.questions, report.answers, report.pairs, report.without_pairs) == (3, 18, 4, 2)
    assert report.right == pytest.approx(7 / 18) and report.path == folder / "out" / "pairs.jsonl"
    found = pairs(folder / "out")
    assert {row["chosen"] for row in found} == {"Answer: 3"}
    assert len({row["rejected"] for row in found}) == 4 and all(row["answer_gt"] == 3 for row in found)
    assert {(row["image"], row["question"]) for row in found} == {(str(folder / "a.png"), "<image>\nHow many?")}
    again = Played(counting)
    build_pairs(questions(folder), again, folder / "out", settings, quiet=True)
    assert not again.asked and pairs(folder / "out") == found
    with pytest.raises(ValueError, match="temperature was 1.0 and is 2.0"):
        build_pairs(questions(folder), again, folder / "out", PairSettings("correctness", 6, temperature=2.0))


def test_with_reasons_an_answer_of_another_form_is_wrong(folder):
    said = [
        "Three of them.\nSo:\nFinal answer: 3",
        "3",
        "One, two.\nSo:\nFinal answer: **3**",
        "It is\n\nFinal answer: 2",
    ]
    answerer = Played(lambda job, asked: said[job.sample] if job.index == "0" else "no")
    settings = PairSettings("correctness", samples=4, cot=True)
    build_pairs(questions(folder), answerer, folder / "out", settings, quiet=True)
    found = pairs(folder / "out")
    assert {row["chosen"] for row in found} == {said[0], "One, two.\nSo:\nFinal answer: 3"}  # asterisks are dropped
    assert {row["rejected"] for row in found} == {said[1], said[3]} and len(found) == 4
    assert all(row["question"] == f"<image>\n{COT_MPO}How many?" for row in found)
    request = answerer.asked[0][2].request
    assert request.question == f"<image>\n{COT_MPO}How many?" and request.generation["temperature"] == 1.0


def test_half_an_answer_is_continued_without_the_image(folder):
    def says(job, asked):
        return " a blind guess" if asked.prefix else "a red square on white ground"

    answerer = Played(says)
    settings = PairSettings("dropout", samples=1)
    report = build_pairs(questions(folder, "dropout"), answerer, folder / "out", settings, quiet=True)
    assert (report.answers, report.pairs, report.right) == (6, 3, None)
    first, second, _ = pairs(folder / "out")
    assert first["chosen"] == "a red square on white ground"
    assert first["rejected"] == "a red square on a blind guess"
    assert second["image"] == [str(folder / "a.png")] * 2 and second["system_prompt"] == "Be brief."
    continued = [asked for index, _, asked in answerer.asked if "/" in index]
    assert [(each.request.question, each.images, each.prefix) for each in continued][1] == (
        "Which?",
        [],
        "a red square on",
    )
    assert continued[1].request.system_message == "Be brief." and not continued[1].request.images
    assert len(answerer.asked[1][2].images) == 2


@pytest.mark.parametrize("method", ["correctness", "dropout"])
def test_a_run_that_fails_goes_on_and_asks_nothing_twice(folder, method):
    settings = PairSettings(method, samples=3)
    says = lambda job, asked: f"Answer: {job.sample} of\n{job.index} and more"  # noqa: E731
    whole = Played(says)
    build_pairs(questions(folder, method), whole, folder / "whole", settings, quiet=True)
    for attempt in range(12):
        kept = read_answers(folder / "out").keys()
        answerer = Played(says, fails_at=4 if attempt < 11 else -1)
        try:
            build_pairs(questions(folder, method), answerer, folder / "out", settings, quiet=True)
        except OSError:
            with open(folder / "out" / "answers.rank0.jsonl", "a") as file:
                file.write('{"index": "0", "te')  # of a writer that was killed
        assert not kept & {(index, sample) for index, sample, _ in answerer.asked}
        if (folder / "out" / "pairs.jsonl").exists():
            break
    lines = (folder / "out" / "answers.rank0.jsonl").read_text().splitlines()
    found = [(row["index"], row["sample"]) for row in map(json.loads, lines)]
    assert attempt > 1 and sorted(found) == sorted((index, sample) for index, sample, _ in whole.asked)
    assert (folder / "out" / "pairs.jsonl").read_bytes() == (folder / "whole" / "pairs.jsonl").read_bytes()


@pytest.mark.parametrize(
    "row, method, reason",
    [
        ({"question": "How many?"}, "correctness", "needs the right `answer`"),
        ({"question": "How many?", "answer": 3}, "dropout", "leaves the image out, and there is none"),
        ({"messages": [{"role": "user", "content": "<image>?"}], "answer": 3}, "correctness", "a text has '<image>'"),
        (
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}] * 2},
            "correctness",
            "got turns of user, assistant, user",
        ),
    ],
)
def test_what_no_pairs_are_made_of(tmp_path, row, method, reason):
    rows = [
        {"question": "Fine?", "answer": "yes"} if method == "correctness" else {"question": "?", "image": "a.png"},
        row,
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    policy = SkipPolicy(1)
    assert len(questions(tmp_path, method, policy=policy)) == 1 and reason in policy.skipped[0][1]


def test_halves_end_with_words():
    assert first_half("one two three four") == "one two three"
    assert first_half("onetwothreefour") == "onetwot" and first_half("一二三四") == "一二"
    assert first_half("") == first_half("a") == ""


def test_a_server_is_asked_to_continue():
    client = SimpleNamespace(request=lambda *_, **__: None)
    client.request = lambda method, url, json=None, headers=None: SimpleNamespace(
        status_code=200, headers={}, text="", json=lambda: {"data": [{"id": "m"}]}
    )
    model = EndpointModel("http://m/v1", client=client)
    (job,) = jobs_of(["0"])
    body = model._body(Asked(ChatRequest("What?", ()), [], "It is"), job.seed)
    assert body["messages"][-1] == {"role": "assistant", "content": "It is"}
    assert (body["add_generation_prompt"], body["continue_final_message"]) == (False, True)
    assert "continue_final_message" not in model._body(Asked(ChatRequest("What?", ()), []), job.seed)


def test_from_questions_to_a_step_of_mpo(folder, capsys):
    """By the verb and the embedded model, both methods; MPO reads what they write."""
    for method, more in (("correctness", ["--samples", "3"]), ("dropout", ["--cot"])):
        words = ["pairs", str(folder / "q.jsonl"), "--method", method, "--output", str(folder / method), *more]
        code = main([*words, "--max-new-tokens", "12", "--temperature", "8", "--max-tiles", "1"])
        assert code == (2 if "--cot" in more else 0)
    assert "--cot belongs to --method correctness" in capsys.readouterr().err
    words = ["pairs", str(folder / "q.jsonl"), "--method", "dropout", "--output", str(folder / "dropout")]
    assert main([*words, "--max-new-tokens", "12", "--temperature", "8", "--max-tiles", "1"]) == 0
    out = capsys.readouterr().out
    assert f"pairs  {folder / 'dropout' / 'pairs.jsonl'}" in out and pairs(folder / "dropout")
    given = short(folder, model=str(nano_path()), data=str(folder / "dropout" / "pairs.jsonl"), max_steps=1)
    assert prepare(read_options("internvl3.5-1b-mpo", {**given, "lora_rank": 2, "batch_size": 1})).train().steps == 1
