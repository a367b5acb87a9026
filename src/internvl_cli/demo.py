# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `internvl demo` accepts."""

from argparse import ArgumentParser

from .common import add_model_argument, add_place_arguments, add_stride_argument
from .types import port


def demo(parser: ArgumentParser) -> None:
    """Arguments of `internvl demo`."""
    add = parser.add_argument
    add_model_argument(parser)
    add("--host", default="127.0.0.1", help="the address to listen at (%(default)s: this machine only)")
    add("--port", type=port, default=7860, help="the port; 0 takes a free one (%(default)s)")
    add(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="also answer requests for this host name (default: at a loopback address only localhost "
        "and loopback addresses, else any address and this machine's name); * for every name; may be repeated",
    )
    add_stride_argument(parser)
    add_place_arguments(parser)
