# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Broken and hostile files: each ends in a result or a typed error, within a bound of time and memory.

`python -m tests.reliability.fuzz --cases 10000 --seed 0` draws inputs for every target of `targets.py`; input `n` of a
seed is always the same one. The address space is limited to 8 GiB, so that an allocation that should have been refused
shows as a `MemoryError`. `guided.py` draws inputs for the same targets after what the package did with earlier ones.
"""

import argparse
import random
import signal
import time
import traceback
from collections import Counter
from typing import Any

from tests.reliability.targets import TARGETS, TYPED

SECONDS = 60  # for one input; a hang shows, a machine under load does not
MEMORY = 8 * 2**30


def attempt(target: str, number: int, seed: int) -> str:
    """Run one input: "result", or the name of its typed error; other errors go through."""
    return end_of(target, random.Random(f"{seed}/{target}/{number}"))


def end_of(target: str, rng: random.Random) -> str:
    """Run the input that `rng` draws: see `attempt`."""
    signal.alarm(SECONDS)
    try:
        TARGETS[target](rng)
    except TYPED as error:
        return type(error).__name__
    finally:
        signal.alarm(0)
    return "result"


def set_bounds() -> None:
    """Bound the memory of this process, and the time of each input."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _too_late)


def _too_late(*_: Any) -> None:
    raise AssertionError(f"took more than {SECONDS} seconds")


class Failures(Counter):
    """Untyped errors by their place; the first one of each is printed."""

    def note(self, target: str, error: BaseException, which: str) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        file = place.filename.split("site-packages/")[-1]
        what = f"{target}: {type(error).__name__} at {file}:{place.lineno}"
        self[what] += 1
        if self[what] == 1:
            print(f"{what}, input {which}: {error!s:.200}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, action="append", help="one kind of input; default: each")
    arguments = parser.parse_args()
    set_bounds()
    targets, failures, started = arguments.target or list(TARGETS), Failures(), time.time()
    for target in targets:
        ends: Counter = Counter()
        for number in range(-(-arguments.cases // len(targets))):
            try:
                ends[attempt(target, number, arguments.seed)] += 1
            except Exception as error:  # noqa: BLE001 (what is searched for)
                failures.note(target, error, str(number))
        print(f"{target}: {dict(ends.most_common())}", flush=True)
    print(f"{arguments.cases} inputs, seed {arguments.seed}, {time.time() - started:.0f} s; untyped: {dict(failures)}")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
