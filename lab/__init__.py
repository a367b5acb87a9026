# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Experiments behind the package: what is trained here is measured here. It is not part of the wheel."""
