# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl evaluate` for InternVL-C, InternVL-G and InternViT with a head."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import UserError, user_errors
from .loading import hint_at_releases, load_dual_encoder, log_errors_only, place

# Options that only chat models have, and their defaults.
_CHAT_ONLY: dict[str, Any] = {
    "prompts": None, "system": None, "instruction": None, "max_tiles": None, "no_thumbnail": False,
    "no_dynamic": False, "max_new_tokens": None, "grid": [], "endpoint": None, "answers": None, "metric": None,
    "judge_url": None, "samples": 1, "reward": None, "release": None,
}  # fmt: skip
_POOLING = {"linear": "cls_patch_concat", "attention_pooling": "attention_pooling"}
_BATCH_SIZES = {"caption": 8, "segment": 1}
_BATCH_SIZE = 32


def measures_encoders(arguments: argparse.Namespace) -> bool:
    """Whether the tasks are those of InternVL-C, InternVL-G or InternViT.

    Raises:
        UserError: some are and some are not.
    """
    from ..evaluation.benchmarks import BENCHMARKS, task_name

    rows = [BENCHMARKS.get(task_name(name.strip())) for name in arguments.task.split(",")]
    encoders = [row is not None and row.ability != "chat" for row in rows]
    if any(encoders) and not all(encoders):
        raise UserError(
            "some of these tasks measure chat models, others InternVL-C, InternVL-G or InternViT: run them apart."
        )
    return all(encoders)


def run(arguments: argparse.Namespace) -> None:
    """Measure, report, and print the page."""
    from ..evaluation.encoders import evaluate_encoder
    from ..evaluation.run import join_ranks, page, release_name

    given = [f"--{name.replace('_', '-')}" for name, value in _CHAT_ONLY.items() if getattr(arguments, name) != value]
    if given:
        raise UserError(f"{given[0]} belongs to chat models: leave it out for these tasks.")
    if arguments.model is None or arguments.data is None:
        raise UserError("give --model and --data for these tasks.")
    log_errors_only()
    ranks = join_ranks(cpu=arguments.device == "cpu")
    folder = Path(arguments.output or Path("evaluations") / release_name(arguments.model))
    published = release_name(arguments.published or arguments.model)
    with user_errors("cannot evaluate"):
        tasks = _Tasks(arguments, folder, ranks).all()
        results = evaluate_encoder(tasks, folder, model=published, plot=not arguments.no_plot)
    if results:
        print(page(published, results))
        print(f"written to {folder}", file=sys.stderr)


class _Tasks:
    """The tasks of the arguments. A model is loaded once for all that it can do."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, ranks: Any):
        self.arguments, self.folder, self.ranks = arguments, folder, ranks
        self._loaded: dict[tuple[str, str], tuple[Any, Any]] = {}

    def all(self) -> list[Any]:
        """Every task in every mode."""
        from ..evaluation.benchmarks import find_benchmark

        rows = [find_benchmark(name.strip()) for name in self.arguments.task.split(",")]
        chosen = None if self.arguments.mode is None else [mode.strip() for mode in self.arguments.mode.split(",")]
        return [self._task(row, mode) for row in rows for mode in chosen or self._default_modes(row)]

    def _default_modes(self, row: Any) -> Sequence[str]:
        """The first mode; of retrieval both, for which there are published numbers."""
        return row.modes if row.ability == "retrieve" else row.modes[:1]

    def _task(self, row: Any, mode: str) -> Any:
        from ..evaluation.encoders import EncoderTask, Setup

        given = self.arguments
        if mode not in row.modes:
            raise ValueError(f"{row.task} has the modes {', '.join(row.modes)}, not {mode!r}.")
        model, processor = self._parts(row, mode)
        setup = Setup(
            row,
            mode,
            Path(given.data),
            self.folder / row.task / mode,
            model,
            processor,
            ranks=self.ranks,
            limit=given.limit,
            batch_size=given.batch_size or _BATCH_SIZES.get(row.ability, _BATCH_SIZE),
            frames=given.frames,
            seed=given.seed,
            shared=self.folder,
        )
        return EncoderTask.of(setup, given.model)

    def _parts(self, row: Any, mode: str) -> tuple[Any, Any]:
        """The model and its processor."""
        kind = row.ability if row.ability in ("probe", "segment") else "dual"
        key = (kind, mode if kind == "probe" else "")
        if key not in self._loaded:
            if kind == "dual":
                self._loaded[key] = load_dual_encoder(self.arguments)
            else:
                self._loaded[key] = self._load_head(kind, mode)
        return self._loaded[key]

    def _load_head(self, kind: str, mode: str) -> tuple[Any, Any]:
        """InternViT with a head: a new one for a probe where the checkpoint has none."""
        from transformers import AutoConfig, AutoImageProcessor

        given, name = self.arguments, self.arguments.model
        device, dtype = place(given.device or self.ranks.device, given.dtype)
        with hint_at_releases(name), user_errors(f"cannot load the model {name}"):
            config = AutoConfig.from_pretrained(name)
            make = self._probe if kind == "probe" else self._segmenter
            model = make(config, mode, dtype)
            return model.to(device).eval(), AutoImageProcessor.from_pretrained(name, backend="pil")

    def _probe(self, config: Any, mode: str, dtype: Any) -> Any:
        import torch
        from transformers import AutoModelForImageClassification

        from ..evaluation.encoders.probing import count_classes, has_head

        name = self.arguments.model
        if has_head(config):
            pooling = getattr(config, "classifier_pooling", _POOLING[mode])
            if pooling != _POOLING[mode]:
                raise ValueError(
                    f"its classifier has the pooling {pooling}, but --mode {mode} needs {_POOLING[mode]}."
                )
            return AutoModelForImageClassification.from_pretrained(name, dtype=dtype)
        torch.manual_seed(self.arguments.seed)  # of the new head
        labels = count_classes(self.arguments.data)
        return AutoModelForImageClassification.from_pretrained(
            name, dtype=dtype, num_labels=labels, classifier_pooling=_POOLING[mode]
        )

    def _segmenter(self, config: Any, mode: str, dtype: Any) -> Any:
        from transformers import AutoModelForSemanticSegmentation

        if not any(name.endswith("ForSemanticSegmentation") for name in config.architectures or ()):
            raise ValueError(
                "it has no segmentation head: train one first (AutoModelForSemanticSegmentation), and give that model."
            )
        return AutoModelForSemanticSegmentation.from_pretrained(self.arguments.model, dtype=dtype)
