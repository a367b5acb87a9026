# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The vision tower, against nothing but its matrix products.

    python benchmarks/tower.py [--quick] [--device cuda] [--dtype bfloat16] [--rounds N] [--threads N]

Layers of the 300M tower (1024 wide, 16 heads of 64, 448 pixels), fewer of them, random weights. The peer is the matrix
products that no implementation can leave out, written to memory that is there already: query, key and value in one,
the scores of attention and their sums, the output projection, and the two of the feed-forward network. A ratio of 1
would be a tower whose other operations cost nothing. `attention` is the peer with scaled dot-product attention in the
place of its two products. Each figure is the fastest of alternating runs.
"""

import argparse
from collections.abc import Callable

import torch
from figures import heading, record, seconds

import transformers_internvl as ours

WIDTH, HEADS, HIDDEN, POSITIONS = 1024, 16, 4096, 1025
LIMIT = 1.3


def tower(layers: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return ours.InternVLVisionModel(
        ours.InternVLVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=HIDDEN,
            num_hidden_layers=layers,
            num_attention_heads=HEADS,
            attention_bias=True,
            image_size=448,
        )
    ).eval()


def products(tiles: int, layers: int, like: torch.Tensor, attention: bool) -> Callable[[], None]:
    """The bare products of `layers` blocks; with `attention`, torch's attention between the linear ones."""

    def new(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=like.device, dtype=like.dtype)

    rows = tiles * POSITIONS
    states, hidden = new(rows, WIDTH), new(rows, HIDDEN)
    weights = [new(WIDTH, 3 * WIDTH), new(WIDTH, WIDTH), new(WIDTH, HIDDEN)]
    places = [new(rows, weight.shape[1]) for weight in weights]
    down, result = new(HIDDEN, WIDTH), new(rows, WIDTH)
    heads = new(tiles, HEADS, POSITIONS, WIDTH // HEADS)
    flat, scores = heads.flatten(0, 1), None if attention else new(tiles * HEADS, POSITIONS, POSITIONS)
    mixed = torch.empty_like(flat)

    def run() -> None:
        for _ in range(layers):
            for weight, place in zip(weights, places, strict=True):
                torch.mm(states, weight, out=place)
            torch.mm(hidden, down, out=result)
            if scores is None:
                torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)
            else:
                torch.bmm(flat, flat.transpose(1, 2), out=scores)
                torch.bmm(scores, flat, out=mixed)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one layer, two rounds: a smoke test, not a measurement")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    layers, rounds = (1, 2) if options.quick else (4, options.rounds)
    model = tower(layers).to(options.device, getattr(torch, options.dtype))
    print(heading(options.device, options.dtype, f"{layers} layers", f"{rounds} rounds"))
    print(f"{'tiles':<8}{'tower':>8}{'attention':>11}   (times of the matrix products; at most {LIMIT} wanted)")
    found = {}
    with torch.inference_mode():
        for tiles in (1, 4):
            pixels = torch.randn(tiles, 3, 448, 448, device=options.device, dtype=model.dtype)
            ways = {
                "products": products(tiles, layers, pixels, attention=False),
                "attention": products(tiles, layers, pixels, attention=True),
                "tower": lambda pixels=pixels: model(pixels),
            }
            times: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(rounds):
                for way, run in ways.items():
                    times[way].append(seconds(run, options.device))
            base = min(times["products"])
            ratios = {way: min(times[way]) / base for way in ("tower", "attention")}
            found[f"tower / products, {tiles} tile(s)"] = ratios["tower"]
            print(f"{tiles:<8}{ratios['tower']:>8.2f}{ratios['attention']:>11.2f}")
    record(found, options.device)


if __name__ == "__main__":
    main()
