# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl train`: run a recipe, or show what it would do."""

import argparse
import os
import shlex
import sys
from typing import Any

from .errors import user_errors
from .names import checkpoint
from .tables import percent, table

# Arguments that are fields of `RunOptions`.
_FIELDS = (
    "model",
    "data",
    "eval_data",
    "data_root",
    "output",
    "feature_cache",
    "on_bad_sample",
    "text_tokens",
    "allow_urls",
    "stream",
    "shuffle_buffer",
)


def run(arguments: argparse.Namespace) -> None:
    """Train, or print the list or the plan."""
    if arguments.list:
        print(_recipes())
        return
    import warnings

    from transformers.utils import logging

    warnings.simplefilter("ignore", FutureWarning)  # of libraries about other libraries
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # the run has its own bar
    with user_errors("cannot train"):
        options = _options(arguments)
        checkpoint(options.model, adapters=True)
        if arguments.dry_run:
            from ..training.run.plan import make_plan

            print(_plan(options, make_plan(options, arguments.ranks)))
            if arguments.mixture:
                _show_mixture(options, arguments.ranks, arguments.plot)
            return
    _train(options, arguments.resume)


def _options(arguments: argparse.Namespace) -> Any:
    """The options of the run, from recipe, YAML file and arguments."""
    from ..training.run.options import read_options

    assigned: dict[str, Any] = dict(item.split("=", 1) for item in arguments.set)
    for name in _FIELDS:
        if getattr(arguments, name) is not None:
            assigned[name] = getattr(arguments, name)
    if arguments.allow_host:
        assigned["allow_hosts"] = arguments.allow_host
    beside = arguments.config if arguments.recipe else None
    return read_options(arguments.recipe or arguments.config, assigned, beside)


def _recipes() -> str:
    from ..training.recipes import get_recipe, recipe_names

    head = (
        "recipe",
        "objective",
        "trains",
        "rate",
        "decay",
        "warm-up",
        "batch",
        "steps",
        "tokens",
        "tiles",
        "weights",
    )
    rows = []
    for name in recipe_names():
        recipe = get_recipe(name)
        trains = _trains(recipe.trains) if recipe.lora_rank is None else f"adapters, rank {recipe.lora_rank}"
        length = f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}" if recipe.max_steps is None else recipe.max_steps
        packed = "packed " * (recipe.packed_tokens is not None)
        numbers = (f"{recipe.learning_rate:g}", f"{recipe.weight_decay:g}", f"{recipe.warmup:g}", recipe.batch_size)
        tokens, tiles = recipe.packed_tokens or recipe.max_length, recipe.packed_tiles or recipe.max_tiles
        cells = (name, recipe.objective, trains, *numbers, length, f"{packed}{tokens}", tiles, recipe.loss_reduction)
        rows.append(tuple(map(str, cells)))
    return f"{table(head, rows)}\n\n{len(rows)} recipes. internvl train NAME --dry-run ... shows what a recipe does."


def _trains(parts: tuple[str, ...]) -> str:
    return "all" if {"vision", "head"} <= {*parts} else "+".join(part for part in parts if part != "head")


def _plan(options: Any, plan: Any) -> str:
    recipe = options.recipe
    lines = [f"{recipe.name}: {recipe.objective} of {options.model}", ""]
    rows: list[tuple[str, ...]] = [
        (part.name, f"{part.parameters:,}", f"{part.trainable:,}" if part.trainable else "frozen", _rates(part.rates))
        for part in plan.parts
    ]
    rows.append(("all", *(f"{sum(getattr(p, n) for p in plan.parts):,}" for n in ("parameters", "trainable")), ""))
    lines += [table(("part", "parameters", "trainable", "learning rate"), rows, rule_above=-1), ""]
    sets: list[tuple[str, ...]] = [
        (part.name, _count(part.samples), _repeats(part), _count(part.entries)) for part in plan.sets
    ]
    if len(sets) > 1:
        samples, entries = (_count(_sum(plan.sets, name)) for name in ("samples", "entries"))
        sets.append(("all", samples, "", entries))
    rule = -1 if len(sets) > 1 else None
    lines += [table(("data", "samples", "repeat", "entries an epoch"), sets, rule_above=rule), ""]
    lines += [f"{name:<12}{text}" for name, text in plan.facts.items()]
    return "\n".join([*lines, "", *_memory(plan)])


def _show_mixture(options: Any, ranks: int | None, plot: str | None) -> None:
    from ..training.run.mixture import draw_mixture, mixture_of

    report = mixture_of(options, ranks)
    print(f"\n{_mixture(report)}")
    if plot is not None:
        draw_mixture(report, plot)
        print(f"\ndrawn in {plot}")


def _mixture(report: Any) -> str:
    """The report as tables: sets, modalities, lengths."""
    shares = {name: report.shares(name) for name in ("samples", "tokens", "tiles")}
    rows = []
    for part in report.sets:
        seen, passes = report.seen_of(part), report.passes(part)
        means = (f"{part.mean('tokens'):,.0f}", f"{max(part.tokens):,}", f"{part.mean('tiles'):.1f}")
        runs = ("" if seen is None else f"{seen:,.0f}", "not known" if passes is None else f"{passes:.2g}")
        unusable = f"{len(part.unusable)} of {part.looked_at}"
        rows.append((part.name, *(percent(of[part.name]) for of in shares.values()), *means, *runs, unusable))
    looks = ("tokens", "longest", "tiles", "seen", "times each", "unusable")
    head = ("mixture", *(f"{name} %" for name in shares), *looks)
    kinds = {name: report.modality_shares(name) for name in shares}
    of_kinds = [(kind, *(percent(of[kind]) for of in kinds.values())) for kind in kinds["samples"]]
    lines = [table(head, rows), "", table(("modality", "samples %", "tokens %", "tiles %"), of_kinds), ""]
    bars = [
        (f"{begin:,} to {end - 1:,}", percent(share), "#" * round(40 * share))
        for begin, end, share in report.histogram()
    ]
    lines.append(table(("tokens of a sample", "samples %", ""), bars, left=(0, 2)))
    looked = ", ".join(f"{part.looked_at} of {part.name}" for part in report.sets)
    return "\n".join([*lines, "", f"by rows that were encoded: {looked}"])


def _repeats(part: Any) -> str:
    return f"{part.repeat:g}" if part.weight is None else f"weight {part.weight:g}"


def _count(count: int | None) -> str:
    return "not known" if count is None else f"{count:,}"


def _sum(parts: Any, name: str) -> int | None:
    counts = [getattr(part, name) for part in parts]
    return None if None in counts else sum(counts)


def _rates(rates: tuple[float, ...]) -> str:
    if not rates:
        return ""
    return f"{rates[0]:g}" if len(rates) == 1 else f"{min(rates):.2g} to {max(rates):.2g}"


def _memory(plan: Any) -> list[str]:
    if plan.memory is None:
        return [plan.memory_note]
    memory = plan.memory
    names = {"weights": "weights", "gradients": "gradients", "optimizer": "optimizer states"}
    if memory.reference:
        names["reference"] = "reference model"
    rows: list[tuple[str, ...]] = [
        (text, _size(getattr(memory, name)), _size(getattr(memory, name))) for name, text in names.items()
    ]
    both = (memory.kept, memory.recomputed)
    rows.append(("activations", *(_size(use.activations) for use in both)))
    rows.append(("logits, loss", *(_size(use.loss) for use in both)))
    rows.append(("peak of a step", *(_size(use.peak) for use in both)))
    head = ("memory of a device", "activations kept", "checkpointed")
    return [table(head, rows, rule_above=-1), plan.memory_note]


def _size(count: float) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def _train(options: Any, resume: bool) -> None:
    from ..training.run.run import prepare
    from ..training.trainers.checkpoints import last_checkpoint

    first = int(os.environ.get("RANK", "0")) == 0
    with user_errors("cannot train"):
        run = prepare(options, resume)
        if first:
            _say(_opening(run))
        try:
            result = run.train()
        except KeyboardInterrupt:
            if first:
                _say(_interrupted(last_checkpoint(run.folder), run.trainer.state.global_step))
            raise
    if first:
        _say(_closing(run, result))


def _opening(run: Any) -> str:
    recipe, args = run.options.recipe, run.trainer.args
    trained = sum(p.numel() for p in run.model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in run.model.parameters())
    ranks = f" on {args.world_size} devices" if args.world_size > 1 else ""
    text = f"{recipe.name}: {trained:,} of {total:,} parameters train{ranks}, to {run.options.output}"
    if run.begins_with_adapter:
        text += f"\nthe adapter in {run.options.model} {run.begins_with_adapter}"
    if run.options.feature_cache is not None:
        text += f"\nfeatures of tiles are kept in {run.options.feature_cache}"
    return text if run.checkpoint is None else f"{text}\ncontinuing from {run.checkpoint}"


def _closing(run: Any, result: Any) -> str:
    output = run.options.output
    loss = "" if result.loss is None else f", loss {result.loss:.4f}"
    loss += "" if result.eval_loss is None else f", evaluation loss {result.eval_loss:.4f}"
    lines = [f"{result.steps} steps{loss}. {'Adapters' if result.adapters else 'Model'} and log in {output}"]
    lines += [f"left out: {where}: {reason}" for where, reason in result.skipped]
    lines += result.notes
    if result.adapters:
        lines += ["To merge the adapters into the model:", *_merging(run)]
    return "\n".join(lines)


def _merging(run: Any) -> list[str]:
    base, output = run.model.active_peft_config.base_model_name_or_path, run.options.output
    return [
        "  import transformers_internvl",
        "  from peft import PeftModel",
        "  from transformers import AutoModelForImageTextToText",
        f"  model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained({base!r}), {output!r})",
        "  model.merge_and_unload().save_pretrained('merged')",
    ]


def _interrupted(checkpoint: Any, step: int) -> str:
    words = [word for word in sys.argv[1:] if word != "--resume"]
    where = "the beginning, there is no checkpoint yet" if checkpoint is None else str(checkpoint)
    return f"\nStopped at step {step}. To continue from {where}:\n  internvl {shlex.join(words)} --resume"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
