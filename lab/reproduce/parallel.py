# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Several stages and measures at a time, each in a process: one begins as soon as what it needs is done."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from .claims import CLAIMS, Claim
from .lab import Lab
from .lineage import Lineage
from .results import measured, result_file
from .stages import Stage


@dataclass(frozen=True)
class Job:
    """Something to do: a function with arguments that can be pickled, once the jobs of `needs` are done."""

    function: Any
    arguments: tuple[Any, ...]
    needs: tuple[Hashable, ...] = ()


def in_order(jobs: Mapping[Any, Job], executor: Executor, processes: int) -> Iterator[Any]:
    """Do all jobs, at most `processes` at a time, and earlier ones first where several could begin; gives the keys of
    jobs as they end.

    Raises:
        ValueError: jobs wait for each other, or for one that is missing.
        Exception: what a job raises; those that run are waited for.
    """
    waiting, done, running = dict(jobs), set[Any](), dict[Future[Any], Any]()
    while waiting or running:
        for key, job in list(waiting.items()):
            if len(running) < processes and done.issuperset(job.needs):
                running[executor.submit(job.function, *job.arguments)] = key
                del waiting[key]
        if not running:
            raise ValueError(f"{len(waiting)} jobs wait for jobs that never end, such as {next(iter(waiting))!r}.")
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            future.result()
            done.add(running[future])
            yield running.pop(future)


def jobs_of(lab: Lab, todo: Sequence[tuple[Claim, Lineage]]) -> dict[Hashable, Job]:
    """Stages by folder and measures by file; claims with one measure share it, and what is on disk is left out."""
    jobs: dict[Hashable, Job] = {}
    for claim, line in todo:
        file = result_file(lab, claim, line)
        if file.is_file():
            continue
        own = claim.stages(line)
        for stage in dict.fromkeys(needed for one in own for needed in (*one.before(), one)):
            if not lab.folder(stage).is_dir():
                jobs.setdefault(stage.folder, Job(train, (lab.cache, stage), _missing(lab, stage.before())))
        jobs.setdefault(file, Job(measure, (lab.cache, claim.name, line), _missing(lab, own)))
    return jobs


def _missing(lab: Lab, stages: Sequence[Stage]) -> tuple[str, ...]:
    return tuple(stage.folder for stage in stages if not lab.folder(stage).is_dir())


def train(cache: Path, stage: Stage) -> None:
    """Train a stage in this process."""
    Lab(cache).train(stage)


def measure(cache: Path, name: str, line: Lineage) -> None:
    """Measure the claim of a name in this process."""
    measured(Lab(cache), next(claim for claim in CLAIMS if claim.name == name), line)


def run_jobs(lab: Lab, todo: Sequence[tuple[Claim, Lineage]], processes: int) -> Iterator[Hashable]:
    """Train and measure what is missing, in processes of one thread; gives the folder or file of each job as it
    ends."""
    jobs = jobs_of(lab, todo)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_one_thread) as executor:
        yield from tqdm(in_order(jobs, executor, processes), desc="stages and measures", total=len(jobs))


def _one_thread() -> None:
    torch.set_num_threads(1)
    os.environ["TQDM_DISABLE"] = "1"


__all__ = ["Job", "in_order", "jobs_of", "measure", "run_jobs", "train"]
