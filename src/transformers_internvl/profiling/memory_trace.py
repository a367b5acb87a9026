# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How much memory the tensors of a model need at a time, found by running it without numbers.

On the meta device and with fake tensors nothing is computed, but every operation makes the tensors that it would make.
They are counted as they come and go, and booked to the module or stage that is running. So the figures are those of
the model's own code, whatever model it is.

What a fused kernel never has in memory must not be counted. So attention is replaced here: on the meta device, where
there is no backward pass, by its output alone; with fake tensors by PyTorch's fused attention.
"""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

FUSED_ATTENTION = "internvl_fused_attention"
"""Name of the replacement for `set_attn_implementation`."""


def _fused_attention(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The output `(B, L, H, C)` of attention, of queries `(B, H, L, C)`."""
    if query.is_meta:
        batch, heads, length, _ = query.shape
        return query.new_empty(batch, length, heads, value.shape[-1]), None
    return sdpa_attention_forward(module, query, key, value, *args, **kwargs)


def _mask(*args: Any, device: torch.device | str = "cpu", **kwargs: Any) -> torch.Tensor | None:
    """None for fake tensors: transformers would make a mask for them, as it does while it traces a graph."""
    return sdpa_mask(*args, device=device, **kwargs) if torch.device(device).type == "meta" else None


AttentionInterface.register(FUSED_ATTENTION, _fused_attention)
AttentionMaskInterface.register(FUSED_ATTENTION, _mask)


def pretend_fused_attention(model: nn.Module) -> None:
    """Replace fused attention in every part of a model that has it. Eager attention stays."""
    configs = [module.config for module in model.modules() if hasattr(module, "config")]
    chosen = [config._attn_implementation for config in configs]  # before a parent's choice reaches its children
    for config, choice in zip(configs, chosen, strict=True):
        config._attn_implementation = "eager" if choice == "eager" else FUSED_ATTENTION


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of storages that operations make within the block, as long as they live.

    Views share the storage of their base. What was there before, such as weights, is not counted.

    Attributes:
        now: bytes at present.
        peaks: what `during`, `watch` or `enter` names -> the maximum number of bytes that were alive while it ran.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peaks: dict[str, int] = {}
        self._sizes: dict[int, int] = {}
        self._running: list[str] = []

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Book what is alive within the block to `name`."""
        self._begin(name)
        try:
            yield
        finally:
            self._running.pop()

    @contextmanager
    def watch(self, modules: dict[str, nn.Module]) -> Iterator[None]:
        """Book what is alive while one of the modules runs to its name."""
        handles = []
        for name, module in modules.items():
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: self._begin(name)))
            handles.append(module.register_forward_hook(lambda *_: self._running.pop() and None))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def enter(self, stage: str) -> None:
        """End the present stage and begin another one."""
        self._running[-1:] = [stage]
        self._note()

    def take_peaks(self) -> dict[str, int]:
        """Return `peaks` and clear them."""
        peaks, self.peaks = self.peaks, {}
        return peaks

    def disown(self, tensors: Iterable[torch.Tensor]) -> None:
        """Count these no more."""
        for tensor in tensors:
            key = storage_key(tensor)
            self.now -= self._sizes.get(key, 0)
            self._sizes[key] = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {storage_key(tensor) for tensor in _tensors((args, kwargs))}
        if func.name() == "aten::_grouped_mm" and (args[0].is_meta or isinstance(args[0], FakeTensor)):
            result = _grouped_product(*args, **(kwargs or {}))
        else:
            result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            if storage_key(tensor) not in given:
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.now += self._sizes[key]
            weakref.finalize(storage, self._forget, key)
            self._note()

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key)

    def _begin(self, name: str) -> None:
        self._running.append(name)
        self._note()

    def _note(self) -> None:
        if self._running:
            name = self._running[-1]
            self.peaks[name] = max(self.peaks.get(name, 0), self.now)


def _grouped_product(
    left: torch.Tensor, right: torch.Tensor, offsets: torch.Tensor | None = None, **kwargs: Any
) -> torch.Tensor:
    """The result of `_grouped_mm`, which without numbers refuses every dtype but bfloat16."""
    groups = (len(offsets),) if left.ndim == right.ndim == 2 and offsets is not None else ()
    return left.new_empty(*groups, *left.shape[:-1], right.shape[-1])


def storage_key(tensor: torch.Tensor) -> int:
    """A number that tensors have in common if they share a storage."""
    return tensor.untyped_storage()._cdata


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))


__all__ = ["FUSED_ATTENTION", "LiveMemory", "pretend_fused_attention", "storage_key"]
