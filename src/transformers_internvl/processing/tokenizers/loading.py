# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Loading a checkpoint's tokenizer so that it gives the ids, and the text, that the model was trained on.

The original models were trained with the slow (sentencepiece) tokenizers of transformers 4.37. For InternLM2 that is
`InternLM2Tokenizer`; Qwen2, Qwen3, Llama-3 and gpt-oss come out right as they are. Vicuna, Yi and Phi-3 get the
`LlamaTokenizer` of this package.
"""

import copy
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, TextIO

import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from ...hub.arguments import find_file
from .internlm2 import InternLM2Tokenizer
from .llama import LlamaTokenizer
from .upstream import forget_call_settings

# File -> how to read the added tokens from its content.
_TOKEN_FILES = {
    "added_tokens.json": lambda content: content,
    "tokenizer_config.json": lambda content: {
        token["content"]: int(index) for index, token in content.get("added_tokens_decoder", {}).items()
    },
    "tokenizer.json": lambda content: {token["content"]: token["id"] for token in content.get("added_tokens", [])},
}


# Class in `tokenizer_config.json` that is remote code -> what it does that no class here does.
_REMOTE_TOKENIZERS = {
    "InternS1Tokenizer": "finds chemical formulas and protein sequences in a text and splits them by vocabularies of "
    "their own",
}


def load_tokenizer(name_or_path: str | os.PathLike, **kwargs: Any) -> PreTrainedTokenizerBase:
    """`AutoTokenizer.from_pretrained`, with the ids and the text of the slow tokenizer that the original code used.

    Args:
        name_or_path: a folder or a Hub id.
        kwargs: passed to `AutoTokenizer.from_pretrained`.

    Raises:
        OSError, ValueError: there is no tokenizer, it cannot be read, or it is remote code.
    """
    with _Reading(name_or_path):
        _refuse_remote_code(name_or_path, kwargs)
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, **kwargs)
    longest = tokenizer.model_max_length
    if not isinstance(longest, (int, float)):
        raise ValueError(f"`model_max_length` of {os.fspath(name_or_path)!r} must be a number, got {longest!r:.80}.")
    forget_call_settings(tokenizer)
    if type(tokenizer) is transformers.TokenizersBackend and "spare_pieces" in tokenizer.init_kwargs:
        return InternLM2Tokenizer.from_pretrained(name_or_path, **kwargs)  # -hf folders name transformers' class
    if type(tokenizer) is not transformers.LlamaTokenizer:
        return tokenizer
    legacy = kwargs.get("legacy", get_tokenizer_config(name_or_path, **kwargs).get("legacy"))
    return LlamaTokenizer.from_upstream(tokenizer, legacy=legacy is None or bool(legacy))


def _refuse_remote_code(name_or_path: str | os.PathLike, kwargs: dict[str, Any]) -> None:
    name = get_tokenizer_config(name_or_path, **kwargs).get("tokenizer_class")
    if isinstance(name, str) and name in _REMOTE_TOKENIZERS:
        raise ValueError(
            f"The tokenizer of {os.fspath(name_or_path)!r} is remote code ({name}): it {_REMOTE_TOKENIZERS[name]}, "
            "which this package does not run. Load it yourself with `AutoTokenizer.from_pretrained(..., "
            "trust_remote_code=True)` and give it to `InternVLProcessor(image_processor, tokenizer)`. The model and "
            "the image processor load without it."
        )


def as_trained(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer that the original code used, for one that `AutoTokenizer` loaded: itself, or a changed copy."""
    if type(tokenizer) is not transformers.LlamaTokenizer:
        return tokenizer
    legacy = tokenizer.init_kwargs.get("legacy")
    with suppress(OSError):  # the folder is gone since
        if vocab_file := tokenizer.init_kwargs.get("vocab_file"):  # what lies beside it is of its revision
            legacy = get_tokenizer_config(os.path.dirname(vocab_file)).get("legacy", legacy)
        # A folder, or a Hub id, whose files are in the cache; empty for a tokenizer that was built in Python.
        elif source := tokenizer.name_or_path:
            legacy = get_tokenizer_config(source, local_files_only=True).get("legacy", legacy)
    return LlamaTokenizer.from_upstream(copy.deepcopy(tokenizer), legacy=legacy is None or bool(legacy))


class _Reading(AbstractContextManager):
    """Raise `ValueError` for what tokenizer files of the wrong shape end in: among them plain `Exception`, which is
    what the `tokenizers` library raises."""

    def __init__(self, source: str | os.PathLike):
        self.source = source

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is Exception or isinstance(error, (ArithmeticError, AttributeError, LookupError, RecursionError)):
            raise ValueError(
                f"The tokenizer files of {os.fspath(self.source)!r} cannot be read ({error!r:.200}): damaged, "
                "or of a newer version."
            ) from error


def added_token_ids(folder: str | os.PathLike, **hub_options: Any) -> dict[str, int]:
    """Ids of the tokens that were added to the base vocabulary, by their text, from the files that may hold them."""
    ids: dict[str, int] = {}
    for name, read in _TOKEN_FILES.items():
        path = find_file(folder, name, **hub_options)
        if path is not None:
            with open(path, encoding="utf-8") as file:
                ids |= _read_ids(path, read, file)
    return ids


def _read_ids(path: str, read: Callable[[Any], dict[str, int]], file: TextIO) -> dict[str, int]:
    try:
        ids = {str(text): index for text, index in read(json.load(file)).items()}
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} does not list added tokens as transformers does: {error!r}.") from error
    if not all(type(index) is int and index >= 0 for index in ids.values()):
        raise ValueError(f"{path} gives tokens ids that are no whole numbers from 0.")
    return ids


def stop_first(stop: int, known: int | list[int] | None) -> list[int]:
    """The ids at which generation ends: the stop token of the conversation template, then those that are known."""
    others = known if isinstance(known, list) else [] if known is None else [known]
    return [stop, *(other for other in others if other != stop)]
