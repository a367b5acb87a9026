# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The pages on training are executed, shortened, on the embedded model."""

import io
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline

from lab.nano.pairs import draw_pairs
from transformers_internvl.cli import main
from transformers_internvl.conversion import add_resolution_router
from transformers_internvl.nano import nano_path, sample_images

DOCS = Path(__file__).resolve().parent.parent / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def drawn_data(tmp_path, monkeypatch):
    """`meta.json` and what it names, in the form of the page."""
    monkeypatch.chdir(tmp_path)
    meta, line = (json.loads(block) for block in blocks("train-a-chat-model.md", "json"))
    (tmp_path / meta["pairs"]["root"]).mkdir()
    rows = []
    for index, pair in enumerate(draw_pairs("docs")):
        pair.image.save(tmp_path / meta["pairs"]["root"] / f"{index}.png")
        question, answer = line["conversations"]
        conversation = [question, {**answer, "value": pair.caption}]
        rows.append(json.dumps({**line, "id": index, "image": f"{index}.png", "conversations": conversation}))
    assert len(rows) == meta["pairs"]["length"] and line["conversations"][1]["value"] in "".join(rows)
    (tmp_path / meta["pairs"]["annotation"]).write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def test_a_chat_model_is_trained_as_the_page_says(drawn_data, tmp_path, capsys):
    (code,) = blocks("train-a-chat-model.md", "python")
    short = code.replace("max_steps=60", "max_steps=3")
    assert short != code
    names: dict = {}
    exec(compile(short, "train-a-chat-model.md", "exec"), names)
    assert "adapters" in capsys.readouterr().out
    losses = [row["loss"] for row in names["trainer"].state.log_history if "loss" in row]
    assert len(losses) == 3 and all(0 < loss < 100 for loss in losses)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    merged = pipeline("image-text-to-text", model="merged", processor=AutoProcessor.from_pretrained("merged"))
    content = [{"type": "image", "path": "images/0.png"}, {"type": "text", "text": "What is drawn?"}]
    (answer,) = merged(text=[{"role": "user", "content": content}], return_full_text=False, max_new_tokens=4)
    assert isinstance(answer["generated_text"], str)


def test_tiles_are_compressed_as_the_page_says(tmp_path, monkeypatch, capsys):
    """On the embedded model with a router that has learned nothing."""
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("flash.md", "python")
    torch.manual_seed(0)
    model = add_resolution_router(AutoModelForImageTextToText.from_pretrained(nano_path()), 0.3, 0.0)
    model.save_pretrained("flash")
    AutoProcessor.from_pretrained(nano_path()).save_pretrained("flash")
    Image.linear_gradient("L").resize((300, 200)).convert("RGB").save("photo.jpg")
    short = code.replace('"OpenGVLab/InternVL3_5-1B-Flash"', '"flash"').replace(
        '"max_new_tokens": 64', '"max_new_tokens": 3'
    )
    names: dict = {}
    exec(compile(short, "flash.md", "exec"), names)
    assert "tensor([" in capsys.readouterr().out
    assert not names["mine"].compressed_tiles.any()
    assert torch.equal(names["mine"].sequences, names["whole"].sequences)


def test_image_tokens_are_pruned_as_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("token-pruning.md", "python")
    Image.linear_gradient("L").resize((300, 200)).convert("RGB").save("photo.jpg")
    name, length = '"OpenGVLab/InternVL3_5-1B-HF"', '"max_new_tokens": 64'
    assert name in code and length in code
    names: dict = {}
    short = code.replace(name, "transformers_internvl.nano.nano_path()").replace(length, '"max_new_tokens": 3')
    exec(compile(short, "token-pruning.md", "exec"), names)
    assert "tensor([[" in capsys.readouterr().out
    assert names["features"].kept_tokens.shape == (len(names["inputs"]["pixel_values"]), 4)
    expected = names["model"].generate(**names["inputs"], **names["options"], kept_tokens=4, pruning="divprune")
    assert torch.equal(names["again"], expected)


def test_adapters_are_kept_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = blocks("lora.md", "python")[0]
    variables: dict = {}
    exec(code, variables)
    assert type(variables["again"]) is type(variables["merged"])
    assert (tmp_path / "adapter" / "adapter_config.json").is_file() and (tmp_path / "merged" / "config.json").is_file()


def test_a_model_is_compiled_and_exported_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("compile.md", "python")
    names: dict = {}
    exec(compile(code, "compile.md", "exec"), names)
    answers = {name: names[name].tolist() for name in ("static", "chunked", "lookup", "compiled")}
    assert all(answer == answers["static"] for answer in answers.values()), answers
    assert (tmp_path / "exported" / "model.pt2").is_file()


def test_a_conversation_in_a_terminal_is_as_the_page_shows_it(capsys, monkeypatch):
    monkeypatch.chdir(sample_images()["number"].parent)
    (shown,) = blocks("chat.md", "console")
    command, *lines = shown.splitlines()
    typed = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*typed, "What is it?"])))
    assert main(shlex.split(command)[2:]) == 0
    assert capsys.readouterr().out.splitlines() == [line for line in lines if not line.startswith("> ")]


def test_attention_is_drawn_as_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,), (shown,) = blocks("looking.md", "python"), blocks("looking.md", "text")
    exec(compile(code, "looking.md", "exec"), {})
    assert capsys.readouterr().out.startswith(shown)
    shutil.copy(sample_images()["number"], "number.png")
    inspect, printed = blocks("looking.md", "console")[0].split("\n", 1)
    assert main(shlex.split(inspect)[2:]) == 0 and capsys.readouterr().out == printed
    command = blocks("looking.md", "bash")[0].splitlines()[1]
    Path("look.png").unlink()
    assert main(shlex.split(command)[1:]) == 0 and Path("look.png").is_file()
