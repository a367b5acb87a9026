# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl verify`: whether two checkpoints are the same model, and where they differ."""

import argparse
import sys

from internvl_cli.arguments import SHOWN_DIFFERENCES

from .errors import user_errors
from .loading import log_errors_only
from .names import checkpoint
from .tables import table


def run(arguments: argparse.Namespace) -> int:
    """Compare, print what was found, and return 0 for equal checkpoints and 1 for others."""
    from ..conversion.layouts.verify import compare_checkpoints

    log_errors_only()
    with user_errors(f"cannot compare {arguments.first} and {arguments.second}"):
        for name in (arguments.first, arguments.second):
            checkpoint(name)
        found = compare_checkpoints(
            arguments.first, arguments.second, forward=not arguments.no_forward, progress=sys.stderr.isatty()
        )
    rows = [
        [part.name, f"{part.tensors}", f"{part.numbers:,}", f"{part.differing}", f"{part.distance:.3g}"]
        for part in found.parts.values()
    ]
    if rows:
        print(table(["weights", "tensors", "numbers", "differing", "distance"], rows))
    if found.logits is not None:
        print(f"\noutputs  they differ by {found.logits[0]:.3g}; the largest is {found.logits[1]:.3g}")
    for note in found.notes:
        print(f"note     {note}")
    shown = found.differences if arguments.all else found.differences[:SHOWN_DIFFERENCES]
    for line in shown:
        print(f"differs  {line}")
    if len(shown) < len(found.differences):
        print(f"         ... and {len(found.differences) - len(shown)} more (--all)")
    print("equal" if found.equal else f"different in {len(found.differences)} places")
    return 0 if found.equal else 1
