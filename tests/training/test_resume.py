# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Runs that are stopped in mid-epoch and resumed; `python -m tests.training.kills` is the long form, with kills.

Packs without workers are resumed by `test_data_ranks.py`.
"""

import pytest

from tests.training.kills import once_each, outcome, stopped_and_resumed, streamed_samples, trainer_of


@pytest.mark.parametrize("case", ["packed, two workers", "rows", "streamed, packed"])
def test_stopped_and_resumed_is_as_if_never_stopped(case, tmp_path):
    whole = trainer_of(case, tmp_path / "whole", save_strategy="no")
    whole.train()
    expected = outcome(whole)
    assert once_each(whole.seen, data=None if "streamed" not in case else streamed_samples(tmp_path))
    parts = stopped_and_resumed(case, tmp_path / "parts", [3, len(expected["curve"]) - 1])
    assert outcome(parts) == expected
    assert expected["curve"][-1]["epoch"] == 2
