# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Upstream's suites of tensor parallelism and FSDP2 on chat models, with two and four gloo processes."""

import unittest

from transformers import AutoModelForImageTextToText

from .. import test_fsdp_mixin, test_tensor_parallel_mixin
from .given import given_classes
from .testers import ChatTester

CONFIG, GENERATING, *_ = given_classes()

# The suites run on a few model types only, and load language models.
test_tensor_parallel_mixin.TP_DISTRIBUTED_TEST_MODEL_TYPES = None
test_fsdp_mixin.FSDP_DISTRIBUTED_TEST_MODEL_TYPES = None
test_fsdp_mixin.AutoModelForCausalLM = AutoModelForImageTextToText
test_fsdp_mixin._get_available_fsdp_workers = lambda: 4  # processes, which need not have a core each


class TensorParallelTest(test_tensor_parallel_mixin.TensorParallelTesterMixin, unittest.TestCase):
    all_model_classes = (GENERATING,)
    model_tester = ChatTester(CONFIG, GENERATING)


class FSDPTest(test_fsdp_mixin.FSDPTesterMixin, unittest.TestCase):
    all_model_classes = (GENERATING,)
    model_tester = ChatTester(CONFIG, GENERATING, vocab_size=256)
