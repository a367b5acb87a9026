# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Upstream's common model suite on chat models."""

import unittest

from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.testing_utils import torch_device

from .. import test_modeling_common
from ..generation.test_utils import GenerationTesterMixin
from ..test_configuration_common import ConfigTester
from ..test_modeling_common import ModelTesterMixin
from .given import given_classes
from .testers import ChatTester, leniently

CONFIG, GENERATING, *BODIES = given_classes()

# The suite decides by class name, in these tables, which class takes labels.
for body in BODIES:
    test_modeling_common.MODEL_MAPPING_NAMES.setdefault(CONFIG.model_type, body.__name__)
MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.setdefault(CONFIG.model_type, GENERATING.__name__)


if CONFIG.model_type == "llava_llama":
    GENERATING.saves_original_format = True  # otherwise it saves the -hf layout, for another class to load


class ChatModelTest(ModelTesterMixin, GenerationTesterMixin, unittest.TestCase):
    all_model_classes = (GENERATING, *BODIES)
    all_generative_model_classes = (GENERATING,)
    _is_composite = True
    model_split_percents = [0.5, 0.8, 0.9]

    test_can_init_all_missing_weights = leniently(ModelTesterMixin.test_can_init_all_missing_weights)
    test_correct_missing_keys = leniently(ModelTesterMixin.test_correct_missing_keys)
    test_model_weights_reload_no_missing_tied_weights = leniently(
        ModelTesterMixin.test_model_weights_reload_no_missing_tied_weights
    )

    def setUp(self):
        self.model_tester = ChatTester(CONFIG, GENERATING)
        self.config_tester = ConfigTester(self, config_class=CONFIG, has_text_modality=False)

    def test_config(self):
        self.config_tester.run_common_tests()

    def test_counts_that_differ_are_refused(self):
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        for model_class in self.all_model_classes:
            model = model_class(config).to(torch_device).eval()
            model(**inputs)
            with self.assertRaises(ValueError):
                model(**{**inputs, "pixel_values": inputs["pixel_values"][-1:]})
