# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL3.5-Flash against the original numbers: `golden/chat_flash*`, every prompt, every pair of thresholds."""

import json

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from .cases import Case
from .golden import golden_cases

CASES = golden_cases("chat_flash")


class FlashCase(Case):
    """A golden folder, its prompts with their tiles, and its threshold settings."""

    def __init__(self, path, attention):
        super().__init__(path, attention)
        first = "vision.last_hidden_state.first_tile"
        self.outputs[first] = self.outputs[first].squeeze(0)
        self.settings = json.loads((path / "cases.json").read_text())

    def prompt(self, name: str) -> dict[str, torch.Tensor]:
        rows = self.inputs[f"{name}.pixel_rows"]
        return {
            "input_ids": self.inputs[f"{name}.input_ids"],
            "pixel_values": self.inputs["pixel_values"][rows],
        }

    @staticmethod
    def thresholds(setting: dict) -> dict[str, float]:
        kinds = ("relative", "absolute")
        return {f"flash_{kind}_threshold": setting[f"{kind}_threshold"] for kind in kinds}

    def generate(self, inputs: dict, **options) -> torch.Tensor:
        """The ids of the answer."""
        ids = {"eos_token_id": self.ids["eos_token_id"], "pad_token_id": self.ids["pad_token_id"]}
        sequences = self.model.generate(**inputs, max_new_tokens=8, do_sample=False, **ids, **options)
        assert torch.equal(sequences[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
        return sequences[:, inputs["input_ids"].shape[1] :]


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def attention(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.name)
def case(request, attention) -> FlashCase:
    return FlashCase(request.param, attention)


def test_tower_pooling_gate_and_projectors(case):
    model, pixels = case.model, case.inputs["pixel_values"]
    count = len(case.outputs["features_64"])
    with torch.no_grad():
        routed = model.get_image_features(pixels, flash_mode=True)
        pooled = model.model.resolution_router.pooling(routed.last_hidden_state[:, 1:])
        whole = model.get_image_features(pixels[: len(case.outputs["features_256"])]).pooler_output
        small = model.get_image_features(pixels[:count], compressed_tiles=torch.ones(count, dtype=torch.bool))
    assert {"gate", "pooled", "features_256", "features_64", "vision.class_token"} <= case.outputs.keys()
    case.check("gate", routed.gate)
    case.check("pooled", pooled)
    case.check("features_256", whole)
    case.check("features_64", torch.stack(small.pooler_output))
    case.check("vision.class_token", routed.last_hidden_state[:, 0])
    case.check("vision.last_hidden_state.first_tile", routed.last_hidden_state[0])


def test_decisions_positions_logits_and_greedy_ids(case):
    assert case.settings
    for name, setting in case.settings.items():
        inputs, thresholds = case.prompt(name.partition(".")[0]), case.thresholds(setting)
        with torch.no_grad():
            outputs = case.model(**inputs, **thresholds)
        compressed = outputs.image_outputs.compressed_tiles
        assert compressed.tolist() == setting["compressed"] == case.outputs[f"{name}.decision"].bool().tolist(), name
        kept = outputs.kept_positions
        kept = torch.arange(inputs["input_ids"].shape[1]) if kept is None else kept[0]
        assert torch.equal(kept, case.outputs[f"{name}.kept_positions"]), name
        assert len(kept) == outputs.logits.shape[1] == setting["length_after"], name
        case.check(f"{name}.logits", outputs.logits[0, case.outputs[f"{name}.logit_positions"]])
        by_config = thresholds == case.thresholds(
            {
                kind: getattr(case.model.config, f"flash_{kind}")
                for kind in ("relative_threshold", "absolute_threshold")
            }
        )
        answer = case.generate(inputs, **({} if by_config else thresholds))
        assert torch.equal(answer, case.outputs[f"{name}.sequences"]), name


def test_forward_compresses_nothing_and_its_loss_is_the_mean(case):
    with torch.no_grad():
        outputs = case.model(**case.prompt("tiles"), labels=case.inputs["forward.labels"])
    case.check("forward.logits", outputs.logits[0, case.outputs["forward.logit_positions"]])
    case.check("forward.loss", outputs.loss[None])
    if "tiles.flash_mode_off.sequences" in case.outputs:
        answer = case.generate(case.prompt("tiles"), flash_mode=False)
        assert torch.equal(answer, case.outputs["tiles.flash_mode_off.sequences"])


def test_transcripts(case, monkeypatch):
    tokenizer, pixels = AutoTokenizer.from_pretrained(case.path), case.inputs["pixel_values"]
    transcript = json.loads((case.path / "chat.json").read_text())
    generation = {"max_new_tokens": transcript["max_new_tokens"], "do_sample": False}
    lengths, ids, forward = [], [], case.model.model.language_model.forward

    def spy(*args, inputs_embeds, **kwargs):
        lengths.append(inputs_embeds.shape[1])
        return forward(*args, inputs_embeds=inputs_embeds, **kwargs)

    generate = case.model.generate
    monkeypatch.setattr(case.model.model.language_model, "forward", spy)
    monkeypatch.setattr(case.model, "generate", lambda **given: ids.append(given["input_ids"]) or generate(**given))
    assert transcript["chats"]
    for chat in transcript["chats"]:
        request, expected = chat["request"], chat["result"]
        tiles = None if request["pixel_rows"] is None else pixels[request["pixel_rows"]]
        counts = request["num_patches_list"]
        lengths.clear()
        if request["kind"] == "chat":
            history = [tuple(turn) for turn in request["history"]] if request["history"] else None
            options = {"history": history, "num_patches_list": counts, "return_history": True}
            response, after = case.model.chat(tokenizer, tiles, request["question"], generation, **options)
            assert (response, [list(turn) for turn in after]) == (expected["response"], expected["history_after"])
        else:
            responses = case.model.batch_chat(
                tokenizer, tiles, request["questions"], generation, num_patches_list=counts
            )
            assert responses == expected["responses"]
        assert ids.pop().tolist() == expected["input_ids"]
        assert lengths[0] == expected["length_after"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_canonical_layout_decides_and_answers_the_same(path, tmp_path):
    case = FlashCase(path, "eager")
    case.model.save_pretrained(tmp_path, save_original_format=False)
    canonical = AutoModelForImageTextToText.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert canonical.config.model_type == "internvl"
    assert canonical.config.flash_mode == case.model.config.flash_mode
    case.model = canonical
    name = "tiles.config"
    assert torch.equal(case.generate(case.prompt("tiles")), case.outputs[f"{name}.sequences"])
