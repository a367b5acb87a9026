# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Names of modules in any layout: what a public script calls `mlp1` is `model.multi_modal_projector` here.

A name stands for the parts of a model that hold weights, which are called by their modules here and by the weights'
names in a folder. The rows that map the weights (transformers' registry of them) say which part is which, so there is
no second table: a name is looked up here, then in the model's own layout on disk, then in the original layout, without
the names of InternLM2 and with them, and at last without the `model.` in front.
"""

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from transformers import PreTrainedModel, WeightConverter
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, get_model_conversion_mapping
from transformers.core_model_loading import (
    PrefixChange,
    WeightRenaming,
    WeightTransform,
    apply_converters,
    apply_renamings,
)
from transformers.quantizers.quantizers_utils import should_convert_module

Matches = Callable[[str, str], bool]


def parts_of(model: nn.Module) -> list[str]:
    """The innermost modules, and what holds weights or buffers without being one, in the model's order."""
    names = []
    for name, module in model.named_modules():
        direct = [key for key, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))]
        inside = next(module.children(), None) is not None
        if direct and not inside:
            names.append(name)
        elif direct:
            names += [f"{name}.{key}" if name else key for key in direct]
    return names


def names_on_disk(model: PreTrainedModel) -> dict[str, str]:
    """Each of [`parts_of`] and what the model's layout on disk calls it."""
    rows = get_model_conversion_mapping(model, add_legacy=False)
    return _renamed(model, [row for row in rows if not isinstance(row, PrefixChange)])


def own_names(model: PreTrainedModel, names: Iterable[str], what: str) -> list[str]:
    """Whole names of modules in any layout as this model's own.

    Args:
        model: may be on the meta device.
        names: of modules, or of parameters beside modules.
        what: where the names were given, for the error.

    Raises:
        ValueError: a name means nothing in any layout.
    """
    return _all_found(_find(model, names, _lies_in), what, model)


def skipped_names(model: PreTrainedModel, names: Iterable[str]) -> list[str]:
    """As [`own_names`] for a list of what quantization leaves alone: beginnings, ends or patterns of names.

    Raises:
        ValueError: a name means nothing in any layout.
    """
    return _all_found(find_skipped(model, names), "the list of modules that are not quantized", model)


def adapter_names(model: PreTrainedModel, names: Iterable[str], *, innermost: bool = False) -> list[str]:
    """Names as peft reads them, ends of modules' names, in any layout; what means nothing stays as it is.

    Args:
        model: that gets the adapters.
        names: of modules.
        innermost: name the layers inside of modules, which adapters are put on.
    """
    vocabularies = _vocabularies(model)
    found: dict[str, None] = {}
    for name in names:
        parts, own = _look_up(name, vocabularies, _ends)
        if parts and not own:
            found |= dict.fromkeys(parts if innermost else cover(parts, vocabularies[0]))
        else:
            found[name] = None
    return list(found)


def find_skipped(model: PreTrainedModel, names: Iterable[str]) -> dict[str, list[str]]:
    """What each name in a list of what quantization leaves alone means; an empty list if it means nothing."""
    return _find(model, names, _is_skipped)


def _find(model: PreTrainedModel, names: Iterable[str], matches: Matches) -> dict[str, list[str]]:
    vocabularies = _vocabularies(model)
    found = {}
    for name in names:
        parts, own = _look_up(name, vocabularies, matches)
        found[name] = [name] if own else cover(parts, vocabularies[0])
    return found


def _all_found(found: dict[str, list[str]], what: str, model: PreTrainedModel) -> list[str]:
    for name, own in found.items():
        if not own:
            raise ValueError(_unknown(name, what, model))
    return list(dict.fromkeys(name for own in found.values() for name in own))


def own_device_map(model: PreTrainedModel, device_map: dict[str, Any]) -> dict[str, Any]:
    """A device map with this model's own names.

    Raises:
        ValueError: a name means nothing in any layout, or two names of one module have different devices.
    """
    vocabularies = _vocabularies(model)
    known = {name for name, _ in model.named_modules()} | set(vocabularies[0])
    if all(name in known for name in device_map):
        return device_map
    everything = set(vocabularies[0])
    meant = {name: set(_look_up(name, vocabularies, _lies_in)[0]) if name else everything for name in device_map}
    given_by: dict[str, str] = {}  # part -> the name whose device it gets
    for name in sorted(device_map, key=lambda name: -len(meant[name])):  # what is inside comes later
        if not meant[name]:
            raise ValueError(_unknown(name, "`device_map`", model))
        for part in meant[name]:
            other = given_by.get(part, name)
            if device_map[other] != device_map[name] and not meant[name] < meant[other]:
                (module, *_) = cover(meant[name] & meant[other], vocabularies[0])
                raise ValueError(
                    f"`device_map` puts {module} on {device_map[other]!r} as {other!r} and on {device_map[name]!r} as "
                    f"{name!r}: they are one module, give it one device."
                )
            given_by[part] = name
    left = {name: [part for part in vocabularies[0] if given_by.get(part) == name] for name in device_map}
    return {module: device_map[name] for name in left for module in cover(left[name], vocabularies[0])}


def disk_names(model: PreTrainedModel, names: Iterable[str]) -> list[str]:
    """A list of what quantization left alone, with the names of the model's layout on disk."""
    places = names_on_disk(model)
    parts = [part for part in places if any(_is_skipped(name, part) for name in names)]
    return cover({places[part] for part in parts}, places.values())


def cover(parts: Iterable[str], everything: Iterable[str]) -> list[str]:
    """The fewest modules that hold these parts and no others, in the order of everything."""
    wanted, everything = set(parts), list(everything)
    outside = {prefix for part in everything if part not in wanted for prefix in _prefixes(part)}
    found: dict[str, None] = {}
    for part in everything:
        if part in wanted:
            inside = [prefix for prefix in _prefixes(part) if prefix not in outside]
            found[inside[0] if inside else part] = None
    return list(found)


def _prefixes(name: str) -> list[str]:
    """The modules that hold it, the outermost first, and it."""
    words = name.split(".")
    return [".".join(words[:count]) for count in range(1, len(words) + 1)]


def _lies_in(name: str, part: str) -> bool:
    return part == name or part.startswith(f"{name}.")


def _ends(name: str, part: str) -> bool:
    return f".{name}." in f".{part}."  # the part, or a module around it, ends with the name


def _is_skipped(name: str, part: str) -> bool:
    return not should_convert_module(part, [name])


def _look_up(name: str, vocabularies: list[dict[str, str]], matches: Matches) -> tuple[list[str], bool]:
    """The parts that a name means in the first vocabulary that knows it, and whether that is the model's own."""
    for index, vocabulary in enumerate(vocabularies):
        if parts := [part for part, there in vocabulary.items() if matches(name, there)]:
            return parts, index == 0
    return [], False


def _vocabularies(model: PreTrainedModel) -> list[dict[str, str]]:
    """What the layouts call each part, the model's own names first."""
    own = {part: part for part in parts_of(model)}
    base = f"{model.base_model_prefix}."
    body = getattr(model, model.base_model_prefix, model)
    chat = all(hasattr(body, part) for part in _ROWS_OF_PARTS)
    found = [own, names_on_disk(model)]
    if chat:
        root = model.base_model_prefix if body is model else ""
        for parts in (("vision_tower",), ("vision_tower", "language_model")):
            found.append(_renamed(model, _original_rows(parts), prefix=root))
    elif hasattr(model, "embeddings"):  # a tower
        found.append(_renamed(model, get_checkpoint_conversion_mapping("intern_vit_6b")))
    found.append({part: part.removeprefix(base) for part in own})
    return found


_ROWS_OF_PARTS = {
    "vision_tower": "intern_vit_6b",
    "language_model": "internlm2_ve",
}  # which are all of InternLM2, and the experts


def _original_rows(parts: Iterable[str]) -> list[WeightTransform]:
    """The rows of a chat model in the original layout, and of these parts of it."""
    rows = get_checkpoint_conversion_mapping("internvl_chat")
    for part in parts:
        inner = get_checkpoint_conversion_mapping(_ROWS_OF_PARTS[part])
        for row in inner:
            row.scope_prefix, row.base_model_prefix = part, "model"
        rows = [*rows, *inner]
    return rows


def _renamed(model: PreTrainedModel, rows: list[WeightTransform], prefix: str = "") -> dict[str, str]:
    """Each part, and what it is called behind the rows, which are read backwards as on saving."""
    reverse = [row.reverse_transform() for row in rows[::-1]]
    renamings = [row for row in reverse if isinstance(row, WeightRenaming)]
    converters = [row for row in reverse if isinstance(row, WeightConverter)]
    names = {}
    for part in parts_of(model):
        key = f"{prefix}.{part}.weight" if prefix else f"{part}.weight"
        renamed = apply_renamings(apply_converters(key, converters)[0], renamings)
        if not renamed.endswith(".weight"):
            renamed = key
        bare = f"{prefix}.{part}" if prefix else part
        direct = apply_renamings(bare, renamings)  # of a parameter beside modules, such as a class token
        names[part] = renamed.removesuffix(".weight") if renamed != key or direct == bare else direct
    return names


def _unknown(name: str, what: str, model: PreTrainedModel) -> str:
    known = ", ".join(dict.fromkeys(".".join(part.split(".")[:2]) for part in parts_of(model)))
    return (
        f"{name!r}, given in {what}, is no module of {type(model).__name__}, by its own or original names. Its "
        f"parts are {known}; the original ones are vision_model, mlp1 and language_model."
    )


__all__ = [
    "adapter_names",
    "cover",
    "disk_names",
    "find_skipped",
    "names_on_disk",
    "own_device_map",
    "own_names",
    "parts_of",
    "skipped_names",
]
