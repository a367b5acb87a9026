# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Upstream's common suite of tokenizers, on ours, from the original files."""

import inspect
import unittest

from ..test_tokenization_common import TokenizerTesterMixin
from .given import given_classes, golden

INTERNLM2, LLAMA, DUAL = given_classes()


class SmallVocabulary(TokenizerTesterMixin):
    """A few hundred pieces, with which the slow test is quick."""

    test_conversion_reversible = inspect.unwrap(TokenizerTesterMixin.test_conversion_reversible)


class InternLM2Test(SmallVocabulary, unittest.TestCase):
    tokenizer_class = INTERNLM2
    from_pretrained_id = str(golden("labels", "tokenizers", "internlm2"))


class InternLM2NoPrefixTest(SmallVocabulary, unittest.TestCase):
    tokenizer_class = INTERNLM2
    from_pretrained_id = str(golden("labels", "tokenizers", "internlm2_nodummy"))


class LlamaTest(SmallVocabulary, unittest.TestCase):
    tokenizer_class = LLAMA
    from_pretrained_id = str(golden("labels", "tokenizers", "llama"))


class DualEncoderTest(SmallVocabulary, unittest.TestCase):
    tokenizer_class = DUAL
    from_pretrained_id = str(golden("internvl_14b"))
    test_seq2seq = False
