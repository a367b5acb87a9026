# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `internvl curate` accepts."""

from argparse import ArgumentParser

from .types import positive


def curate(parser: ArgumentParser) -> None:
    """Arguments of `internvl curate`."""
    add = parser.add_argument
    add("pipeline", metavar="PIPELINE.yaml", help="what is read, the steps, and where rows go; docs/curation.md")
    add("--workers", type=positive, metavar="N", help="tasks at the same time, in place of the file's `workers`")
    add("--dry-run", action="store_true", help="check the file, count the rows and show the stages, and run nothing")
    add("--json", action="store_true", help="print the report as JSON")
