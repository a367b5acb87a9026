# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What trains is what was named, and the rest does not move by a bit."""

import pytest
import torch
from peft import get_peft_model

from tests.tiny import tiny_batch, tiny_model
from tests.tiny_dual_encoder import tiny_dual_config
from transformers_internvl import InternVLDualEncoderModel
from transformers_internvl.training.lora import lora_config
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


@pytest.mark.parametrize(
    "name, part",
    [
        ("model.vision_tower.layernorm.weight", "vision"),
        ("layernorm.weight", "vision"),  # of a tower alone
        ("embeddings.cls_token", "vision"),
        ("backbone.encoder.layer.0.mlp.fc1.weight", "vision"),
        ("backbone.layernorm.bias", "vision"),
        ("internvl_vision.encoder.layer.0.lambda_1", "vision"),
        ("clip_projector.cross_attn.proj.weight", "vision"),
        ("clip_projector2.cross_attn.proj.weight", "bridge"),
        ("itm_head.weight", "bridge"),
        ("query_tokens", "bridge"),
        ("qllama.model.layers.3.cross_attn.q_proj.weight", "bridge"),
        ("qllama.model.layers.3.self_attn.q_proj.weight", "text"),
        ("text_projection", "text"),
        ("logit_scale", "temperature"),
        ("qllama.lm_head.weight", "head"),
        ("lm_head.weight", "head"),
        ("model.multi_modal_projector.linear_1.weight", "projector"),
        ("model.language_model.embed_tokens.weight", "language"),
        ("base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.default.weight", "adapters"),
        ("base_model.model.model.multi_modal_projector.modules_to_save.default.linear_1.weight", "adapters"),
        (
            "base_model.model.model.language_model.embed_tokens.token_adapter.trainable_tokens_delta.default",
            "adapters",
        ),
        ("classifier.weight", "other"),
        ("decode_head.encoder.weight", "other"),
    ],
)
def test_the_part_of_a_name(name, part):
    assert part_of(name) == part


def test_selectors_of_every_kind():
    model = tiny_model()
    model.classifier = torch.nn.Linear(2, 2)
    set_trainable(model, ["other"])
    assert trained_names(model) == {"classifier.weight", "classifier.bias"}
    set_trainable(model, "projector")  # one selector need not stand in a list
    assert {part_of(name) for name in trained_names(model)} == {"projector"}
    set_trainable(model, [r"re:layers\.1\.self_attn\.q_proj\.weight$", "lm_head.weight"])
    assert trained_names(model) == {"model.language_model.layers.1.self_attn.q_proj.weight", "lm_head.weight"}
    counts = count_parameters(model)
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    assert counts["head"] == (sizes["lm_head.weight"],) * 2 and counts["other"] == (6, 0)
    assert counts["language"][1] == sizes["model.language_model.layers.1.self_attn.q_proj.weight"]
    with pytest.raises(ValueError, match="named by 'layers.1'"):
        set_trainable(model, ["layers.1"])  # a glob is over whole names


def test_what_adapters_do_not_save_is_refused_only_where_it_would_train():
    model = tiny_model()
    model = get_peft_model(model, lora_config("llm", model, r=2))
    before = trained_names(model)
    for change in (unfreeze, lambda model, part: set_trainable(model, ["adapters", part])):
        with pytest.raises(ValueError, match="saved with no adapter"):
            change(model, "vision")
        assert trained_names(model) == before
    freeze(model, "vision")
    freeze(model, "adapters")
    assert not trained_names(model)
    unfreeze(model, "adapters")
    assert trained_names(model) == before
