# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The dummy prefix in front of a token that begins a text.

With `legacy: false` the slow `LlamaTokenizer` of transformers 4.37 puts the prefix in front of the whole text, and
takes it away again where one of `all_special_tokens` follows. Phi-3's `<|user|>` is an added token and, in some
folders, none of these: the prefix stays. A backend of the `tokenizers` library puts no prefix in front of an added
token, so here its template does.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tokenizers import AddedToken, Encoding, Tokenizer, processors
from transformers.tokenization_utils_base import PaddingStrategy

from .sentencepiece_model import SPACE


def begins_with_unlisted(text: str | None, added: Sequence[AddedToken], listed: Sequence[str]) -> bool:
    """Whether a text begins with one of the `added` tokens that is none of the `listed` ones."""
    ordered = sorted(added, key=lambda token: len(token.content), reverse=True)  # the longest is matched first
    for token in ordered:
        if text and (text.lstrip() if token.lstrip else text).startswith(token.content):
            return token.content not in listed
    return False


@contextmanager
def prefixing(backend: Tokenizer, sides: Sequence[bool], special_tokens: bool) -> Iterator[None]:
    """Let `backend` write the prefix in front of a text, as part of its template, for as long as this is open.

    Args:
        backend: its lock must be held.
        sides: whether the text, and the second text of a pair, get it.
        special_tokens: whether the rest of the template is written, too. Call it with `add_special_tokens=True`.
    """
    usual = backend.post_processor
    backend.post_processor = _template(usual, dict(zip("AB", sides, strict=False)), special_tokens, backend)
    try:
        yield
    finally:
        backend.post_processor = usual


def _template(
    usual: processors.PostProcessor | None, sides: dict[str, bool], special_tokens: bool, backend: Tokenizer
) -> processors.TemplateProcessing:
    state = {} if usual is None else json.loads(usual.__getstate__())
    if state and state.get("type") != "TemplateProcessing":
        raise ValueError(f"Expected a template as post-processor of a Llama tokenizer, got {state.get('type')}.")

    def items(name: str, sequences: str) -> list[str]:
        bare = [{"Sequence": {"id": sequence, "type_id": at}} for at, sequence in enumerate(sequences)]
        written: list[str] = []
        for item in state.get(name, bare):
            ((kind, value),) = item.items()
            if kind == "Sequence":
                written += [f"{SPACE}:{value['type_id']}"] * sides.get(value["id"], False)
                written.append(f"${value['id']}:{value['type_id']}")
            elif special_tokens:
                written.append(f"{value['id']}:{value['type_id']}")
        return written

    known = {name: token["ids"][0] for name, token in state.get("special_tokens", {}).items()}
    known[SPACE] = backend.token_to_id(SPACE)
    return processors.TemplateProcessing(
        single=items("single", "A"), pair=items("pair", "AB"), special_tokens=list(known.items())
    )


def pad_rows(
    rows: Sequence[Encoding], strategy: PaddingStrategy, *, max_length: int | None, multiple: int | None, **token: Any
) -> None:
    """Pad encodings in place, as a backend does; `token` holds `direction`, `pad_id`, `pad_type_id`, `pad_token`."""
    if strategy == PaddingStrategy.DO_NOT_PAD:
        return
    longest = max(len(row.ids) for row in rows)
    width = (max_length or 0) if strategy == PaddingStrategy.MAX_LENGTH else longest
    width += -width % (multiple or 1)
    for row in rows:
        row.pad(width, **token)
