# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Folders in the original layout through the Auto classes: what loads, how, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
    pipeline,
)

import transformers_internvl as ours
from tests.closeness import assert_same_results
from tests.llava import picture, write_folder
from tests.parity.golden import golden_cases, golden_root

CHAT = golden_cases("chat_")
QWEN2 = golden_root() / "chat_qwen2"
INTERNLM2 = golden_root() / "chat_internlm2"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of an original folder, to be damaged."""
    return shutil.copytree(INTERNLM2, tmp_path / "checkpoint")


def edit_config(folder: Path, change) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def edit_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def logits(model, path: Path = INTERNLM2) -> torch.Tensor:
    inputs = load_file(path / "inputs.safetensors")
    batch = {key: inputs[f"right.{key}"] for key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        outputs = model.eval()(**batch, pixel_values=inputs["pixel_values"], image_flags=inputs["image_flags"])
    return outputs.logits.float().cpu()


# --- no remote code --------------------------------------------------------------------------------------------------


@pytest.fixture(params=[QWEN2, INTERNLM2, golden_root() / "chat_gpt_oss"], ids=lambda path: path.name)
def mined(request, tmp_path) -> Path:
    """An original folder whose remote files raise when they are imported."""
    folder = shutil.copytree(request.param, tmp_path / "mined")
    config = json.loads((folder / "config.json").read_text())
    modules = {reference.split(".")[0] for reference in config["auto_map"].values()}
    tokenizer_config = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer_config.setdefault("auto_map", {"AutoTokenizer": ["tokenization_mined.MinedTokenizer", None]})
    if tokenizer_config["tokenizer_class"] != "InternLM2Tokenizer":
        tokenizer_config.pop("auto_map")  # only the InternLM2 releases ship a tokenizer's code
    else:
        modules |= {name.split(".")[0] for name in tokenizer_config["auto_map"]["AutoTokenizer"] if name}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    for module in modules:
        (folder / f"{module}.py").write_text("raise SystemExit('remote code was run')\n")
    return folder


@pytest.mark.parametrize("trust", [None, False, True])
def test_no_remote_code_runs(mined, trust):
    kwargs = {} if trust is None else {"trust_remote_code": trust}
    assert type(AutoConfig.from_pretrained(mined, **kwargs)) is ours.InternVLChatConfig
    for auto_class in (AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM):
        assert type(auto_class.from_pretrained(mined, **kwargs)) is ours.InternVLChatModel
    processor = AutoProcessor.from_pretrained(mined, **kwargs)
    assert type(processor) is ours.InternVLProcessor
    assert type(processor.image_processor) is ours.InternVLImageProcessor
    assert type(processor.video_processor) is ours.InternVLVideoProcessor
    tokenizer = AutoTokenizer.from_pretrained(mined, **kwargs)
    assert len(tokenizer("a b").input_ids) > 0
    if "internlm2" in str(tokenizer.__class__).lower():
        assert type(tokenizer) is ours.InternLM2Tokenizer


@pytest.mark.parametrize("trust", [False, True])
def test_the_pipeline_runs_on_an_original_folder(mined, trust):
    from PIL import Image

    pipe = pipeline("image-text-to-text", model=str(mined), trust_remote_code=trust)
    assert type(pipe.model) is ours.InternVLChatModel and type(pipe.processor) is ours.InternVLProcessor
    image = Image.new("RGB", (80, 50), "red")
    content = [{"type": "image", "image": image}, {"type": "text", "text": "What is this?"}]
    messages = [{"role": "user", "content": content}]
    answer = pipe(text=messages, generate_kwargs={"max_new_tokens": 3}, return_full_text=False)
    assert isinstance(answer[0]["generated_text"], str)


def test_the_model_cards_snippet_runs(mined):
    model = AutoModel.from_pretrained(mined, dtype=torch.bfloat16, low_cpu_mem_usage=True, use_flash_attn=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(mined, use_fast=False)
    side = model.config.force_image_size
    pixel_values = torch.randn(2, 3, side, side, dtype=torch.bfloat16)
    generation_config = {"max_new_tokens": 4, "do_sample": True}
    question = "<image>\nPlease describe the image shortly."
    response = model.chat(tokenizer, pixel_values, question, generation_config)
    assert isinstance(response, str)
    response, history = model.chat(
        tokenizer, pixel_values, question, generation_config, history=None, return_history=True
    )
    response, history = model.chat(
        tokenizer, pixel_values, "Write a poem.", generation_config, history=history, return_history=True
    )
    assert [turn[0] for turn in history] == [question, "Write a poem."]


# --- ways to load ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CHAT, ids=lambda path: path.name)
def test_sharded_checkpoints_load_alike(path, tmp_path):
    model = AutoModel.from_pretrained(path)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again = AutoModel.from_pretrained(tmp_path)
    for (name, expected), (_, got) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(expected, got), name


@pytest.mark.parametrize("path", CHAT, ids=lambda path: path.name)
def test_no_buffer_comes_up_empty(path):
    loaded = AutoModel.from_pretrained(path)
    fresh = type(loaded)(loaded.config)
    buffers = dict(fresh.named_buffers())
    assert buffers
    for name, buffer in loaded.named_buffers():
        torch.testing.assert_close(buffer, buffers[name], rtol=0, atol=0)


@pytest.mark.parametrize("path", CHAT, ids=lambda path: path.name)
def test_every_model_builds_on_the_meta_device(path):
    config = AutoConfig.from_pretrained(path)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("device_map", ["cpu", {"": "cpu"}, "auto"])
def test_device_maps(device_map):
    expected = logits(AutoModel.from_pretrained(INTERNLM2))
    assert_same_results(logits(AutoModel.from_pretrained(INTERNLM2, device_map=device_map)), expected)


def test_disk_offload(tmp_path):
    expected = logits(AutoModel.from_pretrained(INTERNLM2))
    device_map = {
        "model.vision_tower": "disk",
        "model.multi_modal_projector": "cpu",
        "model.language_model": "disk",
        "lm_head": "cpu",
    }
    model = AutoModel.from_pretrained(INTERNLM2, device_map=device_map, offload_folder=tmp_path / "offload")
    assert_same_results(logits(model), expected)


def test_casts_on_loading():
    model = AutoModel.from_pretrained(INTERNLM2, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    exact, cast = logits(AutoModel.from_pretrained(INTERNLM2)), logits(model)
    assert (exact - cast).abs().max() < 0.05 * exact.abs().max()


def test_bin_files_are_read_as_weights_only(folder):
    expected = logits(AutoModel.from_pretrained(folder))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert_same_results(logits(AutoModel.from_pretrained(folder)), expected)


def test_the_tower_can_be_chosen_apart_from_the_language_model():
    chosen = {"vision_config": "eager", "text_config": "sdpa"}
    model = AutoModel.from_pretrained(INTERNLM2, attn_implementation=chosen)
    assert model.config.vision_config._attn_implementation == "eager"
    assert model.config.text_config._attn_implementation == "sdpa"


def test_the_caller_can_give_the_image_token():
    path = golden_root() / "chat_qwen2_5"  # no tokenizer lies beside it
    assert AutoModel.from_pretrained(path).config.image_token_id is None
    assert AutoModel.from_pretrained(path, image_token_id=111).config.image_token_id == 111


@pytest.mark.parametrize("name", ["chat_internlm2", "chat_qwen2_5_tie_flag"])
def test_a_head_that_is_tied_all_the_same_is_written_before_series_3_5(name, tmp_path, caplog):
    """The original code reads such folders with a head of its own: one without is refused."""
    config = AutoConfig.from_pretrained(golden_root() / name, image_token_id=111)
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = True
    model = ours.InternVLChatModel(config).eval()
    assert model.lm_head.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    assert "is tied" in caplog.text
    again = AutoModel.from_pretrained(tmp_path).eval()
    assert again.lm_head.weight is not again.get_input_embeddings().weight
    ids = torch.arange(2, 20)[None]
    assert_same_results(again(ids).logits, model(ids).logits)


# --- LLaVA's layout --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["mlp2x_gelu", "two_mlp"])
def test_llavas_layout_through_the_auto_classes(form, tmp_path):
    write_folder(tmp_path, form)
    assert type(AutoConfig.from_pretrained(tmp_path)) is ours.InternVLLlavaConfig
    for auto_class in (AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM):
        model = auto_class.from_pretrained(tmp_path, device_map="cpu", dtype=torch.bfloat16)
        assert type(model) is ours.InternVLLlavaForConditionalGeneration
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
        assert not any(buffer.is_meta for buffer in model.buffers())
    content = [{"type": "image", "image": picture(60, 40)}, {"type": "text", "text": "What is this?"}]
    options = {"max_new_tokens": 6, "do_sample": False}
    answers = []
    for folder in (tmp_path, tmp_path / "canonical"):
        pipe = pipeline("image-text-to-text", model=str(folder))
        assert type(pipe.processor) is ours.InternVLLlavaProcessor
        answer = pipe(text=[{"role": "user", "content": content}], generate_kwargs=options, return_full_text=False)
        answers.append(answer[0]["generated_text"])
        pipe.model.save_pretrained(tmp_path / "canonical")
        pipe.processor.save_pretrained(tmp_path / "canonical")
    assert answers[0] == answers[1] and answers[0]


@pytest.mark.parametrize("dtype", ["auto", torch.bfloat16])
def test_dtypes_through_the_class_itself(dtype, tmp_path):
    write_folder(tmp_path)
    model = ours.InternVLLlavaForConditionalGeneration.from_pretrained(tmp_path, dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32 if dtype == "auto" else dtype}


# --- what is refused -------------------------------------------------------------------------------------------------


def test_an_unknown_language_model(folder):
    edit_config(folder, lambda c: c["llm_config"].update(architectures=["BaichuanForCausalLM"]))
    with pytest.raises(ValueError, match="BaichuanForCausalLM.*known are LlamaForCausalLM"):
        AutoConfig.from_pretrained(folder)


def test_router_weights_that_config_json_does_not_announce(folder):
    edit_weights(folder, lambda w: w.update({"mlp2.0.weight": torch.ones(4), "gating.gate.0.weight": torch.ones(4)}))
    with pytest.raises(ValueError, match=r"no place for 2 of them: .*resolution router.*`flash_mode`"):
        AutoModel.from_pretrained(folder)


def test_unmerged_lora_weights(folder):
    name = "language_model.model.layers.0.attention.wo.lora_A.default.weight"
    edit_weights(folder, lambda w: w.update({name: torch.ones(2, 48)}))
    with pytest.raises(ValueError, match="LoRA weights that were never merged"):
        AutoModel.from_pretrained(folder)


def test_missing_weights(folder):
    edit_weights(folder, lambda w: w.pop("mlp1.3.bias"))
    with pytest.raises(ValueError, match="no weights for 1 of them: model.multi_modal_projector.linear_2.bias"):
        AutoModel.from_pretrained(folder)


def test_a_truncated_file(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(OSError, match=r"model\.safetensors.*incomplete or damaged"):
        AutoModel.from_pretrained(folder)


def test_a_missing_shard(folder, tmp_path):
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    sorted((tmp_path / "sharded").glob("*.safetensors"))[1].unlink()
    with pytest.raises(OSError):
        AutoModel.from_pretrained(tmp_path / "sharded")


def test_a_dual_encoder_is_told_apart_from_the_chat_models_of_its_type():
    folder = golden_root() / "internvl_14b"
    assert json.loads((folder / "config.json").read_text())["model_type"] == "internvl"
    assert type(AutoConfig.from_pretrained(folder)) is ours.InternVLDualEncoderConfig
    assert type(ours.InternVLConfig.from_pretrained(folder)) is ours.InternVLDualEncoderConfig
    assert type(AutoModel.from_pretrained(folder)) is ours.InternVLDualEncoderModel


def test_the_dual_encoders_class_refuses_other_folders():
    with pytest.raises(ValueError, match="no InternVL-14B: its config.json has no `qllama_config`"):
        ours.InternVLDualEncoderModel.from_pretrained(QWEN2)
