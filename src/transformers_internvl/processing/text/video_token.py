# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which token stands for a video in the files of a processor, which upstream transformers reads.

A video is `<video>` in a prompt, and frames are put in its place before the text becomes ids: nothing is ever encoded
to an id of its own, and the released vocabularies have none. Yet upstream's processor asks its tokenizer for one of
that name, and a tokenizer adds what it is asked for: its id would be the size of the vocabulary, which no embedding
has. So the files name a token that is there, and the template in them writes it; here both read `<video>` again.
"""

import json
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from .placeholders import VIDEO

logger = logging.get_logger(__name__)

# Added tokens that may stand for a video, the first that a vocabulary has. Qwen2.5 and Qwen3 have the second; the
# third is in every chat vocabulary of the family, and no prompt of it, and no answer that is trained, has it.
STAND_INS = (VIDEO, "<|video_pad|>", "<quad>")

Templates = str | dict[str, str] | None


def video_token_of(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The token that stands for a video in the files of a tokenizer; None: its vocabulary has none."""
    known = tokenizer.added_tokens_encoder
    return next((token for token in STAND_INS if token in known), None)


def read_template(template: Templates, tokenizer: Any) -> Templates:
    """A chat template, or several by name, as a folder has them, with `<video>` for a video; None: the tokenizer's."""
    template = getattr(tokenizer, "chat_template", None) if template is None else template
    named = getattr(tokenizer, "video_token", None)
    if named not in STAND_INS or named == VIDEO or template is None:
        return template
    if isinstance(template, dict):
        return {name: text.replace(named, VIDEO) for name, text in template.items()}
    return template.replace(named, VIDEO)


def forget_without_embedding(tokenizer: PreTrainedTokenizerBase, rows: int | None) -> None:
    """Take `<video>` out of a tokenizer, in place, where its id has no embedding: older folders named it.

    Args:
        tokenizer: of the `tokenizers` library; others never had it.
        rows: of the embeddings; None: not known.
    """
    index = tokenizer.added_tokens_encoder.get(VIDEO)
    if rows is None or index is None or index < rows or not tokenizer.is_fast:
        return
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] != VIDEO]
    tokenizer._tokenizer = type(tokenizer.backend_tokenizer).from_str(json.dumps(state))
    names = [name for name, token in tokenizer._special_tokens_map.items() if str(token) == VIDEO]
    for name in names:
        del tokenizer._special_tokens_map[name]
        tokenizer.init_kwargs.pop(name, None)
        tokenizer.init_kwargs.get("model_specific_special_tokens", {}).pop(name, None)
    tokenizer.SPECIAL_TOKENS_ATTRIBUTES = [name for name in tokenizer.SPECIAL_TOKENS_ATTRIBUTES if name not in names]
    tokenizer._extra_special_tokens = [token for token in tokenizer._extra_special_tokens if str(token) != VIDEO]
    if "extra_special_tokens" in tokenizer.init_kwargs:
        tokenizer.init_kwargs["extra_special_tokens"] = list(tokenizer._extra_special_tokens)
    logger.warning(
        f"The folder's token {VIDEO!r} has id {index}, but there are {rows} embeddings: it is left out. Videos work "
        "without it; save the processor again for other tools."
    )


__all__ = ["STAND_INS", "forget_without_embedding", "read_template", "video_token_of"]
