# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Regions as text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_internvl.processing.text.grounding import format_box, parse_grounding

SIDES = st.integers(1, 5000)


def test_format_box():
    assert format_box((10, 20, 110, 220), (400, 200), "dog") == "<ref>dog</ref><box>[[50, 50, 550, 550]]</box>"
    assert format_box([(0, 0, 200, 400), (0, 0, 1, 1)], (400, 200)) == "<box>[[0, 0, 1000, 1000], [0, 0, 5, 2]]</box>"
    corners = (0, 0, 200, 0, 200, 400, 0, 400)
    assert format_box(corners, (400, 200)) == "<quad>[[0, 0, 1000, 0, 1000, 1000, 0, 1000]]</quad>"


def test_coordinates_are_of_width_and_height_each():
    assert format_box((100, 100, 200, 200), image_size=(1000, 200)) == "<box>[[500, 100, 1000, 200]]</box>"


@given(SIDES, SIDES, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_round_trip_within_half_a_thousandth(height, width, parts):
    x1, x2 = sorted(part * width for part in parts[:2])
    y1, y2 = sorted(part * height for part in parts[2:])
    (found,) = parse_grounding(format_box((x1, y1, x2, y2), (height, width), "it"), (height, width))
    assert found["label"] == "it"
    for value, back, side in zip((x1, y1, x2, y2), found["boxes"][0], (width, height) * 2, strict=True):
        assert abs(value - back) <= side * 0.0005 + 1e-6


@pytest.mark.parametrize(
    ("box", "size", "label", "message"),
    [
        ((0, 0, 10, 10), (0, 10), None, "at least 1"),
        ((0, 0, 11, 10), (10, 10), None, "leaves the image"),
        ((-1, 0, 10, 10), (10, 10), None, "leaves the image"),
        ((5, 0, 4, 10), (10, 10), None, "x1 <= x2"),
        ((0, 0, 4), (10, 10), None, "got .3. numbers"),
        ([(0, 0, 4, 4), (0,) * 8], (10, 10), None, r"got .4, 8. numbers"),
        ((0, 0, 4, 4), (10, 10), "a</ref>", "cannot contain"),
    ],
)
def test_format_box_refuses(box, size, label, message):
    with pytest.raises(ValueError, match=message):
        format_box(box, size, label)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            "<ref>two dogs</ref><box>[[0, 0, 500, 500], [100,200, 300, 400]]</box> and "
            "<ref>a cat</ref><box>[[1,2,3,4]]</box>",
            [
                {"label": "two dogs", "boxes": [(0, 0, 100, 50), (20, 20, 60, 40)]},
                {"label": "a cat", "boxes": [(0.2, 0.2, 0.6, 0.4)]},
            ],
        ),
        ("<box>[[0, 0, 1000, 1000]]</box>", [{"label": "", "boxes": [(0, 0, 200, 100)]}]),
        ("[[0, 0, 1000, 1000]]", [{"label": "", "boxes": [(0, 0, 200, 100)]}]),
        (
            "<ref>s</ref><quad>[[0,0,1000,0,1000,1000,0,1000]]</quad>",
            [{"label": "s", "quads": [(0, 0, 200, 0, 200, 100, 0, 100)]}],
        ),
        ("<ref>x</ref><box>[[x1, y1, x2, y2]]</box>", []),
        ("<ref>x</ref><box>[[1, 2, 3]]</box>", []),
        ("<ref>x</ref><box>[[1, 2, 3, 4", []),
        ("nothing here", []),
        ("", []),
    ],
)
def test_parse_grounding(answer, expected):
    found = parse_grounding(answer, (100, 200))
    assert [sorted(region) for region in found] == [sorted(region) for region in expected]
    for region, wanted in zip(found, expected, strict=True):
        assert region["label"] == wanted["label"]
        for kind in {"boxes", "quads"} & set(wanted):
            assert region[kind] == [pytest.approx(box) for box in wanted[kind]]
