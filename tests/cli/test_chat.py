# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl chat`: one answer, a conversation, and errors in one line."""

import io

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.clips import write_clip
from tests.parity.golden import golden_root
from transformers_internvl.cli import VERBS, main

MODEL = str(golden_root() / "chat_qwen2")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.linear_gradient("L").resize((120, 60)).convert("RGB").save(path)
    return path


def run(capsys, *arguments):
    code = main(["chat", "--model", MODEL, "--max-new-tokens", "6", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def expected_answer(messages, **processor_kwargs):
    processor = AutoProcessor.from_pretrained(MODEL)
    model = AutoModelForImageTextToText.from_pretrained(MODEL)
    inputs = processor.apply_chat_template(
        messages,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs=processor_kwargs,
    )
    ids = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    return processor.decode(ids, skip_special_tokens=True)


def user(*content):
    return {"role": "user", "content": [*content[:-1], {"type": "text", "text": content[-1]}]}


def test_one_answer_about_a_picture(picture, capsys):
    code, out, err = run(capsys, "--image", picture, "--max-patches", 2, "--dtype", "float32", "What is it?")
    assert (code, err) == (0, "")
    image = {"type": "image", "path": str(picture)}
    assert out.strip() == expected_answer([user(image, "What is it?")], max_patches=2).strip()
    assert out.endswith("\n")


def test_text_alone_and_system_message(capsys):
    code, out, _ = run(capsys, "--system", "Be brief.", "Hello")
    system = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    assert code == 0 and out.strip() == expected_answer([system, user("Hello")]).strip()


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, range(0, 240, 40))
    return path


def test_video(video, capsys):
    code, out, err = run(capsys, "--video", video, "What happens?")
    assert (code, err) == (0, "")
    assert out.strip() == expected_answer([user({"type": "video", "path": str(video)}, "What happens?")]).strip()


def test_conversation_from_stdin(picture, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("What is it?\n\nAnd its color?\n"))
    code, out, err = run(capsys, "--image", picture)
    assert (code, err) == (0, "")
    first = [user({"type": "image", "path": str(picture)}, "What is it?")]
    answer = expected_answer(first).strip()
    said = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
    second = expected_answer([*first, said, user("And its color?")]).strip()
    assert out.strip() == f"{answer}\n{second}"


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--image", "missing.png", "What?"], "missing.png"),
        (["--image", "text.png", "What?"], "text.png"),
        (["--device", "nonsense", "What?"], "--device nonsense cannot be used here"),
        (["--dtype", "float99", "What?"], "--dtype float99 is unknown"),
        (["--model", "no/such/model", "What?"], "cannot load the processor of no/such/model"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, reason, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.count("\n") == 1 and err.startswith("internvl chat: ") and reason in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments", [[], ["sing"], ["chat", "--max-new-tokens", "many"], ["chat", "--max-patches", "0"]]
)
def test_wrong_usage_is_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    captured = capsys.readouterr()
    assert error.value.code == 2
    assert captured.out == "" and captured.err.count("\n") == 1 and "--help" in captured.err


def test_help_lists_the_verbs(capsys):
    with pytest.raises(SystemExit) as error:
        main(["--help"])
    assert error.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(verb in out and text in out for verb, text in VERBS.items())


def test_ctrl_c_ends_quietly(capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("transformers_internvl.cli.chat.Conversation", interrupt)
    assert main(["chat", "--model", MODEL, "What?"]) == 130
    assert capsys.readouterr().err == ""


def test_bugs_keep_their_traceback(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr("transformers_internvl.cli.chat.Conversation", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["chat", "--model", MODEL, "What?"])


def test_dtype_reaches_the_model(capsys, monkeypatch):
    loaded = {}

    def load(name, dtype):
        loaded["dtype"] = dtype
        raise ValueError("stop here")

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", load)
    code, _, err = run(capsys, "--dtype", "bfloat16", "What?")
    assert code == 2 and "stop here" in err and loaded["dtype"] is torch.bfloat16
