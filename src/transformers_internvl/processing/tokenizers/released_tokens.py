# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which special tokens of a tokenizer the user added, next to those that released vocabularies of the family have.

No file says who added a token. So the released ones are listed: those of the language models (Llama, Yi, InternLM2,
Phi-3, Qwen2 to Qwen3, Llama-3, GPT-OSS), and those that InternVL adds. What a chat template writes, and what is named
(`bos_token`, ...), is reserved as well.
"""

import re

from transformers import PreTrainedTokenizerBase

_BETWEEN_BARS = (
    "(?:startof|endof|begin_of_|end_of_)text|endofprompt|im_(?:start|end|sep)|start|end|message|channel|constrain|call"
    "|return|system|user|assistant|System|Human|Assistant|placeholder\\d+|action_(?:start|end)|interpreter|plugin"
    "|(?:object_ref|box|quad|vision)_(?:start|end)|(?:vision|image|video)_pad|fim_(?:prefix|middle|suffix|pad)"
    "|repo_name|file_sep|(?:start|end)_header_id|eo[tm]_id|python_tag|finetune_right_pad_id"
    "|reserved_(?:special_token_)?\\d+|CLS|SEP|MASK|UNK|PAD"
)
_BETWEEN_BRACKETS = "/?(?:s|unk|pad|mask|img|IMG_CONTEXT|image|video|fim_(?:prefix|middle|suffix|pad))"
_RELEASED = re.compile(rf"<\|(?:{_BETWEEN_BARS})\|>|<{_BETWEEN_BRACKETS}>|\[(?:PAD|UNUSED_TOKEN_\d+)\]")


def user_tokens(tokenizer: PreTrainedTokenizerBase, template: str = "") -> tuple[str, ...]:
    """The special tokens that no released vocabulary has and no template writes: somebody added them for their data.

    Those of regions (`<ref>`, `<box>`, ...) count among them, since answers write them.
    """
    named = {str(token) for token in tokenizer.special_tokens_map.values()}
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return tuple(t for t in special if t not in named and t not in template and not _RELEASED.fullmatch(t))


__all__ = ["user_tokens"]
