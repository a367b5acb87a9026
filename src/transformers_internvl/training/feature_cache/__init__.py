# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Training with a frozen tower, on features that are kept on disk."""

import lazy_loader

from ...renamed_modules import alias_former_names

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
alias_former_names(__name__, pictures_name="images_name")
