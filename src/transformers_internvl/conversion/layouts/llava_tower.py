# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Where the tower of InternVL-Chat v1 lies, and how large it is: `config.json` of LLaVA's layout names it only.

Looked at in this order: what `config.json` says after all; the tower's own folder, if it is on this machine; the
shapes of the tower's weights, if the checkpoint holds them; what the tower's name is known to mean.
"""

import os
from pathlib import Path

from ...modeling.dual_encoder.configuration import InternVLDualEncoderConfig
from ...modeling.original.configuration_llava import InternVLLlavaConfig
from ...modeling.vision.configuration import InternVisionConfig
from ..files.shapes import Shapes, intern_vit_fields

TOWER_PREFIX = "model.vision_tower.vision_tower."


def tower_folder(name: str, checkpoint: str | os.PathLike) -> Path | None:
    """The tower's own folder, if it is on this machine: as it is named, or beside the checkpoint."""
    for folder in (Path(name), Path(checkpoint).resolve().parent / Path(name).name):
        if (folder / "config.json").is_file():
            return folder
    return None


def find_sizes(config: InternVLLlavaConfig, shapes: Shapes | None, elsewhere: Path | None) -> None:
    """Replace the tower's sizes known from its name by those of folder and weights."""
    vision, middleware = config.vision_config, None
    if elsewhere is not None and config.middleware_config is not None:
        whole = InternVLDualEncoderConfig.from_pretrained(elsewhere)
        vision, middleware = whole.vision_config, whole.qllama_config
    elif elsewhere is not None:
        vision = InternVisionConfig.from_pretrained(elsewhere)
    if shapes:
        part = "vision_model." if config.middleware_config is not None else ""
        read = intern_vit_fields({k.removeprefix(part): shape for k, shape in shapes.items() if k.startswith(part)})
        if elsewhere is None and "num_attention_heads" not in read:
            raise ValueError(
                f"The vision tower is {read['hidden_size']} wide, which none of the released ones is, and no weight "
                "tells how many heads it has: write the tower's `vision_config` into config.json, or put the folder "
                f"{config.mm_vision_tower!r} in its place."
            )
        vision = InternVisionConfig(**{**vision.to_dict(), **read})
    config.set_tower(vision, middleware)


__all__ = ["TOWER_PREFIX", "find_sizes", "tower_folder"]
