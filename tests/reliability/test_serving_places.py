# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Whatever becomes of a request to `internvl serve`, its place among those that are prepared and answered is free
again, once. No server runs."""

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from fastapi import HTTPException
from fastapi.testclient import TestClient
from transformers import GenerationConfig

from transformers_internvl.serving.app import Bounds, ChatHandler, Served, ServedModels, build_app
from transformers_internvl.serving.generation import Cancelled
from transformers_internvl.serving.guard import Client, Guard, client
from transformers_internvl.serving.hosts import Hosts
from transformers_internvl.serving.inputs import Heavy
from transformers_internvl.serving.media import Limits
from transformers_internvl.serving.requests import RequestError

HI = {"messages": [{"role": "user", "content": "Hi"}]}
FREE = {"text": 8, "image": 3, "heavy": 1, "video": 1}


class Model:
    """Answers with one token, or an error."""

    device, dtype = torch.device("cpu"), torch.bfloat16
    generation_config = GenerationConfig(max_new_tokens=4)
    config = SimpleNamespace(
        get_text_config=lambda decoder: SimpleNamespace(vocab_size=50, max_position_embeddings=64),
        image_token_id=9,
        image_seq_length=4,
    )

    def __init__(self, error=None, wait=None):
        self.error, self.wait, self.seen = error, wait, []

    def generate(self, generation_config, streamer, stopping_criteria, **inputs):
        self.seen.append(inputs)
        if self.wait:
            self.wait.wait(10)
        if self.error:
            raise self.error
        streamer.put(inputs["input_ids"])
        streamer.put(torch.tensor([1]))
        streamer.end()


class Processor:
    tokenizer = SimpleNamespace(get_vocab=lambda: {"a": 0, "好" * 100: 1, "\ud800": 2})

    def decode(self, ids, skip_special_tokens):
        return "x" * len(ids)


class Preparing:
    """Prepares what it is told to, in order: inputs, or an error. Notes for which kind it was asked."""

    def __init__(self, *results):
        self.results, self.kinds, self.asked = list(results), [], []

    async def __call__(self, name, context, messages, options, kind):
        self.kinds.append(kind)
        self.asked.append((name, context, messages, options))
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, asyncio.Event):
            await result.wait()
        if isinstance(result, Exception):
            raise result
        return {"input_ids": torch.zeros(1, 7, dtype=torch.long), "pixel_values": torch.zeros(1, 3)}

    async def read(self, data, most_text):
        self.asked.append((bytes(data), most_text))
        if isinstance(self.results[0], Exception):
            raise self.results[0]
        return {"read": len(data)}


def handler_of(prepare, model=None, **options):
    served = Served(model or Model(), Processor(), **options)
    handler = ChatHandler(ServedModels({"m": served}), prepare, Limits(seconds=1))

    async def answered(request_id, model, processor, name, inputs, config, gen_manager):
        return await gen_manager.generate_non_streaming(model, processor, inputs, config, request_id)

    handler._non_streaming = answered
    handler._streaming = lambda *args, gen_manager: gen_manager.generate_streaming(
        args[1], args[2], args[4], args[5], args[0]
    )
    return handler, served


async def ask(handler, body, asking=None):
    asking = asking or Client("10.0.0.1")
    asking.body = {**body, "messages": [dict(message) for message in body["messages"]]}
    client.set(asking)
    return await asyncio.wait_for(handler.handle_request({}, "id"), 10)


def free(served):
    return {kind: slots.free for kind, slots in served.prepared.items()} | {"turns": served.turns.free}


async def settled(served):
    for _ in range(100):
        if free(served) == {**FREE, "turns": 1}:
            break
        await asyncio.sleep(0.02)
    waiting = [len(slots.waiting) for slots in (*served.prepared.values(), served.turns)]
    return free(served), sum(waiting)


EVERYTHING_FREE = ({**FREE, "turns": 1}, 0)


def test_an_answer():
    async def run():
        prepare, model, forgotten = Preparing(None), Model(), []
        handler, served = handler_of(prepare, model)
        options = {"chat_template_kwargs": {"enable_thinking": True}}
        answer = await ask(handler, {**HI, **options}, Client("a", forget=lambda: forgotten.append(1)))
        assert answer == ("x", 7, [1]) and forgotten == [1]
        assert await settled(served) == EVERYTHING_FREE
        ((name, context, messages, given),) = prepare.asked
        assert (name, context, given, prepare.kinds) == ("m", 64, {"enable_thinking": True}, ["text"])
        assert messages == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
        assert model.seen[0]["input_ids"].dtype == torch.long and model.seen[0]["pixel_values"].dtype == torch.bfloat16

    asyncio.run(run())


def test_positions_of_images_are_the_servers():
    """`v2pe_stride` is an argument of every call, the context counts positions, and no request sets another stride."""

    async def run():
        model = Model()
        ids = torch.tensor([[1, *[9] * 80, 1]])
        prepare = Preparing(None)
        handler, served = handler_of(prepare, model, v2pe_stride=0.25)
        assert served.positions({"input_ids": ids}) == 22 and Served(model, None).positions({"input_ids": ids}) == 82
        smuggled = {"v2pe_stride": 0.5, "rope_pos_id_stride": 4}
        await ask(handler, HI)
        assert prepare.asked[0][1] == 64 * 4
        assert set(model.seen[0]) == {"input_ids", "pixel_values", "v2pe_stride"}
        assert model.seen[0]["v2pe_stride"] == 0.25
        with pytest.raises(HTTPException):
            await ask(handler, {**HI, **smuggled})
        for body in ({"generation_config": json.dumps(smuggled)}, {"chat_template_kwargs": smuggled}):
            with pytest.raises(RequestError, match="may hold"):
                await ask(handler, {**HI, **body})
        assert len(model.seen) == 1 and await settled(served) == EVERYTHING_FREE

    asyncio.run(run())
    for wrong, reason in ((0.3, "power of two"), (2.0, "at most 1")):
        with pytest.raises(ValueError, match=reason):
            Served(Model(), None, v2pe_stride=wrong)


@pytest.mark.parametrize("stream", [False, True])
def test_a_place_is_held_until_the_answer_has_ended(stream):
    async def run():
        go = threading.Event()
        handler, served = handler_of(Preparing(None), Model(wait=go))
        task = asyncio.ensure_future(ask(handler, {**HI, "stream": stream}))
        await asyncio.sleep(0.1)
        assert free(served) == {**FREE, "text": 7, "turns": 0}
        go.set()
        await task
        assert await settled(served) == EVERYTHING_FREE

    asyncio.run(run())


@pytest.mark.parametrize(
    "results, body, kinds, error",
    [
        ([RequestError("broken")], HI, ["text"], "broken"),
        ([Heavy(), None], HI, ["text", "heavy"], None),
        ([Heavy(), RequestError("broken")], HI, ["text", "heavy"], "broken"),
        ([None], {**HI, "max_tokens": 58}, ["text"], "context is 64"),
        ([None], {**HI, "max_tokens": 57}, ["text"], None),
        ([None], {**HI, "model": "n"}, [], "'n' is not served here"),
        ([None], {"messages": [{"role": "user", "content": "x" * (64 * 300 + 1)}]}, [], "more than 19200 can fit"),
        ([None], {"messages": [{"role": "user", "content": "x" * (64 * 300)}]}, ["text"], None),
    ],
)
def test_errors_before_the_turn(results, body, kinds, error):
    async def run():
        prepare = Preparing(*results)
        handler, served = handler_of(prepare)
        if error is None:
            assert (await ask(handler, body))[0] == "x"
        else:
            with pytest.raises(RequestError, match=error):
                await ask(handler, body)
        assert prepare.kinds == kinds and await settled(served) == EVERYTHING_FREE

    asyncio.run(run())


def test_an_error_of_the_model():
    async def run():
        handler, served = handler_of(Preparing(None), Model(ValueError("broken")))
        with pytest.raises(ValueError, match="broken"):
            await ask(handler, HI)
        assert await settled(served) == EVERYTHING_FREE
        served.model.error = None
        assert (await ask(handler, HI))[0] == "x"

    asyncio.run(run())


@pytest.mark.parametrize("where", ["a place", "preparing", "the turn"])
def test_a_client_that_leaves_while_it_waits(where):
    async def run():
        prepare, forever = Preparing(None), asyncio.Event()
        handler, served = handler_of(prepare)
        slots = served.turns if where == "the turn" else served.prepared["text"]
        held = slots.free if where != "preparing" else 0
        for _ in range(held):
            await slots.acquire("other")
        if where == "preparing":
            prepare.results = [forever]
        asking = Client("10.0.0.1")
        task = asyncio.ensure_future(ask(handler, HI, asking))
        await asyncio.sleep(0.05)
        assert not task.done()
        asking.left.set()
        asking.gone.set()
        with pytest.raises(RequestError, match="has left") as error:
            await task
        assert error.value.status == 499
        for _ in range(held):
            slots.release()
        assert await settled(served) == EVERYTHING_FREE

    asyncio.run(run())


@pytest.mark.parametrize("size, lane", [(4 << 20, 4 << 20), ((4 << 20) + 1, 1 << 62)])
def test_large_bodies_wait_for_bodies_of_their_size(size, lane):
    async def run():
        prepare = Preparing(None)
        handler, _ = handler_of(prepare)
        counts = {key: slots.free for key, slots in handler.large.items()}
        assert counts == {4 << 20: 2, 1 << 62: 1}
        assert await handler.read_body(bytearray(size), Client("a")) == {"read": size}
        assert prepare.asked[0][1] == 64 * 300  # the longest token has 300 bytes
        prepare.results = [RequestError("broken")]
        with pytest.raises(RequestError, match="broken"):
            await handler.read_body(bytearray(size), Client("a"))
        assert {key: slots.free for key, slots in handler.large.items()} == counts
        for _ in range(counts[lane]):
            await handler.large[lane].acquire("other")
        asking = Client("a")
        task = asyncio.ensure_future(handler.read_body(bytearray(size), asking))
        await asyncio.sleep(0.05)
        assert not task.done()
        asking.gone.set()
        with pytest.raises(Cancelled):
            await task

    asyncio.run(run())


def test_a_request_without_a_name_is_for_the_only_model():
    one, two = (Served(Model(), Processor()) for _ in range(2))
    assert ServedModels({"m": one}).find(None) == ("m", one) and ServedModels({"m": one, "n": two}).find("n")[1] is two
    for models, name in (({"m": one, "n": two}, None), ({"m": one}, "n"), ({"m": one}, "")):
        with pytest.raises(RequestError, match="is not served here; there is m") as error:
            ServedModels(models).find(name)
        assert (error.value.status, error.value.code) == (404, "model_not_found")


def test_an_error_between_the_turn_and_the_answer():
    async def run():
        handler, served = handler_of(Preparing(None))
        served.model.device = "nowhere"
        with pytest.raises(RuntimeError, match="nowhere"):
            await ask(handler, HI)
        assert await settled(served) == EVERYTHING_FREE

    asyncio.run(run())


@pytest.mark.parametrize(
    "stop, text", [("bc", "a"), (["bc"], "a"), (None, "abc"), (["y", "abc"], ""), ("b", "a"), ("cb", "abc")]
)
def test_one_stop_text_or_several(stop, text):
    class Longer(Model):
        def generate(self, generation_config, streamer, stopping_criteria, **inputs):
            streamer.put(inputs["input_ids"])
            for token in range(3):
                streamer.put(torch.tensor([token]))
                if stopping_criteria(torch.zeros(1, 1), None).all():
                    break
            streamer.end()

    class Bounded(Processor):
        def decode(self, ids, skip_special_tokens):
            return "".join("abc"[index] for index in ids)

    async def run():
        handler, served = handler_of(Preparing(None), Longer())
        served.processor = Bounded()
        (answer, *_) = await ask(handler, {**HI, "stop": stop})
        return answer

    assert asyncio.run(run()) == text


def test_the_longest_text_is_that_of_the_context_at_256_bytes_a_token_or_of_the_longest_token():
    served = Served(Model(), Processor())
    assert served.context == 64 and served.most_text == 64 * 300
    short = Served(Model(), SimpleNamespace(tokenizer=SimpleNamespace(get_vocab=lambda: {"a": 0})))
    assert short.most_text == 64 * 256

    async def run():
        prepare = Preparing(None)
        handler = ChatHandler(ServedModels({"a": short, "b": served, "c": short}), prepare, Limits())
        await handler.read_body(bytearray(9), Client("a"))
        return prepare.asked

    assert asyncio.run(run()) == [(bytes(9), 64 * 300)]  # the largest of all models: the body does not say which yet


# --- fetches ---


@contextmanager
def host(answer):
    """A host that gives a PNG after some seconds, or says nothing: its port, and how many bytes came at its end."""
    seen = []

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            seen.append(len(connection.recv(1000)))
            if answer is not None:
                time.sleep(answer)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
            seen.append(connection.recv(1000))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], seen
        thread.join(5)


def picture(port):
    part = {"type": "image_url", "image_url": {"url": f"http://localhost:{port}/x.png"}}
    return {"messages": [{"role": "user", "content": [part]}]}


def test_a_fetched_image_is_prepared():
    async def run():
        with host(0.3) as (port, _):
            prepare = Preparing(None)
            handler, served = handler_of(prepare)
            handler.limits = Limits(seconds=1, hosts=("localhost",))
            await ask(handler, picture(port))
            assert prepare.asked[0][2][0]["content"] == [{"type": "image", "data": b"abc"}]
            assert prepare.kinds == ["image"] and await settled(served) == EVERYTHING_FREE and handler.fetches == {}

    asyncio.run(run())


@pytest.mark.parametrize("leaves", [False, True])
def test_a_fetch_ends_with_its_time_or_its_client(leaves):
    async def run():
        with host(None) as (port, seen):
            handler, served = handler_of(Preparing(None))
            handler.limits = Limits(seconds=8 if leaves else 0.5, hosts=("localhost",))
            asking = Client("10.0.0.1")
            task = asyncio.ensure_future(ask(handler, picture(port), asking))
            await asyncio.sleep(0.3)
            assert handler.fetches["10.0.0.1"].free == 7
            if leaves:
                asking.gone.set()
            with pytest.raises(RequestError, match="has left" if leaves else "took longer than 0.5 s"):
                await task
            for _ in range(100):
                if handler.fetches == {} and len(seen) == 2:
                    break
                await asyncio.sleep(0.02)
            assert handler.fetches == {} and seen[1:] == [b""]  # the connection was closed
            assert await settled(served) == EVERYTHING_FREE

    asyncio.run(run())


# --- the application ---


@pytest.fixture
def page():
    """A client of an application whose bounds are all different: bodies of 300 bytes, one request a client."""
    models = {"m": Served(Model(ValueError("secret")), Processor())}
    bounds = Bounds(requests=3, of_client=2, body=300, bodies=1000)
    app = build_app(models, Preparing(None), Hosts("127.0.0.1"), Limits(), bounds)
    guard = next(row for row in app.user_middleware if row.cls is Guard)
    kept = {name: guard.kwargs[name] for name in ("most_bytes", "most_requests", "most_of_client", "all_bytes")}
    assert kept == {"most_bytes": 300, "most_requests": 3, "most_of_client": 2, "all_bytes": 1000}
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


@pytest.mark.parametrize(
    "method, path, body, status, message",
    [
        (
            "POST",
            "/v1/chat/completions",
            b'{"messages": [{"role": "user", "content": "Hi"}]}',
            500,
            "its log says why",
        ),
        ("POST", "/v1/chat/completions", b"[1]", 400, "must be a JSON object"),
        ("POST", "/v1/chat/completions", b" " * 301, 413, "more than 300 bytes"),
        ("POST", "/v1/chat/completions", b'{"messages": []}', 400, "1 to 1000 messages"),
        ("POST", "/v1/completions", b"{}", 404, "Not Found"),
        ("POST", "/load_model", b"{}", 404, "Not Found"),
        ("GET", "/v1/chat/completions", b"", 405, "Method Not Allowed"),
        ("GET", "/docs", b"", 404, "Not Found"),
        ("GET", "/openapi.json", b"", 404, "Not Found"),
    ],
)
def test_errors_of_the_application_have_one_form(page, method, path, body, status, message):
    answer = page.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert message in error["message"] and "secret" not in answer.text
    assert error["type"] == ("server_error" if status == 500 else "invalid_request_error")


def test_pages_of_the_application(page):
    assert page.get("/v1/models").json()["data"][0]["id"] == "m" and page.get("/health").status_code == 200
    assert page.get("/v1/models", headers={"Host": "page.example"}).status_code == 403
