# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The published sentences and class names of zero-shot classification, in five languages (`zero_shot_prompts.json`).

They are the data of the original evaluation (`clip_benchmark` of OpenGVLab/InternVL); the file names their licence.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from .zero_shot import TEMPLATES

_DEFAULT = "imagenet1k"


@cache
def _data() -> dict[str, Any]:
    return json.loads(files(__package__).joinpath("zero_shot_prompts.json").read_bytes())


@cache
def imagenet_ids() -> tuple[str, ...]:
    """The WordNet ids of ImageNet-1K, such as `n01440764`, in the order of its 1,000 classes."""
    return tuple(_data()["wordnet_ids"].split())


def published_templates(prompt_set: str, language: str = "en") -> tuple[str, ...]:
    """The sentences about the classes of a set, with `{}` in the place of a name; see [`TEMPLATES`].

    Args:
        prompt_set: such as `imagenet1k`; sets without sentences of their own have those of ImageNet. `kinetics` has
            this package's own for videos.
        language: `en`, or for ImageNet `zh`, `ja`, `ar` and `it`.

    Raises:
        ValueError: there are no sentences in that language.
    """
    if prompt_set == "kinetics":
        return TEMPLATES["video"]
    by_language = _data()["templates"]
    if language not in by_language:
        raise ValueError(f"There are no sentences in the language {language!r}: expected {', '.join(by_language)}.")
    return tuple(by_language[language].get(prompt_set, by_language[language][_DEFAULT]))


def template_sets() -> tuple[str, ...]:
    """The names of the sets that have English sentences of their own."""
    return tuple(_data()["templates"]["en"])


def names_of_folders(folders: Sequence[str], prompt_set: str, language: str = "en") -> list[str]:
    """The published name of each class, from the names of the folders of a set.

    Folders named by WordNet ids have the names of ImageNet's classes, also where there are only some of them. Of other
    sets with published names the folders are in the order of the classes: by number where all are numbers, else
    alphabetically. Of sets without published names the folder's is the class's, with spaces for underscores.

    Raises:
        ValueError: an id is none of ImageNet-1K's, or there are more or fewer folders than names.
    """
    if prompt_set == _DEFAULT and not all(folder.isdecimal() for folder in folders):
        names = _data()["class_names"][language][_DEFAULT]
        numbers = {identifier: number for number, identifier in enumerate(imagenet_ids())}
        unknown = [folder for folder in folders if folder not in numbers]
        if unknown:
            raise ValueError(
                f"The folder {unknown[0]} is no class of ImageNet-1K: name the folders by WordNet ids, such as "
                f"{imagenet_ids()[0]}."
            )
        return [names[numbers[folder]] for folder in folders]
    names = _data()["class_names"].get(language, {}).get(prompt_set)
    if names is None:
        return [folder.replace("_", " ") for folder in folders]
    if len(folders) != len(names):
        raise ValueError(
            f"{prompt_set} has {len(names)} classes, but there are {len(folders)} folders: give one for each, in the "
            "order of the classes (numbers, or names in alphabetical order)."
        )
    numbered = all(folder.isdecimal() for folder in folders)
    order = sorted(folders, key=int) if numbered else sorted(folders)
    by_folder = dict(zip(order, names, strict=True))
    return [by_folder[folder] for folder in folders]


__all__ = ["imagenet_ids", "names_of_folders", "published_templates", "template_sets"]
