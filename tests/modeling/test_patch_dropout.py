# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Patch masking: how many, which, whose; and that nothing of it is left outside training."""

import json

import pytest
import torch

from tests.closeness import assert_same_results
from tests.tiny import tiny_config
from tests.tiny_dual_encoder import images, texts, tiny_dual_encoder
from transformers_internvl import InternVisionConfig, InternVLVisionConfig, InternVLVisionModel
from transformers_internvl.modeling.vision.backbone import InternVLVisionBackbone
from transformers_internvl.modeling.vision.layers import PatchDropout, num_patches_kept


def tiny_tower(patch_dropout: float = 0.5, **changes) -> InternVLVisionModel:
    torch.manual_seed(0)
    tower = InternVLVisionModel(tiny_config(vision={"patch_dropout": 0.0, **changes}).vision_config)
    tower.config.patch_dropout = patch_dropout
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.normal_(std=0.2)
    return tower.train()


def tokens_seen(tower: InternVLVisionModel, pixels: torch.Tensor) -> list[int]:
    """How many tokens every block is given."""
    seen = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1])) for layer in tower.encoder.layer
    ]
    tower(pixels)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("height, width, kept", [(56, 56, 8), (84, 56, 12), (42, 42, 4), (14, 14, 1)])
def test_every_block_runs_on_half_of_the_patches(height, width, kept):
    tower = tiny_tower()
    assert tokens_seen(tower, torch.randn(2, 3, height, width)) == [1 + kept] * 4
    patches = height // 14 * (width // 14)
    assert tokens_seen(tower.eval(), torch.randn(2, 3, height, width)) == [1 + patches] * 4


@pytest.mark.parametrize("share, kept", [(0.0, 196), (0.25, 147), (0.5, 98), (0.9, 20), (0.999, 1)])
def test_how_many_are_kept(share, kept):
    assert num_patches_kept(196, share) == kept
    layer = PatchDropout(InternVLVisionConfig(patch_dropout=share)).train()
    assert layer(torch.randn(3, 197, 4)).shape == (3, 1 + kept, 4)


def test_the_class_token_stays_and_the_others_keep_their_order_and_positions():
    tokens = torch.arange(3 * 17).float().view(3, 17, 1)
    kept = PatchDropout(InternVLVisionConfig(patch_dropout=0.5)).train()(tokens)
    assert torch.equal(kept[:, 0], tokens[:, 0])
    assert (kept.diff(dim=1) > 0).all()
    for row, source in zip(kept, tokens, strict=True):
        assert set(row.flatten().tolist()) < set(source.flatten().tolist())

    tower = tiny_tower()
    pixels = torch.randn(2, 3, 56, 56)
    torch.manual_seed(3)
    kept = tower.embeddings(pixels)
    everything = tower.eval().embeddings(pixels)
    for row in range(2):
        distances = torch.cdist(kept[row], everything[row])
        assert (distances.min(dim=1).values < 1e-4).all()


def test_every_image_has_a_choice_of_its_own_and_all_patches_get_their_turn():
    layer = PatchDropout(InternVLVisionConfig(patch_dropout=0.5)).train()
    torch.manual_seed(0)
    kept = layer(torch.arange(17.0).expand(2000, 17)[..., None])[:, 1:, 0].long()
    assert (kept[0] != kept[1]).any()
    share = torch.bincount(kept.flatten(), minlength=17)[1:] / 2000
    assert share.min() > 0.45 and share.max() < 0.55


def test_a_seed_gives_a_choice():
    tower, pixels = tiny_tower(), torch.randn(2, 3, 56, 56)

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return tower(pixels).last_hidden_state

    assert torch.equal(run(5), run(5)) and not torch.equal(run(5), run(6))


def test_gradients_reach_the_kept_patches_alone():
    tower = tiny_tower()
    pixels = torch.randn(2, 3, 56, 56, requires_grad=True)
    tower(pixels).last_hidden_state.square().sum().backward()
    reached = pixels.grad.unfold(2, 14, 14).unfold(3, 14, 14).abs().sum(dim=(1, 4, 5)) > 0  # (T, h, w)
    assert reached.flatten(1).sum(dim=1).tolist() == [8, 8]


@torch.no_grad()
def test_evaluation_sees_everything_and_without_it_training_does_too():
    masked, whole = tiny_tower(0.5).eval(), tiny_tower(0.0)
    pixels = torch.randn(2, 3, 56, 56)
    assert_same_results(masked(pixels).last_hidden_state, whole(pixels).last_hidden_state)
    assert not torch.equal(masked.train()(pixels).pooler_output, whole(pixels).pooler_output)
    masked.config.patch_dropout = 0.0  # the end of stage 1
    assert_same_results(masked(pixels).last_hidden_state, whole(pixels).last_hidden_state)


def test_the_dual_encoder_trains_on_half_of_the_patches():
    model = tiny_dual_encoder(vision={"patch_dropout": 0.5}).train()
    outputs = model(images(3, side=56), texts(6, 4, 5), return_loss=True)
    assert outputs.vision_model_output.last_hidden_state.shape == (3, 1 + 8, 24)
    outputs.loss.backward()
    assert model.vision_model.embeddings.position_embeddings.grad.abs().sum() > 0
    with torch.no_grad():
        assert model.eval().get_image_features(images()).last_hidden_state.shape == (2, 1 + 9, 24)


def test_the_field_in_files(tmp_path):
    InternVisionConfig(patch_dropout=0.5).save_pretrained(tmp_path / "half")
    InternVisionConfig().save_pretrained(tmp_path / "none")
    half, none = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("half", "none"))
    assert half["patch_dropout"] == 0.5 and "patch_dropout" not in none
    assert InternVisionConfig.from_pretrained(tmp_path / "half").patch_dropout == 0.5

    model = tiny_dual_encoder()
    model.config.save_pretrained(tmp_path)
    assert "patch_dropout" not in json.loads((tmp_path / "config.json").read_text())["vision_config"]
    model.config.vision_config.patch_dropout = 0.5
    model.config.save_pretrained(tmp_path)
    assert type(model.config).from_pretrained(tmp_path).vision_config.patch_dropout == 0.5


def test_what_cannot_be():
    with pytest.raises(ValueError, match="`patch_dropout` is a share in"):
        InternVLVisionConfig(patch_dropout=1.0)
    with pytest.raises(ValueError, match="must be 0 in a chat model"):
        tiny_config(vision={"patch_dropout": 0.5})
    with pytest.raises(ValueError, match="feature map needs all patches, but `patch_dropout` is 0.5"):
        InternVLVisionBackbone(InternVLVisionConfig(patch_dropout=0.5, hidden_size=24, num_attention_heads=4))
