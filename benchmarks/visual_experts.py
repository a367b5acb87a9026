# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Mono-InternVL: each position through its own feed-forward network, against both networks at every position.

    python benchmarks/visual_experts.py [--quick]

The peer is the formula of the original code on the same weights: both networks everywhere, blended by a 0/1 mask. The
layer has the width of Mono-InternVL-2B. Both must give the same hidden states. Each figure is the fastest of
alternating runs. A ratio of 1 is the time of the original formula.
"""

import argparse
import time
from collections.abc import Callable

import torch
from figures import heading, record

from transformers_internvl.modeling.visual_experts import InternLM2VEConfig, InternLM2VEDecoderLayer, InternLM2VEModel

SHAPE = {"hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 16, "num_key_value_heads": 8}
WORDS, TOKENS_PER_TILE = 128, 256


class BothNetworks(InternLM2VEDecoderLayer):
    """A layer that computes both networks at every position, as the original code does."""

    def feed_forward(self, hidden_states: torch.Tensor, image_token_mask: torch.Tensor | None) -> torch.Tensor:
        if image_token_mask is None:
            return self.mlp(hidden_states)
        mask = image_token_mask[..., None].to(hidden_states.dtype)  # (B, L, 1)
        return self.mlp(hidden_states) * (1 - mask) + self.mlp_ve(hidden_states) * mask


def ratio(layer: torch.nn.Module, work: Callable[[], torch.Tensor], runs: int) -> float:
    """The time of routing by index over that of both networks, which must give the same."""
    results, times = {}, {InternLM2VEDecoderLayer: [], BothNetworks: []}
    for _ in range(runs):
        for kind, found in times.items():
            layer.__class__ = kind
            start = time.perf_counter()
            results[kind] = work()
            found.append(time.perf_counter() - start)
    torch.testing.assert_close(*results.values(), rtol=1e-4, atol=1e-4)
    ours, original = (min(found) for found in times.values())
    return ours / original


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions: a smoke test, not a measurement")
    runs = 2 if parser.parse_args().quick else 10
    torch.manual_seed(0)
    model = InternLM2VEModel(InternLM2VEConfig(vocab_size=64, num_hidden_layers=1, **SHAPE)).eval()
    layer = model.layers[0]
    ratios = {}
    print(heading("cpu", f"{runs} runs"))
    print(f"{'prompt':<10}{'feed-forward':>14}{'whole layer':>13}{'runs':>6}")
    with torch.inference_mode():
        for tiles in (1, 6):
            length = WORDS + tiles * TOKENS_PER_TILE
            hidden, mask = torch.randn(1, length, 2048), torch.zeros(1, length, dtype=torch.bool)
            mask[:, 4 : 4 + tiles * TOKENS_PER_TILE] = True
            inputs = {"inputs_embeds": hidden, "image_token_mask": mask, "use_cache": False}
            networks = ratio(layer, lambda hidden=hidden, mask=mask: layer.feed_forward(hidden, mask), runs)
            whole = ratio(layer, lambda inputs=inputs: model(**inputs).last_hidden_state, runs)
            print(f"{tiles:>2} tiles  {networks:>14.3f}{whole:>13.3f}{runs:>6}")
            ratios[f"{tiles} tiles, networks"], ratios[f"{tiles} tiles, whole layer"] = networks, whole
    record(ratios)


if __name__ == "__main__":
    main()
