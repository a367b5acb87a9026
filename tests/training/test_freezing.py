# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What trains is what was named, and the rest does not move by a bit."""

import pytest
import torch

from tests.modeling.test_dual_encoder import tiny_config as tiny_dual_config
from tests.tiny import tiny_batch, tiny_model
from transformers_internvl import InternVLDualEncoderModel
from transformers_internvl.training.parameters import (
    count_parameters,
    freeze,
    part_of,
    set_trainable,
    trainable_table,
    unfreeze,
)


def trained_names(model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("selectors", "prefixes"),
    [
        (["projector"], ("model.multi_modal_projector.",)),
        (["vision", "projector"], ("model.vision_tower.", "model.multi_modal_projector.")),
        (["language", "head"], ("model.language_model.", "lm_head.")),
        (["*.language_model.layers.1.*"], ("model.language_model.layers.1.",)),
        (
            [r"re:encoder\.layer\.[23]\."],
            ("model.vision_tower.encoder.layer.2.", "model.vision_tower.encoder.layer.3."),
        ),
        ([], ("none",)),
    ],
    ids=str,
)
def test_frozen_tensors_are_bit_identical_after_ten_steps(selectors, prefixes):
    model = tiny_model().train()
    set_trainable(model, selectors)
    expected = {name for name, _ in model.named_parameters() if name.startswith(prefixes)}
    assert trained_names(model) == expected
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if selectors:
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.1)
        for step in range(10):
            batch = tiny_batch([1, 2], seed=step)
            model(**batch, labels=batch["input_ids"]).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == expected


def test_freeze_and_unfreeze_change_only_what_they_name():
    model = tiny_model()
    everything = trained_names(model)
    freeze(model, "vision", "head")
    assert trained_names(model) == {name for name in everything if part_of(name) not in ("vision", "head")}
    unfreeze(model, "model.vision_tower.encoder.layer.3.*")
    back = {name for name in everything if name.startswith("model.vision_tower.encoder.layer.3.")}
    assert trained_names(model) == {name for name in everything if part_of(name) in ("projector", "language")} | back


def test_a_tied_head_is_the_embedding():
    model = tiny_model(tie_word_embeddings=True)
    assert "lm_head.weight" not in dict(model.named_parameters())
    freeze(model, "head")
    assert not model.get_input_embeddings().weight.requires_grad
    set_trainable(model, ["language", "head"])
    assert model.get_input_embeddings().weight.requires_grad


def test_a_selector_that_names_nothing_is_an_error_and_changes_nothing():
    model = tiny_model()
    before = trained_names(model)
    with pytest.raises(ValueError, match="named by 'bridge'. .* its parts .head, language, projector, vision"):
        set_trainable(model, ["vision", "bridge"])
    with pytest.raises(ValueError, match="named by 'vision_tower.*'.*A name of this model: model.vision_tower"):
        freeze(model, "vision_tower.*")
    assert trained_names(model) == before


def test_table():
    model = tiny_model()
    set_trainable(model, "projector")
    counts = count_parameters(model)
    assert sum(total for total, _ in counts.values()) == sum(p.numel() for p in model.parameters())
    lines = [line.split() for line in trainable_table(model).splitlines()]
    assert lines[0] == ["part", "parameters", "trainable"]
    rows = {part: (int(total.replace(",", "")), int(trained.replace(",", ""))) for part, total, trained in lines[1:]}
    assert rows.pop("all") == (sum(t for t, _ in counts.values()), counts["projector"][0])
    assert rows == counts and rows["vision"][1] == 0


def test_the_bridge_of_the_dual_encoder_is_what_its_second_stage_trains():
    model = InternVLDualEncoderModel(tiny_dual_config())
    model.freeze_for_stage_2()
    expected = trained_names(model)
    set_trainable(model, ["bridge", "temperature"])
    assert expected and trained_names(model) == expected
