# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From tiles to image tokens: which chunks, which layer, which tiles."""

import pytest
import torch
from transformers import DynamicCache

from tests.tiny import tiny_batch, tiny_config, tiny_model
from transformers_internvl import InternVLForConditionalGeneration
from transformers_internvl.modeling.internvl.image_features import move_padding_tiles_last

PIXELS = torch.randn(6, 3, 56, 56, generator=torch.Generator().manual_seed(0))


def tiles_at_once(model: InternVLForConditionalGeneration, pixels: torch.Tensor, **options) -> list[int]:
    """How many tiles the tower is given, call by call."""
    seen = []
    hook = model.model.vision_tower.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    with torch.no_grad():
        model.get_image_features(pixels, **options)
    hook.remove()
    return seen


@pytest.mark.parametrize(
    ("configured", "given", "tiles", "expected"),
    [
        (16, None, 6, [6]),
        (5, None, 6, [5, 1]),
        (6, None, 6, [6]),  # just one chunk
        (7, None, 6, [6]),
        (1, None, 3, [1, 1, 1]),
        (None, None, 6, [6]),
        (None, 4, 6, [4, 2]),
        (2, 4, 6, [4, 2]),  # the call holds over the model
        (4, 2, 5, [2, 2, 1]),
        (2, 6, 6, [6]),
        (2, 100, 6, [6]),
    ],
)
def test_chunks_of_the_model_and_of_the_call(configured, given, tiles, expected):
    model = tiny_model(vision_chunk_size=configured)
    assert tiles_at_once(model, PIXELS[:tiles], vision_chunk_size=given) == expected
    other = tiny_model()
    other.config.vision_chunk_size = configured  # set later
    assert tiles_at_once(other, PIXELS[:tiles], vision_chunk_size=given) == expected
    assert tiles_at_once(model.train(), PIXELS[:tiles], vision_chunk_size=given) == [tiles]


@pytest.mark.parametrize("size", [0, -1])
def test_chunks_of_nothing_are_refused(size):
    model = tiny_model()
    with pytest.raises(ValueError, match=f"`vision_chunk_size` must be at least 1 or None, got {size}"):
        model.get_image_features(PIXELS, vision_chunk_size=size)
    with pytest.raises(ValueError, match=f"`vision_chunk_size` must be at least 1 or None, got {size}"):
        tiny_config(vision_chunk_size=size)


@pytest.mark.parametrize("final_norm", [False, True])
@pytest.mark.parametrize(("layer", "same"), [(4, -1), (3, -2), (0, -5)])
def test_a_layer_counted_from_either_end_is_the_same(layer, same, final_norm):
    """Also where the last one has a norm of its own, and whoever asks for hidden states gets the same features."""
    model = tiny_model(vision={"use_mean_pooling": not final_norm})
    with torch.no_grad():
        found = [
            model.get_image_features(PIXELS[:2], vision_feature_layer=index, output_hidden_states=whole)
            for index in (layer, same)
            for whole in (False, True)
        ]
    for other in found[1:]:
        torch.testing.assert_close(other.last_hidden_state, found[0].last_hidden_state)
        torch.testing.assert_close(other.pooler_output, found[0].pooler_output)


@pytest.mark.parametrize("layer", [5, -6])
def test_the_first_layer_that_is_not_there(layer):
    with pytest.raises(ValueError, match=f"hidden states 0 to 4 .* got layer {layer}"):
        tiny_model().get_image_features(PIXELS, vision_feature_layer=layer)


def test_no_layer_is_none():
    with pytest.raises(ValueError, match="must be one layer"):
        tiny_model().get_image_features(PIXELS, vision_feature_layer=[])


def test_the_layer_in_a_forward_call():
    model, batch = tiny_model(), tiny_batch([1, 1])
    with torch.no_grad():
        found = model(**batch, vision_feature_layer=-3).logits
        model.config.vision_feature_layer = -3
        expected = model(**batch).logits
        model.config.vision_feature_layer = -1
        assert not torch.allclose(found, model(**batch).logits)
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="must be 'default'"):
        model(**batch, vision_feature_select_strategy="full")


def test_grids_of_patches_that_are_not_square():
    model = tiny_model(vision={"patch_size": [14, 28], "image_size": [56, 112]})
    with torch.no_grad():
        features = model.get_image_features(torch.randn(1, 3, 28, 112)).pooler_output
    assert features.shape == (1, 2, 32)  # 2 x 4 patches, merged by 2 x 2


def test_flags_mark_what_is_real():
    model = tiny_model()
    with torch.no_grad():
        every = model.get_image_features(PIXELS[:4]).pooler_output
        flags = torch.tensor([1, 0, 1, 0])
        for shape in ((4,), (4, 1)):
            some = model.get_image_features(PIXELS[:4], image_flags=flags.view(shape)).pooler_output
            torch.testing.assert_close(some, every[[0, 2]])


def test_real_tiles_come_first_in_their_order():
    features = torch.arange(5.0).view(5, 1, 1)
    sorted_, count = move_padding_tiles_last(features, torch.tensor([0, 1, 2, 1, 1]))  # 1 marks a real tile
    assert sorted_.flatten().tolist() == [1, 3, 4, 0, 2] and count == 3


def test_dummy_tiles_alone_are_as_no_tiles():
    model, batch = tiny_model(), tiny_batch([0, 0])
    with torch.no_grad():
        expected = model(input_ids=batch["input_ids"]).logits
        runs = []
        model.model.vision_tower.register_forward_pre_hook(lambda *_: runs.append(1))
        outputs = model(
            input_ids=batch["input_ids"], pixel_values=PIXELS[:2], image_flags=torch.zeros(2, dtype=torch.long)
        )
    assert torch.equal(outputs.logits, expected) and not runs and outputs.image_outputs is None


def test_copies_of_rows_go_through_all_tiles():
    """`image_copies=2`: two questions about the same images."""
    model = tiny_model()
    batch = tiny_batch([1, 2])
    twice = {name: batch[name].repeat(2, 1) for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        expected = model.model(**twice, pixel_values=batch["pixel_values"].repeat(2, 1, 1, 1)).last_hidden_state
        found = model.model(**twice, pixel_values=batch["pixel_values"], image_copies=2).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


def test_features_are_as_wide_as_the_language_model():
    model, batch = tiny_model(), tiny_batch([1])
    pixels = batch.pop("pixel_values")
    features = model.get_image_features(pixels)
    for width in (31, 33):
        features.pooler_output = torch.zeros(1, 4, width)
        with pytest.raises(ValueError, match=f"Image features are {width} wide, the language model is 32"):
            model(**batch, mm_encoder_outputs={"image": features})


def test_what_a_forward_gives_back_of_the_images():
    """In the dtype of the language model, as it was put in."""
    model, batch = tiny_model(), tiny_batch([1])
    with torch.no_grad():
        model.model.language_model.double()
        features = model.model(**batch).image_outputs.pooler_output
    assert features.dtype == torch.float64 and features.shape == (1, 4, 32)


def test_which_steps_without_an_image_pass_through_the_tower(monkeypatch):
    """Where weights are sharded, all ranks must call the tower equally often: once a prompt, never a token."""
    from transformers_internvl.modeling.internvl import model as module

    model, runs = tiny_model(), []
    model.model.vision_tower.register_forward_pre_hook(lambda *_: runs.append(1))
    ids = torch.tensor([[5, 6, 7, 8]])

    def touched(**options) -> bool:
        runs.clear()
        with torch.no_grad():
            touched.cache = model(input_ids=ids, **options).cache
        return bool(runs)

    assert not touched() and not touched(cache=DynamicCache())
    assert not model.train() or not touched()  # no gradients, nothing to reduce
    monkeypatch.setattr(module, "is_sharded", lambda part: True)
    assert touched()
    model.eval()
    assert touched() and touched(use_cache=True)
    assert not touched(cache=touched.cache) and touched(cache=DynamicCache())
    assert not touched(mm_encoder_outputs={})  # every rank has its features already


def test_a_blank_tile_is_one_of_the_tower():
    model = tiny_model(vision={"num_channels": 1, "image_size": 28}).train()
    ids = torch.tensor([[5, 6, 7, 8]])
    model(input_ids=ids, labels=ids).loss.backward()
    projection = model.model.vision_tower.embeddings.patch_embeddings.projection
    assert projection.weight.shape[1] == 1 and projection.weight.grad is not None and not projection.weight.grad.any()
