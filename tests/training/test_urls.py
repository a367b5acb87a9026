# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""URLs in training data, wherever a row has them: never fetched unasked, and within bounds where that is allowed."""

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from transformers import AutoProcessor

from internvl_cli.arguments import VERB_ARGUMENTS, spell_out_fields
from tests.clips import clip_bytes
from transformers_internvl.cli import main
from transformers_internvl.cli.train import _options
from transformers_internvl.evaluation.data import read_pairs
from transformers_internvl.nano import nano_path
from transformers_internvl.training.data.dataset import ChatDataset
from transformers_internvl.training.data.records import DataSet, JsonlRows, SkipPolicy, TableRows
from transformers_internvl.training.data.rows import UnusableSample
from transformers_internvl.training.data.samples import SampleEncoder
from transformers_internvl.training.data.urls import UrlRules
from transformers_internvl.training.run.data import PairRows
from transformers_internvl.training.run.objectives import OBJECTIVES, chat_samples
from transformers_internvl.training.run.option_checks import check_options
from transformers_internvl.training.run.options import read_options

IMAGE = (nano_path().parent / "samples" / "count.png").read_bytes()
ANSWER = {"from": "gpt", "value": "Yo"}
HERE = UrlRules(hosts=["127.0.0.1"])


class Files(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        away = {"/away": f"http://localhost:{self.server.server_port}/p.png", "/round": "/round"}
        self.send_response(302 if self.path in away else 200)
        if self.path in away:
            self.send_header("Location", away[self.path])
        self.end_headers()
        if self.path.endswith("slow.png"):
            with suppress(BrokenPipeError):
                for _ in range(20):
                    self.wfile.write(b"\x89")
                    self.wfile.flush()
                    time.sleep(0.05)
            return
        if self.path.endswith("late.png"):
            time.sleep(0.25)
        self.wfile.write(self.server.clip if self.path.endswith(".mp4") else IMAGE)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    files = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    files.clip, files.asked = clip_bytes(range(0, 250, 30)), []
    threading.Thread(target=files.serve_forever, daemon=True).start()
    yield files
    files.shutdown()
    files.server_close()


@pytest.fixture
def place(server):
    server.asked.clear()
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(scope="module")
def encoder():
    return SampleEncoder(AutoProcessor.from_pretrained(nano_path()))


def asked(mark, **media):
    return {"conversations": [{"from": "human", "value": f"{mark}\nHi"}, ANSWER], **media}


def said(item, **media):
    user = {"role": "user", "content": [item, {"type": "text", "text": "Hi"}]}
    return {"messages": [user, {"role": "assistant", "content": "Yo"}], **media}


# What a row names -> the row, for the place of an image and of a video.
FORMS = {
    "image": lambda p, v: asked("<image>", image=p),
    "the second image": lambda p, v: asked("<image> <image>", image=[IMAGE, p]),
    "a cell of a table": lambda p, v: asked("<image>", images=[{"bytes": None, "path": p}]),
    "video": lambda p, v: asked("<video>", video=v),
    "frames": lambda p, v: asked("<video>", videos=[[IMAGE, p]]),
    "images beside messages": lambda p, v: said({"type": "image"}, images=[p]),
    "videos beside messages": lambda p, v: said({"type": "video"}, videos=[v]),
    **{f"item, {key}": lambda p, v, key=key: said({"type": "image", key: p}) for key in ("image", "url", "path")},
    "item, base64": lambda p, v: said({"type": "image", "base64": p}),
    "item, cell": lambda p, v: said({"type": "image", "image": {"bytes": None, "path": p}}),
    "item, cell as a URL": lambda p, v: said({"type": "image", "url": {"bytes": None, "path": p}}),
    "item, frames": lambda p, v: said({"type": "video", "video": [IMAGE, p]}),
    **{
        f"item, video, {key}": lambda p, v, key=key: said({"type": "video", key: v})
        for key in ("video", "url", "path")
    },
    "OpenAI's": lambda p, v: said({"type": "image_url", "image_url": {"url": p}}),
    "OpenAI's, short": lambda p, v: said({"type": "image_url", "image_url": p}),
    "preference": lambda p, v: {"question": "<image>\nHi", "chosen": "a", "rejected": "b", "image": p},
}


def only(row, encoder, **options):
    """The sample of a data set of one row."""
    return ChatDataset([DataSet("rows", TableRows("rows", [row], "pictures"))], encoder, **options)[0]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_row(form, server, place, encoder, tmp_path):
    row = FORMS[form](f"{place}/p.png", f"{place}/v.mp4")
    with pytest.raises(
        UnusableSample, match=r"rows, row 0: http://127.* is a URL, which is not fetched.*--allow-urls"
    ):
        only(row, encoder)
    with pytest.raises(UnusableSample, match=r"127.0.0.1 has no public address; `--allow-host 127.0.0.1` lets"):
        only(row, encoder, allow_urls=True)
    assert server.asked == []
    found = only(row, encoder, allow_urls=HERE)
    assert len(server.asked) == 1
    (tmp_path / "p.png").write_bytes(IMAGE)
    (tmp_path / "v.mp4").write_bytes(server.clip)
    expected = only(FORMS[form](str(tmp_path / "p.png"), str(tmp_path / "v.mp4")), encoder)
    assert found.keys() == expected.keys() and "pixel_values" in found
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_redirection_is_looked_at(server, place, encoder):
    with pytest.raises(UnusableSample, match="localhost has no public address"):
        only(asked("<image>", image=f"{place}/away"), encoder, allow_urls=HERE)
    assert server.asked == ["/away"]
    assert only(
        asked("<image>", image=f"{place}/away"), encoder, allow_urls=UrlRules(hosts={"127.0.0.1", "localhost"})
    )


def test_bytes_are_those_of_a_sample(place, encoder):
    row = asked("<image> <image>", image=[f"{place}/1.png", f"{place}/2.png"])
    assert only(row, encoder, allow_urls=UrlRules(bytes=2 * len(IMAGE), hosts=["127.0.0.1"]))
    with pytest.raises(UnusableSample, match=f"2.png has more than {len(IMAGE) - 1} bytes"):
        only(row, encoder, allow_urls=UrlRules(bytes=2 * len(IMAGE) - 1, hosts=["127.0.0.1"]))


def test_the_time_is_that_of_a_sample(place, encoder):
    begun = time.monotonic()
    with pytest.raises(UnusableSample, match="slow.png took longer than 0.2 s"):
        only(
            asked("<image>", image=f"{place}/slow.png"), encoder, allow_urls=UrlRules(seconds=0.2, hosts=["127.0.0.1"])
        )
    assert time.monotonic() - begun < 0.9


def test_two_images_share_the_time(place, encoder):
    row, rules = asked("<image> <image>", image=[f"{place}/late.png"] * 2), UrlRules(seconds=0.4, hosts=["127.0.0.1"])
    with pytest.raises(UnusableSample, match="late.png took longer than 0.4 s"):
        only(row, encoder, allow_urls=rules)
    assert only(row, encoder, allow_urls=UrlRules(hosts=["127.0.0.1"]))


def test_redirections_end(server, place, encoder):
    with pytest.raises(UnusableSample, match="redirected too often"):
        only(asked("<image>", image=f"{place}/round"), encoder, allow_urls=HERE)
    assert len(server.asked) == 5


def test_a_root_that_is_a_url_names_urls(server, place, encoder):
    rows = TableRows("rows", [asked("<image>", image="p.png")], f"{place}/pictures/")
    with pytest.raises(UnusableSample, match="p.png is a URL"):
        ChatDataset([DataSet("rows", rows)], encoder)[0]
    assert ChatDataset([DataSet("rows", rows)], encoder, allow_urls=HERE)[0] and server.asked == ["/pictures/p.png"]


def test_urls_are_left_out_like_other_samples(place, encoder):
    policy = SkipPolicy(1)
    assert only(asked("<image>", image=f"{place}/p.png"), encoder, policy=policy) is None
    assert "is a URL" in policy.skipped[0][1]


def test_pairs(server, place):
    sets = [DataSet("pairs", TableRows("pairs", [{"image": f"{place}/p.png", "caption": "a cat"}]))]
    with pytest.raises(UnusableSample, match="pairs, row 0: .*p.png is a URL"):
        PairRows(sets, SkipPolicy())[0]
    with pytest.raises(UnusableSample, match="no public address"):
        PairRows(sets, SkipPolicy(), allow_urls=True)[0]
    assert server.asked == []
    assert PairRows(sets, SkipPolicy(), allow_urls=HERE)[0]["image"].size


def test_lists_of_evaluation_name_files_only(place, tmp_path, server):
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"image": f"{place}/p.png", "caption": "a cat"}))
    with pytest.raises(ValueError, match="line 1: URLs are not fetched: expected the path of a file, got 'http"):
        read_pairs(tmp_path / "pairs.jsonl")
    assert server.asked == []


# --- the command ---


def parsed(*words):
    import argparse

    parser = argparse.ArgumentParser()
    VERB_ARGUMENTS["train"](parser)
    line = ["internvl2.5-1b-lora", "--model", "m", "--data", "d.jsonl", *words]
    return _options(parser.parse_args(spell_out_fields(line)))


def test_options_of_the_command():
    assert parsed().url_rules() is False and parsed("--no-allow-urls").url_rules() is False
    assert parsed("--allow-urls").url_rules() is True
    options = parsed("--allow-urls", "--allow-host", "a.example", "--allow-host=b.example", "--max-steps", "7")
    assert options.url_rules() == UrlRules(hosts=frozenset({"a.example", "b.example"}))
    assert options.recipe.max_steps == 7
    assert parsed("--allow-urls", "--set", "allow_hosts=a.example, b.example").url_rules() == options.url_rules()
    again = read_options("internvl2.5-1b-lora", options.as_mapping() | {"recipe": "internvl2.5-1b-lora"})
    assert again.url_rules() == options.url_rules()
    with pytest.raises(ValueError, match="`allow_hosts` does nothing without `allow_urls`"):
        check_options(parsed("--allow-host", "a.example"))


@pytest.mark.parametrize("allowed", [False, True])
def test_options_reach_the_data(allowed, tmp_path, encoder):
    for name, row in (("chat", asked("<image>", image="x")), ("pairs", {"image": "x", "caption": "c"})):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    fields = {"model": "m", "data": str(tmp_path / "chat.jsonl"), "eval_data": str(tmp_path / "chat.jsonl")}
    options = read_options("internvl2.5-1b-lora", {**fields, "allow_urls": allowed})
    chats = [make(options, encoder.processor, 0) for make in (chat_samples, OBJECTIVES["sft"].evaluates)]
    fields = dict.fromkeys(("data", "eval_data"), str(tmp_path / "pairs.jsonl"))
    options = read_options("internvl-14b-contrastive", {"model": "m", **fields, "allow_urls": allowed})
    row = OBJECTIVES["contrastive"]
    processor = AutoProcessor.from_pretrained(nano_path())
    pairs = [row.read(options, processor, 0).samples, row.evaluates(options, processor, 0)]
    assert [data.url_rules for data in (*chats, *pairs)] == [UrlRules() if allowed else None] * 4


def test_a_run_ends_in_one_line(place, server, tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text(json.dumps(asked("<image>", image=f"{place}/p.png")) + "\n")
    words = ["train", "internvl2.5-1b-lora", "--model", str(nano_path()), "--data", str(tmp_path / "rows.jsonl")]
    assert main([*words, "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "rows.jsonl, line 1: http" in error and "--allow-urls" in error
    assert main([*words, "--dry-run", "--allow-urls"]) == 2 and "--allow-host 127.0.0.1" in capsys.readouterr().err
    assert server.asked == []


def test_rows_of_a_file_keep_the_place_of_urls(place, encoder, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(asked("<image>", image=f"{place}/p.png")) + "\n")
    data = ChatDataset([DataSet("rows", JsonlRows(tmp_path / "rows.jsonl", str(tmp_path)))], encoder, allow_urls=HERE)
    assert "pixel_values" in data[0]
