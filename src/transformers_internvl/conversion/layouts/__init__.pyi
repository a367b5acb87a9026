# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .auxiliary_files import (
    KEPT,
    WEIGHTS,
    auto_map,
    has_tokenizer,
    image_token_id,
    other_files,
    same_tokenizer,
    write_hf,
    write_original,
)
from .configurations import (
    LAYOUTS,
    Checkpoint,
    empty_model,
    hf_form,
    open_checkpoint,
    original_dict,
    original_fields,
    original_form,
    plain,
)
from .convert import convert_checkpoint
from .llava_tower import TOWER_PREFIX, find_sizes, tower_folder
from .plan import Loading, Plan, Saving, Step, Tensors, check_shapes, part_of, ties_of
from .sources import LEFT_OUT, weights_of
from .verify import Comparison, Part, compare_checkpoints, drawn_image

__all__ = [
    "Checkpoint",
    "Comparison",
    "KEPT",
    "LAYOUTS",
    "LEFT_OUT",
    "Loading",
    "Part",
    "Plan",
    "Saving",
    "Step",
    "TOWER_PREFIX",
    "Tensors",
    "WEIGHTS",
    "auto_map",
    "check_shapes",
    "compare_checkpoints",
    "convert_checkpoint",
    "drawn_image",
    "empty_model",
    "find_sizes",
    "has_tokenizer",
    "hf_form",
    "image_token_id",
    "open_checkpoint",
    "original_dict",
    "original_fields",
    "original_form",
    "other_files",
    "part_of",
    "plain",
    "same_tokenizer",
    "ties_of",
    "tower_folder",
    "weights_of",
    "write_hf",
    "write_original",
]
