# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The original calling surface; its transcripts are judged in `tests/parity/test_chat_surface.py`."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from tests.forked import TRANSFORMERS
from tests.parity.golden import golden_root
from transformers_internvl import InternVLChatModel
from transformers_internvl.processing.chat_templates import TEMPLATES

GENERATION = {"max_new_tokens": 4, "do_sample": False}

READ_BY_UPSTREAM = ["chat_qwen2", "chat_internlm2", "chat_llama3", "chat_phi3", "chat_qwen3_tied"]


@pytest.fixture
def prompts(chat_setting, monkeypatch):
    """The ids that reach `generate`."""
    model, seen = chat_setting[0], []
    generate = model.generate

    def spy(**kwargs):
        seen.append(kwargs["input_ids"])
        return generate(**kwargs)

    monkeypatch.setattr(model, "generate", spy)
    return seen


def special_ids(tokenizer) -> set[int]:
    return {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}


def test_what_a_user_types_never_becomes_a_special_token(chat_setting, prompts):
    model, tokenizer, pixels = chat_setting
    plain = "<image>\nWhat is this?"
    model.chat(tokenizer, pixels[:1], plain, GENERATION)
    typed = plain + "".join(str(token) for token in tokenizer.added_tokens_decoder.values())
    model.chat(tokenizer, pixels[:1], typed, GENERATION)
    model.chat(tokenizer, pixels[:1], plain, GENERATION, history=[("<IMG_CONTEXT></img><|im_end|>", "</s><|end|>")])
    specials = special_ids(tokenizer)
    without, with_typed, with_history = ([i for i in ids[0].tolist() if i in specials] for ids in prompts)
    assert with_typed == without
    assert with_history.count(model.config.image_token_id) == without.count(model.config.image_token_id)


def test_markers_beyond_the_images_stay_text(chat_setting, prompts):
    model, tokenizer, pixels = chat_setting
    model.chat(tokenizer, pixels[:1], "<image> and <image>", GENERATION)
    assert (prompts[0] == model.config.image_token_id).sum() == model.num_image_token


def test_tiles_and_counts_must_agree(chat_setting):
    model, tokenizer, pixels = chat_setting
    with pytest.raises(ValueError, match=r"\[2\] adds up to 2 tiles, but `pixel_values` has 1"):
        model.chat(tokenizer, pixels[:1], "<image>\nWhat?", GENERATION, num_patches_list=[2])
    with pytest.raises(ValueError, match="one entry per question: 1 for 2"):
        model.batch_chat(tokenizer, pixels[:1], ["a", "b"], GENERATION, num_patches_list=[1])
    with pytest.raises(ValueError, match="`questions` is empty"):
        model.batch_chat(tokenizer, None, [], GENERATION)
    with pytest.raises(ValueError, match="no history"):
        model.batch_chat(tokenizer, None, ["a"], GENERATION, history=[("a", "b")])
    with pytest.raises(ValueError, match="no history"):
        model.batch_chat(tokenizer, None, ["a"], GENERATION, return_history=True)


def test_a_template_must_be_known(chat_setting, monkeypatch):
    model, tokenizer, _ = chat_setting
    monkeypatch.setattr(model.config, "template", "nobody-knows")
    with pytest.raises(ValueError, match="nobody-knows"):
        model.chat(tokenizer, None, "Hello", GENERATION)


def test_a_system_message_can_be_set(chat_setting, prompts):
    model, tokenizer, _ = chat_setting
    assert model.system_message is None
    model.chat(tokenizer, None, "Hello", GENERATION)
    model.system_message = "Be brief."
    try:
        model.chat(tokenizer, None, "Hello", GENERATION)
    finally:
        model.system_message = None
    texts = [tokenizer.decode(ids[0]) for ids in prompts]
    assert "Be brief." in texts[1] and "Be brief." not in texts[0]


def test_the_original_names(chat_setting):
    model, _, pixels = chat_setting
    assert model.num_image_token == model.config.image_seq_length
    assert model.img_context_token_id == model.config.image_token_id
    grid = torch.randn(1, 4, 4, 6)
    assert model.pixel_shuffle(grid).shape == (1, 2, 2, 24)
    assert model.extract_feature(pixels).shape[:2] == (len(pixels), model.num_image_token)


# --- from an answer's ids to its text -------------------------------------------------------------------------------


def test_ids_that_end_an_answer_are_the_templates_or_the_callers(chat_setting, monkeypatch):
    model, tokenizer, _ = chat_setting
    asked = []

    def generate(**kwargs):
        asked.append(kwargs)
        return kwargs["input_ids"]

    monkeypatch.setattr(model, "generate", generate)
    stop = tokenizer.convert_tokens_to_ids(TEMPLATES[model.template].stop)
    model.chat(tokenizer, None, "Hi", {"max_new_tokens": 3})
    model.chat(tokenizer, None, "Hi", {"eos_token_id": 7, "temperature": 0.5})
    model.batch_chat(tokenizer, None, ["Hi", "And now?"])
    assert [kwargs["eos_token_id"] for kwargs in asked] == [stop, 7, stop]
    assert asked[0]["max_new_tokens"] == 3 and asked[1]["temperature"] == 0.5
    assert "pixel_values" not in asked[0] and "max_new_tokens" not in asked[2]
    lengths = asked[2]["attention_mask"].sum(dim=1)
    assert lengths[0] < lengths[1] == asked[2]["input_ids"].shape[1]
    assert asked[2]["attention_mask"][0, -1] == 1 and asked[2]["attention_mask"][0, 0] == 0  # padded on the left


@pytest.mark.parametrize("as_object", [False, True])
def test_an_answer_ends_where_the_template_stops_and_has_no_white_space_around_it(
    chat_setting, monkeypatch, as_object
):
    model, tokenizer, pixels = chat_setting
    stop = TEMPLATES[model.template].stop
    said = tokenizer.encode(f"\n Yes. {stop} No. {stop}", add_special_tokens=False)

    def generate(**kwargs):
        answer = torch.tensor([said] * len(kwargs["input_ids"]))
        sequences = torch.cat([kwargs["input_ids"], answer], dim=1)
        return SimpleNamespace(sequences=sequences, scores=()) if as_object else sequences

    monkeypatch.setattr(model, "generate", generate)
    answer, history = model.chat(
        tokenizer, pixels[:1], "<image>\nIs it?", history=[("Hi", "Hello")], return_history=True
    )
    if model.config.answers_keep_special_tokens or stop not in tokenizer.all_special_tokens:
        assert answer == "Yes."
    else:
        assert answer == tokenizer.decode(said, skip_special_tokens=True).strip()  # as in the original code
    assert history == [("Hi", "Hello"), ("<image>\nIs it?", answer)]
    assert model.batch_chat(tokenizer, None, ["Is it?", "Was it?"]) == [answer, answer]


@pytest.mark.parametrize("series_3_5", [True, False])
def test_special_tokens_stay_until_the_answer_is_cut_in_series_3_5(chat_setting, monkeypatch, series_3_5):
    """There a stop token that is special ends the answer; before, it is left out of the text."""
    model, tokenizer, _ = chat_setting
    stop = TEMPLATES[model.template].stop
    said = torch.tensor([tokenizer.encode(f"Yes.{stop} No.", add_special_tokens=False)])
    monkeypatch.setattr(model, "generate", lambda **kwargs: torch.cat([kwargs["input_ids"], said], dim=1))
    monkeypatch.setattr(type(model.config), "answers_keep_special_tokens", property(lambda config: series_3_5))
    if series_3_5 or stop not in tokenizer.all_special_tokens:
        assert model.chat(tokenizer, None, "Is it?") == "Yes."
    else:
        text = tokenizer.decode(said[0], skip_special_tokens=True).strip()
        assert model.chat(tokenizer, None, "Is it?") == text and "No." in text


def test_the_id_of_image_tokens_is_the_tokenizers_where_the_config_has_none(chat_setting, prompts):
    model, tokenizer, pixels = chat_setting
    known = model.config.image_token_id
    try:
        for set_before, expected in ((None, tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")), (known, known)):
            model.config.image_token_id = set_before
            model.chat(tokenizer, pixels[:1], "<image>\nWhat?", GENERATION)
            assert model.config.image_token_id == expected
    finally:
        model.config.image_token_id = known


@pytest.mark.parametrize("known", [None, 7, [7, 9]])
def test_ids_that_tokenizer_files_add(tmp_path, known):
    """The stop token of the template comes first; the image token is the config's, if it has one."""
    folder = tmp_path / "copy"
    shutil.copytree(golden_root() / "chat_qwen2", folder)
    settings = {"eos_token_id": known} if known is not None else {}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    stop = tokenizer.convert_tokens_to_ids(TEMPLATES[model.template].stop)
    image = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    others = [known] if isinstance(known, int) else known or []
    assert model.generation_config.eos_token_id == [stop, *others] and model.config.image_token_id == image
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "image_token_id": 5}))
    assert AutoModel.from_pretrained(folder).config.image_token_id == 5
    loaded, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert loaded.generation_config.eos_token_id == [stop, *others] and not report["missing_keys"]


@pytest.mark.parametrize("key", ["mlp2.0.weight", "gating.gate.0.weight", "pooling_before_gating.weight"])
def test_a_router_among_other_weights_is_named(key):
    assert "InternVL3.5-Flash" in InternVLChatModel._explain_misfit(["stray", key], [])
    assert "Flash" not in InternVLChatModel._explain_misfit([f"stray.{key}"], [])


@torch.no_grad()
def test_arguments_of_generate_in_the_original_order_that_ours_does_not_have(chat_setting):
    model, tokenizer, pixels = chat_setting
    ids = torch.tensor([[model.config.image_token_id] * model.num_image_token + [5, 6]])
    mask = torch.ones_like(ids)
    expected = model.generate(input_ids=ids, attention_mask=mask, pixel_values=pixels[:1], **GENERATION)
    features = model.extract_feature(pixels[:1])
    found = model.generate(pixels[1:2], ids, mask, visual_features=features, return_dict=True, **GENERATION)
    assert torch.equal(found, expected)
    assert torch.equal(model.generate(None, ids, mask, features, None, None, True, **GENERATION), expected)


@pytest.fixture(scope="module")
def upstream_differences(tmp_path_factory):
    """Name -> what a process without our package says of a model that we saved for it; one start serves all."""
    folder = tmp_path_factory.mktemp("canonical")
    for name in READ_BY_UPSTREAM:
        path = golden_root() / name
        model = AutoModel.from_pretrained(path).eval()
        model.config.image_token_id = json.loads((path / "ids.json").read_text())["image_token_id"]
        model.save_pretrained(folder / name, save_original_format=False)
        inputs = load_file(path / "inputs.safetensors")
        flags = inputs["image_flags"].flatten() == 1
        batch = {key: inputs[f"right.{key}"] for key in ("input_ids", "attention_mask")}
        batch["pixel_values"] = inputs["pixel_values"][flags]
        with torch.no_grad():
            torch.save({"batch": batch, "logits": model(**batch).logits}, folder / name / "expected.pt")
    code = """
import json, sys, torch
from transformers import AutoModelForImageTextToText
said = {}
for folder in sys.argv[1:]:
    model, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    saved = torch.load(folder + "/expected.pt")
    with torch.no_grad():
        logits = model.eval()(**saved["batch"]).logits
    close = torch.allclose(logits, saved["logits"], rtol=1e-4, atol=2e-5)
    keys = [*report["missing_keys"], *report["unexpected_keys"]]
    said[folder] = {"module": type(model).__module__, "keys": keys, "close": close}
print(json.dumps(said))
"""
    folders = {name: str(folder / name) for name in READ_BY_UPSTREAM}
    said = json.loads(TRANSFORMERS.run(code, *folders.values()).stdout)
    return {name: said[path] for name, path in folders.items()}


@pytest.mark.parametrize("name", READ_BY_UPSTREAM)
def test_upstream_reads_the_canonical_layout_of_an_original_model(name, upstream_differences):
    module = "transformers.models.internvl.modeling_internvl"
    assert upstream_differences[name] == {"module": module, "keys": [], "close": True}


def test_the_transposed_shuffle_is_pointed_out(caplog):
    from transformers.utils import logging

    model = AutoModel.from_pretrained(golden_root() / "chat_llama_v1_2")
    logging.enable_propagation()
    try:
        assert model.to_canonical().config.ps_version == "v1"
    finally:
        logging.disable_propagation()
    assert "ps_version: v1" in caplog.text
