# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Curation of training data on datatrove: filters, duplicates, judges, translation (the extra `curation`).

What is exported here needs no extra: the rules, and what they read in a row. Pipelines are in `curation.pipeline` and
`curation.running`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
