# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Small parts of loading and of the original surface, each by itself: orders of arguments, keys, names, spans."""

import json
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import DynamicCache

from tests.tiny import tiny_batch, tiny_config, tiny_model
from transformers_internvl import InternVLVisionModel
from transformers_internvl.backend_classes import BackendClasses
from transformers_internvl.modeling.original.calls import (
    FORWARD,
    GENERATE,
    begins_with_pixels,
    by_name,
    encoded_images,
    tiles_of_images,
)
from transformers_internvl.modeling.original.canonical import as_canonical
from transformers_internvl.modeling.original_keys import as_source, merge_into_source, original_value
from transformers_internvl.modeling.outputs import InternVLModelOutputWithPast
from transformers_internvl.modeling.pretrained.loading import check_indices, describe_misfit, weight_places
from transformers_internvl.modeling.pretrained.module_names import _lies_in, cover, own_device_map, parts_of
from transformers_internvl.modeling.pretrained.older_arguments import refuse_stray_caches, todays_arguments
from transformers_internvl.modeling.pretrained.parallel import inside_call
from transformers_internvl.modeling.pretrained.upstream import _scalars, with_whole_heads
from transformers_internvl.modeling.vision.layers import check_tiles
from transformers_internvl.processing.text.conversation import _without

# --- the original orders ---------------------------------------------------------------------------------------------


def test_the_original_orders_of_arguments():
    """Of `modeling_internvl_chat.py`, the cache under its name of today."""
    assert FORWARD == (
        "pixel_values", "input_ids", "attention_mask", "position_ids", "image_flags", "cache", "labels", "use_cache",
        "output_attentions", "output_hidden_states", "return_dict",
    )  # fmt: skip
    assert GENERATE == (
        "pixel_values", "input_ids", "attention_mask", "visual_features", "generation_config", "output_hidden_states",
        "return_dict",
    )  # fmt: skip


def test_pixels_are_told_from_ids():
    pixels, ids = torch.zeros(1, 3, 4, 4), torch.zeros(1, 5, dtype=torch.long)
    for args in ((pixels,), (pixels, ids), (pixels[0], ids), (None, ids), (None, ids, None)):
        assert begins_with_pixels(args)
    for args in (
        (),
        (None,),
        (ids,),
        (ids, pixels),
        (None, None),
        (None, pixels),
        (torch.zeros(1, 5), ids),
        ("x", ids),
    ):
        assert not begins_with_pixels(args)


def test_arguments_by_name():
    given = {"c": 3}
    assert by_name((1, None), ("a", "b"), given) == {"a": 1, "c": 3} and given == {"c": 3}
    assert by_name((1, 2), ("a", "b", "c"), {}) == {"a": 1, "b": 2}
    with pytest.raises(TypeError, match=r"at most 2 positional arguments \(a, b\), got 3"):
        by_name((1, 2, 3), ("a", "b"), {})
    with pytest.raises(TypeError, match="a, b came twice"):
        by_name((1, 2), ("a", "b"), {"b": 2, "a": 1})


def test_image_tokens_in_either_shape():
    features = torch.randn(3, 4, 8)
    for shape in ((3, 4, 8), (12, 8), (6, 2, 8), (1, 12, 8)):
        found = encoded_images(features.view(shape), 4)["image"].pooler_output
        assert torch.equal(found, features)
    for shape in ((11, 8), (3, 3, 8), (96,), (3, 2, 2, 8)):
        with pytest.raises(ValueError, match=r"`visual_features` must be \(T, 4, D\)"):
            encoded_images(torch.zeros(shape), 4)


def test_dimensions_of_pixels():
    tiles = torch.zeros(2, 3, 4, 4)
    assert check_tiles(tiles) is tiles
    for pixels, hint in (
        (tiles[0], r"got \(3, 4, 4\): of one tile, pass `pixel_values\[None\]`"),
        (tiles[None], r"got \(1, 2, 3, 4, 4\): pass `pixel_values.flatten\(0, 1\)`"),
        (tiles[None, None], r"got \(1, 1, 2, 3, 4, 4\)\."),
        ([tiles], "got list"),
    ):
        with pytest.raises(ValueError, match=hint):
            check_tiles(pixels)


def test_tiles_of_images():
    pixels = torch.zeros(5, 3, 4, 4)
    assert tiles_of_images(pixels, None) == [5] and tiles_of_images(None, None) == []
    assert tiles_of_images(pixels, (2, 3)) == [2, 3] and tiles_of_images(None, []) == []
    for given in ([2, 2], [2, 4], []):
        with pytest.raises(ValueError, match=f"adds up to {sum(given)} tiles, but `pixel_values` has 5"):
            tiles_of_images(pixels, given)
    with pytest.raises(ValueError, match="adds up to 1 tiles, but `pixel_values` has 0"):
        tiles_of_images(None, [1])


@pytest.mark.parametrize(
    ("spans", "holes", "expected"),
    [
        ([(0, 10)], [(3, 5)], [(0, 3), (5, 10)]),
        ([(0, 10)], [(0, 4), (8, 10)], [(4, 8)]),
        ([(0, 10)], [(0, 10)], []),
        ([(0, 3), (5, 9)], [(2, 6)], [(0, 2), (6, 9)]),
        ([(0, 3), (5, 9)], [(3, 5)], [(0, 3), (5, 9)]),
        ([(4, 9)], [(0, 2), (10, 12)], [(4, 9)]),
        ([], [(0, 2)], []),
    ],
)
def test_holes_in_spans(spans, holes, expected):
    assert _without(spans, holes) == expected


# --- keys ------------------------------------------------------------------------------------------------------------


def test_values_as_the_original_code_writes_them():
    assert original_value("image_size", (448, 448)) == 448 and original_value("patch_size", [14, 14]) == 14
    assert original_value("image_size", [448, 224]) == [448, 224] and original_value("layers", [3, 3]) == [3, 3]
    assert original_value("dtype", torch.bfloat16) == "bfloat16" and original_value("x", 3) == 3


def test_changed_fields_over_those_that_were_read():
    source = {"a": 1, "theirs": 2, "unknown": [9], "rope_theta": 1e4}
    read = {"a": 1, "ours": 2, "b": 5, "dtype": None}
    now = {
        "a": 7,
        "ours": 3,
        "b": 5,
        "dtype": torch.float16,
        "auto_map": "x",
        "patch_dropout": 0.0,
        "image_size": (4, 4),
    }
    merged = merge_into_source(source, read, now, {"ours": "theirs"})
    assert merged == {
        "a": 7, "theirs": 3, "unknown": [9], "rope_theta": 1e4, "torch_dtype": "float16", "image_size": 4
    }  # fmt: skip
    assert source["a"] == 1
    assert merge_into_source({}, {}, {"patch_dropout": 0.5}, {}) == {"patch_dropout": 0.5}
    assert merge_into_source({"patch_dropout": 0.5}, {"patch_dropout": 0.5}, {"patch_dropout": 0.0}, {}) == {
        "patch_dropout": 0.0
    }
    fields = {"ours": [1]}
    copied = as_source(fields, {"ours": "theirs"})
    assert copied == {"theirs": [1]} and copied["theirs"] is not fields["ours"]
    assert as_source(None, {}) == as_source(tiny_config(), {}) == {}


@pytest.mark.parametrize(
    ("parameters", "was", "expected"),
    [
        ({"rope_type": "default"}, None, None),
        ({"rope_type": "dynamic", "factor": 2.0}, None, {"type": "dynamic", "factor": 2.0}),
        ({"rope_type": "dynamic", "factor": 2.0}, {"type": "linear"}, {"type": "dynamic", "factor": 2.0}),
        ({"rope_type": "linear", "factor": 2.0}, {"rope_type": "yarn"}, {"rope_type": "linear", "factor": 2.0}),
        ({"rope_type": "yarn", "factor": 2.0}, None, {"rope_type": "yarn", "factor": 2.0}),
        (
            {"rope_type": "longrope", "short_factor": [1], "long_factor": [2], "original_max_position_embeddings": 4},
            {"type": "su"},
            {"type": "su", "short_factor": [1], "long_factor": [2]},
        ),
    ],
)
def test_rotary_parameters_by_the_names_of_their_time(parameters, was, expected):
    source = {} if was is None else {"rope_scaling": was}
    merged = merge_into_source(source, {}, {"rope_parameters": {**parameters, "rope_theta": 5.0}}, {})
    assert merged == {"rope_theta": 5.0, "rope_scaling": expected}


# --- loading ---------------------------------------------------------------------------------------------------------


def index(tmp_path, content) -> str:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(content))
    return path


def test_indices_of_weights(tmp_path):
    places = {"a": "model-1.safetensors", "b": "..hidden", "c": "x"}
    assert weight_places(index(tmp_path, {"weight_map": places})) == places
    for name in ("", "..", "a/b", "/a", "../a", "a\\b", 3, None):
        with pytest.raises(ValueError, match="no file of its folder: not opened"):
            weight_places(index(tmp_path, {"weight_map": {"a": "x", "b": name}}))
    for content in ({}, [], {"weight_map": 3}, {"weight_map": {"a": ["x"]}}):
        with pytest.raises(ValueError, match="not an index of weight files"):
            weight_places(index(tmp_path, content))
    inner = tmp_path / "inner"
    inner.mkdir()
    index(tmp_path, {"weight_map": {}, "metadata": {}})
    check_indices(tmp_path, "")
    index(inner, {"weight_map": {}})
    check_indices(tmp_path, "")  # what lies in other folders is not looked at
    with pytest.raises(ValueError, match="has no `metadata`"):
        check_indices(tmp_path, "inner")


def test_misfits_are_named_up_to_five():
    for count in (1, 5, 6):
        names = [f"w{number}" for number in range(count)]
        text = describe_misfit(InternVLVisionModel, "folder", [], names)
        listed = ", ".join(names[:5]) + (", ..." if count > 5 else "")
        assert f"no weights for {count} of them: {listed}." in text and "no place for" not in text
        text = describe_misfit(InternVLVisionModel, "folder", names, [])
        assert f"no place for {count} of them: {listed}." in text and "no weights for" not in text
    assert "surgery merge-lora folder" in describe_misfit(InternVLVisionModel, "folder", ["a.lora_A.weight"], [])


def test_caches_under_other_names():
    refuse_stray_caches(nn.Linear(1, 1), {"a": 1, "b": None})
    with pytest.raises(TypeError, match="Linear takes a cache as `cache`, not as `memory`"):
        refuse_stray_caches(nn.Linear(1, 1), {"a": 1, "memory": DynamicCache()})
    with pytest.raises(TypeError, match="nowhere, not as `memory`"):
        refuse_stray_caches(nn.Linear(1, 1), {"memory": DynamicCache()}, "nowhere")


def test_arguments_are_not_changed():
    given = {"use_flash_attn": False, "load_in_8bit": False, "low_cpu_mem_usage": True, "dtype": "auto"}
    assert todays_arguments(InternVLVisionModel, given) == {"dtype": "auto"} and len(given) == 4
    assert todays_arguments(InternVLVisionModel, {"use_flash_attn": True, "attn_implementation": "eager"}) == {
        "attn_implementation": "eager"
    }
    with pytest.raises(ValueError, match="`load_in_8bit=True` and `load_in_4bit=True` were both given"):
        todays_arguments(InternVLVisionModel, {"load_in_8bit": True, "load_in_4bit": True})
    with pytest.raises(ValueError, match="`load_in_4bit=True` and a `quantization_config`"):
        todays_arguments(InternVLVisionModel, {"load_in_4bit": True, "quantization_config": {}})


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_name_holds_what_is_behind_its_dot():
    assert (
        _lies_in("a.b", "a.b")
        and _lies_in("a.b", "a.b.c")
        and not _lies_in("a.b", "a.bc")
        and not _lies_in("a.b", "a")
    )
    everything = ["a.x", "a.y", "b.x", "b.y.z", "c"]
    assert cover(["a.x", "a.y", "b.x"], everything) == ["a", "b.x"]
    assert cover(everything[2:4], everything) == ["b"] and cover(["b.y.z"], everything) == ["b.y"]


def test_parts_hold_weights_beside_modules_too():
    tower = InternVLVisionModel(tiny_config(vision={"num_hidden_layers": 1}).vision_config)
    parts = parts_of(tower)
    assert parts[:3] == [
        "embeddings.cls_token",
        "embeddings.position_embeddings",
        "embeddings.patch_embeddings.projection",
    ]
    assert {"encoder.layer.0.lambda_1", "encoder.layer.0.attention.q_proj"} <= set(parts)
    assert len(parts) == len(set(parts)) and "encoder.layer.0" not in parts


def test_what_is_inside_has_the_device_of_its_own_name():
    model = tiny_model()
    found = own_device_map(model, {"": 0, "language_model": 1, "language_model.model.layers.1": 2, "mlp1": 3})
    device = lambda part: [found[name] for name in sorted(found, key=len) if _lies_in(name, part) or not name][-1]  # noqa: E731
    assert device("model.language_model.layers.0.mlp.up_proj") == 1
    assert device("model.language_model.layers.1.mlp.up_proj") == 2
    assert device("model.multi_modal_projector.linear_1") == 3
    assert device("model.vision_tower.embeddings.cls_token") == 0
    own = {"model.vision_tower": 0, "model.language_model": 1}
    assert own_device_map(model, own) is own
    with pytest.raises(ValueError, match="'tower', given in `device_map`, is no module"):
        own_device_map(model, {"model.vision_tower": 0, "tower": 1})


# --- ranks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heads", "shared", "ranks", "divides"),
    [
        (8, 4, 4, True),
        (8, 4, 8, False),
        (8, 2, 4, False),
        (6, 2, 4, False),
        (6, 4, 4, False),
        (8, None, 4, True),
        (6, None, 4, False),
    ],
)
def test_which_heads_can_be_shared_out(heads, shared, ranks, divides):
    holder = nn.Module()
    holder.body = nn.Module()
    holder.body.config = SimpleNamespace(num_attention_heads=heads, num_key_value_heads=shared)
    attention = "body.layers.*.self_attn."
    plan = {
        f"{attention}q_proj": "colwise",
        f"{attention}o_proj": "rowwise",
        f"{attention}q_norm": "x",
        "body.head": "y",
    }
    gathered = {
        f"{attention}q_proj": "colwise_gather_output",
        f"{attention}o_proj": "rowwise_split_input",
        "body.head": "y",
    }
    assert with_whole_heads(holder, plan, ranks) == (plan if divides else gathered)


def test_inside_a_call_the_forward_is_replaced_and_given_back():
    layer = nn.Linear(3, 3)
    seen, inputs = [], torch.randn(2, 3)
    layer.register_forward_pre_hook(lambda module, args: seen.append("before"))
    compute = lambda forward, x: forward(x) + forward(2 * x)  # noqa: E731
    expected = layer.forward(inputs) + layer.forward(2 * inputs)
    assert torch.equal(inside_call(layer, compute, inputs), expected) and seen == ["before"]
    assert "forward" not in vars(layer)
    layer.forward = patched = lambda x: x  # as accelerate does
    assert torch.equal(inside_call(layer, compute, inputs), 3 * inputs) and layer.forward is patched
    with pytest.raises(RuntimeError):
        inside_call(layer, lambda forward, x: x.view(7), inputs)
    assert layer.forward is patched


# --- the same model in another layout --------------------------------------------------------------------------------


def test_a_canonical_form_keeps_mode_settings_and_buffers():
    model = tiny_model()
    model.config.to_canonical = lambda: tiny_config()
    model.generation_config.temperature = 0.3
    for training in (True, False):
        found = as_canonical(model.train(training))
        assert found.training is training and found.lm_head.training is training
        assert found.generation_config.temperature == 0.3
        assert not any(tensor.is_meta for tensor in (*found.parameters(), *found.buffers()))
        assert found.lm_head.weight.data_ptr() == model.lm_head.weight.data_ptr()


def test_the_former_name_of_image_tokens():
    model, batch = tiny_model(), tiny_batch([1])
    with torch.no_grad():
        outputs = model(**batch)
    assert outputs.image_hidden_states is outputs.image_outputs.pooler_output
    assert InternVLModelOutputWithPast().image_hidden_states is None


def test_classes_by_backend():
    classes = BackendClasses({"pil": int, "torchvision": str, "other": int})
    assert list(classes) == [int, str] and classes["pil"] is classes["other"] is int and classes[str] is str
    assert classes.get("x") is None and classes.get("x", 3) == 3 and classes.get(float) is None
    for unknown in ("x", float):
        with pytest.raises(KeyError):
            classes[unknown]
    again = pickle.loads(pickle.dumps(classes))
    assert dict(again.items()) == {"pil": int, "torchvision": str, "other": int}
    classes.update({"pil": float})
    assert classes["pil"] is float and list(classes) == [float, str, int]


def test_scalars_have_no_dimensions():
    module = nn.Module()
    module.scale, module.one = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.ones(1))
    module.inner = nn.Linear(1, 1)
    module.inner.offset = nn.Parameter(torch.tensor(0.0))
    found = _scalars(module)
    assert [(owner is module, name) for owner, name, _ in found] == [(True, "scale"), (False, "offset")]


def test_blocks_that_are_not_split_are_there():
    """accelerate refuses a name that it does not find."""
    for model in (tiny_model(), tiny_model().model.vision_tower):
        assert "InternVLVisionLayer" in model._no_split_modules
        assert set(model._no_split_modules) <= {type(module).__name__ for module in model.modules()}
