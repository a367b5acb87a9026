# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Plans of parts with made-up needs, where every byte can be counted: exact fits, brute force, smallest changes."""

import random
from itertools import combinations
from types import SimpleNamespace

import pytest
import torch

from transformers_internvl.profiling import device_map, fitting
from transformers_internvl.profiling.device_map import Share, internvl_device_map, plan_devices
from transformers_internvl.profiling.fitting import changes_that_fit
from transformers_internvl.profiling.memory import QUANTIZED, MemoryEstimate, Request, Unit, needs

NOTHING = (0, 0, 0)


def part(name: str, weights: int, *, cache=NOTHING, activations=NOTHING, layer: bool = False) -> Unit:
    return Unit(name, weights, cache, activations, layer)


def layers(*weights: int) -> list[Unit]:
    return [part(f"layers.{index}", weight, layer=True) for index, weight in enumerate(weights)]


def names(plan) -> list[list[str]]:
    return [list(share.units) for share in plan.shares]


# --- exact fits ------------------------------------------------------------------------------------------------------


def test_a_device_may_be_full():
    for capacity, fits in ((10, True), (9, False)):
        assert Share(0, capacity, (), MemoryEstimate(5, 3, 2)).fits is fits
    units = [part("a", 4), part("b", 4), part("head", 4)]
    plan = plan_devices(units, {0: 8, 1: 4})
    assert plan.fits and names(plan) == [["a", "b"], ["head"]]
    assert not plan_devices(units, {0: 7, 1: 4}).fits and not plan_devices(units, {0: 8, 1: 3}).fits
    assert plan_devices(units, {0: 12}).fits and not plan_devices(units, {0: 11}).fits


def test_all_layers_wait_if_there_is_room_for_one_alone():
    """The embeddings and the largest of the layers, which comes when it is its turn."""
    units = [part("embed", 1), *layers(3, 5, 4), part("head", 2)]
    plan = plan_devices(units, {0: 8, "cpu": 12})
    assert plan.fits and names(plan) == [["embed", "head"], ["layers.0", "layers.1", "layers.2"]]
    assert plan.shares[0].needs == MemoryEstimate(3 + 5, 0, 0) and plan.offloaded == 12
    assert not plan_devices(units, {0: 7, "cpu": 12}).fits
    assert not plan_devices(units, {0: 8, "cpu": 11}).fits


def test_the_last_layers_wait_and_no_more_than_need_be():
    units = [part("embed", 1), *layers(4, 4, 4, 4), part("head", 1)]
    assert names(plan_devices(units, {0: 18, "cpu": 99})) == [[unit.name for unit in units], []]
    plan = plan_devices(units, {0: 17, "cpu": 99})  # two: the room of one is for the one that visits
    assert names(plan) == [["embed", "layers.0", "layers.1", "head"], ["layers.2", "layers.3"]]
    assert plan.fits and plan.device_map["layers.3"] == "cpu" and plan.device_map["head"] == 0


def test_main_memory_is_filled_before_the_disk():
    units = [part("embed", 1), *layers(4, 4, 4), part("head", 1)]
    for order in (("cpu", "disk"), ("disk", "cpu")):
        plan = plan_devices(units, {0: 6, **{name: 8 if name == "cpu" else 99 for name in order}})
        assert [share.device for share in plan.shares] == [0, "cpu", "disk"]
        assert names(plan) == [["embed", "head"], ["layers.0", "layers.1"], ["layers.2"]]
        assert plan.offloaded == 12 and plan.shares[2].needs == MemoryEstimate(4, 0, 0)


def test_layers_that_wait_visit_the_first_device_alone():
    """Cache and activations of those, too: the second one needs what lies there."""
    away = [part(f"layers.{i}", 4, cache=(0, 1, 2), activations=(0, 3, 1), layer=True) for i in range(2)]
    here = [part("embed", 1), part("head", 3)]
    plan = plan_devices([here[0], *away, here[1]], {0: 1 + 4 + 2 + 3, 1: 3, "cpu": 8})
    assert plan.fits and names(plan) == [["embed"], ["head"], ["layers.0", "layers.1"]]
    assert plan.shares[0].needs == MemoryEstimate(1 + 4, 2, 3) and plan.shares[1].needs == MemoryEstimate(3, 0, 0)
    assert not plan_devices([here[0], *away, here[1]], {0: 9, 1: 3, "cpu": 8}).fits


def test_main_memory_computes_where_there_is_no_gpu():
    units = [part("embed", 1), *layers(4, 4), part("head", 1)]
    plan = plan_devices(units, {"cpu": 10, "disk": 99})
    assert names(plan) == [["embed", "layers.0", "layers.1", "head"], []] and plan.offloaded == 0
    plan = plan_devices(units, {"cpu": 6, "disk": 99})
    assert names(plan) == [["embed", "head"], ["layers.0", "layers.1"]] and plan.offloaded == 8


def test_a_head_without_weights_follows_the_embeddings():
    units = [part("tower", 4), part("x.embed_tokens", 4), part("layers.0", 4), part("layers.1", 4), part("head", 0)]
    plan = plan_devices(units, {0: 8, 1: 8})
    assert names(plan) == [["tower", "x.embed_tokens", "head"], ["layers.0", "layers.1"]]


def test_the_needs_of_the_fullest_phase():
    units = [
        part("tower", 10, activations=(50, 0, 0)),
        part("layers.0", 5, cache=(0, 8, 9), activations=(0, 30, 2)),
        part("layers.1", 5, cache=(0, 8, 9), activations=(0, 20, 2)),
    ]
    assert needs(units) == MemoryEstimate(20, 0, 50)  # the images: 50; the prompt: 16 + 30; the answer: 18 + 2
    assert needs(units[1:]) == MemoryEstimate(10, 16, 30)
    assert needs(units[1:2], units[2:]) == MemoryEstimate(5, 16, 30)  # weights of those that lie there
    assert needs([]) == MemoryEstimate(0, 0, 0)
    late = part("layers.2", 1, cache=(0, 1, 60), activations=(0, 30, 2))
    assert needs([late]) == MemoryEstimate(1, 60, 2)


# --- as even as can be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_the_fullest_device_is_as_empty_as_brute_force_can_make_it(seed):
    generator = random.Random(seed)
    units = [
        part(f"u{i}", generator.randint(1, 30), cache=(0, 2, 3), activations=(generator.randint(0, 20), 5, 1))
        for i in range(9)
    ]
    rooms = [generator.randint(60, 120) for _ in range(3)]

    def fullest(first: int, second: int) -> float:
        stretches = units[:first], units[first:second], units[second:]
        return max(needs(stretch).total / room for stretch, room in zip(stretches, rooms, strict=True))

    best = min(fullest(*cuts) for cuts in combinations(range(len(units) + 1), 2))
    plan = plan_devices(units, dict(enumerate(rooms)))
    assert [name for share in names(plan) for name in share] == [unit.name for unit in units]
    assert max(share.needs.total / share.capacity for share in plan.shares) <= best * 1.002
    assert plan.fits is (best <= 1)


# --- what it is asked ------------------------------------------------------------------------------------------------


def test_requests_at_their_bounds():
    least = {"tiles": 0, "images": 0, "context": 1, "new_tokens": 0, "batch_size": 1, "logits_to_keep": 0}
    assert Request(**least).all_tiles == 0
    for name, bound in least.items():
        with pytest.raises(ValueError, match=f"`{name}` must be at least {bound}, got {bound - 1}"):
            Request(**{name: bound - 1})
    assert Request(tiles=3, images=5, batch_size=7).all_tiles == 105
    usual = {"tiles": 12, "images": 1, "context": 8192, "new_tokens": 512, "batch_size": 1, "logits_to_keep": 1}
    assert Request() == Request(**usual)


def test_a_map_is_made_for_what_is_asked(monkeypatch):
    asked = []

    def units(*arguments):
        asked.append(arguments)
        return [part("all", 4)]

    monkeypatch.setattr(device_map, "memory_units", units)
    assert internvl_device_map("config", {0: 4}) == {"all": 0}
    given = {"tiles": 2, "images": 3, "context": 4000, "new_tokens": 5, "batch_size": 6}
    internvl_device_map("config", {0: "1GB"}, **given, dtype="int4")
    assert asked == [("config", Request(), torch.bfloat16), ("config", Request(**given), "int4")]
    with pytest.raises(ValueError, match="does not fit: 0 has 0.0 GB"):
        internvl_device_map("config", {0: 3})


# --- the smallest changes --------------------------------------------------------------------------------------------


@pytest.fixture
def linear(monkeypatch):
    """A model of one part, whose need is a sum over what it is asked."""

    def units(config, request, dtype):
        weights = {"int8": 500, "int4": 300}.get(dtype, 1000)
        asked = request.batch_size * (request.context // 256 + 10 * request.images + request.tiles)
        return [part("all", weights, activations=(0, asked, 0))]

    monkeypatch.setattr(fitting, "memory_units", units)
    return SimpleNamespace(image_seq_length=256)


def changes(config, room, request, dtype=torch.bfloat16):
    return {change.setting: change.value for change in changes_that_fit(config, room, request, dtype)}


def test_of_every_setting_the_largest_value_that_fits(linear):
    request = Request(tiles=4, images=2, context=256 * 20, batch_size=3)  # 1000 + 3 * (20 + 20 + 4)
    found = changes(linear, {0: 1000 + 44 * 2}, request)
    assert found["batch_size"] == 2 and found["dtype"] == "int8" and "images" not in found and "tiles" not in found
    one = Request(tiles=4, images=2, context=256 * 20, batch_size=1)  # 44
    assert changes(linear, {0: 1000 + 34}, one)["images"] == 1
    assert "images" not in changes(linear, {0: 1000 + 33}, one)
    for room, tiles in ((43, 3), (42, 2), (41, 1)):
        assert changes(linear, {0: 1000 + room}, one)["tiles"] == tiles
    assert "tiles" not in changes(linear, {0: 1000 + 40}, one)
    for room, context in ((43, 19), (33, 9), (32, 8)):  # its image tokens need 8 times 256
        assert changes(linear, {0: 1000 + room}, one)["context"] == 256 * context
    assert "context" not in changes(linear, {0: 1000 + 31}, one)
    assert "batch_size" not in changes(linear, {0: 1000 + 43}, one)


def test_the_first_number_format_that_fits(linear):
    request = Request(tiles=1, images=1, context=256)  # 12
    assert list(QUANTIZED) == ["int8", "int4"]
    assert changes(linear, {0: 512}, request)["dtype"] == "int8"
    assert changes(linear, {0: 511}, request)["dtype"] == "int4"
    assert "dtype" not in changes(linear, {0: 311}, request)
    assert "dtype" not in changes(linear, {0: 320}, request, "int8")  # what is quantized is not quantized again


@pytest.fixture
def stack(monkeypatch):
    """A model of equal layers, however it is asked."""

    def set_layers(count: int):
        units = [part("embed", 1), *layers(*[4] * count), part("head", 1)]
        monkeypatch.setattr(fitting, "memory_units", lambda *_: units)
        return SimpleNamespace(image_seq_length=1)

    return set_layers


def test_gpus_like_the_last_one(stack):
    request = Request(tiles=1, images=1, context=256)
    assert changes(stack(5), {0: 9, 1: 4}, request) == {"gpus": 5, "cpu": 16}
    assert changes(stack(5), {0: 9, 1: 4, "disk": 0}, request)["gpus"] == 5
    assert changes(stack(5), {0: 5}, request) == {"gpus": 5}
    assert changes(stack(5), {0: 5, "disk": 16}, request)["gpus"] == 2  # all layers but one wait


def test_thirty_two_gpus_at_most(stack):
    request = Request(tiles=1, images=1, context=256)
    assert changes(stack(32), {0: 5}, request)["gpus"] == 32
    assert "gpus" not in changes(stack(33), {0: 5}, request)


def test_main_memory_that_is_used_not_all_weights(stack):
    request = Request(tiles=1, images=1, context=256)
    assert changes(stack(5), {0: 13}, request)["cpu"] == 16
    assert "cpu" not in changes(stack(5), {0: 5}, request)  # not even one layer beside embeddings and head
    assert changes(stack(5), {"cpu": 13}, request) == {}
