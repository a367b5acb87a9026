# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""One benchmark of a run: ask its questions, write the answers down, score them."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...conversion.files.folders import write_whole
from ...processing.chat_templates import split_thinking
from ..benchmarks.asking import Asked, Asking, ask, estimated_length
from ..benchmarks.benchmark import Benchmark
from ..benchmarks.questions import Questions
from ..metrics import METRICS, Scores, score_answers
from ..reasoning import best_of_n_settings
from .answering import Answerer, Reply
from .answers import Answer, AnswerWriter, keep_settings, read_answers, without_lone_surrogates
from .extraction import Prediction, prediction_of
from .jobs import Job, batches_of, jobs_of
from .judge import Judgement, JudgeModel
from .judges import JUDGES

_CIRCULAR = 10**6
"""Rotations of a question have its index and a multiple of this (VLMEvalKit)."""
_SCORING_SHARE = 0.05
"""The running score may take so much of the time."""


@dataclass
class Task:
    """A benchmark, its questions, and how they are asked.

    Attributes:
        benchmark: the row.
        questions: of the file.
        asking: how they are asked.
        folder: where answers and predictions are written.
        metric: a key of `METRICS`; None = answers are only written.
        samples: how often each question is asked.
        seed: of sampled answers.
        limit: so many questions are asked, the first ones; None = all. Of circular benchmarks, so many groups.
    """

    benchmark: Benchmark
    questions: Questions
    asking: Asking
    folder: Path
    metric: str | None = None
    samples: int = 1
    seed: int = 0
    limit: int | None = None
    positions: list[int] = field(init=False)

    def __post_init__(self) -> None:
        if self.metric is not None and self.metric not in METRICS:
            raise ValueError(f"There is no metric {self.metric!r}: expected one of {', '.join(sorted(METRICS))}.")
        if self.benchmark.turns and self.samples > 1:
            raise ValueError(f"{self.benchmark.name} is a conversation, which is held once: expected 1 sample.")
        self.positions = _limited(self.questions.rows, self.limit, bool(self.benchmark.turns))

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the answers, for `settings.json`."""
        asking = asdict(self.asking)
        return {"task": self.benchmark.task, "seed": self.seed, "asking": asking}

    @property
    def turns(self) -> int:
        """Questions of a conversation, which are asked one after another; 1 where each question stands alone."""
        return max(1, len(self.benchmark.turns))

    def jobs(self, turn: int | None = None) -> list[Job]:
        """A job for each answer, or for each of one turn."""
        positions = [one for one in self.positions if turn is None or self._turn(one) == turn]
        indexes = [self.questions.rows[position]["index"] for position in positions]
        jobs = jobs_of(indexes, samples=self.samples, seed=self.seed)
        return [replace(job, position=positions[job.position]) for job in jobs]

    def _turn(self, position: int) -> int:
        return int(self.questions.rows[position]["turn"]) if self.benchmark.turns else 0

    def asked(self, position: int, said: Sequence[str] = ()) -> Asked:
        """The prompt and the images of a question; of a turn, with the answers to those before it."""
        return ask(self.benchmark, self.questions, position, self.asking, said)

    def prepared(self, job: Job, answers: Mapping[tuple[str, int], Answer] | None = None) -> Asked:
        """The prompt and the images of a job. Further answers to a question are sampled (VLMEvalKit's best of N).

        Args:
            job: the question.
            answers: what was answered so far. The turns before are read from it, without their thoughts.

        Raises:
            ValueError: a turn before is not answered.
        """
        asked = self.asked(job.position, self._said(job, answers or {}))
        if job.sample == 0:
            return asked
        generation = {**best_of_n_settings(job.sample + 1, asked.request.generation)[-1], **self.asking.generation}
        return replace(asked, request=replace(asked.request, generation=generation))

    def _said(self, job: Job, answers: Mapping[tuple[str, int], Answer]) -> list[str]:
        said = []
        for position in range(job.position - self._turn(job.position), job.position):
            index = self.questions.rows[position]["index"]
            if (index, job.sample) not in answers:
                raise ValueError(f"Question {job.index} follows {index}, which has no answer yet: ask that first.")
            said.append(split_thinking(answers[index, job.sample].text)[1])
        return said


def _limited(rows: Sequence[Mapping[str, Any]], limit: int | None, conversations: bool = False) -> list[int]:
    if limit is None:
        return list(range(len(rows)))
    groups: dict[Any, list[int]] = {}
    for position, row in enumerate(rows):
        index = row["index"]
        group = int(index) % _CIRCULAR if index.isdecimal() else index
        if conversations:
            group = row["conversation"]
        groups.setdefault(group, []).append(position)
    return sorted(position for group in list(groups.values())[:limit] for position in group)


def answer_task(
    task: Task, answerer: Answerer, *, rank: int = 0, ranks: int = 1, quiet: bool = False, turn: int | None = None
) -> int:
    """Ask what was not answered yet, and write each answer down as it comes.

    Args:
        task: the benchmark.
        answerer: who answers.
        rank, ranks: this process among all that share the work.
        quiet: whether there is no progress bar.
        turn: of conversations, the turn that is asked, from 0; None = questions that stand alone.

    Returns:
        The number of answers of this rank that are new.

    Raises:
        ValueError: the folder holds answers of other settings, or another process writes there.
    """
    if rank == 0:
        keep_settings(task.folder, {"model": answerer.name, **task.settings})
    there = read_answers(task.folder)
    jobs = task.jobs(turn)
    batches = batches_of(jobs, answerer.batch_size, lambda job: _length(task, job), rank=rank, ranks=ranks)
    mine = (batch for batch in batches if any((job.index, job.sample) not in there for job in batch))
    done = sum((job.index, job.sample) in there for job in jobs)
    bar = tqdm(total=len(jobs), initial=done, desc=task.benchmark.task, unit="answer", disable=quiet or None)
    new = 0
    running = RunningScore(task, there)
    with AnswerWriter(task.folder, rank) as writer, bar:
        for replies in answerer.answer(mine, lambda job: task.prepared(job, there)):
            answers = [_answer(job, reply) for job, reply in replies if (job.index, job.sample) not in there]
            writer.append(answers)
            new += len(answers)
            running.add(answers)
            bar.update(len(answers) * (1 if ranks == 1 else ranks))
            bar.set_postfix_str(running.text())
    return new


def _length(task: Task, job: Job) -> int:
    return estimated_length(task.benchmark, task.questions, job.position, task.asking)


def _answer(job: Job, reply: Reply) -> Answer:
    text = reply.text if reply.thoughts is None else f"<think>{reply.thoughts}</think>\n{reply.text}"
    return Answer(job.index, text, job.sample, reply.tokens, reply.cut_off)


class RunningScore:
    """The score of what was answered so far, computed again when that takes a small share of the time."""

    def __init__(self, task: Task, answers: Mapping[tuple[str, int], Answer]):
        self.task, self.answers, self.shown = task, dict(answers), ""
        self._next = 0.0

    def add(self, answers: Sequence[Answer]) -> None:
        """Take note of new answers."""
        self.answers.update({answer.key: answer for answer in answers})

    def text(self) -> str:
        """The score, for the progress bar."""
        now = time.monotonic()
        if self.task.metric is not None and now >= self._next:
            self.shown = self._shown()
            took = time.monotonic() - now
            self._next = time.monotonic() + max(1.0, took / _SCORING_SHARE)
        return self.shown

    def _shown(self) -> str:
        try:
            scores = score_task(self.task, self.answers).scores
        except ValueError:  # a metric that needs all questions of a group, of which only some are answered
            return ""
        return "" if scores is None or scores.overall is None else f"score {scores.overall:.2f}"


def _ungraded(metric: str, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Columns that a judge must fill in before the metric can score; the questions have them where one did."""
    if not METRICS[metric].judge:
        return ()
    return tuple(column for column in METRICS[metric].columns if not any(column in row for row in rows))


@dataclass(frozen=True)
class Scored:
    """The score of a task.

    Attributes:
        scores: None where there is no metric, or nothing was answered.
        predictions: of the answered questions, in order, with their rows.
        questions: number of questions that were to be asked.
        cut_off: answers that the maximum number of tokens ended.
        loops: answers whose end repeats itself.
        unfinished_thoughts: answers whose thoughts never ended.
        ungraded: columns that a judge must fill in before the metric can score.
        judgement: what the judge took; None = none was asked.
    """

    scores: Scores | None
    predictions: tuple[tuple[dict[str, Any], Prediction, Answer], ...]
    questions: int
    cut_off: int
    loops: int
    unfinished_thoughts: int
    ungraded: tuple[str, ...] = ()
    judgement: Judgement | None = None


Choose = Callable[[int, Sequence[str], Sequence[str]], int]
"""From the position of a question, its answers and their predictions to the number of the one that counts."""


def score_task(
    task: Task,
    answers: Mapping[tuple[str, int], Answer],
    choose: Choose | None = None,
    samples: int | None = None,
    judge: JudgeModel | None = None,
) -> Scored:
    """Score the answers of a task.

    Args:
        task: the benchmark.
        answers: by question and number of the answer.
        choose: of the answers to a question that was asked several times, the one that counts; None = the first.
        samples: so many answers of each question are looked at; None = all.
        judge: judges the answers where the metric has a judge; None = the rules alone.
    """
    predictions = tuple(_predictions(task, answers, choose, samples or task.samples))
    rows: list[Mapping[str, Any]] = [{**row, "prediction": prediction.text} for row, prediction, _ in predictions]
    if task.benchmark.turns:
        rows = _conversations(rows, task.turns)
    judgement = None
    if judge is not None and rows and task.metric in JUDGES:
        if JUDGES[task.metric].picture is not None:
            rows = _pictured(task, rows)
        rows, judgement = judge.judge(task.metric, rows, task.folder, data=task.questions.root)
    ungraded = () if task.metric is None else _ungraded(task.metric, rows or task.questions.rows)
    scores = score_answers(task.metric, rows) if rows and task.metric is not None and not ungraded else None
    return Scored(
        scores,
        predictions,
        questions=len(task.positions),
        cut_off=sum(answer.cut_off for _, _, answer in predictions),
        loops=sum(prediction.loops for _, prediction, _ in predictions),
        unfinished_thoughts=sum(_is_unfinished(answer.text) for _, _, answer in predictions),
        ungraded=ungraded,
        judgement=judgement,
    )


def _conversations(rows: Sequence[Mapping[str, Any]], turns: int) -> list[Mapping[str, Any]]:
    """A row for each conversation whose turns are all answered: `predictions` of the turns, and the last of them."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["conversation"], []).append(row)
    return [
        {**group[-1], "index": name, "predictions": [row["prediction"] for row in group]}
        for name, group in groups.items()
        if len(group) == turns
    ]


def _pictured(task: Task, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows with their first image in base64, which a judge is shown."""
    positions = {row["index"]: position for position, row in enumerate(task.questions.rows)}
    return [{**row, "image": task.questions.base64(positions[row["index"]])} for row in rows]


def _predictions(
    task: Task,
    answers: Mapping[tuple[str, int], Answer],
    choose: Choose | None,
    samples: int,
) -> Iterator[tuple[dict[str, Any], Prediction, Answer]]:
    for position in task.positions:
        row = task.questions.rows[position]
        given = [answers[key] for sample in range(samples) if (key := (row["index"], sample)) in answers]
        if not given:
            continue
        found = [prediction_of(answer.text, task.benchmark, task.asking) for answer in given]
        number = 0
        if choose is not None and len(found) > 1:
            number = choose(position, [answer.text for answer in given], [prediction.text for prediction in found])
        yield row, found[number], given[number]


def _is_unfinished(text: str) -> bool:
    return "<think>" in text and "</think>" not in text


def write_predictions(task: Task, scored: Scored) -> None:
    """Write `predictions.jsonl`: question, prediction and score of every answered question."""
    samples: Sequence[float | None] = () if scored.scores is None else scored.scores.samples
    lines = []
    for number, (row, prediction, answer) in enumerate(scored.predictions):
        fields = {
            "index": row["index"],
            "prediction": prediction.text,
            "answer": row.get("answer"),
            "score": samples[number] if samples else None,
            "cut_off": answer.cut_off,
            "loops": prediction.loops,
            "tokens": answer.tokens,
        }
        lines.append(json.dumps(fields, ensure_ascii=False))
    write_whole(task.folder / "predictions.jsonl", without_lone_surrogates("".join(f"{line}\n" for line in lines)))


__all__ = ["Choose", "RunningScore", "Scored", "Task", "answer_task", "score_task", "write_predictions"]
