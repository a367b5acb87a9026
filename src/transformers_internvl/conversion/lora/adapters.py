# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""LoRA adapters between the original modules and this package's: exactly, both ways.

The original models have fused layers where this package has three, InternLM2's `wqkv` and the tower's `qkv`. An
adapter on a fused layer adds `s * B @ A` to its weight `W`, and the rows of `B` are those of `W`. So it is three
adapters, each with the same `A` and its own rows of `B`. Back again, three adapters with one `A` are one of the same
rank; three with an `A` of their own become one of the sum of their ranks, its `A` stacked and its `B` block-diagonal:

    [Bq       ] [Aq]     [Bq Aq]
    [   Bk    ] [Ak]  =  [Bk Ak]      (rows in the fused layer's order)
    [      Bv ] [Av]     [Bv Av]

Adapters follow peft's layout (`adapter_config.json`, `adapter_model.safetensors`).
"""

import copy
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig

from ...hub.adapter_settings import check_patterns, read_adapter_settings
from ...renamed_modules import present_layout
from ..files.folders import atomic_folder
from .names import canonical_names, original_name

if TYPE_CHECKING:
    from peft import LoraConfig

Shapes = dict[str, torch.Size]

_PREFIX = "base_model.model."
_KIND = re.compile(r"\.(lora_[\w.]+|\w+)$")
# What an adapter was trained on, if not on the whole chat model: its place in there, by the original names.
_ROOTS = ("", "language_model.", "vision_model.")
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


@dataclass
class Adapter:
    """A LoRA adapter in memory.

    Attributes:
        config: as peft reads it from `adapter_config.json`.
        modules: name of a module -> what the adapter has for it: `"lora_A.weight"` `(r, in)`, `"lora_B.weight"`
            `(out, r)`, or for a module that was trained whole, `"weight"` and `"bias"`.
    """

    config: "LoraConfig"
    modules: dict[str, dict[str, torch.Tensor]]

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> "Adapter":
        """Read a folder. Raises `ValueError` for one that holds no LoRA adapter in safetensors."""
        from peft import LoraConfig, PeftConfig

        folder = Path(folder)
        if not (folder / _CONFIG).is_file() or not (folder / _WEIGHTS).is_file():
            raise ValueError(f"{folder} is no adapter: expected {_CONFIG} and {_WEIGHTS} in it.")
        fields = read_adapter_settings(folder / _CONFIG)
        try:
            config = PeftConfig.from_pretrained(str(folder))
        except (AttributeError, LookupError, TypeError) as error:  # of no known kind
            raise ValueError(f"{folder / _CONFIG} cannot be read: {error!r}") from error
        if not isinstance(config, LoraConfig):
            raise ValueError(f"{folder} holds an adapter of type {config.peft_type}, expected LORA.")
        adapter = cls.from_tensors(config, load_file(folder / _WEIGHTS))
        check_patterns(fields, adapter.modules, folder / _CONFIG)
        adapter._check_settings(folder / _CONFIG)
        return adapter

    @classmethod
    def from_tensors(cls, config: "LoraConfig", tensors: dict[str, torch.Tensor]) -> "Adapter":
        """Sort tensors by their modules; names as in the file, with or without `base_model.model.` in front."""
        modules: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            name = name.removeprefix(_PREFIX)
            kind = _KIND.search(name)
            if kind is None or "token_adapter" in name:
                raise ValueError(f"Adapter weight {name!r} is of a kind that cannot be converted, only LoRA's can.")
            modules.setdefault(name[: kind.start()], {})[kind[1]] = tensor
        for module, kinds in modules.items():
            if ("lora_A.weight" in kinds) != ("lora_B.weight" in kinds):
                raise ValueError(f"The adapter is incomplete: {module} needs both lora_A and lora_B.")
        return cls(config, modules)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The weights by their names in the file."""
        return {
            f"{_PREFIX}{module}.{kind}": tensor
            for module, kinds in self.modules.items()
            for kind, tensor in kinds.items()
        }

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write a folder that peft reads."""
        apart = {name: t.clone(memory_format=torch.contiguous_format) for name, t in self.tensors().items()}
        self.config.save_pretrained(str(folder))
        save_file(apart, Path(folder) / _WEIGHTS, metadata={"format": "pt"})

    def alpha_of(self, module: str) -> float:
        """The numerator of a module's scale."""
        return _by_pattern(self.config.alpha_pattern, module, self.config.lora_alpha)

    def _check_settings(self, path: Path) -> None:
        """Raise `ValueError` where peft would give the weights another rank, or leave them out."""
        for module, kinds in self.modules.items():
            down = kinds.get("lora_A.weight", kinds.get("lora_embedding_A"))
            if down is None or self.config.target_parameters:  # those are for peft alone
                continue
            rank = _by_pattern(self.config.rank_pattern, module, self.config.r)
            if down.ndim == 0 or len(down) != rank:
                raise ValueError(f"{path} gives {module} rank {rank}, but its weights have the shape {[*down.shape]}.")
            if not _is_target(self.config, module):
                raise ValueError(
                    f"{path} gives {module} no adapter (`target_modules`, `exclude_modules`, `layers_to_transform`), "
                    f"but {_WEIGHTS} has weights for it: the two do not belong together."
                )

    def with_modules(
        self, modules: dict[str, dict[str, torch.Tensor]], alphas: dict[str, float], whole: list[str]
    ) -> "Adapter":
        """An adapter with other modules, which its configuration names one by one.

        Args:
            modules: as in the class.
            alphas: numerator of the scale of every module that has an adapter.
            whole: the modules that peft keeps a copy of, because they are trained whole.
        """
        config = copy.deepcopy(self.config)
        ranks = {name: modules[name]["lora_A.weight"].shape[0] for name in alphas if "lora_A.weight" in modules[name]}
        config.target_modules = set(alphas)
        config.rank_pattern = {name: rank for name, rank in ranks.items() if rank != config.r}
        config.alpha_pattern = {name: alpha for name, alpha in alphas.items() if alpha != config.lora_alpha}
        config.modules_to_save = whole or None
        config.layers_to_transform = config.layers_pattern = config.exclude_modules = config.auto_mapping = None
        return Adapter(config, modules)


def convert_adapter(
    source: str | os.PathLike, target: str | os.PathLike, model: str | os.PathLike, to: str = "hf"
) -> None:
    """Convert an adapter between the original modules and this package's, exactly.

    What was trained on the original remote code (whole chat model, or its language model or tower alone) becomes an
    adapter of `InternVLForConditionalGeneration` and `InternVLChatModel`; these have the same modules. And back.

    Args:
        source: the adapter's folder.
        target: where the result goes; a new folder.
        model: folder or Hub id of the model it is for; of its files only the config is read. To the original names of
            InternLM2, it has to be in the original layout, which alone says that it is InternLM2.
        to: `"hf"`: to the modules of this package; `"original"`: to the original ones.

    Raises:
        ValueError: no LoRA adapter, one that does not fit the model, or one on experts.
        FileExistsError: something is at `target`.
    """
    to = present_layout(to)
    if to not in ("hf", "original"):
        raise ValueError(f"`to` must be 'hf' or 'original', got {to!r}.")
    config = AutoConfig.from_pretrained(model)
    convert = to_canonical if to == "hf" else to_original
    adapter = convert(Adapter.from_pretrained(source), config)
    adapter.config.base_model_name_or_path = os.fspath(model)
    with atomic_folder(target) as folder:
        adapter.save_pretrained(folder)


def to_canonical(adapter: Adapter, config: PreTrainedConfig) -> Adapter:
    """The adapter for the modules of our classes; one that is so already comes out as it is.

    Args:
        adapter: on the original modules.
        config: of the chat model.

    Raises:
        ValueError: it does not fit the model.
    """
    if adapter.config.target_parameters:
        raise ValueError("Adapters on parameters (`target_parameters`, experts) cannot be converted.")
    shapes = model_shapes(config)
    modules: dict[str, dict[str, torch.Tensor]] = {}
    alphas: dict[str, float] = {}
    whole: list[str] = []
    for module, kinds in adapter.modules.items():
        names, split = _place(module, shapes)
        if len(names) > 1:
            _refuse_residual(adapter, module)
        for kind, tensor in kinds.items():
            shared = len(names) == 1 or kind == "lora_A.weight"
            parts = [tensor] * len(names) if shared else split(tensor, config)
            for name, part in zip(names, parts, strict=True):
                modules.setdefault(name, {})[kind] = part
        for name in names:
            _check_shapes(module, modules[name], shapes[f"{name}.weight"])
        if "lora_A.weight" in kinds or "lora_embedding_A" in kinds:
            alphas |= dict.fromkeys(names, adapter.alpha_of(module))
        elif _is_saved_whole(adapter, module):
            whole += names
    return adapter.with_modules(modules, alphas, whole)


def to_original(adapter: Adapter, config: PreTrainedConfig) -> Adapter:
    """Inverse of [`to_canonical`].

    Three adapters that become one keep their rank if their `A` are equal, bit for bit; otherwise the ranks add up. Of
    a fused layer that is adapted in part only, the other rows of `B` are zero.

    Raises:
        ValueError: it does not fit the model; DoRA on layers that are fused in the original code, or such layers
            trained whole in part.
    """
    if adapter.config.target_parameters:
        raise ValueError("Adapters on parameters (`target_parameters`, experts) cannot be converted.")
    shapes = model_shapes(config)
    fused: dict[str, dict[str, dict[str, torch.Tensor]]] = {}
    modules: dict[str, dict[str, torch.Tensor]] = {}
    alphas: dict[str, float] = {}
    whole: list[str] = []
    for module, kinds in adapter.modules.items():
        if f"{module}.weight" not in shapes:
            raise ValueError(_no_place(module))
        _check_shapes(module, kinds, shapes[f"{module}.weight"])
        name, part_names, _ = original_name(module, config)
        adapted = "lora_A.weight" in kinds or "lora_embedding_A" in kinds
        if part_names is not None:
            _refuse_residual(adapter, module)
            fused.setdefault(name, {})[module] = kinds
        else:
            modules[name] = kinds
        if adapted:
            alphas[name] = adapter.alpha_of(module)
        elif _is_saved_whole(adapter, module) and name not in whole:
            whole.append(name)
    for name, parts in fused.items():
        modules[name], alpha = _fuse(parts, config, adapter, shapes)
        if name in alphas:
            alphas[name] = alpha
    return adapter.with_modules(modules, alphas, whole)


def _fuse(
    parts: dict[str, dict[str, torch.Tensor]], config: PreTrainedConfig, adapter: Adapter, shapes: Shapes
) -> tuple[dict[str, torch.Tensor], float]:
    """One fused module of several, and the `alpha` with which its scale is theirs (0: it has no adapter)."""
    _, names, merge = original_name(next(iter(parts)), config)
    names = names or []
    kinds = {kind for tensors in parts.values() for kind in tensors}
    complete = len(parts) == len(names)
    if "lora_A.weight" not in kinds:
        if not complete:
            raise ValueError(
                f"Only {', '.join(parts)} of a layer that is fused in the original code is trained whole."
            )
        return {kind: merge([parts[name][kind] for name in names], config) for kind in kinds}, 0.0
    power = 0.5 if adapter.config.use_rslora else 1.0
    scales = {adapter.alpha_of(name) / len(tensors["lora_A.weight"]) ** power for name, tensors in parts.items()}
    if len(kinds) > 2 or len(scales) > 1:
        raise ValueError(
            f"The adapters on {', '.join(parts)} cannot become one: it would need plain LoRA with one scale, got "
            f"{', '.join(sorted(kinds))} with the scales {sorted(scales)}."
        )
    downs = {name: tensors["lora_A.weight"] for name, tensors in parts.items()}
    first = next(iter(downs.values()))
    if complete and all(torch.equal(down, first) for down in downs.values()):
        ups = [parts[name]["lora_B.weight"] for name in names]
        return {"lora_A.weight": first, "lora_B.weight": merge(ups, config)}, adapter.alpha_of(names[0])
    total = sum(len(down) for down in downs.values())
    blocks, start = [], 0
    for name in names:
        block = first.new_zeros(shapes[f"{name}.weight"][0], total)
        if name in parts:
            rank = len(downs[name])
            block[:, start : start + rank] = parts[name]["lora_B.weight"]
            start += rank
        blocks.append(block)
    down = torch.cat([downs[name] for name in names if name in parts])
    return {"lora_A.weight": down, "lora_B.weight": merge(blocks, config)}, scales.pop() * total**power


def model_shapes(config: PreTrainedConfig) -> Shapes:
    """Names and shapes of the parameters of the chat model that a configuration describes."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    return {name: parameter.shape for name, parameter in model.state_dict().items()}


def _refuse_residual(adapter: Adapter, module: str) -> None:
    """Raise `ValueError` where peft would change a weight before it adds the adapter: others are fused or split."""
    how = adapter.config.init_lora_weights
    if isinstance(how, str) and how.startswith(("pissa", "olora", "corda", "loftq", "lora_ga")):
        raise ValueError(
            f"The adapter on {module} is for what `init_lora_weights={how!r}` leaves of the weight, which is another "
            "one for fused layers. Save it with `path_initial_model_for_weight_conversion` of peft first."
        )


def _by_pattern(patterns: dict[str, Any] | None, module: str, default: Any) -> Any:
    """What the first pattern that is the end of a module's name stands for, as in peft."""
    hits = (value for row, value in (patterns or {}).items() if re.match(rf"(.*\.)?({row})$", module))
    return next(hits, default)


def _is_target(config: "LoraConfig", module: str) -> bool:
    """Whether peft gives a module an adapter, by its name."""
    from peft.tuners.tuners_utils import check_target_module_exists

    if config.target_modules in (None, "all-linear"):  # then by its kind, or by the model's
        config = copy.copy(config)
        config.target_modules = {module.rpartition(".")[2]}
    return bool(check_target_module_exists(config, module))


def _place(module: str, shapes: Shapes) -> tuple[list[str], Any]:
    """Our names of an original module, and how a tensor of it is split into theirs."""
    for root in _ROOTS:
        names, split = canonical_names(root + module)
        if all(f"{name}.weight" in shapes for name in names):
            return names, split
    raise ValueError(_no_place(module))


def _no_place(module: str) -> str:
    return f"The adapter has weights for {module!r}, of which the model has none that an adapter could be put on."


def _check_shapes(module: str, kinds: dict[str, torch.Tensor], shape: torch.Size) -> None:
    ends = {"lora_A.weight": (1, 1), "lora_B.weight": (0, 0), "weight": (0, 0)}
    for kind, (axis, of_weight) in ends.items():
        if kind in kinds and kinds[kind].shape[axis] != shape[of_weight]:
            raise ValueError(
                f"The adapter of {module} does not fit: its {kind} is {tuple(kinds[kind].shape)}, the model's weight "
                f"{tuple(shape)}."
            )


def _is_saved_whole(adapter: Adapter, module: str) -> bool:
    """Whether peft keeps a copy of a module, and does not only save it beside the adapter, as embeddings."""
    return any(module.endswith(name) or f"{name}." in module for name in adapter.config.modules_to_save or [])


__all__ = ["Adapter", "convert_adapter", "model_shapes", "to_canonical", "to_original"]
