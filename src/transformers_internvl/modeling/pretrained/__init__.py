# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What all models share: loading and saving, quantization, ranks, and generation."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "answer_decoding": ["AnswerCriteria", "AnswerProcessors", "DecodesAnswersAlone"],
        "cache_names": ["refuse_stray_caches"],
        "exact_decoding": ["DecodesExactly"],
        "loading": [
            "LoadsStrictly",
            "LoadsWholly",
            "NamesDamagedFiles",
            "RefusesHoles",
            "describe_misfit",
            "weight_places",
        ],
        "module_names": [
            "adapter_names",
            "cover",
            "disk_names",
            "find_skipped",
            "names_on_disk",
            "own_device_map",
            "own_names",
            "parts_of",
            "skipped_names",
        ],
        "native_adapters": ["ExplainsNativeAdapters"],
        "offloading": ["TakesInputsOnDevice"],
        "older_arguments": ["AcceptsOlderArguments", "todays_arguments"],
        "packed_masks": ["PackedCausalMask", "packed_masks", "use_cache_of_packs"],
        "parallel": [
            "KeepsHeadsWhole",
            "NamesOwnBlocks",
            "SpreadsOverRanks",
            "gather_plans",
            "inside_call",
            "is_sharded",
            "on_every_rank",
            "share_ranks",
            "with_whole_heads",
        ],
        "quantized": ["KeepsPartsExact", "lists_of", "share_quantized", "with_exact_modules", "with_lists"],
        "saved_names": ["AcceptsSavedNames"],
    },
)
