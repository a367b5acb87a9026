# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a run shows and writes while it trains: a progress bar, a log, the loss as a curve.

A line of `log.jsonl`, with whatever else the trainer logs:

    {"step": 3, "epoch": 0.1, "loss": 1.42, "learning_rate": 4e-05, "grad_norm": 0.9, "tokens": 16201, "tiles": 47,
     "tokens_per_second": 5210.4}
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import TrainerCallback

from ...conversion.files.folders import write_whole

LOG_FILE, PLOT_FILE = "log.jsonl", "loss.png"
SMOOTHING = 0.9  # weight of the past in the smooth curve, at most
_FIRST = ("step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "tiles", "tokens_per_second")


class RunReport(TrainerCallback):
    """Bar, log and curve of a run, on the first rank.

    Args:
        folder: where `log.jsonl` and `loss.png` go.
        bar: whether there is one.

    Attributes:
        notes: what could not be done, in sentences.
    """

    def __init__(self, folder: Path, bar: bool = True):
        self.folder, self.with_bar = folder, bar
        self.notes: list[str] = []
        self._bar: Any = None
        self._counts = _Counts()
        self._since, self._drawn = 0.0, -1

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Count what goes through the model; close the bar at the end."""
        handle = model.register_forward_pre_hook(self._counts.add, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()
            self._close()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar; lines of steps that will be done again leave the log."""
        self._counts.take()
        self._since = time.perf_counter()
        if not state.is_world_process_zero:
            return
        kept = [row for row in read_log(self.folder) if row["step"] <= state.global_step]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / LOG_FILE, "".join(f"{json.dumps(row)}\n" for row in kept))
        if self.with_bar:
            self._bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", dynamic_ncols=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.total = state.max_steps  # how many packs there are is seen on the way
            self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Write a line, and show the loss."""
        if logs and any(name.startswith("eval_") for name in logs):
            self._note_evaluation(state, logs)
        if not logs or "loss" not in logs:
            return
        tokens, tiles = self._counts.take()  # on every rank
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        if not state.is_world_process_zero:
            return
        row = {"step": state.global_step, **logs, "tokens": tokens, "tiles": tiles}
        row["tokens_per_second"] = round(tokens / seconds, 1)
        row = {name: row[name] for name in (*_FIRST, *row) if name in row}
        self._write(row)
        if self._bar is not None:
            shown = {"loss": f"{row['loss']:.4f}", "lr": f"{row['learning_rate']:.1e}"}
            if "reward" in row:  # the loss says nothing there
                shown["reward"] = f"{row['reward']:.3f}"
            self._bar.set_postfix({**shown, "tokens/s": f"{row['tokens_per_second']:,.0f}"})

    def _note_evaluation(self, state: Any, logs: dict[str, Any]) -> None:
        self._since = time.perf_counter()  # an evaluation is no part of a step
        if state.is_world_process_zero:
            self._write({"step": state.global_step, **logs})
            if self._bar is not None and "eval_loss" in logs:
                said = f"step {state.global_step}: evaluation loss {logs['eval_loss']:.4f}"
                if "eval_score" in logs:
                    said += f", score {logs['eval_score']:.1f}"
                self._bar.write(said, file=sys.stderr)

    def _write(self, row: dict[str, Any]) -> None:
        with open(self.folder / LOG_FILE, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Draw the curve so far."""
        if state.is_world_process_zero:
            self._draw(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar and draw the curve."""
        self._close()
        if state.is_world_process_zero:
            self._draw(state.global_step)

    def _draw(self, step: int) -> None:
        if step == self._drawn:
            return
        self._drawn = step
        try:
            draw_curve(read_log(self.folder), self.folder / PLOT_FILE)
        except ImportError as error:
            self.notes = [str(error)]

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Counts:
    """Tokens and tiles that a model was trained on, padding left out."""

    def __init__(self) -> None:
        self.tokens: list[torch.Tensor | int] = []
        self.tiles = 0

    def add(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count one call, without waiting for the device."""
        if not model.training or not torch.is_grad_enabled():  # an evaluation, or an answer that is sampled
            return
        for name, value in kwargs.items():
            if name.endswith("input_ids") and value is not None:
                mask = kwargs.get(f"{name.removesuffix('input_ids')}attention_mask")
                self.tokens.append(value.numel() if mask is None else mask.sum().detach())
        if kwargs.get("pixel_values") is not None:
            self.tiles += len(kwargs["pixel_values"])
        elif kwargs.get("mm_encoder_outputs"):  # of a feature cache
            self.tiles += len(kwargs["mm_encoder_outputs"]["image"].pooler_output)

    def take(self) -> tuple[int, int]:
        """The counts of all ranks since the last time. Every rank must ask."""
        counts = torch.tensor([int(sum(int(count) for count in self.tokens)), self.tiles])
        self.tokens, self.tiles = [], 0
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
            counts = counts.to(device)
            torch.distributed.all_reduce(counts)
        tokens, tiles = counts.tolist()
        return tokens, tiles


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; none if there is none. A last line that was not written to its end does not count."""
    path = folder / LOG_FILE
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    return [json.loads(line) for line in lines[:-1]]


def draw_curve(rows: list[dict[str, Any]], path: str | os.PathLike) -> None:
    """Draw the loss of a log over its steps, as it is and smoothed; below it rewards and scores, where there are some.

    Args:
        rows: of [`read_log`]; with none, nothing is drawn.
        path: of the image file.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("No loss.png was drawn: pip install matplotlib (extra `train`).") from error
    if not rows:
        return
    panels = [panel for panel in _PANELS if any(name in row for row in rows for name in panel)]
    figure = Figure(figsize=(7, 4 * len(panels)), layout="constrained")
    for number, (trained, evaluated) in enumerate(panels, start=1):
        axes = figure.add_subplot(len(panels), 1, number)
        steps, values = _points(rows, trained)
        if steps:
            axes.plot(
                steps, values, color="#9db4d3", linewidth=1, label=trained, marker="." if len(steps) == 1 else None
            )
            axes.plot(steps, smoothed(values, smoothing(len(steps))), color="#1f4e8c", linewidth=2, label="smoothed")
        points = _points(rows, evaluated)
        if points[0]:
            axes.plot(*points, color="#b3541e", linewidth=1, label="evaluation", marker=".")
        axes.set(xlabel="step", ylabel=trained)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


# What is drawn one below the other: in training, in evaluations.
_PANELS = (("loss", "eval_loss"), ("reward", "eval_reward"), ("score", "eval_score"))


def _points(rows: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of the lines that have a figure."""
    found = [(row["step"], row[name]) for row in rows if name in row]
    return [step for step, _ in found], [value for _, value in found]


def smoothing(count: int) -> float:
    """The weight of the past for so many values: a mean over about a tenth of them, so that it does not lag."""
    return min(SMOOTHING, max(0.0, 1 - 10 / count))


def smoothed(values: list[float], weight: float = SMOOTHING) -> list[float]:
    """The exponential mean of the values so far, without the bias towards a beginning at 0."""
    means, mean = [], 0.0
    for count, value in enumerate(values, start=1):
        mean = weight * mean + (1 - weight) * value
        means.append(mean / (1 - weight**count))
    return means


__all__ = ["LOG_FILE", "PLOT_FILE", "RunReport", "draw_curve", "read_log", "smoothed", "smoothing"]
