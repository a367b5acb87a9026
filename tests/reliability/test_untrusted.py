# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Code in a checkpoint never runs, and no path in one leaves its folder, whatever loads it."""

import ast
import json
import os
import pickle
import shutil
from pathlib import Path

import jinja2
import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer, pipeline

import transformers_internvl
from tests.parity.golden import golden_root
from tests.reliability.targets import HARMFUL, YAML_CODE
from tests.training.kills import trainer_of
from transformers_internvl import InternVLChatModel, nano_path
from transformers_internvl.cli import main
from transformers_internvl.conversion.files.copies import copy_auxiliary_files
from transformers_internvl.conversion.files.folders import copy_file
from transformers_internvl.conversion.layouts.convert import convert_checkpoint
from transformers_internvl.conversion.lora.adapters import Adapter
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.tokenizers.loading import load_tokenizer
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.trainers.checkpoints import check_checkpoint, last_checkpoint

SOURCE = Path(transformers_internvl.__file__).parent
# Auto class -> the original file whose class it would run.
MODULES = {
    "AutoConfig": "configuration_internvl_chat",
    "AutoModel": "modeling_internvl_chat",
    "AutoModelForCausalLM": "modeling_internvl_chat",
    "AutoModelForImageTextToText": "modeling_internvl_chat",
    "AutoProcessor": "processing_internvl_chat",
    "AutoImageProcessor": "processing_internvl_chat",
}


class Harm:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


@pytest.fixture
def mark(tmp_path):
    """What must not exist afterwards."""
    mark = tmp_path / "harm-was-done"
    yield mark
    assert not mark.exists()


def with_modules(source: Path, folder: Path, mark: Path) -> Path:
    """A checkpoint whose every file that can name code names some that leaves `mark` behind."""
    shutil.copytree(source, folder)
    code = f"import os\nos.mkdir({str(mark)!r})\nclass C: pass\n"
    for name in {*MODULES.values(), "tokenization_x"}:
        (folder / f"{name}.py").write_text(code)
    (folder / "__init__.py").write_text(code)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate/generate.py").write_text(f"{code}\ndef generate(*args, **kwargs): pass\n")
    (folder / "sitecustomize.py").write_text(code)
    named = {auto: f"{name}.C" for auto, name in MODULES.items()}
    named["AutoTokenizer"] = ["tokenization_x.C", "tokenization_x.C"]
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        path = folder / name
        fields = json.loads(path.read_text()) if path.exists() else None
        if fields is not None:
            path.write_text(json.dumps({**fields, "auto_map": named}))
    return folder


LOADERS = {
    "config": AutoConfig.from_pretrained,
    "model": AutoModel.from_pretrained,
    "generating model": AutoModelForImageTextToText.from_pretrained,
    "tokenizer": AutoTokenizer.from_pretrained,
    "our tokenizer": load_tokenizer,
    "processor": AutoProcessor.from_pretrained,
    "our processor": InternVLProcessor.from_pretrained,
    "pipeline": lambda folder: pipeline("image-text-to-text", model=str(folder)),
    "chat": lambda folder: main(["chat", "--model", str(folder), "--max-new-tokens", "1", "words"]),
    "profile": lambda folder: main(["profile", str(folder)]),
    "verify": lambda folder: main(["verify", str(folder), str(folder)]),
    "convert": lambda folder: convert_checkpoint(folder, folder.parent / "converted", to="hf"),
}


@pytest.mark.parametrize("layout", ["authors", "hf"])
def test_remote_code_stays_where_it_is(layout, tmp_path, mark, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = {"authors": golden_root() / "chat_qwen2", "hf": Path(nano_path())}[layout]
    folder = with_modules(source, tmp_path / "checkpoint", mark)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the user was asked to trust the code"))
    slow = ("chat", "verify", "convert") if layout == "hf" else ()
    for name, load in LOADERS.items():
        if name in slow:  # they load as the classes do
            continue
        try:
            load(folder)
        except ValueError as error:  # transformers' refusal
            assert "trust_remote_code" in str(error), name
        assert not mark.exists(), name


def test_nothing_here_trusts_remote_code():
    """No file of the package passes `trust_remote_code`, unpickles, or evaluates; what torch loads is weights only.

    But for the process of `internvl parity --run-remote-code`, which exists to run a checkpoint's own code.
    """
    found = []
    for path in set(SOURCE.rglob("*.py")) - {SOURCE / "evaluation" / "parity" / "original.py"}:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called, keywords = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            passed_on = keywords.get("trust_remote_code", "trust_remote_code") == "trust_remote_code"
            loads = called != "torch.load" or keywords.get("weights_only") == "True"
            parts = called.split(".")
            runs = called in ("eval", "exec", "os.system", "yaml.load") or parts[0] in ("pickle", "joblib", "shelve")
            if not passed_on or not loads or runs:
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}: {called}")
    assert not found


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "index"])
def test_pickled_weights_do_not_run(name, tmp_path, mark):
    folder = tmp_path / "checkpoint"
    shutil.copytree(golden_root() / "chat_qwen2", folder)
    (folder / "model.safetensors").unlink()
    file = "pytorch_model-00001-of-00001.bin" if name == "index" else "pytorch_model.bin"
    if name == "model.bin":
        (folder / file).write_bytes(pickle.dumps({"w": Harm(mark)}))  # of torch's time before zip files
    else:
        torch.save({"w": Harm(mark)}, folder / file)
    if name == "index":
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {"w": file}}))
    assert main(["verify", str(folder), str(golden_root() / "chat_qwen2")]) == 2
    assert main(["convert", str(folder), str(tmp_path / "out"), "--to", "hf"]) == 2
    with pytest.raises(OSError, match="holds more than weights"):
        InternVLChatModel.from_pretrained(folder)
    assert main(["chat", "--model", str(folder), "words"]) == 2


@pytest.mark.parametrize("file", ["adapter_model.bin", "adapter_model.safetensors"])
def test_pickled_adapters_do_not_run(file, tmp_path, mark):
    from peft import PeftModel

    from tests.tiny import tiny_model

    torch.save({"w": Harm(mark)}, tmp_path / file)
    fields = {"peft_type": "LORA", "target_modules": ["q_proj"], "auto_mapping": {"parent_library": "os"}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(fields))
    errors = (ValueError, OSError, RuntimeError, pickle.UnpicklingError, SafetensorError)
    with pytest.raises(errors):
        Adapter.from_pretrained(tmp_path)
    with pytest.raises(errors):
        PeftModel.from_pretrained(tiny_model(), tmp_path)


def test_checkpoints_of_training_do_not_run(tmp_path, mark):
    """Nor is one taken up of which a file is broken, or another's."""
    trainer_of("rows", tmp_path, save_steps=1, max_steps=1).train()
    checkpoint = tmp_path / "checkpoint-1"
    torch.save({"w": Harm(mark)}, tmp_path / "harm.pt")
    torch.save({"w": torch.ones(1)}, tmp_path / "other.pt")
    contents = [pickle.dumps(Harm(mark)), (tmp_path / "harm.pt").read_bytes(), (tmp_path / "other.pt").read_bytes()]
    contents += [b"", b"[]", b"{}", b"[" * 100_000]
    check_checkpoint(checkpoint)
    files = ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "data_state_0.json"]
    for name in [*files, "adapter_model.safetensors"]:
        whole = (checkpoint / name).read_bytes()
        for content in [*contents, whole[:100]]:
            (checkpoint / name).write_bytes(content)
            with pytest.raises(ValueError, match=f"{name} is not what a trainer saves"):
                check_checkpoint(checkpoint)
        (checkpoint / name).write_bytes(whole)
    whole = (checkpoint / "trainer_state.json").read_bytes()
    (checkpoint / "trainer_state.json").write_bytes(b"[" * 100_000)
    assert last_checkpoint(tmp_path) is None
    (checkpoint / "trainer_state.json").write_bytes(whole)
    for name in ("training_args.bin", "rng_state.pth"):
        (checkpoint / name).write_bytes(contents[0])
    trainer = trainer_of("rows", tmp_path, save_strategy="no", max_steps=2)
    with pytest.raises(ValueError, match="rng_state.pth is not"):
        trainer.train(resume_from_checkpoint=str(checkpoint))
    (checkpoint / "rng_state.pth").unlink()
    trainer.train(resume_from_checkpoint=str(checkpoint))


@pytest.mark.parametrize("name", ["optimizer_0/.metadata", "global_step1/mp_rank_00_model_states.pt"])
def test_engines_unpickle_what_the_run_wrote_only(name, tmp_path):
    """FSDP's shards and DeepSpeed's files are opened by these, code and all."""
    file = tmp_path / "out/checkpoint-1" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    check_checkpoint(tmp_path / "out/checkpoint-1", own=tmp_path / "out")
    for own in (None, tmp_path / "out/checkpoint-2", tmp_path / "elsewhere"):
        with pytest.raises(ValueError, match="would be unpickled"):
            check_checkpoint(tmp_path / "out/checkpoint-1", own=own)


@pytest.mark.parametrize("code", HARMFUL)
def test_templates_reach_nothing(code):
    processor = InternVLProcessor.from_pretrained(golden_root() / "chat_qwen2")
    chat = [{"role": "user", "content": "words"}]
    with pytest.raises((jinja2.TemplateError, ValueError, TypeError)):
        processor.apply_chat_template(chat, chat_template=code, tokenize=True)


@pytest.mark.parametrize("code", YAML_CODE[:2])
def test_yaml_makes_no_objects(code, tmp_path):
    (tmp_path / "run.yaml").write_text(f"recipe: internvl2.5-8b-lora\nmodel: m\ndata: d\nseed: {code}\n")
    with pytest.raises(ValueError, match="not YAML"):
        read_options(tmp_path / "run.yaml")


# --- paths -----------------------------------------------------------------------------------------------------------


def test_links_do_not_leave_the_folder(tmp_path):
    (tmp_path / "key").write_text("secret")
    folder, target = tmp_path / "checkpoint", tmp_path / "out"
    folder.mkdir()
    (folder / "inside.txt").write_text("x")
    (folder / "link.txt").symlink_to("inside.txt")
    copy_file(folder, "link.txt", target / "link.txt")
    assert not (target / "link.txt").is_symlink()
    (folder / "README.md").symlink_to(tmp_path / "key")
    for copy in (lambda: copy_file(folder, "README.md", target / "a"), lambda: copy_auxiliary_files(folder, target)):
        with pytest.raises(ValueError, match="outside of the checkpoint"):
            copy()
    assert not (target / "a").exists()


def test_conversion_copies_no_linked_key(tmp_path, capsys):
    (tmp_path / "key").write_text("secret")
    shutil.copytree(golden_root() / "chat_qwen2", tmp_path / "checkpoint")
    (tmp_path / "checkpoint/notes.txt").symlink_to("../key")
    assert main(["convert", str(tmp_path / "checkpoint"), str(tmp_path / "out"), "--to", "hf"]) == 2
    assert "outside of the checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_cache_of_the_hub_is_made_of_links(tmp_path):
    snapshot = tmp_path / "models--a--b/snapshots/abc"
    snapshot.mkdir(parents=True)
    blob = tmp_path / "models--a--b/blobs/123"
    blob.parent.mkdir()
    blob.write_text("x")
    (snapshot / "notes.txt").symlink_to("../../blobs/123")
    copy_file(snapshot, "notes.txt", tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "x"
