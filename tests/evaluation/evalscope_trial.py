# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""EvalScope itself on six questions, through `internvl serve`.

`python -m tests.evaluation.evalscope_trial [EVALSCOPE]`: EVALSCOPE is its command, which may be in an environment of
its own (`python -m venv ENV && ENV/bin/pip install evalscope`, then `ENV/bin/evalscope`). The embedded model answers.
`general_vqa` asks what `internvl evaluate --endpoint` asks, and must get the same answers; `docvqa` reads a local
Parquet file, and its ANLS of each answer must be ours.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, Sequence, Value

from tests.reliability.serving import running_server
from transformers_internvl.evaluation.benchmarks import Asking
from transformers_internvl.evaluation.metrics import score_answers
from transformers_internvl.evaluation.prompts import asking_style
from transformers_internvl.evaluation.run import EndpointModel, Task, Wanted, answer_task, open_task, read_answers
from transformers_internvl.nano import sample_images

TOKENS = 8
# Sample image, question, accepted answers: right, nearly right, and wrong ones.
QUESTIONS = (
    ("number", "What number is written in the image?", ("7488", "seven")),
    ("number", "Which number is it?", ("748",)),
    ("color", "What color is the square?", ("black", "purple")),
    ("color", "Which color do you see?", ("nothing of the kind",)),
    ("count", "How many circles are there?", ("3", "orang")),
    ("count", "How many shapes do you see?", ("3",)),
)


def write(folder: Path) -> None:
    """The questions as EvalScope's `general_vqa` and `docvqa` read them, and as ours."""
    images = sample_images()
    (folder / "vqa").mkdir()
    (folder / "docvqa").mkdir()
    general, ours = [], []
    for name, question, answers in QUESTIONS:
        image = {"type": "image_url", "image_url": {"url": str(images[name])}}
        content = [image, {"type": "text", "text": question}]
        general.append({"messages": [{"role": "user", "content": content}], "answer": answers[0]})
        ours.append({"image": str(images[name]), "question": question, "answer": list(answers)})
    for path, rows in ((folder / "vqa" / "default.jsonl", general), (folder / "ours.jsonl", ours)):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    columns = {
        "question": [question for _, question, _ in QUESTIONS],
        "answers": [list(answers) for _, _, answers in QUESTIONS],
        "image": [{"bytes": images[name].read_bytes(), "path": None} for name, _, _ in QUESTIONS],
    }
    features = Features({"question": Value("string"), "answers": Sequence(Value("string")), "image": Image()})
    Dataset.from_dict(columns, features=features).to_parquet(folder / "docvqa" / "validation.parquet")


def evalscope(command: str, url: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What EvalScope wrote of each answer, by data set, in the order of the questions."""
    data = {
        "general_vqa": {"local_path": str(folder / "vqa"), "subset_list": ["default"]},
        "docvqa": {"local_path": str(folder / "docvqa"), "subset_list": ["default"]},
    }
    generation = json.dumps({"temperature": 0, "max_tokens": TOKENS})
    line = [command, "eval", "--model", "nano", "--api-url", url, "--eval-type", "openai_api"]
    line += ["--datasets", *data, "--dataset-args", json.dumps(data), "--generation-config", generation]
    subprocess.run([*line, "--work-dir", str(folder / "out"), "--no-timestamp"], check=True, cwd=folder)
    found = {}
    for name in data:
        (file,) = (folder / "out" / "reviews").rglob(f"{name}*.jsonl")
        rows = [json.loads(row) for row in file.read_text(encoding="utf-8").splitlines()]
        found[name] = sorted(rows, key=lambda row: row["index"])
    return found


def asked_by_us(url: str, folder: Path) -> list[str]:
    """The answers of `internvl evaluate --endpoint`, with nothing behind the questions."""
    benchmark, questions = open_task(Wanted(str(folder / "ours.jsonl")))
    asking = Asking(asking_style("InternVL2_5-1B"), instruction="", generation={"max_new_tokens": TOKENS})
    task = Task(benchmark, questions, asking, folder / "answers")
    answer_task(task, EndpointModel(url, extra={"chat_template_kwargs": {}}), quiet=True)  # the server's own tiles
    answers = read_answers(task.folder)
    return [answers[row["index"], 0].text for row in questions.rows]


def main() -> None:
    """End with an error where answers or scores differ."""
    command = sys.argv[1] if len(sys.argv) > 1 else "evalscope"
    with tempfile.TemporaryDirectory() as name, running_server() as (url, _):
        folder = Path(name)
        write(folder)
        theirs, own = evalscope(command, url, folder), asked_by_us(url, folder)
    scores = {name: [row["sample_score"]["score"] for row in rows] for name, rows in theirs.items()}
    answers = [score["prediction"].strip() for score in scores["general_vqa"]]
    print(f"EvalScope: {answers}\nours:      {own}")
    read = [score["extracted_prediction"] for score in scores["docvqa"]]
    rows = [{"answer": list(right), "prediction": text} for (*_, right), text in zip(QUESTIONS, read, strict=True)]
    anls = [float(score["value"]["anls"]) for score in scores["docvqa"]]
    mine = score_answers("anls", rows)
    print(f"docvqa: {read}\nEvalScope's ANLS: {anls}\nours:             {list(mine.samples)}")
    if answers != own or anls != list(mine.samples) or len(set(anls)) < 2:
        raise SystemExit("The answers or the scores differ, or the scores are all alike.")
    print(f"{len(own)} answers are equal, and the scores are: {mine.overall:.2f}.")


if __name__ == "__main__":
    main()
