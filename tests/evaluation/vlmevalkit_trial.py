# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""VLMEvalKit itself on drawn questions: `python -m tests.evaluation.vlmevalkit_trial`.

The kit's `InternVLChat` loads a tiny checkpoint of the original layout, builds prompts and tiles, and its scorer
scores the answers, and written ones of which some are right. They must be the answers and scores of `internvl
evaluate`.
"""

import functools
import os
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.evaluation.drawn import draw_benchmarks
from tests.parity.golden import golden_root
from transformers_internvl.evaluation.benchmarks import Asking
from transformers_internvl.evaluation.metrics import score_answers
from transformers_internvl.evaluation.prompts import asking_style
from transformers_internvl.evaluation.run import LocalModel, Task, Wanted, answer_task, open_task, read_answers

MODEL = golden_root() / "chat_qwen2"
NAME = "Drawn"  # a set of choices that the kit does not know
TOKENS = 6
WRITTEN = ("A", "The answer is B.", "blue", "C and D")


def the_kits(folder: Path) -> tuple[dict[str, str], list[float]]:
    """The kit's answers by index, and its scores of these and of the written ones, in percent."""
    os.environ["LMUData"] = str(folder)  # noqa: SIM112 (the kit reads it so)
    from vlmeval.dataset import build_dataset
    from vlmeval.vlm.internvl import internvl_chat

    from transformers_internvl.evaluation.harnesses.vlmevalkit import use_in_vlmevalkit

    use_in_vlmevalkit()
    model = internvl_chat.InternVLChat(str(MODEL), version="V2.0", max_new_tokens=TOKENS)
    side = model.model.config.force_image_size  # the kit takes 448 for granted
    internvl_chat.load_image = functools.partial(internvl_chat.load_image, input_size=side)
    dataset = build_dataset(NAME)
    model.set_dump_image(dataset.dump_image)
    rows = dataset.data
    answers = [model.generate(model.build_prompt(row, dataset=NAME), dataset=NAME) for _, row in rows.iterrows()]
    scores = []
    for number, given in enumerate((answers, WRITTEN)):
        rows["prediction"] = given
        file = folder / f"answers{number}.xlsx"
        rows.drop(columns="image").to_excel(file, index=False)
        table = dataset.evaluate(str(file), model="exact_matching", nproc=1)
        scores.append(100 * float(table["Overall"].iloc[0]))
    return dict(zip(map(str, rows["index"]), answers, strict=True)), scores


def ours(folder: Path) -> tuple[dict[str, str], list[float]]:
    """The same of this package."""
    model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.bfloat16).eval()
    benchmark, questions = open_task(Wanted(str(folder / f"{NAME}.tsv")))
    asking = Asking(asking_style("InternVL2_5-1B"), generation={"max_new_tokens": TOKENS})
    task = Task(benchmark, questions, asking, folder / "ours")
    answer_task(task, LocalModel(model, AutoProcessor.from_pretrained(MODEL), name="tiny"), quiet=True)
    answers = {answer.index: answer.text for answer in read_answers(task.folder).values()}
    scores = []
    for given in ([answers[row["index"]] for row in questions.rows], WRITTEN):
        rows = [{**row, "prediction": text} for row, text in zip(questions.rows, given, strict=True)]
        scores.append(score_answers("mcq_vlmevalkit", rows).overall)
    return answers, scores


def main() -> None:
    """End with an error where the two differ."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_benchmarks(folder, len(WRITTEN))
        (folder / "MMStar.tsv").rename(folder / f"{NAME}.tsv")
        kit, own = the_kits(folder), ours(folder)
    print(f"VLMEvalKit: {kit}\nours:       {own}")
    if kit != own or not 0 < own[1][1] < 100:
        raise SystemExit("The answers or the scores differ, or the written answers are all alike.")
    print(f"{len(own[0])} answers are equal, and the scores are.")


if __name__ == "__main__":
    main()
