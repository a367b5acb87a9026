# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Text is untrusted: what a user types never becomes a special token, a role marker or an image placeholder.

A chat template joins its own text, which may write tokens, with the user's, which may not. Two characters that the
conversation does not contain are put around every string of the user before rendering; taken out again, they show
where in the prompt the user's text stands (`render_prompts`). A control string of which any part is the user's is then
split behind its first character and the pieces are encoded one by one (`encode`): no tokenizer can see it whole.
Role names in plain text, such as `ASSISTANT:`, have pieces like any other word, which a split may leave as they are:
those that a user spells are written byte by byte, which reads the same and never has the ids of the template's own. A
prompt without such strings, which is nearly every one, is encoded in one go, with the tokenizer's own ids.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from ...renamed_modules import alias_former_names
from ..chat_templates import TEMPLATES
from ..threads import lock_of
from .bounded_templates import renderer_of

Span = tuple[int, int]

# Structure, not text: templates compare these values with their own words, so they are not marked but checked.
STRUCTURAL_KEYS = ("role", "type")
# Non-special tokens that models write in their answers and cards put into system messages: no template turns on them.
PLAIN_TOKENS = ("<think>", "</think>")
# Stand for media though most tokenizers do not know them.
PLACEHOLDERS = re.compile("<image>|<video>|<IMG_CONTEXT>")

# transformers keeps compiled templates, and one that marks answers serves one thread at a time.
_RENDERING = Lock()
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass
class Prompt:
    """A prompt, and whose text stands where. Spans are `(start, end)` in characters, sorted and apart.

    Attributes:
        text: what the chat template rendered.
        data: the user's text; None = the whole text is trusted.
        generation: what the template marks as written by the assistant.
        splits: where the text is split, so that no control string of which a part is the user's stays whole.
        restarts: where the text is split because the tokenizer starts there as at the beginning of a text.
        bytewise: role names in plain text that the user spelled, to be written byte by byte; `splits` split them off.
    """

    text: str
    data: list[Span] | None = None
    generation: list[Span] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    restarts: list[int] = field(default_factory=list)
    bytewise: list[Span] = field(default_factory=list)

    def is_data(self, start: int, end: int) -> bool:
        """Whether any character of `text[start:end]` is the user's."""
        if not self.data:
            return False
        at = bisect_right(self.data, (end - 1, len(self.text)))
        return at > 0 and self.data[at - 1][1] > start

    def begins_with(self, token: str | None) -> bool:
        """Whether the template wrote `token` at the start."""
        return token is not None and self.text.startswith(token) and not self.is_data(0, len(token))


def control_pattern(
    tokenizer: PreTrainedTokenizerBase, template: str, allowed: Collection[str] = ()
) -> re.Pattern[str]:
    """Matches every string that only the template may write: the longest first, as tokenizers match added tokens.

    These are the special tokens, the other added tokens that the template contains, other spellings of special tokens
    that a tokenizer knows (`spare_pieces`), and the role names in plain text of templates without role tokens; but not
    those that texts are `allowed` to write as well.
    """
    added = tokenizer.added_tokens_decoder
    strings = {t.content for t in added.values() if t.special or (t.content in template and t.content.strip())}
    special_ids = {index for index, token in added.items() if token.special}
    strings |= {piece for piece, index in getattr(tokenizer, "spare_pieces", {}).items() if index in special_ids}
    strings |= {name for name in _plain_role_names() if f'_prefix = "{name[:-1]}"' in template}
    return _longest_first(tuple(sorted(strings - {*PLAIN_TOKENS, *allowed})))


@lru_cache
def _longest_first(strings: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(strings, key=len, reverse=True))) or "(?!)")


@lru_cache
def _plain_role_names() -> tuple[str, ...]:
    rows = [row for row in TEMPLATES.values() if row.grammar == "named_turns"]
    return tuple(f"{name}:" for row in rows for name in (row.user_prefix, row.assistant_prefix))


def render_prompts(
    conversations: Sequence[Any],
    template: str,
    pattern: re.Pattern[str],
    *,
    trusted: bool | Collection[str],
    variables: dict[str, Any],
    **options: Any,
) -> list[Prompt]:
    """Render conversations and find the user's text in the prompts.

    Args:
        conversations: lists of messages.
        template: the text of a chat template.
        pattern: of `control_pattern`.
        trusted: True = all text may write tokens; or the roles whose messages may.
        variables: further variables of the template, the user's as well.
        options: passed to transformers' renderer, `tools` and `documents` among them.

    Raises:
        ValueError: a role, item type or dictionary key spells a control string; or the template rewrites texts (it
            splits or strips them) and a text with a control string cannot be kept apart.
    """
    render = _Renderer(template, options, want_generation=not options.get("continue_final_message"))
    if trusted is True:
        return [render(chat, {}, variables) for chat in conversations]
    roles = {trusted} if isinstance(trusted, str) else set(trusted or ())
    prompts = [_render_apart(render, list(chat), pattern, roles, variables) for chat in conversations]
    for prompt in prompts:
        split_control_strings(prompt, pattern)
    return prompts


# What a template's own mistakes end in: jinja does not type them.
_UNTYPED = (ArithmeticError, LookupError, AttributeError, RecursionError, TypeError, AssertionError)


class _Renderer:
    """One call of transformers' renderer a conversation, with what is equal in all of them."""

    def __init__(self, template: str, options: dict[str, Any], want_generation: bool):
        self.extras = {name: options.pop(name, None) for name in ("tools", "documents")}
        marked = want_generation and _GENERATION.search(template) is not None
        self.render = renderer_of(template)
        self.options = {**options, "chat_template": template, "return_assistant_tokens_mask": marked}

    def __call__(self, messages: Any, extras: dict[str, Any], variables: dict[str, Any]) -> Prompt:
        with _RENDERING:
            try:
                rendered = self.render(
                    conversations=[messages], **{**self.extras, **extras}, **self.options, **variables
                )
            except _UNTYPED as error:
                raise ValueError(f"The chat template does not end, or fails: {error!r:.200}") from error
        texts, generation = rendered[0], rendered[1]
        return Prompt(texts[0], generation=[tuple(span) for span in generation[0]] if generation else [])


def _render_apart(
    render: _Renderer, messages: list[Any], pattern: re.Pattern[str], roles: set[str], variables: dict[str, Any]
) -> Prompt:
    prompt = render(messages, {}, variables)
    untrusted = [message for message in messages if message.get("role") not in roles]
    strings = list(_strings([untrusted, *render.extras.values(), variables], pattern))
    marks = _unused_characters(prompt.text + "".join(strings))
    marked = render(
        [message if message.get("role") in roles else _mark(message, marks) for message in messages],
        {name: _mark(value, marks) for name, value in render.extras.items()},
        _mark(variables, marks),
    )
    text, data = _take_out(marked.text, marks)
    if text == prompt.text and data is not None:
        prompt.data = data
        return prompt
    # The template looks into the texts. Fine as long as there is nothing in them to keep apart.
    for part in [*untrusted, *render.extras.values(), variables]:
        text = "".join(_strings(part, pattern))
        if found := pattern.search(text) or PLACEHOLDERS.search(text):
            raise ValueError(
                f"A text in the conversation spells the control string {found[0]!r}, and this chat template rewrites "
                "texts, so that it cannot be told from the template's own. Take it out, use a template of "
                "`get_chat_template`, or pass `trust_text=True` if the text may write special tokens."
            )
    prompt.data = []
    return prompt


def _strings(value: Any, pattern: re.Pattern[str]) -> Iterator[str]:
    """All texts in nested messages. Keys and structural values are checked on the way."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            for name in (key, item if key in STRUCTURAL_KEYS else ""):
                if isinstance(name, str) and (found := pattern.search(name)):
                    raise ValueError(
                        f"A key, role or type in the conversation spells the control string {found[0]!r}: {name!r}."
                    )
            yield from _strings(item, pattern)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item, pattern)


def _mark(value: Any, marks: tuple[str, str]) -> Any:
    """Nested messages with every text between marks. White space at its ends stays outside: templates look at it."""
    if isinstance(value, str):
        core = value.strip()
        at = value.find(core)
        return value[:at] + marks[0] + core + marks[1] + value[at + len(core) :] if core else value
    if isinstance(value, dict):
        return {key: item if key in STRUCTURAL_KEYS else _mark(item, marks) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mark(item, marks) for item in value]
    return value


def _unused_characters(text: str) -> tuple[str, str]:
    taken = set(text)
    free = (chr(code) for code in range(0xF0000, 0xFFFFE) if chr(code) not in taken)
    return next(free), next(free)


def _take_out(marked: str, marks: tuple[str, str]) -> tuple[str, list[Span] | None]:
    """The text without the marks, and what stood between them; None if the template tore a pair apart."""
    pieces = re.split(f"([{marks[0]}{marks[1]}])", marked)
    texts, data = pieces[::2], []
    start, position = None, 0
    for text, mark in zip(texts, [*pieces[1::2], ""], strict=True):
        position += len(text)
        if mark == marks[0] and start is None:
            start = position
        elif mark == marks[1] and start is not None:
            data.append((start, position))
            start = None
        elif mark:
            return "".join(texts), None
    # A final message that is to be continued ends the prompt.
    return "".join(texts), None if start is not None else data


def replace(prompt: Prompt, edits: Sequence[tuple[int, int, str]]) -> Prompt:
    """The prompt with other text at some places: `edits` are `(start, end, text)`, sorted and apart."""
    ends, gained, pieces, last = [], [0], [], 0
    for start, end, text in edits:
        pieces += [prompt.text[last:start], text]
        last = end
        ends.append(end)
        gained.append(gained[-1] + len(text) - (end - start))

    def moved(spans: list[Span]) -> list[Span]:
        return [(a + gained[bisect_right(ends, a)], b + gained[bisect_right(ends, b)]) for a, b in spans]

    data = None if prompt.data is None else moved(prompt.data)
    splits = [at + gained[bisect_right(ends, at)] for at in prompt.splits]
    text = "".join([*pieces, prompt.text[last:]])
    return Prompt(text, data, moved(prompt.generation), splits, bytewise=moved(prompt.bytewise))


def split_control_strings(prompt: Prompt, pattern: re.Pattern[str]) -> None:
    """Split a prompt so that no control string of which a part is the user's stays whole."""
    position = 0
    while prompt.data and (match := pattern.search(prompt.text, position)):
        start, position = match.span()
        if not prompt.is_data(start, position):
            continue
        if match[0] in _plain_role_names():
            prompt.bytewise.append((start, position))
            prompt.splits += [start, position]
        else:
            position = start + 1
            prompt.splits.append(position)


def encode(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, pattern: re.Pattern[str], *, add_special_tokens: bool
) -> tuple[list[int], list[Span] | None]:
    """Ids of a prompt, the user's text as plain text, and where in the text each stands (None with slow tokenizers).

    Raises:
        ValueError: the tokenizer makes a special token of plain text.
    """
    ids: list[int] = []
    offsets: list[Span] | None = [] if tokenizer.is_fast else None
    bounds = sorted({0, *prompt.splits, *prompt.restarts, len(prompt.text)})
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    special.discard(tokenizer.unk_token_id)
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        encode_piece = _encode_bytes if (start, end) in prompt.bytewise else _encode_piece
        piece_ids, piece_offsets = encode_piece(
            tokenizer, prompt.text[start:end], first=start == 0 or start in prompt.restarts
        )
        written = [m[0] for m in pattern.finditer(prompt.text, start, end)]
        expected = sorted(i for i in map(tokenizer.convert_tokens_to_ids, written) if i in special)
        if sorted(index for index in piece_ids if index in special) != expected:
            raise ValueError(f"The tokenizer makes special tokens of plain text: {prompt.text[start:end]!r}.")
        ids += piece_ids
        if offsets is not None:
            offsets += [(start + a, start + b) for a, b in piece_offsets]
    if add_special_tokens:
        before, after = _affixes(tokenizer)
        ids = before + ids + after
        if offsets is not None:
            offsets = [(0, 0)] * len(before) + offsets + [(0, 0)] * len(after)
    return ids, offsets


def _encode_piece(tokenizer: PreTrainedTokenizerBase, text: str, first: bool) -> tuple[list[int], list[Span]]:
    """Ids and offsets of a part of a prompt; where tokenizers put a space before a text, only the first gets one."""
    lead = "" if first else "\n"
    options = {"add_special_tokens": False, "return_offsets_mapping": tokenizer.is_fast}
    encoding = tokenizer(lead + text, **options)
    skip = len(tokenizer(lead, add_special_tokens=False)["input_ids"]) if lead else 0
    shifted = [(max(a - len(lead), 0), max(b - len(lead), 0)) for a, b in encoding.get("offset_mapping", [])]
    return encoding["input_ids"][skip:], shifted[skip:]


def _encode_bytes(tokenizer: PreTrainedTokenizerBase, text: str, first: bool) -> tuple[list[int], list[Span]]:
    """Ids and offsets of an ASCII text, each character on its own: as its byte piece, if the vocabulary has it."""
    ids: list[int] = []
    offsets: list[Span] = []
    for at, character in enumerate(text):
        byte = find_token(tokenizer, f"<0x{ord(character):02X}>")
        found = _encode_piece(tokenizer, character, first and at == 0)[0] if byte is None else [byte]
        ids += found
        offsets += [(at, at + 1)] * len(found)
    return ids, offsets


def find_token(tokenizer: Any, token: str) -> int | None:
    """The id of a token by its text, None if there is none, without asking for the whole vocabulary."""
    index = tokenizer.convert_tokens_to_ids(token)
    return index if index is not None and tokenizer.convert_ids_to_tokens(index) == token else None


def _affixes(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    bare = tokenizer("x", add_special_tokens=False)["input_ids"]
    whole = tokenizer("x")["input_ids"]
    extra = len(whole) - len(bare)
    at = next((n for n in range(extra + 1) if whole[n : n + len(bare)] == bare), extra)
    return whole[:at], whole[at + len(bare) :]


def encode_batch(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    pattern: re.Pattern[str],
    *,
    add_special_tokens: bool | None = None,
    padding: Any = False,
    truncation: Any = False,
    max_length: int | None = None,
    return_offsets_mapping: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """`encode` for a batch, with the options and results of a tokenizer's call.

    Raises:
        ValueError: an option of tokenizers that is not available for prompts with splits.
    """
    shape = {name: options.pop(name, None) for name in ("pad_to_multiple_of", "padding_side", "return_tensors")}
    shape["return_attention_mask"] = options.pop("return_attention_mask", None)
    if unknown := [name for name, value in options.items() if value not in (None, False, 0) and name != "verbose"]:
        raise ValueError(
            f"Not available for text that spells special tokens: {', '.join(unknown)}. Leave these options out, or "
            "pass `trust_text=True` if the text may write special tokens."
        )
    specials = add_special_tokens is None or add_special_tokens
    with lock_of(tokenizer):
        rows = [encode(tokenizer, prompt, pattern, add_special_tokens=specials) for prompt in prompts]
    if truncation and truncation != "do_not_truncate":
        limit = max_length or tokenizer.model_max_length
        kept = slice(None, limit) if tokenizer.truncation_side == "right" else slice(-limit, None)
        rows = [(ids[kept], None if offsets is None else offsets[kept]) for ids, offsets in rows]
    batch = dict(tokenizer.pad({"input_ids": [ids for ids, _ in rows]}, padding, max_length, **shape))
    if return_offsets_mapping:
        side = shape["padding_side"] or tokenizer.padding_side
        widths = [len(row) for row in batch["input_ids"]]
        batch["offset_mapping"] = [
            _padded(offsets or [], width, side) for (_, offsets), width in zip(rows, widths, strict=True)
        ]
    return batch


def _padded(offsets: list[Span], width: int, side: str) -> list[Span]:
    filler = [(0, 0)] * (width - len(offsets))
    return filler + offsets if side == "left" else offsets + filler


def mask_of(offsets: Any, spans: list[tuple[int, int]]) -> list[int]:
    """1 for every token that begins in one of the spans.

    A token that begins before one is part of what opens the turn: a line break merged with the answer's own, or a
    special token that takes the white space behind it.
    """
    starts, ends = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T
    mask = np.zeros(len(starts), dtype=np.int64)
    for start, end in spans:
        mask |= (starts >= start) & (starts < end) & (ends > start)
    return mask.tolist()


alias_former_names(__name__, cut="split_control_strings")
