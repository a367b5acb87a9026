# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The questions of a benchmark: rows in VLMEvalKit's columns, with their images or frames.

`image` is base64, a path, or several of them in a list (or its text); of 64 characters at most it is the index of the
row that has the image. `image_path` stands in for it where it is missing. `video`, `video_path` and `prefix` name
videos. Paths are relative to the folder of the questions.
"""

import ast
import base64
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from ...processing.sources import DECODING_ERRORS, load_image, open_image, open_source, unwrapped
from ..prompts.vlmevalkit_videos import kit_frames
from .tables import Table

_STORED_FPS = 3.0
"""Frames a second of videos that are folders of frames (MVBench's Episodic Reasoning)."""
_VIDEO_SUFFIXES = ("", ".mp4", ".webm", ".avi", ".mkv", ".gif")


@dataclass
class Questions:
    """The questions of a benchmark.

    Args:
        table: the rows.
        root: the folder that paths are relative to; None = the working directory.
        where: a column and the value that the rows that count have in it; None = all.

    Raises:
        ValueError: no row, two rows with one index, or no column `question`.
    """

    table: Table
    root: Path | None = None
    where: tuple[str, str] | None = None
    rows: list[dict[str, Any]] = field(init=False)
    numbers: list[int] = field(init=False)

    def __post_init__(self) -> None:
        lights = [self.table.light(number) for number in range(len(self.table))]
        if self.where is not None:
            column, value = self.where
            if column not in self.table.columns:
                raise ValueError(f"{self._name()}: expected a column {column!r} with the rows of {value!r}.")
        self.numbers = [
            number
            for number, row in enumerate(lights)
            if self.where is None or str(row[self.where[0]]) == self.where[1]
        ]
        if not self.numbers:
            raise ValueError(f"{self._name()} holds no question{f' of {self.where[1]}' if self.where else ''}.")
        self.rows = [lights[number] for number in self.numbers]
        for position, row in enumerate(self.rows):
            row["index"] = str(row.get("index") if row.get("index") is not None else position)
        self._by_index = {str(row.get("index", number)): number for number, row in enumerate(lights)}
        self._check_indexes()

    def _name(self) -> str:
        return self.table.where(0).rpartition(",")[0] if len(self.table) else "The table"

    def _check_indexes(self) -> None:
        seen: dict[str, int] = {}
        for position, row in enumerate(self.rows):
            first = seen.setdefault(row["index"], position)
            if first != position:
                raise ValueError(
                    f"{self.where_of(position)}: the index {row['index']!r} is already that of "
                    f"{self.where_of(first)}: each question needs its own."
                )

    def __len__(self) -> int:
        return len(self.rows)

    def where_of(self, position: int) -> str:
        """The place of a question in its file, for messages."""
        return self.table.where(self.numbers[position])

    def images(self, position: int) -> list[Image.Image]:
        """The images of a question, decoded.

        Raises:
            ValueError: one cannot be read; the message names file and line.
        """
        return [self._opened(source, position, load_image) for source in self.sources(position)]

    def sizes(self, position: int) -> list[tuple[int, int]]:
        """Width and height of the images of a question, which are not decoded."""
        return [self._opened(source, position, open_image).size for source in self.sources(position)]

    def sources(self, position: int) -> list[Any]:
        """The images of a question as they are in the table: paths, base64, or bytes."""
        row = self.table.row(self.numbers[position])
        cell = _first(row, ("image", "images"))
        reference = str(cell) if isinstance(cell, (str, int)) and len(str(cell)) <= 64 else None
        if reference in self._by_index and not self._is_file(reference):
            cell = _first(self.table.row(self._by_index[reference]), ("image", "images"))
        if cell is None or _is_empty(cell):
            cell = row.get("image_path")
        cells = listed(cell) + [row[name] for name in _numbered(row) if row[name] is not None]
        return [self._located(unwrapped(source)) for source in cells if source is not None]

    def base64(self, position: int) -> str:
        """The first image of a question as it is in its file, in base64.

        Raises:
            ValueError: there is none, or it cannot be read; the message names file and line.
        """
        source = next(iter(self.sources(position)), None)
        if source is None:
            raise ValueError(f"{self.where_of(position)}: expected an image, which the judge sees.")
        try:
            with open_source(source) as file:
                return base64.b64encode(file.read()).decode()
        except OSError as error:
            raise ValueError(f"{self.where_of(position)}: an image cannot be read: {error}") from error

    def frames(self, position: int, count: int, dataset: str | None) -> "Frames":
        """Frames of a question's video, as the kit chooses them for a data set.

        Raises:
            ValueError: there is no video, or it cannot be read.
        """
        row = self.rows[position]
        path = self._video(row, position)
        bound = (float(row["start"]), float(row["end"])) if row.get("bound") in (True, "True", "true", 1) else None
        try:
            return (
                _folder_frames(path, count, dataset or "", bound)
                if path.is_dir()
                else _video_frames(path, count, dataset or "", bound)
            )
        except (*DECODING_ERRORS, ValueError) as error:
            raise ValueError(f"{self.where_of(position)}: the video {path} {error}") from error

    def subtitles(self, position: int, frames: "Frames") -> str:
        """The subtitles that are shown with the frames, one a line; empty if there is no file of them.

        As in VLMEvalKit's Video-MME: each frame gives the first that is on the screen then, so that one that stays is
        repeated.
        """
        row = self.rows[position]
        path = (self.root or Path()) / str(row.get("subtitle_path") or "")
        if not path.is_file():
            return ""
        shown = _read_srt(path)
        lines = []
        for number in frames.numbers:
            now = round(number * 1000 / frames.fps)  # milliseconds
            text = next((text for start, end, text in shown if start < now < end), "")
            lines += [text] if text.strip() else []
        return "\n".join(lines)

    def _video(self, row: dict[str, Any], position: int) -> Path:
        root = self.root or Path()
        names = [row[name] for name in ("video_path", "video") if row.get(name)]
        folders = [root, root / str(row.get("prefix") or ""), root / "video"]
        tried = [folder / f"{name}{suffix}" for name in names for folder in folders for suffix in _VIDEO_SUFFIXES]
        for path in tried:
            if path.exists():
                return path
        raise ValueError(f"{self.where_of(position)}: there is no video {names or 'named'} in {root.resolve()}.")

    def _is_file(self, text: str) -> bool:
        return os.path.isfile(os.path.join(self.root or ".", text))  # False for what is no path at all

    def _located(self, source: Any) -> Any:
        if isinstance(source, str) and self._is_file(source):
            return str((self.root or Path()) / source)
        return source

    def _opened(self, source: Any, position: int, read: Callable[[Any], Image.Image]) -> Image.Image:
        try:
            return source if isinstance(source, Image.Image) else read(source)
        except (*DECODING_ERRORS, ValueError) as error:
            raise ValueError(f"{self.where_of(position)}: an image cannot be read: {error}") from error


@dataclass(frozen=True)
class Frames:
    """Frames of a video: images, their numbers in it, and the video's frames a second."""

    images: list[Image.Image]
    numbers: list[int]
    fps: float


def listed(cell: Any) -> list[Any]:
    """A cell that may hold several images: itself, a list, or the text of a list.

    >>> listed("['a.png', 'b.png']"), listed("a.png"), listed(None)
    (['a.png', 'b.png'], ['a.png'], [])
    """
    if cell is None or _is_empty(cell):
        return []
    if isinstance(cell, str) and cell.startswith("[") and cell.endswith("]"):
        for read in (json.loads, ast.literal_eval):
            try:
                return list(read(cell))
            except (ValueError, SyntaxError):
                continue
    if isinstance(cell, Sequence) and not isinstance(cell, (str, bytes)):
        return list(cell)
    return [cell]


def _is_empty(cell: Any) -> bool:
    return isinstance(cell, (str, bytes, list, tuple)) and len(cell) == 0


def _first(row: dict[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _numbered(row: dict[str, Any]) -> list[str]:
    """Columns `image_1`, `image_2`, ... of data sets of the Hub, such as MMMU's."""
    return [f"image_{number}" for number in range(1, 64) if f"image_{number}" in row]


def _video_frames(path: Path, count: int, name: str, bound: tuple[float, float] | None) -> Frames:
    from ...processing.videos.video_decoding import VideoReader

    with VideoReader(str(path)) as video:
        fps = float(video.metadata.fps or 0.0)
        chosen = kit_frames(name, video.metadata.total_num_frames, count, fps, bound)
        pixels = dict(video.frames(chosen))
    return Frames([Image.fromarray(pixels[number]) for number in chosen], chosen, fps)


def _folder_frames(path: Path, count: int, name: str, bound: tuple[float, float] | None) -> Frames:
    """Frames that are files."""
    found = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    if not found:
        raise ValueError("is a folder without frames")
    chosen = kit_frames(name, len(found), count, _STORED_FPS, bound)
    return Frames([load_image(found[number]) for number in chosen], chosen, _STORED_FPS)


def _read_srt(path: Path) -> list[tuple[int, int, str]]:
    """Start and end in milliseconds, and the text on one line, of each subtitle of an SRT file.

    Raises:
        ValueError: a time cannot be read.
    """
    found = []
    for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8-sig").replace("\r\n", "\n").strip()):
        lines = block.split("\n")
        at = next((number for number, line in enumerate(lines) if "-->" in line), None)
        if at is None:
            raise ValueError(f"{path}: expected a line such as 00:00:01,000 --> 00:00:02,500 in {block[:80]!r}.")
        start, end = (_milliseconds(part.split()[0], path) for part in lines[at].split("-->"))
        found.append((start, end, " ".join(lines[at + 1 :])))
    return found


def _milliseconds(text: str, path: Path) -> int:
    match = re.fullmatch(r"(\d+):(\d+):(\d+)[,.](\d{1,3})", text)
    if match is None:
        raise ValueError(f"{path}: expected a time such as 00:00:01,000, got {text!r}.")
    hours, minutes, seconds, rest = match.groups()
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(rest.ljust(3, "0"))


__all__ = ["Frames", "Questions", "listed"]
