# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a model costs and how good it is: profiles, retrieval, zero-shot classification, captions, segmentation."""

from ..lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "caption_metrics": ["bleu", "caption_words", "cider"],
        "captioning": ["caption_images"],
        "data": ["Item", "Pictures", "read_class_folder", "read_pairs", "read_pictures"],
        "embedding": ["FITS", "embed_images", "embed_texts", "embed_videos", "fit_options", "in_batches"],
        "retrieval": ["recall_at_k", "retrieve", "retrieve_videos"],
        "segmentation": ["MeanIoU", "SegmentationScore"],
        "zero_shot": [
            "TEMPLATES",
            "class_prompts",
            "classify_images",
            "classify_videos",
            "ranks_of_right",
            "top_k_accuracy",
            "zero_shot_classifier",
        ],
    },
)
