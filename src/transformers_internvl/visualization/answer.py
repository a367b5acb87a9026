# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""An answer with what the model looked at and how certain it was.

Shape letters: A answer tokens, N image tokens of the conversation, V vocabulary.
"""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from transformers import DynamicCache

from ..processing.images.image_processing import InternVLImageProcessor
from ..processing.media import Media
from ..processing.text.grounding import decode_regions, locate_regions
from ..processing.text.messages import normalized
from .attention import ImageAttention, plain_model, record_attention
from .seen import SEEN_OPTIONS, SeenImage, images_seen
from .token_maps import split_maps

_NUMBER = re.compile(r"[\d.]+")


@dataclass(frozen=True)
class LocatedBox:
    """A region that the answer names, and the geometric mean of the probabilities of its numbers' tokens.

    Brackets and commas do not count: they are certain wherever the box is.

    Attributes:
        label: what is there; `""` where the answer does not say it.
        region: `(x1, y1, x2, y2)` in pixels, or eight numbers of a quadrilateral.
        confidence: from 0 to 1.
    """

    label: str
    region: tuple[float, ...]
    confidence: float


@dataclass(frozen=True)
class Answer:
    """An answer, its tokens, how likely they were, and the attention of each over the images.

    The attention of a token is that of the position that chose it: the one before it.

    Attributes:
        text: without special tokens.
        token_ids: `(A,)`, the last one that ended the answer included.
        tokens: their texts.
        probabilities: `(A,)`, float32: of each token, by the model's own distribution, before temperature, top-p, ...
        images: attention over each image of the conversation, in order; a video has one for each frame that is used.
        boxes: the regions that the answer names, if `images` has exactly one; their pixels are its.
    """

    text: str
    token_ids: torch.Tensor
    tokens: list[str]
    probabilities: torch.Tensor
    images: list[ImageAttention]
    boxes: list[LocatedBox]

    @property
    def mean_log_probability(self) -> float:
        """Mean of the natural logarithms of the probabilities; 0 is certain."""
        return self.probabilities.log().mean().item()

    @property
    def confidence(self) -> float:
        """The geometric mean of the probabilities, from 0 to 1: `exp(mean_log_probability)`."""
        return math.exp(self.mean_log_probability)


@torch.no_grad()
def explain_answer(
    model: Any,
    processor: Any,
    messages: list[dict[str, Any]],
    *,
    layers: Collection[int] | None = None,
    heads: Collection[int] | None = None,
    processor_kwargs: dict[str, Any] | None = None,
    **generation: Any,
) -> Answer:
    """Answer a conversation about images, and show where each token of the answer looked.

    The model may be loaded with any attention implementation; `attention.py` says how the weights are found.
    InternVL3.5-Flash answers with whole tiles here, none of them compressed.

    Args:
        model: a chat model whose images are tiles (not InternVL-Chat v1 in LLaVA's layout).
        processor: its processor.
        messages: one conversation, as for `apply_chat_template`, with images, videos or both.
        layers, heads: of the language model, over which attention is averaged; negative numbers count from the last.
            None: all.
        processor_kwargs: such as `max_patches`.
        generation: arguments of `generate`, such as `max_new_tokens`.

    Raises:
        ValueError: no image and no video, a model whose image tokens have no place in the image, several beams or
            answers, or a layer or head that there is not.
    """
    _check(plain_model(model).config, processor, generation)
    chats, batched = normalized(messages)
    media = Media.of(chats)
    if batched or not any(media.image + media.video):
        found = f"{sum(map(len, media.image))} images and {sum(map(len, media.video))} videos"
        raise ValueError(f"Expected one conversation with an image or a video, got {len(chats)} with {found}.")
    options = {**(processor_kwargs or {}), **SEEN_OPTIONS}
    inputs = processor.apply_chat_template(
        messages,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs=options,
    )
    given = images_seen(processor, chats[0], inputs)
    answer, logits, weights = _generate(model, processor, inputs, layers, heads, generation)
    probabilities = logits.softmax(-1).gather(1, answer[:, None])[:, 0].cpu()
    version = getattr(plain_model(model).config, "ps_version", "v2")
    parts = weights.split([part.tiles * processor.image_seq_length for part in given], dim=1)
    images = [_image_attention(part, values, version) for part, values in zip(given, parts, strict=True)]
    return Answer(
        text=processor.decode(answer, skip_special_tokens=True).strip(),
        token_ids=answer.cpu(),
        tokens=[processor.tokenizer.decode([token]) for token in answer.tolist()],
        probabilities=probabilities,
        images=images,
        boxes=_boxes(processor, answer.tolist(), probabilities, given[0].image.size[::-1]) if len(given) == 1 else [],
    )


def _generate(
    model: Any,
    processor: Any,
    inputs: Any,
    layers: Collection[int] | None,
    heads: Collection[int] | None,
    options: dict[str, Any],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The answer `(A,)`, its logits `(A, V)` in float32, and its attention to image tokens `(A, N)`."""
    ids = inputs["input_ids"].to(model.device)  # (1, L)
    pixels = inputs["pixel_values"].to(model.device, model.dtype)
    positions = (ids[0] == processor.image_token_id).nonzero().flatten()  # (N,)
    config = plain_model(model).config
    cache = DynamicCache(config=config)
    whole_tiles = {} if getattr(config, "flash_mode", None) is None else {"flash_mode": False}
    stride = {"v2pe_stride": options.get("v2pe_stride")}
    plain_model(model)(
        input_ids=ids[:, :-1], pixel_values=pixels, cache=cache, logits_to_keep=1, **whole_tiles, **stride
    )
    with record_attention(model, positions, ids.shape[1] - 1, layers, heads) as recording:
        outputs = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            cache=cache,
            return_dict_in_generate=True,
            output_logits=True,
            **whole_tiles,
            **options,
        )
    logits = torch.cat(outputs.logits).float()
    return outputs.sequences[0, ids.shape[1] :].to(logits.device), logits, recording.mean()


def _check(config: Any, processor: Any, generation: dict[str, Any]) -> None:
    if not isinstance(processor.image_processor, InternVLImageProcessor):
        raise ValueError(
            f"Attention is put back to where tiles of InternVLImageProcessor lie, got an image processor of type "
            f"{type(processor.image_processor).__name__}, whose tokens have other places."
        )
    if getattr(config, "middleware_config", None) is not None:
        raise ValueError("The image tokens of this model are learned queries, which have no place in the image.")
    for name in ("num_beams", "num_return_sequences"):
        if generation.get(name) not in (None, 1):
            raise ValueError(f"`{name}` must be 1: attention of one answer is recorded, got {generation[name]}.")


def _image_attention(given: SeenImage, values: torch.Tensor, version: str) -> ImageAttention:
    """Maps of one image or frame from `(A, tiles * n)`."""
    columns, rows = given.grid
    tiles, thumbnail = split_maps(values, columns, rows, thumbnail=given.has_thumbnail, version=version)
    width, height = given.image.size
    box = (0, 0, width, height)
    if given.padded:
        longer = max(width, height)
        left, top = (longer - width) // 2, (longer - height) // 2
        box = (-left, -top, longer - left, longer - top)
    return ImageAttention(given.image, given.grid, tiles, thumbnail, box)


def _boxes(
    processor: Any, ids: list[int], probabilities: torch.Tensor, image_size: tuple[int, int]
) -> list[LocatedBox]:
    """The regions that an answer names, each with the geometric mean of the probabilities of its digits' tokens."""
    ends = [len(decode_regions(processor.tokenizer, ids[: end + 1])[0]) for end in range(len(ids))]
    (text,) = decode_regions(processor.tokenizer, ids)
    spans = list(pairwise([0, *ends]))
    found = []
    for label, region, span in locate_regions(text, image_size):
        numbers = [match.span() for match in _NUMBER.finditer(text, *span)]
        at = [
            i for i, (start, end) in enumerate(spans) if any(start < last and end > first for first, last in numbers)
        ]
        found.append(LocatedBox(label, region, probabilities[at].log().mean().exp().item()))
    return found


__all__ = ["Answer", "LocatedBox", "explain_answer"]
