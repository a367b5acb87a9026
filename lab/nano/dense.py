# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternViT's heads put to the proof on drawn scenes: `python -m lab.nano.dense --out DIR`.

The tower is the embedded model's. On the frozen tower, a linear probe classifies drawn shapes; a trained tower
segments scenes, with a linear head and with the UperNet of upstream transformers. Scores are on scenes that training
never saw; a table lists them, and an image shows scenes, true classes and predicted ones side by side.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm.auto import tqdm
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForImageTextToText,
    AutoModelForSemanticSegmentation,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from transformers_internvl.evaluation.segmentation import MeanIoU, SegmentationScore
from transformers_internvl.nano import nano_path
from transformers_internvl.training.parameters import layer_decay_groups, set_tuning

from .drawing import Style
from .examples import MEAN, STD
from .questions import SHAPES
from .scenes import CLASSES, Scene, draw_scene

DISPLAY = np.array([(255, 255, 255), (214, 39, 40), (31, 119, 180), (44, 160, 44)], dtype=np.uint8)
"""How the image shows the classes: nothing white, circles red, squares blue, triangles green."""


@dataclass(frozen=True)
class Settings:
    """How scenes look (side in pixels, smallest shape relative to it, most shapes) and how a head is trained on them.

    `learning_rate` is the head's; each block towards the tower's input learns `decay` times slower.
    """

    side: int = 140
    smallest: float = 0.45
    max_shapes: int = 2
    steps: int = 1000
    batch_size: int = 8
    learning_rate: float = 3e-3
    decay: float = 0.8
    held_out: int = 200
    regime: str = "full"
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What came out of a proof: its score on `images` held-out ones, in how many `seconds` of training."""

    score: float
    images: int
    seconds: float
    details: dict[str, float]


# --- Scenes as batches -----------------------------------------------------------------------------------------------


def scenes(part: str, start: int, count: int, settings: Settings) -> list[Scene]:
    """Scenes `start` to `start + count` of a part: `"train"`, or another one that training never sees."""
    style = Style(min_side=settings.side, max_side=settings.side, smallest=settings.smallest)
    return [draw_scene(f"{part}-{index}", style, settings.max_shapes) for index in range(start, start + count)]


def pixels_of(drawn: list[Scene]) -> torch.Tensor:
    """Normalized pixels `(T, 3, H, W)`."""
    levels = torch.stack([torch.from_numpy(np.array(scene.image)) for scene in drawn])
    return ((levels / 255 - MEAN) / STD).permute(0, 3, 1, 2)


def masks_of(drawn: list[Scene]) -> torch.Tensor:
    """Classes of pixels `(T, H, W)`."""
    return torch.stack([torch.from_numpy(scene.mask.copy()) for scene in drawn]).long()


def kinds_of(drawn: list[Scene]) -> torch.Tensor:
    """Classes of images `(T,)`, of the largest shape."""
    return torch.tensor([SHAPES.index(scene.kinds[0]) for scene in drawn])


def held_out(settings: Settings, size: int = 50) -> Iterator[list[Scene]]:
    """Batches of scenes that training never sees."""
    for start in range(0, settings.held_out, size):
        yield scenes("held-out", start, min(size, settings.held_out - start), settings)


# --- Models ----------------------------------------------------------------------------------------------------------


def write_tower(folder: Path) -> Path:
    """The embedded model's tower as a folder of its own, which every Auto class of towers opens."""
    AutoModelForImageTextToText.from_pretrained(nano_path()).model.vision_tower.save_pretrained(folder)
    return folder


def probe_model(tower: Path) -> nn.Module:
    """The paper's linear probe for the kinds of shapes."""
    return AutoModelForImageClassification.from_pretrained(tower, **_labels(SHAPES))


def linear_model(tower: Path) -> nn.Module:
    """Batch norm and a 1 x 1 convolution on the last layer."""
    return AutoModelForSemanticSegmentation.from_pretrained(tower, **_labels(CLASSES))


def upernet_model(tower: Path) -> nn.Module:
    """Upstream's UperNet on the pyramid of four layers."""
    config = UperNetConfig(
        backbone_config=AutoConfig.from_pretrained(tower, use_fpn=True),
        hidden_size=32,
        pool_scales=[1, 2],
        use_auxiliary_head=False,
        **_labels(CLASSES),
    )
    model = UperNetForSemanticSegmentation(config)
    model.backbone = AutoBackbone.from_pretrained(tower, use_fpn=True)
    return model


def _labels(names: tuple[str, ...]) -> dict[str, dict]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


# --- Training and judging --------------------------------------------------------------------------------------------


def train(model: nn.Module, batch: Callable[[int], dict], groups: list[dict], settings: Settings, name: str) -> float:
    """AdamW with one cycle of the rate; `batch(step)` gives the model's arguments. Returns the seconds it took."""
    optimizer = torch.optim.AdamW(groups)
    rates = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, settings.steps, pct_start=0.1)
    started = time.monotonic()
    model.train()
    for step in (bar := tqdm(range(settings.steps), desc=name)):
        loss = model(**batch(step)).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    model.eval()
    return time.monotonic() - started


def segment(
    build: Callable[[Path], nn.Module], tower: Path, settings: Settings, name: str
) -> tuple[nn.Module, Outcome]:
    """Train a segmentation model on drawn scenes, a new batch each step, and score it on others."""
    torch.manual_seed(settings.seed)
    model = set_tuning(build(tower), settings.regime)

    def batch(step: int) -> dict:
        drawn = scenes("train", step * settings.batch_size, settings.batch_size, settings)
        return {"pixel_values": pixels_of(drawn), "labels": masks_of(drawn)}

    groups = layer_decay_groups(model, settings.learning_rate, weight_decay=0.01, decay=settings.decay)
    seconds = train(model, batch, groups, settings, name)
    score = mean_iou(model, settings)
    details = dict(zip(CLASSES, score.iou, strict=True)) | {"pixels": score.pixel_accuracy}
    return model, Outcome(score.mean_iou, settings.held_out, seconds, details)


@torch.no_grad()
def mean_iou(model: nn.Module, settings: Settings) -> SegmentationScore:
    """Over the held-out scenes."""
    metric = MeanIoU(len(CLASSES))
    for drawn in held_out(settings):
        metric.update(model(pixel_values=pixels_of(drawn)).logits.argmax(1), masks_of(drawn))
    return metric.compute()


def probe(tower: Path, settings: Settings, n_images: int = 2000) -> tuple[nn.Module, Outcome]:
    """Train the linear probe on `n_images` drawn shapes, and score it on others.

    The tower is frozen, so it sees every image once; after that only the head runs. Optimizer and schedule are the
    paper's: SGD with momentum, no weight decay.
    """
    torch.manual_seed(settings.seed)
    model = set_tuning(probe_model(tower), "frozen")
    started = time.monotonic()
    drawn = [scenes("train", start, 50, settings) for start in range(0, n_images, 50)]
    with torch.no_grad():
        tokens = [model.internvl_vision(pixels_of(part)).last_hidden_state for part in tqdm(drawn, desc="features")]
        features = torch.cat([model.pooling(part) for part in tokens])
    labels = torch.cat([kinds_of(part) for part in drawn])
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, settings.steps, pct_start=0.1)
    model.train()
    for _ in tqdm(range(settings.steps), desc="probe"):
        rows = torch.randint(len(features), (256,))
        loss = nn.functional.cross_entropy(model.classifier(model.batch_norm(features[rows])), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = time.monotonic() - started
    model.eval()
    score = accuracy(model, settings)
    return model, Outcome(score, settings.held_out, seconds, {"training": _share(model, features, labels)})


@torch.no_grad()
def accuracy(model: nn.Module, settings: Settings) -> float:
    """Share of the held-out images whose largest shape is predicted."""
    right = [(model(pixels_of(drawn)).logits.argmax(-1) == kinds_of(drawn)) for drawn in held_out(settings)]
    return torch.cat(right).float().mean().item()


@torch.no_grad()
def _share(model: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> float:
    return (model.classifier(model.batch_norm(features)).argmax(-1) == labels).float().mean().item()


# --- Command line ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def show(model: nn.Module, settings: Settings, count: int = 8) -> Image.Image:
    """Rows of scene, true classes, predicted classes."""
    drawn = scenes("held-out", 0, count, settings)
    predicted = model(pixel_values=pixels_of(drawn)).logits.argmax(1).numpy()
    rows = [
        np.concatenate([np.asarray(scene.image), DISPLAY[scene.mask], DISPLAY[classes]], axis=1)
        for scene, classes in zip(drawn, predicted, strict=True)
    ]
    return Image.fromarray(np.concatenate(rows))


SEGMENTERS = {"linear": linear_model, "upernet": upernet_model}
PROOFS = {
    "probe": Settings(side=112, smallest=0.4, max_shapes=1, steps=400, held_out=500),
    "linear": Settings(steps=1600),
    "upernet": Settings(steps=500),
}
"""The proofs, and what they are run with unless the command line says otherwise."""


def main(arguments: list[str] | None = None) -> None:
    """Command line of the proof."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for models, report and images")
    parser.add_argument("--proofs", nargs="+", default=list(PROOFS), choices=list(PROOFS))
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), help="for all proofs alike")
    options = vars(parser.parse_args(arguments))
    out, proofs = options.pop("out"), options.pop("proofs")
    changes = {name: value for name, value in options.items() if value is not None}
    tower = write_tower(out / "tower")
    report = {}
    for name in proofs:
        settings = replace(PROOFS[name], **changes)
        if name == "probe":
            model, outcome = probe(tower, settings)
        else:
            model, outcome = segment(SEGMENTERS[name], tower, settings, name)
            show(model, settings).save(out / f"{name}.png")
        model.save_pretrained(out / name)
        report[name] = asdict(outcome)
        (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    tqdm.write(f"{'proof':10}{'score':>8}{'images':>10}{'seconds':>9}  details")
    for name, row in report.items():
        details = ", ".join(f"{key} {value:.3f}" for key, value in row["details"].items())
        tqdm.write(f"{name:10}{row['score']:8.4f}{row['images']:10}{row['seconds']:9.0f}  {details}")


if __name__ == "__main__":
    main()
