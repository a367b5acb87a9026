# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What tokenizers of sentencepiece models share: the library's ids, and the text of transformers' slow classes."""

import os
from pathlib import Path
from typing import Any

from transformers import BatchEncoding, TokenizersBackend

from ..threads import lock_of
from .sentencepiece_library import SentencePieceSplitter
from .sentencepiece_model import SentencePieceModel, decode_pieces
from .upstream import forget_call_settings


class SlowDecodingTokenizer(TokenizersBackend):
    """A tokenizer on the `tokenizers` backend that decodes as the slow sentencepiece ones of transformers 4.37.

    Where pieces of the model share scores (`SentencePieceModel.ties`), every call encodes by the sentencepiece
    library; `backend_tokenizer` alone, and programs that read `tokenizer.json` alone, rank merges instead.
    """

    _splitter: SentencePieceSplitter | None = None

    def _split_by_library(self, ties: bool | None) -> None:
        """Encode by the sentencepiece library from now on, where pieces share scores.

        Args:
            ties: whether they do, `leftmost_ties` of a saved `tokenizer_config.json`; None asks `tokenizer.model`.

        Raises:
            ValueError: they do, and `tokenizer.model` is missing.
        """
        path: str = getattr(self, "vocab_file", None) or ""
        found = os.path.isfile(path)
        if ties is None:
            ties = found and SentencePieceModel.from_file(path).ties
        if ties and not found:
            raise ValueError(
                "Pieces of this tokenizer share scores, so that its ids come from tokenizer.model, which is missing: "
                "copy it from the original checkpoint to where tokenizer.json is. The merges of tokenizer.json would "
                "give other ids."
            )
        self.init_kwargs["leftmost_ties"] = ties
        self._splitter = SentencePieceSplitter(Path(path).read_bytes()) if ties else None

    def _encode_plus(self, text: Any, text_pair: Any = None, **kwargs: Any) -> BatchEncoding:
        if self._splitter is None:
            return super()._encode_plus(text, text_pair, **kwargs)
        with lock_of(self), self._splitter.splitting(self._tokenizer):
            return super()._encode_plus(text, text_pair, **kwargs)

    def _save_pretrained(self, save_directory: Any, file_names: tuple[str, ...], **kwargs: Any) -> tuple[str, ...]:
        forget_call_settings(self)
        files = super()._save_pretrained(save_directory, file_names, **kwargs)
        prefix = kwargs.get("filename_prefix")
        if self.can_save_slow_tokenizer:  # byte for byte, for readers of the original layout
            files += self.save_vocabulary(save_directory, prefix)
        elif self._splitter is not None:  # the file is gone since
            path = Path(save_directory, f"{prefix}-tokenizer.model" if prefix else "tokenizer.model")
            path.write_bytes(self._splitter.serialized)
            files += (str(path),)
        return files

    def _decode_run(self, pieces: list[str]) -> str:
        """The text of pieces between two special tokens; here, as of a model that puts a space before every text."""
        return decode_pieces(pieces, strip_prefix=True)

    def _space_before_special(self, position: int) -> bool:
        """Whether a space is put before a special token at `position` of a run, if no special token stands there."""
        return True

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The text of `tokens`; special tokens are kept, and set off as the slow class does."""
        special = {str(token) for token in self.added_tokens_decoder.values() if token.special}
        text, after_special = "", False
        run: list[str] = []
        for position, token in enumerate(tokens):
            if token in special:
                if not after_special and self._space_before_special(position):
                    text += " "
                text += self._decode_run(run) + token
                run = []
            else:
                run.append(token)
            after_special = token in special
        return text + self._decode_run(run)

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
        **kwargs: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        unknown = [index for index in ids if not 0 <= index < len(self)]
        if unknown:
            raise ValueError(f"Expected token ids from 0 to {len(self) - 1}, got {unknown[:5]}.")
        added = self.added_tokens_decoder
        # Tokens added behind the vocabulary stand alone between the runs, but not bos, eos, unk and pad.
        named = {str(token) for token in self.special_tokens_map.values()}
        alone = {i for i, t in added.items() if not t.special or (i >= self.vocab_size and str(t) not in named)}
        parts: list[str] = []
        run: list[str] = []
        for index in ids:
            if skip_special_tokens and index in added and added[index].special:
                continue
            token = self.convert_ids_to_tokens(index)
            if index in alone:
                parts += [self.convert_tokens_to_string(run), token]
                run = []
            else:
                run.append(token)
        parts.append(self.convert_tokens_to_string(run))
        text = (" " if spaces_between_special_tokens else "").join(part for part in parts if part)
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.clean_up_tokenization_spaces
        return self.clean_up_tokenization(text) if clean_up_tokenization_spaces else text
