# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The command that runs the benchmarks: its table is the README's, and its targets are figures that are measured."""

import json

import pytest

from benchmarks import __main__ as command


def test_readme_has_the_table_of_the_history():
    text = (command.ROOT / "README.md").read_text(encoding="utf-8")
    written = text.split(command.BEGIN)[1].split(command.END)[0].strip()
    assert written == command.table(), "run `write_table()` of benchmarks/__main__.py"


def test_history_has_one_processor_a_file_and_known_benchmarks():
    for path in command.HISTORY.glob("*.jsonl"):
        rows = command.rows(path)
        assert {command.slug(row["processor"]) for row in rows} == {path.stem}
        assert {row["benchmark"] for row in rows} <= set(command.BENCHMARKS)


def test_targets_are_figures_of_the_history():
    measured = {}
    for path in command.HISTORY.glob("*.jsonl"):
        for name, figures in command.latest(path).items():
            measured.setdefault(name, set()).update(figures)
    for name, figures in measured.items():
        benchmark = command.BENCHMARKS[name]
        assert set(benchmark.at_most) | set(benchmark.at_least) <= figures, name


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder of benchmarks with a README, one history and one benchmark."""
    (tmp_path / "README.md").write_text(f"Above.\n{command.BEGIN}\nold\n{command.END}\nBelow.\n")
    benchmark = command.Benchmark("ratio.py", at_most={"first": 0.5}, at_least={"second": 2})
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "HISTORY", tmp_path / "history")
    monkeypatch.setattr(command, "BENCHMARKS", {"ratio": benchmark})
    return tmp_path


def script(folder, body):
    (folder / "ratio.py").write_text(body)


WRITES = """
import json, os, sys
figures = {"first": 0.25, "second": 3.0} if "--quick" in sys.argv else {"first": 0.75, "second": 2.5}
with open(os.environ["INTERNVL_BENCHMARK_FIGURES"], "w") as file:
    json.dump({"processor": "Some CPU, AVX2", "figures": figures}, file)
"""


def test_a_run_is_kept_and_written_to_the_readme(elsewhere, capsys):
    script(elsewhere, WRITES)
    assert command.run("ratio", quick=False, device=None)
    (row,) = command.rows(elsewhere / "history" / "some-cpu-avx2.jsonl")
    assert row["figures"] == {"first": 0.75, "second": 2.5} and row["torch"]
    text = (elsewhere / "README.md").read_text()
    assert text.startswith("Above.\n") and text.endswith("\nBelow.\n") and "old" not in text
    assert "| ratio | first | ≤ 0.5 | 0.75 |" in text and "| ratio | second | ≥ 2 | 2.50 |" in text
    assert "0.750" in capsys.readouterr().out


def test_a_quick_run_is_shown_beside_the_last_and_not_kept(elsewhere, capsys):
    script(elsewhere, WRITES)
    command.run("ratio", quick=False, device=None)
    before = (elsewhere / "README.md").read_text()
    capsys.readouterr()
    assert command.run("ratio", quick=True, device=None)
    shown = capsys.readouterr().out
    assert "0.250" in shown and "0.75" in shown
    assert len(command.rows(elsewhere / "history" / "some-cpu-avx2.jsonl")) == 1
    assert (elsewhere / "README.md").read_text() == before


def test_a_script_that_fails_is_named(elsewhere, monkeypatch):
    script(elsewhere, "raise SystemExit(1)")
    monkeypatch.setattr("sys.argv", ["benchmarks", "ratio"])
    with pytest.raises(SystemExit, match="Failed: ratio"):
        command.main()
    assert not (elsewhere / "history").exists()


def test_unknown_names_are_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "prefil"])
    with pytest.raises(SystemExit):
        command.main()
    assert "no benchmark is called prefil" in capsys.readouterr().err


def test_figures_are_recorded_where_the_command_asks(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(command.ROOT))
    import figures

    monkeypatch.setenv(command.FILE, str(tmp_path / "found.json"))
    figures.record({"first": 0.12345})
    found = json.loads((tmp_path / "found.json").read_text())
    assert found == {"processor": figures.processor(), "figures": {"first": 0.123}}
    assert figures.FILE == command.FILE
