# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Surgery from folder to folder: the result runs, and what an operation does not touch stays byte by byte."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageTextToText,
    AutoProcessor,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tests.closeness import assert_same_results
from tests.fused_lora import adapt, fused_model, logits, write_adapter, write_legacy
from tests.parity.golden import golden_root
from transformers_internvl import load_tokenizer, nano_path
from transformers_internvl.conversion.files.copies import load_exactly, patched
from transformers_internvl.conversion.surgery import language_model_swap, operations
from transformers_internvl.conversion.surgery.language_model_swap import replace_language_model_folder
from transformers_internvl.conversion.surgery.operations import (
    add_tokens_folder,
    extract_tower_folder,
    merge_lora_folder,
    replace_tower_folder,
    resize_positions_folder,
    truncate_tower_folder,
)
from transformers_internvl.conversion.surgery.vocabulary import IMAGE_TOKENS

GOLDEN = golden_root()
NOT_COPIED = (".safetensors",)


def source_of(name: str) -> Path:
    return nano_path() if name == "nano" else GOLDEN / name


def differences(before: Path, after: Path) -> tuple[set[str], set[str], dict]:
    """Tensors that are new, gone or other; files that are so; fields of config.json with what they have become."""
    tensors = [load_file(folder / "model.safetensors") for folder in (before, after)]
    assert all(t.dtype == tensors[1][key].dtype for key, t in tensors[0].items() if key in tensors[1])
    changed = set(tensors[0]) ^ set(tensors[1])
    changed |= {key for key in set(tensors[0]) & set(tensors[1]) if not same_bytes(*(part[key] for part in tensors))}
    names = [{p.name for p in folder.iterdir() if p.suffix not in NOT_COPIED} for folder in (before, after)]
    files = names[0] ^ names[1]
    files |= {n for n in names[0] & names[1] if (before / n).read_bytes() != (after / n).read_bytes()}
    configs = [json.loads((folder / "config.json").read_text()) for folder in (before, after)]
    return changed, files - {"config.json"}, fields_that_differ(*configs)


def same_bytes(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape == second.shape and torch.equal(*(t.flatten().view(torch.uint8) for t in (first, second)))


def fields_that_differ(before: dict, after: dict, path: str = "") -> dict:
    found = {}
    for key in {*before, *after}:
        was, now = before.get(key), after.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            found |= fields_that_differ(was, now, f"{path}{key}.")
        elif was != now or (key in before) != (key in after):
            found[path + key] = now
    return found


@pytest.mark.parametrize("name", ["chat_qwen2", "chat_internlm2", "chat_phi3", "chat_gpt_oss", "internvl_14b", "nano"])
def test_an_untouched_checkpoint_stays(name, tmp_path):
    """`truncate-tower` to the depth that it has."""
    source = source_of(name)
    depth = AutoConfig.from_pretrained(source).vision_config.num_hidden_layers
    truncate_tower_folder(source, tmp_path / "new", depth)
    assert differences(source, tmp_path / "new") == (set(), set(), {})


@pytest.mark.parametrize(
    ("name", "to"), [("chat_internlm2", "original"), ("nano", "hf"), ("internvl_14b", "original")]
)
def test_extract_tower(name, to, tmp_path):
    source = source_of(name)
    extract_tower_folder(source, tmp_path / "tower", to)
    if to == "original":
        before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "tower"))
        assert set(after) == {k.removeprefix("vision_model.") for k in before if k.startswith("vision_model.")}
        assert all(torch.equal(tensor, before[f"vision_model.{key}"]) for key, tensor in after.items())
    tower = AutoModel.from_pretrained(tmp_path / "tower")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "tower", use_fast=False)
    pixels = processor(torch.zeros(3, 80, 60, dtype=torch.uint8).numpy(), return_tensors="pt")["pixel_values"]
    assert pixels.shape[-2:] == tuple(tower.config.image_size)
    assert list(processor.image_mean) == [0.485, 0.456, 0.406]
    assert tower(pixels).last_hidden_state.isfinite().all()


def test_replace_tower(tmp_path):
    """Progressive scaling: from the small model's folder into the large one's, and the projector stays."""
    small, large = GOLDEN / "chat_qwen2", tmp_path / "large"
    replace_tower_folder(GOLDEN / "chat_llama3", small, large, reset_projector=True, seed=3)
    changed, files, fields = differences(GOLDEN / "chat_llama3", large)
    assert files == set() and {key.split(".")[0] for key in changed} <= {"vision_model", "mlp1"}
    assert {key.split(".")[0] for key in fields} <= {"vision_config", "force_image_size"}
    weights, theirs = load_file(large / "model.safetensors"), load_file(small / "model.safetensors")
    tower = [key for key in weights if key.startswith("vision_model.")]
    assert tower and all(torch.equal(weights[key], theirs[key]) for key in tower)
    replace_tower_folder(GOLDEN / "chat_llama3", small, tmp_path / "again", reset_projector=True, seed=3)
    assert differences(large, tmp_path / "again") == (set(), set(), {})

    replace_tower_folder(large, small, tmp_path / "same")
    assert differences(large, tmp_path / "same") == (set(), set(), {})


def test_number_formats(tmp_path):
    half = AutoModel.from_pretrained(GOLDEN / "chat_qwen2", dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    with pytest.raises(ValueError, match=r"in torch.bfloat16, the model in torch.float32"):
        replace_tower_folder(GOLDEN / "chat_qwen2", tmp_path / "half", tmp_path / "new")
    replace_tower_folder(GOLDEN / "chat_qwen2", tmp_path / "half", tmp_path / "new", cast=True)
    weights = load_file(tmp_path / "new" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    # What config.json says of the format does not matter, the files do.
    config = json.loads((tmp_path / "half" / "config.json").read_text()) | {"torch_dtype": "float32"}
    (tmp_path / "half" / "config.json").write_text(json.dumps(config))
    truncate_tower_folder(tmp_path / "half", tmp_path / "short", 4)
    assert {t.dtype for t in load_file(tmp_path / "short" / "model.safetensors").values()} == {torch.bfloat16}
    weights["mlp1.0.bias"] = weights["mlp1.0.bias"].half()
    save_file(weights, tmp_path / "new" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"several number formats \(torch.float16, torch.float32\)"):
        truncate_tower_folder(tmp_path / "new", tmp_path / "newer", 4)
    assert not (tmp_path / "newer").exists()


@pytest.mark.parametrize("name", ["chat_qwen2", "intern_vit_6b", "nano"])
def test_resize_positions(name, tmp_path):
    source, new = source_of(name), tmp_path / "new"
    size = 84
    resize_positions_folder(source, new, size)
    changed, files, fields = differences(source, new)
    assert [key.rpartition(".")[2].removesuffix("s") for key in changed] == ["position_embedding"]
    last = {key.rpartition(".")[2] for key in fields}
    assert last <= {"image_size", "force_image_size", "image_seq_length"}
    if name == "intern_vit_6b":
        assert files == {"preprocessor_config.json"}
        assert json.loads((new / "preprocessor_config.json").read_text())["size"] == size
        return
    processor, model = AutoProcessor.from_pretrained(new), AutoModelForImageTextToText.from_pretrained(new)
    assert processor.image_processor.size["height"] == size and processor.image_seq_length == 9
    picture = torch.zeros(3, 90, 90, dtype=torch.uint8).numpy()
    inputs = processor(images=[picture], text="<image>", return_tensors="pt")
    with torch.no_grad():
        assert model(**inputs).logits.isfinite().all()


@pytest.mark.parametrize("name", ["chat_internlm2", "nano"])
def test_truncate_tower(name, tmp_path):
    source = source_of(name)
    depth = AutoConfig.from_pretrained(source).vision_config.num_hidden_layers
    model = AutoModelForImageTextToText.from_pretrained(source)
    model.config.vision_feature_layer = -2
    model.save_pretrained(tmp_path / "early")
    truncate_tower_folder(tmp_path / "early", tmp_path / "new", depth - 1)
    changed, files, fields = differences(tmp_path / "early", tmp_path / "new")
    assert files == set() and all(f".{depth - 1}." in key for key in changed)
    layer = "select_layer" if name == "chat_internlm2" else "vision_feature_layer"
    assert fields == {"vision_config.num_hidden_layers": depth - 1, layer: -1}
    pixels = torch.randn(1, 3, *model.config.vision_config.image_size)
    with torch.no_grad():
        short = AutoModelForImageTextToText.from_pretrained(tmp_path / "new")
        expected = model.get_image_features(pixels).pooler_output
        assert_same_results(short.get_image_features(pixels).pooler_output, expected)


@pytest.mark.parametrize("name", ["chat_internlm2", "chat_qwen2", "chat_llama_v1_2", "chat_gpt_oss", "nano"])
def test_add_tokens(name, tmp_path):
    source, new = source_of(name), tmp_path / "new"
    before = load_tokenizer(source)
    ids = add_tokens_folder(source, new, ["<point>", "<IMG_CONTEXT>", "<depth>"])
    assert list(ids) == ["<point>", "<depth>"]
    changed, files, fields = differences(source, new)
    assert {key.rpartition(".")[0].rpartition(".")[2] for key in changed} <= {
        *("embed_tokens", "tok_embeddings"),
        *("lm_head", "output"),
    }
    assert {key.rpartition(".")[2] for key in fields} <= {"vocab_size"}
    assert all(file.startswith(("tokenizer", "special_tokens_map", "added_tokens")) for file in files)
    after, model = load_tokenizer(new), AutoModelForImageTextToText.from_pretrained(new)
    assert {token: after.convert_tokens_to_ids(token) for token in ids} == ids
    assert set(ids) <= {token.content for token in after.added_tokens_decoder.values() if token.special}
    text = "a picture of <img><IMG_CONTEXT></img> and more"
    assert after.encode(text) == before.encode(text)
    assert model.config.image_token_id == before.convert_tokens_to_ids("<IMG_CONTEXT>")
    assert model.get_input_embeddings().weight.shape[0] > max(ids.values())
    with pytest.raises(ValueError, match="has all of these tokens already"):
        add_tokens_folder(new, tmp_path / "newer", ["<point>"])


def test_plain_tokens(tmp_path):
    ids = add_tokens_folder(GOLDEN / "chat_qwen2", tmp_path / "new", ["<loc_1>"], special=False)
    tokenizer = load_tokenizer(tmp_path / "new")
    assert not tokenizer.added_tokens_decoder[ids["<loc_1>"]].special
    assert tokenizer.decode(tokenizer.encode("x<loc_1>"), skip_special_tokens=True).endswith("<loc_1>")


def language_model_folder(folder: Path, kind: str) -> Path:
    """A causal language model whose tokenizer knows nothing of images."""
    shutil.copytree(GOLDEN / "labels" / "tokenizers" / kind, folder)
    for name in ("added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"):
        content = json.loads((folder / name).read_text())
        for token in IMAGE_TOKENS:
            content.pop(token, None)
        listed = content.get("additional_special_tokens", [])
        content |= {"additional_special_tokens": [each for each in listed if each not in IMAGE_TOKENS]}
        decoder = content.get("added_tokens_decoder", {})
        kept = {index: row for index, row in decoder.items() if row["content"] not in IMAGE_TOKENS}
        content |= {"added_tokens_decoder": kept} if decoder else {}
        if name == "added_tokens.json":
            content.pop("additional_special_tokens")
        (folder / name).write_text(json.dumps(content))
    length = len(load_tokenizer(folder))
    assert "<IMG_CONTEXT>" not in load_tokenizer(folder).get_vocab()
    torch.manual_seed(1)
    sizes = {"hidden_size": 40, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    if kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(vocab_size=length + 3, num_key_value_heads=2, **sizes))
    else:
        model = LlamaForCausalLM(LlamaConfig(vocab_size=length, num_key_value_heads=4, eos_token_id=2, **sizes))
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["chat_internlm2", "nano"])
@pytest.mark.parametrize(("kind", "template"), [("qwen2", "internvl2_5"), ("phi3", "phi3-chat"), ("yi", "Hermes-2")])
def test_replace_language_model(name, kind, template, tmp_path):
    source, new = source_of(name), tmp_path / "new"
    alone = language_model_folder(tmp_path / "llm", kind)
    replace_language_model_folder(source, alone, new, template=template)
    model = AutoModelForImageTextToText.from_pretrained(new).eval()
    processor, text = AutoProcessor.from_pretrained(new), AutoConfig.from_pretrained(alone)
    tokenizer = processor.tokenizer
    assert model.config.text_config.hidden_size == 40
    assert model.config.image_token_id == tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    assert len(tokenizer) == len(load_tokenizer(alone)) + len(IMAGE_TOKENS) + (name == "nano")
    assert model.config.text_config.vocab_size == max(text.vocab_size, len(tokenizer))

    mine, theirs = load_file(new / "model.safetensors"), load_file(alone / "model.safetensors")
    layers = {key: tensor for key, tensor in mine.items() if "language_model" in key and ".layers." in key}
    assert layers and all(
        any(torch.equal(t, other) for key, other in theirs.items() if key.endswith(k.partition(".layers.")[2]))
        for k, t in layers.items()
    )
    tower = [key for key in load_file(source / "model.safetensors") if "vision" in key]
    assert tower and all(torch.equal(mine[k], load_file(source / "model.safetensors")[k]) for k in tower)

    conversation = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    prompt = processor.apply_chat_template(conversation, add_generation_prompt=True)
    picture = torch.zeros(3, 90, 90, dtype=torch.uint8).numpy()
    inputs = processor(images=[picture], text=prompt, return_tensors="pt")
    stop = tokenizer.convert_tokens_to_ids({"phi3-chat": "<|end|>"}.get(template, "<|im_end|>"))
    assert stop in model.generation_config.eos_token_id
    images = (inputs["input_ids"] == model.config.image_token_id).sum()
    assert images == len(inputs["pixel_values"]) * model.config.image_seq_length
    model.generate(**inputs, max_new_tokens=2)


def test_a_template_must_fit(tmp_path):
    alone = language_model_folder(tmp_path / "llm", "phi3")
    with pytest.raises(ValueError, match=r"no token <\|im_end\|>, .*'internvl2_5'"):
        replace_language_model_folder(GOLDEN / "chat_internlm2", alone, tmp_path / "new")
    with pytest.raises(ValueError, match="Name the conversation template .* got None"):
        replace_language_model_folder(nano_path(), alone, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["chat_internlm2", "chat_phi3"])
def test_merge_an_adapter_of_theirs(name, tmp_path):
    source = GOLDEN / name
    model = fused_model(source)
    write_adapter(tmp_path / "adapter", adapt(model, 4, 4), 4)
    merge_lora_folder(tmp_path / "adapter", tmp_path / "new", base=source)
    changed, files, fields = differences(source, tmp_path / "new")
    assert (files, fields) == (set(), {}) and changed and not any("norm" in k or "mlp1" in k for k in changed)
    now = logits(AutoModel.from_pretrained(tmp_path / "new").eval(), source)
    torch.testing.assert_close(now, logits(model, source), rtol=1e-5, atol=1e-5)


def test_merge_an_adapter_of_ours(tmp_path):
    base = AutoModelForImageTextToText.from_pretrained(nano_path()).eval()
    base.name_or_path = str(nano_path())
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["multi_modal_projector"])
    wrapped = get_peft_model(base, config, autocast_adapter_dtype=False).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    pixels = torch.randn(1, 3, 112, 112)
    inputs = {"input_ids": torch.tensor([[5, *[base.config.image_token_id] * 16, 9]]), "pixel_values": pixels}
    wrapped.save_pretrained(tmp_path / "adapter")
    merge_lora_folder(tmp_path / "adapter", tmp_path / "new")
    changed, files, fields = differences(nano_path(), tmp_path / "new")
    assert (files, fields) == (set(), {}) and all("q_proj" in key or "projector" in key for key in changed)
    with torch.no_grad():
        now = AutoModelForImageTextToText.from_pretrained(tmp_path / "new").eval()(**inputs).logits
        torch.testing.assert_close(now, wrapped(**inputs).logits, rtol=1e-5, atol=1e-5)

    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    name = next(key for key in tensors if "lora_B" in key)
    del tensors[name]
    save_file(tensors, tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="needs both lora_A and lora_B"):
        merge_lora_folder(tmp_path / "adapter", tmp_path / "newer")


def test_merge_mistakes(tmp_path):
    with pytest.raises(ValueError, match="holds no weights of adapters"):
        merge_lora_folder(GOLDEN / "chat_qwen2", tmp_path / "new")
    with pytest.raises(ValueError, match="no adapter that could have a base"):
        merge_lora_folder(GOLDEN / "chat_qwen2", tmp_path / "new", base=nano_path())
    pair = {f"mlp1.1.lora_{kind}.default.weight": torch.ones(2, 2) for kind in "AB"}
    write_adapter(tmp_path / "adapter", pair, 2)
    with pytest.raises(ValueError, match="name the base"):
        merge_lora_folder(tmp_path / "adapter", tmp_path / "new")


def test_merge_a_legacy_checkpoint(tmp_path):
    model = fused_model(GOLDEN / "chat_phi3")
    write_legacy(GOLDEN / "chat_phi3", tmp_path / "legacy", adapt(model, 4, 0), 4, 0)
    merge_lora_folder(tmp_path / "legacy", tmp_path / "new")
    now = logits(AutoModel.from_pretrained(tmp_path / "new").eval(), GOLDEN / "chat_phi3")
    torch.testing.assert_close(now, logits(model, GOLDEN / "chat_phi3"), rtol=1e-5, atol=1e-5)


def test_sources_must_be_whole(tmp_path):
    shutil.copytree(GOLDEN / "intern_vit_300m", tmp_path / "tower")
    weights = load_file(tmp_path / "tower" / "model.safetensors")
    name = next(iter(weights))
    save_file({**weights, "stranger": weights[name] + 1}, tmp_path / "tower" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="unexpected keys: stranger"):
        load_exactly(tmp_path / "tower")
    config = json.loads((tmp_path / "tower" / "config.json").read_text())
    quantized = config | {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}
    (tmp_path / "tower" / "config.json").write_text(json.dumps(quantized))
    with pytest.raises(ValueError, match="are quantized"):
        load_exactly(tmp_path / "tower")


def test_only_changed_fields_are_rewritten():
    raw = {"a": 1, "part": {"x": [1], "alien": 0, "y": 5}, "alien": 2, "gone": 3}
    before = {"a": 1, "part": {"x": [1, 1], "y": 5}, "gone": 3}
    after = {"a": 1, "part": {"x": [1, 1], "y": 6}, "new": {"z": 1}}
    assert patched(raw, before, after) == {
        "a": 1,
        "part": {"x": [1], "alien": 0, "y": 6},
        "alien": 2,
        "new": {"z": 1},
    }


def test_processor_files_for_another_size():
    before = {
        "size": {"shortest_edge": 1},
        "crop_size": 5,
        "image_seq_length": 4,
        "image_processor": {"size": {"height": 1, "width": 2}, "image_seq_length": 4, "resample": 3},
        "video_processor": {"crop_size": {"height": 1}, "size": 7},
        "tokenizer": {"size": 3},
    }
    assert operations._resized(json.loads(json.dumps(before)), 84, 9) == {
        "size": {"shortest_edge": 84},
        "crop_size": 84,
        "image_seq_length": 9,
        "image_processor": {"size": {"height": 84, "width": 84}, "image_seq_length": 4, "resample": 3},
        "video_processor": {"crop_size": {"height": 84}, "size": 84},
        "tokenizer": {"size": 3},
    }
    assert operations._resized({"image_seq_length": 4}, 84, None) == {"image_seq_length": 4}


def test_the_normalization_of_a_towers_images(tmp_path):
    imagenet = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    assert operations._normalization(tmp_path) == imagenet
    own = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    for content in ({"image_processor": own}, own):
        (tmp_path / "processor_config.json").write_text(json.dumps(content))
        assert operations._normalization(tmp_path) == (own["image_mean"], own["image_std"])
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_mean": [0.1] * 3}))
    assert operations._normalization(tmp_path) == imagenet


@pytest.mark.parametrize("nested", [True, False])
def test_the_tile_limit_of_an_adapter(tmp_path, nested):
    for name in ("adapter", "new"):
        (tmp_path / name).mkdir()
    part = {"max_patches": 12, "size": 4}
    path = tmp_path / "new" / ("processor_config.json" if nested else "preprocessor_config.json")
    path.write_text(json.dumps({"image_processor": part} if nested else part))
    config = SimpleNamespace(max_dynamic_patch=12)
    copy = SimpleNamespace(folder=tmp_path / "new", model=SimpleNamespace(config=config))
    for said in (None, {}, {"image_processor": {"max_patches": "many"}}):
        if said is not None:
            (tmp_path / "adapter" / "processor_config.json").write_text(json.dumps(said))
        operations._take_tile_limit(tmp_path / "adapter", copy)
        assert config.max_dynamic_patch == 12 and json.loads(path.read_text()) in (part, {"image_processor": part})
    said = {"image_processor": {"max_patches": 6}}
    (tmp_path / "adapter" / "processor_config.json").write_text(json.dumps(said))
    operations._take_tile_limit(tmp_path / "adapter", copy)
    new = part | {"max_patches": 6}
    assert config.max_dynamic_patch == 6 and json.loads(path.read_text()) == (
        {"image_processor": new} if nested else new
    )


@pytest.mark.parametrize(
    ("known", "expected"),
    [(None, [9]), (7, [9, 7]), (9, [9]), ([7, 9, 8], [9, 7, 8]), ([], [9]), (0, [9, 0])],
)
def test_where_generation_ends(tmp_path, known, expected):
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({"top_p": 0.5} | ({} if known is None else {"eos_token_id": known})))
    language_model_swap._stop_at(tmp_path, 9)
    assert json.loads(path.read_text()) == {"top_p": 0.5, "eos_token_id": expected}
    path.unlink()
    language_model_swap._stop_at(tmp_path, 9)
    assert json.loads(path.read_text()) == {"eos_token_id": [9]}


def test_an_extracted_tower_is_original_by_default_and_cut_as_asked(tmp_path):
    source = GOLDEN / "chat_qwen2"
    extract_tower_folder(source, tmp_path / "tower", max_shard_size="20KB")
    assert json.loads((tmp_path / "tower" / "config.json").read_text())["model_type"] == "intern_vit_6b"
    assert json.loads((tmp_path / "tower" / "preprocessor_config.json").read_text()) == {
        **{"crop_size": 56, "size": 56, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
        **{"do_center_crop": True, "do_normalize": True, "do_resize": True, "resample": 3},  # bicubic
        **{"feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": "CLIPImageProcessor"},
    }
    replace_tower_folder(source, tmp_path / "tower", tmp_path / "new", max_shard_size="20KB")
    for folder in ("tower", "new"):
        assert len(list((tmp_path / folder).glob("model-*.safetensors"))) > 2
        assert (tmp_path / folder / "model.safetensors.index.json").is_file()
