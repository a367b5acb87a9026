# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `internvl evaluate` accepts."""

from argparse import ArgumentParser, Namespace

from .common import add_model_argument, add_place_arguments
from .types import positive


def evaluate(parser: ArgumentParser) -> None:
    """Arguments of `internvl evaluate`."""
    add = parser.add_argument
    add_model_argument(parser)
    add("--task", metavar="A,B", help="benchmarks (see --list), or files of your own questions, with --metric")
    add(
        "--data",
        metavar="DIR",
        help="the folder with questions, such as DocVQA_VAL.tsv, or images, such as imagenet1k",
    )
    add("--output", metavar="DIR", help="the folder of the results (default: evaluations/MODEL); runs are resumed")
    add("--list", action="store_true", help="print the benchmarks and stop")
    add("--compare", nargs=2, metavar=("A", "B"), help="print which questions changed between two folders, and stop")
    add = parser.add_argument_group("how questions are asked").add_argument
    modes = (
        "direct, cot (chain of thought), thinking (default: direct); InternVL-C, InternVL-G; of InternViT see --list"
    )
    add("--mode", metavar="A,B", help=modes)
    add("--prompts", choices=("vlmevalkit", "scripts"), help="VLMEvalKit's, or those of the original scripts")
    add("--release", metavar="NAME", help="the model's name on the Hub, where the path has another")
    add("--system", metavar="TEXT", help="the system message instead of the release's own")
    add("--instruction", metavar="TEXT", help="what follows a question of your own, instead of VLMEvalKit's sentence")
    add("--max-tiles", type=positive, metavar="N", help="maximum tiles of an image (default: the benchmark's)")
    add("--no-thumbnail", action="store_true", help="no thumbnail behind several tiles")
    add("--no-dynamic", action="store_true", help="original scripts: one tile an image, as without their --dynamic")
    add("--frames", type=positive, metavar="N", help="frames of a video (default: the benchmark's)")
    add("--max-new-tokens", type=positive, metavar="N", help="maximum tokens of an answer (default: the official one)")
    settings = "max_tiles, thumbnail, frames, adapter, generation.NAME, model.PATH, processor.PATH"
    add(
        "--grid", action="append", default=[], metavar="NAME=A,B", help=f"run all combinations of values of {settings}"
    )
    add = parser.add_argument_group("who answers").add_argument
    server = "an OpenAI-compatible server, such as http://127.0.0.1:8000/v1; --model is the name of one of its models"
    add("--endpoint", metavar="URL", help=server)
    add("--requests", type=positive, default=8, metavar="N", help="requests at the same time (%(default)s)")
    file = "a file of answers: text with a line a question, or JSONL with index and prediction"
    add("--answers", metavar="FILE", help=file)
    add("--batch-size", type=positive, metavar="N", help="questions at a time (default: 1; images: 32, captions: 8)")
    add_place_arguments(parser)
    add = parser.add_argument_group("what is asked and scored").add_argument
    add("--metric", metavar="NAME", help="the score (default: the benchmark's)")
    judge = "an OpenAI-compatible server whose model judges answers where a benchmark needs that; replies are kept"
    add("--judge-url", metavar="URL", help=f"{judge} (key: JUDGE_API_KEY or OPENAI_API_KEY)")
    add("--judge-model", metavar="NAME", help="the judge's name on that server")
    add("--limit", type=positive, metavar="N", help="ask the first N questions only")
    add("--seed", type=int, default=0, help="of sampled answers (%(default)s)")
    several = "answers of each question: they vote, and the score is drawn against their number (%(default)s)"
    add("--samples", type=positive, default=1, metavar="N", help=several)
    add("--reward", metavar="ID_OR_FOLDER", help="the best of --samples counts, by this reward model (VisualPRM)")
    sums = "with --reward: equal answers add up their scores, and the highest sum counts, not the best single answer"
    add("--weighted-vote", action="store_true", help=sums)
    add("--published", metavar="NAME", help="compare with the published scores of this model (default: of --model)")
    add("--no-plot", action="store_true", help="write no images, which need the extra `evaluation`")


def conflict_of_evaluate(given: Namespace) -> str | None:
    """Why arguments of `internvl evaluate` cannot be used together; None if they can."""
    if sum((given.task is not None, given.list, given.compare is not None)) != 1:
        return "give one of --task, --list and --compare."
    if given.endpoint is not None and given.answers is not None:
        return "--endpoint and --answers exclude each other."
    if given.endpoint is not None and (
        given.device is not None or given.dtype != "auto" or given.batch_size is not None
    ):
        return "the server chooses device, dtype and batches: leave out --device, --dtype and --batch-size."
    if (given.judge_url is None) != (given.judge_model is None):
        return "a judge takes both --judge-url and --judge-model."
    if given.reward is not None and given.samples < 2:
        return "--reward chooses among several answers: give --samples."
    if given.weighted_vote and given.reward is None:
        return "--weighted-vote adds up the scores of a reward model: give --reward."
    if given.grid and (
        given.answers is not None or given.samples > 1 or "," in (given.task or "") + (given.mode or "")
    ):
        return "--grid takes one task and one mode, one answer a question, and no --answers."
    return None
