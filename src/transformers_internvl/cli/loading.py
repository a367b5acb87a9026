# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Shared by the verbs: argument types, common options, and loading of models and processors."""

import argparse
import os
import sys
from typing import Any

from .errors import UserError, user_errors
from .names import checkpoint, dtype_name, find_release, hint_at_releases


def positive(text: str) -> int:
    """The type of an argument that is a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def count(text: str) -> int:
    """The type of an argument that is a whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def model_config(name: str) -> Any:
    """The config of a folder, a file, a Hub id, or a release. Raises `UserError` where there is none."""
    from transformers import AutoConfig

    from ..profiling.released import released_config

    release = None if "/" in name or os.path.exists(name) else find_release(name)
    with hint_at_releases(name), user_errors(f"cannot read the config of {name}"):
        return AutoConfig.from_pretrained(checkpoint(name)) if release is None else released_config(release)


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--model`."""
    parser.add_argument(
        "--model",
        metavar="ID_OR_FOLDER",
        help="a checkpoint of any InternVL format (default: the embedded nano model)",
    )


def model_name(arguments: argparse.Namespace) -> str:
    """The checkpoint that `--model` names, else the embedded one."""
    if arguments.model is not None:
        return arguments.model
    from ..nano import nano_path

    with user_errors("cannot find the embedded model"):
        return str(nano_path())


def load_processor(name: str) -> Any:
    """The processor of a checkpoint. Raises `UserError` where there is none."""
    from transformers import AutoProcessor

    from ..training.adapted import processor_source

    with hint_at_releases(name), user_errors(f"cannot load the processor of {name}"):
        checkpoint(name, adapters=True)
        return AutoProcessor.from_pretrained(processor_source(name))  # an adapter's can be that of its base


def load_chat_model(name: str, device: Any, dtype: Any) -> Any:
    """The chat model of a checkpoint, ready to answer. Raises `UserError` where there is none."""
    from transformers import AutoModelForImageTextToText

    with hint_at_releases(name), user_errors(f"cannot load the model {name}"):
        checkpoint(name, adapters=True)
        return AutoModelForImageTextToText.from_pretrained(name, dtype=dtype).to(device).eval()


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--device` and `--dtype`."""
    add = parser.add_argument
    add("--device", help="where the model runs, such as cpu or cuda:0 (default: a GPU if there is one)")
    help_text = "number format, such as bfloat16, or bf16 for short (default: the checkpoint's)"
    add("--dtype", type=dtype_name, default="auto", help=help_text)


def place(device_name: str | None, dtype_name: str) -> tuple[Any, Any]:
    """The device and the dtype by their names. Raises `ValueError` for one that does not exist here."""
    import torch

    if device_name is None:
        device_name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device_name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {device_name} cannot be used here; try --device cpu.") from error
    dtype = dtype_name if dtype_name == "auto" else getattr(torch, dtype_name, None)
    if dtype != "auto" and not isinstance(dtype, torch.dtype):
        raise ValueError(f"--dtype {dtype_name} is unknown; expected auto, float32, float16 or bfloat16.")
    return torch.device(device_name), dtype


def log_errors_only() -> None:
    """Turn off the warnings of transformers, and its progress bars unless stderr is a terminal."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    no_bars_without_terminal()


def no_bars_without_terminal() -> None:
    """Turn off the progress bars of transformers unless stderr is a terminal."""
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()


def add_video_arguments(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Declare `--video` and `--num-frames`."""
    parser.add_argument("--video", action="store_true", help=f"{help_text} (needs the extra `video`)")
    frames = "frames of a video; 1 is the centre frame (default: 8)"
    parser.add_argument("--num-frames", type=positive, metavar="N", help=frames)


def num_frames(arguments: argparse.Namespace) -> int:
    """The number of frames of a video. Raises `UserError` for `--num-frames` without `--video`."""
    if arguments.num_frames is not None and not arguments.video:
        raise UserError("--num-frames needs --video.")
    return arguments.num_frames or 8


def add_dual_encoder_arguments(parser: argparse.ArgumentParser, batch_size: int = 32) -> None:
    """Declare the arguments of verbs that run InternVL-C or InternVL-G."""
    add = parser.add_argument
    add("--model", required=True, metavar="ID_OR_FOLDER", help="a dual encoder, such as OpenGVLab/InternVL-14B-224px")
    add("--batch-size", type=positive, default=batch_size, metavar="N", help="images at a time (%(default)s)")
    add_place_arguments(parser)


def add_mode_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--mode`."""
    parser.add_argument(
        "--mode",
        choices=("InternVL-C", "InternVL-G"),
        default="InternVL-C",
        help="InternVL-C uses the vision tower alone, InternVL-G adds QLLaMA's queries (%(default)s)",
    )


def load_dual_encoder(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The dual encoder and its processor. Raises `UserError` where there is none."""
    from transformers import AutoModel

    from ..modeling.dual_encoder.model import InternVLDualEncoderModel

    log_errors_only()
    name = arguments.model
    processor = load_processor(name)
    with user_errors(f"cannot load the model {name}"):
        device, dtype = place(arguments.device, arguments.dtype)
        model = AutoModel.from_pretrained(name, dtype=dtype)
    if not isinstance(model, InternVLDualEncoderModel):
        raise UserError(
            f"{name} is no dual encoder but {type(model).__name__}: give InternVL-14B or a fine-tuned copy of it."
        )
    return model.to(device).eval(), processor
