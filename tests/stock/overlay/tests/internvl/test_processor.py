# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Upstream's common suite of processors, on each layout that a processor is loaded from.

Upstream's own file for InternVL, which the source distribution lacks, has other expectations about videos than the
common suite, since their pixels come as `pixel_values`; so has this one.
"""

import json
import shutil
import tempfile
import unittest
from pathlib import Path

import transformers_internvl

from ..test_processing_common import ProcessorTesterMixin, url_to_local_path
from .given import given_classes, golden

CHAT, LLAVA, DUAL = given_classes()
TINY_VIDEO, FRAME = (
    url_to_local_path(f"https://huggingface.co/{name}") for name in ("tiny_video_320x240.mp4", "australia.jpg")
)

LLAVA_CONFIG = {
    "model_type": "llava_llama",
    "architectures": ["LlavaLlamaForCausalLM"],
    "image_aspect_ratio": "pad",
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_tower": "./pretrained/InternViT-6B-224px",
    "mm_vision_select_layer": -4,
    "vocab_size": 400,
}


class SmallTester(ProcessorTesterMixin):
    """Two tokens an image, unless a subclass says otherwise."""

    options: dict

    @staticmethod
    def prepare_processor_dict():
        return {"image_seq_length": 2}

    @classmethod
    def _setup_from_pretrained(cls, model_id, **kwargs):
        return cls.processor_class.from_pretrained(model_id, **cls.options, **cls.prepare_processor_dict(), **kwargs)


class ChatTester(SmallTester):
    """Images of one tile; pixels of videos stand where those of images do, a frame a row."""

    processor_class = CHAT
    videos_input_name = "pixel_values"
    options = {"size": {"height": 28, "width": 28}, "max_patches": 1}

    def _test_apply_chat_template(self, modality, batch_size, return_tensors, input_name, processor_name, input_data):
        if modality != "video":
            super()._test_apply_chat_template(
                modality, batch_size, return_tensors, input_name, processor_name, input_data
            )
            return
        processor = self.get_processor()
        text = {"type": "text", "text": "Describe this."}
        chats = [[{"role": "user", "content": [text, {"type": "video", "url": v}]}] for v in input_data[:batch_size]]
        options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        inputs = processor.apply_chat_template(chats, **options, processor_kwargs={"num_frames": 2, "fps": None})
        self.assertEqual(inputs["pixel_values"].shape, (2 * batch_size, 3, 28, 28))
        self.assertEqual((inputs["input_ids"] == processor.image_token_id).sum(), 2 * 2 * batch_size)
        self.assertEqual(len(inputs["attention_mask"]), batch_size)
        chats = [[*chat, {"role": "assistant", "content": [{"type": "text", "text": "It is the"}]}] for chat in chats]
        for prompt in processor.apply_chat_template(chats, continue_final_message=True, tokenize=False):
            self.assertTrue(prompt.endswith("It is the"))

    def test_apply_chat_template_video_frame_sampling(self):
        processor = self.get_processor()
        expected = [({"num_frames": 3}, 3), ({"fps": 10}, 3), ({"do_sample_frames": False, "fps": 10}, 11)]
        expected += [({"do_sample_frames": False}, 11), ({}, processor.video_processor.num_frames)]
        for options, frames in expected:
            self.assertEqual(len(self._frames_of(processor, TINY_VIDEO, options)), frames, options)
        self.assertEqual(len(self._frames_of(processor, [FRAME] * 2, {"do_sample_frames": False})), 2)

    def _frames_of(self, processor, video, options):
        chat = [{"role": "user", "content": [{"type": "video", "url": video}, {"type": "text", "text": "What?"}]}]
        inputs = processor.apply_chat_template(
            chat, tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs=options
        )
        return inputs["pixel_values"]


class CanonicalTest(ChatTester, unittest.TestCase):
    model_id = str(transformers_internvl.nano_path())


class OriginalTester(ChatTester):
    """Every processor and every part of it is loaded from files of the original layout."""

    config: str
    tokenizer: str

    @classmethod
    def setUpClass(cls):
        cls.tmpdirname, cls.full_tmpdirname = tempfile.mkdtemp(), None
        shutil.copy(golden(cls.config, "config.json"), cls.tmpdirname)
        shutil.copytree(golden("labels", "tokenizers", cls.tokenizer), cls.tmpdirname, dirs_exist_ok=True)
        cls._setup_test_attributes(cls.processor_class.from_pretrained(cls.tmpdirname))

    def get_processor(self, use_tiny_ckpt=True):
        return self._setup_from_pretrained(self.tmpdirname)

    def get_component(self, attribute, use_tiny_ckpt=True, **kwargs):
        # The files of this layout name CLIP's image processor: the right parts are those of the processor.
        return getattr(self._setup_from_pretrained(self.tmpdirname, **kwargs), attribute)


class OriginalQwen2Test(OriginalTester, unittest.TestCase):
    config, tokenizer = "chat_qwen2_5", "qwen2"


class OriginalInternLM2Test(OriginalTester, unittest.TestCase):
    config, tokenizer = "chat_internlm2", "internlm2"


class LlavaTest(SmallTester, unittest.TestCase):
    processor_class = LLAVA
    options = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as cls.model_id:
            Path(cls.model_id, "config.json").write_text(json.dumps(LLAVA_CONFIG))
            shutil.copytree(golden("labels", "tokenizers", "llama"), cls.model_id, dirs_exist_ok=True)
            super().setUpClass()


class DualEncoderTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = DUAL
    model_id = str(golden("internvl_14b"))
