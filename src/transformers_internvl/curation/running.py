# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A run of a pipeline file: counted sources, settings that must not change, stages in turn."""

import json
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..evaluation.run.answers import keep_settings
from .documents import PLAN
from .executors import Told, run_stages
from .files import WholeFile
from .pipeline import Pipeline, stages_of
from .report import FILE
from .sources import SourceFile, find_sources


def run_pipeline(pipeline: Pipeline, told: Told = lambda line: None) -> dict[str, Any] | None:
    """Run a pipeline, or go on with it.

    Args:
        pipeline: of `read_pipeline`.
        told: gets a line on each stage.

    Returns:
        The report, as in `report.json`; None where Slurm has the tasks.

    Raises:
        ValueError: the output folder has a run of other settings or other files, or another run writes there.
        OSError: a file or a server cannot be reached. What was done is kept.
    """
    output = Path(pipeline.output)
    output.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(f"Another run writes {output}: wait for it, or choose another `output`.") from error
    try:
        _prepare(pipeline)
        stages = [(stage.name, stage.steps, stage.tasks) for stage in stages_of(pipeline)]
        if not run_stages(stages, pipeline.executor, pipeline.output, told):
            return None
    finally:
        lock.release()
    return json.loads((output / FILE).read_bytes())


def _prepare(pipeline: Pipeline) -> None:
    """Keep the settings and the counted sources, or compare them with what is there."""
    output = Path(pipeline.output)
    there = output / PLAN
    if there.exists():
        sources = [SourceFile(**source) for source in json.loads(there.read_bytes())]
        _refuse_changed_files(sources, output)
    else:
        sources = count_sources(pipeline)
    try:
        keep_settings(output, pipeline.settings)
    except ValueError as error:
        raise ValueError(f"`output`: {output} has a run of another pipeline. {error}") from error
    if not there.exists():
        with WholeFile(there) as file:
            file.file.write(json.dumps([source.as_json() for source in sources]))


def count_sources(pipeline: Pipeline) -> list[SourceFile]:
    """The files of `read`, counted.

    Raises:
        ValueError: there is no row.
    """
    sources = [source for options in pipeline.read for source in find_sources(options)]
    if not sum(source.count for source in sources):
        raise ValueError("`read`: the files have no rows.")
    return sources


def _refuse_changed_files(sources: list[SourceFile], output: Path) -> None:
    for source in sources:
        path = Path(source.path)
        facts = path.stat() if path.exists() else None
        if facts is None or (facts.st_size, facts.st_mtime_ns) != (source.size, source.changed):
            raise ValueError(
                f"{source.path} is {'gone' if facts is None else 'another file'} since the run in {output} began: "
                "choose another `output`."
            )


__all__ = ["count_sources", "run_pipeline"]
