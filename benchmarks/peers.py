# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What benchmarks of training share: models on equal weights, ours and stock's, measured in processes of their own."""

import json
import subprocess
import sys
from typing import Any

import torch
from transformers.models.internvl import modeling_internvl as stock
from transformers.models.internvl.configuration_internvl import InternVLConfig as StockConfig

import transformers_internvl as ours


def build(whose: str, config: dict[str, Any]) -> torch.nn.Module:
    """The model of `"ours"` or `"stock"` in training, filled the same for both."""
    if whose == "ours":
        model = ours.InternVLForConditionalGeneration(ours.InternVLConfig(**config))
    else:
        model = stock.InternVLForConditionalGeneration(StockConfig(**config))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.normal_(std=0.02, generator=generator)
    return model.train()


def in_a_process(script: str, *arguments: object) -> dict[str, Any]:
    """What `script --one ARGUMENTS` prints as JSON."""
    command = [sys.executable, script, "--one", *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
