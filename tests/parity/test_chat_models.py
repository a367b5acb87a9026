# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Chat models of every language model against the original numbers: `golden/chat_*`."""

import json

import pytest
import torch
from transformers import AutoModel, AutoModelForImageTextToText
from transformers.core_model_loading import revert_weight_conversion

from tests.closeness import assert_same_results

from .cases import CHATS, Case
from .golden import golden_cases, weights

ALL = [*golden_cases("chat_"), *golden_cases("mono_internvl")]
WITH_TOKENIZER = [path for path in ALL if (path / "tokenizer_config.json").exists()]
GRADIENT = {"rtol": 1e-4, "atol": 5e-6}


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def attention(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=CHATS, ids=lambda path: path.name)
def loaded(request, attention) -> Case:
    if attention == "sdpa" and "gpt_oss" in request.param.name:
        attention = {"vision_config": "sdpa", "text_config": "eager"}  # attention sinks are an eager or kernel affair
    return Case(request.param, attention)


@pytest.fixture
def case(loaded) -> Case:
    loaded.model.eval().zero_grad()
    return loaded


@pytest.mark.parametrize("path", WITH_TOKENIZER, ids=lambda path: path.name)
def test_ids_come_from_the_tokenizer_files(path):
    case = Case(path, "eager")
    assert case.model.config.image_token_id == case.ids["image_token_id"]
    assert case.model.generation_config.eos_token_id[0] == case.ids["eos_token_id"]


def test_tower_and_features(case):
    model, pixels = case.model, case.inputs["pixel_values"]
    with torch.no_grad():
        tower = model.model.vision_tower(pixels, output_hidden_states=True)
        features = model.get_image_features(pixels)
    for index, state in enumerate(tower.hidden_states):
        case.check(f"vision.hidden_states.{index}", state)
    case.check("vision.last_hidden_state", tower.last_hidden_state)
    case.check("vision.pooler_output", tower.pooler_output)
    case.check("vision.selected", features.last_hidden_state)
    case.check("vit_features", features.pooler_output)
    torch.testing.assert_close(model.extract_feature(pixels), features.pooler_output)


@pytest.mark.parametrize("side", ["right", "left"])
def test_logits_and_loss(case, side):
    batch = case.batch(side)
    with torch.no_grad():
        outputs = case.model(**batch, output_hidden_states=True)
    real = batch["attention_mask"].bool()
    case.check(f"{side}.logits", outputs.logits, real)
    case.check(f"{side}.llm_hidden_states.1", outputs.hidden_states[1], real)
    assert f"{side}.loss" in case.outputs
    case.check(f"{side}.loss", outputs.loss[None])


def test_loss_in_training_and_gradients(case):
    outputs = case.model.train()(**case.batch("right"))
    assert outputs.logits is None
    case.check("right.loss", outputs.loss[None])
    outputs.loss.backward()
    gradients = {name: p.grad for name, p in case.model.named_parameters() if p.grad is not None}
    expected = {name: t for name, t in case.outputs.items() if name.startswith("grad.")}
    assert expected
    authors = _under_the_original_names(case.model, gradients)
    for name, gradient in expected.items():
        torch.testing.assert_close(authors[name.removeprefix("grad.")], gradient, **GRADIENT)


def _under_the_original_names(model, gradients: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gradients travel the way weights do when a model is saved."""
    return revert_weight_conversion(model, gradients)


def test_greedy_generation(case):
    if "gen.sequences" not in case.outputs:  # the original library could not generate with router logits on
        assert case.model.config.text_config.output_router_logits
    prompt = case.inputs["gen.input_ids"]
    generated = case.model.generate(
        pixel_values=case.inputs["pixel_values"][: int(case.inputs["gen.n_tiles"])],
        input_ids=prompt,
        attention_mask=case.inputs["gen.attention_mask"],
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=case.ids["eos_token_id"],
        pad_token_id=case.ids["pad_token_id"],
        return_dict_in_generate=True,
        output_logits=True,
    )
    new = generated.sequences[:, prompt.shape[1] :]
    assert new.shape[1] <= 12
    if "gen.sequences" in case.outputs:
        assert torch.equal(new, case.outputs["gen.sequences"])
        steps = [generated.logits[index] for index in (0, 1, -1)]
        case.check("gen.scores_first_last", torch.stack(steps, dim=1))


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_saved_again_is_bit_identical(path, tmp_path):
    model = AutoModel.from_pretrained(path)
    model.save_pretrained(tmp_path)
    before, after = weights(path), weights(tmp_path)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype and torch.equal(tensor, after[name]), name


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_config_saved_again_has_every_key(path, tmp_path):
    AutoModel.from_pretrained(path).config.save_pretrained(tmp_path)
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (path, tmp_path))
    for key in ("auto_map", "transformers_version", "_commit_hash"):  # where it was made, not what it is
        before.pop(key, None)
    assert {key: after.get(key) for key in before} == before


@pytest.mark.parametrize("path", CHATS, ids=lambda path: path.name)
def test_canonical_layout_gives_the_same_logits(path, tmp_path):
    case = Case(path, "eager")
    case.model.save_pretrained(tmp_path, save_original_format=False)
    canonical = AutoModelForImageTextToText.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert canonical.config.model_type == "internvl"
    batch = case.batch("right")
    with torch.no_grad():
        ours, again = case.model(**batch), canonical(**batch)
    assert_same_results(again.logits, ours.logits)
    assert_same_results(again.loss, ours.loss)
