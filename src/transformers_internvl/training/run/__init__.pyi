# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .answers import ANSWER_FILE, AnswerLog, last_stretch
from .data import PairRows, read_sets
from .folder import RUN_FILE, SAVING, check_output, discard_unfinished
from .mixture import LOOKED_AT, MixtureReport, SetContent, draw_mixture, mixture_of, mixture_report
from .objectives import OBJECTIVES, Data, DualEncoderTrainer, Objective, chat_samples, objective_of
from .option_checks import check_image_size, check_options, check_trackers
from .options import OWN_FIELDS, RunOptions, argument_types, read_options, write_options
from .other_names import FOREIGN, explain_unknown
from .plan import PartPlan, Plan, SetPlan, make_plan
from .report import RunReport, draw_curve, read_log, smoothed, smoothing
from .run import Run, RunResult, data_seed, fate_of_adapter, load_config, load_processor, prepare, weights_dtype

__all__ = [
    "ANSWER_FILE",
    "AnswerLog",
    "Data",
    "DualEncoderTrainer",
    "FOREIGN",
    "LOOKED_AT",
    "MixtureReport",
    "OBJECTIVES",
    "OWN_FIELDS",
    "Objective",
    "PairRows",
    "PartPlan",
    "Plan",
    "RUN_FILE",
    "Run",
    "RunOptions",
    "RunReport",
    "RunResult",
    "SAVING",
    "SetContent",
    "SetPlan",
    "argument_types",
    "chat_samples",
    "check_image_size",
    "check_options",
    "check_output",
    "check_trackers",
    "data_seed",
    "discard_unfinished",
    "draw_curve",
    "draw_mixture",
    "explain_unknown",
    "fate_of_adapter",
    "last_stretch",
    "load_config",
    "load_processor",
    "make_plan",
    "mixture_of",
    "mixture_report",
    "objective_of",
    "prepare",
    "read_log",
    "read_options",
    "read_sets",
    "smoothed",
    "smoothing",
    "weights_dtype",
    "write_options",
]
