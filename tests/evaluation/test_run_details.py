# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Numbers, orders and boundaries of `internvl evaluate` that runs of a model do not show. No model is loaded."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from transformers_internvl.evaluation.benchmarks import BENCHMARKS, Asking, Benchmark, find_benchmark
from transformers_internvl.evaluation.benchmarks.asking import _own_question, ask
from transformers_internvl.evaluation.metrics.table import METRICS
from transformers_internvl.evaluation.prompts import asking_style
from transformers_internvl.evaluation.run import (
    Answer,
    Result,
    Task,
    Wanted,
    compare_runs,
    comparison_page,
    metric_of,
    open_task,
    page,
    plots,
    prediction_of,
    read_fixed_answers,
    release_name,
    running,
    score_task,
)
from transformers_internvl.evaluation.run.ablation import _shown, attributes_at
from transformers_internvl.evaluation.run.answers import AnswerWriter, keep_settings, read_answers
from transformers_internvl.evaluation.run.jobs import batches_of, jobs_of, seed_of
from transformers_internvl.evaluation.run.judges import JUDGES
from transformers_internvl.evaluation.run.report import with_means
from transformers_internvl.evaluation.run.running import numbers_up_to


def test_seeds_stay_what_they_are():
    assert seed_of(0, "7") == 130370262977548 and seed_of(0, "7", 1) != seed_of(0, "7") != seed_of(1, "7")
    assert 0 <= seed_of(5, "x") < 2**48


def test_batches_of_two_are_sorted_and_shared():
    jobs = jobs_of([str(number) for number in range(5)])
    lengths = [3, 9, 1, 7, 5]
    batches = [
        [
            [job.index for job in batch]
            for batch in batches_of(jobs, 2, lambda job: lengths[job.position], rank=rank, ranks=2)
        ]
        for rank in (0, 1)
    ]
    assert batches == [[["1", "3"], ["2"]], [["4", "0"]]]
    assert [[job.index for job in batch] for batch in batches_of(jobs, 1, lambda job: 1 / 0)] == [[c] for c in "01234"]


def test_what_a_killed_writer_left_is_written_over(tmp_path):
    path = tmp_path / "answers.rank0.jsonl"
    path.write_text('{"index": "1", "text": "a"}\n{"index": "2", "te')
    with AnswerWriter(tmp_path) as writer:
        writer.append([Answer("3", "b")])
    assert list(read_answers(tmp_path)) == [("1", 0), ("3", 0)]
    assert path.read_bytes().count(b"\n") == 2


def test_settings_that_are_gone_are_changed_settings(tmp_path):
    keep_settings(tmp_path, {"a": 1, "b": [2]})
    keep_settings(tmp_path, {"a": 1, "b": (2,)})
    with pytest.raises(ValueError, match="b was .2. and is None"):
        keep_settings(tmp_path, {"a": 1})


def test_a_prediction_comes_before_a_text_and_a_text_before_an_answer(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text(
        '{"index": 1, "answer": "gold", "text": "t", "prediction": "p"}\n{"index": 2, "answer": "gold", "text": "t"}\n'
    )
    assert read_fixed_answers(file, []).answers == {"1": "p", "2": "t"}
    (tmp_path / "b.txt").write_text("one\ntwo")
    assert read_fixed_answers(tmp_path / "b.txt", ["x", "y"]).answers == {"x": "one", "y": "two"}
    (tmp_path / "c.txt").write_text("one\n\n")
    assert read_fixed_answers(tmp_path / "c.txt", ["x", "y"]).answers == {"x": "one", "y": ""}


def write_run(folder, predictions):
    (folder / "t" / "direct").mkdir(parents=True)
    lines = [{"index": str(n), "prediction": text, "score": score} for n, (text, score) in enumerate(predictions)]
    (folder / "t" / "direct" / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = {"task": "t", "mode": "direct", "score": 50.0}
    (folder / "scores.json").write_text(json.dumps({"tasks": [task]}))


def test_better_worse_and_reworded_answers_are_told_apart(tmp_path):
    long = "x" * 81
    write_run(tmp_path / "a", [("same", 1), ("b", 0), ("c", 1), ("d", 1), ("e", None), (long, 0)])
    write_run(tmp_path / "b", [("same", 1), ("B", 1), ("C", 0), ("D", 1), ("E", None), ("y" * 80, 1)])
    (task,) = compare_runs(tmp_path / "a", tmp_path / "b")
    assert (task.better, task.worse, len(task.changes)) == (2, 1, 5)
    text = comparison_page("a", "b", [task])
    assert "| t | direct | 50.00 | 50.00 | +0.00 | 2 | 1 | 2 |" in text
    assert f"| 5 | {'x' * 77}... | {'y' * 80} | 0.00 -> 1.00 |" in text
    assert "| 3 |" not in text  # reworded


def test_attributes_are_put_back_in_reverse():
    config = SimpleNamespace(side=1)
    model = SimpleNamespace(config=config, part=config)
    with attributes_at({"model": model}, {"model.config.side": 2, "model.part.side": 3}):
        assert config.side == 3
    assert config.side == 1
    with pytest.raises(ValueError, match="needs a model in this process"), attributes_at({}, {"model.x": 1}):
        pass
    with (
        pytest.raises(ValueError, match="has no attribute 'config.size'"),
        attributes_at({"model": model}, {"model.config.size": 1}),
    ):
        pass
    assert (_shown(0.126), _shown(3), _shown("a")) == ("0.13", "3", "a")


def result(task, mode="direct", score=None, questions=4, answered=4):
    return Result(task, mode, None, score, {}, (), questions, answered)


def test_the_mean_of_tasks_counts_all_of_them():
    parts = [result("mmmu_pro_10c", score=30.0, answered=3), result("mmmu_pro_v", score=50.0, questions=6)]
    *_, mean = with_means(parts, "InternVL2_5-8B")
    assert (mean.task, mean.score, mean.questions, mean.answered) == ("mmmu_pro", 40, 10, 7)
    assert mean.published and mean.difference == pytest.approx(40 - mean.published[0].value)
    assert with_means(parts[:1], "m") == parts[:1]
    assert with_means([parts[0], replace(parts[1], score=None)], "m")[2:] == []


def test_the_higher_of_direct_and_chain_of_thought_is_shown():
    results = [result("mmmu_dev_val", score=30.0), result("mmmu_dev_val", "cot", 41.5), result("mmstar", score=1.0)]
    text = page("m", results)
    assert "- mmmu_dev_val: 41.50 (cot)" in text and "mmstar: " not in text
    assert "| MMStar, val | direct | 1.00 |  |  | 4 | 0 | 0 |" in text
    assert "3 of 4" in page("m", [replace(results[0], answered=3)])


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("OpenGVLab/InternVL3-8B-HF", "InternVL3-8B"),
        ("x-hf-y", "x-hf-y"),
        (r"C:\m\InternVL2-Llama3-76B", "InternVL2-76B"),
    ],
)
def test_names_of_releases(name, published):
    assert release_name(name) == published


def test_numbers_of_answers():
    assert numbers_up_to(1) == [1] and numbers_up_to(8) == [1, 2, 4, 8] and numbers_up_to(9) == [1, 2, 4, 8, 9]


def test_the_scorer_follows_the_prompts():
    style = asking_style("InternVL2_5-8B")
    scripts, kit = (Asking(style, prompts=prompts) for prompts in ("scripts", "vlmevalkit"))
    row = BENCHMARKS["chartqa_test"]
    assert metric_of(row, scripts, None) == metric_of(row, Asking(style), None) == "relaxed_accuracy_internvl"
    assert metric_of(row, kit, None) == "relaxed_accuracy_vlmevalkit"
    assert metric_of(row, kit, "anls") == "anls"
    assert metric_of(BENCHMARKS["docvqa_test"], scripts, None) is None  # answers are on a server
    assert metric_of(BENCHMARKS["docvqa_val"], scripts, None) == "anls"


def test_prompts_of_the_other_source_where_a_script_has_no_chain_of_thought():
    def prompts(task, mode):
        return Asking(asking_style("InternVL3_5-8B", mode)).prompts_for(BENCHMARKS[task])

    assert [prompts("mmmu_pro_10c", mode) for mode in ("direct", "cot", "thinking")] == [
        "scripts",
        "scripts",
        "vlmevalkit",
    ]
    assert [prompts("docvqa_val", mode) for mode in ("direct", "cot")] == ["scripts", "vlmevalkit"]
    assert prompts("mmstar", "cot") == "vlmevalkit"


def own(folder, rows, name="own.jsonl", **more):
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    benchmark, questions = open_task(Wanted(str(file)))
    asking = more.pop("asking", Asking(asking_style("InternVL2_5-1B")))
    return Task(benchmark, questions, asking, folder / "out", metric="anls", **more)


def test_a_limit_counts_groups_of_rotations(tmp_path):
    indexes = ["1", "2", "1000001", "1000002", "3", "x"]
    rows = [{"index": index, "question": "q", "answer": "a"} for index in indexes]
    assert [own(tmp_path, rows, limit=limit).positions for limit in (1, 2, 3)] == [
        [0, 2],
        [0, 1, 2, 3],
        [0, 1, 2, 3, 4],
    ]


def test_further_answers_are_sampled_as_officially(tmp_path):
    task = own(tmp_path, [{"index": "1", "question": "q", "answer": "a"}], samples=2)
    first, second = (task.prepared(job).request.generation for job in task.jobs())
    assert not first.get("do_sample")
    assert {name: second[name] for name in ("do_sample", "temperature", "top_p")} == {
        "do_sample": True, "temperature": 0.6, "top_p": 0.95,
    }  # fmt: skip


def test_thoughts_are_unfinished_only_where_they_began(tmp_path):
    rows = [{"index": str(number), "question": "q", "answer": "a"} for number in range(3)]
    task = own(tmp_path, rows)
    texts = ("a", "<think>so", "<think>so</think>a")
    answers = {(str(number), 0): Answer(str(number), text) for number, text in enumerate(texts)}
    scored = score_task(task, answers)
    assert scored.unfinished_thoughts == 1
    assert [prediction.text for _, prediction, _ in scored.predictions] == ["a", "", "a"]
    assert scored.scores.overall == pytest.approx(200 / 3)


def test_what_is_scored_of_a_chain_of_thought():
    direct, cot = (Asking(asking_style("InternVL3-8B", mode)) for mode in ("direct", "cot"))
    text = "It is \\boxed{4}. Final answer:  5 "
    mine = Benchmark("own", "own")
    assert prediction_of(text, mine, cot).text == "4" and prediction_of(text, mine, direct).text == text
    row = BENCHMARKS["mmmu_pro_10c"]
    assert prediction_of(text, row, cot).text == "5" and prediction_of(text, row, direct).text == text


def test_the_shortest_answer_is_no_longer_than_the_longest(tmp_path):
    asking = Asking(asking_style("InternVL2_5-1B"), generation={"min_new_tokens": 8, "max_new_tokens": 3})
    task = own(tmp_path, [{"index": "1", "question": "q", "answer": "a"}], asking=asking)
    generation = ask(task.benchmark, task.questions, 0, asking).request.generation
    assert (generation["min_new_tokens"], generation["max_new_tokens"]) == (3, 3)


def test_one_option_is_no_choice():
    asking = Asking(asking_style("InternVL2_5-1B"))
    assert "single word or phrase" in _own_question({"question": "q", "A": "x"}, asking)
    assert "option's letter" in _own_question({"question": "q", "A": "x", "B": "y"}, asking)


def test_near_names_are_offered():
    with pytest.raises(ValueError, match="Did you mean .* or .* or "):
        find_benchmark("mmbench_dev_e")


@pytest.mark.parametrize(("reply", "grade"), [("1.0", 1.0), ("0", 0.0), ("1.01", None), ("-0.1", None), ("inf", None)])
def test_grades_of_mmvet(reply, grade):
    read = JUDGES["mmvet"].read(reply)
    assert read == (None if grade is None else {"score": grade})


def test_runs_without_a_common_task_are_not_compared(tmp_path):
    write_run(tmp_path / "a", [("same", 1)])
    write_run(tmp_path / "b", [("same", 1)])
    scores = tmp_path / "b" / "scores.json"
    scores.write_text(scores.read_text().replace('"direct"', '"cot"'))
    with pytest.raises(ValueError, match="have no task in common"):
        compare_runs(tmp_path / "a", tmp_path / "b")


def test_every_row_has_a_metric_and_every_metric_a_row():
    """But for scores that are computed from another one, and metrics for rows of one's own."""
    without = [task for task, row in BENCHMARKS.items() if row.metric is None]
    assert without == ["mmmu_pro", "vcr_en_easy_all", "vcr_en_easy_all_jaccard", "mmbench_video"]
    used = {name for row in BENCHMARKS.values() for name in (row.metric, row.script_metric)}
    own = ["anls_vlmevalkit", "caption_vlmevalkit", "erqa", "gqa", "mmmu", "mpo_correctness", "olympiadbench"]
    own += ["scienceqa_cot_internvl", "stvqa_accuracy", "stvqa_anls"]
    assert sorted(set(METRICS) - used) == own


@pytest.mark.parametrize(("plot", "overall"), [(True, 50.0), (False, 50.0), (True, None)])
def test_a_curve_is_drawn_on_request_where_there_is_a_score(plot, overall, tmp_path, monkeypatch):
    drawings = []
    scores = None if overall is None else SimpleNamespace(overall=overall)
    monkeypatch.setattr(plots, "plot_curve", lambda *arguments: drawings.append(arguments))
    monkeypatch.setattr(running, "read_answers", lambda folder: {})
    monkeypatch.setattr(running, "score_task", lambda *arguments: SimpleNamespace(scores=scores))
    task = SimpleNamespace(folder=tmp_path, samples=3, benchmark=SimpleNamespace(task="t"))
    running._write_curve(task, None, None, plot)
    assert json.loads((tmp_path / "curve.json").read_text()) == dict.fromkeys("123", overall)
    points = dict.fromkeys((1, 2, 3), overall)
    wanted = [(tmp_path / "curve.png", "t", {"t": points}, "answers a question")]
    assert drawings == (wanted if plot and overall is not None else [])


def test_two_grades_are_two_numbers():
    read = JUDGES["llavabench"].read
    assert read("8,6\nsince") == read("8 6") == {"gpt4_score": 8, "score": 6}
    assert [read(reply) for reply in ("", "8", "8 6 7", "x 6", "8 x", "8, 6", "why\n8 6")] == [None] * 7
