# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Videos as they come from phones, browsers, cameras and editors: what PyAV decodes from beginning to end is right."""

from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from tests.clips import MATRICES, clip_bytes, decoded, trimmed, turn, write_clip, write_frames
from transformers_internvl.evaluation.embedding import _middle_frames
from transformers_internvl.processing.videos.frame_sampling import frame_indices
from transformers_internvl.processing.videos.video_decoding import VideoReader
from transformers_internvl.processing.videos.video_processing import InternVLVideoProcessor

GROUPS = {"g": "12", "bf": "2"}
SIDE = 28
RAW = {"do_rescale": False, "do_normalize": False, "return_metadata": True}


def noisy(count: int, size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    """Frames that are unlike each other: their shade, with a mark that wanders."""
    width, height = size
    frames = [np.full((height, width, 3), 3 * number % 256, np.uint8) for number in range(count)]
    for number, frame in enumerate(frames):
        frame[:, number % width] = 255 - frame[0, 0]
    return frames


def check_all_frames(path) -> None:
    """The reader gives what PyAV gives, whichever frames are asked for."""
    expected = decoded(path)
    with VideoReader(path) as reader:
        assert reader.metadata.total_num_frames == len(expected)
        last = len(expected) - 1
        for wanted in ([0], [last], [last // 2, 3], list(range(last + 1))):
            read = list(reader.frames(wanted))
            assert [index for index, _ in read] == sorted(set(wanted))
            for index, pixels in read:
                assert np.array_equal(pixels, expected[index][1]), index


@pytest.mark.parametrize(
    ("name", "format", "codec", "rate"),
    [
        ("a.ts", "mpegts", "libx264", 10),
        ("b.ts", "mpegts", "mpeg2video", 25),
        ("a.mpg", "mpeg", "mpeg2video", 25),
        ("b.mpg", "mpeg", "mpeg1video", 25),
        ("a.vob", "vob", "mpeg2video", 25),
        ("b.vob", "vob", "libx264", 10),
        ("a.avi", "avi", "libx264", 10),
        ("a.flv", "flv", "libx264", 10),
        ("a.gif", "gif", "gif", 10),
        ("a.mp4", "mp4", "libx265", 10),
        ("a.webm", "webm", "libvpx", 10),
    ],
)
def test_any_container_gives_what_a_plain_decode_gives(tmp_path, name, format, codec, rate):
    if codec == "gif":
        with_palette = [Image.fromarray(frame) for frame in noisy(40)]
        with_palette[0].save(tmp_path / name, save_all=True, append_images=with_palette[1:], duration=100)
    else:
        write_frames(tmp_path / name, noisy(40), rate, codec, GROUPS, format=format)
    check_all_frames(tmp_path / name)
    with VideoReader(tmp_path / name) as reader:
        assert reader.metadata.fps == pytest.approx(rate)
        assert reader.metadata.duration == pytest.approx(40 / rate)


def test_streams_that_begin_in_the_middle(tmp_path):
    """A recording that was cut anywhere has packets that cannot be decoded: they are no frames."""
    write_frames(tmp_path / "whole.ts", noisy(40), 10, "libx264", GROUPS)
    data = (tmp_path / "whole.ts").read_bytes()
    (tmp_path / "cut.ts").write_bytes(data[188 * 40 :])
    assert 0 < len(decoded(tmp_path / "cut.ts")) < 40
    check_all_frames(tmp_path / "cut.ts")


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
@pytest.mark.parametrize("start", [0.5, 1.7])
def test_trimmed_clips(tmp_path, codec, start):
    write_frames(tmp_path / "a.mp4", noisy(40), 10, codec, GROUPS)
    (tmp_path / "b.mp4").write_bytes(trimmed((tmp_path / "a.mp4").read_bytes(), start))
    whole, rest = decoded(tmp_path / "a.mp4"), decoded(tmp_path / "b.mp4")
    assert len(rest) == 40 - round(10 * start)
    assert np.array_equal(rest[0][1], whole[-len(rest)][1])
    check_all_frames(tmp_path / "b.mp4")


def test_a_jump_that_misses_is_made_good(tmp_path, monkeypatch):
    write_frames(tmp_path / "a.mp4", noisy(40), 10, "libx264", GROUPS)
    expected = decoded(tmp_path / "a.mp4")
    with VideoReader(tmp_path / "a.mp4") as reader:
        reader._keys = [reader._stamps[0], reader._stamps[1]]  # the file is said to have a key frame where it has none
        container = reader._container

        class Missing:
            def __getattr__(self, name):
                return getattr(container, name)

            def seek(self, at, **options):
                container.seek(reader._stamps[30], stream=options["stream"])

        reader._container = Missing()
        for index, pixels in reader.frames([2, 25, 39]):
            assert np.array_equal(pixels, expected[index][1])


# --- turned by the file ---


def corners(pixels: np.ndarray) -> list[list[int]]:
    """Mean levels of the four quarters, row by row."""
    height, width = pixels.shape[:2]
    rows = (slice(0, height // 2), slice(height // 2, height))
    columns = (slice(0, width // 2), slice(width // 2, width))
    return [[round(float(pixels[row, column].mean()), -1) for column in columns] for row in rows]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("clockwise", [[120, 30], [210, 80]]),
        ("half", [[210, 120], [80, 30]]),
        ("counterclockwise", [[80, 210], [30, 120]]),
        ("mirrored", [[80, 30], [210, 120]]),
        ("mirrored clockwise", [[30, 120], [80, 210]]),
    ],
)
def test_frames_are_turned_as_the_file_asks(kind, expected):
    quarters = np.array([[30, 80], [120, 210]], np.uint8)
    frame = np.repeat(np.repeat(quarters, 32, axis=0), 48, axis=1)[..., None].repeat(3, axis=2)  # 64 x 96
    file = BytesIO()
    write_frames(file, [frame] * 6, 10, "libx264", {"crf": "1"})
    turned = turn(file.getvalue(), MATRICES[kind])
    upright = "clockwise" not in kind
    with VideoReader(file.getvalue()) as reader:
        assert corners(next(reader.frames([3]))[1]) == [[30, 80], [120, 210]]
    with VideoReader(turned) as reader:
        assert (reader.metadata.width, reader.metadata.height) == ((96, 64) if upright else (64, 96))
        _, pixels = next(reader.frames([3]))
        assert pixels.shape == ((64, 96, 3) if upright else (96, 64, 3))
        assert corners(pixels) == expected
    tiles = InternVLVideoProcessor(size=SIDE)(turned, **RAW)["pixel_values_videos"][0]
    assert corners(tiles[0].permute(1, 2, 0).numpy()) == expected
    frames, _ = InternVLVideoProcessor(size=SIDE).fetch_videos(turned)
    assert corners(frames[0]) == expected
    assert corners(_middle_frames(turned, 1)[0]) == expected


# --- shown at uneven times ---

# A screen is recorded: ten frames a second for two seconds, then one every two seconds.
UNEVEN = [*(number / 10 for number in range(20)), *(2.0 + 2 * number for number in range(5))]


def chosen_times(path, **options) -> list[float]:
    """When the chosen frames are shown; each is identified by its shade."""
    features = InternVLVideoProcessor(size=SIDE)(path, **options, **RAW)
    shades = [round(float(frame.float().mean()) / 5) for frame in features["pixel_values_videos"][0]]
    about = features["video_metadata"][0]
    assert shades == about.frames_indices
    assert about.timestamps == pytest.approx([UNEVEN[index] for index in shades], abs=0.002)
    return [UNEVEN[index] for index in shades]


@pytest.fixture(scope="module", params=[("a.webm", "libvpx"), ("a.mkv", "libx264"), ("a.mp4", "libx264")])
def uneven(request, tmp_path_factory):
    name, codec = request.param
    path = tmp_path_factory.mktemp("uneven") / name
    options = {"b": "4M"} if codec == "libvpx" else {"g": "8", "bf": "2", "crf": "1"}
    write_clip(path, range(0, 125, 5), rate=30, codec=codec, times=UNEVEN, options=options)
    return path


def test_time_stamps_tell_length_and_mean_rate(uneven):
    with VideoReader(uneven) as reader:
        about = reader.metadata
        assert about.total_num_frames == 25
        assert about.frame_times == pytest.approx(UNEVEN, abs=0.002)
        assert 10 < about.duration <= 12.5
        assert about.fps == pytest.approx(25 / about.duration)


def shown(second: float) -> float:
    """The frame that is on the screen then."""
    return max(time for time in UNEVEN if time <= second)


def test_frames_a_second_follow_the_time_stamps(uneven):
    expected = [shown(0.5 + second) for second in range(10)]
    assert chosen_times(uneven, fps=1)[:10] == expected == [0.5, 1.5, 2, 2, 4, 4, 6, 6, 8, 8]
    assert chosen_times(uneven, fps=2, bound=(1.0, 4.0)) == [shown(1.25 + number / 2) for number in range(6)]
    assert chosen_times(uneven, fps=1, max_num_frames=3) == expected[:3]


@pytest.mark.parametrize("sampling", ["segments", "middle", "rand"])
def test_bounds_follow_the_time_stamps(uneven, sampling):
    times = chosen_times(uneven, bound=(4.0, 8.5), num_frames=3, sampling=sampling)
    assert min(times) >= 4 and max(times) <= 8
    times = chosen_times(uneven, bound=(0.5, 1.0), num_frames=6, sampling=sampling)
    assert min(times) >= 0.5 and max(times) <= 1
    assert set(chosen_times(uneven, bound=(6.5, 7.0), num_frames=2, sampling=sampling)) == {6.0}
    with pytest.raises(ValueError, match="lies outside of a video of 1"):
        chosen_times(uneven, bound=(20, 30), sampling=sampling)


def test_sampling_by_a_description_follows_the_time_stamps(uneven):
    processor = InternVLVideoProcessor(size=SIDE)
    expected = processor(uneven, fps=1, return_metadata=True)["video_metadata"][0].frames_indices
    with VideoReader(uneven) as reader:
        assert processor.sample_frames(reader.metadata, fps=1).tolist() == expected
        frames = [pixels for _, pixels in reader.frames(range(25))]
        again = processor(frames, fps=1, video_metadata=[reader.metadata], return_metadata=True)
    assert again["video_metadata"][0].frames_indices == expected
    _, about = processor.fetch_videos(uneven, lambda metadata: processor.sample_frames(metadata, fps=1))
    assert about.frames_indices == expected


def test_a_browsers_recording_has_the_rate_of_its_time_stamps(tmp_path):
    """Thirty frames a second with the jitter of a camera, where a file declares 1000: nearly even is even."""
    jitter = np.random.default_rng(0).uniform(-0.008, 0.008, 90)
    times = [max(0.0, number / 30 + float(jitter[number])) for number in range(90)]
    assert all(before < after for before, after in pairwise(times))
    write_clip(tmp_path / "a.webm", range(90), rate=1000, codec="libvpx", times=times)
    with VideoReader(tmp_path / "a.webm") as reader:
        assert reader.metadata.frame_times is None
        assert reader.metadata.fps == pytest.approx(30, abs=0.3)
        assert reader.metadata.duration == pytest.approx(3, abs=0.05)
    processor = InternVLVideoProcessor(size=SIDE)
    about = processor(tmp_path / "a.webm", fps=1, return_metadata=True)["video_metadata"][0]
    assert np.allclose([times[index] for index in about.frames_indices], [0.5, 1.5, 2.5], atol=0.03)


def test_even_videos_keep_the_original_rule():
    even = [number / 10 for number in range(100)]
    for options in ({"fps": 1}, {"fps": 3, "bound": (2.0, 7.0)}, {"bound": (1.0, 4.0), "num_frames": 5}):
        with_times = frame_indices(100, video_fps=10, frame_times=even, **options)
        without = frame_indices(100, video_fps=10, **options)
        assert len(with_times) == len(without) or "bound" in options
        assert np.abs(np.subtract(with_times[: len(without)], without[: len(with_times)])).max() <= 1
    with VideoReader(clip_bytes(range(40), rate=10)) as reader:
        assert reader.metadata.frame_times is None
        assert (reader.metadata.fps, reader.metadata.duration) == (10, 4)
