# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tables of `datasets` that are streamed (`load_dataset(..., streaming=True)`), as shards."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .rows import UnusableSample
from .shards import ShardRow
from .tar_rows import fields_of

_WEBDATASET = {"__key__", "__url__"}  # columns of archives


class TableShards:
    """The shards of a `datasets.IterableDataset`. Places are its own states.

    Args:
        name: for errors.
        table: as a user has made it, by `map`, `filter`, `interleave_datasets`, ...; but not shuffled.
        root: what paths of images and videos in its rows are below.

    Raises:
        ValueError: it is shuffled, or split over ranks already.
    """

    remote = False  # `datasets` tries again by itself

    def __init__(self, name: str, table: Any, root: str = ""):
        if _is_shuffled(getattr(table, "_ex_iterable", None)):
            raise ValueError(
                f"The {name} table is shuffled by a buffer whose rows `datasets` does not save: leave `shuffle` out. "
                "`StreamedDataset(shuffle_buffer=...)` shuffles, and is resumed exactly."
            )
        if getattr(table, "_distributed", None) is not None:
            raise ValueError(f"The {name} table is split over ranks already: leave that out, the trainer splits it.")
        self.name, self.table, self.root = name, undecoded(table), root

    def __len__(self) -> int:
        return self.table.num_shards

    def identity(self) -> Any:
        """What must not change for places to mean the same, as far as it can be seen."""
        return [self.name, len(self)]

    def read(self, shard: int, place: Any = None) -> Iterator[ShardRow]:
        """The rows of a shard.

        Args:
            shard: its number.
            place: of the row to begin with; None = the first.
        """
        table = self.table.shard(len(self), shard)
        first, state = (0, None) if place is None else place
        if state is not None:
            table.load_state_dict(state)
        before = table.state_dict() if state is None else state
        # `iter(1)`, since plain iteration would leave out what other workers of a data loader have.
        for number, batch in zip(itertools.count(first), table.iter(1)):
            where = f"{self.name}, shard {shard}, row {number}"
            yield ShardRow([number, before], number, where, self._fields(batch, where))
            before = table.state_dict()

    @staticmethod
    def _fields(batch: dict[str, Any], where: str) -> Any:
        fields = {name: values[0] for name, values in batch.items()}
        if not fields.keys() >= _WEBDATASET:
            return fields
        group = {name: value for name, value in fields.items() if value is not None and name not in _WEBDATASET}
        try:
            return fields_of(str(fields["__key__"]), group, where)
        except UnusableSample as error:
            return error


def _is_shuffled(source: Any) -> bool:
    """Whether an iterable of `datasets`, or one that it reads from, has a buffer of rows."""
    if source is None:
        return False
    inner = [getattr(source, "ex_iterable", None), *(getattr(source, "ex_iterables", None) or [])]
    return type(source).__name__ == "BufferShuffledExamplesIterable" or any(map(_is_shuffled, inner))


def undecoded(table: Any) -> Any:
    """A table whose images are decoded when they are needed, by this package, as those of files are."""
    import datasets

    def without(feature: Any) -> Any:
        if isinstance(feature, datasets.Image):
            return datasets.Image(decode=False)
        if isinstance(feature, dict):
            return {name: without(inner) for name, inner in feature.items()}
        if isinstance(feature, (list, tuple)):
            return [without(inner) for inner in feature]
        inner = getattr(feature, "feature", None)  # of lists
        return feature if inner is None else replace(feature, feature=without(inner))

    for name, feature in (table.features or {}).items():
        changed = without(feature)
        if changed != feature:
            table = table.cast_column(name, changed)
    return table


def columns_of(table: Any) -> set[str]:
    """The columns of a table; of a streamed one that does not tell, those of its first row."""
    columns = getattr(table, "column_names", None)
    if isinstance(columns, (list, tuple)):
        return set(columns)
    if columns is None and hasattr(table, "take") and hasattr(table, "state_dict"):
        return {name for row in table.take(1) for name in row}
    return set()


__all__ = ["TableShards", "columns_of", "undecoded"]
