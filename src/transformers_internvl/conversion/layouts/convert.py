# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`convert_checkpoint`: a checkpoint from the original layout to the -hf one, and back.

The work happens in `<target>.partial`, which holds no `config.json` until everything else is there, and becomes the
target by being renamed. A run that was killed is finished by running it again: weight files that are complete, and
have not been touched since, stay.
"""

import functools
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import split_state_dict_into_shards_factory
from transformers import PreTrainedConfig

from ...renamed_modules import present_layout
from ..files.folders import (
    CONFIG,
    DRAFT,
    FinishedFiles,
    local_folder,
    require_replaceable,
    resumable_folder,
    write_json,
)
from ..files.weight_streams import Span, WeightStream, as_bytes
from ..files.writing import Shard, write_safetensors, write_weights
from .auxiliary_files import WEIGHTS, auto_map, image_token_id, write_hf, write_original
from .configurations import (
    LAYOUTS,
    LEFT_OUT,
    Checkpoint,
    empty_model,
    hf_form,
    open_checkpoint,
    original_dict,
    original_form,
    weights_of,
)
from .plan import Loading, Plan, Step, Tensors


def convert_checkpoint(
    source: str | os.PathLike,
    target: str | os.PathLike,
    to: str,
    *,
    like: str | os.PathLike | None = None,
    max_shard_size: int | str = "5GB",
    overwrite: bool = False,
    progress: bool = True,
    **hub_options: Any,
) -> Path:
    """Write a checkpoint in another layout, with all that belongs to it. Tensors keep their dtypes and their bits.

    Needs memory for the largest weight that is computed on, some hundred MB, whatever the checkpoint's size.

    Args:
        source: a folder or a Hub id: InternVL-Chat of any series, InternViT, InternVL-14B or InternVL-Chat v1.
        target: a folder that does not exist yet.
        to: `"hf"`, what upstream transformers reads where it has the architecture, or `"original"`, what the original
            code and the engines that follow it read.
        like: with `to="original"`, a checkpoint of the original layout (folder or Hub id) to take what the source
            lacks from. Of the -hf layout these are conversation template, tiling, tokenizer files and remote code;
            not needed for what was converted from the original layout before. A source of the original layout, such
            as a training run saves, gets remote code with its `auto_map`, `preprocessor_config.json` and the tokenizer
            files that servers read; what it says of itself stays.
        max_shard_size: of one weight file. Weights that are computed together stay together.
        overwrite: replace a target that exists.
        progress: show a bar on stderr.
        hub_options: `revision`, `token`, `cache_dir`, ... of `snapshot_download`, for `source` and `like`.

    Returns:
        The target.

    Raises:
        FileExistsError: there is a target already.
        OSError: a file is missing or damaged, or another run is at work on this target.
        ValueError: weights are missing, have no place or another shape; the source is none of InternVL's; it is
            quantized; or the original layout needs what is nowhere to be found.
    """
    to = present_layout(to)
    if to not in LAYOUTS:
        raise ValueError(f"`to` must be one of {', '.join(LAYOUTS)}, got {to!r}.")
    if like is not None and to != "original":
        raise ValueError('`like` is for conversions to the original layout (`to="original"`).')
    target = Path(target).absolute()
    require_replaceable(target, overwrite)
    checkpoint = open_checkpoint(local_folder(source, **hub_options))
    if checkpoint.folder.resolve() == target.resolve():
        raise ValueError(f"{target} is the source: choose another folder.")
    without_weights = {**hub_options, "ignore_patterns": [f"*{ending}" for ending in WEIGHTS]}
    model_folder = None if like is None else local_folder(like, **without_weights)
    job = _Job(checkpoint, to, model_folder, max_shard_size)
    with resumable_folder(target, overwrite) as partial:
        job.write_weights(partial, progress=progress)
        job.write_rest(partial)
    return target


class _Job:
    """What is to be written.

    Args:
        source: the checkpoint.
        to: the layout.
        like: a folder of the original layout to go by.
        max_shard_size: of one weight file.

    Raises:
        ValueError: see [`convert_checkpoint`].
    """

    def __init__(self, source: Checkpoint, to: str, like: Path | None, max_shard_size: int | str):
        self.source, self.to, self.like = source, to, like
        _refuse_quantized(source)
        model = empty_model(source.config)
        self.config: PreTrainedConfig = hf_form(source) if to == "hf" else original_form(source, like)
        if to == "hf" and isinstance(model.config, type(source.config)) and hasattr(self.config, "image_token_id"):
            self.config.image_token_id = image_token_id(source)
        goal = empty_model(self.config, type(model))
        self.config.architectures = [type(goal).__name__]
        self.files: WeightStream = weights_of(source)
        tensors = {key: entry.on_meta() for key, entry in self.files.entries.items()}
        back = {key: tensors.pop(key) for key in self.files.left_out_before}
        loading = Loading(model, tensors, str(source.folder))
        self.plan = Plan(loading, goal)
        self.left_out = [*loading.left_out, *back]
        steps = [*self.plan.steps, *(map(self._as_it_is, self.left_out) if to == "original" else ())]
        split = split_state_dict_into_shards_factory(
            {str(index): step for index, step in enumerate(steps)},
            get_storage_size=lambda step: step.nbytes,
            get_storage_id=lambda step: None,
            filename_pattern="model{suffix}.safetensors",
            max_shard_size=max_shard_size,
        )
        self.shards = {
            name: [steps[int(index)] for index in indices] for name, indices in split.filename_to_tensors.items()
        }

    def _as_it_is(self, key: str) -> Step:
        """A weight without a place in the model, which the original file holds nevertheless."""
        return Step(sources=[key], made={key: self.files.entries[key].on_meta()}, copies={key: key})

    # --- weights -----------------------------------------------------------------------------------------------------

    def write_weights(self, partial: Path, *, progress: bool) -> None:
        """All weight files that are not there yet, and their index."""
        shards = {
            name: Shard([row for step in steps for row in step.made.items()], functools.partial(self._content, steps))
            for name, steps in self.shards.items()
        }
        write_weights(partial, shards, FinishedFiles(partial, self.identity), progress=progress)

    def _content(self, steps: list[Step]) -> Iterator[memoryview | Span]:
        """The bytes of all that steps make."""
        for step in steps:
            yield from self._bytes_of(step)

    def _bytes_of(self, step: Step) -> Iterator[memoryview | Span]:
        entries = self.files.entries
        if step.copies is not None:
            for key in step.copies.values():
                yield from self.files.pieces(entries[key])
            return
        made: Tensors = self.plan.run(step, {key: self.files.read(entries[key]) for key in step.sources})
        for name in step.made:
            yield as_bytes(made.pop(name).contiguous())

    @property
    def identity(self) -> str:
        """What distinguishes this job from another: the source's files, and what is made of them."""
        files = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in self.files.files]
        made = [[name, [list(step.made) for step in steps]] for name, steps in self.shards.items()]
        return f"{zlib.crc32(json.dumps([self.to, files, made]).encode()):08x}"

    # --- the rest ----------------------------------------------------------------------------------------------------

    def write_rest(self, partial: Path) -> None:
        """Tokenizer, processor and settings, and at the very end `config.json`, without which nothing loads."""
        if self.to == "hf":
            write_hf(self.source, partial)
            if self.left_out:
                self._write_left_out(partial / LEFT_OUT)
            fields = self.config.to_diff_dict()
            self.config.dict_dtype_to_str(fields)
        else:
            write_original(self.source, partial, self.like)
            fields = original_dict(self.config, auto_map(self.source, partial, self.like))
        for path in partial.glob(f"*{DRAFT}"):
            path.unlink()
        write_json(partial / CONFIG, fields, sort_keys=True)

    def _write_left_out(self, path: Path) -> None:
        """Weights that have no place in the -hf layout, for the way back."""
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = [self.files.entries[key] for key in self.left_out]
        pieces = (piece for entry in entries for piece in self.files.pieces(entry))
        write_safetensors(path, [(key, self.files.entries[key].on_meta()) for key in self.left_out], pieces)


def _refuse_quantized(source: Checkpoint) -> None:
    if getattr(source.config, "quantization_config", None) is not None:
        raise ValueError(
            f"{source.folder} is quantized. Convert the checkpoint that it was made from, and quantize the result."
        )


__all__ = ["convert_checkpoint"]
