# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A language model judges rows (InternVL 2.5, section 4.3): quality by domain, and repetition.

The paper gives the procedure and the thresholds: a row gets one of four domains, a prompt of that domain asks for a
score from 0 to 10, below 7 it is dropped; a special prompt scores repetition, below 3 it is dropped. Its prompts are
not published. Those in `judge_prompts.json` are ours.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from datatrove.data import Document

from .endpoints import AskingCheck, Endpoint, EndpointOptions, Question
from .heuristics import Finding
from .options import in_range
from .rows import texts_of

DOMAINS = ("disciplinary", "programming", "mathematics", "general")
"""The domains of the paper: knowledge of a school or university subject, code, mathematics, and all else."""

_SCORE = re.compile(r"(?<![\d.\-])(10(?:\.0+)?|\d(?:\.\d+)?)(?![\d.]*\d)")
_OF_TEN = re.compile(r"\s*(?:/|out of|of)\s*10\b")
_LABELLED = re.compile(r"\"?score\"?\s*[:=]\s*\"?(10(?:\.0+)?|\d(?:\.\d+)?)(?!\d)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class JudgeOptions(EndpointOptions):
    """Options of `judge`.

    Attributes:
        threshold: rows with a lower score are dropped; the paper's.
        rows: the paper judges text.
        domains: DOMAIN -> the instruction that asks for the score, in place of ours.
        max_characters: a longer conversation is shown without its middle, which the judge is told.
    """

    threshold: float = 7.0
    rows: str = "text"
    domains: dict | None = None
    max_characters: int = 24_000
    max_tokens: int | None = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("threshold", self.threshold, 0, 10)
        unknown = sorted(set(self.domains or {}) - set(DOMAINS))
        if unknown:
            raise ValueError(f"`domains`: unknown domain {unknown[0]!r}; known are {', '.join(DOMAINS)}.")


@dataclass(frozen=True, kw_only=True)
class JudgeRepetitionOptions(EndpointOptions):
    """Options of `judge_repetition`.

    Attributes:
        threshold: rows with a lower score are dropped; the paper's. 0 is nothing but repetition, 10 none.
        prompt: the instruction that asks for the score, in place of ours.
        max_characters: see `JudgeOptions`.
    """

    threshold: float = 3.0
    prompt: str | None = None
    max_characters: int = 24_000
    max_tokens: int | None = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("threshold", self.threshold, 0, 10)


class JudgeQuality(AskingCheck):
    """Two questions a row: its domain, and its score."""

    options: JudgeOptions

    def examine_by(self, document: Document, endpoint: Endpoint) -> Finding | None:
        """A score below the threshold."""
        shown = conversation_text(document, self.options.max_characters)
        domain = endpoint.ask(Question(shown, read_domain, system=prompts()["domain"]))
        instruction = (self.options.domains or {}).get(domain) or prompts()[domain]
        score = endpoint.ask(Question(shown, read_score, system=f"{instruction}\n\n{prompts()['reply']}"))
        document.metadata["scores"] |= {"domain": domain, self.place.name: score}
        return _below(score, self.options.threshold, domain)


class JudgeRepetition(AskingCheck):
    """One question a row."""

    options: JudgeRepetitionOptions

    def examine_by(self, document: Document, endpoint: Endpoint) -> Finding | None:
        """A score below the threshold."""
        shown = conversation_text(document, self.options.max_characters)
        instruction = self.options.prompt or prompts()["repetition"]
        score = endpoint.ask(Question(shown, read_score, system=f"{instruction}\n\n{prompts()['reply']}"))
        document.metadata["scores"][self.place.name] = score
        return _below(score, self.options.threshold, "repetition")


def _below(score: float, threshold: float, judged: str) -> Finding | None:
    return Finding("low score", f"{score:g} of 10 ({judged}), below {threshold:g}") if score < threshold else None


@cache
def prompts() -> dict[str, str]:
    """The instructions: one a domain, and "domain", "repetition", "reply"."""
    return {
        name: "\n".join(lines)
        for name, lines in json.loads(files(__package__).joinpath("judge_prompts.json").read_bytes()).items()
    }


def conversation_text(document: Document, maximum: int) -> str:
    """A row as the judge sees it: data between two lines, with the speaker in front of each text."""
    turns = [f"[{text.role}]\n{text.value}" for text in texts_of(document.metadata["row"])]
    text = "\n\n".join(turns)
    if len(text) > maximum:
        half = maximum // 2
        text = f"{text[:half]}\n[{len(text) - 2 * half} characters are not shown]\n{text[-half:]}"
    return f"----- SAMPLE -----\n{text}\n----- END OF SAMPLE -----"


def read_domain(reply: str) -> str:
    """The one domain that a reply names.

    Raises:
        ValueError: it names none, or several.
    """
    named = [domain for domain in DOMAINS if re.search(rf"\b{domain}\b", _answer(reply).lower())]
    if len(named) != 1:
        raise ValueError(f"expected one of {', '.join(DOMAINS)}, got {reply!r:.80}")
    return named[0]


def read_score(reply: str) -> float:
    """The score from 0 to 10 of a reply: behind the word "score", or the only number there.

    Raises:
        ValueError: there is none, or it is not clear which.
    """
    text = _OF_TEN.sub("", _answer(reply))
    labelled = {float(match) for match in _LABELLED.findall(text)}
    found = labelled or ({float(match) for match in _SCORE.findall(text)} if len(text.split()) <= 12 else set())
    if len(found) != 1:
        raise ValueError(f'expected {{"score": 0 to 10}}, got {reply!r:.80}')
    return found.pop()


def _answer(reply: str) -> str:
    """A reply without thoughts."""
    return reply.rpartition("</think>")[2]


__all__ = [
    "DOMAINS",
    "JudgeOptions",
    "JudgeQuality",
    "JudgeRepetition",
    "JudgeRepetitionOptions",
    "conversation_text",
    "prompts",
    "read_domain",
    "read_score",
]
