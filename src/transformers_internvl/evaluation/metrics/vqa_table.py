# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The table of VLMEvalKit's `ImageVQADataset`: one way of matching a data set, percent by split or category."""

from collections.abc import Callable, Sequence
from functools import partial

from .anls import anls
from .exact_match import accuracy, gqa_accuracy_vlmevalkit
from .metric import Row, Scores, percent
from .reading import read_answers
from .relaxed_accuracy import relaxed_accuracy
from .spreadsheet import cell_text, through_spreadsheet
from .vqa_accuracy import vqa_accuracy_vlmevalkit

Match = Callable[[list[str], str], float]


def vqa_table(rows: Sequence[Row], match: Match) -> Scores:
    """Mean score in percent: `Overall`, and by `split`, or, where there is no such column, by `category`.

    The rows pass through a spreadsheet, see [`through_spreadsheet`].

    Args:
        rows: with `answer`, `prediction`, and `split` or `category` if there are such.
        match: the score, 0 to 1, of a prediction against the accepted answers.

    Source: open-compass/VLMEvalKit `vlmeval/dataset/image_vqa.py` `ImageVQADataset.evaluate_heuristic`.
    """
    read = through_spreadsheet(rows)
    scores = []
    for row in read:
        answer = row["answer"] if isinstance(row["answer"], list) else cell_text(row["answer"])
        answers = [str(entry) for entry in read_answers(answer)]
        scores.append(float(match(answers, cell_text(row["prediction"]))))
    column = next((name for name in ("split", "category") if rows and name in read[0]), None)
    table: dict[str, float | None] = {}
    if column is not None:
        for name in dict.fromkeys(row[column] for row in read):
            table[name] = percent([score for row, score in zip(read, scores, strict=True) if row[column] == name])
    table["Overall"] = percent(scores)
    return Scores(table["Overall"], table, tuple(scores))


score_chartqa_vlmevalkit = partial(vqa_table, match=relaxed_accuracy)
score_docvqa_vlmevalkit = partial(vqa_table, match=anls)
score_gqa_vlmevalkit = partial(vqa_table, match=gqa_accuracy_vlmevalkit)
score_ocrvqa_vlmevalkit = partial(vqa_table, match=accuracy)
score_textvqa_vlmevalkit = partial(vqa_table, match=vqa_accuracy_vlmevalkit)

__all__ = [
    "Match",
    "score_chartqa_vlmevalkit",
    "score_docvqa_vlmevalkit",
    "score_gqa_vlmevalkit",
    "score_ocrvqa_vlmevalkit",
    "score_textvqa_vlmevalkit",
    "vqa_table",
]
