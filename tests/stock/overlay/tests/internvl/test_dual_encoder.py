# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stock's common model suite on the dual encoder: whole, and each half alone."""

import inspect
import unittest

import torch

from .. import test_modeling_common
from ..test_configuration_common import ConfigTester
from ..test_modeling_common import ModelTesterMixin
from .given import given_classes
from .testers import DualEncoderTester, leniently

CONFIG, WHOLE, VISION, TEXT = given_classes()

# The suite decides by class name, in this table, which class takes labels: none here.
for part in (WHOLE, VISION, TEXT):
    test_modeling_common.MODEL_MAPPING_NAMES.setdefault(f"{CONFIG.model_type} {part.__name__}", part.__name__)


class PartTest(ModelTesterMixin):
    """What holds for the whole and for each half."""

    inputs: tuple[str, ...]
    has_attentions = False  # of one stack, with one length: the towers' own suites test them

    test_can_init_all_missing_weights = leniently(ModelTesterMixin.test_can_init_all_missing_weights)
    test_correct_missing_keys = leniently(ModelTesterMixin.test_correct_missing_keys)
    test_model_weights_reload_no_missing_tied_weights = leniently(
        ModelTesterMixin.test_model_weights_reload_no_missing_tied_weights
    )

    def setUp(self):
        self.model_tester = DualEncoderTester(CONFIG, self.inputs)


class WholeTest(PartTest, unittest.TestCase):
    all_model_classes = (WHOLE,)
    inputs = ("pixel_values", "input_ids", "attention_mask")
    _is_composite = True

    def test_config(self):
        ConfigTester(self, config_class=CONFIG, has_text_modality=False).run_common_tests()

    def test_the_loss_reaches_what_stage_1_trains(self):
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        model = WHOLE(config).train()
        model(**inputs, return_loss=True).loss.backward()
        without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
        stage_2 = ("query_tokens", "clip_projector2.", "itm_head.", "qllama.lm_head.")
        self.assertEqual(without, {name for name in without if name.startswith(stage_2) or ".cross_attn." in name})


class VisionHalfTest(PartTest, unittest.TestCase):
    all_model_classes = (VISION,)
    inputs = ("pixel_values",)
    test_resize_embeddings = False  # of text

    def test_model_get_set_embeddings(self):
        config, _ = self.model_tester.prepare_config_and_inputs_for_common()
        self.assertIsInstance(VISION(config).get_input_embeddings(), torch.nn.Module)

    def test_it_takes_pictures_only(self):
        self.assertNotIn("input_ids", inspect.signature(VISION.forward).parameters)


class TextHalfTest(PartTest, unittest.TestCase):
    all_model_classes = (TEXT,)
    inputs = ("input_ids", "attention_mask")
