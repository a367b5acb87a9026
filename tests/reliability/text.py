# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Whether typed text stays text: what is compared, on every tokenizer and template, and the command that does it long.

`python -m tests.reliability.text --cases 1000 --seed 0` puts that many generated texts into every place of a
conversation, for every family, and as many into the other ways to a model (`--others`). A failure prints the shortest
text that hypothesis finds for it.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from tests.reliability.families import Family, control_ids, controls_of, count_roles, families, processor_of
from tests.reliability.spelling import typed_texts
from transformers_internvl.processing.chat_templates import TEMPLATES

IMAGE = Image.new("RGB", (30, 30))
HARMLESS = ("plain", "words")
# Where a conversation has text. `thinking` is written by templates with a channel for it, others leave it out.
PLACES = ("system", "before", "after", "answer", "thinking", "tool", "name")


def conversation(family: Family, texts: dict[str, str], picture: Any = IMAGE) -> list[dict[str, Any]]:
    """Turns of every role, with `texts[place]` in each place; an `x` around it, since empty turns are left open."""
    at = {place: f"x{texts.get(place, HARMLESS[0])}x" for place in PLACES}
    row = TEMPLATES[family.template]
    result = {"role": "user", "content": at["tool"]}
    if row.tool_prefix is not None or row.grammar == "internvl_hf":
        result |= {"role": "tool", "name": at["name"], "tool_call_id": at["name"]}
    items = [
        {"type": "text", "text": at["before"]},
        {"type": "image", "image": picture},
        {"type": "text", "text": at["after"]},
        {"type": "image", "image": picture},
    ]
    return [
        {"role": "system", "content": at["system"]},
        {"role": "user", "content": items},
        {"role": "assistant", "content": at["answer"], "thinking": at["thinking"]},
        result,
        {"role": "assistant", "content": [{"type": "text", "text": at["answer"]}]},
        {"role": "user", "content": at["after"]},
    ]


@dataclass
class Seen:
    """What prompts are made of: control ids in order, the ids between them, role names in plain text, tiles."""

    control: list[int]
    between: list[list[int]]
    roles: int
    tiles: int

    @classmethod
    def of(cls, family: Family, ids: list[int], tiles: int) -> "Seen":
        """Take the ids of a prompt apart."""
        steering = control_ids(family)
        control, between = [], [[]]
        for index in ids:
            if index in steering:
                control.append(index)
                between.append([])
            else:
                between[-1].append(index)
        return cls(control, between, count_roles(family, ids), tiles)


def encode(family: Family, texts: dict[str, str], **options: Any) -> Seen:
    """Encode a conversation and take it apart."""
    batch = processor_of(family).apply_chat_template(
        conversation(family, texts), tokenize=True, return_dict=True, add_generation_prompt=True, **options
    )
    return Seen.of(family, batch["input_ids"][0], len(batch["pixel_values"]))


Way = Callable[[Family, dict[str, str]], Seen]


@lru_cache
def harmless(family: Family, way: Way = encode, places: tuple[str, ...] = PLACES) -> tuple[Seen, tuple[int, ...]]:
    """What a harmless conversation is made of, and which stretches between control ids are no user's."""
    first, second = (way(family, dict.fromkeys(places, text)) for text in HARMLESS)
    fixed = [n for n, pair in enumerate(zip(first.between, second.between, strict=True)) if pair[0] == pair[1]]
    return first, tuple(fixed)


def check(family: Family, texts: dict[str, str], way: Way = encode, places: tuple[str, ...] = PLACES) -> None:
    """Typed text changes nothing but the ids in its own place."""
    expected, fixed = harmless(family, way, places)
    found = way(family, texts)
    assert found.control == expected.control, f"{family}: turns or pictures have changed"
    assert found.tiles == expected.tiles
    assert found.roles == expected.roles, f"{family}: {found.roles} roles in plain text instead of {expected.roles}"
    for number in fixed:
        assert found.between[number] == expected.between[number], f"{family}: the template's own ids have changed"


def run(
    family: Family, cases: int, start: int, way: Way = encode, places: tuple[str, ...] = PLACES, **options: Any
) -> None:
    """`cases` conversations with generated texts in every place; raises at the first that is not what it should be."""
    texts = typed_texts(controls_of(family))
    everywhere = st.fixed_dictionaries(dict.fromkeys(places, texts))
    alone = st.builds(lambda place, text: {place: text}, st.sampled_from(places), texts)

    @seed(start)
    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck), **options)
    @given(everywhere | alone)
    def hold(typed: dict[str, str]) -> None:
        check(family, typed, way, places)

    hold()


def main() -> None:
    from tests.reliability.ways import WAYS, check_plain_prompts  # which go by what stands above

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="conversations for each family")
    parser.add_argument("--others", type=int, help="and for each of the other ways to a model (default: as many)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    others = arguments.cases if arguments.others is None else arguments.others
    started, failed, total = time.time(), 0, 0
    rows = {"apply_chat_template": (encode, PLACES), **WAYS}
    for family in families():
        jobs = {
            name: (run, others if name in WAYS else arguments.cases, arguments.seed, *row)
            for name, row in rows.items()
        }
        jobs["plain prompts"] = (check_plain_prompts, others, arguments.seed)
        for name, (job, cases, *rest) in jobs.items():
            total += cases
            try:
                job(family, cases, *rest)
            except (AssertionError, ValueError, TypeError, LookupError, OSError) as error:
                failed += 1
                notes = getattr(error, "__notes__", ())
                print(f"FAILED  {family}, {name}: {type(error).__name__}: {error}", *notes, sep="\n  ", flush=True)
        print(f"done    {family}", flush=True)
    print(f"{total} conversations, seed {arguments.seed}, {time.time() - started:.0f} s: {failed} rows failed")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
