# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Exact changes to the tower of a model: its position table for another image size, its last blocks taken away.

Both work on a bare tower, on one with a head, on a chat model and on the dual encoder; configs follow, so that what is
saved afterwards loads as it is. InternViT-6B-448px-V1-2 is made so: the table of 224 pixels resized to 448, and 45 of
48 blocks, whose output was what chat models had read all along (arXiv:2404.16821, section 3.2).
"""

from typing import Any, TypeVar

from torch import nn
from transformers import PreTrainedModel

from ...hub.config_values import hidden_state_index, tokens_per_tile
from ...modeling.vision.model import InternVLVisionModel, drop_path_rates

Model = TypeVar("Model", bound=PreTrainedModel)


def resize_position_table(model: Model, image_size: int) -> Model:
    """Fit the tower's position table to square images of another size, permanently.

    The table becomes what the tower interpolates for that size anyway, so its output for such images stays the same;
    that for images of all other sizes changes. The image processor's `size` is not the model's: change it, too.

    Args:
        model: the model, which is changed.
        image_size: side in pixels, a multiple of the patch size, and in a chat model of the pixels that one image
            token stands for.

    Returns:
        The model.

    Raises:
        ValueError: another size, or a tower without a (square) position table.
    """
    tower, config = find_tower(model), model.config
    unit = max(tower.config.patch_size)
    shuffles = hasattr(config, "downsample_ratio")
    if shuffles:
        unit = round(unit / config.downsample_ratio)
    if image_size < unit or image_size % unit:
        raise ValueError(f"`image_size` must be a multiple of {unit} pixels, got {image_size}.")
    tower.resize_positions(image_size)
    if getattr(config, "force_image_size", None) or getattr(config, "tile_size", image_size) != image_size:
        config.force_image_size = image_size
    if shuffles:
        middleware = getattr(config, "middleware_config", None)
        queries = 0 if middleware is None else middleware.num_query_token
        patches = image_size // max(tower.config.patch_size)
        config.image_seq_length = queries + tokens_per_tile(patches, patches, config.downsample_ratio)
    return model


def truncate_layers(model: Model, num_layers: int) -> Model:
    """Keep the first blocks of the tower; their output is what `hidden_states[num_layers]` was, bit for bit.

    What reads the tower reads the same layer as before: in a chat model, `vision_feature_layer` (the original
    `select_layer`) is renumbered, -4 of 48 blocks becoming -1 of 45.

    Args:
        model: the model, which is changed.
        num_layers: how many blocks to keep.

    Returns:
        The model.

    Raises:
        ValueError: fewer than one block, more than there are, or fewer than the rest of the model reads.
    """
    tower, config = find_tower(model), model.config
    depth = len(tower.encoder.layer)
    if not 1 <= num_layers <= depth:
        raise ValueError(f"`num_layers` must be 1 to {depth}, the blocks that there are, got {num_layers}.")
    if num_layers == depth:
        return model
    if not isinstance(tower.layernorm, nn.Identity):
        raise ValueError("This tower has a norm after its last block, which would come to stand after another one.")
    needed = _last_layer_read(model, tower, depth)
    if num_layers < needed:
        raise ValueError(f"{type(model).__name__} reads the output of block {needed}: keep at least {needed} blocks.")

    features = tower.config.out_features if tower.config.chooses_layers else None
    tower.encoder.layer = tower.encoder.layer[:num_layers]
    tower.config.num_hidden_layers = num_layers
    for layer, rate in zip(tower.encoder.layer, drop_path_rates(tower.config), strict=True):
        layer.drop_path.probability = rate  # as in a tower that is built so
    if features is not None:
        tower.config.set_output_features_output_indices(features, None)
    if hasattr(config, "vision_feature_layer"):
        config.vision_feature_layer = _renumbered(config.vision_feature_layer, depth, num_layers)
    return model


def find_tower(model: nn.Module) -> InternVLVisionModel:
    """The InternViT inside a model, or the model itself. Raises `ValueError` if there is not exactly one."""
    towers = [module for module in model.modules() if isinstance(module, InternVLVisionModel)]
    if len(towers) != 1:
        raise ValueError(f"{type(model).__name__} holds {len(towers)} InternViT towers of this package, expected one.")
    return towers[0]


def _last_layer_read(model: PreTrainedModel, tower: InternVLVisionModel, depth: int) -> int:
    """How many blocks what is behind the tower needs."""
    if getattr(model.config, "middleware_config", None) is not None:
        return depth  # QLLaMA looks at the last one, whatever the projector reads
    layers = getattr(model.config, "vision_feature_layer", None)
    if layers is not None:
        layers = layers if isinstance(layers, (list, tuple)) else [layers]
        return max(hidden_state_index(layer, depth) for layer in layers)
    if tower.config.chooses_layers:
        return max(map(tower.config.stage_names.index, tower.config.out_features))
    return 0 if model is tower else depth


def _renumbered(layers: Any, depth: int, num_layers: int) -> Any:
    """The same hidden states by their indices in a tower of `num_layers` blocks, from the end what was so before."""
    if isinstance(layers, (list, tuple)):
        return [_renumbered(layer, depth, num_layers) for layer in layers]
    return layers if layers >= 0 else layers + depth - num_layers


__all__ = ["find_tower", "resize_position_table", "truncate_layers"]
