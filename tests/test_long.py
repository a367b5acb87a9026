# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The command that runs the long checks: its table is CONTRIBUTING.md's, every command is there, failures show."""

import re
import shlex

import pytest

from benchmarks.__main__ import BENCHMARKS
from tests import long
from tests.long import CHECKS, ROOT, Check

# Scripts that are not checks by themselves: ranks and children of tests, libraries of files.
NO_CHECKS = {
    "lab/nano/checkpoint.py",
    "tests/forked.py",
    "tests/long.py",
    "tests/modeling/context_ranks.py",
    "tests/modeling/test_dual_encoder.py",
    "tests/reliability/watched.py",
    "tests/training/ranks.py",
    "tests/training/test_data_ranks.py",
    "tests/training/test_feature_cache.py",
    "tests/training/test_trainer.py",
}


def script_of(check: Check) -> str:
    """The file that a command runs."""
    words = shlex.split(check.command)
    if "pytest" in words:
        return f"{words[-1].replace('.', '/')}.py"
    if words[1] != "-m":
        return words[1]
    path = words[2].replace(".", "/")
    return f"{path}.py" if (ROOT / f"{path}.py").exists() else f"{path}/__main__.py"


def test_contributing_has_the_table():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = page.split("| name | command |")[1].split("\n\n")[0]
    expected = long.table().split("| name | command |")[1]
    assert rows.splitlines() == expected.splitlines(), "`python -m tests.long --list` prints the table"


def test_every_script_is_a_check():
    scripts = {
        str(path.relative_to(ROOT))
        for folder in ("tests", "benchmarks", "lab")
        for path in (ROOT / folder).rglob("*.py")
        if "golden" not in path.parts and 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    plugin = {"tests/other_processor.py"}
    run = {script_of(check) for check in CHECKS} | {f"benchmarks/{row.script}" for row in BENCHMARKS.values()}
    assert run == (scripts - NO_CHECKS - {"tests/test_long.py"}) | plugin


def test_names_are_unique_and_options_exist():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        source = (ROOT / script_of(check)).read_text(encoding="utf-8")
        source += (ROOT / "benchmarks/peers.py").read_text(encoding="utf-8") if "command_line" in source else ""
        for option in re.findall(r"--[\w-]+", f"{check.arguments} {check.short or ''}"):
            drawn = 'f"--{stage}"' in source and option in ("--masked", "--whole", "--bridge")
            assert f'"{option}"' in source or drawn, f"{check.name}: {option}"


def test_short_arguments_replace_the_long_ones(tmp_path):
    check = Check("x", "python -m x", "", "--cases 9 --out OUT", short="--cases 1")
    assert check.words(False, tmp_path)[1:] == ["-m", "x", "--cases", "9", "--out", str(tmp_path)]
    assert check.words(True, tmp_path)[1:] == ["-m", "x", "--cases", "1"]


def test_what_runs_without_names():
    everything = {check.name for check in long.select(None, short=False)}
    assert everything == {check.name for check in CHECKS} - {
        "lowest-versions",
        "allowed-versions",
        "newest-versions",
        "train-nano",
        "vlmevalkit",
        "evalscope",
    }
    assert {check.name for check in long.select(None, short=True)} < everything
    assert [check.name for check in long.select(["train-nano", "fuzz"], short=True)] == ["fuzz", "train-nano"]


@pytest.mark.parametrize("failing", [True, False])
def test_a_failure_is_shown_and_is_the_exit_code(failing, tmp_path, monkeypatch, capsys):
    code = 3 if failing else 0
    checks = [
        Check("one", "python -c", "", f"'print(7); raise SystemExit({code})'", short=None),
        Check("two", "python -c", "", "'print(8)'", short=None),
        Check("three", "python -c", "", "pass", short=None, needs="no_such_module" if failing else ""),
    ]
    monkeypatch.setattr(long, "CHECKS", checks)
    monkeypatch.setattr("sys.argv", ["long", "--logs", str(tmp_path)])
    assert long.main() == int(failing)
    lines = capsys.readouterr().out.splitlines()
    ends = [line.split(maxsplit=3)[3] for line in lines[:3]]
    if failing:
        assert ends == ["failed with code 3", "passed", "not run, needs no_such_module"]
        assert lines[4].startswith("1 of 3 passed") and lines[5] == "one: failed with code 3"
    else:
        assert ends == ["passed"] * 3 and lines[4].startswith("3 of 3 passed")
    assert (tmp_path / "one.txt").read_text().splitlines()[-1] == "7"
    assert (tmp_path / "two.txt").read_text().splitlines()[-1] == "8"
