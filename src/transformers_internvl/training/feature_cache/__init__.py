# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Training that passes over a frozen tower: features on disk."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "model": ["FeatureCache", "FeatureCollator", "name_tiles"],
        "store": [
            "FeatureStore",
            "NEW_TILES",
            "NamingProcessor",
            "as_names",
            "from_names",
            "pictures_name",
            "tensor_bytes",
            "tile_name",
        ],
    },
)
