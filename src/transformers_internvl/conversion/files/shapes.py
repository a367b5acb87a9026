# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What is known of the weights of a checkpoint without reading them: names, shapes, and a tower's sizes from them.

Files of `torch.save`, of which nothing but tensors is read: what else a pickle does, it does not do here.
"""

import os
import pickle
import re
from collections.abc import Iterable
from typing import Any

import torch
from safetensors import safe_open

from ...hub.arguments import find_file
from ...modeling.pretrained.loading import weight_places

Shapes = dict[str, tuple[int, ...]]

# Weight file, and the index of a sharded one, in the order in which transformers looks for them.
WEIGHT_FILES = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
# Width of an InternViT -> its heads, which no shape shows.
_HEADS = {3200: 25, 1024: 16}


def weight_shapes(name_or_path: str | os.PathLike, prefix: str = "", **hub_options: Any) -> Shapes | None:
    """Names and shapes of the weights whose names begin with `prefix`, the prefix taken off.

    Args:
        name_or_path: a folder or a Hub id.
        prefix: of the names. Of a sharded checkpoint, only the files that hold such weights are opened.
        hub_options: `revision`, `token`, `cache_dir`, ... of `from_pretrained`.

    Returns:
        None if there are no weights under the usual names; empty if none begins with the prefix.

    Raises:
        SafetensorError: a file is damaged.
    """
    for whole, index in WEIGHT_FILES:
        path = find_file(name_or_path, whole, **hub_options)
        if path is not None:
            return _shapes_in([path], prefix)
        path = find_file(name_or_path, index, **hub_options)
        if path is not None:
            names = sorted({place for key, place in weight_places(path).items() if key.startswith(prefix)})
            parts = [find_file(name_or_path, name, **hub_options) for name in names]
            return _shapes_in([part for part in parts if part is not None], prefix)
    return None


def _shapes_in(paths: Iterable[str], prefix: str) -> Shapes:
    shapes: Shapes = {}
    for path in paths:
        if path.endswith(".safetensors"):
            with safe_open(path, framework="pt") as file:
                names = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118 (no dictionary)
                found = {key: file.get_slice(key).get_shape() for key in names}
        else:
            weights = load_tensors(path, map_location="meta")
            found = {key: weight.shape for key, weight in weights.items() if key.startswith(prefix)}
        shapes.update({key.removeprefix(prefix): tuple(shape) for key, shape in found.items()})
    return shapes


def intern_vit_fields(shapes: Shapes) -> dict[str, Any]:
    """What the shapes of an InternViT's weights, under the original names, say about its configuration.

    Returns:
        Canonical fields. The number of heads is known for the released widths only, and left out for others.

    Raises:
        ValueError: the weights of the embeddings or of the first block are missing.
    """
    first = "encoder.layers.0."
    needed = ["class_embedding", "patch_embedding.weight", "position_embedding"]
    needed = [*(f"embeddings.{name}" for name in needed), f"{first}mlp.fc1.weight"]
    if missing := [name for name in needed if name not in shapes]:
        raise ValueError(f"The weights of the vision tower are incomplete: there is no {', no '.join(missing)}.")
    _, _, width = shapes["embeddings.class_embedding"]
    *_, patch_rows, patch_columns = shapes["embeddings.patch_embedding.weight"]
    side = round((shapes["embeddings.position_embedding"][1] - 1) ** 0.5)
    blocks = {int(match[1]) for key in shapes if (match := re.match(r"encoder\.layers\.(\d+)\.", key))}
    fields = {
        "hidden_size": width,
        "intermediate_size": shapes[first + "mlp.fc1.weight"][0],
        "num_hidden_layers": len(blocks),
        "patch_size": (patch_rows, patch_columns),
        "image_size": (side * patch_rows, side * patch_columns),
        "attention_bias": first + "attn.qkv.bias" in shapes,
        "use_qk_norm": first + "attn.q_norm.weight" in shapes,
        "norm_type": "layer_norm" if first + "norm1.bias" in shapes else "rms_norm",
    }
    return fields | ({"num_attention_heads": _HEADS[width]} if width in _HEADS else {})


def load_tensors(path: str | os.PathLike, **options: Any) -> dict[str, Any]:
    """`torch.load` of named weights.

    Args:
        path: the file.
        options: `map_location` and `mmap`.

    Raises:
        ValueError: the file holds more than tensors, code perhaps, or is damaged.
        RuntimeError: with `mmap`, it was written before torch 1.6: no zip file, which cannot be mapped.
    """
    try:
        weights = torch.load(path, weights_only=True, **options)
    except (pickle.UnpicklingError, EOFError) as error:
        reason = str(error).partition("Trying to load ")[2].partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{os.fspath(path)} is damaged, or holds more than weights ({reason}): it is not loaded, since a pickle "
            "can run any code. Take the safetensors files of this checkpoint, from whom you trust."
        ) from error
    if not isinstance(weights, dict):
        raise ValueError(f"{os.fspath(path)} holds a {type(weights).__name__}, expected weights by name.")
    return weights


__all__ = ["Shapes", "WEIGHT_FILES", "intern_vit_fields", "load_tensors", "weight_shapes"]
