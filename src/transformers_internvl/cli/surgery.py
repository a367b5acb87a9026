# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl surgery`: extract, replace, resize and merge parts of checkpoints, from folder to folder."""

import argparse
from importlib import import_module
from typing import Any

from internvl_cli.surgery import OPERATIONS

from .errors import user_errors
from .loading import log_errors_only
from .names import checkpoint

# Operation -> the module of `conversion` and its function, which takes the arguments of the operation by their names.
_FUNCTIONS = {
    "extract-tower": ("surgery.operations", "extract_tower_folder"),
    "replace-tower": ("surgery.operations", "replace_tower_folder"),
    "replace-language-model": ("surgery.language_model_swap", "replace_language_model_folder"),
    "add-router": ("surgery.operations", "add_router_folder"),
    "add-tokens": ("surgery.operations", "add_tokens_folder"),
    "resize-positions": ("surgery.operations", "resize_positions_folder"),
    "truncate-tower": ("surgery.operations", "truncate_tower_folder"),
    "merge-lora": ("surgery.operations", "merge_lora_folder"),
    "extract-lora": ("lora.inside_checkpoints", "extract_legacy"),
    "convert-lora": ("lora.adapters", "convert_adapter"),
}


def run(arguments: argparse.Namespace) -> None:
    """Run the operation and print where the result is."""
    log_errors_only()
    with user_errors(f"cannot {arguments.operation}"):
        for what in ("source", "tower", "language_model", "base", "model"):
            if getattr(arguments, what, None) is not None:
                takes_adapters = what == "source" and arguments.operation.endswith("-lora")
                checkpoint(getattr(arguments, what), adapters=takes_adapters)
        result = _operate(arguments)
    if arguments.operation == "add-tokens":
        for token, index in result.items():
            print(f"{index}  {token}")
    for what in ("target", "adapter_target"):
        if hasattr(arguments, what):
            print(f"written  {getattr(arguments, what)}")


def _operate(arguments: argparse.Namespace) -> Any:
    """Call the function of an operation."""
    _, accepted = OPERATIONS[arguments.operation]
    names = [flag.lstrip("-").replace("-", "_") for flag, _ in accepted]
    given = {name: getattr(arguments, name) for name in names}
    if "plain" in given:
        given["special"] = not given.pop("plain")
    module, function = _FUNCTIONS[arguments.operation]
    return getattr(import_module(f"...conversion.{module}", __name__), function)(**given)
