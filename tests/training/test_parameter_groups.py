# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Parameter groups: every parameter once, decay of matrices only, rates by part and depth."""

import pytest
import torch

from tests.tiny import tiny_model
from tests.tiny_dual_encoder import tiny_dual_config
from transformers_internvl import InternVLDualEncoderModel
from transformers_internvl.training.parameters import parameter_groups, part_of, set_trainable


def by_name(model, groups) -> dict[str, dict]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)]: group for group in groups for parameter in group["params"]}


def test_every_trained_parameter_is_in_one_group():
    model = tiny_model()
    set_trainable(model, ["projector", "language"])
    groups = parameter_groups(model, 1e-3, 0.1)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert len({group["name"] for group in groups}) == len(groups)
    torch.optim.AdamW(groups)  # any torch optimizer takes them


def test_vectors_do_not_decay():
    model = tiny_model()
    for name, group in by_name(model, parameter_groups(model, 1e-3, 0.1)).items():
        vector = model.get_parameter(name).ndim == 1
        assert vector == any(word in name for word in ("norm", "bias", "lambda_"))
        assert group["weight_decay"] == (0.0 if vector else 0.1)
        assert group["lr"] == 1e-3


def test_layer_decay_falls_towards_the_pixels():
    model = tiny_model()
    groups = by_name(model, parameter_groups(model, 1.0, 0.1, {"vision": 2.0}, {"vision": 0.5}))
    blocks = [groups[f"model.vision_tower.encoder.layer.{i}.mlp.fc1.weight"]["lr"] for i in range(4)]
    assert blocks == [2.0 * 0.5**4, 2.0 * 0.5**3, 2.0 * 0.5**2, 2.0 * 0.5]
    assert groups["model.vision_tower.embeddings.patch_embeddings.projection.weight"]["lr"] == 2.0 * 0.5**5
    assert all(group["lr"] == 1.0 for name, group in groups.items() if part_of(name) != "vision")


def test_the_retrieval_recipe_of_the_dual_encoder():
    """The layers of `trainer_monkey_patch.py`: queries and temperature first, projectors and heads last."""
    model = InternVLDualEncoderModel(tiny_dual_config())
    decays = dict.fromkeys(("vision", "text", "bridge", "temperature"), 0.9)
    groups = by_name(model, parameter_groups(model, 1.0, 0.05, layer_decay=decays))
    tower, llama = (config.num_hidden_layers for config in (model.config.vision_config, model.config.qllama_config))
    expected = {
        "query_tokens": 0.9 ** (llama + 1),
        "logit_scale": 0.9 ** (llama + 1),
        "clip_projector.cross_attn.proj.weight": 1.0,
        "clip_projector2.cross_attn.proj.weight": 1.0,
        "itm_head.weight": 1.0,
        "text_projection": 1.0,
        "vision_model.encoder.layer.0.mlp.fc1.weight": 0.9**tower,
        "qllama.model.embed_tokens.weight": 0.9 ** (llama + 1),
        "qllama.model.layers.0.self_attn.q_proj.weight": 0.9**llama,
        "qllama.model.layers.0.cross_attn.q_proj.weight": 0.9**llama,
        "qllama.lm_head.weight": 1.0,
    }
    assert {name: groups[name]["lr"] for name in expected} == pytest.approx(expected)


def test_mistakes():
    model = tiny_model()
    set_trainable(model, ["projector"])
    with pytest.raises(ValueError, match="No parameter of part 'vision' trains. The parts that do: projector"):
        parameter_groups(model, 1.0, 0.1, layer_decay={"vision": 0.9})
    with pytest.raises(ValueError, match="factor in .0, 1., got 1.5 for 'projector'"):
        parameter_groups(model, 1.0, 0.1, layer_decay={"projector": 1.5})
    set_trainable(model, [])
    with pytest.raises(ValueError, match="No parameter trains"):
        parameter_groups(model, 1.0, 0.1)


def test_rates_of_what_stands_behind_the_blocks():
    """The head is as deep as its decoder, whichever block comes last among the names."""
    model = tiny_model()
    decays = {"language": 0.5, "head": 0.25, "vision": 1.0}
    groups = by_name(
        model, parameter_groups(model, 1.0, 0.1, layer_decay=decays, no_decay=("norm.weight", "fc1.weight"))
    )
    assert groups["lm_head.weight"]["lr"] == groups["model.language_model.norm.weight"]["lr"] == 1.0
    assert groups["model.language_model.layers.1.mlp.up_proj.weight"]["lr"] == 0.5
    assert groups["model.language_model.layers.0.mlp.up_proj.weight"]["lr"] == 0.25
    assert groups["model.language_model.embed_tokens.weight"]["lr"] == 0.125
    assert all(group["lr"] == 1.0 for name, group in groups.items() if part_of(name) == "vision")
    assert groups["lm_head.weight"]["name"] == "head.3.decay"
    assert groups["model.vision_tower.encoder.layer.0.mlp.fc1.weight"]["weight_decay"] == 0
    assert groups["model.vision_tower.encoder.layer.0.mlp.fc2.weight"]["weight_decay"] == 0.1


def test_a_bias_of_two_dimensions_is_not_decayed():
    model = torch.nn.Module()
    model.layer = torch.nn.Module()
    model.layer.bias, model.layer.weight = (torch.nn.Parameter(torch.zeros(2, 2)) for _ in range(2))
    groups = by_name(model, parameter_groups(model, 1.0, 0.1))
    assert (groups["layer.bias"]["weight_decay"], groups["layer.weight"]["weight_decay"]) == (0.0, 0.1)


def test_blocks_in_any_order_count_to_the_last():
    model = torch.nn.Module()
    model.encoder = torch.nn.ModuleDict()
    blocks = {str(number): torch.nn.Linear(2, 2) for number in (2, 0, 1)}
    model.encoder["layer"] = torch.nn.ModuleDict(blocks)
    groups = by_name(model, parameter_groups(model, 1.0, 0.1, layer_decay={"vision": 0.5}))
    assert {number: groups[f"encoder.layer.{number}.weight"]["lr"] for number in blocks} == {
        "2": 0.5,
        "1": 0.25,
        "0": 0.125,
    }


@pytest.mark.parametrize("factor", [0.0, -0.5, 1.0001])
def test_factors_at_their_bounds(factor):
    model = tiny_model()
    parameter_groups(model, 1.0, 0.1, layer_decay={"vision": 1.0})
    with pytest.raises(ValueError, match="factor in"):
        parameter_groups(model, 1.0, 0.1, layer_decay={"vision": factor})
    with pytest.raises(ValueError, match="No parameter of part 'bridge' trains"):
        parameter_groups(model, 1.0, 0.1, {"bridge": 1.0})
