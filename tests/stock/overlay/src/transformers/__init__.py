# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stands in for the sources that the suite of pipelines imports by path; it gets the installed ones."""
