# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Weight files of a checkpoint and their index, written as their bytes come. Each is there whole or not at all."""

import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from .folders import DRAFT, FinishedFiles, write_json
from .weight_streams import NAMES, Span, write_all


@dataclass(frozen=True)
class Shard:
    """A weight file to write.

    Attributes:
        tensors: name and tensor (on the meta device) of all that it will hold, in the order of their bytes.
        content: gives the bytes of all tensors, one behind the other.
    """

    tensors: Sequence[tuple[str, torch.Tensor]]
    content: Callable[[], Iterable[memoryview | Span]]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for _, tensor in self.tensors)


def write_weights(
    folder: Path, shards: Mapping[str, Shard], finished: FinishedFiles | None = None, *, progress: bool = True
) -> None:
    """Write the weight files of a checkpoint, and their index if there are several.

    Args:
        folder: where they go.
        shards: the files by their names.
        finished: the files that are there already and stay; notes those that are written.
        progress: show a bar on stderr.
    """
    total = sum(shard.nbytes for shard in shards.values())
    with tqdm(total=total, unit="B", unit_scale=True, desc="Writing weights", disable=not progress) as bar:
        for name, shard in shards.items():
            if finished is not None and name in finished:
                bar.update(shard.nbytes)
                continue
            draft = folder / f"{name}{DRAFT}"
            write_safetensors(draft, shard.tensors, _counted(shard.content(), bar))
            os.replace(draft, folder / name)
            if finished is not None:
                finished.add(name)
    if len(shards) > 1:
        places = {key: name for name, shard in shards.items() for key, _ in shard.tensors}
        index = {"metadata": {"total_size": total}, "weight_map": places}
        write_json(folder / "model.safetensors.index.json", index)


def _counted(content: Iterable[memoryview | Span], bar: Any) -> Iterator[memoryview | Span]:
    for piece in content:
        yield piece
        bar.update(len(piece))


def write_safetensors(
    path: Path, tensors: Sequence[tuple[str, torch.Tensor]], content: Iterable[memoryview | Span]
) -> None:
    """Write a file as its bytes come.

    Args:
        path: the file.
        tensors: name and tensor (on the meta device) of all that it will hold, in the order of their bytes.
        content: the bytes of all tensors, one behind the other.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors:
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    with open(path, "wb", buffering=0) as file:
        write_all(file, memoryview(struct.pack("<Q", len(text)) + text))
        for piece in content:
            if isinstance(piece, Span):
                piece.write_to(file)
            else:
                write_all(file, piece)


__all__ = ["Shard", "write_safetensors", "write_weights"]
