# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The README is executed: its first example prints what it says, its commands work, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from tests.forked import TRANSFORMERS
from transformers_internvl.cli import main

from .layers import LAYERS

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
    result = TRANSFORMERS.run(code)
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
    # A line each, since `set -e` lets a failure left of `&&` pass.
    lines = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    first, second = map(lines.index, command.split(" && "))
    assert first < second


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert ((REPOSITORY / page).parent / target).exists(), target


CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGE = REPOSITORY / "src" / "transformers_internvl"


def test_module_map_names_files_that_exist():
    rows = [line for line in CONTRIBUTING.splitlines() if line.startswith("| ") and "| question" not in line]
    paths = [path for row in rows for path in re.findall(r"`([\w/]+(?:\.py|/))`", row)]
    assert len(paths) > 60
    for path in paths:
        roots = {"tests": REPOSITORY, "lab": REPOSITORY, "internvl_cli": PACKAGE.parent}
        assert (roots.get(path.split("/")[0], PACKAGE) / path).exists(), path


@pytest.mark.parametrize(("start", "most"), [("From an image", 8), ("From an original", 8), ("`internvl train`,", 12)])
def test_each_path_through_the_source_is_short(start, most):
    section = CONTRIBUTING.split("### What to read first")[1].split("### Where")[0]
    (paragraph,) = [text for text in section.split("\n\n") if text.startswith(start)]
    paths = re.findall(r"`([\w/]+\.py)`", paragraph)
    assert len(set(paths)) == len(paths) == most
    for path in paths:
        assert ((PACKAGE.parent if path.startswith("internvl_cli/") else PACKAGE) / path).exists(), path


def test_module_map_has_every_package_and_no_other():
    tree = CONTRIBUTING.split("## Module map")[1].split("```")[1]
    section = tree.split("src/transformers_internvl/\n")[1].split("lab/")[0]
    found, parent = set(), ""
    for line in section.splitlines():
        indent, name = re.match(r"( *)([\w.]*/?)", line).groups()
        path = name if len(indent) == 4 else parent + name
        assert (PACKAGE / path).exists(), line
        if path.endswith("/"):
            found.add(path)
            parent = path if len(indent) == 4 else parent
    packages = {str(path.parent.relative_to(PACKAGE)) + "/" for path in PACKAGE.rglob("__init__.py")}
    assert found == packages - {"./"}


def test_import_order_of_the_page_is_the_tested_one():
    order = CONTRIBUTING.split("### Import order")[1].split("```")[1]
    rows = [set(line.split()) for line in order.strip().splitlines()]
    assert rows[::-1] == LAYERS
