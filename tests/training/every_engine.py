# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every engine on every case, two ranks against one process, on this machine's CPU; needs `pip install deepspeed`.

python -m tests.training.every_engine [ENGINE ...]

`native` and `tp` are transformers' own FSDP2 and tensor parallelism.
"""

import sys
import tempfile
from pathlib import Path

from tests.training.ranks import CASES, DUAL_ENCODER, check_sharding, compare, save_models, train, train_on_two
from transformers_internvl.training.configs import ENGINES

# Engine -> the cases that it refuses.
SCALAR, ADAPTERS = (DUAL_ENCODER,), ("adapters", "adapters on bfloat16")
REFUSED = {"fsdp2": SCALAR, "zero2": SCALAR, "zero3": SCALAR, "tp": ADAPTERS}


def main(engines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_models(folder)
        alone = {case: train("one", case, folder, 1) for case in CASES}
        for engine in engines:
            cases = [case for case in CASES if case not in REFUSED.get(engine, ())]
            for run, ours in train_on_two([f"{engine}/{case}" for case in cases], folder).items():
                case = run.split("/")[1]
                check_sharding(engine, case, ours["sharded"])
                compare(folder, engine, case, ours, alone[case])
                curve = zip(ours["losses"], alone[case]["losses"], strict=True)
                apart = max(abs(one - other) for one, other in curve)
                print(f"{engine:8} {case:22} {ours['distribution']:26} losses apart by at most {apart:.1e}")


if __name__ == "__main__":
    main(sys.argv[1:] or [*ENGINES, "native", "tp"])
