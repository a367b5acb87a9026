# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Adapters trained on the original remote code, on ours, and back: the numbers of peft on fused layers."""

import json

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model, inject_adapter_in_model, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from tests.closeness import SAME_WEIGHTS
from tests.fused_lora import adapt, fused_model, logits, write_adapter
from tests.parity.golden import golden_root
from transformers_internvl.conversion.lora import adapters
from transformers_internvl.conversion.lora.adapters import (
    Adapter,
    convert_adapter,
    model_shapes,
    to_canonical,
    to_original,
)

CASES = ["chat_internlm2", "chat_qwen2", "chat_phi3", "chat_llama3"]


def with_adapter(source, folder) -> PeftModel:
    return PeftModel.from_pretrained(AutoModel.from_pretrained(source).eval(), folder).eval()


def make(name, tmp_path, **kwargs):
    source = golden_root() / name
    model = fused_model(source)
    lora = adapt(model, 4, 4, **kwargs)
    write_adapter(tmp_path / "theirs", lora, 4, **kwargs)
    return source, lora, logits(model, source)


def same_files(a, b) -> bool:
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (a, b))
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", CASES)
def test_theirs_on_ours_and_back(name, tmp_path):
    source, _, expected = make(name, tmp_path)
    convert_adapter(tmp_path / "theirs", tmp_path / "ours", source)
    torch.testing.assert_close(logits(with_adapter(source, tmp_path / "ours"), source), expected, **SAME_WEIGHTS)
    convert_adapter(tmp_path / "ours", tmp_path / "again", source)
    assert same_files(tmp_path / "ours", tmp_path / "again")
    convert_adapter(tmp_path / "ours", tmp_path / "back", source, to="original")
    assert same_files(tmp_path / "theirs", tmp_path / "back")
    theirs, back = (json.loads((tmp_path / n / "adapter_config.json").read_text()) for n in ("theirs", "back"))
    assert sorted(theirs.pop("target_modules")) == sorted(back.pop("target_modules"))
    assert {**theirs, "base_model_name_or_path": str(source)} == back


@pytest.mark.parametrize("kwargs", [{"use_rslora": True}, {"use_dora": True, "lora_dropout": 0.0}], ids=["rs", "dora"])
def test_kinds_of_lora(kwargs, tmp_path):
    source, _, expected = make("chat_internlm2", tmp_path, **kwargs)
    convert_adapter(tmp_path / "theirs", tmp_path / "ours", source)
    torch.testing.assert_close(logits(with_adapter(source, tmp_path / "ours"), source), expected, **SAME_WEIGHTS)


@pytest.mark.parametrize("part", ["language_model", "vision_model"])
def test_trained_on_a_part_alone(part, tmp_path):
    """The names lack the part's: peft wrapped `model.language_model` or `model.vision_model`."""
    source = golden_root() / "chat_internlm2"
    model = fused_model(source)
    lora = adapt(model, llm=4 * (part == "language_model"), backbone=4 * (part == "vision_model"))
    write_adapter(tmp_path / "theirs", {name.removeprefix(f"{part}."): tensor for name, tensor in lora.items()}, 4)
    convert_adapter(tmp_path / "theirs", tmp_path / "ours", source)
    now = logits(with_adapter(source, tmp_path / "ours"), source)
    torch.testing.assert_close(now, logits(model, source), **SAME_WEIGHTS)


@pytest.mark.parametrize("use_rslora", [False, True])
@pytest.mark.parametrize("targets", [["q_proj", "v_proj", "o_proj"], ["q_proj", "k_proj", "v_proj"]], ids=len)
def test_ours_become_fused_of_the_sum_of_ranks(targets, use_rslora, tmp_path):
    source = golden_root() / "chat_internlm2"
    ours = AutoModel.from_pretrained(source).eval()
    ours = get_peft_model(ours, LoraConfig(r=3, lora_alpha=5, target_modules=targets, use_rslora=use_rslora)).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.2)
    ours.save_pretrained(tmp_path / "ours")
    convert_adapter(tmp_path / "ours", tmp_path / "theirs", source, to="original")

    config = LoraConfig.from_pretrained(tmp_path / "theirs")
    parts = sum(name in targets for name in ("q_proj", "k_proj", "v_proj"))
    assert config.r == 3 and set(config.rank_pattern.values()) == {3 * parts}
    fused = fused_model(source)
    tensors = load_file(tmp_path / "theirs" / "adapter_model.safetensors")
    for part, prefix in (("language_model", "language_model.model."), ("vision_tower", "vision_model.")):
        rows = {"attention.wqkv": "self_attn.wqkv", "attention.wo": "self_attn.o_proj", "attn.qkv": "attention.qkv"}
        rows |= {"encoder.layers": "encoder.layer"}

        def named(name, prefix=prefix, rows=rows):
            name = name.removeprefix("base_model.model.").removeprefix(prefix)
            for theirs, mine in rows.items():
                name = name.replace(theirs, mine)
            return name

        own = {named(name): tensor for name, tensor in tensors.items() if f"model.{prefix}" in name}
        options = {"use_rslora": use_rslora, "target_modules": {name.partition(".lora_")[0] for name in own}}
        for row in ("rank_pattern", "alpha_pattern"):
            options[row] = {named(name): value for name, value in getattr(config, row).items()}
        module = getattr(fused.model, part)
        inject_adapter_in_model(LoraConfig(r=config.r, lora_alpha=config.lora_alpha, **options), module)
        report = set_peft_model_state_dict(module, own)
        assert own and not report.unexpected_keys
    torch.testing.assert_close(logits(fused.eval(), source), logits(ours, source), **SAME_WEIGHTS)

    convert_adapter(tmp_path / "theirs", tmp_path / "back", source)
    torch.testing.assert_close(
        logits(with_adapter(source, tmp_path / "back"), source), logits(ours, source), **SAME_WEIGHTS
    )


@pytest.mark.parametrize("use_rslora", [False, True])
def test_parts_of_several_ranks_keep_their_scale(use_rslora):
    config = AutoConfig.from_pretrained(golden_root() / "chat_internlm2")
    root = "model.vision_tower.encoder.layer.0.attention"
    power = 0.5 if use_rslora else 1.0
    ranks, modules = {"q_proj": 3, "v_proj": 2}, {}
    for part, rank in ranks.items():
        modules[f"{root}.{part}"] = {"lora_A.weight": torch.randn(rank, 28), "lora_B.weight": torch.randn(28, rank)}
    row = LoraConfig(r=3, lora_alpha=2 * 3**power, alpha_pattern={"v_proj": 2 * 2**power}, use_rslora=use_rslora)
    fused = to_original(Adapter(row, modules), config)
    (name, kinds), rank = *fused.modules.items(), 5
    assert name == "vision_model.encoder.layers.0.attn.qkv" and len(kinds["lora_A.weight"]) == rank
    assert fused.alpha_of(name) / rank**power == pytest.approx(2.0)
    q, v = (m["lora_B.weight"] @ m["lora_A.weight"] for m in modules.values())
    expected = torch.cat([q, torch.zeros(28, 28), v])
    torch.testing.assert_close(kinds["lora_B.weight"] @ kinds["lora_A.weight"], expected)
    row.alpha_pattern = {"v_proj": 1}
    with pytest.raises(ValueError, match="plain LoRA with one scale"):
        to_original(Adapter(row, modules), config)


def test_a_projector_that_was_trained_whole(tmp_path):
    source, lora, _ = make("chat_internlm2", tmp_path)
    weights = load_file(source / "model.safetensors")
    tensors = load_file(tmp_path / "theirs" / "adapter_model.safetensors")
    mlp = {f"base_model.model.{key}": tensor + 0.1 for key, tensor in weights.items() if key.startswith("mlp1.")}
    save_file(tensors | mlp, tmp_path / "theirs" / "adapter_model.safetensors")
    config = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())
    (tmp_path / "theirs" / "adapter_config.json").write_text(json.dumps({**config, "modules_to_save": ["mlp1"]}))
    convert_adapter(tmp_path / "theirs", tmp_path / "ours", source)
    model = with_adapter(source, tmp_path / "ours").merge_and_unload()
    for ours, theirs in (("layer_norm", 0), ("linear_1", 1), ("linear_2", 3)):
        weight = model.get_parameter(f"model.multi_modal_projector.{ours}.weight")
        assert torch.equal(weight, weights[f"mlp1.{theirs}.weight"] + 0.1)
    convert_adapter(tmp_path / "ours", tmp_path / "back", source, to="original")
    assert same_files(tmp_path / "theirs", tmp_path / "back")


def test_what_cannot_be_done_is_refused(tmp_path):
    source, lora, _ = make("chat_internlm2", tmp_path)
    theirs, new = tmp_path / "theirs", tmp_path / "new"
    with pytest.raises(ValueError, match="'hf' or 'original', got 'ours'"):
        convert_adapter(theirs, new, source, to="ours")
    with pytest.raises(ValueError, match="is no adapter"):
        convert_adapter(source, new, source)
    with pytest.raises(ValueError, match="does not fit"):
        convert_adapter(theirs, new, golden_root() / "chat_llama_v1_2")
    with pytest.raises(ValueError, match=r"has weights for 'language_model.*, of which the model has none"):
        convert_adapter(theirs, new, golden_root() / "chat_phi3")
    with pytest.raises(ValueError, match="has weights for 'language_model"):
        convert_adapter(theirs, new, source, to="original")
    convert_adapter(theirs, new, source)
    with pytest.raises(FileExistsError):
        convert_adapter(theirs, new, source)

    config = LoraConfig.from_pretrained(theirs)
    config.target_parameters = ["mlp.experts.down_proj"]
    config.save_pretrained(theirs)
    for to in ("hf", "original"):
        with pytest.raises(ValueError, match="experts"):
            convert_adapter(theirs, tmp_path / "x", source, to=to)

    tensors = load_file(new / "adapter_model.safetensors")
    prefix = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
    save_file({**tensors, f"{prefix}.lora_magnitude_vector": torch.ones(3)}, new / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="plain LoRA with one scale"):
        convert_adapter(new, tmp_path / "x", source, to="original")
    save_file({f"{prefix}.weight": torch.ones(48, 48)}, new / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="is trained whole"):
        convert_adapter(new, tmp_path / "x", source, to="original")
    save_file(
        {"base_model.model.a.token_adapter.trainable_tokens_delta": torch.ones(2)}, new / "adapter_model.safetensors"
    )
    with pytest.raises(ValueError, match="cannot be converted, only LoRA's"):
        convert_adapter(new, tmp_path / "x", source)
    IA3Config().save_pretrained(new)
    with pytest.raises(ValueError, match="of type .*IA3, expected LORA"):
        convert_adapter(new, tmp_path / "x", source)


def test_the_scale_of_a_module_is_that_of_the_first_pattern_that_ends_in_it():
    config = LoraConfig(r=4, lora_alpha=8, alpha_pattern={"q_proj": 1, r"layers\.0\..*": 2, "proj": 3})
    adapter = Adapter(config, {})
    found = {name: adapter.alpha_of(name) for name in ("layers.0.q_proj", "layers.0.k_proj", "x.proj", "q_proj.x")}
    assert found == {"layers.0.q_proj": 1, "layers.0.k_proj": 2, "x.proj": 3, "q_proj.x": 8}
    config.alpha_pattern = None
    assert adapter.alpha_of("q_proj") == 8


@pytest.mark.parametrize("kind", ["A", "B"])
def test_half_an_adapter_is_refused(kind):
    config = LoraConfig(r=2, target_modules=["q_proj"])
    with pytest.raises(ValueError, match="incomplete: a.q_proj needs both lora_A and lora_B"):
        Adapter.from_tensors(config, {f"base_model.model.a.q_proj.lora_{kind}.weight": torch.ones(2, 2)})


@pytest.mark.parametrize(("kind", "shape"), [("A", (3, 27)), ("B", (27, 3))])
def test_an_adapter_of_another_width_is_refused(kind, shape):
    """Each side is looked at: the input's width in A, the output's in B."""
    config = AutoConfig.from_pretrained(golden_root() / "chat_internlm2")
    name = "vision_model.encoder.layers.0.attn.proj"
    kinds = {"lora_A.weight": torch.ones(3, 28), "lora_B.weight": torch.ones(28, 3)}
    row = LoraConfig(r=3, target_modules=["proj"])
    assert len(to_canonical(Adapter(row, {name: kinds}), config).modules) == 1
    kinds[f"lora_{kind}.weight"] = torch.ones(*shape)
    with pytest.raises(ValueError, match=f"does not fit: its lora_{kind}.weight is "):
        to_canonical(Adapter(row, {name: kinds}), config)


def test_only_what_differs_stands_in_patterns():
    """And what chose the modules before chooses no more."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", exclude_modules=["x"])
    config.layers_to_transform, config.layers_pattern, config.modules_to_save = [0], "layers", ["mlp1"]
    modules = {name: {"lora_A.weight": torch.ones(rank, 5)} for name, rank in (("a", 4), ("b", 3))}
    found = Adapter(config, {}).with_modules(modules, {"a": 8, "b": 6}, []).config
    assert (found.rank_pattern, found.alpha_pattern, found.target_modules) == ({"b": 3}, {"b": 6}, {"a", "b"})
    chooses = ("layers_to_transform", "layers_pattern", "exclude_modules", "modules_to_save")
    assert [getattr(found, name) for name in chooses] == [None] * 4
    assert config.layers_to_transform == [0] and config.modules_to_save == ["mlp1"]


# --- modules that are no plain adapters, in memory ---

ROOT = "model.vision_tower.encoder.layer.0.attention"
EMBEDDING = "model.language_model.embed_tokens"


@pytest.fixture(scope="module")
def internlm2():
    return AutoConfig.from_pretrained(golden_root() / "chat_internlm2")


def plain(rank, out=28, into=28):
    return {"lora_A.weight": torch.randn(rank, into), "lora_B.weight": torch.randn(out, rank)}


def test_an_adapter_on_embeddings_is_one_of_its_own(internlm2):
    rows = model_shapes(internlm2)[f"{EMBEDDING}.weight"]
    kinds = {"lora_embedding_A": torch.randn(3, rows[0]), "lora_embedding_B": torch.randn(rows[1], 3)}
    adapter = Adapter(LoraConfig(r=3, lora_alpha=7, alpha_pattern={"embed_tokens": 5}), {EMBEDDING: kinds})
    there = to_original(adapter, internlm2)
    (name,) = there.modules
    assert name == "language_model.model.tok_embeddings" and there.config.target_modules == {name}
    assert there.alpha_of(name) == 5 and there.config.modules_to_save is None
    back = to_canonical(there, internlm2)
    assert list(back.modules) == [EMBEDDING] and back.config.target_modules == {EMBEDDING}
    assert back.alpha_of(EMBEDDING) == 5 and back.modules[EMBEDDING].keys() == kinds.keys()
    adapter._check_settings("file")
    adapter.config.r = 4
    with pytest.raises(ValueError, match=r"file gives .*embed_tokens rank 4, but its weights have the shape \[3, "):
        adapter._check_settings("file")


def test_settings_are_looked_at_where_peft_would_use_them():
    adapter = Adapter(LoraConfig(r=3, target_modules=["q_proj"]), {f"{ROOT}.q_proj": plain(3)})
    adapter._check_settings("file")
    adapter.modules = {f"{ROOT}.k_proj": plain(3)}
    with pytest.raises(ValueError, match="file gives .*k_proj no adapter"):
        adapter._check_settings("file")
    for everywhere in (None, "all-linear"):
        adapter.config.target_modules = everywhere
        adapter._check_settings("file")
        assert adapter.config.target_modules == everywhere
    adapter.modules = {f"{ROOT}.q_proj": {"lora_A.weight": torch.tensor(1.0), "lora_B.weight": torch.tensor(1.0)}}
    with pytest.raises(ValueError, match=r"but its weights have the shape \[\]"):
        adapter._check_settings("file")
    adapter.config.target_parameters = ["experts.down_proj"]
    adapter._check_settings("file")  # peft's own
    adapter.modules = {f"{ROOT}.q_proj": {"weight": torch.ones(2, 2)}}
    adapter.config.target_parameters = None
    adapter._check_settings("file")


def test_two_of_three_parts_with_one_a_are_no_whole_layer(internlm2):
    down = torch.randn(2, 28)
    modules = {f"{ROOT}.{part}": {**plain(2), "lora_A.weight": down} for part in ("q_proj", "v_proj")}
    fused = to_original(Adapter(LoraConfig(r=2, lora_alpha=2), modules), internlm2)
    (kinds,) = fused.modules.values()
    q, v = (m["lora_B.weight"] @ down for m in modules.values())
    expected = torch.cat([q, torch.zeros(28, 28), v])
    torch.testing.assert_close(kinds["lora_B.weight"] @ kinds["lora_A.weight"], expected)
    modules[f"{ROOT}.k_proj"] = {**plain(2), "lora_A.weight": down}
    (kinds,) = to_original(Adapter(LoraConfig(r=2, lora_alpha=2), modules), internlm2).modules.values()
    assert torch.equal(kinds["lora_A.weight"], down) and kinds["lora_B.weight"].shape == (84, 2)


@pytest.mark.parametrize("named", ["qkv", "model.vision_tower", f"{ROOT}."])
def test_a_fused_layer_that_was_trained_whole_is_named_once(internlm2, named):
    modules = {f"{ROOT}.{part}": {"weight": torch.randn(28, 28)} for part in ("q_proj", "k_proj", "v_proj")}
    saved = {"qkv": ["q_proj", "k_proj", "v_proj"], f"{ROOT}.": [ROOT]}.get(named, [named])
    adapter = Adapter(LoraConfig(r=2, target_modules=["o_proj"], modules_to_save=saved), modules)
    there = to_original(adapter, internlm2)
    (name,) = there.modules
    assert name == "vision_model.encoder.layers.0.attn.qkv" and there.config.modules_to_save == [name]
    assert torch.equal(there.modules[name]["weight"], torch.cat([kinds["weight"] for kinds in modules.values()]))
    back = to_canonical(there, internlm2)
    assert sorted(back.config.modules_to_save) == sorted(modules) and not back.config.target_modules
    adapter.config.modules_to_save = ["lm_head"]  # saved beside the adapter, as embeddings
    assert to_original(adapter, internlm2).config.modules_to_save is None


@pytest.mark.parametrize("kind, shape", [("weight", (27, 28)), ("lora_A.weight", (2, 27)), ("lora_B.weight", (27, 2))])
def test_shapes_are_looked_at_on_the_way_back_too(internlm2, kind, shape):
    kinds = {kind: torch.ones(shape)} if kind == "weight" else {**plain(2), kind: torch.ones(shape)}
    with pytest.raises(ValueError, match=f"does not fit: its {kind} is "):
        to_original(Adapter(LoraConfig(r=2), {f"{ROOT}.projection_layer": kinds}), internlm2)


@pytest.mark.parametrize("how", ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga"])
def test_what_begins_with_a_part_of_the_weight_is_not_fused(internlm2, how):
    config = LoraConfig(r=2)
    config.init_lora_weights = how
    parts = {f"{ROOT}.{part}": plain(2) for part in ("q_proj", "k_proj", "v_proj")}
    with pytest.raises(ValueError, match=f"init_lora_weights='{how}'"):
        to_original(Adapter(config, parts), internlm2)
    alone = {f"{ROOT}.projection_layer": plain(2)}
    assert len(to_original(Adapter(config, alone), internlm2).modules) == 1
    for harmless in ("gaussian", "eva", True):
        config.init_lora_weights = harmless
        assert len(to_original(Adapter(config, parts), internlm2).modules) == 1


def test_files_are_for_peft_and_there_whole_or_not_at_all(tmp_path, monkeypatch):
    source, _, _ = make("chat_qwen2", tmp_path)
    convert_adapter(tmp_path / "theirs", tmp_path / "ours", source)
    with safe_open(tmp_path / "ours" / "adapter_model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}

    def full(*arguments, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr(adapters, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        convert_adapter(tmp_path / "theirs", tmp_path / "again", source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "theirs"]
