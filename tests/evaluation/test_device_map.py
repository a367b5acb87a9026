# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Device maps: everything has a place, nothing is split, nothing overflows, and a model runs by them."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.integrations.accelerate import infer_auto_device_map

from tests.closeness import assert_same_results
from tests.llava import llava_config
from tests.parity.golden import golden_root
from tests.tiny import tiny_batch, tiny_config, tiny_model
from transformers_internvl import InternVLLlavaConfig, internvl_device_map
from transformers_internvl.profiling.device_map import plan_devices
from transformers_internvl.profiling.fitting import changes_that_fit
from transformers_internvl.profiling.memory import IMAGES, Request, memory_units, needs
from transformers_internvl.profiling.model_profile import build_on_meta
from transformers_internvl.profiling.released import released_config

REQUEST = Request(tiles=3, images=1, context=40, new_tokens=6)


def device_of(device_map, name: str):
    """As `from_pretrained` reads a map: the longest name that begins the parameter's."""
    owners = [key for key in device_map if key == "" or name == key or name.startswith(f"{key}.")]
    return device_map[max(owners, key=len)]


def check(model, plan) -> None:
    """Every tensor lies on one device, no block with a residual on two."""
    placed = {name for share in plan.shares for name in share.units}
    assert len(placed) == sum(len(share.units) for share in plan.shares)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    places = {name: device_of(plan.device_map, name) for name in tensors}
    for path, module in model.named_modules():
        if type(module).__name__ in model._no_split_modules:
            assert len({places[f"{path}.{leaf}"] for leaf, _ in module.named_parameters()}) == 1, path
    for share in plan.shares:
        assert share.fits and share.needs.total <= share.capacity


@pytest.mark.parametrize(
    ("name", "gpus"),
    [("InternVL3-78B", 3), ("InternVL3_5-GPT-OSS-20B-A4B-Preview", 2), ("InternVL3_5-241B-A28B", 8)],
)
def test_released_shapes_over_gpus(name, gpus):
    """All of them: `python benchmarks/memory_plan.py --releases`."""
    config = released_config(name)
    units = memory_units(config, Request(tiles=13, images=2))
    plan = plan_devices(units, dict.fromkeys(range(gpus), "80GB"))
    check(build_on_meta(config), plan)
    totals = [share.needs.total for share in plan.shares]
    largest = max(unit.weights for unit in units) + max(max(unit.activations) for unit in units)
    assert max(totals) - min(totals) < 1.5 * largest  # as even as whole layers allow
    order = [unit.name for share in plan.shares for unit in units if unit.name in share.units]
    assert order == [unit.name for unit in units]  # one stretch a device


def test_the_towers_device_gets_less_of_the_language_model():
    """What the original `split_model` does by hand: the first GPU counts for less."""
    units = memory_units(released_config("InternVL3-38B"), Request(tiles=7, images=4))
    plan = plan_devices(units, dict.fromkeys(range(4), "40GB"))
    layers = [sum(".language_model.layers." in name for name in share.units) for share in plan.shares]
    assert layers[0] < min(layers[1:]) and layers[0] <= 0.6 * max(layers)


def test_activations_move_the_border():
    config = tiny_config(vision={"hidden_size": 96, "num_attention_heads": 6, "intermediate_size": 384})
    few, many = (
        memory_units(config, Request(tiles=tiles, context=200, new_tokens=4), torch.float32) for tiles in (1, 40)
    )
    assert max(u.activations[IMAGES] for u in many) > 5 * max(u.activations[IMAGES] for u in few)
    room = {0: needs(few).total, 1: needs(few).total}
    assert plan_devices(few, room).fits and not plan_devices(many, room).fits


def test_layers_wait_where_there_is_room():
    units = memory_units(tiny_config(text={"num_hidden_layers": 8}), REQUEST)
    room = int(0.8 * needs(units).total)
    plan = plan_devices(units, {0: room, "cpu": "1GB"})
    assert plan.fits and 0 < plan.offloaded == plan.shares[1].needs.weights
    assert all(".layers." in name for name in plan.shares[1].units)
    layer = plan.offloaded // len(plan.shares[1].units)
    both = plan_devices(units, {0: room, "cpu": layer, "disk": "1GB"})
    assert both.fits and [len(share.units) for share in both.shares[1:]] == [1, len(plan.shares[1].units) - 1]
    assert set(both.device_map.values()) == {0, "cpu", "disk"}


def test_tied_heads_stay_with_their_embeddings():
    units = memory_units(tiny_config(text={"tie_word_embeddings": True}, tie_word_embeddings=True), REQUEST)
    for share in (0.6, 0.8):
        room = int(share * needs(units).total)
        plan = plan_devices(units, {0: room, 1: room})
        assert device_of(plan.device_map, "lm_head") == device_of(plan.device_map, "model.language_model.embed_tokens")


@pytest.mark.parametrize("layers_less", [0.5, 4.5])
def test_a_model_runs_by_its_map(tmp_path, layers_less):
    model, batch = tiny_model(text={"num_hidden_layers": 8}), tiny_batch([3])
    model.save_pretrained(tmp_path / "model")
    units = memory_units(model.config, REQUEST, torch.float32)
    layer = next(unit.weights for unit in units if unit.is_layer)
    device_map = internvl_device_map(
        model.config,
        {"cpu": int(needs(units).total - layers_less * layer), "disk": "1GB"},
        tiles=3,
        context=40,
        new_tokens=6,
        dtype=torch.float32,
    )
    assert Counter(device_map.values())["disk"] == int(layers_less) + 2  # one layer's room is for the one that visits
    options = {"device_map": device_map, "offload_folder": tmp_path / "offload"}
    placed = AutoModelForImageTextToText.from_pretrained(tmp_path / "model", **options).eval()
    with torch.no_grad():
        assert_same_results(placed(**batch).logits, model(**batch).logits)
        answers = [one.generate(**batch, max_new_tokens=4, do_sample=False) for one in (placed, model)]
    assert torch.equal(*answers)


def test_one_device_is_one_line():
    assert internvl_device_map(tiny_config(), {0: "1GB"}, tiles=1) == {"": 0}
    assert internvl_device_map(tiny_config(), {"cpu": "1GB"}, tiles=1) == {"": "cpu"}


def test_too_little_room():
    with pytest.raises(ValueError, match=r"does not fit: 0 has 0.0 GB and needs .*internvl plan"):
        internvl_device_map(tiny_config(), {0: 1000}, tiles=1)
    with pytest.raises(ValueError, match=r"a GPU or 'cpu', which can compute; got \['disk'\]"):
        internvl_device_map(tiny_config(), {"disk": "1GB"}, tiles=1)


def test_the_smallest_change_of_the_request():
    config, request = tiny_config(), Request(tiles=3, images=2, context=600, new_tokens=6, batch_size=4)
    room = {0: int(0.7 * needs(memory_units(config, request)).total)}
    changes = {change.setting: change.value for change in changes_that_fit(config, room, request, torch.bfloat16)}
    assert changes["context"] in (256, 512) and "gpus" not in changes  # each would need the room of a layer
    for batch_size, fits in ((changes["batch_size"], True), (changes["batch_size"] + 1, False)):
        units = memory_units(config, replace(request, batch_size=batch_size))
        assert plan_devices(units, room).fits is fits


def test_the_smallest_change_of_the_room():
    config = tiny_config(text={"num_hidden_layers": 8, "hidden_size": 128, "intermediate_size": 512})
    units = memory_units(config, REQUEST)
    room = {0: int(0.4 * needs(units).total)}
    changes = {change.setting: change.value for change in changes_that_fit(config, room, REQUEST, torch.bfloat16)}
    assert changes["gpus"] in (3, 4)
    for gpus, fits in ((changes["gpus"], True), (changes["gpus"] - 1, False)):
        assert plan_devices(units, dict.fromkeys(range(gpus), room[0])).fits is fits
    assert plan_devices(units, room | {"cpu": changes["cpu"]}).fits
    assert not plan_devices(units, room | {"cpu": changes["cpu"] - 1}).fits


def test_nothing_helps_where_a_layer_alone_is_too_large():
    assert changes_that_fit(tiny_config(), {0: 100}, REQUEST, torch.bfloat16) == []


def test_auto_on_fake_gpus_splits_no_block():
    """transformers' own maps, which count weights: of every family."""
    configs = [AutoConfig.from_pretrained(golden_root() / name) for name in ("chat_internlm2", "chat_qwen3_tied")]
    configs += [AutoConfig.from_pretrained(golden_root() / name) for name in ("intern_vit_6b", "internvl_14b")]
    configs += [InternVLLlavaConfig.from_dict(llava_config(form)) for form in ("mlp2x_gelu", "two_mlp")]
    configs += [tiny_config()]
    for config in configs:
        model = build_on_meta(config)
        model.tie_weights()
        weights = dict(model.named_parameters())
        size = sum(weight.numel() * weight.element_size() for weight in weights.values())
        used = set()
        for share in (0.2, 0.3, 0.45, 0.6):
            room = {index: int(share * size) for index in range(4)} | {"cpu": size}
            device_map = infer_auto_device_map(model, room, model._no_split_modules)
            places = {name: device_of(device_map, name) for name in weights}
            used |= set(Counter(places.values()))
            for path, module in model.named_modules():
                if type(module).__name__ in model._no_split_modules:
                    own = {device_of(device_map, f"{path}.{leaf}") for leaf, _ in module.named_parameters()}
                    assert len(own) == 1, (type(config).__name__, path)
        assert len(used) > 2, type(config).__name__
