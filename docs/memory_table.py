# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The table of docs/supported-models.md: memory of every released chat model, planned without weights.

`python docs/memory_table.py` prints it. One conversation, an image of 13 tiles, 8,192 positions in all, 512 of them
new, bfloat16; as `internvl plan NAME --tiles 13` counts it for one device with room for everything.
"""

from collections.abc import Iterable

import torch
from tqdm.auto import tqdm

from transformers_internvl.profiling import RELEASES, Request, memory_units, plan_devices, released_config

REQUEST = Request(tiles=13, images=1, context=8192 - 512, new_tokens=512, batch_size=1)
DTYPES: tuple[torch.dtype | str, ...] = (torch.bfloat16, "int4")
HEADER = ["release", "vision tower", "language model", "weights", "with the answer", "4 bits, with the answer"]


def row(name: str) -> str:
    """The row of a release; sizes in GB (10^9 bytes)."""
    sizes = []
    for dtype in DTYPES:
        plan = plan_devices(memory_units(released_config(name), REQUEST, dtype), {0: "10000GB"})
        needs = plan.shares[0].needs
        sizes.append((needs.weights / 1e9, needs.total / 1e9))
    (weights, total), (_, small) = sizes
    parts = RELEASES[name]
    return f"| `{name}` | {parts[0]} | {parts[1]} | {weights:.1f} | {total:.1f} | {small:.1f} |"


def table(names: Iterable[str] = tuple(RELEASES)) -> str:
    """The table, in Markdown."""
    rule = ["---"] * 3 + ["--:"] * 3
    return "\n".join([f"| {' | '.join(HEADER)} |", f"|{'|'.join(rule)}|", *map(row, names)])


if __name__ == "__main__":
    print(table(tqdm(RELEASES, disable=None)))
