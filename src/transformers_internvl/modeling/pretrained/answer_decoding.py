# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Penalties, logits processors and stopping criteria that see the answer alone, as those of the original code do.

The original `generate` hands embeddings to the language model, so transformers has no ids of the prompt there: a
`repetition_penalty` counts what was answered, and a criterion of the user's is called with the answer. Here the
prompt's ids stay (chunked prefill, assistants and streamers want them), and are hidden from what looks at ids:

    ids of `generate`             <s> What is this ? | It is
    repetition_penalty sees                            It is
    max_length counts             <s> What is this ? | It is

Shape letters: B rows, L positions, P those of the prompt, V vocabulary.

Source: `InternVLChatModel.generate` in `modeling_internvl_chat.py` of the released checkpoints.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    LogitsProcessorList,
    MaxLengthCriteria,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteriaList,
    SuppressTokensAtBeginLogitsProcessor,
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
)

# Made by `generate` with the prompt's length in mind, or to go on from the prompt's last token.
_COUNT_THE_PROMPT = (
    ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
)


class AnswerProcessors(LogitsProcessorList):
    """Logits processors that see ids behind the prompt, but for those of `generate` that count from its start.

    Args:
        processors: what `generate` made, the user's among them.
        given: the user's own, which never see the prompt, but for those with a `prompt_ignore_length`.
        prompt_length: P.
    """

    def __init__(self, processors: Sequence[Any], given: Sequence[Any], prompt_length: int):
        super().__init__(processors)
        self.given, self.prompt_length = list(given), prompt_length
        for processor in processors:
            if isinstance(processor, RepetitionPenaltyLogitsProcessor) and not _is_one_of(processor, given):
                processor.prompt_ignore_length = None  # the padding of a prompt that it does not see

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Scores `(B, V)` after ids `(B, L)`."""
        answer = input_ids[:, self.prompt_length :]
        for processor in self:
            seen = input_ids if self._counts_the_prompt(processor) else answer
            scores = LogitsProcessorList([processor])(seen, scores, **kwargs)
        return scores

    def _counts_the_prompt(self, processor: Any) -> bool:
        if _is_one_of(processor, self.given):  # one that was given what to ignore knows the prompt
            return getattr(processor, "prompt_ignore_length", None) is not None
        return isinstance(processor, _COUNT_THE_PROMPT)


class AnswerCriteria(StoppingCriteriaList):
    """Stopping criteria that see ids behind the prompt, but for the length, which counts it.

    Args:
        criteria: what `generate` made, the user's among them.
        given: the user's own, which never see the prompt: a `MaxLengthCriteria` among them counts the answer.
        prompt_length: P.
    """

    def __init__(self, criteria: Sequence[Any], given: Sequence[Any], prompt_length: int):
        super().__init__(_with_prompt(one, prompt_length) if _is_one_of(one, given) else one for one in criteria)
        self.prompt_length = prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Which rows are done, `(B,)`, after ids `(B, L)`."""
        answer = input_ids[:, self.prompt_length :]
        done = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        for criterion in self:
            seen = input_ids if isinstance(criterion, MaxLengthCriteria) else answer
            done = done | criterion(seen, scores, **kwargs)
        return done


def _is_one_of(item: Any, items: Sequence[Any]) -> bool:
    return any(item is other for other in items)


def _with_prompt(criterion: Any, prompt_length: int) -> Any:
    """A criterion that counts the answer, as one that counts the prompt, too; any other as it is."""
    if type(criterion) is not MaxLengthCriteria:
        return criterion
    return MaxLengthCriteria(criterion.max_length + prompt_length, criterion.max_position_embeddings)


__all__ = ["AnswerCriteria", "AnswerProcessors"]
