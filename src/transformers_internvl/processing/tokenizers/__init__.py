# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tokenizers of the family, and what is read from `tokenizer.model`."""
