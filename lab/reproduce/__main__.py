# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The claims of the InternVL papers, measured with models of some hundred thousand parameters:

    python -m lab.reproduce --quick --processes 2      one seed, a quarter of the steps; two stages at a time
    python -m lab.reproduce --only tiles-text jpeg     some claims, and the stages that they need
    python -m lab.reproduce --seeds 3                  three seeds, with the spread over them
    python -m lab.reproduce --list                     the claims, and what was measured so far

Stages that claims share are trained once and kept in the cache folder; the command can be killed and run again at any
time, and goes on where it was. The page `results.md` and its plots are written anew behind every claim.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

import torch
from tqdm.auto import tqdm

from .claims import CLAIMS, Claim
from .lab import Lab
from .lineage import Lineage
from .parallel import run_jobs
from .report import summary_table, write_page
from .results import known, measured
from .stages import FULL, QUICK, SCALES, Scale


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(
        prog="python -m lab.reproduce", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [claim.name for claim in CLAIMS]
    found.add_argument("--quick", action="store_true", help="a quarter of the steps, one seed")
    found.add_argument("--scale", choices=list(SCALES), help="instead of --quick: its name")
    found.add_argument("--only", nargs="+", choices=names, metavar="CLAIM", help=f"of {', '.join(names)}")
    found.add_argument("--seeds", type=int, help="how many seeds, from 0; 3, with --quick 1")
    found.add_argument("--cache", type=Path, default=Path("runs/lab"), help="folder of trained stages and results")
    found.add_argument("--out", type=Path, help="folder of the page; by default `report` in the cache folder")
    found.add_argument("--threads", type=int, help="of torch; by default its own choice")
    found.add_argument(
        "--processes", type=int, default=1, help="that train and measure at the same time, of one thread"
    )
    found.add_argument("--list", action="store_true", help="show the claims and end")
    return found


def run(lab: Lab, claims: list[Claim], scale: Scale, seeds: int, out: Path, command: str, processes: int = 1) -> Path:
    """Measure claims for seeds from 0, and write the page behind each; returns the page."""
    lines = [Lineage(scale, seed) for seed in range(seeds)]
    page = write_page(out, [known(lab, claim, lines) for claim in CLAIMS], scale, command)
    todo = [(claim, line) for line in lines for claim in claims]
    if processes > 1:
        for key in run_jobs(lab, todo, processes):
            if isinstance(key, Path):  # of a measure
                write_page(out, [known(lab, claim, lines) for claim in CLAIMS], scale, command)
    for claim, line in tqdm(todo, desc="claims", unit="claim"):
        started = time.monotonic()
        values = measured(lab, claim, line)
        margin, minutes = claim.margin(values), (time.monotonic() - started) / 60
        word = "holds" if margin > 0 else "does not hold"
        tqdm.write(f"{claim.name}, seed {line.seed}: {word}, margin {margin:.1f}, {minutes:.1f} minutes")
        write_page(out, [known(lab, claim, lines) for claim in CLAIMS], scale, command)
    return page


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = parser().parse_args(arguments)
    if options.quick and options.scale not in (None, "quick"):
        parser().error("--quick and --scale contradict each other: give one.")
    if options.threads:
        torch.set_num_threads(options.threads)
    scale = SCALES[options.scale] if options.scale else (QUICK if options.quick else FULL)
    seeds = options.seeds or (3 if scale is FULL else 1)
    for name, number in (("seeds", seeds), ("processes", options.processes)):
        if number < 1:
            parser().error(f"--{name} is at least 1, got {number}.")
    lab = Lab(options.cache)
    if options.list:
        lines = [Lineage(scale, seed) for seed in range(seeds)]
        tqdm.write("\n".join(summary_table([known(lab, claim, lines) for claim in CLAIMS])))
        return
    claims = [claim for claim in CLAIMS if not options.only or claim.name in options.only]
    command = shlex.join(["python", "-m", "lab.reproduce", *(sys.argv[1:] if arguments is None else arguments)])
    page = run(lab, claims, scale, seeds, options.out or options.cache / "report", command, options.processes)
    tqdm.write(str(page))


if __name__ == "__main__":
    main()
