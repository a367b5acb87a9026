# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
