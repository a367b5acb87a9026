# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Run tests as on a processor whose kernels depend on where a tensor lies: `pytest -p tests.other_processor`.

Which kernel multiplies two matrices depends on the processor, on the alignment of the operands in memory and on the
number of rows. Weights of two models lie at different places in memory, so that results of two models with equal
weights differ by rounding, on some machines only. This plugin makes every machine such a machine: products in float32
get a relative error of two units in the last place, drawn from what may decide the kernel. The same computation on
the same memory stays equal bit for bit; anything else that a test asks to be equal fails.
"""

from functools import cache

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

WITHOUT = ("test_compiled", "test_traced")  # a graph cannot be made while products are watched
_LINE = 64  # bytes of a cache line: kernels look at addresses within it
_ERROR = 2.0**-22  # two units in the last place of float32
_aten = torch.ops.aten
_PRODUCTS = {
    _aten.addmm.default,
    _aten.mm.default,
    _aten.bmm.default,
    _aten.baddbmm.default,
    _aten.convolution.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
}


@cache
def _noise(key: tuple[int, ...], width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(hash(key) % 2**31)
    return 1 + _ERROR * (2 * torch.rand(width, generator=generator) - 1)


def _decides(tensor: torch.Tensor) -> tuple[int, int]:
    """What of an operand may decide the kernel: place within a line, number of rows."""
    return tensor.data_ptr() % _LINE, tensor.numel() // max(1, tensor.shape[-1] if tensor.dim() else 1)


class OtherProcessor(TorchDispatchMode):
    """Adds rounding errors to products of float32 matrices."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        if func not in _PRODUCTS:
            return results
        first = results[0] if isinstance(results, tuple) else results
        operands = [a for a in args if isinstance(a, torch.Tensor)]
        if type(first) is torch.Tensor and first.dtype == torch.float32 and first.device.type == "cpu" and first.dim():
            key = tuple(part for operand in operands for part in _decides(operand))
            first.mul_(_noise(key, first.shape[-1]))
        return results


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    if item.path.stem in WITHOUT or "flex_attention" in item.name:
        return (yield)
    with OtherProcessor():
        return (yield)
