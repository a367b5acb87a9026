# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a model costs without its weights."""

from ..lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "device_map": ["Device", "Plan", "Share", "internvl_device_map", "plan_devices"],
        "fitting": ["Change", "changes_that_fit"],
        "memory": [
            "ANSWER",
            "IMAGES",
            "Needs",
            "PHASES",
            "PROMPT",
            "QUANTIZED",
            "Request",
            "Unit",
            "memory_units",
            "needs",
        ],
        "memory_trace": ["LiveBytes", "pretend_fused_attention"],
        "profile": ["Part", "Profile", "Work", "build_on_meta", "chat_tile_size", "profile"],
        "released": ["LANGUAGE_MODELS", "LanguageModelShape", "RELEASES", "TOWERS", "released_config"],
        "study": ["BUDGET", "Candidate", "PUBLISHED", "architecture_study", "candidate_config", "fitting_candidate"],
        "training_memory": ["Footprint", "LiveMemory", "Setup", "Use", "Work", "footprint", "optimizer_bytes"],
    },
)
