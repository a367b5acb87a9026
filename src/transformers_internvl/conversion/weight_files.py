# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The weights of a local folder, one tensor at a time, as they are on disk."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ..modeling.loading import shard_names

# Weight file, and the index of one that is cut up, in the order in which transformers looks for them.
_FILES = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
# As safetensors calls the usual number formats; tensors of others are read to tell.
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


class WeightFiles:
    """Reads the weights of a folder lazily: from safetensors, or from `.bin` files through `weights_only=True`.

    Args:
        folder: where they lie, under the names that transformers gives them.

    Raises:
        OSError: there are none, or one that the index names is missing.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self.paths = _weight_paths(self.folder)
        self._open: dict[Path, Any] = {}
        self._path_of = {name: path for path in self.paths for name in self.names_in(path)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._path_of)

    def __contains__(self, name: str) -> bool:
        return name in self._path_of

    def __getitem__(self, name: str) -> torch.Tensor:
        path = self._path_of[name]
        file = self._file(path)
        return file[name] if path.suffix == ".bin" else file.get_tensor(name)

    def names_in(self, path: Path) -> list[str]:
        """The names of a file's weights, in its order."""
        return list(self._file(path).keys())

    def dtypes(self) -> set[torch.dtype]:
        """The number formats of the floating-point weights."""
        return {dtype for name, path in self._path_of.items() if (dtype := self._dtype(name, path)).is_floating_point}

    def _dtype(self, name: str, path: Path) -> torch.dtype:
        if path.suffix == ".bin":
            return self[name].dtype
        named = _DTYPES.get(self._file(path).get_slice(name).get_dtype())
        return self[name].dtype if named is None else named

    def _file(self, path: Path) -> Any:
        if path not in self._open:
            if path.suffix == ".bin":
                self._open[path] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            else:
                self._open[path] = safe_open(path, framework="pt")
        return self._open[path]


class WeightWriter:
    """Writes files of weights into a folder, and at the end the index that tells where each lies.

    Args:
        folder: where they go.
        total: how many files there will be.
    """

    def __init__(self, folder: str | os.PathLike, total: int):
        self.folder, self.total = Path(folder), total
        self.weight_map: dict[str, str] = {}
        self.written = self.size = 0

    def write(self, tensors: dict[str, torch.Tensor]) -> None:
        """The next file."""
        self.written += 1
        numbered = f"model-{self.written:05d}-of-{self.total:05d}.safetensors"
        name = "model.safetensors" if self.total == 1 else numbered
        save_file(tensors, self.folder / name, metadata={"format": "pt"})
        self.weight_map |= dict.fromkeys(tensors, name)
        self.size += sum(tensor.nbytes for tensor in tensors.values())

    def finish(self) -> None:
        """The index, where there are several files."""
        if self.total > 1:
            index = {"metadata": {"total_size": self.size}, "weight_map": dict(sorted(self.weight_map.items()))}
            text = json.dumps(index, indent=2) + "\n"
            (self.folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


def is_weight_file(path: Path) -> bool:
    """Whether a file of a folder holds weights, or says where they lie, or belongs to a training run's state."""
    return path.suffix in (".safetensors", ".bin", ".pt", ".pth") or path.name.endswith(".index.json")


def _weight_paths(folder: Path) -> list[Path]:
    for whole, index in _FILES:
        if (folder / whole).is_file():
            return [folder / whole]
        if (folder / index).is_file():
            paths = [folder / name for name in shard_names(folder / index)]
            if missing := [path.name for path in paths if not path.is_file()]:
                raise OSError(f"{folder} is incomplete: {index} names {', '.join(missing)}, which is not there.")
            return paths
    raise OSError(f"There are no weights in {folder}: expected one of {', '.join(n for row in _FILES for n in row)}.")


__all__ = ["WeightFiles", "WeightWriter", "is_weight_file"]
