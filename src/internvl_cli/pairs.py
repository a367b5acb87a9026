# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `internvl pairs` accepts."""

from argparse import ArgumentParser, Namespace

from .common import add_model_argument, add_place_arguments
from .types import positive


def pairs(parser: ArgumentParser) -> None:
    """Arguments of `internvl pairs`."""
    add = parser.add_argument
    add("questions", metavar="PATH", help="a .jsonl (or table) of questions, with their right answers for correctness")
    add_model_argument(parser)
    add("--method", choices=("correctness", "dropout"), required=True, help=_METHODS)
    add("--output", metavar="DIR", required=True, help="the folder of answers and pairs.jsonl; runs are resumed")
    add("--data-root", metavar="DIR", help="what paths of images count from (default: the folder of the questions)")
    add("--samples", type=positive, metavar="N", help="answers to a question (32; dropout: 1)")
    add("--pairs", type=positive, default=15, metavar="N", help="pairs of a question at most (%(default)s)")
    add("--cot", action="store_true", help="ask for reasons and `Final answer: ..`; answers of another form are wrong")
    add("--temperature", type=float, default=1.0, metavar="T", help="of sampling (%(default)s)")
    add("--max-new-tokens", type=positive, default=2048, metavar="N", help="maximum tokens of an answer (%(default)s)")
    add("--max-tiles", type=positive, default=6, metavar="N", help="maximum tiles of an image (%(default)s)")
    add("--on-bad-sample", default="raise", metavar="raise|skip:N", help="leave out up to N questions (%(default)s)")
    add("--seed", type=int, default=0, help="of answers and pairs (%(default)s)")
    server = "an OpenAI-compatible server that answers; --model is the name of one of its models"
    add("--endpoint", metavar="URL", help=server)
    add("--requests", type=positive, default=8, metavar="N", help="requests at the same time (%(default)s)")
    add("--batch-size", type=positive, default=8, metavar="N", help="questions at a time (%(default)s)")
    add_place_arguments(parser)


_METHODS = (
    "correctness: right answers are better than wrong ones; dropout: an answer is better than its first half, "
    "continued without the image"
)


def conflict_of_pairs(given: Namespace) -> str | None:
    """Why arguments of `internvl pairs` cannot be used together; None if they can."""
    if given.endpoint is not None and (given.device is not None or given.dtype != "auto"):
        return "the server chooses device and dtype: leave out --device and --dtype with --endpoint."
    if given.temperature <= 0:
        return "--temperature must be above 0: several greedy answers are the same."
    return "--cot belongs to --method correctness." if given.cot and given.method == "dropout" else None


__all__ = ["conflict_of_pairs", "pairs"]
