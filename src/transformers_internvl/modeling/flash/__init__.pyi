# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .compression import Compression, check_flash, check_threshold, take_compression
from .generation import ShortPrompt, shorten_prompt, tile_lengths
from .router import CompressedProjector, ResolutionRouter, compressed_tiles
from .shortening import Shortening, at_kept, shifted_at_kept, tiles_of_samples

__all__ = [
    "CompressedProjector",
    "Compression",
    "ResolutionRouter",
    "ShortPrompt",
    "Shortening",
    "at_kept",
    "check_flash",
    "check_threshold",
    "compressed_tiles",
    "shifted_at_kept",
    "shorten_prompt",
    "take_compression",
    "tile_lengths",
    "tiles_of_samples",
]
