# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A language model judges answers, through OpenAI's API: what it is asked is in `judges.py`.

Each reply is on disk before the next question is sent. A run that was killed asks nothing twice.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..metrics import Row
from .answers import LineFile
from .connection import Connection
from .judges import JUDGES
from .judging import Judge

FILE = "judge.jsonl"
Content = str | list[dict[str, Any]]


@dataclass(frozen=True)
class Judgement:
    """What judging the answers of a task took.

    Attributes:
        model: the judge.
        asked: answers that it was asked about; a rule decides the others.
        replies: of the judge, those of earlier runs included; more than `asked` where some could not be read, or a
            second question follows the first (MathVerse).
        calls: of these, made by this run.
        tokens_in, tokens_out: of all replies, as the server counts them.
        unread: answers for which no reply could be read.
    """

    model: str
    asked: int
    replies: int
    calls: int
    tokens_in: int
    tokens_out: int
    unread: int


@dataclass(frozen=True)
class _Reply:
    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class JudgeModel:
    """A judge on a server.

    Args:
        url: of the API, such as `https://api.openai.com/v1`.
        model: its name there.
        requests: maximum number of requests at the same time.
        key: the server's key.
        timeout: seconds to wait for one reply.
        client: an `httpx.Client`; None makes one.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        requests: int = 8,
        key: str = "none",
        timeout: float = 300.0,
        client: Any = None,
    ):
        self.name, self.requests = model, requests
        self._connection = Connection(url, key=key, requests=requests, timeout=timeout, client=client)

    def judge(
        self,
        metric: str,
        rows: Sequence[Row],
        folder: str | Path,
        *,
        data: str | Path | None = None,
        quiet: bool = False,
    ) -> tuple[list[Row], Judgement]:
        """The rows with the columns that a metric reads from a judge, and what that took.

        Args:
            metric: a key of `JUDGES`.
            rows: answered questions. Rows that have the columns already are not judged again.
            folder: where the replies are kept.
            data: the folder of the questions, for a judge whose texts are there (`Judge.made`); None = the working
                directory.
            quiet: whether there is no progress bar.

        Raises:
            ValueError: a row lacks a column that the prompt needs, or the server refused a request.
            OSError: the server gave no answer. Replies that came are kept.
        """
        judge = JUDGES[metric]
        if judge.made is not None:
            judge = judge.made(Path(data or ""))
        open_rows = [number for number, row in enumerate(rows) if not _is_graded(row, judge)]
        for number in open_rows:
            missing = [column for column in judge.columns if column not in rows[number]]
            if missing:
                index = rows[number].get("index", number)
                raise ValueError(f"Question {index} lacks {', '.join(missing)}, which the judge is told.")
        with _Replies(Path(folder) / FILE) as kept:
            reading = _Reading(self, judge, kept)
            found = self._read_all(reading, [rows[number] for number in open_rows], quiet)
        judged: list[Row] = list(rows)
        for number, columns in zip(open_rows, found, strict=True):
            judged[number] = {**rows[number], **columns}
        return judged, reading.judgement(len(open_rows))

    def _read_all(self, reading: "_Reading", rows: Sequence[Row], quiet: bool) -> list[Mapping[str, Any]]:
        bar = tqdm(total=len(rows), desc="judge", unit="answer", disable=quiet or None)
        with ThreadPoolExecutor(self.requests) as pool, bar:
            futures = [pool.submit(reading.columns, row) for row in rows]
            for future in futures:
                future.add_done_callback(lambda _: bar.update())
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((future for future in done if future.exception() is not None), None)
            if failed is not None:
                self._connection.stop.set()  # no further attempts of the others
                pool.shutdown(cancel_futures=True)
                failed.result()
            return [future.result() for future in futures]

    def reply(self, judge: Judge, content: Content, temperature: float) -> _Reply:
        """What the judge says."""
        system = [] if judge.system_message is None else [("system", judge.system_message)]
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [
                {"role": role, "content": said} for role, said in (*system, *judge.dialogue, ("user", content))
            ],
            "temperature": temperature,
            **judge.extra,
        }
        if judge.max_tokens is not None:
            body["max_tokens"] = judge.max_tokens
        answer = self._connection.chat(body, "a question to the judge")
        usage = answer.get("usage") or {}
        text = answer["choices"][0]["message"].get("content")
        return _Reply(
            text if isinstance(text, str) else "", usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
        )


def _is_graded(row: Row, judge: Judge) -> bool:
    last = judge
    while last.follow is not None:
        last = last.follow
    return all(column in row for column in last.unread) or judge.decided(row)


class _Reading:
    """One pass over the rows: asks, reads and counts. Threads share it."""

    def __init__(self, model: JudgeModel, judge: Judge, kept: "_Replies"):
        self.model, self.judge, self.kept = model, judge, kept
        self._lock = threading.Lock()
        self._used: list[_Reply] = []
        self._calls = self._unread = 0

    def columns(self, row: Row) -> Mapping[str, Any]:
        """The columns of a row: of the first reply that can be read, else those of none."""
        found: dict[str, Any] = {}
        judge: Judge | None = self.judge
        while judge is not None:
            if not judge.decided({**row, **found}):
                found.update(self._read(judge, {**row, **found}))
            judge = judge.follow
        return found

    def _read(self, judge: Judge, row: Row) -> Mapping[str, Any]:
        content = _content(judge, row)
        for attempt in range(len(judge.temperatures)):
            read = judge.read(self._reply(judge, content, attempt).text)
            if read is not None:
                return read
        with self._lock:
            self._unread += 1
        return judge.unread

    def _reply(self, judge: Judge, content: Content, attempt: int) -> _Reply:
        key = _key(self.model.name, judge, content, attempt)
        new = 0
        with self.kept.alone(key):
            reply = self.kept.get(key)
            if reply is None:
                reply, new = self.model.reply(judge, content, judge.temperatures[attempt]), 1
                self.kept.add(key, self.model.name, reply)
        with self._lock:
            self._used.append(reply)
            self._calls += new
        return reply

    def judgement(self, asked: int) -> Judgement:
        """What it took."""
        return Judgement(
            self.model.name,
            asked,
            len(self._used),
            self._calls,
            sum(reply.tokens_in for reply in self._used),
            sum(reply.tokens_out for reply in self._used),
            self._unread,
        )


def _content(judge: Judge, row: Row) -> Content:
    """What the judge is sent: a text, with the image where it sees that.

    Raises:
        ValueError: the image is no base64.
    """
    text = judge.prompt(row)
    if not judge.picture:
        return text
    image = str(row["image"])
    try:
        base64.b64decode(image, validate=True)
    except ValueError as error:
        raise ValueError(
            f"Question {row.get('index')}: the judge sees the image, which must be base64 in the column `image`, "
            f"as in VLMEvalKit's file; got {image[:40]!r}."
        ) from error
    picture = {"url": f"data:image/jpeg;base64,{image}", "detail": judge.picture}
    return [{"type": "text", "text": text}, {"type": "image_url", "image_url": picture}]


def _key(model: str, judge: Judge, content: Content, attempt: int) -> str:
    """Of a reply: everything that it depends on."""
    asked: list[Any] = [model, judge.system_message, content, judge.temperatures[attempt], judge.max_tokens, attempt]
    asked += [dict(judge.extra)] if judge.extra else []
    asked += [judge.dialogue] if judge.dialogue else []
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


class _Replies:
    """The replies on disk, by key. Use as a context manager."""

    def __init__(self, path: Path):
        self._file, self._lock = LineFile(path), threading.Lock()
        self._asking: dict[str, tuple[threading.Lock, int]] = {}  # how many threads want the reply of a key

    def __enter__(self) -> "_Replies":
        self._file.__enter__()
        try:
            self._known = {line["key"]: self._read(line) for line in self._file.read()}
        except (KeyError, TypeError, ValueError) as error:
            self._file.__exit__()
            raise ValueError(f"{self._file.path} holds something else than replies of a judge: {error!r}") from error
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.__exit__()

    @staticmethod
    def _read(line: Mapping[str, Any]) -> _Reply:
        return _Reply(str(line["reply"]), int(line["tokens_in"]), int(line["tokens_out"]))

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """One thread at a time asks for a reply, so that the others find it."""
        with self._lock:
            lock, wanting = self._asking.get(key, (threading.Lock(), 0))
            self._asking[key] = (lock, wanting + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                wanting = self._asking[key][1] - 1
                if wanting:
                    self._asking[key] = (lock, wanting)
                else:
                    del self._asking[key]

    def get(self, key: str) -> _Reply | None:
        """The reply, None where there is none."""
        return self._known.get(key)

    def add(self, key: str, model: str, reply: _Reply) -> None:
        """Write a reply down."""
        with self._lock:
            self._file.append(
                [
                    {
                        "key": key,
                        "model": model,
                        "reply": reply.text,
                        "tokens_in": reply.tokens_in,
                        "tokens_out": reply.tokens_out,
                    }
                ]
            )
            self._known[key] = reply


__all__ = ["JudgeModel", "Judgement"]
