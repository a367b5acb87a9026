# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl serve` under load: a server process, clients that ask or misbehave, and the command that does it long.

`python -m tests.reliability.serving --clients 64 --requests 500` compares every answer with the direct call's, and
prints the server's memory. With `--second-client` it sends what would stop a server (`hostile.py`), and prints how
long another client waits.
"""

import argparse
import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import openai
import psutil
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import transformers_internvl  # noqa: F401  (registers)
from lab.nano.drawing import draw
from lab.nano.questions import TASKS
from tests.clips import sdp, write_frames
from transformers_internvl.nano import nano_path

SOURCE = str(Path(transformers_internvl.__file__).resolve().parents[1])
MAX_TOKENS = 8


@contextmanager
def running_server(*arguments: str, module: str = "transformers_internvl.cli") -> Iterator[tuple[str, psutil.Process]]:
    """A process of `internvl serve` at a free port: its URL, and the process, whose `said` is what it prints."""
    paths = os.pathsep.join(
        [SOURCE, str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    ).strip(os.pathsep)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-m", module, "serve", "--port", "0", *arguments]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        line = server.stdout.readline()
        if not line.startswith("Serving "):
            raise RuntimeError(f"The server did not start: {line!r}")
        process = psutil.Process(server.pid)
        process.said = server.stdout
        yield line.split()[-1], process
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()


def client_of(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=600)


def png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def data_uri(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


@dataclass(frozen=True)
class Case:
    """A question with its images, PNG files, and how it is asked; or about a video, an MP4."""

    question: str
    pictures: tuple[bytes, ...]
    stream: bool
    videos: tuple[bytes, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """Of the template."""
        return {"num_frames": 2} if self.videos else {}

    def request(self) -> list[dict[str, Any]]:
        parts: list[dict] = [{"type": "image_url", "image_url": {"url": data_uri(data)}} for data in self.pictures]
        parts += [{"type": "video_url", "video_url": {"url": data_uri(data, "video/mp4")}} for data in self.videos]
        return [{"role": "user", "content": [*parts, {"type": "text", "text": self.question}]}]

    def expected(self) -> str:
        parts: list[dict] = [{"type": "image", "image": Image.open(BytesIO(data))} for data in self.pictures]
        parts += [{"type": "video", "video": data} for data in self.videos]
        messages = [{"role": "user", "content": [*parts, {"type": "text", "text": self.question}]}]
        return direct(messages, **self.options)


def cases(number: int, seed: int, videos: bool = False) -> list[Case]:
    """Questions about one image, about two, and about none, every second one streamed. With `videos`, every third is
    about one instead."""
    result = []
    for index in range(number):
        if videos and index % 3 == 2:
            clip = write_drawings(index, seed)
            result.append(Case(f"What is in video {index}?", (), index % 2 == 0, (clip,)))
            continue
        drawings = [draw(TASKS[(index + k) % 3], f"{seed} {index} {k}") for k in range((1, 1, 2, 0)[index % 4])]
        question = drawings[0].question if drawings else f"What is {seed + index} and {index}?"
        result.append(Case(question, tuple(png(drawing.image) for drawing in drawings), index // 2 % 2 == 0))
    return result


def write_drawings(index: int, seed: int) -> bytes:
    """A video of four drawings."""
    file = BytesIO()
    frames = [draw(TASKS[k % 3], f"{seed} {index} {k}").image.convert("RGB").resize((224, 224)) for k in range(4)]
    write_frames(file, [np.asarray(frame) for frame in frames])
    return file.getvalue()


@lru_cache
def _direct_model() -> tuple[Any, Any]:
    return AutoModelForImageTextToText.from_pretrained(nano_path()).eval(), AutoProcessor.from_pretrained(nano_path())


def direct(messages: list[dict[str, Any]], max_tokens: int = MAX_TOKENS, **options: Any) -> str:
    """The answer of the same model without a server."""
    model, processor = _direct_model()
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", **options
    )
    ids = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    return processor.decode(ids, skip_special_tokens=True)


def ask(client: openai.OpenAI, messages: list[dict[str, Any]], stream: bool = False, **options: Any) -> str:
    """The answer through a server."""
    options = {"max_tokens": MAX_TOKENS, "temperature": 0, "model": "nano"} | options
    if not stream:
        return client.chat.completions.create(messages=messages, **options).choices[0].message.content
    chunks = client.chat.completions.create(messages=messages, stream=True, **options)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def leave_early(url: str, stream: bool) -> None:
    """A client that asks for a long answer and closes the connection at once, or at the first piece."""
    parts = urlsplit(url)
    body = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 3000, "stream": stream, "temperature": 1.5}
    body["logit_bias"] = {str(token): -100 for token in _ends()}  # it would not end by itself
    data = json.dumps(body).encode()
    head = f"POST {parts.path}/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        if stream:
            connection.recv(1)
        else:
            time.sleep(0.05)


def _ends() -> list[int]:
    ids = _direct_model()[0].generation_config.eos_token_id
    return ids if isinstance(ids, list) else [ids]


def _user(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def _picture(url: Any) -> dict[str, Any]:
    return _user({"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What?"})


def _video(url: str) -> dict[str, Any]:
    return _user({"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": "What?"})


_HI = {"messages": [{"role": "user", "content": "Hi"}]}
_BOMB = png(Image.new("1", (20_000, 20_000)))
# Name -> a body that no server can make sense of (or should not), the status, words of the sentence.
RUBBISH: dict[str, tuple[Any, int, str]] = {
    "broken JSON": (b'{"messages": [', 400, "JSON"),
    "no object": (b"[1, 2]", 400, "JSON"),
    "deep JSON": (b"[" * 100_000, 400, ""),
    "not UTF-8": (b'{"model": "\xff"}', 400, ""),
    "no messages": ({}, 400, "messages"),
    "empty messages": ({"messages": []}, 400, "messages"),
    "messages of numbers": ({"messages": [1]}, 400, "messages[0]"),
    "unknown role": ({"messages": [{"role": "root", "content": "Hi"}]}, 400, "root"),
    "no content": ({"messages": [{"role": "user"}]}, 400, "content"),
    "half a character": (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 400, "Unicode"),
    "half a character as model": (b'{"model": "\\ud800", "messages": [{"role": "user", "content": "Hi"}]}', 404, ""),
    "unknown part": (_user({"type": "image", "path": "/etc/passwd"}), 400, "image_url"),
    "picture without URL": (_user({"type": "image_url"}), 400, "image_url"),
    "unknown model": (_HI | {"model": "gpt2"}, 404, "gpt2"),
    "model by its folder": (_HI | {"model": str(nano_path())}, 404, "not served"),
    "model of no type": (_HI | {"model": 7}, 400, "model"),
    "absurd max_tokens": (_HI | {"max_tokens": 10**9}, 400, "context"),
    "no max_tokens": (_HI | {"max_tokens": 0}, 400, "max_tokens"),
    "max_tokens in words": (_HI | {"max_tokens": "many"}, 400, "max_tokens"),
    "temperature": (_HI | {"temperature": -1}, 400, "temperature"),
    "empty stop": (_HI | {"stop": ""}, 400, "stop"),
    "token beyond the vocabulary": (_HI | {"logit_bias": {"999999999": 1}}, 400, "logit_bias"),
    "two answers": (_HI | {"n": 2}, 400, "`n`"),
    "tools": (_HI | {"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "tools"),
    "unknown field": (_HI | {"nonsense": 1}, 422, "nonsense"),
    "trusted text": (_HI | {"chat_template_kwargs": {"trust_text": True}}, 400, "chat_template_kwargs"),
    "own template": (_HI | {"chat_template_kwargs": {"chat_template": "{{ 1 }}"}}, 400, "chat_template_kwargs"),
    "unknown generation option": (_HI | {"generation_config": '{"num_beams": 9999}'}, 400, "generation_config"),
    "broken generation config": (_HI | {"generation_config": "{"}, 400, "generation_config"),
    "broken base64": (_picture("data:image/png;base64,%%%"), 400, "base64"),
    "no picture": (_picture(data_uri(b"hello")), 400, "No image"),
    "cut off picture": (_picture(data_uri(png(draw("count", 0).image)[:600])), 400, ""),
    "PostScript": (_picture(data_uri(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")), 400, "No image"),
    "decompression bomb": (_picture(data_uri(_BOMB)), 400, "image"),
    "picture by path": (_picture("/etc/hostname"), 400, "http(s)"),
    "picture by file URL": (_picture("file:///etc/hostname"), 400, "http(s)"),
    "picture of this machine": (_picture("http://127.0.0.1:1/x.png"), 400, "--allow-host"),
    "picture of the cloud's metadata": (_picture("http://169.254.169.254/latest"), 400, "--allow-host"),
    "picture by a broken URL": (_picture("http://[::1/x"), 400, "Cannot fetch"),
    "picture as a number": (_picture(7), 400, "image_url"),
    "200 pictures": (
        _user(*_picture(data_uri(png(Image.new("RGB", (9, 9)))))["messages"][0]["content"] * 200),
        400,
        "",
    ),
    "no video": (_video(data_uri(b"hello")), 400, "No video"),
    "video by a playlist": (_video(data_uri(b"#EXTM3U\n#EXTINF:1\n/etc/hostname\n")), 400, "No video"),
    "video that waits at a port": (_video(data_uri(sdp(2))), 400, "No video"),
    "video that names another": (_video(data_uri(b"ffconcat version 1.0\nfile /etc/hostname\n")), 400, "No video"),
    "broken video": (_video(data_uri(b"\0\0\0\x18ftypmp42" + b"\0" * 500)), 400, "video"),
    "100,000 frames": (
        _video(data_uri(b"\0\0\0\x18ftypmp42")) | {"chat_template_kwargs": {"num_frames": 100_000}},
        400,
        "context",
    ),
    "a prompt beyond the context": ({"messages": [{"role": "user", "content": "word " * 50_000}]}, 400, "context"),
}


def post(url: str, body: Any, path: str = "/chat/completions", timeout: float = 120) -> tuple[int, Any]:
    """Status and JSON of a raw request."""
    import http.client

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", parts.path + path, data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def misbehave(url: str, number: int) -> str | None:
    """One rubbish request, or one client that leaves; what was wrong with the answer."""
    if number % 5 == 0:
        leave_early(url, stream=number % 2 == 0)
        return None
    name = list(RUBBISH)[number % len(RUBBISH)]
    body, status, words = RUBBISH[name]
    got, answer = post(url, body)
    message = answer.get("error", {}).get("message", "")
    fine = got == status and words in message and "\n" not in message
    return None if fine else f"{name}: {got} {answer}"


def load(url: str, asked: list[Case], clients: int, rubbish: bool) -> tuple[list[str], list[str]]:
    """The answers to all cases, in their order, by clients at once, and what misbehaving ones met meanwhile."""
    wrong = []

    def one(index: int) -> str:
        if rubbish and index % 4 == 0:
            wrong.append(misbehave(url, index // 4))
        with client_of(url) as client:
            case = asked[index]
            more = {"extra_body": {"chat_template_kwargs": case.options}} if case.options else {}
            return ask(client, case.request(), case.stream, **more)

    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(one, range(len(asked))))
    return answers, [text for text in wrong if text is not None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--leavers", type=int, default=200, help="clients that leave in every phase, in a part of its own"
    )
    parser.add_argument("--only-leaving", action="store_true", help="only that part")
    parser.add_argument(
        "--second-client",
        nargs="?",
        const="",
        metavar="WORDS",
        help="only this: send what would stop a server (requests whose name has these words) beside a second client",
    )
    parser.add_argument("--at-once", type=int, default=4, help="how many times at once, with --second-client")
    arguments = parser.parse_args()
    if arguments.second_client is not None:
        from tests.reliability.second_client import measure

        return 1 if measure(arguments.at_once, arguments.second_client) else 0
    if arguments.only_leaving:
        return _leaving(arguments)
    asked = cases(arguments.requests, arguments.seed)
    expected = [case.expected() for case in asked]
    print(f"{len(asked)} requests, {len(set(expected))} different answers, {arguments.clients} clients")
    with running_server() as (url, process):
        half = len(asked) // 2
        memory = []
        for name, part in (
            ("warm-up", slice(0, 100)),
            ("first half", slice(0, half)),
            ("second half", slice(half, None)),
        ):
            start = time.perf_counter()
            answers, wrong = load(url, asked[part], arguments.clients, rubbish=True)
            pairs = zip(asked[part], answers, expected[part], strict=True)
            wrong += [f"{case.question}: {got!r}, not {right!r}" for case, got, right in pairs if got != right]
            memory.append(process.memory_info().rss / 2**20)
            print(
                f"{name}: {len(answers)} answers, {len(wrong)} surprises, {memory[-1]:.0f} MiB, "
                f"{process.num_threads()} threads, {process.num_fds()} files, {time.perf_counter() - start:.0f} s"
            )
            for line in wrong:
                print(" ", line)
            if wrong:
                return 1
    print(f"growth after the warm-up, over {len(asked)} requests: {memory[-1] - memory[0]:+.1f} MiB")
    return _leaving(arguments)


def _leaving(arguments: argparse.Namespace) -> int:
    from tests.reliability.leaving import mixed

    start = time.perf_counter()
    wrong, figures = mixed(arguments.requests, arguments.leavers, arguments.clients, arguments.seed)
    print(f"{arguments.leavers} clients that leave: {figures}, {time.perf_counter() - start:.0f} s")
    for line in wrong:
        print(" ", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
