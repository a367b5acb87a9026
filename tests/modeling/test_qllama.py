# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""QLLaMA by itself: who sees whom, where the queries look, and what it is without them."""

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from tests.tiny_dual_encoder import QUERIES, TEXT, VISION_WIDTH, WIDTH
from tests.tiny_dual_encoder import tiny_qllama as tiny_model
from tests.tiny_dual_encoder import tiny_qllama_config as tiny_config
from transformers_internvl.modeling.dual_encoder.qllama import (
    QLlamaForCausalLM,
    QLlamaModel,
    contrastive_mask,
    generation_mask,
    matching_mask,
)


@pytest.fixture(params=["eager", "sdpa"])
def model(request) -> QLlamaModel:
    model = tiny_model()
    model.set_attn_implementation(request.param)
    return model


@pytest.fixture
def parts() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    vision = draw(2, 7, VISION_WIDTH)
    return {"queries": draw(2, QUERIES, WIDTH), "text": draw(2, TEXT, WIDTH), "vision": vision}


def run(model, parts, make_mask, padding=None) -> tuple[torch.Tensor, torch.Tensor]:
    """What comes out for queries and text."""
    embeds = torch.cat([parts["queries"], parts["text"]], dim=1)
    padding = torch.ones(embeds.shape[:2]) if padding is None else padding
    mask = make_mask(padding, QUERIES, embeds.dtype)
    with torch.no_grad():
        out = model(inputs_embeds=embeds, attention_mask=mask, vision_hidden_states=parts["vision"]).last_hidden_state
    return out[:, :QUERIES], out[:, QUERIES:]


def changed(parts, name, position=None) -> dict[str, torch.Tensor]:
    part = parts[name].clone()
    part[:, position if position is not None else slice(None)] += 1.0
    return {**parts, name: part}


# --- the masks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make_mask, rows",
    [
        (generation_mask, ["110000", "110000", "111000", "111100", "111110", "111110"]),
        (contrastive_mask, ["110000", "110000", "001000", "001100", "001110", "001110"]),
        (matching_mask, ["111110"] * 6),
    ],
)
def test_masks(make_mask, rows):
    padding = torch.tensor([[1, 1, 1, 1, 1, 0]])  # two queries, three tokens, one of padding
    mask = make_mask(padding, 2, torch.float32)
    assert mask.shape == (1, 1, 6, 6)
    assert set(mask.unique().tolist()) == {0.0, torch.finfo(torch.float32).min}
    assert ["".join("1" if value == 0 else "0" for value in row) for row in mask[0, 0].tolist()] == rows


def test_contrastive_queries_and_text_do_not_leak_into_each_other(model, parts):
    queries, text = run(model, parts, contrastive_mask)
    assert torch.equal(run(model, changed(parts, "text"), contrastive_mask)[0], queries)
    assert torch.equal(run(model, changed(parts, "queries"), contrastive_mask)[1], text)
    assert torch.equal(run(model, changed(parts, "vision"), contrastive_mask)[1], text)
    assert not torch.allclose(run(model, changed(parts, "vision"), contrastive_mask)[0], queries)


def test_contrastive_text_does_not_see_ahead(model, parts):
    _, text = run(model, parts, contrastive_mask)
    _, other = run(model, changed(parts, "text", -1), contrastive_mask)
    assert torch.equal(other[:, :-1], text[:, :-1]) and not torch.allclose(other[:, -1], text[:, -1])


def test_generated_text_sees_the_image_and_not_ahead(model, parts):
    queries, text = run(model, parts, generation_mask)
    other_queries, other = run(model, changed(parts, "text", 2), generation_mask)
    assert torch.equal(other_queries, queries)
    assert torch.equal(other[:, :2], text[:, :2])
    assert not torch.allclose(other[:, 2:], text[:, 2:])
    assert not torch.allclose(run(model, changed(parts, "vision"), generation_mask)[1], text)


def test_queries_see_later_queries(model, parts):
    for make_mask in (generation_mask, contrastive_mask, matching_mask):
        queries, _ = run(model, parts, make_mask)
        other, _ = run(model, changed(parts, "queries", -1), make_mask)
        assert not torch.allclose(other[:, 0], queries[:, 0])


def test_in_matching_all_see_all(model, parts):
    queries, text = run(model, parts, matching_mask)
    assert not torch.allclose(run(model, changed(parts, "text", -1), matching_mask)[0], queries)
    assert not torch.allclose(run(model, changed(parts, "text", -1), matching_mask)[1][:, 0], text[:, 0])


@pytest.mark.parametrize("make_mask", [generation_mask, contrastive_mask, matching_mask])
def test_padding_is_seen_by_nobody(model, parts, make_mask):
    padding = torch.ones(2, QUERIES + TEXT)
    padding[:, -2:] = 0
    queries, text = run(model, parts, make_mask, padding)
    other_queries, other = run(model, changed(parts, "text", slice(-2, None)), make_mask, padding)
    assert torch.equal(other_queries, queries) and torch.equal(other[:, :-2], text[:, :-2])


def test_a_padding_mask_behind_queries_means_the_generation_mask(model, parts):
    embeds = torch.cat([parts["queries"], parts["text"]], dim=1)
    padding = torch.ones(embeds.shape[:2], dtype=torch.long)
    padding[0, -1] = 0
    queries, text = run(model, parts, generation_mask, padding)
    with torch.no_grad():
        out = model(inputs_embeds=embeds, attention_mask=padding, vision_hidden_states=parts["vision"])
    assert torch.equal(out.last_hidden_state, torch.cat([queries, text], dim=1))


# --- the body --------------------------------------------------------------------------------------------------------


def test_every_second_layer_looks_at_the_image():
    assert [layer.cross_attn is not None for layer in tiny_model().layers] == [True, False, True]
    every_third = tiny_model(num_hidden_layers=4, cross_attention_frequency=3)
    assert [layer.cross_attn is not None for layer in every_third.layers] == [True, False, False, True]


def test_without_an_image_it_is_llama(model):
    fields = {key: getattr(model.config, key) for key in ("vocab_size", "hidden_size", "intermediate_size")}
    llama = LlamaModel(
        LlamaConfig(**fields, num_hidden_layers=3, num_attention_heads=4, pad_token_id=0, attn_implementation="eager")
    ).eval()
    report = llama.load_state_dict({k: v for k, v in model.state_dict().items() if ".cross_attn." not in k})
    assert not report.missing_keys
    ids = torch.arange(2, 14).view(2, 6)
    mask = torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0]])
    with torch.no_grad():
        expected = llama(input_ids=ids, attention_mask=mask).last_hidden_state
        got = model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(got[mask.bool()], expected[mask.bool()], rtol=1e-4, atol=2e-5)


def test_packed_texts_stay_apart_though_a_cache_is_usual(model):
    ids, lengths = torch.arange(2, 14)[None], [5, 7]
    places = torch.cat([torch.arange(length) for length in lengths])[None]
    with torch.no_grad():
        packed = model(input_ids=ids, position_ids=places).last_hidden_state
        alone = [model(input_ids=part).last_hidden_state for part in ids.split(lengths, dim=1)]
    torch.testing.assert_close(packed, torch.cat(alone, dim=1), rtol=1e-4, atol=2e-5)


def test_the_rotary_base_is_fixed():
    config = tiny_config(rope_theta=500000.0, rope_scaling={"type": "linear", "factor": 2.0})
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 10000.0}


@pytest.mark.parametrize("cache", [None, "static"])
def test_cached_decoding_gives_what_a_full_pass_gives(model, parts, cache):
    causal = tiny_model(QLlamaForCausalLM)
    causal.set_attn_implementation(model.config._attn_implementation)
    embeds = torch.cat([parts["queries"], parts["text"]], dim=1)
    padding = torch.ones(embeds.shape[:2], dtype=torch.long)
    padding[0, QUERIES : QUERIES + 2] = 0  # a shorter prompt, padded on the left
    common = {"inputs_embeds": embeds, "attention_mask": padding, "vision_hidden_states": parts["vision"]}
    generated = causal.generate(
        **common, max_new_tokens=5, do_sample=False, eos_token_id=None, cache_implementation=cache
    )
    for _ in range(5):  # the longest prefix again and again, without any cache
        with torch.no_grad():
            logits = causal(**common, use_cache=False).logits[:, -1]
        word = logits.argmax(dim=-1)
        common["inputs_embeds"] = torch.cat([common["inputs_embeds"], causal.model.embed_tokens(word)[:, None]], dim=1)
        common["attention_mask"] = torch.cat([common["attention_mask"], torch.ones(2, 1, dtype=torch.long)], dim=1)
        assert torch.equal(word, generated[:, 0])
        generated = generated[:, 1:]
    assert generated.shape[1] == 0


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(parts, reentrant):
    model = tiny_model().train()
    embeds = torch.cat([parts["queries"], parts["text"]], dim=1)

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        vision = parts["vision"].clone().requires_grad_()
        inputs = embeds.clone().requires_grad_()
        model(inputs_embeds=inputs, vision_hidden_states=vision).last_hidden_state.square().sum().backward()
        return [inputs.grad, vision.grad, *(p.grad for p in model.parameters() if p.grad is not None)]

    plain = [gradient.clone() for gradient in gradients()]
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    for expected, got in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(got, expected)


def test_the_image_is_looked_at_once_per_caption(parts):
    causal, calls = tiny_model(QLlamaForCausalLM), []
    causal.model.layers[0].cross_attn.register_forward_hook(lambda *_: calls.append(1))
    embeds = torch.cat([parts["queries"], parts["text"]], dim=1)
    common = {"inputs_embeds": embeds, "vision_hidden_states": parts["vision"], "eos_token_id": None}
    causal.generate(**common, max_new_tokens=4, do_sample=False)
    assert len(calls) == 1
    causal.generate(**common, max_new_tokens=4, num_beams=3, do_sample=False)
    assert len(calls) == 2


def test_a_step_behind_a_cache_passes_over_the_image(parts):
    model = tiny_model()
    embeds = torch.cat([parts["queries"], parts["text"]], dim=1)
    with torch.no_grad():
        whole = model(inputs_embeds=embeds, vision_hidden_states=parts["vision"]).last_hidden_state
        first = model(inputs_embeds=embeds[:, :-1], vision_hidden_states=parts["vision"], use_cache=True)
        step = {"cache": first.cache, "vision_hidden_states": parts["vision"]}
        last = model(inputs_embeds=embeds[:, -1:], **step).last_hidden_state
    torch.testing.assert_close(last[:, 0], whole[:, -1], rtol=1e-4, atol=2e-5)


def test_what_does_not_fit_is_refused(parts):
    model = tiny_model()
    with pytest.raises(ValueError, match="65 positions, the model 64"):
        model(input_ids=torch.ones(1, 65, dtype=torch.long))
    with pytest.raises(ValueError, match="first 3 positions are the queries, but there are only 2"):
        model(inputs_embeds=parts["queries"][:, :2], vision_hidden_states=parts["vision"])
    with pytest.raises(ValueError, match="exactly one of"):
        model()
    with pytest.raises(ValueError, match="must be at least 1"):
        tiny_config(cross_attention_frequency=0)


def test_without_its_text_side_it_encodes_queries_alone():
    whole = tiny_model()
    bare = QLlamaModel(tiny_config(), text=False).eval()
    bare.load_state_dict({name: weight for name, weight in whole.state_dict().items() if "embed_tokens" not in name})
    queries, vision = torch.randn(1, QUERIES, WIDTH), torch.randn(2, 7, VISION_WIDTH)
    with torch.no_grad():
        encoded = bare.encode_queries(queries, vision)
        assert encoded.shape == (2, QUERIES, WIDTH)
        assert torch.equal(encoded, whole.encode_queries(queries, vision))
    with pytest.raises(ValueError, match="no embeddings of text tokens"):
        bare(input_ids=torch.ones(1, 4, dtype=torch.long))


def test_as_many_positions_as_there_are(parts):
    model = tiny_model()
    with torch.no_grad():
        assert model(input_ids=torch.ones(1, 64, dtype=torch.long)).last_hidden_state.shape[1] == 64
        queries = model(inputs_embeds=parts["queries"], vision_hidden_states=parts["vision"])  # and no text
    assert queries.last_hidden_state.shape == (2, QUERIES, WIDTH)
    with pytest.raises(ValueError, match="exactly one of"):
        model(input_ids=torch.ones(2, QUERIES, dtype=torch.long), inputs_embeds=parts["queries"])


def test_labels_and_some_logits():
    model, ids = tiny_model(QLlamaForCausalLM), torch.tensor([[1, 5, 6, 7]])
    with torch.no_grad():
        whole = model(input_ids=ids, labels=ids)
        expected = torch.nn.functional.cross_entropy(whole.logits[0, :-1], ids[0, 1:])
        torch.testing.assert_close(whole.loss, expected)
        some = model(input_ids=ids, logits_to_keep=2).logits
    torch.testing.assert_close(some, whole.logits[:, -2:])


def test_norms_and_padding_are_the_configurations():
    model = tiny_model(rms_norm_eps=0.5)
    cross = model.layers[0].cross_attn
    assert cross.norm1.variance_epsilon == cross.norm2.variance_epsilon == model.norm.variance_epsilon == 0.5
    assert model.embed_tokens.padding_idx == 0
    sparse = tiny_model(cross_attention_frequency=3, num_hidden_layers=5)
    assert [index for index, layer in enumerate(sparse.layers) if layer.cross_attn is not None] == [0, 3]
