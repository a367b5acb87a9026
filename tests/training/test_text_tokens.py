# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Special tokens that a user adds are tokens in training data; those that mark turns and images are not."""

import copy

import pytest
import torch
from transformers import AddedToken, AutoProcessor

from tests.parity.golden import golden_root
from tests.training.drawn import pair_rows as rows
from transformers_internvl.nano import nano_path
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.text.grounding import REGION_TOKENS
from transformers_internvl.processing.tokenizers.loading import load_tokenizer
from transformers_internvl.processing.tokenizers.released_tokens import user_tokens
from transformers_internvl.training.data.dataset import ChatDataset
from transformers_internvl.training.data.pairs import PretrainingCollator
from transformers_internvl.training.data.records import DataSet, TableRows
from transformers_internvl.training.data.samples import IGNORE_INDEX, SampleEncoder
from transformers_internvl.training.run.objectives import chat_samples
from transformers_internvl.training.run.option_checks import check_options
from transformers_internvl.training.run.options import read_options

NEW = ["<loc>", "<|point|>"]
TURNS = [
    {"from": "human", "value": "Where is <loc>? <|im_start|>"},
    {"from": "gpt", "value": "At <|point|><loc>.<|im_end|> Yes."},
]
MESSAGES = [{"role": {"human": "user", "gpt": "assistant"}[t["from"]], "content": t["value"]} for t in TURNS]


@pytest.fixture
def processor():
    processor = InternVLProcessor.from_pretrained(nano_path())
    processor.tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in NEW])
    return processor


def counts(processor, sample):
    """How often the new tokens, and those that mark turns, are among the ids and among the labels."""
    ids = processor.tokenizer.convert_tokens_to_ids([*NEW, "<|im_start|>", "<|im_end|>"])
    both = (sample["input_ids"].tolist(), sample["labels"][sample["labels"] != IGNORE_INDEX].tolist())
    return [[values.count(index) for index in ids] for values in both]


BY_HAND = {  # of the ids and of the labels; the template writes two turns, and an answer's end is learned
    "added": [[2, 1, 2, 2], [1, 1, 0, 1]],
    "regions": [[0, 0, 2, 2], [0, 0, 0, 1]],
    "all": [[2, 1, 3, 3], [1, 1, 0, 2]],
    ("<loc>",): [[2, 0, 2, 2], [1, 0, 0, 1]],
    ("<loc>", "<|im_end|>"): [[2, 0, 2, 3], [1, 0, 0, 2]],
}


@pytest.mark.parametrize("which", BY_HAND, ids=str)
def test_what_texts_may_write(processor, which):
    encoder = SampleEncoder(processor, text_tokens=which)
    assert counts(processor, encoder.turns(TURNS)) == BY_HAND[which]
    assert counts(processor, encoder.messages(MESSAGES)) == BY_HAND[which]


def test_the_default_is_what_was_added(processor):
    default = SampleEncoder(processor)
    assert counts(processor, default.turns(TURNS)) == BY_HAND["added"]
    row = {"messages": MESSAGES}
    (sample,) = ChatDataset([DataSet("x", TableRows("x", [row]))], default)
    assert counts(processor, sample) == BY_HAND["added"]
    text = [{"from": "pretrain", "value": "".join(turn["value"] for turn in TURNS)}]
    assert counts(processor, default.pretraining(text)) == [[2, 1, 0, 0]] * 2
    all_written = SampleEncoder(processor, text_tokens="all").pretraining(text)
    assert counts(processor, all_written) == [[2, 1, 1, 1]] * 2


def test_decoded_the_text_is_what_it_was(processor):
    for which in ("added", "regions"):
        sample = SampleEncoder(processor, text_tokens=which).turns(TURNS)
        labels = sample["labels"]
        text = processor.tokenizer.decode(labels[labels != IGNORE_INDEX])
        assert text == TURNS[1]["value"] + "<|im_end|>"


def test_inference_takes_text_as_data(processor):
    question = [{"role": "user", "content": "Where is <loc>?"}]
    options = {"tokenize": True, "return_dict": True}
    index = processor.tokenizer.convert_tokens_to_ids("<loc>")
    assert index not in processor.apply_chat_template(question, **options)["input_ids"][0]
    assert index in processor.apply_chat_template(question, trust_text=True, **options)["input_ids"][0]


@pytest.mark.parametrize("which", ["addde", ("<lok>",), ("<loc>", "loc")])
def test_unknown_tokens_are_refused(processor, which):
    with pytest.raises(ValueError, match="text_tokens.*got.*Did you mean.*surgery add-tokens"):
        SampleEncoder(processor, text_tokens=which)


FOLDERS = sorted({path.parent for path in golden_root().rglob("tokenizer_config.json")}, key=str)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recorded_tokenizers_have_no_tokens_of_a_user(folder):
    assert {*user_tokens(load_tokenizer(folder))} <= {*REGION_TOKENS}


# Special tokens of released vocabularies, from their files: Qwen2.5, Llama 3, GPT-OSS, InternLM2, Phi-3, Yi.
RELEASED = """
<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|>
<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>
<|begin_of_text|> <|end_of_text|> <|reserved_special_token_0|> <|reserved_special_token_250|>
<|start_header_id|> <|end_header_id|> <|eot_id|> <|eom_id|> <|python_tag|> <|finetune_right_pad_id|>
<|startoftext|> <|return|> <|constrain|> <|channel|> <|start|> <|end|> <|message|> <|call|>
<|reserved_200000|> <|endofprompt|> <|plugin|> <|interpreter|> <|action_start|> <|action_end|>
[UNUSED_TOKEN_146] <|placeholder6|> <|system|> <|user|> <|assistant|> <|im_sep|> [PAD] <unk> <s> </s>
<pad> <img> </img> <IMG_CONTEXT> <image> <video>
"""


def test_released_special_tokens_are_reserved(processor):
    tokenizer = copy.deepcopy(processor.tokenizer)
    tokenizer.add_tokens([AddedToken(token, special=True) for token in (*RELEASED.split(), "<plain>")])
    tokenizer.add_tokens(["<word>"])
    assert {*user_tokens(tokenizer)} - {*REGION_TOKENS} == {*NEW, "<plain>"}
    assert "<loc>" not in user_tokens(tokenizer, "{{ '<loc>' }}")


# The command line and YAML


def options_of(tmp_path, recipe="internvl2.5-1b-lora", **fields):
    (tmp_path / "rows.jsonl").write_text('{"conversations": [{"from": "human", "value": "a"}]}\n')
    return read_options(recipe, {"model": "m", "data": str(tmp_path / "rows.jsonl"), **fields})


def test_options_reach_the_encoder(processor, tmp_path):
    assert chat_samples(options_of(tmp_path), processor, 0).encoder.text_tokens == "added"
    options = options_of(tmp_path, text_tokens="<loc>, <|point|>")
    assert chat_samples(options, processor, 0).encoder.text_tokens == ("<loc>", "<|point|>")
    assert options.as_mapping()["text_tokens"] == "<loc>, <|point|>"
    (tmp_path / "run.yaml").write_text(
        "recipe: internvl2.5-8b-mpo\nmodel: m\ndata: d\ntext_tokens:\n  - <loc>\n  - <|point|>\n"
    )
    assert read_options(tmp_path / "run.yaml").writable_tokens() == ("<loc>", "<|point|>")


def test_captions_write_what_was_added_and_nothing_else(tmp_path):
    processor = AutoProcessor.from_pretrained(golden_root() / "internvl_14b")
    processor.tokenizer.add_tokens([AddedToken("<loc>", special=True, normalized=False)])
    index, end = processor.tokenizer.convert_tokens_to_ids(["<loc>", "</s>"])
    (row,) = rows(1)
    batch = PretrainingCollator(processor)([{**row, "caption": "a dog <loc>"}, {**row, "caption": "a </s>"}])
    for name in ("input_ids", "summarize_input_ids", "positive_input_ids"):
        assert [ids.tolist().count(index) for ids in batch[name]] == [1, 0]
        assert [ids.tolist().count(end) for ids in batch[name]] == [1, 1]
    turned = PretrainingCollator(processor)([{**row, "caption": "a </s>"}, {**row, "caption": "a dog <loc>"}])
    for name in ("input_ids", "labels", "summarize_input_ids", "positive_input_ids"):
        assert torch.equal(turned[name], batch[name].flip(0))
    with pytest.raises(ValueError, match="'</s>', which is reserved"):
        PretrainingCollator(processor)([{**row, "caption": "a <loc></s>"}])
    with pytest.raises(ValueError, match="captions write the tokens that were added"):
        check_options(options_of(tmp_path, "internvl-14b-contrastive", text_tokens="all"))
