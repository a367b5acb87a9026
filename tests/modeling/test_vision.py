# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The tower by itself; its numbers are judged in `tests/parity/test_intern_vit.py`."""

import pytest
import torch

from tests.parity.golden import golden_root
from tests.tiny import tiny_config
from transformers_internvl import (
    InternVisionConfig,
    InternVisionModel,
    InternVLVisionBackbone,
    InternVLVisionForImageClassification,
    InternVLVisionModel,
)
from transformers_internvl.modeling.vision.layers import StochasticDepth
from transformers_internvl.modeling.vision.model import interpolate_positions


@pytest.fixture
def tower() -> InternVLVisionModel:
    torch.manual_seed(0)
    return InternVLVisionModel(tiny_config().vision_config).eval()


def test_positions_of_the_native_grid_are_the_table_itself():
    table = torch.randn(1, 17, 8)
    assert interpolate_positions(table, 4, 4) is table


def test_positions_of_another_grid_keep_the_class_row_and_the_dtype():
    table = torch.randn(1, 17, 8, dtype=torch.bfloat16)
    fitted = interpolate_positions(table, 5, 3)
    assert fitted.shape == (1, 16, 8) and fitted.dtype == torch.bfloat16
    assert torch.equal(fitted[:, 0], table[:, 0])


def test_positions_are_interpolated_in_float32():
    table = torch.randn(1, 17, 8)
    exact = interpolate_positions(table, 6, 6)
    half = interpolate_positions(table.bfloat16(), 6, 6)
    assert torch.equal(half, interpolate_positions(table.bfloat16().float(), 6, 6).bfloat16())
    assert not torch.equal(exact, half.float())


def test_a_tower_that_stops_early_gives_that_hidden_state(tower):
    pixels = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        states = tower(pixels, output_hidden_states=True).hidden_states
        for layers, state in enumerate(states):
            assert torch.equal(tower(pixels, num_layers=layers).last_hidden_state, state)


@pytest.mark.parametrize(
    "shape, message", [((1, 3, 56, 50), "multiples of the patch size"), ((1, 4, 56, 56), "3 channels")]
)
def test_pixels_that_do_not_fit_are_refused(tower, shape, message):
    with pytest.raises(ValueError, match=message):
        tower(torch.zeros(shape))


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    layer = StochasticDepth(0.25).train()
    output = layer(torch.ones(4000, 3))
    assert output.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert (output == output[:, :1]).all()
    assert output.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(layer.eval()(torch.ones(4, 3)), torch.ones(4, 3))


def test_drop_path_grows_linearly_with_depth():
    config = tiny_config(vision={"drop_path_rate": 0.3}).vision_config
    rates = [layer.drop_path.probability for layer in InternVLVisionModel(config).encoder.layer]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_gradient_checkpointing_gives_the_same_gradients(tower):
    pixels = torch.randn(2, 3, 56, 56)

    def gradients() -> list[torch.Tensor]:
        tower.zero_grad()
        tower.train()(pixels).last_hidden_state.square().sum().backward()
        return [p.grad.clone() for p in tower.parameters()]

    plain = gradients()
    tower.gradient_checkpointing_enable()
    for expected, got in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("implementation", ["sdpa", "flex_attention"])
def test_attention_implementations_agree(implementation):
    torch.manual_seed(0)
    # flex attention wants heads of at least 16 channels
    config = tiny_config(vision={"hidden_size": 64, "num_attention_heads": 4}).vision_config
    model = InternVLVisionModel(config).eval()
    pixels = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        model.set_attn_implementation("eager")
        expected = model(pixels).last_hidden_state
        model.set_attn_implementation(implementation)
        torch.testing.assert_close(model(pixels).last_hidden_state, expected, rtol=1e-4, atol=2e-5)


def test_query_and_key_are_normalized_over_the_full_width():
    config = InternVisionConfig(
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=32,
        image_size=56,
        layer_norm_eps=0.5,
    )
    attention = InternVisionModel(config).encoder.layer[0].attention
    assert attention.q_norm.weight.shape == attention.k_norm.weight.shape == (24,)
    assert attention.q_norm.variance_epsilon == 0.5  # the config's, which stock's tower does not read
    x = torch.randn(2, 5, 24)
    expected = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 0.5)
    torch.testing.assert_close(attention.q_norm(x), expected)


def test_resizing_from_a_wrong_size_is_refused():
    config = InternVisionConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32, image_size=56
    )
    with pytest.raises(ValueError, match="16 patches"):
        InternVisionModel(config).resize_pos_embeddings(448, 224, 14)


@pytest.mark.parametrize("cls", [InternVLVisionModel, InternVLVisionForImageClassification, InternVLVisionBackbone])
def test_a_tower_in_the_authors_layout_is_not_for_the_canonical_classes(cls):
    """Its fields have other names: biases of queries, keys and values would be left out in silence."""
    with pytest.raises(ValueError, match="authors' layout .*`AutoModel` or `InternVisionModel`"):
        cls.from_pretrained(golden_root() / "intern_vit_300m")
