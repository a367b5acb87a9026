# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `--data` may name, and how its rows are read.

| path | is |
|---|---|
| `meta.json` | the original meta file: several sets, each with its repeat factor and tile limit |
| `rows.jsonl` | one set; its paths count from its own folder, or from the root that is given |
| a folder of `save_to_disk` | a `datasets` table with the columns of `rows.py`: `messages` and `images`, ... |
| `rows.parquet`, `rows.arrow`, a folder of such files | the same |
| `{000..127}.tar`, a folder of `.tar` | shards of WebDataset, streamed |
| `s3://...`, `hf://datasets/...`, `*.parquet`, `*.jsonl`, `.jsonl.gz` | shards, streamed |
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from ...processing.sources import DECODING_ERRORS, load_image
from ..data.records import DataSet, JsonlRows, SkipPolicy, TableRows, read_meta
from ..data.rows import UnusableSample, read_medium
from ..data.streamed_files import is_streamed, read_streams
from ..data.streamed_tables import undecoded
from ..data.streams import StreamSet
from ..data.urls import Fetched, UrlRules, url_rules

# Ending of a file -> the loader of `datasets` that reads it.
_TABLES = {".parquet": "parquet", ".arrow": "arrow"}


def read_sets(
    path: str | os.PathLike,
    max_tiles: int | None = None,
    root: str | os.PathLike | None = None,
    stream: bool = False,
) -> list[DataSet] | list[StreamSet]:
    """The sets that a path names: all of them by number, or all of them streamed.

    Args:
        path: see the table above.
        max_tiles: maximum number of tiles of an image in sets that do not say it themselves.
        root: what paths of images and videos count from, in place of the data's own folder; a folder, or the
            beginning of a URL.
        stream: stream what could be read by number, too.

    Raises:
        ValueError: it is nothing of the table, or holds nothing; a root that is no folder, or beside a meta file,
            whose sets have their own.
        OSError: it cannot be read.
        ImportError: it is a table, and `datasets` is not installed.
    """
    source, streamed = Path(path), stream or is_streamed(path)
    if not streamed and not source.exists():
        raise ValueError(f"{source} does not exist.")
    if root is not None and "://" not in str(root) and not os.path.isdir(root):
        raise ValueError(f"`data_root` should be the folder of images and videos; {root} is none.")
    if source.suffix == ".json" and root is not None:
        raise ValueError(f"{source} is a meta file, whose sets have a `root` each: leave `data_root` out.")
    if streamed:
        return read_streams(path, max_tiles, root)
    if source.suffix == ".json":
        sets = read_meta(source)
    elif source.suffix == ".jsonl":
        sets = [DataSet(source.stem, JsonlRows(source, str(source.parent if root is None else root)))]
    else:
        below = (source if source.is_dir() else source.parent) if root is None else root
        sets = [DataSet(source.stem, TableRows(str(source), _read_table(source), str(below)))]
    for part in sets:
        if len(part.rows) == 0:
            raise ValueError(f"{source} holds no rows.")
    return [replace(part, max_patches=max_tiles) if part.max_patches is None else part for part in sets]


def _read_table(source: Path) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImportError(f"{source} is read by `datasets`: pip install datasets (extra `train`).") from error
    if (source / "state.json").is_file():
        return undecoded(datasets.load_from_disk(str(source)))
    files = sorted(map(str, source.glob("*"))) if source.is_dir() else [str(source)]
    found = [(kind, [file for file in files if file.endswith(ending)]) for ending, kind in _TABLES.items()]
    for kind, named in found:
        if named:
            return undecoded(datasets.load_dataset(kind, data_files=named, split="train"))
    raise ValueError(
        f"{source} is no data: expected a meta .json, a .jsonl, a {' or '.join(_TABLES)} file, a folder of such, or "
        "one of `datasets.Dataset.save_to_disk`."
    )


def read_by_number(
    path: str | os.PathLike, purpose: str, max_tiles: int | None = None, root: str | os.PathLike | None = None
) -> list[DataSet]:
    """As [`read_sets`], for what cannot be streamed.

    Raises:
        ValueError: it is streamed; with the purpose.
    """
    found = [part for part in read_sets(path, max_tiles, root) if isinstance(part, DataSet)]
    if not found:
        raise ValueError(f"{path} is streamed, but {purpose} read by number: give a .jsonl or a table, as a whole.")
    return found


class PairRows(Dataset):
    """Images with captions, for the dual encoder: `{"image": PIL image, "caption": text}`.

    Args:
        sets: of rows with `image`, a path or an image, and `caption`, a text, or `captions`, several, of which each
            makes a pair.
        policy: what happens to rows that cannot be used. They are checked at the start, their images only
            when they are needed; a pair whose image is then left out is None.
        allow_urls: as for [`ChatDataset`].

    Raises:
        UnusableSample: file, line and reason, unless the policy leaves it out.
    """

    def __init__(self, sets: Sequence[DataSet], policy: SkipPolicy, allow_urls: bool | UrlRules = False):
        self.policy, self.url_rules = policy, url_rules(allow_urls)
        self.pairs: list[tuple[Any, int, str]] = []  # rows, number of the one with the image, caption
        for part in sets:
            if part.repeat != 1 or part.augment:
                raise ValueError(f"Set {part.name!r}: pairs are neither repeated nor augmented; leave both out.")
            for index in range(len(part.rows)):
                try:
                    self.pairs += _pairs_of(part.rows, index)
                except UnusableSample as error:
                    policy(error)
        if not self.pairs:
            raise ValueError("No pair of an image and a caption is left.")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any] | None:
        rows, row, caption = self.pairs[index]
        try:
            image = Fetched(self.url_rules).medium(_image_in(rows.fields(row), rows, row))
            if isinstance(image, (str, os.PathLike, bytes)):
                image = load_image(image)
            if isinstance(image, Image.Image):
                image.load()
        except UnusableSample as error:
            self.policy(error)
            return None
        except (*DECODING_ERRORS, ValueError) as error:
            self.policy(UnusableSample(rows.where(row), f"cannot read the image: {error}"))
            return None
        return {"image": image, "caption": caption}


def _image_in(fields: Any, rows: Any, index: int) -> Any:
    """The image that the fields of a row name: a path, the bytes of a file, or an image itself."""
    where = rows.where(index)
    given = fields.get("image") if isinstance(fields, dict) else None
    if given is None or (isinstance(given, str) and not given):
        raise UnusableSample(where, f"expected `image` and `caption`, got {fields!r:.80}")
    return read_medium(given, "image", rows.root, where)


def _pairs_of(rows: Any, index: int) -> list[tuple[Any, int, str]]:
    fields, where = rows.fields(index), rows.where(index)
    _image_in(fields, rows, index)
    captions = fields.get("captions", fields.get("caption"))
    captions = [captions] if isinstance(captions, str) else captions
    if not isinstance(captions, list) or not captions or not all(isinstance(text, str) for text in captions):
        raise UnusableSample(where, f"`caption` should be a text, or `captions` several, got {captions!r:.80}")
    return [(rows, index, caption) for caption in captions]


__all__ = ["PairRows", "read_by_number", "read_sets"]
