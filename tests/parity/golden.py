# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Where the reference data lies, and which cases it holds.

`INTERNVL_GOLDEN` may name another root of the same layout: every parity test finds its cases by folder name.
"""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file


def golden_root() -> Path:
    """The folder with the reference data: `$INTERNVL_GOLDEN`, else the copy in `tests/golden`."""
    default = Path(__file__).resolve().parent.parent / "golden"
    root = Path(os.environ.get("INTERNVL_GOLDEN", default))
    if not root.is_dir():
        raise FileNotFoundError(f"No reference data at {root}: set INTERNVL_GOLDEN to a folder that holds it.")
    return root


def golden_cases(prefix: str) -> list[Path]:
    """The case folders whose name starts with `prefix`, sorted by name.

    An empty list would make a parametrized test vanish without a word, so it is an error.
    """
    cases = sorted(path for path in golden_root().iterdir() if path.is_dir() and path.name.startswith(prefix))
    if not cases:
        raise FileNotFoundError(f"No folder in {golden_root()} starts with {prefix!r}.")
    return cases


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint by their names on disk, in one file or in shards, safetensors or `.bin`."""
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        found.update(load_file(path))
    for path in sorted(folder.glob("pytorch_model*.bin")):
        found.update(torch.load(path, weights_only=True))
    return found


def whole_tile_chats() -> list[Path]:
    """The chat models in whose prompts every tile has all of its tokens; those of Flash are in `test_flash.py`."""
    return [path for path in golden_cases("chat_") if not path.name.startswith("chat_flash")]
