# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""One of two ranks that share rows: losses and gradients of every case, summed over the ranks.

    torchrun --nproc_per_node=2 -m tests.modeling.context_ranks FOLDER

The sums go to `FOLDER/found.pt`.
"""

import sys
from pathlib import Path

import torch
from torch import distributed

from tests.tiny import tiny_model
from transformers_internvl.modeling.pretrained.context_parallel import ContextGroup

# Text configurations: heads and key-value heads that two ranks divide, that they do not, and attention by windows.
CASES = {
    "two key-value heads": {},
    "odd heads": {"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 8},
    "windows": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    "llama": {"model_type": "llama", "num_key_value_heads": 4},
    "internlm2": {"model_type": "internlm2"},
}


def model_of(case: str) -> torch.nn.Module:
    model = tiny_model(text=CASES[case], loss_reduction="square")
    model.config.vision_config.drop_path_rate = 0.0
    return model.train()


def rows(model: torch.nn.Module) -> dict[str, dict[str, torch.Tensor]]:
    """A pack with images, whose length two ranks do not divide; the same without images; and padded rows."""
    generator = torch.Generator().manual_seed(0)
    config, lengths = model.config, (21, 9, 13)
    ids = torch.randint(2, config.text_config.vocab_size, (1, sum(lengths)), generator=generator)
    image = config.image_token_id
    ids[ids == image] = image - 1
    text = ids.clone()
    tiles, begin = 3, 0
    for length, count in zip(lengths, (2, 0, 1), strict=True):
        ids[0, begin + 1 : begin + 1 + count * config.image_seq_length] = image
        begin += length
    places = torch.cat([torch.arange(length) for length in lengths])[None]
    labels = ids.masked_fill((ids == image) | (places < 5), -100)
    pixels = torch.randn(tiles, 3, *config.vision_config.image_size, generator=generator)
    pack = {"input_ids": ids, "position_ids": places, "labels": labels, "pixel_values": pixels}
    only_text = {"input_ids": text, "position_ids": places, "labels": text}
    mask = torch.ones_like(text[:, :20]).repeat(2, 1)
    mask[1, 15:] = 0
    padded = text[:, :20].repeat(2, 1)
    rows = {"input_ids": padded, "attention_mask": mask, "labels": padded.masked_fill(mask == 0, -100)}
    return {"pack": pack, "text": only_text, "rows": rows, "one sample": {"input_ids": text, "labels": text}}


def run(model: torch.nn.Module, row: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The loss of a row and the gradients of all weights."""
    model.zero_grad()
    loss = model(**row).loss
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **{name: gradient.clone() for name, gradient in gradients.items()}}


def main(folder: Path) -> None:
    distributed.init_process_group("gloo")
    found = {}
    for name in CASES:
        model = model_of(name)
        model.model.set_context_group(ContextGroup())
        for kind, row in rows(model).items():
            if kind == "pack":
                model.activation_checkpointing_enable()
            parts = run(model, row)
            model.activation_checkpointing_disable()
            for value in parts.values():
                distributed.all_reduce(value)
            found[name, kind] = parts
        model.model.set_context_group(None)
    if distributed.get_rank() == 0:
        torch.save(found, folder / "found.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
