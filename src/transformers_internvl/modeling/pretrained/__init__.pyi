# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .answer_decoding import AnswerCriteria, AnswerProcessors, DecodesAnswersAlone
from .cache_names import refuse_stray_caches
from .exact_decoding import DecodesExactly
from .loading import LoadsStrictly, LoadsWholly, NamesDamagedFiles, RefusesHoles, describe_misfit, weight_places
from .module_names import (
    adapter_names,
    cover,
    disk_names,
    find_skipped,
    names_on_disk,
    own_device_map,
    own_names,
    parts_of,
    skipped_names,
)
from .native_adapters import ExplainsNativeAdapters
from .offloading import TakesInputsOnDevice
from .older_arguments import AcceptsOlderArguments, todays_arguments
from .packed_masks import PackedCausalMask, packed_masks, use_cache_of_packs
from .parallel import (
    KeepsHeadsWhole,
    NamesOwnBlocks,
    SpreadsOverRanks,
    gather_plans,
    inside_call,
    is_sharded,
    on_every_rank,
    share_ranks,
    with_whole_heads,
)
from .quantized import KeepsPartsExact, lists_of, share_quantized, with_exact_modules, with_lists
from .saved_names import AcceptsSavedNames

__all__ = [
    "AcceptsOlderArguments",
    "AcceptsSavedNames",
    "AnswerCriteria",
    "AnswerProcessors",
    "DecodesAnswersAlone",
    "DecodesExactly",
    "ExplainsNativeAdapters",
    "KeepsHeadsWhole",
    "KeepsPartsExact",
    "LoadsStrictly",
    "LoadsWholly",
    "NamesDamagedFiles",
    "NamesOwnBlocks",
    "PackedCausalMask",
    "RefusesHoles",
    "SpreadsOverRanks",
    "TakesInputsOnDevice",
    "adapter_names",
    "cover",
    "describe_misfit",
    "disk_names",
    "find_skipped",
    "gather_plans",
    "inside_call",
    "is_sharded",
    "lists_of",
    "names_on_disk",
    "on_every_rank",
    "own_device_map",
    "own_names",
    "packed_masks",
    "parts_of",
    "refuse_stray_caches",
    "share_quantized",
    "share_ranks",
    "skipped_names",
    "todays_arguments",
    "use_cache_of_packs",
    "weight_places",
    "with_exact_modules",
    "with_lists",
    "with_whole_heads",
]
