# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Image-text and video-text retrieval: recall at k, in both directions (arXiv:2312.14238, section 4.3).

Shape letters: N images, T texts, E width of the shared space.
"""

from collections.abc import Sequence
from typing import Any

import torch

from .embedding import embed_images, embed_texts, embed_videos


def recall_at_k(
    similarity: torch.Tensor, ks: Sequence[int] = (1, 5, 10), image_of_text: Sequence[int] | torch.Tensor | None = None
) -> dict[str, float]:
    """Recall at k of both directions.

    An image is found at k if one of its texts is among the k most similar ones, a text if its image is. Ties count
    against the model: whatever is wrong and as similar as the right answer ranks before it, so a model for which
    everything is equally similar has a recall of 0.

    Args:
        similarity: `(N, T)`, the higher the closer; any scale.
        ks: the ranks to report.
        image_of_text: `(T,)`, the image of each text; an image may have several texts, as in COCO and Flickr30K.
            None: text `i` belongs to image `i`.

    Returns:
        `image_to_text_recall@k` and `text_to_image_recall@k` for every k, and `mean_recall`, the mean of them all;
        from 0 to 1.

    Raises:
        ValueError: a wrong shape, a `k` or image out of range, an image without a text, or NaN.
    """
    check_ranks(ks)
    image_ranks, text_ranks = retrieval_ranks(similarity, image_of_text)
    return recalls_of(image_ranks, text_ranks, ks)


def retrieval_ranks(
    similarity: torch.Tensor, image_of_text: Sequence[int] | torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """How many wrong texts come before the best right one of each image `(N,)`, and wrong images before each text's.

    Args:
        similarity, image_of_text: see [`recall_at_k`], which also says how ties count.

    Raises:
        ValueError: as [`recall_at_k`].
    """
    owners = _owners(similarity, image_of_text)  # (T,)
    correct = similarity[owners, torch.arange(len(owners), device=similarity.device)]  # (T,)
    best = correct.new_full((len(similarity),), -torch.inf).scatter_reduce(0, owners, correct, "amax")  # (N,)

    own_at_best = torch.zeros(len(best), dtype=torch.long, device=best.device)
    own_at_best.scatter_add_(0, owners, (correct >= best[owners]).long())
    image_ranks = (similarity >= best[:, None]).sum(dim=1) - own_at_best  # (N,), 0 is the front
    text_ranks = (similarity >= correct).sum(dim=0) - 1  # (T,)
    return image_ranks, text_ranks


def recalls_of(
    image_ranks: torch.Tensor, text_ranks: torch.Tensor, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """What [`recall_at_k`] returns, from the ranks of [`retrieval_ranks`]."""
    ranks = {"image_to_text": image_ranks, "text_to_image": text_ranks}
    recalls = {
        f"{direction}_recall@{k}": (rank < k).double().mean().item() for direction, rank in ranks.items() for k in ks
    }
    return {**recalls, "mean_recall": sum(recalls.values()) / len(recalls)}


def check_ranks(ks: Sequence[int]) -> None:
    """Raise `ValueError` unless there are ranks, all of them from 1."""
    if not ks or min(ks) < 1:
        raise ValueError(f"`ks` must be ranks from 1, got {list(ks)}.")


def _owners(similarity: torch.Tensor, image_of_text: Any) -> torch.Tensor:
    """The image of every text `(T,)`, after checking all arguments."""
    if similarity.dim() != 2 or 0 in similarity.shape:
        raise ValueError(f"`similarity` must be (images, texts), at least one of each, got {tuple(similarity.shape)}.")
    if similarity.isnan().any():
        raise ValueError("`similarity` holds NaN, which has no rank: check the embeddings.")
    images, texts = similarity.shape
    if image_of_text is None:
        if images != texts:
            raise ValueError(
                f"{texts} texts for {images} images: say in `image_of_text` which image each text belongs to."
            )
        return torch.arange(texts, device=similarity.device)
    owners = torch.as_tensor(image_of_text, device=similarity.device).long()
    if owners.shape != (texts,):
        raise ValueError(f"`image_of_text` must name one image for each of {texts} texts, got {tuple(owners.shape)}.")
    if owners.min() < 0 or owners.max() >= images:
        raise ValueError(f"`image_of_text` must lie in 0 to {images - 1}, got {owners.min()} to {owners.max()}.")
    textless = torch.bincount(owners, minlength=images) == 0
    if textless.any():
        raise ValueError(f"Image {int(textless.nonzero()[0])} has no text, so it cannot be recalled: leave it out.")
    return owners


def retrieve(
    model: Any,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[str],
    image_of_text: Sequence[int] | None = None,
    *,
    mode: str = "InternVL-C",
    ks: Sequence[int] = (1, 5, 10),
    batch_size: int = 32,
    truncation: bool = False,
) -> dict[str, float]:
    """Recall of a model on images and their texts; see [`recall_at_k`].

    Images are squashed to the model's square, as in the original retrieval.

    Args:
        model, processor, images, mode, batch_size: see [`embed_images`].
        texts: all texts.
        image_of_text: which image each belongs to.
        ks: the ranks to report.
        truncation: see [`embed_texts`].
    """
    image_embeds = embed_images(model, processor, images, mode=mode, batch_size=batch_size, fit="squash")
    text_embeds = embed_texts(model, processor, texts, batch_size=batch_size, truncation=truncation)
    return recall_at_k(image_embeds @ text_embeds.T, ks, image_of_text)


def retrieve_videos(
    model: Any,
    processor: Any,
    videos: Sequence[Any],
    texts: Sequence[str],
    video_of_text: Sequence[int] | None = None,
    *,
    num_frames: int = 8,
    mode: str = "InternVL-C",
    ks: Sequence[int] = (1, 5, 10),
    batch_size: int = 32,
    truncation: bool = False,
) -> dict[str, float]:
    """Recall of a model on videos and their texts (MSR-VTT); a video is the mean of its frames.

    The keys of the result are those of [`recall_at_k`], with videos in the place of images.

    Args:
        model, processor, videos, num_frames, mode, batch_size: see [`embed_videos`].
        texts, video_of_text, ks, truncation: see [`retrieve`].
    """
    video_embeds = embed_videos(
        model, processor, videos, num_frames=num_frames, mode=mode, batch_size=batch_size, fit="squash"
    )
    text_embeds = embed_texts(model, processor, texts, batch_size=batch_size, truncation=truncation)
    return recall_at_k(video_embeds @ text_embeds.T, ks, video_of_text)


__all__ = ["recall_at_k", "recalls_of", "retrieval_ranks", "retrieve", "retrieve_videos"]
