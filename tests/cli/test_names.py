# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a user types for a checkpoint, a release, a number format or a server; what is wrong is said in one line."""

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from internvl_cli.types import dtype_name
from transformers_internvl.cli import main
from transformers_internvl.cli.errors import UserError
from transformers_internvl.cli.names import checkpoint, find_release, server_url
from transformers_internvl.nano import nano_path, sample_images

IMAGE = str(sample_images()["number"])
# Verb -> its arguments; NAME is the checkpoint's place.
VERBS = {
    "caption": ["--model", "NAME", IMAGE],
    "chat": ["--model", "NAME", "Hi"],
    "convert": ["NAME", "new", "--to", "original"],
    "convert --like": [str(nano_path()), "new", "--to", "original", "--like", "NAME"],
    "inspect": ["--model", "NAME", IMAGE],
    "plan": ["NAME", "--gpus", "1GB"],
    "profile": ["NAME"],
    "serve": ["--model", "NAME", "--port", "0"],
    "surgery merge-lora": ["NAME", "new"],
    "surgery extract-tower": ["NAME", "new"],
    "surgery replace-tower": [str(nano_path()), "NAME", "new"],
    "train": ["internvl2.5-8b-lora", "--model", "NAME", "--data", "meta.json", "--output", "new", "--dry-run"],
    "verify": ["NAME", str(nano_path())],
    "verify B": [str(nano_path()), "NAME"],
}
WHOLE = ["convert", "convert --like", "plan", "profile", "surgery extract-tower", "surgery replace-tower", "verify"]


def run(capsys, verb, name):
    words = [word for word in verb.split() if word not in ("--like", "B")]
    code = main([*words, *(str(name) if word == "NAME" else word for word in VERBS[verb])])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    model = AutoModelForImageTextToText.from_pretrained(nano_path())
    get_peft_model(model, LoraConfig(r=2, target_modules=r".*language_model.*q_proj")).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("verb", VERBS)
def test_a_path_that_is_not_there(verb, capsys):
    code, out, err = run(capsys, verb, "/nope")
    assert (code, out) == (2, "")
    assert err.startswith(f"internvl {verb.split()[0]}: cannot ") and err.count("\n") == 1
    assert err.endswith(": There is no folder '/nope', and it is no Hub id either (OWNER/NAME).\n")


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("plan", "profile")])
def test_a_release_without_its_owner(verb, capsys):
    code, _, err = run(capsys, verb, "internvl3-8b")
    assert code == 2 and err.count("\n") == 1
    assert err.endswith("a Hub id has an owner: did you mean OpenGVLab/InternVL3-8B?\n")


@pytest.mark.parametrize("verb", WHOLE)
def test_an_adapter_where_a_whole_model_is_needed(verb, capsys, adapter):
    code, _, err = run(capsys, verb, adapter)
    assert code == 2 and err.count("\n") == 1
    assert "holds an adapter and no model of its own: merge it into its base first, with `internvl surgery" in err
    assert f"merge-lora {adapter} NEW_FOLDER`" in err


def test_an_adapter_chats_with_its_bases_processor(capsys, adapter):
    assert main(["chat", "--model", str(adapter), "--image", IMAGE, "What number is written in the image?"]) == 0
    assert capsys.readouterr().out.strip() == "7488"


@pytest.mark.parametrize("verb", ["plan", "profile"])
def test_releases_in_any_case_and_what_was_meant(verb, capsys):
    more = ["--gpus", "80GB"] if verb == "plan" else []
    assert main([verb, "internvl3-8B", *more]) == 0
    first = capsys.readouterr().out
    assert main([verb, "InternVL3-8B", *more]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == first.splitlines()[1:]
    assert main([verb, "InternVL3-80B", *more]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Did you mean InternVL3-8B" in said
    assert main([verb, "OpenGVLab/InternVL3-80B", *more]) == 2
    assert "Did you mean OpenGVLab/InternVL3-8B" in capsys.readouterr().err


def test_a_folder_that_was_misspelt(capsys):
    assert main(["chat", "--model", "my-modle", "Hi"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.endswith(" There is no folder 'my-modle' either.\n")


def test_plan_says_by_its_exit_code_whether_it_fits(capsys):
    small = ["plan", "InternVL3-1B", "--tiles", "1", "--context", "300", "--new-tokens", "4", "--gpus"]
    for more in ([], ["--json"]):
        assert main([*small, "80GB", *more]) == 0
        assert main([*small, "1GB", *more]) == 1
    capsys.readouterr()


@pytest.mark.parametrize(
    ("short", "name"),
    [("bf16", "bfloat16"), ("FP16", "float16"), ("half", "float16"), ("fp32", "float32"), ("torch.int8", "int8")],
)
def test_number_formats_by_short_names(short, name):
    assert dtype_name(short) == name


def test_verbs_take_short_names(capsys):
    question = ["--image", IMAGE, "What number is written in the image?"]
    assert main(["chat", "--dtype", "bf16", *question]) == 0
    assert capsys.readouterr().out.strip() == "7488"
    assert main(["plan", "InternVL3-1B", "--dtype", "bf16", "--gpus", "80GB"]) == 0
    assert "InternVL3-1B, bfloat16;" in capsys.readouterr().out
    assert main(["chat", "--dtype", "bf17", *question]) == 2
    assert "--dtype bf17 is unknown; expected auto, float32, float16 or bfloat16." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("localhost:8000/v1/", "http://localhost:8000/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("https://host/v1/models", "https://host/v1"),
        ("https://host/openai/v2", "https://host/openai/v2"),
    ],
)
def test_servers_by_their_address(typed, url):
    assert server_url(typed) == url


@pytest.mark.parametrize("typed", ["", "ftp://host", "http://", "http://host?x=1"])
def test_what_is_no_address(typed):
    with pytest.raises(UserError, match="is like http://127.0.0.1:8000/v1"):
        server_url(typed)


def test_names_that_may_be_checkpoints(adapter):
    for name in (str(nano_path()), "OpenGVLab/InternVL3-8B", "me/model.v1_x", "gpt2", IMAGE):
        assert checkpoint(name) == name
    assert checkpoint(str(adapter), adapters=True) == str(adapter)
    for name in ("./nope", "a/b/c", "nope/", "no pe", "~/nope", ""):
        with pytest.raises(ValueError, match="There is no folder"):
            checkpoint(name)
    assert find_release("opengvlab/internvl2_5-8b") == "InternVL2_5-8B" and find_release("InternVL9") is None
