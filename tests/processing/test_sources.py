# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Images from paths, URLs, data URIs and base64 text."""

import base64
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from transformers_internvl.processing import sources
from transformers_internvl.processing.sources import open_image, open_source


@pytest.fixture
def png() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def server(png):
    """A server on the loopback: `/image.png` is an image, everything else is missing."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == "/picture.png"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(png if found else b"no")

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


def test_every_kind_of_source_gives_the_same_image(png, server, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(png)
    text = base64.b64encode(png).decode()
    expected = np.asarray(Image.open(io.BytesIO(png)))
    for source in (path, str(path), png, f"{server}/picture.png", f"data:image/png;base64,{text}", text):
        assert np.array_equal(np.asarray(open_image(source)), expected)


def test_a_url_that_does_not_answer_names_itself(server):
    with pytest.raises((OSError, ValueError), match="missing.png"):
        open_image(f"{server}/missing.png")


@pytest.mark.parametrize("source", ["nowhere.png", b"not a picture", "data:image/png;base64,AAAA"])
def test_what_is_no_image_is_refused(source):
    with pytest.raises((OSError, ValueError)):
        open_image(source)


@pytest.mark.parametrize("opened", [open_image, open_source])
@pytest.mark.parametrize(("given", "seconds"), [({}, 60.0), ({"timeout": 3}, 3), ({"timeout": None}, None)])
def test_a_url_is_waited_for_a_minute(opened, given, seconds, png, monkeypatch):
    asked = []
    monkeypatch.setattr(sources, "_fetch", lambda url, timeout: asked.append((url, timeout)) or png)
    opened("http://example.org/a.png", **given)
    assert asked == [("http://example.org/a.png", seconds)]
