# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Upstream's common suite of image processors, on the tiling one and on the one of LLaVA's layout."""

import unittest

from ..test_image_processing_common import ImageProcessingTester, ImageProcessingTestMixin
from .given import given_classes

TILING, LLAVA = given_classes()
SQUARE = {"height": 20, "width": 20}


class TilingTester(ImageProcessingTester):
    """One tile an image: the suite expects as many rows as there are images."""

    def __init__(self, parent, **kwargs):
        super().__init__(parent, size=SQUARE, do_resize=True, do_normalize=True, crop_to_patches=False, **kwargs)

    def _get_image_processing_classes(self):
        return {"pil": TILING}


class LlavaTester(ImageProcessingTester):
    def __init__(self, parent, **kwargs):
        options = {"do_pad": True, "size": {"shortest_edge": 20}, "do_center_crop": True, "crop_size": SQUARE}
        super().__init__(parent, **options, **kwargs)

    def _get_image_processing_classes(self):
        return {"pil": LLAVA}


class TilingImageProcessorTest(ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = TilingTester
    test_cast_dtype = True


class LlavaImageProcessorTest(ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = LlavaTester
    test_cast_dtype = True
