# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every engine on every case, two ranks against one process, on this machine's CPU; needs `pip install deepspeed`.

python -m tests.training.every_engine [ENGINE ...]
"""

import sys
import tempfile
from pathlib import Path

from tests.training.ranks import CASES, DUAL_ENCODER, check_sharding, compare, save_models, train, train_on_two
from transformers_internvl.training.configs import ENGINES


def main(engines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_models(folder)
        alone = {case: train("one", case, folder, 1) for case in CASES}
        for engine in engines:
            # The others take no model with a scalar, such as the dual encoder's temperature.
            cases = [case for case in CASES if case != DUAL_ENCODER or engine == "ddp"]
            for run, ours in train_on_two([f"{engine}/{case}" for case in cases], folder).items():
                case = run.split("/")[1]
                check_sharding(engine, case, ours["sharded"])
                compare(folder, engine, case, ours, alone[case])
                curve = zip(ours["losses"], alone[case]["losses"], strict=True)
                apart = max(abs(one - other) for one, other in curve)
                print(f"{engine:8} {case:22} {ours['distribution']:26} losses apart by at most {apart:.1e}")


if __name__ == "__main__":
    main(sys.argv[1:] or [*ENGINES, "native"])
