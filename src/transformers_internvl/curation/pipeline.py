# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A pipeline file, checked, and the stages that datatrove runs.

    output: curated                # a folder, for everything that a run writes
    tasks: 8                       # parts of the data; each is one process at a time, and is resumed on its own
    read:
      - {format: meta, path: data/meta.json}
    steps:                         # in this order; a step without options is its name
      - images: {min_side: 28}
      - heuristics
      - repetition: {exempt: [ai2d]}
      - text_duplicates
      - image_duplicates: {distance: 4}
      - judge: {url: "http://127.0.0.1:8000/v1", model: Qwen3-32B}
    write: {format: meta}
    executor: {kind: local, workers: 8}

Most steps follow one another in one stage. Duplicates need all rows: there a stage ends, and the next one begins.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from datatrove.pipeline.base import PipelineStep

from .checks import Heuristics, HeuristicsOptions, Images, ImagesOptions, Repetition, RepetitionOptions
from .documents import KeepDocuments, KeptDocuments, ReadSources, StepOptions, StepPlace, kept_rows
from .executors import ExecutorOptions
from .image_duplicates import FindCopies, Hashes, ImageDuplicatesOptions
from .image_text import ImageText, ImageTextOptions
from .judging import JudgeOptions, JudgeQuality, JudgeRepetition, JudgeRepetitionOptions
from .options import did_you_mean, read_options
from .report import Finish
from .sources import SourceOptions
from .statistics import Measure
from .text_duplicates import LeaveOutCopies, Signatures, TextDuplicatesOptions, duplicate_stages
from .translating import Translate, TranslateOptions
from .writers import WriteOptions, WriteRows

# Name in the file -> its options, and the step that looks at rows one by one; None: it needs all rows.
STEPS: dict[str, tuple[type[StepOptions], Any]] = {
    "images": (ImagesOptions, Images),
    "heuristics": (HeuristicsOptions, Heuristics),
    "repetition": (RepetitionOptions, Repetition),
    "text_duplicates": (TextDuplicatesOptions, None),
    "image_duplicates": (ImageDuplicatesOptions, None),
    "image_text": (ImageTextOptions, ImageText),
    "judge": (JudgeOptions, JudgeQuality),
    "judge_repetition": (JudgeRepetitionOptions, JudgeRepetition),
    "translate": (TranslateOptions, Translate),
}
_KEYS = {
    **{"output": True, "tasks": False, "read": True, "keep": False},
    **{"steps": False, "write": False, "executor": False},
}


@dataclass(frozen=True)
class Pipeline:
    """A checked pipeline file.

    Attributes:
        output: the run's folder, absolute.
        tasks: parts of the data.
        read: where rows come from.
        keep: a review file in which a person has marked rows that are to stay.
        steps: name and options, in order.
        write: where rows go.
        executor: who runs the tasks.
        settings: what decides the result, as the file has it.
    """

    output: str
    tasks: int
    read: tuple[SourceOptions, ...]
    keep: str | None
    steps: tuple[tuple[StepPlace, StepOptions], ...]
    write: WriteOptions
    executor: ExecutorOptions
    settings: dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """What runs between two waits.

    Attributes:
        name: of its folder of logs.
        steps: of datatrove.
        tasks: of which each rank is one.
    """

    name: str
    steps: list[PipelineStep]
    tasks: int


def read_pipeline(path: str | Path) -> Pipeline:
    """A pipeline file, checked. Relative paths in it are relative to the working directory.

    Raises:
        ValueError: it is none; the message names the step and the key.
        OSError: there is no such file.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    return check_pipeline(data, str(path))


def check_pipeline(data: Any, where: str) -> Pipeline:
    """A pipeline from the content of its file; see [`read_pipeline`]."""
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected keys such as output, read, steps and write, got {data!r:.80}.")
    for key in data:
        if key not in _KEYS:
            raise ValueError(f"{where}: unknown key {key!r}{did_you_mean(key, _KEYS)}")
    for key, required in _KEYS.items():
        if required and not data.get(key):
            raise ValueError(f"{where}: `{key}` is missing.")
    output, tasks = data["output"], data.get("tasks", 1)
    if not isinstance(output, str) or "://" in output:
        raise ValueError(f"{where}: `output` should be a folder of a file system, got {output!r:.80}.")
    if not isinstance(tasks, int) or isinstance(tasks, bool) or tasks < 1:
        raise ValueError(f"{where}: `tasks` should be a whole number from 1 on, got {tasks!r:.80}.")
    keep = data.get("keep")
    if keep is not None and not isinstance(keep, str):
        raise ValueError(f"{where}: `keep` should be the path of a review file, got {keep!r:.80}.")
    output = str(Path(output).absolute())
    entries = data["read"] if isinstance(data["read"], list) else [data["read"]]
    return Pipeline(
        output,
        tasks,
        tuple(
            read_options(SourceOptions, entry, f"{where}, entry {n} of `read`") for n, entry in enumerate(entries, 1)
        ),
        keep,
        tuple(_step(item, n, output, where) for n, item in enumerate(_list(data, "steps", where), 1)),
        read_options(WriteOptions, data.get("write"), f"{where}, `write`"),
        read_options(ExecutorOptions, data.get("executor"), f"{where}, `executor`"),
        {"tasks": tasks, "read": data["read"], "keep": keep, "steps": _deciding(data), "write": data.get("write")},
    )


# Options of steps that may change when a run goes on.
_FREE = (
    "url",
    "key_variable",
    "requests",
    "timeout",
    "refusals",
    "input_price",
    "output_price",
    "device",
    "batch_size",
)


def _deciding(data: dict[str, Any]) -> list[Any]:
    """The steps without options that do not decide the result."""
    return [
        {name: {key: value for key, value in (options or {}).items() if key not in _FREE}}
        for item in data.get("steps") or []
        for name, options in ([(item, None)] if isinstance(item, str) else item.items())
    ]


def _list(data: dict[str, Any], key: str, where: str) -> list[Any]:
    value = data.get(key) or []
    if not isinstance(value, list):
        raise ValueError(f"{where}: `{key}` should be a list (lines that begin with a dash), got {value!r:.80}.")
    return value


def _step(item: Any, number: int, output: str, where: str) -> tuple[StepPlace, StepOptions]:
    name, options = (item, None) if isinstance(item, str) else (None, None)
    if isinstance(item, dict) and len(item) == 1:
        ((name, options),) = item.items()
    if not isinstance(name, str):
        raise ValueError(f"{where}, step {number}: expected a name, or `name: {{options}}`, got {item!r:.80}.")
    if name not in STEPS:
        raise ValueError(f"{where}, step {number}: unknown step {name!r}{did_you_mean(name, STEPS)}")
    kind, _ = STEPS[name]
    return StepPlace(output, number, name), read_options(kind, options, f"{where}, step {number} ({name})")


def stages_of(pipeline: Pipeline) -> list[Stage]:
    """The stages, in order."""
    output, tasks = pipeline.output, pipeline.tasks
    stages: list[Stage] = []
    kept = frozenset() if pipeline.keep is None else kept_rows(pipeline.keep)
    steps: list[PipelineStep] = [ReadSources(output, kept), Measure(output, "before")]
    first = "read"

    def end_stage(last: list[PipelineStep], name: str, between: list[tuple[str, list[PipelineStep], int]]) -> None:
        stages.append(Stage(f"{len(stages):02d}-{first}", [*steps, *last], tasks))
        for title, some, count in between:
            stages.append(Stage(f"{len(stages):02d}-{name}-{title}", some, count))

    for place, options in pipeline.steps:
        rows = f"{place.folder}/rows"
        if isinstance(options, TextDuplicatesOptions):
            last = [KeepDocuments(output, rows), Signatures(place, options)]
            end_stage(last, place.name, duplicate_stages(place, options, rows))
        elif isinstance(options, ImageDuplicatesOptions):
            last = [Hashes(place, options), KeepDocuments(output, rows)]
            end_stage(last, place.name, [("copies", [FindCopies(place, options, rows)], 1)])
        else:
            steps.append(STEPS[place.name][1](place, options))
            continue
        steps, first = [KeptDocuments(output, rows), LeaveOutCopies(place, options)], place.name
    end_stage([Measure(output, "after"), WriteRows(output, pipeline.write)], "", [])
    finish = Finish(output, pipeline.steps, pipeline.write.format == "meta")
    return [*stages, Stage(f"{len(stages):02d}-report", [finish], 1)]


__all__ = ["STEPS", "Pipeline", "Stage", "check_pipeline", "read_pipeline", "stages_of"]
