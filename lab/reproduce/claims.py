# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The claims of the papers that the lab measures: one row each.

A claim is an inequality: `margin` of what was measured is above 0. Its `measure` trains what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import measures
from .lab import Lab
from .lineage import Lineage
from .measures import Values
from .stages import Stage


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        name: of the command line.
        source: paper and section.
        what: what is trained and measured.
        expected: the inequality, in words.
        published: the figure of the paper, or that there is none.
        stages: what it needs, trained in this order.
        measure: the values, by name.
        margin: by how much the inequality holds; at 0 and below it does not.
        lines: whether the plot has lines (names are `series at x`), not bars.
    """

    name: str
    source: str
    what: str
    expected: str
    published: str
    stages: Callable[[Lineage], list[Stage]]
    measure: Callable[[Lab, Lineage], Values]
    margin: Callable[[Values], float]
    lines: bool = False


CLAIMS = (
    Claim(
        "tiles-text",
        "InternVL 1.5 (arXiv:2404.16821), section 4.3 and figure 6",
        "a model trained with 1 to 6 tiles reads small numbers with 1 to 40 tiles at test",
        "more tiles read better than one, by at least 5 points",
        "InfoVQA about 40 with 1 tile, 72.3 with 24; DocVQA 90.5 with 18; ChartQA 83.8 with 12",
        lambda line: [line.full()],
        measures.tiles,
        lambda v: max(v[f"numbers at {n}"] for n in measures.TILES[1:]) - v["numbers at 1"] - 5,
        lines=True,
    ),
    Claim(
        "tiles-objects",
        "InternVL 1.5 (arXiv:2404.16821), section 4.3 and figure 6",
        "the same model names colors of shapes in the same pictures",
        "colors gain less from tiles than numbers",
        "AI2D, MMMU and MMBench are best with 6 tiles (80.7, 45.2, 82.2) and flat or falling beyond",
        lambda line: [line.full()],
        measures.tiles,
        lambda v: measures.gain(v, "numbers") - measures.gain(v, "colors"),
        lines=True,
    ),
    Claim(
        "dynamic",
        "InternVL 1.5 (arXiv:2404.16821), section 3.3 and table 2 (1.2 has fixed, 1.5 dynamic resolution)",
        "two models, trained with one tile and with up to 6, read small numbers",
        "dynamic resolution reads better than fixed",
        "InternVL 1.2 and 1.5: DocVQA 57.7 and 90.9, ChartQA 68.0 and 83.8, OCRBench 569 and 724",
        Lineage.resolutions,
        measures.resolutions,
        lambda v: v["numbers, dynamic"] - v["numbers, fixed"],
    ),
    Claim(
        "thumbnail",
        "InternVL 1.5 (arXiv:2404.16821), section 3.3",
        "two models, with and without the thumbnail, count shapes and compare their places over tiles",
        "the thumbnail helps where the whole picture counts",
        "none: said to help global understanding, without an ablation",
        Lineage.thumbnails,
        measures.thumbnails,
        lambda v: v["with"] - v["without"],
    ),
    Claim(
        "stage-1.5",
        "InternVL 2.5 (arXiv:2412.05271), section 3.2",
        "scores of two models, whose stage 2 is the same, with stage 1.5 before it and without; and of both stages "
        "before it",
        "with stage 1.5, stage 2 ends better",
        "none: said to help in domains that are rare in pairs of the web, without an ablation",
        Lineage.chat_stages,
        measures.stages,
        lambda v: v["stages 1, 1.5 and 2"] - v["stages 1 and 2"],
    ),
    Claim(
        "progressive",
        "InternVL 2.5 (arXiv:2412.05271), section 3.3",
        "a tower of stage 1.5 with a small language model, and the contrastive tower, each moved to a larger one with "
        "equal steps of warm-up and stage 2",
        "the tower that was trained with the small language model is better",
        "none for the tower alone; 2.5-78B: 120B tokens against 1.4T of Qwen2-VL",
        Lineage.towers,
        measures.towers,
        lambda v: v["tower of stage 1.5"] - v["contrastive tower"],
    ),
    Claim(
        "weights-length",
        "InternVL 2.5 (arXiv:2412.05271), section 3.4",
        "three models on answers half of which are wordy, with token, square and sample weights; mean number of "
        "tokens of answers that are drawn at temperature 1",
        "answers are longest with token weights, shortest with sample weights, and in between with square weights",
        "none: said of the gradients, without figures",
        Lineage.reductions,
        measures.weights,
        lambda v: min(v["length, token"] - v["length, square"], v["length, square"] - v["length, sample"]),
    ),
    Claim(
        "weights-score",
        "InternVL 2.5 (arXiv:2412.05271), section 3.4",
        "how often likeliest answers of these models end with the right word",
        "square weights score at most one point worse than the mean of the two others",
        "none",
        Lineage.reductions,
        measures.weights,
        lambda v: v["score, square"] - (v["score, token"] + v["score, sample"]) / 2 + 1,
    ),
    Claim(
        "jpeg",
        "InternVL 2.5 (arXiv:2412.05271), section 3.4",
        "two models, with and without random JPEG in training, on test pictures of quality 40 to 1",
        "the score falls less with JPEG in training",
        "none: said to help with images of the web",
        Lineage.compressed,
        measures.compressed,
        lambda v: measures.fall(v, "without") - measures.fall(v, "with"),
        lines=True,
    ),
    Claim(
        "packing",
        "InternVL 2.5 (arXiv:2412.05271), section 4.2",
        "packs, and padded batches of eight, of the same samples of uneven lengths: texts of one to sixteen turns, "
        "pictures of 1 to 12 tiles, pairs, clips; filled shares, and processor time of forward and backward passes, "
        "of packs in percent of that of padded batches",
        "packs are filled better and need less time",
        "none; the stage tables imply packs that are filled to 95.4 %",
        lambda line: [],
        measures.packing,
        lambda v: min(v["filled, packed"] - v["filled, padded"], 100 - v["time of packs"]),
    ),
    Claim(
        "filter",
        "InternVL 2.5 (arXiv:2412.05271), section 4.3",
        "two models on data of which a tenth has planted loops, with and without the filter; answers are drawn at "
        "temperature 1",
        "fewer answers loop with the filter, by at least one in a hundred",
        "none: a few thousand bad samples of 16.3M are said to suffice for loops",
        Lineage.planted,
        measures.planted,
        lambda v: v["loops, without filter"] - v["loops, with filter"] - 1,
    ),
    Claim(
        "mpo",
        "MPO (arXiv:2411.10442), section 5, tables 2 and 3",
        "MPO, and supervised training on the chosen answers for as many steps, behind stage 2",
        "MPO scores better than the model before and than supervised training",
        "InternVL2-8B on M3CoT: 59.3, with supervised training 67.8, with MPO 79.2",
        Lineage.preferred,
        measures.preferred,
        lambda v: v["MPO"] - max(v["before"], v["supervised"]),
    ),
    Claim(
        "lora",
        "fine-tuning recipes of InternVL 1.5 to 2.5 (rank 16, frozen tower)",
        "a model that was trained in English, fine-tuned to Chinese in full and by adapters",
        "adapters reach at least 80 % of the gain of the full fine-tuning",
        "none: only memory is published",
        Lineage.fine_tuned,
        measures.adapters,
        lambda v: (v["adapters"] - v["before"]) - 0.8 * (v["full"] - v["before"]),
    ),
    Claim(
        "generative",
        "InternVL (arXiv:2312.14238), section 4.3",
        "recall@1 of test pictures and captions, both ways, before and behind the generative stage",
        "InternVL-G retrieves better than InternVL-C",
        "mean recall on Flickr30K and COCO: C 86.6, G 88.8",
        lambda line: [line.contrastive, line.generative],
        measures.retrieval,
        lambda v: v["InternVL-G"] - v["InternVL-C"],
    ),
)
"""All claims, in the order in which they are measured."""

__all__ = ["CLAIMS", "Claim", "Values"]
