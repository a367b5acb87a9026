# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A cache is taken as `cache`, with upstream's warning as `past_key_values`, and under no other name."""

import copy
import inspect

import pytest
import torch
from transformers import AutoModel, AutoModelForImageTextToText, DynamicCache, InternVLVisionConfig, StaticCache
from transformers.models.internvl import modeling_internvl as stock

import transformers_internvl as ours
from tests import llava
from tests.parity.golden import golden_root
from tests.tiny import tiny_batch, tiny_model
from tests.tiny_dual_encoder import images, texts, tiny_dual_encoder, tiny_qllama
from transformers_internvl.modeling.dual_encoder.qllama import QLlamaForCausalLM

KINDS = ["body", "chat", "experts", "head", "internlm2", "llava", "llava_with_qllama", "own_masks"]
KINDS += ["qllama", "qllama_body"]


def model_of(kind: str, folder) -> torch.nn.Module:
    if kind in ("head", "body"):
        return tiny_model() if kind == "head" else tiny_model().model
    if kind.startswith("llava"):
        llava.write_folder(folder, "two_mlp" if kind == "llava_with_qllama" else "mlp2x_gelu")
        return AutoModelForImageTextToText.from_pretrained(folder).eval()
    if kind.startswith("qllama"):
        return tiny_qllama(*([QLlamaForCausalLM] if kind == "qllama" else []))
    names = {"chat": "chat_qwen2", "experts": "chat_qwen3_moe", "own_masks": "chat_gpt_oss"}
    model = AutoModel.from_pretrained(golden_root() / names.get(kind, "chat_internlm2")).eval()
    return model.model.language_model if kind == "internlm2" else model


def last(outputs) -> torch.Tensor:
    """What the last position gives, `(B, V)` or `(B, D)`."""
    return outputs[0][:, -1]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_former_name_is_taken_with_a_warning(kind, tmp_path):
    model = model_of(kind, tmp_path)
    ids = torch.arange(2, 14)[None]
    whole = last(model(input_ids=ids))
    first = model(input_ids=ids[:, :8], use_cache=True).cache
    kept = copy.deepcopy(first)
    with pytest.warns(FutureWarning, match="`past_key_values` is deprecated and will be removed in version 5.40.0"):
        outputs = model(input_ids=ids[:, 8:], past_key_values=first, use_cache=True)
    assert outputs.cache is first and outputs.past_key_values is first and first.get_seq_length() == 12
    torch.testing.assert_close(last(outputs), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(last(model(input_ids=ids[:, 8:], cache=kept)), whole, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(last(model(input_ids=ids[:, 8:])), whole, rtol=1e-3, atol=1e-3)  # it plays a part


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("body", "internlm2", "qllama_body")])
def test_generate_takes_both_names(kind, tmp_path):
    model = model_of(kind, tmp_path)
    ids = torch.arange(2, 14)[None]
    greedy = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    expected = model.generate(ids, **greedy)
    config = model.config.get_text_config(decoder=True)
    assert torch.equal(model.generate(ids, **greedy, cache=StaticCache(config, max_cache_len=20)), expected)
    with pytest.warns(FutureWarning, match="past_key_values"):
        found = model.generate(ids, **greedy, past_key_values=DynamicCache(config=config))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")
def test_captions_take_both_names(name):
    model, prompt = tiny_dual_encoder(), torch.tensor([[1, 7, 9]])
    greedy = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    expected = model.generate(images(1), prompt, **greedy)
    cache = DynamicCache(config=model.config.qllama_config)
    assert torch.equal(model.generate(images(1), prompt, **greedy, **{name: cache}), expected)
    assert cache.get_seq_length() > 4


@pytest.mark.parametrize("kind", ["body", "chat", "head", "llava", "qllama", "qllama_body", "own_masks"])
@pytest.mark.parametrize("name", ["past", "cache_params", "past_key_value"])
def test_a_cache_under_another_name_is_refused(kind, name, tmp_path):
    model = model_of(kind, tmp_path)
    with pytest.raises(TypeError, match=f"takes a cache as `cache`, not as `{name}`"):
        model(input_ids=torch.arange(2, 8)[None], **{name: DynamicCache()})


def test_models_without_a_cache_take_none():
    tower = ours.InternVLVisionModel(InternVLVisionConfig(**tiny_model().config.vision_config.to_dict()))
    whole, both = tiny_dual_encoder(), {"pixel_values": images(1), "input_ids": texts(4)}
    for name in ("cache", "past_key_values"):
        for call in (
            lambda options: tower(tiny_batch([1])["pixel_values"], **options),
            lambda options: whole(**both, **options),
            lambda options: whole.get_image_features(both["pixel_values"], **options),
        ):
            with pytest.raises(TypeError, match=f"takes a cache nowhere.*`{name}`"):
                call({name: DynamicCache()})


@pytest.mark.parametrize("name", ["InternVLModel", "InternVLForConditionalGeneration"])
def test_arguments_of_upstreams_forward_stand_where_they_do(name):
    theirs, own = (list(inspect.signature(getattr(place, name).forward).parameters) for place in (stock, ours))
    theirs = [argument for argument in theirs if argument != "kwargs"]
    assert set(theirs) <= set(own)
    positional = theirs[: theirs.index("inputs_embeds") + 1]
    assert own[: len(positional)] == positional
