# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What benchmarks of training share: models on equal weights, ours and upstream's, each in its own process."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from transformers.models.internvl import modeling_internvl as upstream
from transformers.models.internvl.configuration_internvl import InternVLConfig as UpstreamConfig

import transformers_internvl as ours

Way = TypeVar("Way", bound=Hashable)
Result = dict[str, Any]


def build(whose: str, config: dict[str, Any]) -> torch.nn.Module:
    """The model of `"ours"` or `"upstream"` in training, filled the same for both."""
    if whose == "ours":
        model = ours.InternVLForConditionalGeneration(ours.InternVLConfig(**config))
    else:
        model = upstream.InternVLForConditionalGeneration(UpstreamConfig(**config))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.normal_(std=0.02, generator=generator)
    return model.train()


def command_line(about: str, quick: str, rounds: int, measure: Callable[..., Result], kinds: Sequence[type]) -> Any:
    """What a user asked for: `quick` and `rounds`, which is 1 where it is quick.

    A process of `in_a_process` does not come back from here: it prints what `measure` finds, and ends.

    Args:
        about: a line for `--help`.
        quick: what `--quick` leaves out.
        rounds: how often each way takes its turn.
        measure: takes the values of `--one`.
        kinds: their types.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help=f"{quick}: a smoke test, not a measurement")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--one", nargs=len(kinds), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        torch.set_num_threads(1)
        print(json.dumps(measure(*(kind(value) for kind, value in zip(kinds, arguments.one, strict=True)))))
        sys.exit()
    arguments.rounds = 1 if arguments.quick else arguments.rounds
    return arguments


def in_turn(script: str, rounds: int, ways: Mapping[Way, Iterable[object]]) -> dict[Way, list[Result]]:
    """What each way of doing the same work gives, round by round: the values of its `--one`, in turn."""
    found: dict[Way, list[Result]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, values in ways.items():
            found[way].append(in_a_process(script, *values))
    return found


def in_a_process(script: str, *arguments: object) -> Result:
    """What `script --one ARGUMENTS` prints as JSON."""
    command = [sys.executable, script, "--one", *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def require_equal(name: str, values: Sequence[float]) -> None:
    """End the benchmark where ways that did the same work do not agree to 1e-5."""
    if max(values) - min(values) > 1e-5 * max(values):
        sys.exit(f"The work was not equal, {name}: {values}")


def least_disturbed(rounds: Iterable[Sequence[float]]) -> float:
    """Seconds of some steps: of each the fastest round."""
    return sum(min(times) for times in zip(*rounds, strict=True))
