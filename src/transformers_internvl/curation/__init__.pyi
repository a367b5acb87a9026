# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .heuristics import Finding, HeuristicRules, RepetitionRules
from .protected import Protected, protect
from .rows import answers_of, has_media, images_of, map_images, plain_text, texts_of, with_texts

__all__ = [
    "Finding",
    "HeuristicRules",
    "Protected",
    "RepetitionRules",
    "answers_of",
    "has_media",
    "images_of",
    "map_images",
    "plain_text",
    "protect",
    "texts_of",
    "with_texts",
]
