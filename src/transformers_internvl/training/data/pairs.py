# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Image-caption rows to inputs of InternVL-14B's two stages of training.

    rows = [{"image": image, "caption": "a red panda"}, ...]

    ContrastiveCollator(processor)(rows)     stage 1: InternVLDualEncoderModel compares them
    PretrainingCollator(processor)(rows)     stage 2: InternVLDualEncoderForPreTraining matches, compares and captions

Special tokens that the user added to the vocabulary are tokens in captions; others are text.

Both are for `Trainer`, with `remove_unused_columns=False` in its arguments, as the recipes have it: rows become inputs
only here. Ranks must bring batches of one size: `dataloader_drop_last=True`.

Shape letters: B pairs, L text positions.

Source: arXiv:2312.14238, section 3.3; `internvl_g/internvl/train/dataset.py` of the original repository.

The end of InternVL-C's training: larger images, and whole ones (arXiv:2312.14238, section 3.3: 196 to 224 pixels).

    Trainer(model, ...).train()                    # 196 pixels, half of the patches
    show_whole_images(model, 224)
    Trainer(model, ...).train()                    # the rest; the processor gives 224 pixels now

Your own loop keeps its optimizer: `show_whole_images(model, 224, optimizer)`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...modeling.losses import IGNORE_INDEX
from ...processing.text import untrusted_text
from ...processing.tokenizers.dual_encoder import CAPTION_PROMPT
from ...processing.tokenizers.released_tokens import user_tokens

Row = dict[str, Any]


class ContrastiveCollator:
    """Stage 1: images, and `summarize:` with their captions.

    Args:
        processor: [`InternVLDualEncoderProcessor`].
        mode: `"InternVL-C"` (stage 1) or `"InternVL-G"`, whose image vectors are compared.
        augment: what happens to a row's image before the processor sees it, such as a random crop.
        truncation: truncate captions that are too long, as in the original code. Without it they are an error.
        max_length: tokens of a text at most; None: the tokenizer's 80.
        image_column, caption_column: where a row holds them.

    Returns:
        When called on rows: `pixel_values` `(B, 3, height, width)`, `input_ids` and `attention_mask` `(B, L)`,
        `return_loss`, and `mode` where it is not InternVL-C.

    Raises:
        ValueError: when called on no rows, rows without image or caption, or a caption that is too long.
    """

    def __init__(
        self,
        processor: Any,
        mode: str = "InternVL-C",
        augment: Callable[[Any], Any] | None = None,
        truncation: bool = False,
        max_length: int | None = None,
        image_column: str = "image",
        caption_column: str = "caption",
    ):
        self.processor, self.mode, self.augment = processor, mode, augment
        self.truncation, self.max_length = truncation, max_length or processor.tokenizer.model_max_length
        self.image_column, self.caption_column = image_column, caption_column

    def __call__(self, rows: Sequence[Row | None]) -> dict[str, Any]:
        present = [row for row in rows if row is not None]  # None was left out
        captions = self._captions(present)
        length = self._length([self._ids(captions)])
        batch = {"pixel_values": self._pixel_values(present), **self._padded("", self._ids(captions), length)}
        batch["return_loss"] = True
        return batch if self.mode == "InternVL-C" else {**batch, "mode": self.mode}

    def _captions(self, rows: Sequence[Row]) -> list[str]:
        if not rows:
            raise ValueError("A batch needs at least one row, got none.")
        for place, row in enumerate(rows):
            missing = [column for column in (self.image_column, self.caption_column) if column not in row]
            if missing:
                raise ValueError(
                    f"Row {place} of the batch has no {' and no '.join(map(repr, missing))}, only {sorted(row)}. In "
                    "`TrainingArguments` set `remove_unused_columns=False`, or name the columns to the collator."
                )
            if not isinstance(row[self.caption_column], str):
                raise ValueError(
                    f"The caption of row {place} of the batch is a {type(row[self.caption_column]).__name__}, not "
                    "a string. For several captions of an image make several rows."
                )
        return [row[self.caption_column] for row in rows]

    def _pixel_values(self, rows: Sequence[Row]) -> torch.Tensor:
        images = [row[self.image_column] for row in rows]
        if self.augment is not None:
            images = [self.augment(image) for image in images]
        return self.processor(images=images, return_tensors="pt")["pixel_values"]

    def _ids(self, texts: list[str], max_length: int | None = None, **options: Any) -> list[list[int]]:
        """Ids of every text, unpadded; `options` are the tokenizer's `prefix` and `add_eos_token`."""
        tokenizer = self.processor.tokenizer
        limit = {"max_length": max_length or self.max_length, "truncation": self.truncation}
        ids = tokenizer(texts, padding=False, **limit, **options)["input_ids"]
        added = user_tokens(tokenizer)
        for place, text in enumerate(texts):
            if not any(token in text for token in added):
                continue
            reserved = untrusted_text.control_pattern(tokenizer, "", added).search(text)
            if reserved is not None:
                raise ValueError(
                    f"A caption writes a token that was added to the vocabulary, and {reserved[0]!r}, which is "
                    f"reserved: take it out of {text!r:.100}."
                )
            ids[place] = tokenizer(text, split_special_tokens=False, padding=False, **limit, **options)["input_ids"]
        return ids

    @staticmethod
    def _length(tasks: list[list[list[int]]]) -> int:
        return max(len(ids) for rows in tasks for ids in rows)

    def _padded(self, name: str, rows: list[list[int]], length: int) -> dict[str, torch.Tensor]:
        """Ids and their mask, `(B, length)`, padded on the right."""
        ids = torch.full((len(rows), length), self.processor.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        return {f"{name}input_ids": ids, f"{name}attention_mask": mask}


class PretrainingCollator(ContrastiveCollator):
    """Stage 2: images, and their captions in three ways, all padded to one length.

    `input_ids` is `English caption:` and the caption, tokenized apart, so that it reads on as `generate` does;
    `labels` are -100 at the prompt and at padding. `summarize_input_ids` is `summarize:` and the caption,
    `positive_input_ids` the caption alone. Every one has its `attention_mask`. Negatives are not in the batch: the
    model draws them from its captions, so a batch needs two different ones.

    Args:
        prompt: of the captions; the model card's is `English caption:`.
        label_prompt_end: the last token of the prompt is a label, too, as in the original code. It is always the same
            token, and nothing is learned from it.
        Everything else as for [`ContrastiveCollator`], which see for what is raised.
    """

    def __init__(self, processor: Any, prompt: str = CAPTION_PROMPT, label_prompt_end: bool = False, **options: Any):
        super().__init__(processor, **options)
        self.prompt, self.label_prompt_end = prompt, label_prompt_end

    def __call__(self, rows: Sequence[Row | None]) -> dict[str, Any]:
        present = [row for row in rows if row is not None]  # None was left out
        captions = self._captions(present)
        prompt = self._ids([self.prompt], prefix="", add_eos_token=False)[0]
        room = self.max_length - len(prompt) + 1  # the caption loses its begin token
        written = [prompt + ids[1:] for ids in self._ids(captions, room, prefix="", add_eos_token=True)]
        summarized = self._ids(captions)
        plain = self._ids(captions, prefix="", add_eos_token=True)
        length = self._length([written, summarized, plain])

        batch = {"pixel_values": self._pixel_values(present), **self._padded("", written, length)}
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORE_INDEX)
        labels[:, : len(prompt) - self.label_prompt_end] = IGNORE_INDEX
        return {
            **batch,
            "labels": labels,
            **self._padded("summarize_", summarized, length),
            **self._padded("positive_", plain, length),
        }


def show_whole_images(model: Any, image_size: int, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Fit the tower's position table to larger images permanently, and end the patch masking.

    Args:
        model: [`InternVLDualEncoderModel`] or its vision half, not yet wrapped for several ranks.
        image_size: side of the images in pixels from now on; the processor must give that size.
        optimizer: one that trains the model further. The table is a new parameter: it takes the old one's place
            in its group, and its moments begin at 0. All others keep theirs.

    Raises:
        ValueError: a size that no whole number of patches fits, a model without a tower, or an optimizer that does
            not hold the table although it trains.
    """
    embeddings = getattr(getattr(model, "vision_model", None), "embeddings", None)
    before = getattr(embeddings, "position_embeddings", None)
    holds = [group for group in optimizer.param_groups if _place(group, before) is not None] if optimizer else []
    if optimizer is not None and before is not None and before.requires_grad and not holds:
        raise ValueError(
            "The optimizer does not hold the model's position table: give the one that trains this very model."
        )
    model.set_image_size(image_size)
    model.vision_model.config.patch_dropout = 0.0
    for group in holds:
        group["params"][_place(group, before)] = model.vision_model.embeddings.position_embeddings
    if optimizer is not None:
        optimizer.state.pop(before, None)


def _place(group: dict[str, Any], parameter: Any) -> int | None:
    """Where a parameter stands in a group."""
    return next((place for place, other in enumerate(group["params"]) if other is parameter), None)


__all__ = ["ContrastiveCollator", "PretrainingCollator", "show_whole_images"]
