# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Prompts and media to inputs: placeholders, batches, counts, files, errors."""

import base64
import json
import shutil
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pydantic
import pytest
import torch
from openai.types.chat import ChatCompletionMessage
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, GotOcr2ImageProcessorPil, pipeline
from transformers.tokenization_utils_tokenizers import TokenizersBackend

import transformers_internvl  # noqa: F401  (registers)
from tests.parity.golden import golden_root
from transformers_internvl.nano import nano_path
from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.text.grounding import format_box

QWEN2 = golden_root() / "chat_qwen2"  # tiles of 56 pixels, 4 tokens each
TOKENIZER_FILES = ("tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json")


@pytest.fixture(scope="module")
def processor():
    return InternVLProcessor.from_pretrained(QWEN2)


def picture(width, height, value=0):
    """An image of one color, so that its tiles can be told apart."""
    return Image.new("RGB", (width, height), (value, value, value))


def shades(pixel_values):
    """The value of every tile, as it was in the image."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    tiles = np.stack([np.asarray(tile) for tile in pixel_values])
    assert np.allclose(tiles, tiles[:, :, :1, :1], atol=1e-6)
    return np.rint((tiles[:, :, 0, 0] * std + mean)[:, 0] * 255).astype(int).tolist()


def image_item(*args, **more):
    return {"type": "image", "image": picture(*args), **more}


def user(*items):
    return {"role": "user", "content": [{"type": "text", "text": i} if isinstance(i, str) else i for i in items]}


# Placeholders and batches


@pytest.mark.parametrize("mark", ["<image>", "<IMG_CONTEXT>"])
def test_each_placeholder_is_one_image(processor, mark):
    inputs = processor(text=f"a {mark} b", images=picture(56, 56), return_tensors="pt")
    plain = processor.tokenizer("a <img>" + "<IMG_CONTEXT>" * 4 + "</img> b")["input_ids"]
    assert inputs["input_ids"].tolist() == [plain]
    assert inputs["pixel_values"].shape == (1, 3, 56, 56) and inputs["pixel_values"].dtype == torch.float32
    assert set(inputs) == {"input_ids", "attention_mask", "pixel_values"}


def test_tiles_and_thumbnail_are_counted(processor):
    inputs = processor(text="<image>", images=picture(112, 56), return_tensors="pt", return_num_patches=True)
    assert inputs["pixel_values"].shape[0] == 3
    assert inputs["num_patches"].tolist() == [3]
    assert inputs["input_ids"][0].tolist().count(processor.image_token_id) == 12


@pytest.mark.parametrize("nested", [True, False])
def test_ragged_batch(processor, nested):
    texts = ["<image><image> two", "none", "<image> one"]
    images = [[picture(56, 56, 10), picture(112, 56, 20)], [], [picture(56, 56, 30)]]
    given = images if nested else [image for sample in images for image in sample]
    batch = processor(text=texts, images=given, padding=True, return_tensors="pt")
    assert shades(batch["pixel_values"]) == [10, 20, 20, 20, 30]
    for row, mask, text, sample in zip(batch["input_ids"], batch["attention_mask"], texts, images, strict=True):
        alone = processor(text=text, images=sample or None)
        assert row[mask.bool()].tolist() == alone["input_ids"][0]
    assert batch["attention_mask"][1, 0] == 0, "padded on the left"


def test_one_image_or_none_a_sample(processor):
    images = [np.full((56, 56, 3), 10, dtype=np.uint8), None, [picture(56, 56, 20)]]
    batch = processor(text=["<image>", "none", "<image>"], images=images, padding=True)
    assert shades(batch["pixel_values"]) == [10, 20]


@pytest.mark.parametrize("empty", [None, [], [[]], [None]])
def test_text_alone(processor, empty):
    inputs = processor(text="only words", images=empty)
    assert set(inputs) == {"input_ids", "attention_mask"}
    assert inputs["input_ids"] == [processor.tokenizer("only words")["input_ids"]]


@pytest.mark.parametrize("kind", ["numpy", "torch", "batch", "path", "base64", "data uri"])
def test_kinds_of_images(processor, kind, tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8))
    path = tmp_path / "picture.png"
    image.save(path)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    given = {
        "numpy": np.asarray(image),
        "torch": torch.from_numpy(np.array(image)).permute(2, 0, 1),
        "batch": np.asarray(image)[None],
        "path": str(path),
        "base64": encoded,
        "data uri": f"data:image/png;base64,{encoded}",
    }[kind]
    expected = processor(text="<image>", images=image, return_tensors="pt")
    found = processor(text="<image>", images=given, return_tensors="pt")
    assert torch.equal(found["pixel_values"], expected["pixel_values"])
    assert torch.equal(found["input_ids"], expected["input_ids"])


def test_videos_of_several_lengths(processor):
    clips = [[picture(56, 56, 10)] * 2, [picture(70, 56, 20)] * 3]
    videos = [np.stack([np.asarray(frame) for frame in clip]) for clip in clips]
    options = {"videos_kwargs": {"do_sample_frames": False}}
    inputs = processor(text=["<video>\nq", "r <video>"], videos=videos, padding=True, return_tensors="pt", **options)
    assert shades(inputs["pixel_values"]) == [10, 10, 20, 20, 20]
    tile = "<img>" + "<IMG_CONTEXT>" * 4 + "</img>"
    expected = processor.tokenizer(f"Frame1: {tile}\nFrame2: {tile}\nq")["input_ids"]
    assert inputs["input_ids"][0][inputs["attention_mask"][0].bool()].tolist() == expected


def test_tiles_come_in_the_order_of_the_prompts(processor):
    clip = np.stack([np.asarray(picture(56, 56, 50))] * 2)
    inputs = processor(
        text=["<image> <video> <image>", "<video>"],
        images=[[picture(112, 56, 10), picture(56, 56, 20)], []],
        videos=[clip, clip + 10],
        padding=True,
        return_tensors="pt",
        videos_kwargs={"do_sample_frames": False},
    )
    assert shades(inputs["pixel_values"]) == [10, 10, 10, 50, 50, 20, 60, 60]


def test_frame_label(tmp_path):
    processor = InternVLProcessor.from_pretrained(QWEN2, frame_label="Frame-{}: ")
    assert processor.replace_video_token({"pixel_values_videos": [np.zeros((2, 3, 56, 56))]}, 0).startswith(
        "Frame-1: <img>"
    )
    processor.save_pretrained(tmp_path)
    assert InternVLProcessor.from_pretrained(tmp_path).frame_label == "Frame-{}: "


def test_mm_token_type_ids(processor):
    inputs = processor(text=["a <image>", "b"], images=[picture(56, 56)], padding=True, return_mm_token_type_ids=True)
    for ids, types in zip(inputs["input_ids"], inputs["mm_token_type_ids"], strict=True):
        assert types == [int(index in processor.image_token_ids) for index in ids]
    assert sum(inputs["mm_token_type_ids"][0]) == 6


def test_replacement_offsets(processor):
    inputs = processor(text="a <image> b", images=picture(56, 56), return_text_replacement_offsets=True)
    ((entry,),) = inputs["text_replacement_offsets"]
    assert entry["type"] == "image" and entry["span"] == (2, 9) and entry["text"] == "<image>"
    assert entry["new_span"] == (2, 2 + len(entry["replacement"]))


def test_options_by_part_and_flat(processor):
    flat = processor(text="<image>", images=picture(112, 56), max_patches=1, padding="max_length", max_length=20)
    by_part = processor(
        text="<image>",
        images=picture(112, 56),
        images_kwargs={"max_patches": 1},
        text_kwargs={"padding": "max_length", "max_length": 20},
    )
    assert flat["input_ids"] == by_part["input_ids"] and len(flat["input_ids"][0]) == 20
    assert len(flat["pixel_values"]) == len(by_part["pixel_values"]) == 1


# Counting


@pytest.mark.parametrize("options", [{}, {"max_patches": 4}, {"min_patches": 2}, {"use_thumbnail": False}])
def test_counts_without_pixels(processor, options):
    sizes = [(56, 56), (56, 112), (300, 40), (7, 500), (1, 1)]
    counts = processor._get_num_multimodal_tokens(image_sizes=sizes, **options)
    images = [picture(width, height) for height, width in sizes]
    for size, image, tokens, patches in zip(
        sizes, images, counts["num_image_tokens"], counts["num_image_patches"], strict=True
    ):
        inputs = processor(text="<image>", images=image, return_mm_token_type_ids=True, **options)
        assert sum(inputs["mm_token_type_ids"][0]) == tokens, size
        assert len(inputs["pixel_values"]) == patches
    assert processor.count_tokens(sizes, **options) == counts["num_image_tokens"]


def test_counts_of_a_shared_budget(processor):
    sizes = [(56, 112), (300, 40), (56, 56)]
    images = [picture(width, height) for height, width in sizes]
    options = {"share_tile_budget": True, "max_patches": 6}
    inputs = processor(text="<image>" * 3, images=images, return_num_patches=True, **options)
    assert processor.count_tokens(sizes, **options) == [2 + 4 * int(n) for n in inputs["num_patches"]]
    assert max(inputs["num_patches"]) <= 3


# Conversations


def test_conversation_equals_its_prompt(processor):
    messages = [user(image_item(112, 56, 10), image_item(56, 56, 20), "compare")]
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert "Image-1: <image>\nImage-2: <image>\ncompare<|im_end|>" in prompt
    images = [item["image"] for item in messages[0]["content"][:2]]
    expected = processor(text=prompt, images=images, return_tensors="pt")
    found = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert (
        processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
        == found["input_ids"].tolist()
    )


@pytest.mark.parametrize("key", ["url", "path", "base64", "image_url", "image"])
def test_where_an_image_lies(processor, key, tmp_path):
    path = tmp_path / "p.png"
    picture(56, 56, 77).save(path)
    encoded = base64.b64encode(path.read_bytes()).decode()
    source = {
        "url": f"data:image/png;base64,{encoded}",
        "path": str(path),
        "base64": encoded,
        "image": str(path),
        "image_url": {"url": f"data:image/png;base64,{encoded}"},
    }[key]
    item = {"type": "image_url" if key == "image_url" else "image", key: source}
    inputs = processor.apply_chat_template([user(item, "q")], tokenize=True, return_dict=True)
    assert shades(inputs["pixel_values"]) == [77]


@dataclass
class Item:
    image_url: dict
    type: str = "image_url"


@dataclass
class Message:
    role: str
    content: list
    tool_calls: list | None = None


@pytest.mark.parametrize("kind", ["dataclass", "pydantic", "OpenAI's answer"])
def test_messages_may_be_objects(processor, kind):
    buffer = BytesIO()
    picture(56, 56, 77).save(buffer, "PNG")
    url = {"url": f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"}
    plain = [user({"type": "image_url", "image_url": url}, {"type": "text", "text": "q"})]
    if kind == "dataclass":
        chat = [Message("user", [Item(url), {"type": "text", "text": "q"}])]
    elif kind == "pydantic":
        fields = {"role": (str, ...), "content": (list, ...), "tool_calls": (list | None, None)}
        chat = [pydantic.create_model("Pydantic", **fields)(**plain[0])]
    else:
        plain.append({"role": "assistant", "content": "a"})
        chat = [plain[0], ChatCompletionMessage(role="assistant", content="a")]
    found, expected = (
        processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
        for messages in (chat, plain)
    )
    assert found["input_ids"].tolist() == expected["input_ids"].tolist()
    assert shades(found["pixel_values"]) == [77]


def test_what_is_no_message(processor):
    with pytest.raises(ValueError, match="Expected a message .*got 'words'"):
        processor.apply_chat_template(["words"])


def test_tiles_of_one_image(processor):
    messages = [user(image_item(112, 56, 1, max_patches=1), image_item(112, 56, 2), "q")]
    inputs = processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_num_patches=True, return_tensors="pt"
    )
    assert inputs["num_patches"].tolist() == [1, 3]
    assert shades(inputs["pixel_values"]) == [1, 2, 2, 2]


def test_batch_of_conversations(processor):
    chats = [
        [user(image_item(56, 56, 1), "q")],
        [user("words")],
        [user(image_item(56, 56, 2), "q"), {"role": "assistant", "content": "a"}, user(image_item(56, 56, 3), "r")],
    ]
    options = {"tokenize": True, "return_dict": True, "add_generation_prompt": True}
    batch = processor.apply_chat_template(chats, **options, processor_kwargs={"padding": True, "return_tensors": "pt"})
    assert shades(batch["pixel_values"]) == [1, 2, 3]
    for chat, row, mask in zip(chats, batch["input_ids"], batch["attention_mask"], strict=True):
        assert row[mask.bool()].tolist() == processor.apply_chat_template(chat, **options)["input_ids"][0]


def test_assistant_mask(processor):
    messages = [user(image_item(112, 56), "q"), {"role": "assistant", "content": "a dog"}, user("r")]
    messages += [{"role": "assistant", "content": [{"type": "text", "text": "a cat"}]}]
    inputs = processor.apply_chat_template(
        [messages, messages[:2]],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
        processor_kwargs={"padding": True, "return_tensors": "pt"},
    )
    assert inputs["assistant_masks"].shape == inputs["input_ids"].shape
    decoded = [processor.decode(row[mask.bool()]) for row, mask in zip(*_rows(inputs), strict=True)]
    assert decoded == ["a dog<|im_end|>a cat<|im_end|>", "a dog<|im_end|>"]


def _rows(inputs):
    return inputs["input_ids"], inputs["assistant_masks"]


def test_prefill(processor):
    messages = [user("q"), {"role": "assistant", "content": "The dog is"}]
    ids = processor.apply_chat_template(messages, tokenize=True, continue_final_message=True)
    assert processor.decode(ids[0]).endswith("<|im_start|>assistant\nThe dog is")
    with pytest.raises(ValueError, match="continue_final_message"):
        processor.apply_chat_template(messages, continue_final_message=True, add_generation_prompt=True)


def test_thinking_switch(processor):
    messages = [user("q")]
    ids = processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, enable_thinking=False)
    assert processor.decode(ids[0]).endswith("assistant\n<think>\n</think>\n")
    with pytest.raises(ValueError, match="does not know `enable_thinking`"):
        processor.apply_chat_template(messages, chat_template="{{ messages }}", enable_thinking=True)


def test_video_item(processor):
    frames = np.stack([np.asarray(picture(56, 56, 40))] * 2)
    inputs = processor.apply_chat_template(
        [user({"type": "video", "video": frames}, "what happens?")],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"do_sample_frames": False},
    )
    assert shades(inputs["pixel_values"]) == [40, 40]
    tile = "<img>" + "<IMG_CONTEXT>" * 4 + "</img>"
    decoded = processor.decode(inputs["input_ids"][0])
    assert f"user\nFrame1: {tile}\nFrame2: {tile}\nwhat happens?<|im_end|>" in decoded


# Errors


@pytest.mark.parametrize(
    ("text", "images", "message"),
    [
        ("<image><image>", [picture(9, 9)], r"the prompts have 2 placeholders .* and 1 images were passed"),
        ("none", [picture(9, 9)], r"have 0 placeholders .* and 1 images"),
        ("<image>", None, r"have 1 placeholders .* and 0 images"),
        (["<image>", "<image>"], [[picture(9, 9)], []], r"Sample 1: 0 images were passed, but its prompt has 1"),
        (
            ["<image>", "x"],
            [[picture(9, 9)], [picture(9, 9)]],
            r"Sample 1: 1 images were passed, but its prompt has 0",
        ),
        ("<image>", [Image.new("RGB", (0, 5))], "no pixels"),
        ("<image>", np.full((9, 9, 3), np.nan), "not finite"),
        (None, None, "needs `text`"),
        (3, None, "must be a string"),
        ([], None, r"a list of strings, at least one, got \[\]"),
        ([], [], "at least one"),
    ],
)
def test_bad_input(processor, text, images, message):
    with pytest.raises(ValueError, match=message):
        processor(text=text, images=images)


def test_video_without_placeholder(processor):
    with pytest.raises(ValueError, match="have 0 placeholders .* and 1 videos were passed"):
        processor(text="q", videos=np.zeros((2, 9, 9, 3), dtype=np.uint8), videos_kwargs={"do_sample_frames": False})


def test_truncation_never_cuts_an_image(processor):
    with pytest.raises(ValueError, match="sample 1 has 12 image tokens, of which 3 are left"):
        processor(
            text=["a", "<image> word"], images=picture(112, 56), truncation=True, max_length=4, truncation_side="right"
        )


@pytest.mark.parametrize("template", [None, "{% for message in messages %}<image>{% endfor %}"])
def test_images_beside_a_conversation(processor, template):
    """They are media whether the template has a variable called `images`, as those of this package, or not."""
    chat = [user({"type": "image"}, "q")]
    options = {"tokenize": True, "return_dict": True, "chat_template": template}
    found = processor.apply_chat_template(chat, images=[picture(9, 9)], **options)
    expected = processor.apply_chat_template(chat, processor_kwargs={"images": [picture(9, 9)]}, **options)
    assert found["input_ids"] == expected["input_ids"]
    assert np.array_equal(found["pixel_values"], expected["pixel_values"]) and len(found["pixel_values"]) == 1


@pytest.mark.parametrize(("name", "value"), [("videos", [np.zeros((2, 9, 9, 3), dtype=np.uint8)]), ("text", "q")])
@pytest.mark.parametrize("inside", [True, False])
def test_what_a_conversation_holds_is_not_given_beside_it(processor, name, value, inside):
    options = {"processor_kwargs": {name: value}} if inside else {name: value}
    template = "{% for message in messages %}{{ 'videos' }}{% endfor %}"
    item = name.removesuffix("s")
    with pytest.raises(ValueError, match=f"`{name}` cannot be given beside .* {{'type': '{item}', '{item}': ...}}"):
        processor.apply_chat_template([user("q")], tokenize=True, chat_template=template, **options)


def test_conversation_with_too_few_images(processor):
    chats = [[user(image_item(9, 9), "q")], [user({"type": "image"}, "q")]]
    with pytest.raises(ValueError, match="Sample 1: 0 images were passed, but its prompt has 1"):
        processor.apply_chat_template(chats, tokenize=True)


@pytest.mark.parametrize("name", ["max_length", "pad_to_multiple_of"])
def test_padding_without_end_is_refused(processor, name):
    """The tokenizer would take all memory and end the process."""
    with pytest.raises(ValueError, match=f"{name}=1000000000000` is more than"):
        processor(text="words", padding="max_length", **{name: 10**12})


@pytest.mark.parametrize("conversation", [[], "hello", [["x"]]])
def test_no_conversation(processor, conversation):
    with pytest.raises(ValueError, match="Expected a"):
        processor.apply_chat_template(conversation)


def test_no_chat_template(processor):
    bare = InternVLProcessor(processor.image_processor, processor.tokenizer, processor.video_processor)
    with pytest.raises(ValueError, match="does not have a chat template"):
        bare.apply_chat_template([user("q")])
    bare.chat_template = {"one": "1", "two": "2"}
    assert bare.apply_chat_template([user("q")], chat_template="two") == "2"
    with pytest.raises(ValueError, match="one.*two"):
        bare.apply_chat_template([user("q")])


def test_tokenizer_without_image_tokens(processor):
    from transformers import Qwen2Tokenizer

    tokenizer = Qwen2Tokenizer(vocab={"a": 0, "b": 1}, merges=[])
    with pytest.raises(ValueError, match="no token '<img>'"):
        InternVLProcessor(processor.image_processor, tokenizer, processor.video_processor)


# Files of the original layout


def original_folder(tmp_path, **changes):
    config = json.loads((QWEN2 / "config.json").read_text())
    config.update(changes)
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in TOKENIZER_FILES:
        shutil.copy(QWEN2 / name, tmp_path)
    return tmp_path


def test_original_config_is_read(tmp_path):
    folder = original_folder(
        tmp_path,
        force_image_size=112,
        min_dynamic_patch=2,
        max_dynamic_patch=5,
        use_thumbnail=False,
        pad2square=True,
        system_message="Be brief.",
        template="Hermes-2",
    )
    # What a released folder says about CLIP is not what inference does.
    clip = {"feature_extractor_type": "CLIPFeatureExtractor", "crop_size": 448, "image_mean": [0.4] * 3, "size": 448}
    (folder / "preprocessor_config.json").write_text(json.dumps(clip))
    tokenizer_config = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer_config["chat_template"] = "You are Qwen."
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))

    processor = InternVLProcessor.from_pretrained(folder)
    images = processor.image_processor
    assert (images.size["height"], images.size["width"]) == (112, 112)
    assert (images.min_patches, images.max_patches, images.use_thumbnail, images.pad2square) == (2, 5, False, True)
    assert images.crop_to_patches is True
    assert tuple(images.image_mean) == (0.485, 0.456, 0.406) and tuple(images.image_std) == (0.229, 0.224, 0.225)
    assert (processor.video_processor.size["height"], processor.image_seq_length) == (112, 16)
    assert processor.chat_template == get_chat_template("Hermes-2", system_message="Be brief.")
    assert processor.tokenizer.padding_side == "left"


def test_original_config_without_tiles(tmp_path):
    folder = original_folder(tmp_path, dynamic_image_size=False)
    processor = InternVLProcessor.from_pretrained(folder)
    inputs = processor(text="<image>", images=picture(500, 56))
    assert len(inputs["pixel_values"]) == 1


def test_options_win_over_config(tmp_path):
    template = get_chat_template("internvl_hf")
    processor = InternVLProcessor.from_pretrained(QWEN2, max_patches=3, chat_template=template, image_seq_length=9)
    assert processor.image_processor.max_patches == 3
    assert processor.chat_template == template and processor.image_seq_length == 9


def test_null_system_message_is_the_default(tmp_path):
    processor = InternVLProcessor.from_pretrained(original_folder(tmp_path, system_message=None))
    assert processor.chat_template == get_chat_template("internvl2_5")


def test_unknown_template(tmp_path):
    with pytest.raises(ValueError, match="Unknown chat template 'internvl9'.*'internvl2_5'"):
        InternVLProcessor.from_pretrained(original_folder(tmp_path, template="internvl9"))


def test_folder_without_tokenizer(tmp_path):
    shutil.copy(QWEN2 / "config.json", tmp_path)
    with pytest.raises(OSError, match="There is no tokenizer in"):
        InternVLProcessor.from_pretrained(tmp_path)


# Files of the -hf layout


def hf_folder(tmp_path, nested):
    """A folder as upstream writes it: nested in one file, or in three as older releases did."""
    shared = {
        "size": {"height": 56, "width": 56},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "do_convert_rgb": True,
    }
    images = {**shared, "crop_to_patches": False, "min_patches": 1, "max_patches": 12}
    images["image_processor_type"] = "GotOcr2ImageProcessorFast"
    videos = {**shared, "video_processor_type": "InternVLVideoProcessor"}
    settings = {"image_seq_length": 4, "processor_class": "InternVLProcessor"}
    if nested:
        settings |= {"image_processor": images, "video_processor": videos}
    else:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(images))
        (tmp_path / "video_preprocessor_config.json").write_text(json.dumps(videos))
    (tmp_path / "processor_config.json").write_text(json.dumps(settings))
    (tmp_path / "chat_template.jinja").write_text(get_chat_template("internvl_hf"))
    for name in TOKENIZER_FILES:
        shutil.copy(QWEN2 / name, tmp_path)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "internvl", "text_config": {"model_type": "qwen2"}})
    )
    return tmp_path


@pytest.mark.parametrize("nested", [True, False])
def test_hf_folder(tmp_path, nested, processor):
    hf = InternVLProcessor.from_pretrained(hf_folder(tmp_path, nested))
    assert isinstance(hf.image_processor, InternVLImageProcessor)
    assert hf.image_processor.crop_to_patches, "stock's processor cuts whatever the file says"
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (56, 112, 3), dtype=np.uint8))
    options = {"images": image, "return_tensors": "pt", "text": "<IMG_CONTEXT>"}
    assert torch.equal(hf(**options)["pixel_values"], processor(**options)["pixel_values"])
    assert torch.equal(hf(**options)["input_ids"], processor(**options)["input_ids"])
    assert hf.apply_chat_template([user("q")]) == "<|im_start|>user\nq<|im_end|>\n"


def test_save_and_load(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    again = InternVLProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == processor.to_dict()
    messages = [user(image_item(112, 60, 3), image_item(56, 56, 4), "q <image>")]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
    before, after = (p.apply_chat_template(messages, **options) for p in (processor, again))
    assert all(torch.equal(before[name], after[name]) for name in before)
    again.save_pretrained(tmp_path / "twice")
    for name in ("processor_config.json", "chat_template.jinja", "tokenizer_config.json"):
        assert (tmp_path / name).read_text() == (tmp_path / "twice" / name).read_text()


def test_saved_files_are_upstreams(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "processor_config.json").read_text())
    assert set(settings) == {"image_processor", "image_seq_length", "processor_class", "video_processor"}
    assert settings["processor_class"] == "InternVLProcessor"
    assert settings["image_processor"]["image_processor_type"] == "GotOcr2ImageProcessor"
    # Upstream's image processor takes all it needs from the same keys.
    stock = GotOcr2ImageProcessorPil.from_dict(dict(settings["image_processor"]))
    image = picture(112, 60, 9)
    ours = processor.image_processor(image, return_tensors="pt")
    theirs = stock(image, return_tensors="pt")
    assert ours["pixel_values"].shape == theirs["pixel_values"].shape
    assert torch.allclose(ours["pixel_values"], theirs["pixel_values"], atol=1e-5)
    names = json.loads((tmp_path / "tokenizer_config.json").read_text())["model_specific_special_tokens"]
    assert (names["start_image_token"], names["end_image_token"]) == ("<img>", "</img>")
    assert (names["context_image_token"], names["video_token"]) == ("<IMG_CONTEXT>", "<quad>")
    template = (tmp_path / "chat_template.jinja").read_text()
    assert "<IMG_CONTEXT>" in template and "<image>" not in template
    assert "<quad>" in template and "<video>" not in template


def test_upstream_image_processor_is_cut_with(processor):
    stock = GotOcr2ImageProcessorPil(size={"height": 56, "width": 56})
    mixed = InternVLProcessor(stock, processor.tokenizer, processor.video_processor, image_seq_length=4)
    assert len(mixed(text="<image>", images=picture(112, 56))["pixel_values"]) == 3
    assert mixed.count_tokens([(56, 112)]) == [14]


# Grounding


def test_grounding_answers(processor):
    answer = "Here: " + format_box((10, 20, 110, 220), (400, 200), "dog")
    ids = processor.tokenizer(answer + "<|im_end|>")["input_ids"]
    (decoded,) = processor.decode_grounding([ids])
    assert decoded == answer
    assert processor.decode_grounding(torch.tensor(ids)) == [answer]
    expected = [{"label": "dog", "boxes": [(10.0, 20.0, 110.0, 220.0)]}]
    assert processor.post_process_grounding(decoded, (400, 200)) == expected
    assert processor.post_process_grounding([decoded, ""], [(400, 200), (9, 9)]) == [expected, []]
    with pytest.raises(ValueError, match="each of 2 answers, got 1"):
        processor.post_process_grounding([decoded, ""], [(400, 200)])


# Auto classes and pipeline


@pytest.mark.parametrize("trust", [False, True])
def test_auto_processor(tmp_path, trust, processor):
    assert type(AutoProcessor.from_pretrained(QWEN2, trust_remote_code=trust)) is InternVLProcessor
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path, trust_remote_code=trust)
    assert type(again) is InternVLProcessor and type(again.image_processor) is InternVLImageProcessor


def test_pipeline():
    pipe = pipeline("image-text-to-text", model=str(QWEN2))
    chats = [[user(image_item(112, 56, 9), "what is this?")], [user(image_item(56, 56), "hello </s> there")]]
    options = {"generate_kwargs": {"max_new_tokens": 3, "do_sample": False}}
    together = [answer[0]["generated_text"][-1] for answer in pipe(chats, batch_size=2, **options)]
    alone = [pipe(chat, **options)[0]["generated_text"][-1] for chat in chats]
    assert together == alone
    assert all(answer["role"] == "assistant" and answer["content"] for answer in alone)
    (raw,) = pipe(images=[picture(56, 56)], text="<image> x", **options)
    assert raw["generated_text"].startswith("<image> x")


def test_loading_does_not_ask_for_the_whole_vocabulary(monkeypatch):
    def refuse(self):
        raise AssertionError("a vocabulary of 151,674 rows takes a tenth of a second to ask for")

    monkeypatch.setattr(TokenizersBackend, "get_vocab", refuse)
    processor = AutoProcessor.from_pretrained(nano_path())
    assert processor.image_token_id == processor.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")


@pytest.mark.parametrize("videos", [False, True])
def test_what_a_processor_says_on_request_goes_through_generate(videos):
    """`generate(**inputs)` writes the same with and without the counts, and what else can be asked for."""
    processor, model = (
        AutoProcessor.from_pretrained(nano_path()),
        AutoModelForImageTextToText.from_pretrained(nano_path()),
    )
    frames = [np.asarray(picture(40, 30, value)) for value in (10, 200)]
    message = user(image_item(100, 200, 90), *([{"type": "video", "video": frames}] if videos else []), "What?")
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
    plain = processor.apply_chat_template([message], **options)
    described = processor.apply_chat_template(
        [message],
        **options,
        return_num_patches=True,
        return_mm_token_type_ids=True,
        return_grid=True,
        **({"videos_kwargs": {"return_metadata": True}} if videos else {}),
    )
    assert {"num_patches", "mm_token_type_ids", "grids"} <= described.keys() - plain.keys()
    expected = model.generate(**plain, max_new_tokens=4, do_sample=False)
    assert torch.equal(model.generate(**described, max_new_tokens=4, do_sample=False), expected)
    assert model.generate(**described, max_new_tokens=4, num_beams=2).shape[0] == 1


def test_bounds_of_tokens_before_there_are_pixels(tmp_path):
    processor = InternVLProcessor.from_pretrained(golden_root() / "chat_flash")
    assert processor.compressed_image_seq_length == 64
    sizes, options = [(64, 64), (64, 192)], {"max_patches": 6}  # one tile; three and a thumbnail
    assert processor.count_tokens(sizes, **options) == [2 + 256, 2 + 4 * 256]
    assert processor.count_token_bounds(sizes, **options) == (4 + 4 * 64 + 256, 4 + 5 * 256)
    assert processor.count_token_bounds(sizes[:1], **options) == (258, 258)
    processor.save_pretrained(tmp_path)
    assert InternVLProcessor.from_pretrained(tmp_path).compressed_image_seq_length == 64
    plain = InternVLProcessor.from_pretrained(QWEN2)
    assert plain.compressed_image_seq_length is None and "compressed_image_seq_length" not in plain.to_dict()
    low, high = plain.count_token_bounds([(64, 192)])
    assert low == high == plain.count_tokens([(64, 192)])[0]
