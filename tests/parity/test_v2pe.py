# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""V2PE: position ids, logits, losses, answers and conversations as in the original code."""

import json
from functools import cache

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForImageTextToText, AutoTokenizer

from tests.parity.golden import golden_cases
from transformers_internvl.conversion.layouts.convert import convert_checkpoint
from transformers_internvl.modeling.internvl.visual_positions import visual_positions

FOLDERS = golden_cases("v2pe")
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}
STEPS = 8
ARGUMENTS = ("rope_pos_id_version", "rope_pos_id_stride", "num_tiles")


@cache
def record(folder):
    return load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")


@cache
def loaded(folder, attention):
    return AutoModel.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32).eval()


def image_token(folder):
    return json.loads((folder / "ids.json").read_text())["image_token_id"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_positions(folder):
    inputs, outputs = record(folder)
    names = [name for name in outputs if name.startswith(("pos.", "padpos."))]
    assert names
    for name in names:
        base, kind = name.rsplit(".", 1)
        placeholders = inputs[f"{base}.input_ids"][None] == image_token(folder)
        tiles = int(inputs.get(f"{base}.num_tiles", torch.ones(1)).sum())  # those with padding have one
        tokens = int(placeholders.sum()) // tiles
        if kind == "random":
            stride = inputs[f"{base}.random_strides"].float() / tokens
        else:
            stride = 1.0 if kind == "default" else int(kind.removeprefix("stride")) / tokens
        mask = inputs.get(f"{base}.attention_mask")
        found = visual_positions(placeholders, stride, tokens, None if mask is None else mask[None])
        assert torch.equal(found[0], outputs[name].float()), name


def cases(folder):
    """Names of the forward passes, and the stride of each, by image tokens of a tile."""
    inputs, outputs = record(folder)
    found = [name.removesuffix(".logits") for name in outputs if name.endswith(".logits")]
    assert found
    for name in found:
        base, kind = name.rsplit(".", 1)
        steps = inputs[f"{base}.mixed_strides"].float() if kind == "mixed" else int(kind.removeprefix("stride"))
        yield name, base, steps


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_logits_losses_and_answers(folder, attention):
    model, (inputs, outputs) = loaded(folder, attention), record(folder)
    for name, base, steps in cases(folder):
        stride = steps / model.num_image_token
        pixels = inputs["pixel_values"][inputs[f"{base}.pixel_rows"]]
        with torch.no_grad():
            features = {"image": model.get_image_features(pixels, return_dict=True)}
        row = {"input_ids": inputs[f"{base}.input_ids"], "mm_encoder_outputs": features}
        with torch.no_grad():
            found = model(**row, labels=inputs[f"{base}.labels"], v2pe_stride=stride, output_hidden_states=True)
        positions = inputs[f"{base}.logit_positions"]
        torch.testing.assert_close(found.logits[0, positions], outputs[f"{name}.logits"], **TOLERANCE)
        torch.testing.assert_close(found.loss, outputs[f"{name}.loss"][0], rtol=1e-4, atol=3e-6)
        if f"{name}.llm_hidden_states.1" in outputs:
            hidden = found.hidden_states[1][0, positions]
            torch.testing.assert_close(hidden, outputs[f"{name}.llm_hidden_states.1"], **TOLERANCE)
        answer = model.generate(
            **row,
            v2pe_stride=stride,
            max_new_tokens=STEPS,
            min_new_tokens=STEPS,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        assert torch.equal(answer.sequences[:, -STEPS:], outputs[f"{name}.sequences"]), name
        logits = torch.stack([answer.logits[step] for step in (0, 1, -1)], dim=1)
        torch.testing.assert_close(logits, outputs[f"{name}.scores_first_last"], **TOLERANCE)
        # The positions that the original code recorded, without a mask: no step is taken for the end of a sample.
        given = outputs[f"{name}.position_ids"]
        with torch.no_grad():
            again = model(**row, position_ids=given, use_cache=False).logits[0, positions]
        torch.testing.assert_close(again, outputs[f"{name}.logits"], **TOLERANCE)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_conversations(folder):
    model, (inputs, outputs) = loaded(folder, "sdpa"), record(folder)
    tokenizer, cases = AutoTokenizer.from_pretrained(folder), json.loads((folder / "chat.json").read_text())
    options = {"max_new_tokens": cases["max_new_tokens"], "do_sample": False}
    for number, case in enumerate(cases["chats"]):
        asked, wanted = case["request"], case["result"]
        v2pe = {
            name: asked[name] for name in ("rope_pos_id_version", "rope_pos_id_stride", "num_tiles") if name in asked
        }
        answer, history = model.chat(
            tokenizer,
            inputs["pixel_values"][asked["pixel_rows"]],
            asked["question"],
            options,
            history=asked["history"],
            return_history=True,
            num_patches_list=asked["num_patches_list"],
            **v2pe,
        )
        assert answer == wanted["response"] and [list(turn) for turn in history] == wanted["history_after"]
        if wanted["position_ids"] is not None:
            placeholders = inputs[f"chat{number}.input_ids"] == image_token(folder)
            stride = asked["rope_pos_id_stride"] / model.num_image_token
            found = visual_positions(placeholders, stride, model.num_image_token)
            assert torch.equal(found, outputs[f"chat{number}.position_ids"])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_round_trips(folder, tmp_path):
    """Saved, and converted there and back: the same bits, the same keys, and none of the scaling of positions."""
    model = loaded(folder, "sdpa")
    assert model.config.text_config.rope_parameters["rope_type"] == "default"
    model.save_pretrained(tmp_path / "saved")
    convert_checkpoint(folder, tmp_path / "hf", to="hf")
    convert_checkpoint(tmp_path / "hf", tmp_path / "back", to="original")
    theirs = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf")
    assert theirs.config.rope_pos_id_version == model.config.rope_pos_id_version != "default"
    assert theirs.config.text_config.rope_parameters["rope_type"] == "default"
    before = load_file(folder / "model.safetensors")
    written = json.loads((folder / "config.json").read_text())
    for name in ("saved", "back"):
        after = load_file(tmp_path / name / "model.safetensors")
        assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
        config = json.loads((tmp_path / name / "config.json").read_text())
        kept = [key for key in written if key not in ("auto_map", "transformers_version", "_commit_hash")]
        assert {key: config.get(key, "missing") for key in kept if not isinstance(written[key], dict)} == {
            key: written[key] for key in kept if not isinstance(written[key], dict)
        }
        assert config["llm_config"]["rope_scaling"] == written["llm_config"]["rope_scaling"]
