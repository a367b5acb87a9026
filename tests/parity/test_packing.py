# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Packs in order, tokens, tiles, positions and weights against the original `PackedDataset` and collate function.

Every case is used. In one the reference raises before its first pack, since its cutting takes an image for one tile
(`RAISED`): there the packs before the error, none, are compared, and ours are checked to lose and cut nothing wrongly.
"""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.original_packing import OriginalPacker
from transformers_internvl.modeling.losses import IGNORE_INDEX
from transformers_internvl.training.data.collation import PackingCollator, as_piece, take_piece

from .golden import golden_cases

FILES = [
    (folder, json.loads((folder / "packing.json").read_text(encoding="utf-8"))) for folder in golden_cases("packing")
]
CASES = [(data, case) for _, data in FILES for case in data["cases"]]
IDS = [case["name"] for _, case in CASES]
RAISED = {"AssertionError: "}  # an image of several tiles, or a dummy tile, in a pack that is cut


def sample_of(data, spec):
    """Tensors of a sample: tiles are marked by `sample + 0.01 * tile` (dummy ones `-sample`), counted by image."""
    special, per_tile = data["special_ids"], data["num_image_token_per_tile"]
    sid, ids, labels, marks, flags = spec["sid"], [], [], [], []
    for kind, count in spec["parts"]:
        if kind == "z":
            marks, flags = [*marks, -float(sid)], [*flags, 0]
        elif kind == "i":
            new = [special["<img>"], *[special["<IMG_CONTEXT>"]] * (per_tile * count), special["</img>"]]
            ids, labels = ids + new, labels + [IGNORE_INDEX] * len(new)
            marks, flags = marks + [sid + 0.01 * tile for tile in range(count)], flags + [1] * count
        else:
            ids += [1000 + sid] * count
            labels += [1000 + sid if kind == "a" else IGNORE_INDEX] * count
    sample = {"input_ids": torch.tensor(ids), "labels": torch.tensor(labels)}
    tiles = {"pixel_values": torch.tensor(marks, dtype=torch.float64), "image_flags": torch.tensor(flags)}
    return {**sample, **tiles} if marks else sample


def piece_of(data, sample, spec):
    flags = sample["image_flags"]
    real = {**sample, "pixel_values": sample["pixel_values"][flags == 1]} if (flags == 1).any() else {**sample}
    if not (flags == 1).any():
        del real["pixel_values"]
    piece = as_piece(real, spec["sid"], data["special_ids"]["<img>"], data["special_ids"]["</img>"])
    return replace(piece, dummy_tiles=int((flags == 0).sum()))


def draws(case):
    """The samples in the order in which the reference draws them (one worker, seeded with its rank)."""
    config = case["config"]
    sources = [list(dataset["samples"]) for dataset in case["datasets"]]
    iterators, weights = [iter(source) for source in sources], list(config["dataset_weight"])
    rng = np.random.default_rng(seed=config["data_rank"])
    np.random.seed(config["np_seed"])
    while sources:
        weights = [weight / sum(weights) for weight in weights]
        at = rng.choice(len(sources), p=weights)
        while True:
            spec = next(iterators[at], None)
            if spec is None and config["replacement"]:
                iterators[at] = iter(sources[at])
                continue
            if spec is not None:
                break
            for parts in (sources, iterators, weights):
                parts.pop(at)
            if not sources:
                return
            at = np.random.choice(len(sources))
        yield spec


def packs_of(data, case):
    """Our packs of a case with the tensors of their samples, and the packer."""
    config = case["config"]
    packer = OriginalPacker(
        config["max_packed_tokens"], config["num_images_expected"], config["max_buffer_size"], config["allow_overflow"]
    )
    samples = {}

    def packs():
        for spec in draws(case):
            samples[spec["sid"]] = sample_of(data, spec)
            yield from packer.add(piece_of(data, samples[spec["sid"]], spec))
        yield from packer.flush()

    return list(itertools.islice(packs(), config.get("max_packs"))), samples, packer


@pytest.mark.parametrize("data, case", CASES, ids=IDS)
def test_packs(data, case):
    packs, samples, packer = packs_of(data, case)
    expected = case["result"]["packs"]
    if "error" in case["result"]:
        assert case["result"]["error"] in RAISED
        check_without_reference(data, packs, samples, packer)
    else:
        assert len(packs) == len(expected)
        assert case["config"]["allow_overflow"] or not packer.lost
    config = case["config"]
    collate = PackingCollator(
        case["loss_reduction"],
        pad_to_tokens=config["max_packed_tokens"] if config["strict_mode"] else None,
        pad_to_tiles=config["num_images_expected"] if config["strict_mode"] else None,
        return_statistics=True,
    )
    for pack, wanted in zip(packs, expected, strict=False):
        assert [piece.key for piece in pack.pieces] == wanted["samples"]
        assert [piece.index for piece in pack.pieces for _ in range(piece.tokens)] == wanted["data_index"]
        assert pack.tokens == wanted["num_tokens"]
        batch = collate([[take_piece(samples[piece.key], piece) for piece in pack.pieces]])
        assert batch["image_flags"].tolist() == wanted["image_flags"] == wanted["collated"]["image_flags"]
        assert torch.allclose(batch["pixel_values"], torch.tensor(wanted["tile_marks"], dtype=torch.float64))
        assert len(batch["pixel_values"]) == wanted["num_tiles"] == wanted["collated"]["num_tiles"]
        for name in ("input_ids", "labels", "position_ids"):
            assert batch[name][0].tolist() == wanted["collated"][name], name
        for name in ("cu_seqlens", "statistics"):
            assert batch[name].tolist() == wanted["collated"][name], name
        assert batch["loss_weight"][0].tolist() == pytest.approx(wanted["collated"]["loss_weight"], abs=1e-8)


def check_without_reference(data, packs, samples, packer):
    """Within the limits, every token once or in the list of the lost, no image in two."""
    seen = {sid: torch.zeros(len(sample["input_ids"]), dtype=torch.int) for sid, sample in samples.items()}
    parts = [(piece.key, piece.start, piece.stop) for pack in packs for piece in pack.pieces]
    for key, start, stop in [*parts, *packer.lost]:
        seen[key][start:stop] += 1
    assert all((count == 1).all() for count in seen.values()) and packer.lost
    for pack in packs:
        assert pack.tokens <= packer.max_tokens and pack.tiles <= packer.max_tiles
        for piece in pack.pieces:
            part = take_piece(samples[piece.key], piece)
            ids = part["input_ids"].tolist()
            assert ids.count(data["special_ids"]["<img>"]) == ids.count(data["special_ids"]["</img>"])
            real = part["image_flags"].sum() if "image_flags" in part else 0
            assert ids.count(data["special_ids"]["<IMG_CONTEXT>"]) == real * data["num_image_token_per_tile"]
