# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How much memory the tensors of a forward pass need at a time, found out by running it on the meta device.

Nothing is computed there, but every operation makes the tensors it would make. They are counted as they come and go,
and booked to the module that was running: so the figures are those of the model's own code, whatever model it is.

What a fused kernel never has in memory must not be counted: attention gets a stand-in here that makes its output
alone, as PyTorch's fused attention does.
"""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

FUSED = "internvl_fused_attention_stand_in"


def _fused_attention(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """The output `(B, L, H, C)` of attention and nothing in between."""
    batch, heads, length, _ = query.shape
    return query.new_empty(batch, length, heads, value.shape[-1]), None


def pretend_fused_attention(model: nn.Module) -> None:
    """Let every part of a model that has fused attention take the stand-in; eager attention stays what it is."""
    AttentionInterface.register(FUSED, _fused_attention)
    AttentionMaskInterface.register(FUSED, sdpa_mask)
    configs = [module.config for module in model.modules() if hasattr(module, "config")]
    chosen = [config._attn_implementation for config in configs]  # before a parent's choice reaches its children
    for config, choice in zip(configs, chosen, strict=True):
        config._attn_implementation = "eager" if choice == "eager" else FUSED


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are alive within the block; views share their base's.

    Args:
        known: tensors that are not counted, such as weights.

    Attributes:
        live: bytes now.
        peaks: module name, or what `during` names, to the most bytes that were alive while it ran.
    """

    def __init__(self, known: Iterable[torch.Tensor]):
        super().__init__()
        self.live = 0
        self.peaks: dict[str, int] = {}
        self._known = [tensor.untyped_storage() for tensor in known]  # kept, so that no other gets their addresses
        self._sizes = {storage._cdata: 0 for storage in self._known}
        self._running: list[str] = []

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Book what is alive within the block to `name`."""
        self._running.append(name)
        self._note()
        try:
            yield
        finally:
            self._running.pop()

    @contextmanager
    def watch(self, modules: dict[str, nn.Module]) -> Iterator[None]:
        """Book what is alive while one of the modules runs to its name."""
        handles = []
        for name, module in modules.items():
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: self._enter(name)))
            handles.append(module.register_forward_hook(lambda *_: self._leave()))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def take_peaks(self) -> dict[str, int]:
        """`peaks` so far, which begin anew."""
        peaks, self.peaks = self.peaks, {}
        return peaks

    def disown(self, tensors: Iterable[torch.Tensor]) -> None:
        """Count these no more."""
        for tensor in tensors:
            key = tensor.untyped_storage()._cdata
            self.live -= self._sizes.get(key, 0)
            self._sizes[key] = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name() == "aten::_grouped_mm":  # refuses on the meta device what is not bfloat16
            result = args[0].new_empty(*args[0].shape[:-1], args[1].shape[-1])
        else:
            result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.live += self._sizes[key]
            weakref.finalize(storage, self._forget, key)
            self._note()

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key)

    def _note(self) -> None:
        if self._running:
            name = self._running[-1]
            self.peaks[name] = max(self.peaks.get(name, 0), self.live)

    def _enter(self, name: str) -> None:
        self._running.append(name)
        self._note()

    def _leave(self) -> None:
        self._running.pop()


__all__ = ["LiveBytes", "pretend_fused_attention"]
