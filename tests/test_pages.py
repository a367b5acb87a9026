# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Pages for users are executed, on the embedded model or golden checkpoints: they print what they say."""

import importlib.util
import json
import re
import shlex
import shutil

import pytest
import torch
import yaml

from lab.nano.pairs import draw_pairs
from tests.forked import TRANSFORMERS
from tests.parity.golden import golden_root
from tests.training.streamed import png, rows, write_lines, write_tar
from transformers_internvl.cli import main
from transformers_internvl.nano import nano_path, sample_images
from transformers_internvl.training.data.streamed_files import read_streams

from .test_docs import DOCS, blocks


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A working directory with `image.jpg`, which is a PNG; readers look at the content."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(sample_images()["count"], "image.jpg")


def test_inference_prints_what_it_says(capsys):
    code = "\n".join(blocks("inference.md", "python"))
    expected = [line.removeprefix("# ") for line in code.splitlines() if line.startswith("# ")]
    assert len(expected) == 13
    names: dict = {}
    exec(compile(code, "inference.md", "exec"), names)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == expected
    assert names["model"].prefix_cache is not None and names["streamed"].shape[0] == 1


def test_rewards_are_as_the_page_says(capsys):
    (code,) = blocks("reinforcement.md", "python")
    exec(compile(code, "reinforcement.md", "exec"), {})
    expected = [line.removeprefix("# ") for line in code.splitlines() if line.startswith("# ")]
    assert capsys.readouterr().out.splitlines() == expected


def test_the_snippet_of_a_model_card_runs(photo):
    (code,) = blocks("from-remote-code.md", "python")
    code = code.replace('"OpenGVLab/InternVL2_5-8B"', repr(str(golden_root() / "chat_internlm2")))
    names: dict = {}
    exec(compile(code.replace("64", "4"), "from-remote-code.md", "exec"), names)
    assert names["history"] == [(names["question"], names["answer"])] and isinstance(names["further"], str)
    assert names["both"] == [names["answer"]] * 2


def test_features_are_as_the_page_says(photo, capsys):
    names: dict = {}
    chat, vectors, tower, shorter, tokens = blocks("features-and-retrieval.md", "python")
    folders = {"InternVL-14B-224px": "internvl_14b", "InternViT-300M-448px": "intern_vit_300m"}
    for code in (chat, vectors, tower, tokens):
        for release, folder in folders.items():
            code = code.replace(f'"OpenGVLab/{release}"', repr(str(golden_root() / folder)))
        exec(compile(code.replace("[12, 24]", "[1, 2]"), "features-and-retrieval.md", "exec"), names)
        if code.startswith("import torch"):
            scores = names["model"](**names["pixels"], **names["texts"], mode="InternVL-G").logits_per_image
            scale = names["model"].logit_scale.exp()
            torch.testing.assert_close(names["similarity"] * scale, scores, rtol=1e-4, atol=1e-4)
    assert tuple(names["tokens"].shape) == (5, 16, 160) and "(5, 16, 160)" in capsys.readouterr().out
    assert len(names["maps"].out_indices) == 2 and names["probe"].config.num_labels == 10
    assert "resize_position_table" in shorter  # the released tower is needed; tests/conversion/test_operations.py


def test_data_are_streamed_as_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (meta,) = (json.loads(block) for block in blocks("stream-data.md", "json"))
    for folder in ("shards", "captions"):
        (tmp_path / folder).mkdir()
    written = rows(4)
    write_lines(tmp_path / "rows.jsonl", written)
    for number, row in enumerate(written):
        write_tar(tmp_path / f"shards/{number:03d}.tar", [row])
    write_tar(tmp_path / "captions/0.tar", [{"image": {"bytes": png(0)}, "caption": "a picture"}])
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    assert [part.weight for part in read_streams("meta.json")] == [3, 1]
    quick = "--no-bf16 --no-gradient-checkpointing --max-steps 1 --batch-size 1"
    lines = "".join(blocks("stream-data.md", "bash")).replace("OpenGVLab/InternVL3_5-1B", str(nano_path()))
    lines += (
        f"internvl train internvl2.5-1b-lora --model {nano_path()} --data meta.json --max-steps 1000 --output run3\n"
    )
    for line in lines.replace("--max-steps 1000", quick).splitlines():
        main(shlex.split(line)[1:])
    shown = capsys.readouterr().out
    assert "not known" in shown and "tokens of a sample" in shown
    assert (tmp_path / "mixture.png").stat().st_size > 1000
    assert all((tmp_path / run / "log.jsonl").is_file() for run in ("run", "run2", "run3"))
    names: dict = {}
    for code in blocks("stream-data.md", "python"):
        code = code.replace("OpenGVLab/InternVL3_5-1B", str(nano_path())).replace("max_steps=2", "max_steps=1")
        exec(compile(code.replace("num_workers=1", "num_workers=0"), "stream-data.md", "exec"), names)
    assert names["packs"].data.shuffle_buffer == 5000


def test_a_folder_of_images_becomes_a_model_as_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    row, question = (json.loads(block) for block in blocks("fine-tune.md", "json"))
    rows = []
    for index, pair in enumerate(draw_pairs("docs")[:4]):
        pair.image.save(f"images/{index}.png")
        human, answer = row["conversations"]
        conversations = [human, {**answer, "value": pair.caption}]
        rows.append(json.dumps({**row, "image": f"{index}.png", "conversations": conversations}))
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "questions.jsonl").write_text(json.dumps(question) + "\n", encoding="utf-8")
    lines = "".join(blocks("fine-tune.md", "bash")).replace("OpenGVLab/InternVL3_5-1B", str(nano_path())).splitlines()
    commands = [shlex.split(line)[1:] for line in lines]
    assert [command[0] for command in commands] == [
        "train",
        "train",
        "chat",
        "evaluate",
        "surgery",
        "convert",
        "serve",
    ]
    for command in commands[:-1]:
        assert main(command) == 0, command
    assert "adapters" in capsys.readouterr().out and (tmp_path / "scores" / "report.md").is_file()
    assert (tmp_path / "merged" / "model.safetensors").is_file()
    assert json.loads((tmp_path / "merged-hf" / "config.json").read_text())["model_type"] == "internvl"


def test_tools_that_look_up_class_names_get_ours():
    (code,) = blocks("ecosystem.md", "python")
    code += """
from transformers_internvl.nano import nano_path
from trl.trainer.utils import create_model_from_path
from transformers.cli.serving.model_manager import ModelManager

print(type(create_model_from_path(str(nano_path()))).__module__)
for part in ModelManager(device="cpu").load_model_and_processor(str(nano_path())):
    print(type(part).__module__)
"""
    found = [line for line in TRANSFORMERS.run(code).stdout.splitlines() if line.startswith("transformers")]
    assert len(found) == 3 and all(line.startswith("transformers_internvl.") for line in found), found


def test_memory_of_supported_models_is_what_is_planned():
    spec = importlib.util.spec_from_file_location("memory_table", DOCS / "memory_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / "supported-models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert rows == list(module.RELEASES)
    for name in ("InternVL2-1B", "Mono-InternVL-2B", "InternVL3_5-1B-Flash"):
        assert module.row(name) in page.splitlines()


def test_the_image_of_the_readme_is_drawn_from_the_package(tmp_path):
    spec = importlib.util.spec_from_file_location("draw_example", DOCS / "images" / "draw_example.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawing = module.draw(sample_images()["number"], "7488")
    assert drawing.size == module.Image.open(DOCS / "images" / "example.png").size


def pages(nav) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    values = nav.values() if isinstance(nav, dict) else nav
    return [page for value in values for page in pages(value)]


def test_every_page_is_in_the_navigation_once():
    found = pages(yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    own = {"index.md", "benchmarks.md", "contributing.md", "changelog.md"}
    files = {page.name for page in DOCS.glob("*.md")}
    package = DOCS.parent / "src" / "transformers_internvl"
    packages = {path.parent.name for path in (*package.glob("__init__.pyi"), *package.glob("*/__init__.pyi"))}
    assert len(found) == len(set(found))
    assert set(found) == files | own | {f"api/{name}.md" for name in packages}
