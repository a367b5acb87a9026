# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Frame indices are the original ones: every record of the reference data."""

import json

import pytest

from tests.parity.golden import golden_cases
from transformers_internvl.processing.videos.frame_sampling import fps_indices, middle_indices, segment_indices

CASES = golden_cases("video")


def training_indices(record: dict) -> list[int]:
    if record["sample"] == "middle":
        return middle_indices(record["vlen"], record["num_frames"], fix_start=record.get("fix_start"))
    assert record["sample"].startswith("fps"), f"no rule for {record['sample']!r}"
    cap = record["max_num_frames"] if record["max_num_frames"] > 0 else None
    return fps_indices(record["vlen"], record["input_fps"], float(record["sample"][3:]), max_num_frames=cap)


def model_card_indices(record: dict) -> list[int]:
    return segment_indices(
        record["max_frame"],
        record["num_segments"],
        fps=record["fps"],
        bound=record["bound"],
        first_frame=record["first_idx"],
    )


@pytest.mark.parametrize(
    ("file", "rule"), [("frame_indices.json", training_indices), ("get_index.json", model_card_indices)]
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_frame_indices(case, file, rule):
    records = json.loads((case / file).read_text())
    assert records
    wrong = []
    for record in records:
        if "error" in record:
            with pytest.raises((ValueError, IndexError)):
                rule(record)
        elif rule(record) != record["frame_indices"]:
            wrong.append((record, rule(record)))
    assert not wrong
