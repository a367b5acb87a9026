# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which files of a folder are copied, which are weights, which are read; links; tokens in tokenizer files."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from tests.tiny import tiny_model
from transformers_internvl.conversion.files import folders, weight_streams, writing
from transformers_internvl.conversion.files.copies import copy_auxiliary_files, save_weights
from transformers_internvl.conversion.files.folders import copy_file
from transformers_internvl.conversion.files.shapes import intern_vit_fields, weight_shapes
from transformers_internvl.conversion.files.weight_streams import Span, WeightStream, is_weight_file
from transformers_internvl.conversion.layouts import auxiliary_files, convert
from transformers_internvl.conversion.layouts.auxiliary_files import other_files


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- what is copied --------------------------------------------------------------------------------------------------


def test_links_that_are_followed(tmp_path):
    """Within the folder, and from a snapshot of the Hub's cache to its blobs."""
    model = tmp_path / "models--org--name"
    snapshot = fill(model / "snapshots" / "abc", "own.json").parent / "abc"
    fill(model / "blobs", "1234")
    (snapshot / "inner.json").symlink_to("own.json")
    (snapshot / "blob.json").symlink_to(Path("..", "..", "blobs", "1234"))
    for name, text in (("own.json", "own.json"), ("inner.json", "own.json"), ("blob.json", "1234")):
        copy_file(snapshot, name, tmp_path / "new" / "deep" / name)
        copied = tmp_path / "new" / "deep" / name
        assert copied.read_text() == text and not copied.is_symlink()


@pytest.mark.parametrize("place", ["key", "folder-2/key", "blobs/key", "snapshots-2/abc/key"])
def test_links_that_leave_the_folder(tmp_path, place):
    fill(tmp_path, place)
    folder = fill(tmp_path / "folder" / "abc" if "blobs" in place else tmp_path / "folder", "own.json")
    (folder / "key").symlink_to(tmp_path / place)
    with pytest.raises(ValueError, match="outside of the checkpoint: it is not copied"):
        copy_file(folder, "key", tmp_path / "new" / "key")
    assert not (tmp_path / "new").exists()
    (folder / "key").unlink()
    (folder / "key").symlink_to(tmp_path)  # above the folder
    with pytest.raises(ValueError, match="outside of the checkpoint"):
        copy_file(folder, f"key/{place}", tmp_path / "new" / "key")


WEIGHTS = [f"model{ending}" for ending in (".safetensors", ".bin", ".pt", ".pth", ".safetensors.index.json")]
BESIDE = ["config.json", "tokenizer.json", "README.md", "model.py", "additional_chat_templates/tool.jinja"]


def test_what_lies_beside_the_weights(tmp_path):
    ignored = ["additional_chat_templates/notes.txt", "logs/run.txt"]
    source = fill(tmp_path / "source", *WEIGHTS, *BESIDE, *ignored)
    (tmp_path / "new").mkdir()
    copy_auxiliary_files(source, tmp_path / "new")
    assert tree(tmp_path / "new") == set(BESIDE)
    assert [is_weight_file(Path(name)) for name in (*WEIGHTS, *BESIDE)] == [True] * 5 + [False] * 5


def test_other_files_of_a_checkpoint(tmp_path):
    """All weights of other formats stay behind; a config.json of a subfolder comes along, hidden folders do not."""
    kept = ["README.md", "code/model.py", "onnx/config.json", "tokenizer.json"]
    endings = (".gguf", ".onnx", ".h5", ".msgpack", ".index.json", ".bin", ".pt", ".pth", ".safetensors")
    hidden = [".git/HEAD", "code/.cache/inner/a.json", ".hidden"]
    fill(tmp_path, *kept, *hidden, "config.json", *(f"x/model{ending}" for ending in endings))
    assert [str(path) for path in other_files(tmp_path)] == kept
    auxiliary_files.copy_others(tmp_path, tmp_path / "new", skip=("code", "tokenizer.json"))
    assert tree(tmp_path / "new") == {"README.md", "onnx/config.json"}


def test_weights_are_cut_as_asked(tmp_path):
    model = tiny_model()
    (tmp_path / "whole").mkdir(), (tmp_path / "cut").mkdir()
    save_weights(model, tmp_path / "whole", "5GB")
    save_weights(model, tmp_path / "cut", "20KB")
    assert tree(tmp_path / "whole") == {"model.safetensors"}
    shards = tree(tmp_path / "cut") - {"model.safetensors.index.json"}
    assert len(shards) > 2 and all(name.startswith("model-0") for name in shards)
    assert WeightStream(tmp_path / "cut").entries.keys() == WeightStream(tmp_path / "whole").entries.keys()


def test_what_is_a_folder_and_what_a_hub_id(tmp_path, monkeypatch):
    asked = []

    def download(*words, **options):
        asked.append((words, options))
        return "x"

    monkeypatch.setattr(folders, "snapshot_download", download)
    monkeypatch.chdir(fill(tmp_path, "org/here/config.json"))
    assert folders.local_folder("org/here") == Path("org/here") == folders.local_folder(Path("org/here"))
    assert folders.local_folder("org/there") == folders.local_folder("org/there", revision="v2") == Path("x")
    assert asked == [(("org/there",), {}), (("org/there",), {"revision": "v2"})]
    for name in ("there", "org/a/b", "./there", "/there", "~/there", "../there", Path("org/there")):
        with pytest.raises(OSError, match="There is no folder '.*', and it is no Hub id"):
            folders.local_folder(name)
    assert len(asked) == 2


def test_a_json_file_keeps_its_order_or_is_sorted_and_may_be_missing(tmp_path):
    path = tmp_path / "a.json"
    assert folders.read_json(path) == {}
    content = {"b": "é", "a": {"d": 1, "c": None}}
    folders.write_json(path, content)
    assert path.read_text(encoding="utf-8") == '{\n  "b": "é",\n  "a": {\n    "d": 1,\n    "c": null\n  }\n}\n'
    folders.write_json(path, content, sort_keys=True)
    assert list(folders.read_json(path)) == ["a", "b"] and folders.read_json(path) == content
    assert tree(tmp_path) == {"a.json"}


def test_a_json_file_that_cannot_be_written_leaves_the_former_one(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    folders.write_json(path, {"a": 1})

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(folders.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        folders.write_json(path, {"a": 2})
    assert folders.read_json(path) == {"a": 1}


def test_what_is_not_taken_from_the_other_checkpoint(tmp_path, monkeypatch):
    """Its files, without weights."""
    asked = []

    def folder(name, **options):
        asked.append((name, options))
        if name == "org/like":
            raise OSError("stop")
        return tmp_path

    monkeypatch.setattr(convert, "local_folder", folder)
    monkeypatch.setattr(convert, "open_checkpoint", lambda path: SimpleNamespace(folder=path))
    with pytest.raises(OSError, match="stop"):
        convert.convert_checkpoint("org/x", tmp_path / "new", "original", like="org/like", token="hf_x")
    patterns = [f"*{ending}" for ending in auxiliary_files.WEIGHTS]
    assert asked == [("org/x", {"token": "hf_x"}), ("org/like", {"token": "hf_x", "ignore_patterns": patterns})]


# --- tokens in files -------------------------------------------------------------------------------------------------


def test_a_token_is_taken_out_of_lists_and_keys_but_not_of_the_vocabulary():
    video = {"content": "<video>", "special": True}
    content = {
        "added_tokens": [{"id": 1, "content": "<a>"}, {"id": 2, **video}],
        "added_tokens_decoder": {"1": {"content": "<a>"}, "2": video},
        "extra_special_tokens": ["<a>", "<video>"],
        "video_token": "<video>",
        "<video>": 2,
        "model": {"vocab": {"<video>": 7, "a": 0}},
    }
    assert auxiliary_files._without_token(content, "<video>") == {
        "added_tokens": [{"id": 1, "content": "<a>"}],
        "added_tokens_decoder": {"1": {"content": "<a>"}},
        "extra_special_tokens": ["<a>"],
        "model": {"vocab": {"<video>": 7, "a": 0}},
    }


@pytest.mark.parametrize(
    ("ids", "settings", "stray"),
    [
        ({"<video>": 9}, {}, False),
        ({"<video>": 10}, {}, True),  # rows 0 to 9
        ({}, {}, False),
        ({}, {"video_token": "<video>"}, True),
        ({}, {"model_specific_special_tokens": {"video_token": "<video>"}}, True),
        ({"<video>": 9}, {"video_token": "<video>"}, False),
    ],
)
def test_tokens_without_an_embedding(tmp_path, monkeypatch, ids, settings, stray):
    monkeypatch.setattr(auxiliary_files, "added_token_ids", lambda folder: ids)
    auxiliary_files.write_json(tmp_path / "tokenizer_config.json", settings)
    assert auxiliary_files._has_stray_tokens(tmp_path, 10) is stray


def test_remote_code_on_the_hub_need_not_lie_here(tmp_path, monkeypatch):
    named = {"AutoConfig": "org/code--configuration.Config", "AutoModel": "modeling.Model"}
    monkeypatch.setattr(auxiliary_files, "original_fields", lambda source, like: {"auto_map": named})
    assert auxiliary_files.auto_map(None, tmp_path) is None
    fill(tmp_path, "modeling.py")
    assert auxiliary_files.auto_map(None, tmp_path) == named
    del named["AutoModel"]
    assert auxiliary_files.auto_map(None, tmp_path / "empty") == named


def test_auto_map_lists_a_slow_and_a_fast_tokenizer(tmp_path, monkeypatch):
    """`AutoTokenizer` is a pair in the files of transformers; either may be null."""
    named = {"AutoTokenizer": ["slow.Tokenizer", "fast.Tokenizer"], "AutoConfig": None, "AutoModel": [None, None]}
    monkeypatch.setattr(auxiliary_files, "original_fields", lambda source, like: {"auto_map": named})
    fill(tmp_path, "slow.py")
    assert auxiliary_files.auto_map(None, tmp_path) is None
    fill(tmp_path, "fast.py")
    assert auxiliary_files.auto_map(None, tmp_path) == named
    named["AutoTokenizer"] = ["slow.Tokenizer", None]
    (tmp_path / "fast.py").unlink()
    assert auxiliary_files.auto_map(None, tmp_path) == named


def test_generation_settings_that_a_conversion_has_changed_only():
    theirs = {"eos_token_id": [7, 8], "transformers_version": "4.1", "_from_model_config": True, "top_p": 0.5}
    expected = {"eos_token_id": [8, 7], "top_p": 0.5}
    assert auxiliary_files._stopped_like({"eos_token_id": [8, 7]}, theirs) == expected
    assert auxiliary_files._stopped_like({"eos_token_id": []}, theirs)["eos_token_id"] == [7, 8]
    assert auxiliary_files._stopped_like({"eos_token_id": 8}, theirs)["eos_token_id"] == [7, 8]


def test_the_original_template_fills_a_gap_only(tmp_path):
    original, target = tmp_path / "original", tmp_path / "target"
    original.mkdir(), target.mkdir()
    auxiliary_files._keep_template(original, target)
    assert tree(target) == set()
    auxiliary_files.write_json(original / "tokenizer_config.json", {"chat_template": "theirs"})
    auxiliary_files._keep_template(original, target)
    assert tree(target) == set()
    path = target / "tokenizer_config.json"
    for ours, kept in (({"a": 1}, "theirs"), ({"a": 1, "chat_template": "ours"}, "ours")):
        auxiliary_files.write_json(path, ours)
        auxiliary_files._keep_template(original, target)
        assert auxiliary_files.read_json(path) == {"a": 1, "chat_template": kept}


@pytest.mark.parametrize("listed", [True, False])
def test_tokenizer_files_as_transformers_4_reads_them(tmp_path, listed):
    """What transformers 5 notes goes; added tokens are listed, unless they are already."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir(), target.mkdir()
    notes = dict.fromkeys(("backend", "is_local", "local_files_only", "processor_class", "video_token"), "x")
    own = {"added_tokens_decoder": {"9": {"content": "<mine>"}}} if listed else {}
    settings = {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<a>"], "kept": 1, **notes, **own}
    settings["model_specific_special_tokens"] = {"video_token": "x"}
    auxiliary_files.write_json(source / "tokenizer_config.json", settings)
    auxiliary_files.write_json(source / "tokenizer.json", {"added_tokens": [{"id": 3, "content": "<a>"}]})
    auxiliary_files._write_tokenizer(SimpleNamespace(folder=source, config=None), target)
    assert auxiliary_files.read_json(target / "tokenizer_config.json") == {
        "added_tokens_decoder": own.get("added_tokens_decoder", {"3": {"content": "<a>"}}),
        "additional_special_tokens": ["<a>"],
        "kept": 1,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def test_upstreams_name_of_a_tokenizer(tmp_path):
    path = tmp_path / "tokenizer_config.json"
    for before, after in (("InternLM2Tokenizer", "PreTrainedTokenizerFast"), ("Qwen2Tokenizer", "Qwen2Tokenizer")):
        auxiliary_files.write_json(path, {"tokenizer_class": before, "auto_map": {"AutoTokenizer": ["x", None]}})
        auxiliary_files._name_upstream_tokenizer(tmp_path)
        assert auxiliary_files.read_json(path) == {"tokenizer_class": after}


# --- streams ---------------------------------------------------------------------------------------------------------


def test_a_system_that_reads_and_writes_in_parts(tmp_path, monkeypatch):
    """A read and a write may take less than they are given: the rest follows."""
    (tmp_path / "a").write_bytes(bytes(range(100)))

    class Slow:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def readinto(self, view):
            return self.file.readinto(view[:7])

        def write(self, view):
            return self.file.write(view[:3])

    slow = lambda *words, **given: Slow(open(*words, **given))  # noqa: E731, SIM115 (it is closed by the caller)
    monkeypatch.setattr(weight_streams, "open", slow, raising=False)
    view = memoryview(bytearray(90))
    assert Span(tmp_path / "a", 5, 90).read_into(view) == 90 and bytes(view) == bytes(range(5, 95))
    with Slow(open(tmp_path / "b", "wb", buffering=0)) as file:
        weight_streams.write_all(file, view)
    assert (tmp_path / "b").read_bytes() == bytes(range(5, 95))


@pytest.mark.parametrize("length", range(1, 9))
def test_tensors_begin_at_a_multiple_of_8(tmp_path, length):
    row = ("w" * length, torch.empty(2, dtype=torch.float64, device="meta"))
    writing.write_safetensors(tmp_path / "a", [row], [memoryview(bytes(16))])
    content = (tmp_path / "a").read_bytes()
    assert int.from_bytes(content[:8], "little") % 8 == 0 and len(content) % 8 == 0


def test_a_bin_file_is_mapped_again_now_and_then(tmp_path, monkeypatch):
    torch.save({name: torch.full((10,), index) for index, name in enumerate("abcd")}, tmp_path / "pytorch_model.bin")
    files = WeightStream(tmp_path)
    opened, load = [], weight_streams.load_tensors
    monkeypatch.setattr(weight_streams, "load_tensors", lambda *w, **o: opened.append(o) or load(*w, **o))
    monkeypatch.setattr(weight_streams, "MAPPED", 100)  # each has 80 bytes
    assert [int(files.read(files.entries[name])[0]) for name in "abcd"] == [0, 1, 2, 3]
    assert opened == [{"map_location": "cpu", "mmap": True}] * 2


def test_safetensors_come_before_bin_files(tmp_path):
    torch.save({"bin": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    save_file({"safe": torch.ones(3)}, tmp_path / "model.safetensors")
    assert list(WeightStream(tmp_path).entries) == ["safe"] and weight_shapes(tmp_path) == {"safe": (3,)}


def test_a_stamp_is_size_and_time(tmp_path):
    path = fill(tmp_path, "a") / "a"
    stamp = folders.stamp_of(path)
    os.utime(path, ns=(stamp[1], stamp[1]))
    assert folders.stamp_of(path) == stamp
    path.write_text("b")
    os.utime(path, ns=(stamp[1] + 1, stamp[1] + 1))
    assert folders.stamp_of(path) != stamp
    path.write_text("longer")
    os.utime(path, ns=(stamp[1], stamp[1]))
    assert folders.stamp_of(path) != stamp


# --- shapes ----------------------------------------------------------------------------------------------------------


def tower(**changes) -> dict[str, tuple[int, ...]]:
    shapes = {"embeddings.class_embedding": (1, 1, 40), "embeddings.position_embedding": (1, 10, 40)}
    shapes["embeddings.patch_embedding.weight"] = (40, 3, 14, 28)
    for block in (0, 1, 10):
        shapes[f"encoder.layers.{block}.mlp.fc1.weight"] = (80, 40)
        shapes[f"encoder.layers.{block}.norm1.weight"] = (40,)
    return shapes | changes


def test_patches_of_two_sides_and_blocks_of_two_digits():
    assert intern_vit_fields(tower()) == {
        "hidden_size": 40,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "patch_size": (14, 28),
        "image_size": (42, 84),
        "attention_bias": False,
        "use_qk_norm": False,
        "norm_type": "rms_norm",
    }
    more = {f"encoder.layers.0.{name}": (40,) for name in ("attn.qkv.bias", "attn.q_norm.weight", "norm1.bias")}
    fields = intern_vit_fields(tower(**more))
    assert (fields["attention_bias"], fields["use_qk_norm"], fields["norm_type"]) == (True, True, "layer_norm")


@pytest.mark.parametrize("name", [name for name in tower() if "embeddings" in name or ".0.mlp" in name])
def test_each_of_the_landmarks_is_needed(name):
    shapes = tower()
    del shapes[name]
    with pytest.raises(ValueError, match=f"incomplete: there is no {name}\\."):
        intern_vit_fields(shapes)
