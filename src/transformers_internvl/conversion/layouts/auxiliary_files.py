# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a checkpoint holds besides weights and `config.json`: tokenizer, processor, generation settings, remote code.

A folder of the -hf layout gets files that upstream transformers reads. The original files (tokenizer, remote code,
card) lie in its subfolder `original`, byte for byte, where nothing looks for them. The way back restores them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import AutoProcessor
from transformers.utils import logging

from ...modeling.internvl.configuration import InternVLConfig
from ...modeling.vision.configuration import InternVLVisionConfig
from ...processing.chat_templates import TEMPLATES
from ...processing.processor_files import check_tokenizer_files
from ...processing.text.placeholders import IMAGE_CONTEXT, VIDEO
from ...processing.tokenizers.loading import added_token_ids, load_tokenizer, stop_first
from ..files.folders import CONFIG, copy_file, read_json, write_json
from .configurations import Checkpoint, original_fields

logger = logging.get_logger(__name__)

KEPT, FORMERLY_KEPT = "original", "authors"  # the subfolder, and its name up to version 0.1.0
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack", ".index.json")
_OF_HF = ("processor_config.json", "chat_template.jinja", "chat_template.json", "additional_chat_templates")
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)


def other_files(folder: Path) -> Iterator[Path]:
    """Files of a checkpoint that are neither weights nor `config.json`, relative to its folder."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not hidden and not path.name.endswith(WEIGHTS) and str(inside) != CONFIG:
            yield inside


def copy_others(source: Path, target: Path, skip: tuple[str, ...] = ()) -> None:
    """Copy what [`other_files`] names, but what lies under a name in `skip`."""
    for inside in other_files(source):
        if inside.parts[0] not in skip:
            copy_file(source, inside, target / inside)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds the files of a tokenizer."""
    try:
        check_tokenizer_files(folder)
    except OSError:
        return False
    return True


# --- to the -hf layout -----------------------------------------------------------------------------------------------


def write_hf(source: Checkpoint, target: Path) -> None:
    """Everything but weights and `config.json`, for a folder of the -hf layout."""
    folder, config = source.folder, source.config
    if source.layout == "hf":
        copy_others(folder, target)
        if isinstance(config, InternVLConfig) and _has_stray_tokens(target, config.text_config.vocab_size):
            AutoProcessor.from_pretrained(folder).save_pretrained(target)
        return
    copy_others(folder, target / KEPT)
    if isinstance(config, InternVLVisionConfig):  # a tower takes images only, and upstream reads the original file
        copy_if_there(folder, target, "preprocessor_config.json")
        return
    if has_tokenizer(folder):
        AutoProcessor.from_pretrained(folder).save_pretrained(target)
        _name_upstream_tokenizer(target)
    else:
        logger.warning(f"{folder} has no tokenizer: the result has neither tokenizer nor processor, either.")
    settings = generation_settings(source)
    if settings is not None:
        write_json(target / "generation_config.json", settings, sort_keys=True)


def image_token_id(source: Checkpoint) -> int | None:
    """Id of the image token of a chat model: what the configuration says, else the tokenizer."""
    known = getattr(source.config, "image_token_id", None)
    if known is not None or not isinstance(source.config, InternVLConfig) or not has_tokenizer(source.folder):
        return known
    return added_token_ids(source.folder).get(IMAGE_CONTEXT)


def generation_settings(source: Checkpoint) -> dict[str, Any] | None:
    """The generation settings of a checkpoint; of the original layout with the template's stop token in front."""
    path, stop = source.folder / "generation_config.json", None
    template = TEMPLATES.get(getattr(source.config, "template", None) or "")
    if template is not None and has_tokenizer(source.folder):
        stop = added_token_ids(source.folder).get(template.stop)
    if stop is None and not path.is_file():
        return None
    settings = _portable(read_json(path))
    if stop is not None:
        settings["eos_token_id"] = stop_first(stop, settings.get("eos_token_id"))
    return settings


def _portable(settings: dict[str, Any]) -> dict[str, Any]:
    """Generation settings without the note that they came from the model: upstream would replace them."""
    dropped = ("_from_model_config", "transformers_version")
    return {key: value for key, value in settings.items() if key not in dropped}


def _name_upstream_tokenizer(folder: Path) -> None:
    """Replace a tokenizer class that upstream lacks by upstream's general one, which reads its files."""
    path = folder / "tokenizer_config.json"
    settings = read_json(path)
    settings.pop("auto_map", None)  # remote code, which lies in the subfolder
    if settings.get("tokenizer_class") == "InternLM2Tokenizer":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_json(path, settings, sort_keys=True)


# --- to the original layout ------------------------------------------------------------------------------------------


def write_original(source: Checkpoint, target: Path, like: Path | None = None) -> None:
    """Everything but weights and `config.json`, for a folder of the original layout.

    Args:
        source: the checkpoint, of any layout.
        target: the folder.
        like: a folder of the original layout to take remote code and tokenizer files from.
    """
    folder = source.folder
    kept = (folder / name for name in (KEPT, FORMERLY_KEPT))
    originals = like or next((place for place in kept if any(other_files(place))), None)
    if source.layout == "original" and like is None:
        copy_others(folder, target)
    elif originals is None:
        copy_others(folder, target, skip=(*_OF_HF, *_TOKENIZER))
        _write_tokenizer(source, target)
    else:
        copy_others(originals, target)
        if has_tokenizer(folder) and not same_tokenizer(folder, originals):
            for name in _TOKENIZER:
                (target / name).unlink(missing_ok=True)
            _write_tokenizer(source, target)
            _keep_template(originals, target)
        if source.layout == "original":  # its own card, say, but tokenizers as transformers 4 reads them
            copy_others(folder, target, skip=(*_OF_HF, *_TOKENIZER, "generation_config.json"))
        ours, theirs = (read_json(place / "generation_config.json") for place in (folder, originals))
        if ours and _portable(ours) != _stopped_like(ours, theirs):
            write_json(target / "generation_config.json", ours, sort_keys=True)


def same_tokenizer(one: Path, other: Path) -> bool:
    """Whether two folders have the same vocabulary, but for the placeholders that processors add to it."""
    if not has_tokenizer(other):
        return False
    vocabularies = [load_tokenizer(folder).get_vocab() for folder in (one, other)]
    first, second = (
        {text: i for text, i in known.items() if text not in (IMAGE_CONTEXT, VIDEO)} for known in vocabularies
    )
    return first == second


def _stopped_like(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """The original generation settings as a conversion to the -hf layout changes them."""
    settings, stops = _portable(theirs), ours.get("eos_token_id")
    if isinstance(stops, list) and stops:
        settings["eos_token_id"] = stop_first(stops[0], settings.get("eos_token_id"))
    return settings


def _write_tokenizer(source: Checkpoint, target: Path) -> None:
    """The tokenizer files of a -hf folder, as transformers 4, on which the original engines run, reads them."""
    for name in _TOKENIZER:
        copy_if_there(source.folder, target, name)
    if isinstance(source.config, InternVLConfig):
        _drop_stray_tokens(target, source.config.text_config.vocab_size)
    path = target / "tokenizer_config.json"
    settings = read_json(path)
    if not settings:
        return
    names = settings.pop("model_specific_special_tokens", {})
    for key in ("backend", "is_local", "local_files_only", "processor_class", *names):
        settings.pop(key, None)
    if isinstance(tokens := settings.pop("extra_special_tokens", None), list):
        settings["additional_special_tokens"] = tokens
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    added = read_json(target / "tokenizer.json").get("added_tokens", [])
    if added and "added_tokens_decoder" not in settings:
        settings["added_tokens_decoder"] = {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in added
        }
    write_json(path, settings, sort_keys=True)


def _keep_template(originals: Path, target: Path) -> None:
    """Give a tokenizer that was written again the original chat template, which the original engines render."""
    settings = read_json(target / "tokenizer_config.json")
    template = read_json(originals / "tokenizer_config.json").get("chat_template")
    if settings and template is not None and "chat_template" not in settings:
        write_json(target / "tokenizer_config.json", {**settings, "chat_template": template}, sort_keys=True)


def _has_stray_tokens(folder: Path, rows: int) -> bool:
    """Whether `<video>` has an id there without an embedding, of which there are `rows`, or would get one."""
    ids, named = added_token_ids(folder), read_json(folder / "tokenizer_config.json")
    named |= named.get("model_specific_special_tokens") or {}
    return ids.get(VIDEO, rows if VIDEO in named.values() else 0) >= rows


def _drop_stray_tokens(folder: Path, rows: int) -> None:
    """Take `<video>` out of tokenizer files where its id has no embedding."""
    if not _has_stray_tokens(folder, rows):
        return
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        if (folder / name).is_file():
            write_json(folder / name, _without_token(read_json(folder / name), VIDEO), sort_keys=True)


def _without_token(content: Any, token: str) -> Any:
    """A tokenizer file's content without what names a token: as a key, a text or an object of that `content`."""

    def names(value: Any) -> bool:
        return value == token or isinstance(value, dict) and value.get("content") == token

    if isinstance(content, dict):
        kept = {key: value for key, value in content.items() if key != token and not names(value)}
        return {key: value if key == "model" else _without_token(value, token) for key, value in kept.items()}
    if isinstance(content, list):
        return [_without_token(value, token) for value in content if not names(value)]
    return content


def auto_map(source: Checkpoint, target: Path, like: Path | None = None) -> dict[str, Any] | None:
    """The `auto_map` of the original `config.json`, if the code that it names is in `target` or on the Hub."""
    named = original_fields(source, like).get("auto_map")
    if not named:
        return None
    references = [name for value in named.values() for name in (value if isinstance(value, list) else [value]) if name]
    files = {reference.split(".")[0] + ".py" for reference in references if "--" not in reference}
    missing = sorted(name for name in files if not (target / name).is_file())
    if missing:
        logger.warning(
            f"`auto_map` names remote code that did not come along ({', '.join(missing)}): left out of config.json. "
            "Engines that run the original code need these files beside it."
        )
        return None
    return named


def copy_if_there(source: Path, target: Path, name: str) -> None:
    """Copy a file that a folder may have."""
    if (source / name).is_file():
        copy_file(source, name, target / name)


__all__ = [
    "KEPT",
    "WEIGHTS",
    "auto_map",
    "has_tokenizer",
    "image_token_id",
    "other_files",
    "same_tokenizer",
    "write_hf",
    "write_original",
]
