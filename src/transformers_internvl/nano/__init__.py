# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The embedded demo: a tiny InternVL that knows numbers and shapes in drawings, and sample images.

It was trained by `lab.nano.training` of the repository, which is not part of the package.
`checkpoint/README.md` says what it answers, and how well.
"""

from pathlib import Path


def nano_path() -> Path:
    """The folder of the embedded checkpoint, in the `internvl` layout, for any `from_pretrained`."""
    return Path(__file__).parent / "checkpoint"


def sample_images() -> dict[str, Path]:
    """The sample images (PNG) by name: `"number"`, `"color"` and `"count"`."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "samples").glob("*.png"))}


__all__ = ["nano_path", "sample_images"]
