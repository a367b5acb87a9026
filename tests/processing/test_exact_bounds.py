# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rules at their exact bounds: the value that is still in, and the first that is out. Expected values are by hand."""

import math
import random
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from transformers_internvl.processing import processor_files, sources
from transformers_internvl.processing.images import pixels
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.images.image_processing_llava import InternVLLlavaImageProcessor
from transformers_internvl.processing.images.pixels import MAX_SIDE, MAX_VALUES, Unit, to_levels
from transformers_internvl.processing.images.resampling import Target, resize_like_pillow
from transformers_internvl.processing.images.tiling import MAX_TILES, check_limits, select_grid
from transformers_internvl.processing.text.grounding import format_box, parse_answers, parse_grounding
from transformers_internvl.processing.text.placeholders import MAX_SEQ_LENGTH, checked_length
from transformers_internvl.processing.videos import frame_sampling
from transformers_internvl.processing.videos.frame_sampling import (
    MAX_FRAMES,
    fps_indices,
    frame_indices,
    segment_indices,
)
from transformers_internvl.processing.videos.video_processing import InternVLVideoProcessor
from transformers_internvl.processing.videos.video_timing import describe_timing, seconds_of, upright

# --- grids ---


def test_an_image_on_the_area_rules_tie_keeps_the_smaller_grid():
    """1008 x 896 is half of 3 x 3 tiles to the pixel: not more than half."""
    assert 1008 * 896 == 0.5 * 9 * 448 * 448
    assert select_grid(1008, 896) == (2, 2)
    assert select_grid(1008, 897) == (3, 3)


@pytest.mark.parametrize("limits", [(1, 12), (2, 9), (6, 6)])
def test_grids_are_those_of_the_rule_in_whole_numbers(limits):
    """Of the ratios closest to the image's, the largest grid of which it fills more than half, else the smallest."""
    low, high = limits
    grids = [(c, r) for c in range(1, high + 1) for r in range(1, high + 1) if low <= c * r <= high]
    for width in range(1, 17):
        for height in range(1, 17):
            # |width / height - columns / rows|, times the height and a number that all counts of rows divide.
            distances = {(c, r): abs(width * r - height * c) * (27720 // r) for c, r in grids}
            nearest = min(distances.values())
            closest = sorted((grid for grid in grids if distances[grid] == nearest), key=math.prod)
            if len({c / r for c, r in closest}) > 1:
                continue  # two ratios at the same distance: the order of the original set decides
            filled = [grid for grid in closest[1:] if 2 * width * height > 16 * math.prod(grid)]
            expected = filled[-1] if filled else closest[0]
            assert select_grid(width, height, tile_size=4, min_tiles=low, max_tiles=high) == expected


def test_limits_may_be_equal():
    check_limits(6, 6)
    check_limits(MAX_TILES, MAX_TILES)
    with pytest.raises(ValueError, match="`min_tiles`"):
        check_limits(7, 6)


# --- sizes of images ---


def test_the_longest_side_and_the_most_pixels_are_allowed():
    pixels.check_pixels(MAX_SIDE, 1, MAX_SIDE)
    pixels.check_pixels(1, MAX_SIDE, None)
    for size in ((MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)):
        with pytest.raises(ValueError, match="a side longer"):
            pixels.check_pixels(*size, None)
    with pytest.raises(ValueError, match="more than the 12 allowed"):
        pixels.check_pixels(13, 1, 12)
    pixels.check_square(4, 3, 16)
    with pytest.raises(ValueError, match="more than the 15 allowed"):
        pixels.check_square(4, 3, 15)
    pixels.check_room(2**16, 1, 2**16, 1)
    assert MAX_VALUES == 2**32
    with pytest.raises(ValueError, match="more than the 4294967296"):
        pixels.check_room(2**16, 1, 2**16 + 1, 1)


def test_a_square_is_bounded_by_the_calls_limit():
    processor, long = InternVLImageProcessor(size=28, crop_to_patches=False, pad2square=True), np.zeros((1, 9, 3))
    assert len(processor(long, input_data_format="channels_last", max_image_pixels=81)["pixel_values"]) == 1
    with pytest.raises(ValueError, match="Image 0: .*the square around it"):
        processor(long, input_data_format="channels_last", max_image_pixels=80)


def test_a_shorter_side_is_bounded_by_what_the_longer_one_becomes():
    """LLaVA's way without padding: 1 x 5 pixels become 8 x 40."""
    processor = InternVLLlavaImageProcessor(
        do_pad=False, size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}
    )
    for shape in ((1, 5, 3), (5, 1, 3)):
        picture = np.zeros(shape, dtype=np.uint8)
        processor.max_image_pixels = 320
        assert processor(picture, input_data_format="channels_last")["num_patches"] == [1]
        processor.max_image_pixels = 319
        with pytest.raises(ValueError, match="Image 0: has . x . pixels: with 8 pixels on its shorter side"):
            processor(picture, input_data_format="channels_last")


# --- levels ---


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_fractions_of_255_are_the_levels(dtype):
    """k / 255 is level k, for all k: a product that falls below a whole number is not cut off."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    found, unit = to_levels((levels / 255).astype(dtype))
    np.testing.assert_array_equal(found, levels)
    assert unit == Unit(levels=1.0, value=1 / 255)
    kept, unit = to_levels((levels / 255).astype(dtype), keep_fractions=True)
    assert kept.dtype == np.float32 and unit == Unit(levels=255.0, value=1.0)


def test_fractions_are_levels_in_a_processor():
    levels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    levels[0, 0], levels[0, 1] = 0, 255  # both ends are among them
    processor = InternVLImageProcessor(size=28)
    expected = processor(levels, return_tensors="pt")["pixel_values"]
    for fractions in (levels / 255, (levels / 255).astype(np.float32), torch.from_numpy(levels / 255)):
        assert torch.equal(processor(fractions, return_tensors="pt")["pixel_values"], expected)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0.0, 1.0], np.float32, 1.0),
        ([0.5, 0.75], np.float32, 1.0),
        ([0.0, 1.5], np.float32, 255.0),
        ([-0.5, 1.0], np.float32, 255.0),
        ([0, 1], np.uint8, 255.0),
        ([0, 1], bool, 1.0),
        ([0, 255], np.uint16, 255.0),
        ([0, 256], np.uint16, 65535.0),
        ([0, 256], np.int16, 255.0),
        ([0, 256], np.uint32, 255.0),
        ([], np.uint16, 255.0),
    ],
)
def test_what_is_white(values, dtype, expected):
    assert pixels.depth_of([np.array(values, dtype=dtype)]) == expected


def test_what_is_white_is_asked_of_all_frames():
    frames = [np.array([[0.0, 1.0]]), np.array([[0.0, 200.0]])]
    assert pixels.depth_of(frames) == pixels.depth_of(frames[::-1]) == 255.0
    assert pixels.depth_of([np.zeros((0, 3)), frames[0]]) == 1.0


def test_sixteen_bits_are_the_nearest_levels():
    values = np.arange(0, 65536, 7, dtype=np.uint16)
    found, unit = to_levels(values.reshape(1, 1, -1))
    expected = [int(Fraction(int(value), 257) + Fraction(1, 2)) for value in values]  # no value is in the middle
    assert found.ravel().tolist() == expected and unit == Unit()


@pytest.mark.parametrize(
    ("values", "dtype"), [([0, 256], np.int32), ([-1, 9], np.int32), ([-1.0, 9.0], np.float32), ([0.0, 256.0], float)]
)
def test_other_values_are_refused(values, dtype):
    with pytest.raises(ValueError, match="expected whole levels from 0 to 255"):
        to_levels(np.array([[values]], dtype=dtype))
    edges = np.array([[[0, 255]]], dtype=dtype)
    assert to_levels(edges)[0].tolist() == [[[0, 255]]]


def test_deep_grays_of_pillow_at_their_ends():
    def seen(mode, *values):
        picture = Image.new(mode, (len(values), 1))
        for at, value in enumerate(values):
            picture.putpixel((at, 0), value)
        return pixels.image_pixels(picture, to_rgb=False)[0, 0].tolist()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert seen("I", 0, 255) == [0, 255]
        assert seen("F", 0.0, 1.0) == [0.0, 1.0]
        assert seen("F", 0.0, 255.0) == [0, 255]
    for mode, values, expected in (("I", (0, 256), [0, 255]), ("F", (-0.5, 1.0), [0, 1]), ("I", (-1, 5), [0, 5])):
        with pytest.warns(UserWarning, match="has values from"):
            assert seen(mode, *values) == expected


@pytest.mark.parametrize(("unit", "value"), [(1.0, 1), (255.0, 1 / 255)])
@pytest.mark.parametrize(("shape", "place"), [((4, 7), (1, 0)), ((7, 4), (0, 1)), ((3, 3), (0, 0))])
def test_an_image_lies_in_its_square_above_the_middle(unit, value, shape, place):
    """As in the original `expand2square`: of an odd rest the smaller part is above, or to the left."""
    picture = np.full((3, *shape), 9 * value, dtype=np.float32)
    square = pixels.pad_to_square(picture, (0.485, 0.456, 0.406), Unit(levels=unit))
    expected = np.empty((3, max(shape), max(shape)), dtype=np.float32)
    expected[:] = np.float32([123, 116, 103])[:, None, None] * value  # int(255 * mean)
    top, left = place
    expected[:, top : top + shape[0], left : left + shape[1]] = 9 * value
    np.testing.assert_allclose(square, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("unit", "do_rescale", "factor", "expected"),
    [
        (Unit(), True, 1 / 255, 1 / 255),
        (Unit(), True, 2.0, 2.0),
        (Unit(), False, 2.0, 1.0),
        (Unit(value=1 / 255), True, 1 / 255, 1 / 255),
        (Unit(value=1 / 255), False, 2.0, 1 / 255),
        (Unit(levels=255.0), True, 1 / 255, 1.0),
        (Unit(levels=255.0), False, 1 / 255, 1.0),
    ],
)
def test_pixels_are_rescaled_once(unit, do_rescale, factor, expected):
    assert pixels.rescale(unit, do_rescale, factor) == pytest.approx(expected, rel=1e-12)


def test_statistics_are_one_or_as_many_as_channels():
    options = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    for count in (1, 4):
        found = pixels.scale_and_shift(4, Unit(), **options, mean=[0.5] * count, std=[0.5] * count)
        assert found == ([pytest.approx(2 / 255)] * 4, [-1.0] * 4)
    for count in (2, 3, 5):
        with pytest.raises(ValueError, match=f"has 4 channels, .* have {count} and 1 values"):
            pixels.scale_and_shift(4, Unit(), **options, mean=[0.5] * count, std=0.5)


def test_levels_that_are_left_alone_keep_their_type():
    picture = np.random.default_rng(0).random((3, 5, 6), dtype=np.float32)
    options = {"do_resize": False, "crop_to_patches": False, "do_rescale": False, "do_normalize": False}
    (tile,) = InternVLImageProcessor(size=28)(picture, input_data_format="channels_first", **options)["pixel_values"]
    np.testing.assert_array_equal(tile, picture)


# --- resampling ---


@pytest.mark.parametrize(
    ("size", "canvas"),
    [((40, 60), (40, 30)), ((40, 20), (40, 30)), ((60, 30), (40, 30)), ((50, 50), (40, 30)), ((40, 30), (40, 30))],
    ids=["width stays", "width stays, taller", "height stays", "shrinks by twice", "both stay"],
)
@pytest.mark.parametrize("resample", [Image.Resampling.BICUBIC, Image.Resampling.NEAREST, Image.Resampling.BOX])
def test_one_side_stays_or_both(size, canvas, resample):
    """The order of Pillow's passes turns where the height shrinks by more than twice what the width does."""
    levels = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(levels).resize(canvas, resample)).transpose(2, 0, 1)
    target = Target(torch.zeros(1, 1, 3, *canvas[::-1], dtype=torch.uint8))
    resize_like_pillow(levels.transpose(2, 0, 1), [target], None, resample)
    np.testing.assert_array_equal(target.tiles[0, 0].numpy(), expected)


def test_ties_are_rounded_as_pillow_rounds_them():
    """Sums of whole levels give halves where an image is halved or doubled: Pillow rounds them up."""
    levels = np.indices((32, 32)).sum(0).astype(np.uint8)[None].repeat(3, 0)
    picture = Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))
    for resample in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC):
        for canvas in ((16, 16), (64, 64), (48, 16)):
            target = Target(torch.zeros(1, 1, 3, *canvas[::-1], dtype=torch.uint8))
            resize_like_pillow(levels, [target], None, resample)
            expected = np.asarray(picture.resize(canvas, resample)).transpose(2, 0, 1)
            np.testing.assert_array_equal(target.tiles[0, 0].numpy(), expected)


# --- frames ---


@pytest.mark.parametrize("sampling", ["segments", "middle", "rand"])
@pytest.mark.parametrize(
    ("bound", "frames"),
    [
        ((1, 1), {10}),  # a moment is a frame
        ((0, 0), {0}),
        ((-1, 0), {0}),
        ((6.9, 6.9), {69}),
        ((6.9, 99), {69}),
        ((0.15, 0.25), {2}),  # halves are rounded to even: 1.5 and 2.5
        ((0.16, 0.38), {2, 3, 4}),  # 1.6 and 3.8
    ],
)
def test_a_bound_is_rounded_to_frames(sampling, bound, frames):
    chosen = frame_indices(70, sampling=sampling, num_frames=4, video_fps=10, bound=bound, rng=random.Random(0))
    assert len(chosen) == 4 and set(chosen) <= frames
    assert min(chosen) == min(frames)


@pytest.mark.parametrize("bound", [(-1, -0.01), (7, 8), (1, 0.99), (0, math.inf), (1,), (0, 1, 2)])
def test_bounds_outside_of_the_video(bound):
    with pytest.raises(ValueError, match="`bound"):
        frame_indices(70, num_frames=4, video_fps=10, bound=bound)


def test_bounds_of_uneven_frames():
    """Four frames of two seconds: the last second belongs to the last frame, up to its very end."""
    uneven = {"video_fps": 2.0, "frame_times": [0.0, 0.1, 0.5, 1.0]}
    assert frame_indices(4, num_frames=2, bound=(2, 3), **uneven) == [3, 3]
    with pytest.raises(ValueError, match="lies outside of a video of 2.00 s"):
        frame_indices(4, num_frames=2, bound=(2.01, 3), **uneven)
    assert frame_indices(4, num_frames=3, bound=(0.1, 0.1), **uneven) == [1, 1, 1]
    assert frame_indices(4, num_frames=1, bound=(0.0996, 0.0996), **uneven) == [1]  # within half a tick of Matroska
    assert frame_indices(4, num_frames=1, bound=(0.0994, 0.0994), **uneven) == [0]
    assert frame_indices(4, fps=2, **uneven) == [1, 2, 3, 3]  # at 0.25, 0.75, 1.25 and 1.75 s
    assert frame_indices(4, fps=2, max_num_frames=3, **uneven) == [1, 2, 3]
    assert frame_indices(4, fps=4, bound=(0.25, 0.75), **uneven) == [1, 2]  # at 0.375 and 0.625 s
    assert frame_indices(4, fps=1, bound=(0.25, 0.8), **uneven) == [2]  # at 0.75 s
    with pytest.raises(ValueError, match="picks no frame of 0.50 s"):
        frame_indices(4, fps=1, bound=(0.25, 0.75), **uneven)  # 0.75 s is the end, which is not within
    assert frame_indices(4, fps=4, bound=(-1, 0.25), **uneven) == [1]  # at 0.125 s


def test_a_rate_takes_what_lies_before_the_end():
    assert fps_indices(12, 25, 1) == []  # 12.5 is rounded to 12, behind the last frame
    assert fps_indices(13, 25, 1) == [12]
    assert fps_indices(100, 25, 2, max_num_frames=8) == fps_indices(100, 25, 2)
    assert frame_indices(70, fps=2, video_fps=10, bound=(1, 1.4)) == [12]  # five frames, 2.5 from the first
    with pytest.raises(ValueError, match="picks no frame of 0.20 s"):
        frame_indices(70, fps=2, video_fps=10, bound=(1, 1.1))


def test_the_most_frames_are_allowed():
    assert len(frame_indices(1, sampling="middle", num_frames=MAX_FRAMES)) == MAX_FRAMES
    with pytest.raises(ValueError, match=f"more than the {MAX_FRAMES}"):
        frame_indices(1, sampling="middle", num_frames=MAX_FRAMES + 1)
    assert frame_indices(MAX_FRAMES, fps=1, video_fps=1, max_num_frames=2) == [0, 2]
    with pytest.raises(ValueError, match=f"asks for more than {MAX_FRAMES} frames"):
        frame_indices(MAX_FRAMES, fps=1.0001, video_fps=1)


def test_segments_are_the_model_cards_at_halves():
    """`np.round` takes halves to even: parts of 2.5 frames begin at 0, 2, 5, 8."""
    assert segment_indices(10, 4) == [1, 3, 6, 9]
    assert segment_indices(99, 3, fps=10, bound=(0.16, 0.38)) == [2, 3, 3]
    assert segment_indices(99, 1) == [49]
    with pytest.raises(ValueError, match="`bound` is in seconds"):
        segment_indices(99, 1, bound=(0, 1))


def test_random_frames_where_each_part_has_one_choice():
    """Parts of two frames: the first of each, the last is never taken. Parts of one: all in order."""
    assert frame_sampling.random_indices(8, 4, random.Random(0)) == [0, 2, 4, 6]
    for seed in range(20):
        chosen = frame_sampling.random_indices(7, 4, random.Random(seed))  # the first part is one frame
        assert chosen == sorted(set(chosen)) and len(chosen) == 4
    generators = [random.Random(5) for _ in range(2)]
    assert frame_indices(90, sampling="rand", num_frames=4, rng=generators[0]) == frame_sampling.random_indices(
        90, 4, generators[1]
    )


def test_a_part_is_counted_from_its_start():
    assert frame_sampling.middle_indices(100, 4, fix_start=0) == [0, 25, 50, 75]
    assert frame_sampling.middle_indices(100, 4, fix_start=3) == [3, 28, 53, 78]
    assert frame_indices(70, sampling="middle", num_frames=1, video_fps=10, bound=(1, 2)) == [15]  # of 11


# --- times of frames ---


@pytest.mark.parametrize(
    ("times", "last", "declared", "expected"),
    [
        # At 10 a second the third frame would be half a frame from its time: the mean rate is the video's.
        ([0, 0.1, 0.25], None, [10], {"fps": 8, "duration": 3 / 8, "frame_times": None}),
        ([0, 0.1, 0.24], None, [10], {"fps": 10, "duration": 0.3, "frame_times": None}),
        ([0, 0.1, 0.24], None, [None, 0, 10], {"fps": 10, "duration": 0.3, "frame_times": None}),
        ([0, 0.1, 2], 0.5, [10], {"fps": 3 / 2.5, "duration": 2.5, "frame_times": [0, 0.1, 2]}),
        ([0, 0.1, 2], None, [10], {"fps": 1, "duration": 3, "frame_times": [0, 0.1, 2]}),
        ([0, 0.5], None, [10], {"fps": 2, "duration": 1, "frame_times": None}),
        ([0], 0.5, [10, 4], {"fps": 10, "duration": 0.1, "frame_times": None}),
        ([0], None, [], {"fps": None, "duration": None, "frame_times": None}),
    ],
)
def test_the_rate_that_fits_the_times(times, last, declared, expected):
    found = describe_timing(len(times), times, last, declared)
    assert found["frame_times"] == expected["frame_times"]
    for name in ("fps", "duration"):
        assert found[name] == (None if expected[name] is None else pytest.approx(expected[name]))


def test_stamps_that_rise_are_seconds():
    assert seconds_of([5, 7, 8], Fraction(1, 10)) == pytest.approx([0, 0.2, 0.3])
    for stamps, base in (([0, 0, 1], Fraction(1)), ([0, None, 1], Fraction(1)), ([], Fraction(1)), ([0, 1], None)):
        assert seconds_of(stamps, base) is None


def test_frames_are_turned_as_the_matrix_maps_points():
    """(p, q) is shown at (a p + c q, b p + d q), moved so that all lie in the image; y grows downwards."""
    frame = np.arange(6).reshape(2, 3, 1)
    for matrix in (
        (1, 0, 0, 1),
        (0, 1, -1, 0),
        (-1, 0, 0, -1),
        (0, -1, 1, 0),
        (-1, 0, 0, 1),
        (0, 1, 1, 0),
        (0, -1, -1, 0),
    ):
        a, b, c, d = matrix
        points = {(a * p + c * q, b * p + d * q): frame[q, p, 0] for q in range(2) for p in range(3)}
        left, top = (min(point[axis] for point in points) for axis in (0, 1))
        width, height = (max(point[axis] for point in points) - low + 1 for axis, low in ((0, left), (1, top)))
        expected = [[points[x + left, y + top] for x in range(width)] for y in range(height)]
        fixed = np.array([a, b, 0, c, d, 0, 0, 0, 1], dtype="<i4") << 16
        assert upright(frame, fixed.tobytes())[..., 0].tolist() == expected, matrix
    slanted = np.array([1, 1, 0, -1, 1, 0, 0, 0, 1], dtype="<i4") << 16  # between two quarter turns: as it is
    assert upright(frame, slanted.tobytes()).tolist() == frame.tolist()


# --- text ---


def test_tokens_of_a_tile_and_lengths():
    assert [checked_length(value) for value in (1, MAX_SEQ_LENGTH)] == [1, MAX_SEQ_LENGTH]
    for value in (0, MAX_SEQ_LENGTH + 1, True, 4.0, "4"):
        with pytest.raises(ValueError, match="a whole number from 1 to 1000000"):
            checked_length(value)
    assert processor_files.LONGEST == 2**24


def test_a_box_may_touch_the_edges_and_be_a_point():
    assert format_box((0, 0, 200, 400), (400, 200)) == "<box>[[0, 0, 1000, 1000]]</box>"
    assert format_box((200, 400, 200, 400), (400, 200)) == "<box>[[1000, 1000, 1000, 1000]]</box>"
    assert format_box((0, 0, 1, 1), (1, 1)) == "<box>[[0, 0, 1000, 1000]]</box>"
    for box in ((0, 0, 201, 400), (0, 0, 200, 401), (0, -1, 200, 400)):
        with pytest.raises(ValueError, match="leaves the image"):
            format_box(box, (400, 200))
    for box in ((0, 5, 9, 4), (5, 0, 4, 9)):
        with pytest.raises(ValueError, match="x1 <= x2"):
            format_box(box, (400, 200))
    for size in ((0, 200), (400, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            format_box((0, 0, 0, 0), size)


def test_answers_with_sizes_in_either_form():
    answer = "<ref> a dog </ref> <box>[[500, 0, 1000, 1000]]</box>"
    expected = [{"label": "a dog", "boxes": [(100.0, 0.0, 200.0, 400.0)]}]
    assert parse_answers(answer, (400, 200)) == parse_answers(answer, [(400, 200)]) == expected
    assert parse_answers([answer, "none"], [(400, 200), (9, 9)]) == [expected, []]
    for tag in ("<quad>", "<box>"):  # a tag that does not close is no bare list
        assert parse_grounding(f"{tag}[[0, 0, 9, 9]]", (400, 200)) == []


def test_base64_may_hold_any_white_space():
    assert sources.decode_base64("aG\tVs\r\nbG\v8\f= ") == b"hello"
    with pytest.raises(ValueError):
        sources.decode_base64("aGVsbG8=!")


@pytest.mark.parametrize("kind", ["image", "video"])
def test_fractions_between_levels_stay_where_nothing_is_resized(kind):
    """0.3337 lies between the levels 85 / 255 and 86 / 255: resizing rounds to levels, as Pillow's does."""
    level, settings = np.full((28, 28, 3), 0.3337, np.float32), {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    if kind == "image":
        processor = InternVLImageProcessor(size={"height": 28, "width": 28}, crop_to_patches=False, **settings)
        given, key = level, "pixel_values"
    else:
        processor = InternVLVideoProcessor(size={"height": 28, "width": 28}, do_sample_frames=False, **settings)
        given, key = np.stack([level] * 2), "pixel_values_videos"
    for resize, expected in ((False, 0.3337), (True, 85 / 255)):
        tiles = processor(given, do_resize=resize, return_tensors="pt")[key][0]
        assert tiles.unique().tolist() == pytest.approx([expected], abs=1e-6), resize
