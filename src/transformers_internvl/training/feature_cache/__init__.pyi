# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .model import FeatureCache, FeatureCollator, name_tiles, refuse_changing_features
from .store import (
    NEW_TILES,
    FeatureStore,
    NamingProcessor,
    as_names,
    from_names,
    images_name,
    tensor_bytes,
    tile_name,
)

__all__ = [
    "FeatureCache",
    "FeatureCollator",
    "FeatureStore",
    "NEW_TILES",
    "NamingProcessor",
    "as_names",
    "from_names",
    "images_name",
    "name_tiles",
    "refuse_changing_features",
    "tensor_bytes",
    "tile_name",
]
