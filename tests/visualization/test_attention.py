# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Attention over images: a model whose attention is known, maps put back to their places, and models of every kind."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.parity.golden import golden_root
from tests.tiny import IMAGE_TOKEN, shaken, tiny_model
from transformers_internvl.visualization import explain_answer, split_maps

TILE, SIDE = 56, 2  # pixels and tokens along a side of a tile
CELL = TILE // SIDE


@pytest.fixture(scope="module")
def processor():
    """Tiles of 56 pixels, four tokens each, with a thumbnail."""
    return AutoProcessor.from_pretrained(golden_root() / "chat_qwen2")


def searching_model(processor, version: str):
    """A model whose last position looks at bright cells alone.

    The tower hands on the brightness of patches, the projector writes it into the first number of an image token, and
    one layer of attention asks for that number: in the pair of dimensions that rotary positions turn least.
    """
    model = tiny_model(
        ps_version=version,
        image_token_id=processor.image_token_id,
        text={
            "num_hidden_layers": 1,
            "vocab_size": len(processor.tokenizer) + IMAGE_TOKEN,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e16},
        },
        vision={"num_hidden_layers": 1, "use_absolute_position_embeddings": True},
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        tower, projector = model.model.vision_tower, model.model.multi_modal_projector
        tower.embeddings.patch_embeddings.projection.weight[0] = 1 / (3 * 14 * 14)
        tower.embeddings.patch_embeddings.projection.bias[0] = 2.0  # black is 0
        tower.embeddings.patch_embeddings.projection.bias[1] = 1.0
        width = model.config.vision_config.hidden_size
        projector.layer_norm.weight.fill_(1.0)
        projector.linear_1.weight[0, [0, width, 2 * width, 3 * width]] = 1.0  # the four patches of a token
        projector.linear_2.weight[0, 0] = 1.0
        projector.linear_2.bias[1] = 1.0
        (layer,) = model.model.language_model.layers
        layer.input_layernorm.weight.fill_(1.0)
        model.get_input_embeddings().weight[:, 2] = 1.0
        last = layer.self_attn.head_dim - 1
        for head in range(model.config.text_config.num_attention_heads):
            layer.self_attn.q_proj.bias[head * (last + 1) + last] = 12.0
        for head in range(model.config.text_config.num_key_value_heads):
            layer.self_attn.k_proj.weight[head * (last + 1) + last, 0] = 4.0
    return model


def asked(*images):
    content = [{"type": "image", "image": image} for image in images]
    return [{"role": "user", "content": [*content, {"type": "text", "text": "Where?"}]}]


def dark_with_a_bright_cell(columns, rows, column, row):
    image = Image.new("RGB", (columns * TILE, rows * TILE), "black")
    image.paste("white", (column * CELL, row * CELL, (column + 1) * CELL, (row + 1) * CELL))
    return image


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_bright_cell_is_found_where_it_is(processor, version):
    """Every cell of grids of 3 x 2 and 1 x 2 tiles; the thumbnail shows the same place."""
    model = searching_model(processor, version)
    for columns, rows in ((3, 2), (1, 2)):
        for row in range(rows * SIDE):
            for column in range(columns * SIDE):
                image = dark_with_a_bright_cell(columns, rows, column, row)
                answer = explain_answer(model, processor, asked(image), max_new_tokens=1, do_sample=False)
                (seen,) = answer.images
                assert seen.grid == (columns, rows) and seen.box == (0, 0, *image.size)
                assert seen.tiles.shape == (1, rows * SIDE, columns * SIDE) and seen.thumbnail.shape == (1, SIDE, SIDE)
                assert divmod(seen.tiles[0].argmax().item(), columns * SIDE) == (row, column)
                assert seen.tiles[0].max() > 0.5 and 0 < seen.share[0] < 1 + 1e-5
                place = divmod(seen.thumbnail[0].argmax().item(), SIDE)
                assert place == (row // rows, column // columns)
                assert divmod(seen.joined[0].argmax().item(), columns * SIDE) == (row, column)


def test_each_of_several_images_has_its_own_maps(processor):
    model = searching_model(processor, "v2")
    images = [Image.new("RGB", (TILE, TILE), "black"), dark_with_a_bright_cell(2, 1, 3, 0)]
    answer = explain_answer(model, processor, asked(*images), max_new_tokens=1, do_sample=False)
    plain, bright = answer.images
    assert plain.grid == (1, 1) and plain.thumbnail is None and torch.equal(plain.joined, plain.tiles)
    assert divmod(bright.tiles[0].argmax().item(), 2 * SIDE) == (0, 3)
    assert bright.share[0] > 2 * plain.share[0]


def test_a_video_has_a_map_for_each_frame_in_the_order_of_the_prompt(processor, tmp_path):
    model = searching_model(processor, "v2")
    frames = [Image.new("RGB", (TILE, TILE), "black") for _ in range(4)]
    frames[2].paste("white", (CELL, 0, TILE, CELL))
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames):
        frame.save(folder / f"{number}.png")
    content = [{"type": "image", "image": frames[0]}, {"type": "video", "path": str(folder)}]
    content += [{"type": "image", "image": Image.new("RGB", (2 * TILE, TILE))}, {"type": "text", "text": "Where?"}]
    messages = [{"role": "user", "content": content}]
    answer = explain_answer(model, processor, messages, max_new_tokens=1, do_sample=False)
    assert [image.grid for image in answer.images] == [(1, 1)] * 5 + [(2, 1)]
    assert answer.images[3].image.tobytes() == frames[2].tobytes()
    shares = torch.stack([image.share[0] for image in answer.images])
    assert shares.argmax() == 3 and shares[3] > 0.9
    assert divmod(answer.images[3].tiles[0].argmax().item(), SIDE) == (0, 1)
    assert answer.boxes == []


def test_a_padded_image_says_what_its_maps_cover(processor):
    model = searching_model(processor, "v2")
    wide = Image.new("RGB", (2 * TILE, TILE), "black")
    wide.paste("white", (TILE, 0, 2 * TILE, TILE))  # the right half, in the middle of the square's height
    padded = {"pad2square": True, "crop_to_patches": False}
    settings = processor.image_processor
    before = {name: getattr(settings, name) for name in padded}
    for name, value in padded.items():
        setattr(settings, name, value)
    try:
        answer = explain_answer(model, processor, asked(wide), max_new_tokens=1, do_sample=False)
    finally:
        for name, value in before.items():
            setattr(settings, name, value)
    (seen,) = answer.images
    assert seen.box == (0, -TILE // 2, 2 * TILE, TILE + TILE // 2) and seen.thumbnail is None
    left, right = seen.tiles[0].sum(0)
    assert right > 1.2 * left  # the padding is gray, too


def test_maps_of_numbered_tokens():
    values = torch.arange(7 * 4).float()[None]  # 3 x 2 tiles and a thumbnail, 2 x 2 tokens each
    tiles, thumbnail = split_maps(values, 3, 2, thumbnail=True)
    assert tiles[0].int().tolist() == [
        [0, 1, 4, 5, 8, 9],
        [2, 3, 6, 7, 10, 11],
        [12, 13, 16, 17, 20, 21],
        [14, 15, 18, 19, 22, 23],
    ]
    assert thumbnail[0].int().tolist() == [[24, 25], [26, 27]]
    swapped, _ = split_maps(values, 3, 2, thumbnail=True, version="v1")
    assert swapped[0, :2, :2].int().tolist() == [[0, 2], [1, 3]]
    with pytest.raises(ValueError, match=r"7 tiles x a square number of tokens.*got \(1, 27\)"):
        split_maps(values[:, 1:], 3, 2, thumbnail=True)


KINDS = ["chat_qwen2", "chat_gpt_oss", "chat_internlm2", "chat_phi3", "chat_flash", "mono_internvl"]


@pytest.mark.parametrize(("kind", "stride"), [*((kind, None) for kind in KINDS), ("v2pe", 0.25)])
def test_attention_of_the_answer_is_that_of_a_run_with_eager_attention(kind, stride):
    folder = golden_root() / kind
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    chosen = model.model.language_model.config._attn_implementation
    image = Image.linear_gradient("L").resize((120, 90)).convert("RGB")
    options = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False, "v2pe_stride": stride}
    limit = {"max_patches": 2}
    answer = explain_answer(model, processor, asked(image), processor_kwargs=limit, layers=[0], **options)
    assert model.model.language_model.config._attn_implementation == chosen

    model.set_attn_implementation("eager")
    inputs = processor.apply_chat_template(
        asked(image),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs=limit,
    )
    ids = torch.cat([inputs["input_ids"], answer.token_ids[None]], dim=1)
    whole = model(input_ids=ids, pixel_values=inputs["pixel_values"], output_attentions=True, v2pe_stride=stride)
    start = inputs["input_ids"].shape[1] - 1
    chances = whole.logits[0, start:-1].softmax(-1)
    expected = chances.gather(1, answer.token_ids[:, None])[:, 0]
    torch.testing.assert_close(answer.probabilities, expected, rtol=1e-3, atol=1e-5)
    images = ids[0] == processor.image_token_id
    rows = whole.attentions[0][0].mean(0)[start:-1, images[: ids.shape[1]]]
    (seen,) = answer.images
    torch.testing.assert_close(seen.share, rows.sum(1), rtol=1e-3, atol=1e-5)
    n = processor.image_seq_length
    side = round(n**0.5)
    order = torch.arange(n).view(side, side)
    order = order.T.flatten() if model.config.ps_version == "v1" else order.flatten()
    torch.testing.assert_close(seen.tiles[:, :side, :side].flatten(1)[:, order], rows[:, :n], rtol=1e-3, atol=1e-5)


def test_adapters_and_kept_prefixes_change_nothing_but_what_they_should():
    folder = golden_root() / "chat_qwen2"
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    image = Image.linear_gradient("L").resize((120, 90)).convert("RGB")

    def tiles_of(model):
        options = {"max_new_tokens": 2, "do_sample": False, "processor_kwargs": {"max_patches": 2}}
        return explain_answer(model, processor, asked(image), **options).images[0].tiles

    plain = tiles_of(model)
    model.keep_prefixes()
    torch.testing.assert_close(tiles_of(model), plain)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "k_proj"], task_type="CAUSAL_LM"))
    torch.testing.assert_close(tiles_of(adapted.eval()), plain)  # B is zero
    assert not torch.allclose(tiles_of(shaken(adapted)), plain)


def test_what_is_refused(processor):
    model = tiny_model(image_token_id=processor.image_token_id, text={"vocab_size": 700})
    image = Image.new("RGB", (TILE, TILE))

    def refused(message, messages=None, using=processor, **options):
        with pytest.raises(ValueError, match=message):
            explain_answer(model, using, messages or asked(image), max_new_tokens=1, **options)

    refused("Expected one conversation with an image or a video, got 1 with 0 images and 0 videos", asked())
    refused(r"`layers` are whole numbers from -2 to 1, got 2\.", layers=[0, 2])
    refused(r"`heads` are whole numbers from -4 to 3, got none\.", heads=[])
    refused("`num_beams` must be 1", num_beams=2)
    other = copy.copy(processor)
    other.image_processor = object()
    refused("got an image processor of type object", using=other)
    assert model.model.language_model.config._attn_implementation == "sdpa"
