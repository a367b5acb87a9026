# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a chat model answers while it is trained: answers at every evaluation, and their score.

A line of `answers.jsonl`:

    {"step": 20, "sample": 0, "prompt": "user\\nWhat is drawn?\\nassistant\\n", "expected": "a red cross",
     "answer": "a red circle"}
"""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from ...conversion.files.folders import write_whole
from ...evaluation.metrics.table import METRICS, score_answers
from ...modeling.losses import IGNORE_INDEX

ANSWER_FILE = "answers.jsonl"
LONGEST = 256  # tokens of an answer that are generated at most


class AnswerLog(TrainerCallback):
    """After every evaluation, the model's answers to the first questions of the evaluation data.

    Args:
        folder: where `answers.jsonl` goes.
        processor: of the model.
        samples: a `ChatDataset`, of conversations or preference rows. Of each the last answer is asked for, after
            the conversation before it; texts without an answer are skipped.
        count: how many.
        metric: a metric of `evaluation.metrics.METRICS` that reads `answer` alone, for [`AnswerLog.score`].

    Every rank generates, since weights may be sharded; the first one writes.
    """

    def __init__(self, folder: Path, processor: Any, samples: Any, count: int, metric: str | None = None):
        self.folder, self.processor, self.samples, self.count = folder, processor, samples, count
        self.metric = metric

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Answers of steps that will be done again leave the file."""
        path = self.folder / ANSWER_FILE
        if state.is_world_process_zero and path.is_file():
            lines = path.read_text(encoding="utf-8").split("\n")[:-1]
            kept = [line for line in lines if json.loads(line)["step"] <= state.global_step]
            write_whole(path, "".join(f"{line}\n" for line in kept))

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Ask, and write the answers. With a metric, `score` has done so."""
        if self.metric is None:
            self._ask(model, args, state)

    def score(self, model: Any, args: Any, state: Any) -> dict[str, float]:
        """Ask, write the answers, and give their score as `{"score": ...}`; empty where the metric gives none."""
        rows = [
            {"answer": row["expected"].strip(), "prediction": row["answer"].strip()}
            for row in self._ask(model, args, state)
        ]
        overall = score_answers(str(self.metric), rows).overall
        return {} if overall is None else {"score": float(overall)}

    def _ask(self, model: Any, args: Any, state: Any) -> list[dict[str, Any]]:
        """The answers as lines of the file, which the first rank writes."""
        half = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
        lines: list[dict[str, Any]] = []
        model.eval()
        for number, prompt, expected, pixels in self._questions():
            context = nullcontext() if half is None else torch.autocast(args.device.type, half)
            with torch.no_grad(), context:
                ids = self._generate(model, prompt, expected, pixels, args.device)
            texts = {"prompt": prompt, "expected": expected, "answer": ids}
            decoded = {name: self.processor.decode(each, skip_special_tokens=True) for name, each in texts.items()}
            row = {"step": state.global_step, "sample": number, **decoded}
            lines.append(row)
        if state.is_world_process_zero:
            with open(self.folder / ANSWER_FILE, "a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in lines)
        return lines

    def _questions(self) -> list[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        """Number, prompt `(L,)`, expected answer `(A,)` and tiles `(T, 3, S, S)` of the samples that are asked."""
        found: list[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor | None]] = []
        for number in range(len(self.samples)):
            if len(found) == self.count:
                break
            sample = self.samples[number]
            side = "chosen_" if sample is not None and "chosen_input_ids" in sample else ""
            if sample is None:
                continue
            ids, labels = sample[f"{side}input_ids"], sample[f"{side}labels"]
            start, stop = last_stretch(labels != IGNORE_INDEX)
            if start:
                found.append((number, ids[:start], ids[start:stop], sample.get("pixel_values")))
        return found

    def _generate(
        self, model: Any, prompt: torch.Tensor, expected: torch.Tensor, pixels: torch.Tensor | None, device: Any
    ) -> torch.Tensor:
        """The ids of the answer, `(A,)`."""
        inputs: dict[str, torch.Tensor] = {"input_ids": prompt[None].to(device)}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if pixels is not None:
            inputs["pixel_values"] = pixels.to(device, model.dtype)
        limit = min(LONGEST, 2 * len(expected) + 16)
        ids = model.generate(**inputs, max_new_tokens=limit, do_sample=False, use_cache=True)
        return ids[0, len(prompt) :].cpu()


def last_stretch(mask: torch.Tensor) -> tuple[int, int]:
    """Where the last run of True in a mask `(L,)` is, as `[start, stop)`; `(0, 0)` if there is none."""
    places = mask.nonzero().flatten().tolist()
    if not places:
        return 0, 0
    start = stop = places[-1]
    while start > 0 and mask[start - 1]:
        start -= 1
    return start, stop + 1


def check_metric(metric: str | None) -> None:
    """Check that answers can be scored by a metric from the expected ones alone.

    Raises:
        ValueError: there is no such metric, or it reads other columns than `answer`.
    """
    if metric is None:
        return
    fitting = [name for name, row in METRICS.items() if row.columns == ("answer",)]
    if metric not in fitting:
        raise ValueError(
            f"`eval_metric` is a metric that compares answers with the expected ones: {', '.join(sorted(fitting))}; "
            f"got {metric!r}."
        )


__all__ = ["ANSWER_FILE", "AnswerLog", "check_metric", "last_stretch"]
