# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .device_map import Device, Plan, Share, internvl_device_map, plan_devices
from .fitting import Change, changes_that_fit
from .memory import PHASES, QUANTIZED, MemoryEstimate, Request, Unit, memory_units, needs
from .memory_trace import LiveMemory, pretend_fused_attention
from .model_profile import Part, Profile, Work, build_on_meta, chat_tile_size, profile
from .released import LANGUAGE_MODELS, RELEASES, TOWERS, LanguageModelShape, released_config
from .study import BUDGET, PUBLISHED, Candidate, architecture_study, candidate_config, fitting_candidate
from .training_memory import Footprint, Setup, Use, footprint, optimizer_bytes

__all__ = [
    "BUDGET",
    "Candidate",
    "Change",
    "Device",
    "Footprint",
    "LANGUAGE_MODELS",
    "LanguageModelShape",
    "LiveMemory",
    "MemoryEstimate",
    "PHASES",
    "PUBLISHED",
    "Part",
    "Plan",
    "Profile",
    "QUANTIZED",
    "RELEASES",
    "Request",
    "Setup",
    "Share",
    "TOWERS",
    "Unit",
    "Use",
    "Work",
    "architecture_study",
    "build_on_meta",
    "candidate_config",
    "changes_that_fit",
    "chat_tile_size",
    "fitting_candidate",
    "footprint",
    "internvl_device_map",
    "memory_units",
    "needs",
    "optimizer_bytes",
    "plan_devices",
    "pretend_fused_attention",
    "profile",
    "released_config",
]
