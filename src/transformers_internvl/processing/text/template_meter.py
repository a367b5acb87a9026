# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How much an untrusted chat template has made so far, in bytes and in seconds, and how large its values are.

Sizes are computed before a value is made. What is made is added up, whether it is kept or not, so that the sum bounds
the memory; the time is that of this thread on its processor.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

BYTES = 1 << 27
"""Most bytes of all strings and lists that a rendering makes, beyond `PER_BYTE` for each of its messages."""

PER_BYTE = 100
SECONDS = 5.0

_ITEM = 72  # bytes of a place in a list, and of a small thing in it
_STEP = 64  # what a step of a loop or a call costs
_DEEPEST = 100
_CHECKS = 64  # how many charges pass between two looks at the clock
_MOST_NUMBERS = 1 << 20  # the largest number that filters and methods are given
_MOST_BITS = 1 << 17


class Meter:
    """The account of one rendering."""

    def __init__(self, given: int):
        self.left = BYTES + PER_BYTE * given
        self.ends = time.thread_time() + SECONDS
        self.charges = 0

    def charge(self, size: int) -> None:
        """Take bytes from what is left. Raises `SecurityError` where nothing is."""
        self.left -= size + _STEP
        self.charges += 1
        if self.left < 0:
            raise SecurityError(
                f"The chat template makes more than {BYTES >> 20} MiB of text and lists, or millions of steps: it is "
                "hostile or broken. Use a template of `get_chat_template`."
            )
        if self.charges % _CHECKS == 0 and time.thread_time() > self.ends:
            raise SecurityError(
                f"The chat template takes more than {SECONDS:.0f} seconds: it is hostile or broken. Use a template of "
                "`get_chat_template`."
            )

    def made(self, value: Any) -> Any:
        """Charge a value that was made, without what it holds. Returns the value."""
        if isinstance(value, str):
            self.charge(sys.getsizeof(value))
        elif isinstance(value, (list, tuple, Mapping)):
            self.charge(_ITEM * len(value))
        else:
            self.charge(0)
        return value

    def built(self, value: Any) -> Any:
        """Charge a list, tuple or dictionary with all in it: comparing and printing walk through that."""
        self.charge(_ITEM * self.count(value)[0])
        return value

    def count(self, value: Any, printed: bool = False) -> tuple[int, int, int]:
        """Values in a value, how deep they nest, and bytes of its text (of `repr`, at most). Charges each value.

        Raises:
            SecurityError: too many or too deep, or a namespace among what is to be printed.
        """
        found, deepest, text = 0, 0, 0
        waiting: list[tuple[Iterable[Any], int]] = [((value,), 0)]
        while waiting:
            values, depth = waiting.pop()
            deepest = max(deepest, depth)
            if depth > _DEEPEST:
                raise SecurityError(f"The chat template nests lists more than {_DEEPEST} deep.")
            for one in values:
                found += 1
                if isinstance(one, str):
                    text += 4 * sys.getsizeof(one) if depth else sys.getsizeof(one)
                elif isinstance(one, int):
                    text += one.bit_length() // 3 + 8
                elif isinstance(one, Mapping):
                    waiting += [(one.keys(), depth + 1), (one.values(), depth + 1)]
                elif isinstance(one, (list, tuple, Set)) or type(one).__name__ in ("dict_items", "dict_values"):
                    waiting.append((one, depth + 1))
                elif printed and isinstance(one, Namespace):
                    raise SecurityError("A chat template cannot print a namespace.")
                else:
                    text += 100
                if found % 1024 == 0:
                    self.charge(_STEP * 1024)
        return found, deepest, text + 4 * found

    def text(self, value: Any) -> int:
        """Charge the text of a value, before it is made. Returns its bytes, at most."""
        if isinstance(value, str):
            size = sys.getsizeof(value)
        elif isinstance(value, float) or value is None:
            size = 32
        else:
            size = self.count(value, printed=True)[2]
        self.charge(size)
        return size

    def compared(self, value: Any) -> Any:
        """Charge what a comparison with a value may walk through. Returns the value."""
        if isinstance(value, (list, tuple, Mapping, Set)):
            self.charge(_STEP * self.count(value)[0])
        else:
            self.charge(0)
        return value

    def steps(self, values: Any) -> Any:
        """What a loop goes through, charged before, or where its length is not known, on the way."""
        try:
            length = len(values)
        except TypeError:
            return self._on_the_way(values) if hasattr(values, "__next__") else values
        self.charge(_STEP * length)
        return values

    def _on_the_way(self, values: Iterator[Any]) -> Iterator[Any]:
        for value in values:
            self.charge(0)
            yield value

    def numbers(self, *values: Any) -> None:
        """Raise `SecurityError` for numbers that make a filter or a method run for long."""
        for value in values:
            if isinstance(value, int) and abs(value) > _MOST_NUMBERS:
                raise SecurityError(f"A chat template may give no number beyond {_MOST_NUMBERS}, got {value!r:.40}.")

    def product(self, left: Any, right: Any) -> None:
        """Charge `left * right` before it is made."""
        for one, other in ((left, right), (right, left)):
            if isinstance(one, int) and isinstance(other, int):
                self._bits(one.bit_length() + other.bit_length())
            elif isinstance(one, int) and isinstance(other, (str, list, tuple)):
                each = sys.getsizeof(other) if isinstance(other, str) else _ITEM * len(other)
                self.charge(max(one, 0) * each)

    def power(self, left: Any, right: Any) -> None:
        """Charge `left ** right` before it is made."""
        if isinstance(left, int) and isinstance(right, int):
            self._bits(left.bit_length() * abs(right))

    def _bits(self, bits: int) -> None:
        if bits > _MOST_BITS:
            raise SecurityError(f"A chat template may make no number of more than {_MOST_BITS} bits, got {bits}.")
        self.charge(bits // 8)


_METER: ContextVar[Meter] = ContextVar("meter")


def meter() -> Meter:
    """The account of the rendering that runs in this thread."""
    return _METER.get()


@contextmanager
def metered(variables: Any) -> Iterator[Meter]:
    """Open an account for a rendering with these variables.

    A loop that waits to be continued keeps its account: each step enters it again.
    """
    account = Meter(0)
    account.left += PER_BYTE * account.count(variables)[2]
    token = _METER.set(account)
    try:
        yield account
    finally:
        _METER.reset(token)


__all__ = ["BYTES", "SECONDS", "Meter", "meter", "metered"]
