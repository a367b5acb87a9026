# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `from_pretrained` says when a weight file is damaged."""

import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open


class NamesDamagedFiles:
    """Mixin in front of `PreTrainedModel`: a truncated or damaged shard is reported by its name."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> Any:
        """As transformers'.

        Raises:
            OSError: a safetensors file cannot be read.
        """
        try:
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)  # type: ignore[misc]
        except SafetensorError as error:
            damaged = _damaged_files(pretrained_model_name_or_path)
            raise OSError(
                f"Weight file {damaged or 'of ' + str(pretrained_model_name_or_path)} is incomplete or damaged "
                f"({error}). Download or copy it again."
            ) from error


def _damaged_files(folder: str | os.PathLike | None) -> str:
    """The files of a local folder that cannot be opened; empty for a Hub id."""
    damaged = []
    for path in sorted(Path(folder or "").glob("*.safetensors")) if folder and Path(folder).is_dir() else []:
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError:
            damaged.append(str(path))
    return ", ".join(damaged)


__all__ = ["NamesDamagedFiles"]
