# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Operations on weights: each is undone by its inverse, exactly."""

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.core_model_loading import ConversionOps

from tests.closeness import assert_same_results
from transformers_internvl.conversion.weights import mappings
from transformers_internvl.conversion.weights.converters import BesideBody, FusedConverter
from transformers_internvl.conversion.weights.ops import (
    merge_grouped_qkv,
    merge_qkv,
    split_grouped_qkv,
    split_qkv,
)
from transformers_internvl.modeling.language_models import InternLM2Config, InternLM2ForCausalLM

CONFIG = LlamaConfig(hidden_size=48, num_attention_heads=6, num_key_value_heads=2)


@pytest.mark.parametrize("shape", [(80, 48), (80,), (80, 1)], ids=["weight", "bias", "scale"])
def test_groups_are_split_and_joined_exactly(shape):
    fused = torch.randn(shape)
    query, key, value = split_grouped_qkv(fused, CONFIG)
    assert (len(query), len(key), len(value)) == (48, 16, 16)
    assert torch.equal(merge_grouped_qkv([query, key, value], CONFIG), fused)


def test_groups_are_queries_then_key_then_value():
    # 2 groups of 3 query heads, 8 rows a head: number the heads as they lie in the fused tensor
    fused = torch.arange(10).repeat_interleave(8)
    query, key, value = (part.view(-1, 8)[:, 0].tolist() for part in split_grouped_qkv(fused, CONFIG))
    assert query == [0, 1, 2, 5, 6, 7] and key == [3, 8] and value == [4, 9]


def test_thirds_are_split_and_joined_exactly():
    fused = torch.randn(12, 4)
    parts = split_qkv(fused, CONFIG)
    assert torch.equal(parts[1], fused[4:8])
    assert torch.equal(merge_qkv(list(parts), CONFIG), fused)


@pytest.mark.parametrize("scope", [None, "language_model"])
def test_the_head_steps_out_of_the_bodys_scope_and_back(scope):
    row = BesideBody(r"^output\.", r"^lm_head\.")
    row.scope_prefix, row.base_model_prefix = scope, "model"
    key = "output.weight" if scope is None else f"{scope}.output.weight"
    assert row.rename_source_key(key)[0] == "lm_head.weight"
    assert row.rename_source_key("model.norm.weight") == ("model.norm.weight", None)
    back = row.reverse_transform()
    assert back.rename_source_key("lm_head.weight")[0] == key
    assert back.reverse_transform().rename_source_key(key)[0] == "lm_head.weight"


@pytest.mark.parametrize("bias", [False, True])
def test_an_internlm2_folder_loads_and_saves_under_its_own_names(tmp_path, bias):
    from safetensors.torch import load_file

    config = InternLM2Config(
        vocab_size=40,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        bias=bias,
    )
    model = InternLM2ForCausalLM(config).eval()
    model.save_pretrained(tmp_path / "first")
    weights = load_file(tmp_path / "first" / "model.safetensors")
    assert "output.weight" in weights and "model.tok_embeddings.weight" in weights
    assert weights["model.layers.0.attention.wqkv.weight"].shape == (80, 48)
    assert ("model.layers.0.attention.wqkv.bias" in weights) is bias
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "first").eval()
    assert type(again) is InternLM2ForCausalLM
    ids = torch.randint(0, 40, (1, 9))
    with torch.no_grad():
        assert_same_results(again(ids).logits, model(ids).logits)
    again.save_pretrained(tmp_path / "second")
    second = load_file(tmp_path / "second" / "model.safetensors")
    assert second.keys() == weights.keys() and all(torch.equal(second[key], weights[key]) for key in weights)


class TakesTheFirst(ConversionOps):
    """As some quantizers of transformers: what it is given beside one tensor is lost."""

    def convert(self, input_dict, full_layer_name=None, **kwargs):
        return {full_layer_name: -next(iter(input_dict.values()))}


class LeavesKeys:
    """A quantizer that takes all parts of a fused weight but the keys."""

    pre_quantized = False

    def param_needs_quantization(self, model, name):
        return ".k_proj." not in name

    def get_quantize_ops(self):
        return TakesTheFirst()


def test_every_part_of_a_fused_tensor_is_quantized_or_not():
    converter = next(row for row in mappings.intern_vit() if isinstance(row, FusedConverter))
    fused = torch.randn(12, 4)
    converter.collected_tensors[converter.source_patterns[0]].append(fused)
    found = converter.convert("layer.0.attention.q_proj.weight", hf_quantizer=LeavesKeys())
    query, key, value = fused.chunk(3)
    expected = dict(zip("qkv", (-query, key, -value), strict=True))
    assert list(found) == [f"layer.0.attention.{part}_proj.weight" for part in "qkv"]
    assert all(torch.equal(found[f"layer.0.attention.{part}_proj.weight"], expected[part]) for part in "qkv")
