# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Upstream's training suite on chat models: they learn a sequence by heart and generate it."""

import unittest

from ..test_training_mixin import TrainingTesterMixin
from .given import given_classes
from .testers import ChatTester

CONFIG, GENERATING, *_ = given_classes()


class Tester(ChatTester):
    """The suite looks for the size of the vocabulary at the root of the configuration, and trains on text."""

    def get_config(self):
        config = super().get_config()
        config.vocab_size, config.image_token_id = self.vocab_size, self.vocab_size - 1
        return config


class TrainingTest(TrainingTesterMixin, unittest.TestCase):
    all_model_classes = (GENERATING,)
    model_tester = Tester(CONFIG, GENERATING)
