# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What MPO's data pipeline asks for: reasons and a final answer, by version of the prompt.

[`parse_answer`] reads the responses. Source: OpenGVLab/InternVL `tools/reasoning_data_pipeline/utils/constants.py`.
"""

from ...processing.chat_templates import THINKING_SYSTEM_MESSAGE
from ..prompts.vlmevalkit import COT_ANSWER, COT_MPO

# Version -> the question's place is `{question}`.
INSTRUCTIONS = {
    "en": COT_MPO + "{question}",
    "zh": (
        '你的任务是回答以下问题。在回答之前，请逐步推理说明您的思路。当你准备好给出答案时，请使用以下格式："答案: ..."'
        "\n\n问题:\n\n{question}"
    ),
    "en_v2": "{question}\n" + COT_ANSWER,
    "zh_v2": (
        "{question}\n请回答上述问题。你的回答最后一行应遵循以下格式：“答案：\\boxed{$FINAL_ANSWER}”（不包含引号），其中“FINAL_ANSWER”是"
        "你根据推理得出的最终结论。如果你不确定答案或问题过于复杂，请基于已有信息做出有理有据的猜测。避免无限重复推理步骤——即使不完全确定，"
        "也请给出你认为最合理的答案。请一步一步进行逻辑思考，充分考虑所有相关信息后再作答。"
    ),
    "en_r1": (
        f"{THINKING_SYSTEM_MESSAGE}\n{{question}}\n"
        "Please answer the question and put the final answer within \\boxed{}."
    ),
    "zh_r1": f"{THINKING_SYSTEM_MESSAGE}\n{{question}}\n请详细回答这个问题并将最终答案用\\boxed{{}}包住。",
}

__all__ = ["INSTRUCTIONS"]
