# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Files of checkpoints: streams of weights, their shapes, folders that are written whole or not at all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
