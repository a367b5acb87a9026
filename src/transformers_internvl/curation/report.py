# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a run did: the last step puts the review file together and writes `report.json`, `report.md` and plots."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep

from .documents import StepPlace
from .endpoints import Cost, EndpointOptions, cost_of
from .files import WholeFile, parts, read_lines
from .statistics import COUNTS, Statistics
from .writers import finish_meta

FILE = "report.json"


class Finish(PipelineStep):
    """Ends a run; one task.

    Args:
        output: the run's folder.
        steps: of the pipeline file, with their options.
        meta: whether the parts of the sets are put together.
    """

    type, name = "report", "finish"

    def __init__(self, output: str, steps: Sequence[tuple[StepPlace, Any]], meta: bool):
        super().__init__()
        self.output, self.steps, self.meta = output, list(steps), meta

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Writes the files."""
        if self.meta:
            finish_meta(self.output)
        found = self._review()
        costs = [
            cost_of(self.output, place, options)
            for place, options in self.steps
            if isinstance(options, EndpointOptions)
        ]
        before, after = Statistics.of(self.output, "before"), Statistics.of(self.output, "after")
        report = report_of(before, after, found, costs)
        folder = Path(self.output)
        with WholeFile(folder / FILE) as file:
            file.file.write(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        with WholeFile(folder / "report.md") as file:
            file.file.write(as_markdown(report))
        plot_lengths(folder / "lengths.png", before, after)
        plot_reasons(folder / "reasons.png", report["findings"])

    def _review(self) -> Counter[tuple[str, str, bool]]:
        """(Step, reason, dropped) -> rows; and `review.jsonl` of all parts."""
        found: Counter[tuple[str, str, bool]] = Counter()
        places = [StepPlace(self.output, 0, "read"), *(place for place, _ in self.steps)]
        with WholeFile(Path(self.output) / "review.jsonl", binary=True) as whole:
            for place in places:
                for part in parts(self.output, f"review/{place.folder}"):
                    found.update((place.folder, line["reason"], line["dropped"]) for line in read_lines(part))
                    with part.open("rb") as file:
                        shutil.copyfileobj(file, whole.file)
        return found


def report_of(
    before: Statistics, after: Statistics, found: Counter[tuple[str, str, bool]], costs: Sequence[Cost]
) -> dict[str, Any]:
    """The report as JSON."""
    findings = [
        {"step": step, "reason": reason, "dropped": dropped, "rows": count}
        for (step, reason, dropped), count in sorted(found.items())
    ]
    broken = sum(count for (_, reason, _), count in found.items() if reason == "broken row")
    return {
        "rows read": before.total("rows") + broken,
        "rows written": after.total("rows"),
        "before": before.as_json(),
        "after": after.as_json(),
        "findings": findings,
        "costs": [asdict(cost) for cost in costs],
    }


def as_markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    lines = ["# Curation", "", f"{report['rows written']} of {report['rows read']} rows stay.", ""]
    lines += ["| set | " + " | ".join(COUNTS) + " |", "|---|" + "---:|" * len(COUNTS)]
    for name, before in report["before"]["sets"].items():
        after = report["after"]["sets"].get(name, {})
        cells = [f"{before.get(count, 0):,} → {after.get(count, 0):,}" for count in COUNTS]
        lines.append(f"| {_cell(name)} | {' | '.join(cells)} |")
    lines += ["", "| step | reason | rows | |", "|---|---|---:|---|"]
    for row in report["findings"]:
        action = "dropped" if row["dropped"] else "flagged"
        lines.append(f"| {row['step']} | {row['reason']} | {row['rows']:,} | {action} |")
    if report["costs"]:
        lines += ["", "| step | model | replies | tokens in | tokens out | price |", "|---|---|---:|---:|---:|---:|"]
        for cost in report["costs"]:
            numbers = f"{cost['replies']:,} | {cost['tokens_in']:,} | {cost['tokens_out']:,} | {cost['price']:.2f}"
            lines.append(f"| {cost['step']} | {_cell(cost['model'])} | {numbers} |")
    return "\n".join([*lines, "", "![Lengths of answers](lengths.png)", "", "![Reasons](reasons.png)", ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def plot_lengths(path: Path, before: Statistics, after: Statistics) -> None:
    """Histograms of the lengths of answers, before and after."""
    figure, axes = _axes(4.0)
    keys = sorted(before.lengths)
    labels = [f"{1 << (key - 1) if key else 0:,}" for key in keys]
    axes.bar(labels, [before.lengths[key] for key in keys], color="#c9c9c9", label="before")
    axes.bar(labels, [after.lengths[key] for key in keys], color="#4878a8", label="after", width=0.6)
    axes.set_xlabel("characters of the answers of a row, from")
    axes.set_ylabel("rows")
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def plot_reasons(path: Path, findings: Sequence[dict[str, Any]]) -> None:
    """How many rows each reason took or flagged."""
    figure, axes = _axes(max(2.0, 0.4 * len(findings) + 1.0))
    names = [f"{row['step']}: {row['reason']}" for row in findings]
    colours = ["#d1603d" if row["dropped"] else "#e0b050" for row in findings]
    axes.barh(names, [row["rows"] for row in findings], color=colours)
    axes.invert_yaxis()
    axes.set_xlabel("rows (flagged ones in yellow)")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


__all__ = ["FILE", "Finish", "as_markdown", "plot_lengths", "plot_reasons", "report_of"]
