# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every option, set on the object, in the call, and in both: the call wins, and the object stays as it was."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from tests.parity.golden import golden_root
from transformers_internvl.processing.images.image_processing import (
    InternVLImageProcessor,
    InternVLImageProcessorKwargs,
)
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.videos.video_processing import (
    InternVLVideoProcessor,
    InternVLVideoProcessorKwargs,
)

SIDE = 28
LEVELS = np.random.default_rng(3).integers(0, 256, (40, 90, 3), dtype=np.uint8)
SMALL = LEVELS[:20, :30]
BARE = {"do_rescale": False, "do_normalize": False}

# Option -> what it is set to on the object, in the call, and what else is set in both.
IMAGE_OPTIONS = {
    "size": ({"height": 14, "width": 14}, {"height": SIDE, "width": SIDE}, {}),
    "resample": (Image.Resampling.BILINEAR, Image.Resampling.NEAREST, {}),
    "do_resize": (False, True, {"crop_to_patches": False}),
    "do_rescale": (False, True, {}),
    "rescale_factor": (0.5, 0.25, {}),
    "do_normalize": (False, True, {}),
    "image_mean": ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], {}),
    "image_std": ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], {}),
    "normalize_type": ("clip", "siglip", {}),
    "do_convert_rgb": (False, True, {"image_mean": 0.5, "image_std": 0.5}),
    "crop_to_patches": (False, True, {}),
    "min_patches": (9, 1, {}),
    "max_patches": (1, 4, {}),
    "use_thumbnail": (False, True, {}),
    "pad2square": (True, False, {"crop_to_patches": False}),
    "share_tile_budget": (True, False, {}),
    "backend": ("torch", "pil", BARE),
    "return_grid": (True, False, {}),
    "max_image_pixels": (10, 10_000, {}),
}
VIDEO_OPTIONS = {
    **{name: IMAGE_OPTIONS[name] for name in ("size", "resample", "do_rescale", "rescale_factor", "do_normalize")},
    **{name: IMAGE_OPTIONS[name] for name in ("image_mean", "image_std", "normalize_type", "max_image_pixels")},
    "do_resize": (False, True, {}),
    "do_convert_rgb": IMAGE_OPTIONS["do_convert_rgb"],
    "backend": ("torch", "pil", BARE),
    "return_metadata": (True, False, {}),
    # Frames that are given are sampled where the call asks; a folder of frames by what the object says, too.
    "num_frames": (3, 2, {}),
    "sampling": ("middle", "segments", {"num_frames": 4}),
    "do_sample_frames": (False, True, {"num_frames": 3}),
}
# Of upstream's, refused or without a meaning here, or not options of the pixels.
ELSEWHERE = {
    *("data_format", "device", "do_center_crop", "do_pad", "crop_size", "pad_size", "input_data_format"),
    *("return_tensors", "disable_grouping", "image_seq_length", "default_to_square"),
}


def outcome(processor, given, **options):
    """What a call gives, ready to be compared; of a refusal its text."""
    try:
        found = dict(processor(given, **options))
    except ValueError as error:
        return str(error)
    found.pop("video_metadata", None) if found.get("video_metadata") is None else None
    flat = {}
    for name, value in found.items():
        if name.startswith("pixel_values"):
            value = [(tuple(tile.shape), str(tile.dtype), np.asarray(tile).tobytes()) for tile in value]
        flat[name] = repr(value) if name == "video_metadata" else value
    return flat


@pytest.fixture(scope="module")
def frames_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    for number in range(7):
        Image.fromarray(np.roll(LEVELS, number, axis=1)).convert("L" if number == 3 else "RGB").save(
            folder / f"{number}.png"
        )
    return folder


def check_wins(make, given, name, on_object, in_call, others):
    """Object, call, and both: three ways to two results, which differ."""
    usual, other = make(**others, **{name: in_call}), make(**others, **{name: on_object})
    expected, different = outcome(usual, given), outcome(other, given)
    assert expected != different, f"{name} changes nothing here"
    before = copy.deepcopy(other.to_dict())
    assert outcome(other, given, **{name: in_call}) == expected
    assert outcome(make(**others), given, **{name: on_object}) == different
    assert outcome(usual, given, **{name: on_object}) == different
    assert other.to_dict() == before and outcome(other, given) == different, "the object stays as it was"


@pytest.mark.parametrize("name", IMAGE_OPTIONS)
def test_options_of_images(name):
    def make(**options):
        return InternVLImageProcessor(**{"size": SIDE, **options})

    given = [[Image.fromarray(LEVELS).convert("L" if name == "do_convert_rgb" else "RGB"), Image.fromarray(LEVELS)]]
    given = [given[0][:1]] if name == "do_convert_rgb" else given
    check_wins(make, given, name, *IMAGE_OPTIONS[name])


@pytest.mark.parametrize("name", VIDEO_OPTIONS)
def test_options_of_videos(name, frames_folder):
    def make(**options):
        return InternVLVideoProcessor(**{"size": SIDE, "num_frames": 1, **options})

    check_wins(make, str(frames_folder), name, *VIDEO_OPTIONS[name])


def test_every_option_has_a_row():
    """Rates and bounds need a video's own rate: they have a test of their own."""
    names = set(InternVLImageProcessorKwargs.__annotations__) - ELSEWHERE
    assert names == set(IMAGE_OPTIONS)
    names = set(InternVLVideoProcessorKwargs.__annotations__) - ELSEWHERE
    assert names - {"fps", "bound", "max_num_frames", "video_metadata", "do_sample_frames"} == set(VIDEO_OPTIONS) - {
        "do_sample_frames"
    }


def test_rates_and_bounds_of_object_and_call():
    """Twenty frames of two seconds."""

    def chosen(processor, **options):
        about = [{"fps": 10, "total_num_frames": 20}]
        found = processor(np.zeros((20, 8, 8, 3), np.uint8), video_metadata=about, return_metadata=True, **options)
        return found["video_metadata"][0].frames_indices

    ask = {"do_sample_frames": True}
    plain = InternVLVideoProcessor(size=14)
    assert chosen(plain) == list(range(20)), "frames that are given are taken as they are"
    by_rate = InternVLVideoProcessor(size=14, fps=2)
    assert by_rate.num_frames is None
    assert chosen(by_rate, **ask) == chosen(plain, fps=2) == [2, 8, 12, 18]
    assert chosen(by_rate, fps=1) == [5, 15] and chosen(by_rate, num_frames=2) == [4, 14]
    assert chosen(InternVLVideoProcessor(size=14, num_frames=2), fps=1) == [5, 15]
    both = InternVLVideoProcessor(size=14, fps=1, num_frames=2)
    assert both.num_frames == 2 and chosen(both, **ask) == [5, 15]

    bounded = InternVLVideoProcessor(size=14, bound=(1, 2), num_frames=1)
    assert chosen(bounded, **ask) == chosen(plain, bound=(1, 2), num_frames=1) == [14]
    assert chosen(bounded, bound=(0, 1)) == [5]
    assert bounded.bound == (1, 2)
    capped = InternVLVideoProcessor(size=14, fps=2, max_num_frames=3)
    assert chosen(capped, **ask) == chosen(plain, fps=2, max_num_frames=3) == [2, 8, 12]
    assert chosen(capped, max_num_frames=2) == [2, 8] and capped.max_num_frames == 3
    # What the call gives asks for frames, whatever its value.
    for asked in ({"bound": (0, 0)}, {"sampling": "middle"}, {"max_num_frames": 5}):
        assert len(chosen(InternVLVideoProcessor(size=14, num_frames=2), **asked)) == 2
    assert chosen(plain, num_frames=2, do_sample_frames=False) == list(range(20))
    by_call = plain.sample_frames(metadata=_about(20, 10.0), fps=1)
    assert by_call.tolist() == [5, 15]
    assert by_rate.sample_frames(metadata=_about(20, 10.0)).tolist() == [2, 8, 12, 18]


def _about(count, fps):
    from transformers.video_utils import VideoMetadata

    return VideoMetadata(total_num_frames=count, fps=fps)


def test_statistics_by_name_win_over_numbers():
    given = Image.fromarray(SMALL)
    by_name = outcome(InternVLImageProcessor(size=SIDE, normalize_type="clip"), given)
    numbers = {"image_mean": [0.1] * 3, "image_std": [0.9] * 3}
    assert outcome(InternVLImageProcessor(size=SIDE, normalize_type="clip", **numbers), given) == by_name
    assert outcome(InternVLImageProcessor(size=SIDE, **numbers), given, normalize_type="clip") == by_name
    assert outcome(InternVLImageProcessor(size=SIDE), given, normalize_type="clip", **numbers) == by_name
    named = InternVLImageProcessor(size=SIDE, normalize_type="siglip")
    assert outcome(named, given, **numbers) == outcome(InternVLImageProcessor(size=SIDE, **numbers), given)


@pytest.mark.parametrize(
    ("name", "on_object", "in_call"),
    [
        ("crop_to_patches", False, True),
        ("min_patches", 5, 1),
        ("max_patches", 1, 4),
        ("use_thumbnail", False, True),
        ("share_tile_budget", True, False),
        ("size", {"height": 84, "width": 84}, {"height": SIDE, "width": SIDE}),
    ],
)
def test_counts_follow_object_and_call(name, on_object, in_call):
    """Counts without pixels, of one and of three images, are those of the images themselves."""
    shape = (3 * SIDE, 3 * SIDE) if name == "size" else (20, 80)  # square: how many tiles depends on their size
    picture = Image.new("RGB", shape[::-1])
    for first in (on_object, in_call, None):
        processor = InternVLImageProcessor(
            **{"size": SIDE, "max_patches": 6, **({} if first is None else {name: first})}
        )
        for call in ({}, {name: on_object}, {name: in_call}, *([] if name == "size" else [{name: None}])):
            for count in (1, 3):
                found = processor([picture] * count, **call)["num_patches"]
                options = {**call, "n_images": count}
                assert found == [processor.get_number_of_image_patches(*shape, options)] * count, (first, call, count)
                if count == 1:  # who says nothing has one image
                    assert found == [processor.get_number_of_image_patches(*shape, call or None)]


def test_the_size_of_a_tile_by_upstreams_name():
    processor = InternVLImageProcessor(size=SIDE)
    smaller, larger = ({"height": side, "width": side} for side in (14, 84))
    assert processor.get_number_of_image_patches(40, 40) == 5
    assert processor.get_number_of_image_patches(40, 40, {"patch_size": smaller}) == 10
    assert processor.get_number_of_image_patches(40, 40, {"size": smaller}) == 10
    assert processor.get_number_of_image_patches(40, 40, {"patch_size": larger, "size": smaller}) == 1


# --- the processor as a whole -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole():
    return AutoProcessor.from_pretrained(golden_root() / "chat_qwen2")  # tiles of 56 pixels, 4 tokens each


def changed(processor, **settings):
    """A processor of the same tokenizer with other settings of its image processor."""
    images = copy.deepcopy(processor.image_processor)
    for name, value in settings.items():
        setattr(images, name, value)
    return InternVLProcessor(
        images,
        copy.deepcopy(processor.tokenizer),
        processor.video_processor,
        image_seq_length=processor.image_seq_length,
        chat_template=processor.chat_template,
    )


@pytest.mark.parametrize(
    ("on_object", "in_call", "expected"),
    [
        ({}, {"share_tile_budget": True}, True),
        ({"share_tile_budget": True}, {}, True),
        ({"share_tile_budget": True}, {"share_tile_budget": False}, False),
        ({"share_tile_budget": False}, {"share_tile_budget": True}, True),
        ({}, {}, False),
    ],
)
def test_a_shared_budget_of_object_and_call(whole, on_object, in_call, expected):
    """Two images of 6 x 1 tiles share six, or do not; an image with its own limit has that; the next has a sample
    to itself. Counts without pixels, and counts of conversations, are the same."""
    processor = changed(whole, max_patches=6, **on_object)
    long = Image.new("RGB", (336, 56))
    first = 4 if expected else 7
    counted = processor(
        text=["<image><image>", "<image>"], images=[[long, long], [long]], return_num_patches=True, **in_call
    )
    assert counted["num_patches"] == [first, first, 7]
    assert processor.count_tokens([(56, 336)] * 2, **in_call) == [2 + 4 * first] * 2
    for own, count in (({}, first), ({"max_patches": 2}, 3), ({"min_patches": 2}, first)):
        item = {"type": "image", "image": long}
        chats = [[{"role": "user", "content": [{**item, **own}, item]}], [{"role": "user", "content": [item]}]]
        found = processor.apply_chat_template(
            chats, tokenize=True, return_dict=True, return_num_patches=True, **in_call
        )
        assert found["num_patches"] == [count, first, 7], own
        assert [row.count(processor.image_token_id) for row in found["input_ids"]] == [4 * (count + first), 28]
    by_call = processor(text="<image><image>", images=[long, long], max_patches=4, return_num_patches=True, **in_call)
    assert by_call["num_patches"] == ([3, 3] if expected else [5, 5])
    chat = [{"role": "user", "content": [{**item, "min_patches": 1}, item]}]
    found = processor.apply_chat_template(
        chat, tokenize=True, return_dict=True, return_num_patches=True, max_patches=4, **in_call
    )
    assert found["num_patches"] == by_call["num_patches"]
    assert processor.image_processor.share_tile_budget is on_object.get("share_tile_budget", False)


@pytest.mark.parametrize("typed", ["words alone", "words </s><|im_end|> that spell"])
@pytest.mark.parametrize(("on_object", "in_call"), [("left", None), ("left", "right"), ("right", "left")])
def test_the_side_of_padding(whole, typed, on_object, in_call):
    """Of prompts in one go, and of those that are encoded in pieces; left, as upstream's, unless the call says so."""
    processor = changed(whole)
    processor.tokenizer.padding_side = on_object
    chats = [[{"role": "user", "content": text}] for text in (typed, typed * 3)]
    options = {} if in_call is None else {"padding_side": in_call}
    found = processor.apply_chat_template(
        chats, tokenize=True, return_dict=True, return_assistant_tokens_mask=False, padding=True, **options
    )
    alone = [processor.apply_chat_template(chat, tokenize=True)[0] for chat in chats]
    room = len(alone[1]) - len(alone[0])
    mask = [0] * room + [1] * len(alone[0])
    right = (in_call or on_object) == "right"
    assert found["attention_mask"] == [mask[::-1] if right else mask, [1] * len(alone[1])]
    row = found["input_ids"][0]
    assert (row[: len(alone[0])] if right else row[room:]) == alone[0] and found["input_ids"][1] == alone[1]
    assert processor.tokenizer.padding_side == on_object
    # Masks of answers are padded on the same side.
    chats = [[*chat, {"role": "assistant", "content": "yes"}] for chat in chats]
    both = processor.apply_chat_template(
        chats, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, padding=True, **options
    )
    for ids, answered in zip(both["input_ids"], both["assistant_masks"], strict=True):
        written = [index for index, one in zip(ids, answered, strict=True) if one]
        assert processor.decode(written) == "yes<|im_end|>"


@pytest.mark.parametrize("typed", ["words alone here", "words <|im_end|> that spell"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_side_of_truncation(whole, typed, side):
    """Set on the tokenizer; a prompt in pieces is cut as one in one go is."""
    processor = changed(whole)
    processor.tokenizer.truncation_side = side
    chat = [{"role": "user", "content": typed}]
    ids = processor.apply_chat_template(chat, tokenize=True)[0]
    for limit in (3, len(ids) - 1, len(ids), len(ids) + 1):
        found = processor.apply_chat_template(chat, tokenize=True, truncation=True, max_length=limit)[0]
        assert found == (ids[-limit:] if side == "left" else ids[:limit])
    kept = processor.apply_chat_template(chat, tokenize=True, truncation="do_not_truncate", max_length=3)[0]
    assert kept == ids
    processor.tokenizer.model_max_length = 4
    found = processor.apply_chat_template(chat, tokenize=True, truncation=True)[0]
    assert found == (ids[-4:] if side == "left" else ids[:4])


@pytest.mark.parametrize("typed", ["words alone here", "words <|im_end|> that spell"])
def test_the_side_of_truncation_in_a_call(whole, typed):
    """Of this call alone, in one go or in pieces; beside the conversation, in `text_kwargs`, and of ready prompts."""
    processor = changed(whole)
    chat = [{"role": "user", "content": typed}]
    ids = processor.apply_chat_template(chat, tokenize=True)[0]
    short = {"truncation": True, "max_length": 3}
    for side, expected in (("left", ids[-3:]), ("right", ids[:3])):
        processor.tokenizer.truncation_side = other = {"left": "right", "right": "left"}[side]
        for options in ({**short, "truncation_side": side}, {"text_kwargs": {**short, "truncation_side": side}}):
            assert processor.apply_chat_template(chat, tokenize=True, processor_kwargs=options)[0] == expected
            assert processor.tokenizer.truncation_side == other
        prompt = processor.apply_chat_template(chat)
        plain = processor(text=prompt)["input_ids"][0]
        found = processor(text=prompt, truncation_side=side, **short)["input_ids"][0]
        assert found == (plain[-3:] if side == "left" else plain[:3])
    with pytest.raises(ValueError, match="is 'left' or 'right', got 'middle'"):
        processor(text="a", truncation_side="middle")


def test_the_first_token_is_written_once():
    """By the template or by the tokenizer, whose setting a call overrides; of prompts in one go, and in pieces."""
    processor = AutoProcessor.from_pretrained(golden_root() / "chat_llama_v1_2")
    processor.tokenizer.add_bos_token = True
    bos = processor.tokenizer.bos_token_id
    writes_it = "{{ bos_token }}" + processor.chat_template
    for typed in ("words", "words <|im_end|></s> that spell"):
        chat = [{"role": "user", "content": typed}]
        whole = processor.apply_chat_template(chat, tokenize=True)[0]
        bare = processor.apply_chat_template(chat, tokenize=True, add_special_tokens=False)[0]
        assert whole == [bos, *bare] and bos not in bare
        assert processor.apply_chat_template(chat, tokenize=True, add_special_tokens=True)[0] == whole
        assert processor.apply_chat_template(chat, tokenize=True, chat_template=writes_it)[0].count(bos) == 1
        other = processor.apply_chat_template(chat, tokenize=True, chat_template=writes_it, bos_token="<box>")[0]
        assert other[0] == bos and other.count(processor.tokenizer.convert_tokens_to_ids("<box>")) == 1
    spelled = [{"role": "user", "content": "x"}]
    typed_template = "{{ messages[0]['content'] }}"
    spelled[0]["content"] = "<s> x"  # the user's is not the template's
    ids = processor.apply_chat_template(spelled, tokenize=True, chat_template=typed_template)[0]
    assert ids[0] == bos and ids.count(bos) == 1


@pytest.mark.parametrize("name", ["image_processor", "video_processor"])
def test_options_of_loading_reach_both_processors(name):
    part = getattr(InternVLProcessor.from_pretrained(golden_root() / "chat_qwen2", normalize_type="clip"), name)
    assert tuple(part.image_mean) == (0.4814546, 0.4578275, 0.40821073)


def test_a_video_processor_that_is_made_is_like_the_image_processor(whole):
    images = InternVLImageProcessor(
        size=14, resample=Image.Resampling.BILINEAR, image_mean=[0.1] * 3, image_std=[0.2] * 3
    )
    made = InternVLProcessor(images, whole.tokenizer).video_processor
    frames = [Image.fromarray(LEVELS), Image.fromarray(LEVELS[::-1])]
    tiles = images(frames, crop_to_patches=False, return_tensors="pt")["pixel_values"]
    assert torch.equal(made(frames, return_tensors="pt")["pixel_values_videos"][0], tiles)
