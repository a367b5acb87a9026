# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Variable visual position encoding (V2PE, arXiv:2412.09616): image tokens take fractional steps.

Text, `<img>` and `</img>` count by 1. Within an image every token counts by a stride, a power of two; behind it the
count goes on at the next whole number and one more:

    tokens             a   <img>   i     i    i     i    </img>   b
    stride 1           0   1       2     3    4     5    6        7
    stride 1/4         0   1       1.25  1.5  1.75  2    3        4

A thousand image tokens then take the room of few positions, within the range that the language model was trained on.
The original code gives the stride in steps of a tile, `rope_pos_id_stride`: the stride here times its image tokens.

Shape letters: B rows, L positions.

Source: `get_rope_pos_id` of the original V2PE repository.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from ..pretrained.packed_masks import sample_numbers

VERSIONS = ("default", "v2pe_fix", "v2pe_rnd")
TILE_STEPS = tuple(2**power for power in range(9))  # of which the original training draws one for every image
RANDOM = "random"
SMALLEST, LARGEST = 2.0**-8, 2.0**8
_OF_PADDING = 1.0  # the position where the mask is 0, as in the original code

VisualStride: TypeAlias = float | torch.Tensor | str | None


def check_stride(stride: Any) -> float:
    """A stride as a number.

    Raises:
        ValueError: it is no power of two from 1/256 to 256.
    """
    number = isinstance(stride, (int, float)) and not isinstance(stride, bool)
    if not number or not SMALLEST <= stride <= LARGEST or math.frexp(stride)[0] != 0.5:
        raise ValueError(
            "`v2pe_stride` is the step of an image token, a power of two from 1/256 to 256 (1: off; 1/4: an image "
            f"takes a quarter of the positions); got {stride!r}."
        )
    return float(stride)


def stride_of_tile_steps(steps: Any, tokens_per_tile: int) -> float:
    """The stride of an original `rope_pos_id_stride`.

    Args:
        steps: positions that a tile takes, 1, 2, 4, ..., 256.
        tokens_per_tile: image tokens of a tile.

    Raises:
        ValueError: steps or tokens are no such power of two.
    """
    if isinstance(steps, bool) or steps not in TILE_STEPS:
        raise ValueError(f"`rope_pos_id_stride` is one of {', '.join(map(str, TILE_STEPS))}; got {steps!r}.")
    if tokens_per_tile & (tokens_per_tile - 1):
        raise ValueError(
            f"`rope_pos_id_stride` is for tiles with a power of two of image tokens, this model's have "
            f"{tokens_per_tile}: give `v2pe_stride`, the step of a token."
        )
    return int(steps) / tokens_per_tile


def check_versions(config: Any) -> None:
    """Refuse what a configuration says of V2PE and cannot be done.

    Raises:
        ValueError: an unknown version, a stride that is none, or pooled image tokens.
    """
    if config.rope_pos_id_version not in VERSIONS:
        raise ValueError(f"`rope_pos_id_version` is one of {', '.join(VERSIONS)}; got {config.rope_pos_id_version!r}.")
    if config.rope_pos_id_stride is not None:
        stride_of_tile_steps(config.rope_pos_id_stride, tokens_per_tile=1)
    elif config.rope_pos_id_version == "v2pe_fix":
        raise ValueError("`rope_pos_id_version='v2pe_fix'` needs `rope_pos_id_stride`, got None.")
    if getattr(config, "img_emb_down_sample_ratio", None) is not None:
        raise ValueError(
            "`img_emb_down_sample_ratio` must be None: the image tokens of a tile are not pooled here; got "
            f"{config.img_emb_down_sample_ratio!r}."
        )


def stride_of_call(
    config: Any, v2pe_stride: VisualStride, version: str | None = None, steps: int | None = None
) -> VisualStride:
    """The stride that the arguments of a call say, None: off.

    Args:
        config: of the chat model.
        v2pe_stride: the stride itself.
        version, steps: the original `rope_pos_id_version` and `rope_pos_id_stride`. Steps that are not given are the
            configuration's.

    Raises:
        ValueError: both ways were used, an unknown version, or a stride that is none.
    """
    if v2pe_stride is not None and (version is not None or steps is not None):
        raise ValueError("`v2pe_stride` and `rope_pos_id_version`, `rope_pos_id_stride` say the same: give one.")
    if version is None and steps is None:
        return v2pe_stride
    if version not in (*VERSIONS, None):
        raise ValueError(f"`rope_pos_id_version` is one of {', '.join(VERSIONS)}; got {version!r}.")
    if version == "v2pe_rnd":
        return RANDOM
    if version == "default":
        return None
    steps = config.rope_pos_id_stride if steps is None else steps
    if steps is None:
        raise ValueError(
            "`rope_pos_id_version='v2pe_fix'` needs `rope_pos_id_stride`, which neither the call nor the "
            f"configuration gives: one of {', '.join(map(str, TILE_STEPS))}."
        )
    return stride_of_tile_steps(steps, config.image_seq_length)


def stride_of_training(config: Any, training: bool) -> VisualStride:
    """The stride under which a loss is computed, by the configuration. What is drawn at random is drawn in training
    only."""
    if config.rope_pos_id_version == "v2pe_rnd" and not training:
        return None
    return stride_of_call(config, None, config.rope_pos_id_version)


@dataclass(frozen=True)
class ImageRuns:
    """Where the images of rows are. The tiles of an image follow each other, text stands between images.

    Attributes:
        image: `(B, L)`, True at image tokens.
        real: `(B, L)`, False at padding.
        begins: `(B, L)`, True at the first token of a row, and of every sample of a pack.
    """

    image: torch.Tensor
    real: torch.Tensor
    begins: torch.Tensor

    @classmethod
    def of(
        cls,
        placeholders: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
    ) -> "ImageRuns":
        """From placeholders `(B, L)`, and what the rows of a batch came with.

        Args:
            attention_mask: `(B, L)`, 0 at padding.
            position_ids: `(B, L)`, whole numbers. Without a mask, where they begin again, rows are packs.

        Raises:
            ValueError: the mask has another shape.
        """
        if attention_mask is not None and attention_mask.shape != placeholders.shape:
            raise ValueError(
                f"`v2pe_stride` counts over whole rows: `attention_mask` must be {tuple(placeholders.shape)}, got "
                f"{tuple(attention_mask.shape)}."
            )
        real = torch.ones_like(placeholders) if attention_mask is None else attention_mask.bool()
        real = real.to(placeholders.device)
        begins = torch.zeros_like(placeholders)
        begins[:, :1] = True
        if attention_mask is None and position_ids is not None:
            numbers = sample_numbers(position_ids.expand(len(placeholders), -1))
            if numbers is not None:
                begins[:, 1:] = numbers.diff(dim=-1).to(begins.device) != 0
        return cls(placeholders & real, real, begins)

    @property
    def starts(self) -> torch.Tensor:
        """`(B, L)`, True at the first token of every image."""
        before = torch.nn.functional.pad(self.image[:, :-1], (1, 0))
        return self.image & (~before | self.begins)

    @property
    def ends(self) -> torch.Tensor:
        """`(B, L)`, True at the last token of every image."""
        return self.image & torch.nn.functional.pad(~self.image[:, 1:] | self.starts[:, 1:], (0, 1), value=True)

    def draw(self) -> torch.Tensor:
        """A random number of steps of a tile for every image, `(images,)`, one as likely as the other."""
        numbers = torch.randint(len(TILE_STEPS), (int(self.starts.sum()),))
        return torch.tensor(TILE_STEPS)[numbers]

    def positions(self, stride: float | torch.Tensor) -> torch.Tensor:
        """Position ids `(B, L)`, float32.

        Args:
            stride: of all images, or of every image, `(images,)`, row by row.

        Raises:
            ValueError: as many strides as there are not images, or one that is none.
        """
        starts, columns = self.starts, torch.arange(self.image.shape[1], device=self.image.device)
        first = torch.where(starts, columns, 0).cummax(-1).values  # of the image, at its tokens
        taken = (columns - first + 1) * self._strides(starts, stride)  # (B, L), by the image so far
        steps = (self.real & ~self.image).long() + torch.where(self.ends, taken.ceil().long(), 0)
        total = steps.cumsum(-1)
        before = total - steps
        earlier = torch.where(self.begins, before, 0).cummax(-1).values  # of the samples in front, in a pack
        positions = torch.where(self.image, (before - earlier - 1).float() + taken, (total - earlier - 1).float())
        return positions.masked_fill(~self.real, _OF_PADDING)

    def _strides(self, starts: torch.Tensor, stride: float | torch.Tensor) -> torch.Tensor:
        """The stride at every position, where it is an image's, `(B, L)` or a scalar."""
        if not isinstance(stride, torch.Tensor):
            return torch.tensor(check_stride(stride), device=starts.device)
        images = int(starts.sum())
        if stride.shape != (images,):
            raise ValueError(f"`v2pe_stride` must be a number, or one for each of {images} images; got {stride}.")
        own = torch.tensor([1.0, *map(check_stride, stride.tolist())], device=starts.device)
        return own[starts.flatten().cumsum(0).reshape(starts.shape)]


def visual_positions(
    placeholders: torch.Tensor,
    stride: float | torch.Tensor | str,
    tokens_per_tile: int,
    attention_mask: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
) -> torch.Tensor:
    """Position ids of rows with images.

    Args:
        placeholders: `(B, L)`, True at image tokens.
        stride: the step of an image token; `(images,)` for every image its own; or `"random"`, which draws one for
            every image as the original training does.
        tokens_per_tile: image tokens of a tile, which `"random"` needs.
        attention_mask, position_ids: as of [`ImageRuns.of`].

    Returns:
        `(B, L)`, float32; exact for powers of two.

    Raises:
        ValueError: a stride that is none, or a mask of another shape.
    """
    runs = ImageRuns.of(placeholders, attention_mask, position_ids)
    if isinstance(stride, str):
        if stride != RANDOM:
            raise ValueError(f"`v2pe_stride` is a number, or {RANDOM!r}; got {stride!r}.")
        stride = runs.draw() * stride_of_tile_steps(1, tokens_per_tile)
    return runs.positions(stride)


def is_off(stride: VisualStride) -> bool:
    """Whether image tokens count as any other token."""
    return stride is None or (isinstance(stride, (int, float)) and check_stride(stride) == 1)


__all__ = [
    "ImageRuns",
    "TILE_STEPS",
    "VERSIONS",
    "VisualStride",
    "check_stride",
    "check_versions",
    "is_off",
    "stride_of_call",
    "stride_of_tile_steps",
    "stride_of_training",
    "visual_positions",
]
