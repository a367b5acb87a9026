# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tiny models and batches, in the form in which upstream's suites ask for them."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from unittest.mock import patch

import torch
from transformers.testing_utils import torch_device

from ..test_modeling_common import floats_tensor, ids_tensor

LANGUAGE_MODEL = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 37,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
TOWER |= {"image_size": 32, "patch_size": 4}
IMAGE_TOKEN = 1


def canonical_fields(language_model: dict) -> dict:
    """The -hf layout."""
    return {
        "text_config": {"model_type": "qwen2", "tie_word_embeddings": True, **language_model},
        "vision_config": TOWER,
        "tie_word_embeddings": True,
        "image_seq_length": 16,
    }


def original_fields(language_model: dict) -> dict:
    """The original layout, with InternLM2, whose weights are fused on disk, as are the tower's."""
    return {
        "llm_config": {"architectures": ["InternLM2ForCausalLM"], **language_model},
        "vision_config": {**TOWER, "qkv_bias": True, "qk_normalization": False, "norm_type": "layer_norm"},
    }


def llava_fields(language_model: dict) -> dict:
    """LLaVA's layout: no pixel shuffle, so patches of four times the area for as many image tokens."""
    tower = {**TOWER, "patch_size": 8}
    return {**language_model, "vision_config": tower, "force_image_size": 32, "mm_vision_select_layer": -1}


FIELDS = {"internvl": canonical_fields, "internvl_chat": original_fields, "llava_llama": llava_fields}


class ChatTester:
    """A chat model of any layout and a batch for it: 16 image tokens, then text."""

    batch_size, seq_length, image_seq_length, image_size = 3, 23, 16, 32
    encoder_seq_length = key_length = seq_length
    num_hidden_layers, num_attention_heads, hidden_size, num_channels = 2, 4, 32, 3
    is_training = True
    causal_lm_class = None

    def __init__(self, config_class: type, generating: type, vocab_size: int = 99):
        self.config_class, self.conditional_generation_class, self.vocab_size = config_class, generating, vocab_size

    def get_config(self):
        language_model = {**LANGUAGE_MODEL, "vocab_size": self.vocab_size}
        fields = FIELDS[self.config_class.model_type](language_model)
        return self.config_class(image_token_id=IMAGE_TOKEN, **fields)

    def prepare_config_and_inputs_for_common(self):
        ids = ids_tensor([self.batch_size, self.seq_length], self.vocab_size)
        ids[ids == IMAGE_TOKEN] = 0
        ids[:, : self.image_seq_length] = IMAGE_TOKEN
        pixels = floats_tensor([self.batch_size, 3, self.image_size, self.image_size])
        mask = torch.ones(ids.shape, dtype=torch.long, device=torch_device)
        return self.get_config(), {"pixel_values": pixels, "input_ids": ids, "attention_mask": mask}


class TowerTester:
    """A vision tower and three images."""

    batch_size, image_size, num_hidden_layers, num_attention_heads, hidden_size, num_channels = 3, 32, 2, 4, 32, 3
    seq_length = encoder_seq_length = key_length = 65
    mask_length, num_masks = 64, 32
    is_training = True

    def __init__(self, config_class: type):
        self.config_class = config_class

    def get_config(self):
        return self.config_class(**TOWER, num_labels=3, use_mask_token=True, attention_bias=True, use_qk_norm=True)

    def prepare_config_and_inputs_for_common(self):
        masked = torch.arange(self.mask_length, device=torch_device).expand(self.batch_size, -1) % 3 == 0
        return self.get_config(), {
            "pixel_values": floats_tensor([self.batch_size, 3, 32, 32]),
            "bool_masked_pos": masked,
        }


class LanguageModelTester:
    """A language model and a batch of text."""

    batch_size, seq_length, num_hidden_layers, num_attention_heads, hidden_size, vocab_size = 3, 7, 2, 4, 32, 99
    encoder_seq_length = key_length = seq_length
    is_training = True

    def __init__(self, config_class: type, generating: type):
        self.config_class, self.causal_lm_class = config_class, generating

    def get_config(self):
        return self.config_class(**LANGUAGE_MODEL, attention_bias=True)

    def prepare_config_and_inputs_for_common(self):
        ids = ids_tensor([self.batch_size, self.seq_length], self.vocab_size)
        return self.get_config(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


class DualEncoderTester:
    """A dual encoder, or the inputs of a half of it: three images, three texts."""

    batch_size, image_size, num_hidden_layers, num_attention_heads, hidden_size, num_channels = 3, 32, 2, 4, 32, 3
    text_length, vocab_size = 7, 99
    is_training = False  # its loss is one of pairs, not of labels

    def __init__(self, config_class: type, inputs: tuple[str, ...]):
        self.config_class, self.inputs = config_class, inputs
        self.seq_length = self.encoder_seq_length = self.key_length = 7 if "input_ids" in inputs else 65

    def get_config(self):
        language_model = {**LANGUAGE_MODEL, "num_key_value_heads": 4}
        return self.config_class(
            vision_config=TOWER,
            qllama_config=language_model,
            clip_embed_dim=16,
            attn_pool_num_heads=4,
            num_query_token=5,
        )

    def prepare_config_and_inputs_for_common(self):
        ids = ids_tensor([self.batch_size, self.text_length], self.vocab_size)
        mask = torch.ones_like(ids)
        everything = {"pixel_values": floats_tensor([3, 3, 32, 32]), "input_ids": ids, "attention_mask": mask}
        return self.get_config(), {name: everything[name] for name in self.inputs}


def leniently(test: Callable) -> Callable:
    """A test of upstream's that loads incomplete weights. Some of our classes refuse them; here they do not."""

    @wraps(test)
    def run(self):
        with ExitStack() as stack:
            for model_class in self.all_model_classes:
                if hasattr(model_class, "_refuse_incomplete"):
                    stack.enter_context(patch.object(model_class, "_refuse_incomplete"))
            test(self)

    return run
