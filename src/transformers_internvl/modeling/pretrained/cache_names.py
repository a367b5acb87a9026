# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The one name under which a model takes a cache of keys and values.

Forwards pass on arguments that they do not know, as those of transformers do, and in the end nothing reads them. With
a cache that would be another answer without an error: its tokens are not seen. So a cache under any name but `cache`
is refused, after `deprecate_kwarg` has taken the former one (`past_key_values`).
"""

from collections.abc import Mapping
from typing import Any

from transformers import Cache


def refuse_stray_caches(model: Any, options: Mapping[str, Any], takes: str = "as `cache`") -> None:
    """Look for a cache among arguments that a forward does not know.

    Args:
        model: whose forward it is.
        options: these arguments by name.
        takes: how the model takes one, for the message.

    Raises:
        TypeError: there is one; says its name.
    """
    for name, value in options.items():
        if isinstance(value, Cache):
            raise TypeError(f"{type(model).__name__} takes a cache {takes}, not as `{name}`, which nobody would read.")


__all__ = ["refuse_stray_caches"]
