# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The settings and chat templates in a folder, looked at before transformers reads them.

It reads files whole, whatever their size, and takes for granted that a settings file holds an object.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

LARGEST_SETTINGS = 1 << 24
"""Most bytes of a file of settings; the largest of a released model has 60,000."""
LARGEST_TOKENIZER = 1 << 26
"""Most bytes of a tokenizer.json; the largest of a released model has 28 million."""
LARGEST_TEMPLATE = 1 << 20
"""Most bytes of a chat template, of which at most 2^18 characters are taken."""

_SETTINGS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
)
# Of generation_config.json
_WHOLE = {"num_beams": 10_000, "num_return_sequences": 10_000, "prefill_chunk_size": 2**31}
_NUMBERS = (
    *("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "repetition_penalty"),
    *("length_penalty", "no_repeat_ngram_size", "max_length", "max_new_tokens", "min_length", "min_new_tokens"),
    *("guidance_scale", "max_time"),
)
_MOST = 10_000  # ids


def check_files(folder: Any, subfolder: str | None = None) -> None:
    """Look at the settings and templates of a local folder; anything else is not looked at.

    Raises:
        ValueError: a file is too large, is no JSON, nests without end, or holds something else than an object;
            or generation_config.json has a value of the wrong type.
    """
    if not isinstance(folder, (str, os.PathLike)) or not Path(folder, subfolder or "").is_dir():
        return
    inside = Path(folder, subfolder or "")
    for path in [*inside.glob("*.jinja"), *inside.glob("additional_chat_templates/*.jinja")]:
        _check_size(path, LARGEST_TEMPLATE)
    for path in inside.glob("tokenizer.json"):
        _check_size(path, LARGEST_TOKENIZER)
    for path in map(inside.joinpath, _SETTINGS):
        if path.is_file():
            _check_size(path, LARGEST_SETTINGS)
            try:
                settings = json.loads(path.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise ValueError(
                    f"{path} is not a valid JSON file ({error!r:.100}): it is damaged, copy it again."
                ) from error
            if not isinstance(settings, dict):
                raise ValueError(f"{path} must hold an object of settings, got {settings!r:.80}.")
            if path.name == "generation_config.json":
                _check_generation(path, settings)


def _check_generation(path: Path, settings: dict[str, Any]) -> None:
    from transformers import GenerationConfig  # the command line asks without it

    for name, value in settings.items():
        if callable(getattr(GenerationConfig, name, None)):
            raise ValueError(f"`{name}` in {path} is no setting.")
        if name in _WHOLE:
            fits, expected = (
                _is_whole(value) and 1 <= value <= _WHOLE[name],
                f"a whole number from 1 to {_WHOLE[name]}",
            )
        elif name in _NUMBERS:
            fits, expected = _is_whole(value) or (isinstance(value, float) and math.isfinite(value)), "a finite number"
        elif name.endswith("_token_id") or name in ("suppress_tokens", "begin_suppress_tokens"):
            several = value if isinstance(value, list) else [value]
            fits, expected = len(several) <= _MOST and all(map(_is_whole, several)), f"an id, or up to {_MOST} of them"
        else:
            continue
        if value is not None and not fits:
            raise ValueError(f"`{name}` in {path} must be {expected}, got {value!r:.80}.")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_size(path: Path, largest: int) -> None:
    size = path.stat().st_size
    if size > largest:
        raise ValueError(f"{path} has {size} bytes, at most {largest} are read: it is hostile or of something else.")


__all__ = ["LARGEST_SETTINGS", "LARGEST_TEMPLATE", "LARGEST_TOKENIZER", "check_files"]
