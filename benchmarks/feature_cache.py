# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""LoRA behind a frozen tower: epochs on features from disk against upstream transformers' epochs.

    python benchmarks/feature_cache.py [--quick] [--rounds N]

The tower is InternViT-300M's shape (24 blocks, 1024 wide, 448 pixels), the language model that of InternVL2.5-1B (24
layers, 896 wide) with a smaller vocabulary. Every way trains the same adapters (peft, rank 16) on equal weights for
two epochs over the same few images of one tile each, a process of its own for each, in turn; of every step the least
disturbed round counts, as CPU time of one thread. The time of an epoch is that of collating, forward, backward and
optimizer; with the cache that is naming the tiles by their pixels and reading or writing features, too. The losses of
all steps must agree. Figures are ours over upstream's: below 1 we need less.
"""

import tempfile
import time

import torch
from figures import heading, record
from peers import build, command_line, in_turn, least_disturbed, require_equal
from peft import get_peft_model

from transformers_internvl.training.data.collation import PaddingCollator, Sample
from transformers_internvl.training.feature_cache.model import FeatureCache
from transformers_internvl.training.lora import lora_config

IMAGE_TOKEN, TOKENS_PER_TILE = 7, 256
VOCABULARY = 32768
QUESTION, ANSWER = 32, 32  # tokens
BATCH = 2
CONFIG = {
    "text_config": {
        "model_type": "qwen2",
        "vocab_size": VOCABULARY,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    },
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "attention_bias": True,
        "image_size": 448,
    },
    "image_token_id": IMAGE_TOKEN,
    "tie_word_embeddings": False,
}
WAYS = ("upstream", "ours", "cached")


def sample() -> Sample:
    """An image of one tile, a question and an answer."""
    ids = torch.randint(8, VOCABULARY, (TOKENS_PER_TILE + QUESTION + ANSWER,))
    ids[4 : 4 + TOKENS_PER_TILE] = IMAGE_TOKEN
    labels = ids.clone()
    labels[:-ANSWER] = -100
    pixels = torch.randn(1, 3, 448, 448)
    return {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


def measure(way: str, count: int, layers: int) -> dict[str, list[list[float]]]:
    """Two epochs over `count` samples in this process: seconds and losses of the steps, by epoch."""
    for part in ("text_config", "vision_config"):
        CONFIG[part]["num_hidden_layers"] = layers
    model = build("upstream" if way == "upstream" else "ours", CONFIG)
    torch.manual_seed(1)
    samples = [sample() for _ in range(count)]
    model = get_peft_model(model, lora_config("llm", model, r=16, dropout=0.0))
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-4)
    collate, prepare = PaddingCollator(0), dict
    with tempfile.TemporaryDirectory() as folder:
        if way == "cached":
            cache = FeatureCache(folder, model)
            collate, prepare = cache.collator(collate), cache.encode_new
        epochs = [_epoch(model, optimizer, samples, collate, prepare) for _ in range(2)]
    return {name: [epoch[name] for epoch in epochs] for name in ("seconds", "losses")}


def _epoch(model, optimizer, samples, collate, prepare) -> dict[str, list[float]]:
    seconds, losses = [], []
    for at in range(0, len(samples), BATCH):
        start = time.process_time()
        loss = model(**prepare(collate(samples[at : at + BATCH]))).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.process_time() - start)
        losses.append(loss.item())
    return {"seconds": seconds, "losses": losses}


def main() -> None:
    about = __doc__.splitlines()[0]
    arguments = command_line(about, "two layers, one round", 2, measure, (str, int, int))
    layers, rounds = 2 if arguments.quick else 24, arguments.rounds
    found = in_turn(__file__, rounds, {way: (way, 2 * BATCH, layers) for way in WAYS})
    steps = zip(*(sum(result["losses"], []) for results in found.values() for result in results), strict=True)
    for number, losses in enumerate(steps):
        require_equal(f"loss of step {number}", losses)
    print(heading("cpu", f"{layers} + {layers} layers", f"{2 * BATCH} images", f"{rounds} round(s)"))
    print(f"{'epoch':<8}{'without cache':>15}{'with cache':>12}   (ours / upstream)")
    ratios = {}
    for epoch in range(2):
        best = {way: least_disturbed(result["seconds"][epoch] for result in results) for way, results in found.items()}
        without, cached = (best[way] / best["upstream"] for way in ("ours", "cached"))
        print(f"{epoch + 1:<8}{without:>15.2f}{cached:>12.2f}")
        ratios[f"epoch {epoch + 1}, without cache"], ratios[f"epoch {epoch + 1}, with cache"] = without, cached
    record(ratios)


if __name__ == "__main__":
    main()
