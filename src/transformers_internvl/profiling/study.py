# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The architecture study behind InternViT-6B: which shape should 6 billion parameters have (arXiv:2312.14238, 3.2)?

The search space is depth {32, 48, 64, 80} x head dimension {64, 128} x MLP ratio {4, 8}. The width follows: the
multiple of the head dimension that comes closest to the budget. The paper shows six of the sixteen (Table 11) and
takes the third for its stability.

The candidates are plain ViTs with biases and LayerNorm, and the one that was taken is as it was released: without
biases in the projections of queries, keys and values, and with QK-norm. So the published numbers of parameters come
out to the printed digit.
"""

from dataclasses import dataclass
from itertools import product

from ..modeling.vision.configuration import InternVisionConfig
from .model_profile import Profile, profile

DEPTHS, HEAD_DIMS, MLP_RATIOS = (32, 48, 64, 80), (64, 128), (4, 8)
BUDGET = 6_000_000_000
IMAGE_SIZE = 224

# (depth, head dimension, MLP ratio) -> variant of Table 11, its millions of parameters and "GFLOPs" as printed there,
# which are multiply-accumulates.
PUBLISHED = {
    (32, 64, 4): (1, 6051, 1571),
    (48, 64, 4): (2, 5903, 1536),
    (48, 128, 4): (3, 5903, 1536),
    (48, 64, 8): (4, 5985, 1553),
    (64, 64, 4): (5, 6095, 1589),
    (80, 64, 4): (6, 5985, 1564),
}
RELEASED = (48, 128, 4)


@dataclass(frozen=True)
class Candidate:
    """A shape of the search space and what it costs; `published` is its row of [`PUBLISHED`], if it has one."""

    config: InternVisionConfig
    mlp_ratio: int
    profile: Profile
    published: tuple[int, int, int] | None

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.config.hidden_size // self.config.num_attention_heads


def candidate_config(depth: int, head_dim: int, mlp_ratio: int, width: int) -> InternVisionConfig:
    """The tower of a shape, for 224 pixels."""
    released = (depth, head_dim, mlp_ratio) == RELEASED
    return InternVisionConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // head_dim,
        intermediate_size=width * mlp_ratio,
        attention_bias=not released,
        use_qk_norm=released,
        norm_type="rms_norm" if released else "layer_norm",
        image_size=IMAGE_SIZE,
    )


def fitting_candidate(depth: int, head_dim: int, mlp_ratio: int, budget: int = BUDGET) -> Candidate:
    """The candidate of a depth, head dimension and MLP ratio whose number of parameters is closest to the budget.

    Raises:
        ValueError: a budget that not even one head fits.
    """
    square = (budget / (depth * (4 + 2 * mlp_ratio))) ** 0.5  # without biases, norms and embeddings
    heads = int(square // head_dim)
    if heads < 1:
        raise ValueError(
            f"{budget:,} parameters are too few for {depth} layers with heads of {head_dim}: raise the budget."
        )
    widths = [n * head_dim for n in (heads - 1, heads, heads + 1) if n]
    configs = [candidate_config(depth, head_dim, mlp_ratio, width) for width in widths]
    best = min(configs, key=lambda config: abs(_parameters(config) - budget))
    published = PUBLISHED.get((depth, head_dim, mlp_ratio)) if budget == BUDGET else None
    return Candidate(best, mlp_ratio, profile(best), published)


def _parameters(config: InternVisionConfig) -> int:
    """Parameters of a tower by those of one and of two of its equal blocks, which are built sooner than all."""
    one, two = (
        profile(InternVisionConfig(**{**config.to_dict(), "num_hidden_layers": depth})).parameters for depth in (1, 2)
    )
    return one + (config.num_hidden_layers - 1) * (two - one)


def architecture_study(budget: int = BUDGET) -> list[Candidate]:
    """The sixteen candidates of the search space at a budget of parameters."""
    return [fitting_candidate(*shape, budget) for shape in product(DEPTHS, HEAD_DIMS, MLP_RATIOS)]


__all__ = ["BUDGET", "Candidate", "PUBLISHED", "architecture_study", "candidate_config", "fitting_candidate"]
