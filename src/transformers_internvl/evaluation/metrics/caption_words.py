# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The words of a caption, as the Penn Treebank tokenizer of the COCO tools gives them.

The tools run a Java program, and this file a few patterns: lower case, `don't` is `do n't`, `dog's` is `dog 's`,
punctuation is dropped, symbols such as `&` are words, and so are brackets (`-lrb-`: the tools mean to drop them, and
miss). English captions give the same words but for rare abbreviations. Chinese and Japanese have no spaces and should
come with their words set apart.

Source: `pycocoevalcap` `tokenizer/ptbtokenizer.py`.
"""

import re

_CONTRACTION = re.compile(r"(?<=\w)(n't|'(?:s|m|d|ll|re|ve))(?!\w)")
_FUSED = re.compile(r"\b(can)(not)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b")
_WORD = re.compile(
    r"n't(?!\w)|'(?:s|m|d|ll|re|ve|n')(?!\w)"  # the tail of a contraction; rock 'n' roll
    r"|'\d\ds?\b"  # the '90s
    r"|(?:[^\W\d_]\.){2,}|(?:mr|mrs|ms|dr|st|jr|sr|vs|etc)\."  # p.m., St.
    r"|\w+(?:[-./']\w+|(?<=\d)[,:]\d+)*"  # t-shirt, and/or, 3.5, 7:30, 10,000
    r"|[^\w\s]"
)
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_DROPPED = frozenset("'\"`.?!,:;-–—…“”‘’")


def caption_words(caption: str) -> list[str]:
    """The words of a caption, as the metrics of this file see them.

    >>> caption_words("A man's T-shirt, it doesn't fit!")
    ['a', 'man', "'s", 't-shirt', 'it', 'does', "n't", 'fit']
    """
    text = _CONTRACTION.sub(r" \1", caption.lower().replace("’", "'"))
    text = _FUSED.sub(lambda fused: " ".join(filter(None, fused.groups())), text)
    return [_BRACKETS.get(word, word) for word in _WORD.findall(text) if word not in _DROPPED]


__all__ = ["caption_words"]
