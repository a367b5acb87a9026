# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Videos whose frames change their size or their colours' sampling in mid-stream give each frame's own pixels."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from transformers_internvl import InternVLVideoProcessor

LEVELS = (0, 80, 160, 240)


def stream(pictures):
    """Matroska with a JPEG for each frame. `pictures`: size, level, mode and options of each."""
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
