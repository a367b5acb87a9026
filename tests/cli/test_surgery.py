# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl surgery`: every operation from the command line, and what it says of mistakes."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

from internvl_cli.surgery import OPERATIONS
from tests.fused_lora import adapt, fused_model, write_adapter, write_legacy
from tests.parity.golden import golden_root
from transformers_internvl import nano_path
from transformers_internvl.cli import main

QWEN2, PHI3 = golden_root() / "chat_qwen2", golden_root() / "chat_phi3"


@pytest.fixture
def surgery(capsys):
    """Run an operation; its exit code, its output and its complaints."""

    def run(*arguments):
        code = main(["surgery", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_help_names_every_operation(capsys):
    with pytest.raises(SystemExit) as end:
        main(["surgery", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in OPERATIONS)


def test_towers(surgery, tmp_path):
    tower, new = tmp_path / "tower", tmp_path / "new"
    assert surgery("extract-tower", nano_path(), tower, "--to", "hf") == (0, f"written  {tower}\n", "")
    assert AutoConfig.from_pretrained(tower).model_type == "internvl_vision"
    assert surgery("replace-tower", QWEN2, tower, new, "--reset-projector", "--seed", 1)[0] == 0
    assert AutoConfig.from_pretrained(new).vision_config.hidden_size == 160
    assert surgery("resize-positions", new, tmp_path / "large", "--image-size", 84)[0] == 0
    assert AutoConfig.from_pretrained(tmp_path / "large").tile_size == 84
    assert surgery("truncate-tower", tower, tmp_path / "short", "--num-layers", 2)[0] == 0
    assert AutoConfig.from_pretrained(tmp_path / "short").num_hidden_layers == 2


def test_tokens(surgery, tmp_path):
    code, said, _ = surgery("add-tokens", QWEN2, tmp_path / "new", "--tokens", "<a>", "<b>")
    assert code == 0 and said.splitlines() == ["380  <a>", "381  <b>", f"written  {tmp_path / 'new'}"]


@pytest.mark.parametrize("layout", ["original", "hf"])
def test_a_router(surgery, layout, tmp_path):
    source, new = nano_path(), tmp_path / "flash"
    if layout == "original":
        source = tmp_path / "original"
        assert surgery("replace-tower", QWEN2, nano_path(), source, "--reset-projector")[0] == 0  # a wider tower
    assert surgery("add-router", source, new, "--relative-threshold", 0.25) == (0, f"written  {new}\n", "")
    config = AutoConfig.from_pretrained(new)
    assert (config.flash_mode, config.flash_relative_threshold, config.flash_absolute_threshold) == (True, 0.25, 0.5)
    before, after = (load_file(folder / "model.safetensors") for folder in (source, new))
    added = {name.removeprefix("model.").split(".")[0] for name in after.keys() - before.keys()}
    original = {"pooling_before_gating", "gating", "mlp2"}
    assert added == (original if layout == "original" else {"resolution_router", "compressed_projector"})
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    model = AutoModelForImageTextToText.from_pretrained(new).eval()
    side = config.vision_config.image_size[0]
    pixels = torch.randn(3, 3, side, side)
    features = model.get_image_features(pixels, flash_mode=True)
    assert len(features.compressed_tiles) == 3 and features.gate.isfinite().all()
    assert surgery("add-router", source, tmp_path / "again", "--relative-threshold", 0.25)[0] == 0
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(tensor, again[name]) for name, tensor in after.items())
    code, _, complaint = surgery("add-router", new, tmp_path / "twice")
    assert code == 2 and "has a router already" in complaint and complaint.count("\n") == 1


def test_language_models(surgery, tmp_path):
    code, _, complaint = surgery("replace-language-model", nano_path(), QWEN2, tmp_path / "new")
    assert code == 2 and "Name the conversation template" in complaint and complaint.count("\n") == 1


def test_lora(surgery, tmp_path):
    lora = adapt(fused_model(PHI3), 2, 2)
    write_legacy(PHI3, tmp_path / "legacy", lora, 2, 2)
    write_adapter(tmp_path / "adapter", lora, 2)
    assert surgery("merge-lora", tmp_path / "legacy", tmp_path / "merged")[0] == 0
    code, said, _ = surgery("extract-lora", tmp_path / "legacy", tmp_path / "plain", tmp_path / "ours")
    assert code == 0 and said == f"written  {tmp_path / 'plain'}\nwritten  {tmp_path / 'ours'}\n"
    assert surgery("merge-lora", tmp_path / "ours", tmp_path / "again")[0] == 0
    assert surgery("convert-lora", tmp_path / "adapter", tmp_path / "converted", "--model", PHI3)[0] == 0
    assert surgery("merge-lora", tmp_path / "converted", tmp_path / "third", "--base", PHI3)[0] == 0
    first, *others = (AutoModel.from_pretrained(tmp_path / name) for name in ("merged", "again", "third"))
    for other in others:
        for mine, theirs in zip(first.parameters(), other.parameters(), strict=True):
            assert (mine - theirs).abs().max() < 1e-6


def test_mistakes_are_one_line(surgery, tmp_path):
    code, _, complaint = surgery("merge-lora", QWEN2, tmp_path / "new")
    assert code == 2 and complaint.startswith("internvl surgery: cannot merge-lora: ") and complaint.count("\n") == 1
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").touch()
    code, _, complaint = surgery("truncate-tower", QWEN2, tmp_path / "new", "--num-layers", 4)
    assert code == 2 and "is there already" in complaint
    code, _, complaint = surgery("truncate-tower", tmp_path / "nothing", tmp_path / "x", "--num-layers", 4)
    assert code == 2
