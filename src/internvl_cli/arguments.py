# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What each verb of `internvl` accepts: a function a verb, named after it, which declares the arguments.

This module imports nothing heavy, so that help and wrong arguments are answered at once. What the verbs do is in
`transformers_internvl.cli`.
"""

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from .parity import parity
from .surgery import surgery
from .types import LAYOUTS, count, dtype_name, fraction, layout, number, port, positive, whole_numbers

# Number formats that `internvl plan` knows.
DTYPES = ("bfloat16", "float16", "float32", "int8", "int4")
# How `internvl score` judges steps -> what that is.
STEP_MODES = {
    "soft_v2": "all steps in one prompt, in one pass",
    "soft": "a pass for every step; the same numbers",
    "orm": "the whole response as one step",
    "hard": "the answer to every step is generated, and looked up in a table",
}
FRAMES = 8  # of a video, for dual encoders
SHOWN_DIFFERENCES = 20  # that `internvl verify` prints without --all


def _add_model_argument(parser: ArgumentParser) -> None:
    """Declare `--model`."""
    parser.add_argument(
        "--model",
        metavar="ID_OR_FOLDER",
        help="a checkpoint of any InternVL format (default: the embedded nano model)",
    )


def _add_place_arguments(parser: ArgumentParser) -> None:
    """Declare `--device` and `--dtype`."""
    add = parser.add_argument
    add("--device", help="where the model runs, such as cpu or cuda:0 (default: a GPU if there is one)")
    help_text = "number format, such as bfloat16, or bf16 for short (default: the checkpoint's)"
    add("--dtype", type=dtype_name, default="auto", help=help_text)


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


def _add_video_arguments(parser: ArgumentParser, help_text: str) -> None:
    """Declare `--video` and `--num-frames`."""
    parser.add_argument("--video", action="store_true", help=f"{help_text} (needs the extra `video`)")
    frames = f"frames of a video; 1 is the centre frame (default: {FRAMES})"
    parser.add_argument("--num-frames", type=positive, metavar="N", help=frames)


def _add_dual_encoder_arguments(parser: ArgumentParser, batch_size: int = 32) -> None:
    """Declare the arguments of verbs that run InternVL-C or InternVL-G."""
    add = parser.add_argument
    add("--model", required=True, metavar="ID_OR_FOLDER", help="a dual encoder, such as OpenGVLab/InternVL-14B-224px")
    add("--batch-size", type=positive, default=batch_size, metavar="N", help="images at a time (%(default)s)")
    _add_place_arguments(parser)


def _add_mode_argument(parser: ArgumentParser) -> None:
    """Declare `--mode`."""
    parser.add_argument(
        "--mode",
        choices=("InternVL-C", "InternVL-G"),
        default="InternVL-C",
        help="InternVL-C uses the vision tower alone, InternVL-G adds QLLaMA's queries (%(default)s)",
    )


def caption(parser: ArgumentParser) -> None:
    """Arguments of `internvl caption`."""
    add = parser.add_argument
    add(
        "images",
        nargs="+",
        metavar="IMAGE",
        help='images and folders of them, or one .jsonl with a line for every image, {"image": "1.jpg", '
        '"captions": ["...", ...]}, or a .json list of these: captions are then scored',
    )
    _add_dual_encoder_arguments(parser, batch_size=8)
    add("--prompt", metavar="TEXT", help="the beginning that the caption continues (default: English caption:)")
    add("--num-beams", type=positive, default=5, metavar="N", help="beams of the search (%(default)s)")
    add("--min-new-tokens", type=positive, default=8, metavar="N", help="minimum tokens of a caption (%(default)s)")
    add("--max-new-tokens", type=positive, default=30, metavar="N", help="maximum tokens of a caption (%(default)s)")
    add("--json", action="store_true", help="print JSON")


def chat(parser: ArgumentParser) -> None:
    """Arguments of `internvl chat`."""
    add = parser.add_argument
    add(
        "question",
        nargs="?",
        help="the question; without one, questions and commands (/help shows them) are read from stdin, a line each",
    )
    _add_model_argument(parser)
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
    add(
        "--v2pe-stride",
        type=fraction,
        metavar="S",
        help="by how much positions grow from one token of an image to the next, such as 1/4 (default: 1)",
    )
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
    _add_place_arguments(parser)
    _add_sampling_arguments(parser)


def classify(parser: ArgumentParser) -> None:
    """Arguments of `internvl classify`."""
    add = parser.add_argument
    add("folder", type=Path, help="holds a folder for every class; its name, with _ as space, is the class's name")
    _add_dual_encoder_arguments(parser)
    _add_mode_argument(parser)
    add("--class-names", type=Path, metavar="JSON", help='names of the folders: {"n02123045": ["tabby", "cat"], ...}')
    add(
        "--templates",
        metavar="NAME_OR_FILE",
        help="sentences with {} for the name: name, photo or video, or a text file with one a line, in any language "
        "(default: photo; with --video, video)",
    )
    _add_video_arguments(parser, "the files are videos")
    add("--per-class", action="store_true", help="print the accuracy of every class")
    add("--json", action="store_true", help="print JSON")


def convert(parser: ArgumentParser) -> None:
    """Arguments of `internvl convert`."""
    add = parser.add_argument
    add("source", metavar="SRC", help="a checkpoint of any InternVL format: a folder or a Hub id")
    add("target", metavar="DST", help="the folder to write; an interrupted run continues where it stopped")
    add(
        "--to",
        required=True,
        type=layout,
        choices=LAYOUTS,
        help="hf: the layout of upstream transformers; original: the original layout, for vLLM, SGLang, LMDeploy",
    )
    add(
        "--like",
        metavar="ID_OR_FOLDER",
        help="with --to original: the original checkpoint whose template, tokenizer files, remote code and "
        "preprocessor_config.json are used, for a model that was saved by training or has never had this layout",
    )
    add("--max-shard-size", default="5GB", metavar="SIZE", help="of one weight file, such as 500MB (%(default)s)")
    add("--overwrite", action="store_true", help="replace DST if it exists")
    add("--revision", help="branch, tag or commit of a Hub id")


def evaluate(parser: ArgumentParser) -> None:
    """`internvl evaluate`."""
    add = parser.add_argument
    _add_model_argument(parser)
    add("--task", metavar="A,B", help="benchmarks (see --list), or files of your own questions, with --metric")
    add("--data", metavar="DIR", help="the folder with the files of questions, such as DocVQA_VAL.tsv")
    add("--output", metavar="DIR", help="the folder of the results (default: evaluations/MODEL); runs are resumed")
    add("--list", action="store_true", help="print the benchmarks and stop")
    add("--compare", nargs=2, metavar=("A", "B"), help="print which questions changed between two folders, and stop")
    add = parser.add_argument_group("how questions are asked").add_argument
    add("--mode", default="direct", metavar="A,B", help="direct, cot (chain of thought), thinking (%(default)s)")
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
    add("--batch-size", type=positive, default=1, metavar="N", help="questions at a time (%(default)s)")
    _add_place_arguments(parser)
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
    add("--published", metavar="NAME", help="compare with the published scores of this model (default: of --model)")
    add("--no-plot", action="store_true", help="write no images, which need the extra `evaluation`")


def inspect(parser: ArgumentParser) -> None:
    """Arguments of `internvl inspect`."""
    parser.add_argument("image", type=Path, help="the image or video; a folder is a video, its images are the frames")
    parser.add_argument("--video", action="store_true", help="it is a video (default: by the ending of its name)")
    parser.add_argument(
        "--num-frames", type=positive, metavar="N", help="frames of a video (default: the checkpoint's)"
    )
    _add_model_argument(parser)
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
    _add_model_argument(parser)
    add("--layers", type=whole_numbers, metavar="A,B", help="layers that are averaged, --layers=-1: the last (all)")
    add("--heads", type=whole_numbers, metavar="A,B", help="attention heads that are averaged (all)")
    add("--max-new-tokens", type=positive, default=32, metavar="N", help="maximum tokens of the answer (%(default)s)")
    add("--max-patches", type=positive, metavar="N", help="maximum tiles of an image (default: the checkpoint's)")
    _add_place_arguments(parser)


def plan(parser: ArgumentParser) -> None:
    """Arguments of `internvl plan`."""
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help="a folder, a config.json, a Hub id, or the name of a released chat model such as InternVL3-78B, whose "
        "shape is known without a download",
    )
    add("--gpus", metavar="NxSIZE", help="such as 4x80GB, or 2x80GB,1x24GB (default: what is free on this machine)")
    add("--cpu", metavar="SIZE", help="main memory for layers that do not fit on the GPUs, such as 64GB")
    add("--disk", metavar="SIZE", help="the same on the disk")
    add("--tiles", type=count, default=12, metavar="N", help="tiles of an image with its thumbnail (%(default)s)")
    add("--images", type=count, default=1, metavar="N", help="images of a conversation (%(default)s)")
    add("--context", type=positive, default=8192, metavar="N", help="positions before the answer (%(default)s)")
    add("--new-tokens", type=count, default=512, metavar="N", help="of the answer, at most (%(default)s)")
    add("--batch", type=positive, default=1, metavar="N", help="conversations at a time (%(default)s)")
    help_text = "of the weights; int8 and int4: of the language model's linear layers (%(default)s)"
    add("--dtype", type=dtype_name, choices=DTYPES, default="bfloat16", help=help_text)
    add("--json", action="store_true", help="print JSON, the device map in it")


def profile(parser: ArgumentParser) -> None:
    """Arguments of `internvl profile`."""
    add = parser.add_argument
    add(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a folder, a config.json, a Hub id, or the name of a released chat model such as InternVL3_5-8B, whose "
        "shape is known without a download",
    )
    add("--tiles", type=count, default=1, metavar="N", help="tiles of a chat model, else images (%(default)s)")
    add("--image-size", type=positive, metavar="PX", help="their side in pixels (default: the config's)")
    add("--text-length", type=count, default=80, metavar="N", help="text tokens beside the image's (%(default)s)")
    add("--mode", default="InternVL-G", help="of the dual encoder: InternVL-C or InternVL-G (%(default)s)")
    add("--compressed", type=count, metavar="N", help="compressed ones of the tiles (InternVL3.5-Flash)")
    add("--study", action="store_true", help="the search space of the first paper instead of a model")
    add("--budget", type=positive, metavar="N", help="parameters of a candidate of the study (default: 6000000000)")
    add("--json", action="store_true", help="print JSON")


def retrieve(parser: ArgumentParser) -> None:
    """Arguments of `internvl retrieve`."""
    add = parser.add_argument
    add(
        "pairs",
        type=Path,
        help='a .jsonl with a line for every image, {"image": "1.jpg", "captions": ["...", ...]}, or a .json list '
        "of these; paths count from its folder",
    )
    _add_dual_encoder_arguments(parser)
    _add_mode_argument(parser)
    _add_video_arguments(parser, 'the file names videos, as "video"')
    add(
        "--truncate",
        action="store_true",
        help="truncate texts to 80 tokens, as the original code does (default: an error)",
    )
    add("--json", action="store_true", help="print JSON")


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
    _add_model_argument(parser)
    add("--output", type=Path, metavar="JSONL", help="where the scores go (default: <solutions>.scores.jsonl)")
    modes = "; ".join(f"{name}: {what}" for name, what in STEP_MODES.items())
    add("--mode", choices=tuple(STEP_MODES), default="soft_v2", help=f"how steps are judged (%(default)s). {modes}")
    add("--max-steps", type=positive, metavar="N", help="maximum steps of a response (public evaluations take 12)")
    add("--template", metavar="NAME", help="conversation template, for a checkpoint that names none of the originals")
    add("--system-message", metavar="TEXT", help="in place of the checkpoint's; `prm`: that of VisualPRM's training")
    add("--batch-size", type=positive, default=8, metavar="N", help="prompts at a time (%(default)s)")
    _add_place_arguments(parser)


def serve(parser: ArgumentParser) -> None:
    """Arguments of `internvl serve`."""
    add = parser.add_argument
    add(
        "--model",
        action="append",
        metavar="ID_OR_FOLDER",
        help="a checkpoint to serve, by its id or its folder's name; may be given several times (default: the "
        "embedded nano model, as `nano`)",
    )
    add("--host", default="127.0.0.1", help="the address to listen at (%(default)s: this machine only)")
    add("--port", type=port, default=8000, help="the port; 0 takes a free one (%(default)s)")
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="also fetch images from this host, although its address is not public; may be given several times",
    )
    add(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="also answer requests for this host name (default: at a loopback address only localhost "
        "and loopback addresses, else any address and this machine's name); * for every name; may be repeated",
    )
    add("--max-requests", type=positive, default=256, metavar="N", help="maximum waiting requests (%(default)s)")
    add(
        "--max-requests-per-client",
        type=positive,
        metavar="N",
        help="maximum waiting requests of one address (default: half of --max-requests)",
    )
    add(
        "--prefix-cache",
        type=count,
        default=512,
        metavar="MIB",
        help="memory of each model for images that were seen and common beginnings of prompts, in MiB (%(default)s); "
        "0: nothing is kept",
    )
    _add_place_arguments(parser)


def train(parser: ArgumentParser) -> None:
    """Arguments of `internvl train`."""
    parser.epilog = (
        "Any field of the recipe or of transformers' TrainingArguments is an option, too: --learning-rate 1e-4, "
        "--max-steps 100, --gradient-checkpointing, --no-bf16, --deepspeed FILE. Options win over the YAML, the YAML "
        "over the recipe. On several devices: torchrun --nproc-per-node N -m transformers_internvl.cli train ..."
    )
    add = parser.add_argument
    add("recipe", nargs="?", metavar="RECIPE", help="name of a recipe (see --list), or a YAML file that changes one")
    add("--model", metavar="ID_OR_FOLDER", help="the checkpoint to train; with --dry-run its config.json is enough")
    add("--data", metavar="PATH", help="a meta .json, a .jsonl, or a file or folder of a `datasets` table")
    add("--eval-data", metavar="PATH", help="data to evaluate at every checkpoint and at the end, in the same forms")
    add("--data-root", metavar="DIR", help="folder that paths in plain data are relative to (default: the data's own)")
    add("--output", metavar="DIR", help="folder of checkpoints, logs and the trained model (default: runs/RECIPE)")
    add(
        "--feature-cache",
        metavar="DIR",
        help="compute features of images once, and keep them there (frozen tower)",
    )
    add("--config", metavar="FILE", help="a YAML file with any fields, in place of RECIPE or beside it")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field; the same as --NAME VALUE",
    )
    add("--on-bad-sample", metavar="raise|skip:N", help="samples that cannot be used: stop, or leave out at most N")
    add(
        "--text-tokens",
        metavar="WHICH",
        help="special tokens that data may contain: added, regions, all, or a list A,B",
    )
    add("--allow-urls", action="store_true", default=None, help="fetch URLs in the data, from public addresses only")
    add("--allow-host", action="append", metavar="NAME", help="with --allow-urls: allow this host, too; repeatable")
    add("--dry-run", action="store_true", help="print trained parameters, data and memory; do not train")
    add("--ranks", type=positive, metavar="N", help="with --dry-run: devices to plan for (default: torchrun's)")
    add("--resume", action="store_true", help="continue from the last checkpoint in the output folder")
    add("--list", action="store_true", help="print the recipes")


def verify(parser: ArgumentParser) -> None:
    """Arguments of `internvl verify`."""
    add = parser.add_argument
    add("first", metavar="A", help="a checkpoint of any InternVL format: a folder or a Hub id")
    add("second", metavar="B", help="the other one")
    add("--no-forward", action="store_true", help="compare the files only, without loading the models")
    add("--all", action="store_true", help=f"print every difference (default: the first {SHOWN_DIFFERENCES})")


# The options that `internvl train` declares. Any other one is a field of the recipe or of `TrainingArguments`.
_VALUES = (
    "model",
    "data",
    "eval-data",
    "data-root",
    "output",
    "feature-cache",
    "config",
    "set",
    "on-bad-sample",
    "text-tokens",
    "allow-host",
    "ranks",
)
_SWITCHES = ("list", "dry-run", "resume", "allow-urls", "help")


def spell_out_fields(argv: Sequence[str]) -> list[str]:
    """`--learning-rate 1e-4` as `--set learning_rate=1e-4`, `--bf16` as `--set bf16=true`, `--no-bf16` as false."""
    spelled, words = [], list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name in _SWITCHES or not name:
            spelled.append(word)
        elif name in _VALUES:
            spelled += [word] if equals or not words else [word, words.pop(0)]
        elif equals or (words and not words[0].startswith("--")):
            spelled += ["--set", f"{name}={value if equals else words.pop(0)}"]
        else:
            spelled += ["--set", f"{name.removeprefix('no-')}={'false' if name.startswith('no-') else 'true'}"]
    return spelled


def conflict(given: Namespace) -> str | None:
    """Why the arguments of a verb, each of them valid, cannot be used together; None if they can."""
    return CONFLICTS[given.verb](given) if given.verb in CONFLICTS else None


def _frames_without_video(given: Namespace) -> str | None:
    return "--num-frames needs --video." if given.num_frames is not None and not given.video else None


def _conflict_of_chat(given: Namespace) -> str | None:
    if given.url is not None and given.v2pe_stride is not None:
        return "the server chooses the positions of image tokens: leave out --v2pe-stride with --url."
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


def _conflict_of_evaluate(given: Namespace) -> str | None:
    if sum((given.task is not None, given.list, given.compare is not None)) != 1:
        return "give one of --task, --list and --compare."
    if given.endpoint is not None and given.answers is not None:
        return "--endpoint and --answers exclude each other."
    if given.endpoint is not None and (given.device is not None or given.dtype != "auto" or given.batch_size > 1):
        return "the server chooses device, dtype and batches: leave out --device, --dtype and --batch-size."
    if (given.judge_url is None) != (given.judge_model is None):
        return "a judge takes both --judge-url and --judge-model."
    if given.reward is not None and given.samples < 2:
        return "--reward chooses among several answers: give --samples."
    if given.grid and (given.answers is not None or given.samples > 1 or "," in (given.task or "") + given.mode):
        return "--grid takes one task and one mode, one answer a question, and no --answers."
    return None


def _conflict_of_look(given: Namespace) -> str | None:
    if not given.image and not given.video:
        return "give --image or --video."
    if given.num_frames is not None and not given.video:
        return "--num-frames needs --video."
    return "--max-patches needs --image." if given.max_patches is not None and not given.image else None


def _conflict_of_profile(given: Namespace) -> str | None:
    if given.study == (given.model is not None):
        return "give the name of a model, or --study, and not both."
    return "--budget needs --study." if given.budget is not None and not given.study else None


def _steps_of_one(given: Namespace) -> str | None:
    one = given.mode == "orm" and given.max_steps is not None
    return "--max-steps does nothing with --mode orm, which takes a response as one step." if one else None


def _conflict_of_train(given: Namespace) -> str | None:
    if given.list:
        return None
    if given.ranks is not None and not given.dry_run:
        return "--ranks needs --dry-run; a run has as many devices as torchrun starts."
    if given.recipe is None and given.config is None:
        return "give a recipe's name (internvl train --list prints them), or a YAML file."
    unassigned = [item for item in given.set if "=" not in item]
    if unassigned:
        return f"--set takes NAME=VALUE, got {unassigned[0]!r}."
    if given.resume and given.dry_run:
        return "--resume and --dry-run exclude each other: a dry run does not train."
    return None


# Verb -> the function that checks its arguments together.
CONFLICTS: dict[str, Callable[[Namespace], str | None]] = {
    "chat": _conflict_of_chat,
    "classify": _frames_without_video,
    "evaluate": _conflict_of_evaluate,
    "look": _conflict_of_look,
    "profile": _conflict_of_profile,
    "retrieve": _frames_without_video,
    "score": _steps_of_one,
    "train": _conflict_of_train,
}
VERB_ARGUMENTS: dict[str, Callable[[ArgumentParser], None]] = {
    "caption": caption,
    "chat": chat,
    "classify": classify,
    "convert": convert,
    "evaluate": evaluate,
    "inspect": inspect,
    "look": look,
    "parity": parity,
    "plan": plan,
    "profile": profile,
    "retrieve": retrieve,
    "score": score,
    "serve": serve,
    "surgery": surgery,
    "train": train,
    "verify": verify,
}

__all__ = [
    "DTYPES",
    "FRAMES",
    "SHOWN_DIFFERENCES",
    "STEP_MODES",
    "VERB_ARGUMENTS",
    "conflict",
    "spell_out_fields",
]
