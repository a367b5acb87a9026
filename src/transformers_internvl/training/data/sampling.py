# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which sample comes when: repeat factors, mixing of sets, shares of ranks and workers, resuming.

An epoch is a list of entries `(set, sample)`, fixed by seed and epoch number alone. A set with repeat factor r enters
with all of its samples floor(r) times, and with a random part of them, drawn again every epoch, once more. Each share
of a rank and worker takes every n-th entry; together they are the epoch, none lost and none twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Mixing = Literal["size", "root"]
MIXINGS = ("size", "root")


@dataclass(frozen=True)
class Mixture:
    """The entries of every epoch.

    Attributes:
        sizes: samples of each set.
        repeats: repeat factor of each set, above 0.
        mixing: how sets are drawn while they last: `"size"`, in proportion to their entries, so that an epoch looks
            the same everywhere; `"root"`, in proportion to the square root of that (`use_data_resampling` in
            the original code), so that small sets come early.
        seed: another seed is another order.
    """

    sizes: Sequence[int]
    repeats: Sequence[float]
    mixing: Mixing = "size"
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.repeats) or not self.sizes:
            raise ValueError(
                f"Expected a repeat factor a set, got {len(self.sizes)} sets, {len(self.repeats)} factors."
            )
        if any(size < 1 for size in self.sizes) or any(repeat <= 0 for repeat in self.repeats):
            raise ValueError(f"Sizes and repeat factors are above 0, got {self.sizes} and {self.repeats}.")
        if self.mixing not in MIXINGS:
            raise ValueError(f"`mixing` is one of {list(MIXINGS)}, got {self.mixing!r}.")

    def entries_of(self, number: int) -> int:
        """How many entries set `number` has in an epoch: its size times its repeat factor, rounded, at least 1."""
        return max(1, round(self.sizes[number] * self.repeats[number]))

    def __len__(self) -> int:
        return sum(self.entries_of(number) for number in range(len(self.sizes)))

    def identity(self) -> dict[str, Any]:
        """What makes the entries what they are, as plain numbers."""
        sizes, repeats = [int(size) for size in self.sizes], [float(repeat) for repeat in self.repeats]
        return {"sizes": sizes, "repeats": repeats, "mixing": self.mixing, "seed": self.seed}

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The entries of an epoch in order: sets `(N,)` int32 and samples `(N,)` int64."""
        samples = [self._samples_of(number, epoch) for number in range(len(self.sizes))]
        order = self._order(epoch)
        mixed = np.empty(len(order), dtype=np.int64)
        for number, mine in enumerate(samples):
            mixed[order == number] = mine
        return order, mixed

    def _samples_of(self, number: int, epoch: int) -> np.ndarray:
        """The samples of one set in the order of their coming: whole passes, then the drawn part."""
        rng = np.random.default_rng([self.seed, epoch, number])
        size, wanted = self.sizes[number], self.entries_of(number)
        passes = [rng.permutation(size) for _ in range(-(-wanted // size))]
        return rng.permutation(np.concatenate(passes)[:wanted])

    def _order(self, epoch: int) -> np.ndarray:
        """The sets in the order of their coming."""
        rng = np.random.default_rng([self.seed, epoch, len(self.sizes)])
        counts = np.array([self.entries_of(number) for number in range(len(self.sizes))])
        if self.mixing == "size":
            return rng.permutation(np.repeat(np.arange(len(counts), dtype=np.int32), counts))
        # Draws in proportion to fixed rates while sets last are arrivals of Poisson processes, merged by time.
        times = [np.cumsum(rng.exponential(size=count)) / np.sqrt(count) for count in counts]
        owners = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return owners[np.argsort(np.concatenate(times), kind="stable")]


class MixtureStream:
    """One share of a mixture's epochs: an iterator that can be stopped, saved and resumed.

    Args:
        mixture: the whole.
        share: which share this is, from 0.
        shares: how many there are: ranks times workers. Shares differ by at most one entry.
        epoch: the epoch to begin with.

    Raises:
        ValueError: there is no such share.
    """

    def __init__(self, mixture: Mixture, share: int = 0, shares: int = 1, epoch: int = 0):
        if not 0 <= share < shares:
            raise ValueError(f"Expected a share from 0 to {shares - 1}, got {share}.")
        self.mixture, self.share, self.shares = mixture, share, shares
        self.epoch, self.position = epoch, 0

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """The rest of the epoch: `(set, sample, entry)`; `entry` counts within the whole. Then the next begins."""
        sets, samples = self.mixture.epoch(self.epoch)
        entries = np.arange(self.share, len(sets), self.shares)
        sets, samples = sets[entries], samples[entries]  # copies: the other shares' part is let go
        while self.position < len(entries):
            at = self.position
            self.position += 1  # before it is given away: who saves now has had it
            yield int(sets[at]), int(samples[at]), int(entries[at])
        self.epoch, self.position = self.epoch + 1, 0

    def __len__(self) -> int:
        return len(range(self.share, len(self.mixture), self.shares))

    def entries_out(self) -> int:
        """How many entries it has given away since the first epoch began."""
        return self.epoch * len(self) + self.position

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, as plain numbers."""
        place = {"epoch": self.epoch, "position": self.position}
        return {**place, "share": self.share, "shares": self.shares, **self.mixture.identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where `state_dict` was taken.

        Raises:
            ValueError: it was taken of another mixture or share, in which the position means something else.
        """
        refuse_changes(state, {k: v for k, v in self.state_dict().items() if k not in ("epoch", "position")})
        self.epoch, self.position = int(state["epoch"]), int(state["position"])


def refuse_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that a place in the data still means what it meant.

    Args:
        then: what was saved with it, and possibly more.
        now: what has to be the same.

    Raises:
        ValueError: something is not; the message lists it.
    """
    if changed := [key for key in now if now[key] != then.get(key)]:
        listed = "; ".join(f"{key}: {then.get(key)} then, {now[key]} now" for key in changed)
        raise ValueError(
            f"The data cannot be resumed in mid-epoch, since it changed ({listed}). Use the same data, seed, "
            "number of ranks and workers, or begin the epoch again (in training arguments: `ignore_data_skip=True`)."
        )


__all__ = ["MIXINGS", "Mixture", "MixtureStream", "refuse_changes"]
