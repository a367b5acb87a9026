# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Batches: what they hold, that packed samples stay apart on every backend, and what is refused."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from tests.tiny import IMAGE_TOKEN, TOKENS_PER_TILE, tiny_model
from transformers_internvl.modeling.losses import IGNORE_INDEX
from transformers_internvl.training.data.collation import PackingCollator, PaddingCollator, as_piece, take_piece
from transformers_internvl.training.data.packing import Image

START, END = 2, 3


def sample(tiles=(), prompt=4, answer=5, seed=0, flags=None):
    """Images after the first token, then the rest of the prompt, then an answer."""
    generator = torch.Generator().manual_seed(seed)
    images = [token for count in tiles for token in (START, *[IMAGE_TOKEN] * (TOKENS_PER_TILE * count), END)]
    text = torch.randint(4, 99, (prompt + answer,), generator=generator).tolist()
    ids = torch.tensor([text[0], *images, *text[1:]])
    labels = ids.clone()
    labels[: len(ids) - answer] = IGNORE_INDEX
    data = {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}
    if tiles:
        data["pixel_values"] = torch.randn(sum(tiles), 3, 56, 56, generator=generator)
    return data


SAMPLES = [sample((1,)), sample((2, 1), seed=1, answer=7), sample(seed=2, prompt=9), sample((1,), seed=3, answer=2)]


def test_what_a_packed_batch_holds():
    one, two = sample((1,), prompt=2, answer=4), sample(prompt=1, answer=3)
    two["labels"][0] = two["input_ids"][0]  # as in pre-training
    batch = PackingCollator("sample", pad_token_id=9, pad_to_tokens=20, pad_to_tiles=2, return_statistics=True)(
        [[one, two]]
    )
    first, second = len(one["input_ids"]), len(two["input_ids"])
    padding = 20 - first - second
    assert batch["input_ids"].tolist() == [one["input_ids"].tolist() + two["input_ids"].tolist() + [9] * padding]
    assert batch["position_ids"].tolist() == [[*range(first), *range(second), *[0] * padding]]
    assert batch["labels"][0, first] == IGNORE_INDEX  # the boundary, which the other sample would predict
    weights = [0.0] * (first - 4) + [0.25] * 4 + [0.0] + [1 / 3] * 3 + [0.0] * padding
    assert torch.equal(batch["loss_weight"], torch.tensor([weights]))
    assert batch["image_flags"].tolist() == [1, 0] and not batch["pixel_values"][1].any()
    assert batch["statistics"].tolist() == [2, padding, 1]
    assert batch["cu_seqlens"].tolist() == [0, first, first + second, 20]
    assert "attention_mask" not in batch


def test_packs_of_a_batch_become_one_row():
    collate = PackingCollator()
    joined, apart = collate([SAMPLES[:2], SAMPLES[2:]]), collate(SAMPLES)
    assert all(torch.equal(joined[name], apart[name]) for name in joined) and len(joined["input_ids"]) == 1
    assert "pixel_values" not in collate([[SAMPLES[2]]]) and "loss_weight" not in PackingCollator(None)(SAMPLES)


def test_pieces():
    data = sample((2, 1), prompt=4, answer=5)
    piece = as_piece(data, "k", START, END)
    assert piece.images == (Image(1, 11, 2), Image(11, 17, 1)) and piece.labelled == ((20, 25),)
    assert (piece.tokens, piece.tiles, piece.supervised) == (25, 3, 5)
    left, right = piece.split(11, 11)
    assert torch.equal(take_piece(data, left)["pixel_values"], data["pixel_values"][:2])
    part = take_piece(data, right)
    assert torch.equal(part["pixel_values"], data["pixel_values"][2:])
    assert part["position_ids"].tolist() == list(range(11, 25))
    assert "pixel_values" not in take_piece(data, piece.split(1, 1)[0])
    with pytest.raises(ValueError, match=r"Sample 'k' has 4 tiles, but \[8, 4\] image tokens"):
        as_piece({**data, "pixel_values": torch.zeros(4, 3, 56, 56)}, "k", START, END)


def logits_of(model, samples):
    return model(**PackingCollator()([samples]), skip_logits=False).logits[0]


@pytest.mark.parametrize("attention", ["eager", "sdpa", "flex_attention"])
def test_packed_equals_separate(attention):
    model = tiny_model().train()
    model.set_attn_implementation({"text_config": attention, "vision_config": "sdpa"})
    # Compiling flex attention takes a minute; its eager form computes the same.
    stance = torch.compiler.set_stance("force_eager") if attention == "flex_attention" else nullcontext()
    with stance, torch.no_grad():
        packed = logits_of(model, SAMPLES)
        alone = [logits_of(model, [one]) for one in SAMPLES]
        changed = logits_of(model, [SAMPLES[0], sample((2, 1), seed=9, answer=7), *SAMPLES[2:]])
    torch.testing.assert_close(packed, torch.cat(alone), rtol=0, atol=1e-5)
    lengths = [len(one) for one in alone]
    same = [
        torch.allclose(a, b, rtol=0, atol=1e-6)
        for a, b in zip(packed.split(lengths), changed.split(lengths), strict=True)
    ]
    assert same == [True, False, True, True]


def gradients_of(model, samples):
    model.zero_grad()
    batch = PackingCollator("square")(samples)
    model(**batch).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}, batch["loss_weight"][
        :, 1:
    ].sum()


@pytest.mark.parametrize("how", ["plain", "checkpointing", "lora"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_gradients_are_those_of_the_samples(attention, how):
    model = tiny_model().train()
    model.set_attn_implementation(attention)
    if how == "lora":
        import peft

        config = peft.LoraConfig(target_modules=r".*language_model.*[qv]_proj", init_lora_weights=False)
        model = peft.get_peft_model(model, config)
    if how == "checkpointing":
        model.gradient_checkpointing_enable()
    packed, total = gradients_of(model, SAMPLES)
    alone = [gradients_of(model, [one]) for one in SAMPLES]
    assert packed and all(gradient.abs().sum() > 0 for name, gradient in packed.items() if "lm_head" in name)
    for name, gradient in packed.items():
        expected = sum(part[name] * weight for part, weight in alone) / total
        torch.testing.assert_close(
            gradient, expected, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name} {text}"
        )


def test_padding_collator():
    batch = PaddingCollator(7, pad_to_multiple_of=8, reduction="token")([SAMPLES[0], SAMPLES[2]])
    assert batch["input_ids"].shape == (2, 16) and batch["input_ids"][1, -1] == 7 == batch["input_ids"][0, -1]
    assert batch["attention_mask"].sum(-1).tolist() == [len(SAMPLES[0]["input_ids"]), len(SAMPLES[2]["input_ids"])]
    assert (batch["labels"][:, -1] == IGNORE_INDEX).all() and batch["loss_weight"].sum() == 10
    assert len(batch["pixel_values"]) == 1
    assert "pixel_values" not in PaddingCollator(0)([SAMPLES[2]])


def test_padded_and_packed_batches_give_one_loss():
    model = tiny_model().train()
    with torch.no_grad():
        padded = model(**PaddingCollator(0, reduction="square")(SAMPLES)).loss
        packed = model(**PackingCollator("square")(SAMPLES)).loss
    torch.testing.assert_close(padded, packed, rtol=0, atol=1e-5)


@pytest.mark.parametrize("collate", [PackingCollator(), PaddingCollator(0)])
def test_samples_that_were_left_out(collate):
    with_gap, without = collate([None, SAMPLES[0]]), collate([SAMPLES[0]])
    assert all(torch.equal(with_gap[name], without[name]) for name in without)
    with pytest.raises(ValueError, match="All 2 samples of the batch were left out"):
        collate([None, None])


def test_refused():
    with pytest.raises(ValueError, match="`reduction` is one of"):
        PackingCollator("mean")
    with pytest.raises(ValueError, match="more than the 10 that it is padded to"):
        PackingCollator(pad_to_tokens=10)(SAMPLES)
    with pytest.raises(ValueError, match="5 tiles, more than the 2"):
        PackingCollator(pad_to_tiles=2)(SAMPLES)


@pytest.mark.parametrize("reduction, power", [("token", 0), ("square", -0.5), ("sample", -1)])
def test_weights_are_powers_of_the_number_of_labels_to_the_last_bit(reduction, power):
    """In double precision first, as the original `len2weight`; the label of the first token is not counted."""
    counts = [*range(1, 400), 4999, 5000, 5001]
    for count in counts:
        labels = torch.cat([torch.tensor([7]), torch.full((count,), 7)])
        batch = PackingCollator(reduction)([{"input_ids": labels, "labels": labels}])
        weights = batch["loss_weight"][0].tolist()
        assert weights == [0.0] + [float(np.float32(count**power))] * count, count
    assert PackingCollator() == PackingCollator("square")


def test_a_part_of_a_sample_keeps_positions_and_flags():
    data = sample((1, 2, 1), prompt=3, answer=4)
    data["image_flags"] = torch.tensor([1, 0, 1, 1])
    piece = as_piece(data, "k", START, END)
    (_, second), (_, last) = piece.split(1, 7), piece.split(7, 17)
    part = take_piece(data, second)
    assert torch.equal(part["image_flags"], torch.tensor([0, 1, 1]))
    assert torch.equal(part["pixel_values"], data["pixel_values"][1:])
    other = sample((1,), seed=5)
    batch = PackingCollator(return_statistics=True)([[part, other]])
    assert batch["position_ids"][0, :2].tolist() == [7, 8] and batch["position_ids"][0, piece.tokens - 7] == 0
    assert batch["image_flags"].tolist() == [0, 1, 1, 1]
    assert torch.equal(batch["pixel_values"], torch.cat([data["pixel_values"][1:], other["pixel_values"]]))
    assert batch["statistics"].tolist() == [2, 0, 1]
    assert take_piece(data, last)["image_flags"].tolist() == [1]


def test_limits_that_are_just_met_add_nothing():
    tokens, tiles = sum(len(one["input_ids"]) for one in SAMPLES), sum(len(s.get("pixel_values", ())) for s in SAMPLES)
    plain = PackingCollator(return_statistics=True)(SAMPLES)
    met = PackingCollator(pad_to_tokens=tokens, pad_to_tiles=tiles, return_statistics=True)(SAMPLES)
    assert all(torch.equal(plain[name], met[name]) for name in plain) and plain.keys() == met.keys()
    assert plain["cu_seqlens"].tolist() == [0, *torch.tensor([len(s["input_ids"]) for s in SAMPLES]).cumsum(0)]
    assert plain["statistics"].tolist() == [4, 0, 0]
    one_less = ({"pad_to_tokens": tokens - 1}, {"pad_to_tiles": tiles - 1})
    for limit in one_less:
        with pytest.raises(ValueError, match="more than the"):
            PackingCollator(**limit)(SAMPLES)


def test_rows_are_padded_each_to_its_own():
    one, two = sample((1,), prompt=2, answer=4), sample((2,), prompt=1, answer=3, seed=1)
    batch = PaddingCollator(9, reduction="square")([one, None, two])
    length = max(len(one["input_ids"]), len(two["input_ids"]))
    for row, data in enumerate((one, two)):
        own = len(data["input_ids"])
        assert batch["input_ids"][row].tolist() == data["input_ids"].tolist() + [9] * (length - own)
        assert batch["labels"][row].tolist() == data["labels"].tolist() + [IGNORE_INDEX] * (length - own)
        assert batch["attention_mask"][row].tolist() == [1] * own + [0] * (length - own)
    assert torch.equal(batch["pixel_values"], torch.cat([one["pixel_values"], two["pixel_values"]]))
    assert batch["loss_weight"].sum(1).tolist() == pytest.approx([4**0.5, 3**0.5])
    assert "loss_weight" not in PaddingCollator(9)([one]) and batch["input_ids"].shape == (2, length)


def test_nothing_labelled_weighs_nothing():
    data = sample((1,))
    data["labels"] = torch.full_like(data["labels"], IGNORE_INDEX)
    model = tiny_model().train()
    for collator in (PackingCollator(), PaddingCollator(0, reduction="square"), PaddingCollator(0)):
        loss = model(**collator([data])).loss
        assert loss.item() == 0.0  # and no NaN
        loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_tiles_that_do_not_fit_the_tokens(count):
    data = sample((2, 1))
    with pytest.raises(ValueError, match="tiles, but .* image tokens between"):
        as_piece({**data, "pixel_values": torch.zeros(count, 3, 56, 56)}, "k", START, END)
    first = (data["input_ids"] == IMAGE_TOKEN).nonzero()[0].item()
    shorter = {name: torch.cat([data[name][:first], data[name][first + 1 :]]) for name in ("input_ids", "labels")}
    with pytest.raises(ValueError, match=r"image tokens between"):
        as_piece({**shorter, "pixel_values": data["pixel_values"]}, "k", START, END)
