# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The model card (`README.md`) of what is pushed: task, base model, licence, library, and a snippet that runs.

A card that lies in the repository is never overwritten, but for the one that was written for a processor alone: the
model that follows brings its own.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError, RemoteEntryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import validate_repo_id
from transformers import ProcessorMixin
from transformers.utils.hub import hf_api
from yaml import YAMLError

from .arguments import find_file

TAGS = ["internvl"]
_USAGE = "## How to use"
_ALONE = "<!-- Written for a processor alone; a model that is pushed here brings a card of its own. -->"

_IMAGE = 'image = Image.new("RGB", (448, 448), "red")  # or Image.open("image.jpg")'
_PIPELINE = """\
import transformers_internvl
from transformers import pipeline

pipe = pipeline("{task}", model="{repo}")
"""
_IMAGE_PIPELINE = """\
import transformers_internvl
from PIL import Image
from transformers import pipeline

{image}
pipe = pipeline("{task}", model="{repo}")
"""
_ASK = """\
content = [{"type": "image", "image": image}, {"type": "text", "text": "What is in the image?"}]
print(pipe(text=[{"role": "user", "content": content}], max_new_tokens=32, return_full_text=False))
"""
_MATCH = """\
print(pipe(image, candidate_labels=["a red square", "a blue circle"]))
"""
# No pipeline: it asks for an image processor that makes maps, which CLIP's, the one of InternViT's folders, does not.
_MAP = """\
import transformers_internvl
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

{image}
inputs = AutoImageProcessor.from_pretrained("{repo}")(image, return_tensors="pt")
model = AutoModelForSemanticSegmentation.from_pretrained("{repo}")
classes = model(**inputs).logits.argmax(1)  # (1, height, width): the pixels that the model was given
"""


@dataclass(frozen=True)
class _Task:
    """The mapping whose models have a task, what they take first, how they are loaded in a snippet, and called."""

    mapping: str
    takes: str
    load: str
    call: str


# The first that fits a model is its task.
_TASKS = {
    "image-text-to-text": _Task("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING", "input_ids", _IMAGE_PIPELINE, _ASK),
    "zero-shot-image-classification": _Task(
        "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING", "pixel_values", _IMAGE_PIPELINE, _MATCH
    ),
    "image-classification": _Task(
        "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING", "pixel_values", _IMAGE_PIPELINE, "print(pipe(image))\n"
    ),
    "image-segmentation": _Task("MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING", "pixel_values", _MAP, ""),
    "image-feature-extraction": _Task(
        "MODEL_MAPPING", "pixel_values", _IMAGE_PIPELINE, "features = pipe(image, pool=True)\n"
    ),
    "text-generation": _Task(
        "MODEL_FOR_CAUSAL_LM_MAPPING", "input_ids", _PIPELINE, 'print(pipe("Once upon a time", max_new_tokens=32))\n'
    ),
    "feature-extraction": _Task("MODEL_MAPPING", "input_ids", _PIPELINE, 'features = pipe("Once upon a time")\n'),
}
_ADAPTER = """\
import transformers_internvl
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline
from PIL import Image

{image}
model = AutoModelForImageTextToText.from_pretrained("{base}")
model = PeftModel.from_pretrained(model, "{repo}").merge_and_unload()
processor = AutoProcessor.from_pretrained("{base}")
pipe = pipeline("image-text-to-text", model=model, processor=processor)
"""
_LOAD = """\
import transformers_internvl
from transformers import {auto}

loaded = {auto}.from_pretrained("{repo}")
"""
_TEXT = """\
# {title}

{what} Needs `pip install transformers_internvl{extra}`.

## How to use

```python
{snippet}```

## Licence

{licence}
"""


def create_model_card(
    pushed: Any, repo_id: str, *, license: str | None = None, base_model: str | None = None
) -> ModelCard:
    """The card of a model, a processor, or a model with adapters (`add_adapter` or PEFT's `get_peft_model`).

    `push_to_hub` of this package's models and processors writes it where there is none. PEFT's own `push_to_hub` knows
    nothing of it: `create_model_card(model, repo_id).push_to_hub(repo_id)` after it.

    Args:
        pushed: what goes into the repository.
        repo_id: the repository's id.
        license: its identifier on the Hub; None: that of the base model's card. Where that says none, the card says
            so, too.
        base_model: Hub id of the model that this one was made from; None: what it was loaded from, if that was no
            folder.
    """
    base = base_model or _name_or_path(pushed)
    adapter = _is_adapter(pushed)
    based_on = base if base and base != repo_id and _is_hub_id(base) else None
    terms: dict[str, Any] = {"license": license} if license else _license_of(base)
    task, snippet = _task_and_snippet(pushed, repo_id, base, adapter)
    data = ModelCardData(
        pipeline_tag=task,
        library_name="peft" if adapter else "transformers",
        base_model=based_on,
        base_model_relation=_relation(pushed, adapter) if based_on else None,
        tags=TAGS + (["lora"] if adapter else []),
        **terms,
    )
    what = f"{'An adapter' if adapter else _class_name(pushed)}{f' made from `{based_on}`' if based_on else ''}."
    text = _TEXT.format(
        title=repo_id.split("/")[-1],
        what=what,
        extra="[peft]" if adapter else "",
        snippet=snippet,
        licence=_licence_text(terms, None if license else based_on),
    )
    if _is_processor(pushed):
        text += f"\n{_ALONE}\n"
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


def complete_model_card(path: str | os.PathLike, pushed: Any, repo_id: str) -> None:
    """Add to a card what it lacks of [`create_model_card`]'s, the snippet included; what it says stays.

    Args:
        path: the card's file.
        pushed, repo_id: as in [`create_model_card`].
    """
    card: Any = ModelCard.load(Path(path), ignore_metadata_errors=True)
    ours: Any = create_model_card(pushed, repo_id)
    tags = [card.data.tags] if isinstance(card.data.tags, str) else card.data.tags or []
    for name, value in ours.data.to_dict().items():
        if not card.data.get(name):
            card.data[name] = value
    card.data.tags = list(dict.fromkeys([*tags, *ours.data.tags]))
    if _USAGE not in card.text:
        section = ours.text[ours.text.index(_USAGE) : ours.text.index("## Licence")]
        card.text = f"{card.text.rstrip()}\n\n{section.rstrip()}\n"
    card.save(path)


def complete_upload(pushed: Any, working_dir: Any, repo_id: str, revision: str | None, token: Any) -> None:
    """Fill the model card in a folder that is about to be uploaded, unless the repository has one of its own.

    Args:
        pushed: a model or a processor.
        working_dir: the folder. transformers puts a card without content there if the repository has none.
        repo_id, revision, token: where it goes.
    """
    path = Path(working_dir) / "README.md"
    kept = _card_there(repo_id, revision, token)
    if path.is_file() and (kept is None or _ALONE in kept and not _is_processor(pushed)):
        card: Any = create_model_card(pushed, repo_id)
        asked = ModelCard.load(path).data.to_dict().get("tags", [])
        card.data.tags = list(dict.fromkeys([*card.data.tags, *asked]))
        card.save(path)


def _card_there(repo_id: str, revision: str | None, token: Any) -> str | None:
    """The text of the card in the repository; a new branch starts as a copy of the main one."""
    for branch in dict.fromkeys([revision, None]):
        try:
            path = hf_api().hf_hub_download(repo_id, "README.md", revision=branch, token=token)
        except RemoteEntryNotFoundError:
            return None
        except RevisionNotFoundError:
            continue
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return None


def _task_and_snippet(pushed: Any, repo: str, base: str | None, adapter: bool) -> tuple[str | None, str]:
    task = pushed.hub_task if _is_processor(pushed) else _task(_bare(pushed))
    if adapter and task == "image-text-to-text":
        return task, _ADAPTER.format(image=_IMAGE, base=base, repo=repo) + _ASK
    if task is None or _is_processor(pushed):
        return task, _LOAD.format(auto="AutoProcessor" if _is_processor(pushed) else "AutoModel", repo=repo)
    row = _TASKS[task]
    return task, row.load.format(image=_IMAGE, task=task, repo=repo) + row.call


def _task(model: Any) -> str | None:
    """The task whose Auto class gives models of this class."""
    for task, row in _TASKS.items():
        found = getattr(transformers, row.mapping).get(type(model.config), None)
        if found is type(model) and model.main_input_name == row.takes:
            return task
    return None


def _bare(pushed: Any) -> Any:
    """The model inside PEFT's wrapping."""
    return pushed.get_base_model() if hasattr(pushed, "get_base_model") else pushed


def _is_adapter(pushed: Any) -> bool:
    return bool(getattr(pushed, "peft_config", None))  # of PEFT's model, and of one after `add_adapter`


def _is_processor(pushed: Any) -> bool:
    return isinstance(pushed, ProcessorMixin)


def _class_name(pushed: Any) -> str:
    return f"{'The processor' if _is_processor(pushed) else 'A'} `{type(pushed).__name__}`"


def _relation(pushed: Any, adapter: bool) -> str | None:
    if adapter:
        return "adapter"
    if _is_processor(pushed):
        return None
    return "finetune" if getattr(pushed.config, "quantization_config", None) is None else "quantized"


def _name_or_path(pushed: Any) -> str | None:
    """What it was loaded from."""
    return (pushed.tokenizer if _is_processor(pushed) else _bare(pushed)).name_or_path or None


def _is_hub_id(name: str) -> bool:
    if os.path.exists(name):
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def _license_of(base: str | None) -> dict[str, Any]:
    """The licence that the card of the base model names, and where it stands if it is none of the Hub's list."""
    if base is None:
        return {}
    try:
        path = find_file(base, "README.md")
        data = ModelCard.load(path, ignore_metadata_errors=True).data if path is not None else ModelCardData()
    except (OSError, ValueError, YAMLError):
        return {}  # gated, or gone since; or a card that cannot be read
    fields = {name: data.get(name) for name in ("license", "license_name", "license_link")}
    return {name: value for name, value in fields.items() if value}


def _licence_text(terms: dict[str, Any], base: str | None) -> str:
    if "license" in terms:
        return f"`{terms.get('license_name') or terms['license']}`" + (f", as that of `{base}`." if base else ".")
    return "Not stated" + (f": see that of `{base}`." if base else ".")


__all__ = ["complete_model_card", "complete_upload", "create_model_card"]
