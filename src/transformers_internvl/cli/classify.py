# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl classify`: zero-shot accuracy on folders of images or videos, one folder for each class."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from internvl_cli.arguments import FRAMES

from .errors import user_errors
from .loading import load_dual_encoder
from .tables import percent, table


def run(arguments: argparse.Namespace) -> None:
    """Classify, and print the accuracy."""
    from ..evaluation.data import read_class_folder
    from ..evaluation.zero_shot import ranks_of_right, top_k_accuracy

    with user_errors("cannot use what was given"):
        folders, items = read_class_folder(arguments.folder)
        names = _class_names(folders, arguments.class_names)
        templates = _templates(arguments)
    scores = _scores(arguments, items, names, templates)
    labels = [item.label for item in items]
    accuracy = top_k_accuracy(scores, labels, ks=(1, 5) if len(names) > 5 else (1,))
    right = (ranks_of_right(scores, labels) == 0).tolist()
    counts = Counter(labels)
    hits = Counter(label for label, hit in zip(labels, right, strict=True) if hit)
    classes = [(folder, counts[label], hits[label] / counts[label]) for label, folder in enumerate(folders)]
    if arguments.json:
        by_class = [{"folder": folder, "items": count, "top1": share} for folder, count, share in classes]
        print(json.dumps({"mode": arguments.mode, "items": len(items), **accuracy, "classes": by_class}, indent=2))
        return
    kind = "videos" if arguments.video else "images"
    print(f"{arguments.mode}, zero-shot: {len(items):,} {kind}, {len(names):,} classes, templates: {len(templates)}\n")
    if arguments.per_class:
        rows = [(folder, f"{count:,}", percent(share)) for folder, count, share in classes]
        print(table(("class", kind, "top-1 in %"), rows) + "\n")
    print(table(("accuracy", "%"), [(f"top-{name[3:]}", percent(share)) for name, share in accuracy.items()]))


def _scores(arguments: argparse.Namespace, items: list[Any], names: list[list[str]], templates: list[str]) -> Any:
    """Cosines of items and classes."""
    from ..evaluation.data import ItemImages
    from ..evaluation.zero_shot import classify_images, classify_videos, zero_shot_classifier

    model, processor = load_dual_encoder(arguments)
    options: dict[str, Any] = {"mode": arguments.mode, "batch_size": arguments.batch_size}
    with user_errors("cannot classify"):
        classifier = zero_shot_classifier(model, processor, names, templates)
        if not arguments.video:
            return classify_images(model, processor, ItemImages(items), classifier, **options)
        frames, paths = arguments.num_frames or FRAMES, [item.path for item in items]
        return classify_videos(model, processor, paths, classifier, num_frames=frames, **options)


def _class_names(folders: list[str], file: Path | None) -> list[list[str]]:
    """The names of every folder's class."""
    if file is None:
        return [[folder.replace("_", " ")] for folder in folders]
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"--class-names {file} cannot be read: {error}") from error
    missing = [folder for folder in folders if not isinstance(known, dict) or folder not in known]
    if missing:
        raise ValueError(f"--class-names {file} has no entry for the folder {missing[0]!r}.")
    return [[known[folder]] if isinstance(known[folder], str) else list(known[folder]) for folder in folders]


def _templates(arguments: argparse.Namespace) -> list[str]:
    """The sentences, by their table's name or from a file."""
    from ..evaluation.zero_shot import TEMPLATES
    from ..evaluation.zero_shot_prompts import published_templates, template_sets

    name = arguments.templates or ("video" if arguments.video else "photo")
    if name in TEMPLATES:
        return list(TEMPLATES[name])
    if name in template_sets():
        return list(published_templates(name))
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"--templates {name} is neither {', '.join((*TEMPLATES, *template_sets()))} nor a file: {error}"
        ) from error
    templates = [line.strip() for line in lines if line.strip()]
    if not templates:
        raise ValueError(f"--templates {name} holds no sentence.")
    return templates
