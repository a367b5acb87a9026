# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternViT with the heads it is judged by: image classification and linear segmentation.

Both are a batch norm and one linear map over what the tower gives (arXiv:2312.14238, section 4.2 and tables 22, 23;
attention pooling: arXiv:2412.05271, section 7.1). Where several processes train,
`nn.SyncBatchNorm.convert_sync_batchnorm` gives the original synchronized norm.
How much of the model trains: `training/parameters.py`.

Shape letters: T images, S tokens (class token + patches), D width, N labels, h x w patch grid.

Source: `classification/models/intern_vit_6b.py`, `segmentation/mmseg_custom` of the original repository.
"""

from typing import Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_outputs import ImageClassifierOutput, SemanticSegmenterOutput
from transformers.utils import can_return_tuple

from .configuration import InternVisionConfig, InternVLVisionConfig
from .layers import AttentionPool, AttentionPoolAttention
from .model import InternVLVisionPreTrainedModel, build_vision_tower

HEAD_STD = 0.01


class ClassAndPatches(nn.Module):
    """The class token beside the mean of the patches: `(T, S, D)` to `(T, 2D)`."""

    def __init__(self, config: InternVLVisionConfig):
        super().__init__()
        self.width = 2 * config.hidden_size

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=-1)


class ClassifierAttentionPool(AttentionPool):
    """The attention pool of InternVL-C, new, with the tower's width and heads: `(T, S, D)` to `(T, D)`."""

    def __init__(self, config: InternVLVisionConfig):
        width, heads = config.hidden_size, config.classifier_pool_heads or config.num_attention_heads
        super().__init__(config, width, heads, out_width=width)
        self.width = width


POOLS: dict[str, type[nn.Module]] = {
    "cls_patch_concat": ClassAndPatches,
    "attention_pooling": ClassifierAttentionPool,
}
"""By `config.classifier_pooling`; each has a `width`, that of what it returns."""


class InternVLVisionHeadModel(InternVLVisionPreTrainedModel):
    """A tower, `internvl_vision`, and a head whose last layer is `classifier`. Loads from bare towers, too."""

    new_head = ("pooling", "batch_norm", "classifier")

    def __init__(self, config: InternVLVisionConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.internvl_vision = build_vision_tower(config)

    def get_input_embeddings(self) -> nn.Module:
        return self.internvl_vision.get_input_embeddings()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AttentionPoolAttention):
            module.init_biases()
        if module is self.classifier:
            init.normal_(module.weight, std=HEAD_STD)


class InternVLVisionForImageClassification(InternVLVisionHeadModel):
    """InternViT with a classifier: `config.classifier_pooling`, batch norm, linear layer."""

    def __init__(self, config: InternVLVisionConfig):
        super().__init__(config)
        self.pooling = POOLS[config.classifier_pooling](config)
        self.batch_norm = nn.BatchNorm1d(self.pooling.width, eps=1e-6)
        self.classifier = nn.Linear(self.pooling.width, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None, **kwargs: Any
    ) -> ImageClassifierOutput:
        """Classify images.

        Args:
            pixel_values: `(T, 3, height, width)`, normalized; sides any multiple of the patch size.
            labels: `(T,)` classes (int), or `(T, N)` floats for several labels each, or values to regress; which of
                them `config.problem_type` says, or else their dtype and N, as everywhere in transformers.

        Returns:
            `logits` `(T, N)`, and the mean `loss` where there are labels.
        """
        outputs = self.internvl_vision(pixel_values, return_dict=True, **kwargs)
        logits = self.classifier(self.batch_norm(self.pooling(outputs.last_hidden_state)))
        loss = None if labels is None else self.loss_function(labels, logits, self.config, **kwargs)
        return ImageClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class InternVLVisionForSemanticSegmentation(InternVLVisionHeadModel):
    """InternViT with a linear segmentation head: batch norm and a 1 x 1 convolution over the patches of one layer.

    The layer is `config.out_indices` (or `out_features`), the last one by default; blocks after it do not run.
    """

    def __init__(self, config: InternVLVisionConfig):
        super().__init__(config)
        layers = config.out_features
        if len(layers) != 1:
            raise ValueError(f"A linear segmentation head reads one layer, got `out_features` {layers}: choose one.")
        self.num_layers = config.stage_names.index(layers[0])
        self.batch_norm = nn.BatchNorm2d(config.hidden_size)
        self.classifier = nn.Conv2d(config.hidden_size, config.num_labels, kernel_size=1)
        self.post_init()

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None, **kwargs: Any
    ) -> SemanticSegmenterOutput:
        """Classify pixels.

        Args:
            pixel_values: `(T, 3, height, width)`, normalized; sides any multiple of the patch size.
            labels: `(T, height, width)` classes (int); `config.semantic_loss_ignore_index` where none is known.

        Returns:
            `logits` `(T, N, height, width)`, enlarged bilinearly from the patch grid, and the mean `loss` where there
            are labels.
        """
        outputs = self.internvl_vision(pixel_values, num_layers=self.num_layers, return_dict=True, **kwargs)
        size, patch_size = pixel_values.shape[-2:], self.config.patch_size
        grid = [side // patch for side, patch in zip(size, patch_size, strict=True)]
        features = outputs.last_hidden_state[:, 1:].transpose(1, 2).unflatten(2, grid)  # (T, D, h, w)
        logits = self.classifier(self.batch_norm(features))  # (T, N, h, w)
        logits = nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        loss = None if labels is None else self._loss(logits, labels, **kwargs)
        return SemanticSegmenterOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        wanted, ignored = (len(logits), *logits.shape[-2:]), self.config.semantic_loss_ignore_index
        if labels.shape != wanted:
            raise ValueError(
                f"`labels` must have one class per pixel, {wanted} (T, height, width), got {(*labels.shape,)}."
            )
        if self.num_labels < 2:
            raise ValueError(f"Segmentation needs two classes or more, got `num_labels` {self.num_labels}.")
        if (labels == ignored).all():
            return 0.0 * logits.sum()  # a mean over no pixels would be not a number
        return self.loss_function(logits, labels, ignore_index=ignored, **kwargs)


class InternVisionForImageClassification(InternVLVisionForImageClassification):
    """[`InternVLVisionForImageClassification`] in the original format (`model_type: intern_vit_6b`)."""

    config: InternVisionConfig


class InternVisionForSemanticSegmentation(InternVLVisionForSemanticSegmentation):
    """[`InternVLVisionForSemanticSegmentation`] in the original format (`model_type: intern_vit_6b`)."""

    config: InternVisionConfig


__all__ = [
    "InternVLVisionForImageClassification",
    "InternVLVisionForSemanticSegmentation",
    "InternVisionForImageClassification",
    "InternVisionForSemanticSegmentation",
]
