# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Conversations as questions: each turn is a row of its own, so that it is asked, and kept, by itself."""

from collections.abc import Sequence
from typing import Any

from .tables import Table


class TurnTable:
    """A table of conversations as rows of turns, those of one conversation behind one another.

    Turn 2 of the conversation `7` has the index `7.2`, and the columns `conversation` (`7`), `turn` (1) and `question`
    beside those of the conversation.

    Args:
        table: the conversations.
        turns: their columns with the questions, in order.

    Raises:
        ValueError: a column is missing, or a conversation lacks a question.
    """

    def __init__(self, table: Table, turns: Sequence[str]):
        missing = [name for name in turns if name not in table.columns]
        if missing:
            raise ValueError(f"{table.where(0)}: expected the columns {', '.join(turns)}; {', '.join(missing)} lacks.")
        self.table, self.turns = table, tuple(turns)
        self.columns = (*dict.fromkeys((*table.columns, "index", "conversation", "turn", "question")),)
        for number in range(len(table)):
            empty = [name for name in turns if table.light(number)[name] is None]
            if empty:
                raise ValueError(f"{table.where(number)}: the conversation has no question in {', '.join(empty)}.")

    def __len__(self) -> int:
        return len(self.table) * len(self.turns)

    def _turn(self, row: dict[str, Any], index: int) -> dict[str, Any]:
        number, turn = divmod(index, len(self.turns))
        name = str(number if row.get("index") is None else row["index"])
        return {
            **row,
            "index": f"{name}.{turn + 1}",
            "conversation": name,
            "turn": turn,
            "question": row[self.turns[turn]],
        }

    def light(self, index: int) -> dict[str, Any]:
        """A turn without its images."""
        return self._turn(self.table.light(index // len(self.turns)), index)

    def row(self, index: int) -> dict[str, Any]:
        """A turn."""
        return self._turn(self.table.row(index // len(self.turns)), index)

    def where(self, index: int) -> str:
        """The place of its conversation."""
        return self.table.where(index // len(self.turns))


__all__ = ["TurnTable"]
