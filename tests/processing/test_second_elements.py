# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The second image, video, text or sample of a call is treated as the first is, and side doors as the front one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from tests.clips import clip_bytes
from tests.parity.golden import golden_root
from transformers_internvl.processing import chat_templates
from transformers_internvl.processing.chat_templates import chat_messages, split_thinking
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.media import Media
from transformers_internvl.processing.processor_files import chat_settings
from transformers_internvl.processing.sources import open_source, unwrapped
from transformers_internvl.processing.text.conversation import chat_prompt, get_conv_template
from transformers_internvl.processing.text.placeholders import by_sample, expand, find_places
from transformers_internvl.processing.text.untrusted_text import Prompt, mask_of, replace
from transformers_internvl.processing.tokenizers.loading import stop_first
from transformers_internvl.processing.videos.video_frames import GivenFrames, frame_files
from transformers_internvl.processing.videos.video_processing import InternVLVideoProcessor

TILE = "<img>" + "<IMG_CONTEXT>" * 4 + "</img>"


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(golden_root() / "chat_qwen2")  # tiles of 56 pixels, 4 tokens each


def gray(width, height, value=0):
    return Image.new("RGB", (width, height), (value, value, value))


def clip(count, value=0):
    return np.full((count, 56, 56, 3), value, dtype=np.uint8)


def shades(pixel_values):
    """The level of every tile, from the first channel."""
    return [round((float(tile[0, 0, 0]) * 0.229 + 0.485) * 255) for tile in pixel_values]


# --- places and offsets ---


def test_offsets_of_every_replacement(processor):
    """Before and after, each span cuts out the text that it is of."""
    texts = ["é <image> b <video><IMG_CONTEXT> c", "plain", "<video> d <image>"]
    inputs = processor(
        text=texts,
        images=[gray(56, 56), gray(112, 56), gray(56, 56)],
        videos=[clip(2), clip(3)],
        return_text_replacement_offsets=True,
    )
    kinds = []
    for text, ids, entries in zip(texts, inputs["input_ids"], inputs["text_replacement_offsets"], strict=True):
        after = processor.tokenizer.decode(ids)
        for entry in entries:
            assert text[slice(*entry["span"])] == entry["text"]
            assert after[slice(*entry["new_span"])] == entry["replacement"]
        kinds.append([(entry["type"], entry["text"], entry["replacement"].count("<img>")) for entry in entries])
    assert kinds == [
        [("image", "<image>", 1), ("video", "<video>", 2), ("image", "<IMG_CONTEXT>", 1)],
        [],
        [("video", "<video>", 3), ("image", "<image>", 1)],
    ]
    first = inputs["text_replacement_offsets"][0]
    assert first[2]["replacement"].count("<IMG_CONTEXT>") == 12 and first[2]["replacement"].count("</img>") == 1


def test_spans_move_with_what_is_put_before_them():
    data = [(0, 1), (8, 10)]
    prompt = Prompt("a<image>bc<video>d", data=data, generation=[(9, 18)], splits=[1, 9], bytewise=[(8, 9)])
    (moved,), _ = expand([prompt], [find_places(prompt)], {"image": ["1234567890"], "video": ["xyz"]})
    assert moved.text == "a1234567890bcxyzd"
    assert (moved.data, moved.generation) == ([(0, 1), (11, 13)], [(12, 17)])
    assert (moved.splits, moved.bytewise) == ([1, 12], [(11, 12)])
    assert replace(prompt, []).text == prompt.text


def test_what_a_user_typed_is_known_to_the_character():
    prompt = Prompt("0123456789", data=[(2, 4), (6, 8)])
    found = [[prompt.is_data(start, end) for start in range(end)] for end in range(1, 11)]
    typed = {2, 3, 6, 7}
    assert found == [[bool(typed & set(range(start, end))) for start in range(end)] for end in range(1, 11)]


def test_tokens_of_an_answer_begin_in_it():
    tokens = [(0, 2), (2, 2), (2, 4), (3, 5), (4, 6), (5, 5), (6, 9), (0, 0)]
    assert mask_of(tokens, [(2, 4)]) == [0, 0, 1, 1, 0, 0, 0, 0]
    assert mask_of(tokens, [(0, 2), (6, 7)]) == [1, 0, 0, 0, 0, 0, 1, 0]
    assert mask_of(tokens, []) == [0] * 8


def test_media_of_each_sample():
    prompts = [Prompt("<image> x <image>"), Prompt("none"), Prompt("<video><image>")]
    places = [find_places(prompt) for prompt in prompts]
    expected = [["a", "b"], [], ["c"]]
    assert by_sample("image", ["a", "b", "c"], places, nested=False) == expected
    assert by_sample("image", [["a", None, "b"], None, "c"], places, nested=True) == expected
    assert by_sample("image", [["a", "b", "c"]], places, nested=True) == expected  # one list, three prompts
    assert by_sample("video", ["v"], places, nested=False) == [[], [], ["v"]]
    with pytest.raises(ValueError, match=r"have 3 placeholders .*\[2, 0, 1\] by sample\) and 2 images"):
        by_sample("image", ["a", "b"], places, nested=False)
    with pytest.raises(ValueError, match="Sample 2: 0 images were passed, but its prompt has 1"):
        by_sample("image", [["a", "b"], [], []], places, nested=True)


# --- options of single images and videos ---


def test_frames_of_each_video_item(processor):
    """Of two items in two conversations: numbers and rates exclude each other, whoever says them."""

    def item(count, value, **own):
        return {"type": "video", "video": clip(count, value), **own}

    chats = [
        [{"role": "user", "content": [item(9, 10, num_frames=2), item(3, 20)]}],
        [{"role": "user", "content": [item(9, 30, num_frames=1)]}],
    ]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "padding": True}
    found = processor.apply_chat_template(chats, **options)
    assert shades(found["pixel_values"]) == [10, 10, 20, 20, 20, 30]
    counts = [(row == processor.image_token_id).sum().item() for row in found["input_ids"]]
    assert counts == [20, 4]
    found = processor.apply_chat_template(
        chats, **options, processor_kwargs={"videos_kwargs": {"return_metadata": True}}
    )
    assert [about.total_num_frames for about in found["video_metadata"]] == [9, 3, 9]
    assert [len(about.frames_indices) for about in found["video_metadata"]] == [2, 3, 1]


def test_a_rate_of_an_item_is_taken_instead_of_the_calls_number(processor):
    file = clip_bytes(range(0, 160, 20), rate=4)  # eight frames, two seconds
    for own, call, count in (
        ({"fps": 2}, {"num_frames": 3}, 4),
        ({"num_frames": 3}, {"fps": 2}, 3),
        ({"fps": 1}, {"fps": 2}, 2),
        ({"bound": (0, 0.9)}, {"num_frames": 3}, 3),
        ({}, {"fps": 2}, 4),
        ({}, {"num_frames": 3}, 3),
    ):
        chat = [{"role": "user", "content": [{"type": "video", "video": file, **own}]}]
        found = processor.apply_chat_template(chat, tokenize=True, return_dict=True, **call)
        assert len(found["pixel_values"]) == count, (own, call)


def test_options_of_images_that_are_passed_beside_their_items(processor):
    chat = [{"role": "user", "content": [{"type": "image", "max_patches": 1}, {"type": "image"}]}]
    options = {"tokenize": True, "return_dict": True, "return_num_patches": True}
    wide = [gray(112, 56, 10), gray(112, 56, 20)]
    found = processor.apply_chat_template(chat, **options, processor_kwargs={"images": wide})
    assert found["num_patches"] == [1, 3] and shades(found["pixel_values"]) == [10, 20, 20, 20]
    both = processor.apply_chat_template([chat, chat], **options, processor_kwargs={"images": [wide, wide[::-1]]})
    assert both["num_patches"] == [1, 3, 1, 3] and shades(both["pixel_values"])[4] == 20
    # Where no item has options it does not matter whose they are.
    media = Media.of([[{"content": [{"type": "image"}]}]])
    assert media.overrides(image=["a", "b"]).image == []
    with pytest.raises(ValueError, match="2 images were passed beside the conversation, which has 1 items"):
        Media.of([[{"content": [{"type": "image", "max_patches": 1}]}]]).overrides(image=["a", "b"])


def test_budgets_of_samples_of_several_sizes():
    shared = InternVLImageProcessor(size=28, max_patches=6, share_tile_budget=True)
    long = gray(600, 28)
    assert shared([[long], [long] * 3])["num_patches"] == [7, 3, 3, 3]
    assert shared([[long] * 3, [long]])["num_patches"] == [3, 3, 3, 7]
    assert shared([[long] * 6, [], [long] * 2])["num_patches"] == [1] * 6 + [4, 4]
    assert shared([[long] * 4, [long]], min_patches=3)["num_patches"] == [1] * 4 + [7]
    assert shared([long, long], return_tensors="pt", return_grid=True)["grids"] == [(3, 1)] * 2


def test_metadata_of_the_second_video():
    videos, about = [clip(4), clip(8)], [{"fps": 4, "total_num_frames": 4}, {"fps": 2, "total_num_frames": 8}]
    processor = InternVLVideoProcessor(size=14)
    found = processor(videos, fps=1, video_metadata=about, return_metadata=True)
    assert [item.frames_indices for item in found["video_metadata"]] == [[2], [1, 3, 5, 7]]
    nested = processor([[videos[0]], [videos[1]]], fps=1, video_metadata=[about[:1], about[1:]], return_metadata=True)
    assert [item.fps for item in nested["video_metadata"]] == [4, 2]
    with pytest.raises(ValueError, match="describes 1 videos, but 2 were given"):
        processor(videos, fps=1, video_metadata=about[:1])
    with pytest.raises(ValueError, match="Video 1: .*frame rate, which is not known"):
        processor(videos, fps=1, video_metadata=[about[0], {"total_num_frames": 8}])
    for stated in (7, 9):  # a rate of the whole video says nothing about some of its frames
        assert GivenFrames(videos[1], {"fps": 2, "total_num_frames": stated}).metadata.fps is None
    assert GivenFrames(videos[1], {"fps": 2}).metadata.fps == 2


def test_a_frame_that_is_chosen_again_is_the_same():
    frames = [gray(8, 8, value) for value in (40, 80, 120)]
    tiles = InternVLVideoProcessor(size=14)(frames, num_frames=7)["pixel_values_videos"][0]
    assert shades(tiles) == [40, 40, 80, 80, 80, 80, 120]  # steps of 2 / 7 frames, rounded
    with pytest.raises(ValueError, match="frame 1: has shape"):
        InternVLVideoProcessor(size=14, do_resize=False)([gray(8, 8), gray(9, 8)])


def test_frames_of_one_type_share_a_depth():
    """A dark frame of fractions beside bright ones; and beside frames of whole numbers, which have levels."""
    dark, bright = np.full((8, 8, 3), 0.5, np.float32), np.full((8, 8, 3), 200.0, np.float32)
    levels = InternVLVideoProcessor(size=8, do_rescale=False, do_normalize=False)
    with pytest.raises(ValueError, match="frame 0: .*whole levels"):  # 0.5 of 255
        levels([dark, bright])
    whole = np.full((8, 8, 3), 200, np.int32)
    tiles = InternVLVideoProcessor(size=8)([dark, whole])["pixel_values_videos"][0]
    assert shades(tiles) == [128, 200]


def test_a_folder_gives_each_frame_once(tmp_path):
    for number, name in enumerate(["f_10.PNG", "f_2.png", ".f_1.png", "notes.txt", "f_02.png"]):
        if name.endswith("txt"):
            (tmp_path / name).write_text("x")
        else:
            gray(8, 8, 10 * number).save(tmp_path / name, "PNG")
    assert [Path(path).name for path in frame_files(tmp_path)] == ["f_02.png", "f_2.png", "f_10.PNG"]
    processor = InternVLVideoProcessor(size=14)
    for wanted, expected in ((2, 2), (3, 3), (4, 3), (9, 3)):
        assert len(processor(str(tmp_path), num_frames=wanted)["pixel_values_videos"][0]) == expected


# --- side doors ---


def test_fetched_videos_are_the_frames_that_were_asked_for():
    file = clip_bytes(range(0, 160, 20), rate=4)
    processor = InternVLVideoProcessor(size=14)
    frames, about = processor.fetch_videos(file)
    assert frames.shape == (8, 48, 64, 3) and about.frames_indices == list(range(8))
    assert [round(float(frame.mean()) / 20) for frame in frames] == list(range(8))
    chosen, about = processor.fetch_videos(file, lambda metadata: [5, np.int64(1), 1])
    assert about.frames_indices == [5, 1, 1] and about.total_num_frames == 8
    np.testing.assert_array_equal(chosen, frames[[5, 1, 1]])
    other = clip_bytes([100, 200], rate=2)
    both, described = processor.fetch_videos([file, other], lambda metadata: [metadata.total_num_frames - 1])
    np.testing.assert_array_equal(both[0], frames[[7]])
    assert len(both[1]) == 1 and abs(both[1].mean() - 200) < 3
    assert [item.frames_indices for item in described] == [[7], [1]] and [item.fps for item in described] == [4, 2]


def test_fetched_videos_are_bounded(tmp_path):
    file = clip_bytes([0, 20])
    gray(9, 8).save(tmp_path / "1.png")
    processor = InternVLVideoProcessor(size=14, max_image_pixels=64 * 48)
    assert processor.fetch_videos(file)[0].shape == (2, 48, 64, 3)
    processor.max_image_pixels -= 1
    with pytest.raises(ValueError, match="more than the 3071 allowed"):
        processor.fetch_videos(file)
    assert len(processor(file, num_frames=1, max_image_pixels=64 * 48)["pixel_values_videos"]) == 1
    processor.max_image_pixels = 72
    assert processor.fetch_videos(str(tmp_path))[0].shape == (1, 8, 9, 3)
    processor.max_image_pixels = 71
    with pytest.raises(ValueError, match="more than the 71 allowed"):
        processor.fetch_videos(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" an answer \n", ("", "an answer")),
        ("<think> a </think> b ", ("a", "b")),
        (" \n<think>a</think>b", ("a", "b")),
        ("a </think>\n b", ("a", "b")),  # the prompt opened it
        ("<think>a</think> <think> b </think>c", ("a\nb", "c")),
        ("a</think><think>b</think>c", ("a\nb", "c")),
        ("<think></think>c", ("", "c")),
        ("<think>a</think><think> </think>c", ("a", "c")),
        ("<think> cut short", ("cut short", "")),
        ("a </think> b </think> c", ("a", "b </think> c")),  # of an answer that speaks of the tag
        ("b <think> c", ("", "b <think> c")),
        ("", ("", "")),
    ],
)
def test_thoughts_and_answer(text, expected):
    assert split_thinking(text) == expected


def test_a_first_question_gets_a_marker_and_a_second_none():
    assert chat_messages("q", with_images=True)[0]["content"] == "<image>\nq"
    assert chat_messages("a <image> q", with_images=True)[0]["content"] == "a <image> q"
    assert chat_messages("q", with_images=False)[0]["content"] == "q"
    later = chat_messages("r", [("q", "a"), ("s", "b")], with_images=True)
    assert [message["content"] for message in later] == ["q", "a", "s", "b", "r"]
    assert [message["role"] for message in later] == ["user", "assistant"] * 2 + ["user"]
    prompt = chat_prompt("internvl2_5", "<image> and <image> and <image>", num_patches=[1, 2], num_image_token=2).text
    one = "<img>" + "<IMG_CONTEXT>" * 2 + "</img>"
    two = "<img>" + "<IMG_CONTEXT>" * 4 + "</img>"
    assert f"user\n{one} and {two} and <image><|im_end|>" in prompt


def test_chat_prompt_under_its_former_address():
    with pytest.warns(FutureWarning, match="chat_prompt is in processing.text"):
        former = chat_templates.chat_prompt
    assert former("phi3-chat", "q") == chat_prompt("phi3-chat", "q").text
    with pytest.raises(AttributeError, match="has no attribute 'chat_prompts'"):
        _ = chat_templates.chat_prompts


def test_a_conversation_and_its_copy():
    talk = get_conv_template("internvl2_5")
    talk.append_message(talk.roles[0], "q")
    assert talk.get_prompt().endswith("<|im_start|>user\nq<|im_end|>\n")  # nothing is open
    other = talk.copy()
    other.append_message(other.roles[1], None)
    assert len(talk.messages) == 1 and other.get_prompt().endswith("q<|im_end|>\n<|im_start|>assistant\n")
    other.update_last_message("a")
    other.append_message(other.roles[0], None)
    with pytest.raises(ValueError, match="Only the last turn"):
        other.get_prompt()
    first = get_conv_template("internvl2_5")
    first.append_message(first.roles[0], None)
    with pytest.raises(ValueError, match="must be the assistant's"):
        first.get_prompt()


def test_cells_of_tables():
    assert unwrapped({"bytes": b"x", "path": "p"}) == b"x"
    assert unwrapped({"bytes": None, "path": "p"}) == "p" and unwrapped({"bytes": b"x"}) == b"x"
    assert unwrapped({"bytes": b"x", "label": 3}) == {"bytes": b"x", "label": 3}
    with pytest.raises(ValueError, match="holds neither"):
        unwrapped({"bytes": b"", "path": None})
    with pytest.raises(FileNotFoundError, match=r"'a{120}…a{120}'"):
        open_source("a" * 241)
    with pytest.raises(FileNotFoundError, match=r"'_{240}'"):
        open_source("_" * 240)


def test_what_a_config_of_the_original_code_leaves_out(tmp_path):
    """The defaults of their `InternVLChatConfig`: one tile, or six without thumbnail; half the patches a side."""
    config = {"model_type": "internvl_chat", "vision_config": {"image_size": 56}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = chat_settings(tmp_path)
    tiles = {name: settings["image_processor"][name] for name in ("crop_to_patches", "min_patches", "max_patches")}
    assert tiles == {"crop_to_patches": False, "min_patches": 1, "max_patches": 6}
    assert settings["image_processor"]["use_thumbnail"] is False and settings["image_seq_length"] == 4
    config |= {"force_image_size": 112, "downsample_ratio": 0.25, "vision_config": {"patch_size": 7, "image_size": 56}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = chat_settings(tmp_path)
    assert settings["image_seq_length"] == 16 and settings["video_processor"]["size"] == {"height": 112, "width": 112}


def test_the_stop_token_comes_first_and_once():
    assert stop_first(5, None) == [5] and stop_first(5, 5) == [5] and stop_first(5, 7) == [5, 7]
    assert stop_first(5, [7, 5, 9]) == [5, 7, 9]


def test_images_beside_a_conversation_may_be_one(processor):
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "q"}]}]
    carried = [{"role": "user", "content": [{"type": "image", "image": gray(56, 56, 9)}, chat[0]["content"][1]]}]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    expected = processor.apply_chat_template(carried, **options)
    for given in (gray(56, 56, 9), [gray(56, 56, 9)], np.full((56, 56, 3), 9, np.uint8)):
        found = processor.apply_chat_template(chat, **options, processor_kwargs={"images": given})
        assert all(torch.equal(found[name], expected[name]) for name in expected)
