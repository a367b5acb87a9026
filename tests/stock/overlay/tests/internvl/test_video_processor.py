# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stock's common suite of video processors."""

import unittest

from ..test_video_processing_common import VideoProcessingTestMixin, prepare_video_inputs
from .given import given_classes

(VIDEO_PROCESSOR,) = given_classes()


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

    @property
    def video_processor_dict(self):
        return self.video_processor_tester.prepare_video_processor_dict()
