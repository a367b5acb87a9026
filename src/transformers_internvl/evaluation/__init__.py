# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Quality of models: retrieval, zero-shot classification, captions, segmentation."""

import lazy_loader

from ..renamed_modules import alias_former_names

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
alias_former_names(__name__, Pictures="ItemImages", read_pictures="read_images")
