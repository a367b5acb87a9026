# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The verbs of the command `internvl`, a module each. `internvl_cli` reads the command line and calls `run`."""

import argparse
import sys
from importlib import import_module

from internvl_cli import VERBS, main

from .errors import UserError, one_line


def run(arguments: argparse.Namespace) -> int:
    """Run the verb of the parsed arguments. Returns the exit code; see `internvl_cli.main`."""
    try:
        return import_module(f".{arguments.verb}", __name__).run(arguments) or 0
    except UserError as error:
        print(f"internvl {arguments.verb}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


__all__ = ["VERBS", "main", "run"]
