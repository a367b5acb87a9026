# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The models and their configurations. They know nothing of checkpoints, prompts or files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
