# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The miniature InternVL-C and InternVL-G: their drawings, and a minute of their training.

How far the whole training comes is what `python -m lab.nano.dual_encoder --out DIR` says.
"""

import random

import numpy as np
import torch
from transformers import AutoModel, AutoProcessor

from lab.nano.dual_encoder import LARGE, Settings, build_tokenizer, evaluate, run
from lab.nano.pairs import CLASSES, GROUNDS, SIDE, TEMPLATES, draw_pairs, jitter
from transformers_internvl import InternVLDualEncoderModel


def test_there_are_64_pairs_and_no_two_captions_alike():
    pairs = draw_pairs("train")
    assert len(pairs) == len({pair.caption for pair in pairs}) == 64
    assert {pair.label for pair in pairs} == set(CLASSES) and len(CLASSES) == 16
    sentences = {template.format(label) for template in TEMPLATES for label in CLASSES}
    assert sentences == {pair.caption for pair in pairs}
    assert all(pair.image.size == (SIDE, SIDE) for pair in pairs)


def test_a_seed_gives_drawings_and_another_gives_others():
    first, again, other = draw_pairs("train"), draw_pairs("train"), draw_pairs("unseen")
    for one, same, different in zip(first, again, other, strict=True):
        assert one.image.tobytes() == same.image.tobytes() != different.image.tobytes()
        assert one.caption == different.caption
    assert len(draw_pairs("unseen", 3)) == 192


def test_jitter_keeps_size_and_ground_and_moves_what_is_drawn():
    for pair in draw_pairs("train")[::7]:
        rng = random.Random(0)
        moved = jitter(pair.image, rng)
        ground = GROUNDS[pair.caption.split()[-2]]
        assert moved.size == pair.image.size and moved.tobytes() != pair.image.tobytes()
        assert (np.asarray(moved) == ground).all(axis=-1).mean() > 0.1
        assert jitter(pair.image, random.Random(0)).tobytes() == moved.tobytes()


def test_the_tokenizer_is_of_the_released_kind():
    tokenizer = build_tokenizer([pair.caption for pair in draw_pairs("train")])
    ids = tokenizer("a red circle on a white ground")["input_ids"]
    assert (ids[0], ids[-1], tokenizer.pad_token_id) == (1, 2, 0)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "summarize:a red circle on a white ground"


def test_a_short_training_is_well_above_chance_and_its_folders_load(tmp_path):
    torch.set_num_threads(1)
    report = run(tmp_path, Settings(masked=20, whole=25, bridge=4), unseen_repeats=1)
    for name, measures in report.items():
        assert min(measures["image to text"], measures["text to image"]) > 10 / 64, (name, measures)  # chance: 1 / 64
        assert measures["zero-shot"] > 2 / 16, (name, measures)  # chance: 1 / 16

    pairs, unseen = draw_pairs("train"), draw_pairs("unseen", 1)
    model, processor = (
        AutoModel.from_pretrained(tmp_path / "internvl_g"),
        AutoProcessor.from_pretrained(tmp_path / "internvl_g"),
    )
    assert type(model) is InternVLDualEncoderModel and model.config.vision_config.patch_dropout == 0.0
    assert tuple(model.config.vision_config.image_size) == (LARGE, LARGE)
    assert evaluate(model, processor, pairs, unseen, "InternVL-G") == report["InternVL-G"]

    first = AutoModel.from_pretrained(tmp_path / "internvl_c").state_dict()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, first[name])}
    heads = ("query_tokens", "logit_scale", "clip_projector2.", "itm_head.")
    assert changed and all(name.startswith(heads) or ".cross_attn." in name for name in changed)
    assert not any(name.startswith("clip_projector.") for name in changed)
