# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What is asked about the images: the tasks, their questions in the plain and in other wordings, the answers."""

from .palette import COLORS

TASKS = ("number", "color", "count")
SHAPES = ("circle", "square", "triangle")

QUESTIONS = {
    "number": "What number is written in the image?",
    "color": "What color is the {kind}?",
    "count": "How many shapes are there?",
}
PARAPHRASES = {
    "number": (
        "What number is in the image?",
        "Which number is written in the picture?",
        "What number do you see?",
        "What is the number in the image?",
        "Read the number in the image.",
        "what number is written here?",
    ),
    "color": (
        "What colour is the {kind}?",
        "Which color is the {kind}?",
        "What is the color of the {kind}?",
        "What color is the {kind} in the image?",
        "Name the color of the {kind}.",
        "what color is the {kind}",
    ),
    "count": (
        "How many shapes are there in the image?",
        "How many shapes are in the picture?",
        "How many shapes do you see?",
        "Count the shapes.",
        "What is the number of shapes in the image?",
        "how many shapes are there",
    ),
}
COUNTS = ("1", "2", "3", "4", "5")
ANSWERS = {"color": COLORS, "count": COUNTS}
"""The words that answer a task; the answer of "number" is any number of 2 to 4 digits."""
