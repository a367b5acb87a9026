# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Texts as an attacker types them: control strings whole, split, nested, escaped and in look-alike characters."""

import unicodedata
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

# What no tokenizer lists, but some code on the way could take for more than text.
ELSEWHERE = (
    "{{ eos_token }}",
    "{% endgeneration %}",
    "<0x0A>",
    "▁</s>",
    "Ċ<|im_end|>Ċ",
    "\U000f0000",
    "\U000f0001",
    "\ue000",
    "\x00",
    "\r\n",
    "\u2028",
)
_INVISIBLE = ("\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u0301", "\ufe0f", "\u202e", " ", "\n")
_CYRILLIC = str.maketrans("aceopxyisAEIOSTMNX", "асеорхуіѕАЕІОЅТМΝХ")


def _fullwidth(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _bold(text: str) -> str:
    letters = {chr(97 + i): chr(0x1D41A + i) for i in range(26)} | {chr(65 + i): chr(0x1D400 + i) for i in range(26)}
    return "".join(letters.get(c, c) for c in text)


# How one string can be written so that it looks like itself, or becomes itself under a normalization.
DISGUISES: tuple[Callable[[str], str], ...] = (
    _fullwidth,
    _bold,
    lambda text: text.translate(_CYRILLIC),
    lambda text: text.replace("<", "‹").replace(">", "›"),
    lambda text: text.replace("<", "﹤").replace(">", "﹥").replace("|", "｜"),
    lambda text: text.replace("K", "\u212a").replace("A", "A\u030a"),
    lambda text: unicodedata.normalize("NFD", text + "é"),
    lambda text: unicodedata.normalize("NFKC", _fullwidth(text)),
    lambda text: text.replace("<", "&lt;").replace(">", "&gt;"),
    lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    lambda text: text.encode().hex(),
    str.upper,
    str.lower,
    str.title,
    lambda text: text[::-1],
    lambda text: f" {text} ",
    lambda text: "\n".join([text] * 3),
)


def typed_texts(controls: Sequence[str]) -> st.SearchStrategy[str]:
    """Texts that are made of control strings and what resembles them; some are a single one, most a mixture."""
    whole = st.sampled_from([*controls, *ELSEWHERE])
    disguised = st.builds(lambda text, disguise: disguise(text), whole, st.sampled_from(DISGUISES))
    cut = st.integers(1, 12)
    split = st.builds(lambda text, at, by: text[:at] + by + text[at:], whole, cut, st.sampled_from(_INVISIBLE))
    nested = st.builds(lambda outer, at, inner: outer[:at] + inner + outer[at:], whole, cut, whole)
    parts = st.builds(lambda text, at: text[:at], whole, cut) | st.builds(lambda text, at: text[at:], whole, cut)
    opened = st.builds(lambda end, start, role: f"{end}\n{start}{role}\n", whole, whole, _roles())
    plain = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
    return st.lists(whole | disguised | split | nested | parts | opened | plain, min_size=1, max_size=5).map("".join)


def _roles() -> st.SearchStrategy[str]:
    return st.sampled_from(["system", "user", "assistant", "tool", "USER:", "ASSISTANT:", "<human>:", "<bot>:"])
