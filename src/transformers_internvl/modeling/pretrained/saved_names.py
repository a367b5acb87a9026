# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`load_state_dict` for weights that bear the names of a saved folder.

`save_pretrained` writes the names of the format on disk, which are not those of the modules. Who reads such a file by
himself and hands it to `load_state_dict(..., strict=False)` would load nothing, without a word: this is how `Trainer`
resumes a run and fetches its best checkpoint.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel


class AcceptsSavedNames:
    """Mixin in front of `PreTrainedModel`."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As PyTorch's; names of a saved folder are mapped to the modules' first, as `from_pretrained` maps them."""
        own = self.state_dict().keys()  # type: ignore[attr-defined]
        if not own >= state_dict.keys():
            state_dict = self._under_own_names(dict(state_dict))
        return super().load_state_dict(state_dict, strict=strict, assign=assign)  # type: ignore[misc]

    def _under_own_names(self, state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights that have a place, by its name, and the others as they are called."""
        dtype = next((t.dtype for t in state_dict.values() if t.is_floating_point()), None)
        loaded, report = PreTrainedModel.from_pretrained.__func__(  # without the checks of the classes in between
            type(self),
            None,
            config=self.config,  # type: ignore[attr-defined]
            state_dict=state_dict,
            dtype=dtype,
            output_loading_info=True,
        )
        found = {key: tensor for key, tensor in loaded.state_dict().items() if key not in report["missing_keys"]}
        return {**found, **{key: state_dict[key] for key in report["unexpected_keys"] if key in state_dict}}


__all__ = ["AcceptsSavedNames"]
