# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The InternVL family of vision-language models, native to transformers v5."""
