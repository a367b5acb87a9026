# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl chat`: one answer, a conversation, and errors in one line."""

import io
import re

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.clips import write_clip
from tests.parity.golden import golden_root
from transformers_internvl.cli import VERBS, main
from transformers_internvl.cli.chat import COMMANDS
from transformers_internvl.cli.conversation import Conversation, _Watch

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


def test_one_answer_about_an_image(picture, capsys):
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


class Terminal(io.StringIO):
    def isatty(self):
        return True


def answers(out):
    """What was answered in a terminal, whose prompt is `> `."""
    return [line.strip() for line in out.split("> ") if line.strip()]


def test_commands_in_a_terminal(picture, video, capsys, monkeypatch):
    lines = [
        f"/image '{picture}'",
        "What is it?",
        "//reset",
        "/reset",
        f"/video {video}",
        "What happens?",
        "/exit",
        "?",
    ]
    monkeypatch.setattr("sys.stdin", Terminal("\n".join(lines)))
    code, out, err = run(capsys)
    assert code == 0 and err == "Ask a question, or /help.\n"
    first = [user({"type": "image", "path": str(picture)}, "What is it?")]
    answer = expected_answer(first).strip()
    said = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
    second = expected_answer([*first, said, user("/reset")]).strip()
    third = expected_answer([user({"type": "video", "path": str(video)}, "What happens?")]).strip()
    assert answers(out) == [answer, second, third]


@pytest.mark.parametrize(
    "line, reason",
    [
        ("/imag a.png", "/imag is no command, did you mean /image?"),
        ("/home/me/a.png", "/home/me/a.png is no command, the commands are /image, /video, /reset, /help, /exit."),
        ("/", "/ is no command"),
        ("/image", "/image needs PATH_OR_URL."),
        ("/image no.png", "cannot use the image no.png: Cannot open the image: Neither a file"),
        ("/video no.mp4", "cannot use the video no.mp4: there is no such file or folder."),
        ("/reset all", "/reset takes nothing behind it, got 'all'."),
    ],
)
def test_wrong_commands_go_on_in_a_terminal_and_end_a_script(line, reason, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(Conversation, "_connect", lambda *_: None)
    monkeypatch.setattr(Conversation, "ask", lambda _, question: asked.append(question))
    monkeypatch.setattr("sys.stdin", Terminal(f"{line}\nHello\n"))
    code, _, err = run(capsys)
    assert code == 0 and asked == ["Hello"] and f"internvl chat: {reason}" in err and err.count("\n") == 2
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{line}\nHello\n"))
    code, out, err = run(capsys)
    assert code == 2 and asked == ["Hello"] and out == "" and reason in err and err.count("\n") == 1


def test_a_question_without_an_answer_is_taken_back(picture, capsys, monkeypatch):
    conversations = []

    def stop(conversation):
        conversations.append((conversation, len(conversation.messages)))
        raise KeyboardInterrupt

    monkeypatch.setattr(Conversation, "_connect", lambda *_: None)
    monkeypatch.setattr(Conversation, "_answer", stop)
    monkeypatch.setattr("sys.stdin", Terminal("What is it?\nAnd now?\n"))
    code, _, err = run(capsys, "--image", picture, "--system", "Be brief.")
    assert code == 0 and err.count("stopped; the question is taken back") == 2
    assert [length for _, length in conversations] == [2, 2]
    conversation = conversations[0][0]
    assert [message["role"] for message in conversation.messages] == ["system"]
    assert conversation.media == [{"type": "image", "path": str(picture)}]


def test_help_shows_every_command(capsys, monkeypatch):
    monkeypatch.setattr(Conversation, "_connect", lambda *_: None)
    monkeypatch.setattr("sys.stdin", io.StringIO("/help\n"))
    code, out, _ = run(capsys)
    assert code == 0 and all(f"/{name}" in out and does in out for name, (_, does) in COMMANDS.items())


def test_sampled_answers_and_their_seed(capsys):
    def sampled(*arguments):
        code, out, err = run(capsys, "--temperature", 1.5, *arguments, "Hello")
        assert (code, err) == (0, "")
        return out

    plain = run(capsys, "Hello")[1]
    several = {sampled("--seed", seed) for seed in range(3)}
    assert len(several) == 3 and sampled("--seed", 0) in several
    assert sampled("--top-k", 1) == sampled("--top-p", 1e-6) == plain
    assert run(capsys, "--temperature", 0, "Hello")[1] == plain


def test_figures_of_an_answer(capsys):
    code, _, err = run(capsys, "--stats", "Hello")
    assert code == 0 and re.fullmatch(r"\[6 tokens, \d+\.\d tokens/s, first after \d+\.\d\d s\]\n", err)
    assert run(capsys, "--no-stats", "Hello")[2] == ""


@pytest.mark.parametrize(
    ("times", "tokens", "said"),
    [
        ([10.0, 12.0, 14.0], 5, "[5 tokens, 2.0 tokens/s, first after 2.00 s]"),
        ([10.0, 12.0, 14.0], 2, "[2 tokens, 0.5 tokens/s, first after 2.00 s]"),
        ([10.0, 12.0, 14.0], 1, "[1 token, first after 2.00 s]"),
        ([10.0, 12.0, 12.0], 5, "[5 tokens, first after 2.00 s]"),  # no time between them that a clock can see
        ([10.0, 12.0, 14.0], None, "[tokens unknown, first after 2.00 s]"),
        ([10.0, None, 14.0], 0, "[0 tokens, first after 4.00 s]"),
    ],
)
def test_how_fast_an_answer_came(times, tokens, said, capsys, monkeypatch):
    clock = iter([time for time in times if time is not None])
    monkeypatch.setattr("transformers_internvl.cli.conversation.perf_counter", lambda: next(clock))
    watch = _Watch()
    if times[1] is not None:
        watch.tick()
        watch.tick()  # later pieces do not count
    watch.report(tokens)
    assert capsys.readouterr().err == f"{said}\n"
