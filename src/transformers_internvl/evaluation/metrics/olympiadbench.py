# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""OlympiadBench: the answer at the end of a solution, compared as numbers, expressions, equations, intervals or lists.

`sympy` and `antlr4` read formulas: `pip install transformers_internvl[evaluation]`.

Source: OpenBMB/OlympiadBench ba5b26a7 `inference/judge.py`, `inference/code/math_judger.py`, and their copy in
open-compass/VLMEvalKit e8e78f05 `vlmeval/dataset/utils/olympiadbench.py`. In the copy one function is missing, so that
every comparison of expressions fails that goes beyond equal parse trees: `1/2` is not `0.5` there.
"""

import ast
import math
import re
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from .formulas import can_be_computed, has_symbols, parse_formula, simplified, time_limit, value_of
from .metric import Row, Scores, percent
from .optional import needed
from .spreadsheet import cell_text, through_spreadsheet

SOURCES = (
    "OE_MM_maths_en_COMP", "OE_MM_maths_zh_CEE", "OE_MM_maths_zh_COMP", "OE_MM_physics_en_COMP",
    "OE_MM_physics_zh_CEE", "OE_TO_maths_en_COMP", "OE_TO_maths_zh_CEE", "OE_TO_maths_zh_COMP",
    "OE_TO_physics_en_COMP", "OE_TO_physics_zh_CEE",
)  # fmt: skip
_GROUPS = (*product(("zh", "en"), ("maths", "physics")), ("maths",), ("physics",))
CLOSE = 1e-8
_SLACK = 1.01
_SECONDS = 30
_LONGEST = 300  # characters of expressions that are simplified
_ENDINGS = {True: "所以最终答案是(.*)", False: "So the final answer is (.*)"}
_SIGNS = {
    "\\left": "", "\\right": "", "∶": ":", "，": ",", "$": "", "\\approx": "=", "\\simeq": "=", "\\sim": "=",
    "^\\prime": "'", "^{\\prime}": "'", "^\\circ": "", "%": "",
}  # fmt: skip
_EDGES = "\n$,.:;^_=+`!@#$%^&*~，。"
_BOX = "\\boxed{"
_UPRIGHT = re.compile(r"\\(?:mathrm|mathbf)\{~?([^}]*)\}")
_CHINESE = re.compile("[\u4e00-\u9fff]+")


def final_answer(prediction: str, chinese: bool) -> str:
    """What follows the last `So the final answer is` (in Chinese its counterpart) on its line, else the prediction."""
    found = re.findall(_ENDINGS[chinese], prediction)
    return found[-1].strip() if found else prediction


def is_equal_answer(
    prediction: str, answer: str, precision: float | Sequence[float] = CLOSE, kit: bool = False
) -> bool:
    """Whether two answers are the same, or the same lists of answers in any order.

    Of a text the contents of its boxes count, else the formulas between dollar signs in its last line, else all of it.
    Numbers may differ by `precision`; percent signs are ignored, and the right answer may be a hundred times the
    prediction or a hundredth of it. As officially, Chinese characters are dropped unless the whole texts are equal:
    two answers in Chinese words alone always count as equal.

    Args:
        prediction, answer: the texts. Officially the first one is called the right answer, and is the model's.
        precision: of numbers; several are those of the answers of a list. Where there are fewer than answers, the two
            lists are not equal (officially an error).
        kit: whether as in VLMEvalKit, where expressions must have the same parse tree.

    Raises:
        ImportError: a library is missing.
    """
    try:
        first, second = _cleaned(prediction), _cleaned(answer)
    except ValueError:
        return False
    if first == second:
        return True
    left, right = (_alternatives(_parts(_CHINESE.sub("", text))) for text in (first, second))
    if len(left) != len(right):
        return False
    allowed = list(precision) if isinstance(precision, Sequence) else [precision]
    return _paired(left, right, allowed * len(left) if len(allowed) < 2 else allowed, kit)


def _paired(left: list[str], right: list[str], allowed: list[float], kit: bool) -> bool:
    """Whether every item has a partner. Items take turns, and of equal ones the first is struck off, as officially."""
    at = -1
    while left:
        at = (at + 1) % len(left)
        if at >= len(allowed):
            return False
        item, close = left[at], allowed[at]
        partner = next((one for one in right if _is_same(item, one, close, kit)), None)
        if partner is None:
            return False
        left.remove(item)
        right.remove(partner)
        allowed.remove(close)
    return True


def _cleaned(text: str) -> str:
    """What is compared of a text. Raises `ValueError` where a box is not closed."""
    text = _contents(text)
    if "\\in " in text:
        text = text.split("\\in ")[1]
    for sign, plain in _SIGNS.items():
        text = text.replace(sign, plain)
    return _UPRIGHT.sub(r"\1", text.strip(_EDGES))


def _contents(text: str) -> str:
    boxes = []
    for match in re.finditer(re.escape(_BOX), text):
        depth, end = 1, match.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if depth:
            raise ValueError("A box is not closed.")
        boxes.append(text[match.end() : end - 1])
    if not boxes:
        boxes = re.findall(r"\$(.*?)\$", text.strip().split("\n")[-1])
    joined = "".join(f"{box}," for box in boxes)
    return joined or text


def _parts(text: str) -> list[str]:
    """The items of a list: what stands between commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for at, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()] if start < len(text) else parts


def _alternatives(parts: Sequence[str]) -> list[str]:
    """`2 \\pm 1` is two items."""
    return [
        text
        for part in parts
        for text in ([part.replace("\\pm", "+"), part.replace("\\pm", "-")] if "\\pm" in part else [part])
    ]


def _is_same(first: str, second: str, close: float, kit: bool) -> bool:
    if first == second and first:
        return True
    try:
        with time_limit(_SECONDS):
            return _is_same_meaning(first, second, close, kit)
    except TimeoutError:
        return False


def _is_same_meaning(first: str, second: str, close: float, kit: bool) -> bool:
    if _is_interval(first) and _is_interval(second):
        same = _tried(_same_intervals, first, second, close, kit)
        if same is not False:
            return bool(same)
    if _same_numbers(first, second, close):
        return True
    if not ("=" in first and "=" in second) and _tried(_same_expressions, first, second, close, kit):
        return True
    return bool(_tried(_same_equations, first, second, close, kit))


def _tried(compare: Callable[..., bool], *what: Any) -> bool | None:
    """What a comparison finds, None where it fails."""
    try:
        return compare(*what)
    except (ImportError, TimeoutError):
        raise
    except Exception:  # noqa: BLE001 the parser and sympy raise whatever an expression leads to
        return None


def _is_interval(text: str) -> bool:
    return text.startswith(("(", "[")) and text.endswith((")", "]"))


def _same_numbers(first: str, second: str, close: float) -> bool:
    try:
        reference, other = float(first), float(second)
    except ValueError:
        return False
    return any(abs(number - other) <= close * _SLACK for number in (reference / 100, reference, reference * 100))


def _same_intervals(first: str, second: str, close: float, kit: bool) -> bool:
    left, right = first.split("\\cup"), second.split("\\cup")
    return len(left) == len(right) and all(
        one[0] == other[0]
        and one[-1] == other[-1]
        and all(
            _same_expressions(a, b, close, kit)
            for a, b in zip(one.strip("[]()").split(","), other.strip("[]()").split(","), strict=False)
        )
        for one, other in zip(left, right, strict=True)
    )


def _same_expressions(first: str, second: str, close: float, kit: bool) -> bool:
    """Whether what stands behind the equals signs is the same: parse trees, numbers within `close`, or simplified."""
    texts = [(text.split("=")[1] if "=" in text else text).strip() for text in (first, second)]
    left, right = map(parse_formula, texts)
    if left == right:
        return True
    if kit:
        raise ValueError("VLMEvalKit compares no further.")
    numbers = [one.subs(parse_formula("\\pi"), math.pi) for one in (left, right)]
    symbols = [has_symbols(one) for one in numbers]
    if symbols[0] != symbols[1] or not all(map(can_be_computed, numbers)):
        return False
    if not symbols[0]:
        return bool(abs(value_of(numbers[0]) - value_of(numbers[1])) <= close * _SLACK)
    if max(map(len, texts)) > _LONGEST:
        return False
    return bool(abs(value_of(simplified(numbers[0] - numbers[1]))) < 1e-3)


def _same_equations(first: str, second: str, close: float, kit: bool) -> bool:
    """Whether one equation, with everything on the left, is a whole multiple of the other."""
    left, right = (_left_side(text) for text in (first, second))
    ratios = (simplified(left / right), simplified(right / left))
    return any(ratio.is_Integer and ratio != 0 for ratio in ratios)


def _left_side(text: str) -> Any:
    left, right = text.split("=")
    sides = parse_formula(left), parse_formula(right)
    if not all(map(can_be_computed, sides)) or len(text) > _LONGEST:
        raise ValueError("The equation cannot be computed.")
    equation = needed("sympy", "sympy", "Comparing formulas").Eq(*sides)
    return simplified(equation.lhs - equation.rhs)  # one that is always true, or never, has no sides


def score_olympiadbench(rows: Sequence[Row]) -> Scores:
    """OlympiadBench in percent as its authors score it; in the table each `source`, and languages and subjects.

    Rows have `final_answer` (a list, of which the first counts, or its text), `answer_type`, `error` (the precision,
    several with commas) and `source`.
    """
    return _score(rows, lambda row: _first_answer(row["final_answer"]), kit=False)


def score_olympiadbench_vlmevalkit(rows: Sequence[Row]) -> Scores:
    """OlympiadBench in percent as VLMEvalKit scores it: `AVG` of its table.

    The rows pass through a spreadsheet. Of `final_answer` the text without two characters at each end is taken.
    Groups without a row are left out, where the official code divides by zero.
    """
    return _score(
        through_spreadsheet(rows),
        lambda row: row["final_answer"][0] if _is_list(row["final_answer"]) else cell_text(row["final_answer"])[2:-2],
        kit=True,
    )


def _score(rows: Sequence[Row], answer_of: Callable[[Row], Any], kit: bool) -> Scores:
    hits = []
    for row in rows:
        said = final_answer(cell_text(row["prediction"]), "zh" in str(row["source"]))
        is_tuple = "Tuple" in str(row["answer_type"])
        precision = CLOSE if is_tuple else _precision(row["error"])
        hits.append(float(is_equal_answer(said, str(answer_of(row)), precision, kit)))
    counted = [hit if row["source"] in SOURCES else 0.0 for row, hit in zip(rows, hits, strict=True)]
    table: dict[str, float | None] = {}
    for group in (*((source,) for source in SOURCES), *_GROUPS):
        found = [
            hit
            for row, hit in zip(rows, hits, strict=True)
            if row["source"] in SOURCES and (row["source"] == group[0] or _is_in(row["source"], group))
        ]
        if found:
            table["_".join(group)] = percent(found)
    table["AVG"] = percent(counted)
    return Scores(table["AVG"], table, tuple(hits))


def _is_in(source: str, group: Sequence[str]) -> bool:
    return all(part in source for part in group)


def _precision(cell: Any) -> float | list[float]:
    """Of the column `error`: a number, or several with commas; empty ones are the usual precision.

    Raises:
        ValueError: it is none of these.
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)) or cell == "":
        return CLOSE
    try:
        found = [float(part) if part else CLOSE for part in str(cell).split(",")]
    except ValueError as error:
        raise ValueError(f"`error` must be a number, or numbers with commas between them, got {cell!r}.") from error
    return found if len(found) > 1 else found[0]


def _is_list(cell: Any) -> bool:
    return isinstance(cell, list | tuple) and len(cell) > 0


def _first_answer(cell: Any) -> Any:
    if isinstance(cell, str):
        try:
            found = ast.literal_eval(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return cell
        return found[0] if _is_list(found) else cell
    return cell[0] if _is_list(cell) else cell


__all__ = ["SOURCES", "final_answer", "is_equal_answer", "score_olympiadbench", "score_olympiadbench_vlmevalkit"]
