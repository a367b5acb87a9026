# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the verbs accept that run InternVL-C and InternVL-G: `caption`, `classify` and `retrieve`."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .common import add_place_arguments
from .types import positive

FRAMES = 8  # of a video, for dual encoders


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
        help="sentences with {} for the name: name, photo or video, those of the original evaluation (imagenet1k, "
        "cifar10, ...), or a text file with one a line, in any language (default: photo; with --video, video)",
    )
    _add_video_arguments(parser, "the files are videos")
    add("--per-class", action="store_true", help="print the accuracy of every class")
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


def frames_without_video(given: Namespace) -> str | None:
    """Why arguments of `classify` and `retrieve` cannot be used together; None if they can."""
    return "--num-frames needs --video." if given.num_frames is not None and not given.video else None


def _add_dual_encoder_arguments(parser: ArgumentParser, batch_size: int = 32) -> None:
    """Declare the arguments of verbs that run InternVL-C or InternVL-G."""
    add = parser.add_argument
    add("--model", required=True, metavar="ID_OR_FOLDER", help="a dual encoder, such as OpenGVLab/InternVL-14B-224px")
    add("--batch-size", type=positive, default=batch_size, metavar="N", help="images at a time (%(default)s)")
    add_place_arguments(parser)


def _add_mode_argument(parser: ArgumentParser) -> None:
    """Declare `--mode`."""
    parser.add_argument(
        "--mode",
        choices=("InternVL-C", "InternVL-G"),
        default="InternVL-C",
        help="InternVL-C uses the vision tower alone, InternVL-G adds QLLaMA's queries (%(default)s)",
    )


def _add_video_arguments(parser: ArgumentParser, help_text: str) -> None:
    """Declare `--video` and `--num-frames`."""
    parser.add_argument("--video", action="store_true", help=f"{help_text} (needs the extra `video`)")
    frames = f"frames of a video; 1 is the centre frame (default: {FRAMES})"
    parser.add_argument("--num-frames", type=positive, metavar="N", help=frames)
