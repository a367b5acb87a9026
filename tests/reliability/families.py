# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every golden tokenizer with every template that fits it: what text is tried on, and which ids steer a model."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import transformers_internvl  # noqa: F401  (registers)
from tests.parity.golden import golden_cases, golden_root
from transformers_internvl.processing.chat_templates import TEMPLATES, get_chat_template
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.images.image_processing_llava import InternVLLlavaImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.processor_llava import InternVLLlavaProcessor
from transformers_internvl.processing.text.placeholders import IMAGE_CONTEXT
from transformers_internvl.processing.tokenizers.loading import load_tokenizer

TILE = {"height": 28, "width": 28}


def _tokenizer_folders() -> dict[str, Path]:
    chats = {folder.name: folder for folder in golden_cases("chat_") if (folder / "chat.json").is_file()}
    return chats | {f"labels/{folder.name}": folder for folder in (golden_root() / "labels/tokenizers").iterdir()}


TOKENIZERS = _tokenizer_folders()


@lru_cache
def tokenizer_of(name: str) -> Any:
    """A golden tokenizer."""
    return load_tokenizer(TOKENIZERS[name])


@dataclass(frozen=True)
class Family:
    """A tokenizer with a template whose turns it can close."""

    tokenizer: str
    template: str
    llava: bool = False  # with the processor of InternVL-Chat v1

    def __str__(self) -> str:
        return f"{self.tokenizer}-{self.template}{'-llava' * self.llava}"


@lru_cache
def families() -> tuple[Family, ...]:
    """Every golden tokenizer with every template whose separators are tokens of its."""

    def fits(name: str, row: Any) -> bool:
        vocab = tokenizer_of(name).get_vocab()
        return all(text in vocab for text in (row.last_separator or row.separator, row.stop, IMAGE_CONTEXT))

    pairs = [(name, row) for name in sorted(TOKENIZERS) for row in TEMPLATES if fits(name, TEMPLATES[row])]
    llava = [(name, row) for name, row in pairs if row == "vicuna_v1"]
    return (*(Family(*pair) for pair in pairs), *(Family(*pair, llava=True) for pair in llava))


@lru_cache
def processor_of(family: Family) -> InternVLProcessor:
    """Its processor, with tiles of 28 pixels and one token each."""
    if family.llava:
        return InternVLLlavaProcessor(
            image_processor=InternVLLlavaImageProcessor(size={"shortest_edge": 28}, crop_size=TILE),
            tokenizer=tokenizer_of(family.tokenizer),
            image_seq_length=1,
            chat_template=get_chat_template(family.template, for_training=True),
        )
    return InternVLProcessor(
        image_processor=InternVLImageProcessor(size=TILE),
        tokenizer=tokenizer_of(family.tokenizer),
        image_seq_length=1,
        chat_template=get_chat_template(family.template, for_training=True),
    )


@lru_cache
def controls_of(family: Family) -> tuple[str, ...]:
    """The strings that stand for more than text with this tokenizer, and those of other families."""
    tokenizer = tokenizer_of(family.tokenizer)
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    rows = [value for row in TEMPLATES.values() for value in (row.user_prefix, row.assistant_prefix, row.stop)]
    named = [row for row in TEMPLATES.values() if row.grammar == "named_turns"]
    names = [f"{name}:" for row in named for name in (row.user_prefix, row.assistant_prefix)]
    names += [f" {name}" for name in names]
    media = ["<image>", "<video>", "<img>", "</img>", IMAGE_CONTEXT]
    return tuple(sorted({*added, *rows, *names, *media, *getattr(tokenizer, "spare_pieces", {})} - {""}))


@lru_cache
def control_ids(family: Family) -> frozenset[int]:
    """The ids that open and close turns and stand for images: what typed text must never have."""
    tokenizer = tokenizer_of(family.tokenizer)
    template = processor_of(family).chat_template
    added = tokenizer.added_tokens_decoder.items()
    mine = {index for index, token in added if token.special or (token.content in template and token.content.strip())}
    return frozenset(mine - {tokenizer.unk_token_id, *tokenizer.convert_tokens_to_ids(["<think>", "</think>"])})


def count_roles(family: Family, ids: list[int]) -> int:
    """How often the ids of a role name in plain text occur, as the template's own does."""
    row = TEMPLATES[family.template]
    if row.grammar != "named_turns":
        return 0
    tokenizer = tokenizer_of(family.tokenizer)
    count = 0
    for name in (row.user_prefix, row.assistant_prefix):
        lead = tokenizer("x", add_special_tokens=False)["input_ids"]
        marker = tokenizer(f"x {name}:", add_special_tokens=False)["input_ids"][len(lead) :]
        count += sum(ids[at : at + len(marker)] == marker for at in range(len(ids)))
    return count
