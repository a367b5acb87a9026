# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a translation must not touch: tags of images, boxes, formulas, code and links become marks, and come back.

    "See $x^2$ in <ref>the cat</ref><box>[[1, 2, 3, 4]]</box>."
    "See ⟦1⟧ in ⟦2⟧the cat⟦3⟧."                                  what the translator gets

Neighbours with nothing but spaces between them are one mark, so that a box stays with its phrase.
"""

import re
from dataclasses import dataclass

_SPANS = re.compile(
    r"""
    ```.*?```                                        # code blocks
    | \$\$.+?\$\$ | \\\[.+?\\\] | \\\(.+?\\\)        # formulas
    | \\begin\{(?P<environment>[a-zA-Z]+\*?)\}.+?\\end\{(?P=environment)\}
    | (?<![\\\w$])\$(?![\s$])[^$\n]*?(?<![\s\\])\$(?![\w$])
    | `[^`\n]+`                                      # code in a line
    | <box>.*?</box> | <quad>.*?</quad>
    | (?:(?:Image|Frame)-?\d+:[ ]?)?<(?:image|video)>
    | <\|[^|<>\n]+\|>                                # tokens of chat templates
    | </?[A-Za-z][^<>\n]{0,200}>                     # <ref>, </ref>, HTML
    | (?:https?://|www\.)[^\s<>"'）)]+ | [\w.+-]+@[\w-]+\.[\w.]+\w
    | ⟦\d*⟧
    """,
    re.VERBOSE | re.DOTALL,
)
_MARK = re.compile(r"⟦(\d+)⟧")
_TAG = re.compile(r"<\|[^|<>\n]+\|>|</?(?:image|video|img|IMG_CONTEXT|box|quad|ref)>|⟦[^⟧]*⟧")
_WORD = re.compile(r"[^\W\d_]{2,}|[\u2e80-\u9fff\uac00-\ud7af]")
_MEDIA = re.compile(r"<(?:image|video)>")


@dataclass(frozen=True)
class Protected:
    """A text whose protected parts are marks.

    Attributes:
        before, after: what the text begins and ends with that is not to be translated.
        marked: the rest, with marks `⟦1⟧`, `⟦2⟧`, ...
        spans: what they stand for.
    """

    before: str
    marked: str
    after: str
    spans: tuple[str, ...]

    @property
    def has_words(self) -> bool:
        """Whether there is something to translate."""
        return bool(_WORD.search(_MARK.sub(" ", self.marked)))

    def restored(self, translation: str) -> str:
        """A translation of `marked` as a whole text, with what the marks stand for.

        Raises:
            ValueError: a mark is missing or there twice, the order of images or of a tag and its end has changed, or
                the translation writes tags itself.
        """
        numbers = [int(number) for number in _MARK.findall(translation)]
        wanted = list(range(1, len(self.spans) + 1))
        if sorted(numbers) != wanted:
            raise ValueError(f"expected the marks {_marks(wanted)} once each, got {_marks(numbers)}")
        if tag := _TAG.search(_MARK.sub("", translation)):
            raise ValueError(f"the translation writes {tag[0]!r}")
        self._check_order(numbers)
        text = _MARK.sub(lambda match: self.spans[int(match[1]) - 1], translation.strip())
        return f"{self.before}{text}{self.after}"

    def _check_order(self, numbers: list[int]) -> None:
        at = {number: index for index, number in enumerate(numbers)}
        media = [at[number] for number, span in enumerate(self.spans, start=1) if _MEDIA.search(span)]
        if media != sorted(media):
            raise ValueError("the order of images has changed")
        opened: list[int] = []
        for number, span in enumerate(self.spans, start=1):
            closes = span.startswith("</")
            if closes and opened and at[opened.pop()] > at[number]:
                raise ValueError(f"{span[:20]!r} stands before what it closes")
            if not closes and re.match(r"<[A-Za-z]", span) and f"</{span[1:-1].split()[0]}" in "".join(self.spans):
                opened.append(number)


def protect(text: str) -> Protected:
    """A text with its protected parts as marks."""
    spans: list[tuple[int, int]] = []
    for match in _SPANS.finditer(text):
        if spans and not text[spans[-1][1] : match.start()].strip(" "):
            spans[-1] = (spans[-1][0], match.end())
        else:
            spans.append(match.span())
    start, end = 0, len(text)
    while spans and not text[start : spans[0][0]].strip():
        start = spans.pop(0)[1]
    while spans and not text[spans[-1][1] : end].strip():
        end = spans.pop()[0]
    core = text[start:end]
    start += len(core) - len(core.lstrip())
    end = max(start, end - (len(core) - len(core.rstrip())))
    pieces, position = [], start
    for number, (first, last) in enumerate(spans, start=1):
        pieces += [text[position:first], f"⟦{number}⟧"]
        position = last
    marked = "".join([*pieces, text[position:end]])
    return Protected(text[:start], marked, text[end:], tuple(text[first:last] for first, last in spans))


def _marks(numbers: list[int]) -> str:
    return " ".join(f"⟦{number}⟧" for number in numbers) or "none"


__all__ = ["Protected", "protect"]
