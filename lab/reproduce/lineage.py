# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The papers' stages in miniature, one after the other, which the claims compare and vary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .stages import TEXT_RICH, Mix, Scale, Stage

ONE_TILE = Mix()
READING = Mix(tasks=TEXT_RICH)
ALL_SIZES = Mix(tasks=TEXT_RICH, looks=("large", "fine"), max_tiles=6)


@dataclass(frozen=True)
class Lineage:
    """The stages of one seed at one scale: a method, or property, a stage."""

    scale: Scale
    seed: int

    def stage(
        self,
        name: str,
        kind: str,
        recipe: str,
        mix: Mix,
        steps: int,
        batch: int = 32,
        share: float = 1.0,
        **fields: Any,
    ) -> Stage:
        """A stage at the scale. `share`: of the samples of the scale; `mix.seed` counts beside that of the lineage."""
        samples = max(8, round(share * self.scale.samples))
        mix = replace(mix, samples=samples, seed=self.seed + 1000 * mix.seed)
        fields = {"rate": 2e-3, **fields}
        batch = min(batch, samples // 2)
        return Stage(name, kind, recipe, mix, self.scale.steps(steps), batch, seed=self.seed, **fields)

    @property
    def look(self) -> Stage:
        """What billions of pairs do for InternViT: a tower that knows digits, colors and shapes when it sees them.

        The tower and a classifier learn what captions name, the supervision of SuperClass (arXiv:2411.03313).
        """
        return self.stage("look", "look", "internvl-14b-contrastive", READING, 900, batch=64)

    @property
    def contrastive(self) -> Stage:
        """InternVL-C: tower and text half, on captions. All patches are seen: half of 16 would show no digit."""
        whole = (("patch_dropout", 0.0),)
        return self.stage(
            "contrastive",
            "contrastive",
            "internvl-14b-contrastive",
            ONE_TILE,
            500,
            batch=64,
            tower=self.look,
            changes=whole,
        )

    @property
    def generative(self) -> Stage:
        """InternVL-G: the bridge, between the frozen halves."""
        start = self.contrastive
        return self.stage("generative", "generative", "internvl-14b-generative", ONE_TILE, 200, start=start)

    def language(self, size: str = "small") -> Stage:
        """A language model that answers questions about captions, in both languages."""
        mix = replace(ONE_TILE, text_only=True, language=None, described=0.1)
        return self.stage(f"language-{size}", "language", "internvl2.5-1b-full", mix, 300, batch=64, size=size)

    @property
    def warmup(self) -> Stage:
        """Stage 1 of InternVL 2.5: the projector alone."""
        parts: dict[str, Any] = {"tower": self.contrastive, "language": self.language()}
        return self.stage("warmup", "chat", "internvl2.5-8b-stage1", READING, 200, batch=64, **parts)

    @property
    def incremental(self) -> Stage:
        """Stage 1.5: tower and projector."""
        start = self.warmup
        return self.stage("incremental", "chat", "internvl2.5-8b-stage1.5", READING, 900, batch=64, start=start)

    def full(self, name: str = "full", mix: Mix = ALL_SIZES, steps: int = 400, **fields: Any) -> Stage:
        """Stage 2: everything; by default with dynamic resolution, from 1 to 6 tiles and the thumbnail.

        Its rate is a fifth of that of stage 1, as in the papers; at the same rate it forgets what stage 1.5 taught.
        """
        fields = {"start": self.incremental, "rate": 4e-4, "share": 0.5, **fields}
        return self.stage(name, "chat", "internvl2.5-8b-stage2", mix, steps, **fields)

    def scaled_up(self, name: str, tower: Stage) -> Stage:
        """A tower moved to a larger language model: warm-up of the new projector, then everything."""
        parts: dict[str, Any] = {"tower": tower, "language": self.language("large"), "size": "large"}
        warm = self.stage(f"{name}-warmup", "chat", "internvl2.5-8b-stage1", READING, 100, **parts)
        return self.full(name, READING, 150, start=warm)

    def mpo(self) -> Stage:
        """MPO on answers to pictures that the model has not seen."""
        mix = replace(ONE_TILE, seed=1)
        return self.stage("mpo", "mpo", "internvl2.5-1b-mpo", mix, 120, **self._short())

    def _short(self) -> dict[str, Any]:
        """What MPO and the supervised training beside it share: a tenth of the rate of stage 2."""
        return {"start": self.full(), "share": 0.1, "rate": 4e-5, "batch": 16}

    def tuned(self, adapters: bool) -> Stage:
        """The model fine-tuned to Chinese, by adapters or in full, with the frozen tower of both recipes."""
        name, recipe = ("lora", "internvl2.5-1b-lora") if adapters else ("finetune", "internvl2.5-1b-full")
        mix = replace(READING, language="zh")
        return self.stage(name, "chat", recipe, mix, 150, share=0.4, rate=4e-4, start=self.full())

    # What claims compare, in the order in which their measures take it.

    def chat_stages(self) -> list[Stage]:
        """Stage 1, stage 1.5, and stage 2 behind either of them."""
        without = self.full("full-without-1.5", start=self.warmup)
        return [self.warmup, self.incremental, without, self.full()]

    def resolutions(self) -> list[Stage]:
        """Dynamic and fixed resolution."""
        return [self.full(), self.full("fixed", replace(ALL_SIZES, max_tiles=1))]

    def thumbnails(self) -> list[Stage]:
        """With and without the thumbnail."""
        return [self.full(), self.full("no-thumbnail", replace(ALL_SIZES, thumbnail=False))]

    def towers(self) -> list[Stage]:
        """A larger language model with the tower of stage 1.5, and with the contrastive one."""
        return [
            self.scaled_up("scaled-trained", self.incremental),
            self.scaled_up("scaled-untrained", self.contrastive),
        ]

    def reductions(self) -> list[Stage]:
        """Token, square and sample weights."""
        mix = replace(READING, wordy=0.5)
        return [
            self.full(f"weights-{name}", mix, 150, share=0.4, changes=(("loss_reduction", name),))
            for name in ("token", "square", "sample")
        ]

    def compressed(self) -> list[Stage]:
        """With and without random JPEG."""
        mixes = {name: replace(READING, augment=name == "on") for name in ("on", "off")}
        return [self.full(f"jpeg-{name}", mix, 150, share=0.4) for name, mix in mixes.items()]

    def planted(self) -> list[Stage]:
        """A tenth of the samples with planted loops, with and without the filter."""
        mix = replace(READING, looping=0.1)
        mixes = {name: replace(mix, filtered=name == "on") for name in ("on", "off")}
        return [self.full(f"filter-{name}", mix, share=0.4) for name, mix in mixes.items()]

    def preferred(self) -> list[Stage]:
        """Stage 2, supervised training on the right answers behind it, and MPO."""
        mix = replace(ONE_TILE, seed=1)
        supervised = self.stage("sft", "chat", "internvl2.5-8b-stage2", mix, 120, **self._short())
        return [self.full(), supervised, self.mpo()]

    def fine_tuned(self) -> list[Stage]:
        """The model in English, fine-tuned in full, and by adapters."""
        return [self.full(), self.tuned(False), self.tuned(True)]


__all__ = ["ALL_SIZES", "ONE_TILE", "READING", "Lineage"]
