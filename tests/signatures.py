# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Arguments of what we call and override in transformers, compared with those that were recorded.

    python -m tests.signatures            # what has changed since
    python -m tests.signatures --record   # write them down, after every change has been looked at

A release that renames an argument may break nothing that a test sees: where ours has `**kwargs`, the new name is
swallowed. So the arguments themselves are compared: of the names in `tests/upstream_names.py`, of all methods that
classes of ours override, and of the forwards of the language models that we hand our arguments to.
"""

import argparse
import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, is_typeddict

from transformers import CONFIG_MAPPING, AutoModel, AutoModelForCausalLM

import transformers_internvl

from .upstream_names import FOR_OTHER_PROGRAMS, look_up, relied_on

RECORD = Path(__file__).with_suffix(".json")
COMPARED = "transformers"  # one version of it is allowed; of the other libraries several are
# Of PyTorch, only what is documented is called.
LIBRARIES = ("accelerate", "huggingface_hub", "peft", "transformers", "trl")
LANGUAGE_MODELS = ("gpt_oss", "internlm2", "llama", "phi3", "qwen2", "qwen3", "qwen3_moe")


def library_of(kind: Any) -> str:
    """The package that a class or function is defined in."""
    return kind.__module__.split(".")[0]


@cache
def our_classes() -> tuple[type, ...]:
    """Every class that a module of ours defines."""
    names = {info.name for info in pkgutil.walk_packages(transformers_internvl.__path__, "transformers_internvl.")}
    names -= FOR_OTHER_PROGRAMS
    modules = [importlib.import_module(name) for name in sorted(names) if "__main__" not in name]
    found = {
        kind
        for module in modules
        for kind in vars(module).values()
        if inspect.isclass(kind) and library_of(kind) == "transformers_internvl"
    }
    return tuple(sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__)))


def function_of(member: Any) -> Any:
    """The function behind a method, class method, static method or property."""
    for attribute in ("__func__", "fget", "func"):
        member = getattr(member, attribute, None) or member
    return member


def overrides() -> Iterator[tuple[type, str, Any, type, Any]]:
    """(class, name, our function, base, its function) of every method that takes another library's place.

    The base is the next one above ours in the order of the class, as `super()` finds it.
    """
    for kind in our_classes():
        for place, ours in enumerate(kind.__mro__):
            if library_of(ours) != "transformers_internvl":
                continue
            for name, member in vars(ours).items():
                function = function_of(member)
                base = next((base for base in kind.__mro__[place + 1 :] if name in vars(base)), None)
                if not isinstance(function, FunctionType) or base is None:
                    continue
                if library_of(base) in LIBRARIES:
                    theirs = function_of(vars(base)[name])
                    if isinstance(theirs, FunctionType):
                        yield ours, name, function, base, theirs


def written(function: Any) -> str:
    """The arguments as a line: names, and defaults that are plain; of a dictionary's type its keys."""
    if is_typeddict(function):
        return ", ".join(sorted(function.__annotations__))
    return ", ".join(_argument(parameter) for parameter in inspect.signature(function).parameters.values())


def _argument(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    alone = "(by name) " if parameter.kind is inspect.Parameter.KEYWORD_ONLY else ""
    if parameter.default is inspect.Parameter.empty:
        return f"{alone}{stars}{parameter.name}"
    plain = isinstance(parameter.default, (bool, int, float, str, type(None)))
    return f"{alone}{parameter.name}={parameter.default!r}" if plain else f"{alone}{parameter.name}=..."


def language_models() -> Iterator[type]:
    """Classes of the language models that stand in an InternVL, without and with their heads."""
    for model_type in LANGUAGE_MODELS:
        for auto in (AutoModel, AutoModelForCausalLM):
            yield auto._model_mapping[CONFIG_MAPPING[model_type]]


def found() -> dict[str, str]:
    """Name -> arguments, of everything that is compared."""
    members: dict[str, Any] = {}
    for module, name in relied_on():
        path = name.partition(":")[0]
        if module.split(".")[0] == COMPARED:
            members[f"{module}.{path}"] = look_up(module, name)
    for _, name, _, base, theirs in overrides():
        if library_of(base) == COMPARED:
            members[f"{base.__module__}.{base.__qualname__}.{name}"] = theirs
    for model in language_models():
        members[f"{model.__module__}.{model.__name__}.forward"] = model.forward
    lines = {}
    for name, member in members.items():
        function = member if inspect.isclass(member) else function_of(member)
        if isinstance(function, FunctionType) or (inspect.isclass(function) and not issubclass(function, Enum)):
            lines[name] = written(function)
    return dict(sorted(lines.items()))


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """A line for each name whose arguments differ, or that is on one side only."""
    return [
        f"{name}: ({before.get(name, 'nothing')}) became ({after.get(name, 'nothing')})"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write what is found")
    options = parser.parse_args()
    now = found()
    changed = changes(json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}, now)
    print(*changed, f"{len(changed)} of {len(now)} changed", sep="\n")
    if options.record:
        RECORD.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    return bool(changed) and not options.record


if __name__ == "__main__":
    sys.exit(main())
