# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Drafting with images: the embedded model drafts for a deeper one, with and without sight of the image.

    python benchmarks/drafting.py [--quick]

The deeper model is the embedded one with further blocks in its language model whose outputs are zero: it answers as
the embedded one does and costs more. So a drafter that sees the image is always right, which is the best case; how far
a pair of released models comes to it depends on how often they agree. The peer is the deeper model alone. All three
must give the same ids. Each figure is the fastest of alternating runs.
"""

import argparse
import copy
import time

import torch
from figures import heading, record
from transformers import AutoModelForImageTextToText, AutoProcessor

from transformers_internvl.nano import nano_path, sample_images

MORE_BLOCKS = 40
NEW_TOKENS = 24


def deeper(model: torch.nn.Module) -> torch.nn.Module:
    """The model with blocks that add nothing behind those of its language model."""
    model = copy.deepcopy(model)
    decoder = model.model.language_model
    for index in range(len(decoder.layers), len(decoder.layers) + MORE_BLOCKS):
        block = copy.deepcopy(decoder.layers[0])
        block.self_attn.layer_idx = index
        torch.nn.init.zeros_(block.self_attn.o_proj.weight)
        torch.nn.init.zeros_(block.mlp.down_proj.weight)
        decoder.layers.append(block)
    text = model.config.text_config
    text.num_hidden_layers = len(decoder.layers)
    if getattr(text, "layer_types", None):
        text.layer_types = [text.layer_types[0]] * len(decoder.layers)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions: a smoke test, not a measurement")
    runs = 2 if parser.parse_args().quick else 12
    drafter = AutoModelForImageTextToText.from_pretrained(nano_path()).eval()
    drafter.generation_config.num_assistant_tokens = 7
    drafter.generation_config.num_assistant_tokens_schedule = "constant"
    drafter.generation_config.assistant_confidence_threshold = 0
    model, processor = deeper(drafter), AutoProcessor.from_pretrained(nano_path())
    content = [{"type": "image", "path": str(sample_images()["number"])}, {"type": "text", "text": "What number?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        encoded = {"image": model.get_image_features(inputs["pixel_values"], return_dict=True)}
    text_alone = {**{key: inputs[key] for key in ("input_ids", "attention_mask")}, "mm_encoder_outputs": encoded}
    options = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
    ways = {
        "alone": (inputs, {}),
        "drafted without the image": (text_alone, {"assistant_model": drafter}),
        "drafted with the image": (inputs, {"assistant_model": drafter}),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    passes: dict[str, int] = {}
    answers = {}
    for _ in range(runs):
        for way, (given, drafts) in ways.items():
            calls: list[int] = []
            handle = model.register_forward_hook(lambda *_, calls=calls: calls.append(1))
            start = time.perf_counter()
            answers[way] = model.generate(**given, **options, **drafts)
            times[way].append(time.perf_counter() - start)
            handle.remove()
            passes[way] = len(calls)
    for way in ways:
        torch.testing.assert_close(answers[way], answers["alone"], rtol=0, atol=0)
    print(heading("cpu"))
    print(f"{'':<28}{'time / alone':>13}{'passes':>8}   of {NEW_TOKENS} tokens, {runs} runs")
    ratios = {way: min(times[way]) / min(times["alone"]) for way in ways}
    for way, ratio in ratios.items():
        print(f"{way:<28}{ratio:>13.2f}{passes[way]:>8}")
    record({f"{way} / alone": ratio for way, ratio in ratios.items() if way != "alone"})


if __name__ == "__main__":
    main()
