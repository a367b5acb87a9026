# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rules of CONTRIBUTING.md that ruff does not check. Each failure names the file, and the line where there is one."""

import ast
import re
import sys
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import transformers_internvl
from tests.layers import INNER_LAYERS, LAYERS
from transformers_internvl import InternVLChatModel, renamed_modules

ROOT = Path(transformers_internvl.__file__).resolve().parent
FILES = sorted(ROOT.rglob("*.py"))
COMMAND = sorted((ROOT.parent / "internvl_cli").glob("*.py"))
MAX_LINES = 600  # what can be read in one sitting
MAX_LINES_OF_FUNCTION = 60  # what fits on a screen
MAX_ANCESTORS = 5  # of the chat model, its own class left out

HEADER = "# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0."


def part_of(module: str, layers: list[set[str]] = LAYERS, other: str = "top") -> str:
    """The part that a dotted module name (without the package's own) belongs to."""
    first = module.split(".")[0]
    return first if any(first in layer for layer in layers) else other


def level(part: str, layers: list[set[str]] = LAYERS) -> int:
    return next(index for index, layer in enumerate(layers) if part in layer)


def is_upwards(own: str, imported: str) -> bool:
    """Whether a module may not import another one, by dotted names."""
    parts, layers = (part_of(own), part_of(imported)), LAYERS
    if parts[0] == parts[1] and parts[0] in INNER_LAYERS:
        layers = INNER_LAYERS[parts[0]]
        parts = tuple(part_of(name.partition(".")[2], layers, "") for name in (own, imported))
    return parts[0] != parts[1] and level(parts[1], layers) >= level(parts[0], layers)


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


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_point_one_way():
    wrong = []
    for path in FILES:
        if path.name == "__init__.py":  # shows names of its modules
            continue
        own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        wrong += [
            f"{named(path)}:{line} imports {module}" for line, module in imports_of(path) if is_upwards(own, module)
        ]
    assert not wrong


def test_no_circles():
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}
    graph = {
        name: {
            module if module in modules else module.rpartition(".")[0]
            for _, module in imports_of(path)
            if not name.endswith("__init__")
        }
        for name, path in modules.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize(
    ("own", "imported", "wrong"),
    [
        ("modeling.vision.model", "processing.sources", True),
        ("processing.media", "modeling.losses.token_weights", True),
        ("conversion.surgery.towers", "training.lora", True),
        ("training.lora", "conversion.weights.ops", False),
        ("modeling.internvl.model", "modeling.vision.model.InternVLVisionModel", False),
        ("modeling.vision.model", "modeling.internvl.model", True),
        ("modeling.vision.model", "modeling.vision.layers", False),
        ("serving.app", "cli.loading", True),
        ("registry", "internvl_chat", False),
    ],
)
def test_what_upwards_means(own, imported, wrong):
    assert is_upwards(own, imported) == wrong


def test_the_scanner_sees_both_kinds_of_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "modeling").mkdir()
    path = tmp_path / "modeling" / "x.py"
    path.write_text("from ..cli import main\nfrom . import vision\nimport transformers_internvl.nano\nimport os\n")
    assert imports_of(path) == [(1, "cli.main"), (2, "modeling.vision"), (3, "nano")]


def test_a_file_can_be_read_in_one_sitting():
    lines = {path.name: path.read_text(encoding="utf-8").count("\n") for path in COMMAND}
    lines |= {named(path): path.read_text(encoding="utf-8").count("\n") for path in FILES}
    long = {name: count for name, count in lines.items() if count > MAX_LINES}
    assert not long, f"the limit is {MAX_LINES} lines; split them"


def test_a_function_fits_on_a_screen():
    long = {}
    for path in [*FILES, *COMMAND]:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                long[f"{path.name}:{first} {node.name}"] = (node.end_lineno or first) - first + 1
    long = {name: count for name, count in long.items() if count > MAX_LINES_OF_FUNCTION}
    assert not long, f"the limit is {MAX_LINES_OF_FUNCTION} lines with signature and docstring; give steps names"


def test_the_chat_model_has_few_ancestors():
    own = [
        base.__name__ for base in InternVLChatModel.__mro__[1:] if base.__module__.startswith("transformers_internvl")
    ]
    assert len(own) <= MAX_ANCESTORS, own


def test_every_file_has_the_header():
    files = [*FILES, *COMMAND]
    assert not [path for path in files if not path.read_text(encoding="utf-8").startswith(HEADER + "\n")]


def test_every_public_name_can_be_imported():
    for path in FILES:
        if path.name == "__init__.py":
            package = import_module(".".join(["transformers_internvl", *path.relative_to(ROOT).parts[:-1]]))
            names = getattr(package, "__all__", [])
            assert len(set(names)) == len(names)
            for name in names:
                assert getattr(package, name) is not None, f"{package.__name__}.{name}"
            stub = path.with_suffix(".pyi")
            if stub.exists():
                listed = next(node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.Assign))
                assert ast.literal_eval(listed.value) == sorted(names)
                own_modules = {other.stem for other in path.parent.iterdir()}
                assert not own_modules & set(names), "what such a name means would depend on what was imported"
    assert len(transformers_internvl.__all__) > 40


@pytest.mark.filterwarnings("ignore::FutureWarning")  # those of the packages above a module
def test_former_module_names_still_import():
    for former, present in renamed_modules.RENAMED.items():
        with pytest.warns(FutureWarning, match=re.escape(f"is called transformers_internvl.{present} now")):
            module = import_module(f"transformers_internvl.{former}")
        assert module is import_module(f"transformers_internvl.{present}")
        del sys.modules[f"transformers_internvl.{former}"]  # so that nobody else imports it without the warning


@pytest.mark.parametrize(
    ("module", "former", "present"),
    [
        ("processing.images.pixels", "picture_pixels", "image_pixels"),
        ("processing.images.pixels", "naming", "error_context"),
        ("modeling.original.canonical", "warn_beyond_stock", "warn_beyond_upstream"),
        ("processing.text.untrusted_text", "cut", "split_control_strings"),
        ("evaluation", "Pictures", "ItemImages"),
        ("evaluation.data", "read_pictures", "read_images"),
        ("profiling.memory", "Needs", "MemoryEstimate"),
        ("training.data", "cut_piece", "split_piece"),
        ("training.data.packing", "cut_piece", "split_piece"),
        ("training.feature_cache", "pictures_name", "images_name"),
        ("training.feature_cache.store", "pictures_name", "images_name"),
    ],
)
def test_former_names_still_import(module, former, present):
    module = import_module(f"transformers_internvl.{module}")
    with pytest.warns(FutureWarning, match=f"`{former}` is called `{present}` now"):
        assert getattr(module, former) is getattr(module, present)
    assert not hasattr(module, "a_name_that_never_was")
