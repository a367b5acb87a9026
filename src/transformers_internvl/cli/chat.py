# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl chat`: one answer, or a conversation where no question is given; from a local model or a server.

In a conversation a line is a question, or a command that begins with `/` (`COMMANDS`); `//text` asks `/text`. In a
terminal an error leaves the conversation as it was; from a file or a pipe it ends the program.
"""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Iterator

from .conversation import Conversation, RemoteConversation
from .errors import UserError, one_line

# Command -> its argument, and what it does.
COMMANDS = {
    "image": ("PATH_OR_URL", "send an image with the next question"),
    "video": ("PATH_OR_URL", "send a video with the next question"),
    "reset": ("", "begin again: forget questions, answers, images and videos"),
    "help": ("", "show the commands"),
    "exit": ("", "end the conversation; Ctrl-D does so, too"),
}


def run(arguments: argparse.Namespace) -> None:
    """Load the model, or ask the server, and answer."""
    conversation = Conversation(arguments) if arguments.url is None else RemoteConversation(arguments)
    if arguments.question is not None:
        conversation.ask(arguments.question)
    else:
        _converse(conversation, interactive=sys.stdin.isatty())


def _converse(conversation: Conversation, interactive: bool) -> None:
    if interactive:
        print("Ask a question, or /help.", file=sys.stderr)
    for line in _lines(interactive):
        try:
            if not follow(conversation, line):
                return
        except UserError as error:
            if not interactive:
                raise
            print(f"internvl chat: {one_line(error)}", file=sys.stderr)
        except KeyboardInterrupt:
            if not interactive:
                raise
            print("\ninternvl chat: stopped; the question is taken back.", file=sys.stderr)


def _lines(interactive: bool) -> Iterator[str]:
    """Lines of stdin that are not blank, with a prompt in a terminal."""
    while True:
        print("> " if interactive else "", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            print("\n" if interactive else "", end="")
            return
        if line.strip():
            yield line.strip()


def follow(conversation: Conversation, line: str) -> bool:
    """Ask what a line asks, or do what its command says.

    Returns:
        Whether the conversation goes on.

    Raises:
        UserError: the command is unknown, lacks its argument or has one too many, or cannot be done.
    """
    if not line.startswith("/") or line.startswith("//"):
        conversation.ask(line.removeprefix("/"))
        return True
    name, value = re.findall(r"/(\S*)\s*(.*)", line)[0]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        known = f"did you mean /{close[0]}?" if close else f"the commands are /{', /'.join(COMMANDS)}."
        raise UserError(f"/{name} is no command, {known} To send a text that begins with /, write // instead.")
    wanted = COMMANDS[name][0]
    if bool(wanted) != bool(value):
        raise UserError(f"/{name} needs {wanted}." if wanted else f"/{name} takes nothing behind it, got {value!r}.")
    if name == "help":
        print("\n".join(f"/{f'{key} {what}':18} {does}" for key, (what, does) in COMMANDS.items()))
        print("Any other line is a question; to ask one that begins with /, write //.")
    elif name == "reset":
        conversation.reset()
    elif wanted:
        conversation.attach(name, _path(value))
    return name != "exit"


def _path(text: str) -> str:
    """A path as it is typed or dropped into a terminal: without quotes around it, and with `~` as the home folder."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return os.path.expanduser(text)


__all__ = ["COMMANDS", "follow", "run"]
