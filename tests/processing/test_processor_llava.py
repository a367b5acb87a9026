# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Prompts and images of InternVL-Chat v1: ids piece by piece, pixels by Pillow alone, files, errors.

The original ids and pixels judge them in `tests/parity/test_llava.py`.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sentencepiece import SentencePieceProcessor
from transformers import AutoProcessor, LlavaImageProcessorPil

import transformers_internvl as ours
from tests.llava import TOKENIZER, VOCABULARY, llava_config, picture, write_folder, write_tokenizer
from transformers_internvl.processing.media import image_tiles

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SIZES = [(80, 50), (50, 81), (336, 336), (337, 336), (1, 1), (700, 20)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llava")
    write_folder(folder)
    return folder


@pytest.fixture(scope="module")
def processor(folder):
    return AutoProcessor.from_pretrained(folder)


def user(*items):
    return [{"role": "user", "content": [{"type": "text", "text": i} if isinstance(i, str) else i for i in items]}]


def image(index=0):
    return {"type": "image", "image": picture(60, 40, index)}


def encode(processor, messages, **options):
    return processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, **options
    )


def pieces(text: str) -> list[int]:
    """Ids of a text by itself, by sentencepiece alone."""
    return SentencePieceProcessor(model_file=str(TOKENIZER)).encode(text)


# --- pixels ----------------------------------------------------------------------------------------------------------


def by_pillow(image: Image.Image, pad: bool, side: int = 336) -> np.ndarray:
    """Pad, resize the shorter side, cut the centre out, normalize: `(3, side, side)`."""
    if pad:
        width, height = image.size
        square = Image.new("RGB", (max(width, height),) * 2, tuple(int(255 * mean) for mean in MEAN))
        square.paste(image, ((max(width, height) - width) // 2, (max(width, height) - height) // 2))
        image = square
    width, height = image.size
    size = (side, int(side * height / width)) if width < height else (int(side * width / height), side)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    levels = np.asarray(image.crop((left, top, left + side, top + side)))
    return ((levels / 255 - MEAN) / STD).transpose(2, 0, 1)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("pad", [True, False], ids=["pad", "crop"])
def test_pixels(processor, size, pad):
    drawn = picture(*size)
    outputs = processor.image_processor(drawn, do_pad=pad, return_tensors="pt")
    assert outputs["pixel_values"].shape == (1, 3, 336, 336) and outputs["pixel_values"].dtype == torch.float32
    assert outputs["num_patches"].tolist() == [1]
    np.testing.assert_allclose(outputs["pixel_values"][0].numpy(), by_pillow(drawn, pad), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "pad", "side", "tokens"),
    [
        ({}, True, 336, 576),
        ({"image_aspect_ratio": "square"}, False, 336, 576),
        ({"image_aspect_ratio": ...}, False, 336, 576),
        ({"mm_vision_tower": "./pretrained/InternViT-6B-448px"}, True, 448, 1024),
    ],
)
def test_config_json_says_how_images_are_cut(tmp_path, changes, pad, side, tokens):
    (tmp_path / "config.json").write_text(json.dumps(llava_config(**changes)))
    write_tokenizer(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    settings = processor.image_processor
    assert settings.do_pad is pad and processor.image_seq_length == tokens
    assert settings.size["shortest_edge"] == settings.crop_size["height"] == settings.crop_size["width"] == side


def test_the_form_with_qllama_has_more_tokens(tmp_path):
    write_folder(tmp_path, "two_mlp")
    processor = AutoProcessor.from_pretrained(tmp_path)
    inputs = encode(processor, user(image(), "Q"))
    assert inputs["input_ids"][0].count(processor.image_token_id) == 672
    assert processor.count_tokens([(50, 80), (500, 20)]) == [672, 672]


def test_kinds_of_images(processor, tmp_path):
    drawn = picture(60, 40)
    drawn.save(tmp_path / "picture.png")
    array = np.asarray(drawn)
    kinds = [drawn, array, torch.from_numpy(array.copy()).permute(2, 0, 1), str(tmp_path / "picture.png")]
    kinds.append(Image.merge("RGBA", (*drawn.split(), Image.new("L", drawn.size, 7))))
    expected = processor.image_processor(drawn, return_tensors="pt")["pixel_values"]
    for kind in kinds:
        assert torch.equal(processor.image_processor(kind, return_tensors="pt")["pixel_values"], expected)


# --- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("text", ["a<image>b", "<image>", " <image>  c<image>", "x <image>\nWhat?", "no picture"])
def test_ids_are_those_of_the_pieces(tmp_path, legacy, text):
    write_folder(tmp_path)
    write_tokenizer(tmp_path, legacy)
    processor = AutoProcessor.from_pretrained(tmp_path)
    expected = [1]
    for index, piece in enumerate(text.split("<image>")):
        expected += [VOCABULARY] * (576 * (index > 0)) + pieces(piece)
    images = [picture(60, 40)] * text.count("<image>")
    assert processor(text=text, images=images or None)["input_ids"] == [expected]


def test_the_prompt_is_vicunas(processor):
    messages = [*user(image(), "Hi"), {"role": "assistant", "content": "A dog."}, *user("Why?")]
    expected = (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: <image>\nHi ASSISTANT: A dog.</s>USER: Why? "
        "ASSISTANT:"
    )
    assert processor.apply_chat_template(messages, add_generation_prompt=True) == expected


def test_the_assistants_turns_are_marked(processor):
    messages = [*user(image(), "Hi"), {"role": "assistant", "content": "A dog."}]
    inputs = processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = [i for i, mark in zip(inputs["input_ids"][0], inputs["assistant_masks"][0], strict=True) if mark]
    assert processor.tokenizer.decode(marked) == "A dog.</s>"


@pytest.mark.parametrize("typed", ["<image>", "<IMG_CONTEXT>", "</s>", "<s>", "<unk>", "USER:", "a<IMG_CONTEXT>b</s>"])
def test_typed_text_stays_text(processor, typed):
    special = set(processor.tokenizer.all_special_ids)
    plain = encode(processor, user(image(), "Q"))["input_ids"][0]
    spelled = encode(processor, user(image(), f"Q {typed}"))["input_ids"][0]
    assert [i for i in spelled if i in special] == [i for i in plain if i in special]
    behind = spelled[len(spelled) - spelled[::-1].index(processor.image_token_id) :]
    assert f"Q {typed} ASSISTANT:" in processor.tokenizer.decode(behind)


def test_typed_image_tokens_beside_an_image_are_kept_apart(processor):
    ids = processor.apply_chat_template(user(image(), "<IMG_CONTEXT>"), tokenize=True, image_labels=False)[0]
    assert ids.count(processor.image_token_id) == 576


def test_batches_are_padded_on_the_left(processor):
    chats = [user(image(0), "one"), user("none at all"), user(image(1), image(2), "two")]
    batch = encode(processor, chats, padding=True, return_tensors="pt")
    assert batch["pixel_values"].shape == (3, 3, 336, 336)
    for row, mask, chat in zip(batch["input_ids"], batch["attention_mask"], chats, strict=True):
        assert row[mask.bool()].tolist() == encode(processor, chat)["input_ids"][0]
        assert mask[-1] == 1 and (row[~mask.bool()] == processor.tokenizer.pad_token_id).all()
    assert batch["attention_mask"][1, 0] == 0


def test_token_types(processor):
    inputs = encode(processor, user(image(), "Q"), return_mm_token_type_ids=True)
    assert inputs["mm_token_type_ids"][0] == [int(i == VOCABULARY) for i in inputs["input_ids"][0]]


# --- files -----------------------------------------------------------------------------------------------------------


def test_saved_and_loaded_again(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is ours.InternVLLlavaProcessor
    assert type(again.image_processor) is ours.InternVLLlavaImageProcessor
    chats = [user(image(0), "a  b </s>"), user("c")]
    first, second = (encode(p, chats, padding=True, return_tensors="pt") for p in (processor, again))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert again.tokenizer.decode(first["input_ids"][1]) == processor.tokenizer.decode(first["input_ids"][1])


def test_a_saved_processor_lies_beside_a_canonical_model(folder, processor, tmp_path):
    ours.InternVLLlavaForConditionalGeneration.from_pretrained(folder).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert type(AutoProcessor.from_pretrained(tmp_path)) is ours.InternVLLlavaProcessor


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 2])
def test_images_that_do_not_fit_the_prompt(processor, count):
    with pytest.raises(ValueError, match=f"1 placeholders.*{count} images were passed"):
        processor(text="<image> what?", images=[picture(60, 40)] * count or None)


def test_truncation_that_would_cut_an_image(processor):
    with pytest.raises(ValueError, match="sample 0 has 576 image tokens, of which"):
        encode(processor, user(image(), "Q"), truncation=True, max_length=100)


def test_videos(processor):
    with pytest.raises(ValueError, match="sees images, no videos"):
        encode(processor, user({"type": "video", "video": np.zeros((2, 8, 8, 3), np.uint8)}, "Q"))


def test_tiles(processor):
    with pytest.raises((TypeError, ValueError), match="max_patches"):
        encode(processor, user({**image(), "max_patches": 4}, "Q"))


def test_a_broken_image(processor):
    with pytest.raises(ValueError, match="Image 1"):
        processor.image_processor([picture(60, 40), np.full((5, 5, 3), np.nan)])


def test_a_tokenizer_of_another_size(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(llava_config(vocab_size=VOCABULARY + 8)))
    write_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="has 400 tokens.*for the model 408 stands for an image"):
        AutoProcessor.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(llava_config(vocab_size=VOCABULARY + 8, image_token_id=400)))
    assert AutoProcessor.from_pretrained(tmp_path).image_token_id == 400


def test_a_folder_of_another_layout(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "internvl"}))
    write_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="no processor_config.json.*'internvl'.*not of LLaVA's layout"):
        ours.InternVLLlavaProcessor.from_pretrained(tmp_path)


def test_upstreams_image_processor_serves_too(processor):
    """What `AutoImageProcessor` loads from a saved folder: it does not count tiles."""
    ours = {"image_processor": processor.image_processor, "tokenizer": processor.tokenizer}
    stock = {**ours, "image_processor": LlavaImageProcessorPil.from_dict(processor.image_processor.to_dict())}
    inputs = [
        type(processor)(**parts, image_seq_length=4)(images=picture(80, 50), text="<image>", return_tensors="pt")
        for parts in (ours, stock)
    ]
    assert inputs[0].keys() == inputs[1].keys()
    assert all(torch.equal(inputs[0][name], inputs[1][name]) for name in inputs[0])


def test_tiles_that_nobody_counted_are_refused():
    def tiling(images, **options):
        return {"pixel_values": [None] * 3}

    with pytest.raises(ValueError, match="3 tiles of 2 images"):
        image_tiles(tiling, [["a"], ["b"]], None, {})
