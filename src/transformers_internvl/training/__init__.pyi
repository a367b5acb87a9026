# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .adapted import load_with_adapter
from .configs import engine_config
from .data.augmentation import RandomJpeg
from .data.collation import PackingCollator, PaddingCollator
from .data.dataset import ChatDataset, PackedDataset
from .data.packing import Image, Packer, Piece
from .data.pairs import ContrastiveCollator, PretrainingCollator, show_whole_images
from .data.records import DataSet, JsonlRows, SkipPolicy, TableRows, read_meta
from .data.samples import SampleEncoder
from .data.sampling import Mixture
from .data.shards import FileShards, expand
from .data.streamed import StreamedDataset
from .data.streamed_tables import TableShards
from .data.streams import StreamSet
from .data.urls import UrlRules
from .feature_cache.model import FeatureCache, FeatureCollator
from .lora import in_own_names, lora_config, lora_targets
from .parameters import (
    count_parameters,
    freeze,
    layer_decay_groups,
    parameter_groups,
    set_trainable,
    set_tuning,
    trainable_table,
    unfreeze,
)
from .recipes import Recipe, get_recipe, recipe_names, set_drop_path
from .run.mixture import MixtureReport, draw_mixture, mixture_report
from .run.objectives import DualEncoderTrainer
from .trainers.mpo import MPOLoss
from .trainers.mpo_trainer import MPOTrainer, PairCollator
from .trainers.trainer import InternVLTrainer

__all__ = [
    "ChatDataset",
    "ContrastiveCollator",
    "DataSet",
    "DualEncoderTrainer",
    "FeatureCache",
    "FeatureCollator",
    "FileShards",
    "Image",
    "InternVLTrainer",
    "JsonlRows",
    "MPOLoss",
    "MPOTrainer",
    "Mixture",
    "MixtureReport",
    "PackedDataset",
    "Packer",
    "PackingCollator",
    "PaddingCollator",
    "PairCollator",
    "Piece",
    "PretrainingCollator",
    "RandomJpeg",
    "Recipe",
    "SampleEncoder",
    "SkipPolicy",
    "StreamSet",
    "StreamedDataset",
    "TableRows",
    "TableShards",
    "UrlRules",
    "count_parameters",
    "draw_mixture",
    "engine_config",
    "expand",
    "freeze",
    "get_recipe",
    "in_own_names",
    "layer_decay_groups",
    "load_with_adapter",
    "lora_config",
    "lora_targets",
    "mixture_report",
    "parameter_groups",
    "read_meta",
    "recipe_names",
    "set_drop_path",
    "set_trainable",
    "set_tuning",
    "show_whole_images",
    "trainable_table",
    "unfreeze",
]
