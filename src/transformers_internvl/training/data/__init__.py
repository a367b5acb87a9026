# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Training data: rows, samples, packs, batches."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "augmentation": ["QUALITIES", "RandomJpeg", "through_jpeg"],
        "collation": ["PackingCollator", "PaddingCollator", "as_piece", "take_piece"],
        "dataloader": ["EpochBatches", "PackLoader", "RowLoader", "TrainingLoader", "training_loader"],
        "dataset": ["ChatDataset", "PackedDataset"],
        "packing": ["AuthorsPacker", "Image", "Pack", "Packer", "Piece", "cut_piece"],
        "pairs": ["ContrastiveCollator", "PretrainingCollator", "show_whole_images"],
        "records": ["DataSet", "JsonlRows", "MAX_REPEAT", "Rows", "SkipPolicy", "TableRows", "read_meta"],
        "rows": [
            "ConversationRow",
            "MessagesRow",
            "PreferenceRow",
            "Row",
            "UnusableSample",
            "parse_row",
            "read_medium",
        ],
        "samples": ["SampleEncoder"],
        "sampling": ["MIXINGS", "Mixture", "MixtureStream", "refuse_changes"],
    },
)
