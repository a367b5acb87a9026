# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Preference pairs as MPO builds them (arXiv:2411.10442, section 3), from answers of a loaded or served model.

- `correctness`: a question with a known answer is answered several times. Right answers are chosen, wrong ones and
  those without a clear final answer are rejected; a question gives at most so many pairs.
- `dropout` (dropout next-token prediction), for questions without a known answer: the answer is chosen; its first
  half, continued by the model without the image, is rejected.

    report = build_pairs(questions, answerer, "pairs", PairSettings("correctness"))

In the folder are `answers.rank0.jsonl`, each answer as it comes, with which a run that was killed goes on;
`settings.json`; and at the end `pairs.jsonl`, rows of `question`, `chosen`, `rejected` and `image` for MPO.
"""

import hashlib
import itertools
import json
import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm

from ..evaluation.benchmarks.asking import Asked
from ..evaluation.metrics.correctness import check_answer, fix_answer, modes_of, parse_answer
from ..evaluation.prompts.requests import ChatRequest, ImageRule
from ..evaluation.prompts.vlmevalkit import COT_MPO
from ..evaluation.run.answering import Answerer
from ..evaluation.run.answers import Answer, AnswerWriter, keep_settings, read_answers, write_whole
from ..evaluation.run.jobs import Job, batches_of, jobs_of
from ..processing.text.placeholders import IMAGE
from .data.questions import Question, Questions
from .reinforcement.rewards import answer_text

PAIRS_FILE = "pairs.jsonl"
_WITHOUT_IMAGE = "/without image"  # behind the number of a question: its answer is continued
_SPACE = re.compile(r"\s")
_PLACES = re.compile(f"{IMAGE}\n?")


@dataclass(frozen=True)
class PairSettings:
    """How pairs are made.

    Attributes:
        method: see above.
        samples: answers to a question; `dropout` takes each of them. The paper has at most 32, and one.
        pairs: of a question at most, by `correctness`.
        temperature: of sampling.
        max_new_tokens: of an answer.
        max_tiles: of an image. The paper has 6 for photos, 12 for documents and charts.
        cot: ask for reasons and `Final answer: ..`, as MPO does; an answer of another form is then a wrong one.
        seed: of sampling, and of the choice of pairs.
    """

    method: Literal["correctness", "dropout"]
    samples: int = 32
    pairs: int = 15
    temperature: float = 1.0
    max_new_tokens: int = 2048
    max_tiles: int = 6
    cot: bool = False
    seed: int = 0


@dataclass(frozen=True)
class PairReport:
    """What came of the questions.

    Attributes:
        questions, answers, pairs: numbers.
        right: share of right answers; None of `dropout`.
        without_pairs: questions that gave none: all of their answers right, all wrong, or too short to be halved.
        path: of the file of pairs.
    """

    questions: int
    answers: int
    pairs: int
    right: float | None
    without_pairs: int
    path: Path


def pairable(method: str) -> Callable[[Question], str | None]:
    """A check of [`Questions`]: why no pairs can be made of a question, None where they can."""

    def check(question: Question) -> str | None:
        roles = [message["role"] for message in question.messages]
        if roles not in (["user"], ["system", "user"]):
            return f"pairs are made of one question, after a system message or none; got turns of {', '.join(roles)}"
        texts = [item["text"] for message in question.messages for item in message["content"] if "text" in item]
        if any(IMAGE in text for text in texts):
            return f"a text has {IMAGE!r}, which a row of pairs takes for the place of an image"
        if not all(isinstance(image, (str, os.PathLike)) for image in question.images):
            return "images of pairs are paths or URLs, since they are written as JSONL"
        if method == "correctness" and question.answer is None:
            return "`correctness` needs the right `answer`"
        return (
            "`dropout` leaves the image out, and there is none"
            if not question.images and method == "dropout"
            else None
        )

    return check


def build_pairs(
    questions: Questions,
    answerer: Answerer,
    folder: str | Path,
    settings: PairSettings,
    *,
    quiet: bool = False,
) -> PairReport:
    """Ask what was not answered yet, and write the pairs.

    Args:
        questions: as [`pairable`] has checked them.
        answerer: `evaluation.run.LocalModel` or `EndpointModel`.
        folder: of answers and pairs. What is there of the same settings is kept.
        settings: how.
        quiet: whether there is no progress bar.

    Raises:
        ValueError: the folder's answers were made of other questions or with other settings, or another process writes
            them.
        OSError: a server gives no answer.
    """
    builder = _Builder(questions, answerer, Path(folder), settings, quiet)
    keep_settings(folder, builder.identity())
    return builder.run()


class _Builder:
    def __init__(self, questions: Questions, answerer: Answerer, folder: Path, settings: PairSettings, quiet: bool):
        self.questions, self.answerer, self.folder, self.settings = questions, answerer, folder, settings
        self.quiet = quiet
        self.answers: dict[tuple[str, int], Answer] = {}

    def identity(self) -> dict[str, Any]:
        """What decides the answers: other values need another folder."""
        asked = [[question.where.rpartition("/")[2], question.text] for question in self.questions.questions]
        values = {name: value for name, value in asdict(self.settings).items() if name != "pairs"}
        digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        return {**values, "model": self.answerer.name, "questions": digest}

    def run(self) -> PairReport:
        self.answers = read_answers(self.folder)
        indexes = [str(number) for number in range(len(self.questions))]
        jobs = jobs_of(indexes, samples=self.settings.samples, seed=self.settings.seed)
        with AnswerWriter(self.folder) as writer:
            self._ask(jobs, self._question, writer, "answers")
            if self.settings.method == "dropout":
                halves = [f"{index}{_WITHOUT_IMAGE}" for index in indexes]
                more = jobs_of(halves, samples=self.settings.samples, seed=self.settings.seed)
                halved = [job for job in more if self._half(job)]
                self._ask(halved, self._continued, writer, "continuations")
        made = [self._pairs(number) for number in range(len(self.questions))]
        rows = [row for found in made for row in found]
        path = self.folder / PAIRS_FILE
        write_whole(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
        right = None
        if self.settings.method == "correctness":
            marks = [self._is_right(job.position, self.answers[job.index, job.sample]) for job in jobs]
            right = sum(marks) / len(marks)
        return PairReport(len(made), len(self.answers), len(rows), right, sum(not found for found in made), path)

    def _ask(self, jobs: Sequence[Job], prepare: Callable[[Job], Asked], writer: AnswerWriter, unit: str) -> None:
        known = {(job.index, job.sample) for job in jobs} & self.answers.keys()
        batches = (
            [job for job in batch if (job.index, job.sample) not in self.answers]
            for batch in batches_of(jobs, self.answerer.batch_size, lambda job: 0)
        )
        with tqdm(total=len(jobs), initial=len(known), unit=unit, disable=self.quiet or None) as bar:
            for replies in self.answerer.answer((batch for batch in batches if batch), prepare):
                new = [Answer(job.index, r.text, job.sample, r.tokens, r.cut_off) for job, r in replies]
                writer.append(new)
                self.answers.update({answer.key: answer for answer in new})
                bar.update(len(new))

    def _request(self, question: Question, text: str, images: int) -> ChatRequest:
        settings = self.settings
        generation = {"do_sample": True, "temperature": settings.temperature, "top_p": 1.0, "top_k": 0}
        return ChatRequest(
            text,
            (ImageRule(settings.max_tiles),) * images,
            generation={**generation, "max_new_tokens": settings.max_new_tokens},
            system_message=_system(question),
        )

    def _question(self, job: Job) -> Asked:
        question = self.questions[job.position]
        return Asked(self._request(question, self._text(question), len(question.images)), list(question.images))

    def _continued(self, job: Job) -> Asked:
        question = self.questions.questions[job.position]
        text = _PLACES.sub("", self._text(question)).strip()
        return Asked(self._request(question, text, 0), [], self._half(job))

    def _text(self, question: Question) -> str:
        """What is asked, with `<image>` in the place of every image; instructions come behind those in front."""
        if not self.settings.cot:
            return question.text
        text = question.text
        front = re.match(f"(?:{IMAGE}\n?)*", text)
        end = front.end() if front else 0
        return f"{text[:end]}{COT_MPO}{text[end:]}"

    def _half(self, job: Job) -> str:
        """The first half of an answer, up to the end of a word; empty where it is too short."""
        return first_half(self.answers[job.index.removesuffix(_WITHOUT_IMAGE), job.sample].text)

    def _is_right(self, number: int, answer: Answer) -> bool:
        question = self.questions.questions[number]
        try:
            said = parse_answer(answer.text, "en")[1] if self.settings.cot else answer_text(answer.text)
        except ValueError:  # no clear final answer
            return False
        modes = modes_of(str(question.fields.get("data_set", "")))
        return any(check_answer(said, right, modes) for right in _accepted(question.answer))

    def _pairs(self, number: int) -> list[dict[str, Any]]:
        samples = range(self.settings.samples)
        if self.settings.method == "dropout":
            found = []
            for sample in samples:
                text = self.answers[str(number), sample].text
                follows = self.answers.get((f"{number}{_WITHOUT_IMAGE}", sample))
                rejected = "" if follows is None else (first_half(text) + follows.text).strip()
                if rejected and rejected != text:
                    found.append((text, rejected))
        else:
            found = self._by_correctness([self.answers[str(number), sample] for sample in samples], number)
        return [self._row(self.questions.questions[number], *pair) for pair in dict.fromkeys(found)]

    def _by_correctness(self, answers: Sequence[Answer], number: int) -> list[tuple[str, str]]:
        unique = list({answer.text: answer for answer in answers if answer.text}.values())
        marks = [self._is_right(number, answer) for answer in unique]
        right = [self._fixed(number, answer) for answer, mark in zip(unique, marks, strict=True) if mark]
        wrong = [answer.text for answer, mark in zip(unique, marks, strict=True) if not mark]
        pairs = list(itertools.product(right, wrong))
        chosen = random.Random(f"{self.settings.seed}/{number}")
        return chosen.sample(pairs, min(self.settings.pairs, len(pairs)))

    def _fixed(self, number: int, answer: Answer) -> str:
        """A right answer, whose final line has the known one, as MPO's pipeline writes it."""
        if not self.settings.cot:
            return answer.text
        said = parse_answer(answer.text, "en")[1]
        return fix_answer(answer.text, said, _accepted(self.questions.questions[number].answer)[0])

    def _row(self, question: Question, chosen: str, rejected: str) -> dict[str, Any]:
        images = [_path(image) for image in question.images]
        row: dict[str, Any] = {"image": images[0] if len(images) == 1 else images} if images else {}
        row |= {"question": self._text(question), "chosen": chosen, "rejected": rejected}
        if (system := _system(question)) is not None:
            row["system_prompt"] = system
        return row if question.answer is None else {**row, "answer_gt": question.answer}


def first_half(text: str) -> str:
    """The first half of a text, up to the end of the word in its middle; empty where it has no second half.

    >>> first_half("a red dog runs")
    'a red dog'
    """
    middle = len(text) // 2
    found = _SPACE.search(text, middle)
    end = found.start() if found and found.start() <= 3 * len(text) // 4 else middle
    half = text[:end].rstrip()
    return half if half and half != text.rstrip() else ""


def _system(question: Question) -> str | None:
    first = question.messages[0]
    return "".join(item["text"] for item in first["content"]) if first["role"] == "system" else None


def _accepted(answer: Any) -> list[str]:
    return [str(one) for one in (answer if isinstance(answer, (list, tuple)) else [answer])]


def _path(image: Any) -> str:
    path = os.fspath(image)
    return path if "://" in path or path.startswith("data:") else os.path.abspath(path)


__all__ = ["PAIRS_FILE", "PairReport", "PairSettings", "build_pairs", "first_half", "pairable"]
