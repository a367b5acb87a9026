# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What VLMEvalKit says of its data sets by name: type, modality and maximum number of tiles.

`vlmevalkit_sets.json` lists its registry: modality -> type -> names (open-compass/VLMEvalKit e8e78f05,
`vlmeval/dataset/__init__.py`). Other names have the kit's default type.
"""

import json
from functools import cache
from importlib.resources import files

TOTAL_TILES = 64
"""All images of a question share so many tiles, thumbnails not counted."""

# Part of a name -> maximum number of tiles of one image. The first row that fits counts (`set_max_num`).
_MAX_TILES: dict[int, tuple[str, ...]] = {
    12: ("ChartQA_TEST", "MMMU_DEV_VAL", "MMMU_TEST", "MME-RealWorld", "VCR_EN", "VCR_ZH", "OCRVQA", "BMMR"),
    18: ("DocVQA_VAL", "DocVQA_TEST", "DUDE", "MMLongBench_DOC", "SLIDEVQA"),
    24: ("InfoVQA_VAL", "InfoVQA_TEST", "OCRBench", "HRBench4K", "HRBench8K"),
}


@cache
def registry() -> dict[str, tuple[str, str]]:
    """Name -> (type, modality), for every data set of the kit."""
    table = json.loads(files(__package__).joinpath("vlmevalkit_sets.json").read_bytes())
    return {
        name: (kind, modality) for modality, kinds in table.items() for kind, names in kinds.items() for name in names
    }


def set_type(name: str) -> str:
    """Type of a data set, such as `MCQ`, `Y/N`, `VQA`. Unknown names: `VQA` for "...openended...", else `MCQ`."""
    default = "VQA" if "openended" in name.lower() else "MCQ"
    return registry().get(name, (default, ""))[0]


def is_video(name: str) -> bool:
    """Whether the questions of a data set are about videos."""
    return registry().get(name, ("", "IMAGE"))[1] == "VIDEO"


def has_any(name: str, parts: tuple[str, ...]) -> bool:
    """Whether a name contains one of `parts`."""
    return any(part in name for part in parts)


def max_tiles(name: str | None) -> int:
    """Maximum number of tiles of an image, before [`TOTAL_TILES`] is shared among the images of a question."""
    if name is None:
        return 6
    if is_video(name):
        return 1
    for tiles, parts in _MAX_TILES.items():
        if has_any(name, parts):
            return tiles
    return 12 if set_type(name) == "GUI" else 6


def tiles_of_each(limit: int, images: int) -> int:
    """Maximum number of tiles of each of `images` images of a question."""
    return max(1, min(limit, TOTAL_TILES // images))


__all__ = ["TOTAL_TILES", "has_any", "is_video", "max_tiles", "registry", "set_type", "tiles_of_each"]
