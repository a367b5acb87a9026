# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Another language model for a checkpoint: its weights, its tokenizer, its prompts, from folder to folder."""

import os
import re
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from ...processing.chat_templates import TEMPLATES, get_chat_template
from ...processing.processor_files import write_for_upstream
from ...processing.tokenizers.loading import load_tokenizer
from ..files.copies import changed_copy, load_exactly
from ..files.folders import copy_file, local_folder, read_json, write_json
from .transplant import replace_language_model
from .vocabulary import IMAGE_TOKENS, add_tokens, write_tokens

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
_PROMPT_FILES = ("chat_template.jinja", "chat_template.json")
_GENERATION = "generation_config.json"
_VIDEO_TOKEN = "<video>"  # the -hf layout's processor has a token for videos, too
_MARK = re.compile(r"<\|\w+\|>|</s>")


def replace_language_model_folder(
    source: str | os.PathLike,
    language_model: str | os.PathLike,
    target: str | os.PathLike,
    *,
    template: str | None = None,
    cast: bool = False,
    seed: int = 0,
    max_shard_size: str = "5GB",
) -> None:
    """[`replace_language_model`] with folders: weights, tokenizer and prompts.

    The tokenizer's files are the language model's, with the nine original tokens for images and boxes added where they
    are missing; their rows begin as the mean of the others.

    Args:
        source: the chat model; the result has its layout.
        language_model: folder or Hub id of a causal language model with its tokenizer.
        target: a new folder.
        template: name of the conversation template, a row of `TEMPLATES`. None: the source's, which only the original
            layout names.
        cast: convert the language model to the chat model's number format, if it has another.
        seed: of the new projector's initialisation.
        max_shard_size: of one weight file.

    Raises:
        ValueError: no template, or one whose marks the tokenizer does not know; what `replace_language_model` raises.
    """
    origin = local_folder(language_model)
    with changed_copy(source, target, max_shard_size) as copy, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, folder = copy.model, copy.folder
        in_config = hasattr(model.config, "template")
        template = template or getattr(model.config, "template", None)
        if template not in TEMPLATES:
            raise ValueError(
                f"Name the conversation template that fits the new language model, one of {', '.join(TEMPLATES)}; got "
                f"{template!r}."
            )
        tokenizer = load_tokenizer(origin)
        _check_marks(tokenizer, template)
        text = load_exactly(origin, AutoModelForCausalLM, dtype=model.dtype if cast else None)
        ids = add_tokens(text, tokenizer, IMAGE_TOKENS if in_config else (*IMAGE_TOKENS, _VIDEO_TOKEN))
        copy.model = replace_language_model(model, text, tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"))

        for name in (*_TOKENIZER_FILES, *_PROMPT_FILES, _GENERATION):
            (folder / name).unlink(missing_ok=True)
        for name in (*_TOKENIZER_FILES, _GENERATION):
            if (origin / name).is_file():
                copy_file(origin, name, folder / name)
        _stop_at(folder, tokenizer.convert_tokens_to_ids(TEMPLATES[template].stop))
        if in_config:
            copy.model.config.template = template
        else:
            (folder / "chat_template.jinja").write_text(get_chat_template(template), encoding="utf-8")
            write_for_upstream(folder)
        write_tokens(folder, ids)


def _check_marks(tokenizer: PreTrainedTokenizerBase, template: str) -> None:
    """Every mark that the template writes must be one token; else its words would stand in the prompt in pieces."""
    marks = sorted({*_MARK.findall(get_chat_template(template)), TEMPLATES[template].stop})
    vocabulary = tokenizer.get_vocab()
    if missing := [mark for mark in marks if mark not in vocabulary]:
        raise ValueError(
            f"The tokenizer has no token {', '.join(missing)}, which the conversation template {template!r} writes: "
            "name the template that the language model was trained with, or add the tokens to it first."
        )


def _stop_at(folder: Path, stop: int) -> None:
    """Generation ends at the template's stop token, and where the language model's own ended."""
    path = folder / _GENERATION
    content = read_json(path)
    known = content.get("eos_token_id")
    known = known if isinstance(known, list) else [] if known is None else [known]
    write_json(path, {**content, "eos_token_id": [stop, *(other for other in known if other != stop)]})


__all__ = ["replace_language_model_folder"]
