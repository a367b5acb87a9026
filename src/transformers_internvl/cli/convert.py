# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl convert`: convert a checkpoint between the original layout and the `-hf` layout."""

import argparse
import sys

from .errors import user_errors
from .names import checkpoint


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
