# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
import doctest
import random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import PreTrainedConfig
from transformers.models.auto.video_processing_auto import AutoVideoProcessor

from tests.clips import write_clip
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.videos import frame_sampling
from transformers_internvl.processing.videos.frame_sampling import frame_indices, random_indices
from transformers_internvl.processing.videos.video_decoding import VideoReader
from transformers_internvl.processing.videos.video_processing import InternVLVideoProcessor, make_list_of_videos

SIDE = 28
RATE = 10


def write_video(path, frames: int, codec: str = "libx264", options: dict | None = None) -> None:
    """Frame i is gray of level 3 i."""
    write_clip(path, range(0, 3 * frames, 3), rate=RATE, codec=codec, options=options)


def shown(pixels: np.ndarray) -> int:
    """Which frame of `write_video` this is."""
    return round(float(pixels.mean()) / 3)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """70 frames, 7 seconds; several key frames, and frames stored in another order than they are shown in."""
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_video(path, 70, options={"g": "12", "bf": "2", "crf": "1"})
    return path


@pytest.fixture
def processor() -> InternVLVideoProcessor:
    return InternVLVideoProcessor(size=SIDE)


def images(count: int, size=(40, 30)) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)) for _ in range(count)]


# --- choosing frames ---


def test_examples_in_docstrings():
    assert doctest.testmod(frame_sampling).failed == 0


def test_indices_lie_in_the_video_and_the_bound():
    for total in (1, 2, 7, 100):
        for sampling in ("segments", "middle", "rand"):
            chosen = frame_indices(total, sampling=sampling, num_frames=8, rng=random.Random(0))
            assert len(chosen) == 8
            assert chosen == sorted(chosen)
            assert 0 <= chosen[0] <= chosen[-1] < total
    for sampling in ("segments", "middle", "rand"):
        chosen = frame_indices(100, sampling=sampling, num_frames=5, video_fps=10, bound=(2, 5), rng=random.Random(0))
        assert 20 <= min(chosen) <= max(chosen) <= 50
    assert frame_indices(100, fps=2, video_fps=10, bound=(2, 4)) == [22, 28, 32, 38]
    assert frame_indices(100, fps=2, video_fps=10, max_num_frames=2) == [2, 8]


def test_random_choice_takes_one_of_each_part_and_follows_its_generator():
    chosen = random_indices(80, 8, random.Random(3))
    assert chosen == random_indices(80, 8, random.Random(3))
    assert [index // 10 for index in chosen] == list(range(8))
    assert all(index % 10 != 9 for index in chosen)
    assert random_indices(5, 5, random.Random(0)) == [0, 1, 2, 3, 4]
    assert random_indices(3, 5, random.Random(0)) == [0, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total_frames": 0}, "no frames"),
        ({"fps": 1}, "frame rate, which is not known"),
        ({"bound": (0, 1)}, "frame rate, which is not known"),
        ({"fps": 0.01, "video_fps": 10}, "picks no frame of 5.00 s"),
        ({"fps": -1, "video_fps": 10}, "must be positive"),
        ({"bound": (9, 10), "video_fps": 10}, "lies outside"),
        ({"bound": (3, 1), "video_fps": 10}, "lies outside"),
        ({"num_frames": 0}, "at least 1"),
        ({"sampling": "uniform"}, "`sampling` is one of"),
        ({"sampling": "fps"}, "needs `fps`"),
    ],
)
def test_bad_requests(options, message):
    with pytest.raises(ValueError, match=message):
        frame_indices(**{"total_frames": 50, **options})


# --- reading frames ---


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("b_frames.mp4", "libx264", {"g": "12", "bf": "2", "crf": "1"}),
        ("one_key.mkv", "libx264", {"g": "250", "crf": "1"}),
        ("old.avi", "mpeg4", {"g": "10", "qscale": "1"}),
        ("intra.mov", "mjpeg", {"qmin": "1", "qmax": "1"}),
        ("stream.h264", "libx264", {"g": "12", "bf": "0", "crf": "1"}),
    ],
)
def test_any_frames_of_any_container(tmp_path, name, codec, options):
    write_video(tmp_path / name, 60, codec, options)
    with VideoReader(tmp_path / name) as reader:
        assert reader.metadata.total_num_frames == 60
        for wanted in ([0], [59], [40, 3, 3, 41], list(range(60))):
            read = list(reader.frames(wanted))
            assert [index for index, _ in read] == sorted(set(wanted))
            assert all(abs(shown(pixels) - index) <= 1 for index, pixels in read)
            assert all(pixels.shape == (48, 64, 3) for _, pixels in read)
        with pytest.raises(ValueError, match="60 frames"):
            list(reader.frames([60]))


def test_only_what_is_needed_is_decoded(video, monkeypatch):
    with VideoReader(video) as reader:
        decoded = 0
        decode = reader._container.decode

        class Counting:
            def __getattr__(self, name):
                return getattr(container, name)

            def decode(self, *args):
                nonlocal decoded
                for frame in decode(*args):
                    decoded += 1
                    yield frame

        container, reader._container = reader._container, Counting()
        list(reader.frames([66]))
        assert decoded <= 12  # one group of images, not the 66 frames before
        reader._container = container


def test_metadata_tells_rate_size_and_length(video):
    with VideoReader(video) as reader:
        about = reader.metadata
    assert (about.total_num_frames, about.fps, about.width, about.height, about.duration) == (70, 10, 64, 48, 7)


# --- videos to tiles ---


def test_encoded_videos_are_sampled_by_the_original_rule(processor, video):
    features = processor(video, return_tensors="pt", return_metadata=True)
    assert features["pixel_values_videos"].shape == (1, 8, 3, SIDE, SIDE)
    assert features["video_metadata"][0].frames_indices == [4, 13, 21, 30, 38, 47, 56, 64]
    levels = processor(video, do_rescale=False, do_normalize=False)["pixel_values_videos"][0]
    assert [shown(frame.numpy()) for frame in levels] == [4, 13, 21, 30, 38, 47, 56, 64]


def test_a_frame_is_an_image_on_one_tile(processor):
    frames = images(3)
    tiles = processor(frames, return_tensors="pt")["pixel_values_videos"][0]
    as_images = InternVLImageProcessor(size=SIDE, crop_to_patches=False)(frames, return_tensors="pt")
    assert torch.equal(tiles, as_images["pixel_values"])


def test_requests(processor, video):
    def chosen(**options):
        return processor(video, return_metadata=True, **options)["video_metadata"][0].frames_indices

    assert len(chosen(num_frames=3)) == 3
    assert chosen(fps=1) == [5, 15, 25, 35, 45, 55, 65]
    assert chosen(fps=1, max_num_frames=2) == [5, 15]
    assert chosen(bound=(1.0, 2.0), num_frames=2) == [12, 17]
    assert chosen(sampling="middle", num_frames=2) == [17, 52]
    assert chosen(do_sample_frames=False) == list(range(70))
    by_rate = InternVLVideoProcessor(size=SIDE, fps=1)
    assert len(by_rate(video)["pixel_values_videos"][0]) == 7
    assert len(by_rate(video, num_frames=3)["pixel_values_videos"][0]) == 3
    with pytest.raises(ValueError, match="exclude each other"):
        processor(video, num_frames=3, fps=1)


def test_all_kinds_of_input_are_alike(processor):
    frames = images(4)
    last = np.stack([np.asarray(frame) for frame in frames])
    kinds = {
        "arrays": list(last),
        "last": last,
        "first": last.transpose(0, 3, 1, 2),
        "tensor": torch.from_numpy(last).permute(0, 3, 1, 2),
        "nested": [[frames]],
        "batch": last[None],
    }
    expected = processor(frames, return_tensors="pt")["pixel_values_videos"]
    for kind, given in kinds.items():
        assert torch.equal(processor(given, return_tensors="pt")["pixel_values_videos"], expected), kind


def test_bytes_and_paths_are_alike(processor, video):
    expected = processor(video, return_tensors="pt")["pixel_values_videos"]
    for given in (str(video), video.read_bytes(), [str(video)]):
        assert torch.equal(processor(given, return_tensors="pt")["pixel_values_videos"], expected)


def test_frames_are_kept_unless_the_call_asks(processor):
    frames = images(12)
    assert len(processor(frames)["pixel_values_videos"][0]) == 12
    assert len(processor(frames, num_frames=3)["pixel_values_videos"][0]) == 3
    assert len(processor(frames, do_sample_frames=True)["pixel_values_videos"][0]) == 8
    with_rate = [{"fps": 4, "total_num_frames": 12}]
    assert len(processor(frames, fps=2, video_metadata=with_rate)["pixel_values_videos"][0]) == 6
    with pytest.raises(ValueError, match="Video 0.*frame rate, which is not known"):
        processor(frames, fps=2)
    with pytest.raises(ValueError, match="Video 0.*frame rate, which is not known"):
        processor(frames, fps=2, video_metadata=[{"fps": 4, "total_num_frames": 100}])  # sampled before


def test_short_and_ragged_videos(processor):
    one, four = images(1), images(4)
    assert processor(one, return_tensors="pt")["pixel_values_videos"].shape == (1, 1, 3, SIDE, SIDE)
    repeated = processor(one, num_frames=3)["pixel_values_videos"][0]
    assert len(repeated) == 3
    assert torch.equal(repeated[0], repeated[2])
    for tensors in ("pt", "np", None):
        ragged = processor([one, four], return_tensors=tensors)["pixel_values_videos"]
        assert [len(video) for video in ragged] == [1, 4]
    equal = processor([four, four], return_tensors="np")["pixel_values_videos"]
    assert equal.shape == (2, 4, 3, SIDE, SIDE)
    assert isinstance(equal, np.ndarray)


def test_texts_are_videos_and_only_deeper_ones_frames():
    frames = images(2)
    assert make_list_of_videos(["a.mp4", "b.mp4"]) == ["a.mp4", "b.mp4"]
    assert make_list_of_videos([["a.mp4"], ["b.mp4", frames]]) == ["a.mp4", "b.mp4", frames]
    assert make_list_of_videos([[["1.png", "2.png"]]]) == [["1.png", "2.png"]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "list is empty"),
        ([[]], "list is empty"),
        (np.zeros((0, 8, 8, 3), dtype=np.uint8), "Video 0.*has no frames"),
        (b"no video", "Video 0.*cannot be read"),
        (3, "Expected a video"),
        (np.full((2, 8, 8, 3), np.nan), "Video 0: frame 0.*not finite"),
        ([np.zeros((8, 8, 3), dtype=np.uint8), np.zeros((8, 0, 3), dtype=np.uint8)], "frame 1.*no pixels"),
    ],
    ids=["none", "none nested", "empty", "bytes", "number", "nan", "empty frame"],
)
def test_bad_videos(processor, bad, message):
    with pytest.raises(ValueError, match=message):
        processor(bad)


def test_broken_files(processor, video, tmp_path):
    cut = tmp_path / "cut.mkv"
    write_video(cut, 70, options={"g": "12", "crf": "1"})
    cut.write_bytes(cut.read_bytes()[:200])
    with pytest.raises(ValueError, match="Video 1"):
        processor([video, cut])
    with pytest.raises(FileNotFoundError, match=r"missing\.mp4"):
        processor("missing.mp4")


# --- state ---


def test_saved_and_loaded(tmp_path):
    class SomeConfig(PreTrainedConfig):
        model_type = "some_internvl_for_videos"

    AutoVideoProcessor.register(
        SomeConfig, video_processor_classes={"pil": InternVLVideoProcessor, "torchvision": InternVLVideoProcessor}
    )
    saved = InternVLVideoProcessor(size=SIDE, fps=2, backend="torch", normalize_type="clip")
    assert saved.num_frames is None
    saved.save_pretrained(tmp_path)
    for loaded in (InternVLVideoProcessor.from_pretrained(tmp_path), AutoVideoProcessor.from_pretrained(tmp_path)):
        assert type(loaded) is InternVLVideoProcessor
        assert loaded.to_dict() == saved.to_dict()
    assert saved.to_dict()["video_processor_type"] == "InternVLVideoProcessor"
    assert InternVLVideoProcessor().to_dict()["num_frames"] == 8


def test_backends_are_within_two_levels(processor):
    frames = images(2, size=(200, 90))
    options = {"do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    exact, fast = (processor(frames, backend=name, **options)["pixel_values_videos"] for name in ("pil", "torch"))
    assert (exact.int() - fast.int()).abs().max() <= 2
