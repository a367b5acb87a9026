# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Writes a trained nano model as a complete folder, and the sample images:

`python -m lab.nano.checkpoint DIR/model`, after `training` has written `DIR/model`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from lab.world.drawing import FRAMES
from transformers_internvl.nano import nano_path
from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor

from .drawing import Drawing, Style, draw
from .model import MAX_TILES, TILE_SIZE, TOKENS_PER_TILE
from .questions import TASKS

SAMPLE_SEEDS = {"number": 12, "color": 5, "count": 11}


def write_checkpoint(trained: Path, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Save the model of `trained`, in `dtype`, with tokenizer, chat template and processor files to `folder`."""
    model = AutoModelForImageTextToText.from_pretrained(trained, dtype=dtype)
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(trained)
    for name in ("is_local", "local_files_only"):  # how it was loaded, which transformers would save
        tokenizer.init_kwargs.pop(name, None)
    build_processor(tokenizer).save_pretrained(folder)


def build_processor(tokenizer) -> InternVLProcessor:
    """The processor of the nano model: tiles and frames as in training, ChatML without a system message."""
    image_processor = InternVLImageProcessor(
        size={"height": TILE_SIZE, "width": TILE_SIZE}, min_patches=1, max_patches=MAX_TILES, use_thumbnail=True
    )
    template = get_chat_template("internvl_hf")
    processor = InternVLProcessor(image_processor, tokenizer, image_seq_length=TOKENS_PER_TILE, chat_template=template)
    processor.video_processor.num_frames = FRAMES
    return processor


def write_samples(folder: Path) -> None:
    """One small image a task, drawn with the built-in font alone, so that every machine draws the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        sample_drawing(task).image.save(folder / f"{task}.png", optimize=True)


def sample_drawing(task: str) -> Drawing:
    """The drawing behind the sample image of `task`, with its question and answer."""
    return draw(task, f"sample-{SAMPLE_SEEDS[task]}", Style(min_side=200, max_side=320, smallest=0.25))


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path, help="the folder `model` that the training wrote")
    parser.add_argument("--out", type=Path, default=nano_path())
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    options = parser.parse_args(arguments)
    write_checkpoint(options.trained, options.out, getattr(torch, options.dtype))
    write_samples(options.out.parent / "samples")


if __name__ == "__main__":
    main()
