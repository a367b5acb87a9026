# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternLM2 with visual experts: routing by index against computing both networks everywhere."""

import copy
import json

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from tests.closeness import assert_same_results
from tests.parity.golden import golden_cases
from transformers_internvl.modeling.original.configuration_chat import InternVLChatConfig
from transformers_internvl.modeling.visual_experts import InternLM2VEConfig, InternLM2VEForCausalLM, InternLM2VEModel
from transformers_internvl.profiling.model_profile import Work, profile
from transformers_internvl.profiling.released import released_config
from transformers_internvl.training.lora import lora_config
from transformers_internvl.training.parameters import set_trainable
from transformers_internvl.training.recipes import get_recipe

FOLDER = golden_cases("mono_internvl")[0]


def decoder(seed: int = 0) -> InternLM2VEModel:
    torch.manual_seed(seed)
    config = InternLM2VEConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return InternLM2VEModel(config).eval()


def chat_model():
    return AutoModel.from_pretrained(FOLDER).eval()


def chat_batch(model, tiles: int = 2, rows: int = 1, text: int = 6) -> dict[str, torch.Tensor]:
    """Rows of text with the image tokens of `tiles` tiles each behind the first token."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 400, (rows, text + 4 * tiles), generator=generator)
    ids[:, 1 : 1 + 4 * tiles] = model.config.image_token_id
    return {"input_ids": ids, "pixel_values": torch.randn(rows * tiles, 3, 56, 56, generator=generator)}


def test_each_position_meets_its_own_network_only():
    layer = decoder().layers[0]
    hidden = torch.randn(2, 5, 32)
    mask = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 0, 0, 1]]).bool()
    by_hand = torch.where(mask[..., None], layer.mlp_ve(hidden), layer.mlp(hidden))
    seen = {}
    for name in ("mlp", "mlp_ve"):
        getattr(layer, name).register_forward_hook(lambda m, inputs, out, name=name: seen.update({name: inputs[0]}))
    torch.testing.assert_close(layer.feed_forward(hidden, mask), by_hand)
    assert seen["mlp_ve"].shape == (3, 32) and seen["mlp"].shape == (7, 32)


@pytest.mark.parametrize("marked", [0, 10])
def test_rows_of_one_kind_have_gradients_of_zero_in_the_other_network(marked):
    layer = decoder().train().layers[0]
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask.view(-1)[:marked] = True
    layer.feed_forward(torch.randn(2, 5, 32), mask).sum().backward()
    idle, busy = (layer.mlp_ve, layer.mlp) if marked == 0 else (layer.mlp, layer.mlp_ve)
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in idle.parameters())
    assert all(p.grad.abs().sum() > 0 for p in busy.parameters())


def test_a_traced_layer_gives_the_same():
    layer, hidden, mask = decoder().layers[0], torch.randn(1, 6, 32), torch.tensor([[0, 1, 1, 0, 1, 0]]).bool()
    compiled = torch.compile(layer.feed_forward, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(hidden, mask), layer.feed_forward(hidden, mask))


def test_without_a_mask_it_is_internlm2():
    model = decoder()
    ids = torch.arange(8)[None]
    plain = model(input_ids=ids).last_hidden_state
    none = model(input_ids=ids, image_token_mask=torch.zeros(1, 8, dtype=torch.bool)).last_hidden_state
    torch.testing.assert_close(plain, none)
    some = model(input_ids=ids, image_token_mask=torch.tensor([[0, 1] * 4]).bool()).last_hidden_state
    assert not torch.allclose(plain, some)


def test_text_alone_is_answered():
    model = chat_model()
    ids = torch.tensor([[1, 5, 9, 12]])
    out = model.generate(input_ids=ids, max_new_tokens=4, do_sample=False)
    assert out.shape[1] > ids.shape[1]
    for network in (layer.mlp_ve for layer in model.model.language_model.layers):
        torch.nn.init.zeros_(network.down_proj.weight)
    assert torch.equal(out, model.generate(input_ids=ids, max_new_tokens=4, do_sample=False))


def test_an_image_token_in_the_answer_is_text():
    model = chat_model()
    image_token = torch.tensor([[model.config.image_token_id]])
    with torch.no_grad():
        cache = model(**chat_batch(model), use_cache=True).cache
        before = model(input_ids=image_token, cache=copy.deepcopy(cache)).logits
        for layer in model.model.language_model.layers:
            layer.mlp_ve.down_proj.weight.zero_()
        after = model(input_ids=image_token, cache=cache).logits
    assert_same_results(after, before)


def test_steps_with_a_cache_equal_one_pass():
    model = chat_model()
    batch = chat_batch(model)
    with torch.no_grad():
        whole = model(**batch).logits
        first = {**batch, "input_ids": batch["input_ids"][:, :-1]}
        out = model(**first, use_cache=True)
        last = model(input_ids=batch["input_ids"][:, -1:], cache=out.cache).logits
    assert_same_results(torch.cat([out.logits, last], dim=1), whole)


def test_a_chunked_prefill_gives_the_same_answer():
    model = chat_model()
    batch = chat_batch(model)
    options = {"max_new_tokens": 5, "do_sample": False}
    assert torch.equal(model.generate(**batch, **options), model.generate(**batch, **options, prefill_chunk_size=4))


def test_padding_on_either_side_and_batches_change_nothing():
    model = chat_model()
    short, long = chat_batch(model, tiles=1), chat_batch(model, tiles=2)
    alone = model(**short).logits
    width = long["input_ids"].shape[1] - short["input_ids"].shape[1]
    pixels = torch.cat([short["pixel_values"], long["pixel_values"]])
    for side in ("left", "right"):
        pad = (width, 0) if side == "left" else (0, width)
        ids = torch.cat([torch.nn.functional.pad(short["input_ids"], pad, value=2), long["input_ids"]])
        mask = torch.ones_like(ids)
        mask[0] = torch.nn.functional.pad(torch.ones_like(short["input_ids"]), pad)[0]
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, pixel_values=pixels).logits
        assert_same_results(logits[0][mask[0].bool()], alone[0])


def test_packed_samples_equal_single_ones():
    model = chat_model()
    one, two = chat_batch(model, tiles=1), chat_batch(model, tiles=2)
    lengths = [batch["input_ids"].shape[1] for batch in (one, two)]
    packed = model(
        input_ids=torch.cat([one["input_ids"], two["input_ids"]], dim=1),
        pixel_values=torch.cat([one["pixel_values"], two["pixel_values"]]),
        position_ids=torch.cat([torch.arange(length) for length in lengths])[None],
    ).logits
    for part, batch in zip(packed.split(lengths, dim=1), (one, two), strict=True):
        assert_same_results(part, model(**batch).logits)


def test_the_tower_has_one_hidden_state():
    fields = json.loads((FOLDER / "config.json").read_text())
    with pytest.raises(ValueError, match="select_layer.*must be -1, got -4"):
        InternVLChatConfig.from_dict({**fields, "select_layer": -4})


def test_a_config_built_in_python_is_written_as_the_original_code_reads_it(tmp_path):
    config = released_config("Mono-InternVL-2B")
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["llm_config"]["model_type"] == "internlm2"
    assert written["llm_config"]["architectures"] == ["InternLM2VEForCausalLM"]
    assert written["vision_config"]["model_type"] == "intern_vit_patch"
    assert written["vision_config"]["architectures"] == ["InternVisionPatchModel"]
    again = AutoConfig.from_pretrained(tmp_path)
    assert again.text_config.model_type == "internlm2_ve" and again.vision_config.num_hidden_layers == 0


def test_the_language_model_alone_is_loaded_and_saved(tmp_path):
    torch.manual_seed(0)
    model = InternLM2VEForCausalLM(decoder().config).eval()
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.arange(6)[None]
    assert type(again) is InternLM2VEForCausalLM
    assert_same_results(again(input_ids=ids).logits, model(input_ids=ids).logits)


def test_missing_experts_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(FOLDER / "model.safetensors")
    weights.pop("language_model.model.layers.1.feed_forward_ve.w2.weight")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text((FOLDER / "config.json").read_text())
    with pytest.raises(ValueError, match="mlp_ve.down_proj"):
        AutoModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(("preset", "network"), [("feed_forward", "mlp"), ("feed_forward_ve", "mlp_ve")])
def test_adapters_of_one_network(preset, network):
    from peft import get_peft_model

    model = get_peft_model(chat_model(), lora_config(preset, chat_model(), r=2))
    adapted = {name.split(".lora_A")[0].split(".")[-2] for name, _ in model.named_parameters() if ".lora_A." in name}
    assert adapted == {network}


def test_visual_experts_train_alone_or_by_the_recipe():
    model = chat_model()
    set_trainable(model, ["visual_experts"])
    assert {name.split(".")[-3] for name, p in model.named_parameters() if p.requires_grad} == {"mlp_ve"}
    model = get_recipe("mono-internvl-2b-finetune").apply(copy.deepcopy(model))
    assert all(p.requires_grad for p in model.parameters())


def test_a_position_costs_one_of_the_two_networks():
    mono, plain = released_config("Mono-InternVL-2B"), released_config("InternVL2-2B")
    work = Work(num_tiles=1, text_length=80)
    ours, theirs = profile(mono, work).part("language model"), profile(plain, work).part("language model")
    network = 3 * 2048 * 8192 * 24
    assert ours.macs == theirs.macs
    assert ours.parameters == theirs.parameters + network and ours.active_parameters == theirs.active_parameters
