# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternViT as a backbone: which maps come out, by every way it is loaded, alone and within upstream's UperNet."""

import pytest
import torch
from torch import nn
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoModel,
    AutoModelForSemanticSegmentation,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from tests.closeness import assert_same_results
from tests.parity.golden import golden_cases
from tests.tiny import tiny_config
from transformers_internvl import InternVisionBackbone, InternVisionConfig, InternVLVisionBackbone
from transformers_internvl.modeling.vision.backbone import InternVLVisionPyramid


@pytest.fixture(params=golden_cases("intern_vit_"), ids=lambda path: path.name)
def folder(request):
    return request.param


@pytest.fixture
def pixels():
    return torch.randn(2, 3, 42, 70, generator=torch.Generator().manual_seed(0))


def hidden_states(folder, pixels):
    with torch.no_grad():
        return AutoModel.from_pretrained(folder).eval()(pixels, output_hidden_states=True).hidden_states


@pytest.mark.parametrize(
    "chosen, layers",
    [
        ({"out_indices": [1, 3]}, [1, 3]),
        ({"out_indices": (0, -1)}, [0, 4]),
        ({"out_features": ["stem", "stage2"]}, [0, 2]),
        ({}, [4]),
    ],
)
def test_maps_are_the_chosen_hidden_states(folder, pixels, chosen, layers):
    model, report = AutoBackbone.from_pretrained(folder, output_loading_info=True, **chosen)
    assert type(model) is InternVisionBackbone and not any(report.values())
    states = hidden_states(folder, pixels)
    with torch.no_grad():
        output = model.eval()(pixels)
    width = model.config.hidden_size
    assert model.channels == [width] * len(layers) and output.hidden_states is None
    assert len(output.feature_maps) == len(layers)
    for feature_map, layer in zip(output.feature_maps, layers, strict=True):
        assert feature_map.shape == (2, width, 3, 5)
        for row in range(3):
            for column in range(5):
                assert torch.equal(feature_map[:, :, row, column], states[layer][:, 1 + row * 5 + column])


def test_it_stops_at_the_last_chosen_layer(folder, pixels):
    model = AutoBackbone.from_pretrained(folder, out_indices=[1, 2]).eval()
    for layer in model.encoder.layer[2:]:
        layer.forward = None  # whoever calls it fails
    output = model(pixels, output_hidden_states=True)
    assert len(output.hidden_states) == 3
    assert isinstance(model(pixels, return_dict=False), tuple)


def test_choices_that_do_not_exist_are_refused(folder):
    with pytest.raises(ValueError, match="subset of stage_names"):
        AutoBackbone.from_pretrained(folder, out_features=["stage5"])
    with pytest.raises(ValueError, match="valid indices"):
        AutoBackbone.from_pretrained(folder, out_indices=[7])
    with pytest.raises(ValueError, match="choose 4"):
        AutoBackbone.from_pretrained(folder, out_indices=[2, 4], use_fpn=True)
    with pytest.raises(ValueError, match="multiples of the patch size"):
        AutoBackbone.from_pretrained(folder)(torch.zeros(1, 3, 56, 50))
    with pytest.raises(ValueError, match="too few"):
        AutoBackbone.from_pretrained(folder, use_fpn=True)(torch.zeros(1, 3, 14, 56))


def test_what_is_saved_loads_again_also_as_a_tower(folder, pixels, tmp_path):
    model = AutoBackbone.from_pretrained(folder, out_indices=[1, 3], use_fpn=False).eval()
    model.save_pretrained(tmp_path)
    again = AutoBackbone.from_pretrained(tmp_path).eval()
    assert again.out_features == ["stage1", "stage3"]
    tower, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    with torch.no_grad():
        for one, other in zip(again(pixels).feature_maps, model(pixels).feature_maps, strict=True):
            assert_same_results(one, other)
        assert_same_results(tower.eval()(pixels).last_hidden_state, hidden_states(folder, pixels)[-1])


def test_a_canonical_tower_too(pixels):
    config = tiny_config(vision={"use_mean_pooling": False, "out_features": ["stage2", "stage4"]}).vision_config
    model = AutoBackbone.from_config(config).eval()
    assert type(model) is InternVLVisionBackbone
    tower = AutoModel.from_config(tiny_config(vision={"use_mean_pooling": False}).vision_config).eval()
    tower.load_state_dict(model.state_dict())
    with torch.no_grad():
        last = tower(pixels).last_hidden_state  # its final norm is part of the last map
        assert_same_results(model(pixels).feature_maps[-1].flatten(2).transpose(1, 2), last[:, 1:])


def test_the_pyramid_has_four_scales():
    torch.manual_seed(0)
    pyramid = InternVLVisionPyramid(8)
    maps = tuple(torch.randn(2, 8, 4, 6) for _ in range(4))
    levels = pyramid(maps)
    assert [tuple(level.shape) for level in levels] == [(2, 8, 16, 24), (2, 8, 8, 12), (2, 8, 4, 6), (2, 8, 2, 3)]
    assert torch.equal(levels[2], maps[2])
    assert torch.equal(levels[3], nn.functional.max_pool2d(maps[3], 2))
    # Deconvolution 2 x 2 with stride 2: every patch becomes four pixels of its own.
    weight, bias = pyramid.up2.weight, pyramid.up2.bias
    torch.testing.assert_close(levels[1][:, :, 3, 5], maps[1][:, :, 1, 2] @ weight[:, :, 1, 1] + bias)


def test_the_pyramid_takes_the_end_of_every_quarter():
    """Blocks 11, 23, 35 and 47 of 48, counted from 0, in the paper."""
    with torch.device("meta"):
        model = InternVisionBackbone(InternVisionConfig(use_fpn=True))
    assert model.out_indices == [12, 24, 36, 48]


def test_within_upernet(folder, pixels, tmp_path):
    torch.manual_seed(0)
    config = UperNetConfig(
        backbone_config=AutoConfig.from_pretrained(folder, use_fpn=True),
        num_labels=4,
        hidden_size=16,
        auxiliary_channels=8,
    )
    model = UperNetForSemanticSegmentation(config).eval()
    model.backbone = AutoBackbone.from_pretrained(folder, use_fpn=True).eval()
    model.save_pretrained(tmp_path)
    again, report = AutoModelForSemanticSegmentation.from_pretrained(tmp_path, output_loading_info=True)
    assert type(again) is UperNetForSemanticSegmentation and not any(report.values())
    with torch.no_grad():
        logits = model(pixels).logits
        assert logits.shape == (2, 4, 42, 70)
        assert_same_results(again.eval()(pixels).logits, logits)
    labels = torch.randint(0, 4, (2, 42, 70))
    again.train()(pixels, labels=labels).loss.backward()
    assert all(parameter.grad is not None for parameter in again.parameters())


def test_fresh_necks_start_as_the_original_code_does(tmp_path):
    torch.manual_seed(0)
    tower = AutoModel.from_config(tiny_config().vision_config)
    tower.save_pretrained(tmp_path)
    model = AutoBackbone.from_pretrained(tmp_path, use_fpn=True)
    assert type(model) is InternVLVisionBackbone
    norm = model.neck.up1[1]
    assert (norm.weight == 1).all() and not norm.bias.any()
    assert model.neck.up2.weight.std().item() == pytest.approx((2 / (4 * 24)) ** 0.5, rel=0.05)
    assert not model.neck.up2.bias.any()


def test_gradient_checkpointing_gives_the_same_gradients(folder, pixels):
    model = AutoBackbone.from_pretrained(folder, out_indices=[1, 4]).train()

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        sum(feature_map.square().sum() for feature_map in model(pixels).feature_maps).backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    plain = gradients()
    model.gradient_checkpointing_enable()
    for expected, got in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(got, expected)


def test_names_that_are_no_folder_go_to_the_hub():
    with pytest.raises(OSError, match="connect to .*huggingface"):
        AutoBackbone.from_pretrained("nobody/nothing")


def test_the_config_says_which_layers_come_out_where_none_were_chosen():
    config = InternVisionConfig(num_hidden_layers=8)
    assert (config.out_indices, config.out_features, config.chooses_layers) == ([8], ["stage8"], False)
    config.use_fpn, config.num_hidden_layers = True, 12
    assert (config.out_indices, config.out_features[0]) == ([3, 6, 9, 12], "stage3")
    assert "out_indices" not in config.to_dict()


def test_as_few_patches_as_a_pyramid_takes():
    config = tiny_config(vision={"use_fpn": True}).vision_config
    model = InternVLVisionBackbone(config).eval()
    with torch.no_grad():
        maps = model(torch.randn(1, 3, 28, 28)).feature_maps
    assert [tuple(one.shape[-2:]) for one in maps] == [(8, 8), (4, 4), (2, 2), (1, 1)]
    for size in ((14, 28), (28, 14)):
        with pytest.raises(ValueError, match="too few"):
            model(torch.randn(1, 3, *size))
    assert model.num_features == [24] * 5 and len(model.stage_names) == 5
    assert model.neck.up1[1].eps == 1e-6


def test_maps_of_patches_that_are_not_square():
    config = tiny_config(vision={"patch_size": [14, 28], "image_size": [56, 112], "out_indices": [1, 3]}).vision_config
    model = InternVLVisionBackbone(config).eval()
    pixels = torch.randn(1, 3, 28, 84)
    with torch.no_grad():
        outputs = model(pixels)
        assert [tuple(one.shape) for one in outputs.feature_maps] == [(1, 24, 2, 3)] * 2
        assert outputs.hidden_states is None
        model.config.output_hidden_states = True
        assert (
            len(model(pixels).hidden_states) == 4 and model(pixels, output_hidden_states=False).hidden_states is None
        )
    config.patch_dropout = 0.5
    with pytest.raises(ValueError, match="needs all patches"):
        InternVLVisionBackbone(config)
