# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Features of tiles on disk, found again by their pixels, and tiles of images, found again by the image.

    FOLDER/<fingerprint of the model>/model.json                 what the fingerprint stands for
    FOLDER/<fingerprint of the model>/3f/3f…a1.safetensors       the features of one tile, named after its pixels
    FOLDER/images/b7/b7…0c.json                                which tiles the images of a sample become

A file is written beside its place and moved there, so that any number of ranks and workers may write at a time, and
readers find all of it or nothing. Its checksum is checked when it is read.

Shape letters: T tiles, n image tokens of a tile, D width of the language model.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from transformers import BatchFeature

from ...conversion.files.folders import write_whole
from ...renamed_modules import alias_former_names

NAME_BYTES = 16  # of a digest: two of 2**40 tiles are named alike once in 10**14 caches
NEW_TILES = ("new_names", "new_tiles")
"""What a sample has beside the names in its `pixel_values`: the tiles that were not encoded yet."""
RECOUNT_EVERY = 256  # files that this process writes between two looks at what others wrote


class FeatureStore:
    """The features of one model's tiles, on disk.

    Args:
        folder: of the cache; models share it.
        fingerprint: of the model that makes the features.
        max_bytes: maximum number of bytes of the features of all models in the folder; None = as many as the disk has.
            Files of other processes are counted now and then, so each may exceed it by `RECOUNT_EVERY` tiles.
    """

    def __init__(self, folder: str | os.PathLike, fingerprint: str, max_bytes: int | None = None):
        self.root = Path(folder)
        self.folder = self.root / fingerprint
        self.max_bytes = max_bytes
        self._bytes, self._written = 0, 0

    def __contains__(self, name: bytes) -> bool:
        return self._path(name).is_file()

    def read(self, name: bytes) -> torch.Tensor | None:
        """The features `(n, D)` of a tile, None if it was not encoded yet.

        Raises:
            ValueError: the file is damaged.
        """
        path = self._path(name)
        try:
            with safe_open(path, framework="pt") as file:
                features, checksum = file.get_tensor("features"), (file.metadata() or {}).get("crc32")
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            raise ValueError(f"The cached features {path} cannot be read ({error}): delete the file.") from error
        if checksum != _checksum(features):
            raise ValueError(f"The cached features {path} were damaged on disk (checksum): delete the file.")
        return features

    def write(self, name: bytes, features: torch.Tensor) -> None:
        """Keep the features `(n, D)` of a tile, in their dtype.

        Raises:
            ValueError: there would be more than `max_bytes`.
        """
        features = features.detach().cpu().contiguous()
        data = save({"features": features}, {"crc32": _checksum(features)})
        if self.max_bytes is not None:
            if self._written % RECOUNT_EVERY == 0:
                self._bytes = sum(path.stat().st_size for path in self.root.glob("*/??/*.safetensors"))
            self._bytes, self._written = self._bytes + len(data), self._written + 1
            if self._bytes > self.max_bytes:
                raise ValueError(
                    f"The feature cache {self.root} is full: with one more tile it holds {self._bytes:,} bytes, of "
                    f"which {self.max_bytes:,} are allowed. Raise the limit, train without the cache, or delete the "
                    f"folders of other models; this one's is {self.folder.name}."
                )
        write_whole(self._path(name), data, shared=True, sync=False)

    def describe(self, facts: dict[str, Any]) -> None:
        """Write what model the features are of."""
        text = json.dumps(facts, indent=2, sort_keys=True, default=str)
        write_whole(self.folder / "model.json", text, shared=True, sync=False)

    def recall(self, images: bytes) -> tuple[torch.Tensor, list[int]] | None:
        """The tile names `(T, NAME_BYTES)` and tile counts of images that were seen and whose features are here.

        Args:
            images: as for [`images_name`].
        """
        path = self._images_path(images)
        try:
            entry = json.loads(path.read_text())
            names, counts = [bytes.fromhex(name) for name in entry["tiles"]], entry["num_patches"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}): delete the file.") from error
        return (as_names(names), counts) if all(name in self for name in names) else None

    def remember(self, images: bytes, names: Sequence[bytes], num_patches: Sequence[int]) -> None:
        """Keep which tiles images become."""
        entry = {"tiles": [name.hex() for name in names], "num_patches": list(num_patches)}
        write_whole(self._images_path(images), json.dumps(entry), shared=True, sync=False)

    def _path(self, name: bytes) -> Path:
        return self.folder / name.hex()[:2] / f"{name.hex()}.safetensors"

    def _images_path(self, images: bytes) -> Path:
        return self.root / "images" / images.hex()[:2] / f"{images.hex()}.json"


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """The bytes of a tensor, copied only where it is not on the CPU or not contiguous."""
    return memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def tile_name(tile: torch.Tensor) -> bytes:
    """The name of a tile `(3, height, width)`: a digest of dtype, shape and values."""
    digest = hashlib.blake2b(f"{tile.dtype}{tuple(tile.shape)}".encode(), digest_size=NAME_BYTES)
    digest.update(tensor_bytes(tile))
    return digest.digest()


def as_names(names: Sequence[bytes]) -> torch.Tensor:
    """Names as a tensor `(T, NAME_BYTES)`, uint8."""
    return torch.frombuffer(bytearray(b"".join(names)), dtype=torch.uint8).view(-1, NAME_BYTES)


def from_names(names: torch.Tensor) -> list[bytes]:
    """Names out of a tensor `(T, NAME_BYTES)`."""
    return [bytes(name) for name in names.tolist()]


def images_name(images: Any, settings: Any) -> bytes | None:
    """A digest of images and of what is done to them, or None where an image cannot be distinguished from others.

    The content of a file counts, not its path or date: a file that was changed has another name. In-memory images
    are distinguished by their pixels if they are RGB or gray ones of Pillow.

    Args:
        images: paths and images, in lists or lists of lists.
        settings: of the image processor, what JSON can hold, or what has a telling `str`.
    """
    versions = [
        version(package) for package in ("transformers_internvl", "pillow", "torch")
    ]  # which decode and resize
    digest = hashlib.blake2b(json.dumps([versions, settings], sort_keys=True, default=str).encode(), digest_size=16)
    return digest.digest() if _feed(digest, images) else None


def _feed(digest: Any, image: Any) -> bool:
    if isinstance(image, (list, tuple)):
        digest.update(f"[{len(image)}]".encode())
        return all(_feed(digest, item) for item in image)
    if isinstance(image, (str, os.PathLike)) and os.path.isfile(image):
        content = Path(image).read_bytes()
        head = f"file {len(content)}:"
    elif isinstance(image, bytes):
        content, head = image, f"file {len(image)}:"
    elif isinstance(image, Image.Image) and image.mode in ("RGB", "L"):
        content, head = image.tobytes(), f"{image.mode} {image.size}:"
    else:
        return False
    digest.update(head.encode())
    digest.update(content)
    return True


class NamingProcessor:
    """An image or video processor that gives tiles by their names. Everything else is the processor's that it wraps.

    Images whose tiles are in the store are not decoded, nor resized.

    Args:
        processor: makes the tiles.
        store: what has been encoded.

    Attributes:
        new: name -> tile `(3, S, S)` of those that are not in the store.

    Calling it takes and returns what the processor does, but `pixel_values` are `(T, NAME_BYTES)`, and
    `pixel_values_videos` a list of such, one a video.
    """

    def __init__(self, processor: Any, store: FeatureStore):
        self.processor, self.store = processor, store
        self.new: dict[bytes, torch.Tensor] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.processor, name)

    def __call__(self, media: Any, **options: Any) -> BatchFeature:
        key = None
        if self.processor.model_input_names[0] == "pixel_values":  # frames of videos are chosen again each time
            key = images_name(media, [self.processor.to_dict(), options])
        known = None if key is None else self.store.recall(key)
        if known is not None:
            return BatchFeature({"pixel_values": known[0], "num_patches": known[1]})
        outputs = self.processor(media, **options)
        if "pixel_values_videos" in outputs:
            outputs["pixel_values_videos"] = [self._named(clip) for clip in outputs["pixel_values_videos"]]
            return outputs
        outputs["pixel_values"] = self._named(outputs["pixel_values"])
        if key is not None:
            self.store.remember(key, from_names(outputs["pixel_values"]), [int(n) for n in outputs["num_patches"]])
        return outputs

    def _named(self, tiles: torch.Tensor) -> torch.Tensor:
        names = [tile_name(tile) for tile in tiles]
        self.new.update((name, tile) for name, tile in zip(names, tiles, strict=True) if name not in self.store)
        return as_names(names)


def _checksum(features: torch.Tensor) -> str:
    return f"{zlib.crc32(tensor_bytes(features)):08x}"


alias_former_names(__name__, pictures_name="images_name")

__all__ = [
    "NEW_TILES",
    "FeatureStore",
    "NamingProcessor",
    "as_names",
    "from_names",
    "images_name",
    "tensor_bytes",
    "tile_name",
]
