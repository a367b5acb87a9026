# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What an `adapter_config.json` says, looked at before peft builds anything after it.

peft takes its fields as they are. Names of modules may be regular expressions, which it matches with every module's
name: one as short as `(a+)+b` may take longer than anybody waits. Here they are matched first, by a process that is
ended in time; what ends there ends in peft, which asks the same questions. And ranks decide how much memory is taken,
so they have to be those of the weights.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

_LARGEST_FILE = 16 << 20  # bytes
_LARGEST_RANK = 65_536
_LARGEST_ALPHA = 1e9
_LARGEST_NUMBER = 1e7  # of fields that are of no kind below: those of other adapters than LoRA's
_MOST_PATTERNS = 10_000
_MOST_NAMES = 100_000
_LONGEST_NAME = 2_000  # characters
_SECONDS = 5  # of the processor
_LONGEST_WAIT = 60.0  # seconds on the clock, for machines that are busy
_MEMORY = 1 << 30
_DIRECT = 1_000_000  # plain patterns times names that are not worth a process
_PLAIN = re.compile(r"[\w.\-]*")

# How peft matches what a field holds: with the whole name, or this pattern with its beginning.
_WHOLE = None
_AT_THE_END = r"(.*\.)?({})$"
_FORMS = {
    "target_modules": _WHOLE,
    "exclude_modules": _WHOLE,
    "feedforward_modules": _WHOLE,
    "modules_to_save": r"(^|.*\.){}($|\..*)",
    "layers_pattern": r"(?:^|.*?\.){}\.(?P<idx>\d+)\.",
    "rank_pattern": _AT_THE_END,
    "alpha_pattern": _AT_THE_END,
}
_LISTS_ARE_NAMES = ("target_modules", "exclude_modules", "feedforward_modules")  # and only a text is a pattern

_MATCHER = """
import json, re, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (%d, %d))
    resource.setrlimit(resource.RLIMIT_CPU, (%d, %d))
except (ImportError, ValueError, OSError):
    pass
patterns, names = json.load(sys.stdin)
for number, (pattern, whole) in enumerate(patterns):
    print(number, flush=True)
    compiled = re.compile(pattern)
    for name in names:
        compiled.fullmatch(name) if whole else compiled.match(name)
print("done")
"""


def read_adapter_settings(path: str | Path) -> dict[str, Any]:
    """The fields of an `adapter_config.json`, each of a kind and size that peft can be given.

    Raises:
        ValueError: names the file and the field.
    """
    path = Path(path)
    if (size := path.stat().st_size) > _LARGEST_FILE:
        raise ValueError(f"{path} has {size} bytes, at most {_LARGEST_FILE} are read.")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} cannot be read: expected an object, got {fields!r:.80}.")
    for name, value in fields.items():
        if name in _CHECKS:
            expected, holds = _CHECKS[name]
            if not holds(value):
                raise ValueError(f"{path}: `{name}` must be {expected}, got {value!r:.80}.")
        elif isinstance(value, (int, float)) and not abs(value) <= _LARGEST_NUMBER:
            raise ValueError(f"{path}: `{name}` must be within {_LARGEST_NUMBER:.0e}, got {value!r:.80}.")
    if fields.get("peft_type") == "LORA":
        for name in ("r", "lora_alpha"):
            if name in fields and fields[name] is None:
                raise ValueError(f"{path}: `{name}` must be a number, got null.")
    return fields


def check_patterns(fields: Mapping[str, Any], names: Iterable[str], where: str | Path) -> None:
    """See that the patterns of an adapter's fields can be matched with the names of modules in a short time.

    Args:
        fields: of `adapter_config.json`, or of peft's configuration.
        names: what peft will match them with.
        where: for the error.

    Raises:
        ValueError: one is no regular expression, or takes too long.
    """
    names = list(names)
    rows = [(field, text, form) for field, form in _FORMS.items() for text in _texts(field, fields)]
    if all(_PLAIN.fullmatch(text) for _, text, _ in rows) and len(rows) * len(names) <= _DIRECT:
        return
    matcher = [sys.executable or "python3", "-I", "-S", "-c", _MATCHER % (_MEMORY, _MEMORY, _SECONDS, _SECONDS)]
    patterns = [(form.format(text) if form else text, form is _WHOLE) for _, text, form in rows]
    sent = json.dumps([patterns, names]).encode()
    try:
        ended = subprocess.run(matcher, input=sent, capture_output=True, timeout=_LONGEST_WAIT, check=False)
        output, error = ended.stdout, ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    except subprocess.TimeoutExpired as expired:
        output, error = expired.stdout or b"", ""
    why = error or f"it takes more than {_SECONDS} seconds"
    reached = output.decode().split()
    if reached[-1:] != ["done"]:
        field, text, _ = rows[int(reached[-1])] if reached else ("patterns", "", "")
        raise ValueError(
            f"{where}: `{field}` holds a pattern that cannot be matched with the names of {len(names)} modules "
            f"({why:.200}): {text!r:.80}. Write the names of the modules instead."
        )


def check_room(
    fields: Mapping[str, Any], targets: Mapping[str, Iterable[int]], copies: int, held: int, where: str | Path
) -> None:
    """See that an adapter does not take more numbers than its file can hold.

    Args:
        fields: of `adapter_config.json`.
        targets: name of each module that gets an adapter -> its width and its height.
        copies: parameters of the modules that are trained whole.
        held: bytes of the adapter's file of weights.
        where: for the error.

    Raises:
        ValueError: it does.
    """
    ranks: Mapping[str, int] = fields.get("rank_pattern") or {}
    rows = [(re.compile(_AT_THE_END.format(row)), rank) for row, rank in ranks.items()]
    wanted = copies
    for name, sides in targets.items():
        wanted += next((rank for row, rank in rows if row.match(name)), fields.get("r") or 1) * sum(sides)
    if wanted > held:  # the smallest number format takes a byte
        raise ValueError(
            f"{where}: rank {fields.get('r')}{' and `rank_pattern`' if ranks else ''} on {len(targets)} modules of "
            f"this model, with what is trained whole, take {wanted} numbers, but the adapter's file has {held} bytes: "
            "it was made for another model, or on the original code, of which `internvl surgery convert-lora` makes "
            "one for this package."
        )


def _texts(field: str, fields: Mapping[str, Any]) -> list[str]:
    value = fields.get(field)
    if isinstance(value, str):
        return [value]
    return [] if not value or field in _LISTS_ARE_NAMES else [str(text) for text in value]


# Which values are taken --------------------------------------------------------------------------------------------


def _is_rank(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST_RANK


def _is_alpha(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= _LARGEST_ALPHA  # which no NaN is


def _is_share(value: Any) -> bool:
    return value is None or (_is_alpha(value) and 0 <= value <= 1)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME


def _are_names(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) <= _MOST_NAMES and all(map(_is_name, value)))


def _is_name_or_names(value: Any) -> bool:
    return _is_name(value) or _are_names(value)


def _is_layer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_layers(value: Any) -> bool:
    several = isinstance(value, list) and len(value) <= _MOST_NAMES and all(map(_is_layer, value))
    return value is None or _is_layer(value) or several


def _is_pattern(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def is_one(value: Any) -> bool:
        if value is None:
            return True
        is_right = isinstance(value, dict) and len(value) <= _MOST_PATTERNS
        return is_right and all(_is_name(name) and holds(number) for name, number in value.items())

    return is_one


def _is_none(value: Any) -> bool:
    return value is None


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


_NAMES = f"a list of at most {_MOST_NAMES} texts of 1 to {_LONGEST_NAME} characters"
_RANK = f"a whole number from 1 to {_LARGEST_RANK}"
_ALPHA = f"a finite number of at most {_LARGEST_ALPHA:.0e}"
_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "r": (_RANK, lambda value: value is None or _is_rank(value)),
    "rank_pattern": (f"an object of patterns, each with {_RANK}", _is_pattern(_is_rank)),
    "lora_alpha": (_ALPHA, lambda value: value is None or _is_alpha(value)),
    "alpha_pattern": (f"an object of patterns, each with {_ALPHA}", _is_pattern(_is_alpha)),
    **dict.fromkeys(("lora_dropout", "rank_dropout", "module_dropout"), ("a number from 0 to 1", _is_share)),
    **dict.fromkeys(
        ("target_modules", "exclude_modules", "layers_pattern", "feedforward_modules"),
        (f"a pattern or {_NAMES}", _is_name_or_names),
    ),
    **dict.fromkeys(("modules_to_save", "target_parameters"), (_NAMES, _are_names)),
    "layers_to_transform": ("the number of a layer, or a list of such", _are_layers),
    "bias": ("'none', 'all' or 'lora_only'", lambda value: value in (None, "none", "all", "lora_only")),
    **dict.fromkeys(("use_rslora", "use_dora", "fan_in_fan_out", "lora_bias"), ("true or false", _is_flag)),
    **dict.fromkeys(("peft_type", "task_type", "base_model_name_or_path", "revision"), ("a text", _is_text)),
    # Layers that are there twice are no model of this package's; the other one names a module to import.
    **dict.fromkeys(("layer_replication", "megatron_config"), ("null: it is not supported", _is_none)),
}

__all__ = ["check_patterns", "check_room", "read_adapter_settings"]
