# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Steps of a conversion: which weights are computed together, which are copied, in which order, what is refused."""

import random

import pytest
import torch

from tests.parity.golden import golden_cases, golden_root
from transformers_internvl.conversion.layouts.configurations import empty_model, hf_form, open_checkpoint, weights_of
from transformers_internvl.conversion.layouts.plan import Loading, Plan, Step, check_shapes, part_of, ties_of

NAMES = [path.name for path in [*golden_cases("chat_"), *golden_cases("internvl_14b")]]


def models(name):
    """The models on the meta device of both layouts, and the original one's weights there."""
    checkpoint = open_checkpoint(golden_root() / name)
    original = empty_model(checkpoint.config)
    tensors = {key: entry.on_meta() for key, entry in weights_of(checkpoint).entries.items()}
    return original, empty_model(hf_form(checkpoint), type(original)), tensors


def plans(name):
    """There, and back from what that makes."""
    original, canonical, tensors = models(name)
    there = Plan(Loading(original, tensors, name), canonical)
    made = {key: tensor for step in there.steps for key, tensor in step.made.items()}
    return there, Plan(Loading(canonical, made, "back"), original)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_is_taken_and_made_once_in_the_order_of_the_first_file(name):
    for plan in plans(name):
        order = plan.loading.order
        taken = [key for step in plan.steps for key in step.sources]
        assert sorted(taken) == sorted(set(order) - set(plan.loading.left_out)) and len(taken) == len(set(taken))
        made = [key for step in plan.steps for key in step.made]
        assert sorted(made) == sorted(plan.saving.weights) and len(made) == len(set(made))
        firsts = [min(order.index(key) for key in step.sources) for step in plan.steps]
        assert firsts == sorted(firsts)
        for step in plan.steps:
            assert step.nbytes == sum(tensor.nbytes for tensor in step.made.values())
            assert step.copies is None or list(step.copies) == list(step.made)
            assert all(tensor.device.type == "meta" for tensor in step.made.values())


def test_a_fused_weight_and_its_parts_are_one_step():
    there, back = plans("chat_internlm2")
    (fused,) = [step for step in there.steps if step.sources[0].endswith("layers.0.attention.wqkv.weight")]
    parts = [f"language_model.model.layers.0.self_attn.{part}_proj.weight" for part in "qkv"]
    assert fused.sources == ["language_model.model.layers.0.attention.wqkv.weight"]
    assert sorted(fused.made) == sorted(parts) and fused.copies is None and len(fused.parameters) == 3
    (joined,) = [step for step in back.steps if parts[0] in step.sources]
    assert sorted(joined.sources) == sorted(parts) and list(joined.made) == fused.sources
    assert joined.copies is None and len(joined.loading) == 3 and len(joined.saving) == 1
    for steps in (there.steps, back.steps):
        others = [step for step in steps if step.copies is not None]
        assert len(others) > 10 and all(len(step.sources) == len(step.made) == 1 for step in others)
        assert all(list(step.copies.values()) == step.sources for step in others)

    weight = torch.randn(fused.made[parts[0]].shape[0] + 2 * fused.made[parts[1]].shape[0], 48)
    split = there.run(fused, {fused.sources[0]: weight})
    assert {name: tensor.shape for name, tensor in split.items()} == {n: t.shape for n, t in fused.made.items()}
    assert torch.equal(back.run(joined, split)[fused.sources[0]], weight)
    rows = torch.cat([split[part] for part in parts])
    assert torch.equal(rows.sort(dim=0).values, weight.sort(dim=0).values) and not torch.equal(rows, weight)


def test_experts_that_saving_takes_apart_again_are_copied():
    there, _ = plans("chat_qwen3_moe")
    experts = [step for step in there.steps if any(".experts." in key for key in step.sources)]
    assert len(experts) > 1 and all(step.copies is not None for step in experts)
    assert max(len(step.sources) for step in experts) > 2
    for step in experts:
        assert sorted(step.copies.values()) == sorted(step.sources)
        assert all(key.endswith(source.partition("layers.")[2]) for key, source in step.copies.items())


@pytest.mark.parametrize("name", ["chat_internlm2", "chat_qwen3_moe"])
def test_the_order_of_a_file_changes_the_order_of_steps_and_nothing_else(name):
    """Members of a step come in the order of their numbers, steps by the first of their weights in the file."""
    original, canonical, tensors = models(name)
    if name == "chat_internlm2":
        made = {
            key: t for step in Plan(Loading(original, tensors, "x"), canonical).steps for key, t in step.made.items()
        }
        original, canonical, tensors = canonical, original, made
    usual = Plan(Loading(original, tensors, "x"), canonical)
    keys = list(tensors)
    random.Random(5).shuffle(keys)
    plan = Plan(Loading(original, {key: tensors[key] for key in keys}, "x"), canonical)
    firsts = [min(keys.index(key) for key in step.sources) for step in plan.steps]
    assert firsts == sorted(firsts) and max(len(step.sources) for step in plan.steps) > 2
    expected = {tuple(step.sources): (list(step.made), step.copies) for step in usual.steps}
    assert {tuple(step.sources): (list(step.made), step.copies) for step in plan.steps} == expected


def test_weights_may_bear_our_names_already():
    original, _, _ = models("chat_qwen2")
    own = original.state_dict()
    loading = Loading(original, own, "x")
    assert loading.parameters.keys() == own.keys() and not loading.left_out


def test_a_tied_head_is_made_of_the_embeddings_where_the_other_layout_has_both():
    original, canonical, tensors = models("chat_qwen2")
    made = {k: t for step in Plan(Loading(original, tensors, "x"), canonical).steps for k, t in step.made.items()}
    canonical.config.tie_word_embeddings = canonical.config.text_config.tie_word_embeddings = True
    tied = empty_model(canonical.config, type(canonical))
    assert ties_of(tied) and not ties_of(original)
    head = next(key for key in made if key.endswith("lm_head.weight"))
    table = next(key for key in made if key.endswith("embed_tokens.weight"))
    made.pop(head)
    plan = Plan(Loading(tied, made, "tied"), original)
    assert list(plan.tied_copies.values()) == [ties_of(tied)[name] for name in plan.tied_copies]
    (both,) = [step for step in plan.steps if table in step.sources]
    assert both.sources == [table] and len(both.made) == 2
    assert both.copies == dict.fromkeys(both.made, table)
    assert not Plan(Loading(original, tensors, "x"), original).tied_copies


@pytest.mark.parametrize("what", ["unexpected", "absent", "shape"])
def test_a_plan_for_another_model_is_refused(what):
    original, canonical, tensors = models("chat_qwen2")
    loading = Loading(original, tensors, "mine")
    name = next(iter(loading.parameters))
    if what == "unexpected":
        loading.parameters["stray.weight"] = loading.parameters[name]
        reason = "has no stray.weight, and they lack none"
    elif what == "absent":
        loading.parameters.pop(name)
        reason = f"has no others, and they lack {name}"
    else:
        loading.parameters[name] = torch.empty(1, 2, 3, device="meta")
        reason = rf"{name} is \[1, 2, 3\], expected"
    with pytest.raises(ValueError, match=reason):
        Plan(loading, canonical)


def test_weights_that_a_class_ignores_are_left_out_and_no_others():
    original, _, tensors = models("chat_qwen2")
    ignored = "language_model.model.layers.0.self_attn.rotary_emb.inv_freq"
    loading = Loading(original, {**tensors, ignored: torch.empty(4, device="meta")}, "mine")
    assert loading.left_out == [ignored] and ignored in loading.order and not Loading(original, tensors, "x").left_out
    with pytest.raises(ValueError, match="no place for 1 of them: stray"):
        Loading(original, {**tensors, "stray": torch.empty(4, device="meta")}, "mine")


def test_names_of_parts_and_shapes():
    names = ["model.vision_tower.a.weight", "vision_tower.a.weight", "lm_head.weight", "logit_scale", "model.scale"]
    assert [part_of(name) for name in names] == ["vision_tower", "vision_tower", "lm_head", "others", "others"]
    right, wrong = torch.empty(2, 3), torch.empty(3, 2)
    check_shapes({"a": right}, {"a": right, "b": wrong}, "x")
    places = dict.fromkeys("abcdefg", right)
    with pytest.raises(
        ValueError, match=r"6 weights in x have other shapes .*a is \[3, 2\], expected \[2, 3\]"
    ) as error:
        check_shapes({**dict.fromkeys("abcdef", wrong), "g": right}, places, "x")
    assert "e is" in str(error.value) and "f is" not in str(error.value)
    assert Step(made={"a": right, "b": wrong}).nbytes == 48
