# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Forked processes end, write and fail as processes of their own do."""

import time

import pytest

from tests.forked import Parent


@pytest.fixture(scope="module")
def parent():
    parent = Parent(changes={"FORKED_SET": "1", "OMP_NUM_THREADS": None})
    yield parent
    parent.close()


def test_output_errors_arguments_and_environment_are_those_of_the_process(parent):
    code = (
        "import os, sys; print(sys.argv[1:], sorted({'FORKED_SET', 'OTHER', 'OMP_NUM_THREADS'} & set(os.environ)));"
        "print('said', file=sys.stderr)"
    )
    done = parent.run(code, 1, "two", OTHER="2")
    assert (done.stdout, done.stderr) == ("['1', 'two'] ['FORKED_SET', 'OTHER']\n", "said\n")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("raise SystemExit('why')", "exit code 1\n.*why"),
        ("1 / 0", "exit code 1\n.*ZeroDivisionError"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
    ],
)
def test_a_failure_is_an_error_with_what_was_written(parent, code, said):
    with pytest.raises(AssertionError, match=f"(?s){said}"):
        parent.run(code)


def test_code_that_ends_with_no_error_of_its_own_is_no_failure(parent):
    assert parent.run("print(1); raise SystemExit").stdout == parent.run("print(1); exit(0)").stdout == "1\n"


@pytest.mark.parametrize(
    ("code", "seconds", "codes"),
    [
        ("import os, time; time.sleep(60) if os.environ['RANK'] == '0' else exit(5)", 50, [-9, 5]),
        ("import os, time; time.sleep(60) if os.environ['RANK'] == '0' else None", 2, [-9, 0]),
        ("pass", 50, [0, 0]),
    ],
    ids=["one fails", "time is over", "both end"],
)
def test_processes_at_once_end_together(parent, tmp_path, code, seconds, codes):
    start = time.monotonic()
    runs = [(tmp_path / rank, tmp_path / rank, {"RANK": rank}) for rank in "01"]
    assert parent.start(["-c", code], runs, seconds) == codes
    assert time.monotonic() - start < 45
