# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL-C as first released, `internvl_c_13b_224px.pth`: one file of weights under names of its own.

It holds both towers and no queries, cross attention or captioning head, so it becomes a folder of two halves:
`InternVLDualEncoderVisionModel` and `InternVLDualEncoderTextModel` load from it.

Source: `clip_benchmark/models/internvl_c_pytorch` and `classification/hf2pytorch.py` of the original repository.
"""

import copy
import os
import re
from pathlib import Path

from huggingface_hub import save_torch_state_dict

from ...modeling.dual_encoder.configuration import InternVLDualEncoderConfig
from ..files.shapes import load_tensors

# Name in the file -> name in the released folders. A name that no row matches is an error.
_ROWS = (
    (r"^cls_token$", "vision_model.embeddings.class_embedding"),
    (r"^pos_embed$", "vision_model.embeddings.position_embedding"),
    (r"^patch_embed\.proj\.(weight|bias)$", r"vision_model.embeddings.patch_embedding.\1"),
    (r"^blocks\.(\d+)\.(ls[12])\.gamma$", r"vision_model.encoder.layers.\1.\2"),
    (r"^blocks\.(\d+)\.(norm[12]\.|attn\.|mlp\.)", r"vision_model.encoder.layers.\1.\2"),
    (r"^clip_projector\.", "clip_projector."),
    (r"^transformer\.", "qllama.model."),
    (r"^(text_projection|logit_scale)$", r"\1"),
)
_LANDMARKS = ("pos_embed", "blocks.0.attn.qkv.weight", "transformer.embed_tokens.weight", "text_projection")
_COMPUTED = re.compile(r"rotary_emb\.inv_freq$")


def convert_internvl_c(
    checkpoint: str | os.PathLike,
    folder: str | os.PathLike,
    config: InternVLDualEncoderConfig | None = None,
    max_shard_size: str | int = "5GB",
) -> InternVLDualEncoderConfig:
    """Write the weights of InternVL-C's first release as a folder, under the names of the released folders.

    Args:
        checkpoint: the `.pth` file, read as weights only.
        folder: where `config.json` and the safetensors files go. Copy the tokenizer files of InternVL-14B-224px there
            to load a processor from it.
        config: the sizes; None: the released model's. The image size is that of the file's position table.
        max_shard_size: of one safetensors file.

    Returns:
        The configuration that was written.

    Raises:
        ValueError: the file holds weights that are not InternVL-C's, or lacks some.
    """
    state = load_tensors(checkpoint, map_location="cpu", mmap=True)
    state = state.get("module", state)
    unexpected = [name for name in state if not _COMPUTED.search(name) and _released_name(name) is None]
    weights = {new: state[old] for old in state if (new := _released_name(old)) and not _COMPUTED.search(old)}
    missing = [name for name in _LANDMARKS if name not in state]
    if unexpected or missing:
        raise ValueError(
            f"{os.fspath(checkpoint)} is not laid out as internvl_c_13b_224px.pth. Names that that file does not "
            f"have: {_some(unexpected)}. Names that are missing: {_some(missing)}."
        )
    config = InternVLDualEncoderConfig() if config is None else copy.deepcopy(config)
    table = weights["vision_model.embeddings.position_embedding"]
    side = round((table.shape[1] - 1) ** 0.5) * config.vision_config.patch_size[0]
    config.vision_config.image_size, config.force_image_size = (side, side), None
    config.dtype = table.dtype
    config.save_pretrained(folder)
    save_torch_state_dict(weights, Path(folder), max_shard_size=max_shard_size)
    return config


def _released_name(name: str) -> str | None:
    """The name in the released folders; None for a name that is not in the table."""
    return next((re.sub(pattern, new, name) for pattern, new in _ROWS if re.search(pattern, name)), None)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "none"


__all__ = ["convert_internvl_c"]
