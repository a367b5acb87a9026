# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the verbs share: kinds of arguments, `--model`, and the processor that belongs to it."""

import argparse
from typing import Any

from .errors import blame_user


def positive(text: str) -> int:
    """The type of an argument that is a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--model`."""
    parser.add_argument(
        "--model",
        metavar="ID_OR_FOLDER",
        help="a checkpoint of any InternVL format (default: the embedded nano model)",
    )


def model_name(arguments: argparse.Namespace) -> str:
    """The checkpoint that was asked for, else the embedded one."""
    if arguments.model is not None:
        return arguments.model
    from ..nano import nano_path

    with blame_user("cannot find the embedded model"):
        return str(nano_path())


def load_processor(name: str) -> Any:
    """The processor of a checkpoint. Raises `UserError` where there is none."""
    from transformers import AutoProcessor

    with blame_user(f"cannot load the processor of {name}"):
        return AutoProcessor.from_pretrained(name)
