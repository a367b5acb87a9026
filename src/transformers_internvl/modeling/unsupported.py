# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Relatives of the family that this package does not have: each is refused in one sentence that names it."""

from typing import Any, NoReturn

from transformers import PreTrainedConfig

# `model_type` -> what it is, and how it is loaded.
UNSUPPORTED = {
    "internvlu_chat": "InternVL-U generates images with a diffusion decoder: load it with the code of its repository, "
    "OpenGVLab/InternVL-U.",
    "interns1_pro": "Intern-S1-Pro has an encoder for time series and another graph than InternVL: load it with an "
    "engine that has it, such as LMDeploy or vLLM.",
}


class UnsupportedConfig(PreTrainedConfig):
    """A configuration that cannot be made: reading one raises `ValueError` with the sentence of `UNSUPPORTED`."""

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> NoReturn:
        raise ValueError(f"`model_type: {cls.model_type}` is not supported. {UNSUPPORTED[cls.model_type]}")


def unsupported_configs() -> list[type[UnsupportedConfig]]:
    """A configuration class for every row of `UNSUPPORTED`."""
    return [type("UnsupportedConfig", (UnsupportedConfig,), {"model_type": kind}) for kind in UNSUPPORTED]


__all__ = ["UNSUPPORTED", "UnsupportedConfig", "unsupported_configs"]
