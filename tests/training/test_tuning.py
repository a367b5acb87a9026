# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What trains under a head, and at which rate."""

import pytest
import torch
from transformers import AutoBackbone, UperNetConfig, UperNetForSemanticSegmentation

from tests.tiny import tiny_config
from transformers_internvl import InternVLVisionForImageClassification, InternVLVisionForSemanticSegmentation
from transformers_internvl.training.parameters import layer_decay_groups, set_tuning


def config(**changes):
    config = tiny_config(vision={"drop_path_rate": 0.5, **changes}).vision_config
    config.num_labels = 3
    return config


def stirred(model):
    """Every parameter at a scale at which it matters and its gradients are no rounding errors."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def classifier():
    return stirred(InternVLVisionForImageClassification(config(classifier_pooling="attention_pooling")))


def segmenter():
    return stirred(InternVLVisionForSemanticSegmentation(config()))


def upernet():
    backbone = config(use_fpn=True)
    settings = UperNetConfig(backbone_config=backbone, num_labels=3, hidden_size=8, auxiliary_channels=8)
    return stirred(UperNetForSemanticSegmentation(settings))


def batch(model, size=4):
    dense = not isinstance(model, InternVLVisionForImageClassification)
    labels = torch.randint(0, 3, (size, 42, 56) if dense else (size,))
    return {"pixel_values": torch.randn(size, 3, 42, 56), "labels": labels}


def in_tower(name: str) -> bool:
    tower = ("internvl_vision.", "backbone.embeddings.", "backbone.encoder.", "backbone.layernorm.")
    return name.startswith(tower)


@pytest.mark.parametrize("build", [classifier, segmenter, upernet])
@pytest.mark.parametrize("regime", ["frozen", "head", "full"])
def test_ten_steps_change_what_trains_and_nothing_else(build, regime):
    model = set_tuning(build(), regime).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        model.train()(**batch(model)).loss.backward()
        optimizer.step()
    assert any(in_tower(name) for name in before) and not all(in_tower(name) for name in before)
    for name, parameter in model.named_parameters():
        trains = regime == "full" or not in_tower(name)
        # These shift all logits of a query alike, or what a batch norm centres again.
        idle = name.endswith(("k_bias", "k_proj.bias", "neck.up1.3.bias", "neck.up2.bias"))
        assert torch.equal(parameter, before[name]) != trains or idle, name


@pytest.mark.parametrize("build", [classifier, segmenter])
def test_a_frozen_tower_gives_the_same_features_every_time(build):
    model = set_tuning(build(), "frozen").train()
    assert model.training and model.batch_norm.training and not model.internvl_vision.training
    pixels = torch.randn(2, 3, 42, 56)
    one, other = (model.internvl_vision(pixels).last_hidden_state for _ in range(2))
    assert torch.equal(one, other) and not one.requires_grad
    set_tuning(model, "full")
    assert model.internvl_vision.training
    one, other = (model.internvl_vision(pixels).last_hidden_state for _ in range(2))
    assert not torch.equal(one, other)  # stochastic depth is back


def test_unknown_regimes_and_models_are_refused():
    with pytest.raises(ValueError, match="'frozen', 'head', 'full'"):
        set_tuning(classifier(), "linear")
    with pytest.raises(ValueError, match="no InternViT"):
        set_tuning(torch.nn.Linear(2, 2), "frozen")
    with pytest.raises(ValueError, match="no InternViT"):
        layer_decay_groups(torch.nn.Linear(2, 2), 1e-3)


@pytest.mark.parametrize("build", [classifier, upernet])
def test_rates_decay_towards_the_first_layers(build):
    model = build()
    groups = layer_decay_groups(model, learning_rate=1.0, weight_decay=0.05, decay=0.5)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen = {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert seen.keys() == dict(model.named_parameters()).keys()
    assert sum(len(group["params"]) for group in groups) == len(seen)
    for name, (rate, decay) in seen.items():
        if ".embeddings." in name:
            assert rate == 0.5**5, name
        elif ".encoder.layer." in name:
            assert rate == 0.5 ** (4 - int(name.split("layer.")[1].split(".")[0])), name
        else:
            assert rate == 1.0, name
        free = name.endswith(("bias", "cls_token", "position_embeddings")) or ".lambda_" in name or "norm" in name
        free = free or name == "backbone.neck.up1.1.weight"
        assert decay == (0.0 if free else 0.05), name
    torch.optim.AdamW(groups)


def test_frozen_parameters_are_in_no_group():
    model = set_tuning(classifier(), "frozen")
    held = {id(parameter) for group in layer_decay_groups(model, 1.0) for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def test_the_backbone_alone_is_a_model_with_a_tower():
    model = set_tuning(AutoBackbone.from_config(config(use_fpn=True)), "head")
    assert all(parameter.requires_grad == name.startswith("neck.") for name, parameter in model.named_parameters())


@pytest.mark.parametrize("trains", [True, False])
def test_the_mode_of_a_model_stays(trains):
    model = classifier().train(trains)
    assert set_tuning(model, "head").training is trains
    assert not model.internvl_vision.training
    assert set_tuning(model, "full").internvl_vision.training is trains


def test_defaults_of_layer_decay():
    model = classifier()
    groups = {group["name"]: group for group in layer_decay_groups(model, 1.0)}
    assert (
        groups["vision.0.decay"]["lr"] == pytest.approx(0.95**5) and groups["vision.0.decay"]["weight_decay"] == 0.05
    )
