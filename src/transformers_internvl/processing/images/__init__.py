# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Images: tiling, resampling, and the image processors."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "image_processing": [
            "InternVLImageProcessor",
            "InternVLImageProcessorKwargs",
            "check_options",
            "check_pair",
            "with_statistics",
        ],
        "image_processing_llava": ["InternVLLlavaImageProcessor"],
        "pixels": [
            "Unit",
            "check_pixels",
            "check_room",
            "check_square",
            "check_statistics",
            "depth_of",
            "empty_tiles",
            "has_eight_bits",
            "naming",
            "pad_to_square",
            "picture_pixels",
            "picture_size",
            "rescale",
            "scale_and_shift",
            "to_levels",
            "write_tiles",
        ],
        "resampling": ["Target", "resize_by_torch", "resize_like_pillow", "writable", "write_levels"],
        "tiling": [
            "check_limits",
            "check_sizes",
            "count_tiles",
            "grid_tiles",
            "select_grid",
            "tile_boxes",
            "tile_budget",
        ],
    },
)
