# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Files of checkpoints: streams of weights, their shapes, folders that are written whole or not at all."""
