# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Whether typed text stays text: what is compared, on every tokenizer and template, and the command that does it long.

`python -m tests.reliability.text --cases 1000 --seed 0` puts that many generated texts into every place of a
conversation, for every family. A failure prints the shortest text that hypothesis finds for it.
"""

import argparse
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

import transformers_internvl  # noqa: F401  (registers)
from tests.parity.golden import golden_cases, golden_root
from tests.reliability.spelling import typed_texts
from transformers_internvl.processing.chat_templates import TEMPLATES, get_chat_template
from transformers_internvl.processing.image_processing import InternVLImageProcessor
from transformers_internvl.processing.image_processing_llava import InternVLLlavaImageProcessor
from transformers_internvl.processing.placeholders import IMAGE_CONTEXT
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.processor_llava import InternVLLlavaProcessor
from transformers_internvl.processing.tokenization import load_tokenizer

PICTURE = Image.new("RGB", (30, 30))
TILE = {"height": 28, "width": 28}
HARMLESS = ("plain", "words")
# Where a conversation has text. `thinking` is written by templates with a channel for it, others leave it out.
PLACES = ("system", "before", "after", "answer", "thinking", "tool", "name")


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


def conversation(family: Family, texts: dict[str, str], picture: Any = PICTURE) -> list[dict[str, Any]]:
    """Turns of every role, with `texts[place]` in each place; an `x` around it, since empty turns are left open."""
    at = {place: f"x{texts.get(place, HARMLESS[0])}x" for place in PLACES}
    tool = "tool" if TEMPLATES[family.template].grammar == "internvl_hf" else "user"
    items = [
        {"type": "text", "text": at["before"]},
        {"type": "image", "image": picture},
        {"type": "text", "text": at["after"]},
        {"type": "image", "image": picture},
    ]
    return [
        {"role": "system", "content": at["system"]},
        {"role": "user", "content": items, "name": at["name"]},
        {"role": "assistant", "content": at["answer"], "thinking": at["thinking"]},
        {"role": tool, "content": at["tool"], "name": at["name"], "tool_call_id": at["name"]},
        {"role": "assistant", "content": [{"type": "text", "text": at["answer"]}]},
        {"role": "user", "content": at["after"]},
    ]


@dataclass
class Seen:
    """What a prompt is made of: its control ids in order, the ids between them, role names in plain text, tiles."""

    control: list[int]
    between: list[list[int]]
    roles: int
    tiles: int


def encode(family: Family, texts: dict[str, str], **options: Any) -> Seen:
    """Encode a conversation and take it apart."""
    processor = processor_of(family)
    messages = conversation(family, texts)
    batch = processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, add_generation_prompt=True, **options
    )
    ids = batch["input_ids"][0]
    control_ids = _control_ids(family)
    control, between = [], [[]]
    for index in ids:
        if index in control_ids:
            control.append(index)
            between.append([])
        else:
            between[-1].append(index)
    return Seen(control, between, _count_roles(family, ids), len(batch["pixel_values"]))


@lru_cache
def _control_ids(family: Family) -> frozenset[int]:
    tokenizer = tokenizer_of(family.tokenizer)
    template = processor_of(family).chat_template
    added = tokenizer.added_tokens_decoder.items()
    mine = {index for index, token in added if token.special or (token.content in template and token.content.strip())}
    return frozenset(mine - {tokenizer.unk_token_id, *tokenizer.convert_tokens_to_ids(["<think>", "</think>"])})


def _count_roles(family: Family, ids: list[int]) -> int:
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


@lru_cache
def harmless(family: Family) -> tuple[Seen, tuple[int, ...]]:
    """What a harmless conversation is made of, and which stretches between control ids are no user's."""
    first, second = (encode(family, dict.fromkeys(PLACES, text)) for text in HARMLESS)
    fixed = [n for n, pair in enumerate(zip(first.between, second.between, strict=True)) if pair[0] == pair[1]]
    return first, tuple(fixed)


def check(family: Family, texts: dict[str, str]) -> None:
    """Typed text changes nothing but the ids in its own place."""
    expected, fixed = harmless(family)
    found = encode(family, texts)
    assert found.control == expected.control, f"{family}: turns or pictures have changed"
    assert found.tiles == expected.tiles
    assert found.roles == expected.roles, f"{family}: {found.roles} roles in plain text instead of {expected.roles}"
    for number in fixed:
        assert found.between[number] == expected.between[number], f"{family}: the template's own ids have changed"


def run(family: Family, cases: int, start: int, **options: Any) -> None:
    """`cases` conversations with generated texts in every place; raises at the first that is not what it should be."""
    texts = typed_texts(controls_of(family))
    everywhere = st.fixed_dictionaries(dict.fromkeys(PLACES, texts))
    alone = st.builds(lambda place, text: {place: text}, st.sampled_from(PLACES), texts)

    @seed(start)
    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck), **options)
    @given(everywhere | alone)
    def hold(typed: dict[str, str]) -> None:
        check(family, typed)

    hold()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="conversations for each family")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started, failed = time.time(), 0
    for family in families():
        try:
            run(family, arguments.cases, arguments.seed)
            print(f"ok      {family}", flush=True)
        except (AssertionError, ValueError, TypeError, LookupError) as error:
            failed += 1
            print(f"FAILED  {family}: {type(error).__name__}: {error}", *getattr(error, "__notes__", ()), sep="\n  ")
    total = arguments.cases * len(families())
    print(f"{total} conversations, seed {arguments.seed}, {time.time() - started:.0f} s: {failed} families failed")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
