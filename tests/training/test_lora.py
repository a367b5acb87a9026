# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""LoRA presets: what they hit in every language model, and that adapters survive every way of keeping them."""

import json
import re

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModel, AutoModelForImageTextToText, TrainingArguments
from transformers.models.internvl import modeling_internvl as stock

from tests.closeness import assert_same_results
from tests.parity.golden import golden_cases
from tests.tiny import logits, shaken, tiny_batch, tiny_model
from transformers_internvl.training.data.collation import PaddingCollator
from transformers_internvl.training.lora import lora_config, lora_targets
from transformers_internvl.training.parameters import part_of
from transformers_internvl.training.recipes import get_recipe
from transformers_internvl.training.trainers.trainer import InternVLTrainer

CASES = golden_cases("chat_")
SEPARATE = ["mlp.down_proj", "mlp.gate_proj", "mlp.up_proj"] + [f"self_attn.{k}_proj" for k in "koqv"]
FUSED = ["mlp.down_proj", "mlp.gate_up_proj", "self_attn.o_proj", "self_attn.qkv_proj"]
ATTENTION = [f"self_attn.{k}_proj" for k in "koqv"]
# Language model -> what the original code adapts in each of its blocks; experts are not linear layers.
ORIGINAL = {"phi3": FUSED, "qwen3_moe": ATTENTION, "gpt_oss": ATTENTION}
TOWER = [f"attention.{k}" for k in ("k_proj", "projection_layer", "q_proj", "v_proj")] + ["mlp.fc1", "mlp.fc2"]


def adapted_modules(model) -> list[str]:
    """The layers that peft did adapt."""
    return sorted(
        name.removeprefix("base_model.model.").removesuffix(".lora_A")
        for name, _ in model.named_modules()
        if name.endswith(".lora_A")
    )


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_presets_hit_the_original_modules_of_every_language_model(path):
    for preset in ("llm", "vision", "all"):
        model = AutoModel.from_pretrained(path)
        text, tower = model.config.text_config, model.config.vision_config
        blocks = ORIGINAL.get(text.model_type, SEPARATE)
        llm = [f"model.language_model.layers.{i}.{name}" for i in range(text.num_hidden_layers) for name in blocks]
        vision = [
            f"model.vision_tower.encoder.layer.{i}.{name}" for i in range(tower.num_hidden_layers) for name in TOWER
        ]
        expected = sorted({"llm": llm, "vision": vision, "all": llm + vision}[preset])
        assert sorted(lora_targets(model, preset)) == expected
        wrapped = get_peft_model(model, lora_config(preset, model, r=2))
        assert adapted_modules(wrapped) == expected
        assert {part_of(name) for name, p in wrapped.named_parameters() if p.requires_grad} == {"adapters"}


def test_numbers_are_the_original_ones():
    config = lora_config("llm", r=24)
    assert (config.r, config.lora_alpha, config.lora_dropout, config.task_type) == (24, 48, 0.05, "CAUSAL_LM")
    config = lora_config("llm", r=4, alpha=4, dropout=0.0, use_dora=True, task_type=None)
    assert (config.lora_alpha, config.lora_dropout, config.use_dora, config.task_type) == (4, 0.0, True, None)


@pytest.mark.parametrize("name", ["chat_qwen3_moe", "chat_gpt_oss"])
def test_experts_on_request(name):
    path = next(path for path in CASES if path.name == name)
    model = AutoModel.from_pretrained(path, attn_implementation="eager")
    wrapped = get_peft_model(model, lora_config("llm", model, r=2, dropout=0.0, experts=True))
    trained = [n for n, p in wrapped.named_parameters() if p.requires_grad]
    assert sum(".mlp.experts." in n for n in trained) == 4 * model.config.text_config.num_hidden_layers
    assert all("vision_tower" not in n for n in trained)


def test_mistakes():
    model = tiny_model()
    with pytest.raises(
        ValueError, match="one of 'llm', 'vision', 'all', 'feed_forward', 'feed_forward_ve', got 'llms'"
    ):
        lora_config("llms")
    with pytest.raises(ValueError, match="one of 'llm'"):
        lora_targets(model, "everything")
    with pytest.raises(ValueError, match="Preset 'all' would adapt no layer of Qwen2Model: give a chat model"):
        lora_config("all", model.model.language_model)
    with pytest.raises(ValueError, match="without experts"):
        lora_config("llm", tiny_model(), experts=True, dropout=0.0)
    with pytest.raises(ValueError, match="no dropout"):
        lora_config("llm", experts=True)
    with pytest.raises(ValueError, match="preset 'vision' does not"):
        lora_config("vision", experts=True)


def test_settings_that_are_given_win():
    assert lora_config("llm").r == 16 and lora_config("llm").lora_alpha == 32
    assert lora_config("llm", alpha=0).lora_alpha == 0
    config = lora_config("llm", experts=True, dropout=0.0, target_parameters=["a.b"], task_type="FEATURE_EXTRACTION")
    assert config.target_parameters == ["a.b", "mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    assert config.task_type == "FEATURE_EXTRACTION"
    assert lora_config("llm").target_parameters is None


@pytest.mark.parametrize("preset", ["llm", "all"])
def test_save_load_merge_and_resume(preset, tmp_path):
    plain = logits(tiny_model())
    model = tiny_model()
    model = shaken(get_peft_model(model, lora_config(preset, model, r=4)))
    expected = logits(model)
    assert (expected - plain).abs().max() > 0.1
    model.save_pretrained(tmp_path / "adapter")

    loaded = PeftModel.from_pretrained(tiny_model(), tmp_path / "adapter").eval()
    assert_same_results(logits(loaded), expected)
    native = tiny_model()
    native.load_adapter(str(tmp_path / "adapter"))
    assert_same_results(logits(native), expected)

    merged = loaded.merge_and_unload()
    torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    again = type(merged).from_pretrained(tmp_path / "merged").eval()
    assert_same_results(logits(again), logits(merged))

    resumed = PeftModel.from_pretrained(tiny_model(), tmp_path / "adapter", is_trainable=True).eval()
    assert [one_step(resumed), one_step(resumed)] == [one_step(model), one_step(model)]


NATIVE = {
    "active_adapters": (),
    "add_adapter": (LoraConfig(target_modules=["q_proj"]), "other"),
    "delete_adapter": ("default",),
    "disable_adapters": (),
    "enable_adapters": (),
    "get_adapter_state_dict": (),
    "set_adapter": ("default",),
}


@pytest.fixture
def adapted(tmp_path):
    """A model that loaded an adapter by transformers' own method."""
    model = tiny_model()
    shaken(get_peft_model(model, lora_config("llm", model, r=4))).save_pretrained(tmp_path / "adapter")
    model = tiny_model()
    model.load_adapter(str(tmp_path / "adapter"))
    return model


@pytest.mark.parametrize("method", NATIVE)
def test_methods_that_ask_for_another_peft_say_what_does_the_same(adapted, method):
    message = f"`{method}` of transformers .* needs peft .* is installed. Use peft's own classes: `get_peft_model"
    with pytest.raises(ValueError, match=message):
        getattr(adapted, method)(*NATIVE[method])


def test_a_loaded_adapter_is_not_saved_in_part(adapted, tmp_path):
    with pytest.raises(ValueError, match="`get_adapter_state_dict` of transformers .* needs peft"):
        adapted.save_pretrained(tmp_path / "saved")
    assert not list((tmp_path / "saved").glob("*.safetensors"))


def test_with_that_peft_they_are_transformers_own(adapted, tmp_path, monkeypatch):
    for module in ("transformers.integrations.peft", "transformers_internvl.modeling.pretrained.upstream"):
        monkeypatch.setattr(f"{module}.MIN_PEFT_VERSION", "0.20.0")
    expected = logits(adapted)
    assert adapted.active_adapters() == ["default"] and adapted.get_adapter_state_dict()
    adapted.disable_adapters()
    assert_same_results(logits(adapted), logits(tiny_model()))
    adapted.enable_adapters()
    adapted.add_adapter(lora_config("llm", adapted, r=2), "other")
    assert adapted.active_adapters() == ["other"]
    adapted.set_adapter("default")
    adapted.delete_adapter("other")
    assert_same_results(logits(adapted), expected)
    adapted.save_pretrained(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").glob("*.safetensors")} == {"adapter_model.safetensors"}


def one_step(model) -> float:
    """The loss of a step of plain gradient descent, without dropout."""
    batch = tiny_batch([1, 1], seed=3)
    loss = model(**batch, labels=batch["input_ids"]).loss
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.05 * parameter.grad
                parameter.grad = None
    return loss.item()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_adapters_of_checkpoints_in_the_original_layout(path, tmp_path):
    """Their weights are renamed on loading, and what peft makes of adapters' names must not be."""

    def model():
        return AutoModel.from_pretrained(path, attn_implementation="eager").eval()

    ids = torch.arange(3, 11)[None]
    wrapped = model()
    wrapped = shaken(get_peft_model(wrapped, lora_config("all", wrapped, r=2)))
    wrapped.save_pretrained(tmp_path)
    native = model()
    native.load_adapter(str(tmp_path))
    with torch.no_grad():
        expected, before = wrapped(ids).logits, model()(ids).logits
        assert not torch.allclose(expected, before, atol=1e-3)
        loaded = PeftModel.from_pretrained(model(), tmp_path).eval()
        assert_same_results(loaded(ids).logits, expected)
        assert_same_results(native(ids).logits, expected)


def open_chat(path):
    """A model of either layout, in evaluation mode; in the original one the image token is the tokenizer's to say."""
    options = {"attn_implementation": "eager", "image_token_id": 3}
    return AutoModelForImageTextToText.from_pretrained(path, **options).eval()


def golden_model(name: str):
    return open_chat(next(path for path in CASES if path.name == name))


def golden_logits(model) -> torch.Tensor:
    """Logits of two tiles and some text."""
    config = model.config
    image = [config.image_token_id] * (2 * config.image_seq_length)
    pixels = torch.randn(2, 3, *config.vision_config.image_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, *image, *range(7, 15)]]), pixel_values=pixels).logits


# One of each kind of language model: separate projections, fused, renamed and regrouped, two mixtures of experts.
KINDS = {
    "chat_qwen2": False,
    "chat_phi3": False,
    "chat_internlm2": False,
    "chat_qwen3_moe": True,
    "chat_gpt_oss": True,
}


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours to stock", "stock to ours"])
@pytest.mark.parametrize("name", KINDS)
def test_adapters_go_between_upstream_and_ours(name, ours_first, tmp_path):
    mine = golden_model(name)
    mine.save_pretrained(tmp_path / "hf", save_original_format=False)
    load = stock.InternVLForConditionalGeneration.from_pretrained
    theirs = load(tmp_path / "hf", attn_implementation="eager").eval()
    assert not isinstance(theirs, type(mine)) and type(theirs).__module__.startswith("transformers.")
    torch.testing.assert_close(golden_logits(mine), golden_logits(theirs), rtol=1e-4, atol=1e-5)
    source, target = (mine, theirs) if ours_first else (theirs, mine)
    config = lora_config("all", mine, r=4, dropout=0.0, experts=KINDS[name])
    before = golden_logits(source)
    trained = shaken(get_peft_model(source, config))
    expected = golden_logits(trained)
    assert (expected - before).abs().max() > 0.05
    trained.save_pretrained(tmp_path / "adapter")
    fitted = PeftModel.from_pretrained(target, tmp_path / "adapter").eval()
    torch.testing.assert_close(golden_logits(fitted), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_merged_models_are_saved_in_either_layout(name, tmp_path):
    model = golden_model(name)
    adapted = shaken(get_peft_model(model, lora_config("all", model, r=4, dropout=0.0, experts=KINDS[name])))
    expected = golden_logits(adapted)
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(golden_logits(merged), expected, rtol=1e-4, atol=1e-4)
    for authors in (True, False):
        folder = tmp_path / str(authors)
        merged.save_pretrained(folder, save_original_format=authors)
        layout = json.loads((folder / "config.json").read_text("utf-8"))["model_type"]
        assert layout == ("internvl_chat" if authors else "internvl")
        again = open_chat(folder)
        assert_same_results(golden_logits(again), golden_logits(merged))


def test_auto_classes_open_the_folder_of_an_adapter(tmp_path):
    """What it was trained on stands in `adapter_config.json`."""
    tiny_model().save_pretrained(tmp_path / "base")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "base")
    adapted = shaken(get_peft_model(model, lora_config("all", model, r=4)))
    expected = logits(adapted)
    adapted.save_pretrained(tmp_path / "adapter")
    opened = AutoModelForImageTextToText.from_pretrained(tmp_path / "adapter").eval()
    assert_same_results(logits(opened), expected)
    assert type(opened) is type(tiny_model())


@pytest.mark.parametrize(
    "options",
    [{"use_dora": True}, {"use_rslora": True}, {"modules_to_save": ["multi_modal_projector"]}],
    ids=lambda options: next(iter(options)),
)
def test_variants_of_peft(options, tmp_path):
    model = tiny_model()
    model = shaken(get_peft_model(model, lora_config("llm", model, r=4, dropout=0.0, **options)))
    first, second = one_step(model), one_step(model)
    assert first != second
    expected = logits(model)
    trained = {part_of(name) for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"adapters"}
    projector = "model.multi_modal_projector.linear_1.weight"
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(tiny_model(), tmp_path).eval()
    assert_same_results(logits(loaded), expected)
    merged = loaded.merge_and_unload()
    torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-4)
    moved = not torch.equal(merged.state_dict()[projector], tiny_model().state_dict()[projector])
    assert moved == ("modules_to_save" in options)
    assert merged.state_dict().keys() == tiny_model().state_dict().keys()


def test_a_run_that_is_resumed_trains_the_same_adapters(tmp_path):
    def run(folder, **resume):
        model = tiny_model()
        model = get_peft_model(model, lora_config("all", model, r=2, init_lora_weights="gaussian"))
        rows = [tiny_batch([1], seed=seed) for seed in range(8)]
        data = [
            {"input_ids": r["input_ids"][0], "labels": r["input_ids"][0], "pixel_values": r["pixel_values"]}
            for r in rows
        ]
        data = [{**row, "attention_mask": torch.ones_like(row["input_ids"])} for row in data]
        arguments = TrainingArguments(
            folder, max_steps=4, save_steps=2, per_device_train_batch_size=2, learning_rate=1e-2, report_to=[],
            use_cpu=True, remove_unused_columns=False, disable_tqdm=True,
        )  # fmt: skip
        trainer = InternVLTrainer(model, arguments, train_dataset=data, data_collator=PaddingCollator(0))
        trainer.train(**resume)
        return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    whole = run(str(tmp_path / "run"))
    torch.manual_seed(9)  # nothing of this process may matter
    resumed = run(str(tmp_path / "again"), resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    saved = PeftModel.from_pretrained(tiny_model(), tmp_path / "again" / "checkpoint-4")
    values = dict(saved.named_parameters())
    assert all(torch.equal(values[name], whole[name]) for name in whole)


def test_gradient_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model()
        if checkpointing:
            model.activation_checkpointing_enable()
            model.enable_input_require_grads()
        model = shaken(get_peft_model(model, lora_config("all", model, r=4, dropout=0.0))).train()
        batch = tiny_batch([1, 2])
        model(**batch, labels=batch["input_ids"]).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        assert all(".lora_" in name for name in gradients[-1])
    assert gradients[0].keys() == gradients[1].keys() and any("vision_tower" in name for name in gradients[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-6)


def test_a_recipe_with_adapters():
    model = get_recipe("internvl2.5-2b-lora-coco", lora_rank=8).apply(tiny_model())
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert names and all(re.search(r"language_model\.layers\.\d+\..*\.lora_[AB]\.default\.weight$", n) for n in names)
    assert model.peft_config["default"].r == 8 and model.peft_config["default"].lora_alpha == 16
