# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""One training run, by one process or by one of several ranks on this machine's CPU.

    torchrun --nproc_per_node=2 -m tests.training.ranks ENGINE FOLDER CASE...

FOLDER holds a folder `models/CASE` for every case; what a run finds goes to `FOLDER/ENGINE.json`.
"""

import faulthandler
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor
from transformers import AutoModelForImageTextToText, TrainingArguments
from transformers.distributed import DistributedConfig

from transformers_internvl.modeling import chunked_cross_entropy
from transformers_internvl.training.configs import engine_config
from transformers_internvl.training.freezing import freeze
from transformers_internvl.training.lora import lora_config
from transformers_internvl.training.trainer import InternVLTrainer

ROOT = Path(__file__).resolve().parents[2]
HANGS_AFTER = 120  # seconds

# Samples of three steps, four a step. Where two ranks take turns, one has text only and the other pictures, and the
# other way round; both have text only; and never are there as many positions or labels.
TILES = [1, 0, 0, 2, 3, 0, 0, 0, 2, 1, 0, 1]
LENGTHS = [20, 9, 7, 25, 30, 12, 6, 8, 21, 18, 9, 14]
LABELLED = [1, 7, 4, 9, 2, 11, 3, 5, 12, 6, 8, 2]


def samples(config) -> list[dict[str, torch.Tensor]]:
    """Random samples for a model of a configuration."""
    rows, image = [], config.image_token_id
    for seed, (tiles, length, labelled) in enumerate(zip(TILES, LENGTHS, LABELLED, strict=True)):
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(2, config.text_config.vocab_size, (1, length), generator=generator)
        ids[ids == image] = 1 if image == 2 else 2
        ids[0, 1 : 1 + tiles * config.image_seq_length] = image
        row = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        row["labels"] = ids.masked_fill(torch.arange(length) < length - labelled, -100)
        if tiles:
            shape = (tiles, 3, *config.vision_config.image_size)
            row["pixel_values"] = torch.randn(shape, generator=generator)
        rows.append(row)
    return rows


def with_adapters(model):
    """Frozen tower, projector and language model, with adapters in float32."""
    from peft import get_peft_model

    torch.manual_seed(0)
    return get_peft_model(model, lora_config("llm", model, r=4, dropout=0.0, init_lora_weights=False))


def with_frozen_tower(model):
    freeze(model, "vision")
    return model


def checkpointed(model):
    model.gradient_checkpointing_enable()
    return model


# Case -> what is done with the model, and how it is loaded.
CASES = {
    "full": (lambda model: model, torch.float32),
    "frozen tower": (with_frozen_tower, torch.float32),
    "checkpointing": (checkpointed, torch.float32),
    "adapters": (with_adapters, torch.float32),
    "adapters on bfloat16": (with_adapters, torch.bfloat16),
    "experts": (lambda model: model, torch.float32),
    "InternLM2": (lambda model: model, torch.float32),
}


IMAGE_TOKEN = {"experts": 110, "InternLM2": 448}


def train(engine: str, case: str, folder: Path, ranks: int) -> dict:
    """Three steps of plain gradient descent with clipped gradients; what can be compared of them."""
    chunked_cross_entropy.CHUNK_ELEMENTS = 5 * 112  # several chunks of labels, and not equally many on every rank
    arguments = TrainingArguments(
        output_dir=str(folder / "runs"),
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=4 // ranks,
        max_steps=3,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.5,
        logging_steps=1,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        label_names=["labels"],
        save_strategy="no",
        report_to=[],
        use_cpu=not engine.startswith("zero"),
        deepspeed=engine_config(engine) if engine.startswith("zero") else None,
        disable_tqdm=True,
    )
    prepare, dtype = CASES[case]
    options = {"distributed_config": DistributedConfig(fsdp_size=ranks)} if engine == "native" else {}
    model = AutoModelForImageTextToText.from_pretrained(folder / "models" / case, dtype=dtype, **options)
    model.config.image_token_id = IMAGE_TOKEN.get(case, model.config.image_token_id)  # no tokenizer lies there
    data = samples(model.config)
    trainer = InternVLTrainer(prepare(model), arguments, data_collator=lambda rows: rows[0], train_dataset=data)
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    parameters = list(trainer.model.parameters())
    found = {
        "losses": [entry["loss"] for entry in log],
        "norms": [entry["grad_norm"] for entry in log],
        "evaluated": trainer.evaluate(data)["eval_loss"],
        "distribution": str(trainer.accelerator.distributed_type),
        "sharded": sum(isinstance(p, DTensor) or hasattr(p, "ds_id") for p in parameters) / len(parameters),
    }
    trainer.save_model(str(folder / engine / case))
    return found


def imitate(engine: str) -> None:
    """Let accelerate do on CPUs what it does where there are accelerators. On CPUs it would train with DDP."""
    if engine == "fsdp2":
        os.environ.update(launched_with(engine_config("fsdp2")))
        begin = PartialState.__init__

        def begin_on_cpu(state, *args, **kwargs):
            begin(state, *args, **kwargs)
            if state.distributed_type == DistributedType.MULTI_CPU:
                state.distributed_type = DistributedType.MULTI_XPU

        PartialState.__init__ = begin_on_cpu
    elif engine.startswith("zero"):
        os.environ["DS_ACCELERATOR"] = "cpu"
        PartialState._prepare_backend = lambda *args, **kwargs: ("gloo", DistributedType.MULTI_CPU)


def launched_with(config: str) -> dict[str, str]:
    """The environment that `accelerate launch --config_file` gives to a process."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser, prepare_multi_gpu_env

    command = ["--config_file", config, "--num_processes", "2", "train.py"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(command))
    environment = prepare_multi_gpu_env(arguments)
    return {name: value for name, value in environment.items() if name.startswith(("ACCELERATE_", "FSDP_"))}


def launch(engine: str, folder: Path, cases: list[str]) -> dict[str, dict]:
    """Train on two ranks; what they found, by case. A rank that hangs is stopped, and says where it was."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc_per_node=2"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "tests.training.ranks"]
    command += [engine, str(folder), *cases]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{engine}: {result.stderr[-6000:]}")
    return json.loads((folder / f"{engine}.json").read_text())


if __name__ == "__main__":
    faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
    engine, folder, *cases = sys.argv[1:]
    imitate(engine)
    found = {case: train(engine, case, Path(folder), int(os.environ["WORLD_SIZE"])) for case in cases}
    if os.environ["RANK"] == "0":
        (Path(folder) / f"{engine}.json").write_text(json.dumps(found))
