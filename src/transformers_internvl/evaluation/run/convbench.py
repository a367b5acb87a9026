# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The judge of ConvBench: which of two conversations is better, turn by turn and as a whole.

Its texts are not part of this package: ConvBench's code has no licence. They are read, and nothing is run, from a copy
of its repository, shirlyliu64/ConvBench, that stands beside the questions.
"""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..metrics import Row
from ..metrics.judged import CONVBENCH_TURNS, convbench_prediction
from .judging import Judge

_FOLDER = Path("ConvBench", "ConvBenchEval")
_ORDINALS = ("first", "second", "third")
# Turn -> its name in the official code.
_KINDS = {turn: f"{turn}_turn" for turn in _ORDINALS} | {"overall": "overall_conversation"}
_DESCRIPTION = "instruction-conditioned-caption"
_DEMANDS = "third_turn_demands"
_HUMAN = tuple(f"{turn}_turn_answer" for turn in _ORDINALS)
QUESTIONS = tuple(f"The_{turn}_turn_instruction" for turn in _ORDINALS)
_EXTRACT = "\nPlease extract the final answer from the above text."


def convbench_judge(data: Path) -> Judge:
    """The judge, with the texts of `ConvBench/ConvBenchEval` in the folder of the questions.

    Four questions a conversation: the three turns, and the whole with what was said of the turns. Where a reply names
    no winner, or both, a second question asks for it.

    Raises:
        ValueError: a file is missing, or lacks a text.
    """
    prompts, templates = _constants(data / _FOLDER / "prompts.py"), _templates(data / _FOLDER / "convbencheval.py")
    asked = [_one(turn, prompts, templates) for turn in CONVBENCH_TURNS]
    chain: Judge | None = None
    for judge in reversed([judge for pair in asked for judge in pair]):
        chain = replace(judge, follow=chain)
    return chain or CONVBENCH


def _one(turn: str, prompts: dict[str, Any], templates: dict[str, str]) -> tuple[Judge, Judge]:
    """The judge of a turn, and the one that reads its reply."""
    names = [f"_PROMPT_{who}_PAIRWISE_V1_MT_{_KINDS[turn]}" for who in ("SYSTEM", "USER", "ASSISTANT")]
    extraction = ("_PROMPT_SYSTEM_ANSWER_EXTRACTION_V1", "_ICL_SYSTEM_ANSWER_EXTRACTION_V1")
    missing = [name for name in (*names, *extraction) if name not in prompts]
    if missing or f"_{_KINDS[turn]}" not in templates:
        raise ValueError(
            f"{_FOLDER}: expected {', '.join(missing) or f'the question of _{_KINDS[turn]}'}, as in "
            "shirlyliu64/ConvBench 309508e1."
        )
    template = templates[f"_{_KINDS[turn]}"]
    system, user, assistant = (prompts[name] for name in names)

    def prompt(row: Row) -> str:
        texts = _told(turn, row)
        if template.count("{}") != len(texts):
            raise ValueError(
                f"{_FOLDER}/convbencheval.py: the question of {_KINDS[turn]} has {template.count('{}')} places, "
                f"expected {len(texts)}, as in shirlyliu64/ConvBench 309508e1."
            )
        return "".join(part + text for part, text in zip(template.split("{}"), (*texts, ""), strict=True))

    examples = [
        message for said, verdict in prompts[extraction[1]]
        for message in (("user", said + _EXTRACT), ("assistant", verdict))
    ]  # fmt: skip
    judge = replace(
        CONVBENCH,
        prompt=prompt,
        read=lambda reply: {turn: convbench_prediction(reply), f"{turn}_evaluation": reply},
        unread={turn: None, f"{turn}_evaluation": ""},
        system_message=system,
        dialogue=(("user", user), ("assistant", assistant)),
        made=None,
    )
    reading = replace(
        CONVBENCH,
        prompt=lambda row: row[f"{turn}_evaluation"] + _EXTRACT,
        read=lambda reply: {turn: _extracted(reply)},
        unread={turn: None},
        columns=(),
        decided=lambda row: row.get(turn) in ("A", "B"),
        system_message=prompts[extraction[0]],
        dialogue=tuple(examples),
        made=None,
    )
    return judge, reading


def _told(turn: str, row: Row) -> list[str]:
    """What the judge is told, in the order of the official text."""
    ours, theirs = list(row["predictions"]), [row[name] for name in _HUMAN]
    answers = (ours, theirs) if int(row["position"]) == 0 else (theirs, ours)
    texts = [row[_DESCRIPTION]]
    for side in answers:
        texts += [text for pair in zip((row[name] for name in QUESTIONS), side, strict=True) for text in pair]
    if turn == "third":
        texts.append(row[_DEMANDS])
    if turn == "overall":
        texts += [row[f"{name}_evaluation"] for name in _ORDINALS]
    texts.append(_KINDS[turn].replace("_", " "))
    return ["nan" if text is None else str(text) for text in texts]  # an empty cell, as pandas writes it


def _extracted(reply: str) -> str | None:
    """The winner that the second reply names, None where there is none or are two."""
    said = [letter for letter in "AB" if f"Final Answer: Response {letter}" in reply]
    return said[0] if len(said) == 1 else None


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}). The judge's texts are in the repository shirlyliu64/ConvBench: put a "
            "copy of it beside the questions, as the folder ConvBench."
        ) from error


def _constants(path: Path) -> dict[str, Any]:
    """Name -> value of the constants of a Python file, which is not run."""
    found = {}
    for node in _parsed(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def _templates(path: Path) -> dict[str, str]:
    """What the official code fills in for each turn: `if turn_str == NAME: ... user_content = (TEXT.format(...))`."""
    found = {}
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
            names = [one.value for one in node.test.comparators if isinstance(one, ast.Constant)]
            for text in _filled(node):
                found.update({name: text for name in names if isinstance(name, str)})
    return found


def _filled(node: ast.If) -> Iterator[str]:
    for line in node.body:
        call = line.value if isinstance(line, ast.Assign) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "format":
            text = call.func.value
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text.value


def _unmade(row: Row) -> str:
    raise ValueError("The texts of ConvBench's judge are read from the folder of the questions: see `Judge.made`.")


CONVBENCH = Judge(
    _unmade,
    lambda reply: None,
    unread={"overall": None},
    columns=("predictions", "position", _DESCRIPTION, _DEMANDS, *QUESTIONS, *_HUMAN),
    source="shirlyliu64/ConvBench ConvBenchEval/convbencheval.py",
    temperatures=(1.0,),  # the API's own: the official code sends none
    max_tokens=512,
    made=convbench_judge,
)

__all__ = ["CONVBENCH", "QUESTIONS", "convbench_judge"]
