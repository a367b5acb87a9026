# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A chat model in this process answers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image

from ...processing.images.pixels import error_context
from ..benchmarks.asking import Asked
from .answering import Reply
from .jobs import Job
from .sampling import seeded_sampling


class LocalModel:
    """A chat model and its processor.

    Args:
        model: [`InternVLForConditionalGeneration`] or a class of its kind.
        processor: [`InternVLProcessor`].
        name: for reports.
        batch_size: questions of one `generate`. The official code asks one at a time; in batches, sums are rounded in
            another order, and rarely a token differs.
        system_message: of questions without one; None = the chat template's.
    """

    def __init__(
        self, model: Any, processor: Any, *, name: str, batch_size: int = 1, system_message: str | None = None
    ):
        self.model, self.processor, self.name, self.batch_size = model, processor, name, batch_size
        self.system_message = system_message
        self._breaks_lines = breaks_lines(processor)

    def answer(
        self, batches: Iterable[list[Job]], prepare: Callable[[Job], Asked]
    ) -> Iterator[list[tuple[Job, Reply]]]:
        """The answers, batch by batch. Questions with other settings of generation are asked apart."""
        for batch in batches:
            asked = [prepare(job) for job in batch]
            replies: list[tuple[Job, Reply]] = []
            for group in _alike(batch, asked):
                replies += zip([job for job, _ in group], self._replies(group), strict=True)
            yield replies

    @torch.no_grad()
    def _replies(self, group: Sequence[tuple[Job, Asked]]) -> list[Reply]:
        with error_context(
            f"question {group[0][0].index}" if len(group) == 1 else f"questions from {group[0][0].index}"
        ):
            inputs = self._inputs([asked for _, asked in group])
        inputs = inputs.to(self.model.device, dtype=self.model.dtype)
        settings, processors = seeded_sampling(group[0][1].request.generation, [job.seed for job, _ in group])
        sequences = self.model.generate(**inputs, **settings, logits_processor=processors)
        new = sequences[:, inputs["input_ids"].shape[1] :]  # (rows, tokens)
        texts = self.processor.tokenizer.batch_decode(new, skip_special_tokens=True)
        lengths = [self._length(row) for row in new]
        most = settings.get("max_new_tokens", new.shape[1] + 1)
        return [
            Reply(stripped(text, asked), length, cut_off=length >= most and not self._ended(row))
            for text, length, row, (_, asked) in zip(texts, lengths, new, group, strict=True)
        ]

    def _inputs(self, asked: Sequence[Asked]) -> Any:
        conversations = [conversation(question, self.system_message, self._breaks_lines) for question in asked]
        thumbnails = {rule.use_thumbnail for question in asked for rule in question.request.images}
        options: dict[str, Any] = {"padding": True, "padding_side": "left", "crop_to_patches": True}
        if False in thumbnails:
            options["use_thumbnail"] = False
        continued = bool(asked[0].prefix)  # of all: they are alike
        inputs = self.processor.apply_chat_template(
            conversations,
            add_generation_prompt=not continued,
            continue_final_message=continued,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=options,
        )
        return self._as_one_image(inputs, asked[0]) if _is_joined(asked[0]) else inputs

    def _as_one_image(self, inputs: Any, asked: Asked) -> Any:
        """The tiles of all images in the place of the first, as the original code gives them to V1.5."""
        tiles = [inputs["pixel_values"]]
        for image, rule in list(zip(prepared_images(asked), asked.request.images, strict=True))[1:]:
            made = self.processor.image_processor(
                image,
                crop_to_patches=True,
                min_patches=1,
                max_patches=rule.max_tiles,
                use_thumbnail=rule.use_thumbnail,
                return_tensors="pt",
            )
            tiles.append(made["pixel_values"].reshape(-1, *tiles[0].shape[1:]))
        pixels = torch.cat(tiles)  # (tiles of all images, 3, side, side)
        ids, context = inputs["input_ids"][0], self.processor.image_token_id
        first = int((ids == context).nonzero()[0])
        more = ids.new_full(((len(pixels) - len(tiles[0])) * self.processor.image_seq_length,), context)
        inputs["input_ids"] = torch.cat([ids[:first], more, ids[first:]])[None]
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs["pixel_values"] = pixels
        return inputs

    def _stops(self) -> set[int]:
        stops = self.model.generation_config.eos_token_id
        return set(stops) if isinstance(stops, (list, tuple)) else {stops}

    def _ended(self, row: torch.Tensor) -> bool:
        return any(int(token) in self._stops() for token in row)

    def _length(self, row: torch.Tensor) -> int:
        """Tokens up to the first stop token, with it."""
        stops = self._stops()
        return next((number for number, token in enumerate(row.tolist(), 1) if token in stops), len(row))


def _alike(batch: Sequence[Job], asked: Sequence[Asked]) -> list[list[tuple[Job, Asked]]]:
    """The questions of a batch in groups that one `generate` can answer."""
    groups: dict[Any, list[tuple[Job, Asked]]] = {}
    for job, question in zip(batch, asked, strict=True):
        alone = (job if _is_joined(question) else None, bool(question.prefix))
        settings = tuple(sorted(question.request.generation.items(), key=lambda item: item[0]))
        groups.setdefault((repr(settings), alone), []).append((job, question))
    return list(groups.values())


def _is_joined(asked: Asked) -> bool:
    return asked.request.counts == "none" and len(asked.images) > 1


def prepared_images(asked: Asked) -> list[Image.Image]:
    """The images, in RGB, enlarged where the official code does that."""
    images = []
    for image, rule in zip(asked.images, asked.request.images, strict=True):
        image = image if image.mode == "RGB" else image.convert("RGB")
        if rule.enlarge > 1:
            image = image.resize((image.width * rule.enlarge, image.height * rule.enlarge), Image.Resampling.BILINEAR)
        images.append(image)
    return images


def conversation(asked: Asked, system_message: str | None = None, breaks_lines: bool = False) -> list[dict[str, Any]]:
    """The messages of a question, with its images.

    Args:
        asked: the question.
        system_message: where the question has none.
        breaks_lines: whether the chat template writes a line break behind every image: the text's own is left out.
    """
    images, rules = prepared_images(asked), asked.request.images
    content: list[dict[str, Any]] = []
    for piece in asked.request.content():
        if not isinstance(piece, str):
            limits = {"min_patches": 1, "max_patches": rules[piece].max_tiles}
            content.append({"type": "image", "image": images[piece], **limits})
            continue
        follows = bool(content) and content[-1]["type"] == "image"
        text = piece.removeprefix("\n") if follows and breaks_lines else piece
        if text:
            content.append({"type": "text", "text": text})
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    for answer, question in asked.further:
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        messages.append({"role": "user", "content": [{"type": "text", "text": question}]})
    system = system_message if asked.request.system_message is None else asked.request.system_message
    if system is not None:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    if asked.prefix:
        messages.append({"role": "assistant", "content": [{"type": "text", "text": asked.prefix}]})
    return messages


def stripped(text: str, asked: Asked) -> str:
    """A reply without spaces around it; behind a beginning that was given, its first one stays."""
    return text.rstrip() if asked.prefix else text.strip()


def sends_system_message(processor: Any) -> bool:
    """Whether the chat template sends a system message of its own; those of the -hf checkpoints do not."""
    rendered = processor.apply_chat_template([{"role": "user", "content": "."}])
    marked = processor.apply_chat_template([{"role": "system", "content": ""}, {"role": "user", "content": "."}])
    return len(rendered) > len(marked)


def breaks_lines(processor: Any) -> bool:
    """Whether the chat template writes a line break behind every image, as those of the -hf checkpoints do."""
    content = [{"type": "image", "image": ""}, {"type": "text", "text": "\n."}]
    return "\n\n." in processor.apply_chat_template([{"role": "user", "content": content}])


__all__ = ["LocalModel", "breaks_lines", "conversation", "prepared_images", "sends_system_message", "stripped"]
