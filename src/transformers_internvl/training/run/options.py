# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a run of training is: a recipe, what differs from it, and which model, data and folder.

    options = read_options("internvl2.5-1b-lora", {"model": folder, "data": "meta.json", "learning_rate": 2e-4})
    options = read_options("run.yaml", {"max_steps": "100"})

A YAML file names its recipe and any fields beside it. What is assigned wins over the file, the file over the recipe:

    recipe: internvl2.5-8b-lora
    model: OpenGVLab/InternVL2_5-8B
    data: meta.json
    output: out
    learning_rate: 2e-5                     # a field of `Recipe`
    per_device_train_batch_size: 2          # a field of `TrainingArguments`
"""

import dataclasses
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from transformers import TrainingArguments

from ...conversion.files.folders import write_whole
from ...processing.sources import require_regular_file
from ...renamed_modules import former_value
from ..data.records import SkipPolicy
from ..data.samples import FORMER_TOO_LONG
from ..data.sampling import Mixing
from ..data.step_labels import StepLabels
from ..data.streamed_files import is_streamed
from ..data.urls import UrlRules
from ..recipes import REINFORCED, Recipe, get_recipe, rollout_config
from .other_names import explain_unknown


@dataclass(frozen=True)
class RunOptions:
    """Everything that determines what a run does.

    Attributes:
        recipe: the row of the table, with what was overridden.
        model: folder or Hub id of the model that is trained.
        data: a meta JSON, a .jsonl, or a file or folder of `datasets`.
        data_root: what paths of images and videos in a .jsonl or a table count from. None: the data's own folder.
        output: folder of checkpoints, logs and the trained model.
        dtype: in which the weights are kept. None: bfloat16 where only adapters train and `bf16` is on, else float32,
            which small updates need.
        on_bad_sample: `"raise"`, or `"skip:N"`: leave out up to N samples that cannot be used, and report them.
        mixing: how sets are drawn, see `sampling.Mixture`.
        stream: read the data from front to back, without an index; archives and what lies in an object store always
            are. See [`StreamedDataset`].
        shuffle_buffer: rows of a streamed set that wait to be shuffled, in each worker; 0 = the order of the files.
        too_long: what happens to samples beyond the recipe's `max_length`, see `SampleEncoder`.
        text_tokens: which special tokens the data may write: `"added"`, those of regions and those that the user added
            to the vocabulary; `"regions"`; `"all"`; or a list, separated by commas. See `SampleEncoder`.
        allow_urls: whether `http(s)` URLs that the data name are fetched, from public addresses.
        allow_hosts: hosts that are fetched from at any address, separated by commas.
        feature_cache: a folder in which the features of tiles are kept, so that a frozen tower sees each tile once,
            see [`FeatureCache`]. None: the tower runs in every step.
        context_parallel_size: how many ranks share the positions and tiles of a batch, see [`InternVLTrainer`].
        eval_data: what is evaluated on the way and at the end, of the forms of `data`; None: nothing.
        step_threshold: objective `"prm"`: the score above which a step is right, see `StepLabels`.
        step_early_stop: the same: leave out the steps behind the first wrong one.
        whole_response: the same: one judgement of the whole response, not one of every step.
        reference: the model that the trained one is compared with, a folder or Hub id. None: for `"mpo"` and `"vico"`
            the model as it is at the start; `"vico-router"` needs the one that the first stage imitated.
        router_percentile: objective `"vico-router"`: see [`RatioWindow`].
        router_window: the same: how many ratios are remembered.
        reward: objectives `"gspo"` and `"grpo"`: names of rewards, separated by commas, see
            [`reinforcement.read_rewards`].
        eval_answers: of how many of its samples answers are generated and logged, for chat models.
        eval_metric: a metric of `evaluation.metrics.METRICS`, by which generated answers to the evaluated samples are
            scored: of all, or of `eval_answers`, where that is given. Logged as `eval_score`; `metric_for_best_model:
            score` keeps the best checkpoint by it.
        arguments: further fields of `TrainingArguments`.
        given: the fields that were given, and did not come with the recipe.
    """

    recipe: Recipe
    model: str
    data: str
    output: str
    data_root: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    on_bad_sample: str = "raise"
    mixing: Mixing = "size"
    stream: bool = False
    shuffle_buffer: int = 1000
    too_long: Literal["raise", "truncate"] = "raise"
    text_tokens: str = "added"
    allow_urls: bool = False
    allow_hosts: str | None = None
    feature_cache: str | None = None
    context_parallel_size: int = 1
    eval_data: str | None = None
    eval_answers: int = 4
    step_threshold: float = 0.0
    step_early_stop: bool = False
    whole_response: bool = False
    reference: str | None = None
    router_percentile: float = 50.0
    router_window: int = 1024
    reward: str | None = None
    eval_metric: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    given: frozenset[str] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "too_long", former_value("too_long", self.too_long, FORMER_TOO_LONG))
        self.policy()
        self.step_labels()
        if self.shuffle_buffer < 0:
            raise ValueError(f"`shuffle_buffer` is a number of rows from 0, got {self.shuffle_buffer}.")
        if self.eval_answers < 0:
            raise ValueError(f"`eval_answers` is a number of samples from 0, got {self.eval_answers}.")
        for name, kind in typing.get_type_hints(RunOptions).items():
            choices = _choices(kind)
            if choices and getattr(self, name) not in choices:
                raise ValueError(f"`{name}` is one of {', '.join(map(str, choices))}; got {getattr(self, name)!r}.")

    def step_labels(self) -> StepLabels:
        """How scores of steps become answers."""
        return StepLabels(self.step_threshold, self.step_early_stop, self.whole_response)

    def policy(self) -> SkipPolicy:
        """A fresh policy for samples that cannot be used."""
        return SkipPolicy.of(self.on_bad_sample)

    def writable_tokens(self) -> str | tuple[str, ...]:
        """`text_tokens` as `SampleEncoder` takes it."""
        word = self.text_tokens in ("added", "regions", "all")
        return self.text_tokens if word else tuple(token.strip() for token in self.text_tokens.split(","))

    def url_rules(self) -> bool | UrlRules:
        """`allow_urls` and `allow_hosts` as data sets take them."""
        if not self.allow_urls or not self.allow_hosts:
            return self.allow_urls
        return UrlRules(hosts=frozenset(host.strip() for host in self.allow_hosts.split(",")))

    def root_of(self, data: str | None) -> str | None:
        """The root for `data` or `eval_data`: `data_root`, but of a meta file beside plain data, which has its own."""
        named = [path for path in (self.data, self.eval_data) if path]
        plain = any(not path.endswith(".json") for path in named)
        return None if plain and str(data).endswith(".json") else self.data_root

    def as_mapping(self) -> dict[str, Any]:
        """All fields that count as plain values, which `read_options` turns into the same run again."""
        left_out = {
            *UNUSED.get(self.recipe.objective, {}),
            *(_EQUIVALENTS[name] for name in _EQUIVALENTS if name in self.arguments),
        }
        left_out |= {"eval_answers"} if not self.eval_data or self.eval_metric else set()
        left_out |= set() if self.stream or is_streamed(self.data) else {"stream", "shuffle_buffer"}
        own = {name: getattr(self, name) for name in OWN_FIELDS if getattr(self, name) is not None}
        recipe = dataclasses.asdict(self.recipe)
        fields = {"recipe": recipe.pop("name"), **own, **_plain({**recipe, **self.arguments})}
        return {name: value for name, value in fields.items() if name not in left_out or name in self.given}


OWN_FIELDS = (
    "model",
    "data",
    "output",
    "data_root",
    "dtype",
    "on_bad_sample",
    "mixing",
    "stream",
    "shuffle_buffer",
    "too_long",
    "text_tokens",
    "allow_urls",
    "allow_hosts",
    "feature_cache",
    "context_parallel_size",
    "eval_data",
    "eval_answers",
    "step_threshold",
    "step_early_stop",
    "whole_response",
    "reference",
    "router_percentile",
    "router_window",
    "reward",
    "eval_metric",
)
_TYPED = {
    "context_parallel_size": int,
    "eval_answers": int,
    "stream": bool,
    "shuffle_buffer": int,
    "allow_urls": bool,
    "step_threshold": float,
    "step_early_stop": bool,
    "whole_response": bool,
    "router_percentile": float,
    "router_window": int,
}  # the own fields that are no texts
_ALIASES = {
    "output_dir": "output",
    "warmup_steps": "warmup",
    "lr_scheduler_type": "scheduler",
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}
# Field of `TrainingArguments` -> field of the recipe in whose place it stands.
_EQUIVALENTS = {"num_train_epochs": "epochs", "gradient_accumulation_steps": "batch_size"}
# Objective -> field that it has no use for -> why.
_PATCHES = {"patch_dropout": "the projector of a chat model needs all patches"}
_SIZE = {"image_size": "the tiles of a chat model have a size of their own"}
_STEPS = dict.fromkeys(("step_threshold", "step_early_stop", "whole_response"), "only rows of `prm` have scored steps")
_ROUTER = dict.fromkeys(("router_percentile", "router_window"), "only `vico-router` trains a router")
_ROLLOUTS = dict.fromkeys(
    ("reward", "num_generations", "max_completion_length", "steps_per_rollout"),
    "only `gspo` and `grpo` let the model answer",
)
_ALONE = {"reference": "its loss compares the model with no other one", **_ROUTER}
_WHOLE_ROWS = {"context_parallel_size": "its loss is not one of positions, each by itself"}
_COMPRESSED = {
    **_WHOLE_ROWS,
    "feature_cache": "every tile is encoded in two ways",
    "loss_reduction": "the tokens of all answers count alike",
}
_PAIRS = {
    **_WHOLE_ROWS,
    **_STEPS,
    **_ALONE,
    **_ROLLOUTS,
    "feature_cache": "it holds features of tiles behind a projector, and dual encoders have none",
    "max_tiles": "images of pairs are not split",
    "loss_reduction": "a loss of pairs has no weights of tokens",
    "mixing": "pairs are not drawn by sets",
    "stream": "pairs are read by number",
    "shuffle_buffer": "pairs are read by number",
    "text_tokens": "captions write the tokens that were added to the vocabulary, and no others",
    "eval_answers": "dual encoders give no answers",
    "eval_metric": "dual encoders give no answers",
}
_REINFORCED = {
    **_PATCHES,
    **_SIZE,
    **_STEPS,
    **_ALONE,
    **_WHOLE_ROWS,
    "max_length": "questions are never cut, and `max_completion_length` is that of answers",
    "too_long": "questions are never cut",
    "mixing": "every question is asked as often as the others",
    "stream": "questions are read by number",
    "shuffle_buffer": "questions are read by number",
    "text_tokens": "questions are prompts, whose texts are texts",
    "feature_cache": "answers are sampled from pixels",
    "loss_reduction": "answers are weighed by their rewards",
    "eval_answers": "`log_completions` of TRL shows answers",
    "eval_metric": "`eval_reward` is the mean reward of answers to the evaluated questions",
}
UNUSED: dict[str, dict[str, str]] = {
    "sft": {**_PATCHES, **_SIZE, **_STEPS, **_ALONE, **_ROLLOUTS},
    "prm": {**_PATCHES, **_SIZE, **_ALONE, **_ROLLOUTS},
    "vico": {**_PATCHES, **_SIZE, **_STEPS, **_ROUTER, **_COMPRESSED, **_ROLLOUTS},
    "vico-router": {**_PATCHES, **_SIZE, **_STEPS, **_COMPRESSED, **_ROLLOUTS},
    **dict.fromkeys(REINFORCED, _REINFORCED),
    "mpo": {
        **_PATCHES,
        **_SIZE,
        **_STEPS,
        **_ROUTER,
        **_WHOLE_ROWS,
        **_ROLLOUTS,
        "feature_cache": "pairs of answers are trained on pixels",
        "loss_reduction": "answers are weighed by their pairs",
    },
    "contrastive": _PAIRS,
    "generative": _PAIRS,
}
_RECIPE_FIELDS = {name: kind for name, kind in typing.get_type_hints(Recipe).items() if name != "name"}


def read_options(
    recipe: str | os.PathLike,
    assignments: Mapping[str, Any] | None = None,
    config: str | os.PathLike | None = None,
) -> RunOptions:
    """The run of a recipe's name or a YAML file, with what is assigned on top.

    Args:
        recipe: a name of `recipe_names()`, or a path that ends with .yaml or .yml. `output` is `runs/NAME` by
            default.
        config: a YAML file beside the recipe's name, which wins over the recipe that the file names.
        assignments: fields by name; texts are read as YAML would, so that `"1e-4"`, `"true"` and `"{text: 1e-4}"` do.

    Raises:
        ValueError: an unknown recipe or field (with those that are spelled alike), a value of the wrong type, or
            `model` or `data` is missing.
        OSError: the file cannot be read.
    """
    file = {} if config is None else _read_yaml(Path(config))
    file.update(_read_yaml(Path(recipe)) if str(recipe).endswith((".yaml", ".yml")) else {"recipe": str(recipe)})
    assigned = _named(assignments or {})
    if "recipe" not in file:
        raise ValueError(f"{recipe}: `recipe` is missing, the name of the one that the file changes.")
    for one, other in _EQUIVALENTS.items():
        for name, partner in ((one, other), (other, one)):
            if name in assigned:
                file.pop(partner, None)
    if assigned.keys() & {"epochs", "num_train_epochs"} and "max_steps" not in assigned:
        file.pop("max_steps", None)
        assigned["max_steps"] = None
    merged = {**file, **assigned}
    if merged.keys() & {"epochs", "num_train_epochs"}:
        merged.setdefault("max_steps", None)
    values = {name: _coerced(name, value) for name, value in merged.items()}
    name = values.pop("recipe")
    chosen = get_recipe(name, **{key: values.pop(key) for key in list(values) if key in _RECIPE_FIELDS})
    if not values.get("output"):
        values["output"] = os.path.join("runs", name)
    if missing := [key for key in ("model", "data") if not values.get(key)]:
        raise ValueError(f"{', '.join(f'`{key}`' for key in missing)} must be given.")
    own = {key: values.pop(key) for key in OWN_FIELDS if key in values}
    return RunOptions(recipe=chosen, arguments=values, given=frozenset(merged) - {"recipe"}, **own)


def write_options(options: RunOptions, path: Path, comment: str) -> None:
    """Write a YAML file that `read_options` reads, with a comment at its top."""
    text = yaml.safe_dump(options.as_mapping(), sort_keys=False, allow_unicode=True, width=110)
    write_whole(path, f"# {comment}\n{text}")


def argument_types() -> dict[str, Any]:
    """The fields of `TrainingArguments` that can be set, and their types."""
    hints = typing.get_type_hints(TrainingArguments)
    return {entry.name: hints[entry.name] for entry in dataclasses.fields(TrainingArguments) if entry.init}


@cache
def rollout_types() -> dict[str, Any]:
    """The fields of TRL's `GRPOConfig` that `TrainingArguments` lacks, and their types; none where TRL is missing."""
    try:
        config = rollout_config()
    except ImportError:
        return {}
    hints, own = typing.get_type_hints(config), {*argument_types(), *_RECIPE_FIELDS}
    return {entry.name: hints[entry.name] for entry in dataclasses.fields(config) if entry.name not in own}


def _read_yaml(path: Path) -> dict[str, Any]:
    require_regular_file(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected fields `name: value`, got {content!r:.60}.")
    try:
        return _named(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by the names of fields.

    Raises:
        ValueError: there is no such field.
    """
    known = {"recipe", *OWN_FIELDS, *_RECIPE_FIELDS, *argument_types()}
    named: dict[str, Any] = {}
    for key, value in values.items():
        typed = str(key).replace("-", "_")  # YAML may have numbers there
        name = _ALIASES.get(typed, typed)
        if name not in known and name not in rollout_types():
            raise ValueError(explain_unknown(name, known))
        if name in named:
            raise ValueError(f"`{typed}` was given twice, once as `{name}` or under another name of it: give one.")
        named[name] = value
    if {"epochs", "num_train_epochs"} <= named.keys():
        raise ValueError("`epochs` and `num_train_epochs` mean the same: give one.")
    return named


def _coerced(name: str, value: Any) -> Any:
    """A value in its field's type.

    Raises:
        ValueError: it has another one.
    """
    if name in ("text_tokens", "allow_hosts") and isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    if name == "recipe" or (name in OWN_FIELDS and name not in _TYPED):
        return value if value is None else str(value)
    kind = _TYPED.get(name) or _RECIPE_FIELDS.get(name) or argument_types().get(name) or rollout_types()[name]
    try:
        read = yaml.safe_load(value) if isinstance(value, str) and value else value
    except yaml.YAMLError:
        read = value  # a text with signs that YAML gives a meaning, or none
    converted = _as_type(read, kind)
    if converted is _MISFIT and isinstance(value, str):  # `no` is false to YAML, and a name to some fields
        converted = _as_type(value, kind)
    if converted is _MISFIT:
        raise ValueError(f"`{name}` should be {_describe(kind)}, got {value!r}.")
    return converted


_MISFIT: Any = object()


def _as_type(value: Any, kind: Any) -> Any:
    """The value as one of the types that `kind` allows, or `_MISFIT`."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        fitting = [found for option in inner if (found := _as_type(value, option)) is not _MISFIT]
        exact = [found for found in fitting if type(found) is type(value)]
        return (exact or fitting or [_MISFIT])[0]
    if kind is Any:
        return value
    if kind is type(None):
        return None if value is None else _MISFIT
    if origin is Literal:
        return value if value in inner else _MISFIT
    if origin in (tuple, list):
        return _as_sequence(value, origin, inner)
    if origin is dict and isinstance(value, dict):
        pairs = {key: _as_type(item, inner[1]) for key, item in value.items()}
        return _MISFIT if any(item is _MISFIT for item in pairs.values()) else pairs
    return _as_scalar(value, origin or kind)


def _as_sequence(value: Any, origin: Any, inner: tuple[Any, ...]) -> Any:
    items = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or (origin is tuple and inner[-1] is not ... and len(items) != len(inner)):
        return _MISFIT
    kinds = inner if origin is tuple and inner[-1] is not ... else [inner[0]] * len(items)
    converted = [_as_type(item, one) for item, one in zip(items, kinds, strict=True)]
    return _MISFIT if any(item is _MISFIT for item in converted) else origin(converted)


def _as_scalar(value: Any, kind: Any) -> Any:
    if kind is bool or isinstance(value, bool):
        return value if isinstance(value, bool) and kind is bool else _MISFIT
    if kind in (int, float):
        try:  # YAML 1.1 reads 1e-4 as a text
            number = float(value)
        except (TypeError, ValueError):
            return _MISFIT
        return number if kind is float else int(number) if number.is_integer() else _MISFIT
    if isinstance(kind, type) and issubclass(kind, Enum):
        return value
    if kind is str and isinstance(value, (int, float)):
        return str(value)
    return value if isinstance(kind, type) and isinstance(value, kind) else _MISFIT


def _describe(kind: Any) -> str:
    options = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    names = [str(getattr(option, "__name__", option)) for option in options if option is not type(None)]
    return "true or false" if names == ["bool"] else " or ".join(names)


def _choices(kind: Any) -> list[Any]:
    """The values that a `Literal`, optional or not, allows; empty for other types."""
    options = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    found = [
        choice for option in options if typing.get_origin(option) is Literal for choice in typing.get_args(option)
    ]
    return [*found, *([None] if type(None) in options else [])] if found else []


def _plain(value: Any) -> Any:
    """Tuples as lists and enums as their values, for YAML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


__all__ = ["OWN_FIELDS", "RunOptions", "argument_types", "read_options", "rollout_types", "write_options"]
