# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How the last stage asks in both languages: the wordings of `lab.world` for training, those of `questions`, and more.

The wordings that `lab.world` keeps for its test split are not among them, but for number, color and count in English;
`evaluation` asks with those.
"""

from __future__ import annotations

from lab.world.phrases import LANGUAGES, QUESTIONS

from . import questions

MORE: dict[str, dict[str, tuple[str, ...]]] = {
    "number": {
        "en": ("What number is it?", "Which number is it?", "What does the number say?", "What number?"),
        "zh": (
            "图片中的数字是多少？", "这个数字是多少？", "图中写的数字是什么？", "图片里写的是什么数字？",
            "这是什么数字？", "读出图片中的数字。", "数字是多少",
        ),
    },
    "color": {
        "en": ("What color does the {kind} have?", "The {kind} is of what color?"),
        "zh": ("图片里的{kind}是什么颜色？", "{kind}的颜色是什么？", "{kind}是什么颜色", "这个{kind}是什么颜色的？"),
    },
    "shape": {
        "en": ("Which shape in the picture is {color}?", "What is {color}?", "What kind of shape is {color}?"),
        "zh": ("图片里{color}的形状是什么？", "什么形状是{color}的？", "{color}的形状是什么？"),
    },
    "count": {
        "en": ("How many shapes can you see?", "How many shapes?", "Tell me how many shapes there are."),
        "zh": (
            "图片中有多少个形状？", "图中有多少个形状？", "一共有几个形状？", "图片里有几个形状？", "有多少个图形？",
            "图中有几个图形？",
        ),
    },
    "position": {
        "en": ("Which shape is on the {side}?", "What shape is on the {side} side?", "What is at the {side}?"),
        "zh": ("图片{side}边是什么形状？", "{side}边的形状是什么？", "在{side}边的是什么形状？"),
    },
    "box": {
        "en": (
            "Please provide the bounding box coordinate of the region this sentence describes: <ref>{kind}</ref>",
            "Find <ref>{kind}</ref>.",
            "Where is the <ref>{kind}</ref>?",
            "Where is the {kind}?",
            "Find the {kind}.",
            "Give the box of the {kind}.",
            "Where in the picture is the {kind}?",
        ),
        "zh": (
            "请找出<ref>{kind}</ref>。",
            "请框出<ref>{kind}</ref>。",
            "{kind}在哪里？",
            "请找出{kind}。",
            "请框出图中的{kind}。",
        ),
    },
    "pair": {
        "en": ("What is the difference between the two images?", "What has changed?", "What changed?"),
        "zh": ("两张图片有什么区别？", "这两张图有什么不同？", "什么变了？"),
    },
    "clip": {
        "en": ("In which direction does the shape move?", "Where does it move?", "Which way does it go?"),
        "zh": ("形状往哪里移动？", "图形向哪个方向移动？", "它往哪边动？"),
    },
}  # fmt: skip
"""Task -> language -> wordings beside those of `lab.world` and of `questions`."""

WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    task: {
        language: tuple(dict.fromkeys((*QUESTIONS[task][language]["train"], *more[language])))
        for language in LANGUAGES
    }
    for task, more in MORE.items()
}
"""Task -> language -> what may be asked; of number, color and count in English, `questions` knows more."""

for _task in questions.TASKS:
    _more = (questions.QUESTIONS[_task], *questions.PARAPHRASES[_task])
    WORDINGS[_task]["en"] = tuple(dict.fromkeys((*WORDINGS[_task]["en"], *_more)))

__all__ = ["MORE", "WORDINGS"]
