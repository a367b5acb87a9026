# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A small OpenAI-compatible server that judges and translates by rules.

It fails, stalls and writes rubbish on purpose.

What it does with a request depends on the request and on how often it came: runs can be compared.
"""

import hashlib
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SYLLABLES = "가나다라마바사아자차카타파하고노도로모보소오조초코토포호구누두루무부수우주추쿠투푸후"
BAD, REPEATS, REFUSED = "utter nonsense", "again and again", "refuse this row"
"""Texts of rows that are judged badly, as repetition, and not at all."""


class Server(ThreadingHTTPServer):
    """Counts what it is asked.

    Attributes:
        faults: whether it fails, stalls and writes rubbish.
        limit: of good replies; then it answers with status 503. None = no limit.
        seconds: that a stalled request waits.
        answered: (prompt, temperature) -> good replies.
        kinds: of what it did, "500", "stall", "rubbish", "good" ... -> how often.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, faults: bool, seconds: float = 1.5):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults, self.seconds = faults, seconds
        self.limit: int | None = None
        self.answered: Counter[tuple[str, float]] = Counter()
        self.kinds: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients are killed on purpose
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = "\n".join(message["content"] for message in body["messages"])
        with self.server.lock:
            self.server.asked[prompt] += 1
            times = self.server.asked[prompt]
            kind = self._kind(prompt, times)
            self.server.kinds[kind] += 1
            if kind == "good":
                self.server.answered[prompt, body["temperature"]] += 1
        if kind == "stall":
            time.sleep(self.server.seconds)
            self.close_connection = True
            return
        if kind in ("503", "500", "400", "429"):
            self._send(int(kind), {"error": {"message": kind}})
        elif kind == "no JSON":
            self._send(200, "<html>busy</html>")
        else:
            text = _rubbish(prompt) if kind == "rubbish" else reply(body["messages"])
            choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
            self._send(200, {"choices": [choice], "usage": usage})

    def _kind(self, prompt: str, times: int) -> str:
        if self.server.limit is not None and self.server.answered.total() >= self.server.limit:
            return "503"
        if REFUSED in prompt:
            return "400"
        number = int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % 24
        if not self.server.faults or times > 2:
            return "good"
        first = {0: "stall", 1: "500", 2: "429", 3: "no JSON", 4: "rubbish", 5: "500", 6: "rubbish", 7: "no JSON"}
        second = {5: "500", 6: "rubbish"}
        return (first if times == 1 else second).get(number, "good")

    def _send(self, status: int, answer: object) -> None:
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        try:
            self.wfile.write(data)
        except OSError:  # the client is gone
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def reply(messages: list[dict[str, str]]) -> str:
    """A good reply to what our prompts ask."""
    system, text = messages[0]["content"], messages[-1]["content"]
    if text.startswith("Text for translation: "):
        return translated(text.removeprefix("Text for translation: "))
    if "Reply with one word" in system:
        return "<think>numbers? no</think>\n**Programming**" if "```" in text else "general"
    if "look for repetition" in system:
        return f'{{"score": {1 if REPEATS in text else 9}, "reason": "step 2"}}'
    return f"Score: {3.5 if BAD in text else 8}/10"


def translated(text: str) -> str:
    """A text with other words, and the same marks, numbers and punctuation."""
    return re.sub(r"[A-Za-z]+", lambda match: _word(match[0]), text)


def _word(word: str) -> str:
    number = int(hashlib.sha256(word.lower().encode()).hexdigest(), 16)
    return "".join(SYLLABLES[number // 40**k % 40] for k in range(1 + len(word) // 3))


def _rubbish(prompt: str) -> str:
    number = len(prompt) % 4
    return ("", "I cannot help with that.", "<image> <|im_end|> ⟦9⟧", "score score 3 or 8 " * 40)[number]


@contextmanager
def serving(faults: bool = False, seconds: float = 1.5) -> Iterator[Server]:
    """A running server."""
    server = Server(faults, seconds)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
