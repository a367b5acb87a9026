# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Upstream's common suites on vision towers: bare, with heads, and as backbones."""

import unittest

import torch
from transformers.backbone_utils import BackboneMixin
from transformers.models.auto import modeling_auto

from .. import test_modeling_common
from ..test_backbone_common import BackboneTesterMixin
from ..test_configuration_common import ConfigTester
from ..test_modeling_common import ModelTesterMixin
from .given import given_classes
from .testers import TowerTester, leniently

CONFIG, BARE, *OTHERS = given_classes()
BACKBONES = tuple(model for model in OTHERS if issubclass(model, BackboneMixin))
HEADS = tuple(model for model in OTHERS if model not in BACKBONES)

# The suite decides by class name, in these tables, which class takes labels.
TABLES = {
    "ForImageClassification": modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    "ForSemanticSegmentation": modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
    "Backbone": modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES,
}
test_modeling_common.MODEL_MAPPING_NAMES.setdefault(CONFIG.model_type, BARE.__name__)
for model in OTHERS:
    for ending, table in TABLES.items():
        if model.__name__.endswith(ending):
            table.setdefault(CONFIG.model_type, model.__name__)


class TowerTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (BARE, *HEADS)
    test_resize_embeddings = False  # of text

    test_can_init_all_missing_weights = leniently(ModelTesterMixin.test_can_init_all_missing_weights)
    test_correct_missing_keys = leniently(ModelTesterMixin.test_correct_missing_keys)
    test_model_weights_reload_no_missing_tied_weights = leniently(
        ModelTesterMixin.test_model_weights_reload_no_missing_tied_weights
    )

    def setUp(self):
        self.model_tester = TowerTester(CONFIG)
        self.config_tester = ConfigTester(self, config_class=CONFIG, has_text_modality=False)

    def test_config(self):
        self.config_tester.run_common_tests()

    def test_model_get_set_embeddings(self):
        config, _ = self.model_tester.prepare_config_and_inputs_for_common()
        for model_class in self.all_model_classes:
            model = model_class(config)
            self.assertIsInstance(model.get_input_embeddings(), torch.nn.Module)
            self.assertIsNone(model.get_output_embeddings())


@unittest.skipIf(not BACKBONES, "no backbone")
class TowerBackboneTest(BackboneTesterMixin, unittest.TestCase):
    all_model_classes = BACKBONES
    config_class = CONFIG

    def setUp(self):
        self.model_tester = TowerTester(CONFIG)
