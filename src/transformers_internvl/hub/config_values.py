# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Numbers that follow from the fields of a `config.json`: tokens of a tile, layers counted from the front."""

from collections.abc import Sequence


def tokens_per_tile(rows: int, columns: int, downsample_ratio: float = 1.0) -> int:
    """How many image tokens a grid of patches becomes.

    Args:
        rows: of patches, such as `image_size // patch_size`.
        columns: of patches.
        downsample_ratio: of the pixel shuffle; 0.5 merges 2 x 2 patches.

    Example:
        >>> tokens_per_tile(448 // 14, 448 // 14, 0.5)
        256
    """
    return int(rows * columns * downsample_ratio**2 + 1e-6)  # (1 / 7) ** 2 is a little less than 1 / 49


def hidden_state_index(layer: int | Sequence[int], depth: int) -> int:
    """A `vision_feature_layer` counted from the front: 0 are the embeddings, `depth` is the output of the last block.

    Args:
        layer: the index; negative ones count from the end. Of a list, the first.
        depth: how many blocks the tower has.

    Example:
        >>> hidden_state_index(-1, 24), hidden_state_index([-4], 48), hidden_state_index(3, 24)
        (24, 45, 3)
    """
    layer = layer if isinstance(layer, int) else layer[0]
    return layer if layer >= 0 else depth + 1 + layer


__all__ = ["hidden_state_index", "tokens_per_tile"]
