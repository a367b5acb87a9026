# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Measured values on disk, by claim, scale and seed; and what they say of a claim."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from transformers_internvl.conversion.files.folders import read_json, write_json

from .claims import Claim
from .lab import Lab, quiet
from .lineage import Lineage
from .measures import Values


@dataclass(frozen=True)
class Result:
    """What was measured of a claim.

    Attributes:
        claim: the claim.
        values: seed -> values; empty where the claim was not run.
    """

    claim: Claim
    values: dict[int, Values]

    @property
    def margins(self) -> list[float]:
        """By how much the inequality holds, seed by seed."""
        return [self.claim.margin(values) for values in self.values.values()]

    @property
    def verdict(self) -> str:
        """ "reproduces", "does not reproduce", "in N of M seeds", or "not run"."""
        held = sum(margin > 0 for margin in self.margins)
        if not self.values:
            return "not run"
        if held in (0, len(self.values)):
            return "reproduces" if held else "does not reproduce"
        return f"in {held} of {len(self.values)} seeds"

    def summary(self) -> dict[str, tuple[float, float, float]]:
        """Name -> mean, smallest and largest value over seeds."""
        runs = list(self.values.values())
        table = {name: [run[name] for run in runs] for name in (runs[0] if runs else ())}
        return {name: (sum(found) / len(found), min(found), max(found)) for name, found in table.items()}


def measured(lab: Lab, claim: Claim, line: Lineage) -> Values:
    """The values of a claim for a seed; from disk where they were measured with the same stages."""
    path = result_file(lab, claim, line)
    if path.is_file():
        return read_json(path)["values"]
    stages = claim.stages(line)
    for stage in tqdm(stages, desc=f"{claim.name}, seed {line.seed}", unit="stage", leave=False):
        lab.train(stage)
    with quiet():
        values = {name: float(value) for name, value in claim.measure(lab, line).items()}
    facts = {"measured": time.strftime("%Y-%m-%d"), "machine": platform.machine(), "scale": line.scale.name}
    write_json(path, {"measure": claim.measure.__name__, "seed": line.seed, **facts, "values": values})
    return values


def result_file(lab: Lab, claim: Claim, line: Lineage) -> Path:
    """Where the values of a claim lie; claims with one measure share them.

    Other stages, or another number of judged samples, have another file.
    """
    parts: list[Any] = [claim.measure.__name__, line.scale.judged, line.scale.samples]
    parts += [stage.digest for stage in claim.stages(line)]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
    return lab.cache / "results" / f"{claim.measure.__name__}-{line.scale.name}-{line.seed}-{digest}.json"


def known(lab: Lab, claim: Claim, lines: list[Lineage]) -> Result:
    """What is on disk of a claim, for the seeds of `lines`."""
    files = {line.seed: result_file(lab, claim, line) for line in lines}
    return Result(claim, {seed: read_json(path)["values"] for seed, path in files.items() if path.is_file()})


__all__ = ["Result", "known", "measured", "result_file"]
