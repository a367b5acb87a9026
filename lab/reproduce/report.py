# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The results page: a table of all claims, then each beside the paper's figure, with its values and a plot."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from transformers_internvl.conversion.files.folders import write_whole

from .results import Result
from .stages import Scale


def write_page(folder: Path, results: Sequence[Result], scale: Scale, command: str) -> Path:
    """Write `results.md` and a plot for each claim that was run; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        if result.values:
            draw(result, folder / plot_name(result))
    page = folder / "results.md"
    write_whole(page, page_text(results, scale, command))
    return page


def plot_name(result: Result) -> str:
    """Name of the file with a claim's plot."""
    return f"{result.claim.name}.png"


def page_text(results: Sequence[Result], scale: Scale, command: str) -> str:
    """The page as Markdown."""
    seeds = sorted({seed for result in results for seed in result.values})
    lines = [
        "# The papers in miniature",
        "",
        f"Command: `{command}`. Scale: {scale.name} ({scale.samples} samples, {scale.judged} judged per task). Seeds: "
        f"{', '.join(map(str, seeds)) or 'none'}. Machine: {machine()}.",
        "",
        *summary_table(results),
        "",
    ]
    for result in results:
        lines += section(result)
    return "\n".join(lines)


def machine() -> str:
    """Processor, number of threads and versions, without names of hosts."""
    return f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def summary_table(results: Sequence[Result]) -> list[str]:
    """A row a claim."""
    rows = ["| claim | paper | expected | published | margin | verdict |", "|---|---|---|---|---|---|"]
    for result in results:
        claim, margins = result.claim, result.margins
        shown = spread(sum(margins) / len(margins), min(margins), max(margins)) if margins else ""
        cells = (f"`{claim.name}`", claim.source, claim.expected, claim.published, shown, result.verdict)
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def spread(mean: float, low: float, high: float) -> str:
    """A mean and, where there are several seeds, the range."""
    return f"{mean:.1f}" if low == high else f"{mean:.1f} ({low:.1f} to {high:.1f})"


def section(result: Result) -> list[str]:
    """Everything on one claim."""
    claim = result.claim
    lines = [
        f"## {claim.name}",
        "",
        f"{claim.source}. Measured: {claim.what}. Expected: {claim.expected}. Published: {claim.published}.",
        "",
        f"**{result.verdict[0].upper()}{result.verdict[1:]}.**",
        "",
    ]
    if result.values:
        rows = [f"| {name} | {spread(*found)} |" for name, found in result.summary().items()]
        lines += ["| | |", "|---|---|", *rows, "", f"![{claim.name}]({plot_name(result)})", ""]
    return lines


def draw(result: Result, path: Path) -> None:
    """A plot of a claim: bars, or lines over numbers, with the range over seeds.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    found = result.summary()
    if result.claim.lines:
        series: dict[str, list[tuple[float, tuple[float, float, float]]]] = {}
        for name, values in found.items():
            what, _, x = name.rpartition(" at ")
            series.setdefault(what, []).append((float(x), values))
        for what, points in series.items():
            xs = [str(int(x)) for x, _ in points]
            axes.plot(xs, [mean for _, (mean, _, _) in points], marker="o", label=what)
            axes.fill_between(xs, [low for _, (_, low, _) in points], [high for _, (_, _, high) in points], alpha=0.2)
        axes.legend()
    else:
        means = [mean for mean, _, _ in found.values()]
        below = [mean - low for mean, low, _ in found.values()]
        above = [high - mean for mean, _, high in found.values()]
        axes.barh(list(found), means, xerr=[below, above], color="#4c78a8", capsize=3)
        axes.invert_yaxis()
    axes.set_title(result.claim.name)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


__all__ = ["draw", "machine", "page_text", "plot_name", "section", "spread", "summary_table", "write_page"]
