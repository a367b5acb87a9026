# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Whatever becomes of a request to `internvl serve`, its place among those that are prepared and answered is free
again, once. No server runs."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
import torch
from transformers import GenerationConfig

from transformers_internvl.serving.app import ChatHandler, Served, ServedModels
from transformers_internvl.serving.generation import Cancelled
from transformers_internvl.serving.guard import Client, client
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
        get_text_config=lambda decoder: SimpleNamespace(vocab_size=50, max_position_embeddings=64)
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


def handler_of(prepare, model=None):
    served = Served(model or Model(), Processor())
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
