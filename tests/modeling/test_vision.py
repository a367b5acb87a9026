# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The tower by itself; its numbers are judged in `tests/parity/test_intern_vit.py`."""

import pytest
import torch

from tests.closeness import assert_same_results
from tests.parity.golden import golden_root
from tests.tiny import tiny_config
from transformers_internvl import (
    InternVisionConfig,
    InternVisionModel,
    InternVLVisionBackbone,
    InternVLVisionForImageClassification,
    InternVLVisionModel,
)
from transformers_internvl.modeling.vision.layers import InternVLVisionRMSNorm, StochasticDepth
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


def test_positions_lie_where_the_patches_are():
    """Three times as fine, every third row and column lies on one of the table; height and width are not swapped."""
    table = torch.randn(1, 17, 8)
    grid = table[0, 1:].view(4, 4, 8)
    fine = interpolate_positions(table, 12, 12)[0, 1:].view(12, 12, 8)
    torch.testing.assert_close(fine[1::3, 1::3], grid)
    for height, width in ((12, 4), (4, 12)):  # one of the sides as it was
        found = interpolate_positions(table, height, width)[0, 1:].view(height, width, 8)
        torch.testing.assert_close(found[1::3] if height == 12 else found[:, 1::3], grid)
    by_row = torch.arange(4.0).repeat_interleave(4)[None, :, None]
    by_row = torch.cat([torch.zeros(1, 1, 1), by_row], dim=1)
    found = interpolate_positions(by_row, 6, 3)[0, 1:].view(6, 3)
    assert torch.allclose(found, found[:, :1].expand(-1, 3), atol=1e-6) and (found[:, 0].diff() > 0).all()


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
    assert attention.q_norm.variance_epsilon == 0.5  # the config's, which upstream's tower does not read
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
def test_a_tower_in_the_original_layout_is_not_for_the_canonical_classes(cls):
    """Its fields have other names: biases of queries, keys and values would be left out in silence."""
    with pytest.raises(ValueError, match="original layout .*`AutoModel` or `InternVisionModel`"):
        cls.from_pretrained(golden_root() / "intern_vit_300m")


def test_the_norm_of_the_6b_tower_casts_in_the_original_order():
    """Normalized in float32, cast back, then scaled in the model's dtype: not scaled first."""
    generator = torch.Generator().manual_seed(0)
    for dtype in (torch.bfloat16, torch.float16):
        norm = InternVLVisionRMSNorm(64, eps=1e-6).to(dtype)
        with torch.no_grad():
            norm.weight.normal_(generator=generator)
        states = (3 * torch.randn(50, 64, generator=generator)).to(dtype)
        exact = states.double() / (states.double().square().mean(-1, keepdim=True) + 1e-6).sqrt()
        wanted = norm.weight * exact.float().to(dtype)
        other = (norm.weight.float() * exact.float()).to(dtype)
        found = norm(states)
        assert found.dtype == dtype
        assert (found != wanted).float().mean() < 0.005  # but for ties that float32 rounds the other way
        assert (found != other).float().mean() > 0.05


class Nothing(torch.nn.Module):
    def forward(self, hidden_states):
        return torch.zeros_like(hidden_states)


def test_what_drops_out_of_a_block_is_a_branch_and_no_more(tower):
    """Each place of dropout in turn lets nothing through."""
    block, states = tower.encoder.layer[0], torch.randn(2, 5, 24)
    with torch.no_grad():
        block.lambda_1.normal_()
        block.lambda_2.normal_()
        attended, _ = block.attention(block.layernorm_before(states))
        half = states + block.lambda_1 * attended
        whole = half + block.lambda_2 * block.mlp(block.layernorm_after(half))
        torch.testing.assert_close(block(states), whole)
        assert isinstance(block.drop_path, StochasticDepth) and isinstance(block.dropout, torch.nn.Dropout)
        kept, block.dropout = block.dropout, Nothing()
        torch.testing.assert_close(block(states), half)
        block.dropout, block.drop_path = kept, Nothing()
        assert torch.equal(block(states), states)
        block.attention.projection_dropout = Nothing()
        assert not block.attention(states)[0].any()


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize(
    "field", ["attention_dropout", "projection_dropout", "hidden_dropout_prob", "drop_path_rate", None]
)
def test_every_dropout_is_for_training(field, implementation):
    torch.manual_seed(0)
    tower = InternVLVisionModel(tiny_config(vision={field: 0.5} if field else {}).vision_config)
    tower.set_attn_implementation(implementation)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.normal_(std=0.2)
        pixels = torch.randn(2, 3, 56, 56)
        once, twice = (tower.eval()(pixels).last_hidden_state for _ in range(2))
        assert torch.equal(once, twice)
        once, twice = (tower.train()(pixels).last_hidden_state for _ in range(2))
        assert torch.equal(once, twice) == (field is None)


def test_a_mask_is_added_to_the_scores(tower):
    """One that hides all keys but the first leaves the first's value."""
    attention, states = tower.encoder.layer[0].attention, torch.randn(2, 5, 24)
    mask = torch.full((1, 1, 5, 5), -torch.inf)
    mask[..., 0] = 0.0
    for implementation in ("eager", "sdpa"):
        tower.set_attn_implementation(implementation)
        with torch.no_grad():
            expected = attention.projection_layer(attention.v_proj(states[:, :1])).expand(-1, 5, -1)
            torch.testing.assert_close(attention(states, mask)[0], expected, rtol=1e-5, atol=1e-6)


def test_the_mask_token_takes_the_place_of_patches():
    torch.manual_seed(0)
    tower = InternVLVisionModel(tiny_config(vision={"use_mask_token": True}).vision_config).eval()
    embeddings = tower.embeddings
    with torch.no_grad():
        for parameter in embeddings.parameters():
            parameter.normal_()
        pixels, masked = torch.randn(2, 3, 56, 56), torch.zeros(2, 16, dtype=torch.bool)
        masked[0, 3] = masked[1, :2] = True
        plain, found = embeddings(pixels), embeddings(pixels, masked)
        seen = torch.cat([torch.zeros(2, 1, dtype=torch.bool), masked], dim=1)
        expected = (embeddings.mask_token + embeddings.position_embeddings).expand(2, -1, -1)
    assert torch.equal(found[~seen], plain[~seen])
    torch.testing.assert_close(found[seen], expected[seen])
    with pytest.raises(ValueError, match="use_mask_token=True"):
        InternVLVisionModel(tiny_config().vision_config)(pixels, masked)


def test_neither_images_nor_patches_need_be_square():
    config = tiny_config(vision={"image_size": [28, 84], "patch_size": [14, 28]}).vision_config
    tower = InternVLVisionModel(config).eval()
    assert tower.embeddings.position_embeddings.shape == (1, 1 + 2 * 3, 24)
    with pytest.raises(ValueError, match="multiples of the patch size"):
        tower(torch.zeros(1, 3, 28, 70))  # five times 14, the height of a patch
    with pytest.raises(ValueError, match="square grids, got 6 patches"):
        tower(torch.zeros(1, 3, 56, 56))


def test_pixels_come_in_any_dtype(tower):
    pixels = torch.randn(1, 3, 56, 56, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(tower(pixels).last_hidden_state, tower(pixels.float()).last_hidden_state)
        assert tower.bfloat16()(pixels).last_hidden_state.dtype == torch.bfloat16


def test_resized_positions_are_noted_and_stay_frozen(tower):
    tower.embeddings.position_embeddings.requires_grad_(False)
    tower.resize_positions(84)
    assert tower.embeddings.position_embeddings.shape == (1, 37, 24)
    assert not tower.embeddings.position_embeddings.requires_grad
    assert tuple(tower.config.image_size) == (84, 84)
    config = tiny_config(vision={"use_absolute_position_embeddings": False}).vision_config
    with pytest.raises(ValueError, match="no position table to resize"):
        InternVLVisionModel(config).resize_positions(84)


def test_the_pooled_vector():
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, 56, 56)
    shape = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    authors = InternVisionModel(InternVisionConfig(**shape, image_size=56)).eval()
    averaged, normed = (
        InternVLVisionModel(tiny_config(vision={"use_mean_pooling": mean}).vision_config).eval()
        for mean in (True, False)
    )
    assert isinstance(averaged.layernorm, torch.nn.Identity) and normed.layernorm.eps == 1e-6
    with torch.no_grad():
        normed.layernorm.weight.normal_()
        outputs = {tower: tower(pixels) for tower in (authors, averaged, normed)}
        torch.testing.assert_close(outputs[averaged][1], outputs[averaged][0][:, 1:].mean(dim=1))
        for tower in (authors, normed):
            assert torch.equal(outputs[tower][1], outputs[tower][0][:, 0])
        last = normed(pixels, output_hidden_states=True).hidden_states[-1]
        assert_same_results(normed.layernorm(last), outputs[normed][0])
        assert_same_results(normed(pixels, num_layers=4).last_hidden_state, outputs[normed][0])
        assert_same_results(normed(pixels, num_layers=3)[0], normed(pixels, output_hidden_states=True)[2][3])


def test_fresh_weights_are_the_configurations():
    config = tiny_config(vision={"layer_scale_init_value": 0.3, "drop_path_rate": 0.2, "num_hidden_layers": 1})
    with torch.device("meta"):
        tower = InternVLVisionModel(config.vision_config)
    tower = tower.to_empty(device="cpu")
    tower.init_weights()
    block = tower.encoder.layer[0]
    assert (block.lambda_1 == 0.3).all() and (block.lambda_2 == 0.3).all()
    assert not tower.embeddings.cls_token.any() and not tower.embeddings.position_embeddings.any()
    assert block.drop_path.probability == 0.0  # the only block is the first one
