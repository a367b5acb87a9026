# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The command `internvl <verb>`. A verb is a row of `VERBS` and a module of `transformers_internvl.cli`.

This package imports nothing heavy, so that `--help`, `--version`, a wrong verb and wrong arguments are answered at
once: importing `transformers_internvl` imports torch and transformers, to register the classes.
"""

import argparse
import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn

# Verb -> what it does. `arguments.py` lists what it accepts; a module of `transformers_internvl.cli` runs it.
VERBS = {
    "caption": "write captions of images, and score them where there are references",
    "chat": "ask a model about images or a video",
    "classify": "measure zero-shot classification on folders of images or videos",
    "convert": "write a checkpoint in the other layout: the original one, or that of upstream transformers",
    "curate": "read, filter, judge, translate and write training data, as a pipeline file says",
    "demo": "open a local web page to ask a model, and to see what it gets and what it looks at",
    "evaluate": "measure a model on benchmarks, or on your own questions, beside the published scores",
    "inspect": "show the tiles of an image, or the frames that are used of a video, and how many tokens they cost",
    "look": "draw what in an image the tokens of an answer look at, and print how certain they are",
    "pairs": "build preference data: better and worse answers of a model, as MPO trains on them",
    "parity": "run a checkpoint's own code beside this package, and show where the two differ",
    "plan": "show which part of a chat model goes on which device, and whether it fits",
    "profile": "show what a model costs: parameters and multiply-accumulates of its parts",
    "retrieve": "measure retrieval between images or videos and their texts",
    "score": "judge solutions step by step with a reward model such as VisualPRM, and rank them",
    "serve": "answer requests in the form of OpenAI's API",
    "surgery": "take checkpoints apart and put them together: towers, language models, tokens, adapters",
    "train": "train a model by one of the papers' recipes, or show what that takes",
    "verify": "compare two checkpoints of any layout: whether they are the same model, and where they differ",
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line on stderr."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        argv: the arguments without the program's name; None = those of the process.

    Returns:
        The exit code: 0, or what the verb returns (`verify`: 1 for checkpoints that differ, `plan`: 1 for what does
        not fit), or 2 after an error that the user can mend (one line on stderr), or 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog="internvl", description="InternVL models on the command line.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('transformers_internvl')}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    chosen = words[0] if words else ""
    if chosen and not chosen.startswith("-") and chosen not in VERBS:
        parser.error(f"unknown verb {chosen!r}{_suggestion(chosen)}")
    described = {name: f"{help_text[0].upper()}{help_text[1:]}." for name, help_text in VERBS.items()}
    each = {name: verbs.add_parser(name, help=VERBS[name], description=described[name]) for name in VERBS}
    if chosen in VERBS:
        accepted = import_module(".arguments", __name__)
        accepted.VERB_ARGUMENTS[chosen](each[chosen])
        if chosen == "train":  # takes options beside those that it declares
            words[1:] = accepted.spell_out_fields(words[1:])
    arguments = parser.parse_args(words)
    if message := accepted.conflict(arguments):
        print(f"internvl {chosen}: {message}", file=sys.stderr)
        return 2
    return import_module("transformers_internvl.cli").run(arguments)


def _suggestion(verb: str) -> str:
    close = difflib.get_close_matches(verb, VERBS, n=1)
    return f", did you mean {close[0]!r}?" if close else f"; the verbs are {', '.join(VERBS)}"


__all__ = ["VERBS", "Parser", "main"]
