# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Who gets in at `internvl serve`, and when: turns of clients, bodies, connections. No model is loaded."""

import asyncio
import json
import socket
import threading
import time
from contextlib import closing

import pytest
import uvicorn

from transformers_internvl.serving import connections, guard
from transformers_internvl.serving.connections import bounded
from transformers_internvl.serving.generation import Cancelled
from transformers_internvl.serving.guard import Guard, client, parse
from transformers_internvl.serving.hosts import Hosts
from transformers_internvl.serving.requests import RequestError
from transformers_internvl.serving.slots import FairSlots, client_name, unless_left

# --- turns ---


def test_clients_take_turns():
    async def order():
        slots, done = FairSlots(1), []

        async def work(name):
            await slots.acquire(name[0])
            done.append(name)
            await asyncio.sleep(0)
            slots.release()

        await asyncio.gather(*(work(name) for name in ("a0", "a1", "a2", "a3", "b1", "b2", "c1")))
        assert slots.free == 1 and not slots.waiting
        return done

    assert asyncio.run(order()) == ["a0", "a1", "b1", "c1", "a2", "b2", "a3"]


def test_who_leaves_the_line_takes_nothing():
    async def leave():
        slots, gone = FairSlots(1), asyncio.Event()
        await slots.acquire("a")
        waiting = [asyncio.ensure_future(unless_left(slots.acquire(name), gone)) for name in "bb"]
        staying = asyncio.ensure_future(slots.acquire("c"))
        await asyncio.sleep(0)
        gone.set()
        for one in waiting:
            with pytest.raises(Cancelled):
                await one
        slots.release()
        await asyncio.wait_for(staying, 1)
        slots.release()
        assert slots.free == 1 and not slots.waiting

        last = asyncio.ensure_future(slots.acquire("d"))
        await last
        late = asyncio.ensure_future(slots.acquire("e"))
        await asyncio.sleep(0)
        slots.release()
        late.cancel()  # at the moment at which it was given the slot
        with pytest.raises(asyncio.CancelledError):
            await late
        assert slots.free == 1

    asyncio.run(leave())


@pytest.mark.parametrize(
    "address, name",
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("x", "x"),
    ],
)
def test_whom_a_request_counts_for(address, name):
    assert client_name({"client": (address, 1)}) == name
    assert client_name({"client": None}) == ""


def test_a_turn_that_nobody_waits_for_any_more_goes_to_the_next():
    """It was cancelled, and has not noticed yet: it does not get the slot, and nobody fails."""

    async def run():
        slots = FairSlots(1)
        await slots.acquire("a")
        leaving = asyncio.ensure_future(slots.acquire("b"))
        staying = asyncio.ensure_future(slots.acquire("c"))
        await asyncio.sleep(0)
        leaving.cancel()
        slots.release()
        await asyncio.wait_for(staying, 1)
        with pytest.raises(asyncio.CancelledError):
            await leaving
        slots.release()
        return slots.free, dict(slots.waiting)

    assert asyncio.run(run()) == (1, {})


def test_what_is_left_has_ended_before_the_error():
    async def run():
        gone, ended = asyncio.Event(), []

        async def work():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                ended.append(True)

        asyncio.get_running_loop().call_later(0.02, gone.set)
        with pytest.raises(Cancelled):
            await unless_left(work(), gone)
        assert ended == [True]

        async def quick(value):
            return value

        assert await unless_left(quick(7), asyncio.Event()) == 7
        gone = asyncio.Event()
        result = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.02, lambda: (result.set_result(8), gone.set()))
        assert await unless_left(result, gone) == 8  # both at once: the result is there
        with pytest.raises(ValueError, match="broken"):
            await unless_left(fails(), asyncio.Event())
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1  # nobody waits on for clients to leave

    async def fails():
        raise ValueError("broken")

    asyncio.run(run())


# --- bodies ---


def whole(body):
    return [{"type": "http.request", "body": body, "more_body": False}]


def half(body):
    return [{"type": "http.request", "body": body, "more_body": True}]


class Asking:
    """A request at a guard: `messages` come from the client, then nothing."""

    def __init__(self, guarded, messages, address="10.0.0.1"):
        self.sent, self.messages = [], list(messages)
        headers = [(b"host", b"localhost")]
        scope = {"type": "http", "method": "POST", "headers": headers, "client": (address, 1)}
        self.task = asyncio.ensure_future(guarded(scope, self.receive, self.send))

    async def receive(self):
        if self.messages:
            return self.messages.pop(0)
        return await asyncio.Event().wait()

    async def send(self, message):
        self.sent.append(message)

    async def answer(self):
        await asyncio.wait_for(self.task, 5)
        body = self.sent[1]["body"] if len(self.sent) > 1 else b"{}"
        return self.sent[0]["status"], json.loads(body).get("error", {}).get("message", "")


def guarded(app, read=None, **bounds):
    bounds = {"most_bytes": 100, "most_requests": 3, "most_of_client": 2, "all_bytes": 1000} | bounds
    return Guard(app, Hosts("127.0.0.1"), read=read, **bounds)


def holding():
    """An application that answers when it is let, and has seen what was asked."""
    let, seen = asyncio.Event(), []

    async def app(scope, receive, send):
        seen.append(client.get().body)
        await let.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    return app, let, seen


async def settled():
    for _ in range(20):
        await asyncio.sleep(0.005)


def test_too_large_and_too_many_requests_are_refused():
    async def ask():
        app, let, seen = holding()
        one = guarded(app)
        held = [Asking(one, [*half(b'{"a": '), *whole(b"1}")]), Asking(one, whole(b'{"a": 2}'))]
        await settled()
        refused = [
            Asking(one, [*half(b"x" * 60), *whole(b"x" * 41)]),
            Asking(one, whole(b'{"a": 3}')),
            Asking(one, whole(b"[1]"), "10.0.0.2"),
        ]
        answers = [await other.answer() for other in refused]
        held.append(Asking(one, whole(b'{"a": 4}'), "10.0.0.2"))
        await settled()
        answers.append(await Asking(one, whole(b'{"a": 5}'), "10.0.0.3").answer())
        let.set()
        assert [await other.answer() for other in held] == [(200, "")] * 3
        assert sorted(body["a"] for body in seen) == [1, 2, 4] and not one.waiting and not one.bodies
        return answers

    assert asyncio.run(ask()) == [
        (413, "The request has more than 100 bytes."),
        (503, "2 of your requests wait already: try again later."),
        (400, "The body must be a JSON object, sent as application/json."),
        (503, "3 requests wait already: try again later."),
    ]


def test_half_bodies_take_no_places_and_make_room(monkeypatch):
    """Bodies beyond 10 bytes share 100: what is not whole is pushed out, of who has most."""
    monkeypatch.setattr(guard, "SMALL_BODY", 10)

    async def ask():
        app, let, _ = holding()
        one = guarded(app, all_bytes=100)
        small = [Asking(one, half(b"{"), "10.0.0.9") for _ in range(50)]
        greedy = [Asking(one, half(b"x" * 40), "10.0.0.1") for _ in range(2)]
        modest = Asking(one, half(b"x" * 20), "10.0.0.2")
        await settled()
        asked = Asking(one, whole(b'{"a": "' + b"y" * 31 + b'"}'), "10.0.0.3")
        await settled()
        assert [other.task.done() for other in (*greedy, modest, asked)] == [True, False, False, False]
        assert await greedy[0].answer() == (503, "Too many large requests at a time: try again later.")
        let.set()
        assert (await asked.answer())[0] == 200
        for other in (*small, greedy[1], modest):
            other.task.cancel()

    asyncio.run(ask())


def test_bodies_that_are_held_are_counted_until_they_are_forgotten(monkeypatch):
    monkeypatch.setattr(guard, "SMALL_BODY", 10)

    async def ask():
        let = asyncio.Event()

        async def app(scope, receive, send):
            if client.get().body["a"][0] == "f":
                client.get().forget()
            await let.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        one = guarded(app, all_bytes=100, most_of_client=9, most_requests=9)
        body = b'{"a": "%s"}'
        held = [Asking(one, whole(body % (b"k" * 60)))]
        await settled()
        refused = await Asking(one, whole(body % (b"k" * 60))).answer()
        held += [Asking(one, whole(body % (b"f" * 20)))]
        await settled()
        held += [Asking(one, whole(body % (b"f" * 20)))]
        await settled()
        let.set()
        assert [await other.answer() for other in held] == [(200, "")] * 3
        return refused

    assert asyncio.run(ask()) == (503, "Too many large requests at a time: try again later.")


def test_bodies_have_their_time(monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.1)

    async def ask():
        return await Asking(guarded(holding()[0]), half(b"{")).answer()

    assert asyncio.run(ask()) == (408, "The body took longer than 0.1 s.")


def test_json_is_bounded_before_it_is_read(monkeypatch):
    monkeypatch.setattr(guard, "MOST_VALUES", 4)
    assert parse(b'{"a": [1, 2]}') == {"a": [1, 2]}
    for body in (b'{"a": [1, 2, 3]}', b'{"a": [[]],"b"}', b'{"a": {}, "b": 1}', b'{"a": "\\n\\n\\n"}'):
        with pytest.raises(RequestError, match="more than 4 values and escapes") as error:
            parse(body)
        assert error.value.status == 413
    for body in (b"", b"{", b"[1]", b"null", b"\xff", b'"' * 3):
        with pytest.raises(RequestError, match="must be a JSON object"):
            parse(body)


def test_only_small_bodies_are_read_on_the_loop(monkeypatch):
    monkeypatch.setattr(guard, "READ_HERE", 10)
    elsewhere = []

    async def read(data, asking):
        elsewhere.append((bytes(data), asking.name))
        return {"a": "read"}

    async def ask():
        app, let, seen = holding()
        let.set()
        one = guarded(app, read)
        answers = [await Asking(one, whole(body)).answer() for body in (b'{"a": 123}', b'{"a": 1234}')]
        return answers, seen

    assert asyncio.run(ask()) == ([(200, "")] * 2, [{"a": 123}, {"a": "read"}])
    assert elsewhere == [(b'{"a": 1234}', "10.0.0.1")]


def test_bodies_at_their_exact_bounds(monkeypatch):
    """100 bytes are taken. Bodies of 10 do not count; those of 45, 44 and 11 share the 100 of all."""
    monkeypatch.setattr(guard, "SMALL_BODY", 10)

    async def ask():
        app, let, seen = holding()
        one = guarded(app, most_bytes=100, all_bytes=100, most_of_client=9, most_requests=9)
        held = []
        for body in (b'{"a": "' + b"x" * 36 + b'"}', b'{"a": "' + b"x" * 35 + b'"}', b'{"abc": 1}', b'{"abcd": 1}'):
            held.append(Asking(one, whole(body), f"10.0.0.{len(held)}"))
            await settled()
        assert len(seen) == 4 and (await Asking(one, whole(b'{"abcd": 1}')).answer())[0] == 503
        let.set()
        assert [await other.answer() for other in held] == [(200, "")] * 4
        return await Asking(one, whole(b'{"a": "' + b"x" * 91 + b'"}')).answer()

    assert asyncio.run(ask()) == (200, "")


def test_what_has_no_body_is_passed_on():
    async def run():
        passed = []

        async def app(scope, receive, send):
            passed.append(scope.get("method", scope["type"]))

        async def never():
            raise AssertionError("nothing is read")

        one = guarded(app)
        await one({"type": "lifespan"}, never, never)
        for method in ("GET", "DELETE", "OPTIONS", "HEAD"):
            await one({"type": "http", "method": method, "headers": [(b"host", b"localhost")]}, never, never)
        return passed

    assert asyncio.run(run()) == ["lifespan", "GET", "DELETE", "OPTIONS", "HEAD"]


def test_a_client_that_leaves_in_its_body_asks_nothing():
    async def run():
        app, let, seen = holding()
        one = guarded(app)
        asking = Asking(one, [*half(b'{"a": 1'), {"type": "http.disconnect"}, *whole(b"}")])
        await asyncio.wait_for(asking.task, 5)
        assert not seen and not asking.sent and not one.bodies and not one.waiting
        stopped = Asking(one, half(b"{"))
        await settled()
        stopped.task.cancel()  # by the server, which ends
        with pytest.raises(asyncio.CancelledError):
            await stopped.task
        assert not stopped.sent and not one.bodies

    asyncio.run(run())


@pytest.mark.parametrize("leaves", [True, False])
def test_the_application_sees_that_its_client_has_left(leaves):
    async def run():
        seen = []

        async def app(scope, receive, send):
            asking = client.get()
            seen.append(await receive())
            if leaves:
                await asyncio.wait_for(asking.gone.wait(), 5)
                seen.append((asking.left.is_set(), await receive()))
                raise Cancelled
            await send({"type": "http.response.start", "status": 200, "headers": []})

        one = guarded(app)
        after = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
        asking = Asking(one, [*whole(b'{"a": 1}'), *(after if leaves else [])])
        await asyncio.wait_for(asking.task, 5)
        await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks()) == 1 and not one.waiting and not one.bodies
        return seen, [message["status"] for message in asking.sent]

    first = {"type": "http.request", "body": b"{}", "more_body": False}
    expected = [first, (True, {"type": "http.disconnect"})] if leaves else [first]
    assert asyncio.run(run()) == (expected, [] if leaves else [200])


def test_json_without_end_and_the_size_that_is_read_here():
    for body in (b'{"a": ' + b"[" * 400_000, b'{"a":' * 90_000 + b"1" + b"}" * 90_000):
        with pytest.raises(RequestError, match="must be a JSON object"):
            parse(body)
    assert (guard.READ_HERE, guard.SMALL_BODY, guard.BODY_SECONDS) == (256 << 10, 64 << 10, 60)


# --- connections ---


@pytest.fixture
def listening(monkeypatch):
    """A server of one page with six connections: its port. Headers have 0.4 seconds."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.4)

    async def app(scope, receive, send):
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                continue
            parts = [b"x" * (1 << 20)] * (LARGE >> 20) if scope["path"] == "/large" else [b"ok"]
            headers = [(b"content-length", str(sum(map(len, parts))).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for left, part in reversed([*enumerate(parts)]):
                await send({"type": "http.response.body", "body": part, "more_body": left > 0})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, http=bounded(6), ws="none", lifespan="off", log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(10)


def opened(port, data=b""):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(10)
    connection.sendall(data)
    return closing(connection)


def answered(connection):
    """Whether the page has come."""
    data = b""
    while not data.endswith(b"ok"):
        more = connection.recv(1000)
        if not more:
            return False
        data += more
    return True


def closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


PAGE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_headers_have_their_time(listening):
    """From the first byte on, also after an answer on the same connection, and however often one more comes."""
    for first, rest in ((b"", b""), (b"GET / HTTP/1.1\r\n", b""), (PAGE, b"GET /"), (b"GET /", b"x")):
        with opened(listening, first) as connection:
            if first == PAGE:
                assert answered(connection)
            start = time.monotonic()
            if rest == b"x":
                with pytest.raises(OSError):
                    while time.monotonic() - start < 5:
                        connection.sendall(rest)
                        time.sleep(0.05)
            else:
                connection.sendall(rest)
                assert closed(connection)
            assert 0.2 < time.monotonic() - start < 3


def test_a_slow_body_is_no_slow_header(listening):
    with opened(listening, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1") as connection:
        time.sleep(0.8)
        connection.sendall(b"2")
        assert answered(connection)


def test_who_asks_gets_in_and_the_oldest_who_holds_on_goes(listening, monkeypatch):
    monkeypatch.setattr(connections, "HEADER_SECONDS", 30)
    body = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    holding_on = [opened(listening, data) for data in (body, b"GET", b"", body, b"GET", b"")]
    time.sleep(0.3)
    with opened(listening, PAGE) as connection:
        assert answered(connection)
    assert closed(holding_on[0].thing)
    holding_on[3].thing.sendall(b"12")
    assert answered(holding_on[3].thing)
    for one in holding_on:
        one.thing.close()


LARGE = 24 << 20


@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_does_not_read_is_cut_off(listening, monkeypatch, reads):
    """Each part of an answer has its time: who reads them gets everything, however long all of it takes."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 30)
    monkeypatch.setattr(connections, "SEND_SECONDS", 1.0)
    with opened(listening, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        if not reads:
            time.sleep(2.5)
        size, start = 0, time.monotonic()
        try:
            while size < LARGE and (more := connection.recv(1 << 20)):
                size += len(more)
                time.sleep(0.06 if reads else 0)
        except ConnectionResetError:
            pass
        assert (size >= LARGE) == reads and (not reads or time.monotonic() - start > 1.2)


def test_the_limit_of_connections_is_exact(listening, monkeypatch):
    monkeypatch.setattr(connections, "HEADER_SECONDS", 30)
    six = [opened(listening, b"GET") for _ in range(6)]
    time.sleep(0.3)
    for one in six:  # as many as there may be: none has made room
        one.thing.settimeout(0.05)
        with pytest.raises(TimeoutError):
            one.thing.recv(1)
    seventh = opened(listening, b"GET")
    time.sleep(0.3)
    six[0].thing.settimeout(5)
    assert closed(six[0].thing)  # the oldest
    for one in [*six[1:], seventh]:
        one.thing.settimeout(0.05)
        with pytest.raises(TimeoutError):
            one.thing.recv(1)
        one.thing.close()
