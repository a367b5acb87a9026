# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Training on packed samples: our model and packer against upstream transformers' model on padded batches.

    python benchmarks/packing.py [--quick] [--rounds N]

The samples have InternVL 2.5's mix of lengths (`tests/training/length_mix.py`), 16 times shorter: 16 tokens a tile,
packs of 1,024 tokens and 48 tiles. Upstream's examples pad random batches to their longest sample, here of 4 and of 8.
Every way takes all samples once, forward and backward (gradients add up), on equal weights, in a process of its own,
in turn; of every batch the least disturbed round counts. Loss and gradient of all samples must agree to 1e-5.
Figures are ratios of real tokens, not padding, per second of CPU time: above 1 packing trains faster. `filled` is the
padded batches' share of real tokens, `1/filled` what leaving out the padding gains if nothing else costs or saves
time.
"""

import sys
import time
from pathlib import Path

import torch
from figures import heading, record
from peers import build, command_line, in_turn, least_disturbed, require_equal

from transformers_internvl.training.data.collation import (
    PackingCollator,
    PaddingCollator,
    Sample,
    as_piece,
    take_piece,
)
from transformers_internvl.training.data.packing import Packer, Piece

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.training.length_mix import TOKENS_PER_TILE, length_mix  # noqa: E402 (needs the path)

SHORTER = 16
MAX_TOKENS, MAX_TILES = 16384 // SHORTER, 48
SIDE = 448 // 4  # pixels: 64 patches a tile, 16 tokens
VOCABULARY = 4096
PADDING, START, END, IMAGE_TOKEN = 0, 5, 6, 7
IGNORED = -100
BATCH_SIZES = (4, 8)
# The language model of the 1B at half its width, four layers of it; a tower that costs next to nothing.
CONFIG = {
    "text_config": {
        "model_type": "qwen2",
        "vocab_size": VOCABULARY,
        "hidden_size": 448,
        "intermediate_size": 2432,
        "num_hidden_layers": 4,
        "num_attention_heads": 7,
        "num_key_value_heads": 1,
    },
    "vision_config": {
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "attention_bias": True,
        "image_size": SIDE,
    },
    "image_token_id": IMAGE_TOKEN,
    "image_seq_length": TOKENS_PER_TILE // SHORTER,
    "tie_word_embeddings": False,
}


def shortened(piece: Piece) -> Sample:
    """A sample of the mix, its texts `SHORTER` times shorter (a token at least), with as many smaller tiles."""
    ids, at = [], 0
    for image in piece.images:
        ids += words((image.start - at) // SHORTER)
        ids += [START, *[IMAGE_TOKEN] * (image.tiles * TOKENS_PER_TILE // SHORTER), END]
        at = image.stop
    answer = max(1, piece.supervised // SHORTER)
    ids += words((piece.stop - piece.supervised - at) // SHORTER) + words(answer)
    labels = torch.tensor(ids)
    labels[:-answer] = IGNORED
    sample = {
        "input_ids": torch.tensor(ids),
        "labels": labels,
        "attention_mask": torch.ones(len(ids), dtype=torch.long),
    }
    if piece.tiles:
        sample["pixel_values"] = torch.randn(piece.tiles, 3, SIDE, SIDE)
    return sample


def words(count: int) -> list[int]:
    return torch.randint(8, VOCABULARY, (max(1, count),)).tolist()


def packed(samples: list[Sample]) -> list[dict[str, torch.Tensor]]:
    packer = Packer(MAX_TOKENS, MAX_TILES)
    pieces = [as_piece(sample, key, START, END) for key, sample in enumerate(samples)]
    packs = [pack for piece in pieces for pack in packer.add(piece)] + packer.flush()
    collate = PackingCollator(reduction=None)
    return [collate([[take_piece(samples[piece.key], piece) for piece in pack.pieces]]) for pack in packs]


def padded(samples: list[Sample], size: int) -> list[dict[str, torch.Tensor]]:
    collate = PaddingCollator(PADDING)
    return [collate(samples[at : at + size]) for at in range(0, len(samples), size)]


def measure(whose: str, size: int, count: int) -> dict[str, object]:
    """All samples once in this process, packed (`size` 0) or padded: seconds of each batch, loss, norm of gradient."""
    torch.manual_seed(1)
    samples = [shortened(piece) for piece in length_mix(count)]
    batches = padded(samples, size) if size else packed(samples)
    labels = sum(int((sample["labels"] != IGNORED).sum()) for sample in samples)
    model = build(whose, CONFIG)
    model(**max(batches, key=lambda batch: batch["input_ids"].numel())).loss.backward()  # buffers that stay
    model.zero_grad(set_to_none=False)
    seconds, loss = [], 0.0
    for batch in batches:
        start = time.process_time()
        part = model(**batch, num_items_in_batch=labels).loss
        part.backward()
        seconds.append(time.process_time() - start)
        loss += part.item()
    squares = [parameter.grad.square().sum() for parameter in model.parameters() if parameter.grad is not None]
    return {
        "seconds": seconds,
        "loss": loss,
        "gradient": torch.stack(squares).sum().sqrt().item(),
        "tokens": sum(len(sample["input_ids"]) for sample in samples),
        "positions": sum(batch["input_ids"].numel() for batch in batches),
    }


def main() -> None:
    about = __doc__.splitlines()[0]
    arguments = command_line(about, "one round of few samples", 5, measure, (str, int, int))
    count, rounds = 8 if arguments.quick else 48, arguments.rounds
    ways = [("ours", 0), *((whose, size) for size in BATCH_SIZES for whose in ("upstream", "ours"))]
    found = in_turn(__file__, rounds, {way: (*way, count) for way in ways})
    for name in ("loss", "gradient"):
        require_equal(name, [result[name] for results in found.values() for result in results])
    seconds = {way: least_disturbed(result["seconds"] for result in results) for way, results in found.items()}
    ratios = {}
    print(heading("cpu", f"{count} samples", f"{rounds} round(s)"))
    print("tokens per second, packed over padded, by the size of the padded batches")
    print(f"{'size':<6}{'filled':>8}{'1/filled':>9}{'over upstream':>12}{'over ours':>11}")
    for size in BATCH_SIZES:
        one = found["upstream", size][0]
        gains = [seconds[whose, size] / seconds["ours", 0] for whose in ("upstream", "ours")]
        filled = one["tokens"] / one["positions"]
        print(f"{size:<6}{filled:>8.2f}{1 / filled:>9.2f}{gains[0]:>12.2f}{gains[1]:>11.2f}")
        ratios[f"over upstream, batches of {size}"], ratios[f"over ours, batches of {size}"] = gains
    record(ratios)


if __name__ == "__main__":
    main()
