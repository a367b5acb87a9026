# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl surgery`: extract, replace, resize and merge parts of checkpoints, from folder to folder."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..renamed_modules import present_layout
from .errors import user_errors
from .loading import log_errors_only, positive
from .names import checkpoint

_LAYOUT: dict[str, Any] = {"type": present_layout, "choices": ("original", "hf")}

# An argument: its name or flag, and the options of `add_argument`.
Argument = tuple[str, dict[str, Any]]

_SOURCE: Argument = ("source", {"metavar": "SRC", "help": "the checkpoint, a folder or Hub id"})
_TARGET: Argument = ("target", {"metavar": "DST", "help": "a new folder for the result"})
_CAST: Argument = ("--cast", {"action": "store_true", "help": "convert the new part to the model's number format"})
_SEED: Argument = ("--seed", {"type": int, "default": 0, "help": "of a new projector (%(default)s)"})
_SHARDS: Argument = (
    "--max-shard-size",
    {"default": "5GB", "metavar": "SIZE", "help": "of one weight file (%(default)s)"},
)


def _add_tokens(arguments: argparse.Namespace) -> None:
    from ..conversion.surgery.operations import add_tokens_folder

    given = vars(arguments)
    ids = add_tokens_folder(
        given["source"], given["target"], given["tokens"], not given["plain"], given["max_shard_size"]
    )
    for token, index in ids.items():
        print(f"{index}  {token}")


def _calls(function: str, module: str = "surgery.operations") -> Callable[[argparse.Namespace], None]:
    """Run a function of `conversion` with the arguments of its operation, by their names."""

    def run(arguments: argparse.Namespace) -> None:
        from importlib import import_module

        operation = OPERATIONS[arguments.operation]
        names = [flag.lstrip("-").replace("-", "_") for flag, _ in operation.arguments]
        given = {name: getattr(arguments, name) for name in names}
        getattr(import_module(f"...conversion.{module}", __name__), function)(**given)

    return run


@dataclass(frozen=True)
class Operation:
    """An operation: its help, its arguments (named as those of the function), and the function that runs it."""

    help: str
    arguments: tuple[Argument, ...]
    run: Callable[[argparse.Namespace], None]


OPERATIONS = {
    "extract-tower": Operation(
        "write the vision tower as an InternViT",
        (
            _SOURCE,
            _TARGET,
            ("--to", {**_LAYOUT, "default": "original", "help": "layout of the result (%(default)s)"}),
            _SHARDS,
        ),
        _calls("extract_tower_folder"),
    ),
    "replace-tower": Operation(
        "put another vision tower into a chat model",
        (
            _SOURCE,
            ("tower", {"metavar": "TOWER", "help": "an InternViT, or a checkpoint with the tower to take"}),
            _TARGET,
            (
                "--vision-feature-layer",
                {"type": int, "metavar": "N", "help": "which hidden state the projector reads (default: as before)"},
            ),
            ("--reset-projector", {"action": "store_true", "help": "give the model a new projector, to be trained"}),
            _CAST,
            _SEED,
            _SHARDS,
        ),
        _calls("replace_tower_folder"),
    ),
    "replace-language-model": Operation(
        "replace the language model of a chat model; the projector is new",
        (
            _SOURCE,
            ("language_model", {"metavar": "LLM", "help": "a causal language model with its tokenizer"}),
            _TARGET,
            (
                "--template",
                {"metavar": "NAME", "help": "conversation template (default: the source's, if it names one)"},
            ),
            _CAST,
            _SEED,
            _SHARDS,
        ),
        _calls("replace_language_model_folder", "surgery.language_model_swap"),
    ),
    "add-tokens": Operation(
        "add tokens to tokenizer and model; new rows of the embedding are the mean of the old ones",
        (
            _SOURCE,
            _TARGET,
            ("--tokens", {"nargs": "+", "required": True, "metavar": "TOKEN", "help": "the new tokens"}),
            ("--plain", {"action": "store_true", "help": "not special: text of users can become such a token"}),
            _SHARDS,
        ),
        _add_tokens,
    ),
    "resize-positions": Operation(
        "resize the tower's position embeddings to another image size",
        (
            _SOURCE,
            _TARGET,
            ("--image-size", {"type": positive, "required": True, "metavar": "PIXELS", "help": "side of an image"}),
            _SHARDS,
        ),
        _calls("resize_positions_folder"),
    ),
    "truncate-tower": Operation(
        "keep only the first blocks of the tower",
        (
            _SOURCE,
            _TARGET,
            ("--num-layers", {"type": positive, "required": True, "metavar": "N", "help": "how many blocks to keep"}),
            _SHARDS,
        ),
        _calls("truncate_tower_folder"),
    ),
    "merge-lora": Operation(
        "merge an adapter into its base, or the adapters inside an original checkpoint",
        (
            _SOURCE,
            _TARGET,
            ("--base", {"metavar": "ID_OR_FOLDER", "help": "base of the adapter (default: from adapter_config.json)"}),
            _SHARDS,
        ),
        _calls("merge_lora_folder"),
    ),
    "extract-lora": Operation(
        "split an original checkpoint with adapters inside into a plain checkpoint and a peft adapter",
        (_SOURCE, _TARGET, ("adapter_target", {"metavar": "ADAPTER", "help": "a new folder for the adapter"})),
        _calls("extract_legacy", "lora.inside_checkpoints"),
    ),
    "convert-lora": Operation(
        "convert a peft adapter between the original remote code and this package",
        (
            _SOURCE,
            _TARGET,
            ("--model", {"required": True, "metavar": "ID_OR_FOLDER", "help": "the model of the adapter"}),
            (
                "--to",
                {**_LAYOUT, "default": "hf", "help": "layout whose module names are used (%(default)s)"},
            ),
        ),
        _calls("convert_adapter", "lora.adapters"),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the operations and their arguments."""
    operations = parser.add_subparsers(dest="operation", required=True, metavar="operation")
    for name, operation in OPERATIONS.items():
        described = f"{operation.help[0].upper()}{operation.help[1:]}."
        each = operations.add_parser(name, help=operation.help, description=described)
        for flag, options in operation.arguments:
            each.add_argument(flag, **options)


def run(arguments: argparse.Namespace) -> None:
    """Run the operation and print where the result is."""
    log_errors_only()
    with user_errors(f"cannot {arguments.operation}"):
        for what in ("source", "tower", "language_model", "base", "model"):
            if getattr(arguments, what, None) is not None:
                takes_adapters = what == "source" and arguments.operation.endswith("-lora")
                checkpoint(getattr(arguments, what), adapters=takes_adapters)
        OPERATIONS[arguments.operation].run(arguments)
    for what in ("target", "adapter_target"):
        if hasattr(arguments, what):
            print(f"written  {getattr(arguments, what)}")
