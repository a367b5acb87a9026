# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl convert`: a checkpoint from the authors' layout to the -hf one, and back."""

import argparse
import sys

from .errors import blame_user
from .names import checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add = parser.add_argument
    add("source", metavar="SRC", help="a checkpoint of any InternVL format: a folder or a Hub id")
    add("target", metavar="DST", help="the folder to write; a run that was stopped goes on where it was")
    add(
        "--to",
        required=True,
        choices=("hf", "authors"),
        help="hf: what stock transformers reads; authors: what the authors' code, vLLM, SGLang and LMDeploy read",
    )
    add(
        "--like",
        metavar="ID_OR_FOLDER",
        help="with --to authors: the authors' checkpoint to take template, tokenizer files, remote code and "
        "preprocessor_config.json from, for a model that a training saved, or that was not theirs before",
    )
    add("--max-shard-size", default="5GB", metavar="SIZE", help="of one weight file, such as 500MB (%(default)s)")
    add("--overwrite", action="store_true", help="replace DST if it exists")
    add("--revision", help="branch, tag or commit of a Hub id")


def run(arguments: argparse.Namespace) -> None:
    """Convert, and say where the result is."""
    from transformers.utils import logging

    from ..conversion.layouts.convert import convert_checkpoint

    logging.set_verbosity_warning()
    with blame_user(f"cannot convert {arguments.source}"):
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
