# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The application: transformers' own chat server, with our models behind it and nothing else.

Differences from `transformers serve`: only models loaded at the start are served; images are fetched and prepared
outside of the event loop; requests are checked; routes that take raw prompts or load models are left out.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.server import build_server
from transformers.cli.serving.utils import GenerationState, InferenceThread

from ..modeling.internvl.visual_positions import check_stride, visual_positions
from ..processing.fetching import is_url
from .batching import BatchedDecoder
from .bodies import check_text
from .generation import Cancelled, Turn
from .guard import Client, Guard, client
from .hosts import Hosts
from .inputs import Heavy
from .media import Limits, Reading
from .preparing import kind_of
from .requests import COLDEST, FAILED, RequestError, check_request, generation_options, media_parts, source_of
from .slots import FairSlots, unless_left

ROUTES = ("/health", "/v1/chat/completions", "/v1/models")
_FETCHING = 32  # requests that fetch at the same time
_FETCHING_OF_CLIENT = 8
# Requests of a model that are prepared, or keep their inputs, at the same time. Texts are cheap.
_PREPARED = {"text": 8, "image": 3, "heavy": 1, "video": 1}
# Maximum size of a body -> how many such bodies are decoded at the same time.
_READ = {4 << 20: 2, 1 << 62: 1}
_SHORTEST_BOUND = 256  # bytes a token, at least: unknown characters can become a single token


@dataclass
class Served:
    """A model, its processor, its thread, and the slots for preparing inputs and for generation.

    Args:
        max_batch: maximum number of answers that are generated at the same time; 1: one after another, each by a
            direct call.
        cache_bytes: maximum number of bytes of their keys and values.
        v2pe_stride: by how much positions grow from one token of an image to the next, a power of two up to 1. It
            holds for all requests, none may set another.

    Raises:
        ValueError: a stride that is none.
    """

    model: Any
    processor: Any
    thread: InferenceThread = field(default_factory=InferenceThread)
    prepared: dict[str, FairSlots] = field(default_factory=lambda: {k: FairSlots(n) for k, n in _PREPARED.items()})
    max_batch: int = 1
    cache_bytes: int = 4 << 30
    v2pe_stride: float = 1.0
    since: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        if check_stride(self.v2pe_stride) > 1:
            raise ValueError(f"A served model's `v2pe_stride` is at most 1, got {self.v2pe_stride!r}.")
        several = self.max_batch > 1
        self.decoder = BatchedDecoder(self.model, self.thread, self.max_batch, self.cache_bytes) if several else None
        # The last place is for another client, who then does not wait for the end of an answer.
        self.turns = FairSlots(self.max_batch, max(self.max_batch - 1, 2) if several else None)

    @property
    def context(self) -> int:
        """Maximum number of positions of a prompt and its answer; text and, at stride 1, images take one a token."""
        return int(self.model.config.get_text_config(decoder=True).max_position_embeddings)

    @property
    def most_image_tokens(self) -> int:
        """Maximum number of image tokens of a prompt."""
        return int(self.context / self.v2pe_stride)

    def positions(self, inputs: dict[str, Any]) -> int:
        """How many positions a prompt takes."""
        ids = inputs["input_ids"]
        if self.v2pe_stride == 1:
            return ids.shape[1]
        placeholders = ids == self.model.config.image_token_id
        return int(visual_positions(placeholders, self.v2pe_stride, self.model.config.image_seq_length).max()) + 1

    def options(self) -> dict[str, Any]:
        """Arguments of `generate` that hold for all requests."""
        return {} if self.v2pe_stride == 1 else {"v2pe_stride": self.v2pe_stride}

    @cached_property
    def most_text(self) -> int:
        """Maximum number of bytes of text that can fit into the context."""
        pieces = self.processor.tokenizer.get_vocab()
        return self.context * max(_SHORTEST_BOUND, *(len(piece.encode(errors="replace")) for piece in pieces))


class ServedModels(ModelManager):
    """The models by name. A request never loads a model."""

    def __init__(self, models: dict[str, Served]):
        super().__init__(device="cpu")  # not used: the models are loaded already
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
        """The list for `/v1/models`: the served models, and none of the Hub's cache."""
        same = {"object": "model", "owned_by": "internvl", "status": {"value": "loaded"}}
        return [{"id": name, "created": served.since, **same} for name, served in self.models.items()]


class ChatHandler(ChatCompletionHandler):
    """`/v1/chat/completions`: answers by transformers' handler, from inputs that we prepare.

    Args:
        models: the served models.
        prepare: prepares the inputs for messages (see `preparing`).
        limits: limits of a request.
    """

    def __init__(self, models: ServedModels, prepare: Any, limits: Limits):
        super().__init__(models, GenerationState())
        self.models, self.prepare, self.limits = models, prepare, limits
        self.fetching = ThreadPoolExecutor(_FETCHING, "fetching")
        self.large = {size: FairSlots(count) for size, count in _READ.items()}
        self.fetches: dict[str, FairSlots] = {}

    async def read_body(self, data: bytearray, asking: Client) -> dict[str, Any]:
        """The JSON object of a large body. Very large bodies are decoded one at a time."""
        most_text = max(served.most_text for served in self.models.models.values())
        slots = next(slots for size, slots in self.large.items() if len(data) <= size)
        await unless_left(slots.acquire(asking.name), asking.gone)
        try:
            return await unless_left(self.prepare.read(data, most_text), asking.gone)
        finally:
            slots.release()

    async def handle_request(self, body: dict, request_id: str) -> Any:
        """Check, fetch, prepare, wait for a turn, generate."""
        asking = client.get()
        body = asking.body
        check_request(body)
        self._validate_request(body)  # warns about fields that OpenAI's API does not have
        name, served = self.models.find(body.get("model"))
        check_text(body, served.most_text)
        try:
            messages = await self._read(body, asking)
            options = body.get("chat_template_kwargs") or {}
            inputs, slots = await self._prepared(name, messages, options, asking)
            del messages
            asking.forget()
            return await self._answered(body, request_id, name, inputs, slots, asking)
        except Cancelled as error:
            raise RequestError("The client has left.", status=499) from error

    async def _answered(
        self, body: dict, request_id: str, name: str, inputs: dict[str, Any], slots: FairSlots, asking: Client
    ) -> Any:
        """Wait for a turn and generate. `slots` get back the one that the inputs hold."""
        served = self.models.models[name]
        stops = body.get("stop") or []
        stops = [stops] if isinstance(stops, str) else stops
        freed = partial(served.turns.release, asking.name)
        turn = Turn(served.thread, stops, body.get("seed"), asking.left, freed, slots.release, served.decoder)
        took_turn = False
        try:
            config = self._config(body, served, served.positions(inputs))
            await unless_left(served.turns.acquire(asking.name), asking.gone)
            took_turn = True
            inputs = {**_placed(inputs, served.model), **served.options()}
            arguments = (request_id, served.model, served.processor, name, inputs, config)
            if body.get("stream"):
                return self._streaming(*arguments, gen_manager=turn)
            return await self._non_streaming(*arguments, gen_manager=turn)
        finally:
            if not turn.begun:
                slots.release()
                if took_turn:
                    freed()

    async def _prepared(
        self, name: str, messages: list[dict], options: dict[str, Any], asking: Client
    ) -> tuple[dict[str, Any], FairSlots]:
        """The inputs, and the slots of which one is taken. Requests that turn out to be heavy wait for each other."""
        served, kind = self.models.models[name], kind_of(messages)
        while True:
            slots = served.prepared[kind]
            await unless_left(slots.acquire(asking.name), asking.gone)
            kept = False
            try:
                inputs = await unless_left(
                    self.prepare(name, served.most_image_tokens, messages, options, kind), asking.gone
                )
                kept = True
                return inputs, slots
            except Heavy:
                kind = "heavy"
            finally:
                if not kept:
                    slots.release()

    async def _read(self, body: dict, asking: Client) -> list[dict]:
        """The messages with the bytes of images and videos. A request without URLs does not wait for fetches."""
        given = body.pop("messages")
        sources = map(source_of, media_parts(given))
        if not any(isinstance(source, str) and is_url(source) for source in sources):
            return Reading(self.limits).messages(given)  # data URIs of a small body, or bytes
        slots = self.fetches.setdefault(asking.name, FairSlots(_FETCHING_OF_CLIENT))
        reading = Reading(self.limits)
        try:
            async with asyncio.timeout(self.limits.seconds + 1):  # name resolution and queues have no limit
                await unless_left(slots.acquire(asking.name), asking.gone)
                reading = Reading(self.limits)
                fetched = asyncio.get_running_loop().run_in_executor(self.fetching, reading.messages, given)
                fetched.add_done_callback(lambda done: self._fetched(done, asking.name, slots))
                return await unless_left(asyncio.shield(fetched), asking.gone)
        except TimeoutError as error:
            raise RequestError(f"The URLs of the request took longer than {self.limits.seconds:g} s.") from error
        finally:
            reading.abort()
            self._forget(asking.name)

    def _fetched(self, done: asyncio.Future, name: str, slots: FairSlots) -> None:
        done.exception()  # marks it as retrieved, also when the client has left
        slots.release()
        self._forget(name)

    def _forget(self, name: str) -> None:
        """Drop the slots of a client that fetches nothing."""
        if name in self.fetches and self.fetches[name].free == _FETCHING_OF_CLIENT:
            del self.fetches[name]

    def _config(self, body: dict, served: Served, prompt: int) -> Any:
        """The generation config. Raises `RequestError` if prompt and answer do not fit into the model's context."""
        options = generation_options(body)
        own = options.pop("max_new_tokens", None)  # in any case: below, the options are set over what is asked
        asked = body.get("max_completion_tokens") or body.get("max_tokens") or own
        room = served.context - prompt
        if room < 1 or (asked or 0) > room:
            units = "tokens" if served.v2pe_stride == 1 else "positions"
            raise RequestError(
                f"The prompt has {prompt} {units} and the answer may have {asked or 'at least 1'}, but the model's "
                f"context is {served.context}.",
                param="messages" if room < 1 else "max_tokens",
                code="context_length_exceeded",
            )
        kept = {k: v for k, v in body.items() if k not in ("generation_config", "seed", "stop", "temperature")}
        config = self._build_generation_config(kept, served.model.generation_config)
        config.num_beams = 1  # streaming needs one beam
        config.max_new_tokens = asked or min(config.max_new_tokens, room)
        if body.get("logit_bias"):
            size = served.model.config.get_text_config(decoder=True).vocab_size
            if any(int(token) >= size for token in body["logit_bias"]):
                raise RequestError(f"`logit_bias` names a token beyond the {size} of the model.", param="logit_bias")
            config.sequence_bias = {(int(token),): float(bias) for token, bias in body["logit_bias"].items()}
        for key, value in options.items():
            setattr(config, key, value)
        temperature = body.get("temperature")
        if temperature is not None and temperature < COLDEST:
            config.do_sample = False
        elif temperature is not None or body.get("top_p") is not None:
            config.do_sample = True
            config.temperature = float(temperature or config.temperature or 1.0)
        return config


def _placed(inputs: dict[str, Any], model: Any) -> dict[str, Any]:
    """Inputs on the model's device, images in its dtype."""
    return {
        name: value.to(model.device, dtype=model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }


@dataclass(frozen=True)
class Bounds:
    """Limits of all requests together.

    Attributes:
        requests: maximum number of waiting requests.
        of_client: the same, of one client.
        body: maximum number of bytes of a body.
        bodies: maximum number of bytes of all bodies in memory.
    """

    requests: int = 256
    of_client: int = 128
    body: int = 96 << 20
    bodies: int = 256 << 20


def build_app(models: dict[str, Served], prepare: Any, hosts: Hosts, limits: Limits, bounds: Bounds) -> Any:
    """The ASGI application that serves `models`, by name, to requests for `hosts`."""
    served = ServedModels(models)
    handler = ChatHandler(served, prepare, limits)
    app = build_server(served, handler, None, None, None, None, handler.generation_state)
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) in ROUTES]
    app.add_middleware(
        Guard,
        hosts=hosts,
        most_bytes=bounds.body,
        most_requests=bounds.requests,
        most_of_client=bounds.of_client,
        all_bytes=bounds.bodies,
        read=handler.read_body,
    )
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
    return await _refuse(_request, RequestError(FAILED, 500))
