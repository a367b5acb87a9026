# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Examples of the page: sample images of the package, and a question about each."""

from typing import Any

from ..nano import sample_images

# Name of a sample image, and a question about it.
QUESTIONS = (
    ("number", "What number is written in the image?"),
    ("color", "What color is the circle?"),
    ("count", "How many shapes are there?"),
    ("color", "圆形是什么颜色？"),
)


def examples() -> list[dict[str, Any]]:
    """The examples, in the form of gradio's chatbot."""
    paths = sample_images()
    return [
        {"text": words, "display_text": words, "files": [str(paths[name])], "icon": str(paths[name])}
        for name, words in QUESTIONS
    ]


__all__ = ["QUESTIONS", "examples"]
