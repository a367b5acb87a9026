# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL-C and InternVL-G against the original numbers: `golden/internvl_14b`."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForPreTraining
from transformers.core_model_loading import revert_weight_conversion

import transformers_internvl as ours

from .golden import golden_cases, weights

CASES = golden_cases("internvl_14b")
MODES = ("InternVL-C", "InternVL-G")
OUTPUT = {"rtol": 1e-4, "atol": 2e-5}
GRADIENT = {"rtol": 1e-4, "atol": 5e-6}


class Case:
    """One golden folder, with the original inputs and outputs; `check` notes which outputs were judged."""

    def __init__(self, path, attention: str):
        self.path, self.attention = path, attention
        self.inputs = load_file(path / "inputs.safetensors")
        self.outputs = load_file(path / "outputs.safetensors")
        self.seen: set[str] = set()
        self.loaded: dict[type, torch.nn.Module] = {}

    def load(self, auto_class=AutoModel):
        """A model of the folder, the same one each time, without gradients."""
        if auto_class not in self.loaded:
            self.loaded[auto_class] = auto_class.from_pretrained(self.path, attn_implementation=self.attention)
        self.loaded[auto_class].zero_grad()
        return self.loaded[auto_class].eval()

    def check(self, name: str, value: torch.Tensor, where: torch.Tensor | None = None, **tolerance: float) -> None:
        self.seen.add(name)
        expected = self.outputs[name]
        if where is not None:
            value, expected = value[where], expected[where]
        tolerance = tolerance or OUTPUT
        torch.testing.assert_close(value, expected, **tolerance, msg=lambda text: f"{name}: {text}")


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def attention(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.name)
def case(request, attention) -> Case:
    return Case(request.param, attention)


@torch.no_grad()
def test_image_vectors(case):
    model, image = case.load(), case.inputs["image"]
    for mode in MODES:
        features = model.get_image_features(image, mode=mode, output_hidden_states=True)
        case.check(f"encode_image.{mode}", features.pooler_output)
        assert torch.equal(model.encode_image(image, mode), features.pooler_output)
    case.check("vision.hidden_states.1", features.hidden_states[1])
    case.check("vision.last_hidden_state", features.last_hidden_state)
    first = case.outputs["query_features"].shape[1]
    case.check("query_features", features.query_hidden_states[:, :first])


@torch.no_grad()
def test_text_vectors(case):
    model, text = case.load(), case.inputs["text"]
    features = model.get_text_features(text, attention_mask=text > 0)
    case.check("text_features", features.last_hidden_state, where=text > 0)
    case.check("encode_text", features.pooler_output)
    assert torch.equal(model.encode_text(text), features.pooler_output)


@torch.no_grad()
def test_similarities(case):
    model = case.load()
    for mode in MODES:
        outputs = model(case.inputs["image"], case.inputs["text"], mode=mode)
        case.check(f"logits_per_image.{mode}", outputs.logits_per_image)
        case.check(f"logits_per_text.{mode}", outputs.logits_per_text)
        per_image, per_text = model(image=case.inputs["image"], text=case.inputs["text"], mode=mode)
        assert torch.equal(per_image, outputs.logits_per_image) and torch.equal(per_text, outputs.logits_per_text)
    case.check("logit_scale.exp", model.logit_scale.exp()[None])


def test_the_halves_alone_give_the_same_vectors(case):
    vision = case.load(ours.InternVLDualEncoderVisionModel)
    text = case.load(ours.InternVLDualEncoderTextModel)
    with torch.no_grad():
        case.check("encode_image.InternVL-C", vision(case.inputs["image"]).pooler_output)
        case.check("encode_text", text(case.inputs["text"]).pooler_output)


def test_greedy_captions(case):
    expected = case.outputs["generate.greedy"]
    generated = case.load().generate(
        case.inputs["image"],
        case.inputs["caption.input_ids"],
        case.inputs["caption.attention_mask"],
        max_new_tokens=12,
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
    )
    case.check("generate.greedy", generated.sequences, rtol=0, atol=0)
    assert generated.sequences.dtype == expected.dtype
    case.check("generate.greedy_scores_step0", generated.logits[0])


def test_beam_search_captions(case):
    generated = case.load().generate(
        case.inputs["image"],
        case.inputs["caption.input_ids"],
        case.inputs["caption.attention_mask"],
        num_beams=5,
        min_new_tokens=8,
        max_new_tokens=10,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    case.check("generate.beam5", generated.sequences, rtol=0, atol=0)
    case.check("generate.beam5_sequences_scores", generated.sequences_scores)


def test_losses_of_stage_2_and_gradients(case):
    model = case.load(AutoModelForPreTraining).train()
    batch = {name.removeprefix("train."): t for name, t in case.inputs.items() if name.startswith("train.")}
    negatives, positives = batch.pop("negative_index"), batch["positive_input_ids"]
    assert batch["negative_input_ids"].shape == positives[negatives].shape
    outputs = model(case.inputs["image"], **batch)
    for part in ("loss", "loss_itm", "loss_itc", "loss_itg"):
        case.check(f"train.{part}", getattr(outputs, part).detach()[None])
    case.check("train.hidden_states.query_mean", outputs.query_hidden_states.mean(dim=1).detach())
    count = len(negatives) - len(negatives) // 2
    matched = [batch["negative_attention_mask"][:count], batch["positive_attention_mask"][count:]]
    real = torch.cat([*matched, batch["summarize_attention_mask"], batch["attention_mask"]]).bool()
    case.check("train.hidden_states.text", outputs.text_hidden_states.detach(), where=real)

    outputs.loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    authors = revert_weight_conversion(model, gradients)  # gradients travel the way weights do when they are saved
    expected = [name for name in case.outputs if name.startswith("grad.")]
    assert expected
    for name in expected:
        case.check(name, authors[name.removeprefix("grad.")], **GRADIENT)


JUDGES = (
    test_image_vectors,
    test_text_vectors,
    test_similarities,
    test_greedy_captions,
    test_beam_search_captions,
    test_losses_of_stage_2_and_gradients,
)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_every_output_is_judged(path):
    """No tensor that the original model gave is left out by the tests above."""
    case = Case(path, "eager")
    for judge in JUDGES:
        judge(case)
    assert case.seen == set(case.outputs)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
@pytest.mark.parametrize("shards", ["50GB", "100KB"])
def test_saved_again_is_bit_identical(path, tmp_path, shards):
    AutoModel.from_pretrained(path).save_pretrained(tmp_path, max_shard_size=shards)
    before, after = weights(path), weights(tmp_path)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype and torch.equal(tensor, after[name]), name
    again = AutoModel.from_pretrained(tmp_path)
    assert type(again) is ours.InternVLDualEncoderModel
    for (name, expected), (_, got) in zip(
        AutoModel.from_pretrained(path).state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert torch.equal(expected, got), name


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_bin_files_are_read_as_weights_only(path, tmp_path):
    (tmp_path / "config.json").write_text((path / "config.json").read_text())
    torch.save(
        {**weights(path), "qllama.model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(5)}, tmp_path / "w.bin"
    )
    (tmp_path / "w.bin").rename(tmp_path / "pytorch_model.bin")
    loaded, expected = AutoModel.from_pretrained(tmp_path), AutoModel.from_pretrained(path)
    for (name, one), (_, other) in zip(loaded.state_dict().items(), expected.state_dict().items(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_config_saved_again_has_every_key(path, tmp_path):
    AutoModel.from_pretrained(path).config.save_pretrained(tmp_path)
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (path, tmp_path))
    assert after.pop("model_type") == "internvl_dual_encoder"
    for key in ("model_type", "auto_map", "transformers_version", "_commit_hash", "architectures"):
        before.pop(key, None)
    assert {key: after.get(key) for key in before} == before
