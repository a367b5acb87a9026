# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Upstream's suite of pipelines: for each task every class that serves it, from files."""

import inspect
import shutil
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import transformers

import transformers_internvl

from .. import test_pipeline_mixin
from ..test_pipeline_mixin import PipelineTesterMixin, pipeline_test_mapping
from . import pipelines
from .given import given_classes, golden
from .testers import LANGUAGE_MODEL, canonical_fields
from .testers import TOWER as TOWER_SIZES

GENERATING, BODY, CHAT, DUAL, CAUSAL, LANGUAGE, TOWER, ORIGINAL_TOWER, CLASSIFIER = given_classes()

# Whose parts the suite loads, by the names under which it looks them up.
TEXT = {"tokenizer_classes": ["AutoTokenizer"], "processor_classes": []}
IMAGES = {"tokenizer_classes": [], "processor_classes": ["AutoImageProcessor"]}
BOTH = {**TEXT, "processor_classes": ["AutoImageProcessor"]}
PARTS = {
    **dict.fromkeys((GENERATING, BODY, CHAT, CAUSAL, LANGUAGE), TEXT),
    **dict.fromkeys((TOWER, ORIGINAL_TOWER, CLASSIFIER), IMAGES),
    DUAL: BOTH,
}
# Folders that serve as they are; the others are written.
RELEASED = {
    CHAT: golden("chat_internlm2"),
    DUAL: golden("internvl_14b"),
    ORIGINAL_TOWER: golden("intern_vit_300m"),
}


def write_folders(root: Path) -> None:
    """A folder for each class, where the suite looks for it."""
    for model_class in PARTS:
        folder = root / model_class.config_class.model_type / model_class.__name__
        if model_class in RELEASED:
            shutil.copytree(RELEASED[model_class], folder)
        elif model_class in (GENERATING, BODY):
            write_canonical(model_class, folder)
        elif model_class in (CAUSAL, LANGUAGE):
            shutil.copytree(golden("labels", "tokenizers", "internlm2"), folder)
            model_class(model_class.config_class(**{**LANGUAGE_MODEL, "vocab_size": 455})).save_pretrained(folder)
        elif model_class is TOWER:
            model_class(model_class.config_class(**TOWER_SIZES)).save_pretrained(folder)
            shutil.copy(RELEASED[ORIGINAL_TOWER] / "preprocessor_config.json", folder)
        else:
            model_class.from_pretrained(RELEASED[ORIGINAL_TOWER]).save_pretrained(folder)
            shutil.copy(RELEASED[ORIGINAL_TOWER] / "preprocessor_config.json", folder)


def write_canonical(model_class: type, folder: Path) -> None:
    """A tiny model of the -hf layout, with the tokenizer and the template of the embedded one."""
    options = {"size": dict.fromkeys(("height", "width"), TOWER_SIZES["image_size"]), "max_patches": 1}
    processor = transformers_internvl.InternVLProcessor.from_pretrained(transformers_internvl.nano_path(), **options)
    fields = canonical_fields({**LANGUAGE_MODEL, "vocab_size": len(processor.tokenizer)})
    processor.image_seq_length = fields["image_seq_length"]
    processor.save_pretrained(folder)
    model_class(model_class.config_class(**fields, image_token_id=processor.image_token_id)).save_pretrained(folder)


class PipelineTest(PipelineTesterMixin, unittest.TestCase):
    pipeline_model_mapping = {
        "image-text-to-text": (GENERATING, CHAT),
        "text-generation": (CHAT, CAUSAL),
        "feature-extraction": (BODY, LANGUAGE),
        "image-feature-extraction": (TOWER, ORIGINAL_TOWER),
        "image-classification": CLASSIFIER,
        "zero-shot-image-classification": DUAL,
    }
    # Without the mark that asks for timm, which ours do not need.
    test_pipeline_image_feature_extraction = inspect.unwrap(PipelineTesterMixin.test_pipeline_image_feature_extraction)
    test_pipeline_image_feature_extraction_fp16 = inspect.unwrap(
        PipelineTesterMixin.test_pipeline_image_feature_extraction_fp16
    )

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        write_folders(Path(folder.name))
        test_pipeline_mixin.TRANSFORMERS_TINY_MODEL_PATH = folder.name
        test_pipeline_mixin.tiny_model_summary = {model.__name__: parts for model, parts in PARTS.items()}
        test_pipeline_mixin.PROCESSOR_MAPPING_NAMES = dict.fromkeys(("internvl", "internvl_chat"), "AutoProcessor")
        autos = ("AutoTokenizer", "AutoImageProcessor", "AutoProcessor")
        test_pipeline_mixin.transformers_module = SimpleNamespace(**{n: getattr(transformers, n) for n in autos})
        for task in cls.pipeline_model_mapping:
            name = pipeline_test_mapping[task]["test"].rpartition(".")[2]
            pipeline_test_mapping[task] = {"test": f"{pipelines.__name__}.{name}"}
