# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The sizes in a `config.json` at their exact bounds: the last one that is taken, the first one that is refused."""

import pytest
import torch

from transformers_internvl.modeling.limits import LIMITS, check_sizes

# As documented, not read from the source: who moves a bound changes this table, too.
BOUNDS = {
    "num_hidden_layers": (0, 10_000),
    "hidden_size": (1, 1_000_000),
    "intermediate_size": (1, 10_000_000),
    "num_attention_heads": (1, 100_000),
    "num_key_value_heads": (1, 100_000),
    "attn_pool_num_heads": (1, 100_000),
    "head_dim": (1, 1_000_000),
    "vocab_size": (1, 100_000_000),
    "image_size": (1, 100_000),
    "force_image_size": (0, 100_000),
    "patch_size": (1, 100_000),
    "num_channels": (1, 10_000),
    "num_experts": (0, 100_000),
    "num_local_experts": (0, 100_000),
    "num_query_token": (1, 1_000_000),
    "image_seq_length": (1, 1_000_000),
    "max_position_embeddings": (1, 1_000_000_000),
    "num_labels": (1, 1_000_000),
}


def test_every_limit_is_in_the_table():
    assert LIMITS.keys() == BOUNDS.keys()


@pytest.mark.parametrize("name", BOUNDS)
def test_sizes_at_their_bounds(name):
    least, most = BOUNDS[name]
    for value in (least, most, None, [least, most], (most,)):
        check_sizes({name: value})
    for value in (least - 1, most + 1, [least, most + 1], (most, least - 1), [], True, [most, True], 2.0, "2"):
        with pytest.raises(ValueError, match=rf"`part\.{name}` must be a whole number from {least} to {most}, got"):
            check_sizes({"part": {name: value}})


@pytest.mark.parametrize(
    ("names", "least_is_taken"), [(["rope_theta"], False), (["rms_norm_eps", "layer_norm_eps", "norm_eps"], True)]
)
def test_numbers_at_their_bounds(names, least_is_taken):
    for name in names:
        for value in (None, 1, 1e-300, *([0, 0.0] if least_is_taken else [])):
            check_sizes({name: value})
        for value in (-1e-300, -1, True, "1", [1.0], *([] if least_is_taken else [0, 0.0])):
            with pytest.raises(ValueError, match=rf"`{name}` must be a number"):
                check_sizes({name: value})


def test_every_entry_of_a_list_is_finite():
    check_sizes({"factors": [1.0, 2, None, "x"]})
    for value in (float("nan"), float("inf"), -float("inf")):
        for fields in ({"factors": value}, {"factors": [1.0, value]}, {"factors": (value, 1.0)}):
            with pytest.raises(ValueError, match=r"`a\.factors` must be finite"):
                check_sizes({"a": fields})


def test_lists_as_long_as_they_may_be():
    check_sizes({"factors": [1.0] * 10_000})
    with pytest.raises(ValueError, match="`factors` has 10001 entries, at most 10000"):
        check_sizes({"factors": (1.0,) * 10_001})


def nested(levels: int) -> dict:
    fields: dict = {}
    for _ in range(levels):
        fields = {"a": fields}
    return fields


def test_dictionaries_as_deep_as_they_may_be():
    check_sizes(nested(20))
    with pytest.raises(ValueError, match="more than 20 levels deep: a.a.a"):
        check_sizes(nested(21))


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_formats_of_numbers(name):
    for value in ("bfloat16", "torch.float16", torch.float32, None, {"text_config": "float16"}):
        check_sizes({name: value})
    for value in ("Tensor", "torch.nn", "evil", 16, ["float16"]):
        with pytest.raises(ValueError, match=f"`part.{name}` must name a number format"):
            check_sizes({"part": {name: value}})


def test_names_of_labels():
    for value in ({0: "cat"}, {}, None):
        check_sizes({"id2label": value})
    for value in (["cat"], 1, "cat"):
        with pytest.raises(ValueError, match="`id2label` must be an object"):
            check_sizes({"id2label": value})


def test_what_is_no_configuration_is_somebody_elses_matter():
    for value in (None, [], "x", 3):
        check_sizes(value)
