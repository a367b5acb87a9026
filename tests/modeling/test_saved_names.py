# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`load_state_dict` takes the names of a saved folder: what `Trainer` resumes from."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, Trainer, TrainingArguments

from tests.parity.golden import golden_cases
from tests.tiny import tiny_batch, tiny_model

CASES = golden_cases("chat_")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_the_original_names(path):
    expected, model = AutoModel.from_pretrained(path), AutoModel.from_pretrained(path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    result = model.load_state_dict(load_file(path / "model.safetensors"), strict=False)
    assert not result.unexpected_keys
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_own_names_go_the_way_of_pytorch():
    one, other = tiny_model(0), tiny_model(1)
    other.load_state_dict(one.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    state = one.state_dict()
    del state["lm_head.weight"]
    with pytest.raises(RuntimeError, match="Missing key.*lm_head.weight"):
        other.load_state_dict(state)


def test_unexpected_and_missing_weights_are_reported(tmp_path):
    model = tiny_model(0)
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    gap = next(name for name in saved if "lm_head" in name)
    del saved[gap]
    saved["stranger"] = torch.zeros(1)
    other = tiny_model(1)
    before = other.lm_head.weight.clone()
    result = other.load_state_dict(saved, strict=False)
    assert result.missing_keys == ["lm_head.weight"] and result.unexpected_keys == ["stranger"]
    assert torch.equal(other.lm_head.weight, before)
    assert torch.equal(other.model.language_model.embed_tokens.weight, model.model.language_model.embed_tokens.weight)
    with pytest.raises(RuntimeError, match="stranger"):
        other.load_state_dict(saved)


def rows() -> list[dict]:
    batches = [tiny_batch([1], seed=index) for index in range(8)]
    return [{**batch, "labels": batch["input_ids"]} for batch in batches]


@pytest.mark.parametrize("kind", ["canonical", "authors"])
def test_trainer_resumes_bit_for_bit(kind, tmp_path):
    def run(folder, steps: int, resume: bool = False):
        model = tiny_model() if kind == "canonical" else AutoModel.from_pretrained(CASES[1])
        if kind == "authors":
            model.config.image_token_id = 1
            for row in data:
                row.pop("pixel_values", None)
                row["input_ids"] = row["input_ids"].clamp(min=2)
        arguments = TrainingArguments(
            output_dir=str(folder),
            max_steps=steps,
            per_device_train_batch_size=1,
            learning_rate=1e-2,
            lr_scheduler_type="constant",
            logging_steps=1,
            save_steps=2,
            remove_unused_columns=False,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        Trainer(model, arguments, data_collator=lambda rows: rows[0], train_dataset=data).train(resume)
        return model

    data = rows()
    whole = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 2)
    resumed = run(tmp_path / "parts", 4, resume=True)
    for (name, one), other in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other), name
