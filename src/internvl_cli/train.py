# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `internvl train` accepts: the options that it declares, and fields of the recipe."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from .types import count, positive


def train(parser: ArgumentParser) -> None:
    """Arguments of `internvl train`."""
    parser.epilog = (
        "Any field of the recipe or of transformers' TrainingArguments is an option, too: --learning-rate 1e-4, "
        "--max-steps 100, --gradient-checkpointing, --no-bf16, --deepspeed FILE. Options win over the YAML, the YAML "
        "over the recipe. On several devices: torchrun --nproc-per-node N -m transformers_internvl.cli train ..."
    )
    add = parser.add_argument
    add("recipe", nargs="?", metavar="RECIPE", help="name of a recipe (see --list), or a YAML file that changes one")
    add("--model", metavar="ID_OR_FOLDER", help="the checkpoint to train; with --dry-run its config.json is enough")
    add(
        "--data",
        metavar="PATH",
        help="a meta .json, a .jsonl, a table of `datasets`, or shards: {000..127}.tar, s3://...",
    )
    add("--eval-data", metavar="PATH", help="data to evaluate at every checkpoint and at the end, in the same forms")
    add("--data-root", metavar="DIR", help="folder that paths in plain data are relative to (default: the data's own)")
    add("--output", metavar="DIR", help="folder of checkpoints, logs and the trained model (default: runs/RECIPE)")
    add(
        "--feature-cache",
        metavar="DIR",
        help="compute features of images once, and keep them there (frozen tower)",
    )
    add("--config", metavar="FILE", help="a YAML file with any fields, in place of RECIPE or beside it")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field; the same as --NAME VALUE",
    )
    add("--on-bad-sample", metavar="raise|skip:N", help="samples that cannot be used: stop, or leave out at most N")
    add(
        "--text-tokens",
        metavar="WHICH",
        help="special tokens that data may contain: added, regions, all, or a list A,B",
    )
    add("--allow-urls", action="store_true", default=None, help="fetch URLs in the data, from public addresses only")
    add("--allow-host", action="append", metavar="NAME", help="with --allow-urls: allow this host, too; repeatable")
    add("--stream", action="store_true", default=None, help="read the data from front to back; shards always are")
    add("--shuffle-buffer", type=count, metavar="N", help="rows of a streamed set that are shuffled (default: 1000)")
    add("--dry-run", action="store_true", help="print trained parameters, data and memory; do not train")
    add("--mixture", action="store_true", help="with --dry-run: shares, lengths and repeats, by some rows of each set")
    add("--plot", metavar="FILE", help="with --mixture: draw it, too, as .png, .svg or .pdf")
    add("--ranks", type=positive, metavar="N", help="with --dry-run: devices to plan for (default: torchrun's)")
    add("--resume", action="store_true", help="continue from the last checkpoint in the output folder")
    add("--list", action="store_true", help="print the recipes")


# The options that `internvl train` declares. Any other one is a field of the recipe or of `TrainingArguments`.
_VALUES = (
    "model",
    "data",
    "eval-data",
    "data-root",
    "output",
    "feature-cache",
    "config",
    "set",
    "on-bad-sample",
    "text-tokens",
    "allow-host",
    "shuffle-buffer",
    "plot",
    "ranks",
)


_SWITCHES = ("list", "dry-run", "mixture", "resume", "allow-urls", "stream", "help")


def spell_out_fields(argv: Sequence[str]) -> list[str]:
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


def conflict_of_train(given: Namespace) -> str | None:
    """Why arguments of `internvl train` cannot be used together; None if they can."""
    if given.list:
        return None
    if given.ranks is not None and not given.dry_run:
        return "--ranks needs --dry-run; a run has as many devices as torchrun starts."
    if given.mixture and not given.dry_run:
        return "--mixture needs --dry-run: it encodes rows, and does not train."
    if given.plot is not None and not given.mixture:
        return "--plot needs --mixture."
    if given.recipe is None and given.config is None:
        return "give a recipe's name (internvl train --list prints them), or a YAML file."
    unassigned = [item for item in given.set if "=" not in item]
    if unassigned:
        return f"--set takes NAME=VALUE, got {unassigned[0]!r}."
    if given.resume and given.dry_run:
        return "--resume and --dry-run exclude each other: a dry run does not train."
    return None
