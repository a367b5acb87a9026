# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The weights that make up a checkpoint, wherever they lie: its own files, and what lies elsewhere."""

from pathlib import Path

from ...modeling.original.configuration_llava import InternVLLlavaConfig
from ..files.weight_streams import WeightStream, safetensors_entries
from .configurations import Checkpoint
from .llava_tower import TOWER_PREFIX, tower_folder

_LEFT_OUT = "left_out.safetensors"
LEFT_OUT = Path("original", _LEFT_OUT)


def weights_of(source: Checkpoint) -> WeightStream:
    """All weights of a checkpoint.

    InternVL-Chat v1 without its tower gets it from the tower's own folder, as when it is loaded. A folder of the -hf
    layout may keep weights aside that only the original layout holds: `left_out_before` names them.

    Raises:
        OSError, ValueError: there are no weights, or a file is missing or damaged.
    """
    files = WeightStream(source.folder)
    if isinstance(source.config, InternVLLlavaConfig) and not any(
        key.startswith(TOWER_PREFIX) for key in files.entries
    ):
        elsewhere = tower_folder(source.config.mm_vision_tower, source.folder)
        if elsewhere is None:
            raise ValueError(
                f"{source.folder} does not hold the weights of its vision tower, and "
                f"{source.config.mm_vision_tower!r}, where config.json says they are, is no folder here: put it "
                "beside the checkpoint."
            )
        files.add(WeightStream(elsewhere), TOWER_PREFIX, _parts_of_tower(source.config))
    for path in (source.folder / LEFT_OUT, source.folder / "authors" / _LEFT_OUT):  # "authors": up to version 0.1.0
        aside = {entry.key: entry for entry in safetensors_entries(path)} if path.is_file() else {}
        files.entries.update(aside)
        files.left_out_before += aside
    return files


def _parts_of_tower(config: InternVLLlavaConfig) -> tuple[str, ...]:
    """What the names of the weights begin with that a tower's own folder gives to the chat model."""
    return ("",) if config.middleware_config is None else ("vision_model.", "qllama.", "query_tokens")


__all__ = ["LEFT_OUT", "weights_of"]
