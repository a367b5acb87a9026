# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Online reinforcement: questions are answered, the answers rewarded, and the model learns from the better ones."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
