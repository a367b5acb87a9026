# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The trainers, and how their runs stop and go on."""
