# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a judge is: a row of `JUDGES` (see `judges.py`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..metrics import Row

TEMPERATURES = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Of the official code's attempts to get a reply that it can read."""


@dataclass(frozen=True)
class Judge:
    """How the answers of a benchmark are judged.

    Attributes:
        prompt: from an answered question to the text that the judge is sent.
        read: from the judge's reply to the columns that the metric reads; None where the reply cannot be read.
        unread: the columns where no reply could be read, as the official code has them.
        columns: that `prompt` needs besides `prediction`.
        decided: whether a rule decides the answer, so that the judge is not asked.
        temperatures: of the first attempt and of those that follow a reply that cannot be read.
        max_tokens: of a reply; None = as many as the judge's server allows.
        system_message: None = none.
        extra: further fields of the request.
        dialogue: role and text of the messages between the system message and the prompt.
        picture: the detail in which the judge sees the question's image, its column `image` in base64; None = not.
        follow: who judges next, with the columns that were read so far; it is left out where a rule decides then.
        made: makes the judge from the folder of the questions, where its texts are not part of this package.
        source: of prompt and settings, in VLMEvalKit, or where it begins with `eval/` in OpenGVLab/InternVL.
    """

    prompt: Callable[[Row], str]
    read: Callable[[str], dict[str, Any] | None]
    unread: Mapping[str, Any]
    columns: tuple[str, ...]
    source: str
    decided: Callable[[Row], bool] = lambda row: False
    temperatures: tuple[float, ...] = TEMPERATURES
    max_tokens: int | None = None
    system_message: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    dialogue: tuple[tuple[str, str], ...] = ()
    picture: Literal["low", "high"] | None = None
    follow: "Judge | None" = None
    made: "Callable[[Path], Judge] | None" = None


__all__ = ["TEMPERATURES", "Judge"]
