# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The README is executed: its first example prints what it says, its commands work, its links lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from transformers_internvl.cli import main

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    *(f"docs/{page.name}" for page in sorted((REPOSITORY / "docs").glob("*.md"))),
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_first_example_prints_what_it_says():
    code = blocks("python")[0]
    expected = [line.removeprefix("# ") for line in code.splitlines() if line.startswith("# ")]
    assert expected
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == expected


def test_first_command_answers(capsys, monkeypatch):
    line, answer = blocks("bash")[1].strip().splitlines()
    install, _, command = line.partition(" && ")
    assert install == "pip install -c constraints.txt -e ."
    program, *arguments = shlex.split(command)
    assert program == "internvl"
    monkeypatch.chdir(REPOSITORY)
    assert main(arguments) == 0
    assert capsys.readouterr().out.strip() == answer.removeprefix("# ")


def test_second_command_is_what_runs_before_a_change_is_done():
    command = blocks("bash")[2].strip()
    assert command == 'pip install -c constraints.txt -e ".[test]" && pytest -n auto --dist loadfile'
    # In parentheses, since `set -e` lets a failure left of `&&` pass.
    assert f"({command})" in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert ((REPOSITORY / page).parent / target).exists(), target


def test_the_map_of_the_house_names_files_that_exist():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "question" not in line]
    paths = [path for row in rows for path in re.findall(r"`([\w/]+(?:\.py|/))`", row)]
    assert len(paths) > 10
    for path in paths:
        below = REPOSITORY if path.startswith("tests/") else REPOSITORY / "src" / "transformers_internvl"
        assert (below / path).exists(), path
