# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Adapters of unknown origin: each ends in the right result or an error that names the file, within bounds."""

import json

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModel

from tests.closeness import SAME_WEIGHTS
from tests.fused_lora import adapt, fused_model, write_adapter
from tests.parity.golden import golden_root
from transformers_internvl.conversion.lora import adapters
from transformers_internvl.conversion.lora.adapters import Adapter, convert_adapter, to_canonical
from transformers_internvl.conversion.surgery.operations import merge_lora_folder
from transformers_internvl.hub import adapter_settings
from transformers_internvl.hub.adapter_settings import check_patterns, check_room
from transformers_internvl.modeling.pretrained.native_adapters import check_adapter
from transformers_internvl.training.adapted import adapter_config, load_with_adapter

BASE = golden_root() / "chat_internlm2"
MODULE = "language_model.model.layers.1.self_attn.q_proj"
WIDTH = 48
ENDLESS = "(.*.*)*(x+x+)+y"


@pytest.fixture(autouse=True)
def one_second(monkeypatch):
    monkeypatch.setattr(adapter_settings, "_SECONDS", 1)


def written(folder, rank=2, module=MODULE, **fields):
    """An adapter on one module of `BASE` (48 wide), with these fields."""
    folder.mkdir(exist_ok=True)
    good = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    good |= {"base_model_name_or_path": str(BASE), "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps({**good, **fields}))
    pair = {"A": torch.ones(rank, WIDTH), "B": torch.ones(WIDTH, rank)}
    tensors = {f"base_model.model.{module}.lora_{kind}.weight": tensor for kind, tensor in pair.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(
    "fields",
    [
        *({"r": value} for value in (0, -2, 2.5, True, "2", None, 10**9, float("nan"))),
        *({"lora_alpha": value} for value in ("4", None, True, float("nan"), float("inf"), 10**400, [])),
        *(
            {"alpha_pattern": value}
            for value in ({"q_proj": "4"}, {"q_proj": float("nan")}, {"": 4}, [4], {"x" * 2001: 4})
        ),
        *({"rank_pattern": value} for value in ({"q_proj": 0}, {"q_proj": 2.5}, {"q_proj": None}, "q_proj")),
        *({"lora_dropout": value} for value in (float("nan"), -1, 2, "0.1")),
        *({"target_modules": value} for value in (7, ["q_proj", 7], {"q_proj": 1}, [""])),
        *({"layers_to_transform": value} for value in (-1, 1.5, "1", [1, None])),
        {"modules_to_save": "lm_head"},
        {"modules_to_save": [""]},
        {"bias": "some"},
        {"use_rslora": "no"},
        {"layer_replication": [[0, 2], [0, 2]]},
        {"megatron_config": {"a": 1}, "megatron_core": "antigravity"},
        {"peft_type": ["LORA"]},
        {"peft_type": "MANY"},
        {"base_model_name_or_path": 7},
        {"some_field": 10**12},
        {"alpha_pattern": {f"x{number}": 4 for number in range(10_001)}},
    ],
    ids=lambda fields: f"{fields!r:.50}",
)
def test_fields_that_cannot_be(fields, tmp_path):
    folder = written(tmp_path / "adapter", **fields)
    for read in (Adapter.from_pretrained, adapter_config):
        with pytest.raises(ValueError, match="adapter_config.json"):
            read(str(folder))


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "7", "{", '{"r": ' + "9" * 5000 + "}"], ids=lambda c: c[:5])
def test_files_that_hold_no_fields(content, tmp_path):
    folder = written(tmp_path / "adapter")
    (folder / "adapter_config.json").write_text(content)
    for read in (Adapter.from_pretrained, adapter_config):
        with pytest.raises(ValueError, match="adapter_config.json cannot be read"):
            read(str(folder))
    with open(folder / "adapter_config.json", "wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(ValueError, match="at most 16777216 are read"):
        Adapter.from_pretrained(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"alpha_pattern": {"q_proj": 4, ENDLESS: 4}},
        {"target_modules": ENDLESS},
        {"modules_to_save": [ENDLESS]},
        {"layers_to_transform": [1], "layers_pattern": [ENDLESS]},
        {"alpha_pattern": {"(": 4}},
        {"rank_pattern": {"a{99999999999}": 4}},
    ],
    ids=str,
)
def test_patterns_that_do_not_end(fields, tmp_path):
    name = "x" * 33 + "." + MODULE
    folder = written(tmp_path / "adapter", module=name, **fields)
    with pytest.raises(ValueError, match="adapter_config.json: `.*pattern that cannot be matched"):
        Adapter.from_pretrained(folder)


def test_a_pattern_that_does_not_end_on_the_model(tmp_path):
    """The weights' own name is short; peft asks for those of all modules."""
    folder = written(tmp_path / "adapter", module="y.q_proj", rank_pattern={ENDLESS: 2})
    model = torch.nn.ModuleDict({"x" * 40: torch.nn.Linear(2, 2)})
    with pytest.raises(ValueError, match="adapter_config.json: `rank_pattern` holds a pattern that cannot be matched"):
        check_adapter(folder, model, {})


def test_one_pattern_of_many_names_is_matched_apart():
    """Even plain ones: peft compiles each again for each name."""
    rows = {"alpha_pattern": {f"layer{number}": 1 for number in range(1001)}}
    names = ["layer.weight"] * 1000
    check_patterns(rows, names, "adapter_config.json")
    adapter_settings._MATCHER, kept = "raise SystemExit(1) # %d %d %d %d", adapter_settings._MATCHER
    try:
        check_patterns({"alpha_pattern": {"layer": 1}}, names, "adapter_config.json")  # no process is asked
        with pytest.raises(ValueError, match="cannot be matched with the names of 1000 modules"):
            check_patterns(rows, names, "adapter_config.json")
    finally:
        adapter_settings._MATCHER = kept


def test_patterns_as_peft_reads_them(tmp_path):
    """Regular expressions of target modules, a rank and an alpha by pattern: the first that fits."""
    fields = {"target_modules": r"(?i).*\.LAYERS\.\d+\.self_attn\.(q|v)_proj", "r": 8}
    fields |= {"rank_pattern": {r"layers\.0\..*": 9, r"1\.self_attn\.q_pro.": 2, ".*": 7}}
    fields |= {"alpha_pattern": {r"self_attn\.[qk]_proj": 6, "q_proj": 5}}
    adapter = Adapter.from_pretrained(written(tmp_path / "adapter", **fields))
    assert adapter.alpha_of(MODULE) == 6
    assert adapter.alpha_of(MODULE.replace("q_proj", "v_proj")) == 4
    assert adapter.alpha_of("xq_proj") == 4


@pytest.mark.parametrize(
    "fields",
    [
        {"layers_to_transform": [0]},
        {"layers_to_transform": 0},
        {"layers_to_transform": [1], "layers_pattern": "blocks"},
        {"layers_to_transform": [0], "target_modules": None},
        {"exclude_modules": ["q_proj"]},
        {"target_modules": ["k_proj"]},
    ],
    ids=str,
)
def test_weights_that_peft_would_leave_out(fields, tmp_path):
    """They were merged and converted in silence."""
    folder = written(tmp_path / "adapter", **fields)
    with pytest.raises(ValueError, match="adapter_config.json gives language_model.model.layers.1.*no adapter"):
        merge_lora_folder(folder, tmp_path / "merged")


def test_layers_to_transform_that_fit_the_weights(tmp_path):
    for number, fields in enumerate(
        ({}, {"layers_to_transform": [1]}, {"layers_to_transform": 1, "layers_pattern": "layers"})
    ):
        merge_lora_folder(written(tmp_path / "adapter", **fields), tmp_path / f"merged{number}")
    plain, *others = (AutoModel.from_pretrained(tmp_path / f"merged{number}") for number in range(3))
    (name,) = (name for name, _ in plain.named_parameters() if name.endswith("layers.1.self_attn.q_proj.weight"))
    base = AutoModel.from_pretrained(BASE).get_parameter(name)
    torch.testing.assert_close(plain.get_parameter(name), base + 4, **SAME_WEIGHTS)  # 4 / 2 * ones @ ones
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True))


def test_a_rank_that_is_not_the_weights(tmp_path):
    with pytest.raises(ValueError, match=r"q_proj rank 2, but its weights have the shape \[3, 48\]"):
        Adapter.from_pretrained(written(tmp_path / "adapter", rank=3))
    Adapter.from_pretrained(written(tmp_path / "adapter", rank=3, rank_pattern={"q_proj": 3}))


def test_adapters_on_what_is_left_of_a_weight(tmp_path):
    """PiSSA takes its first ranks out of the weight: out of a fused one others than out of its parts."""
    lora = adapt(fused_model(BASE), 4, 0)
    write_adapter(tmp_path / "theirs", lora, 4, init_lora_weights="pissa")
    with pytest.raises(ValueError, match="wqkv is for what `init_lora_weights='pissa'` leaves"):
        convert_adapter(tmp_path / "theirs", tmp_path / "ours", BASE)
    config = adapters.AutoConfig.from_pretrained(BASE)
    unfused = Adapter.from_pretrained(written(tmp_path / "mine", init_lora_weights="olora"))
    canonical = to_canonical(unfused, config)
    with pytest.raises(ValueError, match="q_proj is for what `init_lora_weights='olora'` leaves"):
        adapters.to_original(canonical, config)


@pytest.mark.parametrize(
    "fields", [{"r": 60_000}, {"rank_pattern": {"k_proj": 60_000}}, {"modules_to_save": ["language_model"]}], ids=str
)
def test_more_memory_than_the_file_has_numbers(fields, tmp_path):
    """`r` of 60,000 on every layer took it before the weights were looked at."""
    folder = written(tmp_path / "adapter", **{"target_modules": ["q_proj", "k_proj"], **fields})
    with pytest.raises(ValueError, match="adapter_config.json: rank .* take .* numbers, but the adapter's file has"):
        load_with_adapter(AutoModel, str(folder))
    with pytest.raises(ValueError, match="adapter_config.json: rank .* take .* numbers, but the adapter's file has"):
        AutoModel.from_pretrained(BASE).load_adapter(str(folder))


def test_room_is_counted_by_hand():
    """Two modules of 10 x 20: rank 3 on one, 5 on the other, and 100 numbers beside them, take 340."""
    fields = {"r": 3, "rank_pattern": {"b": 5}}
    targets = {"m.a": (10, 20), "m.b": (10, 20)}
    check_room(fields, targets, 100, 340, "adapter_config.json")
    with pytest.raises(ValueError, match="take 340 numbers, but the adapter's file has 339 bytes"):
        check_room(fields, targets, 100, 339, "adapter_config.json")
