# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Errors of the command line: what a user can mend is one line on stderr, everything else keeps its traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something that the user of a command gave and can mend; its message says how."""


@contextmanager
def blame_user(action: str) -> Iterator[None]:
    """Turn the errors that wrong input raises within the block into a `UserError` that begins with `action`."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{action}: {error}") from error


def one_line(error: BaseException) -> str:
    """The message of `error` without its line breaks."""
    return " ".join(str(error).split())
