# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Zero-shot classification of images and videos with InternVL-C and InternVL-G (arXiv:2312.14238, section 4.3).

A class is described by several sentences and represented by the mean of their vectors. The nearest class wins.

Shape letters: N items, K classes, E width of the shared space.
"""

from collections.abc import Sequence
from typing import Any

import torch

from .embedding import embed_images, embed_texts, embed_videos
from .retrieval import check_ranks

# Name -> sentences with `{}` where the name of a class goes. For other languages, pass sentences of that language.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "name": ("{}",),
    "photo": (
        "a photo of a {}.",
        "a photo of the {}.",
        "a photo of one {}.",
        "a good photo of a {}.",
        "a bad photo of a {}.",
        "a close-up photo of a {}.",
        "a cropped photo of a {}.",
        "a blurry photo of a {}.",
        "a bright photo of a {}.",
        "a dark photo of a {}.",
        "a photo of a small {}.",
        "a photo of a large {}.",
        "a photo of many {}.",
        "a black and white photo of a {}.",
        "a drawing of a {}.",
        "a painting of a {}.",
        "a sketch of a {}.",
        "a {} in a picture.",
    ),
    "video": (
        "a video of {}.",
        "a video of a person {}.",
        "a video of people {}.",
        "a frame of a video of {}.",
        "an example of {}.",
        "a person who is {}.",
    ),
}


def class_prompts(class_names: str | Sequence[str], templates: Sequence[str]) -> list[str]:
    """The sentences about a class: every one of its names in every template.

    Raises:
        ValueError: no template, a template without `{}`, no name or an empty one.
    """
    names = [class_names] if isinstance(class_names, str) else list(class_names)
    if not names or not all(name.strip() for name in names):
        raise ValueError(f"A class needs a name that is not empty, got {class_names!r}.")
    if isinstance(templates, str) or not templates:
        raise ValueError(f"`templates` must be a list of at least one sentence, got {templates!r}.")
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"The template {template!r} has no {{}} for the name of a class.")
    return [template.replace("{}", name) for name in names for template in templates]


def zero_shot_classifier(
    model: Any,
    processor: Any,
    class_names: Sequence[str | Sequence[str]],
    templates: Sequence[str] = TEMPLATES["photo"],
    *,
    batch_size: int = 64,
) -> torch.Tensor:
    """One vector for each class: the mean of the normalized vectors of its sentences, normalized again.

    Args:
        model, processor, batch_size: see [`embed_texts`].
        class_names: a name a class, or a list of its names.
        templates: sentences with `{}` in the place of the name; see [`TEMPLATES`].

    Returns:
        `(K, E)`, float32, on the CPU.

    Raises:
        ValueError: no class; as [`class_prompts`].
    """
    prompts = [class_prompts(names, templates) for names in class_names]
    if not prompts:
        raise ValueError("There are no classes to choose from.")
    vectors = embed_texts(model, processor, [text for texts in prompts for text in texts], batch_size=batch_size)
    means = [part.mean(dim=0) for part in vectors.split([len(texts) for texts in prompts])]
    return torch.nn.functional.normalize(torch.stack(means), dim=-1)


def ranks_of_right(scores: torch.Tensor, labels: Sequence[int] | torch.Tensor) -> torch.Tensor:
    """How many wrong classes come before the right one. Ties count against the model, as in `recall_at_k`.

    Args:
        scores: `(N, K)`, the higher the likelier.
        labels: `(N,)`, the right classes.

    Returns:
        `(N,)`, integers; 0: the right class has the highest score.

    Raises:
        ValueError: a wrong shape, a label out of range, or a score that is NaN.
    """
    targets = torch.as_tensor(labels, device=scores.device).long()
    if scores.dim() != 2 or 0 in scores.shape or targets.shape != scores.shape[:1]:
        raise ValueError(
            "`scores` must be (items, classes) and `labels` (items,), at least one of each, got "
            f"{tuple(scores.shape)} and {tuple(targets.shape)}."
        )
    if scores.isnan().any():
        raise ValueError("`scores` hold NaN, which has no rank: check the embeddings.")
    if targets.min() < 0 or targets.max() >= scores.shape[1]:
        raise ValueError(f"`labels` must lie in 0 to {scores.shape[1] - 1}, got {targets.min()} to {targets.max()}.")
    return (scores >= scores.gather(1, targets[:, None])).sum(dim=1) - 1


def top_k_accuracy(
    scores: torch.Tensor, labels: Sequence[int] | torch.Tensor, ks: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """How often the right class is among the k best: `{"top1": ..., "top5": ...}`, from 0 to 1.

    Args:
        scores, labels: see [`ranks_of_right`].
        ks: the ranks to report.

    Raises:
        ValueError: as [`ranks_of_right`], or a rank below 1.
    """
    check_ranks(ks)
    ranks = ranks_of_right(scores, labels)
    return {f"top{k}": (ranks < k).double().mean().item() for k in ks}


def classify_images(
    model: Any,
    processor: Any,
    images: Sequence[Any],
    classifier: torch.Tensor,
    *,
    mode: str = "InternVL-C",
    batch_size: int = 32,
) -> torch.Tensor:
    """Cosines `(N, K)` of images and classes.

    Args:
        model, processor, images, mode, batch_size: see [`embed_images`].
        classifier: `(K, E)` of [`zero_shot_classifier`].
    """
    return embed_images(model, processor, images, mode=mode, batch_size=batch_size) @ classifier.T


def classify_videos(
    model: Any,
    processor: Any,
    videos: Sequence[Any],
    classifier: torch.Tensor,
    *,
    num_frames: int = 8,
    mode: str = "InternVL-C",
    batch_size: int = 32,
) -> torch.Tensor:
    """Cosines `(N, K)` of videos and classes; a video is the mean of its frames.

    Args:
        model, processor, videos, num_frames, mode, batch_size: see [`embed_videos`].
        classifier: `(K, E)` of [`zero_shot_classifier`].
    """
    vectors = embed_videos(model, processor, videos, num_frames=num_frames, mode=mode, batch_size=batch_size)
    return vectors @ classifier.T


__all__ = [
    "TEMPLATES",
    "class_prompts",
    "classify_images",
    "classify_videos",
    "ranks_of_right",
    "top_k_accuracy",
    "zero_shot_classifier",
]
