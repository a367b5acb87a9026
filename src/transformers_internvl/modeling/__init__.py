# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The models and their configurations. They know nothing of checkpoints, prompts or files."""
