# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a run would do, before any weight is loaded: `internvl train --dry-run`.

The model is built on the meta device from its config; the data are read, and some samples encoded where the model's
processor is at hand.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...profiling.training_memory import Footprint, Setup, Work, footprint
from ..adapted import adapter_config
from ..data.dataset import refuse_augmentation
from ..data.questions import refuse_few
from ..data.records import DataSet
from ..data.rows import UnusableSample
from ..data.sampling import Mixture
from ..data.streams import StreamSet
from ..feature_cache.model import refuse_changing_features
from ..parameters import count_parameters, parameter_groups, part_of
from ..recipes import REINFORCED, Recipe
from ..trainers.trainer import check_context_ranks
from .answers import check_metric
from .data import PairRows, read_by_number, read_sets
from .objectives import PAIRS_ARE, Objective, chat_samples, objective_of, questions_of
from .option_checks import check_image_size, check_options
from .options import RunOptions
from .run import data_seed, fate_of_adapter, load_config, load_processor, uses_bf16, weights_dtype

COMPARED_WITH_WHOLE_TILES = ("vico", "vico-router")
PROBED = 16  # samples that are encoded to see how long they are


@dataclass(frozen=True)
class PartPlan:
    """A part of the model (`freezing.PARTS`), how much of it trains, and at which rates."""

    name: str
    parameters: int
    trainable: int
    rates: tuple[float, ...]


@dataclass(frozen=True)
class SetPlan:
    """A data set, its repeat factor or its weight, and its entries in an epoch; None where they are not known."""

    name: str
    samples: int | None
    repeat: float
    entries: int | None
    weight: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        parts, sets: of the model and of the data.
        facts: as text: batch, tokens and tiles of a step, length of an epoch and of the run.
        memory: of a device; None where the objective has steps of another kind, and then `memory_note` says why.
        memory_note: for what the memory holds.
    """

    parts: list[PartPlan]
    sets: list[SetPlan]
    facts: dict[str, str]
    memory: Footprint | None
    memory_note: str


def make_plan(options: RunOptions, ranks: int | None = None) -> Plan:
    """Work a run out.

    Args:
        options: what to run; of `model`, its config is enough.
        ranks: how many devices there will be; None: as torchrun sets it.

    Raises:
        ValueError, OSError: as [`run.prepare`] does for recipe, config and data.
    """
    row = objective_of(options)
    check_options(options)
    devices = int(os.environ.get("WORLD_SIZE", "1")) if ranks is None else ranks
    check_context_ranks(options.context_parallel_size, devices)
    values = options.recipe.argument_values(devices // options.context_parallel_size, **options.arguments)
    model = _on_meta(options, row, _weights_dtype(options, values))
    if options.feature_cache is not None:
        refuse_changing_features(model)
    sets, probes = _read(options, row)
    facts = _facts(options, values, devices // options.context_parallel_size, sets, probes)
    if fate := fate_of_adapter(options):
        facts["adapter"] = fate
    if options.feature_cache is not None:
        facts["features"] = f"of each tile are computed once, and kept in {options.feature_cache}"
    if options.eval_data:
        facts["evaluation"] = f"{_plural(_evaluated(options, row), 'sample')} of {options.eval_data}"
    memory, note = None, "Memory is worked out for answers, preferences and ViCO of chat models only."
    if row.plans_memory:
        work, kind = _work(options, model, values["per_device_train_batch_size"], probes)
        memory = _memory(options, values, model, work, devices)
        note = f"for {kind}; what the process itself needs comes on top"
    return Plan(_parts(options, values, _on_meta(options, row, torch.float32)), sets, facts, memory, note)


def _on_meta(options: RunOptions, row: Objective, dtype: torch.dtype) -> Any:
    """The model without weights, prepared by the recipe."""
    from peft import get_peft_model

    adapter = adapter_config(options.model)
    config = load_config(options)
    check_image_size(options, config)
    row.check(options, config)
    check_metric(options.eval_metric)
    with torch.device("meta"):
        model = row.auto_class.from_config(config, dtype=dtype)
        return options.recipe.apply(model if adapter is None else get_peft_model(model, adapter))


def _parts(options: RunOptions, values: dict[str, Any], model: Any) -> list[PartPlan]:
    recipe = options.recipe
    groups = parameter_groups(
        model, values["learning_rate"], values["weight_decay"], recipe.part_learning_rates, recipe.layer_decay
    )
    part = {id(parameter): part_of(name) for name, parameter in model.named_parameters()}
    rates: dict[str, set[float]] = {}
    for group in groups:
        rates.setdefault(part[id(group["params"][0])], set()).add(group["lr"])
    return [
        PartPlan(name, total, trained, tuple(sorted(rates.get(name, ()))))
        for name, (total, trained) in count_parameters(model).items()
    ]


def _read(options: RunOptions, row: Objective) -> tuple[list[SetPlan], list[tuple[int, int]]]:
    """The sets, and tokens and tiles of some samples, where they can be encoded."""
    if not row.chats:
        named = read_by_number(options.data, PAIRS_ARE, root=options.root_of(options.data))
        pairs = len(PairRows(named, options.policy()))
        return [SetPlan(Path(options.data).stem, pairs, 1.0, pairs)], []
    if options.recipe.objective in REINFORCED:
        return _count_questions(options), []
    sets = read_sets(options.data, options.recipe.max_tiles, options.root_of(options.data), options.stream)
    if options.feature_cache is not None:
        refuse_augmentation(sets)
    if streams := [part for part in sets if isinstance(part, StreamSet)]:
        return [_planned_stream(part) for part in streams], _probe(options)
    sets = [part for part in sets if isinstance(part, DataSet)]
    mixture = Mixture([len(part.rows) for part in sets], [part.repeat for part in sets])
    plans = [
        SetPlan(part.name, len(part.rows), part.repeat, mixture.entries_of(number)) for number, part in enumerate(sets)
    ]
    return plans, _probe(options)


def _planned_stream(part: StreamSet) -> SetPlan:
    entries = None if part.entries is None else round(part.entries)
    return SetPlan(part.name, part.length, part.repeat, entries, part.weight)


def _count_questions(options: RunOptions) -> list[SetPlan]:
    """The questions, which are checked where the model's processor is at hand."""
    try:
        processor, _ = load_processor(options)
    except (OSError, ValueError):  # a config alone: there is none
        named = read_by_number(options.data, "questions are", root=options.root_of(options.data))
        count = sum(len(part.rows) for part in named)
    else:
        count = len(questions_of(options, processor, options.data))
    return [SetPlan(Path(options.data).stem, count, 1.0, count)]


def _evaluated(options: RunOptions, row: Objective) -> int:
    """How many samples are evaluated."""
    purpose = "what is evaluated is" if row.chats else PAIRS_ARE
    sets = read_by_number(str(options.eval_data), purpose, root=options.root_of(options.eval_data))
    return sum(len(part.rows) for part in sets) if row.chats else len(PairRows(sets, options.policy()))


def _probe(options: RunOptions) -> list[tuple[int, int]]:
    """Tokens and tiles of samples that the run would see first."""
    try:
        processor, _ = load_processor(options)
    except (OSError, ValueError):  # a config alone: there is none
        return []
    samples, policy, found = chat_samples(options, processor, data_seed(options)), options.policy(), []
    for entry in samples.first_entries(PROBED):
        try:
            sample = entry.encode()
        except UnusableSample as error:
            policy(error)
            continue
        lengths = [len(ids) for name, ids in sample.items() if name.endswith("input_ids")]
        found.append((sum(lengths), len(sample.get("pixel_values", ()))))
    return found


def _work(options: RunOptions, model: Any, batch: int, probes: list[tuple[int, int]]) -> tuple[Work, str]:
    """The largest batch of a device, and a text that describes it."""
    recipe, config = options.recipe, model.config
    height = config.vision_config.image_size[0]
    if recipe.packed_tokens is not None and recipe.packed_tiles is not None:
        tokens, tiles = recipe.packed_tokens * batch, recipe.packed_tiles * batch
        return Work(1, tokens, tiles, height), f"full packs ({tokens:,} tokens, {tiles} tiles)"
    copies = 2 if recipe.objective == "mpo" else 1
    stage = recipe.objective if recipe.objective in COMPARED_WITH_WHOLE_TILES else None
    if probes:
        tokens, tiles = (max(counts) for counts in zip(*probes, strict=True))
        tokens = -(-tokens // copies)
        kind = f"the longest of {len(probes)} samples"
    else:
        each = getattr(config, "image_seq_length", None) or 256
        tokens, tiles = recipe.max_length, min(recipe.max_tiles + (recipe.max_tiles > 1), recipe.max_length // each)
        kind = "the longest sample allowed"
    more = ", two answers" if copies > 1 else ", whole tiles" if stage else ""
    text = f"{kind} ({tokens:,} tokens, {_plural(tiles, 'tile')}{more}), {batch} at a time"
    return Work(batch, tokens, tiles * batch, height, copies, stage), text


def _facts(
    options: RunOptions, values: dict[str, Any], devices: int, sets: list[SetPlan], probes: list[tuple[int, int]]
) -> dict[str, str]:
    recipe, packed = options.recipe, options.recipe.packed_tokens is not None
    batch, accumulation = values["per_device_train_batch_size"], values["gradient_accumulation_steps"]
    kind = "packs" if packed else "answers" if recipe.objective in REINFORCED else "samples"
    whole = batch * accumulation * devices
    rollout = values.get("generation_batch_size") or whole * (values.get("steps_per_generation") or 1) // accumulation
    each = f"{batch} a device x {accumulation} accumulated x {_plural(devices, 'device')}"
    facts = {"batch": f"{whole:,} {kind}: {each}"}
    if options.context_parallel_size > 1:
        facts["batch"] += f", each of {options.context_parallel_size} ranks that share its positions"
    if recipe.objective in REINFORCED:
        answers, most = values["num_generations"], values["max_completion_length"]
        each_step = f"{_plural(whole // answers, 'question')}, {answers} answers each of at most {most:,} tokens"
        facts["a step"] = f"{each_step}; new answers every {_plural(rollout // whole, 'step')}"
    elif packed:
        tokens, tiles = whole * (recipe.packed_tokens or 0), whole * (recipe.packed_tiles or 0)
        facts["a step"] = f"at most {tokens:,} tokens, {tiles:,} tiles"
    elif probes:
        tokens, tiles = (round(whole * mean) for mean in _means(probes))
        facts["a step"] = f"about {tokens:,} tokens, {tiles:,} tiles (by {len(probes)} samples)"
    else:
        facts["a step"] = f"at most {whole * recipe.max_length:,} tokens"
    steps, epochs = values["max_steps"], values["num_train_epochs"]
    run = _plural(steps, "step") if steps > 0 else _plural(epochs, "epoch")
    unknown = [part.name for part in sets if part.entries is None]
    if unknown:
        return {**facts, "run": f"{run}; how many rows there are of {', '.join(unknown)} is not known, or has no end"}
    if packed and not probes:
        return {**facts, "run": f"{run}; how many packs make an epoch is seen on the way"}
    an_epoch = max(1, math.ceil(_batches(recipe, sets, probes) / whole))
    if recipe.objective in REINFORCED:  # rollouts are whole
        asked, questions = rollout // values["num_generations"], sets[0].entries or 0
        refuse_few(questions, asked)
        an_epoch = questions // asked * rollout // whole
    about = "about " if packed else ""
    facts["epoch"] = f"{about}{_plural(an_epoch, 'step')}"
    facts["run"] = f"{run}, {about}" + (
        _plural(round(steps / an_epoch, 2), "epoch") if steps > 0 else _plural(round(an_epoch * epochs), "step")
    )
    return facts


def _batches(recipe: Recipe, sets: list[SetPlan], probes: list[tuple[int, int]]) -> float:
    """How many samples, or packs by the size of some samples, an epoch has."""
    entries = sum(part.entries or 0 for part in sets)
    if recipe.packed_tokens is None or recipe.packed_tiles is None:
        return entries
    tokens, tiles = _means(probes)
    return entries * max(tokens / recipe.packed_tokens, tiles / recipe.packed_tiles)


def _means(probes: list[tuple[int, int]]) -> list[float]:
    return [sum(counts) / len(probes) for counts in zip(*probes, strict=True)]


def _plural(count: float, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _weights_dtype(options: RunOptions, values: dict[str, Any]) -> torch.dtype:
    """Of the weights that compute: DeepSpeed keeps those of the optimizer apart."""
    name = "bfloat16" if values.get("deepspeed") and uses_bf16(options) else weights_dtype(options)
    return getattr(torch, name)


def _memory(options: RunOptions, values: dict[str, Any], model: Any, work: Work, devices: int) -> Footprint:
    deepspeed = values.get("deepspeed")
    half = uses_bf16(options)
    setup = Setup(
        autocast=torch.bfloat16 if half and not deepspeed else None,
        optimizer=str(getattr(values.get("optim"), "value", values.get("optim") or "adamw_torch_fused")),
        accumulates=values["gradient_accumulation_steps"] > 1,
        ranks=devices,
        shard=_shard(values),
        master_bytes=4 if deepspeed and half else 0,
    )
    beside = _reference_bytes(options, model)
    return footprint(model, work, setup, beside)


def _reference_bytes(options: RunOptions, model: Any) -> int:
    """What the reference of preferences and of ViCO takes.

    That of preferences takes nothing beside fresh adapters, beside others a copy of theirs. That of ViCO is another
    model, or shares with this one what does not train.
    """
    if options.recipe.objective in COMPARED_WITH_WHOLE_TILES:
        shared = options.reference is None and _shard({**options.arguments}) == 0
        copied = [p for p in model.parameters() if p.requires_grad or not shared]
        return sum(p.numel() * p.element_size() for p in copied)
    if options.recipe.objective != "mpo":
        return 0
    goes_on = adapter_config(options.model) is not None
    if options.recipe.lora_rank is not None and not goes_on and options.reference is None:
        return 0
    copied = list(model.parameters())
    if goes_on and options.reference is None:
        copied = [p for p in copied if p.requires_grad]
    return sum(p.numel() * p.element_size() for p in copied)


def _shard(values: dict[str, Any]) -> int:
    """What is shared among devices, by ZeRO's stages."""
    deepspeed, fsdp = values.get("deepspeed"), values.get("fsdp")
    if deepspeed:
        config = deepspeed if isinstance(deepspeed, dict) else json.loads(Path(deepspeed).read_text(encoding="utf-8"))
        return int(config.get("zero_optimization", {}).get("stage", 0))
    if fsdp:
        return 2 if "shard_grad_op" in str(fsdp) else 3
    return 0


__all__ = ["PartPlan", "Plan", "SetPlan", "make_plan"]
