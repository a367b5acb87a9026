# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Trains the nano model: `python -m lab.nano.training --out DIR`.

Four stages, as the papers went from fixed to dynamic resolution, and then to more tasks:

1. `look`: images of one tile; the vision tower learns what every patch shows (see `examples.PATCH_CLASSES`).
2. `answer`: images of one tile; the whole model learns to answer.
3. `tiles`: images of any size, split into tiles and a thumbnail, as the image processor does.
4. `world`: more tasks, two pictures, clips, two languages, and refusals (`dialogs`), mixed with those before.

`--start-from DIR --stages world=900` begins with a saved model instead; text layers that it lacks are added so that
they change nothing at first. What patches show stays a second task to the end; its linear head is thrown away. The
state is written every few minutes and taken up again when the same command is run after an interruption. The saved
weights are running averages.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import AutoModelForImageTextToText

from .dialogs import TASKS, DialogMix, Dialogs
from .drawing import Style
from .examples import IGNORE, PATCH_CLASSES, PATCH_WEIGHTS, Batch, Collator, Examples, Mix
from .fonts import Families, common_families, font_families
from .model import build_model, build_tokenizer
from .muon import Muon

HELD_OUT_FAMILIES = (
    "Lato", "Carlito", "Linux Libertine O", "Cabin", "Courier Prime", "PT Serif", "URW Gothic",
    "Cantarell", "Inconsolata", "Nimbus Sans Narrow", "Vollkorn", "Comic Neue", "Gentium", "Hack", "Dosis",
)  # fmt: skip
"""Fonts that training never sees, to measure how well unknown ones are read."""

SMALL = Style(min_side=100, max_side=260, smallest=0.18, paraphrase=0.12, alone=0.35)
FULL = Style(min_side=100, max_side=500, smallest=0.09, paraphrase=0.12, alone=0.35)


@dataclass(frozen=True)
class Stage:
    """A part of training: how many steps of how many images, drawn how; `speaks`: the language model takes part;
    `rate`: its learning rates relative to those of the settings; `frozen`: patch embedding and so many layers of the
    vision tower stay as they are."""

    name: str
    steps: int
    batch_size: int
    mix: Mix | DialogMix
    speaks: bool = True
    rate: float = 1.0
    frozen: int = 0


EASY = replace(SMALL, smallest=0.13)
STAGES = (
    Stage("look", 900, 64, Mix(max_tiles=1, style=SMALL, shares=(0.7, 0.12, 0.18)), speaks=False),
    Stage("answer", 400, 64, Mix(max_tiles=1, style=EASY)),
    Stage("tiles", 2400, 40, Mix(style=FULL, shares=(0.36, 0.28, 0.36), one_tile=0.4, easy=EASY), rate=0.4),
    Stage("world", 6000, 24, DialogMix(style=FULL, easy=EASY), rate=0.35, frozen=4),
)
TEXT_LAYERS = 5


@dataclass
class Settings:
    """How to train. `learning_rate` is the peak of AdamW's; `matrix_rate` that of Muon's, for the hidden matrices."""

    out: Path
    stages: tuple[Stage, ...] = STAGES
    learning_rate: float = 2e-3
    matrix_rate: float = 0.03
    weight_decay: float = 0.05
    warmup: int = 150
    decay_share: float = 0.6
    average: float = 0.995
    patch_weight: float = 0.5
    edge_weight: float = 2.0
    hint_weight: float = 0.5
    seed: str = "nano"
    threads: int = 1
    workers: int = 1
    save_seconds: float = 120.0
    check_seconds: float = 300.0
    check_images: int = 192
    shape: dict[str, int] = field(default_factory=lambda: {"text_layers": TEXT_LAYERS})
    start_from: Path | None = None

    @property
    def total_steps(self) -> int:
        return sum(stage.steps for stage in self.stages)


# --- Loss ------------------------------------------------------------------------------------------------------------


class PatchHead(nn.Linear):
    """Predicts from a visual token what its four patches show, and the boxes of shapes there; trained with the model,
    then discarded."""

    def __init__(self, width: int):
        super().__init__(width, 4 * sum(PATCH_CLASSES.values()))
        self.edges = nn.Linear(width, 4 * 4)

    def loss(self, tokens: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Weighted mean of the cross-entropies of the five questions; empty patches, which are most, weigh less.

        `tokens` (N, P * P / 4, D) as the projector gives them, `patches` (N, P * P, 5).
        """
        wanted = by_token(patches)  # (N * P * P, 5)
        logits = self(tokens).view(len(wanted), -1)  # (N * P * P, sum of classes)
        total = torch.zeros(())
        parts = logits.split(list(PATCH_CLASSES.values()), dim=-1)
        for index, (name, part) in enumerate(zip(PATCH_CLASSES, parts, strict=True)):
            weight = torch.ones(part.shape[-1])
            weight[0] = 0.25
            if (wanted[:, index] != IGNORE).any():
                loss = F.cross_entropy(part, wanted[:, index], weight, ignore_index=IGNORE)
                total = total + PATCH_WEIGHTS[name] / sum(PATCH_WEIGHTS.values()) * loss
        return total

    def edge_loss(self, tokens: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        """Mean distance of predicted edges, relative to the image's sides; of patches with a shape alone.

        `tokens` (N, P * P / 4, D), `edges` (N, P * P, 4), -1 where there is none.
        """
        wanted = by_token(edges)
        there = wanted[:, 0] >= 0
        if not there.any():
            return torch.zeros(())
        return F.l1_loss(self.edges(tokens).view(len(wanted), 4)[there], wanted[there])


def by_token(patches: torch.Tensor) -> torch.Tensor:
    """(N, P * P, C) to (N * P * P, C), in the order of tokens: each merges 2 x 2 patches, row by row."""
    n_tiles, n_patches, n_values = patches.shape
    half = math.isqrt(n_patches) // 2
    return patches.view(n_tiles, half, 2, half, 2, n_values).transpose(2, 3).reshape(-1, n_values)


def visual_tokens(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The projector's output (N, tokens of a tile, D)."""
    return model.model.get_image_features(batch.pixel_values(), return_dict=True).pooler_output


def hidden_states(model: nn.Module, batch: Batch, tokens: torch.Tensor, groups: int = 4) -> torch.Tensor:
    """What the language model makes of prompts and answers, (B, T, D); zero after the last answer of a row.

    Rows run in `groups` of similar length, so that little is computed for padding.
    """
    embeddings = model.get_input_embeddings()(batch.ids)
    places = (batch.ids == model.config.image_token_id)[..., None]
    embeddings = embeddings.masked_scatter(places, tokens.reshape(-1, tokens.shape[-1]).to(embeddings.dtype))
    ends = ((batch.labels != IGNORE) * torch.arange(1, batch.ids.shape[1] + 1)).amax(dim=1)  # (B,)
    order = ends.argsort()
    parts = []
    for rows in order.tensor_split(min(groups, len(order))):
        end = int(ends[rows].max())
        part = model.model.language_model(inputs_embeds=embeddings[rows, :end], use_cache=False).last_hidden_state
        parts.append(F.pad(part, (0, 0, 0, batch.ids.shape[1] - end)))
    return torch.cat(parts)[order.argsort()]


def logits_at(model: nn.Module, hidden: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (A, vocabulary) before, and ids (A,) of, the labelled tokens of the batch, and of nothing else."""
    wanted = labels[:, 1:]
    return model.lm_head(hidden[:, :-1][wanted != IGNORE]), wanted[wanted != IGNORE]


@torch.no_grad()
def exact_answers(model: nn.Module, batch: Batch) -> list[bool]:
    """For each image whether greedy decoding gives exactly the answer: every token right, given those before."""
    logits, wanted = logits_at(model, hidden_states(model, batch, visual_tokens(model, batch)), batch.labels)
    sizes = (batch.labels != IGNORE).sum(dim=1).tolist()
    return [bool(part.all()) for part in (logits.argmax(-1) == wanted).split(sizes)]


# --- Optimizer -------------------------------------------------------------------------------------------------------


def build_optimizers(model: nn.Module, head: nn.Module, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for everything else."""
    inside = {
        id(parameter)
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and (".layer." in name or ".layers." in name)
    }
    everything = [*model.parameters(), *head.parameters()]
    matrices = [parameter for parameter in everything if id(parameter) in inside]
    others = [parameter for parameter in everything if id(parameter) not in inside]
    if not settings.matrix_rate:
        matrices, others = [], everything
    return [
        *([Muon(matrices, lr=settings.matrix_rate, weight_decay=settings.weight_decay)] if matrices else []),
        torch.optim.AdamW(others, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay),
    ]


def rate(step: int, settings: Settings) -> float:
    """Share of the peak learning rate: linear warm-up, a plateau, then a cosine to nearly zero."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    decay_steps = max(1, round(settings.decay_share * settings.total_steps))
    left = min(1.0, (settings.total_steps - step) / decay_steps)
    return 0.02 + 0.98 * 0.5 * (1 - math.cos(math.pi * left))


# --- Loop ------------------------------------------------------------------------------------------------------------


def freeze_tower(model: nn.Module, layers: int) -> None:
    """Train all of a model but the patch embedding and the first `layers` of its vision tower; with 0, all of it."""
    tower = model.model.vision_tower
    for part in (tower.embeddings, *tower.encoder.layer):
        part.requires_grad_(True)
    for part in (tower.embeddings, *tower.encoder.layer[:layers]) if layers else ():
        part.requires_grad_(False)


def with_fonts(mix: Mix | DialogMix, families: Families) -> Mix | DialogMix:
    """The mix, written with these fonts."""
    style, easy = (replace(one, families=families) for one in (mix.style, mix.easy))
    return replace(mix, style=style, easy=easy)


def stream(tokenizer, mix: Mix | DialogMix, seed: str, length: int, start: int = 0) -> Examples | Dialogs:
    """The examples of a mix, or its dialogs."""
    if isinstance(mix, DialogMix):
        return Dialogs(tokenizer, mix, seed, length, start)
    return Examples(tokenizer, mix, seed, length, start)


def give_way(worker: int) -> None:
    """Lower the priority of a process that draws: it is rarely what training waits for."""
    if hasattr(os, "nice"):
        os.nice(10)


class Trainer:
    """Model, averages and optimizers, with their state on disk."""

    def __init__(self, settings: Settings):
        torch.set_num_threads(settings.threads)
        torch.manual_seed(0)
        self.settings = settings
        self.tokenizer = build_tokenizer()
        self.model = build_model(self.tokenizer, **settings.shape)
        if settings.start_from:
            load_grown(self.model, settings.start_from)
        self.head = PatchHead(self.model.config.text_config.hidden_size)
        self.optimizers = build_optimizers(self.model, self.head, settings)
        self.peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.averages = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.step = 0
        self.stage_steps = {stage.name: 0 for stage in settings.stages}
        settings.out.mkdir(parents=True, exist_ok=True)
        self.state_file = settings.out / "state.pt"
        if self.state_file.exists():
            self.load()

    def train(self) -> Path:
        """Run what is left of all stages; returns the folder of the saved model."""
        families = common_families(font_families(), exclude=HELD_OUT_FAMILIES)
        self.saved_at = self.checked_at = time.monotonic()
        bar = tqdm(total=self.settings.total_steps, initial=self.step, unit="step")
        for stage in self.settings.stages:
            if self.stage_steps[stage.name] < stage.steps:
                self.run_stage(stage, families, bar)
        bar.close()
        self.save()
        return self.save_model()

    def run_stage(self, stage: Stage, families, bar) -> None:
        done = self.stage_steps[stage.name]
        if done == 0:  # the averages of the stage before are better than its last weights
            self.model.load_state_dict(self.averages)
        freeze_tower(self.model, stage.frozen)
        seed, size = f"{self.settings.seed}-{stage.name}", stage.batch_size
        mix = with_fonts(stage.mix, families)
        examples = stream(self.tokenizer, mix, seed, length=stage.steps * size, start=done * size)
        plain = replace(mix, one_tile=0.0)
        if isinstance(plain, DialogMix):
            plain = replace(plain, further=0.0)
        check = stream(self.tokenizer, plain, f"check-{stage.name}", self.settings.check_images)
        loader = DataLoader(
            examples,
            batch_size=stage.batch_size,
            num_workers=self.settings.workers,
            prefetch_factor=8 if self.settings.workers else None,
            worker_init_fn=give_way,
            collate_fn=Collator(self.tokenizer.pad_token_id),
        )
        for batch in loader:
            losses = self.update(batch, stage)
            self.step += 1
            self.stage_steps[stage.name] += 1
            bar.update()
            if self.step % 20 == 0:
                bar.set_postfix(stage=stage.name, **{name: f"{value:.3f}" for name, value in losses.items()})
                self.log({"step": self.step, "stage": stage.name, **losses})
            self.look_at_the_clock(stage, check)
        self.check(stage, check)

    def update(self, batch: Batch, stage: Stage) -> dict[str, float]:
        """One step; returns the losses."""
        share = stage.rate * rate(self.step, self.settings)
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * share
        tokens = visual_tokens(self.model, batch)
        # A new head on a trained tower has to learn first what the tower knows.
        new_head = self.settings.start_from and self.step < self.settings.warmup // 2
        seen = tokens.detach() if new_head else tokens
        patch_loss = self.head.loss(seen, batch.patches)
        edge_loss = self.head.edge_loss(seen, batch.edges)
        losses = {"patches": patch_loss.item(), "edges": edge_loss.item()}
        patch_loss = patch_loss + self.settings.edge_weight * edge_loss
        loss = patch_loss
        if stage.speaks:
            hidden = hidden_states(self.model, batch, tokens)
            each = F.cross_entropy(*logits_at(self.model, hidden, batch.labels), reduction="none")
            weights = batch.weights[:, 1:][batch.labels[:, 1:] != IGNORE]
            answer_loss = (each * weights).sum() / weights.sum()
            losses["answer"] = answer_loss.item()
            loss = answer_loss + self.settings.patch_weight * patch_loss
            if (batch.hints != IGNORE).any():
                hint_loss = F.cross_entropy(*logits_at(self.model, hidden, batch.hints))
                losses["hint"] = hint_loss.item()
                loss = loss + self.settings.hint_weight * hint_loss
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.step}; lower the learning rates.")
        loss.backward()
        nn.utils.clip_grad_norm_([*self.model.parameters(), *self.head.parameters()], 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        keep = min(self.settings.average, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            self.averages[name].lerp_(value, 1 - keep)
        return losses

    def look_at_the_clock(self, stage: Stage, check: Examples | Dialogs) -> None:
        now = time.monotonic()
        if now - self.checked_at > self.settings.check_seconds:
            self.check(stage, check)
            self.checked_at = now
        if now - self.saved_at > self.settings.save_seconds:
            self.save()
            self.saved_at = now

    def check(self, stage: Stage, examples: Examples | Dialogs) -> None:
        """Log the share of exact answers per task on unseen images, with the averaged weights."""
        if not stage.speaks:
            return
        model = self.averaged_model()
        right: dict[str, list[bool]] = {}
        for batch in DataLoader(examples, 32, collate_fn=Collator(self.tokenizer.pad_token_id, keep_drawings=True)):
            for drawing, exact in zip(batch.drawings or (), exact_answers(model, batch), strict=True):
                right.setdefault(drawing.task, []).append(exact)
        scores = {task: round(sum(right[task]) / len(right[task]), 3) for task in TASKS if task in right}
        self.log({"step": self.step, "stage": stage.name, "exact": scores})
        tqdm.write(f"step {self.step} {stage.name}: {scores}")

    def averaged_model(self) -> nn.Module:
        model = build_model(self.tokenizer, **self.settings.shape)
        model.load_state_dict(self.averages)
        return model.eval()

    def log(self, record: dict) -> None:
        with open(self.settings.out / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time()), **record}) + "\n")

    def save(self) -> None:
        """Write the state so that an interruption never leaves half a file."""
        state = {
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "averages": self.averages,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "stage_steps": self.stage_steps,
        }
        unfinished = self.state_file.with_suffix(".part")
        torch.save(state, unfinished)
        os.replace(unfinished, self.state_file)

    def load(self) -> None:
        state = torch.load(self.state_file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.averages = state["averages"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.stage_steps = state["step"], {**self.stage_steps, **state["stage_steps"]}

    def save_model(self) -> Path:
        """The averaged model and its tokenizer, as `from_pretrained` reads them."""
        folder = self.settings.out / "model"
        self.averaged_model().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        return folder


def load_grown(model: nn.Module, folder: Path) -> None:
    """Load a saved model with as many text layers as `model` or fewer. The last layers, which it lacks, stay random
    but for their output projections: those become zero, so that the layers pass on what comes in.

    Raises:
        ValueError: the saved model differs in more than its number of text layers, or has more of them.
    """
    saved = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).state_dict()
    own = model.state_dict()
    wrong = sorted(name for name, value in saved.items() if name not in own or own[name].shape != value.shape)
    missing = sorted(name for name in own if name not in saved and ".language_model.layers." not in name)
    if wrong or missing:
        raise ValueError(
            f"The model of {folder} cannot be the start of this one: {', '.join([*wrong, *missing][:3])} differ."
        )
    for name in own.keys() - saved.keys():
        if name.endswith(("self_attn.o_proj.weight", "mlp.down_proj.weight")):
            saved[name] = torch.zeros_like(own[name])
    model.load_state_dict({**own, **saved})


def parse_stages(text: str | None) -> tuple[Stage, ...]:
    """`look=900,answer=2000` to the stages with these numbers of steps; stages not named are left out."""
    if not text:
        return STAGES
    steps = {name: int(count) for name, count in (part.split("=") for part in text.split(","))}
    unknown = set(steps) - {stage.name for stage in STAGES}
    if unknown:
        raise ValueError(f"unknown stages {sorted(unknown)}; there are {[stage.name for stage in STAGES]}.")
    return tuple(replace(stage, steps=steps[stage.name]) for stage in STAGES if stage.name in steps)


def main(arguments: list[str] | None = None) -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for state, log and model; run again to resume")
    parser.add_argument("--stages", help="steps by stage, e.g. look=900,answer=2000,tiles=5000")
    parser.add_argument(
        "--start-from", type=Path, help="folder of a saved model to begin with, e.g. for --stages world=900"
    )
    parser.add_argument("--warmup", type=int, default=Settings.warmup, help="steps until the full learning rates")
    parser.add_argument("--learning-rate", type=float, default=Settings.learning_rate)
    parser.add_argument("--matrix-rate", type=float, default=Settings.matrix_rate)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw images")
    options = parser.parse_args(arguments)
    random.seed(0)
    settings = Settings(
        out=options.out,
        stages=parse_stages(options.stages),
        start_from=options.start_from,
        warmup=options.warmup,
        learning_rate=options.learning_rate,
        matrix_rate=options.matrix_rate,
        threads=options.threads,
        workers=options.workers,
    )
    Trainer(settings).train()


if __name__ == "__main__":
    main()
