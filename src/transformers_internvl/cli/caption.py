# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl caption`: captions of images by InternVL-G, and their score where there are references."""

import argparse
import json

from .errors import UserError, user_errors
from .loading import load_dual_encoder
from .tables import percent, table

LISTS = (".json", ".jsonl")


def run(arguments: argparse.Namespace) -> None:
    """Caption, and print captions and scores."""
    from ..evaluation.captioning import caption_images
    from ..evaluation.data import ItemImages, read_images, read_pairs
    from ..evaluation.metrics.captions import bleu, cider

    paths = arguments.images
    lists = [path for path in paths if path.endswith(LISTS)]
    if lists and len(paths) > 1:
        raise UserError(f"give either the one list {lists[0]} or images.")
    with user_errors("cannot use what was given"):
        items = read_pairs(lists[0], needs_text=False) if lists else read_images(paths)
    referenced = [bool(item.texts) for item in items]
    if any(referenced) and not all(referenced):
        raise UserError(f"{items[referenced.index(False)].where}: no captions, although others have some.")
    model, processor = load_dual_encoder(arguments)
    with user_errors("cannot caption"):
        captions = caption_images(
            model,
            processor,
            ItemImages(items),
            prompt=arguments.prompt,
            num_beams=arguments.num_beams,
            min_new_tokens=arguments.min_new_tokens,
            max_new_tokens=arguments.max_new_tokens,
            batch_size=arguments.batch_size,
        )
    scores = {}
    if all(referenced):
        references = [item.texts for item in items]
        scores["bleu4"] = bleu(captions, references)
        if len(items) > 1:
            scores["cider"] = cider(captions, references)
    if arguments.json:
        lines = [{"image": str(item.path), "caption": text} for item, text in zip(items, captions, strict=True)]
        print(json.dumps({"captions": lines, **scores}, indent=2, ensure_ascii=False))
        return
    for item, caption in zip(items, captions, strict=True):
        print(f"{item.path}\t{' '.join(caption.split())}")
    if scores:
        names = {"bleu4": "BLEU-4", "cider": "CIDEr"}
        print("\n" + table(("score", "x 100"), [(names[name], percent(score)) for name, score in scores.items()]))
