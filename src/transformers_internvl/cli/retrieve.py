# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl retrieve`: recall at 1, 5 and 10 between images or videos and their texts."""

import argparse
import json
from typing import Any

from internvl_cli.arguments import FRAMES

from .errors import user_errors
from .loading import load_dual_encoder
from .tables import percent, table

KS = (1, 5, 10)


def run(arguments: argparse.Namespace) -> None:
    """Retrieve, and print the recall."""
    from ..evaluation.data import ItemImages, read_pairs
    from ..evaluation.retrieval import retrieve, retrieve_videos

    with user_errors("cannot use what was given"):
        items = read_pairs(arguments.pairs, "video" if arguments.video else "image")
    texts = [text for item in items for text in item.texts]
    owners = [index for index, item in enumerate(items) for _ in item.texts]
    model, processor = load_dual_encoder(arguments)
    options: dict[str, Any] = {"mode": arguments.mode, "ks": KS, "batch_size": arguments.batch_size}
    options["truncation"] = arguments.truncate
    with user_errors("cannot retrieve"):
        if arguments.video:
            paths, frames = [item.path for item in items], arguments.num_frames or FRAMES
            recalls = retrieve_videos(model, processor, paths, texts, owners, num_frames=frames, **options)
        else:
            recalls = retrieve(model, processor, ItemImages(items), texts, owners, **options)
    if arguments.json:
        print(json.dumps({"mode": arguments.mode, "items": len(items), "texts": len(texts), **recalls}, indent=2))
        return
    kind = "video" if arguments.video else "image"
    rows = [
        (name, *(percent(recalls[f"{direction}_recall@{k}"]) for k in KS))
        for direction, name in (("image_to_text", f"{kind} to text"), ("text_to_image", f"text to {kind}"))
    ]
    print(f"{arguments.mode}, retrieval: {len(items):,} {kind}s, {len(texts):,} texts\n")
    print(table(("recall in %", *(f"R@{k}" for k in KS)), rows))
    print(f"\nmean recall {percent(recalls['mean_recall'])} %")
