# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The application: transformers' own chat server, with our models behind it and nothing else.

What is different from `transformers serve`: models are those that were loaded at the start; pictures are fetched and
cut on other threads than the one that serves; requests are checked; routes that take raw prompts or load models are
left out.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from jinja2 import TemplateError
from starlette.exceptions import HTTPException
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.server import build_server
from transformers.cli.serving.utils import GenerationState, InferenceThread

from ...processing.sources import DECODING_ERRORS
from .generation import Cancelled, Turn
from .guard import Guard, client_left
from .media import Limits, check_video, open_picture, read_source
from .requests import RequestError, check_request, generation_options, source_of

ROUTES = ("/health", "/v1/chat/completions", "/v1/models")
_FETCHING = 32  # requests whose pictures are fetched at a time
_PREPARED = 2  # requests of a model that hold tiles at a time: the one that is answered, and the next


@dataclass
class Served:
    """A model, its processor, the thread it runs on, and who may prepare tiles for it."""

    model: Any
    processor: Any
    thread: InferenceThread = field(default_factory=InferenceThread)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_PREPARED))
    since: int = field(default_factory=lambda: int(time.time()))

    @property
    def context(self) -> int:
        """Most tokens of a prompt and its answer."""
        return int(self.model.config.get_text_config(decoder=True).max_position_embeddings)


class ServedModels(ModelManager):
    """The models by the names that requests use. None is ever loaded because a request names it."""

    def __init__(self, models: dict[str, Served]):
        super().__init__(device="cpu")  # where the models are was chosen before
        self.models = models

    def find(self, name: str | None) -> tuple[str, Served]:
        """The model of a request; without a name the only one. Raises `RequestError` (404)."""
        if name is None and len(self.models) == 1:
            name = next(iter(self.models))
        if name not in self.models:
            raise RequestError(
                f"The model {name!r:.200} is not served here; there is {', '.join(self.models)}.",
                status=404,
                param="model",
                code="model_not_found",
            )
        return name, self.models[name]

    def list_models(self, cache_dir: str | None = None) -> list[dict]:
        """What `/v1/models` lists: the models that are served, and no other that lies in the Hub's cache."""
        same = {"object": "model", "owned_by": "internvl", "status": {"value": "loaded"}}
        return [{"id": name, "created": served.since, **same} for name, served in self.models.items()]


class ChatHandler(ChatCompletionHandler):
    """`/v1/chat/completions`: transformers' answers, our way to the inputs."""

    def __init__(self, models: ServedModels, limits: Limits):
        super().__init__(models, GenerationState())
        self.models, self.limits = models, limits
        self.fetching = ThreadPoolExecutor(_FETCHING, "fetching")
        self.preparing = ThreadPoolExecutor(_PREPARED * len(models.models), "preparing")

    async def handle_request(self, body: dict, request_id: str) -> Any:
        """Check, fetch, wait for a slot, prepare, answer."""
        check_request(body)
        self._validate_request(body)  # fields that OpenAI does not know
        name, served = self.models.find(body.get("model"))
        left = client_left.get()
        loop = asyncio.get_running_loop()
        messages = await loop.run_in_executor(self.fetching, with_media, body["messages"], self.limits)
        await served.slots.acquire()
        stops = body.get("stop") or []
        turn = Turn(
            served.thread, [stops] if isinstance(stops, str) else stops, body.get("seed"), left, served.slots.release
        )
        try:
            if left.is_set():
                raise Cancelled
            options = body.get("chat_template_kwargs") or {}
            inputs = await loop.run_in_executor(self.preparing, prepare, served, messages, options)
            config = self._config(body, served, inputs["input_ids"].shape[1])
            arguments = (request_id, served.model, served.processor, name, inputs, config)
            if body.get("stream"):
                return self._streaming(*arguments, gen_manager=turn)
            return await self._non_streaming(*arguments, gen_manager=turn)
        except Cancelled as error:
            raise RequestError("The client has left.", status=499) from error
        finally:
            if not turn.begun:
                served.slots.release()

    def _config(self, body: dict, served: Served, prompt: int) -> Any:
        """How to generate. Raises `RequestError` if prompt and answer do not fit into the model's context."""
        options = generation_options(body)
        asked = body.get("max_completion_tokens") or body.get("max_tokens") or options.pop("max_new_tokens", None)
        room = served.context - prompt
        if room < 1 or (asked or 0) > room:
            raise RequestError(
                f"The prompt has {prompt} tokens and the answer may have {asked or 'at least 1'}, but the model's "
                f"context is {served.context}.",
                param="messages" if room < 1 else "max_tokens",
                code="context_length_exceeded",
            )
        kept = {k: v for k, v in body.items() if k not in ("generation_config", "seed", "stop", "temperature")}
        config = self._build_generation_config(kept, served.model.generation_config)
        config.num_beams = 1  # answers come token by token
        config.max_new_tokens = asked or min(config.max_new_tokens, room)
        if body.get("logit_bias"):
            size = served.model.config.get_text_config(decoder=True).vocab_size
            if any(int(token) >= size for token in body["logit_bias"]):
                raise RequestError(f"`logit_bias` names a token beyond the {size} of the model.", param="logit_bias")
            config.sequence_bias = {(int(token),): float(bias) for token, bias in body["logit_bias"].items()}
        for key, value in options.items():
            setattr(config, key, value)
        temperature = body.get("temperature")
        if temperature == 0:
            config.do_sample = False
        elif temperature is not None or body.get("top_p") is not None:
            config.do_sample = True
            config.temperature = float(temperature or config.temperature or 1.0)
        return config


def with_media(messages: list[dict], limits: Limits) -> list[dict]:
    """Messages in OpenAI's form as the processor takes them, with pictures and videos in place of their URLs.

    Raises:
        RequestError: one cannot be read, or together they are too many, too large or too slow.
    """
    end = time.monotonic() + limits.seconds
    items, left = 0, limits.bytes
    result = []
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        converted: list[dict[str, Any]] = []
        for part in parts:
            if part["type"] == "text":
                converted.append({"type": "text", "text": part["text"]})
                continue
            items += 1
            if items > limits.items:
                raise RequestError(f"A request may have {limits.items} pictures and videos at most.")
            seconds = max(end - time.monotonic(), 0.01)
            data = read_source(source_of(part), replace(limits, bytes=left, seconds=seconds))
            left = max(left - len(data), 0)
            converted.append(_video(data) if part["type"] == "video_url" else _picture(part, data, limits))
        role = "system" if message["role"] == "developer" else message["role"]
        result.append({"role": role, "content": converted})
    return result


def _video(data: bytes) -> dict[str, Any]:
    check_video(data)
    return {"type": "video", "video": data}


def _picture(part: dict[str, Any], data: bytes, limits: Limits) -> dict[str, Any]:
    picture = {"type": "image", "image": open_picture(data, limits)}
    value = part["image_url"]
    detail = value.get("detail") if isinstance(value, dict) else None
    if detail not in (None, "auto", "low", "high"):
        raise RequestError(f"`detail` of a picture must be auto, low or high, got {detail!r:.80}.")
    return {**picture, "max_patches": 1} if detail == "low" else picture


def prepare(served: Served, messages: list[dict], options: dict[str, Any]) -> Any:
    """The inputs of the model, on its device. Text is data: no message can write a special token.

    Raises:
        RequestError: pictures that cannot be decoded or do not fit into the context, or what the template refuses.
    """
    processor, model = served.processor, served.model
    try:
        _check_media_tokens(served, messages, options)
        inputs = processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", **options
        )
    except (ValueError, ImportError, TemplateError, *DECODING_ERRORS) as error:
        raise RequestError(" ".join(str(error).split())[:500], param="messages") from error
    return inputs.to(model.device, dtype=model.dtype)


def _check_media_tokens(served: Served, messages: list[dict], options: dict[str, Any]) -> None:
    """Whether pictures and videos fit into the context, before any of them is decoded."""
    processor, tokens = served.processor, 0
    shared = {"max_patches": options["max_patches"]} if options.get("max_patches") else {}
    frames = options.get("num_frames") or getattr(processor.video_processor, "num_frames", None) or 1
    for item in (item for message in messages for item in message["content"]):
        if item["type"] == "image":
            own = {"max_patches": item["max_patches"]} if "max_patches" in item else shared
            tokens += processor.count_tokens([item["image"].size[::-1]], **own)[0]
        elif item["type"] == "video":
            tokens += frames * processor.image_seq_length
    if tokens >= served.context:
        raise RequestError(
            f"The pictures and videos take {tokens} tokens, but the model's context is {served.context}: send fewer, "
            'smaller ones, or `"detail": "low"`.',
            param="messages",
            code="context_length_exceeded",
        )


def build_app(models: dict[str, Served], limits: Limits, most_requests: int) -> Any:
    """The ASGI application that serves `models`, by name, within `limits`."""
    served = ServedModels(models)
    handler = ChatHandler(served, limits)
    app = build_server(served, handler, None, None, None, None, handler.generation_state)
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) in ROUTES]
    app.add_middleware(Guard, most_bytes=limits.bytes * 3 // 2, most_requests=most_requests)
    app.add_exception_handler(RequestError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_json)
    app.add_exception_handler(HTTPException, _refuse_http)
    app.add_exception_handler(Exception, _fail)
    return app


async def _refuse(_request: Any, error: Any) -> JSONResponse:
    return JSONResponse(error.body(), error.status)


async def _refuse_json(_request: Any, error: Any) -> JSONResponse:
    return await _refuse(_request, RequestError("The body must be a JSON object, sent as application/json."))


async def _refuse_http(_request: Any, error: Any) -> JSONResponse:
    return await _refuse(_request, RequestError(str(error.detail), error.status_code))


async def _fail(_request: Any, _error: Any) -> JSONResponse:
    return await _refuse(_request, RequestError("The server failed on this request; its log says why.", 500))
