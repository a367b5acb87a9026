# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Where a model takes its inputs when some of its weights wait in main memory or on the disk."""

import torch
from torch import nn


class TakesInputsOnDevice(nn.Module):
    """Mixin in front of `PreTrainedModel`: `device` is a real one, whichever part waits elsewhere."""

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the first weight that is on one.

        Weights that wait in main memory or on the disk (`device_map`) are on the meta device meanwhile; if all of them
        do, the processor runs them. Only of a model without weights it is the meta device itself.
        """
        for parameter in self.parameters():
            if not parameter.is_meta:
                return parameter.device
        return torch.device("cpu" if getattr(self, "hf_device_map", None) else "meta")


__all__ = ["TakesInputsOnDevice"]
