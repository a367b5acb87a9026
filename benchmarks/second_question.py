# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The second question: time to the first token with common beginnings kept, against computing everything again.

    python benchmarks/second_question.py [--quick] [--device cuda]

The model has the layers of a small InternVL, fewer of them, and random weights. The first question is about an image
of 13 tiles. Then follow a further question in the same conversation, and a question in another conversation (another
system message) about the same image. Pixels are there already. Both ways must give the same ids. Each figure is the
fastest of alternating runs.
"""

import argparse

import torch
from figures import heading, record, seconds

import transformers_internvl as ours

TEXT = {
    "model_type": "qwen2",
    "vocab_size": 4096,
    "hidden_size": 448,
    "intermediate_size": 2432,
    "num_hidden_layers": 6,
    "num_attention_heads": 7,
    "num_key_value_heads": 1,
}
VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "attention_bias": True,
    "image_size": 448,
}
IMAGE_TOKEN, TILES, TOKENS_PER_TILE = 7, 13, 256
OPTIONS = {"max_new_tokens": 1, "do_sample": False, "eos_token_id": None}


def prompt(system: int, question: int) -> torch.Tensor:
    """System message, image, question: `(1, L)`."""
    words = torch.Generator().manual_seed(system), torch.Generator().manual_seed(question)
    parts = [torch.randint(8, 4096, (40,), generator=words[0]), torch.full((TILES * TOKENS_PER_TILE,), IMAGE_TOKEN)]
    return torch.cat([*parts, torch.randint(8, 4096, (30,), generator=words[1])])[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions: a smoke test, not a measurement")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device, runs = options.device, 1 if options.quick else 5
    torch.manual_seed(0)
    config = ours.InternVLConfig(text_config=TEXT, vision_config=VISION, image_token_id=IMAGE_TOKEN)
    model = ours.InternVLForConditionalGeneration(config).eval().to(device)
    pixels = torch.randn(TILES, 3, 448, 448, device=device)
    first = prompt(1, 1).to(device)
    further = torch.cat([first, torch.randint(8, 4096, (1, 30), device=device)], dim=1)
    questions = {"first": first, "further": further, "other conversation": prompt(2, 3).to(device)}
    times: dict[tuple[str, bool], list[float]] = {}
    for _ in range(runs):
        ids: dict[str, list[torch.Tensor]] = {name: [] for name in questions}
        for keeps in (False, True):
            model.keep_prefixes(2**31 if keeps else None)
            for name, question in questions.items():

                def ask(question: torch.Tensor = question, found: list[torch.Tensor] = ids[name]) -> None:
                    found.append(model.generate(input_ids=question, pixel_values=pixels, **OPTIONS))

                times.setdefault((name, keeps), []).append(seconds(ask, device))
        for name, (without, with_kept) in ids.items():
            torch.testing.assert_close(with_kept, without, rtol=0, atol=0, msg=f"{name}: other ids")
    print(heading(device, f"{runs} runs"))
    print(f"{'question':<22}{'kept / computed again':>22}")
    ratios = {name: min(times[name, True]) / min(times[name, False]) for name in questions}
    for name, ratio in ratios.items():
        print(f"{name:<22}{ratio:>22.3f}")
    record(ratios, device)


if __name__ == "__main__":
    main()
