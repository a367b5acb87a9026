# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Online reinforcement of the embedded model, in full: `python -m tests.training.reinforced`.

GSPO on drawings whose shapes are counted at a high temperature, as `internvl train` runs it. The sampled answers to
drawings that were not trained on must be right more often than before, and greedy ones not less often.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from lab.nano.drawing import Style
from lab.nano.evaluation import batches, fresh_drawings
from transformers_internvl import nano_path
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.report import read_log
from transformers_internvl.training.run.run import prepare

TEMPERATURE = 2.0


def shares(folder: str | Path, drawings: list, tiles: int = 1) -> tuple[float, float]:
    """Shares of right answers: of 8 sampled ones to each drawing, and of the greedy ones."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(nano_path())
    processor.image_processor.max_patches = tiles
    torch.manual_seed(0)
    right: list[list[bool]] = [[], []]
    for number, batch in enumerate(batches(processor, [(drawn.image, drawn.question) for drawn in drawings], 1)):
        sampling = {"do_sample": True, "temperature": TEMPERATURE, "top_k": 0, "num_return_sequences": 8}
        for kind, settings in enumerate((sampling, {"do_sample": False})):
            ids = model.generate(**batch, max_new_tokens=4, **settings)[:, batch["input_ids"].shape[1] :]
            said = processor.batch_decode(ids, skip_special_tokens=True)
            right[kind] += [text.strip() == drawings[number].answer for text in said]
    return sum(right[0]) / len(right[0]), sum(right[1]) / len(right[1])


def main() -> None:
    """Train and compare; a failure ends in an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--held-out", type=int, default=60)
    given = parser.parse_args()
    held_out = list(fresh_drawings("count", given.held_out, Style(), seed="held-out"))
    before = shares(nano_path(), held_out)
    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), []
        for number, drawn in enumerate(fresh_drawings("count", given.questions, Style())):
            drawn.image.save(folder / f"{number}.png")
            rows.append({"image": f"{number}.png", "question": f"<image>\n{drawn.question}", "answer": drawn.answer})
        (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        fields = {"model": str(nano_path()), "data": str(folder / "questions.jsonl"), "output": str(folder / "out")}
        fields |= {"reward": "number", "num_generations": 8, "batch_size": 32, "per_device_train_batch_size": 32}
        fields |= {"steps_per_rollout": 1, "max_completion_length": 4, "temperature": TEMPERATURE, "max_tiles": 1}
        fields |= {"learning_rate": 1e-4, "max_steps": given.steps, "bf16": False, "gradient_checkpointing": False}
        prepare(read_options("internvl3.5-1b-gspo", fields)).train()
        rewards = [row["reward"] for row in read_log(folder / "out") if "reward" in row]
        after = shares(folder / "out", held_out)
    tenth = max(1, len(rewards) // 6)
    print(f"reward of the first and last {tenth} steps: {_mean(rewards[:tenth]):.2f}, {_mean(rewards[-tenth:]):.2f}")
    print(f"right sampled answers to unseen drawings: {before[0]:.2f} before, {after[0]:.2f} after")
    print(f"right greedy answers to unseen drawings: {before[1]:.2f} before, {after[1]:.2f} after")
    if after[0] < before[0] + 0.1 or after[1] < before[1] - 0.05:
        raise SystemExit("the reward did not rise on unseen drawings")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
