# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Small encoded videos, whose frames are told apart by their shade."""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import av
import numpy as np


def write_clip(
    target: Path | BytesIO,
    shades: Iterable[int],
    size: tuple[int, int] = (64, 48),
    rate: int = 4,
    codec: str = "mpeg4",
    options: dict[str, str] | None = None,
) -> None:
    """A frame of `size` (width, height) for each shade of gray. A named file has its own format, memory an MP4."""
    width, height = size
    where = {"file": target, "format": "mp4"} if isinstance(target, BytesIO) else {"file": str(target)}
    with av.open(mode="w", **where) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for shade in shades:
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def clip_bytes(shades: Iterable[int], **options) -> bytes:
    """An MP4 file, by the arguments of `write_clip`."""
    file = BytesIO()
    write_clip(file, shades, **options)
    return file.getvalue()


def sdp(port: int) -> bytes:
    """A description of a stream to wait for, with the mark of AVI where that has it."""
    return f"v=0\r\ns=-AVI \r\nc=IN IP4 127.0.0.1\r\nm=video {port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n".encode()


__all__ = ["clip_bytes", "sdp", "write_clip"]
