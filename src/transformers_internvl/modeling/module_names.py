# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Modules of a chat model by the names that they have in the authors' layout, as their names here.

    vision_model.encoder.layers.3               model.vision_tower.encoder.layer.3
    mlp1                                        model.multi_modal_projector
    language_model.model.layers.3               model.language_model.layers.3
    language_model.model.tok_embeddings         model.language_model.embed_tokens      (InternLM2)
    language_model.output                       lm_head                                (InternLM2)
    language_model                              model.language_model and lm_head

Source: `modeling_internvl_chat.py` of the released checkpoints, and `split_model` of their model cards.
"""

import re
from collections.abc import Mapping
from typing import Any

# Pattern of an authors' name -> the modules here; the first that fits counts. The rest of the name is kept.
_MODULES = (
    (r"vision_model\.encoder\.layers(?=\.|$)", ("model.vision_tower.encoder.layer",)),
    (r"vision_model(?=\.|$)", ("model.vision_tower",)),
    (r"mlp1\.0(?=\.|$)", ("model.multi_modal_projector.layer_norm",)),
    (r"mlp1\.1(?=\.|$)", ("model.multi_modal_projector.linear_1",)),
    (r"mlp1\.2(?=\.|$)", ("model.multi_modal_projector.act",)),
    (r"mlp1\.3(?=\.|$)", ("model.multi_modal_projector.linear_2",)),
    (r"mlp1$", ("model.multi_modal_projector",)),
    (r"language_model\.(output|lm_head)(?=\.|$)", ("lm_head",)),
    (r"language_model\.model\.tok_embeddings(?=\.|$)", ("model.language_model.embed_tokens",)),
    (r"language_model\.model(?=\.|$)", ("model.language_model",)),
    (r"language_model$", ("model.language_model", "lm_head")),
)


def canonical_names(name: str) -> tuple[str, ...]:
    """A module's names here, by its name in the authors' layout; any other name as it is."""
    for pattern, modules in _MODULES:
        match = re.match(pattern, name)
        if match is not None:
            return tuple(module + name[match.end() :] for module in modules)
    return (name,)


def canonical_device_map(device_map: Any) -> Any:
    """A device map with names of either layout, with the names here. Anything but a dictionary is returned as it is.

    Raises:
        ValueError: two names of one module have different devices.
    """
    if not isinstance(device_map, Mapping):
        return device_map
    found: dict[str, Any] = {}
    given_as: dict[str, str] = {}
    for name, device in device_map.items():
        for module in canonical_names(name):
            if found.setdefault(module, device) != device:
                raise ValueError(
                    f"`device_map` puts {module} on {found[module]!r} as {given_as[module]!r} and on {device!r} as "
                    f"{name!r}: they are one module, give it one device."
                )
            given_as.setdefault(module, name)
    return found


__all__ = ["canonical_device_map", "canonical_names"]
