# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`torch.jit.trace`, from which the older ONNX exporter starts, on every InternViT. Judged by the models."""

import pytest
import torch
from torch import nn
from transformers import (
    AutoBackbone,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForSemanticSegmentation,
)

from tests.parity.golden import golden_root

CLASSES = {
    "tower": (AutoModel, {}),
    "classifier": (AutoModelForImageClassification, {"num_labels": 5}),
    "attention pool": (
        AutoModelForImageClassification,
        {"num_labels": 5, "classifier_pooling": "attention_pooling"},
    ),
    "pyramid": (AutoBackbone, {"out_indices": [1, 2, 3, 4], "use_fpn": True}),
    "segmentation": (AutoModelForSemanticSegmentation, {"num_labels": 5}),
}


class AsTensors(nn.Module):
    """A model whose outputs are a tuple of tensors."""

    def __init__(self, model: nn.Module, method: str = "forward"):
        super().__init__()
        self.model, self.method = model.eval(), method

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = getattr(self.model, self.method)(pixel_values)
        outputs = [outputs] if torch.is_tensor(outputs) else outputs.values()
        return tuple(t for value in outputs for t in (value if isinstance(value, tuple) else (value,)))


@torch.no_grad()
def check(model: AsTensors, side: int) -> None:
    for parameter in model.parameters():
        if not parameter.any():  # fresh heads begin at zero, where nothing can differ
            parameter.normal_(std=0.2)
    traced = torch.jit.trace(model, torch.randn(2, 3, side, side))
    pixel_values = torch.randn(19, 3, side, side)  # more tiles than the tower of a chat model takes at a time
    for got, expected in zip(traced(pixel_values), model(pixel_values), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("name", ["intern_vit_300m", "intern_vit_6b"])
def test_every_intern_vit_can_be_traced(name, kind):
    auto_class, options = CLASSES[kind]
    model = auto_class.from_pretrained(golden_root() / name, **options)
    for scale in (1, 2):  # the size of the position table, and another one
        check(AsTensors(model), scale * model.config.image_size[0])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    "name, method",
    [("chat_internlm2", "extract_feature"), ("chat_qwen2", "extract_feature"), ("internvl_14b", "get_image_features")],
)
def test_the_image_side_of_whole_models_too(name, method):
    model = AutoModel.from_pretrained(golden_root() / name)
    check(AsTensors(model, method), model.config.vision_config.image_size[0])
