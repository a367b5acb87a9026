# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The rules of the house that a machine can see. Each failure names the file and the line."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

import transformers_internvl

ROOT = Path(transformers_internvl.__file__).resolve().parent
FILES = sorted(ROOT.rglob("*.py"))
MAX_LINES = 400

# Imports point from a later row to an earlier one, never within a row; a part may import itself. Modules that stand
# beside the parts (`registry`, `internvl_chat`, ...) are the part "top".
LAYERS = [
    {"compatibility"},
    {"hub"},
    {"modeling", "processing"},
    {"training", "evaluation", "conversion"},
    {"top"},
    {"nano"},
    {"cli"},
]
HEADER = "# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0."


def part_of(module: str) -> str:
    """The part of the package that a dotted module name (without the package's own) belongs to."""
    first = module.split(".")[0]
    return first if any(first in layer for layer in LAYERS) else "top"


def level(part: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if part in layer)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import of our own package in a file, as a dotted name below the package."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (["transformers_internvl"] + package)[: len(package) + 2 - node.level] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    prefix = "transformers_internvl."
    return [(line, name.removeprefix(prefix)) for line, name in found if name.startswith(prefix)]


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(ROOT)))
def source(request):
    return request.param


def places(path: Path, nodes: list[ast.AST]) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{node.lineno}" for node in nodes]


def test_imports_point_one_way(source):
    if source == ROOT / "__init__.py":  # the front door shows names of every part
        return
    own = part_of(".".join(source.relative_to(ROOT).with_suffix("").parts))
    wrong = [
        f"{source.relative_to(ROOT)}:{line} imports {module}"
        for line, module in imports_of(source)
        if part_of(module) != own and level(part_of(module)) >= level(own)
    ]
    assert not wrong


def test_the_scanner_sees_both_kinds_of_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "modeling").mkdir()
    path = tmp_path / "modeling" / "x.py"
    path.write_text("from ..cli import main\nfrom . import vision\nimport transformers_internvl.nano\nimport os\n")
    assert imports_of(path) == [(1, "cli.main"), (2, "modeling.vision"), (3, "nano")]


def test_a_file_is_one_story(source):
    lines = source.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES, f"{source.relative_to(ROOT)} has {lines} lines, the limit is {MAX_LINES}; split it."


def test_header_and_docstring(source):
    text = source.read_text(encoding="utf-8")
    assert text.startswith(HEADER + "\n")
    assert ast.get_docstring(tree_of(source)), f"{source.relative_to(ROOT)} has no module docstring"


def test_prints_only_on_the_command_line(source):
    if source.relative_to(ROOT).parts[0] == "cli":
        return
    calls = [node for node in ast.walk(tree_of(source)) if isinstance(node, ast.Call)]
    assert not places(source, [node for node in calls if getattr(node.func, "id", None) == "print"])


def test_no_assert(source):
    assert not places(source, [node for node in ast.walk(tree_of(source)) if isinstance(node, ast.Assert)])


def test_no_blind_except(source):
    handlers = [node for node in ast.walk(tree_of(source)) if isinstance(node, ast.ExceptHandler)]
    blind = {"Exception", "BaseException"}
    wrong = [node for node in handlers if node.type is None or getattr(node.type, "id", None) in blind]
    assert not places(source, wrong)


def test_public_names_are_documented(source):
    wrong = [
        node
        for node in tree_of(source).body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_")
        if not ast.get_docstring(node)
    ]
    assert not places(source, wrong)


def test_every_public_name_can_be_imported():
    names = transformers_internvl.__all__
    assert names and len(set(names)) == len(names)
    for name in names:
        assert getattr(transformers_internvl, name) is not None, name
