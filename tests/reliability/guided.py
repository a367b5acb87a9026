# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The targets of `fuzz.py`, with inputs that a fuzzer makes after the lines of the package that earlier ones reached.

`python -m tests.reliability.guided --cases 10000 --seed 1` runs that many inputs for each target, one process a target
(needs `pip install atheris`). A target draws from the fuzzer's bytes what it draws from a seed elsewhere.
"""

import argparse
import random
import subprocess
import sys
import time
from collections import Counter

import atheris

with atheris.instrument_imports(include=["transformers_internvl"]):
    from tests.reliability.fuzz import Failures, end_of, set_bounds
    from tests.reliability.targets import TARGETS


class Drawn(random.Random):
    """Draws from bytes, and zeros where they end."""

    def __init__(self, data: bytes):
        super().__init__(0)
        self.data, self.at = data, 0

    def getrandbits(self, k: int) -> int:
        count = -(-k // 8)
        taken = self.data[self.at : self.at + count]
        self.at += count
        return int.from_bytes(taken, "little") >> max(8 * len(taken) - k, 0)

    def random(self) -> float:
        return self.getrandbits(8) / 256


def fuzz(target: str, cases: int, seed: int) -> None:
    """Run inputs in this process, which then ends."""
    ends, failures, started = Counter(), Failures(), time.time()

    def run(data: bytes) -> None:
        try:
            ends[end_of(target, Drawn(data))] += 1
        except Exception as error:  # noqa: BLE001 (what is searched for)
            failures.note(target, error, data.hex())
        if ends.total() + failures.total() == cases:
            figures = f"{target}: {dict(ends.most_common())}; untyped: {dict(failures)}"
            print(f"{figures}; {cases} inputs, seed {seed}, {time.time() - started:.0f} s", flush=True)

    set_bounds()
    limits = ["-max_len=256", "-len_control=0", "-timeout=0", "-rss_limit_mb=0", "-verbosity=0"]
    atheris.Setup([sys.argv[0], f"-runs={cases}", f"-seed={seed}", *limits], run)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--target", choices=TARGETS, help="one kind of input; default: each, one process after another"
    )
    arguments = parser.parse_args()
    if arguments.target is not None:
        fuzz(arguments.target, arguments.cases, arguments.seed)
    options = [f"--cases={arguments.cases}", f"--seed={arguments.seed}"]
    for target in TARGETS:
        subprocess.run([sys.executable, "-m", "tests.reliability.guided", *options, f"--target={target}"], check=True)


if __name__ == "__main__":
    main()
