# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From a response to the answer that the scorer of its data set gets, as VLMEvalKit's InternVL models hand it over."""

from ..metrics.extraction import boxed_content, final_answer
from ..metrics.grounding import parse_bbox_internvl
from ..prompts.settings import AskingStyle
from ..prompts.vlmevalkit import asks_as_mpo
from ..prompts.vlmevalkit_sets import set_type


def mpo_post_processing(response: str, name: str) -> str:
    """The final answer of a response to an MPO prompt, for yes-or-no, multiple-choice and CRPE; else the response.

    Args:
        name: of the data set in VLMEvalKit.

    Source: VLMEvalKit `vlmeval/vlm/internvl/utils.py`.
    """
    if set_type(name) in ("Y/N", "MCQ") or "CRPE" in name:
        return final_answer(response).strip()
    return response


def answer_for_scorer(response: str, name: str | None, style: AskingStyle, use_postprocess: bool = False) -> str:
    """The answer that the scorer of a data set gets.

    That of an MPO prompt is its final answer ([`mpo_post_processing`]); that of a chain of thought, with
    `use_postprocess`, what stands in the box ([`boxed_content`]), and the whole response without, which the scorers'
    own rules then read; WeMath gets the response. A box of a user-interface set becomes `x=…, y=…`, its centre in
    shares.

    Args:
        name: of the data set in VLMEvalKit, None = the response as it is.
        style: how the model was asked.

    Source: VLMEvalKit `vlmeval/vlm/internvl/internvl_chat.py` `generate_v2`.
    """
    if name is None:
        return response
    if "WeMath" not in name:
        if asks_as_mpo(name, style):
            response = mpo_post_processing(response, name)
        elif style.cot and use_postprocess:
            response = boxed_content(response)
    centre = parse_bbox_internvl(response) if set_type(name) == "GUI" else response
    return centre if isinstance(centre, str) else f"x={centre[0] / 1000}, y={centre[1] / 1000}"


__all__ = ["answer_for_scorer", "mpo_post_processing"]
