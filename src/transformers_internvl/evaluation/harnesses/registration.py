# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What harnesses look for through entry points (`pyproject.toml`)."""

from typing import Any


def lmms_eval_models() -> Any:
    """The model `internvl` of lmms-eval, as its `ModelManifest`; for its entry points `lmms_eval.models`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="internvl_native",
        chat_class_path="transformers_internvl.evaluation.harnesses.lmms_eval.InternVLChat",
        aliases=("transformers_internvl",),
    )


__all__ = ["lmms_eval_models"]
