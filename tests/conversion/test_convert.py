# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every golden checkpoint there and back, what upstream makes of it, what is refused, and runs that are killed."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from filelock import FileLock
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

import transformers_internvl as ours
from tests.conversion.kills import INTERNLM2, SHARDS, equal, run_until, weights
from tests.crashes import left_by_kills, snapshot, write
from tests.forked import TRANSFORMERS
from tests.llava import write_folder
from tests.parity.golden import golden_cases, golden_root
from transformers_internvl.conversion.files import folders, writing
from transformers_internvl.conversion.layouts import convert as module
from transformers_internvl.conversion.layouts.auxiliary_files import other_files
from transformers_internvl.conversion.layouts.convert import convert_checkpoint
from transformers_internvl.conversion.layouts.verify import compare_checkpoints
from transformers_internvl.modeling.original_keys import BOOKKEEPING

CHAT = golden_cases("chat_")
CASES = [*CHAT, *golden_cases("intern_vit_"), *golden_cases("internvl_14b")]
NAMES = [*(path.name for path in CASES), "llava_mlp2x_gelu", "llava_two_mlp"]
QWEN2 = golden_root() / "chat_qwen2"


class Stations:
    """Of every golden checkpoint the original folder and what conversions make of it, each made once."""

    def __init__(self, root: Path):
        self.root = root

    def authors(self, name: str) -> Path:
        if not name.startswith("llava_"):
            return golden_root() / name
        folder = self.root / name
        if not folder.exists():
            write_folder(folder, name.removeprefix("llava_"))
        return folder

    def hf(self, name: str) -> Path:
        folder = self.root / f"{name}-hf"
        return folder if folder.exists() else convert_checkpoint(self.authors(name), folder, "hf", progress=False)

    def back(self, name: str) -> Path:
        folder = self.root / f"{name}-back"
        return folder if folder.exists() else convert_checkpoint(self.hf(name), folder, "original", progress=False)


@pytest.fixture(scope="module")
def stations(tmp_path_factory) -> Stations:
    return Stations(tmp_path_factory.mktemp("stations"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of an original folder, to be damaged."""
    return shutil.copytree(INTERNLM2, tmp_path / "checkpoint")


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def edit(path: Path, change) -> None:
    content = read(path)
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def holds(after: dict, before: dict) -> bool:
    """Whether all that was there is there; parts may say more than before."""
    return all(holds(after[k], v) if isinstance(v, dict) and v else after.get(k) == v for k, v in before.items())


# --- there and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(stations, name):
    authors, hf, back = stations.authors(name), stations.hf(name), stations.back(name)
    assert equal(weights(authors), weights(back))
    before, after = read(authors / "config.json"), read(back / "config.json")
    assert holds(after, {key: value for key, value in before.items() if key not in BOOKKEEPING})
    for inside in other_files(authors):
        assert (back / inside).read_bytes() == (authors / inside).read_bytes(), inside
    found = compare_checkpoints(authors, hf, progress=False)
    assert found.equal, found.differences
    assert found.logits is not None and found.logits[1] > 0.01
    assert found.logits[0] <= 1e-5 * (1 + found.logits[1])
    # What came back has the weights and settings of the first, so it computes the same.
    found = compare_checkpoints(hf, back, forward=False, progress=False)
    assert found.equal, found.differences


@pytest.mark.parametrize("name", [path.name for path in CHAT])
def test_the_hf_folder_is_what_the_model_saves(stations, name, tmp_path):
    """Loaded here, saved in the canonical layout: the same weights and settings as from the files."""
    model = AutoModel.from_pretrained(stations.authors(name))
    if model.config.image_token_id is not None:
        model.save_pretrained(tmp_path, save_original_format=False)
        saved, converted = read(tmp_path / "config.json"), read(stations.hf(name) / "config.json")
        for fields in (saved, converted):
            fields["original_config"].pop("auto_map", None)
        assert saved == converted
        assert equal(weights(tmp_path), weights(stations.hf(name)))


def test_the_types_of_the_results(stations):
    expected = {
        "chat_internlm2": ours.InternVLForConditionalGeneration,
        "llava_two_mlp": ours.InternVLForConditionalGeneration,
        "intern_vit_6b": ours.InternVLVisionModel,
        "internvl_14b": ours.InternVLDualEncoderModel,
    }
    for name, cls in expected.items():
        auto_class = AutoModelForImageTextToText if cls is ours.InternVLForConditionalGeneration else AutoModel
        assert type(auto_class.from_pretrained(stations.hf(name))) is cls
        assert read(stations.hf(name) / "config.json")["architectures"] == [cls.__name__]
    assert type(AutoProcessor.from_pretrained(stations.hf("chat_internlm2")).tokenizer) is ours.InternLM2Tokenizer
    assert read(stations.back("internvl_14b") / "config.json")["model_type"] == "internvl"


IN_UPSTREAM = """
import json, sys, torch
from pathlib import Path
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer
for hf, golden in zip(sys.argv[1::2], sys.argv[2::2]):
    hf, golden = Path(hf), Path(golden)
    ids, inputs = json.loads((golden / "ids.json").read_text()), load_file(golden / "inputs.safetensors")
    known = {} if (hf / "tokenizer.json").exists() else {"eos_token_id": ids["eos_token_id"]}
    options = {"attn_implementation": "eager", "output_loading_info": True}
    model, report = AutoModelForImageTextToText.from_pretrained(hf, **options)
    report = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    prompt, tiles = inputs["gen.input_ids"], int(inputs["gen.n_tiles"])
    batch = {"input_ids": prompt, "attention_mask": inputs["gen.attention_mask"]}
    model.config.text_config.output_router_logits = False  # stock's own outputs (5.24) have no field for them
    written = model.eval().generate(
        **batch, pixel_values=inputs["pixel_values"][:tiles], max_new_tokens=12, do_sample=False,
        pad_token_id=ids["pad_token_id"], **known,
    )[:, prompt.shape[1]:]
    row = {"name": golden.name, "class": type(model).__module__, "report": report, "written": written.tolist()}
    if not known:
        tokenizer = AutoTokenizer.from_pretrained(hf)
        row["ids"] = tokenizer("<img><IMG_CONTEXT></img>", add_special_tokens=False)["input_ids"]
        row["tile"] = AutoImageProcessor.from_pretrained(hf).size["height"]
        message = [{"role": "user", "content": "Hi"}]
        row["prompt"] = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    print("ROW" + json.dumps(row))
assert "transformers_internvl" not in sys.modules
"""


def test_upstream_runs_the_result(stations, tmp_path):
    """All but V1-2 and Flash, whose pixel shuffle and router upstream does not have: its class, its own table of
    weights, the original ids."""
    flash = golden_cases("chat_flash")
    cases = [path for path in CHAT if read(path / "config.json")["ps_version"] == "v2" and path not in flash]
    assert len(cases) == len(CHAT) - 1 - len(flash)
    pairs = []
    for path in cases:
        folder = shutil.copytree(stations.hf(path.name), tmp_path / path.name)
        if not (folder / "tokenizer.json").exists():  # nobody knows the image token
            image = read(path / "ids.json")["image_token_id"]
            edit(folder / "config.json", lambda config, image=image: config.update(image_token_id=image))
        pairs += [folder, path]
    done = TRANSFORMERS.run(IN_UPSTREAM, *pairs)
    rows = [json.loads(line[3:]) for line in done.stdout.splitlines() if line.startswith("ROW")]
    assert len(rows) == len(cases), done.stderr[-3000:]
    for row, path in zip(rows, cases, strict=True):
        assert row["class"] == "transformers.models.internvl.modeling_internvl" and not row["report"], row
        expected = load_file(path / "outputs.safetensors").get("gen.sequences")
        assert expected is None or row["written"] == expected.tolist(), path.name
        if "ids" in row:
            tokens = {**read(path / "ids.json")}
            assert row["ids"][1] == tokens["image_token_id"] and len(row["ids"]) == 3
            assert row["tile"] == read(path / "config.json")["force_image_size"]
            assert "Hi" in row["prompt"]


def test_what_upstream_computes_differently_is_said(tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("transformers_internvl.modeling.original.canonical.logger.warning", said.append)
    convert_checkpoint(golden_root() / "chat_llama_v1_2", tmp_path / "hf", "hf", progress=False)
    assert len(said) == 1 and "`ps_version: v1`" in said[0]


# --- files -----------------------------------------------------------------------------------------------------------


def test_shards_and_bin_files(tmp_path, folder):
    """From `.bin` files to small shards and back into one file."""
    expected = weights(folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    hf = convert_checkpoint(folder, tmp_path / "hf", "hf", max_shard_size="100KB", progress=False)
    shards = sorted(path.name for path in hf.glob("*.safetensors"))
    assert len(shards) > 3 and shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    index = read(hf / "model.safetensors.index.json")
    held = {key: path.name for path in hf.glob("*.safetensors") for key in load_file(path)}
    assert index["weight_map"] == held
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in expected.values())
    assert equal(expected, weights(convert_checkpoint(hf, tmp_path / "back", "original", progress=False)))
    again = convert_checkpoint(hf, tmp_path / "again", "hf", progress=False)  # the layout it has: another cut
    assert equal(weights(hf), weights(again)) and (again / "original" / "tokenizer.model").is_file()


def test_remote_code_goes_along(folder, tmp_path):
    names = {reference.split(".")[0] for reference in read(folder / "config.json")["auto_map"].values()}
    for name in names:
        (folder / f"{name}.py").write_text("raise SystemExit('remote code was run')\n")
    hf = convert_checkpoint(folder, tmp_path / "hf", "hf", progress=False)
    assert not list(hf.glob("*.py")) and "auto_map" not in read(hf / "config.json")
    assert "auto_map" not in read(hf / "tokenizer_config.json")
    back = convert_checkpoint(hf, tmp_path / "back", "original", progress=False)
    assert read(back / "config.json")["auto_map"] == read(folder / "config.json")["auto_map"]
    assert {path.stem for path in back.glob("*.py")} == names


def test_what_a_training_saved_becomes_servable(folder, tmp_path):
    """Model and processor saved in the original layout: remote code and tokenizer come from another."""
    names = {reference.split(".")[0] + ".py" for reference in read(folder / "config.json")["auto_map"].values()}
    for name in names:
        (folder / name).write_text("raise SystemExit('remote code was run')\n")
    (folder / "preprocessor_config.json").write_text('{"image_size": 56}')
    model = AutoModel.from_pretrained(folder)
    model.config.loss_reduction = "square"
    with torch.no_grad():
        model.lm_head.weight.mul_(2.0)
    trained = tmp_path / "trained"
    model.save_pretrained(trained)
    model.generation_config.max_new_tokens = 77
    model.generation_config.save_pretrained(trained)
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor.max_patches = 3
    processor.save_pretrained(trained)
    (trained / "README.md").write_text("my model")

    servable = convert_checkpoint(trained, tmp_path / "servable", "original", like=folder, progress=False)
    assert equal(weights(servable), weights(trained))
    config, original = read(servable / "config.json"), read(folder / "config.json")
    assert config["auto_map"] == original["auto_map"] and config["max_dynamic_patch"] == 3
    assert config["loss_reduction"] == "square"
    unchanged = {key: value for key, value in original.items() if key not in (*BOOKKEEPING, "max_dynamic_patch")}
    assert holds(config, unchanged)
    same = {*names, "preprocessor_config.json", "tokenizer.model", "tokenizer_config.json", "added_tokens.json"}
    for name in same:
        assert (servable / name).read_bytes() == (folder / name).read_bytes(), name
    assert (servable / "README.md").read_text() == "my model"
    assert read(servable / "generation_config.json")["max_new_tokens"] == 77
    assert not (servable / "chat_template.jinja").exists() and not (servable / "tokenizer.json").exists()
    found = compare_checkpoints(trained, servable, progress=False)
    assert found.equal, found.differences

    # With a token of its own the tokenizer is written again, as transformers 4 reads it.
    settings = read(folder / "tokenizer_config.json")
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": "{{ messages }}"}))
    tokenizer = AutoTokenizer.from_pretrained(trained)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(trained)
    servable = convert_checkpoint(trained, tmp_path / "other", "original", like=folder, progress=False)
    settings = read(servable / "tokenizer_config.json")
    assert settings["added_tokens_decoder"]["455"]["content"] == "<new>" and "backend" not in settings
    assert settings["chat_template"] == "{{ messages }}"

    with pytest.raises(ValueError, match="is a model of type 'intern_vit_6b', .* one of type 'internvl_chat'"):
        convert_checkpoint(trained, tmp_path / "no", "original", like=golden_root() / "intern_vit_6b", progress=False)


def test_parts_are_named_for_exporters(stations):
    for name, model_class in (("chat_internlm2", "LlamaForCausalLM"), ("chat_gpt_oss", "GptOssForCausalLM")):
        config = read(stations.hf(name) / "config.json")
        assert config["text_config"]["architectures"] == [model_class]
        assert config["vision_config"]["architectures"] == ["InternVLVisionModel"]
        assert hasattr(transformers, model_class)


def test_tied_embeddings_become_two_where_the_original_code_has_two(tmp_path):
    """A -hf model of series 2.5 that ties its embeddings: the original code of that time wants a head."""
    hf = convert_checkpoint(golden_root() / "chat_qwen2_5", tmp_path / "hf", "hf", progress=False)
    tied = weights(hf)
    tied.pop("language_model.lm_head.weight")
    save_file(tied, hf / "model.safetensors", metadata={"format": "pt"})

    def tie(config):
        config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True

    edit(hf / "config.json", tie)
    found = weights(convert_checkpoint(hf, tmp_path / "back", "original", progress=False))
    head, table = (found[f"language_model.{name}.weight"] for name in ("lm_head", "model.embed_tokens"))
    assert torch.equal(head, table)


def test_what_was_changed_since_goes_back(stations, tmp_path):
    """Trained further as -hf: in another dtype, with another vocabulary, saved by the model."""
    name = "chat_internlm2"
    model = AutoModelForImageTextToText.from_pretrained(stations.hf(name)).bfloat16()
    model.resize_token_embeddings(470)
    processor = AutoProcessor.from_pretrained(stations.hf(name))
    processor.tokenizer.add_tokens(["<new>"])
    model.save_pretrained(tmp_path / "trained")
    processor.save_pretrained(tmp_path / "trained")
    like = stations.authors(name)
    for number, options in enumerate(({}, {"like": like})):
        back = convert_checkpoint(tmp_path / "trained", tmp_path / f"{number}", "original", **options, progress=False)
        before, after = read(like / "config.json"), read(back / "config.json")
        assert after["torch_dtype"] == after["llm_config"]["torch_dtype"] == "bfloat16"
        assert after["llm_config"]["vocab_size"] == 470 and after["llm_config"]["architectures"] == [
            "InternLM2ForCausalLM"
        ]
        before["llm_config"].pop("vocab_size"), after["llm_config"].pop("vocab_size")
        changed = {k for k in before["llm_config"] if before["llm_config"][k] != after["llm_config"].get(k)}
        assert changed <= {"torch_dtype"}
        assert AutoProcessor.from_pretrained(back).tokenizer.convert_tokens_to_ids("<new>") == 455
        settings = read(back / "tokenizer_config.json")  # as transformers 4 reads it
        assert "<img>" in settings["additional_special_tokens"] and "extra_special_tokens" not in settings
        assert settings["added_tokens_decoder"]["455"]["content"] == "<new>"
        assert (back / "tokenizer.model").read_bytes() == (like / "tokenizer.model").read_bytes()
        found = compare_checkpoints(tmp_path / "trained", back, progress=False)
        assert found.equal, found.differences


def test_a_model_that_never_was_the_original_one(stations, tmp_path):
    """Its processor tells the template and the tiles; where it does not, the caller has to."""
    folder = shutil.copytree(stations.hf("chat_qwen2"), tmp_path / "hf")
    shutil.rmtree(folder / "original")
    edit(folder / "config.json", lambda config: config.pop("original_config"))
    back = convert_checkpoint(folder, tmp_path / "back", "original", progress=False)
    expected, got = read(QWEN2 / "config.json"), read(back / "config.json")
    derived = ("template", "max_dynamic_patch", "use_thumbnail", "force_image_size", "select_layer", "architectures")
    for key in (*derived, "ps_version", "downsample_ratio", "dynamic_image_size", "model_type"):
        assert got[key] == expected[key], key
    for key in ("architectures", "rope_theta", "rope_scaling", "hidden_size", "vocab_size", "rms_norm_eps"):
        assert got["llm_config"].get(key) == expected["llm_config"].get(key), key
    assert equal(weights(back), weights(QWEN2))
    assert compare_checkpoints(back, QWEN2, progress=False).logits[0] == 0

    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    with pytest.raises(ValueError, match="The chat template of .* is none of .*Give that checkpoint to go by"):
        convert_checkpoint(folder, tmp_path / "none", "original", progress=False)
    assert [path.name for path in tmp_path.iterdir() if "none" in path.name] == []
    back = convert_checkpoint(folder, tmp_path / "like", "original", like=QWEN2, progress=False)
    assert read(back / "config.json")["template"] == expected["template"]
    assert (back / "vocab.json").read_bytes() == (QWEN2 / "vocab.json").read_bytes()


def test_folders_of_version_0_1_0_convert_back(stations, tmp_path):
    """Their subfolder, their field of `config.json` and the layout's argument were called `authors`."""
    folder = shutil.copytree(stations.hf("chat_qwen2"), tmp_path / "hf")
    (folder / "original").rename(folder / "authors")
    edit(folder / "config.json", lambda config: config.update(authors_config=config.pop("original_config")))
    again = convert_checkpoint(folder, tmp_path / "again", "hf", progress=False)
    expected = files_of(stations.back("chat_qwen2"))
    for number, source in enumerate((folder, again)):
        with pytest.warns(FutureWarning, match="'authors' is called 'original' now"):
            back = convert_checkpoint(source, tmp_path / f"{number}", "authors", progress=False)
        assert files_of(back) == expected


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_heads_of_towers(tmp_path):
    source = golden_root() / "intern_vit_300m"
    model = ours.InternVisionForImageClassification.from_pretrained(source, num_labels=7)
    model.save_pretrained(tmp_path / "original")
    hf = convert_checkpoint(tmp_path / "original", tmp_path / "hf", "hf", progress=False)
    again = ours.InternVLVisionForImageClassification.from_pretrained(hf)
    assert again.config.num_labels == 7
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_tower_that_lies_elsewhere(stations, tmp_path):
    """InternVL-Chat v1 without its tower, which lies beside it under the name in `config.json`."""
    name = "llava_mlp2x_gelu"
    folder = tmp_path / "chat"
    everything = write_folder(folder, vision_config=...)
    prefix = "model.vision_tower.vision_tower."
    rest = {key: tensor for key, tensor in everything.items() if not key.startswith(prefix)}
    for path in folder.glob("pytorch_model*"):
        path.unlink()
    torch.save(rest, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="does not hold the weights of its vision tower"):
        convert_checkpoint(folder, tmp_path / "hf", "hf", progress=False)
    tower = tmp_path / "InternViT-6B-224px"
    tower.mkdir()
    config = read(stations.authors(name) / "config.json")["vision_config"]
    (tower / "config.json").write_text(json.dumps({"model_type": "intern_vit_6b", **config}))
    own = {key.removeprefix(prefix): tensor for key, tensor in everything.items() if key.startswith(prefix)}
    save_file(own, tower / "model.safetensors", metadata={"format": "pt"})
    hf = convert_checkpoint(folder, tmp_path / "hf", "hf", progress=False)
    assert equal(weights(hf), weights(stations.hf(name)))


def test_from_the_hub(tmp_path, monkeypatch):
    asked = []

    def download(name, **options):
        asked.append((name, options))
        return str(QWEN2)

    monkeypatch.setattr(folders, "snapshot_download", download)
    target = convert_checkpoint("OpenGVLab/InternVL2-1B", tmp_path / "hf", "hf", progress=False, revision="main")
    assert asked == [("OpenGVLab/InternVL2-1B", {"revision": "main"})] and (target / "config.json").is_file()


# --- what is refused, before anything is written ---------------------------------------------------------------------


def _change(change):
    def apply(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        change(found)
        save_file(found, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _quantize(folder: Path) -> None:
    edit(folder / "config.json", lambda config: config.update(quantization_config={"quant_method": "awq"}))


def _two_names(found: dict) -> None:
    found["lm_head.weight"] = found["language_model.output.weight"].clone()


LORA = "language_model.model.layers.0.attention.wo.lora_A.default.weight"
MISFITS = {
    "missing": (_change(lambda w: w.pop("mlp1.3.bias")), "no weights for 1 of them: model.multi_modal_projector"),
    "unexpected": (_change(lambda w: w.update(stray=torch.ones(2))), "no place for 1 of them: stray"),
    "shape": (_change(lambda w: w.update({"mlp1.3.bias": torch.ones(3)})), r"linear_2.bias is \[3\], expected \[48\]"),
    "lora": (_change(lambda w: w.update({LORA: torch.ones(2, 48)})), "LoRA weights that were never merged"),
    "twice": (_change(_two_names), "Both .* are weights of lm_head.weight: remove one"),
    "cut": (_truncate, r"model.safetensors is incomplete or damaged"),
    "quantized": (_quantize, "is quantized. Convert the checkpoint that it was made from"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "There are no weights in"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json|model_type"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_misfits(kind, folder, tmp_path):
    damage, message = MISFITS[kind]
    damage(folder)
    with pytest.raises((ValueError, OSError), match=message):
        convert_checkpoint(folder, tmp_path / "out", "hf", progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint"}


def test_a_shard_that_is_not_there(stations, tmp_path):
    hf = convert_checkpoint(INTERNLM2, tmp_path / "hf", "hf", max_shard_size="100KB", progress=False)
    second = sorted(hf.glob("*.safetensors"))[1]
    content = load_file(second)
    content.popitem()
    save_file(content, second, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks 1 of the weights that the index lists"):
        convert_checkpoint(hf, tmp_path / "out", "original", progress=False)
    second.unlink()
    with pytest.raises(OSError, match=r"which model.safetensors.index.json names, is missing"):
        convert_checkpoint(hf, tmp_path / "out", "original", progress=False)


def test_arguments(tmp_path, stations):
    with pytest.raises(ValueError, match="`to` must be one of hf, original, got 'native'"):
        convert_checkpoint(QWEN2, tmp_path / "a", "native")
    with pytest.raises(ValueError, match="`like` is for conversions to the original layout"):
        convert_checkpoint(QWEN2, tmp_path / "a", "hf", like=QWEN2)
    with pytest.raises(OSError, match="no folder 'nowhere', and it is no Hub id"):
        convert_checkpoint("nowhere", tmp_path / "a", "hf")
    with pytest.raises(ValueError, match="is a model of type 'intern_vit_6b'"):
        convert_checkpoint(stations.hf("chat_qwen2"), tmp_path / "a", "original", like=golden_root() / "intern_vit_6b")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    with pytest.raises(ValueError, match="holds a model of type 'qwen2', none of InternVL's"):
        convert_checkpoint(other, tmp_path / "a", "hf")


def test_an_existing_target(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with pytest.raises(FileExistsError, match="out exists"):
        convert_checkpoint(QWEN2, tmp_path / "out", "hf", progress=False)
    convert_checkpoint(QWEN2, tmp_path / "out", "hf", overwrite=True, progress=False)
    assert not (tmp_path / "out" / "old").exists() and (tmp_path / "out" / "config.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(ValueError, match="is the source"):
        convert_checkpoint(tmp_path / "out", tmp_path / "out", "original", overwrite=True)


def test_a_target_that_another_run_has_made_meanwhile_stays(tmp_path, monkeypatch):
    write_rest = module._Job.write_rest

    def slow(job, partial):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").touch()
        write_rest(job, partial)

    monkeypatch.setattr(module._Job, "write_rest", slow)
    source = golden_root() / "chat_qwen2"
    with pytest.raises(FileExistsError, match="out exists"):
        convert_checkpoint(source, tmp_path / "out", "hf", progress=False)
    assert os.listdir(tmp_path / "out") == ["mine"]
    monkeypatch.undo()
    convert_checkpoint(source, tmp_path / "out", "hf", overwrite=True, progress=False)
    assert not (tmp_path / "out" / "mine").exists() and (tmp_path / "out" / "config.json").exists()


TOWER = golden_root() / "intern_vit_300m"


@pytest.mark.parametrize(("less", "files"), [(0, 1), (1, 2)])
def test_a_file_may_be_as_large_as_the_limit(tmp_path, less, files):
    """And two files have an index as many have."""
    total = sum(tensor.nbytes for tensor in weights(TOWER).values())
    out = convert_checkpoint(TOWER, tmp_path / "out", "hf", max_shard_size=total - less, progress=False)
    assert len(list(out.glob("*.safetensors"))) == files
    assert (out / "model.safetensors.index.json").exists() is (files > 1)
    assert sum(tensor.nbytes for tensor in weights(out).values()) == total
    AutoModel.from_pretrained(out)


def test_what_a_killed_replacement_left_aside_goes(tmp_path):
    for name in ("out", "out.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("old")
    convert_checkpoint(TOWER, tmp_path / "out", "hf", overwrite=True, progress=False)
    assert os.listdir(tmp_path) == ["out"] and not (tmp_path / "out" / "old").exists()


def test_the_source_under_another_name_is_no_target(tmp_path):
    source = shutil.copytree(TOWER, tmp_path / "source")
    (tmp_path / "link").symlink_to(source)
    for one, other in (("link", "source"), ("source", "link")):
        with pytest.raises(ValueError, match="is the source: choose another folder"):
            convert_checkpoint(tmp_path / one, tmp_path / other, "hf", overwrite=True, progress=False)
    assert (source / "config.json").exists()


def test_what_tells_one_job_from_another(tmp_path):
    source = shutil.copytree(TOWER, tmp_path / "source")

    def identity(to="hf", size="5GB"):
        return module._Job(module.open_checkpoint(source), to, None, size).identity

    first = identity()
    assert identity() == first and len({first, identity("original"), identity(size="20KB")}) == 3
    path = source / "model.safetensors"
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert identity() != first
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert identity() == first


def test_the_bar_counts_what_is_there_already(tmp_path, monkeypatch):
    counted = []

    class Bar:
        def __init__(self, total, disable, **_):
            counted[:] = [total, 0]
            assert disable is False

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, count):
            counted[1] += count

    monkeypatch.setattr(writing, "tqdm", Bar)
    total = sum(tensor.nbytes for tensor in weights(TOWER).values())
    put_in_place = folders._put_in_place
    monkeypatch.setattr(folders, "_put_in_place", lambda *_: None)
    convert_checkpoint(TOWER, tmp_path / "out", "hf", max_shard_size="20KB")
    assert counted == [total, total]
    monkeypatch.setattr(folders, "_put_in_place", put_in_place)
    monkeypatch.setattr(writing, "write_safetensors", None)  # nothing is left to write
    convert_checkpoint(TOWER, tmp_path / "out", "hf", max_shard_size="20KB")
    assert counted == [total, total] and (tmp_path / "out" / "config.json").exists()


def test_two_runs_at_once(tmp_path):
    (tmp_path / "out.partial").mkdir()
    with FileLock(tmp_path / "out.partial" / ".lock"), pytest.raises(OSError, match="Another conversion is at work"):
        convert_checkpoint(QWEN2, tmp_path / "out", "hf", progress=False)


# --- runs that are killed --------------------------------------------------------------------------------------------


def test_killed_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    expected = weights(convert_checkpoint(INTERNLM2, tmp_path / "whole", "hf", **SHARDS))  # imports all modules
    total = run_until(tmp_path / "counted", None)
    files = {str(path.relative_to(tmp_path / "whole")) for path in (tmp_path / "whole").rglob("*")}
    for share in (0.35, 0.6, 0.85, 0.99):
        target, partial = tmp_path / f"{share}", tmp_path / f"{share}.partial"
        run_until(target, int(share * total))
        assert not target.exists() and partial.is_dir()
        if (partial / "config.json").exists():  # the last thing that is written
            assert share == 0.99 and equal(weights(partial), expected)
        else:
            for auto_class in (AutoConfig, AutoModelForImageTextToText):
                with pytest.raises((OSError, ValueError)):
                    auto_class.from_pretrained(partial)
        convert_checkpoint(INTERNLM2, target, "hf", **SHARDS)
        assert equal(weights(target), expected) and not partial.exists()
        assert {str(path.relative_to(target)) for path in target.rglob("*")} == files


def test_an_overwritten_target_is_killed_between_two_names(tmp_path):
    """Whatever the moment, the former checkpoint or the new one is there, whole; running again finishes."""
    target, partial, aside = (tmp_path / name for name in ("out", "out.partial", "out.replaced"))
    convert_checkpoint(QWEN2, target, "hf", **SHARDS)
    (target / "mine").touch()
    old = snapshot(target)
    again = left_by_kills(tmp_path, lambda: convert_checkpoint(QWEN2, target, "hf", overwrite=True, **SHARDS))
    new = snapshot(target)
    assert "mine" not in new and os.listdir(tmp_path) == ["out"]
    between = [files for files in again if not any(name.startswith("out/") for name in files)]
    assert between  # the former one stands aside, the new one is not there yet
    for files in again:
        seen = {folder: below(files, folder.name) for folder in (target, aside, partial)}
        assert seen[target] in ({}, old, new)
        assert old in (seen[target], seen[aside]) or seen[target] == new
        assert seen[target] or new == {name: seen[partial][name] for name in new}
    shutil.rmtree(target)
    write(between[0], tmp_path)
    convert_checkpoint(QWEN2, target, "hf", **SHARDS)
    assert equal(weights(target), weights(write(new, tmp_path / "expected"))) and not partial.exists()
    assert not aside.exists()


def below(files, name):
    return {path.removeprefix(f"{name}/"): content for path, content in files.items() if path.startswith(f"{name}/")}


def test_what_is_done_stays_done(tmp_path, monkeypatch):
    """A weight file that is complete is not written again; one that was damaged since, or of another job, is."""
    written: list[str] = []
    write = writing.write_safetensors

    def noted(path, *arguments):
        written.append(path.name.removesuffix(".draft"))
        if len(written) == 3:
            raise KeyboardInterrupt
        return write(path, *arguments)

    monkeypatch.setattr(writing, "write_safetensors", noted)
    target, partial = tmp_path / "out", tmp_path / "out.partial"
    with pytest.raises(KeyboardInterrupt):
        convert_checkpoint(INTERNLM2, target, "hf", **SHARDS)
    first, second, third = written
    content = (partial / second).read_bytes()
    (partial / second).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    convert_checkpoint(INTERNLM2, target, "hf", **SHARDS)
    assert first not in written[3:] and second in written[3:] and third in written[3:]
    fresh = convert_checkpoint(INTERNLM2, tmp_path / "fresh", "hf", **SHARDS)
    assert equal(weights(target), weights(fresh))

    written.clear()
    with pytest.raises(KeyboardInterrupt):
        convert_checkpoint(INTERNLM2, tmp_path / "other", "hf", **SHARDS)
    written.clear()
    written += ["x"] * 3
    other = convert_checkpoint(QWEN2, tmp_path / "other", "hf", **SHARDS)
    assert equal(weights(other), weights(convert_checkpoint(QWEN2, tmp_path / "qwen", "hf", **SHARDS)))
    (tmp_path / "cut.partial").mkdir()
    (tmp_path / "cut.partial" / "conversion.json").write_text('{"job": ')
    assert equal(weights(convert_checkpoint(QWEN2, tmp_path / "cut", "hf", **SHARDS)), weights(other))
