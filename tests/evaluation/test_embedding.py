# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Vectors of images, texts and videos: those of the model's own methods, whatever the batches."""

from types import SimpleNamespace

import av
import pytest
import torch
from transformers import BatchFeature

from tests.clips import write_clip
from tests.evaluation.dual_encoder import COLORS, drawing, model_and_processor, write_pairs
from transformers_internvl.evaluation import embedding
from transformers_internvl.evaluation.captioning import caption_images
from transformers_internvl.evaluation.data import ItemImages, read_pairs
from transformers_internvl.evaluation.embedding import embed_images, embed_texts, embed_videos, in_batches
from transformers_internvl.evaluation.retrieval import recall_at_k, retrieve, retrieve_videos
from transformers_internvl.evaluation.zero_shot import classify_images, classify_videos, zero_shot_classifier

TEXTS = ["a red dog", "the blue boat on the river picture", "一只猫在房子前面"]
IMAGES = [drawing(color, number) for number in range(3) for color in COLORS]


def by_the_model(pictures, mode, **options):
    model, processor = model_and_processor()
    inputs = processor(images=pictures, return_tensors="pt", **options)
    with torch.no_grad():
        vectors = model.get_image_features(inputs["pixel_values"], mode=mode).pooler_output
    return torch.nn.functional.normalize(vectors, dim=-1)


@pytest.mark.parametrize("mode", ["InternVL-C", "InternVL-G"])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_images(mode, batch_size):
    vectors = embed_images(*model_and_processor(), IMAGES, mode=mode, batch_size=batch_size)
    assert vectors.dtype == torch.float32 and not vectors.requires_grad
    torch.testing.assert_close(vectors, by_the_model(IMAGES, mode), atol=1e-5, rtol=1e-4)


def test_squashing_keeps_the_edges():
    wide = drawing("red", 9).crop((0, 0, 168, 50))
    wide.paste((0, 0, 255), (0, 0, 20, 50))  # outside of the square in the middle
    plain = drawing("red", 9).crop((0, 0, 168, 50))
    encoder = model_and_processor()
    cropped = [embed_images(*encoder, [picture]) for picture in (wide, plain)]
    squashed = [embed_images(*encoder, [picture], fit="squash") for picture in (wide, plain)]
    torch.testing.assert_close(cropped[0], cropped[1])
    assert not torch.allclose(squashed[0], squashed[1])
    side = encoder[1].image_processor.crop_size["height"]
    expected = by_the_model([wide.resize((side, side), 3)], "InternVL-C")  # 3: bicubic
    torch.testing.assert_close(squashed[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_texts(batch_size):
    model, processor = model_and_processor()
    vectors = embed_texts(model, processor, TEXTS, batch_size=batch_size)
    with torch.no_grad():
        expected = [
            model.get_text_features(**processor(text=text, return_tensors="pt")).pooler_output for text in TEXTS
        ]
    expected = torch.nn.functional.normalize(torch.cat(expected), dim=-1)
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-4)


def test_long_texts_are_cut_on_request():
    model, processor = model_and_processor()
    text = "the red dog in the house " * 40
    inputs = processor(text=text, truncation=True, return_tensors="pt")
    assert inputs["input_ids"].shape == (1, 80)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model.get_text_features(**inputs).pooler_output, dim=-1)
    torch.testing.assert_close(embed_texts(model, processor, [text], truncation=True), expected)


@pytest.fixture
def clip(tmp_path):
    """A video of 9 frames that get brighter."""
    path = tmp_path / "clip.mp4"
    write_clip(path, range(0, 252, 28), size=(64, 64))
    return path


@pytest.mark.parametrize("num_frames, chosen", [(1, [4]), (3, [1, 4, 7]), (9, range(9)), (50, range(9))])
@pytest.mark.parametrize("batch_size", [2, 32])
def test_a_video_is_the_mean_of_its_normalized_frames(num_frames, chosen, batch_size):
    vectors = embed_videos(*model_and_processor(), [IMAGES], num_frames=num_frames, batch_size=batch_size)
    mean = by_the_model([IMAGES[index] for index in chosen], "InternVL-C").mean(dim=0)
    torch.testing.assert_close(vectors, (mean / mean.norm())[None], atol=1e-5, rtol=1e-4)


def test_an_encoded_video_is_that_of_its_frames(clip):
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 9
    encoder = model_and_processor()
    from_file = embed_videos(*encoder, [str(clip), clip], num_frames=3, mode="InternVL-G")
    from_frames = embed_videos(*encoder, [frames], num_frames=3, mode="InternVL-G")
    torch.testing.assert_close(from_file, from_frames.expand(2, -1))


def test_a_folder_of_frames_is_a_video(tmp_path):
    for number, frame in enumerate(IMAGES):
        frame.save(tmp_path / f"frame_{number + 3}.png")  # frame_10 comes after frame_9
    encoder = model_and_processor()
    from_folder = embed_videos(*encoder, [tmp_path, f"{tmp_path}/"], num_frames=3)
    torch.testing.assert_close(from_folder, embed_videos(*encoder, [IMAGES], num_frames=3).expand(2, -1))


def test_retrieval_and_classification_are_their_parts():
    encoder = model_and_processor()
    owners = [0, 0, 1]
    similarity = embed_images(*encoder, IMAGES[:2], fit="squash") @ embed_texts(*encoder, TEXTS).T
    assert retrieve(*encoder, IMAGES[:2], TEXTS, owners) == recall_at_k(similarity, image_of_text=owners)
    clips = [IMAGES[:3], IMAGES[3:6]]
    similarity = embed_videos(*encoder, clips, num_frames=2, fit="squash") @ embed_texts(*encoder, TEXTS).T
    expected = recall_at_k(similarity, image_of_text=owners)
    assert retrieve_videos(*encoder, clips, TEXTS, owners, num_frames=2) == expected

    classifier = zero_shot_classifier(*encoder, ["red dog", "blue boat"], ["{}", "the {}"])
    scores = classify_images(*encoder, IMAGES, classifier, mode="InternVL-G")
    torch.testing.assert_close(scores, embed_images(*encoder, IMAGES, mode="InternVL-G") @ classifier.T)
    scores = classify_videos(*encoder, clips, classifier, num_frames=1)
    torch.testing.assert_close(scores, embed_images(*encoder, [IMAGES[1], IMAGES[4]]) @ classifier.T)


def test_long_work_shows_how_far_it_is(monkeypatch):
    class Bar:
        def __init__(self, total, desc, leave, disable):
            bars.append([desc, total, 0])
            assert disable is (None if total > 1 else True)  # shown on a terminal alone, and for several batches

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, count):
            bars[-1][2] += count

    bars = []
    monkeypatch.setattr(embedding, "tqdm", Bar)
    encoder = model_and_processor()
    retrieve(*encoder, IMAGES[:3], TEXTS, batch_size=2)
    embed_videos(*encoder, [IMAGES], num_frames=1)
    caption_images(*encoder, IMAGES[:3], batch_size=2, num_beams=1, min_new_tokens=1, max_new_tokens=1)
    assert bars == [["images", 3, 3], ["texts", 3, 3], ["videos", 1, 1], ["images", 3, 3]]


def test_captions_are_those_of_generate_without_the_prompt():
    model, processor = model_and_processor()
    options = {"num_beams": 3, "min_new_tokens": 2, "max_new_tokens": 6}
    captions = caption_images(model, processor, IMAGES[:3], batch_size=2, **options)
    side = processor.image_processor.crop_size["height"]
    for picture, caption in zip(IMAGES, captions, strict=False):
        inputs = processor(images=picture.resize((side, side), 3), task="caption", return_tensors="pt")
        expected = processor.batch_decode(model.generate(**inputs, **options), skip_special_tokens=True)[0]
        assert caption == expected.strip() and not caption.startswith("English caption")


def test_captions_go_on_from_the_prompt():
    encoder = model_and_processor()
    plain, english, other = (
        caption_images(*encoder, IMAGES[:1], prompt=prompt, num_beams=1, min_new_tokens=5, max_new_tokens=5)
        for prompt in (None, "English caption:", "the dog")
    )
    assert plain == english != other


def test_images_of_files_are_read_in_time(tmp_path):
    items = read_pairs(write_pairs(tmp_path))
    vectors = embed_images(*model_and_processor(), ItemImages(items), batch_size=4)
    expected = by_the_model([drawing(color, number) for color in COLORS for number in range(2)], "InternVL-C")
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "embed, items, options, reason",
    [
        (embed_images, [], {}, "There are no images"),
        (embed_texts, [], {}, "There are no texts"),
        (embed_videos, [], {}, "There are no videos"),
        (embed_images, IMAGES, {"batch_size": 0}, "`batch_size` must be at least 1"),
        (embed_images, IMAGES, {"mode": "C"}, "`mode` must be one of"),
        (embed_images, IMAGES, {"fit": "pad"}, "`fit` must be one of crop, squash"),
        (embed_images, [*IMAGES[:3], "no/picture.png"], {"batch_size": 2}, "images 2 to 3: .*no/picture.png"),
        (embed_videos, [IMAGES, []], {}, "videos 1: has no frames"),
        (embed_videos, [IMAGES], {"num_frames": 0}, "videos 0: `num_frames` must be at least 1"),
        (embed_texts, ["a dog", "a dog " * 200], {"batch_size": 1}, "texts 1: "),
        (caption_images, IMAGES, {"num_beams": 0}, "`num_beams` be at least 1"),
        (caption_images, IMAGES, {"min_new_tokens": 31}, "between 0 and `max_new_tokens`"),
        (caption_images, [], {}, "There are no images"),
    ],
)
def test_errors(embed, items, options, reason):
    with pytest.raises((ValueError, FileNotFoundError), match=reason):
        embed(*model_and_processor(), items, **options)


def test_a_broken_video_is_named(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"videos 0, .*broken\.mp4: cannot be read as a video"):
        embed_videos(*model_and_processor(), [broken])


def test_batches_and_their_names():
    def named(count, size):
        return [(where, batch) for where, batch in in_batches(range(count), size, "texts")]

    assert named(5, 2) == [("texts 0 to 1", [0, 1]), ("texts 2 to 3", [2, 3]), ("texts 4", [4])]
    assert named(2, 2) == [("texts 0 to 1", [0, 1])] and named(1, 9) == [("texts 0", [0])]
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        named(3, 0)


class Stand:
    """Stands for model and processor of captions, and keeps what it was asked."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self):
        self.asked = []
        self.image_processor = SimpleNamespace(crop_size={"height": 4, "width": 6})

    def __call__(self, **options):
        self.asked.append(options)
        return BatchFeature({"pixel_values": torch.ones(len(options["images"]), 3, 4, 6, dtype=torch.float64)})

    def generate(self, pixel_values, **options):
        assert pixel_values.dtype == torch.float32
        self.asked.append(options)
        return [[0]] * len(pixel_values)

    def batch_decode(self, ids, skip_special_tokens):
        assert skip_special_tokens
        return [" a caption "] * len(ids)


def test_captions_are_made_as_the_original_code_does():
    stand = Stand()
    assert caption_images(stand, stand, ["picture"] * 9) == ["a caption"] * 9
    square = {"size": {"height": 4, "width": 6}, "do_center_crop": False}
    seen = {"text": None, "task": "caption", "return_tensors": "pt", **square}
    beams = {"do_sample": False, "num_beams": 5, "min_new_tokens": 8, "max_new_tokens": 30}
    assert stand.asked == [{"images": ["picture"] * 8, **seen}, beams, {"images": ["picture"], **seen}, beams]
    stand.asked.clear()
    caption_images(stand, stand, ["picture"], prompt="A", num_beams=1, min_new_tokens=0, max_new_tokens=0, fit="crop")
    assert stand.asked[0] == {"images": ["picture"], "text": "A", "task": "caption", "return_tensors": "pt"}
    assert stand.asked[1] == {"do_sample": False, "num_beams": 1, "min_new_tokens": 0, "max_new_tokens": 0}
    with pytest.raises(ValueError, match="got -1, 30 and 5"):
        caption_images(stand, stand, ["picture"], min_new_tokens=-1)


def test_a_video_has_eight_frames_in_any_sequence_and_is_cropped(monkeypatch):
    asked, stand = [], Stand()
    frames = tuple(range(24))
    monkeypatch.setattr(embedding, "_image_vectors", lambda model, inputs, mode: asked.append(mode) or torch.eye(8))
    vector = embed_videos(stand, stand, [frames])
    assert stand.asked == [{"images": [1, 4, 7, 10, 13, 16, 19, 22], "return_tensors": "pt"}] and asked == [
        "InternVL-C"
    ]
    torch.testing.assert_close(vector, torch.full((1, 8), 8**-0.5))


def test_vectors_of_half_precision_are_normalized_in_float32():
    halves = torch.tensor([[3.0, 4.0]]).half() * 1000
    found = embedding._vectors(SimpleNamespace(pooler_output=halves))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8]]))
