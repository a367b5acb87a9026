# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Weights of a folder, one at a time: read from files of any size, written to safetensors as a stream.

Nothing stays mapped into memory: a process that copies a checkpoint of any size needs a buffer, or room for the
one tensor that it computes on. `.bin` files are read as weights only.
"""

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open

from ...modeling.pretrained.loading import weight_places
from .shapes import WEIGHT_FILES, load_tensors

BUFFER = 1 << 20  # bytes: what fits into a processor's cache is checked and written fastest
MAPPED = 256 << 20  # bytes read from a `.bin` file before its pages are given back

# safetensors' name of a number format -> torch's.
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """A tensor that lies in a file.

    Attributes:
        file: the file's path.
        key: its name there.
        dtype, shape: what it is.
        start: where its bytes begin in a safetensors file; 0 in a `.bin` file.
    """

    file: Path
    key: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int = 0

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    def on_meta(self) -> torch.Tensor:
        """A tensor of this kind without content."""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")


class WeightStream:
    """The weights of a local folder.

    Args:
        folder: with `model.safetensors` or `pytorch_model.bin`, whole or sharded with an index.

    Attributes:
        entries: of every weight, by its name, in the order in which they lie.
        left_out_before: names of those that an earlier conversion set aside.

    Raises:
        OSError: there are no weights, or a file is missing or damaged.
        ValueError: an index and its files contradict each other, or a number format is not known.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self._bins: dict[Path, _BinFile] = {}
        self.entries: dict[str, Entry] = {}
        self.left_out_before: list[str] = []
        for path, keys in _listed_files(self.folder):
            found = self._entries_of(path)
            if keys is not None and (absent := sorted(keys - found.keys())):
                raise ValueError(
                    f"{path} lacks {len(absent)} of the weights that the index lists, such as {absent[0]}. Download "
                    "or copy it again."
                )
            self.entries.update(found)

    def add(self, others: "WeightStream", prefix: str, beginnings: tuple[str, ...]) -> None:
        """Take weights of another folder in whose names begin so, with a prefix in front."""
        self._bins.update(others._bins)
        self.entries.update({prefix + k: entry for k, entry in others.entries.items() if k.startswith(beginnings)})

    @property
    def files(self) -> list[Path]:
        """The files, in the order of the weights."""
        return list(dict.fromkeys(entry.file for entry in self.entries.values()))

    def _entries_of(self, path: Path) -> dict[str, Entry]:
        if path.suffix == ".safetensors":
            return {entry.key: entry for entry in safetensors_entries(path)}
        self._bins[path] = _BinFile(path)
        return self._bins[path].entries()

    def read(self, entry: Entry) -> torch.Tensor:
        """A tensor that shares no memory with the file."""
        tensor = torch.empty(entry.shape, dtype=entry.dtype)
        view, start = as_bytes(tensor), 0
        for piece in self.pieces(entry):
            if isinstance(piece, memoryview):
                view[start : start + len(piece)] = piece
                start += len(piece)
            else:
                start = piece.read_into(view)
        return tensor

    def pieces(self, entry: Entry) -> Iterator["memoryview | Span"]:
        """The bytes of a tensor, or where they lie; a piece is valid until the next one."""
        if entry.file in self._bins:
            yield from self._bins[entry.file].pieces(entry.key)
        else:
            yield Span(entry.file, entry.start, entry.nbytes)


@dataclass(frozen=True)
class Span:
    """Bytes of a file, which the system can copy without this process seeing them."""

    file: Path
    start: int
    nbytes: int

    def __len__(self) -> int:
        return self.nbytes

    def read_into(self, view: memoryview) -> int:
        """Fill memory of its size; returns how many bytes that were."""
        with open(self.file, "rb", buffering=0) as source:
            source.seek(self.start)
            done = 0
            while done < self.nbytes:
                done += self._some(source.readinto(view[done:]))
        return done

    def write_to(self, target: BinaryIO) -> None:
        """Append the bytes to a file that is not buffered."""
        with open(self.file, "rb", buffering=0) as source:
            done = 0
            try:
                while done < self.nbytes:
                    left = self.nbytes - done
                    done += self._some(os.sendfile(target.fileno(), source.fileno(), self.start + done, left))
            except (AttributeError, OSError):  # not every system sends to files
                if done:
                    raise
                source.seek(self.start)
                while done < self.nbytes:
                    chunk = source.read(min(BUFFER, self.nbytes - done))
                    done += self._some(len(chunk))
                    write_all(target, memoryview(chunk))

    def _some(self, count: int | None) -> int:
        if not count:
            raise OSError(f"{self.file} is shorter than it was: download or copy it again.")
        return count


class _BinFile:
    """A file of `torch.save`, mapped while it is read, and again after a while so that it does not stay in memory."""

    def __init__(self, path: Path):
        self.path, self.seen = path, 0
        self.weights: dict[str, torch.Tensor] | None = None

    def _open(self) -> dict[str, torch.Tensor]:
        if self.weights is None or self.seen > MAPPED:
            self.weights, self.seen = None, 0
            try:
                self.weights = load_tensors(self.path, map_location="cpu", mmap=True)
            except RuntimeError:  # written before torch 1.6: no zip file, which cannot be mapped
                self.weights = load_tensors(self.path, map_location="cpu")
        return self.weights

    def entries(self) -> dict[str, Entry]:
        known = load_tensors(self.path, map_location="meta")
        if unexpected := [str(key) for key, weight in known.items() if not isinstance(weight, torch.Tensor)]:
            raise ValueError(f"{self.path} holds more than named weights: {', '.join(unexpected[:5])}.")
        return {key: Entry(self.path, key, weight.dtype, tuple(weight.shape)) for key, weight in known.items()}

    def pieces(self, key: str) -> Iterator[memoryview]:
        tensor = self._open()[key].detach().contiguous()
        self.seen += tensor.nbytes
        view = as_bytes(tensor)
        yield from (view[start : start + BUFFER] for start in range(0, len(view), BUFFER))


def as_bytes(tensor: torch.Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def safetensors_entries(path: Path) -> list[Entry]:
    """The tensors of a safetensors file, in the order in which they lie there."""
    try:
        with safe_open(path, framework="pt"):
            pass  # it checks the header against the file
    except SafetensorError as error:
        raise OSError(f"{path} is incomplete or damaged ({error}): download or copy it again.") from error
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    entries = []
    for key, row in header.items():
        if row["dtype"] not in DTYPES:
            raise ValueError(
                f"{key} in {path} has the number format {row['dtype']}, expected one of {sorted(DTYPES)}."
            )
        start = 8 + length + row["data_offsets"][0]
        entries.append(Entry(path, key, DTYPES[row["dtype"]], tuple(row["shape"]), start))
    return sorted(entries, key=lambda entry: entry.start)


def _listed_files(folder: Path) -> Iterator[tuple[Path, set[str] | None]]:
    """The weight files, and of a sharded checkpoint the names that the index promises in each."""
    for whole, index in WEIGHT_FILES:
        if (folder / whole).is_file():
            yield folder / whole, None
            return
        if (folder / index).is_file():
            places: dict[str, set[str]] = {}
            for key, name in weight_places(folder / index).items():
                places.setdefault(name, set()).add(key)
            for name in sorted(places):
                if not (folder / name).is_file():
                    raise OSError(f"{folder / name}, which {index} names, is missing: download or copy it again.")
                yield folder / name, places[name]
            return
    expected = ", ".join(name for names in WEIGHT_FILES for name in names)
    raise OSError(f"There are no weights in {str(folder)!r}: expected one of {expected}.")


def write_all(file: BinaryIO, view: memoryview) -> None:
    """Append memory to a file that is not buffered, which may take it in parts."""
    while view:
        view = view[file.write(view) :]


def is_weight_file(path: Path) -> bool:
    """Whether a file of a folder holds weights, or says where they lie, or belongs to a training run's state."""
    return path.suffix in (".safetensors", ".bin", ".pt", ".pth") or path.name.endswith(".index.json")


__all__ = [
    "Entry",
    "Span",
    "WeightStream",
    "as_bytes",
    "is_weight_file",
    "safetensors_entries",
    "write_all",
]
