# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the command answers by itself, before a verb is imported."""

import subprocess
import sys
from importlib import import_module

from internvl_cli import VERBS
from internvl_cli.arguments import VERB_ARGUMENTS

SCRIPT = """
import sys
from internvl_cli import main
for line in sys.argv[1:]:
    try:
        code = main(line.split())
    except SystemExit as end:
        code = end.code
    print("exit code", code, flush=True)
print("imported:", sorted({"torch", "transformers", "transformers_internvl", "numpy"} & set(sys.modules)))
"""


def answers(*lines):
    """What the command prints for each of the lines, all in one process, and the heavy modules that it imported."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *lines], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_help_of_every_verb_imports_no_library():
    said, _ = answers("--help", "--version", *(f"{verb} --help" for verb in VERBS))
    assert said.count("exit code 0") == 2 + len(VERBS) and "imported: []" in said
    assert "internvl 0.1.0" in said and "usage: internvl [-h] [--version] verb" in said
    words = " ".join(said.split())
    assert all(f"usage: internvl {verb}" in words and text[1:40] in words for verb, text in VERBS.items())


WRONG = [
    ("evaluate --task mmvet --samples 4 --weighted-vote", "adds up the scores of a reward model: give --reward"),
    ("tran", "internvl: unknown verb 'tran', did you mean 'train'?"),
    ("zzz", f"the verbs are {', '.join(VERBS)}"),
    ("", "the following arguments are required: verb"),
    ("parity M --dtype int8", "--dtype"),
    ("caption", "internvl caption: the following arguments are required: IMAGE, --model"),
    ("chat --url here --v2pe-stride 1/4", "internvl chat: the server chooses the positions of image tokens"),
    ("chat --v2pe-stride 1/0", "internvl chat: argument --v2pe-stride: expected a number such as 1/4"),
    ("chat --url here --device cpu", "internvl chat: the server chooses device and dtype"),
    ("chat --url here --no-prefix-cache", "internvl chat: the server chooses what it keeps"),
    ("chat --url here --top-k 5", "internvl chat: OpenAI's API has no --top-k"),
    ("chat --top-p 0.9 --seed 1", "internvl chat: without sampling there is no use for --top-p and --seed: give a"),
    ("chat --temperature 3", "internvl chat: argument --temperature: expected a number from 0 to 2, got '3'"),
    ("chat --top-p 0", "internvl chat: argument --top-p: expected a number above 0 and up to 1, got '0'"),
    ("classify folder --model m --num-frames 2", "internvl classify: --num-frames needs --video"),
    ("curate p.yaml --workers 0", "internvl curate: argument --workers: expected a whole number from 1, got '0'"),
    ("demo --v2pe-stride a", "internvl demo: argument --v2pe-stride: expected a number such as 1/4 or 0.25, got 'a'"),
    ("demo --port x", "internvl demo: argument --port: expected a number from 0 to 65535, got 'x'"),
    ("evaluate", "internvl evaluate: give one of --task, --list and --compare"),
    ("convert a b --to c", "internvl convert: argument --to: invalid choice: 'c'"),
    (
        "inspect a.png --max-patches 0",
        "internvl inspect: argument --max-patches: expected a whole number from 1, got '0'",
    ),
    ("look what", "internvl look: give --image or --video."),
    ("look what --image a --num-frames 2", "internvl look: --num-frames needs --video."),
    ("look what --video a --max-patches 2", "internvl look: --max-patches needs --image."),
    ("look what --image a --layers x", "internvl look: argument --layers: expected whole numbers such as 0,1,-1, got"),
    ("pairs q.jsonl --model m --output o", "internvl pairs: the following arguments are required: --method"),
    ("plan m --dtype int3", "internvl plan: argument --dtype: invalid choice: 'int3'"),
    ("profile", "internvl profile: give the name of a model, or --study, and not both"),
    ("profile m --budget 5", "internvl profile: --budget needs --study"),
    ("retrieve a.jsonl --model m --num-frames 2", "internvl retrieve: --num-frames needs --video"),
    ("score a.jsonl --mode orm --max-steps 2", "internvl score: --max-steps does nothing with --mode orm"),
    ("serve --v2pe-stride a", "internvl serve: argument --v2pe-stride: expected a number such as 1/4 or 0.25, got"),
    ("serve --port 70000", "internvl serve: argument --port: expected a number from 0 to 65535, got '70000'"),
    ("surgery extract-towr a b", "internvl surgery: argument operation: invalid choice: 'extract-towr'"),
    ("train", "internvl train: give a recipe's name (internvl train --list prints them), or a YAML file"),
    ("train r --ranks 2", "internvl train: --ranks needs --dry-run"),
    ("train r --resume --dry-run", "internvl train: --resume and --dry-run exclude each other"),
    ("train r --set x", "internvl train: --set takes NAME=VALUE, got 'x'"),
    ("verify a", "internvl verify: the following arguments are required: B"),
]


def test_wrong_arguments_of_every_verb_import_no_library():
    said, errors = answers(*(line for line, _ in WRONG))
    assert said.count("exit code 2") == len(WRONG) and "imported: []" in said
    assert not [message for _, message in WRONG if message not in errors]
    assert len(errors.splitlines()) == len(WRONG)  # one line each
    assert {line.split()[0] for line, _ in WRONG if line} >= set(VERBS)


def test_every_verb_has_a_module_that_runs_it():
    assert set(VERBS) == set(VERB_ARGUMENTS)
    assert all(callable(import_module(f"transformers_internvl.cli.{verb}").run) for verb in VERBS)
