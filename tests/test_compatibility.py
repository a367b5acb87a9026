# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Names that no documentation promises are all in one table; versions out of range are said at the import."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version
from transformers import PreTrainedModel

import transformers_internvl
from tests.forked import TRANSFORMERS
from transformers_internvl.compatibility import TESTED, check_versions

from .upstream_names import FOR_OTHER_PROGRAMS, look_up, relied_on
from .versions import ROOT as PROJECT
from .versions import ranges

ROOT = Path(transformers_internvl.__file__).resolve().parent
LIBRARIES = {"accelerate", "huggingface_hub", "peft", "torch", "transformers", "trl"}
# Their submodules are documented where no part of the path has an underscore; of the others, only the top level is.
DOCUMENTED_BELOW = {"torch"}
LISTED = set(relied_on())
WORDS = {word for _, name in LISTED for word in re.split("[.:]", name)}


@pytest.mark.parametrize(("module", "name"), sorted(LISTED), ids=lambda part: part)
def test_what_we_take_is_there(module, name):
    look_up(module, name)


def test_a_missing_name_is_seen():
    with pytest.raises(AttributeError, match="no_such_name"):
        look_up("transformers.masking_utils", "no_such_name")
    with pytest.raises(AttributeError, match="torch.nn.Module.register_buffer does not mention _barriers"):
        look_up("torch.nn", "Module.register_buffer:_barriers")
    with pytest.raises(ImportError, match="no_such_module"):
        look_up("transformers.no_such_module", "name")


# --- versions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch):
    """Say that another version of a library is installed."""

    def pretend(**versions: str | None):
        def found(name: str) -> str:
            if versions.get(name, "") is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions.get(name) or TESTED[name][0]

        monkeypatch.setattr("transformers_internvl.compatibility.version", found)

    return pretend


@pytest.mark.parametrize("library", TESTED)
def test_versions_that_were_run_are_silent(library, installed, recwarn):
    for end in TESTED[library]:
        for local in ("", "+cpu", "+cu130"):
            installed(**{library: end + local})
            check_versions()
    installed(**{library: None})  # its own import says more
    check_versions()
    assert not recwarn


@pytest.mark.parametrize("library", TESTED)
def test_an_older_version_ends_the_import_in_one_sentence(library, installed):
    lowest, highest = TESTED[library]
    for old in ("0.1", f"{lowest}rc1", f"{lowest}.dev0"):
        installed(**{library: old})
        with pytest.raises(ImportError) as caught:
            check_versions()
        said = str(caught.value)
        assert said.startswith(f"transformers_internvl: {library} {Version(old)} is older than what it runs on (")
        assert said.endswith(f'; pip install "{library}>={lowest},<={highest}".') and "\n" not in said


@pytest.mark.parametrize("library", TESTED)
def test_a_newer_version_is_said(library, installed):
    installed(**{library: "99.1+cpu"})
    with pytest.warns(UserWarning) as caught:
        check_versions()
    (warning,) = caught
    assert str(warning.message).startswith(f"transformers_internvl: {library} 99.1 is newer than what it was tested")
    assert f"<={TESTED[library][1]}" in str(warning.message)


def test_several_at_once(installed):
    installed(torch="99", peft="99", transformers="5.23.0")
    with pytest.raises(ImportError, match=r"^transformers_internvl: transformers 5.23.0 is older .*5.24.0 only\)"):
        check_versions()
    installed(torch="99", peft="98")
    with pytest.warns(UserWarning, match='peft 98 is newer.*, torch 99 is newer.*"peft>=.*" "torch>='):
        check_versions()


def imported(before: str) -> subprocess.CompletedProcess:
    code = f"{before}\nimport transformers_internvl"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_import_itself_says_it():
    """Before anything that an old version lacks is looked for."""
    found = imported(
        """
import importlib.metadata as metadata, sys
real = metadata.version
metadata.version = lambda name: "5.23.0" if name == "transformers" else real(name)
sys.modules["transformers"] = None
"""
    )
    assert found.stderr.splitlines()[-1].startswith("ImportError: transformers_internvl: transformers 5.23.0 is older")


def test_what_users_wrap_is_not_looked_at():
    """A method in `functools.wraps` has other code; that is nobody's business at an import."""
    TRANSFORMERS.run(
        """
import functools, torch
for name in ("register_buffer", "register_parameter", "add_module", "register_forward_hook"):
    setattr(torch.nn.Module, name, functools.wraps(getattr(torch.nn.Module, name))(
        lambda self, *args, _real=getattr(torch.nn.Module, name), **kwargs: _real(self, *args, **kwargs)))
import transformers_internvl
"""
    )


def test_what_was_tested_is_what_is_claimed():
    """`pyproject.toml` and the table have one range."""
    for library, (lowest, highest) in TESTED.items():
        found = ranges()[library.replace("_", "-")]
        assert Version(found.lowest) == Version(lowest), library
        assert found.highest is not None and Version(found.highest) == Version(highest), library


def test_the_pinned_versions_lie_in_the_ranges():
    for line in (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, _, pinned = line.partition("==")
        found = ranges().get(name)
        if pinned and found is not None:
            assert Version(found.lowest) <= Version(pinned), line
            assert found.highest is None or Version(pinned) <= Version(found.highest), line


# --- the table is whole ----------------------------------------------------------------------------------------------


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
    assert not wrong, "write these into the table of upstream_names.py, or use what is documented"


def test_private_attributes_are_our_own_or_listed():
    attributes = {path: private_attributes(tree) for path, tree in TREES.items()}
    known = WORDS.union(*(made for _, made in attributes.values()))
    wrong = [
        f"{path.relative_to(ROOT)} uses {name}"
        for path, (used, _) in attributes.items()
        if not any(str(path).endswith(f"{module.replace('.', '/')}.py") for module in FOR_OTHER_PROGRAMS)
        for name in sorted(used - known)
    ]
    assert not wrong, "write these into the table of upstream_names.py, or use what is documented"


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
    names = {name for name in names - FOR_OTHER_PROGRAMS if "__main__" not in name}
    modules += [importlib.import_module(name) for name in sorted(names)]
    wrong = set()
    for module in modules:
        for kind in filter(inspect.isclass, vars(module).values()):
            if kind.__module__.startswith("transformers_internvl"):
                wrong |= {row for row in undocumented_overrides(kind) if row.rpartition(".")[2] not in WORDS}
    assert not wrong, "write these into the table of upstream_names.py"


def test_every_row_is_used():
    """The table has no row for what is long gone from the source."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in TREES)
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
