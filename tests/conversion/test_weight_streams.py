# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Files written as a stream are safetensors' own; every number format is read and written bit by bit."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from transformers_internvl.conversion.files import weight_streams
from transformers_internvl.conversion.files.weight_streams import (
    DTYPES,
    WeightStream,
    as_bytes,
)
from transformers_internvl.conversion.files.writing import write_safetensors


def drawn() -> dict[str, torch.Tensor]:
    raw = torch.arange(96, dtype=torch.uint8)
    tensors = {
        name: (raw % 2 == 0 if dtype == torch.bool else raw.clone().view(dtype)) for name, dtype in DTYPES.items()
    }
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.empty(0, 3), "table": torch.randn(3, 4, 5)}
    return tensors


@pytest.mark.parametrize("sends", [True, False])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_every_number_format(kind, sends, tmp_path, monkeypatch):
    monkeypatch.setattr(weight_streams, "BUFFER", 7)
    monkeypatch.setattr(weight_streams, "MAPPED", 50)
    tensors = drawn()
    if kind == "bin":
        tensors["turned"] = tensors["table"].transpose(0, 2)
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    else:
        save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    files = WeightStream(tmp_path)
    assert files.entries.keys() == tensors.keys()
    for key, tensor in tensors.items():
        entry = files.entries[key]
        assert (entry.dtype, entry.shape, entry.nbytes) == (tensor.dtype, tuple(tensor.shape), tensor.nbytes)
        assert as_bytes(files.read(entry)) == as_bytes(tensor.contiguous()), key
    rows = [(key, entry.on_meta()) for key, entry in files.entries.items()]
    pieces = (piece for entry in files.entries.values() for piece in files.pieces(entry))
    if not sends:  # as on systems that send to sockets alone
        monkeypatch.delattr("os.sendfile")
    write_safetensors(tmp_path / "written.safetensors", rows, pieces)
    again = load_file(tmp_path / "written.safetensors")
    assert again.keys() == tensors.keys()
    assert all(as_bytes(again[key]) == as_bytes(tensor.contiguous()) for key, tensor in tensors.items())
    with safe_open(tmp_path / "written.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_what_is_refused(tmp_path):
    torch.save({"a": torch.ones(2), "epoch": 3}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="holds more than named weights: epoch"):
        WeightStream(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(OSError, match="There are no weights in"):
        WeightStream(tmp_path)


def test_a_file_of_old_times(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    files = WeightStream(tmp_path)
    assert torch.equal(files.read(files.entries["a"]), torch.ones(2))


def test_a_file_that_shrinks_meanwhile(tmp_path):
    save_file({"a": torch.ones(100)}, tmp_path / "model.safetensors")
    files = WeightStream(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(OSError, match="shorter than it was"):
        files.read(files.entries["a"])
    rows = [("a", files.entries["a"].on_meta())]
    with pytest.raises(OSError, match="shorter than it was"):
        write_safetensors(tmp_path / "out.safetensors", rows, files.pieces(files.entries["a"]))
