# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Position tables resized and blocks taken away: exactly, in towers and in the models around them."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForImageTextToText

from tests import llava
from tests.closeness import assert_same_results
from tests.parity.golden import golden_cases, golden_root
from tests.tiny import tiny_batch, tiny_config, tiny_model
from transformers_internvl import (
    InternVisionForImageClassification,
    InternVisionForSemanticSegmentation,
    InternVLDualEncoderModel,
    InternVLVisionModel,
)
from transformers_internvl.conversion.surgery import towers
from transformers_internvl.conversion.surgery.towers import resize_position_table, truncate_layers


@pytest.fixture(params=golden_cases("intern_vit_"), ids=lambda path: path.name)
def folder(request):
    return request.param


@pytest.fixture
def tower(folder):
    return AutoModel.from_pretrained(folder).eval()


def test_the_resized_table_is_the_original_one(tower, folder):
    expected = load_file(folder / "outputs.safetensors")["resized84.position_embedding"]
    resized = resize_position_table(tower, 84)
    assert resized is tower and tuple(tower.config.image_size) == (84, 84)
    torch.testing.assert_close(tower.embeddings.position_embeddings.detach(), expected, rtol=1e-4, atol=2e-5)


def test_a_resized_tower_sees_that_size_as_before_and_reloads(tower, tmp_path):
    pixels = torch.randn(2, 3, 84, 84)
    with torch.no_grad():
        before = tower(pixels).last_hidden_state
        assert_same_results(resize_position_table(tower, 84)(pixels).last_hidden_state, before)
        tower.save_pretrained(tmp_path)
        again, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
        assert not report["mismatched_keys"] and tuple(again.config.image_size) == (84, 84)
        assert_same_results(again.eval()(pixels).last_hidden_state, before)


@pytest.mark.parametrize("layers", [1, 3, 4])
def test_a_truncated_tower_gives_that_hidden_state(tower, layers, tmp_path):
    pixels = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        state = tower(pixels, output_hidden_states=True).hidden_states[layers]
        assert_same_results(truncate_layers(tower, layers)(pixels).last_hidden_state, state)
        tower.save_pretrained(tmp_path)
        again, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
        assert not report["missing_keys"] and not report["unexpected_keys"]
        assert again.config.num_hidden_layers == len(again.encoder.layer) == layers
        assert_same_results(again.eval()(pixels).last_hidden_state, state)


def test_48_to_45():
    """The released 45-block towers are the 48-block ones: the same last layer read, 3 blocks of parameters less."""
    from transformers_internvl import InternVisionConfig, InternVisionModel

    with torch.device("meta"):
        tower = InternVisionModel(InternVisionConfig(image_size=448))
    assert tower.num_parameters() == 5_905_251_200
    assert truncate_layers(tower, 45).num_parameters() == 5_536_496_000


def test_stochastic_depth_is_that_of_the_shorter_tower():
    tower = InternVLVisionModel(tiny_config(vision={"drop_path_rate": 0.3}).vision_config)
    rates = [layer.drop_path.probability for layer in truncate_layers(tower, 3).encoder.layer]
    assert rates == pytest.approx([0.0, 0.15, 0.3])


def test_a_chat_model_reads_the_same_layer(tmp_path):
    """-4 of 48 is -1 of 45; here -2 of 4 is -1 of 3."""
    model = AutoModelForImageTextToText.from_pretrained(golden_root() / "chat_llama_v1_2").eval()
    depth = model.config.vision_config.num_hidden_layers
    pixels = torch.randn(2, 3, 56, 56)
    layer = model.config.select_layer
    with torch.no_grad():
        before = model.get_image_features(pixels).pooler_output
        truncate_layers(model, depth + 1 + layer)
        assert model.config.select_layer == -1
        assert_same_results(model.get_image_features(pixels).pooler_output, before)
        model.save_pretrained(tmp_path)
        again = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
        assert again.config.select_layer == -1 and again.config.vision_config.num_hidden_layers == depth + 1 + layer
        assert_same_results(again.get_image_features(pixels).pooler_output, before)


def test_layers_from_the_front_keep_their_number():
    model = tiny_model(vision_feature_layer=2)
    with torch.no_grad():
        before = model(**tiny_batch([1])).logits
        assert truncate_layers(model, 3).config.vision_feature_layer == 2
        assert torch.equal(model(**tiny_batch([1])).logits, before)


def test_a_resized_chat_model_has_its_token_count(tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(golden_root() / "chat_qwen2_5").eval()
    pixels = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        before = model.get_image_features(pixels).pooler_output
        resize_position_table(model, 112)
        assert_same_results(model.get_image_features(pixels).pooler_output, before)
        assert model.config.image_seq_length == model.num_image_token == before.shape[1] == 16
        assert model.config.tile_size == 112
        model.save_pretrained(tmp_path)
        again = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
        assert again.config.tile_size == 112 and again.num_image_token == 16
        assert_same_results(again.get_image_features(pixels).pooler_output, before)


def test_the_dual_encoder_is_resized_too(tmp_path):
    model = InternVLDualEncoderModel.from_pretrained(golden_root() / "internvl_14b").eval()
    size = model.config.vision_config.image_size[0] + 28
    pixels = torch.randn(1, 3, size, size)
    with torch.no_grad():
        before = model.get_image_features(pixels, mode="InternVL-C")
        resize_position_table(model, size).save_pretrained(tmp_path)
        again = InternVLDualEncoderModel.from_pretrained(tmp_path).eval()
        for now in (model, again):
            after = now.get_image_features(pixels, mode="InternVL-C")
            assert_same_results(_tensor(after), _tensor(before))


@pytest.mark.parametrize("form", ["mlp2x_gelu", "two_mlp"])
def test_chat_v1_is_resized_with_its_queries(form, tmp_path):
    llava.write_folder(tmp_path / "before", form)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "before").eval()
    pixels = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        before = model.get_image_features(pixels).pooler_output
        resize_position_table(model, 56)
        assert model.config.tile_size == 56
        assert model.config.image_seq_length == before.shape[1] == 16 + (96 if form == "two_mlp" else 0)
        assert_same_results(model.get_image_features(pixels).pooler_output, before)
    if form == "two_mlp":
        with pytest.raises(ValueError, match="output of block 6"):
            truncate_layers(model, 5)


def _tensor(features):
    return features if isinstance(features, torch.Tensor) else features.pooler_output


def test_heads_keep_the_layer_they_read(folder):
    pixels = torch.randn(1, 3, 56, 56)
    model = InternVisionForSemanticSegmentation.from_pretrained(folder, num_labels=3, out_indices=[-3]).eval()
    with torch.no_grad():
        before = model(pixels).logits
        assert torch.equal(truncate_layers(model, 2)(pixels).logits, before)
        assert model.config.out_features == ["stage2"] and model.config.out_indices == [2]
    with pytest.raises(ValueError, match="output of block 2"):
        truncate_layers(model, 1)


def test_what_cannot_be_done_is_refused(tower, folder):
    with pytest.raises(ValueError, match="1 to 4"):
        truncate_layers(tower, 5)
    with pytest.raises(ValueError, match="1 to 4"):
        truncate_layers(tower, 0)
    with pytest.raises(ValueError, match="multiple of 14 pixels, got 50"):
        resize_position_table(tower, 50)
    with pytest.raises(ValueError, match="multiple of 14 pixels, got 0"):
        resize_position_table(tower, 0)
    with pytest.raises(ValueError, match="output of block 4"):
        truncate_layers(InternVisionForImageClassification(copy.deepcopy(tower.config)), 3)
    with pytest.raises(ValueError, match="output of block 4"):
        truncate_layers(tiny_model(), 3)
    with pytest.raises(ValueError, match="multiple of 28 pixels, got 70"):
        resize_position_table(tiny_model(), 70)
    with pytest.raises(ValueError, match="0 InternViT towers"):
        truncate_layers(tiny_model().model.language_model, 1)
    normed = InternVLVisionModel(tiny_config(vision={"use_mean_pooling": False}).vision_config)
    with pytest.raises(ValueError, match="norm after its last block"):
        truncate_layers(normed, 3)
    bare = InternVLVisionModel(tiny_config(vision={"use_absolute_position_embeddings": False}).vision_config)
    with pytest.raises(ValueError, match="no position table"):
        resize_position_table(bare, 84)
    wide = InternVLVisionModel(tiny_config(vision={"image_size": [56, 84]}).vision_config)
    with pytest.raises(ValueError, match="square grids, got 24 patches"):
        resize_position_table(wide, 84)


def test_sides_at_the_bounds_of_patches_of_two_sides():
    """One patch is the smallest image; of patches with two sides the longer one counts."""
    tower = InternVLVisionModel(tiny_config().vision_config)
    assert tuple(resize_position_table(tower, 14).config.image_size) == (14, 14)
    assert tower.embeddings.position_embeddings.shape[1] == 2
    assert resize_position_table(tiny_model(), 28).config.image_seq_length == 1
    with pytest.raises(ValueError, match="multiple of 14 pixels, got 13"):
        resize_position_table(tower, 13)
    long = InternVLVisionModel(tiny_config(vision={"patch_size": [14, 28]}).vision_config)
    with pytest.raises(ValueError, match="multiple of 28 pixels, got 42"):
        resize_position_table(long, 42)


def test_layers_by_number_from_both_ends():
    """In a tower of 4 blocks the states are 0 to 4, or -5 to -1; of 3 blocks, -4 to -1."""
    assert [towers._renumbered(layer, 4, 3) for layer in (0, 3, -2, -5)] == [0, 3, -1, -4]
    assert towers._renumbered([0, -2, [1]], 4, 3) == [0, -1, [1]]
    for layer, least in ((0, 0), (3, 3), (-1, 4), (-5, 0)):
        model = tiny_model(vision_feature_layer=layer)
        assert towers._last_layer_read(model, towers.find_tower(model), 4) == least
    model = tiny_model()
    model.config.vision_feature_layer = [1, -2]
    assert towers._last_layer_read(model, towers.find_tower(model), 4) == 3
    tower = model.model.vision_tower
    assert towers._last_layer_read(tower, tower, 4) == 0


def test_as_few_blocks_as_are_read_and_no_fewer():
    model = tiny_model(vision_feature_layer=2)
    with pytest.raises(ValueError, match="output of block 2: keep at least 2"):
        truncate_layers(model, 1)
    pixels = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        before = model.get_image_features(pixels).pooler_output
        assert torch.equal(truncate_layers(model, 2).get_image_features(pixels).pooler_output, before)
    assert model.config.vision_feature_layer == 2 and len(model.model.vision_tower.encoder.layer) == 2
    assert truncate_layers(model, 2) is model


def test_a_norm_at_the_end_matters_only_where_blocks_go():
    normed = InternVLVisionModel(tiny_config(vision={"use_mean_pooling": False}).vision_config)
    assert truncate_layers(normed, 4) is normed
