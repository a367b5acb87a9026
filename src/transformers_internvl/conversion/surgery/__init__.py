# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Towers, language models and vocabularies taken apart and put together."""
