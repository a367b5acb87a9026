# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Videos: which frames are read, how they are decoded, and the video processor."""
