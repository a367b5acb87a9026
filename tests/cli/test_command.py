# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the command answers by itself, before a verb is imported."""

import subprocess
import sys

import pytest

from internvl_cli import VERBS, main

SCRIPT = """
import sys
from internvl_cli import main
try:
    main(sys.argv[1:])
finally:
    heavy = {"torch", "transformers", "transformers_internvl", "numpy"} & set(sys.modules)
    if heavy:
        print("imported:", heavy)
"""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--help"], 0, "usage: internvl [-h] [--version] verb"),
        (["--version"], 0, "internvl 0.1.0"),
        (["tran"], 2, "unknown verb 'tran', did you mean 'train'?"),
        ([], 2, "the following arguments are required: verb"),
    ],
)
def test_answers_without_importing_torch(words, code, said):
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == code and said in done.stdout + done.stderr and "imported" not in done.stdout


def test_a_verb_like_no_other_lists_all(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["zzz"])
    assert f"the verbs are {', '.join(VERBS)}" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([verb, "--help"])
    assert VERBS[verb][1:40] in " ".join(capsys.readouterr().out.split())
