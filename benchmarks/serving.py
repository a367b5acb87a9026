# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl serve` with many clients: answers generated together, against one after another (`--max-batch 1`).

    python benchmarks/serving.py [--quick] [--rounds N] [--device cuda]
    python benchmarks/serving.py --decoder [--rounds N]

The model has the width of InternVL3-1B's language model and fewer layers (too large for the caches of a processor),
random weights, and tower and processor of the embedded one. Both servers run side by side and are asked in turn: a
number of clients at once, each about a picture of its own. Each figure is the best of all rounds. `processor time` is
that of the server, which others on the machine disturb less.

Then a short request comes right behind one with a long prompt: the time to its first piece, as a share of that to the
first piece of the long one.

`--decoder` leaves the server out: questions to the embedded model in text, as many as clients, by the decoder of the
server and by one call of `generate` each, in processor time.
"""

import argparse
import copy
import http.client
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import torch
from figures import heading, record
from transformers import AutoProcessor

import transformers_internvl as ours
from transformers_internvl.nano import nano_path
from transformers_internvl.serving.batching import BatchedDecoder
from transformers_internvl.serving.generation import Answer, generate_alone

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lab.nano.drawing import draw  # noqa: E402 (needs the path)
from lab.nano.questions import TASKS  # noqa: E402
from tests.reliability.serving import data_uri, png, running_server  # noqa: E402

WIDTH = {"hidden_size": 896, "intermediate_size": 4864, "num_attention_heads": 14, "num_key_value_heads": 2}


def write_model(folder: Path, layers: int) -> None:
    """A checkpoint as wide as InternVL3-1B, with so many layers."""
    config = ours.InternVLConfig.from_pretrained(nano_path()).to_dict()
    for name in ("layer_types", "max_window_layers"):
        config["text_config"].pop(name, None)
    config["text_config"] |= WIDTH | {"num_hidden_layers": layers}
    torch.manual_seed(0)
    model = ours.InternVLForConditionalGeneration(ours.InternVLConfig(**config))
    model.generation_config.eos_token_id = None  # all answers have the length that is asked for
    model.generation_config.pad_token_id = config["text_config"]["pad_token_id"]
    model.save_pretrained(folder)
    AutoProcessor.from_pretrained(nano_path()).save_pretrained(folder)


def pieces(url: str, body: dict[str, Any]) -> Iterator[str]:
    """The pieces of a streamed answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=3600)
    data = json.dumps({**body, "stream": True, "temperature": 0})
    connection.request("POST", f"{parts.path}/chat/completions", data, {"Content-Type": "application/json"})
    for line in connection.getresponse():
        if line.startswith(b"data: {"):
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise RuntimeError(chunk)
            for choice in chunk["choices"]:
                if choice["delta"].get("content"):
                    yield choice["delta"]["content"]
    connection.close()


def question(number: int, tokens: int) -> dict[str, Any]:
    """A question about a picture that nobody has asked about."""
    drawing = draw(TASKS[number % 3], f"serving {number}")
    content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": data_uri(png(drawing.image))}}]
    content.append({"type": "text", "text": drawing.question})
    return {"messages": [{"role": "user", "content": content}], "max_tokens": tokens}


def ask_all(url: str, process: psutil.Process, bodies: list[dict], clients: int) -> tuple[float, float, list[str]]:
    """Answers per second, and per second of the server's processor time; and the answers."""
    spent, start = _processor(process), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(lambda body: "".join(pieces(url, body)), bodies))
    wall, spent = time.perf_counter() - start, _processor(process) - spent
    return len(bodies) / wall, len(bodies) / spent, answers


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def behind_a_long_one(url: str, words: int, tokens: int) -> float:
    """Seconds to the first piece of a short request, over those of a long one that came just before."""
    starts, firsts = [0.0, 0.0], [0.0, 0.0]

    def ask(index: int, body: dict) -> None:
        starts[index] = time.perf_counter()
        for _ in pieces(url, body):
            firsts[index] = firsts[index] or time.perf_counter()

    def said(text: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": text}], "max_tokens": tokens}

    salt = time.perf_counter_ns()  # no beginning of these prompts is known
    long = threading.Thread(target=ask, args=(0, said(f"{salt} " + "a b c d " * (words // 4))))
    long.start()
    time.sleep(0.1)
    ask(1, said(f"{salt + 1} What is it?"))
    long.join()
    return (firsts[1] - starts[1]) / (firsts[0] - starts[0])


class Inline:
    """In place of the model's thread: what was submitted is run by the caller."""

    def submit(self, function: Callable[[], None]) -> None:
        self.function = function


def decode(rounds: int, clients: int, tokens: int) -> None:
    """Print the processor time of a decoder's answers as a share of that of single calls."""
    model = ours.InternVLForConditionalGeneration.from_pretrained(nano_path()).eval()
    processor = AutoProcessor.from_pretrained(nano_path())
    model.generation_config.eos_token_id = None
    model.generation_config.update(max_new_tokens=tokens, do_sample=False)
    prompts = []
    for number in range(clients):
        messages = [{"role": "user", "content": [{"type": "text", "text": f"What is {number} and more of it?"}]}]
        options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        prompts.append(processor.apply_chat_template(messages, **options))

    def answers() -> list[Answer]:
        return [Answer(processor.decode, [], None, threading.Event()) for _ in prompts]

    def together() -> list[list[int]]:
        decoder, given = BatchedDecoder(model, Inline(), clients, 1 << 30), answers()
        for prompt, answer in zip(prompts, given, strict=True):
            decoder.submit(dict(prompt), copy.deepcopy(model.generation_config), answer, None, lambda: None)
        decoder.thread.function()
        return [answer.ids for answer in given]

    def alone() -> list[list[int]]:
        given = answers()
        for prompt, answer in zip(prompts, given, strict=True):
            generate_alone(model, dict(prompt), copy.deepcopy(model.generation_config), answer, None)
        return [answer.ids for answer in given]

    equal = sum(one == other for one, other in zip(together(), alone(), strict=True))
    best = [1e9, 1e9]
    for _ in range(rounds):
        for index, run in enumerate((together, alone)):
            start = time.process_time()
            run()
            best[index] = min(best[index], time.process_time() - start)
    print(f"tokens per second of processor time, together / one after another: {best[1] / best[0]:.2f}")
    print(f"equal answers: {equal} of {clients}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decoder", action="store_true", help="without the server")
    parser.add_argument("--quick", action="store_true", help="a small model, one round: a smoke test")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64, help="of an answer")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    layers, rounds, clients, tokens = arguments.layers, arguments.rounds, arguments.clients, arguments.tokens
    words = 1200
    if arguments.quick:
        layers, rounds, clients, tokens, words = 1, 1, 4, 8, 600
    size = "the embedded model" if arguments.decoder else f"{layers} layers"
    work = f"{clients} clients, answers of {tokens} tokens, {size}, {rounds} round(s)"
    print(heading(arguments.device, f"{os.cpu_count()} cores, servers with one thread", work))
    best: dict[tuple[str, int], float] = {}
    equal = asked = 0
    if arguments.decoder:
        decode(rounds, clients, tokens)
        return
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        write_model(Path(folder) / "wide", layers)
        options = ("--model", f"{folder}/wide", "--device", arguments.device)
        # One place is for another client: one more than clients here, which have one address.
        servers = {
            most: stack.enter_context(running_server(*options, "--max-batch", str(most))) for most in (1, clients + 1)
        }
        for number in range(rounds + 1):
            bodies = [question(1000 * number + index, tokens if number else 4) for index in range(clients)]
            results = {most: ask_all(*server, bodies, clients) for most, server in servers.items()}
            if number == 0:
                continue  # warm-up
            for most, (wall, processor, _) in results.items():
                best["wall", most] = max(best.get(("wall", most), 0.0), wall)
                best["processor", most] = max(best.get(("processor", most), 0.0), processor)
            alone, together = (answers for _, _, answers in results.values())
            equal += sum(one == other for one, other in zip(alone, together, strict=True))
            asked += len(bodies)
            for most, (url, _) in servers.items():
                share = behind_a_long_one(url, words, 4)
                best["first piece", most] = min(best.get(("first piece", most), 1e9), share)
    print(f"answers per second, together / one after another: {best['wall', clients + 1] / best['wall', 1]:.2f}")
    ratio = best["processor", clients + 1] / best["processor", 1]
    print(f"answers per second of processor time, likewise: {ratio:.2f}")
    print(f"equal answers: {equal} of {asked}")
    for most, words_of in ((1, "one after another"), (clients + 1, "together")):
        share = best["first piece", most]
        print(f"first piece of a short request behind a long one, {words_of}: {share:.2f} of the long one's")
    record(
        {
            "answers per second": best["wall", clients + 1] / best["wall", 1],
            "of processor time": ratio,
            "first piece, short / long before it": best["first piece", clients + 1],
        },
        arguments.device,
    )


if __name__ == "__main__":
    main()
