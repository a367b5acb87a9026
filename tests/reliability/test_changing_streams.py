# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Videos whose frames change their size or their colours' sampling in mid-stream give each frame's own pixels."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.clips import clip_bytes
from transformers_internvl import InternVLVideoProcessor
from transformers_internvl.processing.videos.video_decoding import VideoReader

LEVELS = (0, 80, 160, 240)


def stream(pictures):
    """Matroska with a JPEG for each frame. `images`: size, level, mode and options of each."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        track = container.add_stream("mjpeg", rate=5)
        track.width, track.height, track.pix_fmt, track.time_base = 32, 32, "yuvj420p", Fraction(1, 5)
        for number, (size, level, mode, options) in enumerate(pictures):
            encoded = io.BytesIO()
            Image.fromarray(np.full((size[1], size[0]), level, np.uint8)).convert(mode).save(
                encoded, "JPEG", **options
            )
            packet = av.Packet(encoded.getvalue())
            packet.pts = packet.dts = number
            packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, 5), True, track
            container.mux(packet)
    return file.getvalue()


def test_a_large_frame_in_a_small_stream():
    """It is refused before its colours are made; beyond what a decoder may hold, before it is decoded."""
    small = ((32, 32), 80, "RGB", {})
    processor = InternVLVideoProcessor(size={"height": 28, "width": 28})
    read = []
    for side, message in ((128, "has 128 x 128 pixels, more than the 2000"), (8400, "cannot be decoded")):
        file = stream([small, small, ((side, side), 160, "L", {}), small])
        assert len(processor(file, num_frames=1, max_image_pixels=2000)["pixel_values_videos"][0]) == 1
        with VideoReader(file, 2000) as reader, pytest.raises(ValueError, match=message):
            read.extend(index for index, _ in reader.frames(range(4)))
    assert read == [0, 1] * 2
    exact = stream([small, ((64, 64), 160, "L", {})])
    assert len(processor(exact, do_sample_frames=False, max_image_pixels=64 * 64)["pixel_values_videos"][0]) == 2
    with pytest.raises(ValueError, match="more than the 4095"):
        processor(exact, do_sample_frames=False, max_image_pixels=64 * 64 - 1)


def says(file, format, count):
    """A clip of five frames whose index says another number: one packet more, or many, than there are."""
    file = bytearray(file)
    if format == "avi":
        for box, at in ((b"avih", 24), (b"strh", 40)):
            struct.pack_into("<I", file, file.index(box) + at, count)
    else:
        for box, at in ((b"stsz", 12), (b"stts", 12), (b"stsc", 16)):
            struct.pack_into(">I", file, file.index(box) + at, count)
    return bytes(file)


@pytest.mark.parametrize("count", [6, 7, 1000, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("format", ["mp4", "avi"])
def test_more_frames_are_said_than_there_are(format, count):
    """Avi: the frames that are there. MP4: these, or an error, where what is no packet is asked for."""
    shades = [10, 60, 110, 160, 210]
    file = says(clip_bytes(shades, format=format), format, count)
    processor = InternVLVideoProcessor(size={"height": 28, "width": 28}, image_mean=[0.0] * 3, image_std=[1.0] * 3)
    if format == "mp4" and count > 6:
        with pytest.raises(ValueError, match=r"cannot be (decoded|read as a video)|has no frames"):
            processor(file, do_sample_frames=False)
        return
    frames = processor(file, do_sample_frames=False, return_tensors="pt")["pixel_values_videos"][0]
    levels = frames.mean((1, 2, 3)) * 255
    torch.testing.assert_close(levels, torch.tensor(shades, dtype=levels.dtype), rtol=0, atol=6)


def test_a_matroska_file_that_ends_early():
    shades = [10, 60, 110, 160, 210]
    file = clip_bytes(shades, format="matroska")
    processor = InternVLVideoProcessor(size={"height": 28, "width": 28}, image_mean=[0.0] * 3, image_std=[1.0] * 3)
    counts = set()
    for share in range(len(file) // 2, len(file), 100):
        try:
            frames = processor(file[:share], do_sample_frames=False, return_tensors="pt")["pixel_values_videos"][0]
        except ValueError:
            continue
        counts.add(len(frames))
        levels = frames.mean((1, 2, 3)) * 255
        expected = torch.tensor(shades[: len(frames)], dtype=levels.dtype)
        torch.testing.assert_close(levels[:-1], expected[:-1], rtol=0, atol=6)  # the last may be cut off
    assert len(counts) > 1


@pytest.mark.parametrize(
    "changes",
    [
        [((32, 32), "RGB", {}), ((64, 48), "RGB", {}), ((16, 16), "RGB", {}), ((32, 32), "RGB", {})],
        [((32, 32), "RGB", {"subsampling": 2}), ((32, 32), "RGB", {"subsampling": 0}), ((32, 32), "L", {})] * 2,
    ],
    ids=["size", "colours"],
)
def test_streams_that_change(changes):
    shown = [(size, LEVELS[number % 4], *rest) for number, (size, *rest) in enumerate(changes)]
    processor = InternVLVideoProcessor(size={"height": 28, "width": 28}, image_mean=[0.0] * 3, image_std=[1.0] * 3)
    frames = processor(stream(shown), do_sample_frames=False, return_tensors="pt")["pixel_values_videos"][0]
    assert len(frames) == len(shown)
    expected = torch.tensor([level / 255 for _, level, *_ in shown]).view(-1, 1, 1, 1).expand(-1, 3, 28, 28)
    torch.testing.assert_close(frames, expected, rtol=0, atol=3 / 255)  # JPEG's and YUV's rounding
