# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A model in an original layout as a canonical one: other names, the same tensors."""

import os
from typing import Any

import torch
from torch import nn
from transformers.utils import logging

from ...renamed_modules import alias_former_names
from ..internvl.configuration import InternVLConfig
from ..internvl.model import InternVLForConditionalGeneration
from ..pretrained.parallel import share_ranks
from ..pretrained.quantized import share_quantized

logger = logging.get_logger(__name__)

_UPSTREAM_BEHAVIOUR = {
    "ps_version": ("v2",),
    "projector_type": ("mlp",),
    "flash_mode": (None, False),
    "rope_pos_id_version": ("default",),
}


class CanonicalFormMixin:
    """Mixin in front of [`InternVLForConditionalGeneration`] for models with a layout of their own on disk.

    Attributes:
        saves_original_format: which layout `save_pretrained` writes by default.
    """

    saves_original_format: bool

    def save_pretrained(
        self, save_directory: str | os.PathLike, *, save_original_format: bool | None = None, **kwargs: Any
    ) -> None:
        """Write the model's own layout with `save_original_format=True`, the canonical one with False.

        None takes what the class writes by default, `saves_original_format`. Everything else as transformers'.
        """
        if self.saves_original_format if save_original_format is None else save_original_format:
            super().save_pretrained(save_directory, **kwargs)  # type: ignore[misc]
        else:
            self.to_canonical().save_pretrained(save_directory, **kwargs)

    def to_canonical(self) -> InternVLForConditionalGeneration:
        """The same model as an [`InternVLForConditionalGeneration`] with an `InternVLConfig`, the tensors shared."""
        return as_canonical(self)  # type: ignore[arg-type]


def as_canonical(model: InternVLForConditionalGeneration) -> InternVLForConditionalGeneration:
    """The same model as an [`InternVLForConditionalGeneration`] with an `InternVLConfig`, the tensors shared.

    Args:
        model: with a configuration that has `to_canonical`.
    """
    config = model.config.to_canonical()
    warn_beyond_upstream(config)
    with torch.device("meta"):
        canonical = InternVLForConditionalGeneration(config)
    quantized = share_quantized(model, canonical)
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith(quantized)}
    canonical.load_state_dict(weights, strict=not quantized, assign=True)
    canonical.tie_weights()
    copy_buffers(model, canonical)
    canonical.generation_config = model.generation_config
    share_ranks(model, canonical)
    return canonical.train(model.training)


def warn_beyond_upstream(config: InternVLConfig) -> None:
    """Warn of fields that upstream does not know: without them it would compute something else."""
    for field, upstream in _UPSTREAM_BEHAVIOUR.items():
        if getattr(config, field) not in upstream:
            logger.warning(
                f"The canonical folder says `{field}: {getattr(config, field)}`: this package reads that, upstream "
                "transformers does not know the field and would compute something else."
            )


def copy_buffers(source: nn.Module, target: nn.Module) -> None:
    """Buffers that no state dict holds, such as rotary frequencies: taken over, not left on the meta device."""
    for name, buffer in source.named_buffers():
        owner, _, leaf = name.rpartition(".")
        target.get_submodule(owner)._buffers[leaf] = buffer


__all__ = ["CanonicalFormMixin", "as_canonical", "copy_buffers", "warn_beyond_upstream"]
alias_former_names(__name__, warn_beyond_stock="warn_beyond_upstream")
