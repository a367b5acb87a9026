# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl train`: run a recipe, or show what it would do."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from .errors import UserError, user_errors
from .loading import positive
from .names import checkpoint
from .tables import table

# The options that this verb declares; any other `--name value` is a field of the recipe or of `TrainingArguments`.
_VALUES = (
    "model",
    "data",
    "eval-data",
    "data-root",
    "output",
    "config",
    "set",
    "on-bad-sample",
    "text-tokens",
    "allow-host",
    "ranks",
)
_SWITCHES = ("list", "dry-run", "resume", "allow-urls", "help")


def spell_out(argv: Sequence[str]) -> list[str]:
    """`--learning-rate 1e-4` as `--set learning_rate=1e-4`, `--bf16` as `--set bf16=true`, `--no-bf16` as false."""
    spelled, words = [], list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name in _SWITCHES or not name:
            spelled.append(word)
        elif name in _VALUES:
            spelled += [word] if equals or not words else [word, words.pop(0)]
        elif equals or (words and not words[0].startswith("--")):
            spelled += ["--set", f"{name}={value if equals else words.pop(0)}"]
        else:
            spelled += ["--set", f"{name.removeprefix('no-')}={'false' if name.startswith('no-') else 'true'}"]
    return spelled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.epilog = (
        "Any field of the recipe or of transformers' TrainingArguments is an option, too: --learning-rate 1e-4, "
        "--max-steps 100, --gradient-checkpointing, --no-bf16, --deepspeed FILE. Options win over the YAML, the YAML "
        "over the recipe. On several devices: torchrun --nproc-per-node N -m transformers_internvl.cli train ..."
    )
    add = parser.add_argument
    add("recipe", nargs="?", metavar="RECIPE", help="name of a recipe (see --list), or a YAML file that changes one")
    add("--model", metavar="ID_OR_FOLDER", help="the checkpoint to train; with --dry-run its config.json is enough")
    add("--data", metavar="PATH", help="a meta .json, a .jsonl, or a file or folder of a `datasets` table")
    add("--eval-data", metavar="PATH", help="data to evaluate at every checkpoint and at the end, in the same forms")
    add("--data-root", metavar="DIR", help="folder that paths in plain data are relative to (default: the data's own)")
    add("--output", metavar="DIR", help="folder of checkpoints, logs and the trained model (default: runs/RECIPE)")
    add("--config", metavar="FILE", help="a YAML file with any fields, in place of RECIPE or beside it")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a field; the same as --NAME VALUE")
    add("--on-bad-sample", metavar="raise|skip:N", help="samples that cannot be used: stop, or leave out at most N")
    add(
        "--text-tokens",
        metavar="WHICH",
        help="special tokens that data may contain: added, regions, all, or a list A,B",
    )
    add("--allow-urls", action="store_true", default=None, help="fetch URLs in the data, from public addresses only")
    add("--allow-host", action="append", metavar="NAME", help="with --allow-urls: allow this host, too; repeatable")
    add("--dry-run", action="store_true", help="print trained parameters, data and memory; do not train")
    add("--ranks", type=positive, metavar="N", help="with --dry-run: devices to plan for (default: torchrun's)")
    add("--resume", action="store_true", help="continue from the last checkpoint in the output folder")
    add("--list", action="store_true", help="print the recipes")


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
            return
    _train(options, arguments.resume)


def _options(arguments: argparse.Namespace) -> Any:
    """The options of the run, from recipe, YAML file and arguments."""
    from ..training.run.options import read_options

    if arguments.ranks is not None and not arguments.dry_run:
        raise UserError("--ranks needs --dry-run; a run has as many devices as torchrun starts.")
    base = arguments.recipe or arguments.config
    if base is None:
        raise UserError("give a recipe's name (internvl train --list prints them), or a YAML file.")
    assigned: dict[str, Any] = {}
    for item in arguments.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--set takes NAME=VALUE, got {item!r}.")
        assigned[name] = value
    if arguments.resume and arguments.dry_run:
        raise UserError("--resume and --dry-run exclude each other: a dry run does not train.")
    for name in ("model", "data", "eval_data", "data_root", "output", "on_bad_sample", "text_tokens", "allow_urls"):
        if getattr(arguments, name) is not None:
            assigned[name] = getattr(arguments, name)
    if arguments.allow_host:
        assigned["allow_hosts"] = arguments.allow_host
    return read_options(base, assigned, arguments.config if arguments.recipe else None)


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
        (part.name, f"{part.samples:,}", f"{part.repeat:g}", f"{part.entries:,}") for part in plan.sets
    ]
    if len(sets) > 1:
        sets.append(("all", f"{sum(s.samples for s in plan.sets):,}", "", f"{sum(s.entries for s in plan.sets):,}"))
    rule = -1 if len(sets) > 1 else None
    lines += [table(("data", "samples", "repeat", "entries an epoch"), sets, rule_above=rule), ""]
    lines += [f"{name:<12}{text}" for name, text in plan.facts.items()]
    return "\n".join([*lines, "", *_memory(plan)])


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
