# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Attention sample by sample, which language models get it, which get their masks ready-made, and what those are."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModel, DynamicCache, GptOssConfig, Phi3Config, Qwen2Config
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from tests.tiny import tiny_batch, tiny_model
from transformers_internvl.modeling.pretrained import packed_masks as module
from transformers_internvl.modeling.pretrained.packed_masks import PackedCausalMask, packed_masks, use_cache_of_packs

POSITIONS = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0]])
EMBEDDINGS = torch.zeros(1, 8, 16)
LENGTHS = [3, 4, 2, 2, 5, 1, 1, 1]  # neighbours of one length, and padding, which is samples of one token


def gpt_oss():
    return GptOssConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        num_local_experts=2,
        num_experts_per_tok=1,
        sliding_window=2,
        layer_types=["sliding_attention", "full_attention"],
        attn_implementation="eager",
    )


def test_masks_by_layer_type():
    masks = packed_masks(gpt_oss(), EMBEDDINGS, None, POSITIONS, None, {})
    sample = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2])
    at = torch.arange(8)
    full = (sample[:, None] == sample) & (at[:, None] >= at)
    expected = {"full_attention": full, "sliding_attention": full & (at[:, None] - at < 2)}
    assert masks.keys() == expected.keys()
    for kind, mask in masks.items():
        assert torch.equal(mask[0, 0] == 0, expected[kind]), kind


def test_nothing_is_done_where_it_is_not_needed():
    mask = torch.ones(1, 8)
    assert packed_masks(gpt_oss(), EMBEDDINGS, mask, POSITIONS, None, {}) is mask
    assert packed_masks(gpt_oss(), EMBEDDINGS, None, None, None, {}) is None
    assert packed_masks(gpt_oss(), EMBEDDINGS, None, POSITIONS, object(), {}) is None


def test_the_language_model_would_not_keep_samples_apart_by_itself():
    """Fails once transformers hands positions to the masks of GPT-OSS: then the row can go."""
    torch.manual_seed(0)
    model = AutoModel.from_config(gpt_oss()).eval()
    embeddings = torch.randn(1, 8, 16)
    other = embeddings.clone()
    other[:, :3] += 1

    def last(inputs, mask):
        with torch.no_grad():
            return model(inputs_embeds=inputs, position_ids=POSITIONS, attention_mask=mask, use_cache=False)[0][:, 3:]

    masks = packed_masks(model.config, embeddings, None, POSITIONS, None, {})
    assert torch.allclose(last(embeddings, masks), last(other, masks), atol=1e-6)
    assert not torch.allclose(last(embeddings, None), last(other, None), atol=1e-3)


def positions_of(lengths: list[int]) -> torch.Tensor:
    return torch.cat([torch.arange(length) for length in lengths])[None]


def states() -> list[torch.Tensor]:
    """Query, key and value `(1, 4, L, 8)`."""
    torch.manual_seed(0)
    return [torch.randn(1, 4, sum(LENGTHS), 8, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize(
    ("config", "make"),
    [
        (Qwen2Config(), create_causal_mask),
        (Phi3Config(sliding_window=5, pad_token_id=0), create_sliding_window_causal_mask),  # the longest sample's
    ],
)
def test_it_is_the_mask_that_transformers_makes(config, make):
    config._attn_implementation = "sdpa"
    embeddings, positions = torch.zeros(1, sum(LENGTHS), 16), positions_of(LENGTHS)
    found = packed_masks(config, embeddings, None, positions, None, {"use_cache": False})
    expected = make(config, embeddings, None, None, position_ids=positions)
    assert isinstance(found, PackedCausalMask) and repr(found) == f"PackedCausalMask({LENGTHS})"
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert torch.equal(found.dense(), expected)
    assert torch.equal(~found, ~expected)  # any operation but attention has its values


@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention_and_its_gradients_are_those_of_the_mask(scale):
    mask, upstream = PackedCausalMask(LENGTHS), torch.randn(1, 4, sum(LENGTHS), 8)
    results = []
    for attn_mask in (mask, mask.dense()):
        inputs = states()
        output = scaled_dot_product_attention(*inputs, attn_mask=attn_mask, scale=scale)
        results.append([output, *torch.autograd.grad(output, inputs, upstream)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_attention_costs_the_pairs_of_each_sample(monkeypatch):
    seen = []

    def attention(query, key, value, **options):
        assert options["is_causal"] and "attn_mask" not in options
        seen.append((len(query), query.shape[2], key.shape[2]))
        return scaled_dot_product_attention(query, key, value, **options)

    mask, inputs = PackedCausalMask(LENGTHS), states()
    monkeypatch.setattr(module, "scaled_dot_product_attention", attention)
    module._attend(*inputs, attn_mask=mask)
    assert seen == [(1, 3, 3), (1, 4, 4), (2, 2, 2), (1, 5, 5), (3, 1, 1)]


def test_a_compiled_caller_sees_each_pack_as_it_is():
    def attend(query, mask):
        return scaled_dot_product_attention(query, query, query, attn_mask=mask)

    torch._dynamo.reset()
    compiled = torch.compile(attend, backend="eager")
    query = states()[0].detach()
    for lengths in (LENGTHS, LENGTHS[::-1], [9, 10]):
        assert torch.equal(compiled(query, PackedCausalMask(lengths)), attend(query, PackedCausalMask(lengths)))


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({"attn_implementation": "eager"}, {}),
        ({"attn_implementation": "flex_attention"}, {}),
        ({"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}, {}),  # of 4 tokens
        ({"is_causal": False}, {}),
        ({}, {"is_causal": False}),
        ({}, {"use_cache": True}),
        ({}, {"use_cache": None}),  # the config's
    ],
)
def test_language_models_make_other_masks_themselves(config, options):
    config = Qwen2Config(**{"attn_implementation": "sdpa", "num_hidden_layers": 2, **config})
    options = {"use_cache": False, **options}
    assert packed_masks(config, EMBEDDINGS, None, POSITIONS, None, options) is None


def test_no_mask_for_other_layers_more_rows_or_a_single_sample():
    config = Qwen2Config(attn_implementation="sdpa", use_cache=False)
    assert isinstance(packed_masks(config, EMBEDDINGS, None, POSITIONS, None, {}), PackedCausalMask)
    rows = (EMBEDDINGS.expand(2, -1, -1), None, POSITIONS.expand(2, -1))
    assert packed_masks(config, *rows, None, {}) is None
    assert packed_masks(config, EMBEDDINGS, None, torch.arange(8)[None], None, {}) is None
    config.layer_types = ["full_attention", "linear_attention"]
    assert packed_masks(config, EMBEDDINGS, None, POSITIONS, None, {}) is None


def packed_and_alone(**options) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of three samples of a pack in evaluation, and those of each sample as a row."""
    model, ids, lengths = tiny_model().eval(), torch.arange(2, 22)[None], [8, 7, 5]
    with torch.no_grad():
        packed = model(input_ids=ids, position_ids=positions_of(lengths), **options)
        alone = [model(input_ids=part, attention_mask=torch.ones_like(part)).logits for part in ids.split(lengths, 1)]
    assert packed.cache is None
    return packed.logits, torch.cat(alone, dim=1)


@pytest.mark.parametrize("options", [{}, {"use_cache": None}, {"use_cache": True}, {"use_cache": False}])
def test_samples_stay_apart_in_evaluation_though_a_cache_is_usual(options):
    torch.testing.assert_close(*packed_and_alone(**options), rtol=0, atol=1e-5)


def test_rows_that_are_no_packs_keep_their_cache():
    model, ids = tiny_model().eval(), torch.arange(2, 10)[None]
    with torch.no_grad():
        assert model(input_ids=ids, position_ids=torch.arange(8)[None]).cache.get_seq_length() == 8
        assert model(input_ids=ids, attention_mask=torch.ones_like(ids)).cache.get_seq_length() == 8
        assert use_cache_of_packs(True, None, POSITIONS, DynamicCache()) is True
        assert model.train()(input_ids=ids).cache is None


@pytest.mark.parametrize("asked", [None, True, False])
@pytest.mark.parametrize(
    "given", [(torch.ones(1, 8), POSITIONS, None), (None, POSITIONS, DynamicCache()), (None, None, None)]
)
def test_with_a_mask_or_a_cache_or_no_positions_nothing_is_packed(asked, given):
    mask, positions, cache = given
    assert use_cache_of_packs(asked, mask, positions, cache) is asked
    assert use_cache_of_packs(asked, None, POSITIONS, None) is False


def test_compiled_models_keep_samples_apart_and_refuse_a_cache_that_could_be_of_packs():
    torch._dynamo.reset()
    model, ids, lengths = tiny_model().eval(), torch.arange(2, 22)[None], [8, 7, 5]
    batch = {"input_ids": ids, "position_ids": positions_of(lengths)}
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(**batch).logits, model(**batch).logits, rtol=0, atol=1e-5)
        with pytest.raises(ValueError, match="`use_cache=False`"):
            compiled(**batch, use_cache=True)


def test_flash_attention_takes_packs_in_one_row_only():
    config = Qwen2Config()
    config._attn_implementation = "flash_attention_2"
    assert packed_masks(config, EMBEDDINGS, None, POSITIONS, None, {}) is None
    rows = (EMBEDDINGS.expand(2, -1, -1), None)
    assert packed_masks(config, *rows, torch.arange(8).expand(2, -1), None, {}) is None
    with pytest.raises(ValueError, match="got 2 rows of packs"):
        packed_masks(config, *rows, POSITIONS.expand(2, -1), None, {})


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_leaves_the_gradients_as_they_are(reentrant):
    """The second forward has the same mask."""
    batch = tiny_batch([1])
    batch = {"input_ids": batch["input_ids"], "pixel_values": batch["pixel_values"], "labels": batch["input_ids"]}
    batch["position_ids"] = positions_of([8, 7, 5])
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model().train()
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": reentrant})
        model(**batch).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert (gradient is None) == (gradients[1][name] is None), name
        assert gradient is None or torch.equal(gradient, gradients[1][name]), name
