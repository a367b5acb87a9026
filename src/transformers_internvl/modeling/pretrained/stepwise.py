# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`generate` up to the first token: everything is prepared, and the caller runs the prompt and decodes.

    call = Stepwise()
    model.generate(**inputs, generation_config=config, custom_generate=call)
    for positions in call.pieces(model, 512):   # the prompt, 512 positions at a time
        ...                                     # between two of them
    call.logits                                 # of the first token

So several answers can be decoded together without a second implementation of what `generate` prepares: checks, image
features, positions, logits processors, criteria, caches, and the beginnings that `keep_prefixes` knows.

Shape letters: L positions of a prompt, N image tokens of it, V vocabulary, D width.
"""

from collections.abc import Callable, Generator
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

Layers = tuple[tuple[torch.Tensor, torch.Tensor], ...]


class Stepwise:
    """A decoding method (`custom_generate`) that decodes nothing.

    Attributes:
        ids: `(1, L)`, the prompt, as the language model gets it; more rows where several answers are asked for.
        processors: of the logits.
        criteria: when the answer ends.
        config: settings, complete.
        kwargs: further arguments of the model, among them `cache` and `position_ids`.
        keep: takes the ids `(L,)` of a prompt and its answer, and keys and values of as many positions, for later
            prompts. None: nothing is kept.
        logits: `(1, V)` in float32, behind the whole prompt, once [`pieces`] has run.
    """

    def __init__(self) -> None:
        self.ids: Any = None
        self.processors: Any = None
        self.criteria: Any = None
        self.config: Any = None
        self.kwargs: dict[str, Any] = {}
        self.keep: Callable[[torch.Tensor, Layers], None] | None = None
        self.logits: Any = None

    def __call__(
        self,
        model: Any,
        input_ids: torch.Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> torch.Tensor:
        """Called by `generate` in place of decoding; it returns the prompt as it is."""
        self.ids, self.processors, self.criteria = input_ids, logits_processor, stopping_criteria
        self.config, self.kwargs = generation_config, model_kwargs
        return input_ids

    def pieces(self, model: Any, most: int | None) -> Generator[int, None, int]:
        """Run the prompt through the model, at most so many positions at a time. None: all at once.

        Yields the number of positions of each piece but the last, and returns that of the last.
        """
        length, done = self.ids.shape[1], int(self.kwargs["cache"].get_seq_length())
        self.config.prefill_chunk_size = None  # the pieces are in its place
        features = _rows_of(self.kwargs.get("mm_encoder_outputs"))
        places = int((self.ids[:, done:] == model.config.image_token_id).sum()) if features is not None else 0
        refused = features is not None and places != len(features[0])  # the model says why
        if most is None or length - done <= most or self.kwargs.get("pixel_values") is not None or refused:
            outputs = model._prefill(self.ids, self.config, self.kwargs)
        else:
            while True:
                end = min(done + most, length)
                outputs = model._prefill(self.ids[:, :end], self.config, self._part(model, done, end, features))
                if end == length:
                    break
                yield end - done
                done = end
        # As `_sample`: in float32, and without the other positions' logits.
        self.logits = outputs.logits[:, -1].to(copy=True, dtype=torch.float32, device=self.ids.device)
        self.kwargs = model._update_model_kwargs_for_generation(outputs, self.kwargs)
        self.kwargs.pop("mm_encoder_outputs", None)
        self.kwargs.pop("pixel_values", None)
        return length - done

    def _part(self, model: Any, start: int, end: int, features: list[torch.Tensor] | None) -> dict[str, Any]:
        """The model's arguments for positions from `start` to `end`; takes their image tokens out of `features`."""
        kwargs = {name: value for name, value in self.kwargs.items() if name != "mm_encoder_outputs"}
        mask = kwargs.get("attention_mask")  # None: all ones; by its length `_prefill` knows which ids are new
        kwargs["attention_mask"] = self.ids.new_ones((len(self.ids), end)) if mask is None else mask[:, :end]
        if kwargs.get("position_ids") is not None:
            kwargs["position_ids"] = kwargs["position_ids"][..., :end]
        if features is not None:
            count = int((self.ids[:, start:end] == model.config.image_token_id).sum())
            if count:
                taken, features[0] = features[0][:count], features[0][count:]
                kwargs["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=[taken])}
        return kwargs


def _rows_of(encoded: Any) -> list[torch.Tensor] | None:
    """Image tokens `(N, D)` that are not placed yet, in a list of one; None: there are no images."""
    features = (encoded or {}).get("image")
    if features is None:
        return None
    return [torch.cat([tile.reshape(-1, tile.shape[-1]) for tile in features.pooler_output])]


__all__ = ["Layers", "Stepwise"]
