# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What translations must not touch: taken out, and put back where the translation has its marks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers_internvl.curation.protected import protect

BOX = "<box>[[1, 2, 3, 4]]</box>"


@pytest.mark.parametrize(
    ("text", "marked", "spans"),
    [
        ("plain words, $5 and $6", "plain words, $5 and $6", ()),
        ("<image>\nWhat is it?", "What is it?", ()),
        ("Image-1: <image>\nImage-2: <image>\nDiffer?", "Differ?", ()),
        ("See <image> and <image> there", "See ⟦1⟧ and ⟦2⟧ there", ("<image>", "<image>")),
        (f"A <ref>red cat</ref>{BOX} sits", "A ⟦1⟧red cat⟦2⟧ sits", ("<ref>", f"</ref>{BOX}")),
        ("Let $x^2$ be, or \\(y\\), \\[z\\] and $$w$$ so", "Let ⟦1⟧ be, or ⟦2⟧, ⟦3⟧ and ⟦4⟧ so",
         ("$x^2$", "\\(y\\)", "\\[z\\]", "$$w$$")),
        ("\\begin{align}a&=b\\\\c\\end{align} holds", "holds", ()),
        ("Run `ls -l` now:\n```sh\nls $HOME\n```\nDone.", "Run ⟦1⟧ now:\n⟦2⟧\nDone.",
         ("`ls -l`", "```sh\nls $HOME\n```")),
        ("Ask a.b@c.org or https://x.org/a?b=c, please", "Ask ⟦1⟧ or ⟦2⟧ please",
         ("a.b@c.org", "https://x.org/a?b=c,")),
        ("a ⟦1⟧ b <b>bold</b> c", "a ⟦1⟧ b ⟦2⟧bold⟦3⟧ c", ("⟦1⟧", "<b>", "</b>")),
        ("x <|im_end|> y", "x ⟦1⟧ y", ("<|im_end|>",)),
    ],
)  # fmt: skip
def test_what_is_protected(text, marked, spans):
    parts = protect(text)
    assert (parts.marked, parts.spans) == (marked, spans)
    assert parts.restored(parts.marked) == text


@pytest.mark.parametrize(
    "text", ["<image>", "A", "12.5", "$x$ 3", "<box>[[1, 2, 3, 4]]</box>", "```\ncode here\n```", ""]
)
def test_texts_without_words(text):
    assert not protect(text).has_words and protect(text).restored(protect(text).marked) == text


def test_marks_may_move():
    parts = protect(f"The <ref>red cat</ref>{BOX} eats $x$ fish.")
    assert (
        parts.restored("⟦3⟧ Fische frisst ⟦1⟧die rote Katze⟦2⟧.")
        == f"$x$ Fische frisst <ref>die rote Katze</ref>{BOX}."
    )


@pytest.mark.parametrize(
    ("translation", "message"),
    [
        ("⟦1⟧ a ⟦2⟧", "expected the marks ⟦1⟧ ⟦2⟧ ⟦3⟧ ⟦4⟧ once each, got ⟦1⟧ ⟦2⟧"),
        ("⟦1⟧ a ⟦2⟧ ⟦3⟧ ⟦4⟧ ⟦4⟧", "once each"),
        ("⟦1⟧ ⟦3⟧ a ⟦2⟧ ⟦5⟧", "once each"),
        ("⟦1⟧ a ⟦3⟧ b ⟦2⟧ ⟦4⟧", "'</ref>' stands before what it closes"),
        ("⟦4⟧ ⟦2⟧ a ⟦3⟧ ⟦1⟧", "the order of images has changed"),
        ("⟦1⟧ ⟦2⟧ a ⟦3⟧ ⟦4⟧ <image>", "the translation writes '<image>'"),
        ("⟦1⟧ ⟦2⟧ a ⟦3⟧ ⟦4⟧ <|im_end|>", "the translation writes '<|im_end|>'"),
        ("⟦1⟧ ⟦2⟧ a ⟦3⟧ ⟦4⟧ ⟦x⟧", "the translation writes '⟦x⟧'"),
        ("⟦1⟧ ⟦2⟧ a ⟦3⟧ ⟦4⟧ <box>", "the translation writes '<box>'"),
    ],
)
def test_translations_that_lose_something(translation, message):
    parts = protect("See <image> of <ref>a cat</ref> and <image> too")
    with pytest.raises(ValueError) as caught:
        parts.restored(translation)
    assert message in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["<image>", "a b", "$x$", "<ref>", "</ref>", BOX, "⟦2⟧", "`", "$", "\n", " ", "⟦", "안녕"])
    )
)
def test_every_text_comes_back(pieces):
    text = "".join(pieces)
    parts = protect(text)
    assert parts.before + parts.marked + parts.after == text if not parts.spans else True
    if "</ref>" not in text:
        assert parts.restored(parts.marked) == text
