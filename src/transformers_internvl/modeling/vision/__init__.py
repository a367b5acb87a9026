# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternViT: configurations of both layouts, layers, model, heads and backbone."""
