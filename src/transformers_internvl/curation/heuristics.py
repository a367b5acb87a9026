# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The heuristic rules: what is wrong with a text, by its characters alone.

InternVL 2.5 (section 4.3) names abnormal sentence lengths, very long runs of zeros and too many duplicate lines, and
that what they flag is looked at by people; its thresholds are not published. Those here are ours: they find planted
faults and spare ordinary chats, code, tables and formulas (`tests/curation/test_heuristics.py`).
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..evaluation.reasoning.repetition import repeated_ngram_ratio


@dataclass(frozen=True)
class Finding:
    """Why a row is not to be trained on.

    Attributes:
        reason: a name, such as "zero run".
        detail: a sentence with what was found.
    """

    reason: str
    detail: str


_SENTENCE_END = re.compile(r"[.!?…;:](?=[\s\"'”’)\]]|$)|[\n。！？；：]")
_ZEROS = re.compile(r"0(?:[ \t,.]{0,2}0)*")
_TIMESTAMP = re.compile(r"\b(?:\d{4}-\d{2}-\d{2}[T ])?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,6})?\b")
_LETTERS = re.compile(r"[^\W\d_]")
_MEANING = re.compile(r"[\w\s]")
_RULE = re.compile(r"[\s|:=+*_#~.\-─━│]+")  # lines of tables and headings
_LONG_WORD = re.compile(r"\S{40,}")
_ENCODED = re.compile(r"[A-Za-z0-9+/=_\-]{40,}")
_LINK = re.compile(r"(?:https?://|www\.|data:|[A-Za-z]:\\)\S*|[~.]{0,2}(?:/[\w.-]{1,40})+/?")
_WORD = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]|\w+|[^\w\s]")


def length(text: str, minimum: int, maximum: int) -> Finding | None:
    """A text with fewer or more characters than allowed, white space around it not counted."""
    count = len(text.strip())
    if minimum <= count <= maximum:
        return None
    return Finding("length", f"{count} characters, expected {minimum} to {maximum}")


def sentence_length(text: str, maximum: int) -> Finding | None:
    """A sentence or line of more than `maximum` characters. Code and formulas have line breaks, which end it."""
    last = 0
    for match in _SENTENCE_END.finditer(text):
        if match.start() - last > maximum:
            return _long_sentence(match.start() - last, text[last:], maximum)
        last = match.end()
    return _long_sentence(len(text) - last, text[last:], maximum) if len(text) - last > maximum else None


def _long_sentence(count: int, rest: str, maximum: int) -> Finding:
    return Finding("sentence length", f"{count} characters without an end, over {maximum}: {rest[:40]!r}")


def zero_run(text: str, maximum: int) -> Finding | None:
    """More than `maximum` zeros one after another, separated by commas, points and spaces at most."""
    longest = max((match[0].count("0") for match in _ZEROS.finditer(text)), default=0)
    return Finding("zero run", f"{longest} zeros in a row, over {maximum}") if longest > maximum else None


def timestamps(text: str, minimum: int, words: float) -> Finding | None:
    """Subtitles and logs: at least `minimum` times of day, and at most so many words for each of them."""
    found = _TIMESTAMP.findall(text)
    if len(found) < minimum or len(_TIMESTAMP.sub(" ", text).split()) > words * len(found):
        return None
    return Finding("timestamps", f"{len(found)} times of day, such as {found[0]}")


def duplicate_lines(text: str, minimum: int, share: float) -> Finding | None:
    """Among at least `minimum` lines of 8 characters or more, over `share` are copies of earlier ones."""
    lines = [line.strip() for line in text.splitlines()]
    counts = Counter(line for line in lines if len(line) >= 8 and not _RULE.fullmatch(line))
    copies = counts.total() - len(counts)
    if counts.total() < minimum or copies / counts.total() <= share:
        return None
    line, count = counts.most_common(1)[0]
    return Finding("duplicate lines", f"{copies} of {counts.total()} lines are copies, {count} times {line[:40]!r}")


def senseless_lines(text: str, share: float) -> Finding | None:
    """Lines without sense: more than `share` of the characters are in them.

    A line has none if it holds characters that stand for undecodable bytes, or control characters; if fewer than half
    of its 20 or more characters are letters, digits or spaces; or if a word of 40 or more characters, no link, is
    mixed of letters and digits as encoded data is.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    total = sum(map(len, lines))
    senseless = [line for line in lines if _is_senseless(line)]
    bad = sum(map(len, senseless))
    if not total or bad / total <= share:
        return None
    return Finding("lines without sense", f"{len(senseless)} of {len(lines)} lines, such as {senseless[0][:40]!r}")


def _is_senseless(line: str) -> bool:
    broken = sum(char == "\ufffd" or (char < " " and char != "\t") or "\ue000" <= char <= "\uf8ff" for char in line)
    if broken > len(line) // 50:
        return True
    if len(line) >= 20 and not _RULE.fullmatch(line) and len(_MEANING.findall(line)) < len(line) / 2:
        return True
    return any(_is_encoded(match[0]) for match in _LONG_WORD.finditer(line))


def _is_encoded(word: str) -> bool:
    """Whether a long word is encoded data: letters of both cases and digits in turn, and no punctuation of a text."""
    if _LINK.fullmatch(word) or not _ENCODED.fullmatch(word.strip("\"'`,;()[]{}")):
        return False
    plain = [char for char in word if char.isalnum()]
    mixed = any(map(str.isdigit, plain)) and any(map(str.islower, plain)) and any(map(str.isupper, plain))
    pairs = zip(plain, plain[1:], strict=False)
    switches = sum(a.isdigit() != b.isdigit() or a.isupper() != b.isupper() for a, b in pairs)
    return mixed and switches > 0.25 * len(plain)


def loop(text: str, repeats: int, minimum: int = 40, longest: int = 200) -> Finding | None:
    """A piece with letters or digits that stands `repeats` times in a row or more, over `minimum` characters.

    Args:
        text: in any language; no words are needed.
        repeats: how often the piece must stand.
        minimum: characters of all its copies together.
        longest: characters of the longest piece that is looked for.
    """
    codes = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)  # (L,)
    for period in range(1, min(longest, len(codes) // repeats) + 1):
        same = codes[period:] == codes[:-period]  # (L - period,)
        ends = np.flatnonzero(~same)
        edges = np.concatenate(([-1], ends, [len(same)]))
        runs = np.diff(edges) - 1
        best = int(runs.argmax())
        covered = int(runs[best]) + period
        if covered < repeats * period or covered < minimum:
            continue
        start = int(edges[best]) + 1
        piece = text[start : start + period]
        if any(char.isalnum() for char in piece):
            return Finding("loop", f"{covered // period} times {piece[:40]!r}")
    return None


def words_of(text: str) -> list[str]:
    """Words in small letters, and punctuation; of scripts without spaces, characters."""
    return _WORD.findall(text.lower())


def repeated_words(text: str, words: int, minimum: int, share: float) -> Finding | None:
    """More than `share` of at least `minimum` words are in n-grams of so many words that came before.

    A word of a script without spaces is a character. Unlike `repeated_ngram_ratio`, the share grows with the copies.
    """
    found = words_of(text)
    if len(found) < minimum:
        return None
    seen: set[tuple[str, ...]] = set()
    covered = np.zeros(len(found), dtype=bool)
    for start in range(len(found) - words + 1):
        gram = tuple(found[start : start + words])
        if gram in seen:
            covered[start : start + words] = True
        seen.add(gram)
    part = float(covered.mean())
    return Finding("repeated words", f"{part:.0%} of {len(found)} words came before") if part > share else None


def repeated_ngrams(text: str, words: int, share: float) -> Finding | None:
    """The original code's rule: a higher `repeated_ngram_ratio` than `share`."""
    ratio = repeated_ngram_ratio(text, words)
    return Finding("repeated n-grams", f"ratio {ratio:.2f} of {words}-grams") if ratio > share else None


def first_finding(text: str, rules: list[Callable[[str], Finding | None]]) -> Finding | None:
    """What the first rule that finds something says."""
    return next((found for rule in rules if (found := rule(text)) is not None), None)


@dataclass(frozen=True)
class HeuristicRules:
    """Thresholds of the heuristic rules.

    Attributes:
        min_characters, max_characters: of an answer.
        max_sentence: characters.
        max_zeros: in a row.
        min_timestamps, words_a_timestamp: see [`timestamps`].
        min_lines, duplicate_line_share: see [`duplicate_lines`].
        senseless_share: see [`senseless_lines`].
    """

    min_characters: int = 1
    max_characters: int = 60_000
    max_sentence: int = 3_000
    max_zeros: int = 40
    min_timestamps: int = 8
    words_a_timestamp: float = 12.0
    min_lines: int = 8
    duplicate_line_share: float = 0.4
    senseless_share: float = 0.3

    def answer_rules(self) -> list[Callable[[str], Finding | None]]:
        """All rules, for a text that is learned."""
        size = partial(length, minimum=self.min_characters, maximum=self.max_characters)
        return [size, *self.text_rules()]

    def text_rules(self) -> list[Callable[[str], Finding | None]]:
        """The rules without the length, for any text."""
        return [
            partial(zero_run, maximum=self.max_zeros),
            partial(timestamps, minimum=self.min_timestamps, words=self.words_a_timestamp),
            partial(duplicate_lines, minimum=self.min_lines, share=self.duplicate_line_share),
            partial(senseless_lines, share=self.senseless_share),
            partial(sentence_length, maximum=self.max_sentence),
        ]


@dataclass(frozen=True)
class RepetitionRules:
    """Thresholds of the rules for repetition.

    Attributes:
        loop_repeats: of a piece, see [`loop`].
        words, min_words, word_share: see [`repeated_words`].
        ngram, ngram_share: see [`repeated_ngrams`]; the original code's values.
    """

    loop_repeats: int = 8
    words: int = 8
    min_words: int = 60
    word_share: float = 0.6
    ngram: int = 10
    ngram_share: float = 0.4

    def rules(self) -> list[Callable[[str], Finding | None]]:
        """The rules."""
        return [
            partial(loop, repeats=self.loop_repeats),
            partial(repeated_words, words=self.words, minimum=self.min_words, share=self.word_share),
            partial(repeated_ngrams, words=self.ngram, share=self.ngram_share),
        ]


__all__ = [
    "Finding",
    "HeuristicRules",
    "RepetitionRules",
    "duplicate_lines",
    "first_finding",
    "length",
    "loop",
    "repeated_ngrams",
    "repeated_words",
    "senseless_lines",
    "sentence_length",
    "timestamps",
    "words_of",
    "zero_run",
]
