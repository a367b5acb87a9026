# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl convert`: convert a checkpoint between the original layout and the `-hf` layout."""

import argparse
import sys

from ..renamed_modules import present_layout
from .errors import user_errors
from .names import checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add = parser.add_argument
    add("source", metavar="SRC", help="a checkpoint of any InternVL format: a folder or a Hub id")
    add("target", metavar="DST", help="the folder to write; an interrupted run continues where it stopped")
    add(
        "--to",
        required=True,
        type=present_layout,
        choices=("hf", "original"),
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


def run(arguments: argparse.Namespace) -> None:
    """Convert, and print where the result is."""
    from transformers.utils import logging

    from ..conversion.layouts.convert import convert_checkpoint

    logging.set_verbosity_warning()
    with user_errors(f"cannot convert {arguments.source}"):
        for name in filter(None, (arguments.source, arguments.like)):
            checkpoint(name)
        target = convert_checkpoint(
            arguments.source,
            arguments.target,
            arguments.to,
            like=arguments.like,
            max_shard_size=arguments.max_shard_size,
            overwrite=arguments.overwrite,
            progress=sys.stderr.isatty(),
            **({} if arguments.revision is None else {"revision": arguments.revision}),
        )
    print(f"written  {target}")
