# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `internvl serve` accepts."""

from argparse import ArgumentParser

from .common import add_place_arguments, add_stride_argument
from .types import count, port, positive


def serve(parser: ArgumentParser) -> None:
    """Arguments of `internvl serve`."""
    add = parser.add_argument
    add(
        "--model",
        action="append",
        metavar="ID_OR_FOLDER",
        help="a checkpoint to serve, by its id or its folder's name; may be given several times (default: the "
        "embedded nano model, as `nano`)",
    )
    add("--host", default="127.0.0.1", help="the address to listen at (%(default)s: this machine only)")
    add("--port", type=port, default=8000, help="the port; 0 takes a free one (%(default)s)")
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="also fetch images from this host, although its address is not public; may be given several times",
    )
    add(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="also answer requests for this host name (default: at a loopback address only localhost "
        "and loopback addresses, else any address and this machine's name); * for every name; may be repeated",
    )
    add("--max-requests", type=positive, default=256, metavar="N", help="maximum waiting requests (%(default)s)")
    add(
        "--max-requests-per-client",
        type=positive,
        metavar="N",
        help="maximum waiting requests of one address (default: half of --max-requests)",
    )
    add(
        "--prefix-cache",
        type=count,
        default=512,
        metavar="MIB",
        help="memory of each model for images that were seen and common beginnings of prompts, in MiB (%(default)s); "
        "0: nothing is kept",
    )
    add(
        "--max-batch",
        type=positive,
        default=16,
        metavar="N",
        help="maximum answers of each model that are generated at the same time (%(default)s); 1: one after another",
    )
    add(
        "--batch-cache",
        type=positive,
        default=4096,
        metavar="MIB",
        help="memory of each model for keys and values of these answers, in MiB (%(default)s); who needs more waits",
    )
    add_stride_argument(parser)
    add_place_arguments(parser)
