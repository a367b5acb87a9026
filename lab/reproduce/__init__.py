# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The papers of the InternVL family in miniature: `python -m lab.reproduce`."""
