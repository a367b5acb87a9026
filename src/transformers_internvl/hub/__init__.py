# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What models and processors share about the Hub: where files are asked for, and the card that is pushed with them."""
