# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .augmentation import QUALITIES, RandomJpeg, through_jpeg
from .collation import PackingCollator, PaddingCollator, as_piece, take_piece
from .dataloader import EpochBatches, PackLoader, RowLoader, StreamLoader, TrainingLoader, training_loader
from .dataset import ChatDataset, PackedDataset
from .encoding import Entry, RowEncoder, refuse_augmentation
from .packing import Image, Pack, Packer, Piece, split_piece
from .pairs import ContrastiveCollator, PretrainingCollator, show_whole_images
from .records import MAX_REPEAT, DataSet, JsonlRows, Rows, SkipPolicy, TableRows, read_meta
from .rows import ConversationRow, MessagesRow, PreferenceRow, Row, StepsRow, UnusableSample, parse_row, read_medium
from .samples import SampleEncoder
from .sampling import MIXINGS, Mixture, MixtureStream, refuse_changes
from .shards import FileShards, ShardRow, Shards, expand
from .step_labels import StepLabels
from .streamed import StreamedDataset
from .streamed_files import is_streamed, read_streams
from .streamed_tables import TableShards
from .streams import MixedStream, Share, StreamedRow, StreamSet
from .urls import Fetched, UrlRules, url_rules

__all__ = [
    "ChatDataset",
    "ContrastiveCollator",
    "ConversationRow",
    "DataSet",
    "Entry",
    "EpochBatches",
    "Fetched",
    "FileShards",
    "Image",
    "JsonlRows",
    "MAX_REPEAT",
    "MIXINGS",
    "MessagesRow",
    "MixedStream",
    "Mixture",
    "MixtureStream",
    "Pack",
    "PackLoader",
    "PackedDataset",
    "Packer",
    "PackingCollator",
    "PaddingCollator",
    "Piece",
    "PreferenceRow",
    "PretrainingCollator",
    "QUALITIES",
    "RandomJpeg",
    "Row",
    "RowEncoder",
    "RowLoader",
    "Rows",
    "SampleEncoder",
    "ShardRow",
    "Shards",
    "Share",
    "SkipPolicy",
    "StepLabels",
    "StepsRow",
    "StreamLoader",
    "StreamSet",
    "StreamedDataset",
    "StreamedRow",
    "TableRows",
    "TableShards",
    "TrainingLoader",
    "UnusableSample",
    "UrlRules",
    "as_piece",
    "expand",
    "is_streamed",
    "parse_row",
    "read_medium",
    "read_meta",
    "read_streams",
    "refuse_augmentation",
    "refuse_changes",
    "show_whole_images",
    "split_piece",
    "take_piece",
    "through_jpeg",
    "training_loader",
    "url_rules",
]
