# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Formulas in LaTeX, by sympy's parser, within bounds: a model's answer may be any text."""

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from .optional import needed

_LARGEST_EXPONENT = 1000
_LARGEST_FACTORIAL = 1000


def parse_formula(text: str) -> Any:
    """A formula as a sympy expression, not evaluated.

    As `sympy.parsing.latex.parse_latex`, which refuses every version of `antlr4` but 4.11; the tables of its grammar
    are read by later ones as well.

    Raises:
        ImportError: sympy or antlr4 is missing.
        Exception: the text is no formula; which one is up to the parser.
    """
    lexer, parser, listener, antlr4 = _parser()
    text = text.strip()
    errors = listener(text)
    tokens = lexer(antlr4.InputStream(text))
    reader = parser(antlr4.CommonTokenStream(tokens))
    for one in (tokens, reader):
        one.removeErrorListeners()
        one.addErrorListener(errors)
    return _module().convert_relation(reader.math().relation())


def _module() -> Any:
    return needed("sympy.parsing.latex._parse_latex_antlr", "sympy", "Comparing formulas")


@cache
def _parser() -> tuple[Any, Any, Any, Any]:
    """Lexer, parser, listener of errors, and antlr4."""
    antlr4 = needed("antlr4", "antlr4-python3-runtime", "Comparing formulas")
    module = _module()

    class Silent:
        """Does not print that the grammar was made by another version."""

        def checkVersion(self, version: str) -> None:
            """Nothing."""

    lexer = type("Lexer", (Silent, module.LaTeXLexer), {})
    parser = type("Parser", (Silent, module.LaTeXParser), {})
    return lexer, parser, module.MathErrorListener, antlr4


def has_symbols(expression: Any) -> bool:
    """Whether letters are left in an expression."""
    return bool(expression.has(needed("sympy", "sympy", "Comparing formulas").Symbol))


def can_be_computed(expression: Any) -> bool:
    """Whether no power in an expression has an exponent beyond 1000, and no factorial is of more.

    The official code looks at the outermost power alone, and computes the others for as long as it takes.
    """
    sympy = needed("sympy", "sympy", "Comparing formulas")
    for part in sympy.postorder_traversal(expression):  # inner ones first: what they give can be computed
        limit = None
        if isinstance(part, sympy.Pow):
            limit, inner = _LARGEST_EXPONENT, part.exp
        elif isinstance(part, sympy.factorial):
            limit, inner = _LARGEST_FACTORIAL, part.args[0]
        if limit is not None and not inner.has(sympy.Symbol) and not abs(complex(inner.evalf())) <= limit:
            return False
    return True


def value_of(expression: Any) -> Any:
    """The value of an expression, as far as it has one."""
    return expression.evalf()


def simplified(expression: Any) -> Any:
    """sympy's `simplify`."""
    return needed("sympy", "sympy", "Comparing formulas").simplify(expression)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in the block after so many seconds. In the main thread, on systems with `SIGALRM`, only."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError(f"A formula took more than {math.ceil(seconds)} seconds.")

    former = signal.signal(signal.SIGALRM, stop)
    before, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, before)
        signal.signal(signal.SIGALRM, former)


__all__ = ["can_be_computed", "has_symbols", "parse_formula", "simplified", "time_limit", "value_of"]
