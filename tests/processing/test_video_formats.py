# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Files that FFmpeg would take for lists of what to open: none opens another file, a port or an address."""

import re
import socket
import threading
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

import transformers_internvl
from tests.clips import sdp, write_clip
from transformers_internvl import InternVLVideoProcessor
from transformers_internvl.processing.videos.video_decoding import VideoReader, open_container


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1] & ~1  # of pairs, the even one


def test_a_description_of_a_session_opens_no_port():
    ends = []

    def read():
        with pytest.raises(ValueError, match="cannot be read as a video"):
            VideoReader(sdp(free_port()))
        ends.append(True)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(5)  # FFmpeg would wait for packets
    assert ends and sdp(2)[8:12] == b"AVI "


@pytest.mark.parametrize("way", ["bytes", "path", "processor", "fetch_videos"])
def test_a_list_of_files_opens_none(tmp_path, monkeypatch, way):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "other.mp4", [0, 80, 160])
    (tmp_path / "list.mp4").write_bytes(b"ffconcat version 1.0\nfile other.mp4\n")
    with av.open(BytesIO((tmp_path / "list.mp4").read_bytes())) as container:  # as FFmpeg does when nobody forbids it
        assert len(list(container.decode(video=0))) == 3
    source = tmp_path / "list.mp4" if way != "bytes" else (tmp_path / "list.mp4").read_bytes()
    processor = InternVLVideoProcessor()
    read = {"processor": processor, "fetch_videos": processor.fetch_videos}.get(way, VideoReader)
    with pytest.raises(ValueError, match="cannot be read as a video"):
        read(str(source) if way != "bytes" else source)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/x.ts\n#EXT-X-ENDLIST\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><BaseURL>http://127.0.0.1:{port}/'
        '</BaseURL><Period><AdaptationSet><Representation id="1"><SegmentList><SegmentURL media="x"/></SegmentList>'
        "</Representation></AdaptationSet></Period></MPD>",
        "ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/x.mp4'\n",
    ],
    ids=["HLS", "DASH", "ffconcat"],
)
def test_playlists_connect_nowhere(text):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        with pytest.raises(ValueError, match="cannot be read as a video"):
            VideoReader(text.format(port=listener.getsockname()[1]).encode())
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize(
    "suffix, codec, pixels",
    [
        *[(suffix, "mpeg4", "yuv420p") for suffix in ("mp4", "mov", "mkv", "avi", "ts", "3gp", "nut", "m4v")],
        *[("mpg", "mpeg2video", "yuv420p"), ("flv", "flv", "yuv420p"), ("wmv", "wmv2", "yuv420p")],
        *[("gif", "gif", "rgb8"), ("mjpeg", "mjpeg", "yuvj420p"), ("y4m", "rawvideo", "yuv420p")],
    ],
)
def test_formats_of_videos_are_read(tmp_path, suffix, codec, pixels):
    path = tmp_path / f"clip.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for shade in [0, 80, 160, 240] * 10:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with path.open("rb") as file, open_container(file) as container:
        assert len(list(container.decode(video=0))) == 40


def test_nothing_else_opens_containers():
    root = Path(transformers_internvl.__file__).parent
    callers = [
        path.name for path in root.rglob("*.py") if re.search(r"\b_?(import_)?av(\(\))?\.open\(", path.read_text())
    ]
    assert callers == ["video_decoding.py"]
