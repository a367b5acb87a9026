# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The answer in a response: behind thoughts, in a box, after a marker."""

import re

THINK_START, THINK_END = "<think>", "</think>"
_BOX = r"\boxed{"
_FINAL = re.compile(r"(?:Final answer:|Answer:)\s*(.*)", re.IGNORECASE)


def split_thoughts(response: str) -> tuple[str, str]:
    """Thoughts and answer of a thinking model's response.

    The answer is what follows the last `</think>`, without spaces at its ends; the thoughts are what stands before it,
    without a `<think>` at their beginning. A response that never leaves its thoughts (it was cut off, or loops) has an
    empty answer; one without thoughts is all answer, as it is.
    """
    if THINK_END in response:
        thoughts, answer = response.rsplit(THINK_END, 1)
        return thoughts.strip().removeprefix(THINK_START).strip(), answer.strip()
    if response.lstrip().startswith(THINK_START):
        return response.strip().removeprefix(THINK_START).strip(), ""
    return "", response


def boxed_content(response: str) -> str:
    r"""What stands in the last `\boxed{}`, or the response where there is none or its braces are not balanced.

    Source: VLMEvalKit `vlmeval/vlm/internvl/internvl_chat.py` `extract_boxed_content`; InternVL's MPO pipeline has the
    same as `extract_answer_from_box`.
    """
    begin = response.rfind(_BOX)
    if begin == -1:
        return response
    begin += len(_BOX)
    depth = 1
    for place in range(begin, len(response)):
        depth += {"{": 1, "}": -1}.get(response[place], 0)
        if not depth:
            return response[begin:place]
    return response


def final_answer(response: str) -> str:
    """What follows the first `Final answer:` or `Answer:`, in any case, up to the end of its line; else the response.

    Spaces and line breaks after the marker are skipped.

    Source: OpenGVLab/InternVL `eval/scienceqa/evaluate_scienceqa.py`, `eval/pope`, `eval/mathvista` `extract_answer`.
    """
    found = _FINAL.search(response)
    return found[1].strip() if found else response


__all__ = ["THINK_END", "THINK_START", "boxed_content", "final_answer", "split_thoughts"]
