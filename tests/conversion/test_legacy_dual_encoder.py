# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL-C's first release, as one `.pth` file, becomes a folder whose halves give the same vectors."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoProcessor

from tests.parity.golden import golden_root
from transformers_internvl import InternVLDualEncoderTextModel, InternVLDualEncoderVisionModel
from transformers_internvl.conversion.weights.legacy_dual_encoder import convert_internvl_c

FOLDER = golden_root() / "internvl_14b"


def first_release() -> dict[str, torch.Tensor]:
    """The weights of the golden folder that InternVL-C has, renamed as `hf2pytorch.py` of the original code does."""
    state = {}
    for name, tensor in load_file(FOLDER / "model.safetensors").items():
        if name.startswith("qllama.model.") and ".cross_attn." not in name:
            state[name.replace("qllama.model.", "transformer.")] = tensor
        elif name.startswith("clip_projector.") or name in ("text_projection", "logit_scale"):
            state[name] = tensor
        elif name.startswith("vision_model."):
            name = name.removeprefix("vision_model.").replace("embeddings.class_embedding", "cls_token")
            name = name.replace("embeddings.position_embedding", "pos_embed").replace("encoder.layers.", "blocks.")
            name = name.replace("embeddings.patch_embedding.", "patch_embed.proj.")
            state[name.replace("ls1", "ls1.gamma").replace("ls2", "ls2.gamma")] = tensor
    state["transformer.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(5)
    return state


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("shards", ["5GB", "40KB"])
@torch.no_grad()
def test_the_halves_give_the_vectors_of_internvl_c(tmp_path, wrapped, shards):
    state = first_release()
    torch.save({"module": state} if wrapped else state, tmp_path / "internvl_c.pth")
    config = AutoConfig.from_pretrained(FOLDER)
    config.vision_config.image_size, config.force_image_size = (224, 224), 224  # the file's own table decides
    written = convert_internvl_c(tmp_path / "internvl_c.pth", tmp_path / "folder", config, shards)
    assert written.vision_config.image_size == (42, 42) and config.vision_config.image_size == (224, 224)
    assert (len(list((tmp_path / "folder").glob("*.safetensors"))) > 1) == (shards == "40KB")
    inputs, outputs = load_file(FOLDER / "inputs.safetensors"), load_file(FOLDER / "outputs.safetensors")
    vision = InternVLDualEncoderVisionModel.from_pretrained(tmp_path / "folder").eval()
    text = InternVLDualEncoderTextModel.from_pretrained(tmp_path / "folder").eval()
    for got, name in (
        (vision(inputs["image"]).pooler_output, "encode_image.InternVL-C"),
        (text(inputs["text"]).pooler_output, "encode_text"),
    ):
        torch.testing.assert_close(got, outputs[name], rtol=1e-4, atol=2e-5)
    with pytest.raises(ValueError, match="no weights for .*clip_projector2"):
        AutoModel.from_pretrained(tmp_path / "folder")  # it has no queries
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(FOLDER / name, tmp_path / "folder")
    processor = AutoProcessor.from_pretrained(tmp_path / "folder")
    assert processor.image_processor.crop_size.height == 42


def test_the_dtype_of_the_file_is_kept(tmp_path):
    torch.save({name: tensor.half() for name, tensor in first_release().items()}, tmp_path / "internvl_c.pth")
    convert_internvl_c(tmp_path / "internvl_c.pth", tmp_path / "folder", AutoConfig.from_pretrained(FOLDER))
    assert json.loads((tmp_path / "folder" / "config.json").read_text())["torch_dtype"] == "float16"
    model = InternVLDualEncoderTextModel.from_pretrained(tmp_path / "folder", dtype="auto")
    assert model.text_projection.dtype == torch.float16


def test_other_files_are_refused(tmp_path):
    state = first_release()
    del state["pos_embed"]
    torch.save({**state, "head.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not have: head.weight. .*missing: pos_embed"):
        convert_internvl_c(tmp_path / "other.pth", tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    torch.save({"payload": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="code.pth .*a pickle can run any code"):
        convert_internvl_c(tmp_path / "code.pth", tmp_path / "folder")
