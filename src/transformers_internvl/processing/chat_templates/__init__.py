# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Chat templates of every InternVL generation, byte for byte as the original conversation code writes its prompts.

A template is a row of `TEMPLATES` (default system message, what opens and closes a turn) poured into a grammar, a
`.jinja` file of this folder. `get_chat_template` returns one self-contained text: it can be saved as
`chat_template.jinja` and rendered by whatever reads Hugging Face chat templates.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import import_module
from importlib.resources import files
from typing import Any

__all__ = [
    "TEMPLATES",
    "THINKING_SYSTEM_MESSAGE",
    "ChatTemplate",
    "chat_messages",
    "find_chat_template",
    "get_chat_template",
    "split_thinking",
]

# Asks the 3.5 models to think before they answer (the original model cards, "Thinking Mode").
THINKING_SYSTEM_MESSAGE = (
    "You are an AI assistant that rigorously follows this response protocol:\n\n"
    "1. First, conduct a detailed analysis of the question. Consider different angles, potential solutions, and "
    "reason through the problem step-by-step. Enclose this entire thinking process within <think> and </think> "
    "tags.\n\n"
    "2. After the thinking section, provide a clear, concise, and direct answer to the user's question. Separate the "
    "answer from the think section with a newline.\n\n"
    "Ensure that the thinking process is thorough but remains focused on the query. The final answer should be "
    "standalone and not reference the thinking section."
)

_SYSTEM_V1_V2 = (
    "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"
)
_SYSTEM_V2_5 = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
)
_SYSTEM_GPT_OSS = (
    "You are InternVL, a large language model trained by Shanghai AI Laboratory.\n"
    "Knowledge cutoff: 2024-06\nCurrent date: 2025-08-06\n\n"
    "Reasoning: low\n\n"
    "# Valid channels: final. Channel must be included for every message."
)
_SYSTEM_VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


@dataclass(frozen=True)
class ChatTemplate:
    """One row of `TEMPLATES`.

    Attributes:
        grammar: the `.jinja` file, without its suffix, that lays the turns out.
        system_message: sent when the conversation has no system message; None = nothing is sent.
        system_prefix, user_prefix, assistant_prefix: what opens a turn.
        separator: what closes a turn.
        last_separator: what closes the assistant's turn at the end of the conversation; of `named_turns`, any of them.
        gap: what stands between two turns.
        stop: the string at which generation ends.
        thinking_system_message: replaces `system_message` under `enable_thinking=True`; None = no thinking mode.
        answer_opening: what the model writes in front of every answer, and is trained to write; the prompts of
            `chat()` leave it out of earlier answers.
        thought_opening: the same in front of a message's `thinking`, which the answer then follows as a turn of its
            own; None = thinking has no place but within the answer, between `<think>` and `</think>`.
        closes_empty: whether a turn without text is closed in training, so that an empty answer is learned as its
            end token (the original `preprocess_internvl2_5` and `preprocess_internvl3_5_gpt_oss`). Elsewhere it stays
            open.
        tool_prefix: what opens a turn with the result of a tool, role `tool` or `function`; None = there is no such
            turn. (The original training code, role `function`.)
    """

    grammar: str
    system_message: str | None
    system_prefix: str
    user_prefix: str
    assistant_prefix: str
    separator: str
    last_separator: str
    gap: str
    stop: str
    thinking_system_message: str | None = None
    answer_opening: str = ""
    thought_opening: str | None = None
    closes_empty: bool = False
    tool_prefix: str | None = None


def _chatml(system_message: str | None, gap: str, **changes: str | bool | None) -> ChatTemplate:
    row: dict[str, str | bool | None] = {
        "grammar": "marked_turns",
        "system_message": system_message,
        "system_prefix": "<|im_start|>system\n",
        "user_prefix": "<|im_start|>user\n",
        "assistant_prefix": "<|im_start|>assistant\n",
        "separator": "<|im_end|>",
        "last_separator": "<|im_end|>",
        "gap": gap,
        "stop": "<|im_end|>",
    }
    return ChatTemplate(**{**row, **changes})  # type: ignore[arg-type]


# Name (the `template` of an original config.json) -> row. `internvl_hf` is what the -hf checkpoints come with.
TEMPLATES: dict[str, ChatTemplate] = {
    "vicuna_v1": ChatTemplate("named_turns", _SYSTEM_VICUNA, "", "USER", "ASSISTANT", " ", "</s>", "", stop="</s>"),
    "internvl_zh": ChatTemplate("named_turns", "", "", "<human>", "<bot>", " ", "</s>", "", stop="</s>"),
    "Hermes-2": _chatml(_SYSTEM_V1_V2, gap=""),
    "internlm2-chat": _chatml(_SYSTEM_V1_V2, gap=""),
    "phi3-chat": ChatTemplate(
        "marked_turns",
        _SYSTEM_V1_V2,
        "<|system|>\n",
        "<|user|>\n",
        "<|assistant|>\n",
        separator="<|end|>",
        last_separator="<|end|>",
        gap="",
        stop="<|end|>",
    ),
    "internvl2_5": _chatml(
        _SYSTEM_V2_5,
        gap="\n",
        thinking_system_message=THINKING_SYSTEM_MESSAGE,
        closes_empty=True,
        tool_prefix="<|im_start|>function\n",
    ),
    "internvl3_5_gpt_oss": ChatTemplate(
        "marked_turns",
        _SYSTEM_GPT_OSS,
        "<|start|>system<|message|>",
        "<|start|>user<|message|>",
        "<|start|>assistant",
        separator="<|end|>",
        last_separator="<|return|>",
        gap="",
        stop="<|return|>",
        answer_opening="<|channel|>final<|message|>",
        thought_opening="<|channel|>analysis<|message|>",
        closes_empty=True,
        tool_prefix="<|start|>tool<|message|>",
    ),
    "internvl_hf": _chatml(None, gap="\n", grammar="internvl_hf", thinking_system_message=THINKING_SYSTEM_MESSAGE),
}


# A template is a header of settings, then a grammar.
_HEADER = re.compile(r"((?:\{%- set \w+ = .* %\}\n)*)((?s:.*))")
_SETTING = re.compile(r"^\{%- set (\w+) = (.*) %\}$", re.MULTILINE)
# SHA-256 of the text of a grammar that an earlier version wrote -> its name.
_FORMER_GRAMMARS = {
    "0fb3fc5bdfa81677969414d35375fe34d19dc9d61da57219e744c5fed5c5812a": "marked_turns",  # before results of tools
    "a57b5ded8d039f3fb6a612ac4beff3547cb0fe6597b769537a4900b05a79510c": "marked_turns",  # with another comment
    "afa747b5355c0eae1939383f393e868ce8151600be2e261b665fe401cbde8589": "named_turns",  # the same
}


def get_chat_template(
    name: str,
    *,
    system_message: str | None = None,
    image_placeholder: str | None = None,
    for_training: bool = False,
) -> str:
    """The text of a chat template, complete in itself.

    The template takes messages whose `content` is a string or a list of items `{"type": "text", "text": ...}`,
    `{"type": "image"}`, `{"type": "video"}` and `{"type": "ref", "text": ...}` (rendered `<ref>...</ref>`). A message
    of role `system` at the start replaces the default system message; an empty one is sent empty. Further variables:
    `add_generation_prompt`, `enable_thinking` (3.5; True: the thinking system message where the user gives none;
    False: the answer starts behind an empty thought), `image_labels` (False: no "Image-1: " before the images of one
    run), `for_training` (True: answers begin with what the model writes by itself, the channel of GPT-OSS, and an
    assistant message's `thinking` stands in front of its answer, in a channel of its own).
    Assistant turns are enclosed in `{% generation %}`, end token included.

    Args:
        name: a key of `TEMPLATES`.
        system_message: the default system message instead of the original one. None keeps that, as `null` in a
            config.json does; "" sends an empty one.
        image_placeholder: what stands for an image; `<image>`, or `<IMG_CONTEXT>` with `internvl_hf`.
        for_training: fix that variable to True, for trainers that render conversations themselves.

    Raises:
        ValueError: unknown name.
    """
    if name not in TEMPLATES:
        raise ValueError(f"Unknown chat template {name!r}: expected one of {', '.join(map(repr, TEMPLATES))}.")
    row = asdict(TEMPLATES[name])
    grammar = row.pop("grammar")
    del row["stop"]
    if not row["closes_empty"]:  # as in templates that were saved before there was such a key
        del row["closes_empty"]
    if row["tool_prefix"] is None:
        del row["tool_prefix"]
    if system_message is not None:
        row["system_message"] = system_message
    if image_placeholder is None:
        image_placeholder = "<IMG_CONTEXT>" if grammar == "internvl_hf" else "<image>"
    values = {"template_name": name, "image_placeholder": image_placeholder, **row}
    if for_training:
        values["for_training"] = True
    header = [f"{{%- set {key} = {_jinja_literal(value)} %}}\n" for key, value in values.items()]
    return "".join(header) + _grammar(grammar)


def find_chat_template(text: str) -> tuple[str, str | None] | None:
    """Name and system message of a template that [`get_chat_template`] wrote, wherever it puts its images.

    Returns:
        None for any other template. A system message of None is the template's own.
    """
    head, grammar = _HEADER.fullmatch(text).groups()  # type: ignore[union-attr]  # any text matches
    written = dict(_SETTING.findall(head))
    name = json.loads(written.get("template_name", "null"))
    if name not in TEMPLATES or "image_placeholder" not in written:
        return None
    message = written.get("system_message", "none")
    system_message = None if message == "none" else json.loads(message)
    if system_message == TEMPLATES[name].system_message:
        system_message = None
    placeholder = json.loads(written["image_placeholder"])
    known = get_chat_template(name, system_message=system_message, image_placeholder=placeholder)
    if known == text:
        return name, system_message
    former = _FORMER_GRAMMARS.get(hashlib.sha256(grammar.encode()).hexdigest())
    settings = dict(_SETTING.findall(_HEADER.fullmatch(known)[1]))  # type: ignore[index]
    same = former == TEMPLATES[name].grammar and written.items() <= settings.items()
    return (name, system_message) if same else None


def _jinja_literal(value: str | bool | None) -> str:
    # JSON's escapes are among Jinja's; braces are escaped so that no text can open or close a Jinja block.
    if value is None:
        return "none"
    return json.dumps(value, ensure_ascii=False).replace("{", "\\u007b").replace("}", "\\u007d")


@lru_cache
def _grammar(name: str) -> str:
    folder = files(__name__)
    text = (folder / f"{name}.jinja").read_text(encoding="utf-8")

    def inline(match: re.Match) -> str:
        return (folder / match[1]).read_text(encoding="utf-8")

    return re.sub(r"\{%- include '([\w.]+)' %\}\n", inline, text)


def chat_messages(
    question: str, history: Sequence[tuple[str, str]] = (), *, with_images: bool
) -> list[dict[str, str]]:
    """The conversation of the original `chat()`, as messages.

    Args:
        question: the user's open turn.
        history: earlier turns, pairs of question and answer.
        with_images: whether there are images. A first question without `<image>` then gets one in front, and a line
            break.
    """
    if not history and with_images and "<image>" not in question:
        question = "<image>\n" + question
    turns = [message for turn in history for message in zip(("user", "assistant"), turn, strict=True)]
    return [{"role": role, "content": content} for role, content in (*turns, ("user", question))]


def __getattr__(name: str) -> Any:
    """`chat_prompt` under its former address, up to version 0.3.0."""
    if name != "chat_prompt":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("chat_prompt is in processing.text now, and returns a Prompt.", FutureWarning, stacklevel=2)
    chat_prompt = import_module("transformers_internvl.processing.text.conversation").chat_prompt
    return lambda *args, **kwargs: chat_prompt(*args, **kwargs).text


def split_thinking(text: str) -> tuple[str, str]:
    """Split an answer of a thinking model into `(thinking, answer)`, both stripped.

    `<think>` may be missing at the start (it was part of the prompt). Several blocks before the answer are joined by a
    line break. A thought that never closes, as when generation stopped early, leaves an empty answer; a text without
    any tag is all answer.
    """
    if "<think>" not in text and "</think>" not in text:
        return "", text.strip()
    thoughts: list[str] = []
    rest = text.lstrip()
    while rest.startswith("<think>") or ("</think>" in rest and not thoughts):
        thought, _, rest = rest.removeprefix("<think>").partition("</think>")
        thoughts.append(thought.strip())
        rest = rest.lstrip()
    return "\n".join(filter(None, thoughts)), rest.strip()
