# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""SentencePiece BPE models on the `tokenizers` backend: the same ids and the same text as the sentencepiece library.

A released InternLM2, Llama, Yi or Phi-3 folder holds a `tokenizer.model` and no `tokenizer.json`. Five rules are easy
to lose on the way to another backend, and each has its place here:

- a pair of pieces is joined by the score of what it makes, not by its id (`SentencePieceModel.merges`), and of equal
  scores the leftmost pair, which a list of merges cannot say (`SentencePieceModel.ties`, `sentencepiece_library.py`);
- the dummy prefix is put in front of *every* piece of text, one that starts with a space included (`pipeline`);
- bytes that are not valid UTF-8 decode to one U+FFFD each, valid neighbours stay (`decode_pieces`);
- user-defined pieces are matched whole, control and byte pieces never by their spelling (`SentencePieceModel.merges`);
- transformers' slow classes, which the original code used, put spaces around special tokens (`tokenization_slow.py`).
"""

import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tokenizers import decoders, normalizers, pre_tokenizers, processors

SPACE = "▁"  # sentencepiece writes a space as U+2581
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # ModelProto.SentencePiece.Type
BPE_MODEL = 2  # TrainerSpec.ModelType
BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")

PrependScheme = Literal["always", "first", "never"]


@dataclass(frozen=True)
class SentencePieceModel:
    """What a `tokenizer.model` says: its pieces in id order, and whether text starts with a dummy space."""

    pieces: tuple[tuple[str, float, int], ...]  # (text, score, type), the place is the id
    add_dummy_prefix: bool

    @classmethod
    def from_file(cls, path: str | os.PathLike) -> "SentencePieceModel":
        """Read a `tokenizer.model`.

        Raises:
            ValueError: the file is not a sentencepiece model, or one with a property that this module does not
                reproduce (anything but BPE, a character map, collapsed or suffixed spaces, unused pieces).
        """
        from google.protobuf.message import DecodeError
        from sentencepiece import sentencepiece_model_pb2

        proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
        try:
            with open(path, "rb") as file:
                proto.ParseFromString(file.read())
        except DecodeError as error:
            raise ValueError(f"{os.fspath(path)} is not a sentencepiece model; download it again.") from error
        unsupported = {
            "a model type other than BPE": proto.trainer_spec.model_type != BPE_MODEL,
            "a precompiled character map": bool(proto.normalizer_spec.precompiled_charsmap),
            "remove_extra_whitespaces": proto.normalizer_spec.remove_extra_whitespaces,
            "treat_whitespace_as_suffix": proto.trainer_spec.treat_whitespace_as_suffix,
            "no byte fallback": not proto.trainer_spec.byte_fallback,
            "unused pieces": any(piece.type == UNUSED for piece in proto.pieces),
        }
        found = [name for name, is_there in unsupported.items() if is_there]
        if found:
            raise ValueError(
                f"{os.fspath(path)} has {', '.join(found)}, which would give other ids here than in sentencepiece. "
                "Expected the kind that InternLM2 and Llama ship: BPE, byte fallback, spaces kept, no character map."
            )
        pieces = tuple((piece.piece, piece.score, piece.type) for piece in proto.pieces)
        return cls(pieces, proto.normalizer_spec.add_dummy_prefix)

    @property
    def vocab(self) -> dict[str, int]:
        """Piece to id."""
        return {piece: index for index, (piece, _, _) in enumerate(self.pieces)}

    @cached_property
    def merges(self) -> list[tuple[str, str]]:
        """Every pair of normal pieces whose concatenation is one, best score first, then the longer left part."""
        normal = {piece: score for piece, score, kind in self.pieces if kind == NORMAL}
        pairs = [
            (score, at, piece)
            for piece, score in normal.items()
            for at in range(1, len(piece))
            if piece[:at] in normal and piece[at:] in normal
        ]
        pairs.sort(reverse=True)
        return [(piece[:at], piece[at:]) for _, at, piece in pairs]

    @cached_property
    def ties(self) -> bool:
        """Whether pieces that merges make share a score, so that a list of merges gives other ids than sentencepiece.

        Of pairs with equal scores sentencepiece joins the leftmost, whatever it makes; a list of merges ranks them
        wherever they stand. Pieces that are runs of one character, as Llama's pieces of spaces, may share a score:
        such a run grows from its left either way, since `merges` ranks those with the longer left part first.
        """
        scores = {piece: score for piece, score, _ in self.pieces}
        equal: dict[float, set[str]] = defaultdict(set)
        for piece in {left + right for left, right in self.merges}:
            equal[scores[piece]].add(piece)
        return any(len(pieces) > 1 and len(set().union(*pieces)) > 1 for pieces in equal.values())

    @property
    def user_defined(self) -> dict[str, int]:
        """The pieces that are matched whole wherever their spelling occurs, with their ids."""
        return {piece: index for index, (piece, _, kind) in enumerate(self.pieces) if kind == USER_DEFINED}


def pipeline(
    scheme: PrependScheme,
) -> tuple[normalizers.Normalizer, pre_tokenizers.PreTokenizer, decoders.Decoder]:
    """Normalizer, pre-tokenizer and decoder that treat spaces as sentencepiece does.

    Args:
        scheme: where the dummy prefix goes: before every stretch of text between special tokens (`always`), before
            the text only (`first`), or nowhere (`never`).

    `Metaspace` leaves the prefix out where the text already starts with its replacement, sentencepiece does not. So
    the spaces of the text become `▁` first, then a plain space is put in front, then that one becomes `▁` too.
    """
    normalizer = normalizers.Replace(" ", SPACE)
    pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement=" ", prepend_scheme=scheme, split=False),
            pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="never", split=False),
        ]
    )
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if scheme != "never":
        steps.append(decoders.Strip(content=" ", left=1))
    return normalizer, pre_tokenizer, decoders.Sequence(steps)


def template_ends(post_processor: processors.PostProcessor | None) -> tuple[bool, bool] | None:
    """Whether a saved template starts and ends with a special token; None without one."""
    if post_processor is None:
        return None
    single = json.loads(post_processor.__getstate__())["single"]
    return "SpecialToken" in single[0], "SpecialToken" in single[-1]


def decode_pieces(pieces: list[str], *, strip_prefix: bool) -> str:
    """The text of `pieces`, as the sentencepiece library decodes it.

    Args:
        pieces: pieces as strings; runs of `<0x..>` are read as UTF-8.
        strip_prefix: drop the dummy prefix, that is one leading space of the first piece.
    """
    text, pending = "", bytearray()
    if strip_prefix and pieces:
        pieces = [pieces[0].removeprefix(SPACE), *pieces[1:]]
    for piece in pieces:
        if byte := BYTE_PIECE.fullmatch(piece):
            pending.append(int(byte[1], 16))
            continue
        text += _decode_bytes(pending) + piece
        pending.clear()
    return (text + _decode_bytes(pending)).replace(SPACE, " ")


def _decode_bytes(raw: bytes | bytearray) -> str:
    """UTF-8 with one U+FFFD for each byte that belongs to no character (Python's `replace` joins some of them)."""
    text = ""
    while raw:
        try:
            return text + raw.decode("utf-8")
        except UnicodeDecodeError as error:
            text += raw[: error.start].decode("utf-8") + "\ufffd" * (error.end - error.start)
            raw = raw[error.end :]
    return text
