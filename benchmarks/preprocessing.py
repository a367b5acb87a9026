# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How fast images become tiles: our two backends against upstream transformers and against the original transform.

    python benchmarks/preprocessing.py [--quick] [--threads N] [--cpu] [--rounds N] [--max-tiles 12]

Everything runs in this process, with torch's default number of threads or that given, from decoded images to the
normalized tensor of all tiles, thumbnail included. The four take turns, and of every one the least disturbed run
counts: what else the machine does only ever adds time. With `--cpu` the processor time of all threads counts, which
other work disturbs less. Ratios are the peer's time over ours. `levels` is the largest distance of the torch backend
from the exact pixels, in levels of 255; that the exact backend has the original pixels is checked here as well.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from figures import record
from PIL import Image
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.images.tiling import select_grid, tile_boxes

SIZES = [
    (320, 240),
    (448, 448),
    (640, 480),
    (800, 600),
    (480, 1000),
    (1000, 700),
    (1280, 720),
    (1920, 1080),
    (1654, 2339),
]
LARGE_SIZES = [(4032, 3024), (8000, 2000)]
QUICK_SIZES = [(448, 448), (640, 480), (1000, 700), (1920, 1080)]
SIDE = 448
PAUSE = 0.03  # seconds, until the threads of the run before sleep
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def synthetic_image(width: int, height: int, seed: int) -> Image.Image:
    """Smooth gradients with noise and hard edges: something between a photo and a page."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (17 + 9 * band)) + np.cos(y / (23 - 5 * band)) for band in range(3)]
    pixels = 127 + 50 * np.stack(waves, axis=-1) + generator.normal(0, 12, (height, width, 3))
    pixels[height // 4 : height // 3, width // 5 : width // 2] = 255
    pixels[::40, :, :] = 0
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def original_transform(image: Image.Image, max_tiles: int) -> torch.Tensor:
    """The steps of the original pipeline: canvas, crops and thumbnail by PIL, then each tile normalized."""
    columns, rows = select_grid(*image.size, tile_size=SIDE, max_tiles=max_tiles)
    canvas = image.resize((columns * SIDE, rows * SIDE))
    tiles = [canvas.crop(box) for box in tile_boxes(columns, rows, SIDE)]
    if len(tiles) > 1:
        tiles.append(image.resize((SIDE, SIDE)))
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    tensors = []
    for tile in tiles:
        tensor = torch.from_numpy(np.array(tile, copy=True)).permute(2, 0, 1).contiguous()
        tensors.append(tensor.to(torch.float32).div(255).clone().sub_(mean).div_(std))
    return torch.stack(tensors)


def contenders(max_tiles: int) -> dict:
    upstream = GotOcr2ImageProcessorPil(
        crop_to_patches=True,
        size={"height": SIDE, "width": SIDE},
        image_mean=MEAN,
        image_std=STD,
        max_patches=max_tiles,
    )
    exact = InternVLImageProcessor(max_patches=max_tiles)
    fast = InternVLImageProcessor(max_patches=max_tiles, backend="torch")
    return {
        "upstream": lambda image: upstream(image, return_tensors="pt")["pixel_values"],
        "original": lambda image: original_transform(image, max_tiles),
        "pil": lambda image: exact(image, return_tensors="pt")["pixel_values"],
        "torch": lambda image: fast(image, return_tensors="pt")["pixel_values"],
    }


def least_times(runs: dict, image: Image.Image, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """The shortest time of each in milliseconds, taking turns."""
    best = dict.fromkeys(runs, float("inf"))
    turns = rounds if image.width * image.height > 2**21 else 3 * rounds  # short runs are disturbed more easily
    for _ in range(turns + 1):
        for name, run in runs.items():
            time.sleep(PAUSE)
            start = clock()
            run(image)
            best[name] = min(best[name], 1000 * (clock() - start))
    return best


def accuracy(runs: dict, image: Image.Image) -> tuple[float, float]:
    """Distance of the exact backend from the original values, and of the torch backend in levels."""
    reference = runs["original"](image)
    to_levels = 255 * torch.tensor(STD).view(3, 1, 1)
    exact = (runs["pil"](image) - reference).abs().max().item()
    return exact, ((runs["torch"](image) - reference).abs() * to_levels).max().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few sizes and rounds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (default: its own)")
    parser.add_argument("--cpu", action="store_true", help="measure processor time in place of elapsed time")
    parser.add_argument("--rounds", type=int, default=None, help="turns (default 15, quick 5), thrice for small ones")
    parser.add_argument("--max-tiles", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runs = contenders(options.max_tiles)
    sizes = QUICK_SIZES if options.quick else SIZES + LARGE_SIZES
    clock = time.process_time if options.cpu else time.perf_counter
    rounds = options.rounds or (5 if options.quick else 15)

    print(
        f"threads: {options.threads}; least {'processor' if options.cpu else 'elapsed'} times in ms of upstream's PIL "
        "processor, the original transform, and our pil and torch backends; ratios"
    )
    columns = [
        "size",
        "tiles",
        "upstream",
        "original",
        "pil",
        "torch",
        "upstream/pil",
        "original/pil",
        "upstream/torch",
        "original/torch",
        "levels",
    ]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    ratios = []
    for seed, (width, height) in enumerate(sizes):
        image = synthetic_image(width, height, seed)
        exact_error, levels = accuracy(runs, image)
        if exact_error > 1e-6:
            raise SystemExit(f"{width} x {height}: the exact backend is {exact_error} off the original values")
        times = least_times(runs, image, rounds, clock)
        tiles = len(runs["torch"](image))
        row = [times[peer] / times[ours] for ours in ("pil", "torch") for peer in ("upstream", "original")]
        ratios.append(row)
        shown = [f"{times[name]:.1f}" for name in ("upstream", "original", "pil", "torch")] + [f"{r:.2f}" for r in row]
        print(f"| {width}x{height} | {tiles} | " + " | ".join(shown) + f" | {levels:.2f} |", flush=True)
    mean = np.exp(np.log(np.array(ratios)).mean(axis=0))
    peers = ("upstream / pil", "original / pil", "upstream / torch", "original / torch")
    found = {f"{peer}, geometric mean": value for peer, value in zip(peers, mean, strict=True)}
    record({**found, "original / pil, least": min(row[1] for row in ratios)})
    print("| geometric mean | | | | | | " + " | ".join(f"{value:.2f}" for value in mean) + " | |")


if __name__ == "__main__":
    main()
