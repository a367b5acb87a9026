# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Ids and labels of training samples against the original preprocess functions.

What is compared, for every record:

- the reference has labels: ids, labels and attention mask are equal;
- the reference met a "tokenization mismatch" and ignored the sample: the ids are equal, and the labels are the answers
  with their end tokens, checked against the text of the record;
- the reference raised: the sample is encoded, and its labels are checked in the same way.
"""

import json
import re
from dataclasses import replace

import pytest
import torch
from PIL import Image

from transformers_internvl.modeling.losses import IGNORE_INDEX
from transformers_internvl.processing.chat_templates import TEMPLATES, get_chat_template
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.training.data.samples import DROPS_FIRST_ANSWER, SampleEncoder

from .cases import RECORDS, name_of, tokenizer_of
from .golden import golden_root

TOKENS_PER_TILE, SIDE = 4, 8
IDS = [name_of(record) for _, record in RECORDS]


def encoder_of(case, record) -> SampleEncoder:
    limit = record["model_max_length"]
    processor = InternVLProcessor(
        InternVLImageProcessor(size={"height": SIDE, "width": SIDE}, use_thumbnail=False, max_patches=6),
        tokenizer_of(case / "tokenizers" / record["tokenizer"]),
        image_seq_length=TOKENS_PER_TILE,
        chat_template=get_chat_template(record["template"]),
    )
    if record["function"] == "preprocess_internvl3_5_gpt_oss":
        # A left-over loop variable of the reference picks the end token: in all of these records that of inner turns.
        return SampleEncoder(
            processor, processor.chat_template.replace('"<|return|>"', '"<|end|>"'), limit, "truncate"
        )
    return SampleEncoder(processor, max_length=limit, too_long="truncate")


def sample_of(case, record):
    """The record's sample, encoded with real images that are as many tiles wide as the record says."""
    encoder = encoder_of(case, record)
    counts = [] if record["text_only"] else [tokens // TOKENS_PER_TILE for tokens in record["num_image_token_list"]]
    images = [Image.new("RGB", (count * SIDE, SIDE)) for count in counts]

    def encode(encoder):
        method = encoder.pretraining if record["function"] == "preprocess_pretrain" else encoder.turns
        return method(record["source"], images, images_kwargs={"share_tile_budget": False})

    whole = encode(replace(encoder, max_length=None))
    assert whole.get("num_patches", torch.tensor([])).tolist() == counts
    limit = record["model_max_length"]
    if len(whole["input_ids"]) <= limit:
        return encoder, whole
    cut = {name: whole[name][:limit] for name in ("input_ids", "labels", "attention_mask")}
    images_left = (cut["input_ids"] == encoder.processor.image_token_id).sum()
    if images_left < sum(counts) * TOKENS_PER_TILE:  # the reference cuts through images, we refuse to
        with pytest.raises(ValueError, match="Truncation would cut an image in two"):
            encode(encoder)
    else:
        shortened = encode(encoder)
        assert all(torch.equal(shortened[name], cut[name]) for name in cut)
    with pytest.raises(ValueError, match=f"{len(whole['input_ids'])} tokens, of which {limit} are allowed"):
        encode(replace(encoder, too_long="raise"))
    return encoder, cut


def padded(row: torch.Tensor, filler: int, length: int) -> list[int]:
    return [*row.tolist(), *[filler] * (length - len(row))]


@pytest.mark.parametrize("case, record", RECORDS, ids=IDS)
def test_ids_and_labels(case, record):
    encoder, sample = sample_of(case, record)
    if "error" not in record:
        length = len(record["input_ids"]) if record["mode"] == "padded" else 0
        tokenizer = encoder.processor.tokenizer
        assert padded(sample["input_ids"], tokenizer.pad_token_id, length) == record["input_ids"]
        assert padded(sample["attention_mask"], 0, length) == [int(flag) for flag in record["attention_mask"]]
        if not record["warning"]:
            assert padded(sample["labels"], IGNORE_INDEX, length) == record["labels"]
            return
        assert "tokenization mismatch" in record["warning"] and set(record["labels"]) == {IGNORE_INDEX}
    assert_answers_are_labelled(encoder, record, sample)


def assert_answers_are_labelled(encoder, record, sample):
    """The labelled stretches are the answers of the record, each with its end token, and nothing else."""
    ids, labels = sample["input_ids"], sample["labels"]
    supervised = labels != IGNORE_INDEX
    assert torch.equal(ids[supervised], labels[supervised])
    row, tokenizer = TEMPLATES[record["template"]], encoder.processor.tokenizer
    turns = record["source"][record["source"][0]["from"] == "gpt" and record["template"] in DROPS_FIRST_ANSWER :]
    answers = [squeezed(row.answer_opening + turn["value"]) for turn in turns if turn["from"] == "gpt"]
    end = row.last_separator if row.grammar == "named_turns" else row.separator
    text = squeezed(tokenizer.decode(labels[supervised]))
    expected = "".join(answer + end for answer in answers)
    cut = len(ids) == record["model_max_length"]
    assert expected.startswith(text) if cut else text in (expected, expected.removesuffix(end) + row.last_separator)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_kinds_of_records():
    """How many records are compared in which of the three ways: none can fall out unseen."""
    kinds = {"equal": 0, "mismatch": 0, "error": 0}
    for _, record in RECORDS:
        kinds["error" if "error" in record else "mismatch" if record["warning"] else "equal"] += 1
    total = sum(len(json.loads(path.read_text("utf-8"))) for path in golden_root().glob("labels*/labels.json"))
    assert sum(kinds.values()) == total and kinds["equal"] > kinds["mismatch"] + kinds["error"]
