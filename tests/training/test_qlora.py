# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""QLoRA (arXiv:2305.14314): adapters on a language model in four bits, with bitsandbytes, on the CPU."""

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

from tests.parity.golden import golden_root
from tests.tiny import tiny_batch, tiny_model
from transformers_internvl.training.lora import lora_config, lora_targets

# Whole names from the model's root: a bare "vision_tower" would match nothing, and the tower would be quantized.
SKIPPED = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]


@pytest.fixture(autouse=True)
def any_number_of_rows(monkeypatch):
    """On processors with bfloat16 instructions bitsandbytes packs 32 rows together; tiny layers have fewer."""
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)


def four_bits() -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=SKIPPED,
    )


def quantized_layers(model) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, Linear4bit)]


@pytest.mark.parametrize("name", ["chat_qwen2", "chat_phi3", "chat_internlm2"])
def test_the_language_model_alone_is_quantized_in_every_layout(name):
    path = golden_root() / name
    model = AutoModelForImageTextToText.from_pretrained(path, quantization_config=four_bits(), image_token_id=3)
    assert quantized_layers(model) == lora_targets(model, "llm")
    rounded = AutoModelForImageTextToText.from_pretrained(path, image_token_id=3)
    layers = dict(model.named_modules())
    ids = torch.arange(4, 14)[None]
    with torch.no_grad():
        for layer in lora_targets(model, "llm"):
            weight = layers[layer].weight
            rounded.get_submodule(layer).weight.copy_(dequantize_4bit(weight.data, weight.quant_state))
        torch.testing.assert_close(model(ids).logits, rounded(ids).logits, rtol=1e-4, atol=1e-4)


def test_train_keep_and_merge(tmp_path):
    tiny_model().save_pretrained(tmp_path / "base")
    load = AutoModelForImageTextToText.from_pretrained
    model = prepare_model_for_kbit_training(load(tmp_path / "base", quantization_config=four_bits()))
    model = get_peft_model(model, lora_config("llm", model, r=4, dropout=0.0)).train()
    parts = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parts, lr=5e-2)
    batch = tiny_batch([1, 2])
    losses = []
    for _ in range(8):
        losses.append(model(**batch, labels=batch["input_ids"]).loss)
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 0.2

    model.eval().save_pretrained(tmp_path / "adapter")
    base = load(tmp_path / "base", quantization_config=four_bits())
    loaded = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits, rtol=1e-4, atol=1e-4)
        # To merge, take the weights that are not rounded: four bits have no room for what the adapters add.
        adapted = PeftModel.from_pretrained(load(tmp_path / "base"), tmp_path / "adapter").eval()
        expected = adapted(**batch).logits
        merged = adapted.merge_and_unload()
        torch.testing.assert_close(merged(**batch).logits, expected, rtol=1e-4, atol=1e-4)
        merged_loss = merged(**batch, labels=batch["input_ids"]).loss
    assert merged_loss < losses[0]
