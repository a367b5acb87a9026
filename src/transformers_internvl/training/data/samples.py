# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A conversation becomes a sample: ids, labels where the assistant wrote, tiles.

What is supervised is what the chat template marks with `{% generation %}`: an answer and its end token. The ids and
labels are those of the original preprocess functions (`internvl/train/dataset.py`), without their mistakes: they
search for the answers by tokenizing pieces of the prompt, and where a piece comes out at another length than within
the whole they ignore the sample.

Thinking of GPT-OSS is a turn of its own, in the analysis channel, supervised like the answer. It may be given as a
message's `thinking` (or `reasoning_content`) or, as in the original data, within `<think>` and `</think>` in front of
the answer (their `preprocess_internvl3_5_gpt_oss_with_think`).

Text stays text: of all special tokens the data may write those of regions (`<ref>`, `<box>`, ...) and those that the
user added to the vocabulary, and the original `conversations` may write `<image>` and `<video>`. Others, which mark
turns and images, are written as plain text, unless `text_tokens` says otherwise.

Shape letters: L tokens, T tiles, S tile side.
"""

import copy
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ...modeling.losses import IGNORE_INDEX
from ...processing.chat_templates import TEMPLATES, split_thinking
from ...processing.content import THOUGHTS, check_content
from ...processing.media import Media, Overrides
from ...processing.processor import InternVLProcessor
from ...processing.text import untrusted_text
from ...processing.text.grounding import REGION_TOKENS
from ...processing.text.messages import choose_template, normalized
from ...processing.text.placeholders import IMAGE, VIDEO, Place, by_sample, find_places
from ...processing.text.untrusted_text import Prompt
from ...processing.tokenizers.released_tokens import user_tokens
from ...renamed_modules import former_value

Turn = dict[str, Any]
Sample = dict[str, torch.Tensor]

# `from` of the original conversations -> role. `pretrain` belongs to texts without turns.
ROLES = {
    "system": "system",
    "human": "user",
    "gpt": "assistant",
    "pretrain": "user",
    "function": "tool",
    "tool": "tool",
}
# What the original functions do to the turns of their older templates before they write the prompt.
STRIPS_TURNS = ("internlm2-chat",)
DROPS_FIRST_ANSWER = ("internvl_zh", "vicuna_v1", "Hermes-2", "internlm2-chat", "phi3-chat")

FORMER_TOO_LONG = {"cut": "truncate"}

_TEMPLATE_NAME = re.compile(r'set template_name = "([^"]*)"')
_MEDIA = re.compile(f"{IMAGE}|{VIDEO}")


@dataclass(frozen=True)
class SampleEncoder:
    """Encodes conversations for training.

    Attributes:
        processor: its tokenizer must be one of the `tokenizers` library.
        chat_template: another template than the processor's, as text or by name.
        max_length: maximum number of tokens of a sample; None = any number.
        too_long: what happens beyond that: `"raise"`, or `"truncate"` at the end, as in the original code. A
            truncation within an image raises in either case.
        text_tokens: which special tokens texts may write: `"added"`, those of regions and those that the user added
            (`user_tokens`); `"regions"`, these alone; `"all"`, as in the original code; or a list, those of
            regions and these.
        trust_text: the same as `text_tokens="all"`.
        frame_label: what stands before each frame of a video; the original training has `"Frame-{}: "`.
        share_tile_budget: whether the images of a sample share `max_patches`, as in the original training.

    Each method returns `input_ids`, `labels` (-100 = not supervised) and `attention_mask` `(L,)`, int64, and if there
    are images or videos `pixel_values` `(T, 3, S, S)` float32 and `num_patches`, the tiles of each image, `(images,)`.

    Raises:
        ValueError: (methods) images and placeholders do not fit together, the sample is too long, unknown roles.
    """

    processor: InternVLProcessor
    chat_template: str | None = None
    max_length: int | None = None
    too_long: Literal["raise", "truncate"] = "raise"
    text_tokens: Literal["added", "regions", "all"] | Sequence[str] = "added"
    trust_text: bool = False
    frame_label: str = "Frame-{}: "
    share_tile_budget: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "too_long", former_value("too_long", self.too_long, FORMER_TOO_LONG))
        if self.too_long not in ("raise", "truncate"):
            raise ValueError(f"`too_long` is 'raise' or 'truncate', got {self.too_long!r}.")
        if not self.processor.tokenizer.is_fast:
            raise ValueError("Labels need offsets of tokens: load a tokenizer of the `tokenizers` library.")
        object.__setattr__(self, "trust_text", self.trust_text or self.text_tokens == "all")
        if self.text_tokens != "added":  # its own tokens are there, whatever they are
            self._writable("")
        processor = copy.copy(self.processor)
        processor.frame_label = self.frame_label
        object.__setattr__(self, "processor", processor)

    def _writable(self, template: str) -> tuple[str, ...]:
        """The special tokens that texts may write in the prompts of a template.

        Raises:
            ValueError: `text_tokens` names something else than added tokens.
        """
        tokens = self.text_tokens
        if isinstance(tokens, str) and tokens in ("added", "regions", "all"):
            added = user_tokens(self.processor.tokenizer, template) if tokens == "added" else ()
            return (*REGION_TOKENS, *added)
        known = {token.content for token in self.processor.tokenizer.added_tokens_decoder.values()}
        unknown = [tokens] if isinstance(tokens, str) else [token for token in tokens if token not in known]
        if unknown:
            near = difflib.get_close_matches(str(unknown[0]), [*known, "added", "regions", "all"], n=3)
            raise ValueError(
                "`text_tokens` is 'added', 'regions', 'all', or a list of tokens that the tokenizer has as added "
                f"ones; got {unknown[0]!r}.{f' Did you mean {near}?' * bool(near)} New tokens come from `internvl "
                "surgery add-tokens`."
            )
        return (*REGION_TOKENS, *tokens)

    def messages(
        self, messages: list[Turn], images: Sequence[Any] = (), videos: Sequence[Any] = (), **options: Any
    ) -> Sample:
        """A conversation as `apply_chat_template` takes it.

        Args:
            messages: `{"role": ..., "content": text or items}`.
            images, videos: of items that carry none, in the order of their places.
            options: `images_kwargs`, `videos_kwargs` for the processors.
        """
        (chat,), _ = normalized(messages)
        media = Media.of([chat])
        prompt, pattern = self._render(chat)
        places = find_places(prompt)
        for kind, beside in (("image", images), ("video", videos)):
            if beside and getattr(media, kind)[0]:
                raise ValueError(
                    f"Some content items carry a {kind} of their own: pass all of them there, or in `{kind}s`."
                )
        overrides = media.overrides(image=images, video=videos)
        return self._sample(
            prompt, pattern, places, images or media.image[0], videos or media.video[0], overrides, options
        )

    def turns(
        self, turns: list[Turn], images: Sequence[Any] = (), videos: Sequence[Any] = (), **options: Any
    ) -> Sample:
        """A conversation in the original form.

        Args:
            turns: `{"from": "human" | "gpt" | "system", "value": text}`; `<image>` and `<video>` of human turns stand
                for the media in order. One image, or one video, without a placeholder goes before the first question.
            images, videos: paths, PIL images, frames, ...
            options: as with `messages`.
        """
        chat = self._original_turns([_message(turn) for turn in turns])
        for mark, media in ((IMAGE, images), (VIDEO, videos)):
            first = next((message for message in chat if message["role"] == "user"), None)
            if len(media) == 1 and first and not any(mark in message["content"] for message in chat):
                first["content"] = f"{mark}\n{first['content']}"
        prompt, pattern = self._render(chat)
        places = _places_of_questions(prompt, chat)
        return self._sample(prompt, pattern, places, images, videos, None, options)

    def pretraining(
        self, turns: list[Turn], images: Sequence[Any] = (), videos: Sequence[Any] = (), **options: Any
    ) -> Sample:
        """A text without roles, as the original `preprocess_pretrain` has it: all of it is supervised but the images.

        Args:
            turns: the values of all are joined as they are.
            images, videos, options: as with `turns`; placeholders may stand anywhere.
        """
        text = "".join(_message(turn)["content"] for turn in turns)
        pattern = untrusted_text.control_pattern(self.processor.tokenizer, "")
        prompt = Prompt(text, generation=[(0, len(text))])
        if not self.trust_text:
            allowed = untrusted_text.control_pattern(self.processor.tokenizer, "", self._writable(""))
            prompt.data = [(0, len(text))]
            untrusted_text.split_control_strings(prompt, allowed)
        places = [Place(m.start(), m.end(), m[0][1:-1]) for m in _MEDIA.finditer(text)]
        sample = self._sample(prompt, pattern, places, images, videos, None, options)
        of_images = torch.tensor(self.processor.image_token_ids)
        sample["labels"][torch.isin(sample["input_ids"], of_images)] = IGNORE_INDEX
        return sample

    def _original_turns(self, chat: list[Turn]) -> list[Turn]:
        name = self._template_name()
        if name in DROPS_FIRST_ANSWER and chat and chat[0]["role"] == "assistant":
            chat = chat[1:]
        if name in STRIPS_TURNS:
            chat = [{**message, "content": message["content"].strip()} for message in chat]
        return chat

    def _template(self) -> str:
        return choose_template(self.processor.chat_template, self.chat_template)

    def _template_name(self) -> str | None:
        found = _TEMPLATE_NAME.search(self._template())
        return found[1] if found else None

    def _render(self, chat: list[Turn]) -> tuple[Prompt, re.Pattern[str]]:
        """The prompt, and the pattern of what its texts may not write."""
        template, tokenizer = self._template(), self.processor.tokenizer
        row = TEMPLATES.get(self._template_name() or "")
        if row is not None:  # what other templates do with keys of messages is their own
            chat = [_thinking_apart(message, row.thought_opening is not None) for message in chat]
        check_content([chat], template, thoughts=False)
        (prompt,) = untrusted_text.render_prompts(
            [chat],
            template,
            untrusted_text.control_pattern(tokenizer, template, self._writable(template)),
            trusted=self.trust_text,
            variables={},
            for_training=True,
            **tokenizer.special_tokens_map,
        )
        if "endgeneration" not in template and any(message["role"] == "assistant" for message in chat):
            raise ValueError(
                "The chat template does not mark answers with {% generation %}, so that nothing could be supervised: "
                "set `processor.chat_template = get_chat_template(name)`."
            )
        return prompt, untrusted_text.control_pattern(tokenizer, template)

    def _sample(
        self,
        prompt: Prompt,
        pattern: re.Pattern[str],
        places: list[Place],
        images: Sequence[Any],
        videos: Sequence[Any],
        overrides: Overrides | None,
        options: dict[str, Any],
    ) -> Sample:
        prompt.splits = [at for at in prompt.splits if not any(place.start < at < place.end for place in places)]
        text_options: dict[str, Any] = {"return_offsets_mapping": True}
        if self.max_length is not None and self.too_long == "truncate":
            text_options |= {"truncation": True, "max_length": self.max_length}
        if prompt.begins_with(self.processor.tokenizer.bos_token):
            text_options["add_special_tokens"] = False
        images_kwargs = {"share_tile_budget": self.share_tile_budget, **options.get("images_kwargs", {})}
        data = self.processor._encode(
            [prompt],
            [places],
            by_sample("image", [list(images)], [places], nested=True),
            by_sample("video", [list(videos)], [places], nested=True),
            pattern=pattern,
            overrides=overrides,
            return_assistant_tokens_mask=True,
            return_num_patches=True,
            text_kwargs=text_options,
            images_kwargs={**images_kwargs, "return_tensors": "pt"},
            videos_kwargs=options.get("videos_kwargs", {}),
        )
        ids = torch.tensor(data["input_ids"][0])
        if self.max_length is not None and len(ids) > self.max_length:
            raise ValueError(
                f"The sample has {len(ids)} tokens, of which {self.max_length} are allowed: raise `max_length`, lower "
                "`max_patches`, or shorten it."
            )
        labels = ids.where(self._supervised(ids, data["assistant_masks"][0]), IGNORE_INDEX)
        sample = {"input_ids": ids, "labels": labels, "attention_mask": torch.tensor(data["attention_mask"][0])}
        if "pixel_values" in data:
            sample["pixel_values"] = data["pixel_values"]
            sample["num_patches"] = torch.tensor(data["num_patches"], dtype=torch.long)
        return sample

    def _supervised(self, ids: torch.Tensor, assistant_mask: list[int]) -> torch.Tensor:
        """Which tokens are supervised, `(L,)` bool.

        A line break follows the end token of most templates, and a tokenizer with a dummy prefix writes that prefix
        first. The original code ignores the last token of the turn only. So the prefix is learned, as in inference.
        """
        mask = torch.tensor(assistant_mask, dtype=torch.bool)
        row = TEMPLATES.get(self._template_name() or "")
        if row is None or not row.gap:
            return mask
        tokenizer = self.processor.tokenizer
        end, behind = (
            len(tokenizer(text, add_special_tokens=False)["input_ids"])
            for text in (row.separator, row.separator + row.gap)
        )
        prefix = behind - end - 1
        if prefix > 0:
            ends = torch.nonzero(mask & (ids == tokenizer.convert_tokens_to_ids(row.separator)))
            mask[(ends + 1 + torch.arange(prefix)).flatten().clamp(max=len(mask) - 1)] = True
        return mask


def _message(turn: Turn) -> Turn:
    try:
        message = {"role": ROLES[turn["from"]], "content": turn["value"]}
        calls = [name for name in ("tool_calls", "function_call") if turn.get(name)]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"Expected a turn {{'from': one of {list(ROLES)}, 'value': text}}, got {turn!r:.100}."
        ) from error
    if calls:
        raise ValueError(
            f"A turn has `{calls[0]}`, which `conversations` have no form for: write the call into its value, as the "
            "text that the model is to write."
        )
    return message


def _thinking_apart(message: Turn, has_channel: bool) -> Turn:
    """An assistant's message with its thinking under `thinking`, for templates that have a channel for it.

    Raises:
        ValueError: thinking by key, for a template that would drop it.
    """
    message = dict(message)
    thought = next((text for text in [message.pop(name, None) for name in THOUGHTS] if text), None)
    if thought and not has_channel:
        raise ValueError(
            "The chat template has no channel for the thinking of a message: write it into the content, as "
            f"'<think>...</think>' in front of the answer. Got {thought!r:.80}."
        )
    answers = has_channel and not thought and message.get("role") == "assistant"
    text = _first_text(message.get("content"))
    if answers and text.lstrip().startswith("<think>") and "</think>" in text:
        thought, answer = split_thinking(text)
        content = message["content"]
        message["content"] = answer if isinstance(content, str) else [{**content[0], "text": answer}, *content[1:]]
    return {**message, "thinking": thought} if thought else message


def _first_text(content: Any) -> str:
    """The text that a message's content begins with; empty where it begins with something else."""
    if isinstance(content, (list, tuple)) and content and isinstance(content[0], dict):
        content = content[0].get("text")
    return content if isinstance(content, str) else ""


def _places_of_questions(prompt: Prompt, chat: list[Turn]) -> list[Place]:
    """`<image>` and `<video>` of the user's turns; those that stand in other turns are text."""
    wanted = [message["role"] == "user" for message in chat for _ in _MEDIA.findall(message["content"])]
    found = list(_MEDIA.finditer(prompt.text))
    if len(found) != len(wanted):
        raise ValueError(f"The chat template turned {len(wanted)} placeholders into {len(found)}.")
    return [Place(m.start(), m.end(), m[0][1:-1]) for m, use in zip(found, wanted, strict=True) if use]
