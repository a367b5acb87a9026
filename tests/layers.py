# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The order of imports among our packages, which `tests/test_architecture.py` checks."""

# Imports point from a later row to an earlier one, never within a row; a part may import itself. Modules that stand
# beside the packages (`registry`, `internvl_chat`, ...) are the part "top".
LAYERS = [
    {"compatibility", "renamed_modules"},
    {"hub"},
    {"modeling", "processing"},
    {"profiling", "conversion", "visualization"},
    {"evaluation"},
    {"training"},
    {"top"},
    {"curation", "nano", "serving"},
    {"demo"},
    {"cli"},
]
# The same within the packages that have packages of their own. The row "" is for the package's other modules.
INNER_LAYERS = {
    "modeling": [
        {"limits", "original_keys", "outputs"},
        {"pretrained"},
        {"chunked_cross_entropy"},
        {"losses", "language_models", "vision"},
        {"dual_encoder", "flash"},
        {"internvl"},
        {"original"},
        {""},
    ],
    "processing": [
        {"addresses", "threads"},
        {"fetching"},
        {"sources"},
        {"chat_templates", "images", "tokenizers"},
        {"text", "videos"},
        {"media"},
        {"content", "processor_files"},
        {"processor", "processor_dual_encoder"},
        {"processor_llava"},
        {""},
    ],
    "conversion": [{"files"}, {"weights"}, {"layouts", "lora"}, {"surgery"}, {""}],
    "evaluation": [
        {"metrics", "prompts"},
        {"benchmarks", "reasoning"},
        {""},
        {"parity", "run"},
        {"encoders", "harnesses"},
    ],
    "training": [
        {"adapted", "configs", "feature_cache"},
        {"parameters", "lora"},
        {"recipes"},
        {"data"},
        {"trainers"},
        {"reinforcement"},
        {"run"},
        {""},
    ],
}
