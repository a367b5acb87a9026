# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Small benchmarks, drawn here, in VLMEvalKit's columns: a TSV file (or JSONL, Parquet) for each kind."""

import base64
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from tests.clips import write_clip

SHADES = ("red", "green", "blue", "yellow")

# Task -> stem of its file. A kind each: choices, circular choices, Chinese, yes or no, groups of yes or no, short
# answers, numbers, ten human answers, scene text, languages, boxes, several images, subjects, counts, captions, video,
# and questions of one's own.
KINDS = {
    "mmstar": "MMStar",
    "mmbench_dev_en": "MMBench_DEV_EN",
    "ccbench": "CCBench",
    "pope": "POPE",
    "hallusionbench": "HallusionBench",
    "docvqa_val": "DocVQA_VAL",
    "chartqa_test": "ChartQA_TEST",
    "textvqa_val": "TextVQA_VAL",
    "ocrbench": "OCRBench",
    "mtvqa_test": "MTVQA_TEST",
    "refcoco": "RefCOCO",
    "blink": "BLINK",
    "mmmu_dev_val": "MMMU_DEV_VAL",
    "countbenchqa": "CountBenchQA",
    "coco_val": "COCO_VAL",
    "mvbench": "MVBench",
}


def picture(color: str, size: tuple[int, int] = (96, 64), text: str = "") -> Image.Image:
    """A colored image with a rectangle and a text."""
    image = Image.new("RGB", size, color)
    draw = ImageDraw.Draw(image)
    draw.rectangle((size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2), fill="white")
    draw.text((4, 4), text, fill="black")
    return image


def base64_of(image: Image.Image) -> str:
    """PNG as base64, as VLMEvalKit's TSV files hold images."""
    file = BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def write_tsv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A TSV file, quoted where needed; None is an empty cell."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["\t".join(columns)]
    for row in rows:
        cells = ["" if row.get(name) is None else str(row[name]) for name in columns]
        lines.append("\t".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _choices(number: int, **more: Any) -> dict[str, Any]:
    color = SHADES[number % 4]
    return {
        "index": number,
        "image": base64_of(picture(color, (64 + 40 * number, 64))),
        "question": "Which color is the image?",
        **dict(zip("ABCD", SHADES, strict=True)),
        "answer": "ABCD"[number % 4],
        "category": "color",
        "l2-category": "perception",
        "split": "val",
        **more,
    }


def _circular(count: int, question: str) -> list[dict[str, Any]]:
    """Each question in its rotations, which share one image."""
    rows = []
    for number in range(count):
        for turn in range(2):
            options = SHADES[turn:] + SHADES[:turn]
            row = _choices(number, question=question, **dict(zip("ABCD", options, strict=True)))
            row["answer"] = "ABCD"[options.index(SHADES[number % 4])]
            row["index"] = number + turn * 10**6
            if turn:
                row["image"] = number  # the index of the row that has it
            rows.append(row)
    return rows


def _questions(count: int, question: str, answers: Sequence[Any], **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "index": number,
            "image": base64_of(picture(SHADES[number % 4], (80, 60 + 30 * number), str(number))),
            "question": question,
            "answer": answers[number % len(answers)],
            **{name: value[number % len(value)] for name, value in more.items()},
        }
        for number in range(count)
    ]


def draw_benchmarks(folder: Path, count: int = 2) -> list[str]:
    """Write all benchmarks of `KINDS`, with about `count` questions each. Returns the tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    several = [json.dumps([base64_of(picture(color)) for color in SHADES[: 2 + number]]) for number in range(count)]
    boxes = [str([24, 16, 48, 32])] * count
    groups = [f"VD_figure_0_{number // 2}_{number % 2}_0" for number in range(count)]
    rows: dict[str, list[dict[str, Any]]] = {
        "mmstar": [_choices(number, hint="Look closely." if number else None) for number in range(count)],
        "mmbench_dev_en": _circular(count, "Which color is it?"),
        "ccbench": _circular(1, "这张图片是什么颜色的？"),
        "pope": _questions(count, "Is there a dog?", ["yes", "no"], category=["random", "popular"]),
        "hallusionbench": _questions(
            count,
            "Is it red?",
            ["Yes", "No"],
            category=["VD"],
            **{"l2-category": ["figure"], "set_id": ["0"], "figure_id": ["0", "1"], "question_id": ["0"]},
        ),
        "docvqa_val": _questions(count, "Which number is it?", ["['0', 'zero']", "['blue']"]),
        "chartqa_test": _questions(count, "How many?", ["10", "2.5"], split=["test_human", "test_augmented"]),
        "textvqa_val": _questions(count, "What is written?", [str(["blue"] * 4 + ["0"] * 6)]),
        "ocrbench": _questions(count, "Read it.", ["['0']", "['blue']"], category=["Regular Text Recognition"]),
        "mtvqa_test": _questions(count, "Quelle couleur ?", ["blue"], category=["FR", "DE"], split=["test"]),
        "refcoco": _questions(
            count,
            "Please provide the bounding box coordinate of the region this sentence describes: <ref>it</ref>",
            boxes,
            width=["80"],
            height=["60", "90"],
            split=["RefCOCO_val", "RefCOCO_testA"],
            category=["RefCOCO_val", "RefCOCO_testA"],
        ),
        "blink": [_choices(number, image=several[number]) for number in range(count)],
        "mmmu_dev_val": [
            _choices(number, question="<image 1> Which?", split="validation", image=several[number][:-1] + "]")
            for number in range(count)
        ],
        "countbenchqa": _questions(count, "How many dogs?", ["2", "3"]),
        "coco_val": _questions(count, "Describe it in a sentence.", [str(["a red image", "it is red"]), "['blue']"]),
        "mvbench": [_video(folder, number) for number in range(count)],
    }
    for number, row in enumerate(rows["hallusionbench"]):
        row["index"] = groups[number]
    for task, stem in KINDS.items():
        write_tsv(folder / f"{stem}.tsv", rows[task])
    return list(KINDS)


def _video(folder: Path, number: int) -> dict[str, Any]:
    (folder / "clips").mkdir(exist_ok=True)
    write_clip(folder / "clips" / f"{number}.mp4", range(0, 250, 25 + number))
    return {
        "index": number,
        "task_type": "Action Count",
        "prefix": "clips/",
        "data_type": "video",
        "bound": "False",
        "video": f"{number}.mp4",
        "question": "Does it get lighter?",
        "answer": "yes",
        "candidates": str(["yes", "no"]),
    }


def draw_own(path: Path, count: int = 2) -> None:
    """A JSONL file of a user's own questions, with images beside it."""
    lines = []
    for number in range(count):
        picture(SHADES[number]).save(path.parent / f"own-{number}.png")
        lines.append(json.dumps({"question": "Which color?", "answer": "blue", "image": f"own-{number}.png"}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


__all__ = ["KINDS", "base64_of", "draw_benchmarks", "draw_own", "picture", "write_tsv"]
