# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stands in for a module that the source distribution lacks: files of the Hub, drawn here under their names."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

MEDIA = Path(__file__).resolve().parent / "media"
FRAMES = {"tiny_video_320x240.mp4": 11}  # the suite counts them; they are shown for 1/30 s each
WIDTH, HEIGHT, RATE = 320, 240, 30


def url_to_local_path(url: str, return_url_if_not_found: bool = True) -> str:
    """The path of an image or a video with the name of the one at `url`; other files are not at hand."""
    name = url.rpartition("/")[2]
    write = {".png": _picture, ".jpg": _picture, ".mp4": _video}.get(os.path.splitext(name)[1])
    if write is None:
        return url
    path = MEDIA / name
    if not path.exists():
        MEDIA.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=MEDIA) as folder:  # suites run side by side
            write(Path(folder) / name)
            (Path(folder) / name).replace(path)
    return str(path)


def _levels(moment: int = 0) -> np.ndarray:
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([row + moment, column + 9 * moment, row * column // 99], axis=-1).astype(np.uint8)


def _picture(path: Path) -> None:
    Image.fromarray(_levels()).save(path)


def _video(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for moment in range(FRAMES.get(path.name, 20)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_levels(moment), format="rgb24")))
        container.mux(stream.encode())
