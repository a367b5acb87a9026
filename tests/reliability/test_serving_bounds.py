# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The bounds of `internvl serve`, one by one: addresses, turns, bodies, connections, the processes that prepare."""

import asyncio
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO

import psutil
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from lab.nano.drawing import draw
from tests.clips import clip_bytes
from tests.reliability.hostile import blocks_gif, chunk, chunked_png, segmented_jpeg
from tests.reliability.serving import data_uri, png
from transformers_internvl.nano import nano_path
from transformers_internvl.processing import addresses
from transformers_internvl.processing.addresses import is_public
from transformers_internvl.serving import preparing
from transformers_internvl.serving.hosts import Hosts
from transformers_internvl.serving.inputs import Heavy, SentImage, prepare
from transformers_internvl.serving.media import Limits, Reading
from transformers_internvl.serving.preparing import InProcesses, InThreads
from transformers_internvl.serving.requests import RequestError

# --- addresses ---


PUBLIC = """8.8.8.8 1.1.1.1 192.0.1.1 168.63.129.17 2001:4860:4860::8888 2606:4700::1111 2a00:1450:4001::1
    ::ffff:8.8.8.8"""
NOT_PUBLIC = """127.0.0.1 127.8.8.8 0.0.0.0 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 100.100.100.200
    192.0.0.192 192.0.0.9 192.88.99.1 168.63.129.16 198.18.0.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1
    255.255.255.255 :: ::1 ::7f00:1 ::808:808 ::ffff:127.0.0.1 ::ffff:192.0.0.192 ::ffff:0:7f00:1 fe80::1 fe80::1%eth0
    fec0::1 fc00::1 fd00:ec2::254 ff02::1 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1 2002:7f00:1:: 2002:808:808::
    2001::1 2001:0:7f00:1::1 2001:db8::1 3fff::1 5f00::1 4000::1 localhost 127.1"""


@pytest.mark.parametrize("address", [*PUBLIC.split(), *NOT_PUBLIC.split()])
def test_addresses_of_the_internet_are_public_and_no_others(address):
    assert is_public(address) == (address in PUBLIC.split())


class Said(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if self.path == "/away" else 200)
        if self.path == "/away":
            self.send_header("Location", "/here")
        self.end_headers()
        self.wfile.write(self.server.server_address[0].encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def two_hosts():
    """Servers at one port of two loopback addresses, which answer with their address: the port."""
    first = HTTPServer(("127.0.0.2", 0), Said)
    servers = [first, HTTPServer(("127.0.0.1", first.server_port), Said)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield first.server_port
    for server in servers:
        server.shutdown()
        server.server_close()


class Resolver:
    """Gives another answer each time: the last one stays."""

    def __init__(self, monkeypatch, *answers):
        self.answers, self.asked = list(answers), 0
        self.real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)
        monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2")  # for this test

    def __call__(self, host, port, *args, **kwargs):
        if host != "rebound.example":
            return self.real(host, port, *args, **kwargs)
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [found for address in answer for found in self.real(address, port, *args, **kwargs)]


def test_the_address_that_was_checked_is_the_one_connected_to(two_hosts, monkeypatch):
    resolver = Resolver(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    assert Reading(Limits()).read(f"http://rebound.example:{two_hosts}/here") == b"127.0.0.2"
    assert resolver.asked == 1


@pytest.mark.parametrize("answers", [[["127.0.0.1"]], [["127.0.0.2", "127.0.0.1"]], [["127.0.0.2"], ["127.0.0.1"]]])
def test_every_address_and_every_redirection_is_checked(two_hosts, monkeypatch, answers):
    Resolver(monkeypatch, *answers)
    with pytest.raises(RequestError, match="rebound.example has no public address"):
        Reading(Limits()).read(f"http://rebound.example:{two_hosts}/away")


def test_the_time_of_a_request_is_for_all_its_redirections(monkeypatch):
    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(0.3)
            self.send_response(302)
            self.send_header("Location", "/again")
            self.end_headers()

        log_message = Said.log_message

    server = HTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(RequestError, match="took longer than 0.5 s"):
        Reading(Limits(seconds=0.5, hosts=("localhost",))).read(f"http://localhost:{server.server_port}/")
    assert time.monotonic() - start < 1.2  # five of them would take 1.5
    server.shutdown()
    server.server_close()


# --- names ---


@pytest.mark.parametrize(
    "listening, more, name, right",
    [
        ("127.0.0.1", [], "localhost", True),
        ("127.0.0.1", [], "LOCALHOST.:80", True),
        ("127.0.0.1", [], "127.0.0.7:80", True),
        ("127.0.0.1", [], "10.0.0.1", False),
        ("127.0.0.1", [], "page.example", False),
        ("127.0.0.1", ["page.example"], "Page.Example:80", True),
        ("127.0.0.1", ["page.example"], "other.example", False),
        ("127.0.0.1", ["*"], "other.example", True),
        ("localhost", [], "page.example", False),
        ("::1", [], "[::1]:80", True),
        ("0.0.0.0", [], "10.0.0.1", True),
        ("0.0.0.0", [], socket.gethostname(), True),
        ("0.0.0.0", [], "page.example", False),
        ("0.0.0.0", [], "[fd00::1]", True),
    ],
)
def test_names_that_a_server_answers_to(listening, more, name, right):
    hosts = Hosts(listening, more)
    for headers in ([(b"host", name.encode())], [(b"host", b"localhost"), (b"origin", f"http://{name}".encode())]):
        if right:
            hosts.check({"headers": headers})
        else:
            with pytest.raises(RequestError, match="--allowed-host") as error:
                hosts.check({"headers": headers})
            assert error.value.status == 403


@pytest.mark.parametrize("headers", [[], [(b"host", b"localhost"), (b"host", b"page.example")], [(b"host", b"[")]])
def test_no_name_and_two_names_are_refused(headers):
    with pytest.raises(RequestError, match="--allowed-host"):
        Hosts("127.0.0.1").check({"headers": headers})


# --- the processes that prepare ---

DRAWING = draw("number", 5)
CONTEXT = 4096


def said(*parts):
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What?"}]}]


def text(words):
    return {"type": "text", "text": words}


def asked(*parts):
    return [{"role": "user", "content": [*parts, text("What?")]}]


def sent_at(url):
    return {"type": "image_url", "image_url": {"url": url}}


def sent(data):
    return {"type": "image", "data": data, "max_patches": 1}


@pytest.fixture(scope="module")
def processes():
    """Of a helper that ended, and was started again by the first request."""
    one = InProcesses({"nano": str(nano_path())}, Limits())
    first = one.process
    first.kill()
    with pytest.raises(RuntimeError, match="has ended"):
        one.wait_until_ready()
    assert having(one, said())["input_ids"].shape[0] == 1 and one.process is not first
    yield one
    one.close()


def having(prepare_, messages, options=None, kind="heavy"):
    return asyncio.run(prepare_("nano", CONTEXT, messages, options or {}, kind))


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(nano_path())


def test_what_is_prepared_is_the_same_everywhere(processes, processor):
    threads = InThreads({"nano": processor}, Limits())
    messages = said({"type": "image", "data": png(DRAWING.image)}, {"type": "video", "data": clip_bytes([0, 99, 200])})
    direct = said(
        {"type": "image", "image": DRAWING.image}, {"type": "video", "video": messages[0]["content"][1]["data"]}
    )
    expected = processor.apply_chat_template(
        direct, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", num_frames=2
    )
    for way in (processes, threads):
        inputs = having(way, messages, {"num_frames": 2})
        assert inputs.keys() == expected.keys()
        for name, value in expected.items():
            assert inputs[name].dtype == value.dtype and torch.equal(inputs[name], value), name
    threads.close()


def test_large_bodies_are_read_elsewhere(processes, processor):
    """As they are read here, with the bytes of data URIs; URLs and everything else stay."""
    threads = InThreads({"nano": processor}, Limits())
    uri = data_uri(png(DRAWING.image))
    body = {"messages": [*asked({"type": "image_url", "image_url": {"url": uri, "detail": "low"}}), *asked()]}
    body["messages"] += asked({"type": "video_url", "video_url": data_uri(b"video")}, sent_at("http://x.example/y"))
    body |= {"messages": [*body["messages"], {"role": "assistant", "content": "é\U0001f600"}], "stop": ["a", "b"]}
    expected = json.loads(json.dumps(body))
    expected["messages"][0]["content"][0]["image_url"]["url"] = png(DRAWING.image)
    expected["messages"][2]["content"][0]["video_url"] = b"video"
    for way in (processes, threads):
        assert asyncio.run(way.read(bytearray(json.dumps(body).encode()), 100)) == expected
    threads.close()


@pytest.mark.parametrize(
    "body, status, reason",
    [
        (b"[1]", 400, "must be a JSON object"),
        (b'{"messages": []}', 400, "`messages` must be"),
        (json.dumps({"messages": [{"role": "user", "content": "é" * 51}]}).encode(), 400, "have 102 bytes"),
        (json.dumps({"messages": [{"role": "user", "content": "é" * 50}]}).encode(), 200, ""),
        (b'{"messages": [' + b"[]," * 500_000 + b"[]]}", 413, "values and escapes"),
        (b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}', 400, "data:"),
        (b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": 0}]}]}', 400, "image_url"),
    ],
)
def test_large_bodies_are_checked_where_they_are_read(processes, body, status, reason):
    if status == 200:
        assert asyncio.run(processes.read(bytearray(body), 100)) == json.loads(body)
        return
    with pytest.raises(RequestError, match=reason) as error:
        asyncio.run(processes.read(bytearray(body), 100))
    assert error.value.status == status


def test_the_bytes_of_large_bodies_are_bounded_together():
    one = InProcesses({"nano": str(nano_path())}, Limits(bytes=100))
    one.wait_until_ready()
    for sizes, right in (((50, 50), True), ((50, 51), False), ((101,), False)):
        content = [{"type": "image_url", "image_url": data_uri(b"x" * size)} for size in sizes]
        reading = one.read(bytearray(json.dumps({"messages": [{"role": "user", "content": content}]}).encode()), 1)
        if right:
            found = asyncio.run(reading)["messages"][0]["content"]
            assert [len(part["image_url"]) for part in found] == list(sizes)
        else:
            with pytest.raises(RequestError, match="may have 100 bytes together"):
                asyncio.run(reading)
    one.close()


def test_what_takes_too_long_ends(processes, monkeypatch):
    monkeypatch.setattr(preparing, "SECONDS", {"heavy": 0.3, "video": 0.3, "text": 10})
    heavy = sent(png(Image.new("RGBA", (7900, 8000), (1, 2, 3, 4))))
    for kind in ("heavy", "video"):
        with pytest.raises(RequestError, match="takes too long or too much memory"):
            having(processes, said(heavy, heavy), kind=kind)
    assert having(processes, said(), kind="text")["input_ids"].shape[0] == 1


def test_what_takes_too_much_memory_ends(processes, monkeypatch):
    monkeypatch.setattr(preparing, "MEMORY", {"heavy": 64 << 20})
    with pytest.raises(RequestError, match="too much memory"):
        having(processes, said(sent(png(Image.new("RGB", (6000, 6000))))))
    assert having(processes, said(sent(png(DRAWING.image))))["pixel_values"].shape[0] == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: chunked_png(chunk(b"teXt", b"") * 1_000_000),
        lambda: segmented_jpeg(b"\xff\xfe\0\2" * 3_000_000),
        lambda: blocks_gif(6_000_000),
        lambda: b"P5 #" + b"x" * 20_000_000 + b"\n1 1 255\n1",
    ],
    ids=["PNG", "JPEG", "GIF", "PPM"],
)
def test_small_images_whose_headers_take_long_are_heavy(processes, monkeypatch, make):
    """Pillow reads them in Python. They get a moment of time and little memory, then they wait for heavy requests."""
    monkeypatch.setattr(preparing, "SECONDS", {"image": 0.2, "heavy": 30})
    messages = said(sent(make()))
    start = time.monotonic()
    with pytest.raises(Heavy):
        having(processes, messages, kind="image")
    assert time.monotonic() - start < 20


def test_what_needs_more_memory_than_a_light_request_is_heavy(processes, monkeypatch):
    monkeypatch.setattr(preparing, "SECONDS", {"image": 30, "heavy": 30})
    picture = said(sent(png(Image.new("RGB", (4000, 3900)))))
    assert having(processes, picture, kind="image")["pixel_values"].shape[0] == 1  # almost 16 million pixels fit
    monkeypatch.setattr(preparing, "MEMORY", {"image": 48 << 20, "heavy": 768 << 20})
    with pytest.raises(Heavy):
        having(processes, picture, kind="image")
    assert having(processes, picture, kind="heavy")["pixel_values"].shape[0] == 1


def test_images_that_take_long_are_reported_before_they_are_decoded(processes, processor, monkeypatch):
    """16 million pixels, those that are slower to decode as many times as they are slower."""
    monkeypatch.setattr(preparing, "SECONDS", {"image": 30})
    threads = InThreads({"nano": processor}, Limits())
    half, jpeg = png(Image.new("L", (4000, 2000))), BytesIO()
    Image.new("L", (4000, 2000)).save(jpeg, "JPEG", progressive=True)
    assert SentImage(half, Limits()).work == SentImage(jpeg.getvalue(), Limits()).work == 8_000_000
    assert SentImage(b"P2 4 3 255\n" + b"7 " * 12, Limits()).work == 12 * 64
    for way in (processes, threads):
        assert having(way, said(*[sent(half)] * 2), kind="image")
        with pytest.raises(Heavy):
            having(way, said(*[sent(half)] * 2, sent(png(DRAWING.image))), kind="image")
    threads.close()


def test_long_texts_are_reported_before_they_are_cut_into_tokens(processes, processor, monkeypatch):
    monkeypatch.setattr(preparing, "SECONDS", {"text": 30})
    threads = InThreads({"nano": processor}, Limits())
    whole = "é" * 49_997 + "a"  # and "What?" with it
    for way in (processes, threads):
        assert having(way, [said()[0], {"role": "assistant", "content": [text(whole)]}], kind="text")
        with pytest.raises(Heavy):
            having(way, [said()[0], {"role": "assistant", "content": [text(whole + "a")]}], kind="text")
    assert having(threads, [said()[0], {"role": "assistant", "content": [text(whole + "a")]}], kind="heavy")
    threads.close()


def test_when_nobody_waits_the_process_ends(processes):
    heavy = sent(png(Image.new("RGBA", (7900, 8000), (1, 2, 3, 4))))
    helper = psutil.Process(processes.process.pid)

    async def leave():
        task = asyncio.ensure_future(processes("nano", CONTEXT, said(heavy, heavy), {}, "heavy"))
        while not any(child.cpu_times().user > 0.2 for child in helper.children()):  # in the middle of a decoder
            await asyncio.sleep(0.02)
        assert [child.nice() - helper.nice() for child in helper.children()] == [5]  # it makes way for others
        task.cancel()
        end = time.monotonic() + 5
        while helper.children() and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return helper.children()

    assert asyncio.run(leave()) == []


def test_an_image_is_decoded_again_and_not_kept():
    picture = SentImage(png(DRAWING.image.convert("P")), Limits())
    assert picture.size == DRAWING.image.size
    expected = DRAWING.image.convert("P").convert("RGB").tobytes()
    assert picture.convert("RGB").tobytes() == picture.convert("RGB").tobytes() == expected
    assert picture.mode == "RGBX"  # still nothing is here
    picture.load()
    assert picture.mode == "P" and picture.convert("RGB").tobytes() == expected


def test_frames_of_videos_are_bounded_as_images_are(processor):
    data = clip_bytes([0, 99], size=(640, 480))
    assert prepare(processor, CONTEXT, said({"type": "video", "data": data}), {"num_frames": 1}, Limits())
    with pytest.raises(RequestError, match="has 640 x 480 pixels, more than the 300000 allowed"):
        prepare(processor, CONTEXT, said({"type": "video", "data": data}), {"num_frames": 1}, Limits(pixels=300_000))
