# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Errors of the command line: an error that the user can fix is one line on stderr, any other keeps its traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in the input of a command; the message says how to fix it."""


@contextmanager
def user_errors(action: str) -> Iterator[None]:
    """Turn the errors that wrong input raises within the block into a `UserError` that begins with `action`."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{action}: {error}") from error


def one_line(error: BaseException) -> str:
    """The message of `error` without its line breaks."""
    return " ".join(str(error).split())
