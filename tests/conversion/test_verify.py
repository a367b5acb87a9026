# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Comparing takes memory for a piece at a time, whatever the vocabulary; what it prints: `tests/cli`."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import transformers_internvl as ours
from tests.parity.golden import golden_root
from transformers_internvl.conversion.layouts import verify


@pytest.mark.parametrize("piece", [3, 7, 1000])
def test_distances_are_found_in_every_piece(monkeypatch, piece):
    monkeypatch.setattr(verify, "PIECE", piece)
    one = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    other = one.clone()
    assert verify._distances(one, other) == (0, 0.0, -1)
    other[2, 4] += 0.5
    other[4, 8] -= 2.0
    count, largest, first = verify._distances(one, other)
    assert (count, first) == (2, 2 * 9 + 4) and largest == (one - other).abs().max().item()
    other[0, 3] = float("nan")
    assert verify._distances(one, other)[1:] == (float("inf"), 3)
    assert verify._distances(one[:0], other[:0]) == (0, 0.0, -1)


@pytest.mark.parametrize("name", ["chat_qwen2", "chat_qwen3_moe"])
def test_outputs_are_compared_at_some_positions(monkeypatch, tmp_path, name):
    """No more logits than a piece at a time; the last position, which every other one reaches, is among them."""
    seen = []
    forward = ours.InternVLChatModel.forward

    def watched(self, *args, **kwargs):
        outputs = forward(self, *args, **kwargs)
        seen.append((outputs.logits.shape, kwargs["logits_to_keep"].tolist(), kwargs["input_ids"].shape[1]))
        return outputs

    monkeypatch.setattr(ours.InternVLChatModel, "forward", watched)
    monkeypatch.setattr(verify, "PIECE", 2000)
    folder = shutil.copytree(golden_root() / name, tmp_path / name)
    result = verify.compare_checkpoints(golden_root() / name, folder, progress=False)
    assert result.equal and result.logits[1] > 0
    for shape, kept, length in seen:
        assert shape.numel() <= 2000 and len(kept) == shape[1] > 2
        assert kept == sorted(set(kept)) and kept[0] == 0 and kept[-1] == length - 1
    weights = load_file(folder / "model.safetensors")
    weights["mlp1.3.bias"] += 0.1  # of the image tokens alone
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    result = verify.compare_checkpoints(golden_root() / name, folder, progress=False)
    assert result.logits[0] > 0 and any(line.startswith("outputs: they differ") for line in result.differences)
