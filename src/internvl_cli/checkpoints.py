# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the verbs accept that change and compare checkpoints: `convert` and `verify`."""

from argparse import ArgumentParser

from .types import LAYOUTS, layout

SHOWN_DIFFERENCES = 20  # that `internvl verify` prints without --all


def convert(parser: ArgumentParser) -> None:
    """Arguments of `internvl convert`."""
    add = parser.add_argument
    add("source", metavar="SRC", help="a checkpoint of any InternVL format: a folder or a Hub id")
    add("target", metavar="DST", help="the folder to write; an interrupted run continues where it stopped")
    add(
        "--to",
        required=True,
        type=layout,
        choices=LAYOUTS,
        help="hf: the layout of upstream transformers; original: the original layout, for vLLM, SGLang, LMDeploy",
    )
    add(
        "--like",
        metavar="ID_OR_FOLDER",
        help="with --to original: the original checkpoint whose template, tokenizer files, remote code and "
        "preprocessor_config.json are used, for a model that was saved by training or has never had this layout",
    )
    add("--max-shard-size", default="5GB", metavar="SIZE", help="of one weight file, such as 500MB (%(default)s)")
    add("--overwrite", action="store_true", help="replace DST if it exists")
    add("--revision", help="branch, tag or commit of a Hub id")


def verify(parser: ArgumentParser) -> None:
    """Arguments of `internvl verify`."""
    add = parser.add_argument
    add("first", metavar="A", help="a checkpoint of any InternVL format: a folder or a Hub id")
    add("second", metavar="B", help="the other one")
    add("--no-forward", action="store_true", help="compare the files only, without loading the models")
    add("--all", action="store_true", help=f"print every difference (default: the first {SHOWN_DIFFERENCES})")
