# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What is asked and said of pictures, in English and Chinese. No wording is in both splits.

Test wordings are made of words (in Chinese: of characters) that occur in training ones, so that they test
understanding of sentences and not of words that were never learned.
"""

from __future__ import annotations

SPLITS = ("train", "test")
LANGUAGES = ("en", "zh")

COLORS_ZH = {
    "red": "红色", "green": "绿色", "blue": "蓝色", "yellow": "黄色", "purple": "紫色", "orange": "橙色",
    "black": "黑色",
}  # fmt: skip
SHAPES_ZH = {"circle": "圆形", "square": "方形", "triangle": "三角形"}
DIRECTIONS_ZH = {"left": "左", "right": "右", "up": "上", "down": "下"}
DIFFERENCES_ZH = {"color": "颜色", "shape": "形状", "count": "数量", "nothing": "没有"}
SIDES_ZH = {"left": "左", "right": "右", "top": "上", "bottom": "下"}
ZH = {**COLORS_ZH, **SHAPES_ZH, **DIRECTIONS_ZH, **DIFFERENCES_ZH, **SIDES_ZH}
"""English word of the world -> Chinese."""

Wordings = dict[str, dict[str, tuple[str, ...]]]

QUESTIONS: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "number": {
        "en": {
            "train": ("What number is written?", "Read the number.", "Which number do you see in the picture?"),
            "test": ("What number do you see?", "Which number is written in the picture?"),
        },
        "zh": {
            "train": ("图中写的是什么数字？", "请读出数字。", "你看到哪个数字？"),
            "test": ("图中是什么数字？", "请读出图中写的数字。"),
        },
    },
    "word": {
        "en": {
            "train": ("What word is written?", "Read the word.", "Which word do you see in the picture?"),
            "test": ("What word do you see?", "Which word is written in the picture?"),
        },
        "zh": {
            "train": ("图中写的是什么单词？", "请读出单词。", "你看到哪个单词？"),
            "test": ("图中是什么单词？", "请读出图中写的单词。"),
        },
    },
    "color": {
        "en": {
            "train": ("What color is the {kind}?", "Name the color of the {kind}.", "Which color has the {kind}?"),
            "test": ("What is the color of the {kind}?", "Which color is the {kind}?"),
        },
        "zh": {
            "train": ("{kind}是什么颜色？", "请说出{kind}的颜色。", "图中的{kind}是哪种颜色？"),
            "test": ("图中的{kind}是什么颜色？", "{kind}是哪种颜色？"),
        },
    },
    "shape": {
        "en": {
            "train": ("What shape is {color}?", "Name the {color} shape.", "Which shape has the color {color}?"),
            "test": ("Which shape is {color}?", "What is the {color} shape?"),
        },
        "zh": {
            "train": ("{color}的是什么形状？", "请说出{color}的形状。", "图中哪种形状是{color}？"),
            "test": ("图中{color}的是什么形状？", "哪种形状是{color}？"),
        },
    },
    "count": {
        "en": {
            "train": ("How many shapes are there?", "Count the shapes.", "How many shapes do you see in the picture?"),
            "test": ("How many shapes are in the picture?", "How many shapes do you see?"),
        },
        "zh": {
            "train": ("有几个形状？", "请数一数形状。", "图中你看到几个形状？"),
            "test": ("图中有几个形状？", "你看到几个形状？"),
        },
    },
    "position": {
        "en": {
            "train": (
                "Which shape is at the {side}?",
                "Name the shape at the {side}.",
                "What shape is at the {side}?",
            ),
            "test": ("What is the shape at the {side}?", "Name the {side} shape."),
        },
        "zh": {
            "train": ("{side}边是什么形状？", "请说出{side}边的形状。", "图中{side}边是哪种形状？"),
            "test": ("图中{side}边是什么形状？", "{side}边是哪种形状？"),
        },
    },
    "chart": {
        "en": {
            "train": (
                "What is the value of {label}?",
                "Read the value of bar {label}.",
                "Which value has bar {label}?",
            ),
            "test": ("What is the value of bar {label}?", "Which value has {label}?"),
        },
        "zh": {
            "train": ("{label}的值是多少？", "请读出{label}的值。", "图中{label}的数值是多少？"),
            "test": ("图中{label}的值是多少？", "请读出图中{label}的数值。"),
        },
    },
    "receipt": {
        "en": {
            "train": ("What is the price of {label}?", "Read the price of {label}.", "How much is {label}?"),
            "test": ("What price is {label}?", "Read how much {label} is."),
        },
        "zh": {
            "train": ("{label}的价格是多少？", "请读出{label}的价格。", "图中{label}多少钱？"),
            "test": ("图中{label}的价格是多少？", "{label}多少钱？"),
        },
    },
    "pair": {
        "en": {
            "train": ("What differs between the pictures?", "What is different in the second picture?"),
            "test": ("What differs in the second picture?", "What is different between the pictures?"),
        },
        "zh": {
            "train": ("两张图有什么不同？", "第二张图中什么变了？"),
            "test": ("第二张图有什么不同？", "两张图中什么变了？"),
        },
    },
    "clip": {
        "en": {
            "train": ("Which way does the shape move?", "Name the way the shape moves.", "Where does the shape move?"),
            "test": ("Which way moves the shape?", "Name the way the shape does move."),
        },
        "zh": {
            "train": ("形状往哪边动？", "请说出形状动的方向。", "图中形状往哪个方向动？"),
            "test": ("图中形状往哪边动？", "形状往哪个方向动？"),
        },
    },
    "box": {
        "en": {
            "train": ("Please give the box of <ref>{kind}</ref>.", "Where is <ref>{kind}</ref>?"),
            "test": ("Please give the box where <ref>{kind}</ref> is.", "Where is the box of <ref>{kind}</ref>?"),
        },
        "zh": {
            "train": ("请给出<ref>{kind}</ref>的框。", "<ref>{kind}</ref>在哪里？"),
            "test": ("<ref>{kind}</ref>的框在哪里？", "请给出框：<ref>{kind}</ref>在哪里？"),
        },
    },
    "caption": {
        "en": {
            "train": ("Describe the picture.", "What do you see in the picture?", "What is there?"),
            "test": ("What is in the picture?", "Describe what you see."),
        },
        "zh": {
            "train": ("请描述这张图。", "你看到什么？", "图中有什么？"),
            "test": ("请描述你看到的图。", "这张图中有什么？"),
        },
    },
}
"""Task -> language -> split -> wordings of the question."""

CAPTIONS: Wordings = {
    "en": {
        "train": ("{what}", "a picture of {what}", "there is {what}", "you see {what} in this picture"),
        "test": ("this is a picture of {what}", "in this picture there is {what}"),
    },
    "zh": {
        "train": ("{what}", "一张图，是{what}", "图中有{what}", "这里可以看到{what}"),
        "test": ("这张图是{what}", "图中可以看到{what}"),
    },
}
"""Language -> split -> wordings of what is said of a picture."""

# Words that test captions need and that questions teach: "this is" comes from these sentences of training.
TEXTS = {"en": ("this is text", "this is in the picture"), "zh": ("这张是图",)}
"""Plain sentences for language models and tokenizers; of training."""


def wordings(split: str, language: str) -> set[str]:
    """All questions and captions of a split in a language, with their places to fill."""
    asked = [text for task in QUESTIONS.values() for text in task[language][split]]
    return {*asked, *CAPTIONS[language][split]}


__all__ = ["CAPTIONS", "LANGUAGES", "QUESTIONS", "SPLITS", "TEXTS", "ZH", "wordings"]
