# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `internvl train` runs: options, objectives, plan, report."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "answers": ["ANSWER_FILE", "AnswerLog", "last_stretch"],
        "data": ["PairRows", "read_sets"],
        "folder": ["RUN_FILE", "SAVING", "check_output", "discard_unfinished"],
        "objectives": ["Data", "DualEncoderTrainer", "OBJECTIVES", "Objective", "chat_samples", "objective_of"],
        "option_checks": ["check_image_size", "check_options", "check_trackers"],
        "options": ["OWN_FIELDS", "RunOptions", "argument_types", "read_options", "write_options"],
        "other_names": ["FOREIGN", "explain_unknown"],
        "plan": ["PartPlan", "Plan", "SetPlan", "make_plan"],
        "report": ["LOG_FILE", "PLOT_FILE", "RunReport", "draw_curve", "read_log", "smoothed", "smoothing"],
        "run": [
            "Run",
            "RunResult",
            "check_output",
            "data_seed",
            "fate_of_adapter",
            "load_config",
            "load_processor",
            "prepare",
            "weights_dtype",
        ],
    },
)
