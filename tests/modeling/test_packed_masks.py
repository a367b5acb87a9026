# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which language models get their masks ready-made, and what those are."""

import torch
from transformers import AutoModel, GptOssConfig, Qwen2Config

from transformers_internvl.modeling.packed_masks import packed_masks

POSITIONS = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0]])
EMBEDDINGS = torch.zeros(1, 8, 16)


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
    masks = packed_masks(gpt_oss(), EMBEDDINGS, None, POSITIONS, None)
    sample = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2])
    at = torch.arange(8)
    full = (sample[:, None] == sample) & (at[:, None] >= at)
    expected = {"full_attention": full, "sliding_attention": full & (at[:, None] - at < 2)}
    assert masks.keys() == expected.keys()
    for kind, mask in masks.items():
        assert torch.equal(mask[0, 0] == 0, expected[kind]), kind


def test_nothing_is_done_where_it_is_not_needed():
    mask = torch.ones(1, 8)
    assert packed_masks(gpt_oss(), EMBEDDINGS, mask, POSITIONS, None) is mask
    assert packed_masks(gpt_oss(), EMBEDDINGS, None, None, None) is None
    assert packed_masks(gpt_oss(), EMBEDDINGS, None, POSITIONS, object()) is None
    assert packed_masks(Qwen2Config(), EMBEDDINGS, None, POSITIONS, None) is None


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

    masks = packed_masks(model.config, embeddings, None, POSITIONS, None)
    assert torch.allclose(last(embeddings, masks), last(other, masks), atol=1e-6)
    assert not torch.allclose(last(embeddings, None), last(other, None), atol=1e-3)
