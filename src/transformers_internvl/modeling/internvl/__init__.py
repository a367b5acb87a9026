# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The chat model: configuration, image features, model and losses."""
