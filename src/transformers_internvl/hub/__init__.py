# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What models and processors share about the Hub: where files are asked for, and the card that is pushed with them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
