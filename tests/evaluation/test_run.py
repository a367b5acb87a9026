# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Runs of `internvl evaluate` on drawn benchmarks: however a run goes, it gives the same answers and scores."""

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.evaluation.drawn import draw_benchmarks, draw_own
from tests.ranks import launch
from transformers_internvl.evaluation.benchmarks import Asking
from transformers_internvl.evaluation.prompts import asking_style
from transformers_internvl.evaluation.run import (
    EndpointModel,
    FixedAnswers,
    LocalModel,
    Ranks,
    Task,
    Wanted,
    answer_task,
    best_by,
    compare_runs,
    evaluate,
    metric_of,
    open_task,
    read_answers,
    read_fixed_answers,
    run_grid,
    score_task,
)
from transformers_internvl.nano import nano_path

TOKENS = 3


@cache
def parts():
    torch.set_num_threads(1)
    path = nano_path()
    model = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32).eval()
    return model, AutoProcessor.from_pretrained(path)


def local(batch_size=1):
    model, processor = parts()
    return LocalModel(model, processor, name="nano", batch_size=batch_size)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return folder, draw_benchmarks(folder)


def task_of(name, data, folder, mode="direct", metric=None, frames=2, **more):
    benchmark, questions = open_task(Wanted(name, data))
    generation = more.pop("generation", {"max_new_tokens": TOKENS})
    asking = Asking(asking_style("InternVL2_5-1B", mode), frames=frames, max_tiles=2, generation=generation)
    return Task(benchmark, questions, asking, folder, metric=metric_of(benchmark, asking, metric), **more)


def tasks_of(data, folder):
    return [task_of(name, data[0], folder / name / "direct") for name in data[1]]


def written(folder):
    """Everything that a run concludes, file by file."""
    names = ("scores.json", "report.md")
    files = [*(folder / name for name in names), *sorted(folder.glob("*/*/predictions.jsonl"))]
    return {str(file.relative_to(folder)): file.read_text() for file in files}


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """One uninterrupted run, in one process, in this one."""
    folder = tmp_path_factory.mktemp("plain")
    evaluate(tasks_of(data, folder), local(), folder, model="nano", quiet=True, plot=False)
    return written(folder)


class Killed(Exception):
    pass


class Interrupted:
    """An answerer that dies after so many batches, in the middle of a line that it was writing."""

    batch_size = 1

    def __init__(self, answerer, batches):
        self.answerer, self.name, self.left = answerer, answerer.name, batches
        self.asked = []

    def answer(self, batches, prepare):
        def watched(job):
            self.asked.append((job.index, job.sample))
            return prepare(job)

        for replies in self.answerer.answer(batches, watched):
            if not self.left:
                raise Killed
            self.left -= 1
            yield replies


def test_two_ranks_that_are_interrupted_give_the_answers_of_one_that_is_not(data, plain, tmp_path):
    for name in data[1]:
        asked: list[tuple[str, int]] = []
        finished: set[int] = set()
        for attempt in range(99):
            task, rank = task_of(name, data[0], tmp_path / name / "direct"), attempt % 2
            answerer = Interrupted(local(), attempt % 3)
            try:
                answer_task(task, answerer, rank=rank, ranks=2, quiet=True)
                asked += answerer.asked
                finished.add(rank)
            except Killed:
                asked += answerer.asked[:-1]  # the last one was not written down
                with open(task.folder / f"answers.rank{rank}.jsonl", "a") as file:
                    file.write('{"index": "torn')
            if finished == {0, 1}:
                break
        keys = [(task.questions.rows[position]["index"], 0) for position in task.positions]
        assert sorted(asked) == sorted(keys), name  # each question once
    evaluate(tasks_of(data, tmp_path), None, tmp_path, model="nano", quiet=True, plot=False)
    assert written(tmp_path) == plain


def test_batches_give_the_same_scores(data, plain, tmp_path):
    names = ("mmbench_dev_en", "blink", "docvqa_val")
    tasks = [task_of(name, data[0], tmp_path / name / "direct") for name in names]
    evaluate(tasks, local(batch_size=4), tmp_path, model="nano", quiet=True, plot=False)
    got = written(tmp_path)
    for name in names:
        assert got[f"{name}/direct/predictions.jsonl"] == plain[f"{name}/direct/predictions.jsonl"]


@contextmanager
def server():
    """The package's own server in a thread of this process."""
    uvicorn = pytest.importorskip("uvicorn")
    from transformers_internvl.serving.app import Bounds, Served, build_app
    from transformers_internvl.serving.hosts import Hosts
    from transformers_internvl.serving.media import Limits
    from transformers_internvl.serving.preparing import InThreads

    model, processor = parts()
    prepare = InThreads({"nano": processor}, Limits())
    app = build_app({"nano": Served(model, processor)}, prepare, Hosts("127.0.0.1", []), Limits(), Bounds())
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}/v1"
    finally:
        running.should_exit = True
        thread.join(30)
        prepare.close()


def test_a_server_gives_the_same_scores(data, plain, tmp_path):
    with server() as url:
        answerer = EndpointModel(url, requests=4)
        evaluate(tasks_of(data, tmp_path), answerer, tmp_path, model="nano", quiet=True, plot=False)
    assert scored(written(tmp_path)) == scored(plain)


def scored(files):
    """Scores and predictions. The server says "length" of answers that end with their last token, too."""
    tasks = {task["task"]: (task["score"], task["table"]) for task in json.loads(files["scores.json"])["tasks"]}
    lines = {name: list(map(json.loads, text.splitlines())) for name, text in files.items() if name.endswith("jsonl")}
    return tasks, {
        name: [(row["index"], row["prediction"], row["score"]) for row in rows] for name, rows in lines.items()
    }


def test_the_answers_are_not_all_alike(plain):
    """What the tests above compare could differ."""
    predictions = {
        json.loads(line)["prediction"] for file in plain if "jsonl" in file for line in plain[file].splitlines()
    }
    assert len(predictions) > 4


# --- what is written down --------------------------------------------------------------------------------------------


def test_a_torn_last_line_is_no_answer_and_a_broken_one_is_an_error(tmp_path):
    path = tmp_path / "answers.rank0.jsonl"
    path.write_text('{"index": "1", "text": "a"}\n{"index": "2", "te')
    assert list(read_answers(tmp_path)) == [("1", 0)]
    path.write_text('{"index": "2", "te\n{"index": "1", "text": "a"}\n')
    with pytest.raises(ValueError, match="line 1: no answer"):
        read_answers(tmp_path)


def test_answers_of_other_settings_are_not_mixed(data, tmp_path):
    fixed = FixedAnswers({"0": "a", "1": "b"})
    answer_task(task_of("docvqa_val", data[0], tmp_path), fixed, quiet=True)
    with pytest.raises(ValueError, match="other settings: .*seed was 0 and is 1"):
        answer_task(task_of("docvqa_val", data[0], tmp_path, seed=1), fixed, quiet=True)


def test_two_processes_do_not_write_one_file(data, tmp_path):
    from transformers_internvl.evaluation.run.answers import AnswerWriter

    with AnswerWriter(tmp_path), pytest.raises(ValueError, match="Another process is writing"), AnswerWriter(tmp_path):
        pass


# --- sampling --------------------------------------------------------------------------------------------------------

SAMPLED = {"do_sample": True, "temperature": 2.0, "top_p": 1.0, "max_new_tokens": 4}


def sampled(data, folder, batch_size=1, **more):
    task = task_of("docvqa_val", data[0], folder, generation=SAMPLED, samples=3, **more)
    answer_task(task, local(batch_size), quiet=True)
    return {key: answer.text for key, answer in read_answers(folder).items()}


def test_sampled_answers_belong_to_seed_and_question(data, tmp_path):
    one = sampled(data, tmp_path / "one")
    assert sampled(data, tmp_path / "batch", batch_size=4) == one
    assert sampled(data, tmp_path / "seed", seed=1) != one
    assert len(set(one.values())) > 2


def test_noise_samples_from_the_distribution():
    from transformers_internvl.evaluation.run.sampling import seeded_sampling

    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    settings, processors = seeded_sampling({"do_sample": True, "top_p": 0.9, "top_k": 0}, range(4000))
    assert settings == {"do_sample": False}
    scores = processors(torch.zeros(4000, 1, dtype=torch.long), probabilities.log().repeat(4000, 1))
    shares = torch.bincount(scores.argmax(-1), minlength=4) / 4000
    kept = torch.tensor([0.5, 0.3, 0.15, 0.0]) / 0.95  # the nucleus of 0.9
    assert torch.allclose(shares, kept, atol=0.03)


# --- scores ----------------------------------------------------------------------------------------------------------


def test_thoughts_loops_and_cut_off_answers_are_counted(data, tmp_path):
    task = task_of("docvqa_val", data[0], tmp_path, mode="direct")
    task = replace(task, asking=replace(task.asking, style=asking_style("InternVL3_5-8B", "thinking")))
    loop = "so it must be that one, or the other one, no, the first " * 200
    answers = FixedAnswers({"0": "<think>It says 0, I think.</think>\n\\boxed{0}", "1": f"<think>{loop}"})
    answer_task(task, answers, quiet=True)
    scored = score_task(task, read_answers(tmp_path))
    assert [prediction.text for _, prediction, _ in scored.predictions] == ["0", ""]
    assert (scored.loops, scored.unfinished_thoughts) == (1, 1)
    assert scored.scores.overall == 50


def test_votes_and_the_best_of_several(data, tmp_path):
    task = task_of("docvqa_val", data[0], tmp_path, samples=3)
    lines = [
        {"index": index, "sample": number, "text": text}
        for index, texts in (("0", ("nine", "0", "0")), ("1", ("red", "green", "blue")))
        for number, text in enumerate(texts)
    ]
    (tmp_path / "answers.rank0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluate([task], None, tmp_path / "out", model="nano", quiet=True, plot=False)
    assert json.loads((tmp_path / "curve.json").read_text()) == {"1": 0.0, "2": 0.0, "3": 50.0}
    longest = best_by(lambda position, answers: [len(answer) for answer in answers])
    chosen = score_task(task, read_answers(tmp_path), longest)
    assert [prediction.text for _, prediction, _ in chosen.predictions] == ["nine", "green"]


def test_scores_of_equal_answers_add_up(data, tmp_path):
    task = task_of("docvqa_val", data[0], tmp_path, samples=3)
    answers = {"0": ("one", "two", "two"), "1": ("red", "blue", "green")}
    lines = [
        {"index": index, "text": text, "sample": number, "tokens": 1, "cut_off": False}
        for index, texts in answers.items()
        for number, text in enumerate(texts)
    ]
    (tmp_path / "answers.rank0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = {"one": 0.5, "two": 0.3, "red": 0.1, "blue": 0.1, "green": 0.0}

    def chosen(**more):
        choose = best_by(lambda position, texts: [scores[text] for text in texts], **more)
        scored = score_task(task, read_answers(tmp_path), choose)
        return [prediction.text for _, prediction, _ in scored.predictions]

    assert chosen() == ["one", "red"] and chosen(weighted_vote=True) == ["two", "red"]
    with pytest.raises(ValueError, match="score of answer 0 is not a number"):
        scores["one"] = float("nan")
        chosen()


def test_half_of_a_surrogate_pair_in_an_answer_is_replaced(data, tmp_path):
    from huggingface_hub.utils import httpx

    def handle(request):
        if request.method == "GET":
            return httpx.Response(200, json={"data": [{"id": "m"}]})
        return httpx.Response(
            200, content=b'{"choices": [{"message": {"content": "a\\ud83d b", "reasoning": "\\udc00\\ud83d\\ude00"}}]}'
        )

    client = httpx.Client(transport=httpx.MockTransport(handle))
    task = task_of("docvqa_val", data[0], tmp_path)
    server = EndpointModel("http://m/v1", client=client, requests=1)
    evaluate([task], server, tmp_path, model="m", quiet=True, plot=False)
    found = read_answers(tmp_path)
    assert {answer.text for answer in found.values()} == {"<think>\ufffd\U0001f600</think>\na\ufffd b"}
    (tmp_path / "predictions.jsonl").read_text(encoding="utf-8")
    assert evaluate([task], None, tmp_path, model="m", quiet=True, plot=False)[0].answered == 2
    # as earlier versions wrote it, and as other programs do
    torn = {"index": "0", "text": "x\ud83d", "sample": 0, "tokens": 1, "cut_off": False}
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "answers.rank0.jsonl").write_text(json.dumps(torn) + "\n")
    assert read_answers(tmp_path / "old")["0", 0].text == "x\ufffd"
    for name, text in (("a.jsonl", json.dumps({"index": 0, "text": "x\ud83d"})), ("a.json", '{"0": "x\\ud83d"}')):
        (tmp_path / name).write_text(text)
        assert read_fixed_answers(tmp_path / name, ["0"]).answers == {"0": "x\ufffd"}


def test_fixed_answers_of_each_form(tmp_path):
    forms = {
        "a.txt": "red\n\n",
        "a.jsonl": '{"index": 7, "prediction": "red"}\n{"index": 9, "prediction": null}\n',
        "a.json": '{"7": "red", "9": ""}',
    }
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        assert read_fixed_answers(tmp_path / name, ["7", "9"]).answers == {"7": "red", "9": ""}
    with pytest.raises(ValueError, match="2 lines, but there are 3 questions"):
        read_fixed_answers(tmp_path / "a.txt", ["7", "8", "9"])


def test_two_runs_are_compared(data, tmp_path):
    for name, answers in (("a", {"0": "0", "1": "x"}), ("b", {"0": "no", "1": "y"})):
        task = task_of("docvqa_val", data[0], tmp_path / name / "docvqa_val" / "direct")
        evaluate([task], FixedAnswers(answers), tmp_path / name, model="m", quiet=True, plot=False)
    (task,) = compare_runs(tmp_path / "a", tmp_path / "b")
    assert (task.score_before, task.score_after, task.better, task.worse) == (50, 0, 0, 1)
    assert [(change.index, change.before, change.rescored) for change in task.changes] == [
        ("0", "0", True),
        ("1", "x", False),
    ]


def test_published_scores_stand_beside_ours(data, tmp_path):
    task = task_of("docvqa_val", data[0], tmp_path / "docvqa_val" / "direct")
    (result,) = evaluate([task], FixedAnswers({"0": "0", "1": "blue"}), tmp_path, model="InternVL2-8B", quiet=True)
    assert result.score == 100
    assert result.difference == pytest.approx(100 - 90.81)
    page = (tmp_path / "report.md").read_text()
    assert "| DocVQA, val | direct | 100.00 | 90.81 | +9.19 | 2 | 0 | 0 |" in page
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_answers_that_a_judge_must_grade_are_kept(tmp_path):
    (tmp_path / "MMVet.jsonl").write_text(json.dumps({"index": 0, "question": "q", "answer": "a", "category": "ocr"}))
    task = task_of("mmvet", tmp_path, tmp_path / "out" / "mmvet" / "direct")
    (result,) = evaluate([task], FixedAnswers({"0": "x"}), tmp_path / "out", model="m", quiet=True, plot=False)
    assert result.score is None
    assert "into the column score" in (tmp_path / "out" / "report.md").read_text()
    (tmp_path / "MMVet.jsonl").write_text(
        json.dumps({"index": 0, "question": "q", "answer": "a", "category": "ocr", "score": 0.5})
    )
    task = task_of("mmvet", tmp_path, tmp_path / "out" / "mmvet" / "direct")
    (result,) = evaluate([task], None, tmp_path / "out", model="m", quiet=True, plot=False)
    assert result.score == 50


# --- a grid of settings ----------------------------------------------------------------------------------------------


def test_a_grid_of_settings(data, tmp_path):
    from transformers_internvl.evaluation.run import read_grid

    grid = read_grid(["max_tiles=1,2", "thumbnail=true,false", "model.config.vision_feature_layer=-1,-2"])
    seen = []

    class Watching(FixedAnswers):
        def answer(self, batches, prepare):
            for batch in batches:
                rules = [prepare(job).request.images[0] for job in batch]
                seen.append((rules[0].max_tiles, rules[0].use_thumbnail, parts()[0].config.vision_feature_layer))
                yield from super().answer([batch], prepare)

    model, _ = parts()
    former = model.config.vision_feature_layer
    base = task_of("docvqa_val", data[0], tmp_path, limit=1)
    scores = run_grid(
        grid,
        lambda asking, folder: replace(base, asking=asking, folder=folder),
        base.asking,
        lambda point: (Watching({"0": "0"}), {"model": model}),
        tmp_path / "grid",
        model="nano",
        quiet=True,
    )
    assert len(scores) == len(seen) == 8
    assert sorted(set(seen)) == sorted(
        (tiles, thumb, layer) for tiles in (1, 2) for thumb in (True, False) for layer in (-1, -2)
    )
    assert model.config.vision_feature_layer == former
    assert len(json.loads((tmp_path / "grid" / "grid.json").read_text())) == 8
    with pytest.raises(ValueError, match="adapter was 'a/b' and is 'a_b'"):
        for adapter in ("a/b", "a_b"):
            run_grid(
                {"adapter": [adapter]},
                lambda asking, folder: replace(base, asking=asking, folder=folder),
                base.asking,
                lambda point: (Watching({"0": "0"}), {}),
                tmp_path / "adapters",
                model="nano",
                ranks=Ranks(),
                quiet=True,
                plot=False,
            )
    assert (tmp_path / "grid" / "grid.png").exists()


@pytest.mark.parametrize("axis", ["max_tiles", "nothing=1", "model=1", "max_tiles=1,2 max_tiles=3"])
def test_what_is_no_grid(axis):
    from transformers_internvl.evaluation.run import read_grid

    with pytest.raises(ValueError, match="Expected NAME=VALUE"):
        read_grid(axis.split())


# --- servers ---------------------------------------------------------------------------------------------------------


def mocked(answers):
    """An `httpx` client whose server gives these answers in turn to requests for chats."""
    from huggingface_hub.utils import httpx

    bodies = []

    def handle(request):
        if request.url.path.endswith("/models"):
            return httpx.Response(200, json={"data": [{"id": "m", "owned_by": "vllm"}]})
        bodies.append(json.loads(request.content))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, text = answer
        message = {"message": {"content": text, "reasoning_content": "hm"}, "finish_reason": "stop"}
        return httpx.Response(status, json={"choices": [message]}, headers={"Retry-After": "0"})

    return httpx.Client(transport=httpx.MockTransport(handle)), bodies


def test_a_server_that_fails_for_a_while_is_asked_again(data, tmp_path):
    from huggingface_hub.utils import httpx

    client, bodies = mocked([(500, ""), (429, ""), (200, "0"), (503, ""), (200, "blue")])
    task = task_of("docvqa_val", data[0], tmp_path)
    answer_task(task, EndpointModel("http://m/v1", client=client, requests=1), quiet=True)
    assert score_task(task, read_answers(tmp_path)).scores.overall == 100
    assert len(bodies) == 5
    assert bodies[0]["temperature"] == 0 and bodies[0]["max_tokens"] == TOKENS
    assert bodies[0]["mm_processor_kwargs"] == {"max_dynamic_patch": 2, "min_dynamic_patch": 1}
    assert {answer.text for answer in read_answers(tmp_path).values()} == {
        "<think>hm</think>\n0",
        "<think>hm</think>\nblue",
    }
    client, _ = mocked([httpx.ConnectError("gone"), (400, "")])
    with pytest.raises(ValueError, match="refused question"):
        answer_task(task_of("mmstar", data[0], tmp_path / "b"), EndpointModel("http://m", client=client), quiet=True)


# --- the command -----------------------------------------------------------------------------------------------------


def internvl(line):
    from internvl_cli import main

    return main(line.split())


def test_the_command_scores_answers_to_own_questions(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    draw_own(tmp_path / "own.jsonl")
    (tmp_path / "answers.txt").write_text("blue\nred\n")
    assert internvl("evaluate --task own.jsonl --answers answers.txt --metric anls --no-plot") == 0
    assert "| own | direct | 50.00 |" in capsys.readouterr().out
    assert internvl("evaluate --task own.jsonl --answers answers.txt --no-plot --output x") == 2
    assert "say how it is scored" in capsys.readouterr().err
    assert internvl("evaluate --compare evaluations/answers evaluations/answers") == 0
    assert internvl("evaluate --task docvqa_vall --data . --answers answers.txt") == 2
    assert "Did you mean docvqa_val" in capsys.readouterr().err
    assert internvl("evaluate --list") == 0
    assert "mmbench_dev_en" in capsys.readouterr().out


def test_the_command_asks_the_embedded_model_over_a_grid(data, tmp_path, capsys):
    arguments = f"--task docvqa_val --data {data[0]} --output {tmp_path} --limit 1 --max-new-tokens 2 --no-plot"
    assert internvl(f"evaluate {arguments} --grid max_tiles=1,2 --device cpu") == 0
    assert "max_tiles=2" in capsys.readouterr().out
    points = json.loads((tmp_path / "docvqa_val" / "grid" / "grid.json").read_text())
    assert [point["max_tiles"] for point in points] == [1, 2]


def test_two_processes_share_a_run(data, tmp_path):
    launch(
        2,
        tmp_path,
        "transformers_internvl.cli",
        *("evaluate", "--task", "mmbench_dev_en,pope", "--data", str(data[0]), "--output", str(tmp_path / "out")),
        *("--max-new-tokens", "2", "--max-tiles", "1", "--no-plot", "--device", "cpu"),
    )
    (task, other) = json.loads((tmp_path / "out" / "scores.json").read_text())["tasks"]
    assert (task["answered"], other["answered"]) == (4, 2)
    for rank in (0, 1):
        assert (
            len((tmp_path / "out/mmbench_dev_en/direct" / f"answers.rank{rank}.jsonl").read_text().splitlines()) == 2
        )
