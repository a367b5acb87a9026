# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Names that no documentation promises are all in one table, and one that is gone ends the import in one sentence."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.version import Version
from transformers import PreTrainedModel, Trainer

import transformers_internvl
from transformers_internvl.compatibility import RELIED_ON, TESTED, relied_on, require

from .versions import floors

ROOT = Path(transformers_internvl.__file__).resolve().parent
LIBRARIES = {"accelerate", "huggingface_hub", "peft", "torch", "transformers"}
# Their submodules are documented where no part of the path has an underscore; of the others, only the top level is.
DOCUMENTED_BELOW = {"torch"}
NAMES = [(package, module, name) for package in RELIED_ON for module, name in relied_on(package)]
LISTED = {(module, name) for _, module, name in NAMES}
WORDS = {word for _, name in LISTED for word in re.split("[.:]", name)}


class Without:
    """An object as it is, but for one name below it."""

    def __init__(self, real, path):
        self.kept = (real, path)

    def __getattribute__(self, name):
        real, (first, *rest) = object.__getattribute__(self, "kept")
        if name == "__code__" and not rest:  # the last name is one that a method writes
            return SimpleNamespace(co_names=[known for known in real.__code__.co_names if known != first])
        if name != first:
            return getattr(real, name)
        if not rest:
            raise AttributeError(name)
        return Without(getattr(real, name), rest)


@pytest.mark.parametrize(("package", "module", "name"), NAMES, ids=[f"{module}.{name}" for _, module, name in NAMES])
def test_a_missing_name_is_said_in_one_sentence(package, module, name, monkeypatch):
    require(package)
    monkeypatch.setitem(sys.modules, module, Without(importlib.import_module(module), re.split("[.:]", name)))
    library = module.split(".")[0]
    with pytest.raises(ImportError) as caught:
        require(package)
    said = str(caught.value)
    assert said.startswith(f"{library} {version(library)} has no {module}.{name}")
    assert TESTED[library][0] in said and f'pip install "{library}' in said
    assert "\n" not in said and ". " not in said


def test_missing_modules_and_libraries(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate.utils.modeling", None)
    with pytest.raises(
        ImportError, match=r"accelerate \S+ has no accelerate.utils.modeling.clean_device_map, on which"
    ):
        require("transformers_internvl")

    def none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("transformers_internvl.compatibility.version", none)
    with pytest.raises(ImportError, match="without accelerate, has no"):
        require("transformers_internvl")


def test_the_import_itself_says_it():
    code = """
import transformers.core_model_loading as loading
del loading.dot_natural_key
import transformers_internvl
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ImportError: transformers ")
    assert "has no transformers.core_model_loading.dot_natural_key, on which transformers_internvl relies" in last


def test_the_import_of_trainers_says_it(monkeypatch):
    monkeypatch.delattr(Trainer, "_save_rng_state")
    monkeypatch.delitem(sys.modules, "transformers_internvl.training.checkpoints", raising=False)
    with pytest.raises(ImportError, match=r"has no transformers.trainer.Trainer._save_rng_state, on which"):
        importlib.import_module("transformers_internvl.training.checkpoints")


def test_what_was_tested_is_what_is_claimed():
    for library, (lowest, _) in TESTED.items():
        assert Version(floors()[library.replace("_", "-")]) == Version(lowest), library


def private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def undocumented_imports(tree: ast.AST) -> set[tuple[str, str]]:
    """(module, name) of the libraries' names that a file imports, but for those that they document."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.rpartition(".")[::2]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        for module, name in names:
            library, *below = f"{module}.{name}".strip(".").split(".")
            deep = len(below) > 1 and library not in DOCUMENTED_BELOW
            if library in LIBRARIES and (deep or any(private(part) for part in below)):
                found.add((module, name))
    return found


def private_attributes(tree: ast.AST) -> tuple[set[str], set[str]]:
    """The private attributes that a file uses, by dot or by `getattr`, and those that it makes itself."""
    used, made = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            (made if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self" else used).add(node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "object.__setattr__"):
            used.update(str(word.value) for word in node.args if isinstance(word, ast.Constant))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            made.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
    return {name for name in used if private(name)}, made


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}


def test_undocumented_imports_are_listed():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name} from {module}"
        for path, tree in TREES.items()
        for module, name in sorted(undocumented_imports(tree) - LISTED)
    ]
    assert not wrong, "write these into the table of compatibility.py, or use what is documented"


def test_private_attributes_are_our_own_or_listed():
    attributes = {path: private_attributes(tree) for path, tree in TREES.items()}
    known = WORDS.union(*(made for _, made in attributes.values()))
    wrong = [
        f"{path.relative_to(ROOT)} uses {name}"
        for path, (used, _) in attributes.items()
        for name in sorted(used - known)
    ]
    assert not wrong, "write these into the table of compatibility.py, or use what is documented"


def undocumented_overrides(kind: type) -> set[str]:
    """Names that a class, or a mixin of ours above it, takes over from a library that does not document them.

    Documented are public names of classes that their library has at its top level, and those of torch's modules.
    """
    found = set()
    for place, ours in enumerate(kind.__mro__):
        for name in vars(ours) if ours.__module__.split(".")[0] in ("transformers_internvl", "tests") else ():
            owners = [base for base in kind.__mro__[place + 1 :] if name in vars(base)]
            libraries = [(base.__module__.split(".")[0], base) for base in owners]
            theirs = [(library, base) for library, base in libraries if library in LIBRARIES - {"torch"}]
            cached = name == "_abc_impl" or name.endswith("_cached_value")  # Python and transformers make these
            promised = not private(name) and any(
                library == "torch" or hasattr(sys.modules[library], base.__name__) for library, base in libraries
            )
            if theirs and not name.startswith("__") and not cached and not promised:
                found.add(f"{ours.__name__} overrides {theirs[-1][1].__module__} {theirs[-1][1].__qualname__}.{name}")
    return found


def test_undocumented_names_that_we_override_are_listed():
    """A hook that its library renames would never be called again."""
    modules = [
        importlib.import_module(name) for name in list(sys.modules) if name.startswith("transformers_internvl.")
    ]
    names = {info.name for info in pkgutil.walk_packages(transformers_internvl.__path__, "transformers_internvl.")}
    modules += [importlib.import_module(name) for name in sorted(names) if "__main__" not in name]
    wrong = set()
    for module in modules:
        for kind in filter(inspect.isclass, vars(module).values()):
            if kind.__module__.startswith("transformers_internvl"):
                wrong |= {row for row in undocumented_overrides(kind) if row.rpartition(".")[2] not in WORDS}
    assert not wrong, "write these into the table of compatibility.py"


def test_every_row_is_used():
    """The table has no row for what is long gone from the source."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in TREES if path.name != "compatibility.py")
    last = {re.split("[.:]", name)[-1] for _, name in LISTED}
    assert not {name for name in last if name not in text}


def test_the_scanner_sees_what_it_should():
    tree = ast.parse(
        "from transformers.core_model_loading import dot_natural_key\n"
        "from transformers import AutoModel, _private\n"
        "from torch.utils.data import DataLoader\n"
        "import torch._dynamo\n"
        "import accelerate.utils\n"
        "self._own = model._theirs\n"
        "getattr(model, '_spelled')\n"
    )
    assert undocumented_imports(tree) == {
        ("transformers.core_model_loading", "dot_natural_key"),
        ("transformers", "_private"),
        ("torch", "_dynamo"),
    }
    used, made = private_attributes(tree)
    assert used == {"_theirs", "_spelled"} and "_own" in made


def test_the_scanner_sees_overrides_of_mixins():
    class Mixin:  # its own bases do not say what it overrides
        def maybe_distribute_model(self):
            """A public name of a class that transformers keeps to itself."""

        def _init_weights(self):
            """A private one."""

        def save_pretrained(self):
            """What everyone may override."""

        def forward(self):
            """So is this."""

    class Model(Mixin, PreTrainedModel):
        pass

    assert undocumented_overrides(Model) == {
        "Mixin overrides transformers.distributed.mixin DistributedMixin.maybe_distribute_model",
        "Mixin overrides transformers.modeling_utils PreTrainedModel._init_weights",
    }
