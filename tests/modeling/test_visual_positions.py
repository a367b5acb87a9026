# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""V2PE: positions by hand, batches and packs like single rows, answers with and without cache, refused strides."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor

from tests.parity.golden import golden_root
from tests.tiny import IMAGE_TOKEN, TOKENS_PER_TILE, tiny_batch, tiny_config, tiny_model
from transformers_internvl import InternVLForConditionalGeneration, nano_path
from transformers_internvl.modeling.internvl.visual_positions import (
    TILE_STEPS,
    ImageRuns,
    check_stride,
    is_off,
    stride_of_call,
    stride_of_tile_steps,
    visual_positions,
)
from transformers_internvl.modeling.pretrained.packed_masks import packed_masks, sample_numbers

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
GREEDY = {
    "max_new_tokens": 6,
    "min_new_tokens": 6,
    "do_sample": False,
    "pad_token_id": 0,
    "suppress_tokens": [IMAGE_TOKEN],
}
# Language models that make their masks in different ways.
TEXTS = {
    "qwen2": {},
    "llama": {"model_type": "llama"},
    "sliding": {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0},
    "gpt_oss": {"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
}


def marked(*rows):
    """`x` is text, `i` an image token."""
    return torch.tensor([[sign == "i" for sign in row] for row in rows])


def test_positions_by_hand():
    found = visual_positions(marked("xxiiiix", "xiixiix"), 0.25, 4)
    assert found.dtype == torch.float32
    assert found.tolist() == [[0, 1, 1.25, 1.5, 1.75, 2, 3], [0, 0.25, 0.5, 2, 2.25, 2.5, 4]]
    assert visual_positions(marked("iixiix"), 2.0, 4).tolist() == [[1, 3, 4, 6, 8, 9]]  # nothing in front of an image
    each = torch.tensor([0.5, 1.0, 0.25])
    assert visual_positions(marked("xiixiix", "xxxxxii"), each, 4).tolist() == [
        [0, 0.5, 1, 2, 3, 4, 5],
        [0, 1, 2, 3, 4, 4.25, 4.5],
    ]


def test_padding_does_not_count():
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    found = visual_positions(marked("xxxiix", "xiixxx"), 0.5, 4, attention_mask=mask)
    assert found.tolist() == [[1, 1, 0, 0.5, 1, 2], [0, 0.5, 1, 2, 1, 1]]


def test_samples_of_a_pack_begin_at_zero():
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 0, 1]])
    found = visual_positions(marked("xiixxiiix"), 0.5, 4, position_ids=positions)
    assert found.tolist() == [[0, 0.5, 1, 2, 0, 0.5, 1, -0.5, 1]]  # the last sample begins within an image
    found = visual_positions(marked("xiixxiixx"), 0.5, 4, position_ids=positions)
    assert found.tolist() == [[0, 0.5, 1, 2, 0, 0.5, 1, 0, 1]]
    assert sample_numbers(found).tolist() == [[0, 0, 0, 0, 1, 1, 1, 2, 2]]
    assert sample_numbers(found[:, :4]) is None
    assert sample_numbers(positions).tolist() == sample_numbers(positions.float()).tolist()


@pytest.mark.parametrize(
    "name, attention",
    [
        (name, attention)
        for name in TEXTS
        for attention in ("eager", "sdpa")
        if (name, attention) != ("gpt_oss", "sdpa")
    ],
)  # which upstream's GPT-OSS has not
def test_packs_and_rows_without_a_mask_are_like_masked_rows(name, attention):
    """The trap: transformers takes every step other than 1 for the beginning of a sample."""
    model = tiny_model(text=TEXTS[name])
    model.set_attn_implementation(attention)
    batch = tiny_batch([1, 2], length=14)
    rows, pixels = batch["input_ids"], batch["pixel_values"].split([1, 2])
    single = []
    for ids, tiles in zip(rows, pixels, strict=True):
        call = {"input_ids": ids[None], "pixel_values": tiles, "v2pe_stride": 0.25}
        with torch.no_grad():
            masked = model(**call, attention_mask=torch.ones_like(ids[None])).logits
            for options in ({}, {"use_cache": False}):
                torch.testing.assert_close(model(**call, **options).logits, masked, **CLOSE)
        single.append(masked)
    pack = {"input_ids": rows.reshape(1, -1), "pixel_values": batch["pixel_values"]}
    positions = torch.arange(14).repeat(2)[None]
    with torch.no_grad():
        packed = model(**pack, position_ids=positions, v2pe_stride=0.25).logits
        together = model(**batch, v2pe_stride=0.25).logits
    torch.testing.assert_close(packed, torch.cat(single, dim=1), **CLOSE)
    torch.testing.assert_close(together, torch.cat(single), **CLOSE)
    with torch.no_grad():
        assert (model(**batch).logits - together).abs().max() > 1e-3


def test_an_image_behind_a_cache_is_refused_under_flash_attention():
    model, batch = tiny_model(), tiny_batch([1])
    config, embeds = model.config.text_config, torch.zeros(1, 3, 32)
    with torch.no_grad():
        cache = model(**batch, use_cache=True).cache
    calls = ((torch.tensor([[20.0, 20.25, 20.5]]), cache), (torch.tensor([[20.0, 21.0, 22.0]]), cache))
    assert all(packed_masks(config, embeds, None, positions, kept, {}) is None for positions, kept in calls)
    config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="what a cache holds"):
        packed_masks(config, embeds, None, *calls[0], {})
    assert packed_masks(config, embeds, None, *calls[1], {}) is None
    assert packed_masks(config, embeds, None, calls[0][0], None, {}) is None


def padded(batch, count=3):
    """The first row with padding in front, where the second has three tokens more."""
    ids = batch["input_ids"].clone()
    mask = torch.ones_like(ids)
    ids[0], mask[0, :count] = torch.cat([ids[0].new_zeros(count), ids[0, :-count]]), 0
    return {**batch, "input_ids": ids, "attention_mask": mask}


def answers(model, batch, **options):
    found = model.generate(**batch, **GREEDY, v2pe_stride=0.25, **options)
    return found[:, batch["input_ids"].shape[1] :]


def test_answers_of_a_batch_are_those_of_single_rows_in_every_way_of_generating():
    model = tiny_model()
    batch = padded(tiny_batch([1, 2]))
    together = answers(model, batch)
    tiles = batch["pixel_values"].split([1, 2])
    for row, own in enumerate(tiles):
        real = batch["attention_mask"][row].bool()
        alone = {"input_ids": batch["input_ids"][row][real][None], "pixel_values": own}
        wanted = together[row : row + 1]
        for options in (
            {},
            {"use_cache": False},
            {"cache_implementation": "static", "disable_compile": True},
            {"prompt_lookup_num_tokens": 3},
            {"prefill_chunk_size": 7},
        ):
            assert torch.equal(answers(model, alone, **options), wanted), options
        # Step by step without a cache, over the whole sequence with its positions.
        ids = alone["input_ids"]
        placeholders = ids == IMAGE_TOKEN
        for _ in range(6):
            count = ids.shape[1] - placeholders.shape[1]
            seen = torch.nn.functional.pad(placeholders, (0, count))
            positions = visual_positions(seen, 0.25, TOKENS_PER_TILE)
            with torch.no_grad():
                logits = model(input_ids=ids, pixel_values=own, position_ids=positions, use_cache=False).logits
            logits[..., [0, IMAGE_TOKEN]] = float("-inf")  # the end token, and what `suppress_tokens` names
            ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
        assert torch.equal(ids[:, -6:], wanted)
    beams = answers(model, batch, num_beams=2, num_return_sequences=2)
    assert beams.shape == (4, 6)


def test_answers_from_embeddings():
    model, batch = tiny_model(), tiny_batch([1])
    embeds = model.get_input_embeddings()(batch["input_ids"])
    wanted = answers(model, batch)
    found = model.generate(
        inputs_embeds=embeds,
        attention_mask=batch["attention_mask"],
        pixel_values=batch["pixel_values"],
        **GREEDY,
        v2pe_stride=0.25,
    )
    assert torch.equal(found[:, -6:], wanted)


def test_training_goes_by_the_configuration(monkeypatch):
    fixed = tiny_model(rope_pos_id_version="v2pe_fix", rope_pos_id_stride=2)
    plain = tiny_model()
    batch = tiny_batch([1, 2])
    labels = batch["input_ids"].masked_fill(batch["input_ids"] == IMAGE_TOKEN, -100)
    with torch.no_grad():
        wanted = plain(**batch, labels=labels, v2pe_stride=2 / TOKENS_PER_TILE).loss
        assert (wanted - plain(**batch, labels=labels).loss).abs() > 1e-4
        for mode in (True, False):
            assert torch.allclose(fixed.train(mode)(**batch, labels=labels).loss, wanted, atol=1e-5)
        drawn = tiny_model(rope_pos_id_version="v2pe_rnd")
        assert torch.allclose(drawn.eval()(**batch, labels=labels).loss, plain(**batch, labels=labels).loss, atol=1e-6)
        steps = torch.tensor([2, 8])
        monkeypatch.setattr(ImageRuns, "draw", lambda self: steps)
        wanted = plain(**batch, labels=labels, v2pe_stride=steps / TOKENS_PER_TILE).loss
        assert torch.allclose(drawn.train()(**batch, labels=labels).loss, wanted, atol=1e-5)


def test_strides_are_drawn_for_every_image():
    torch.manual_seed(0)
    runs = ImageRuns.of(marked("xix" * 300))
    drawn = runs.draw()
    assert drawn.shape == (300,) and set(drawn.tolist()) == set(TILE_STEPS)
    counts = torch.stack([(drawn == steps).sum() for steps in TILE_STEPS])
    assert counts.min() > 15 and counts.max() < 60  # 33 expected of each
    positions = visual_positions(marked("xiix"), "random", 2)
    assert positions[0, 1] * 2 in TILE_STEPS


def test_64_frames_in_the_range_of_few_positions():
    processor = AutoProcessor.from_pretrained(nano_path())
    model = InternVLForConditionalGeneration.from_pretrained(nano_path())
    frames = torch.randint(0, 255, (64, 3, 32, 32), dtype=torch.uint8).numpy().transpose(0, 2, 3, 1)
    chat = [{"role": "user", "content": [{"type": "video", "video": frames}, {"type": "text", "text": "What?"}]}]
    inputs = processor.apply_chat_template(
        chat,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"do_sample_frames": False},
    )
    placeholders = inputs["input_ids"] == model.config.image_token_id
    tokens = processor.image_seq_length
    assert int(placeholders.sum()) == 64 * tokens
    positions = visual_positions(placeholders, 1 / tokens, tokens)
    others = int((~placeholders).sum())
    assert positions.max() + 1 == others + 64 < placeholders.shape[1]
    options = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    found = model.generate(**inputs, **options, v2pe_stride=1 / tokens, return_dict_in_generate=True)
    assert found.sequences.shape[1] == placeholders.shape[1] + 3


def test_compressed_tiles_take_fractional_steps_too():
    """InternVL3.5-Flash: positions are counted over what compression leaves."""
    from transformers import AutoModel

    folder = golden_root() / "chat_flash"
    model, pixels = AutoModel.from_pretrained(folder).eval(), load_file(folder / "inputs.safetensors")["pixel_values"]
    token, tiles = model.config.image_token_id, 4
    row = torch.tensor([[5, 6, *[token] * (model.num_image_token * tiles), 7, 8]])
    call = {"input_ids": row, "pixel_values": pixels[:tiles], "v2pe_stride": 0.25}
    answer = model.generate(**call, max_new_tokens=1, do_sample=False, return_dict_in_generate=True)
    compressed = answer["compressed_tiles"]
    assert compressed.any() and not compressed.all()
    with torch.no_grad():
        logits = model(**call, compressed_tiles=compressed).logits
        assert logits.shape[1] < row.shape[1] and logits[0, -1].argmax() == answer.sequences[0, -1]
        positions = visual_positions(row == token, 0.25, model.num_image_token)
        given = {"input_ids": row, "pixel_values": pixels[:tiles], "position_ids": positions}
        with pytest.raises(ValueError, match="counted over whole ones"):
            model(**given, compressed_tiles=compressed)


def test_conversations_take_the_stride():
    from transformers import AutoModel, AutoTokenizer

    folder = golden_root() / "chat_qwen2"
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    pixels = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    options = {"max_new_tokens": 6, "min_new_tokens": 6}
    said = {}
    for stride in (None, 1, 0.25):
        said[stride] = model.chat(tokenizer, pixels, "What?", options, v2pe_stride=stride)
    assert said[None] == said[1] != said[0.25]
    steps = model.num_image_token // 4
    given = {"rope_pos_id_version": "v2pe_fix", "rope_pos_id_stride": steps}
    assert model.chat(tokenizer, pixels, "What?", options, **given) == said[0.25]
    assert model.chat(tokenizer, pixels, "What?", {**options, "v2pe_stride": 0.25}) == said[0.25]
    both = model.batch_chat(tokenizer, pixels, ["What?", "Who?"], options, [1, 1], v2pe_stride=0.25)
    alone = [
        model.chat(tokenizer, pixels[i : i + 1], q, options, v2pe_stride=0.25) for i, q in enumerate(("What?", "Who?"))
    ]
    assert both == alone


@pytest.mark.parametrize("stride", [0, -1, 0.3, 3, 512, 2.0**-9, True, "a", float("nan"), float("inf")])
def test_strides_that_are_no_power_of_two_are_refused(stride):
    with pytest.raises(ValueError, match="power of two|is a number"):
        check_stride(stride) if stride != "a" else visual_positions(marked("xi"), stride, 4)
    if stride != "a":
        with pytest.raises(ValueError, match="power of two"):
            tiny_model().generate(**tiny_batch([1]), v2pe_stride=stride, max_new_tokens=1)


def test_what_else_is_refused():
    model, batch = tiny_model(), tiny_batch([1])
    positions = torch.arange(20.0)[None]
    for call, message in (
        (lambda: model(**batch, v2pe_stride=0.5, position_ids=positions), "leave out `position_ids`"),
        (lambda: model.generate(**batch, v2pe_stride=0.5, position_ids=positions), "leave out `position_ids`"),
        (lambda: visual_positions(marked("xi"), torch.tensor([0.5, 0.5]), 4), "each of 1 images"),
        (lambda: visual_positions(marked("xi"), 0.5, 4, torch.ones(1, 3)), "must be"),
        (lambda: stride_of_tile_steps(3, 256), "1, 2, 4"),
        (lambda: stride_of_tile_steps(4, 9), "power of two of image tokens"),
        (lambda: stride_of_call(model.config, 0.5, "v2pe_fix", 4), "give one"),
        (lambda: stride_of_call(model.config, None, "v2pe", 4), "is one of default"),
        (lambda: stride_of_call(model.config, None, "v2pe_fix"), "needs `rope_pos_id_stride`"),
        (lambda: tiny_config(rope_pos_id_version="other"), "is one of default"),
        (lambda: tiny_config(rope_pos_id_version="v2pe_fix"), "needs `rope_pos_id_stride`"),
        (lambda: tiny_config(rope_pos_id_version="v2pe_rnd", rope_pos_id_stride=5), "1, 2, 4"),
        (lambda: tiny_config(img_emb_down_sample_ratio=4), "not pooled"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert is_off(None) and is_off(1) and is_off(1.0) and not is_off(0.5) and not is_off("random")
    with torch.no_grad():
        cache = model(**batch, use_cache=True).cache
        with pytest.raises(ValueError, match="what a cache holds"):
            model(input_ids=batch["input_ids"][:, -1:], cache=cache, v2pe_stride=0.5)
