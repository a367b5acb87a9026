# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A server answers, through OpenAI's API for chats: `internvl serve`, vLLM, LMDeploy, SGLang, or any other."""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from io import BytesIO
from typing import Any

from PIL import Image

from ..benchmarks.asking import Asked
from .answering import Reply
from .connection import Connection
from .jobs import Job
from .local import conversation, stripped

# Owner of the served models -> where a request names the tiles of its images.
_TILES_FIELD: dict[str, Callable[[int], dict[str, Any]]] = {
    "internvl": lambda tiles: {"chat_template_kwargs": {"max_patches": tiles}},
    "vllm": lambda tiles: {"mm_processor_kwargs": {"max_dynamic_patch": tiles, "min_dynamic_patch": 1}},
}
_GENERATION = {"max_new_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p"}


class EndpointModel:
    """The model of a server.

    Args:
        url: of the API, such as `http://127.0.0.1:8000/v1`.
        model: its name on the server; None = the only one there.
        requests: maximum number of requests at the same time.
        key: the server's key.
        timeout: seconds to wait for one answer.
        system_message: of questions without one; None = what the server's chat template sends.
        extra: further fields of every request, which win over ours.
        client: an `httpx.Client`, such as one of a server in this process; None makes one.

    Raises:
        ValueError: the server has no such model, or several and none is chosen.
        OSError: it cannot be reached.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        requests: int = 8,
        key: str = "none",
        timeout: float = 3600.0,
        system_message: str | None = None,
        extra: Mapping[str, Any] | None = None,
        client: Any = None,
    ):
        self.url, self.batch_size, self.requests = url.rstrip("/"), 1, requests
        self.system_message, self.extra = system_message, dict(extra or {})
        self._connection = Connection(url, key=key, requests=requests, timeout=timeout, client=client)
        served = self._connection.models()
        if model is None and len(served) != 1:
            raise ValueError(f"The server at {url} has {len(served)} models: choose one of {', '.join(served)}.")
        self.name = model or next(iter(served))
        if served and self.name not in served:
            raise ValueError(f"The server at {url} has no model {self.name!r}: it has {', '.join(served)}.")
        self.tiles_field = _TILES_FIELD.get(served.get(self.name, ""))

    def answer(
        self, batches: Iterable[list[Job]], prepare: Callable[[Job], Asked]
    ) -> Iterator[list[tuple[Job, Reply]]]:
        """The answers as they come, with up to `requests` questions under way."""
        jobs = (job for batch in batches for job in batch)
        with ThreadPoolExecutor(self.requests) as pool:
            waiting: dict[Future, Job] = {}
            try:
                while True:
                    while len(waiting) < 2 * self.requests and (job := next(jobs, None)) is not None:
                        waiting[pool.submit(self._reply, job, prepare)] = job
                    if not waiting:
                        return
                    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                    asked = [(waiting.pop(future), future) for future in done]
                    answered = [(job, future.result()) for job, future in asked if future.exception() is None]
                    if answered:
                        yield answered
                    for _, future in asked:
                        future.result()  # raises where a question failed, once the others are written down
            finally:
                self._connection.stop.set()
                for future in waiting:
                    future.cancel()

    def _reply(self, job: Job, prepare: Callable[[Job], Asked]) -> Reply:
        asked = prepare(job)
        body = self._body(asked, job.seed)
        answer = self._connection.chat(body, f"question {job.index}")
        choice = answer["choices"][0]
        message = choice["message"]
        text, usage = message.get("content") or "", answer.get("usage") or {}
        thoughts = message.get("reasoning_content") or message.get("reasoning")
        return Reply(
            stripped(text, asked), usage.get("completion_tokens"), choice.get("finish_reason") == "length", thoughts
        )

    def _body(self, asked: Asked, seed: int) -> dict[str, Any]:
        """The request of a question. A greedy one has temperature 0; the random numbers are the server's."""
        generation = {name: value for name, value in asked.request.generation.items() if value is not None}
        body: dict[str, Any] = {"model": self.name, "messages": _messages(asked, self.system_message)}
        body.update({_GENERATION[name]: value for name, value in generation.items() if name in _GENERATION})
        if not generation.get("do_sample"):
            body.pop("top_p", None)
            body["temperature"] = 0
        else:
            body["seed"] = seed % 2**31
        tiles = max((rule.max_tiles for rule in asked.request.images), default=None)
        if asked.prefix:  # vLLM's and SGLang's names
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        if self.tiles_field is not None and tiles is not None:
            body.update(self.tiles_field(tiles))
        return {**body, **self.extra}


def _messages(asked: Asked, system_message: str | None) -> list[dict[str, Any]]:
    """In OpenAI's form, with images as PNG. Servers put a line break behind an image themselves."""
    messages = conversation(asked, system_message, breaks_lines=True)
    for message in messages:
        for number, item in enumerate(message["content"]):
            if item["type"] == "image":
                source = {"url": _data_uri(item["image"])}
                if item["max_patches"] == 1:
                    source["detail"] = "low"  # one tile
                message["content"][number] = {"type": "image_url", "image_url": source}
        if message["role"] in ("system", "assistant"):
            message["content"] = message["content"][0]["text"]
    return messages


def _data_uri(image: Image.Image) -> str:
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


__all__ = ["EndpointModel"]
