# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Our data sets on two gloo ranks: no sample is lost or repeated, nothing hangs, runs are resumed exactly."""

import json
import sys
from pathlib import Path

import pytest

from tests.ranks import launch
from tests.training.kills import once_each, outcome, samples, stopped_and_resumed, streamed_samples, trainer_of


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> list[dict]:
    """What each rank of `main` found."""
    folder = tmp_path_factory.mktemp("ranks")
    launch(2, folder, "tests.training.test_data_ranks", str(folder))
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_two_ranks_lose_and_repeat_no_sample(two_ranks):
    for kind in ("packed", "rows"):
        seen = [found[kind] for found in two_ranks]
        assert all(seen) and once_each(seen[0] + seen[1])


def test_two_ranks_with_two_workers_each_stream_every_row_once(two_ranks, tmp_path):
    seen = [found["streamed"] for found in two_ranks]
    assert all(seen) and once_each(seen[0] + seen[1], data=streamed_samples(tmp_path))
    for found in two_ranks:
        assert found["resumed stream"] == found["whole stream"]


def test_two_ranks_resume_exactly(two_ranks):
    for found in two_ranks:
        assert found["resumed"] == found["whole"] and found["whole"]["curve"][-1]["epoch"] == 2
    assert two_ranks[0]["whole"]["weights"] == two_ranks[1]["whole"]["weights"]
    assert two_ranks[0]["whole"]["batches"] != two_ranks[1]["whole"]["batches"]


def test_two_ranks_give_the_curve_of_one(two_ranks, tmp_path):
    """The samples of a step are the same; at the end of an epoch one rank has none."""
    one, _ = exact("rows", tmp_path, gradient_accumulation_steps=2)
    assert len(samples()) % 2 == 1
    assert two_ranks[0]["exact"] == pytest.approx(one, abs=2e-5) and len(one) == 2 * -(-len(samples()) // 2)


def test_two_ranks_that_share_each_pack_give_the_curve_of_one(two_ranks, tmp_path):
    """Losses, and the packs that both read; and a run that was stopped goes on as the whole one."""
    one, seen = exact("packed", tmp_path, gradient_accumulation_steps=2)
    for found in two_ranks:
        assert found["shared"] == pytest.approx(one, abs=1e-5)
        assert found["shared packs"] == seen
        assert found["shared, resumed"] == found["shared, whole"]


def exact(case: str, folder: Path, **options) -> tuple[list[float], list[list[int]]]:
    """Losses and samples of a run without anything random, two samples a step."""
    options = {"per_device_train_batch_size": 1, "learning_rate": 1e-3, "save_strategy": "no", **options}
    trainer = trainer_of(case, folder, noise=0.0, **options)
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row], trainer.seen


def main(folder: Path) -> None:
    """One of two ranks."""
    case = "packed, two ranks"
    whole = trainer_of(case, folder / "whole", save_strategy="no")
    whole.train()
    resumed = stopped_and_resumed(case, folder / "parts", [3])
    losses, rows = exact("rows", folder / "exact", gradient_accumulation_steps=1)
    found = {"packed": whole.seen, "rows": rows, "whole": outcome(whole), "resumed": outcome(resumed)}
    found["exact"] = losses
    case = "streamed, packed, two ranks, two workers"
    whole = trainer_of(case, folder / "whole stream", save_strategy="no")
    whole.train()
    resumed = stopped_and_resumed(case, folder / "parts of stream", [3])
    found |= {"streamed": whole.seen, "whole stream": outcome(whole), "resumed stream": outcome(resumed)}
    case = "packed, two ranks"
    sharing = {"gradient_accumulation_steps": 2, "sharing": 2}
    found["shared"], found["shared packs"] = exact(case, folder / "shared", **sharing)
    whole = trainer_of(case, folder / "shared whole", save_strategy="no", sharing=2)
    whole.train()
    resumed = stopped_and_resumed(case, folder / "shared parts", [3], sharing=2)
    found |= {"shared, whole": outcome(whole), "shared, resumed": outcome(resumed)}
    (folder / f"{whole.args.process_index}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
