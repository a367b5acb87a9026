# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stock's common model suite."""

import unittest

import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.testing_utils import torch_device

from .. import test_modeling_common
from ..generation.test_utils import GenerationTesterMixin
from ..test_configuration_common import ConfigTester
from ..test_modeling_common import ModelTesterMixin, floats_tensor, ids_tensor
from .given import given_classes

CONFIG, GENERATING, BODY = given_classes()

# The suite decides by class name, in these tables, which class takes labels.
test_modeling_common.MODEL_MAPPING_NAMES.setdefault("internvl", BODY.__name__)
MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.setdefault("internvl", GENERATING.__name__)


class Tester:
    """A tiny model and a batch for it: 16 image tokens, then text."""

    batch_size, seq_length, image_seq_length, image_size = 3, 23, 16, 32
    encoder_seq_length = key_length = seq_length
    num_hidden_layers, num_attention_heads, hidden_size, vocab_size, num_channels = 2, 4, 32, 99, 3
    image_token_id, is_training = 1, True

    def get_config(self):
        text = {
            "model_type": "qwen2",
            "vocab_size": 99,
            "hidden_size": 32,
            "intermediate_size": 37,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 0,
        }
        vision = {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "image_size": 32,
            "patch_size": 4,
            "hidden_act": "quick_gelu",
        }
        return CONFIG(
            text_config=text, vision_config=vision, image_token_id=1, image_seq_length=16, tie_word_embeddings=True
        )

    def prepare_config_and_inputs_for_common(self):
        ids = ids_tensor([self.batch_size, self.seq_length], self.vocab_size)
        ids[ids == self.image_token_id] = 0
        ids[:, : self.image_seq_length] = self.image_token_id
        pixels = floats_tensor([self.batch_size, 3, self.image_size, self.image_size])
        mask = torch.ones(ids.shape, dtype=torch.long, device=torch_device)
        return self.get_config(), {"pixel_values": pixels, "input_ids": ids, "attention_mask": mask}


class InternVLModelTest(ModelTesterMixin, GenerationTesterMixin, unittest.TestCase):
    all_model_classes = (GENERATING, BODY)
    all_generative_model_classes = (GENERATING,)
    _is_composite = True
    model_split_percents = [0.5, 0.8, 0.9]

    def setUp(self):
        self.model_tester = Tester()
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
