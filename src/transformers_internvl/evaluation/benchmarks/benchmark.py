# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a benchmark is: one row of the table `BENCHMARKS` (see `rows.py`)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from ..prompts.original_scripts import SCRIPTS
from ..prompts.vlmevalkit_sets import is_video, max_tiles, set_type

Prompts = Literal["vlmevalkit", "scripts"]
Ability = Literal["chat", "classify", "retrieve", "caption", "probe", "segment"]


@dataclass(frozen=True)
class Published:
    """A published score: the value on the benchmark's scale, or values by name, and where it stands."""

    value: float | Mapping[str, float]
    source: str


@dataclass(frozen=True)
class Benchmark:
    """A benchmark and split.

    Attributes:
        task: the name for `--task`.
        name, split: as the papers say.
        dataset: VLMEvalKit's name of the data set: the stem of its TSV file, and what its prompts go by. None = the
            kit does not have it; the original scripts do.
        ability: what is measured: answers of a chat model; InternVL-C and InternVL-G (`classify`, `retrieve`,
            `caption`); InternViT with a head (`probe`, `segment`).
        metric: a key of `METRICS`, or where the ability is not `chat` the name of the score; None = the answers are
            only written down, `unscored` says why.
        figure: the entry of the metric's table that is the published number; None = `overall`.
        script, script_set: the original script (a key of `SCRIPTS`) and the set that it was given.
        script_metric: what the original script scores with, where it is not `metric`.
        script_task: the first argument of `evaluate.sh`, by which the documentation names flags.
        by_script: whether the report of 2.5 was measured with the original script, though VLMEvalKit has the set, too
            (`internvl_chat/eval/README.md`).
        where: a column and the value that the rows of this benchmark have in it; None = all rows of the file.
        mean_of: tasks whose mean this is; it asks nothing itself.
        turns: columns of the questions that are asked one after another in one conversation, the images in the first.
        frames: numbers of frames with which a video benchmark is reported; of several the best counts.
        subtitles: whether the frames' subtitles are in the question.
        folder: where the data are, below the folder of the data; of abilities other than `chat`.
        modes: of abilities other than `chat`, in place of direct, chain of thought and thinking; the first is the
            default.
        prompt_set: which published sentences and class names describe the classes (`zero_shot_prompts.json`).
        language: of class names, sentences and texts.
        former_captions: whether captions are shortened and lose their punctuation, as in the original retrieval.
        unit: of the published number.
        on_server: whether the answers are kept on a server: the TSV file has none.
        unscored: why there is no score.
        note: what else the published number depends on.
    """

    task: str
    name: str
    split: str = ""
    dataset: str | None = None
    metric: str | None = None
    figure: str | None = None
    script: str | None = None
    script_set: str | None = None
    script_metric: str | None = None
    script_task: str | None = None
    by_script: bool = False
    where: tuple[str, str] | None = None
    mean_of: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()
    subtitles: bool = False
    ability: Ability = "chat"
    folder: str | None = None
    modes: tuple[str, ...] = ()
    prompt_set: str | None = None
    language: str = "en"
    former_captions: bool = False
    unit: str = "percent"
    on_server: bool = False
    unscored: str | None = None
    note: str | None = None

    @property
    def kind(self) -> str | None:
        """Type of the questions as VLMEvalKit names it, such as `MCQ`; None for a set that it does not have."""
        return None if self.dataset is None else set_type(self.dataset)

    @property
    def is_video(self) -> bool:
        """Whether the questions are about videos."""
        return bool(self.frames) or (self.dataset is not None and is_video(self.dataset))

    @property
    def prompts(self) -> Prompts:
        """Whose prompts the published number was made with."""
        return "scripts" if self.script is not None and (self.by_script or self.dataset is None) else "vlmevalkit"

    @property
    def max_tiles(self) -> int:
        """Maximum number of tiles of an image, before the images of a question share 64: VLMEvalKit's, or the
        script's default."""
        if self.dataset is not None or self.script is None:
            return max_tiles(self.dataset)
        return SCRIPTS[self.script].max_tiles

    @property
    def file(self) -> str:
        """Stem of the file with its questions."""
        return self.dataset or self.task

    @property
    def published(self) -> Mapping[str, tuple[Published, ...]]:
        """Model -> its published scores, of every source that has one. Of abilities other than `chat`, the mode
        stands behind the model: `InternVL-14B-224px, InternVL-C`."""
        return published_scores().get(self.task, {})

    @property
    def origin(self) -> Mapping[str, str] | None:
        """`url` and `md5` of the TSV file that VLMEvalKit downloads; None where there is none."""
        return _files().get(self.dataset or "")


@cache
def published_scores() -> dict[str, dict[str, tuple[Published, ...]]]:
    """Task -> model -> published scores. `published.json` holds them, with a short name for each source."""
    data = _read("published.json")
    sources = data["sources"]
    return {
        task: {
            model: tuple(Published(value, sources[source]) for value, source in values)
            for model, values in models.items()
        }
        for task, models in data["scores"].items()
    }


@cache
def _files() -> dict[str, dict[str, str]]:
    return _read("files.json")


def _read(name: str) -> Any:
    return json.loads(files(__package__).joinpath(name).read_bytes())


__all__ = ["Ability", "Benchmark", "Published", "published_scores"]
