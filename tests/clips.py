# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Small encoded videos, whose frames are told apart by their shade."""

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np

# Rows of display matrices, (a, b, c, d) of video_timing.upright, by what a player does with the stored image.
MATRICES = {
    "clockwise": (0, 1, -1, 0),
    "half": (-1, 0, 0, -1),
    "counterclockwise": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "mirrored clockwise": (0, 1, 1, 0),
}


def write_clip(
    target: Path | BytesIO,
    shades: Iterable[int],
    size: tuple[int, int] = (64, 48),
    rate: int = 4,
    codec: str = "mpeg4",
    options: dict[str, str] | None = None,
    times: Sequence[float] | None = None,
    format: str | None = None,
) -> None:
    """A frame of `size` (width, height) for each shade of gray. A named file has its own format, memory an MP4.

    With `times`, in seconds, each frame is shown at its own time, to the millisecond; `rate` is only declared.
    """
    frames = [np.full((size[1], size[0], 3), shade, np.uint8) for shade in shades]
    write_frames(target, frames, rate, codec, options, times, format)


def write_frames(
    target: Path | BytesIO,
    frames: Sequence[np.ndarray],
    rate: int = 4,
    codec: str = "mpeg4",
    options: dict[str, str] | None = None,
    times: Sequence[float] | None = None,
    format: str | None = None,
) -> None:
    """As `write_clip`, of frames `[H, W, 3]`."""
    format = format or ("mp4" if isinstance(target, BytesIO) else None)
    with av.open(target if isinstance(target, BytesIO) else str(target), mode="w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(1000 * times[number]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def trimmed(file: bytes, start: float) -> bytes:
    """An MP4 file of frames that were reordered, without its first seconds: its edit list hides them."""
    edits, header = file.index(b"elst"), file.index(b"mdhd")
    (ticks,) = struct.unpack_from(">I", file, header + 16)  # of the track, a second; those of the file are 1000
    count, length, begin = struct.unpack_from(">IIi", file, edits + 8)
    if count != 1 or file[edits + 4] or file[header + 4]:
        raise ValueError("expected one edit, and boxes of version 0")
    entry = struct.pack(">Ii", length - round(1000 * start), begin + round(ticks * start))
    return file[: edits + 12] + entry + file[edits + 20 :]


def turn(file: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """An MP4 file with another display matrix in its track header, as phones write it; see `MATRICES`."""
    a, b, c, d = (value << 16 for value in matrix)
    header = file.index(b"tkhd")
    at = header + 4 + (40 if file[header + 4] == 0 else 52)  # behind times, track id, duration, layer, volume
    return file[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + file[at + 36 :]


def clip_bytes(shades: Iterable[int], **options) -> bytes:
    """An MP4 file, by the arguments of `write_clip`."""
    file = BytesIO()
    write_clip(file, shades, **options)
    return file.getvalue()


def sdp(port: int) -> bytes:
    """A description of a stream to wait for, with the mark of AVI where that has it."""
    return f"v=0\r\ns=-AVI \r\nc=IN IP4 127.0.0.1\r\nm=video {port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n".encode()


def decoded(source: Path | BytesIO) -> list[tuple[int | None, np.ndarray]]:
    """Time stamp and pixels `[H, W, 3]` of all frames, as PyAV decodes them from the beginning, not turned."""
    with av.open(source if isinstance(source, BytesIO) else str(source)) as container:
        return [(frame.pts, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


__all__ = ["MATRICES", "clip_bytes", "decoded", "sdp", "trimmed", "turn", "write_clip", "write_frames"]
