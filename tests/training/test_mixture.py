# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The report of a mixture: shares, lengths, and what a run sees."""

import pytest

from tests.training.drawn import short, write_data
from tests.training.kills import conversations, samples
from tests.training.streamed import rows, write_lines, write_tar
from transformers_internvl.cli import main
from transformers_internvl.training.data.dataset import ChatDataset
from transformers_internvl.training.data.records import DataSet
from transformers_internvl.training.data.shards import FileShards
from transformers_internvl.training.data.streamed import StreamedDataset
from transformers_internvl.training.data.streams import StreamSet
from transformers_internvl.training.run.mixture import draw_mixture, mixture_of, mixture_report
from transformers_internvl.training.run.options import read_options

LORA = "internvl2.5-1b-lora"


@pytest.fixture(scope="module")
def report():
    """Of texts that come one and a half times, and pictures."""
    return mixture_report(samples(10, 5), seen=40)


def test_shares_of_sets_and_modalities(report):
    texts, pictures = report.sets
    data = samples(10, 5)
    of_pictures = [data.encode(1, number, 0, 0) for number in range(5)]
    assert sorted(pictures.tokens) == sorted(len(sample["input_ids"]) for sample in of_pictures)
    assert sorted(pictures.tiles) == sorted(len(sample["pixel_values"]) for sample in of_pictures)
    assert sum(pictures.supervised) == sum(int((sample["labels"] >= 0).sum()) for sample in of_pictures)
    assert report.shares("samples") == {"t": 0.75, "i": 0.25} and report.shares("tiles") == {"t": 0.0, "i": 1.0}
    tokens = {"t": 0.75 * texts.mean("tokens"), "i": 0.25 * pictures.mean("tokens")}
    assert report.shares("tokens")["i"] == pytest.approx(tokens["i"] / sum(tokens.values()))
    assert report.modality_shares("samples") == pytest.approx({"text": 0.75, "image": 0.25})
    assert report.entries == 20 and report.seen_of(texts) == 30 and report.passes(texts) == 3
    assert report.passes(pictures) == 2


def test_lengths(report):
    bars = report.histogram("tokens", bins=3)
    assert len(bars) <= 3 and sum(share for _, _, share in bars) == pytest.approx(1)
    assert all(
        begin < end and (one[1] == other[0])
        for begin, end, _ in bars
        for one, other in zip(bars, bars[1:], strict=False)
    )
    whole = report.histogram("tiles")
    assert whole[0] == (0, 1, pytest.approx(0.75))
    longest = max(max(part.tokens) for part in report.sets)
    assert bars[-1][0] <= longest < bars[-1][1]


def test_streams_and_rows_that_cannot_be_used(tmp_path):
    encoder = samples().encoder
    tar = write_tar(tmp_path / "a.tar", rows(6))
    lines = write_lines(tmp_path / "b.jsonl", ["{broken", *rows(4, 1)[:2]])
    sets = [StreamSet("a", FileShards([tar]), weight=3), StreamSet("b", FileShards([lines]), weight=1)]
    found = mixture_report(StreamedDataset(sets, encoder), rows=4, seen=8)
    a, b = found.sets
    assert (a.share, b.share, a.rows, found.entries) == (0.75, 0.25, None, None) and a.looked_at == 4
    assert len(b.unusable) == 1 and "line 1" in b.unusable[0][0] and found.passes(a) is None
    assert found.seen_of(a) == 6 and set(a.modalities) == {"text", "image"}
    with pytest.raises(ValueError, match="None of 1 rows of set 'c' can be used .*broken.jsonl, line 1"):
        path = write_lines(tmp_path / "broken.jsonl", ["{broken}"])
        mixture_report(StreamedDataset([StreamSet("c", FileShards([path]))], encoder))


def test_what_runs_see(tmp_path):
    folder = write_data(tmp_path / "data", 6)
    steps = mixture_of(read_options(LORA, short(folder, "meta.json")), rows=2)
    assert steps.seen == 4 and [part.rows for part in steps.sets] == [6, 6]
    epochs = mixture_of(read_options(LORA, short(folder, "meta.json", max_steps=None, epochs=3)), rows=2)
    assert epochs.seen == 27 and epochs.passes(epochs.sets[0]) == pytest.approx(3)
    packed = mixture_of(read_options(LORA, short(folder, packed_tokens=1000, packed_tiles=100)), rows=2)
    assert packed.seen == pytest.approx(2 * 2 * 1000 / packed.sets[0].mean("tokens"))
    with pytest.raises(ValueError, match="pairs, which are not mixed"):
        mixture_of(read_options("internvl-14b-contrastive", short(folder, "pairs.jsonl")))


def test_pictures_and_tables(report, tmp_path, capsys):
    draw_mixture(report, tmp_path / "mixture.png")
    assert (tmp_path / "mixture.png").read_bytes().startswith(b"\x89PNG")
    data = ChatDataset([DataSet("t", conversations("t", 3, False))], samples().encoder)
    assert mixture_report(data).modality_shares("tokens") == {"text": 1.0}
    assert main(["train", LORA, "--mixture", "--model", "x", "--data", "y"]) == 2
    assert "--mixture needs --dry-run" in capsys.readouterr().err
    assert main(["train", LORA, "--dry-run", "--plot", "x.png", "--model", "x", "--data", "y"]) == 2
    assert "--plot needs --mixture" in capsys.readouterr().err
