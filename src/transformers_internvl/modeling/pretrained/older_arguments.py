# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Arguments of `from_pretrained` that model cards and public scripts pass, under their former names.

    load_in_8bit, load_in_4bit      quantization_config=BitsAndBytesConfig(...), with the settings given beside them
    use_flash_attn                  attn_implementation="flash_attention_2" where that is there
    low_cpu_mem_usage               weights are always loaded so
    resume_download                 downloads are always resumed

A cache of keys and values has one name, `cache`. Forwards pass on arguments that they do not know, as those of
transformers do, and in the end nothing reads them: with a cache that would be another answer without an error. So one
under another name is refused, after `deprecate_kwarg` has taken the former (`past_key_values`).

False of the first three is the default. `torch_dtype` and `trust_remote_code` are handled by transformers.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from transformers import BitsAndBytesConfig, Cache
from transformers.utils import is_flash_attn_2_available, logging

logger = logging.get_logger(__name__)

_LOAD_IN = ("load_in_8bit", "load_in_4bit")


def todays_arguments(model_class: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same arguments under their present names; an argument without effect is reported.

    Args:
        model_class: of the model to load.
        arguments: keyword arguments of `from_pretrained`. Not changed.

    Raises:
        ValueError: `load_in_8bit` or `load_in_4bit` is True beside the other or a `quantization_config`.
    """
    arguments = dict(arguments)
    _quantize(arguments)
    _choose_attention(model_class, arguments)
    if arguments.pop("low_cpu_mem_usage", None) is False:
        logger.warning_once("`low_cpu_mem_usage=False` has no effect: weights are never held twice.")
    if arguments.pop("resume_download", None) is False:
        logger.warning_once("`resume_download=False` has no effect: downloads are resumed; see `force_download`.")
    return arguments


def _quantize(arguments: dict[str, Any]) -> None:
    """`load_in_8bit` and `load_in_4bit`, and the settings of bitsandbytes beside them, as a `quantization_config`."""
    given = {name: arguments.pop(name) for name in _LOAD_IN if name in arguments}
    wanted = [name for name in given if given[name]]
    if not wanted:
        return
    if len(wanted) > 1 or arguments.get("quantization_config") is not None:
        other = "`load_in_4bit=True`" if len(wanted) > 1 else "a `quantization_config`"
        raise ValueError(f"`{wanted[0]}=True` and {other} were both given: leave one of them out.")
    known = set(inspect.signature(BitsAndBytesConfig).parameters) - {"kwargs"}
    settings = {name: arguments.pop(name) for name in list(arguments) if name in known}
    arguments["quantization_config"] = BitsAndBytesConfig(**{wanted[0]: True}, **settings)


def _choose_attention(model_class: type, arguments: dict[str, Any]) -> None:
    """`use_flash_attn`: True where flash-attn is there and nothing else was chosen; False is the default."""
    if not arguments.pop("use_flash_attn", False) or arguments.get("attn_implementation") is not None:
        return
    supported = getattr(model_class, "_supports_flash_attn", False)
    if supported and is_flash_attn_2_available():
        arguments["attn_implementation"] = "flash_attention_2"
        return
    why = "flash-attn is not installed" if supported else f"{model_class.__name__} cannot use flash-attn"
    logger.warning_once(
        f"`use_flash_attn=True` has no effect, since {why}: PyTorch's own attention is used, which computes the same."
    )


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


__all__ = ["refuse_stray_caches", "todays_arguments"]
