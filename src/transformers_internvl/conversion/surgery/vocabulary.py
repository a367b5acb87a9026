# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""New tokens for tokenizer and model together: their embeddings and outputs begin as the mean of those that are there.

A vocabulary often has spare rows behind the tokenizer's last token (Qwen's has 151,936 for 151,665): new tokens take
these first, and no row that exists is ever taken away. (The original script shortens the vocabulary to the tokenizer's
length, and leaves new embeddings at random.)

Shape letters: V rows of the vocabulary, D width.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...modeling.pretrained.generation import has_no_embedding
from ...processing.tokenizers.loading import load_tokenizer
from ..files.folders import read_json, write_json

# What the original code adds to a language model's tokenizer: the id of an image token is that of `<IMG_CONTEXT>`.
IMAGE_TOKENS = ("<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>")


def add_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str], special: bool = True
) -> dict[str, int]:
    """Add tokens to a tokenizer and rows for them to a model, in embeddings and head: the mean of the known ones.

    Args:
        model: a chat model or a language model, which is changed.
        tokenizer: its tokenizer, which is changed, too.
        tokens: the new tokens. Those that the tokenizer has are left as they are.
        special: whether they are special tokens, which no text of a user can become.

    Returns:
        The new tokens and their ids.

    Raises:
        ValueError: a token is empty, or the model's image token lies behind the vocabulary, where new ones would go.
    """
    if not all(tokens):
        raise ValueError("A token must have at least one character.")
    known, had = len(tokenizer), tokenizer.get_vocab()
    added = [AddedToken(token, special=special, normalized=False) for token in tokens if token not in had]
    tokenizer.add_tokens(added, special_tokens=special)
    ids = {token.content: tokenizer.convert_tokens_to_ids(token.content) for token in added}
    fill_rows(model, list(ids.values()), known)
    return ids


@torch.no_grad()
def fill_rows(model: PreTrainedModel, ids: Sequence[int], known: int) -> None:
    """Give tokens the mean embedding and the mean output of the first `known` tokens; the vocabulary grows if need be.

    The mean is taken in float32 over rows `(V, D)`; all other rows stay as they are.
    """
    if not ids:
        return
    config = model.config
    if hasattr(config, "image_token_id") and has_no_embedding(config):
        raise ValueError(
            f"The image token of this model, {config.image_token_id}, lies behind its vocabulary of "
            f"{config.get_text_config().vocab_size}, where new tokens would go."
        )
    rows = model.get_input_embeddings().weight.shape[0]
    if max(ids) >= rows:
        model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    weights = [model.get_input_embeddings().weight]
    head = model.get_output_embeddings()
    if head is not None and head.weight is not weights[0]:
        weights.append(head.weight)
    known = min(known, rows)
    for weight in weights:
        weight[list(ids)] = weight[:known].float().mean(0).to(weight.dtype)


def write_tokens(folder: Path, ids: dict[str, int], special: bool = True) -> None:
    """Write tokens into a folder's tokenizer files; what these say of others stays.

    Every file that lists added tokens gets them, so that slow and fast tokenizers of all versions agree.

    Raises:
        ValueError: the tokenizer that loads from the folder afterwards has other ids for them.
    """
    if not (folder / "tokenizer.json").is_file() and not (folder / "added_tokens.json").is_file():
        write_json(folder / "added_tokens.json", {})
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": special}
    for name, write in _FILES.items():
        path = folder / name
        if path.is_file():
            content = read_json(path)
            write(content, ids, flags)
            write_json(path, content)
    tokenizer = load_tokenizer(folder)
    wrong = [token for token, index in ids.items() if index not in tokenizer.encode(f"a{token}b")]
    if wrong:
        raise ValueError(f"The tokenizer's files in this folder take no new tokens: {', '.join(wrong)} are not found.")


def _into_tokenizer(content: dict[str, Any], ids: dict[str, int], flags: dict[str, bool]) -> None:
    content.setdefault("added_tokens", []).extend({"id": i, "content": token, **flags} for token, i in ids.items())


def _into_config(content: dict[str, Any], ids: dict[str, int], flags: dict[str, bool]) -> None:
    if "added_tokens_decoder" in content:
        rows = {str(index): {"content": token, **flags} for token, index in ids.items()}
        content["added_tokens_decoder"].update(rows)
    _into_names(content, ids, flags)


def _into_names(content: dict[str, Any], ids: Iterable[str], flags: dict[str, bool]) -> None:
    lists = [content[key] for key in ("additional_special_tokens", "extra_special_tokens") if key in content]
    for names in lists:
        if flags["special"] and isinstance(names, list):
            names.extend(ids)


def _into_added(content: dict[str, Any], ids: dict[str, int], flags: dict[str, bool]) -> None:
    content.update(ids)


_FILES = {
    "tokenizer.json": _into_tokenizer,
    "tokenizer_config.json": _into_config,
    "special_tokens_map.json": _into_names,
    "added_tokens.json": _into_added,
}

__all__ = ["IMAGE_TOKENS", "add_tokens", "fill_rows", "write_tokens"]
