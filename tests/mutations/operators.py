# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The mutants of a module: cosmic-ray's operators, some more of the same kind, and which of them mean something.

cosmic-ray changes operators, numbers, conditions and loops. Tests that see an option, a second condition, a check or
an early return need others, which are written here as cosmic-ray's are, with examples that are tried at every start.
"""

import ast
import random
from dataclasses import dataclass

import cosmic_ray.plugins
import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator

Position = tuple[int, int]


def as_pass(node):
    """`pass` in the place of a statement."""
    statement = parso.parse("pass").children[0]
    statement.prefix = node.get_first_leaf().prefix
    return statement


class DropArgument(Operator):
    """An option that is not passed on, or a default that is taken although another value was said."""

    def mutation_positions(self, node):
        for argument in self.named(node):
            yield argument.start_pos, argument.end_pos

    def mutate(self, node, index):
        argument = list(self.named(node))[index]
        if node.type == "trailer":
            node.children.remove(argument)
            return node
        at = node.children.index(argument)
        del node.children[at : at + 2]
        if at:  # the first keeps the place of what went
            return node
        node.children[0].get_first_leaf().prefix = argument.get_first_leaf().prefix
        return node

    @staticmethod
    def named(node):
        if node.type == "arglist" or (node.type == "trailer" and node.children[0].value == "("):
            yield from (
                child
                for child in node.children
                if child.type == "argument"
                and child.children[0].type == "name"
                and child.children[1].type == "operator"
            )

    @classmethod
    def examples(cls):
        return (
            Example("f(a=1)", "f()"),
            Example("f(x, a=1, b=2)", "f(x, b=2)"),
            Example("f(x, a=1, b=2)", "f(x, a=1,)", occurrence=1),
            Example("f(a=1, b=2)", "f(b=2)"),
        )


class KeepOneSide(Operator):
    """A condition of two of which one is not looked at: `a and b` becomes `a`, or `b`."""

    def mutation_positions(self, node):
        if node.type in ("and_test", "or_test"):
            for _ in node.children[::2]:
                yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        prefix = node.get_first_leaf().prefix
        at = max(2 * index - 1, 0)  # with the word before it, the first with the word behind it
        del node.children[at : at + 2]
        node.get_first_leaf().prefix = prefix
        return node

    @classmethod
    def examples(cls):
        return (
            Example("x = a and b", "x = b"),
            Example("x = a and b", "x = a", occurrence=1),
            Example("x = a or b or c", "x = a or c", occurrence=1),
        )


class DropStatement(Operator):
    """A check that does not raise, a call that is not made, a value that is not set, an early return that is none."""

    def mutation_positions(self, node):
        if self.is_dropped(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        return as_pass(node)

    @staticmethod
    def is_dropped(node) -> bool:
        if node.parent is None or node.parent.type != "simple_stmt":
            return False
        if node.type == "expr_stmt":  # not where names are made, which would only end in NameErrors
            target = node.children[0]
            return target.type != "name" or node.children[1].type == "operator" and node.children[1].value != "="
        if node.type == "return_stmt":
            above = node.search_ancestor("if_stmt", "for_stmt", "while_stmt", "funcdef")
            return above is not None and above.type != "funcdef"
        return node.type in ("raise_stmt", "atom_expr", "power")

    @classmethod
    def examples(cls):
        return (
            Example("if a:\n    raise E('x')\n", "if a:\n    pass\n"),
            Example("x.append(1)\n", "pass\n"),
            Example("a.b = 1\n", "pass\n"),
            Example("a += 1\n", "pass\n"),
            Example(
                "def f():\n    if a:\n        return 1\n    return 2\n",
                "def f():\n    if a:\n        pass\n    return 2\n",
            ),
        )


OWN = {operator.__name__: operator for operator in (DropArgument, KeepOneSide, DropStatement)}
cosmic_ray.plugins.OPERATOR_PROVIDERS["own"] = OWN
# Decorators that only keep what was computed, or say what a type checker is told.
KEEPING = {"cache", "lru_cache", "overload", "wraps", "override", "deprecate_kwarg"}


def check_examples() -> None:
    """Raises an `AssertionError` if an operator of this file does not do what it says."""
    for operator in OWN.values():
        for example in operator.examples():
            mutated = mutate_code(example.pre_mutation_code, operator(), example.occurrence)
            assert mutated == example.post_mutation_code, (operator.__name__, mutated)


def operators() -> list[tuple[str, Operator]]:
    named = [(name, cosmic_ray.plugins.get_operator(name)) for name in cosmic_ray.plugins.operator_names()]
    return [(name, operator()) for name, operator in named if not operator.arguments()]


@dataclass(frozen=True)
class Place:
    """A place of a module, with the mutations that it has: (operator, occurrence)."""

    module: str
    start: Position
    kind: str
    choices: tuple[tuple[str, int], ...]


def places_of(module: str, source: str, everywhere: list[tuple[str, Operator]]) -> list[Place]:
    nodes = [
        node for node in ast_nodes(get_ast(source)) if node.type not in ("name", "string", "newline", "endmarker")
    ]
    found: dict[tuple, list[tuple[str, int]]] = {}
    for name, operator in everywhere:
        kind = name.split("/")[1].split("_")[0]
        positions = (position for node in nodes for position in operator.mutation_positions(node))
        for occurrence, (start, end) in enumerate(positions):
            found.setdefault((start, end, kind), []).append((name, occurrence))
    return [Place(module, start, kind, tuple(choices)) for (start, _, kind), choices in sorted(found.items())]


def draw(place: Place, source: str, drawn: random.Random) -> tuple[str, str] | None:
    """(operator, mutated source) of one mutation of a place; None if none of them means anything."""
    plain = ast.dump(plain_tree(source))
    for name, occurrence in drawn.sample(place.choices, len(place.choices)):
        mutated = mutate_code(source, cosmic_ray.plugins.get_operator(name)(), occurrence)
        try:
            if mutated is not None and ast.dump(plain_tree(mutated)) != plain:
                return name, mutated
        except SyntaxError:  # the star of `def f(*, a)` is an operator, too
            continue
    return None


def plain_tree(source: str) -> ast.AST:
    """What of a module tests are asked to see: no texts of errors, warnings and logs, no annotations, no `__all__`."""
    return Plain().visit(ast.parse(source))


class Plain(ast.NodeTransformer):
    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        node.decorator_list = [one for one in node.decorator_list if not names(one) & KEEPING]
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if names(node.func) & {"logger", "logging", "warn", "warning", "warning_once"}:
            return node.func
        if names(node.func) == {"zip"}:  # where lengths are equal, `strict=True` only says so
            node.keywords = []
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        return None if any(names(target) & {"__all__"} for target in node.targets) else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if names(node.test) & {"TYPE_CHECKING"} else self.generic_visit(node)


def names(node: ast.AST) -> set[str]:
    """The names in `a.b(...)` and `a.b`."""
    node = node.func if isinstance(node, ast.Call) else node
    found = set()
    while isinstance(node, ast.Attribute):
        found.add(node.attr)
        node = node.value
    return found | ({node.id} if isinstance(node, ast.Name) else set())
