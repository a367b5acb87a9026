# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The command `internvl <verb>`. A verb is a row of `VERBS` and a module here with `add_arguments` and `run`."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from .errors import UserError, one_line

# Verb -> what it does. The module has the verb's name and imports nothing heavy before `run`.
VERBS = {
    "caption": "write captions of pictures, and score them where there are references",
    "chat": "ask a model about pictures or a video",
    "classify": "measure zero-shot classification on folders of pictures or videos",
    "convert": "write a checkpoint in the other layout: the authors', or that of stock transformers",
    "inspect": "show how a picture is cut into tiles, and how many tokens it costs",
    "plan": "show which part of a chat model goes on which device, and whether it fits",
    "profile": "show what a model costs: parameters and multiply-accumulates of its parts",
    "retrieve": "measure retrieval between pictures or videos and their texts",
    "serve": "answer requests in the form of OpenAI's API",
    "surgery": "take checkpoints apart and put them together: towers, language models, tokens, adapters",
    "train": "train a model by one of the authors' recipes, or show what that takes",
    "verify": "say whether two checkpoints are the same model, whatever their layouts, and where they part",
}


class _Parser(argparse.ArgumentParser):
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
    parser = _Parser(prog="internvl", description="InternVL models on the command line.")
    words = list(sys.argv[1:] if argv is None else argv)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for name, help_text in VERBS.items():
        module = import_module(f".{name}", __name__)
        verb = verbs.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
        if words[:1] == [name] and hasattr(module, "spell_out"):  # options beside those that it declares
            words[1:] = module.spell_out(words[1:])
    arguments = parser.parse_args(words)
    try:
        return arguments.run(arguments) or 0
    except UserError as error:
        print(f"internvl {arguments.verb}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
