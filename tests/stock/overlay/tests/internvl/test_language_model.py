# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Upstream's common suites on language models."""

import unittest

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from .. import test_modeling_common
from ..generation.test_utils import GenerationTesterMixin
from ..test_configuration_common import ConfigTester
from ..test_modeling_common import ModelTesterMixin
from .given import given_classes
from .testers import LanguageModelTester, leniently

CONFIG, GENERATING, BODY = given_classes()

# The suite decides by class name, in these tables, which class takes labels.
test_modeling_common.MODEL_MAPPING_NAMES.setdefault(CONFIG.model_type, BODY.__name__)
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.setdefault(CONFIG.model_type, GENERATING.__name__)


class LanguageModelTest(ModelTesterMixin, GenerationTesterMixin, unittest.TestCase):
    all_model_classes = (GENERATING, BODY)
    all_generative_model_classes = (GENERATING,)

    test_can_init_all_missing_weights = leniently(ModelTesterMixin.test_can_init_all_missing_weights)
    test_correct_missing_keys = leniently(ModelTesterMixin.test_correct_missing_keys)
    test_model_weights_reload_no_missing_tied_weights = leniently(
        ModelTesterMixin.test_model_weights_reload_no_missing_tied_weights
    )

    def setUp(self):
        self.model_tester = LanguageModelTester(CONFIG, GENERATING)
        self.config_tester = ConfigTester(self, config_class=CONFIG, hidden_size=32)

    def test_config(self):
        self.config_tester.run_common_tests()

    def test_reverse_loading_mapping(self):
        super().test_reverse_loading_mapping(skip_base_model=True)  # which lacks the head
