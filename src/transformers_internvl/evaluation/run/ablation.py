# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A grid of settings over a task: what each is worth.

    --grid max_tiles=1,6,12 --grid thumbnail=true,false --grid model.config.v2pe_stride=1,0.25

`max_tiles`, `thumbnail`, `frames` and `generation.NAME` change how questions are asked; `model.PATH` and
`processor.PATH` set an attribute, such as one of the model's config, for one point of the grid; `adapter` loads an
adapter (a folder, or `none`).
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...conversion.files.folders import write_whole
from ..benchmarks.asking import Asking
from .answering import Answerer
from .answers import keep_settings
from .judge import JudgeModel
from .ranks import Ranks
from .running import evaluate
from .task import Task

Point = Mapping[str, Any]
"""Name of a setting -> its value."""

_ASKING = {"max_tiles": "max_tiles", "thumbnail": "use_thumbnail", "frames": "frames"}
_OBJECTS = ("model", "processor")


def read_grid(axes: Sequence[str]) -> dict[str, list[Any]]:
    """The axes of a grid, each `NAME=VALUE,VALUE,...`. Values are read as JSON where they are JSON, else as text.

    >>> read_grid(["max_tiles=1,6", "thumbnail=true,false"])
    {'max_tiles': [1, 6], 'thumbnail': [True, False]}

    Raises:
        ValueError: another form, an axis twice, or an unknown setting.
    """
    grid: dict[str, list[Any]] = {}
    for axis in axes:
        name, equals, values = axis.partition("=")
        known = name in _ASKING or name == "adapter" or name.split(".")[0] in ("generation", *_OBJECTS) and "." in name
        if not equals or not values or not known or name in grid:
            names = ", ".join([*_ASKING, "adapter", "generation.NAME", "model.PATH", "processor.PATH"])
            raise ValueError(f"Expected NAME=VALUE,VALUE,... with each NAME once, one of {names}; got {axis!r}.")
        grid[name] = [_value(value) for value in values.split(",")]
    return grid


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def points_of(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations, the last axis fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def name_of(point: Point) -> str:
    """A point as the name of a folder.

    >>> name_of({"max_tiles": 6, "adapter": "runs/one"})
    'max_tiles=6,adapter=runs_one'
    """
    text = ",".join(f"{name}={value}" for name, value in point.items())
    return "".join(character if character.isalnum() or character in "=,.-_+" else "_" for character in text)


def asking_at(asking: Asking, point: Point) -> Asking:
    """How questions are asked at a point."""
    changes = {_ASKING[name]: value for name, value in point.items() if name in _ASKING}
    prefix = "generation."
    generation = {name.removeprefix(prefix): value for name, value in point.items() if name.startswith(prefix)}
    return replace(asking, **changes, generation={**asking.generation, **generation})


@contextmanager
def attributes_at(objects: Mapping[str, Any], point: Point) -> Iterator[None]:
    """Set the attributes of a point on model and processor, and put the former ones back.

    Raises:
        ValueError: there is no such attribute.
    """
    former: list[tuple[Any, str, Any]] = []
    try:
        for name, value in point.items():
            kind, _, path = name.partition(".")
            if kind not in _OBJECTS:
                continue
            if kind not in objects:
                raise ValueError(f"{name} sets an attribute, which needs a model in this process, not a server.")
            *steps, last = path.split(".")
            owner = objects[kind]
            for step in steps:
                owner = getattr(owner, step, None)
            if not hasattr(owner, last):
                raise ValueError(f"The {kind} has no attribute {path!r}.")
            former.append((owner, last, getattr(owner, last)))
            setattr(owner, last, value)
        yield
    finally:
        for owner, last, value in reversed(former):
            setattr(owner, last, value)


def run_grid(
    grid: Mapping[str, Sequence[Any]],
    make_task: Callable[[Asking, Path], Task],
    asking: Asking,
    answerer_at: Callable[[Point], tuple[Answerer, Mapping[str, Any]]],
    folder: str | Path,
    *,
    model: str,
    ranks: Ranks | None = None,
    judge: JudgeModel | None = None,
    quiet: bool = False,
    plot: bool = True,
) -> dict[str, float | None]:
    """Run a task at every point of a grid; write `grid.json`, `grid.md` and `grid.png`.

    Args:
        grid: name of a setting -> its values.
        make_task: the task, from how it is asked and its folder.
        asking: how it is asked where the grid says nothing.
        answerer_at: who answers at a point, and the objects `model` and `processor` whose attributes it may set.
        folder: of the results; each point has one of its own in it, and is resumed.
        model: for reports.
        ranks: this process among all.
        judge: judges the answers where the metric has a judge.
        quiet: whether there are no progress bars.
        plot: whether `grid.png` is drawn.

    Returns:
        Name of a point -> score; of other ranks than the first an empty dictionary.
    """
    root, points = Path(folder), points_of(grid)
    scores: dict[str, float | None] = {}
    for point in points:
        answerer, objects = answerer_at(point)
        place = root / name_of(point)
        if ranks is None or ranks.rank == 0:
            keep_settings(place, point, "point.json")  # two adapters can have one name
        with attributes_at(objects, point):
            task = make_task(asking_at(asking, point), place)
            results = evaluate([task], answerer, place, model=model, ranks=ranks, judge=judge, quiet=quiet, plot=plot)
        if results:
            scores[name_of(point)] = results[0].score
    if scores:
        _write_grid(root, grid, points, scores, plot)
    return scores


def _write_grid(
    root: Path,
    grid: Mapping[str, Sequence[Any]],
    points: Sequence[Point],
    scores: Mapping[str, float | None],
    plot: bool,
) -> None:
    rows = [{**point, "score": scores[name_of(point)]} for point in points]
    write_whole(root / "grid.json", json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    header = [*grid, "score"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_shown(row[name]) for name in header) + " |" for row in rows]
    write_whole(root / "grid.md", "\n".join(lines) + "\n")
    if plot:
        from .plots import plot_curve

        plot_curve(root / "grid.png", root.name, _curves(grid, rows), next(iter(grid)))


def _curves(grid: Mapping[str, Sequence[Any]], rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[Any, Any]]:
    """The first axis along the line, a line for each combination of the others."""
    first, *others = grid
    curves: dict[str, dict[Any, Any]] = {}
    for row in rows:
        label = ", ".join(f"{name}={row[name]}" for name in others) or "score"
        curves.setdefault(label, {})[row[first]] = row["score"]
    return curves


def _shown(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


__all__ = ["asking_at", "attributes_at", "name_of", "points_of", "read_grid", "run_grid"]
