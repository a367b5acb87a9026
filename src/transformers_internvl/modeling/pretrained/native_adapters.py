# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Adapters by transformers' own methods, where the installed peft is older than these ask for.

transformers 5.24 asks for peft 0.22 in all of them but `load_adapter`, and 0.21.2 is the newest that there is. Its
error says to install what cannot be had; the one here says what does the same.
"""

from importlib.metadata import version
from typing import Any

from packaging.version import Version
from transformers import __version__ as transformers_version
from transformers.integrations.peft import MIN_PEFT_VERSION


class ExplainsNativeAdapters:
    """Mixin in front of `PreTrainedModel`: its methods for adapters, with an error that leads on.

    Raises:
        ValueError: by each method, if peft is older than transformers asks for.
    """

    def add_adapter(self, *args: Any, **kwargs: Any) -> None:
        """As transformers'."""
        self._native("add_adapter")(*args, **kwargs)

    def set_adapter(self, *args: Any, **kwargs: Any) -> None:
        """As transformers'."""
        self._native("set_adapter")(*args, **kwargs)

    def disable_adapters(self) -> None:
        """As transformers'."""
        self._native("disable_adapters")()

    def enable_adapters(self) -> None:
        """As transformers'."""
        self._native("enable_adapters")()

    def active_adapters(self) -> list[str]:
        """As transformers'."""
        return self._native("active_adapters")()

    def get_adapter_state_dict(self, *args: Any, **kwargs: Any) -> dict:
        """As transformers'; `save_pretrained` of a model with an adapter asks for it, too."""
        return self._native("get_adapter_state_dict")(*args, **kwargs)

    def delete_adapter(self, *args: Any, **kwargs: Any) -> None:
        """As transformers'."""
        self._native("delete_adapter")(*args, **kwargs)

    def _native(self, method: str) -> Any:
        installed = version("peft")
        if Version(installed) < Version(MIN_PEFT_VERSION):
            raise ValueError(
                f"`{method}` of transformers {transformers_version} needs peft {MIN_PEFT_VERSION} or newer, and peft "
                f"{installed} is installed. Use peft's own classes: `get_peft_model(model, config)` for a new "
                "adapter, `PeftModel.from_pretrained(model, folder)` for one that was saved; they train, switch, save "
                "and merge."
            )
        return getattr(super(), method)


__all__ = ["ExplainsNativeAdapters"]
