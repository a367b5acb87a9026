# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Boxes in text. InternVL names a region `<ref>label</ref><box>[[x1, y1, x2, y2], ...]</box>`.

Coordinates are whole numbers from 0 to 1000, in thousandths of the width and height of the original image, not of
its tiles: `x1, y1` is the upper left corner, `x2, y2` the lower right one. `<quad>` holds the four corners of a
slanted region, eight numbers. (`eval/refcoco` of the original code, and answers of its authors on GitHub.)
"""

import re
from collections.abc import Sequence
from typing import Any

SCALE = 1000
REGION_TOKENS = ("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>")

_NUMBER = r"\s*-?\d+(?:\.\d+)?\s*"
_REGIONS = re.compile(r"(?:<ref>(?P<label>[^<]*)</ref>\s*)?<(?P<tag>box|quad)>(?P<body>[^<]*)</(?P=tag)>", re.DOTALL)
_LIST = re.compile(r"\[([^\[\]]*)\]")


def format_box(
    box: Sequence[float] | Sequence[Sequence[float]], image_size: tuple[int, int], label: str | None = None
) -> str:
    """Write regions of an image as the model reads and writes them.

    Args:
        box: in pixels, `(x1, y1, x2, y2)`, or eight numbers for a quadrilateral, or a list of such.
        image_size: `(height, width)` of the original image.
        label: what the region shows; None writes the region alone.

    Raises:
        ValueError: a size below 1, a wrong count of numbers, boxes and quadrilaterals mixed, a box outside of the
            image or with corners exchanged, or a label that contains `<`.

    >>> format_box((10, 20, 110, 220), image_size=(400, 200), label="dog")
    '<ref>dog</ref><box>[[50, 50, 550, 550]]</box>'
    """
    height, width = image_size
    if height < 1 or width < 1:
        raise ValueError(f"`image_size` is (height, width) in pixels, both at least 1, got {image_size}.")
    regions: list[Sequence[float]] = [box] if isinstance(box[0], (int, float)) else list(box)  # type: ignore
    counts = {len(region) for region in regions}
    if counts not in ({4}, {8}):
        raise ValueError(
            f"Expected regions of 4 numbers (boxes) or of 8 (quadrilaterals), got {sorted(counts)} numbers."
        )
    if label is not None and "<" in label:
        raise ValueError(f"A label cannot contain '<', got {label!r}.")
    tag = "box" if counts == {4} else "quad"
    scaled = [_scaled(region, width, height) for region in regions]
    prefix = "" if label is None else f"<ref>{label}</ref>"
    return f"{prefix}<{tag}>{scaled}</{tag}>"


def _scaled(region: Sequence[float], width: int, height: int) -> list[int]:
    for index, value in enumerate(region):
        limit = height if index % 2 else width
        if not 0 <= value <= limit:
            raise ValueError(f"{list(region)} leaves the image of {width} x {height} pixels.")
    if len(region) == 4 and (region[0] > region[2] or region[1] > region[3]):
        raise ValueError(f"A box is (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, got {list(region)}.")
    return [round(value * SCALE / (height if index % 2 else width)) for index, value in enumerate(region)]


def parse_grounding(text: str, image_size: tuple[int, int]) -> list[dict[str, Any]]:
    """Find the regions that a model named in an answer.

    The answer must still hold its tags: `<ref>` and `<box>` are special tokens, so decode with
    `skip_special_tokens=False` or with `InternVLProcessor.decode_grounding`. A bare list `[[x1, y1, x2, y2]]` in an
    answer without any tag is taken as boxes without label. Lists of another count of numbers are left out.

    Args:
        text: one answer.
        image_size: `(height, width)` of the original image, in pixels.

    Returns:
        In the order of the text, a dictionary for each region list: `label` (`""` where the model gave none),
        `boxes`, a list of `(x1, y1, x2, y2)` in pixels, or `quads`, a list of eight numbers each; both floats.

    >>> parse_grounding("<ref>dog</ref><box>[[50, 50, 550, 550]]</box>", (400, 200))
    [{'label': 'dog', 'boxes': [(10.0, 20.0, 110.0, 220.0)]}]
    """
    results: list[dict[str, Any]] = []
    for label, kind, regions in _region_lists(text, image_size):
        if regions:
            results.append({"label": label, kind: [region for region, _ in regions]})
    return results


def locate_regions(text: str, image_size: tuple[int, int]) -> list[tuple[str, tuple[float, ...], tuple[int, int]]]:
    """The regions of `parse_grounding` one by one, and where their numbers stand in the text.

    Args:
        text, image_size: as of `parse_grounding`.

    Returns:
        `(label, region, (first character, character behind the last))` of every box and quadrilateral, in the order
        of the text; regions in pixels.
    """
    lists = _region_lists(text, image_size)
    return [(label, region, span) for label, _, regions in lists for region, span in regions]


Located = tuple[tuple[float, ...], tuple[int, int]]  # a region in pixels, and the characters of its numbers


def _region_lists(text: str, image_size: tuple[int, int]) -> list[tuple[str, str, list[Located]]]:
    """Label, `boxes` or `quads`, and regions of every list."""
    found = [((m["label"] or "").strip(), m["tag"], m.span("body")) for m in _REGIONS.finditer(text)]
    if not found and "<box>" not in text and "<quad>" not in text:
        found = [("", "box", (0, len(text)))]
    return [
        (label, "boxes" if tag == "box" else "quads", _regions(text, span, 4 if tag == "box" else 8, image_size))
        for label, tag, span in found
    ]


def _regions(text: str, body: tuple[int, int], count: int, image_size: tuple[int, int]) -> list[Located]:
    height, width = image_size
    regions = []
    for match in _LIST.finditer(text, *body):
        numbers = match[1].split(",")
        if len(numbers) == count and all(re.fullmatch(_NUMBER, number) for number in numbers):
            sides = [width, height] * (count // 2)
            region = tuple(float(number) * side / SCALE for number, side in zip(numbers, sides, strict=True))
            regions.append((region, match.span()))
    return regions


def parse_answers(text: str | list[str], image_sizes: Any) -> list[Any]:
    """`parse_grounding` for one answer, or for several with one `(height, width)` each.

    Raises:
        ValueError: not as many sizes as answers.
    """
    if isinstance(text, str):
        size = image_sizes[0] if isinstance(image_sizes[0], (list, tuple)) else image_sizes
        return parse_grounding(text, tuple(size))
    if len(text) != len(image_sizes):
        raise ValueError(f"Expected an image size for each of {len(text)} answers, got {len(image_sizes)}.")
    return [parse_grounding(answer, tuple(size)) for answer, size in zip(text, image_sizes, strict=True)]


def decode_regions(tokenizer: Any, token_ids: Any) -> list[str]:
    """Decode ids, `[batch, length]` or `[length]`, without special tokens but those around regions."""
    rows = token_ids.tolist() if hasattr(token_ids, "tolist") else list(token_ids)
    rows = [rows] if rows and isinstance(rows[0], int) else rows
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    hidden = special - set(tokenizer.convert_tokens_to_ids(list(REGION_TOKENS)))
    return [tokenizer.decode([index for index in row if index not in hidden]) for row in rows]
