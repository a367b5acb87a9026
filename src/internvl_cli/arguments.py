# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What each verb of `internvl` accepts: a row a verb, with the function that declares its arguments.

These modules import nothing heavy, so that help and wrong arguments are answered at once. What the verbs do is in
`transformers_internvl.cli`.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from .asking import STEP_MODES, chat, conflict_of_chat, conflict_of_look, conflict_of_score, inspect, look, score
from .checkpoints import SHOWN_DIFFERENCES, convert, verify
from .costs import DTYPES, conflict_of_profile, plan, profile
from .curate import curate
from .demo import demo
from .dual_encoders import FRAMES, caption, classify, frames_without_video, retrieve
from .evaluate import conflict_of_evaluate, evaluate
from .pairs import conflict_of_pairs, pairs
from .parity import parity
from .serve import serve
from .surgery import surgery
from .train import conflict_of_train, spell_out_fields, train

VERB_ARGUMENTS: dict[str, Callable[[ArgumentParser], None]] = {
    "caption": caption,
    "chat": chat,
    "classify": classify,
    "convert": convert,
    "curate": curate,
    "demo": demo,
    "evaluate": evaluate,
    "inspect": inspect,
    "look": look,
    "pairs": pairs,
    "parity": parity,
    "plan": plan,
    "profile": profile,
    "retrieve": retrieve,
    "score": score,
    "serve": serve,
    "surgery": surgery,
    "train": train,
    "verify": verify,
}
# Verb -> the function that checks its arguments together.
CONFLICTS: dict[str, Callable[[Namespace], str | None]] = {
    "chat": conflict_of_chat,
    "classify": frames_without_video,
    "evaluate": conflict_of_evaluate,
    "look": conflict_of_look,
    "pairs": conflict_of_pairs,
    "profile": conflict_of_profile,
    "retrieve": frames_without_video,
    "score": conflict_of_score,
    "train": conflict_of_train,
}


def conflict(given: Namespace) -> str | None:
    """Why the arguments of a verb, each of them valid, cannot be used together; None if they can."""
    return CONFLICTS[given.verb](given) if given.verb in CONFLICTS else None


__all__ = [
    "DTYPES",
    "FRAMES",
    "SHOWN_DIFFERENCES",
    "STEP_MODES",
    "VERB_ARGUMENTS",
    "conflict",
    "spell_out_fields",
]
