# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`python -m transformers_internvl.cli`, which is `internvl` by another name, for launchers such as torchrun."""

import sys

from ..cli import main

sys.exit(main())
