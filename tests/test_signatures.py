# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Arguments of upstream's functions: those that were recorded, those that overrides take, those that calls name."""

import ast
import importlib
import inspect
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers.masking_utils import create_causal_mask

import transformers_internvl

from . import signatures
from .signatures import LIBRARIES, RECORD, changes, function_of, language_models, library_of, overrides

ROOT = Path(transformers_internvl.__file__).resolve().parent
P = inspect.Parameter
# Overrides whose arguments stand in other places than upstream's: it calls the hooks by name, and the public ones
# begin with the original arguments, or the class's own.
BY_NAME = {
    "InternVLGenerationMixin._get_logits_processor",
    "InternVLDualEncoderModel.generate",
    "InternVLDualEncoderProcessor.__call__",
    "InternVLImageProcessor._standardize_kwargs",
    "InternVLImageProcessor._validate_preprocess_kwargs",
    "InternVLVideoProcessor._standardize_kwargs",
    "QLlamaDecoderLayer.forward",
    "QLlamaForCausalLM.prepare_inputs_for_generation",
}


def test_arguments_are_those_that_were_recorded():
    changed = changes(json.loads(RECORD.read_text(encoding="utf-8")), signatures.found())
    assert not changed, "look at each, then `python -m tests.signatures --record`"


def test_a_renamed_argument_is_noticed(monkeypatch):
    def renamed(config, inputs_embeds, attention_mask, past_key_values, position_ids=None):
        """As it was before 5.24."""

    now = signatures.found()
    monkeypatch.setattr("transformers.masking_utils.create_causal_mask", renamed)
    (line,) = changes(now, signatures.found())
    assert line.startswith("transformers.masking_utils.create_causal_mask: (config, inputs_embeds, attention_mask, ")
    assert "cache" in line.split(" became ")[0] and "past_key_values" in line.split(" became ")[1]
    monkeypatch.delattr("transformers.masking_utils.create_causal_mask")
    with pytest.raises(AttributeError, match="create_causal_mask"):
        signatures.found()


def named(function: Any) -> dict[str, inspect.Parameter]:
    """Arguments that have a name."""
    parameters = inspect.signature(function).parameters
    return {name: p for name, p in parameters.items() if p.kind not in (P.VAR_POSITIONAL, P.VAR_KEYWORD)}


def takes_any(function: Any) -> bool:
    return any(p.kind is P.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def places(function: Any) -> list[str]:
    """Arguments that may be given by place."""
    return [name for name, p in named(function).items() if p.kind is not P.KEYWORD_ONLY]


def misfits(function: Any, theirs: Any) -> list[str]:
    """What a caller of their function may give that ours does not take, or takes for something else."""
    wrong = [f"no {name}" for name in named(theirs) if name not in named(function) and not takes_any(function)]
    pairs = zip(places(function), places(theirs), strict=False)
    return wrong + [f"{mine} in the place of {other}" for mine, other in pairs if mine != other]


def test_overrides_take_what_they_are_given():
    wrong: dict[str, list[str]] = {}
    for ours, name, function, _, theirs in overrides():
        if name != "__init__" and (found := misfits(function, theirs)):
            wrong[f"{ours.__qualname__}.{name}"] = found
    assert not {name: found for name, found in wrong.items() if name not in BY_NAME}
    assert set(wrong) == BY_NAME  # no row for what is long gone
    assert not [found for found in sum(wrong.values(), []) if found.startswith("no ")]


def test_language_models_take_what_ours_hand_on():
    for model in language_models():
        lacking = {"attention_mask", "cache", "inputs_embeds", "position_ids", "use_cache"} - set(named(model.forward))
        assert not lacking, model


# --- calls -----------------------------------------------------------------------------------------------------------


def misnamed(call: ast.Call, function: Any, bound: bool = True) -> list[str]:
    """Keywords of a call that a function does not have, and arguments beyond those that it has."""
    given = [name for name in places(function) if not bound or name not in ("self", "cls")]
    wrong = [k.arg for k in call.keywords if k.arg is not None and k.arg not in named(function)]
    wrong = [] if takes_any(function) else wrong
    open_ended = any(p.kind is P.VAR_POSITIONAL for p in inspect.signature(function).parameters.values())
    if not open_ended and not any(isinstance(argument, ast.Starred) for argument in call.args):
        wrong += [f"argument {index}" for index in range(len(given), len(call.args))]
    return wrong


def imported(tree: ast.AST) -> dict[str, Any]:
    """What the names stand for that a file imports from other libraries."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] in LIBRARIES:
            module = importlib.import_module(node.module)
            for alias in node.names:
                known[alias.asname or alias.name] = (
                    getattr(module, alias.name)
                    if hasattr(module, alias.name)
                    else importlib.import_module(f"{node.module}.{alias.name}")
                )
    return known


def resolved(node: ast.AST, known: dict[str, Any]) -> Any:
    """What `name` or `name.attribute` stands for; None if it is none of the known ones."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(resolved(node.value, known), node.attr, None)
    return None


def calls_of_imports(tree: ast.AST, known: dict[str, Any]) -> Iterator[tuple[ast.Call, Any, bool]]:
    """(call, function, bound) of every call of something imported; of a class its constructor."""
    for node in ast.walk(tree):
        function = resolved(node.func, known) if isinstance(node, ast.Call) else None
        if inspect.isclass(function) or inspect.isfunction(function) or inspect.ismethod(function):
            yield node, getattr(function, "__func__", function), not inspect.isfunction(function)


def test_calls_name_arguments_that_there_are():
    wrong, seen = [], 0
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call, *function in calls_of_imports(tree, imported(tree)):
            seen += 1
            found = misnamed(call, *function)
            wrong += [f"{path.relative_to(ROOT)}:{call.lineno} {ast.unparse(call.func)}: {name}" for name in found]
    assert seen > 200 and not wrong


def calls_of_super(function: Any, name: str) -> Iterator[ast.Call]:
    """Calls of `super().name(...)` in a function."""
    function = inspect.unwrap(function)
    if not Path(function.__code__.co_filename).exists():  # generated, as the constructor of a dataclass
        return
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"super().{name}":
            yield node


def test_overrides_hand_on_arguments_that_there_are():
    wrong, seen = set(), 0
    for ours, name, function, base, theirs in overrides():
        for call in calls_of_super(function, name):
            seen += 1
            where = f"{ours.__qualname__}.{name} calls {base.__qualname__}"
            wrong |= {f"{where}: {found}" for found in misnamed(call, theirs)}
    assert seen > 100 and not wrong


def test_the_scanners_see_what_they_should():
    tree = ast.parse("create_causal_mask(config, inputs_embeds=x, past=1)\nother(past=1)\nrun(1, 2)\nrun(*x, z=3)")
    known = {"create_causal_mask": create_causal_mask, "run": lambda x: x}
    found = [misnamed(call, *function) for call, *function in calls_of_imports(tree, known)]
    assert found == [["past"], ["argument 1"], ["z"]]

    class Theirs:
        def run(self, first, second=None):
            """Upstream's."""

    class Ours(Theirs):
        def run(self, second=None, **kwargs):
            return super().run(third=second, **kwargs)

    assert misfits(Ours.run, Theirs.run) == ["second in the place of first"]
    assert misfits(lambda self, first: None, Theirs.run) == ["no second"]
    (call,) = calls_of_super(Ours.run, "run")
    assert misnamed(call, Theirs.run) == ["third"]
    assert function_of(Ours.run) is Ours.run and library_of(Ours) == "tests"
