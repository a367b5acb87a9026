# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Values of arithmetic that a text spells, without running the text."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

_LARGEST_POWER = 4096
_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": abs, "max": max, "min": min, "round": round, "sum": sum}
FAILURES = (ArithmeticError, AttributeError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError)


def arithmetic_value(text: str, names: Mapping[str, Any] | None = None) -> Any:
    """The value of an arithmetic expression in Python's notation: numbers, lists, operators, comparisons, given names.

    Of functions, `abs`, `max`, `min`, `round` and `sum` are known.

    Raises:
        ValueError, SyntaxError, ArithmeticError, TypeError, RecursionError, MemoryError: as `FAILURES`; the text is no
            such expression, or its value cannot be computed.
    """
    return _value(ast.parse(text.lstrip(" \t"), mode="eval").body, names or {})


def _value(node: ast.AST, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List):
        return [_value(entry, names) for entry in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(entry, names) for entry in node.elts)
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.operand, names))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, names), _value(node.right, names)
        if isinstance(left, str | list | tuple | bytes) or isinstance(right, str | list | tuple | bytes):
            raise ValueError("Only numbers can be computed with.")
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OPERATORS:
        return _OPERATORS[type(node.ops[0])](_value(node.left, names), _value(node.comparators[0], names))
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _FUNCTIONS
        and not node.keywords
    ):
        return _FUNCTIONS[node.func.id](*(_value(one, names) for one in node.args))
    raise ValueError(f"No arithmetic: {ast.dump(node)[:100]}")


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > _LARGEST_POWER:
        raise ValueError(f"The power {base}**{exponent} is too large.")
    return base**exponent


__all__ = ["FAILURES", "arithmetic_value"]
