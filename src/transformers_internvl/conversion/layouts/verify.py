# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Whether two checkpoints are the same model, whatever their layouts, and where they part.

Four things are compared: settings, prompts and tokens, weights, and what both compute for one image and one text.
Weights are compared one at a time: those of the first are turned into the second's layout as a conversion would.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm
from transformers import AutoProcessor, PreTrainedModel

from ...modeling.dual_encoder.configuration import InternVLDualEncoderConfig
from ...modeling.internvl.configuration import InternVLConfig
from ...modeling.original_keys import BOOKKEEPING
from ..files.folders import local_folder
from ..files.weight_streams import Entry, WeightStream, as_bytes
from .auxiliary_files import generation_settings, has_tokenizer, image_token_id
from .configurations import Checkpoint, empty_model, hf_form, open_checkpoint, plain, weights_of
from .plan import Loading, Plan, Step, part_of

# Texts that distinguish tokenizers: spaces, digits, scripts, bytes, special tokens, marks.
PROBES = (
    "Hello, world!",
    "  two spaces\tand a tab\n\nand lines ",
    "1234567890 3.14 x^2",
    "<img><IMG_CONTEXT></img><ref>a cat</ref><box>[[1, 2, 3, 4]]</box><quad></quad>",
    "<|im_start|>user\nHi<|im_end|><|im_start|>assistant\n",
    "<s>[INST] </s><|end|><|return|>",
    "书生·万象 多模态 日本語 한국어 العربية",
    "naïve café Straße 🐈‍⬛ \u00a0\ufeff",
)
_IGNORED = (*BOOKKEEPING, "architectures", "original_config", "authors_config", "model_type")
SIDE = 96  # of the drawn image
PIECE = 1 << 22  # numbers that are compared at a time
DRAWN_IMAGE_TOKEN = 0  # without a tokenizer the right one is unknown


@dataclass
class Part:
    """Sums over the weights of one part of the model.

    Attributes:
        name: of the part.
        tensors, numbers: how many there are, and how many numbers they hold.
        differing: how many tensors differ.
        distance: largest absolute difference of two numbers.
    """

    name: str
    tensors: int = 0
    numbers: int = 0
    differing: int = 0
    distance: float = 0.0


@dataclass
class Comparison:
    """Two checkpoints next to each other.

    Attributes:
        parts: of the weights, by name.
        differences: one line each; none for equal checkpoints.
        notes: what could not be compared, one line each.
        logits: largest absolute difference of what both compute, and the largest value; None if not compared.
    """

    parts: dict[str, Part] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    logits: tuple[float, float] | None = None

    @property
    def equal(self) -> bool:
        """Whether no difference was found."""
        return not self.differences


def compare_checkpoints(
    first: str | os.PathLike,
    second: str | os.PathLike,
    *,
    forward: bool = True,
    progress: bool = True,
    **hub_options: Any,
) -> Comparison:
    """Compare two checkpoints of any layouts.

    Args:
        first, second: folders or Hub ids.
        forward: also load both, one after the other, and compare what they compute. Needs memory for one of them.
        progress: show a bar on stderr.
        hub_options: `revision`, `token`, `cache_dir`, ... of `snapshot_download`.

    Raises:
        OSError, ValueError: a checkpoint cannot be read, or its weights are not those that its `config.json` says.
    """
    sides = [open_checkpoint(local_folder(name, **hub_options)) for name in (first, second)]
    models = [empty_model(side.config) for side in sides]
    result = Comparison()
    _compare_settings(sides, result)
    processors = _processors(sides, result)
    if processors:
        _compare_prompts(processors, result)
    comparable = _compare_weights(sides, models, result, progress)
    if forward and comparable:
        _compare_outputs(sides, models, processors, result)
    return result


# --- settings --------------------------------------------------------------------------------------------------------


def _compare_settings(sides: list[Checkpoint], result: Comparison) -> None:
    """`config.json`, in the fields that mean something, and the generation settings."""
    settings = []
    for side in sides:
        fields = dict(_flat(plain(hf_form(side).to_dict())))
        if isinstance(side.config, InternVLConfig):
            fields["image_token_id"] = image_token_id(side)
        settings.append(fields)
    _compare_fields("config.json", settings, result)
    _compare_fields("generation_config.json", [dict(generation_settings(side) or {}) for side in sides], result)


def _compare_fields(where: str, sides: list[dict[str, Any]], result: Comparison) -> None:
    for key in sorted(sides[0].keys() | sides[1].keys()):
        one, other = (side.get(key) for side in sides)
        if one != other:
            result.differences.append(f"{where}: {key} is {one!r}, and {other!r}")


def _flat(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings with dots in their names, without what says nothing about the model."""
    for key, value in fields.items():
        if key in _IGNORED:
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


# --- prompts and tokens ----------------------------------------------------------------------------------------------


def _processors(sides: list[Checkpoint], result: Comparison) -> list[Any]:
    """Both processors; none if one folder has no tokenizer."""
    there = [has_tokenizer(side.folder) for side in sides]
    if all(there):
        return [AutoProcessor.from_pretrained(side.folder) for side in sides]
    if any(there):
        result.differences.append(f"tokenizer: {sides[there.index(False)].folder} has none")
    return []


def _compare_prompts(processors: list[Any], result: Comparison) -> None:
    """Tokenizers on probes, processors' settings and the prompt that they make."""
    for probe in PROBES:
        one, other = (processor.tokenizer(probe, truncation=True)["input_ids"] for processor in processors)
        if one != other:
            result.differences.append(f"tokenizer: {probe!r} is {_some(one)}, and {_some(other)}")
    settings = [dict(_flat(plain(processor.image_processor.to_dict()))) for processor in processors]
    settings = [{k: v for k, v in side.items() if not k.endswith(("_type", "processor_class"))} for side in settings]
    for side, processor in zip(settings, processors, strict=True):
        side["image_seq_length"] = getattr(processor, "image_seq_length", None)
    _compare_fields("processor", settings, result)
    if getattr(processors[0], "chat_template", None) and getattr(processors[1], "chat_template", None):
        one, other = (processor.apply_chat_template(_conversation(), tokenize=False) for processor in processors)
        # Both placeholders mean the same to a processor.
        one, other = (text.replace("<IMG_CONTEXT>", "<image>") for text in (one, other))
        if one != other:
            result.differences.append(f"chat template: a prompt is {one!r}, and {other!r}")


def _conversation() -> list[dict[str, Any]]:
    content = [{"type": "image", "image": drawn_image()}, {"type": "text", "text": "What is this?"}]
    return [{"role": "user", "content": content}]


def drawn_image() -> Image.Image:
    """The image that both models get: gradients and edges, the same on every machine."""
    row, column = np.mgrid[:SIDE, : SIDE + SIDE // 2]
    bands = [(row * (3 + band) + column * 5 + row * column // 7 + 31 * band) % 256 for band in range(3)]
    return Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8))


def _some(ids: list[int]) -> str:
    return f"[{', '.join(map(str, ids[:12]))}{', ...' if len(ids) > 12 else ''}]"


# --- weights ---------------------------------------------------------------------------------------------------------


def _compare_weights(
    sides: list[Checkpoint], models: list[PreTrainedModel], result: Comparison, progress: bool
) -> bool:
    """Names, dtypes and numbers; False if the two are not of one architecture."""
    ours, theirs = (weights_of(side) for side in sides)
    for files in (ours, theirs):
        for key in files.left_out_before:
            del files.entries[key]
    first, second = (
        Loading(model, {key: entry.on_meta() for key, entry in files.entries.items()}, str(side.folder))
        for side, model, files in zip(sides, models, (ours, theirs), strict=True)
    )
    try:
        plan = Plan(first, models[1])
    except ValueError as error:
        result.differences.append(f"weights: the two are of different architectures. {error}")
        return False
    known = {key for step in plan.steps for key in step.made}
    for key in sorted(theirs.entries.keys() - known - set(second.left_out)):
        result.differences.append(f"weights: {key} is in the second alone")
    with tqdm(total=sum(step.nbytes for step in plan.steps), unit="B", unit_scale=True, disable=not progress) as bar:
        for step in plan.steps:
            for key, tensor in _made(plan, step, ours):
                name = part_of(step.parameters[0])
                part = result.parts.setdefault(name, Part(name))
                part.tensors, part.numbers = part.tensors + 1, part.numbers + tensor.numel()
                difference, distance = _difference(key, tensor, theirs.entries.get(key), theirs)
                if difference:
                    part.differing, part.distance = part.differing + 1, max(part.distance, distance)
                    result.differences.append(f"weights: {difference}")
            bar.update(step.nbytes)
    return True


def _made(plan: Plan, step: Step, files: WeightStream) -> Iterator[tuple[str, torch.Tensor]]:
    """What a step makes, under the second checkpoint's names."""
    if step.copies is not None:
        yield from ((key, files.read(files.entries[source])) for key, source in step.copies.items())
    else:
        yield from plan.run(step, {key: files.read(files.entries[key]) for key in step.sources}).items()


def _difference(key: str, ours: torch.Tensor, entry: Entry | None, files: WeightStream) -> tuple[str, float]:
    """What is different about one weight, in words and as the largest distance of two numbers."""
    if entry is None:
        return f"{key} is in the first alone", 0.0
    if tuple(ours.shape) != entry.shape:
        return f"{key} is {list(ours.shape)}, and {list(entry.shape)}", float("inf")
    theirs = files.read(entry)
    if ours.dtype == theirs.dtype and as_bytes(ours.contiguous()) == as_bytes(theirs):
        return "", 0.0
    differing, distance, first = _distances(ours, theirs)
    words = [f"{ours.dtype} and {theirs.dtype}".replace("torch.", "")] if ours.dtype != theirs.dtype else []
    if differing:
        place = [int(index) for index in np.unravel_index(first, ours.shape)]
        words.append(
            f"{differing} of {ours.numel()} numbers differ, by {distance:.3g} at most; the first at "
            f"{place}: {ours[tuple(place)].item():.6g} and {theirs[tuple(place)].item():.6g}"
        )
    return f"{key}: {'; '.join(words or ['other bits of equal numbers'])}", distance


def _distances(ours: torch.Tensor, theirs: torch.Tensor) -> tuple[int, float, int]:
    """How many numbers of two tensors of one shape differ, by how much at most, and which is the first.

    In float64, `PIECE` of them at a time; a number that is none differs from all others without bound.
    """
    count, largest, first = 0, 0.0, -1
    for start in range(0, ours.numel(), PIECE):
        one, other = (side.reshape(-1)[start : start + PIECE].double() for side in (ours, theirs))
        distances = (one - other).abs().nan_to_num(nan=float("inf"), posinf=float("inf"))
        differing = distances.ne(0)
        if some := int(differing.sum()):
            first = start + int(differing.int().argmax()) if first < 0 else first
            count, largest = count + some, max(largest, distances.max().item())
    return count, largest, first


# --- what they compute -----------------------------------------------------------------------------------------------


@torch.no_grad()
def _compare_outputs(
    sides: list[Checkpoint], models: list[PreTrainedModel], processors: list[Any], result: Comparison
) -> None:
    """One forward pass of each on the same image and text."""
    if processors:
        inputs = [dict(_processed(side, processor)) for side, processor in zip(sides, processors, strict=True)]
    else:
        result.notes.append("There is no tokenizer: both saw drawn pixels and ids instead of a prompt.")
        inputs = [_drawn_inputs(sides[0])] * 2
    pairs = zip(sides, models, inputs, strict=True)
    shapes, outputs = zip(
        *(_output(side, type(empty), values, drawn=not processors) for side, empty, values in pairs), strict=True
    )
    if shapes[0] != shapes[1]:
        result.differences.append(f"outputs: {shapes[0]}, and {shapes[1]}")
        return
    one, other = outputs
    distance, scale = _distances(one, other)[1], one.abs().max().item()
    result.logits = (distance, scale)
    precision = max(torch.finfo(side.dtype).eps for side in (one, other))
    if not distance <= 100 * precision * scale < float("inf"):  # not: NaN and infinity are differences
        result.differences.append(f"outputs: they differ by {distance:.3g}, the largest is {scale:.3g}")


def _processed(side: Checkpoint, processor: Any) -> Any:
    if isinstance(side.config, InternVLDualEncoderConfig):
        return processor(images=drawn_image(), text=["an image", "two cats"], return_tensors="pt")
    return processor.apply_chat_template(
        _conversation(), add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )


def _drawn_inputs(side: Checkpoint) -> dict[str, torch.Tensor]:
    """Pixels, and for a chat model ids with its image tokens, for a checkpoint without a tokenizer."""
    config, generator = side.config, torch.Generator().manual_seed(0)
    tower = getattr(config, "vision_config", config)
    height, width = (tower.image_size,) * 2 if isinstance(tower.image_size, int) else tower.image_size
    inputs = {"pixel_values": torch.randn(1, 3, height, width, generator=generator)}
    if isinstance(config, InternVLConfig):
        ids = torch.arange(1, min(17, config.text_config.vocab_size))
        image = torch.full((config.image_seq_length,), DRAWN_IMAGE_TOKEN)
        inputs["input_ids"] = torch.cat([ids[:8], image, ids[8:]])[None]
    return inputs


def _output(
    side: Checkpoint, cls: type[PreTrainedModel], inputs: dict[str, torch.Tensor], *, drawn: bool
) -> tuple[list[int], torch.Tensor]:
    """Logits of a chat model, similarities of InternVL-14B, last hidden states of a tower.

    Returns:
        The shape that all of them have, and they; of a chat model `PIECE` numbers at most, at positions that are
        evenly spread and end with the last, which has seen all others.
    """
    model = cls.from_pretrained(side.folder, dtype="auto").eval()
    if isinstance(side.config, InternVLConfig) and drawn:
        model.config.image_token_id = DRAWN_IMAGE_TOKEN
    inputs = {k: v.to(model.dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    if isinstance(side.config, InternVLConfig) and model.get_output_embeddings() is not None:
        length, vocabulary = inputs["input_ids"].shape[1], side.config.text_config.vocab_size
        count = min(length, max(1, PIECE // vocabulary))
        kept = [length - 1 - index * (length - 1) // max(count - 1, 1) for index in range(count)]
        return [1, length, vocabulary], model(**inputs, logits_to_keep=torch.tensor(kept[::-1])).logits
    outputs = model(**inputs)
    found = [getattr(outputs, name, None) for name in ("logits", "logits_per_image", "last_hidden_state")]
    output = next((value for value in found if value is not None), outputs[0])
    return list(output.shape), output


__all__ = ["Comparison", "Part", "compare_checkpoints", "drawn_image"]
