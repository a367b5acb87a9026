# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the verbs accept that tell what a model costs: `plan` and `profile`."""

from argparse import ArgumentParser, Namespace

from .types import count, dtype_name, positive

# Number formats that `internvl plan` knows.
DTYPES = ("bfloat16", "float16", "float32", "int8", "int4")


def plan(parser: ArgumentParser) -> None:
    """Arguments of `internvl plan`."""
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help="a folder, a config.json, a Hub id, or the name of a released chat model such as InternVL3-78B, whose "
        "shape is known without a download",
    )
    add("--gpus", metavar="NxSIZE", help="such as 4x80GB, or 2x80GB,1x24GB (default: what is free on this machine)")
    add("--cpu", metavar="SIZE", help="main memory for layers that do not fit on the GPUs, such as 64GB")
    add("--disk", metavar="SIZE", help="the same on the disk")
    add("--tiles", type=count, default=12, metavar="N", help="tiles of an image with its thumbnail (%(default)s)")
    add("--images", type=count, default=1, metavar="N", help="images of a conversation (%(default)s)")
    add("--context", type=positive, default=8192, metavar="N", help="positions before the answer (%(default)s)")
    add("--new-tokens", type=count, default=512, metavar="N", help="of the answer, at most (%(default)s)")
    add("--batch", type=positive, default=1, metavar="N", help="conversations at a time (%(default)s)")
    help_text = "of the weights; int8 and int4: of the language model's linear layers (%(default)s)"
    add("--dtype", type=dtype_name, choices=DTYPES, default="bfloat16", help=help_text)
    add("--json", action="store_true", help="print JSON, the device map in it")


def profile(parser: ArgumentParser) -> None:
    """Arguments of `internvl profile`."""
    add = parser.add_argument
    add(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a folder, a config.json, a Hub id, or the name of a released chat model such as InternVL3_5-8B, whose "
        "shape is known without a download",
    )
    add("--tiles", type=count, default=1, metavar="N", help="tiles of a chat model, else images (%(default)s)")
    add("--image-size", type=positive, metavar="PX", help="their side in pixels (default: the config's)")
    add("--text-length", type=count, default=80, metavar="N", help="text tokens beside the image's (%(default)s)")
    add("--mode", default="InternVL-G", help="of the dual encoder: InternVL-C or InternVL-G (%(default)s)")
    add("--compressed", type=count, metavar="N", help="compressed ones of the tiles (InternVL3.5-Flash)")
    add("--study", action="store_true", help="the search space of the first paper instead of a model")
    add("--budget", type=positive, metavar="N", help="parameters of a candidate of the study (default: 6000000000)")
    add("--json", action="store_true", help="print JSON")


def conflict_of_profile(given: Namespace) -> str | None:
    """Why arguments of `internvl profile` cannot be used together; None if they can."""
    if given.study == (given.model is not None):
        return "give the name of a model, or --study, and not both."
    return "--budget needs --study." if given.budget is not None and not given.study else None
