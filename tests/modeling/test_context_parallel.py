# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Context parallelism: two ranks that share rows add up to one process."""

from types import SimpleNamespace

import pytest
import torch

from tests.modeling.context_ranks import CASES, model_of, rows, run
from tests.ranks import launch
from tests.tiny import tiny_model
from transformers_internvl.modeling.pretrained.context_parallel import _refuse_length_dependent
from transformers_internvl.training.trainers.trainer import check_context_ranks


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Losses and gradients, summed over two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    launch(2, folder, "tests.modeling.context_ranks", str(folder))
    return torch.load(folder / "found.pt")


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_add_up_to_those_of_one_process(case, found):
    model = model_of(case)
    for kind, row in rows(model).items():
        expected = run(model, row)
        sums = found[case, kind]
        assert expected.keys() <= sums.keys()
        for name, value in expected.items():
            place = f"{kind}, {name}"
            torch.testing.assert_close(sums[name], value, rtol=1e-4, atol=1e-5, msg=lambda t, p=place: f"{p}: {t}")
        for name in sums.keys() - expected.keys():
            assert not sums[name].any(), (kind, name)


def test_two_ranks_need_a_loss_of_positions_and_sdpa():
    ranks = object()
    experts = {"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
    with pytest.raises(ValueError, match="is not for experts"):
        tiny_model(text=experts).model.set_context_group(ranks)
    eager = tiny_model()
    eager.set_attn_implementation("eager")
    with pytest.raises(ValueError, match="needs attention by 'sdpa'.*'eager'"):
        eager.model.set_context_group(ranks)
    assert eager.model.context_group is None


def test_a_model_alone_again_is_as_before():
    model = tiny_model()
    model.model.set_context_group(object())
    assert not model.model.shares_context()  # in evaluation
    model.train()
    assert model.model.shares_context() and not model.model.shares_context(cache=object())
    model.model.set_context_group(None)
    assert not model.model.shares_context()
    assert model.config.text_config._attn_implementation == "sdpa"


def test_in_evaluation_attention_is_sdpa():
    model = tiny_model()
    ids = torch.arange(2, 14)[None]
    places = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6]])
    expected = model(input_ids=ids, position_ids=places, labels=ids)
    model.model.set_context_group(object())
    found = model(input_ids=ids, position_ids=places, labels=ids)
    assert torch.equal(found.logits, expected.logits) and torch.equal(found.loss, expected.loss)
    assert torch.equal(model.generate(input_ids=ids, max_new_tokens=3)[:, :12], ids)


@pytest.mark.parametrize(("size", "ranks"), [(0, 2), (-1, 2), (2, 1), (2, 3), (4, 2)])
def test_ranks_that_make_no_groups_are_refused(size, ranks):
    with pytest.raises(ValueError, match=f"`context_parallel_size` is {size}, of which {ranks} rank"):
        check_context_ranks(size, ranks)


def test_ranks_that_make_groups():
    for size, ranks in ((1, 1), (1, 3), (2, 2), (2, 4)):
        check_context_ranks(size, ranks)


@pytest.mark.parametrize("kind", ["dynamic", "longrope", "default"])
@pytest.mark.parametrize("length", [24, 25])
def test_rows_beyond_the_trained_length_are_refused_where_it_changes_positions(kind, length):
    """24 positions are 0 to 23."""
    for own in ({"max_position_embeddings": 24}, {"max_position_embeddings": 99, "original": 24}):
        rope = {"rope_type": kind, "original_max_position_embeddings": own.pop("original", None)}
        config = SimpleNamespace(rope_parameters=rope, **own)
        positions = torch.arange(length)[None]
        if length > 24 and kind != "default":
            with pytest.raises(ValueError, match="depend on the length of the row beyond 24 positions"):
                _refuse_length_dependent(config, positions)
        else:
            _refuse_length_dependent(config, positions)
