# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The nano model before its training: tokenizer, configuration, fresh weights, prompts.

An InternVL in miniature, complete in kind: an InternViT tower on square tiles, a pixel shuffle that merges 2 x 2
patches, an MLP projector, a Qwen2 language model over a small byte-level vocabulary.
"""

from __future__ import annotations

import json
import math

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AddedToken, Qwen2Config, Qwen2Tokenizer
from transformers.models.auto import CONFIG_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from .palette import COLORS
from .questions import COUNTS, PARAPHRASES, QUESTIONS, SHAPES

TILE_SIZE = 112
PATCH_SIZE = 14
MAX_TILES = 4
TOKENS_PER_TILE = (TILE_SIZE // PATCH_SIZE // 2) ** 2
VOCAB_SIZE = 640

IMAGE_TOKEN, IMAGE_START, IMAGE_END, VIDEO_TOKEN = "<IMG_CONTEXT>", "<img>", "</img>", "<video>"
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", IMAGE_START, IMAGE_END, IMAGE_TOKEN,
    "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>", VIDEO_TOKEN,
)  # fmt: skip

SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "Answer in one word.",
    "You are a small model that looks at pictures and answers questions.",
    "Look at the image and answer with a single word or number.",
)

# A few plain sentences, so that the merges know some English beside the questions.
_SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Please describe the image in detail.",
    "What is this? It is a picture of a shape.",
    "You can see a large number on a light background.",
    "There are three small circles and one big square on the left side.",
    "Is the triangle above or below the circle?",
    "I do not know what you mean, but I will try to answer.",
    "The text says that the answer is written in black.",
    "Which one of these is the largest? The one on the right.",
    "Hello, how are you today? Thank you, I am fine.",
    "Where is the object? It is in the middle of the image.",
    "An assistant answers the question of a user with a short word.",
    "Think step by step and then give the final answer.",
)


def build_tokenizer(corpus: list[str] | None = None, vocab_size: int = VOCAB_SIZE) -> Qwen2Tokenizer:
    """Byte-level BPE in Qwen2's style: any text, digits one by one, merges from a corpus.

    Without a corpus: from the questions of the nano model and some English.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(_corpus() if corpus is None else corpus, trainer)
    vocab, merges = _vocabulary(core)
    extra = {
        "start_image_token": IMAGE_START,
        "end_image_token": IMAGE_END,
        "context_image_token": IMAGE_TOKEN,
        "video_token": VIDEO_TOKEN,
    }
    tokenizer = Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        model_max_length=4096,
        extra_special_tokens=extra,
        clean_up_tokenization_spaces=False,
    )
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    tokenizer.add_tokens(special, special_tokens=True)
    return tokenizer


def _corpus() -> list[str]:
    questions = [QUESTIONS, {task: one for task, many in PARAPHRASES.items() for one in many}]
    lines = [text for table in questions for text in table.values()]
    lines += [text for many in PARAPHRASES.values() for text in many]
    lines = [text.format(kind=kind) for text in lines for kind in SHAPES]
    lines += [*COLORS, *(f" {color}" for color in COLORS), *COUNTS, "user", "assistant", "system"] * 5
    return lines * 2 + [*_SENTENCES, *SYSTEM_MESSAGES] * 4


def _vocabulary(core: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(core.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def build_config(
    tokenizer: Qwen2Tokenizer,
    *,
    width: int = 160,
    vision_layers: int = 6,
    text_layers: int = 3,
    text_width: int | None = None,
    tile_size: int = TILE_SIZE,
    patch_size: int = PATCH_SIZE,
):
    """The configuration of the nano model for `tokenizer`; a class of whatever is registered as `internvl`.

    `width` is the tower's, and the language model's without a `text_width`; both are multiples of 32.
    """
    text_width = text_width or width
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=text_width,
        intermediate_size=text_width * 5 // 2,
        num_hidden_layers=text_layers,
        num_attention_heads=text_width // 32,
        num_key_value_heads=text_width // 32,
        max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=1 / math.sqrt(3 * text_width),
    )
    vision = {
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": vision_layers,
        "num_attention_heads": width // 32,
        "attention_bias": True,
        "image_size": [tile_size, tile_size],
        "patch_size": [patch_size, patch_size],
        "layer_scale_init_value": 1.0,
        "initializer_range": 1 / math.sqrt(3 * width),
    }
    return CONFIG_MAPPING["internvl"](
        vision_config=vision,
        text_config=text.to_dict(),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=(tile_size // patch_size // 2) ** 2,
        downsample_ratio=0.5,
        tie_word_embeddings=True,
        dtype="float32",
    )


def build_model(tokenizer: Qwen2Tokenizer, **shape: int) -> torch.nn.Module:
    """A fresh nano model: random weights, position tables of sines so that places differ from the first step."""
    config = build_config(tokenizer, **shape)
    model = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)](config)
    embeddings = model.model.vision_tower.embeddings
    patch_size = config.vision_config.patch_size[0]
    side = config.vision_config.image_size[0] // patch_size
    with torch.no_grad():
        embeddings.position_embeddings[0, 1:] = 0.5 * sine_positions(side, config.vision_config.hidden_size)
        embeddings.cls_token.normal_(std=0.02)
        # White paper is far from zero after normalization; small patch weights keep it from drowning the rest.
        embeddings.patch_embeddings.projection.weight.normal_(std=0.5 / math.sqrt(3 * patch_size**2))
        model.lm_head.weight.normal_(std=0.05)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def sine_positions(side: int, width: int) -> torch.Tensor:
    """Sines and cosines of a patch's row and column, `(side * side, width)`; width is a multiple of 4."""
    rates = torch.exp(torch.linspace(math.log(math.pi), math.log(math.pi / side / 2), width // 4))
    angles = torch.arange(side)[:, None] * rates  # (side, width / 4)
    table = torch.cat([angles.sin(), angles.cos()], dim=1)  # (side, width / 2)
    rows, columns = table[:, None].expand(-1, side, -1), table[None].expand(side, -1, -1)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, width)


def prompt(question: str, n_tiles: int, *, image_first: bool = True, system: str | None = None) -> str:
    """The ChatML prompt of one image of `n_tiles` tiles and a question, up to the answer."""
    image = IMAGE_START + IMAGE_TOKEN * (TOKENS_PER_TILE * n_tiles) + IMAGE_END
    body = f"{image}\n{question}" if image_first else f"{question}{image}\n"
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return f"{head}<|im_start|>user\n{body}<|im_end|>\n<|im_start|>assistant\n"
