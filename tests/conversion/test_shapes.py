# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Sizes of towers, read from their weights, against what their config.json says."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig

from tests.parity.golden import golden_cases, golden_root
from transformers_internvl.conversion.files.shapes import intern_vit_fields, weight_shapes


@pytest.mark.parametrize("folder", golden_cases("intern_vit_"), ids=lambda path: path.name)
def test_a_towers_sizes(folder):
    config = AutoConfig.from_pretrained(folder)
    fields = intern_vit_fields(weight_shapes(folder))
    assert fields == {key: getattr(config, key) for key in fields}
    assert {"num_hidden_layers", "hidden_size", "image_size", "use_qk_norm", "attention_bias", "norm_type"} < set(
        fields
    )


@pytest.mark.parametrize(("width", "heads"), [(3200, 25), (1024, 16)])
def test_heads_of_the_released_widths(width, heads):
    names = {"class_embedding": (1, 1, width), "patch_embedding.weight": (width, 3, 14, 14)}
    names |= {"position_embedding": (1, 257, width)}
    shapes = {f"embeddings.{name}": shape for name, shape in names.items()}
    shapes |= {"encoder.layers.0.mlp.fc1.weight": (4 * width, width), "encoder.layers.0.norm1.weight": (width,)}
    assert intern_vit_fields(shapes)["num_attention_heads"] == heads


def test_bin_files_and_prefixes(tmp_path):
    weights = load_file(golden_root() / "internvl_14b" / "model.safetensors")
    torch.save(weights, tmp_path / "pytorch_model.bin")
    expected = {k.removeprefix("qllama."): tuple(w.shape) for k, w in weights.items() if k.startswith("qllama.")}
    assert weight_shapes(tmp_path, "qllama.") == weight_shapes(golden_root() / "internvl_14b", "qllama.") == expected
    assert weight_shapes(tmp_path, "no such thing.") == {}


def test_a_folder_without_weights(tmp_path):
    assert weight_shapes(tmp_path) is None
