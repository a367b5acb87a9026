# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Attributes, orders of arguments and signatures of the original classes, as public scripts use them."""

import copy
import inspect
import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

import transformers_internvl as ours
from tests.parity.golden import golden_root, whole_tile_chats
from tests.tiny import tiny_batch, tiny_model
from transformers_internvl.processing.chat_templates import TEMPLATES
from transformers_internvl.processing.text.conversation import get_conv_template

FAMILIES = [path for path in whole_tile_chats() if (path / "chat.json").exists()]
MODE = "InternVL-C"
GREEDY = {"max_new_tokens": 4, "do_sample": False}


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda path: path.name)
def setting(request):
    path = request.param
    inputs = load_file(path / "inputs.safetensors")
    flags = inputs["image_flags"].flatten() == 1
    batch = {key: inputs[f"left.{key}"] for key in ("input_ids", "attention_mask")}
    batch["pixel_values"] = inputs["pixel_values"][flags]
    return AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path), batch, path


# --- attributes ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_parts_compute_what_the_original_parts_compute(setting):
    """Features by hand: tower, shuffle, `mlp1`; the answer's scores by `language_model`."""
    model, _, batch, path = setting
    pixels = batch["pixel_values"]
    states = model.vision_model(pixels, output_hidden_states=True)
    features = states.last_hidden_state if model.select_layer == -1 else states.hidden_states[model.select_layer]
    side = model.config.tile_size // model.patch_size
    grid = features[:, 1:].unflatten(1, (side, side))
    features = model.mlp1(model.pixel_shuffle(grid, scale_factor=model.downsample_ratio).flatten(1, 2))
    torch.testing.assert_close(features, model.extract_feature(pixels))
    weights = load_file(path / "model.safetensors")
    for name, parameter in model.mlp1.state_dict().items():
        torch.testing.assert_close(parameter, weights[f"mlp1.{name}"], rtol=0, atol=0)

    embeds = model.language_model.get_input_embeddings()(batch["input_ids"])
    embeds[batch["input_ids"] == model.img_context_token_id] = features.flatten(0, 1)
    expected = model(**batch).logits
    given = {"inputs_embeds": embeds, "attention_mask": batch["attention_mask"]}
    torch.testing.assert_close(model.language_model(**given).logits, expected, rtol=1e-4, atol=2e-5)
    wanted = {**GREEDY, "eos_token_id": None, "pad_token_id": 0}
    answer = model.language_model.generate(**given, **wanted)
    assert torch.equal(answer, model.generate(**batch, **wanted)[:, batch["input_ids"].shape[1] :])


def test_parts_are_the_models_own(setting):
    model = setting[0]
    names = set(model.state_dict())
    assert model.language_model is model.language_model
    assert model.language_model.base_model is model.model.language_model is model.get_decoder()
    assert model.language_model.lm_head is model.lm_head
    assert model.vision_model.encoder.layers is model.model.vision_tower.encoder.layer
    assert set(model.state_dict()) == names == set(copy.deepcopy(model).state_dict())
    copied = copy.deepcopy(model)
    assert copied.language_model.lm_head is copied.lm_head is not model.lm_head
    copied.lm_head = torch.nn.Linear(*reversed(model.lm_head.weight.shape), bias=False)
    assert copied.language_model.lm_head is copied.lm_head
    copied.language_model.requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in copied.model.language_model.parameters())
    with pytest.raises(AttributeError, match=r"set `model.model.language_model` and `model.lm_head`"):
        model.language_model = copied.language_model
    with pytest.raises(AttributeError, match=r"set `model.model.vision_tower`\."):
        model.vision_model = copied.vision_model


def test_settings_are_the_configs(setting):
    model = copy.deepcopy(setting[0])
    said = json.loads((setting[3] / "config.json").read_text())
    assert model.ps_version == said.get("ps_version", "v1") and model.downsample_ratio == said["downsample_ratio"]
    assert model.select_layer == said.get("select_layer", -1) and model.template == said["template"]
    model.select_layer = model.config.select_layer = -2
    assert model.config.vision_feature_layer == -2
    model.ps_version, model.template, model.num_image_token = "v2", "internvl2_5", 9
    assert (model.config.ps_version, model.config.template) == ("v2", "internvl2_5")
    assert model.config.image_seq_length == 9


# --- conversations ---------------------------------------------------------------------------------------------------

PUBLISHED = json.loads((golden_root() / "templates" / "templates.json").read_text())


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row['source']}-{row['template']}")
def test_conversations_against_the_original_code(row):
    conversation = get_conv_template(row["template"])
    for field in ("system_message", "sep", "sep2"):
        assert getattr(conversation, field) == row[field]
    assert list(conversation.roles) == row["roles"]
    for case in row["prompts"]:
        one = conversation.copy()
        if not case["system_is_default"]:
            one.set_system_message(case["system"])
        for place, text in enumerate(case["turns"]):
            one.append_message(one.roles[place % 2], text)
        assert one.get_prompt() == case["prompt"]
    assert not conversation.messages


def test_a_models_conversation(setting):
    model = copy.deepcopy(setting[0])
    assert model.conv_template.name == model.template
    assert model.conv_template.system_message == TEMPLATES[model.template].system_message
    model.system_message = "Be brief."
    one = model.conv_template
    one.append_message(one.roles[0], "Hi")
    one.append_message(one.roles[1], None)
    assert "Be brief." in one.get_prompt()
    one.update_last_message("Hello")
    assert one.get_prompt().rstrip().endswith(f"Hello{TEMPLATES[model.template].stop}")
    with pytest.raises(ValueError, match="must be one of"):
        one.append_message("user", "Hi")
    one.messages[0][1] = None
    with pytest.raises(ValueError, match="Only the last turn may be open"):
        one.get_prompt()
    with pytest.raises(ValueError, match="append one with"):
        model.conv_template.update_last_message("Hi")
    with pytest.raises(ValueError, match="Unknown chat template 'nobody-knows'"):
        get_conv_template("nobody-knows")


# --- calls -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_original_order_of_arguments(setting):
    model, _, batch, _ = setting
    pixels, ids, mask = (batch[key] for key in ("pixel_values", "input_ids", "attention_mask"))
    expected = model(**batch, labels=ids)
    ones = torch.ones(len(pixels), 1, dtype=torch.long)
    ordered = model(pixels, ids, mask, None, ones, None, ids)
    torch.testing.assert_close(ordered.loss, expected.loss)
    torch.testing.assert_close(ordered.logits, expected.logits)
    torch.testing.assert_close(model(ids, pixels, mask).logits, expected.logits)  # transformers' order
    answer = model.generate(**batch, **GREEDY)
    assert torch.equal(model.generate(pixels, ids, mask, **GREEDY), answer)
    assert torch.equal(model.generate(pixels, ids, attention_mask=mask, **GREEDY), answer)
    with pytest.raises(TypeError, match="input_ids came twice"):
        model.generate(pixels, ids, input_ids=ids, **GREEDY)
    assert "input_ids" in inspect.signature(model.forward).parameters  # `Trainer` keeps columns by it


@torch.no_grad()
def test_features_made_earlier(setting):
    model, _, batch, _ = setting
    expected = model.generate(**batch, **GREEDY)
    features = model.extract_feature(batch["pixel_values"])
    text = {key: batch[key] for key in ("input_ids", "attention_mask")}
    assert torch.equal(model.generate(**text, visual_features=features, **GREEDY), expected)
    assert torch.equal(model.generate(**batch, visual_features=features, **GREEDY), expected)
    assert torch.equal(model.generate(None, *text.values(), features.flatten(0, 1), **GREEDY), expected)
    with pytest.raises(ValueError, match="`visual_features` must be"):
        model.generate(**text, visual_features=features[0, 0], **GREEDY)


@torch.no_grad()
def test_text_alone(setting):
    model, _, batch, _ = setting
    ids = batch["input_ids"][:1]
    ids = ids[ids != model.img_context_token_id][None]
    mask = torch.ones_like(ids)
    expected = model.generate(input_ids=ids, attention_mask=mask, **GREEDY)
    assert torch.equal(model.generate(pixel_values=None, input_ids=ids, attention_mask=mask, **GREEDY), expected)
    assert torch.equal(model.generate(None, ids, mask, **GREEDY), expected)
    assert torch.equal(model.generate(ids, attention_mask=mask, **GREEDY), expected)
    torch.testing.assert_close(model(None, ids, mask).logits, model(input_ids=ids, attention_mask=mask).logits)


def test_text_alone_in_the_canonical_layout():
    model, ids = tiny_model(), tiny_batch([0])["input_ids"]
    expected = model.generate(input_ids=ids, **GREEDY)
    assert torch.equal(model.generate(pixel_values=None, input_ids=ids, **GREEDY), expected)


# --- chat ------------------------------------------------------------------------------------------------------------


def test_signatures_are_the_original_ones(setting):
    """Names and places, as `inspect` gave them for the original class; `self` is left out."""
    tokens = ["IMG_START_TOKEN", "IMG_END_TOKEN", "IMG_CONTEXT_TOKEN"]
    common = ["generation_config", "history", "return_history", "num_patches_list", *tokens, "verbose"]
    model = setting[0]
    chat = ["tokenizer", "pixel_values", "question", *common]
    assert _leading(model.chat, len(chat)) == chat
    batch = ["tokenizer", "pixel_values", "questions", "generation_config", "num_patches_list", "history"]
    batch += ["return_history", *tokens, "verbose", "image_counts"]
    assert _leading(model.batch_chat, len(batch)) == batch


def _leading(function, count: int) -> list[str]:
    """The first arguments; those behind them, which the original code has in some repositories, may be left out."""
    parameters = list(inspect.signature(function).parameters.values())
    assert all(parameter.default is not parameter.empty for parameter in parameters[count:])
    return [parameter.name for parameter in parameters[:count]]


def test_arguments_of_the_original_chats(setting):
    model, tokenizer, batch, _ = setting
    pixels, questions = batch["pixel_values"][:3], ["<image>\nWhat?", "Why?"]
    expected = model.batch_chat(tokenizer, pixels, questions, GREEDY, num_patches_list=[2, 1])
    assert model.batch_chat(tokenizer, pixels, questions, GREEDY, image_counts=[2, 1]) == expected
    with pytest.raises(ValueError, match="`image_counts` is the older name"):
        model.batch_chat(tokenizer, pixels, questions, GREEDY, num_patches_list=[2, 1], image_counts=[2, 1])
    with pytest.raises(ValueError, match=r"\[1, 1\] adds up to 2 tiles, but `pixel_values` has 3"):
        model.batch_chat(tokenizer, pixels, questions, GREEDY, num_patches_list=[1, 1])
    for chat, asked in ((model.chat, "<image>"), (model.batch_chat, ["<image>"])):
        with pytest.raises(ValueError, match="tokens of an image must be"):
            chat(tokenizer, None, asked, GREEDY, IMG_CONTEXT_TOKEN="<pad>")


@pytest.mark.parametrize(
    ("question", "marks", "lacking"),
    [("What differs?", 1, 2), ("<image> and <image>: what differs?", 2, 1)],
)
def test_images_without_a_mark_are_counted(setting, question, marks, lacking):
    model, tokenizer, batch, _ = setting
    said = rf"There are 3 images \(`num_patches_list` \[1, 1, 1\]\), but {marks} `<image>` .*: {lacking} lacking"
    with pytest.raises(ValueError, match=said):
        model.chat(tokenizer, batch["pixel_values"][:3], question, GREEDY, num_patches_list=[1, 1, 1])
    history = [("Hi", "Hello")]
    with pytest.raises(ValueError, match="There are 1 images .* but 0 `<image>` .*: 1 lacking"):
        model.chat(tokenizer, batch["pixel_values"][:1], "And this?", GREEDY, history=history)


# --- shapes of pixels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [3, 5])
def test_pixels_of_other_dimensions(setting, dims):
    model, tokenizer, batch, _ = setting
    pixels = batch["pixel_values"]
    wrong = pixels[0] if dims == 3 else pixels[None]
    mend = r"pixel_values\[None\]" if dims == 3 else r"flatten\(0, 1\)"
    said = rf"`pixel_values` must be a tensor \(T, 3, height, width\).* got \({wrong.shape[0]}, .*{mend}"
    calls = [
        lambda: model.chat(tokenizer, wrong, "<image>\nWhat?", GREEDY),
        lambda: model.batch_chat(tokenizer, wrong, ["What?"], GREEDY, num_patches_list=[1]),
        lambda: model.generate(**{**batch, "pixel_values": wrong}, **GREEDY),
        lambda: model(**{**batch, "pixel_values": wrong}),
        lambda: model.extract_feature(wrong),
        lambda: model.vision_model(wrong),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=said):
            call()


@pytest.mark.parametrize("dims", [3, 5])
def test_pixels_of_other_dimensions_elsewhere(dims):
    wrong = torch.zeros(*(2, 1, 3, 28, 28)[5 - dims :])
    both = AutoModel.from_pretrained(golden_root() / "internvl_14b").eval()
    tower = AutoModel.from_pretrained(golden_root() / "intern_vit_300m").eval()
    backbone = ours.InternVisionBackbone.from_pretrained(golden_root() / "intern_vit_300m").eval()
    ids = torch.tensor([[1, 40, 41]])
    calls = [
        lambda: both(wrong, ids),
        lambda: both.get_image_features(wrong),
        lambda: both.encode_image(wrong, "InternVL-C"),
    ]
    for call in [*calls, lambda: tower(wrong), lambda: backbone(wrong), lambda: tiny_model()(ids, wrong)]:
        with pytest.raises(ValueError, match=r"`pixel_values` must be a tensor \(T, 3, height, width\)"):
            call()


@torch.no_grad()
def test_the_dual_encoder_in_the_original_order():
    model = AutoModel.from_pretrained(golden_root() / "internvl_14b").eval()
    side = model.config.vision_config.image_size[0]
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[1, 40, 41, 2], [1, 43, 2, 0]])
    expected = model(image=pixels, text=ids, mode="InternVL-G")
    for given, wanted in zip(model(pixels, ids, "InternVL-G"), expected, strict=True):
        torch.testing.assert_close(given, wanted)
