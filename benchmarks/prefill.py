# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Prefill: our model against upstream transformers' on equal weights, in one process, in turn.

    python benchmarks/prefill.py [--quick] [--device cuda]

Both run a text-only prompt, a prompt with one tile and one with thirteen, and must give the same logits. Each figure
is the fastest of many alternating runs: on a shared machine that is the least disturbed one. A ratio of 1 is the time
of upstream.
"""

import argparse

import torch
from figures import heading, record, seconds
from transformers.models.internvl import modeling_internvl as upstream
from transformers.models.internvl.configuration_internvl import InternVLConfig as UpstreamConfig

import transformers_internvl as ours

TEXT = {
    "model_type": "qwen2",
    "vocab_size": 4096,
    "hidden_size": 448,
    "intermediate_size": 1216,
    "num_hidden_layers": 4,
    "num_attention_heads": 7,
    "num_key_value_heads": 1,
}
# The 300M tower's block (1024 wide, 16 heads, 448 pixels), fewer of them.
VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 2,
    "num_attention_heads": 16,
    "attention_bias": True,
    "image_size": 448,
}
IMAGE_TOKEN, TOKENS_PER_TILE = 7, 256


def pair() -> tuple[torch.nn.Module, torch.nn.Module]:
    """Our model and upstream's with the same random weights."""
    torch.manual_seed(0)
    arguments = {
        "text_config": TEXT,
        "vision_config": VISION,
        "image_token_id": IMAGE_TOKEN,
        "tie_word_embeddings": False,
    }
    mine = ours.InternVLForConditionalGeneration(ours.InternVLConfig(**arguments)).eval()
    theirs = upstream.InternVLForConditionalGeneration(UpstreamConfig(**arguments)).eval()
    theirs.load_state_dict(mine.state_dict())
    return mine, theirs


def batch(tiles: int, words: int, device: str) -> dict[str, torch.Tensor]:
    """One prompt with so many tiles."""
    ids = torch.randint(8, 4096, (1, words + tiles * TOKENS_PER_TILE), device=device)
    ids[:, 4 : 4 + tiles * TOKENS_PER_TILE] = IMAGE_TOKEN
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "logits_to_keep": 1}
    return {**inputs, "pixel_values": torch.randn(tiles, 3, 448, 448, device=device)} if tiles else inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions: a smoke test, not a measurement")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    mine, theirs = (model.to(options.device) for model in pair())
    print(heading(options.device))
    print(f"{'prompt':<22}{'ours / upstream':>14}{'runs':>7}")
    ratios = {}
    with torch.inference_mode():
        for name, tiles, runs in (("text, 512 tokens", 0, 80), ("one tile", 1, 30), ("13 tiles", 13, 6)):
            inputs = batch(tiles, 512 if not tiles else 128, options.device)
            torch.testing.assert_close(mine(**inputs).logits, theirs(**inputs).logits, rtol=1e-4, atol=1e-4)
            runs = 2 if options.quick else runs
            times: dict[str, list[float]] = {"ours": [], "upstream": []}
            for _ in range(runs):
                times["ours"].append(seconds(lambda inputs=inputs: mine(**inputs), options.device))
                times["upstream"].append(seconds(lambda inputs=inputs: theirs(**inputs), options.device))
            ratios[f"{name}, ours / upstream"] = ratio = min(times["ours"]) / min(times["upstream"])
            print(f"{name:<22}{ratio:>14.3f}{runs:>7}")
    record(ratios, options.device)


if __name__ == "__main__":
    main()
