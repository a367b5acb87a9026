# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Upstream's common model suite on the dual encoder: whole, and each half alone."""

import inspect
import unittest

import torch
from transformers.testing_utils import torch_device

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

    test_can_init_all_missing_weights = leniently(ModelTesterMixin.test_can_init_all_missing_weights)
    test_correct_missing_keys = leniently(ModelTesterMixin.test_correct_missing_keys)
    test_model_weights_reload_no_missing_tied_weights = leniently(
        ModelTesterMixin.test_model_weights_reload_no_missing_tied_weights
    )

    def setUp(self):
        self.model_tester = DualEncoderTester(CONFIG, self.inputs)


class WholeTest(PartTest, unittest.TestCase):
    all_model_classes = (WHOLE,)
    has_attentions = False  # those of the halves are in the outputs of the halves
    inputs = ("pixel_values", "input_ids", "attention_mask")
    _is_composite = True

    def test_config(self):
        ConfigTester(self, config_class=CONFIG, has_text_modality=False).run_common_tests()

    def test_hidden_states_output(self):
        """In the outputs of the halves, as upstream's CLIP has them: the images' and the texts'."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        for asked in ({"output_hidden_states": True, "output_attentions": True}, {}):
            if not asked:
                for name in ("output_hidden_states", "output_attentions"):
                    setattr(config, name, True)
                    self._set_subconfig_attributes(config, name, True)
            model = WHOLE._from_config(config, attn_implementation="eager").to(torch_device).eval()
            with torch.no_grad():
                outputs = model(**inputs, **asked)
            for half, length in ((outputs.vision_model_output, 65), (outputs.text_model_output, 7)):
                self.assertEqual({tuple(states.shape) for states in half.hidden_states}, {(3, length, 32)})
                self.assertEqual({tuple(scores.shape) for scores in half.attentions}, {(3, 4, length, length)})
                self.assertEqual((len(half.hidden_states), len(half.attentions)), (3, 2))

    def test_retain_grad_hidden_states_attentions(self):
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        model = WHOLE._from_config(config, attn_implementation="eager").to(torch_device)
        outputs = model(**inputs, output_hidden_states=True, output_attentions=True)
        halves = (outputs.vision_model_output, outputs.text_model_output)
        kept = [part[0] for half in halves for part in (half.hidden_states, half.attentions)]
        for states in kept:
            states.retain_grad()
        outputs.logits_per_image.flatten()[0].backward()
        for states in kept:
            self.assertIsNotNone(states.grad)

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

    def test_it_takes_images_only(self):
        self.assertNotIn("input_ids", inspect.signature(VISION.forward).parameters)


class TextHalfTest(PartTest, unittest.TestCase):
    all_model_classes = (TEXT,)
    inputs = ("input_ids", "attention_mask")
