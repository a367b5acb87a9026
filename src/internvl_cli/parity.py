# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `internvl parity` accepts."""

from argparse import ArgumentParser

from .types import dtype_name, positive


def parity(parser: ArgumentParser) -> None:
    """Arguments of `internvl parity`."""
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a folder or a Hub id in the original layout, with its own code")
    code = "run the Python code of the checkpoint, with your rights; without it nothing is run"
    add("--run-remote-code", action="store_true", help=code)
    add("--revision", metavar="REV", help="of the Hub id: branch, tag or commit")
    python = "of a prepared environment (default: one is made, with the transformers that config.json names)"
    add("--python", metavar="PATH", help=f"the Python {python}")
    add("--environments", metavar="DIR", help="where such environments are kept (default: in the Hugging Face cache)")
    add("--max-new-tokens", type=positive, default=24, metavar="N", help="of each answer (%(default)s)")
    add("--device", help="where both models run (default: cpu)")
    names = ("float32", "bfloat16", "float16")
    add("--dtype", type=dtype_name, choices=names, default="float32", help="of both (%(default)s)")
