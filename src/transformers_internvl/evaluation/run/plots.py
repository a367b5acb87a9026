# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Plots of scores (the extra `evaluation`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .report import Result


def plot_scores(path: str | Path, model: str, results: Sequence[Result]) -> None:
    """The scores as bars, and the published ones as marks. Nothing is drawn where there is no score.

    Raises:
        ImportError: matplotlib is not there.
    """
    shown = [result for result in results if result.score is not None]
    if not shown:
        return
    figure, axes = _axes(max(3.0, 0.45 * len(shown) + 1.5))
    names = [f"{result.task} ({result.mode})" for result in shown]
    axes.barh(names, [result.score for result in shown], color="#4878a8", label=model)
    marks = [
        (name, entry.value)
        for name, result in zip(names, shown, strict=True)
        for entry in result.published[:1]
        if not isinstance(entry.value, Mapping)
    ]
    if marks:
        axes.plot([value for _, value in marks], [name for name, _ in marks], "D", color="#d1603d", label="published")
    axes.invert_yaxis()
    axes.set_xlabel("score")
    axes.legend()
    _save(figure, path)


def plot_curve(path: str | Path, title: str, curves: Mapping[str, Mapping[Any, float | None]], label: str) -> None:
    """Scores against a number or a setting, one line each.

    Args:
        path: of the image.
        title: above the plot.
        curves: name -> (value -> score).
        label: of the horizontal axis.

    Raises:
        ImportError: matplotlib is not there.
    """
    figure, axes = _axes(4.0)
    for name, points in curves.items():
        known = [(value, score) for value, score in points.items() if score is not None]
        numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value, _ in known)
        values = [value if numeric else str(value) for value, _ in known]
        axes.plot(values, [score for _, score in known], "o-", label=name)
    axes.set_title(title)
    axes.set_xlabel(label)
    axes.set_ylabel("score")
    if len(curves) > 1:
        axes.legend()
    _save(figure, path)


def _axes(height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: `pip install 'transformers_internvl[evaluation]'`.") from error
    figure = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _save(figure: Any, path: str | Path) -> None:
    figure.savefig(path, dpi=120, metadata={"Software": None})


__all__ = ["plot_curve", "plot_scores"]
