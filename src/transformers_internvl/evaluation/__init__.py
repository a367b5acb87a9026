# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How good a model is: metrics."""
