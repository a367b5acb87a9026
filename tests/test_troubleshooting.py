# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every message of docs/troubleshooting.md is one that the source writes."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GAP = "\0"  # stands for a value within a message


def messages_of_the_page() -> list[str]:
    rows = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").splitlines()
    cells = [row.split(" | ")[0].removeprefix("| ") for row in rows if row.startswith("| `")]
    return [re.fullmatch(r"(`+) ?(.*?) ?\1", cell)[2] for cell in cells]


def strings_of_the_source() -> list[str]:
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else GAP for part in node.values]
                found.append("".join(parts))
    return found


def test_every_message_is_written_by_the_source():
    messages, strings = messages_of_the_page(), strings_of_the_source()
    assert len(messages) > 40 and len(set(messages)) == len(messages)
    patterns = {message: re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL) for message in messages}
    lacking = [message for message, pattern in patterns.items() if not any(map(pattern.search, strings))]
    assert not lacking
