# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A run that is killed at random moments, again and again, and resumed, is the run that was left alone.

    python -m tests.training.kills              # five kills of each case below: about ten minutes on two cores
    python -m tests.training.kills --case rows --kills 20
    python -m tests.training.kills --ends 20    # only runs that are killed while they save their result

Killed by SIGKILL, in whatever it is doing: reading, computing, writing a checkpoint. Afterwards every loss, gradient
norm and learning rate, every batch (ids, labels and pixels, in order) and all trained weights are bit-equal. Dropout
of LoRA, stochastic depth and random JPEG are on. Runs of `internvl train` are killed at things that they do to files
at their end, too: the output folder holds the earlier result or the new one, and the run goes on to the same end.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import get_peft_model
from PIL import Image
from transformers import AutoConfig, AutoModel, TrainerCallback, TrainingArguments, set_seed

from tests.crashes import EVENTS
from tests.parity.golden import golden_root
from tests.ranks import run
from tests.training.drawn import short, write_data
from tests.training.streamed import archives
from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.training.data.dataset import ChatDataset, PackedDataset
from transformers_internvl.training.data.records import DataSet, TableRows
from transformers_internvl.training.data.samples import SampleEncoder
from transformers_internvl.training.data.streamed import StreamedDataset
from transformers_internvl.training.lora import lora_config
from transformers_internvl.training.trainers.trainer import InternVLTrainer

QWEN2 = golden_root() / "chat_qwen2"

# Case -> ranks, packed or not, options of `TrainingArguments`.
CASES: dict[str, tuple[int, bool, dict[str, Any]]] = {
    "packed": (1, True, {}),
    "packed, two workers": (1, True, {"dataloader_num_workers": 2}),
    "rows": (1, False, {"per_device_train_batch_size": 2}),
    "rows, two workers": (1, False, {"per_device_train_batch_size": 2, "dataloader_num_workers": 2}),
    "packed, two ranks": (2, True, {}),
    "packed, two ranks, two workers": (2, True, {"dataloader_num_workers": 2}),
    "streamed": (1, False, {"per_device_train_batch_size": 2}),
    "streamed, packed": (1, True, {}),
    "streamed, packed, two ranks": (2, True, {}),
    "streamed, packed, two ranks, two workers": (2, True, {"dataloader_num_workers": 2}),
}


def conversations(name: str, count: int, image: bool) -> TableRows:
    """Questions of different lengths, each with its own number, and an image where wanted."""
    noise = np.random.default_rng(0)
    rows = []
    for number in range(count):
        question = f"{name} {number} " * (1 + number % 5)
        human = {"from": "human", "value": ("<image>\n" if image else "") + question}
        row = {"conversations": [human, {"from": "gpt", "value": "yes " * (1 + number % 3)}]}
        if image:
            row["image"] = Image.fromarray(noise.integers(0, 256, (56, 56 * (1 + number % 3), 3), dtype=np.uint8))
        rows.append(row)
    return TableRows(name, rows)


def samples(texts: int = 14, images: int = 6) -> ChatDataset:
    """Texts, half of them twice, and images that are degraded at random."""
    processor = InternVLProcessor.from_pretrained(QWEN2)
    processor.chat_template = get_chat_template("internvl2_5", system_message="S")
    sets = [
        DataSet("t", conversations("t", texts, False), repeat=1.5),
        DataSet("i", conversations("i", images, True), augment=True),
    ]
    return ChatDataset(sets, SampleEncoder(processor), seed=3)


def streamed_samples(folder: Path, buffer: int = 6) -> StreamedDataset:
    """Rows in archives that are written into a folder, shuffled; pictures are degraded at random."""
    sets = [archives(folder / "archives", 18, 4, repeat=1, length=18, augment=True)]
    return StreamedDataset(sets, samples().encoder, shuffle_buffer=buffer, seed=3)


def model_of(noise: float = 0.2, **options: Any) -> torch.nn.Module:
    """A tiny chat model with adapters, dropout and stochastic depth."""
    config = AutoConfig.from_pretrained(QWEN2)
    config.vision_config.drop_path_rate = noise
    model = AutoModel.from_pretrained(QWEN2, config=config, **options)
    model.config.loss_reduction = "square"
    set_seed(0)
    return get_peft_model(model, lora_config("all", model, r=4, dropout=noise))


class RecordingTrainer(InternVLTrainer):
    """Writes down what it computes on: step and a digest of ids, labels and pixels, into a file of its own."""

    record: Path | None = None

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.seen: list[list[int]] = []  # the ids of every sample

    def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any) -> torch.Tensor:
        if self.record is None:
            parts = f"batches.{self.args.process_index}"
            started = len(list(Path(self.args.output_dir).glob(f"{parts}.*.jsonl")))
            self.record = Path(self.args.output_dir) / f"{parts}.{started}.jsonl"
        if "is_empty" not in inputs:
            self.seen += samples_in(inputs)
        digest = hashlib.sha1()
        for name in ("input_ids", "labels", "pixel_values"):
            if name in inputs:
                digest.update(inputs[name].numpy().tobytes())
        with open(self.record, "a", encoding="utf-8") as file:
            file.write(json.dumps([self.state.global_step, digest.hexdigest()]) + "\n")
        return super().training_step(model, inputs, *rest)


def samples_in(batch: dict[str, torch.Tensor]) -> list[list[int]]:
    """The ids of the samples of a packed or a padded batch."""
    if "attention_mask" in batch:
        return [ids[mask == 1].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    begins = (batch["position_ids"][0] == 0).nonzero().flatten().tolist()
    ends = [*begins[1:], batch["input_ids"].shape[1]]
    return [batch["input_ids"][0, begin:end].tolist() for begin, end in zip(begins, ends, strict=True)]


def once_each(seen: list[list[int]], epochs: int = 2, data: StreamedDataset | None = None) -> bool:
    """Whether these are the samples of the first epochs, each entry once; of our samples, or of a stream's rows."""
    rows, expected = samples() if data is None else data, Counter[tuple[int, ...]]()
    for epoch in range(epochs):
        rows.set_epoch(epoch)
        found = rows if data is not None else (rows[entry] for entry in range(len(rows)))
        expected.update(tuple(sample["input_ids"].tolist()) for sample in found)
    return Counter(map(tuple, seen)) == expected


def recorded_batches(folder: str | Path, rank: int) -> list[list[str]]:
    """The batches of each step, over all starts of a run: what was computed once more has to be the same."""
    batches: dict[int, list[str]] = {}
    for path in sorted(Path(folder).glob(f"batches.{rank}.*.jsonl")):
        found: dict[int, list[str]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.endswith("]"):  # else the kill came while it was written
                step, digest = json.loads(line)
                found.setdefault(step, []).append(digest)
        for step, digests in found.items():
            longer, shorter = sorted((digests, batches.get(step, [])), key=len, reverse=True)
            assert longer[: len(shorter)] == shorter, f"step {step} was on other batches when it was repeated"
            batches[step] = longer
    assert sorted(batches) == list(range(len(batches))), f"steps are missing: {sorted(batches)}"
    return [batches[step] for step in sorted(batches)]


def trainer_of(
    case: str,
    folder: str | Path,
    *,
    kind: type = RecordingTrainer,
    noise: float = 0.2,
    sharing: int = 1,
    **options: Any,
) -> InternVLTrainer:
    """The run of a case: two epochs, accumulation over two batches, a checkpoint every other step.

    `sharing` ranks share the positions of a batch.
    """
    ranks, packed, changes = CASES[case]
    options = {
        "num_train_epochs": 2,
        "gradient_accumulation_steps": 2,
        "per_device_train_batch_size": 1,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_steps": 2,
        "save_total_limit": 2,
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        **changes,
        **options,
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    model, arguments = model_of(noise), TrainingArguments(str(folder), **options)
    own = Path(folder) / f"data.{arguments.process_index}"  # ranks do not write the same files
    rows = streamed_samples(own) if case.startswith("streamed") else samples()
    data = PackedDataset(rows, 150, 12, max_open=3) if packed else rows
    return kind(model, arguments, train_dataset=data, context_parallel_size=sharing)


def outcome(trainer: InternVLTrainer) -> dict[str, Any]:
    """The curve of a run that ended, the batches of each step, and a digest of what it trained."""
    kept = ("loss", "grad_norm", "learning_rate", "epoch", "step")
    curve = [{key: row[key] for key in kept} for row in trainer.state.log_history if "loss" in row]
    weights = hashlib.sha1()
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            weights.update(parameter.detach().numpy().tobytes())
    batches = recorded_batches(trainer.args.output_dir, trainer.args.process_index)
    return {"curve": curve, "batches": batches, "weights": weights.hexdigest()}


class Stopped(Exception):
    """Raised instead of a kill, where a process has to live on."""


class Stop(TrainerCallback):
    """Ends a run by an exception, before a step."""

    def __init__(self, step: int):
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise Stopped


def stopped_and_resumed(case: str, folder: Path, steps: list[int], **options: Any) -> InternVLTrainer:
    """A run that is stopped before each of these steps, and resumed from the last checkpoint."""
    for count, step in enumerate(steps):
        trainer = trainer_of(case, folder, **options)
        trainer.add_callback(Stop(step))
        try:
            trainer.train(resume_from_checkpoint=count > 0)
        except Stopped:
            continue
        raise AssertionError(f"the run ended before step {step}")
    trainer = trainer_of(case, folder, **options)
    trainer.train(resume_from_checkpoint=True)
    return trainer


# The long form: processes that are killed.


def child(case: str, folder: str, kill_after: float) -> None:
    """One process of a run. It is killed so many seconds after training began, unless it has ended."""
    trainer = trainer_of(case, folder)
    resume = any(Path(folder).glob("checkpoint-*/trainer_state.json"))
    if kill_after:
        timer = threading.Timer(kill_after, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    begun = time.monotonic()
    trainer.train(resume_from_checkpoint=resume)
    seconds = time.monotonic() - begun
    result = outcome(trainer) | {"seconds": seconds}
    part = Path(folder) / f"result.{trainer.args.process_index}.part"
    part.write_text(json.dumps(result), encoding="utf-8")
    part.rename(part.with_suffix(".json"))


def results(case: str, folder: Path) -> list[dict[str, Any]] | None:
    """What each rank found in the end, if all have ended."""
    paths = [folder / f"result.{rank}.json" for rank in range(CASES[case][0])]
    return [json.loads(path.read_text()) for path in paths] if all(path.exists() for path in paths) else None


def prove(case: str, kills: int, rng: random.Random, folder: Path) -> str:
    """Run a case once undisturbed, and then until it was killed so many times and has ended."""
    whole, killed = folder / "whole", folder / "killed"
    whole.mkdir(parents=True)
    ranks, command = CASES[case][0], ["tests.training.kills", "--case", case]
    run(ranks, whole, *command, "--child", str(whole))
    expected = results(case, whole)
    assert expected is not None, (whole / "log.0.txt").read_text()[-3000:]
    seconds = [result.pop("seconds") for result in expected]
    done, runs, steps = 0, 0, len(expected[0]["batches"])
    while done < kills or runs == 0:
        target = killed / str(runs)
        target.mkdir(parents=True)
        while (found := results(case, target)) is None:
            # Once a run was killed often enough, it may end.
            after = rng.uniform(0, 0.6 * max(seconds)) if done < kills else 0.0
            codes = run(ranks, target, *command, "--child", str(target), "--kill-after", str(after))
            if -signal.SIGKILL in codes:
                done += 1
            elif any(codes):
                raise AssertionError((target / "log.0.txt").read_text()[-3000:])
        runs += 1
        for result in found:
            result.pop("seconds")
        assert found == expected, f"{case}: run {runs} is another one"
    return f"{case}: {steps} steps, {done} kills in {runs} runs: curves, batches and weights are bit-equal"


def end_until(assigned: dict[str, Any], event_number: int | None) -> int:
    """A run of `internvl train` in a process of its own, resumed if there is a checkpoint. It is killed when it does
    its n-th thing to a file at its end; None: how many it does."""
    from transformers_internvl.training.run.options import read_options
    from transformers_internvl.training.run.run import prepare

    count = Path(assigned["output"]).with_suffix(".count")
    child = os.fork()
    if child == 0:
        seen, counts = 0, False

        def watch(event: str, arguments: tuple) -> None:
            nonlocal seen
            if counts and event in EVENTS:
                seen += 1
                if seen == event_number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        run = prepare(read_options("internvl2.5-1b-lora", assigned), resume=True)
        save = run._save

        def saving(folder: Path) -> None:
            nonlocal counts
            counts = True
            save(folder)

        run._save = saving
        run.train()
        count.write_text(str(seen))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if event_number is None and status:
        raise SystemExit("a run that is left alone fails")
    return int(count.read_text()) if event_number is None else 0


def result_in(folder: Path) -> dict[str, bytes]:
    """The files of a trained model in an output folder; empty where nothing would load."""
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix in (".safetensors", ".json")]
    return {path.name: path.read_bytes() for path in files} if (folder / "adapter_config.json").is_file() else {}


def prove_ends(kills: int, draw: random.Random, root: Path) -> str:
    """Kill runs while they save their result over that of an earlier end, and let each go on."""
    data = write_data(root / "data")
    fields = short(data, save_steps=1, learning_rate=1e-2)
    shorter = {**fields, "max_steps": 1, "output": str(root / "first")}
    end_until(shorter, None)
    events = end_until({**shorter, "max_steps": 2}, None)
    expected = result_in(root / "first")
    killed = whole = 0
    while killed < kills:
        assigned = {**shorter, "output": str(root / str(killed))}
        end_until(assigned, None)
        earlier = result_in(root / str(killed))
        moment = draw.randint(1, events)
        assigned["max_steps"] = 2
        end_until(assigned, moment)
        found = result_in(root / str(killed))
        if found and found not in (earlier, expected):
            raise SystemExit(f"killed at {moment} of {events}: the result is of two runs")
        killed, whole = killed + 1, whole + bool(found)
        if found != expected:
            assigned["max_steps"] = 3  # a run that has ended goes further; else it would be refused
            end_until(assigned, None)
        if not result_in(Path(assigned["output"])):
            raise SystemExit(f"killed at {moment} of {events}: running again did not finish it")
        shutil.rmtree(assigned["output"])
    return f"ends of runs: {killed} kills among {events} moments, {whole} left a whole result, each went on to its end"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--kills", type=int, default=5, help="of each case")
    parser.add_argument("--ends", type=int, help="only so many kills at the end of runs; default: cases, then 5 ends")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--kill-after", type=float, default=0.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.case, arguments.child, arguments.kill_after)
        return
    rng = random.Random(arguments.seed)
    for case in [arguments.case] if arguments.case else CASES if arguments.ends is None else ():
        with tempfile.TemporaryDirectory() as folder:
            print(prove(case, arguments.kills, rng, Path(folder)), flush=True)
    if not arguments.case:
        with tempfile.TemporaryDirectory() as folder:
            print(prove_ends(5 if arguments.ends is None else arguments.ends, rng, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
