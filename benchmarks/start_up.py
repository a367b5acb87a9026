# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From the command to the first answer: imports and `internvl chat`, against torch and transformers alone.

    python benchmarks/start_up.py [--quick] [--rounds N]

CPU time of processes of their own, in turn, the least of each. `imports` is `import transformers_internvl` over
`import transformers` with the Auto classes with which the package registers. `first answer` is `internvl chat` about
an image on the embedded model over `import torch, transformers` with the Auto classes. `help` is `internvl --help`,
without the start of the interpreter, over the same.
"""

import argparse
import resource
import subprocess
import sys

from figures import heading, record

AUTO = (
    "from transformers import (AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageTextToText, AutoProcessor, "
    "AutoTokenizer, AutoVideoProcessor)"
)
QUESTION = "What number is written in the image?"
LIMITS = {"imports": 1.3, "first answer": 1.5}


def commands() -> dict[str, list[str]]:
    from transformers_internvl.nano import sample_images

    internvl = [sys.executable, "-c", "from internvl_cli import main; main()"]
    return {
        "python": [sys.executable, "-c", ""],
        "transformers": [sys.executable, "-c", f"import torch, transformers; {AUTO}"],
        "imports": [sys.executable, "-c", "import transformers_internvl"],
        "first answer": [*internvl, "chat", "--image", str(sample_images()["number"]), QUESTION],
        "help": [*internvl, "--help"],
    }


def cpu_time(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round: a smoke test, not a measurement")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    ways = commands()
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, command in ways.items():
            times[way].append(cpu_time(command))
    least = {way: min(values) for way, values in times.items()}
    found = {name: least[name] / least["transformers"] for name in LIMITS}
    found["help"] = (least["help"] - least["python"]) / least["transformers"]
    print(heading("cpu", f"{rounds} rounds"))
    print(f"{'':<14}{'CPU time / transformers':>24}   at most")
    for name, ratio in found.items():
        print(f"{name:<14}{ratio:>24.2f}   {LIMITS.get(name, '')}")
    record(found)


if __name__ == "__main__":
    main()
