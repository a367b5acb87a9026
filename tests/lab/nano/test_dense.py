# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The heads learn: a shorter form of `python -m lab.nano.dense`."""

from dataclasses import replace

import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil, pipeline

from lab.nano import dense
from lab.nano.scenes import CLASSES

# One large shape a scene, on the grid of 8 x 8 patches.
SHORT = dense.Settings(side=112, smallest=0.5, max_shapes=1, held_out=100)


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return dense.write_tower(tmp_path_factory.mktemp("tower"))


def test_a_linear_probe_on_the_frozen_tower_tells_shapes_apart(tower, tmp_path):
    settings = replace(SHORT, steps=400)
    model, outcome = dense.probe(tower, settings, n_images=1000)
    assert outcome.score >= 0.95, outcome
    # The saved folder answers by itself.
    model.save_pretrained(tmp_path)
    mean_std = {"image_mean": dense.MEAN.tolist(), "image_std": dense.STD.tolist()}
    CLIPImageProcessorPil(size=112, crop_size=112, **mean_std).save_pretrained(tmp_path)
    classify = pipeline("image-classification", model=str(tmp_path))
    drawn = dense.scenes("asked", 0, 40, settings)
    right = [classify(scene.image)[0]["label"] == scene.kinds[0] for scene in drawn]
    assert sum(right) >= 36


@pytest.mark.parametrize("name, learning_rate, least", [("linear", 6e-3, 0.75), ("upernet", 3e-3, 0.8)])
def test_scenes_are_segmented(tower, name, learning_rate, least):
    """A grid of 6 x 6 patches is coarse; how good heads become is what the command says."""
    settings = replace(SHORT, side=84, steps=80, held_out=60, learning_rate=learning_rate)
    model, outcome = dense.segment(dense.SEGMENTERS[name], tower, settings, name)
    assert outcome.score >= least, outcome
    assert set(outcome.details) == {*CLASSES, "pixels"}
    assert outcome.score == pytest.approx(sum(outcome.details[name] for name in CLASSES) / len(CLASSES))
    assert dense.show(model, settings, count=2).size == (3 * 84, 2 * 84)


def test_held_out_scenes_are_not_those_of_training():
    training, others = (dense.scenes(part, 0, 20, SHORT) for part in ("train", "held-out"))
    assert not {scene.image.tobytes() for scene in training} & {scene.image.tobytes() for scene in others}


def test_the_command_writes_models_report_and_images(tmp_path):
    short = ["--steps", "2", "--held-out", "4", "--side", "56", "--batch-size", "2", "--regime", "head"]
    dense.main(["--out", str(tmp_path), "--proofs", "linear", "upernet", *short])
    report = (tmp_path / "report.json").read_text()
    assert '"linear"' in report and '"upernet"' in report
    assert Image.open(tmp_path / "linear.png").size == (3 * 56, 8 * 56)
    assert (tmp_path / "upernet" / "model.safetensors").exists()
