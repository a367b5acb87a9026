# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the verbs accept that ask a chat model or a reward model: `chat`, `inspect`, `look` and `score`."""

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path

from .common import add_model_argument, add_place_arguments, add_stride_argument
from .types import count, number, positive, whole_numbers

# How `internvl score` judges steps -> what that is.
STEP_MODES = {
    "soft_v2": "all steps in one prompt, in one pass",
    "soft": "a pass for every step; the same numbers",
    "orm": "the whole response as one step",
    "hard": "the answer to every step is generated, and looked up in a table",
}


def chat(parser: ArgumentParser) -> None:
    """Arguments of `internvl chat`."""
    add = parser.add_argument
    add(
        "question",
        nargs="?",
        help="the question; without one, questions and commands (/help shows them) are read from stdin, a line each",
    )
    add_model_argument(parser)
    add(
        "--url",
        metavar="URL",
        help="ask the server there, such as http://127.0.0.1:8000/v1 of `internvl serve`; --model is then the name of "
        "one of its models (needs the extra `serve`)",
    )
    add("--image", action="append", default=[], metavar="PATH_OR_URL", help="an image; may be given several times")
    add("--video", action="append", default=[], metavar="PATH_OR_URL", help="a video (needs the extra `video`)")
    add("--system", metavar="TEXT", help="the system message instead of the template's own")
    add("--max-new-tokens", type=positive, default=512, metavar="N", help="maximum tokens of an answer (%(default)s)")
    add("--max-patches", type=positive, metavar="N", help="maximum tiles of an image (default: the checkpoint's)")
    add_stride_argument(parser)
    add(
        "--no-prefix-cache",
        action="store_true",
        help="run the whole conversation for every question (default: a further question runs its new tokens alone)",
    )
    add(
        "--stats",
        action=BooleanOptionalAction,
        help="write tokens, tokens per second after the first, and the time until the first to stderr after each "
        "answer (default: if it is a terminal)",
    )
    add_place_arguments(parser)
    _add_sampling_arguments(parser)


def conflict_of_chat(given: Namespace) -> str | None:
    """Why arguments of `internvl chat` cannot be used together; None if they can."""
    if given.url is not None and given.v2pe_stride is not None:
        return (
            "the server chooses the positions of image tokens: leave out --v2pe-stride with --url (internvl serve "
            "--v2pe-stride)."
        )
    if given.url is not None and (given.device is not None or given.dtype != "auto"):
        return "the server chooses device and dtype: leave out --device and --dtype with --url."
    if given.url is not None and given.no_prefix_cache:
        return (
            "the server chooses what it keeps: leave out --no-prefix-cache with --url (internvl serve --prefix-cache)."
        )
    if given.url is not None and (given.top_k is not None or given.repetition_penalty is not None):
        return "OpenAI's API has no --top-k and no --repetition-penalty: leave them out with --url."
    if not given.temperature:
        of_sampling = {"--top-p": given.top_p, "--top-k": given.top_k, "--seed": given.seed}
        if names := [name for name, value in of_sampling.items() if value is not None]:
            given_names = " and ".join(names)
            return f"without sampling there is no use for {given_names}: give a --temperature above 0, such as 0.7."
    return None


def inspect(parser: ArgumentParser) -> None:
    """Arguments of `internvl inspect`."""
    parser.add_argument("image", type=Path, help="the image or video; a folder is a video, its images are the frames")
    parser.add_argument("--video", action="store_true", help="it is a video (default: by the ending of its name)")
    parser.add_argument(
        "--num-frames", type=positive, metavar="N", help="frames of a video (default: the checkpoint's)"
    )
    add_model_argument(parser)
    parser.add_argument("--max-patches", type=positive, metavar="N", help="maximum tiles (default: the checkpoint's)")
    parser.add_argument(
        "--output", type=Path, metavar="PNG", help="where the drawing goes (default: <image>.cut.png beside it)"
    )
    flash = parser.add_argument_group("InternVL3.5-Flash", "which tiles the model compresses: it is loaded and asked")
    flash.add_argument("--no-model", action="store_true", help="do not load it: bounds of the tokens alone")
    flash.add_argument("--relative-threshold", type=float, metavar="Q", help="in place of the config's")
    flash.add_argument("--absolute-threshold", type=float, metavar="P", help="in place of the config's")


def look(parser: ArgumentParser) -> None:
    """Arguments of `internvl look`."""
    add = parser.add_argument
    add("question", help="what is asked about the images")
    add("--image", action="append", default=[], metavar="PATH_OR_URL", help="an image; may be given several times")
    add("--video", action="append", default=[], metavar="PATH_OR_URL", help="a video (needs the extra `video`)")
    add("--num-frames", type=positive, metavar="N", help="frames of a video (default: the checkpoint's)")
    add("--output", type=Path, metavar="PNG", help="where the drawing goes (default: <image>.look.png beside it)")
    add_model_argument(parser)
    add("--layers", type=whole_numbers, metavar="A,B", help="layers that are averaged, --layers=-1: the last (all)")
    add("--heads", type=whole_numbers, metavar="A,B", help="attention heads that are averaged (all)")
    add("--max-new-tokens", type=positive, default=32, metavar="N", help="maximum tokens of the answer (%(default)s)")
    add("--max-patches", type=positive, metavar="N", help="maximum tiles of an image (default: the checkpoint's)")
    add_stride_argument(parser)
    add_place_arguments(parser)


def conflict_of_look(given: Namespace) -> str | None:
    """Why arguments of `internvl look` cannot be used together; None if they can."""
    if not given.image and not given.video:
        return "give --image or --video."
    if given.num_frames is not None and not given.video:
        return "--num-frames needs --video."
    return "--max-patches needs --image." if given.max_patches is not None and not given.image else None


def score(parser: ArgumentParser) -> None:
    """Arguments of `internvl score`."""
    add = parser.add_argument
    add(
        "solutions",
        type=Path,
        metavar="JSONL",
        help='a .jsonl file with a line for every question, {"question": "...", "image": "1.jpg", "responses": '
        '["...", ...]}; steps are separated by blank lines',
    )
    add_model_argument(parser)
    add("--output", type=Path, metavar="JSONL", help="where the scores go (default: <solutions>.scores.jsonl)")
    modes = "; ".join(f"{name}: {what}" for name, what in STEP_MODES.items())
    add("--mode", choices=tuple(STEP_MODES), default="soft_v2", help=f"how steps are judged (%(default)s). {modes}")
    add("--max-steps", type=positive, metavar="N", help="maximum steps of a response (public evaluations take 12)")
    add("--template", metavar="NAME", help="conversation template, for a checkpoint that names none of the originals")
    add("--system-message", metavar="TEXT", help="in place of the checkpoint's; `prm`: that of VisualPRM's training")
    add("--batch-size", type=positive, default=8, metavar="N", help="prompts at a time (%(default)s)")
    add_place_arguments(parser)


def conflict_of_score(given: Namespace) -> str | None:
    """Why arguments of `internvl score` cannot be used together; None if they can."""
    one = given.mode == "orm" and given.max_steps is not None
    return "--max-steps does nothing with --mode orm, which takes a response as one step." if one else None


def _add_sampling_arguments(parser: ArgumentParser) -> None:
    """Declare how the tokens of an answer are chosen."""
    add = parser.add_argument_group("sampling", "how the tokens of an answer are chosen").add_argument
    temperature = "sample: above 0, the more varied the higher; 0 is the most likely token (default: 0)"
    add("--temperature", type=number(0, 2), metavar="T", help=temperature)
    top_p = "sample among the most likely tokens that have this probability together (default: the checkpoint's)"
    add("--top-p", type=number(0, 1, above=True), metavar="P", help=top_p)
    top_k = "sample among so many of the most likely tokens, 0 for all (default: the checkpoint's, or 50)"
    add("--top-k", type=count, metavar="K", help=top_k)
    add("--seed", type=count, metavar="N", help="of sampling: the same answer to the same question again")
    penalty = "above 1: tokens that were used are less likely (default: the checkpoint's)"
    add("--repetition-penalty", type=number(0, 10, above=True), metavar="R", help=penalty)
