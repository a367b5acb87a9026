# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .captioning import caption_images
from .data import Item, ItemImages, read_class_folder, read_entries, read_images, read_pairs
from .embedding import FITS, embed_images, embed_texts, embed_videos, fit_options, in_batches
from .metrics.caption_words import caption_words
from .metrics.captions import bleu, cider, rouge_l
from .retrieval import recall_at_k, retrieve, retrieve_videos
from .segmentation import MeanIoU, SegmentationScore
from .step_scores import MODES, StepScorer, StepScores, read_tiles
from .zero_shot import (
    TEMPLATES,
    class_prompts,
    classify_images,
    classify_videos,
    ranks_of_right,
    top_k_accuracy,
    zero_shot_classifier,
)

__all__ = [
    "FITS",
    "Item",
    "ItemImages",
    "MODES",
    "MeanIoU",
    "SegmentationScore",
    "StepScorer",
    "StepScores",
    "TEMPLATES",
    "bleu",
    "caption_images",
    "caption_words",
    "cider",
    "class_prompts",
    "classify_images",
    "classify_videos",
    "embed_images",
    "embed_texts",
    "embed_videos",
    "fit_options",
    "in_batches",
    "ranks_of_right",
    "read_class_folder",
    "read_entries",
    "read_images",
    "read_pairs",
    "read_tiles",
    "recall_at_k",
    "retrieve",
    "retrieve_videos",
    "rouge_l",
    "top_k_accuracy",
    "zero_shot_classifier",
]
