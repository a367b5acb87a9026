# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints from one layout to another, and whether two are the same model."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "auxiliary_files": [
            "KEPT",
            "WEIGHTS",
            "auto_map",
            "has_tokenizer",
            "image_token_id",
            "other_files",
            "same_tokenizer",
            "write_authors",
            "write_hf",
            "write_json",
        ],
        "configurations": [
            "Checkpoint",
            "LAYOUTS",
            "authors_dict",
            "authors_fields",
            "authors_form",
            "empty_model",
            "hf_form",
            "open_checkpoint",
            "plain",
            "read_json",
        ],
        "convert": ["convert_checkpoint", "local_folder"],
        "llava_tower": ["TOWER_PREFIX", "find_sizes", "tower_folder"],
        "plan": ["Loading", "Plan", "Saving", "Step", "Tensors", "check_shapes", "part_of", "ties_of"],
        "sources": ["LEFT_OUT", "weights_of"],
        "verify": ["Comparison", "Part", "compare_checkpoints", "drawn_picture"],
    },
)
