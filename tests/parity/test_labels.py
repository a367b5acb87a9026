# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Prompt ids of the original training preprocessing: our chat template, then the checkpoint's tokenizer.

Every record is used. A record in which the reference raised has no ids: it is listed in `RAISED` with the reason and
checked to have none, so that no record can vanish.
"""

from collections import Counter

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.tokenizers.loading import load_tokenizer

from .cases import RECORDS, name_of, tokenizer_of
from .golden import golden_cases

ROLES = {"human": "user", "gpt": "assistant", "system": "system", "pretrain": "user"}
RAISED = {
    # These functions look the role "system" up in a table that has only "human" and "gpt".
    "KeyError: 'system'",
    # The gpt-oss function reads a loop variable that no image has set.
    "UnboundLocalError: cannot access local variable 'i' where it is not associated with a value",
}


def turns_of(record: dict) -> list[dict]:
    """The messages, with what the reference function does to the data before it comes to the template."""
    turns = [{"role": ROLES[turn["from"]], "content": turn["value"]} for turn in record["source"]]
    function = record["function"]
    if (
        not function.startswith(("preprocess_internvl2_5", "preprocess_internvl3_5"))
        and turns[0]["role"] == "assistant"
    ):
        turns = turns[1:]  # an answer without a question is dropped
    for turn in turns:
        if function == "preprocess_internlm":
            turn["content"] = turn["content"].strip()
        elif function == "preprocess_internvl3_5_gpt_oss" and turn["role"] == "assistant":
            turn["content"] = "<|channel|>final<|message|>" + turn["content"]
    return turns


def prompt_of(record: dict) -> str:
    turns = turns_of(record)
    if record["function"] == "preprocess_pretrain":  # the text alone, without a template
        prompt = "".join(turn["content"] for turn in turns)
    else:
        template = get_chat_template(record["template"])
        (prompt,), _ = render_jinja_template(conversations=[turns], chat_template=template)
    if record["function"] == "preprocess_internvl3_5_gpt_oss":
        prompt = gpt_oss_ends(prompt, turns)
    if record["text_only"]:
        return prompt
    for count in record["num_image_token_list"]:
        prompt = prompt.replace("<image>", "<img>" + "<IMG_CONTEXT>" * count + "</img>", 1)
    return prompt


def gpt_oss_ends(prompt: str, turns: list[dict]) -> str:
    """The reference closes all answers alike, with a token that a left-over loop variable picks."""
    images = [
        turn["content"].count("<image>") for turn in turns if turn["role"] == "user" and "<image>" in turn["content"]
    ]
    answers = [turn for turn in turns if turn["role"] != "system"]
    wanted = "<|return|>" if images[-1] - 1 == len(answers) - 1 else "<|end|>"
    for turn in turns:
        if turn["role"] == "assistant":
            for end in ("<|return|>", "<|end|>"):
                prompt = prompt.replace(turn["content"] + end, turn["content"] + wanted)
    return prompt


@pytest.mark.parametrize("case, record", RECORDS, ids=[name_of(record) for _, record in RECORDS])
def test_prompt_ids(case, record):
    if "error" in record:
        assert record["error"] in RAISED and "input_ids" not in record
        return
    tokenizer = tokenizer_of(case / "tokenizers" / record["tokenizer"])
    encoded = tokenizer(
        prompt_of(record),
        truncation=True,
        max_length=record["model_max_length"],
        padding="max_length" if record["mode"] == "padded" and record["function"] != "preprocess_pretrain" else False,
        padding_side="right",
    )
    assert encoded.input_ids == record["input_ids"]
    assert encoded.attention_mask == [int(flag) for flag in record["attention_mask"]]


def test_every_record_has_ids_or_a_known_reason():
    raised = Counter(record.get("error") for _, record in RECORDS)
    assert sum("input_ids" in record for _, record in RECORDS) == raised.pop(None)
    assert set(raised) <= RAISED


@pytest.mark.parametrize("case", golden_cases("labels"), ids=lambda case: case.name)
def test_saved_tokenizers_give_the_same_ids(case, tmp_path):
    texts = sorted({prompt_of(record) for folder, record in RECORDS if folder == case and "error" not in record})
    for folder in sorted((case / "tokenizers").iterdir()):
        tokenizer_of(folder).save_pretrained(tmp_path / folder.name)
        again = load_tokenizer(tmp_path / folder.name)
        assert type(again) is type(tokenizer_of(folder)), folder.name
        for text in texts:
            ids = tokenizer_of(folder)(text).input_ids
            assert again(text).input_ids == ids, folder.name
            assert again.decode(ids) == tokenizer_of(folder).decode(ids), folder.name
