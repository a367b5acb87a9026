# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Fewer image tokens of every tile, chosen without training between the projector and the language model.

    model.generate(**inputs, kept_tokens=64, pruning="divprune")                  64 of the 256 tokens of every tile
    model.generate(**inputs, kept_tokens=0.25, pruning="pooling")                 a quarter of them
    model.generate(**inputs, kept_tokens=64, pruning="random", pruning_seed=0)

A fourth method, FastV, chooses within the language model (`layer_pruning.py`).

`forward` and `get_image_features` take the same arguments. Without them nothing changes. Prompts are written for whole
tiles, and shortened to what is kept as where InternVL3.5-Flash compresses (`modeling/flash/shortening.py`).

The methods are those of the public comparison UniPruneBench (arXiv:2511.02650) that work in front of the language
model; there they choose among the tokens of several tiles at once, here every tile keeps equally many.

Shape letters: T tiles, n image tokens of a tile, h x w their grid, k of them are kept, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import adaptive_avg_pool2d, normalize
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..flash.compression import ARGUMENTS as FLASH_ARGUMENTS
from ..flash.compression import Compression, take_compression
from ..flash.generation import holds_something
from ..outputs import InternVLPrunedOutputWithPooling

ARGUMENTS = ("kept_tokens", "pruning", "pruning_seed")
FASTV = "fastv"  # in the language model, see `layer_pruning.py`
_LARGEST_STRETCH = 2  # of the cells that are pooled, which are squares or up to twice as long as wide


@dataclass(frozen=True)
class Pruning:
    """Which image tokens of every tile are kept.

    Attributes:
        kept_tokens: k, a whole number; or the share of n, a float in (0, 1].
        method: a row of [`PRUNING_METHODS`].
        seed: of `"random"`: a number, with which every sample begins; or a generator, drawn on from tile to tile.
            None: torch's own generator.
        tiles_per_sample: how many tiles every sample has, in order; None: all are one sample's.
    """

    kept_tokens: int | float
    method: str
    seed: int | torch.Generator | None = None
    tiles_per_sample: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_kept(self.kept_tokens)
        if self.method == FASTV:
            raise ValueError(
                f"`pruning='{FASTV}'` chooses within the language model: pass it to `generate`, `chat` or `forward`."
            )
        if self.method not in PRUNING_METHODS:
            raise ValueError(f"`pruning` must be one of {_METHOD_NAMES}; got {self.method!r:.80}.")
        if self.seed is None:
            return
        if self.method != "random":
            raise ValueError(f"`pruning_seed` is for `pruning='random'`, {self.method!r} draws nothing: leave it out.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, (int, torch.Generator)):
            raise ValueError(f"`pruning_seed` must be a whole number or a `torch.Generator`, got {self.seed!r:.80}.")

    def of_samples(self, tiles_per_sample: Sequence[int]) -> "Pruning":
        """The same for samples of so many tiles."""
        return replace(self, tiles_per_sample=tuple(tiles_per_sample))

    def samples(self, num_tiles: int) -> tuple[int, ...]:
        """Tiles of every sample.

        Raises:
            ValueError: they do not add up to `num_tiles`.
        """
        return Compression(tiles_per_sample=self.tiles_per_sample).samples(num_tiles)

    def count(self, grid: tuple[int, int], others: int = 0) -> int:
        """How many tokens of a tile are kept, k.

        Args:
            grid: h, w of the image tokens.
            others: tokens that stand in no grid, those of the queries of QLLaMA.

        Raises:
            ValueError: more than there are; or, for pooling, a number that no grid has.
        """
        per_tile = grid[0] * grid[1] + others
        if isinstance(self.kept_tokens, int) and self.kept_tokens > per_tile:
            raise ValueError(
                f"A tile has {per_tile} image tokens, `kept_tokens={self.kept_tokens}` is more: keep {per_tile} at "
                "most."
            )
        wanted = self.kept_tokens if isinstance(self.kept_tokens, int) else self.kept_tokens * per_tile
        if wanted == per_tile:
            return per_tile
        if self.method != "pooling":
            return max(1, round(wanted))
        if others:
            raise ValueError(
                f"Pooling takes means of neighbours in a grid, and {others} of the {per_tile} image tokens of a tile "
                "are queries, which stand in none: choose another `pruning`."
            )
        sizes = sorted({rows * columns for rows, columns in _pooled_grids(grid)})
        nearest = min(sizes, key=lambda size: abs(size - wanted))
        if isinstance(self.kept_tokens, int) and nearest != wanted:
            around = [size for size in sizes if size < wanted][-1:] + [size for size in sizes if size > wanted][:1]
            raise ValueError(
                f"Pooling leaves a grid of {grid[0]} x {grid[1]} image tokens in a smaller grid, and none has "
                f"{self.kept_tokens}: take {' or '.join(map(str, around))}, or a share, which is rounded to such a "
                "number."
            )
        return nearest


def check_kept(kept: Any) -> None:
    """Raise `ValueError` for what is no number of image tokens, and no share of them."""
    allowed = " of every tile: a whole number from 1 on, or a share in (0, 1]"
    if isinstance(kept, bool) or not isinstance(kept, (int, float)):
        raise ValueError(f"`kept_tokens` says how many image tokens are kept{allowed}; got {kept!r:.80}.")
    if not (kept >= 1 if isinstance(kept, int) else 0 < kept <= 1):
        hint = " Many tokens are a whole number, not a float." if kept > 1 else ""
        raise ValueError(f"`kept_tokens` says how many image tokens are kept{allowed}; got {kept!r}.{hint}")


def take_reduction(
    config: Any, arguments: dict[str, Any], default: bool | None = False
) -> Compression | Pruning | None:
    """Take what makes image tokens fewer out of the arguments of a call: pruning, or InternVL3.5-Flash's compression.

    Args:
        config: of the chat model.
        arguments: of the call; `ARGUMENTS`, and what [`take_compression`] takes, are taken out.
        default: whether tiles are compressed if the call does not say so.

    Raises:
        ValueError: a value that is none; `kept_tokens` or `pruning` without the other; pruning beside compression.
    """
    samples = arguments.get("tiles_per_sample")
    compression = take_compression(config, arguments, default)
    kept, method, seed = (arguments.pop(name, None) for name in ARGUMENTS)
    if kept is None and method is None and seed is None:
        return compression
    if kept is None or method is None:
        raise ValueError(
            f"`kept_tokens` and `pruning` go together, how many image tokens of a tile are kept and how they are "
            f"chosen ({_METHOD_NAMES}): got kept_tokens={kept!r:.80} and pruning={method!r:.80}."
        )
    pruning = Pruning(kept, method, seed, None if samples is None else tuple(samples))
    if compression is not None:
        raise ValueError(
            "`kept_tokens` and the compression of InternVL3.5-Flash are two ways to make tiles shorter: choose one. "
            "`flash_mode=False` compresses nothing, and tokens of whole tiles are pruned."
        )
    return pruning


def refuse_late(features: Any, reduction: Compression | Pruning | None) -> Any:
    """`features` of images that were encoded earlier, whose tokens are as many as they were made to be then.

    Raises:
        ValueError: there are any, and a reduction.
    """
    if features is not None and reduction is not None:
        name = "kept_tokens" if isinstance(reduction, Pruning) else "flash_mode"
        raise ValueError(
            f"`{name}` comes too late for images that are encoded already (`mm_encoder_outputs`): pass it to "
            "`get_image_features`, or give the pixels."
        )
    return features


def take_reduction_of_generation(
    config: Any, arguments: dict[str, Any]
) -> tuple[Compression | Pruning | None, list[str]]:
    """As [`take_reduction`], of a call of `generate`, which compresses tiles as the configuration says.

    Returns:
        The reduction, and the names of the arguments that asked for it.

    Raises:
        ValueError: as [`take_reduction`]; or pruning with a cache that holds something.
    """
    asked = [name for name in (*FLASH_ARGUMENTS, *ARGUMENTS) if arguments.get(name) is not None]
    reduction = take_reduction(config, arguments, default=config.flash_mode)
    if isinstance(reduction, Pruning) and holds_something(arguments):
        raise ValueError(
            "A cache does not tell which image tokens it holds, so `kept_tokens` cannot go on from it: give the "
            "whole conversation without a cache."
        )
    return reduction, asked


# --- the methods -----------------------------------------------------------------------------------------------------


def prune(outputs: BaseModelOutputWithPooling, grid: tuple[int, int], pruning: Pruning) -> BaseModelOutputWithPooling:
    """Image features with fewer tokens of every tile.

    Args:
        outputs: of tower and projector, `pooler_output` `(T, n, D)`, the last h*w of a tile row by row of its grid.
        grid: h, w.
        pruning: how many are kept, and which.

    Returns:
        `outputs` where all are kept; else with T tensors `(k, D)`, in the order in which they were.

    Raises:
        ValueError: see [`Pruning.count`]; or samples that do not have T tiles together.
    """
    features: Any = outputs.pooler_output
    count = pruning.count(grid, features.shape[1] - grid[0] * grid[1])
    if count == features.shape[1]:
        return outputs
    tokens, places = PRUNING_METHODS[pruning.method](features, count, grid, pruning)
    return InternVLPrunedOutputWithPooling(**{**outputs, "pooler_output": list(tokens)}, kept_tokens=places)


Method = Callable[[torch.Tensor, int, tuple[int, int], Pruning], tuple[torch.Tensor, torch.Tensor | None]]


def _random(
    features: torch.Tensor, count: int, grid: tuple[int, int], pruning: Pruning
) -> tuple[torch.Tensor, torch.Tensor]:
    """Any k tokens, each set of them as likely as another. Every sample draws its own, the same in any batch."""
    places = []
    for tiles in pruning.samples(len(features)):
        generator = torch.Generator().manual_seed(pruning.seed) if isinstance(pruning.seed, int) else pruning.seed
        device = "cpu" if generator is None else generator.device
        draws = [torch.randperm(features.shape[1], generator=generator, device=device) for _ in range(tiles)]
        places += [draw[:count].to(features.device) for draw in draws]
    return _at(features, torch.stack(places) if places else torch.empty(0, count, dtype=torch.long))


def _pooling(features: torch.Tensor, count: int, grid: tuple[int, int], pruning: Pruning) -> tuple[torch.Tensor, None]:
    """Means of neighbours, in a smaller grid of nearly the same shape."""
    smaller = min(
        (pooled for pooled in _pooled_grids(grid) if pooled[0] * pooled[1] == count),
        key=lambda pooled: (_stretch(grid, pooled), pooled),
    )
    cells = features.transpose(1, 2).unflatten(2, grid)  # (T, D, h, w)
    return adaptive_avg_pool2d(cells, smaller).flatten(2).transpose(1, 2), None  # (T, k, D)


def _divprune(
    features: torch.Tensor, count: int, grid: tuple[int, int], pruning: Pruning
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens that are far from each other: each is the one whose nearest among those chosen so far is farthest.

    The distance is 1 - cosine. The first is the one that is farthest from its nearest of all (DivPrune,
    arXiv:2503.02175, algorithm 1).
    """
    with torch.no_grad():
        directions = normalize(features.float(), dim=-1)  # (T, n, D)
        distances = 1 - directions @ directions.transpose(1, 2)  # (T, n, n)
        tiles, device = torch.arange(len(features), device=features.device), features.device
        diagonal = torch.eye(features.shape[1], dtype=torch.bool, device=device)
        chosen = [distances.masked_fill(diagonal, torch.inf).amin(-1).argmax(-1)]  # (T,) each
        nearest = torch.full(features.shape[:2], torch.inf, device=device)  # (T, n), to those that are chosen
        for _ in range(count - 1):
            nearest = torch.minimum(nearest, distances[tiles, chosen[-1]])
            nearest[tiles, chosen[-1]] = -torch.inf  # once chosen, never again, not even among equal tokens
            chosen.append(nearest.argmax(-1))
    return _at(features, torch.stack(chosen, dim=1))


PRUNING_METHODS: dict[str, Method] = {"random": _random, "pooling": _pooling, "divprune": _divprune}
"""`pruning` -> features `(T, n, D)`, k, the grid and the arguments to features `(T, k, D)` and, where those are tokens
of the tile, their places in it, `(T, k)`."""


_METHOD_NAMES = ", ".join((*PRUNING_METHODS, FASTV))


def _at(features: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens at places `(T, k)`, in their order in the tile."""
    places = places.to(features.device).sort(-1).values
    return features.gather(1, places[..., None].expand(-1, -1, features.shape[-1])), places


def _stretch(grid: tuple[int, int], pooled: tuple[int, int]) -> float:
    """How much longer than wide, or wider than long, the cells of a pooled grid are."""
    rows, columns = grid[0] / pooled[0], grid[1] / pooled[1]
    return max(rows / columns, columns / rows)


def _pooled_grids(grid: tuple[int, int]) -> list[tuple[int, int]]:
    """The grids into which one can be pooled."""
    every = ((rows, columns) for rows in range(1, grid[0] + 1) for columns in range(1, grid[1] + 1))
    return [pooled for pooled in every if _stretch(grid, pooled) <= _LARGEST_STRETCH]


__all__ = [
    "ARGUMENTS",
    "FASTV",
    "PRUNING_METHODS",
    "Pruning",
    "check_kept",
    "prune",
    "refuse_late",
    "take_reduction",
    "take_reduction_of_generation",
]
