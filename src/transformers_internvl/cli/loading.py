# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Shared by the verbs: argument types, common options, and loading of models and processors."""

import argparse
import os
import sys
from typing import Any

from .errors import UserError, user_errors
from .names import checkpoint, find_release, hint_at_releases


def model_config(name: str) -> Any:
    """The config of a folder, a file, a Hub id, or a release. Raises `UserError` where there is none."""
    from transformers import AutoConfig

    from ..profiling.released import released_config

    release = None if "/" in name or os.path.exists(name) else find_release(name)
    with hint_at_releases(name), user_errors(f"cannot read the config of {name}"):
        return AutoConfig.from_pretrained(checkpoint(name)) if release is None else released_config(release)


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


def visual_stride(arguments: argparse.Namespace) -> float:
    """The step of image tokens, `--v2pe-stride`; 1 if it is not given. Raises `UserError` for one that is none."""
    if arguments.v2pe_stride is None:
        return 1.0
    from ..modeling.internvl.visual_positions import check_stride

    with user_errors("cannot use --v2pe-stride"):
        return check_stride(arguments.v2pe_stride)


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
