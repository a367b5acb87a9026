# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Untrusted chat templates, rendered as transformers does, in bounded time and memory.

A template comes with a checkpoint and is a program. jinja's sandbox keeps it from Python and bounds a single range,
but not loops in loops, nor what grows: `x + x` again and again, `'a' * 10**9`, a width in a format, lists of lists.
Here every step and every value is charged to an account (`template_meter`) before it is made. What has no bound that
can be known before is not there: some filters, and methods that are not in the table below.

Templates that this package wrote are not rendered here: their loops are known to end.
"""

import re
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from jinja2 import Template, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateAssertionError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer
from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

from ..chat_templates import find_chat_template
from .template_meter import Meter, meter, metered

LONGEST = 1 << 18
"""Most characters of a template; the longest of a released model has 16,000."""

_LONGEST_SEPARATOR = 256
_REFUSED = {"filesizeformat", "lipsum", "pprint", "striptags", "urlize", "wordcount", "wordwrap", "xmlattr"}
_COMPARING = {"dictsort", "groupby", "max", "min", "sort", "unique"}
_LAZY = {"map", "reject", "rejectattr", "select", "selectattr", "default", "d", "attr", "items"}
_LAZY |= {"first", "last", "length", "count", "list", "reverse", "batch", "slice", "random"}
_COMPARING_TESTS = re.findall(r"\S+", "in eq ne gt ge lt le equalto greaterthan lessthan < > <= >= == !=")
_OF_TEXTS = """
    capitalize casefold center count endswith expandtabs find format format_map index isalnum isalpha isascii isdecimal
    isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip partition
    removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip
    swapcase title upper zfill
"""
_METHODS: dict[type, set[str]] = {
    str: set(re.findall(r"\w+", _OF_TEXTS)),
    dict: {"copy", "get", "items", "keys", "values"},
    list: {"copy", "count", "index"},
    tuple: {"count", "index"},
    int: {"bit_length", "is_integer"},
    float: {"is_integer"},
    bytes: set(),
}
_ANY_LENGTH = {"startswith", "endswith", "removeprefix", "removesuffix", "join", "format", "format_map"}
_SPECS = re.compile(r"%(\([^)]*\))?[#0\- +]*(\*|\d{4,}|\d*\.(\*|\d{4,}))|\{[^{}]*[:!][^{}]*(\d{4,}|\{)")


def renderer_of(template: str) -> Callable[..., Any]:
    """What renders a template: transformers' `render_jinja_template`, or for an untrusted one, what does the same.

    That raises jinja's `TemplateError` where the template takes more than it may, or uses what is not there.

    Raises:
        ValueError: the template is too long.
    """
    check_length(template)
    return render_jinja_template if _is_own(template) else _RENDER


@lru_cache
def _is_own(template: str) -> bool:
    return find_chat_template(template) is not None


def check_length(template: Any) -> None:
    """Raise `ValueError` for a template that is longer than any is."""
    if isinstance(template, str) and len(template) > LONGEST:
        raise ValueError(f"The chat template has {len(template)} characters, at most {LONGEST} are taken.")


@lru_cache
def _compiled(template: str) -> Template:
    check_length(template)
    environment = _environment()
    try:
        return environment.from_string(_Charged().visit(environment.parse(template)))
    except (SyntaxError, MemoryError) as error:  # blocks in blocks, deeper than Python's compiler takes
        raise ValueError(f"The chat template cannot be compiled: {error}") from error


# transformers' own function, which compiles by what is called so among its globals
_RENDER = types.FunctionType(
    render_jinja_template.__code__,
    {**render_jinja_template.__globals__, "_compile_jinja_template": _compiled},
    "render",
    render_jinja_template.__defaults__,
)


@lru_cache
def _environment() -> "BoundedEnvironment":
    """One with the extensions, filters and globals that transformers' has, each of them charged or left out."""
    upstream = _compile_jinja_template("").environment
    settings = {"trim_blocks": upstream.trim_blocks, "lstrip_blocks": upstream.lstrip_blocks, "optimized": False}
    extensions = [type(extension) for extension in upstream.extensions.values()]
    bounded = BoundedEnvironment(extensions=extensions, finalize=_printed, **settings)
    bounded.uncharged = BoundedEnvironment(extensions=extensions, **settings)
    bounded.uncharged.filters, bounded.uncharged.tests = upstream.filters, upstream.tests
    bounded.globals = {name: value for name, value in upstream.globals.items() if name not in _REFUSED}
    bounded.filters = {name: _charged_filter(name) for name in upstream.filters if name not in _REFUSED} | _OPERATIONS
    charged = {name: _charged_test(name) for name in _COMPARING_TESTS if name in upstream.tests}
    bounded.tests = {**upstream.tests, **charged}
    return bounded


class BoundedTemplate(Template):
    """A template whose rendering has an account."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        """As jinja's."""
        with metered([args, kwargs]):
            return super().render(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Iterator[str]:
        """As jinja's."""
        with metered([args, kwargs]):
            yield from super().generate(*args, **kwargs)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """jinja's sandbox, in which operators and calls are charged."""

    template_class = BoundedTemplate
    intercepted_binops = frozenset({"+", "*", "**", "%"})
    uncharged: "BoundedEnvironment"  # where filters and tests are as in transformers'

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An operator between two values."""
        account = meter()
        if operator == "*":
            account.product(left, right)
        elif operator == "**":
            account.power(left, right)
        elif operator == "%" and isinstance(left, str):
            _check_format(account, left, right)
        elif operator == "+":
            account.made(left)
            account.made(right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 (as jinja's)
        """A call of a method, a macro or a global function."""
        account = meter()
        owner = getattr(__obj, "__self__", None)
        kind = next((kind for kind in _METHODS if isinstance(owner, kind)), None)
        if kind is not None:
            if kind is str and __obj.__name__ == "join" and args:
                args = (_check_join(account, owner, args[0]),)
            _check_method(account, kind, owner, __obj.__name__, [*args, *kwargs.values()])
        elif isinstance(__obj, LoopContext) and args:
            args = (account.steps(args[0]), *args[1:])
        result = super().call(__context, __obj, *args, **kwargs)
        return account.built(result) if isinstance(result, dict) else account.made(result)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`format` of a text, which looks at its widths first."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def formatted(*args: Any, **kwargs: Any) -> str:
            _check_format(meter(), str(value.__self__), [args, kwargs])
            return wrapped(*args, **kwargs)

        return formatted


def _check_method(account: Meter, kind: type, owner: Any, name: str, given: list[Any]) -> None:
    """Charge what a method of a string, a list or a number makes and walks through, before it does."""
    if name not in _METHODS[kind]:
        raise SecurityError(f"A chat template may not call `{name}` of {kind.__name__}.")
    account.numbers(*given)
    if kind in (list, tuple):
        account.compared(owner)
        for value in given:
            account.compared(value)
    if kind is not str:
        return
    account.text(owner)
    texts = [value for value in given if isinstance(value, str)]
    if name == "replace" and len(texts) == 2:
        _check_replace(account, owner, *texts)
        texts = texts[:1]
    elif name == "expandtabs":
        account.charge(owner.count("\t") * max([8, *(value for value in given if isinstance(value, int))]))
    elif name in ("split", "rsplit", "splitlines"):
        account.charge(120 * len(owner) if len(owner) < 4096 else 120 * _pieces(owner, name, texts))
    if name not in _ANY_LENGTH and any(len(text) > _LONGEST_SEPARATOR for text in texts):
        raise SecurityError(f"A chat template may give `{name}` no text of more than {_LONGEST_SEPARATOR} characters.")


def _pieces(text: str, name: str, separators: list[str]) -> int:
    if name == "splitlines" or not separators or not separators[0]:
        return len(text)
    return text.count(separators[0]) + 1


def _check_replace(account: Meter, text: str, old: str, new: str) -> None:
    account.charge((text.count(old) if old else len(text) + 1) * 4 * len(new))


def _check_join(account: Meter, separator: Any, values: Any) -> Any:
    """Charge a join. The values come back as a list where they were an iterator."""
    values = list(account.steps(values)) if hasattr(values, "__next__") else values
    if isinstance(values, str):
        account.charge(4 * len(values))
    else:
        for value in values:
            account.text(value)
    account.charge(len(values) * account.text(separator))
    return values


def _check_format(account: Meter, text: str, given: Any) -> None:
    if found := _SPECS.search(text):
        raise SecurityError(f"A chat template may write no such width: {found[0]!r:.60}.")
    fields = text.count("%") + text.count("{")
    account.charge(fields * (account.text(given) + 1000 * any(character.isdigit() for character in text)))


# Filters and tests -------------------------------------------------------------------------------------------------


def _charged_filter(name: str) -> Callable[..., Any]:
    @pass_context
    def charged(context: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        account, given = meter(), [*args, *kwargs.values()]
        if name not in ("default", "d"):
            account.numbers(*given)
        if name in _COMPARING:
            value = list(account.steps(value)) if hasattr(value, "__next__") else value
            account.compared(value)
        elif name == "sum":
            value = account.steps(value)
            _check_number(kwargs.get("start", args[1] if len(args) > 1 else 0))
        elif name == "join":
            value = _check_join(account, kwargs.get("d", args[0] if args else ""), value)
        elif name == "list":
            value = account.steps(value)
            account.charge(72 * len(value) if isinstance(value, str) else 0)
        elif name == "tojson":
            _check_json(account, value, given)
        elif name not in _LAZY:
            _check_text(account, name, value, given)
        uncharged = context.environment.uncharged
        return account.made(uncharged.call_filter(name, value, args, kwargs, context, context.eval_ctx))

    return charged


def _check_text(account: Meter, name: str, value: Any, given: list[Any]) -> None:
    """Charge a filter that makes a text of another."""
    account.text(value)
    text = value if isinstance(value, str) else ""
    texts = [one for one in given if isinstance(one, str)]
    if name == "replace" and len(texts) == 2:
        _check_replace(account, text, *texts)
    elif name == "format":
        _check_format(account, text, given)
    elif name == "indent":
        lines = sum(map(text.count, "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")) + 1
        account.charge(lines * max([4, *(len(one) if isinstance(one, str) else int(one) for one in given if one)]))
    elif name in ("title", "urlencode"):
        account.charge(120 * len(text))
    elif name == "trim" and any(len(one) > _LONGEST_SEPARATOR for one in texts):
        raise SecurityError(f"A chat template may give `trim` no text of more than {_LONGEST_SEPARATOR} characters.")


def _check_json(account: Meter, value: Any, given: list[Any]) -> None:
    values, depth, text = account.count(value, printed=True)
    given = [one for several in given for one in (several if isinstance(several, (list, tuple)) else [several])]
    width = max([1, *(len(one) if isinstance(one, str) else int(one) for one in given if isinstance(one, (int, str)))])
    account.charge(3 * text + values * (depth + 1) * width)


def _check_number(value: Any) -> None:
    if not isinstance(value, (int, float)):
        raise SecurityError(f"A chat template may sum numbers, got {type(value).__name__}.")


def _charged_test(name: str) -> Callable[..., Any]:
    @pass_context
    def charged(context: Any, value: Any, *args: Any) -> bool:
        for one in (value, *args):
            meter().compared(one)
        return context.environment.uncharged.call_test(name, value, args, {}, context, context.eval_ctx)

    return charged


# What the parsed template is changed to ----------------------------------------------------------------------------


@pass_context
def _printed(context: Any, value: Any) -> Any:
    meter().text(value)
    return value


def _joined(values: tuple[Any, ...]) -> str:
    for value in values:
        meter().text(value)
    return "".join(map(str, values))


# Filters that no template can name.
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "~": pass_context(lambda _, values: _joined(values)),
    "for": pass_context(lambda _, values: meter().steps(values)),
    "[]": pass_context(lambda _, value: meter().built(value)),
    "[:]": pass_context(lambda _, value: meter().made(value)),
    "==": pass_context(lambda _, value: meter().compared(value)),
}
_NOT_THERE = (
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.EvalContextModifier,
)


class _Charged(NodeTransformer):
    """Puts one of the filters above around what the environment is not asked about."""

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if isinstance(node, _NOT_THERE):
            raise TemplateAssertionError(f"A chat template may not use {type(node).__name__}.", node.lineno)
        return super().generic_visit(node, *args, **kwargs)

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802 (jinja's names)
        return nodes.Const(node.data, lineno=node.lineno)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        values = self.generic_visit(node).nodes
        return _filtered("~", nodes.Tuple(values, "load", lineno=node.lineno))

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.iter = _filtered("for", node.iter)
        return node

    def visit_List(self, node: Any) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        is_load = getattr(node, "ctx", "load") == "load"
        return node if not is_load or all(isinstance(i, nodes.Const) for i in node.items) else _filtered("[]", node)

    visit_Tuple = visit_Dict = visit_List  # noqa: N815

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered("[:]", node) if isinstance(node.arg, nodes.Slice) else node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _filtered("==", node.expr)
        for operand in node.ops:
            if not isinstance(operand.expr, (nodes.Const, nodes.List)):
                operand.expr = _filtered("==", operand.expr)
        return node


def _filtered(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


__all__ = ["LONGEST", "check_length", "renderer_of"]
