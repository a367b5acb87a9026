# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stands in for the sources of transformers, which the suite of pipelines imports by path: the installed ones serve."""
