# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A linear or attention-pooling probe on a frozen InternViT, trained as the original code trains it.

SGD with Nesterov momentum 0.9, learning rate 0.1 for each 512 images of a batch, 10 epochs with 1 of warm-up, cosine;
random crops and mirror images; mixup, CutMix and smoothed labels, which the original settings leave on. Some of its
settings also keep a moving average of the head, which is left out here.

Shape letters: B images, S tokens, D width, N classes.

Source: `classification/main.py`, `config.py`, `lr_scheduler.py` and `dataset/build.py` of OpenGVLab/InternVL.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from tqdm.auto import tqdm

from ..conversion.files.folders import write_whole

_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)
_ATTEMPTS = 10


@dataclass(frozen=True)
class ProbeSettings:
    """How a probe is trained; the defaults are the original ones.

    Attributes:
        epochs, warmup_epochs: passes over the images, and those in which the rate rises.
        batch_size: images of a step.
        base_lr: learning rate for 512 images.
        mixup, cutmix: parameter of the Beta distribution that shares are drawn from; 0 = off.
        smoothing: of labels.
        clip: maximum norm of gradients.
        seed: of order, crops and initial weights.
    """

    epochs: int = 10
    warmup_epochs: int = 1
    batch_size: int = 1024
    base_lr: float = 0.1
    mixup: float = 0.8
    cutmix: float = 1.0
    smoothing: float = 0.1
    clip: float = 5.0
    seed: int = 0


def head_of(model: Any) -> nn.ModuleDict:
    """The parts of [`InternVLVisionForImageClassification`] above the tower, in float32."""
    return nn.ModuleDict({name: getattr(model, name) for name in model.new_head}).float()


def head_logits(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Scores `(B, N)` of images `(B, 3, height, width)`: the tower in its own dtype, the head in float32."""
    with torch.no_grad():
        tokens = model.internvl_vision(pixels.to(model.device, model.internvl_vision.dtype), return_dict=True)
    features = model.pooling(tokens.last_hidden_state.float())
    return model.classifier(model.batch_norm(features))


def train_probe(
    model: Any,
    images: Sequence[Image.Image],
    labels: Sequence[int],
    normalize: Callable[[list[Image.Image]], torch.Tensor],
    side: int,
    path: Path,
    settings: ProbeSettings | None = None,
    *,
    quiet: bool = False,
) -> None:
    """Train the head of a model on a frozen tower, and keep it in a file after every epoch, from which it goes on.

    Args:
        model: [`InternVLVisionForImageClassification`].
        images: RGB; read on access.
        labels: their classes.
        normalize: from images of `side` pixels to `(B, 3, side, side)`.
        side: of the square images.
        path: the file, safetensors.
        settings: None = the original ones.
        quiet: whether there is no progress bar.

    Raises:
        ValueError: the file's head was trained otherwise, or on other images.
    """
    settings = settings or ProbeSettings()
    head = head_of(model)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.0, momentum=0.9, nesterov=True)
    described = {**asdict(settings), "side": side, "images": len(images), "classes": model.config.num_labels}
    first = read_probe(model, path, described, optimizer) if path.exists() else 0
    size = min(settings.batch_size, len(images))
    steps = len(images) // size
    for epoch in range(first, settings.epochs):
        head.train()
        generator = np.random.default_rng([settings.seed, epoch])
        order = generator.permutation(len(images))[: steps * size].reshape(steps, size)
        bar = tqdm(order, desc=f"probe, epoch {epoch + 1} of {settings.epochs}", disable=quiet or None)
        for number, places in enumerate(bar):
            optimizer.param_groups[0]["lr"] = learning_rate(epoch * steps + number, steps, size, settings)
            crops = [random_crop(images[int(place)], side, generator) for place in places]
            targets = one_hot(
                torch.tensor([labels[int(place)] for place in places]), model.config.num_labels, settings
            )
            pixels, targets = mixed(normalize(crops), targets, generator, settings)
            loss = nn.functional.cross_entropy(head_logits(model, pixels), targets.to(model.device))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(head.parameters(), settings.clip)
            optimizer.step()
        _write(model, path, {**described, "epoch": epoch + 1}, optimizer)
    head.eval()


def learning_rate(step: int, steps: int, size: int, settings: ProbeSettings) -> float:
    """The rate of a step: rises linearly from 0, then follows a cosine over all epochs.

    Args:
        step: from 0, over all epochs.
        steps: of an epoch.
        size: images of a step.
        settings: the others.
    """
    peak, warmup = settings.base_lr * size / 512, settings.warmup_epochs * steps
    if step < warmup:
        return peak * step / warmup
    return peak * (1 + math.cos(math.pi * step / (settings.epochs * steps))) / 2


def random_crop(image: Image.Image, side: int, generator: np.random.Generator) -> Image.Image:
    """A crop of 8 to 100 % of the area, sides 3:4 to 4:3, resized bicubically to a square; half of them mirrored.

    Where ten draws do not fit into the image, it is the largest crop in the middle whose sides are as wanted.
    """
    left, top, wide, high = _drawn_box(image.size, generator) or _middle_box(image.size)
    crop = image.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + wide, top + high))
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if generator.random() < 0.5 else crop


def _drawn_box(size: tuple[int, int], generator: np.random.Generator) -> tuple[int, int, int, int] | None:
    width, height = size
    for _ in range(_ATTEMPTS):
        area = width * height * generator.uniform(*_AREA)
        ratio = math.exp(generator.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            return int(generator.integers(width - wide + 1)), int(generator.integers(height - high + 1)), wide, high
    return None


def _middle_box(size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size
    wide = min(width, round(height * _RATIO[1]))
    high = min(height, round(width / _RATIO[0]))
    return (width - wide) // 2, (height - high) // 2, wide, high


def one_hot(labels: torch.Tensor, classes: int, settings: ProbeSettings) -> torch.Tensor:
    """Smoothed targets `(B, N)` of labels `(B,)`; each row has the sum 1."""
    off = settings.smoothing / classes
    return torch.full((len(labels), classes), off).scatter_(1, labels[:, None], 1 - settings.smoothing + off)


def mixed(
    pixels: torch.Tensor, targets: torch.Tensor, generator: np.random.Generator, settings: ProbeSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images mixed with those of the batch in reverse order, and their targets in the same shares.

    One share for the whole batch; mixup or CutMix, each in half of the batches, as `timm.data.Mixup` has it.

    Args:
        pixels: `(B, 3, height, width)`.
        targets: `(B, N)`.
    """
    cut = settings.cutmix > 0 and (settings.mixup <= 0 or generator.random() < 0.5)
    alpha = settings.cutmix if cut else settings.mixup
    if alpha <= 0:
        return pixels, targets
    share = float(generator.beta(alpha, alpha))
    others = pixels.flip(0)
    if cut:
        height, width = pixels.shape[-2:]
        top, bottom = _cut(height, share, generator)
        left, right = _cut(width, share, generator)
        pixels = pixels.clone()
        pixels[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
    else:
        pixels = share * pixels + (1 - share) * others
    return pixels, share * targets + (1 - share) * targets.flip(0)


def _cut(length: int, share: float, generator: np.random.Generator) -> tuple[int, int]:
    """Beginning and end of the part of a side that the other image gets."""
    half, middle = int(length * math.sqrt(1 - share)) // 2, int(generator.integers(length))
    return max(middle - half, 0), min(middle + half, length)


def _write(model: Any, path: Path, described: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    head = head_of(model)
    tensors = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    for name, parameter in head.named_parameters():
        momentum = optimizer.state[parameter].get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{name}"] = momentum.cpu().contiguous()
    write_whole(path, save(tensors, metadata={"probe": json.dumps(described)}))


def read_probe(
    model: Any, path: Path, described: dict[str, Any] | None = None, optimizer: torch.optim.Optimizer | None = None
) -> int:
    """Read a head into a model.

    Args:
        model: [`InternVLVisionForImageClassification`].
        path: of [`train_probe`].
        described: how it must have been trained; None = in any way.
        optimizer: gets the momentum.

    Returns:
        The epochs that it was trained for.

    Raises:
        ValueError: no file of a probe, or one that was trained otherwise.
    """
    try:
        with safe_open(path, "pt") as file:
            found = json.loads(file.metadata()["probe"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ValueError(f"{path} holds no probe: {error!r}") from error
    epochs = found.pop("epoch")
    changed = [name for name in found if described is not None and found[name] != described.get(name)]
    if described is not None and changed:
        told = "; ".join(f"{name} was {found[name]!r} and is {described.get(name)!r}" for name in changed)
        raise ValueError(f"The probe {path} was trained otherwise: {told}. Remove it, or choose another folder.")
    head = head_of(model)
    head.load_state_dict({name: value for name, value in tensors.items() if not name.startswith("momentum.")})
    for name, parameter in head.named_parameters():
        if optimizer is not None and f"momentum.{name}" in tensors:
            optimizer.state[parameter]["momentum_buffer"] = tensors[f"momentum.{name}"].to(parameter.device)
    head.eval()
    return int(epochs)


__all__ = [
    "ProbeSettings",
    "head_logits",
    "head_of",
    "learning_rate",
    "mixed",
    "one_hot",
    "random_crop",
    "read_probe",
    "train_probe",
]
