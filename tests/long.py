# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Runs the long checks of CONTRIBUTING.md in turn: `python -m tests.long [--only NAME ...] [--short] [--list]`.

Each check is a command of its own, a row of `CHECKS`. A line is printed when a check ends, a summary at the end; the
output of each is in a file of the log folder. Exit code 1 if a check failed, or could not run because a package is
missing.
"""

import argparse
import importlib.util
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Check:
    """A command, its arguments in full length and in minutes, and what it checks."""

    name: str
    command: str
    checks: str
    arguments: str = ""  # OUT stands for a folder
    short: str | None = ""  # in place of `arguments`; None: there is no short form
    needs: str = ""  # a module that must be installed
    on_request: bool = False  # takes days or a package index: runs only where it is named

    def shown(self) -> str:
        return f"{self.command} {self.arguments}".strip()

    def words(self, short: bool, out: Path) -> list[str]:
        arguments = self.short if short and self.short is not None else self.arguments
        words = shlex.split(f"{self.command} {arguments}")
        return [sys.executable, *(str(out) if word == "OUT" else word for word in words[1:])]


CHECKS = [
    Check(
        "upstream-suites",
        "python tests/stock/run.py",
        "transformers' own test suites pass on our classes (rows of `tests/stock/suites.py`), beside upstream's. What "
        "does not pass is listed with the reason in `tests/stock/not_passed.txt`. Without `--long`: what `.ci/run` "
        "runs; `--suite NAME`: one suite",
        "--long",
    ),
    Check(
        "benchmarks",
        "python -m benchmarks",
        "time and memory of everything that `benchmarks/README.md` has figures of, in turn with a reference on the "
        "same work; `python -m benchmarks NAME ...`: those named",
        short="--quick",
    ),
    Check(
        "device-maps",
        "python benchmarks/memory_plan.py",
        "device maps of all released sizes",
        "--releases",
        short=None,
    ),
    Check(
        "curation",
        "python benchmarks/curation.py",
        "rows a second of curation in two processes, compared with one, and its memory on ten times the data",
        short="--quick",
    ),
    Check(
        "architecture-study",
        "python benchmarks/architecture_study.py",
        "speed of the shapes among which InternViT-6B was chosen",
        short=None,
    ),
    Check(
        "conversion-kills",
        "python -m tests.conversion.kills",
        "conversions killed at random moments never leave a folder that loads wrong weights",
        short="--times 2",
    ),
    Check(
        "engines",
        "python -m tests.training.every_engine",
        "DDP, FSDP2 and DeepSpeed give the losses and weights of one process; needs `pip install deepspeed`",
        short=None,
        needs="deepspeed",
    ),
    Check(
        "distributed",
        "python -m tests.modeling.distributed",
        "tensor parallelism, FSDP2 and both load, generate, train and save every layout as one process does",
        short=None,
    ),
    Check(
        "evaluation-kills",
        "python -m tests.evaluation.kills",
        "drawn benchmarks of every kind, asked by runs that are killed at random moments and resumed, on two ranks, "
        "in batches and through the server, have the same answers and scores",
        short="--count 2 --kills 2",
    ),
    Check(
        "curation-kills",
        "python -m tests.curation.kills",
        "a corpus with planted faults, filtered, judged and translated through a server that fails, stalls and writes "
        "rubbish, gives the same rows and findings in one process, in two, and killed at random moments and resumed; "
        "no reply is asked for again but those under way at a kill",
        short="--rows 30 --kills 2",
    ),
    Check(
        "curation-ray",
        "python -m tests.curation.kills --executor ray",
        "the same on a local Ray cluster",
        short="--rows 30",
        needs="ray",
    ),
    Check(
        "vlmevalkit",
        "python -m tests.evaluation.vlmevalkit_trial",
        "VLMEvalKit itself, with its `InternVLChat` on this package, gives the answers and scores of `internvl "
        "evaluate` on drawn questions; needs VLMEvalKit",
        short=None,
        needs="vlmeval",
        on_request=True,
    ),
    Check(
        "evalscope",
        "python -m tests.evaluation.evalscope_trial",
        "EvalScope itself, through `internvl serve`, gives the answers of `internvl evaluate` and its ANLS on six "
        "questions; needs EvalScope",
        short=None,
        needs="evalscope",
        on_request=True,
    ),
    Check(
        "reinforcement",
        "python -m tests.training.reinforced",
        "GSPO raises the share of right answers of the embedded model to drawings that it was not trained on",
        short="--steps 30 --held-out 20",
    ),
    Check(
        "training-kills",
        "python -m tests.training.kills",
        "a training run killed at random moments and resumed is bit-equal to an uninterrupted run",
        short="--kills 1",
    ),
    Check(
        "text",
        "python -m tests.reliability.text",
        "user text never becomes a special token: every tokenizer and template, file names, the pipeline and "
        "`internvl chat`",
        "--cases 60 --seed 1",
        short="--cases 2 --seed 1",
    ),
    Check(
        "fuzz",
        "python -m tests.reliability.fuzz",
        "broken and hostile files end in a result or a typed error",
        "--cases 10000 --seed 2",
        short="--cases 200 --seed 2",
    ),
    Check(
        "guided",
        "python -m tests.reliability.guided",
        "the same with atheris, guided by code coverage; needs `pip install atheris`",
        "--cases 10000 --seed 1",
        short="--cases 200 --seed 1",
        needs="atheris",
    ),
    Check(
        "serving",
        "python -m tests.reliability.serving",
        "`internvl serve` gives every client its own answer, in constant memory",
        "--clients 64 --requests 500",
        short="--clients 8 --requests 100 --leavers 10",
    ),
    Check(
        "second-client",
        "python -m tests.reliability.serving",
        "requests that would stop `internvl serve` delay a second client by 2 seconds at most",
        "--second-client",
        short="--second-client body: --at-once 2",
    ),
    Check(
        "compiled",
        "python -m tests.modeling.compiled",
        "compiled and exported models give the results of eager ones, for every family and layout",
        short="--backend eager --only chat_qwen2",
    ),
    Check(
        "mutations",
        "python -m tests.mutations",
        "the tests notice changes of the source: how many of 100, and which they miss; `--modules 'training/*'`: of "
        "some modules. Test files that carry a module's name or import it are found; others are rows of "
        "`tests/mutations/table.py`; needs `pip install cosmic-ray`",
        "--sample 100 --seed 1",
        short="--sample 2 --seed 1",
        needs="cosmic_ray",
    ),
    Check(
        "notebook",
        "python -m tests.test_notebooks",
        "the notebooks run whole in fresh kernels and print what is stored; what is trained has learned its task at "
        "the end",
        short=None,
    ),
    Check(
        "demo",
        "python -m tests.demo.browser",
        "the page of `internvl demo` in headless Chromium: images, a video, answers, drawings, hostile texts, no "
        'request to another server; needs `pip install ".[demo]" playwright` and Chromium',
        "--out OUT",
        short="--out OUT",
        needs="playwright",
    ),
    Check(
        "docs-site",
        "python -m tests.site",
        "the pages build as a site without a broken link, the API reference included; needs `pip install -c "
        'constraints.txt ".[docs]"`',
        needs="mkdocs",
    ),
    Check(
        "other-processor",
        "python -m pytest -p tests.other_processor",
        "no test expects bit-equal results of two models with equal weights: matrix products are rounded as on other "
        "processors",
        "tests/modeling tests/conversion",
        short="tests/modeling/test_vision.py",
    ),
    Check(
        "lowest-versions",
        "python tests/versions.py",
        "the fast tests pass with every dependency at its lower bound (`--python`: on another interpreter)",
        "--lowest",
        short=None,
        on_request=True,
    ),
    Check(
        "allowed-versions",
        "python tests/versions.py",
        "the same with every dependency as new as the ranges of `pyproject.toml` allow; `--pinned`: with the versions "
        "of `constraints.txt`",
        "--allowed",
        short=None,
        on_request=True,
    ),
    Check(
        "newest-versions",
        "python tests/versions.py",
        "what breaks with the newest published transformers, torch, peft, accelerate and huggingface-hub (`--pre`: "
        "and with release candidates). Run it when one of them is released, before raising its upper bound",
        "--newest",
        short=None,
        on_request=True,
    ),
    Check(
        "signatures",
        "python -m tests.signatures",
        "which arguments that we rely on have changed in the installed transformers",
    ),
    Check(
        "train-nano",
        "python -m lab.nano.training",
        "the embedded model can be trained again",
        "--out OUT",
        short=None,
        on_request=True,
    ),
    Check(
        "nano",
        "python -m lab.nano.evaluation",
        "how often the embedded model answers correctly",
        short="--images 20",
    ),
    Check(
        "nano-dual-encoder",
        "python -m lab.nano.dual_encoder",
        "small versions of InternVL-C and InternVL-G learn 64 pairs, and classify unseen drawings",
        "--out OUT",
        short="--out OUT --masked 2 --whole 2 --bridge 2",
    ),
    Check(
        "nano-heads",
        "python -m lab.nano.dense",
        "classification and segmentation heads learn, on drawn scenes",
        "--out OUT",
        short=None,
    ),
    Check(
        "reproduce",
        "python -m lab.reproduce",
        "the claims of the papers, measured with tiny models (docs/lab.md); a page with plots",
        "--quick --cache OUT",
        short="--scale trial --cache OUT",
    ),
]


def table(checks: list[Check] = CHECKS) -> str:
    """The table of CONTRIBUTING.md."""
    rows = [f"| `{check.name}` | `{check.shown()}` | {check.checks} |" for check in checks]
    return "\n".join(["| name | command | what it checks |", "|---|---|---|", *rows])


def select(only: list[str] | None, short: bool) -> list[Check]:
    """The checks that run: those that are named, else all that need neither days nor a package index."""
    if only:
        return [check for check in CHECKS if check.name in only]
    return [check for check in CHECKS if not check.on_request and not (short and check.short is None)]


def run(check: Check, short: bool, logs: Path) -> str:
    """How a check ended: `passed`, or why not."""
    if check.needs and importlib.util.find_spec(check.needs) is None:
        return f"not run, needs {check.needs}"
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with (logs / f"{check.name}.txt").open("w", encoding="utf-8") as log:
        words = check.words(short, logs / check.name)
        log.write(f"$ {shlex.join(words)}\n")
        log.flush()
        code = subprocess.run(words, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment).returncode
    return "passed" if code == 0 else f"failed with code {code}"


def run_all(checks: list[Check], short: bool, logs: Path) -> int:
    """Run them in order and print a line each; how many did not pass."""
    logs.mkdir(parents=True, exist_ok=True)
    wrong: dict[str, str] = {}
    began = time.monotonic()
    with tqdm(checks, unit="check", disable=None) as bar:
        for check in bar:
            bar.set_postfix_str(check.name)
            started = time.monotonic()
            end = run(check, short, logs)
            tqdm.write(f"{check.name:20} {time.monotonic() - started:8.0f} s   {end}", file=sys.stdout)
            sys.stdout.flush()
            if end != "passed":
                wrong[check.name] = end
    minutes = (time.monotonic() - began) / 60
    print(f"\n{len(checks) - len(wrong)} of {len(checks)} passed in {minutes:.0f} min. Logs: {logs}")
    for name, end in wrong.items():
        print(f"{name}: {end}")
    return len(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [check.name for check in CHECKS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="run these; --list shows the names")
    parser.add_argument("--short", action="store_true", help="fewer cases; without --only, checks that have that form")
    parser.add_argument("--list", action="store_true", help="print the table of checks and run nothing")
    parser.add_argument("--logs", type=Path, help="folder for logs and models (default: a new temporary folder)")
    arguments = parser.parse_args()
    checks = select(arguments.only, arguments.short)
    if arguments.list:
        print(table(checks if arguments.only or arguments.short else CHECKS))
        return 0
    return int(run_all(checks, arguments.short, arguments.logs or Path(tempfile.mkdtemp(prefix="long-"))) > 0)


if __name__ == "__main__":
    sys.exit(main())
