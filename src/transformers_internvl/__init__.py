# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The InternVL family of vision-language models, native to transformers v5.

Importing the package registers its classes with transformers' Auto classes: after `import transformers_internvl`,
every released checkpoint in a Hugging Face layout loads without remote code. It does nothing else.
With `TRANSFORMERS_INTERNVL_KEEP_STOCK=1` in the environment, upstream's own registration of `internvl` (the `-hf`
layout) stays.
"""

from .compatibility import check_versions

check_versions()  # before the imports, which would fail with less to say

import lazy_loader

from .registry import register
from .renamed_modules import accept_former_names

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

accept_former_names()
register()
