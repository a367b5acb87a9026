# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every engine on every case, two ranks against one process, on this machine's CPU; needs `pip install deepspeed`.

python -m tests.training.every_engine [ENGINE ...]
"""

import sys
import tempfile
from pathlib import Path

from tests.training.ranks import CASES, check_sharding, compare, launch, save_models, train
from transformers_internvl.training.configs import ENGINES


def main(engines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_models(folder)
        alone = {case: train("one", case, folder, 1) for case in CASES}
        for engine in engines:
            found = {}
            # A model that is made while ZeRO-3 is set up elsewhere in the process would be partitioned, too.
            for runs in [[case] for case in CASES] if engine == "zero3" else [list(CASES)]:
                found |= launch([f"{engine}/{case}" for case in runs], folder)
            for run, ours in found.items():
                case = run.split("/")[1]
                check_sharding(engine, case, ours["sharded"])
                compare(folder, engine, case, ours, alone[case])
                curve = zip(ours["losses"], alone[case]["losses"], strict=True)
                apart = max(abs(one - other) for one, other in curve)
                print(f"{engine:8} {case:22} {ours['distribution']:26} losses apart by at most {apart:.1e}")


if __name__ == "__main__":
    main(sys.argv[1:] or [*ENGINES, "native"])
