# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternViT alone against the original numbers: `golden/intern_vit_*`."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel
from transformers.core_model_loading import revert_weight_conversion

from .golden import golden_cases

OUTPUT = {"rtol": 1e-4, "atol": 2e-5}
GRADIENT = {"rtol": 1e-4, "atol": 5e-5}


@pytest.fixture(params=["eager", "sdpa"])
def attention(request) -> str:
    return request.param


@pytest.fixture(params=golden_cases("intern_vit_"), ids=lambda path: path.name)
def case(request, attention):
    path = request.param
    model = AutoModel.from_pretrained(path, attn_implementation=attention).eval()
    return model, load_file(path / "inputs.safetensors"), load_file(path / "outputs.safetensors")


def test_outputs_at_every_size(case):
    model, inputs, expected = case
    seen = set()
    for name, pixels in inputs.items():
        size = name.removesuffix(".pixel_values")
        with torch.no_grad():
            outputs = model(pixels, output_hidden_states=True)
        values = {f"{size}.hidden_states.{index}": state for index, state in enumerate(outputs.hidden_states)}
        values[f"{size}.last_hidden_state"] = outputs.last_hidden_state
        values[f"{size}.pooler_output"] = outputs.pooler_output
        for key in values.keys() & expected.keys():
            torch.testing.assert_close(values[key], expected[key], **OUTPUT)
            seen.add(key)
    assert seen == {key for key in expected if "grad" not in key and "resized" not in key}


def _gradients(model, pixels: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Of sum(last_hidden_state * cos(0, 1, 2, ...)), under the original names."""
    output = model(pixels).last_hidden_state
    scalar = (output.flatten() * torch.arange(output.numel(), dtype=output.dtype).cos()).sum()
    model.zero_grad()
    scalar.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return scalar.detach(), revert_weight_conversion(model, gradients)


def test_gradients(case):
    model, inputs, expected = case
    scalar, gradients = _gradients(model, inputs["native.pixel_values"])
    torch.testing.assert_close(scalar[None], expected["grad_scalar"], rtol=1e-4, atol=1e-4)
    for key, value in expected.items():
        if key.startswith("grad."):
            torch.testing.assert_close(gradients[key.removeprefix("grad.")], value, **GRADIENT)
    for key, value in expected.items():
        size, found, name = key.partition(".grad.")
        if found:
            _, gradients = _gradients(model, inputs[f"{size}.pixel_values"])
            torch.testing.assert_close(gradients[name], value, **GRADIENT)


def test_position_table_resized_for_good(case):
    model, _, expected = case
    tables = {key: value for key, value in expected.items() if key.startswith("resized")}
    assert tables
    for key, table in tables.items():
        resized = copy.deepcopy(model)
        resized.resize_pos_embeddings(56, int(key.split(".")[0].removeprefix("resized")), 14)
        torch.testing.assert_close(resized.embeddings.position_embeddings.detach(), table, **OUTPUT)
