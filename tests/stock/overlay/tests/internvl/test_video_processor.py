# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Upstream's common suite of video processors."""

import unittest

# Not from the top level, where it is a dummy as long as torchvision is missing; the suite gets it from there.
from transformers.models.auto.video_processing_auto import AutoVideoProcessor

from .. import test_video_processing_common
from ..test_video_processing_common import VideoProcessingTestMixin, prepare_video_inputs
from .given import given_classes

(VIDEO_PROCESSOR,) = given_classes()
test_video_processing_common.AutoVideoProcessor = AutoVideoProcessor


class Tester:
    """Five videos of eight small frames, which stay as they are in number."""

    batch_size, num_frames, num_channels, side = 5, 8, 3, 18

    def prepare_video_processor_dict(self):
        return {"size": {"height": self.side, "width": self.side}, "do_normalize": True, "do_convert_rgb": True}

    def expected_output_video_shape(self, videos):
        return self.num_frames, self.num_channels, self.side, self.side

    def prepare_video_inputs(self, equal_resolution=False, return_tensors="pil"):
        return prepare_video_inputs(
            batch_size=self.batch_size,
            num_frames=self.num_frames,
            num_channels=self.num_channels,
            min_resolution=30,
            max_resolution=80,
            equal_resolution=equal_resolution,
            return_tensors=return_tensors,
        )


class VideoProcessorTest(VideoProcessingTestMixin, unittest.TestCase):
    fast_video_processing_class = VIDEO_PROCESSOR
    test_cast_dtype = True

    def setUp(self):
        super().setUp()
        self.video_processor_tester = Tester()

    def test_video_processor_from_dict_with_kwargs(self):
        """The common one asks for sizes of a class that crops."""
        processor = self.fast_video_processing_class.from_dict(self.video_processor_dict)
        self.assertEqual(dict(processor.size), {"height": 18, "width": 18})
        processor = self.fast_video_processing_class.from_dict(self.video_processor_dict, size=42)
        self.assertEqual(dict(processor.size), {"height": 42, "width": 42})

    @property
    def video_processor_dict(self):
        return self.video_processor_tester.prepare_video_processor_dict()
