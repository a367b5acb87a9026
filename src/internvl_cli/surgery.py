# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `internvl surgery` accepts: a table of its operations."""

from argparse import ArgumentParser
from typing import Any

from .types import LAYOUTS, layout, number, positive

# An argument: its name or flag, and the options of `add_argument`.
Argument = tuple[str, dict[str, Any]]

_LAYOUT: dict[str, Any] = {"type": layout, "choices": LAYOUTS}
_SOURCE: Argument = ("source", {"metavar": "SRC", "help": "the checkpoint, a folder or Hub id"})
_TARGET: Argument = ("target", {"metavar": "DST", "help": "a new folder for the result"})
_CAST: Argument = ("--cast", {"action": "store_true", "help": "convert the new part to the model's number format"})
_SEED: Argument = ("--seed", {"type": int, "default": 0, "help": "of new parts (%(default)s)"})
_THRESHOLD: dict[str, Any] = {"type": number(0, 1), "default": 0.5, "metavar": "T"}
_SHARDS: Argument = (
    "--max-shard-size",
    {"default": "5GB", "metavar": "SIZE", "help": "of one weight file (%(default)s)"},
)

# Operation of `internvl surgery` -> its help, and its arguments, which have the names of the function's parameters.
OPERATIONS: dict[str, tuple[str, tuple[Argument, ...]]] = {
    "extract-tower": (
        "write the vision tower as an InternViT",
        (
            _SOURCE,
            _TARGET,
            ("--to", {**_LAYOUT, "default": "original", "help": "layout of the result (%(default)s)"}),
            _SHARDS,
        ),
    ),
    "replace-tower": (
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
    ),
    "replace-language-model": (
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
    ),
    "add-router": (
        "give a chat model the router of InternVL3.5-Flash, to be trained (internvl train, objective vico)",
        (
            _SOURCE,
            _TARGET,
            ("--relative-threshold", {**_THRESHOLD, "help": "which part of the tiles is whole (%(default)s)"}),
            ("--absolute-threshold", {**_THRESHOLD, "help": "what a compressed tile has at least (%(default)s)"}),
            _SEED,
            _SHARDS,
        ),
    ),
    "add-tokens": (
        "add tokens to tokenizer and model; new rows of the embedding are the mean of the old ones",
        (
            _SOURCE,
            _TARGET,
            ("--tokens", {"nargs": "+", "required": True, "metavar": "TOKEN", "help": "the new tokens"}),
            ("--plain", {"action": "store_true", "help": "not special: text of users can become such a token"}),
            _SHARDS,
        ),
    ),
    "resize-positions": (
        "resize the tower's position embeddings to another image size",
        (
            _SOURCE,
            _TARGET,
            ("--image-size", {"type": positive, "required": True, "metavar": "PIXELS", "help": "side of an image"}),
            _SHARDS,
        ),
    ),
    "truncate-tower": (
        "keep only the first blocks of the tower",
        (
            _SOURCE,
            _TARGET,
            ("--num-layers", {"type": positive, "required": True, "metavar": "N", "help": "how many blocks to keep"}),
            _SHARDS,
        ),
    ),
    "merge-lora": (
        "merge an adapter into its base, or the adapters inside an original checkpoint",
        (
            _SOURCE,
            _TARGET,
            ("--base", {"metavar": "ID_OR_FOLDER", "help": "base of the adapter (default: from adapter_config.json)"}),
            _SHARDS,
        ),
    ),
    "extract-lora": (
        "split an original checkpoint with adapters inside into a plain checkpoint and a peft adapter",
        (_SOURCE, _TARGET, ("adapter_target", {"metavar": "ADAPTER", "help": "a new folder for the adapter"})),
    ),
    "convert-lora": (
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
    ),
}


def surgery(parser: ArgumentParser) -> None:
    """Arguments of `internvl surgery`: of each operation."""
    operations = parser.add_subparsers(dest="operation", required=True, metavar="operation")
    for name, (help_text, accepted) in OPERATIONS.items():
        described = f"{help_text[0].upper()}{help_text[1:]}."
        each = operations.add_parser(name, help=help_text, description=described)
        for flag, options in accepted:
            each.add_argument(flag, **options)


__all__ = ["OPERATIONS", "surgery"]
