# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Unusual HTTP at a running `internvl serve`, and URLs and redirections that lead where they should not."""

import json
import socket
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import pytest

from tests.reliability.serving import post, running_server
from transformers_internvl.processing.fetching import Fetching
from transformers_internvl.serving.media import Limits, Reading
from transformers_internvl.serving.requests import RequestError

HI = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}).encode()


@pytest.fixture(scope="module")
def url():
    with running_server("--max-requests", "8") as (url, _):
        yield url


def sent(url, *pieces, seconds=20.0, pause=0.0):
    """What comes back for these bytes, until the server closes the connection, or says nothing for a second."""
    parts = urlsplit(url)
    with closing(socket.create_connection((parts.hostname, parts.port), timeout=seconds)) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except ConnectionError:
            pass
        data = b""
        try:
            while more := connection.recv(1 << 16):
                data += more
                connection.settimeout(1)
        except (TimeoutError, ConnectionError):
            pass
        return data


def statuses(data):
    return [int(line.split()[1]) for line in data.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


def head(line, *headers, host="localhost"):
    return "\r\n".join([f"{line} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


POST = ("POST /v1/chat/completions", "Content-Type: application/json")
GET = head("GET /v1/models")
# What is sent, and the statuses of the answers; 0: the server may close without one.
CASES = {
    "two at once": ([GET * 2], [200, 200]),
    "a hundred at once": ([GET * 100], [200] * 100),
    "a body in chunks": ([head(*POST, "Transfer-Encoding: chunked"), b"%x\r\n%s\r\n0\r\n\r\n" % (len(HI), HI)], [200]),
    "a promise to send": ([head(*POST, "Expect: 100-continue", f"Content-Length: {len(HI)}"), HI], [100, 200]),
    "a proxy's tunnel": ([head("CONNECT 127.0.0.1:22")], [404]),
    "a proxy's request": ([head("GET http://127.0.0.1:22/v1/models")], [404]),
    "a proxy's request of another": ([head("GET http://localhost/v1/models", host="page.example")], [403]),
    "a web socket": (
        [
            head(
                "GET /v1/chat/completions",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            )
        ],
        [405],
    ),
    "HTTP/2": ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], [400, 403]),
    "TLS": ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500 + b"\r\n\r\n"], [400]),
    "a large header": ([head("GET /v1/models", "X: " + "x" * 200_000)], [400]),
    "a large line": ([head("GET /" + "x" * 200_000)], [400]),
    "three thousand headers": ([head("GET /v1/models", *[f"X{i}: y" for i in range(3000)])], [200]),
    "two lengths": ([head(*POST, "Content-Length: 2", "Content-Length: 3"), b"{}"], [400]),
    "a length that is no number": ([head(*POST, "Content-Length: -2"), b"{}"], [400]),
    "a chunk of a large number": (
        [head(*POST, "Transfer-Encoding: chunked"), b"f" * 30 + b"\r\n" + b"x" * 1000],
        [400],
    ),
    "no host": ([b"GET /v1/models HTTP/1.1\r\n\r\n"], [400]),
    "HTTP/1.0": ([b"GET /v1/models HTTP/1.0\r\n\r\n"], [403]),
    "another method": ([head("DELETE /v1/models")], [405]),
    "a path upwards": ([head("GET /v1/../../etc/passwd")], [404]),
    "the documentation": ([head("GET /docs"), head("GET /openapi.json")], [404, 404]),
    "no content type": ([head("POST /v1/chat/completions", f"Content-Length: {len(HI)}"), HI], [200, 400]),
}


@pytest.mark.parametrize("name", CASES)
def test_unusual_requests(url, name):
    pieces, expected = CASES[name]
    found = statuses(sent(url, *pieces))
    assert found == expected or len(found) == 1 and found[0] in expected
    assert post(url, HI)[0] == 200


def test_chunks_without_end_are_bounded(url):
    """Each chunk is small, and there are more than a body may have."""
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    assert statuses(sent(url, head(*POST, "Transfer-Encoding: chunked"), *[chunk] * 120)) == [413]
    assert post(url, HI)[0] == 200


@pytest.mark.parametrize(
    "host, status",
    [
        *((name, 200) for name in ("LocalHost", "localhost.", "localhost:1", "127.0.0.1", "127.9.9.9:5", "[::1]")),
        *((name, 403) for name in ("127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost.page.example", "[::]")),
        *((name, 403) for name in ("[::ffff:7f00:1]", "0.0.0.0", "localhost,page.example", "page.example:80", "*")),
    ],
)
def test_forms_of_host_names(url, host, status):
    assert statuses(sent(url, head("GET /v1/models", host=host))) == [status]


@pytest.mark.parametrize(
    "origin, status",
    [
        *((origin, 200) for origin in ("http://localhost", "https://LOCALHOST:3000", "http://[::1]:5")),
        *(
            (origin, 403)
            for origin in ("null", "file://", "http://localhost.page.example", "", "http://[", "localhost")
        ),
        ("http://page.example/?http://localhost", 403),
        ("http://localhost@page.example", 403),
    ],
)
def test_forms_of_origins(url, origin, status):
    assert statuses(sent(url, head("GET /v1/models", f"Origin: {origin}"))) == [status]


# --- URLs ---

NOT_FETCHED = """
    http://127.0.0.1/ http://127.1/ http://0177.0.0.1/ http://0x7f.0.0.1/ http://0x7f000001/ http://2130706433/
    http://0/ http://0.0.0.0/ http://017700000001/ http://[::1]/ http://[::]/ http://[::ffff:127.0.0.1]/
    http://[::ffff:7f00:1]/ http://[64:ff9b::7f00:1]/ http://[64:ff9b::169.254.169.254]/ http://[2002:7f00:1::]/
    http://[::7f00:1]/ http://[fe80::1%25lo]/ http://localhost/ http://LOCALHOST./ http://１２７.０.０.１/
    http://127。0。0。1/ http://①②⑦.0.0.1/ http://user@8.8.8.8/ http://user:word@8.8.8.8/ http://8.8.8.8@127.0.0.1/
    http://8.8.8.8\\@127.0.0.1/ http://8.8.8.8:99999/ http://8.8.8.8:-1/ http:///x
    http://%31%32%37.0.0.1/ http://[127.0.0.1]/ http://[8.8.8.8/ http://127.0.0.1:22/ https://169.254.169.254/latest
    http://.8.8.8.8/ http://xn--0000h/ http://a..b/ HTTP://127.0.0.1/ ftp://8.8.8.8/ file:///etc/hostname //127.0.0.1/
    http:127.0.0.1 gopher://127.0.0.1/ data:image/png,AAAA /etc/hostname"""


@pytest.mark.parametrize(
    "source", [*NOT_FETCHED.split(), "http://8.8.8.8/\r\nHost: x", "http://127.0.0.1\t/", " http://1.1.1.1/"]
)
def test_nothing_is_connected_to_for_these(source, monkeypatch):
    """Names are not resolved but by the numbers that the system reads in them."""
    connected, resolve = [], socket.getaddrinfo
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: connected.append(address))

    def numbers(host, *arguments, **options):
        if host == "localhost" or host.lower() == "localhost.":
            return resolve("127.0.0.1", *arguments, **options)
        return resolve(host, *arguments, **{**options, "flags": socket.AI_NUMERICHOST})

    monkeypatch.setattr(socket, "getaddrinfo", numbers)
    with pytest.raises(RequestError):
        Reading(Limits(seconds=5)).read(source)
    assert connected == []


class Elsewhere(BaseHTTPRequestHandler):
    """Redirects to what stands behind `?`."""

    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", self.path.partition("?")[2])
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def redirecting():
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "target, reason",
    [
        ("file:///etc/hostname", "no http"),
        ("ftp://127.0.0.1/x", "no http"),
        ("data:image/png;base64,AAAA", "no http"),
        ("http://127.0.0.1:22/", "no public address"),
        ("//127.0.0.1:22/", "no public address"),
        ("http://0x7f000001:22/", "no public address"),
        ("http://[::1]:22/", "no public address"),
        ("http://user@localhost/", "no user name"),
        ("/again", "redirected too often|no http"),
        ("", "redirected too often|no http"),
    ],
)
def test_redirections_are_looked_at_as_urls_are(redirecting, target, reason):
    with pytest.raises(RequestError, match=reason):
        Reading(Limits(seconds=5, hosts=("localhost",))).read(f"{redirecting}?{target}")


def test_a_fetch_that_is_aborted_begins_no_other(redirecting):
    fetching = Fetching(5, ("localhost",))
    fetching.abort()
    with pytest.raises(ValueError, match="took longer than 5 s"):
        fetching.get(f"{redirecting}?/x", 100)
