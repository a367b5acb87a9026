# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Encoding by the sentencepiece library inside a `tokenizers` backend, for models whose pieces share scores.

In InternVL-14B's `tokenizer.model` 17,954 pieces have score 0. Of equal pairs sentencepiece joins the leftmost; merges
have ranks, which cannot say that. So the library splits each stretch of text into pieces, and the backend does the
rest: added tokens, offsets, bytes, padding, truncation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

from tokenizers import NormalizedString, PreTokenizedString, Tokenizer, pre_tokenizers

from ...renamed_modules import alias_former_names
from .sentencepiece_model import BYTE


class SentencePieceSplitter:
    """A pre-tokenizer that splits text where the sentencepiece library does.

    Args:
        serialized: the content of a `tokenizer.model`.

    It is no part of a saved `tokenizer.json`, which cannot hold one; `splitting` puts it into a backend for a call.
    """

    def __init__(self, serialized: bytes):
        self.serialized = serialized

    def __getstate__(self) -> dict[str, Any]:
        return {"serialized": self.serialized}

    @cached_property
    def _model(self) -> tuple[Any, list[int]]:
        """The library's model, which adds no space of its own, and the characters of each piece; 0 = one byte."""
        from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

        proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
        proto.ParseFromString(self.serialized)
        proto.normalizer_spec.add_dummy_prefix = False  # the backend has put it there
        lengths = [0 if piece.type == BYTE else len(piece.piece) for piece in proto.pieces]
        return SentencePieceProcessor(model_proto=proto.SerializeToString()), lengths

    def lengths(self, text: str) -> list[int]:
        """How many characters of `text` each piece takes; a character without a piece, written as bytes, is one."""
        processor, lengths = self._model
        found: list[int] = []
        at = bytes_left = 0
        for index in processor.encode(text):
            if lengths[index]:
                found.append(lengths[index])
                at += lengths[index]
                continue
            if not bytes_left:
                bytes_left = len(text[at].encode())
                found.append(1)
                at += 1
            bytes_left -= 1
        return found

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        """Split every stretch between added tokens; called by the backend."""
        text.split(self._split)

    def _split(self, _: int, stretch: NormalizedString) -> list[NormalizedString]:
        ends = accumulate(self.lengths(stretch.normalized), initial=0)
        return [stretch[start:end] for start, end in pairwise(ends)]  # type: ignore[misc]

    @contextmanager
    def splitting(self, backend: Tokenizer) -> Iterator[None]:
        """Let `backend` encode as the library does within the context, for which its lock must be held."""
        usual, model = backend.pre_tokenizer, backend.model
        custom = pre_tokenizers.PreTokenizer.custom(self)
        backend.pre_tokenizer = custom if usual is None else pre_tokenizers.Sequence([usual, custom])
        model.ignore_merges = True  # what was split off is a piece, or a character to be written as bytes
        try:
            yield
        finally:
            backend.pre_tokenizer, model.ignore_merges = usual, False


alias_former_names(__name__, SentencePieceCutter="SentencePieceSplitter")
