# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Requests that would stop a server, each at a running one, and what a second client gets meanwhile."""

import http.client
import json
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from io import BytesIO
from urllib.parse import urlsplit

import pytest
from PIL import Image

from lab.nano.drawing import draw
from tests.reliability.hostile import BODIES, IMAGES, VIDEOS, image, runs_bmp, scans, video
from tests.reliability.second_client import SERVED
from tests.reliability.second_client import second_client as measured_client
from tests.reliability.serving import ask, client_of, data_uri, direct, png, post, running_server
from transformers_internvl.nano import nano_path

MOST_REQUESTS = 12
CONNECTIONS = 4 * MOST_REQUESTS
SOON = 20.0
"""Seconds, on a machine that may be very busy: at rest it is a tenth of that."""

DRAWING = draw("number", 5)
HI = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


@pytest.fixture(scope="module")
def server():
    with running_server("--allow-host", "localhost", "--max-requests", str(MOST_REQUESTS)) as (url, process):
        yield url, process


@pytest.fixture(scope="module")
def url(server):
    return server[0]


def said(*parts):
    return {"messages": [{"role": "user", "content": list(parts)}], "max_tokens": 1}


def sent(data, mime="image/png"):
    return {"type": "image_url", "image_url": {"url": data_uri(data, mime), "detail": "low"}}


@contextmanager
def second_client(server, most_bytes):
    """While something is asked: others who send a text, and an image, are served soon, and the server takes no more
    than `most_bytes` beyond what it had."""
    with measured_client(*server) as measured:
        yield
    assert measured.count > 1 and measured.statuses == {200}
    waited = f"{measured.slowest:.1f} s, with {measured.busy:.1f} times the computing at rest"
    assert measured.slowest < SERVED * measured.busy, waited
    assert measured.bytes < most_bytes, f"{measured.bytes >> 20} MiB more"


@pytest.mark.parametrize(
    "make_data, mime, reason",
    [
        (lambda: png(Image.new("L", (64_000_000, 1))), "image/png", "a side longer than 262144"),
        (lambda: png(Image.new("L", (1, 4_000_000))), "image/png", "a side longer than 262144"),
        (lambda: scans(5000, 20_000), "image/jpeg", "JPEG of 5000 x 5000 pixels in 200"),
        (
            lambda: b"P3 3000 3000 255\n" + b"1 " * 27_000_000,
            "image/x-portable-pixmap",
            "3000 x 3000 pixels in this coding",
        ),
        (
            lambda: b"P6 3000 3000 100\n" + b"\1" * 27_000_000,
            "image/x-portable-pixmap",
            "3000 x 3000 pixels in this coding",
        ),
        (lambda: runs_bmp(2000), "image/bmp", "BMP of 2000 x 2000 pixels in this coding takes too long"),
        (lambda: png(Image.new("1", (9_000, 9_000))), "image/png", "9000 x 9000 pixels is too large"),
    ],
    ids=["flat", "tall", "scans", "decimal PPM", "odd PPM", "runs", "large"],
)
def test_images_that_take_long_are_refused(server, make_data, mime, reason):
    data = make_data()
    with second_client(server, 600 << 20):
        start = time.monotonic()
        status, answer = post(server[0], said(sent(data, mime)))
        assert status == 400 and reason in answer["error"]["message"]
        assert time.monotonic() - start < SOON


def test_formats_that_are_slow_are_taken_where_they_are_small(url):
    small = Image.new("L", (40, 30), 7)
    ppm, bmp, jpeg = b"P2 40 30 255\n" + b"7 " * 1200, runs_bmp(40), BytesIO()
    small.save(jpeg, "JPEG", progressive=True)
    for data in (ppm, bmp, jpeg.getvalue()):
        assert post(url, said(sent(data)))[0] == 200


def test_large_images_are_decoded_one_at_a_time(server):
    """Four of 16 megapixels: as Pillow holds them 256 MB together, one of them and its levels 112."""
    picture = sent(png(Image.new("RGB", (4000, 4000), (1, 2, 3))))
    with second_client(server, 220 << 20):
        assert post(server[0], said(*[picture] * 4))[0] == 200
    status, answer = post(server[0], said(*[picture] * 9))
    assert status == 400 and "144000000 pixels together: at most 128000000" in answer["error"]["message"]


@pytest.mark.parametrize(
    "body, status, reason",
    [
        (b'{"messages": [' + b"[]," * 7_000_000 + b"[]]}", 413, "values and escapes"),
        (b'{"messages": "' + b"\\n" * 10_000_000 + b'"}', 413, "values and escapes"),
        (b"{" + b",".join(b'"%d":0' % i for i in range(400_000)) + b"}", 400, "100 fields"),
        (
            b'{"messages": [{"role": "user", "content": [' + b'{"type":"text","text":""},' * 150_000 + b"0]}]}",
            400,
            "1000",
        ),
        (json.dumps({"messages": [{"role": "user", "content": "word " * 6_000_000}]}).encode(), 400, "context"),
        (json.dumps({"messages": [{"role": "user", "content": "a" * 200_000}]}).encode(), 400, "context"),
        (json.dumps({"messages": [{"role": "user", "content": "", "x" * 30_000_000: 1}]}).encode(), 400, "unknown"),
        (
            json.dumps({"messages": [{"role": "user", "content": ""}], "user": "x" * 30_000_000}).encode(),
            413,
            "beside",
        ),
        (json.dumps(said(sent(b"\0" * (40 << 20)))).encode(), 400, "No image"),
    ],
    ids=["lists", "escapes", "fields", "parts", "text", "text of one word", "name", "option", "data URI"],
)
def test_bodies_do_not_stop_the_server(server, body, status, reason):
    with second_client(server, 700 << 20), ThreadPoolExecutor(4) as pool:
        for got, answer in pool.map(lambda _: post(server[0], body), range(4)):
            assert got == status and reason in answer["error"]["message"]


def test_data_uris_count_towards_the_bytes_of_a_request(url):
    filler = {"type": "image_url", "image_url": {"url": data_uri(b"\0" * (33 << 20))}}
    status, answer = post(url, said(filler, filler))
    assert status == 413 and "may have 67108864 bytes together" in answer["error"]["message"]


@contextmanager
def silent_host():
    """Takes connections and says nothing: its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


def started(url, data, stack, address="127.0.0.1"):
    """A connection on which `data` was sent, and which stays open."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), source_address=(address, 0))
    stack.enter_context(connection)
    connection.sendall(data)
    return connection


def request(body, size=None):
    data = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {size or len(data)}\r\n\r\n".encode() + data


def test_silent_hosts_delay_nobody_else(server):
    """More fetches than may be at a time, of a host that says nothing for their 20 seconds."""
    with silent_host() as port, ExitStack() as stack:
        picture = {"type": "image_url", "image_url": {"url": f"http://localhost:{port}/x.png"}}
        fetching = [started(server[0], request(said(picture)), stack, "127.0.0.2") for _ in range(MOST_REQUESTS // 2)]
        time.sleep(0.5)
        start = time.monotonic()
        with client_of(server[0].replace("127.0.0.1", "localhost")) as client:
            assert ask(client, HI) == direct(HI)
        assert time.monotonic() - start < SOON
        for connection in fetching:
            connection.settimeout(0.01)
            with pytest.raises(TimeoutError):
                connection.recv(1)


def test_half_requests_delay_nobody(server):
    """Far more half headers and half bodies than there may be connections: whoever asks gets in."""
    url, process = server
    with ExitStack() as stack:
        for index in range(2 * CONNECTIONS):
            started(
                url, request({}, size=1000) if index % 2 else b"POST /v1/chat/completions HTTP/1.1\r\nHost: ", stack
            )
        start = time.monotonic()
        for _ in range(3):
            assert post(url, {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1})[0] == 200
        assert time.monotonic() - start < SOON
        assert len(process.net_connections()) <= CONNECTIONS + 8


def test_one_client_does_not_take_all_places(server):
    """Of one address half of the requests may wait."""
    with silent_host() as port, ExitStack() as stack:
        picture = {"type": "image_url", "image_url": {"url": f"http://localhost:{port}/x.png"}}
        for _ in range(MOST_REQUESTS // 2):
            started(server[0], request(said(picture)), stack)
        time.sleep(0.5)
        status, answer = post(server[0], said({"type": "text", "text": "Hi"}))
        assert status == 503 and f"{MOST_REQUESTS // 2} of your requests wait" in answer["error"]["message"]
        parts = urlsplit(server[0])
        other = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60, source_address=("127.0.0.2", 0))
        body = json.dumps(said({"type": "text", "text": "Hi"}))
        other.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        assert other.getresponse().status == 200
        other.close()


def test_who_leaves_while_it_is_prepared_frees_the_place(server):
    """Clients that ask for much work and leave: their processes end, and an image of another's is answered."""
    url, process = server
    heavy = sent(png(Image.new("RGBA", (7900, 8000), (1, 2, 3, 4))))
    with ExitStack() as stack:
        for _ in range(4):
            started(url, request(said(heavy, heavy)), stack)
        wait_for(lambda: len(process.children(recursive=True)) > 1)
    wait_for(lambda: len(process.children(recursive=True)) == 1)
    assert post(url, said(sent(png(DRAWING.image))))[0] == 200


def wait_for(condition):
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_large_images_delay_no_small_ones(server):
    heavy = sent(png(Image.new("RGBA", (7900, 8000), (1, 2, 3, 4))))
    with ExitStack() as stack:
        waiting = [started(server[0], request(said(heavy, heavy)), stack, "127.0.0.2") for _ in range(3)]
        wait_for(lambda: any(child.cpu_times().user > 0.2 for child in server[1].children()[0].children()))
        start = time.monotonic()
        assert post(server[0], said(sent(png(DRAWING.image))))[0] == 200
        assert time.monotonic() - start < SOON
        waiting[-1].settimeout(0.01)
        with pytest.raises(TimeoutError):
            waiting[-1].recv(1)


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "rebound.example"}, 403),
        ({"Host": "127.0.0.1.rebound.example"}, 403),
        ({"Host": "203.0.113.5"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost", "Origin": "http://localhost:3000"}, 200),
        ({"Host": "localhost", "Origin": "https://page.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
    ],
)
@pytest.mark.parametrize("method, path", [("GET", "/v1/models"), ("POST", "/v1/chat/completions")])
def test_names_of_others_are_not_answered(url, headers, status, method, path):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    body = json.dumps(said({"type": "text", "text": "Hi"})).encode() if method == "POST" else b""
    more = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    for name, value in (headers | more).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    assert response.status == status
    assert status == 200 or "--allowed-host" in json.loads(response.read())["error"]["message"]
    connection.close()


@pytest.mark.parametrize(
    "field, value, status",
    [
        ("logit_bias", {"1" * 5000: 1}, 400),
        ("logit_bias", {"١": 1}, 400),
        ("logit_bias", {"1": float("nan")}, 400),
        ("temperature", 1e-300, 200),
        ("temperature", 1e-5, 200),
        ("top_p", 1e-300, 400),
        ("seed", 10**30, 400),
        ("max_tokens", 10**4000, 400),
    ],
)
def test_numbers_of_clients_are_no_faults_of_the_server(url, field, value, status):
    assert post(url, said({"type": "text", "text": "Hi"}) | {field: value})[0] == status


def test_the_coldest_temperatures_take_the_most_likely_token(url):
    expected = direct(HI)
    with client_of(url) as client:
        for temperature in (0, 1e-300, 1e-5):
            assert ask(client, HI, temperature=temperature) == expected


def test_whoever_does_not_read_is_no_burden(url):
    """A client that never reads its stream: others are served."""
    with ExitStack() as stack:
        for _ in range(3):
            started(url, request(said({"type": "text", "text": "Hi"}) | {"stream": True, "max_tokens": 50}), stack)
        assert post(url, said({"type": "text", "text": "Hi"}))[0] == 200


TEMPLATES = {
    "adds": "{% for message in messages %}{{ message['content'] + 1 }}{% endfor %}",
    "divides": "{{ 1 / 0 }}",
    "calls": "{{ messages() }}",
    "asks": "{{ messages[0]['content'].nothing.more }}",
    "grows": "{% set s = namespace(t='ab') %}{% for i in range(99) %}{% set s.t = s.t ~ s.t %}{% endfor %}{{ s.t }}",
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
}


def test_templates_that_fail_are_no_faults_of_the_server(tmp_path):
    """Models whose template ends in an error of Python's, or never: each a 4xx, and the model beside them answers."""
    folders = []
    for name, template in TEMPLATES.items():
        folders.append(shutil.copytree(nano_path(), tmp_path / name))
        (folders[-1] / "chat_template.jinja").write_text(template)
    folders.append(shutil.copytree(nano_path(), tmp_path / "right"))
    with running_server(*(word for folder in folders for word in ("--model", str(folder)))) as (url, _):
        for name in TEMPLATES:
            status, answer = post(url, said({"type": "text", "text": "Hi"}) | {"model": name})
            message = answer["error"]["message"]
            assert 400 <= status < 500 and message and "\n" not in message, (name, status, answer)
        assert post(url, said({"type": "text", "text": "Hi"}) | {"model": "right"})[0] == 200


# Of `tests.reliability.hostile` those that are made in a moment; `serving --second-client` sends all of them.
QUICK = {
    "an image of": (
        image,
        IMAGES,
        "PNG, 60 texts that unpack to 1 MB|APNG, 100,000 frames|GIF, 65,535 x 65,535|TIFF, 4,000,000 x 4,000,000"
        "|TIFF, 200,000 strips|TIFF, directories in a circle|BMP, 2^31 x 2^31|PFM|ICO|AVIF|EPS|SVG|MPO, 1,000 images",
    ),
    "a video of": (
        video,
        VIDEOS,
        "MP4, 2^32 - 1 samples|MP4, 2^32 - 1 chunks|MP4, 2^32 - 1 times|MP4, 10^9 samples of one time"
        "|MP4, 2^32 - 1 edits|MP4, no time between frames|MP4, boxes in boxes|Matroska, 200 tracks"
        "|Matroska, elements in elements|SDP|ffconcat|HLS behind the mark of MP4|GIF as a video",
    ),
    "a body of": (
        lambda body: body,
        BODIES,
        "deep lists|deep objects|one key many times|100,000 messages|a model's name of 60,000 letters"
        "|a number of 4,000 digits|NaN|Infinity|-Infinity as a bias|1e400|16 stop texts of 4,000 letters|17 stop texts"
        "|500 biases|1,001 biases|a billion answers|a billion tokens|a generation config of 60,000 lists"
        "|variables of the template|10,000,000 frames|10,000 tiles|UTF-16",
    ),
}
ANSWERED = {
    "PNG, 60 texts that unpack to 1 MB",
    "MPO, 1,000 images",
    "TIFF, 200,000 strips",
    "TIFF, directories in a circle",
    "MP4, no time between frames",
    "Matroska, 200 tracks",
    "16 stop texts of 4,000 letters",
    "MP4, 2^32 - 1 chunks",
    "MP4, 10^9 samples of one time",
    "MP4, 2^32 - 1 edits",
    "500 biases",
    "10,000 tiles",
    "UTF-16",
}


def test_requests_of_unknown_origin_are_answered_or_refused(server):
    wrong = []
    with second_client(server, 700 << 20):
        for kind, (form, table, names) in QUICK.items():
            for name in names.split("|"):
                status, answer = post(server[0], form(table[name]()))
                if status != 200 if name in ANSWERED else not 400 <= status < 500:
                    wrong.append(f"{kind} {name}: {status} {answer}")
    assert not wrong, "\n".join(wrong)
