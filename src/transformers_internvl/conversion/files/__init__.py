# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Files of checkpoints: streams of weights, their shapes, folders that are written whole or not at all."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "copies": [
            "ChangedCopy",
            "changed_copy",
            "config_as_json",
            "copy_companions",
            "load_exactly",
            "local_folder",
            "patched",
            "read_json",
            "save_weights",
            "write_json",
        ],
        "folders": ["atomic_folder", "copy_file"],
        "shapes": ["Shapes", "WEIGHT_FILES", "intern_vit_fields", "load_tensors", "weight_shapes"],
        "weight_streams": [
            "Entry",
            "Span",
            "WeightStream",
            "as_bytes",
            "is_weight_file",
            "safetensors_entries",
            "stamp_of",
            "write_index",
            "write_safetensors",
        ],
    },
)
