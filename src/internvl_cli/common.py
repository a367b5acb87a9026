# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Arguments that several verbs of `internvl` share."""

from argparse import ArgumentParser

from .types import dtype_name, fraction


def add_model_argument(parser: ArgumentParser) -> None:
    """Declare `--model`."""
    parser.add_argument(
        "--model",
        metavar="ID_OR_FOLDER",
        help="a checkpoint of any InternVL format (default: the embedded nano model)",
    )


def add_stride_argument(parser: ArgumentParser) -> None:
    """Declare `--v2pe-stride`."""
    parser.add_argument(
        "--v2pe-stride",
        type=fraction,
        metavar="S",
        help="by how much positions grow from one token of an image to the next, such as 1/4 (default: 1)",
    )


def add_place_arguments(parser: ArgumentParser) -> None:
    """Declare `--device` and `--dtype`."""
    add = parser.add_argument
    add("--device", help="where the model runs, such as cpu or cuda:0 (default: a GPU if there is one)")
    help_text = "number format, such as bfloat16, or bf16 for short (default: the checkpoint's)"
    add("--dtype", type=dtype_name, default="auto", help=help_text)
