# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Where images and videos stand in prompts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from ..text import untrusted_text
from .untrusted_text import Prompt, find_token

START_IMAGE, END_IMAGE, IMAGE_CONTEXT = "<img>", "</img>", "<IMG_CONTEXT>"
IMAGE, VIDEO = "<image>", "<video>"
MAX_SEQ_LENGTH = 1_000_000  # tokens of one tile; released models have 64 to 1,024

_PATTERN = re.compile(f"(?P<image>{IMAGE}|{IMAGE_CONTEXT})|(?P<video>{VIDEO})")
_SPELLINGS = {"image": f"{IMAGE} or {IMAGE_CONTEXT}", "video": VIDEO}


@dataclass(frozen=True)
class Place:
    """A placeholder: `text[start:end]` of a prompt stands for an `"image"` or a `"video"`."""

    start: int
    end: int
    kind: str


def ready_prompts(text: Any, trust_text: Any) -> list[Prompt]:
    """The prompts that a processor was called with, all of whose text is trusted.

    Raises:
        ValueError: there is no text, or `trust_text` asks for less trust.
    """
    if trust_text not in (None, True):
        raise ValueError(
            f"`trust_text={trust_text!r}`: a ready prompt does not tell whose text is whose, so all of it writes "
            "tokens. Give a conversation (`apply_chat_template`; to a pipeline, messages) for what others typed."
        )
    if text is None:
        raise ValueError(
            "InternVLProcessor needs `text`: a prompt with <image> for every image. For pixels alone call "
            "`processor.image_processor`."
        )
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, (list, tuple)) or not texts or not all(isinstance(sample, str) for sample in texts):
        raise ValueError(f"`text` must be a string or a list of strings, at least one, got {texts!r:.80}.")
    return [Prompt(sample) for sample in texts]


def find_places(prompt: Prompt) -> list[Place]:
    """The placeholders of a prompt in order; what the user typed is none."""
    matches = _PATTERN.finditer(prompt.text)
    return [Place(m.start(), m.end(), str(m.lastgroup)) for m in matches if not prompt.is_data(*m.span())]


def by_sample(kind: str, items: Sequence[Any], places: list[list[Place]], nested: bool) -> list[list[Any]]:
    """Images or videos as one list a prompt.

    Args:
        kind: "image" or "video".
        items: the items of all prompts in order, or, if `nested`, one list (or None) a prompt.
        places: the placeholders of each prompt.
        nested: whether `items` are sorted by prompt.

    Raises:
        ValueError: there are more or fewer than placeholders.
    """
    wanted = [sum(place.kind == kind for place in sample) for sample in places]
    if nested:
        items = [[item for item in _as_list(sample) if item is not None] for sample in items]
    if nested and len(items) != len(places):
        items, nested = list(chain.from_iterable(items)), False
    if not nested:
        if len(items) != sum(wanted):
            raise ValueError(
                f"The number of {kind} tokens in the prompts should be the same as the number of {kind}s passed, but "
                f"the prompts have {sum(wanted)} placeholders ({_SPELLINGS[kind]}; {wanted} by sample) and "
                f"{len(items)} {kind}s were passed. {_advice(kind)}"
            )
        ends = np.cumsum(wanted)
        return [list(items[end - count : end]) for end, count in zip(ends, wanted, strict=True)]
    for index, (sample, count) in enumerate(zip(items, wanted, strict=True)):
        if len(sample) != count:
            raise ValueError(
                f"Sample {index}: {len(sample)} {kind}s were passed, but its prompt has {count} {kind} placeholders "
                f"({_SPELLINGS[kind]}). {_advice(kind)}"
            )
    return list(items)


def _as_list(items: Any) -> list[Any]:
    if items is None:
        return []
    return list(items) if isinstance(items, (list, tuple)) else [items]


def _advice(kind: str) -> str:
    return (
        f"Every {kind} needs a placeholder of its own; in a conversation that is a content item of type '{kind}', "
        "since typed text stays text unless `trust_text` allows it."
    )


def expand(
    prompts: list[Prompt], places: list[list[Place]], texts: dict[str, list[str]]
) -> tuple[list[Prompt], list[list[dict[str, Any]]]]:
    """Put `texts[kind]`, in order over all prompts, into the places of their kind.

    Returns the prompts, and for each the replacements as transformers' processors report them: `type`, `span`,
    `new_span`, `text` and `replacement`.
    """
    iterators = {kind: iter(items) for kind, items in texts.items()}
    expanded, reports = [], []
    for prompt, sample in zip(prompts, places, strict=True):
        edits = [(place.start, place.end, next(iterators[place.kind])) for place in sample]
        expanded.append(untrusted_text.replace(prompt, edits))
        report, gained = [], 0
        for place, (start, end, text) in zip(sample, edits, strict=True):
            new_span = (start + gained, start + gained + len(text))
            old = prompt.text[start:end]
            report.append(
                {"type": place.kind, "span": (start, end), "new_span": new_span, "text": old, "replacement": text}
            )
            gained += len(text) - (end - start)
        reports.append(report)
    return expanded, reports


def check_image_tokens(input_ids: Any, replaced: list[list[dict[str, Any]]], image_token_id: int) -> None:
    """Raise `ValueError` if the ids do not hold all the image tokens that `expand` put into the prompts."""
    for index, (ids, entries) in enumerate(zip(input_ids, replaced, strict=True)):
        expected = sum(entry["replacement"].count(IMAGE_CONTEXT) for entry in entries)
        found = int(np.count_nonzero(np.asarray(ids) == image_token_id))
        if found != expected:
            raise ValueError(
                f"Mismatch in `image` token count between text and `input_ids`: sample {index} has {expected} "
                f"image tokens, of which {found} are left in its ids. Truncation would cut an image in two: "
                "raise or leave out `max_length`, or lower `max_patches`."
            )


def checked_length(image_seq_length: Any) -> int:
    """The tokens of one tile, unless that is no number that can be meant: `ValueError`."""
    if type(image_seq_length) is not int or not 1 <= image_seq_length <= MAX_SEQ_LENGTH:
        raise ValueError(
            f"`image_seq_length`, the tokens of one tile, must be a whole number from 1 to {MAX_SEQ_LENGTH}, got "
            f"{image_seq_length!r:.80}."
        )
    return image_seq_length


def token_id(tokenizer: Any, token: str) -> int:
    """The id of a token that InternVL cannot do without, by its text. Raises `ValueError` if there is none."""
    index = find_token(tokenizer, token)
    if index is None:
        raise ValueError(
            f"The tokenizer has no token {token!r}. Load the tokenizer of an InternVL chat checkpoint, or add "
            f"{START_IMAGE}, {END_IMAGE} and {IMAGE_CONTEXT} as special tokens and resize the model's embeddings."
        )
    return index
