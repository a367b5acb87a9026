# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Boxes of RefCOCO, RefCOCO+ and RefCOCOg: how a box is read from an answer, and whether it is right.

A box is `(left, top, right, bottom)`. It is right where its intersection over union with the true box is at least 0.5.
"""

import math
import re
from collections.abc import Sequence

import torch

from .metric import Row, Scores, mean, percent
from .spreadsheet import cell_text, through_spreadsheet

Box = tuple[float, float, float, float]
THRESHOLD = 0.5
REFCOCO_SPLITS = tuple(
    f"{name}_{split}"
    for name, splits in (
        ("RefCOCO", ("testA", "testB", "val")),
        ("RefCOCO+", ("testA", "testB", "val")),
        ("RefCOCOg", ("test", "val")),
    )
    for split in splits
)
_NUMBER = r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?"
_BOX = re.compile(r"\[\s*" + r"(?:\s*,\s*|\s+)".join([f"({_NUMBER})"] * 4) + r"\s*\]")
_ANY_BOX = re.compile(r"\[*\[(.*?),(.*?),(.*?),(.*?)\]\]*")
_WHOLE_BOX = re.compile(r"\[\[(\d+), (\d+), (\d+), (\d+)\]\]")


def parse_prediction(text: str) -> Box | None:
    """The first box `[a, b, c, d]` of a text, commas optional; else its first four numbers; else None.

    Source: open-compass/VLMEvalKit `vlmeval/dataset/refcoco.py` `_parse_prediction`.
    """
    found = _BOX.search(text)
    numbers = found.groups() if found else re.findall(_NUMBER, text)[:4]
    return _box(numbers) if len(numbers) == 4 else None


def to_absolute(box: Box | None, width: float, height: float) -> Box | None:
    """A box in pixels, inside the image, its corners in order; None of None or of an image without extent.

    If no number is larger than 1.5, they are shares of the image; if none is larger than 1000, thousandths.

    Source: VLMEvalKit `_to_absolute`.
    """
    if box is None or any(map(math.isnan, box)) or width <= 0 or height <= 0:
        return None
    sides = (width, height, width, height)
    largest = max(map(abs, box))
    if largest <= 1.5:
        box = _box([number * side for number, side in zip(box, sides, strict=True)])
    elif largest <= 1000:
        box = _box([number / 1000.0 * side for number, side in zip(box, sides, strict=True)])
    left, top, right, bottom = (min(max(number, 0.0), float(side)) for number, side in zip(box, sides, strict=True))
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


def intersection_over_union(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, 0 where they do not overlap. Source: VLMEvalKit `_compute_iou`."""
    left, top = max(first[0], second[0]), max(first[1], second[1])
    right, bottom = min(first[2], second[2]), min(first[3], second[3])
    if right <= left or bottom <= top:
        return 0.0
    inside = (right - left) * (bottom - top)
    union = _area(first) + _area(second) - inside
    return inside / union if union > 0 else 0.0


def refcoco_vlmevalkit(prediction: str, box: Box, width: float, height: float) -> float:
    """Intersection over union of the predicted and the true box, which is in pixels; 0 where no box can be read."""
    absolute = to_absolute(parse_prediction(prediction), width, height)
    return 0.0 if absolute is None else intersection_over_union(absolute, box)


def parse_box_internvl(answer: str) -> Box:
    """The first `[a,b,c,d]` of an answer, all zero where there is none or a part of it is no number.

    Source, with the next function: OpenGVLab/InternVL `eval/refcoco/evaluate_grounding.py`.
    """
    found = _ANY_BOX.findall(answer)
    try:
        return _box([float(part) for part in found[0]]) if found else (0.0, 0.0, 0.0, 0.0)
    except ValueError:
        return 0.0, 0.0, 0.0, 0.0


def refcoco_internvl(answer: str, box: Box, width: float, height: float) -> float:
    """Intersection over union in 32-bit floating point. Numbers whose sum is 4 or more are thousandths, else shares.

    So `[1, 1, 1, 0]` of 1000 is misread. Not-a-number where the boxes have no area.
    """
    predicted = torch.tensor(parse_box_internvl(answer), dtype=torch.float32)
    target = torch.tensor(box, dtype=torch.float32)
    if predicted.sum() >= 4:
        predicted = predicted / 1000
    predicted[0::2] *= width
    predicted[1::2] *= height
    sides = (torch.minimum(predicted[2:], target[2:]) - torch.maximum(predicted[:2], target[:2])).clamp(min=0)
    inside = sides[0] * sides[1]
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (predicted, target)]
    return float(inside / (areas[0] + areas[1] - inside))


def parse_bbox_internvl(response: str) -> list[float] | str:
    """The centre of the first `[[a, b, c, d]]` of whole numbers, or the response where there is none.

    Source: open-compass/VLMEvalKit `vlmeval/vlm/internvl/utils.py`, for sets of user interfaces.
    """
    found = _WHOLE_BOX.search(response)
    if not found:
        return response
    left, top, right, bottom = map(int, found.groups())
    return [(left + right) / 2, (top + bottom) / 2]


def true_box(row: Row) -> Box:
    """The true box of a row in pixels: the columns `bbox_x1` to `bbox_y2` or `x1` to `y2`, else `answer` or `bbox`.

    A box in a text may be in shares or thousandths of the image, see [`to_absolute`].

    Source: VLMEvalKit `_extract_gt_bbox`.

    Raises:
        ValueError: there is no box.
    """
    for prefix in ("bbox_", ""):
        corners = [row.get(prefix + corner) for corner in ("x1", "y1", "x2", "y2")]
        if all(corner is not None for corner in corners):
            return _box([float(str(corner)) for corner in corners])
    for column in ("answer", "bbox"):
        box = to_absolute(parse_prediction(str(row.get(column))), float(row["width"]), float(row["height"]))
        if box is not None:
            return box
    raise ValueError(
        "A row of RefCOCO needs the true box: the columns `bbox_x1`, `bbox_y1`, `bbox_x2` and `bbox_y2`, or a text "
        f"`[x1, y1, x2, y2]` in `answer` or `bbox`; got the columns {', '.join(row)}."
    )


def score_refcoco_vlmevalkit(rows: Sequence[Row]) -> Scores:
    """By `split`: `Precision@1` in percent, `Average IoU`, `Samples`; `Average` is the mean over the known splits.

    `overall` is the average precision. Without a known split, `Average` is over all rows. Rows have the true box
    ([`true_box`]), `width` and `height`.
    """
    overlaps = [
        refcoco_vlmevalkit(cell_text(read["prediction"]), true_box(row), float(row["width"]), float(row["height"]))
        for row, read in zip(rows, through_spreadsheet(rows), strict=True)
    ]
    hits = [float(overlap >= THRESHOLD) for overlap in overlaps]
    splits = [str(row.get("split", "")) for row in rows]
    table = {}
    for split in dict.fromkeys(splits):
        chosen = [number for number, name in enumerate(splits) if name == split]
        table[split] = _precision([hits[number] for number in chosen], [overlaps[number] for number in chosen])
    known = [table[split] for split in table if split in REFCOCO_SPLITS]
    if known:
        average = {
            "Precision@1": mean([row["Precision@1"] for row in known]),
            "Average IoU": mean([row["Average IoU"] for row in known]),
            "Samples": sum(row["Samples"] for row in known),
        }
    else:
        average = _precision(hits, overlaps)
    return Scores(average["Precision@1"], table | {"Average": average}, tuple(hits))


def score_refcoco_internvl(rows: Sequence[Row]) -> Scores:
    """`Precision @ 1` in percent, [`refcoco_internvl`]. Columns as [`score_refcoco_vlmevalkit`]."""
    hits = [
        float(refcoco_internvl(row["prediction"], true_box(row), row["width"], row["height"]) >= THRESHOLD)
        for row in rows
    ]
    return Scores(percent(hits), samples=tuple(hits))


def _precision(hits: Sequence[float], overlaps: Sequence[float]) -> dict:
    return {"Precision@1": percent(hits), "Average IoU": mean(overlaps), "Samples": len(hits)}


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def _box(numbers: Sequence[float | str]) -> Box:
    left, top, right, bottom = map(float, numbers)
    return left, top, right, bottom


__all__ = [
    "Box",
    "REFCOCO_SPLITS",
    "THRESHOLD",
    "intersection_over_union",
    "parse_bbox_internvl",
    "parse_box_internvl",
    "parse_prediction",
    "refcoco_internvl",
    "refcoco_vlmevalkit",
    "score_refcoco_internvl",
    "score_refcoco_vlmevalkit",
    "to_absolute",
    "true_box",
]
