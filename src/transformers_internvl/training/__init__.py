# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How the models are trained: which parameters, at which rates, on which share of the data."""
