# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rows that are streamed in tests, written as lines, archives and Parquet files."""

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from transformers_internvl.training.data.shards import FileShards
from transformers_internvl.training.data.streams import StreamSet

NOISE = np.random.default_rng(0).integers(0, 256, (64, 256, 3), dtype=np.uint8)


def png(number: int, columns: int = 1) -> bytes:
    """A picture of its own, as the bytes of a file."""
    file = io.BytesIO()
    Image.fromarray(np.roll(NOISE, 7 * number, axis=1)[:56, : 56 * columns]).save(file, "png")
    return file.getvalue()


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Conversations of different lengths, every third with a picture."""
    made = []
    for number in range(first, first + count):
        question = f"number {number} " * (1 + number % 5)
        row: dict[str, Any] = {}
        if number % 3 == 0:
            row["image"] = {"bytes": png(number, 1 + number % 2), "path": None}
            question = f"<image>\n{question}"
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "yes " * (1 + number % 3)}]
        made.append({"conversations": turns, **row})
    return made


def write_tar(path: Path, written: Iterable[dict[str, Any]], compression: str = "") -> str:
    """The rows as an archive."""
    with tarfile.open(path, f"w{compression}") as archive:
        for number, row in enumerate(written):
            fields = {name: value for name, value in row.items() if name != "image"}
            members = {"json": json.dumps(fields).encode()}
            if "image" in row:
                members = {"png": row["image"]["bytes"], **members}
            for ending, content in members.items():
                info = tarfile.TarInfo(f"part/{number:06d}.{ending}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return str(path)


def write_parquet(path: Path, written: Sequence[dict[str, Any]], group: int = 5) -> str:
    """The rows as a Parquet file of small row groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([{"image": None, **row} for row in written])
    pq.write_table(table, path, row_group_size=group)
    return str(path)


def write_lines(path: Path, written: Iterable[dict[str, Any] | str]) -> str:
    """The rows as lines, their pictures as files beside; a text is a line as it is."""
    lines = []
    for number, row in enumerate(written):
        if isinstance(row, dict) and "image" in row:
            (path.parent / f"{path.stem}.{number}.png").write_bytes(row["image"]["bytes"])
            row = {**row, "image": f"{path.stem}.{number}.png"}
        lines.append(row if isinstance(row, str) else json.dumps(row))
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def archives(folder: Path, count: int, each: int = 4, **options: Any) -> StreamSet:
    """A set of archives with `each` rows."""
    folder.mkdir(parents=True, exist_ok=True)
    begins = range(0, count, each)
    paths = [write_tar(folder / f"{first:04d}.tar", rows(min(each, count - first), first)) for first in begins]
    return StreamSet("s", FileShards(paths), **options)


__all__ = ["archives", "png", "rows", "write_lines", "write_parquet", "write_tar"]
