# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The server behind `internvl serve`: limits, checks, media, preparation and generation."""
