# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Configurations of the engines that train on several devices, and where they lie.

TrainingArguments(..., deepspeed=engine_config("zero3"))
accelerate launch --config_file <engine_config("fsdp2")> train.py ...
"""

from pathlib import Path

# Engine -> its file, for accelerate (.yaml) or DeepSpeed (.json).
ENGINES = {"ddp": "ddp.yaml", "fsdp2": "fsdp2.yaml", "zero2": "zero2.json", "zero3": "zero3.json"}


def engine_config(engine: str) -> str:
    """The path of an engine's configuration.

    Args:
        engine: `"ddp"` or `"fsdp2"`: for `accelerate launch --config_file`. `"zero2"` or `"zero3"`: for
            `TrainingArguments(deepspeed=...)`; what is `"auto"` in there is filled from the arguments and the model.

    Raises:
        ValueError: an unknown engine.
    """
    if engine not in ENGINES:
        raise ValueError(f"`engine` must be one of {', '.join(map(repr, ENGINES))}, got {engine!r}.")
    return str(Path(__file__).with_name(ENGINES[engine]))


__all__ = ["ENGINES", "engine_config"]
