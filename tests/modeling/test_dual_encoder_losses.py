# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The dual encoder's losses and sizes at their bounds: odd batches, empty captions, captions that are the same."""

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from tests.tiny_dual_encoder import PAD, images, texts
from tests.tiny_dual_encoder import tiny_dual_config as tiny_config
from tests.tiny_dual_encoder import tiny_dual_encoder as tiny_model
from transformers_internvl import (
    InternVLDualEncoderForPreTraining,
    InternVLDualEncoderModel,
    InternVLDualEncoderTextModel,
)
from transformers_internvl.modeling.dual_encoder.losses import contrastive_loss, draw_hard_negatives


def batch_of(*lengths: int) -> dict[str, torch.Tensor]:
    """Pairs with captions of so many tokens, begin and end among them, and other captions as negatives."""
    captions = texts(*lengths)
    others = torch.roll(captions, 1, dims=0)
    batch = {"pixel_values": images(len(lengths)), "labels": captions.masked_fill(captions == PAD, -100)}
    for name, ids in (("", captions), ("summarize_", captions), ("positive_", captions), ("negative_", others)):
        batch[f"{name}input_ids"] = ids
        batch[f"{name}attention_mask"] = (ids > 0).long()
    return batch


def parts_of(model, batch) -> tuple:
    """The outputs, and what QLLaMA gave for matching, comparing and generating: queries and texts."""
    with torch.no_grad():
        outputs = model(**batch)
    return outputs, outputs.query_hidden_states.chunk(3), outputs.text_hidden_states.chunk(3)


@pytest.mark.parametrize(
    ("lengths", "targets"),
    [((6, 5, 4), [0, 0, 1]), ((6, 5), [0, 1]), ((6, 5, 4, 7), [0, 0, 1, 1]), ((6, 5, 4, 7, 8), [0, 0, 0, 1, 1])],
)
def test_the_larger_half_is_matched_with_negatives(lengths, targets):
    model, batch = tiny_model(InternVLDualEncoderForPreTraining), batch_of(*lengths)
    outputs, (queries, *_), (text, *_) = parts_of(model, batch)
    logits = torch.stack([model.itm_head(query).mean(dim=0) for query in queries])
    torch.testing.assert_close(outputs.loss_itm, cross_entropy(logits, torch.tensor(targets)))
    positives = {**batch, "negative_input_ids": batch["positive_input_ids"]}
    positives["negative_attention_mask"] = batch["positive_attention_mask"]
    _, _, (only_positives, *_) = parts_of(model, positives)
    for row, target in enumerate(targets):
        assert torch.allclose(text[row], only_positives[row], atol=1e-5) == bool(target)


def test_empty_captions_are_no_question():
    """Begin and end: two tokens. Three are a caption of one word."""
    model, batch = tiny_model(InternVLDualEncoderForPreTraining), batch_of(3, 2, 4, 2)
    outputs, (matched, compared, _), (_, texts_, _) = parts_of(model, batch)
    # Matched with the captions before them (4: the last, empty one) in the first half: row 0 and row 3 are empty.
    logits = model.itm_head(matched).mean(dim=1)
    torch.testing.assert_close(outputs.loss_itm, cross_entropy(logits[[1, 2]], torch.tensor([0, 1])))
    image = normalize(model.clip_projector2(compared))
    last = batch["summarize_attention_mask"].sum(dim=1) - 1
    text = normalize(texts_[torch.arange(4), last] @ model.text_projection)
    scores = model.logit_scale.exp() * image @ text.T
    kept = torch.tensor([0, 2])
    expected = (cross_entropy(scores[kept], kept) + cross_entropy(scores.T[kept], kept)) / 2
    torch.testing.assert_close(outputs.loss_itc, expected)
    torch.testing.assert_close(outputs.loss, outputs.loss_itm + outputs.loss_itc + outputs.loss_itg)


def test_labels_of_the_contrastive_task_are_smoothed():
    lengths = (6, 5, 4)
    plain, smooth = (
        tiny_model(InternVLDualEncoderForPreTraining, label_smoothing=share)(**batch_of(*lengths))
        for share in (0.0, 0.3)
    )
    assert torch.equal(plain.loss_itm, smooth.loss_itm) and torch.equal(plain.loss_itg, smooth.loss_itg)
    model, queries = tiny_model(), plain.query_hidden_states[3:6]
    text = plain.text_hidden_states[3:6][torch.arange(3), torch.tensor(lengths) - 1] @ model.text_projection
    image = normalize(model.clip_projector2(queries))
    scores = model.logit_scale.exp() * image @ normalize(text).T
    expected = sum(cross_entropy(one, torch.arange(3), label_smoothing=0.3) for one in (scores, scores.T)) / 2
    torch.testing.assert_close(smooth.loss_itc, expected.detach(), rtol=1e-5, atol=1e-5)
    stage_1 = tiny_model(label_smoothing=0.3)(images(2), texts(5, 4), return_loss=True)
    scores = stage_1.logits_per_image
    expected = sum(cross_entropy(one, torch.arange(2), label_smoothing=0.3) for one in (scores, scores.T)) / 2
    torch.testing.assert_close(stage_1.loss, expected)
    scale = tiny_model().logit_scale.exp()
    torch.testing.assert_close(scores, scale * stage_1.image_embeds @ stage_1.text_embeds.T)
    assert scale.item() == pytest.approx(1 / 0.07)


@pytest.mark.parametrize("lacking", ["negative_input_ids", "negative_attention_mask"])
def test_negatives_come_with_their_mask(lacking):
    batch = batch_of(6, 5)
    batch.pop(lacking)
    with pytest.raises(ValueError, match="`negative_input_ids` and `negative_attention_mask` belong together"):
        tiny_model(InternVLDualEncoderForPreTraining)(**batch)


@pytest.mark.parametrize("name", ["input_ids", "labels", "summarize_input_ids", "positive_input_ids"])
def test_one_text_of_another_shape_is_enough(name):
    batch = batch_of(6, 5)
    batch[name] = batch[name][:, :-1]
    with pytest.raises(ValueError, match=r"one shape `\(B, L\)`, got \[\(2, 5\), \(2, 6\)\]"):
        tiny_model(InternVLDualEncoderForPreTraining)(**batch)


def test_the_likelihood_of_a_negative_is_that_of_its_similarity():
    captions = torch.tensor([[1, 5], [1, 6], [1, 7], [1, 5]])
    similar = torch.tensor([[9.0, 2.0, 1.0, 9.0]] * 4)
    drawn = torch.stack(
        [draw_hard_negatives(similar, captions, torch.Generator().manual_seed(seed)) for seed in range(500)]
    )
    chances = torch.tensor([2.0, 1.0]).softmax(dim=0)
    found = torch.stack([(drawn[:, 0] == row).float().mean() for row in (1, 2)])
    torch.testing.assert_close(found, chances, rtol=0, atol=0.07)
    again = draw_hard_negatives(similar, captions, torch.Generator().manual_seed(3))
    assert torch.equal(again, drawn[3])
    with pytest.raises(ValueError, match="Row 0 of the batch"):
        draw_hard_negatives(similar[:2, :2], captions[[0, 0]])


def test_images_and_texts_that_do_not_pair_up():
    for image, text in (((2, 6), (3, 6)), ((3, 6), (2, 6)), ((2, 5), (2, 6))):
        with pytest.raises(ValueError, match="one text per image"):
            contrastive_loss(torch.zeros(image), torch.zeros(text), torch.tensor(1.0))


@pytest.mark.parametrize("stage", ["model", "pretraining"])
@pytest.mark.parametrize(("ranks", "copies"), [(None, 1), (1, 1), (2, 2)])
def test_ranks_of_tensor_parallelism_hold_copies_of_their_pairs(stage, ranks, copies, monkeypatch):
    model = tiny_model(InternVLDualEncoderForPreTraining if stage == "pretraining" else InternVLDualEncoderModel)
    said = []

    def noted(*arguments, **options):
        said.append(options["copies"] if "copies" in options else arguments[5])
        return contrastive_loss(*arguments, **options)

    monkeypatch.setattr(f"transformers_internvl.modeling.dual_encoder.{stage}.contrastive_loss", noted)
    monkeypatch.setattr(type(model), "tp_size", ranks)
    inputs = batch_of(6, 5) if stage == "pretraining" else {"pixel_values": images(), "input_ids": texts(6, 5)}
    model(**inputs, **{} if stage == "pretraining" else {"return_loss": True})
    assert said == [copies]


# --- sizes and halves ------------------------------------------------------------------------------------------------


def test_the_size_of_images_is_set_for_good():
    model = tiny_model(force_image_size=42)
    for size in (56, 14):
        model.set_image_size(size)
        assert model.vision_model.embeddings.position_embeddings.shape == (1, 1 + (size // 14) ** 2, 24)
        assert tuple(model.config.vision_config.image_size) == (size, size) and model.config.force_image_size == size
    for size in (0, -14, 13, 50):
        with pytest.raises(ValueError, match=f"multiple of the patch size 14, got {size}"):
            model.set_image_size(size)
    plain = tiny_model()
    plain.set_image_size(56)
    assert plain.config.force_image_size is None and tuple(plain.config.vision_config.image_size) == (56, 56)
    with pytest.raises(ValueError, match="no vision tower"):
        InternVLDualEncoderTextModel(tiny_config()).set_image_size(56)


def test_a_mask_with_holes_and_an_id_of_nothing():
    model = tiny_model()
    ids = torch.tensor([[1, 7, 9, 2, 0, 0], [1, 7, 8, 9, 5, 2]])
    with torch.no_grad():
        given = model.get_text_features(ids, attention_mask=torch.tensor([[1, 1, 0, 1, 0, 0], [1] * 6]))
        expected = given.last_hidden_state[torch.arange(2), torch.tensor([3, 5])] @ model.text_projection
        torch.testing.assert_close(given.pooler_output, expected)
        assert torch.equal(
            model.get_text_features(ids).pooler_output,
            model.get_text_features(ids, attention_mask=(ids > 0).long()).pooler_output,
        )
    with pytest.raises(ValueError, match="Text 1 of the batch has no token"):
        model.get_text_features(ids, attention_mask=torch.tensor([[1] * 6, [0] * 6]))


def test_captions_need_a_prompt_for_every_image_and_none_that_ends_in_padding():
    model, prompts = tiny_model(), torch.tensor([[1, 7, 9], [1, 7, 0]])
    with pytest.raises(ValueError, match="pad on the left"):
        model.generate(images(2), prompts)
    with pytest.raises(ValueError, match="got 2 for 1"):
        model.generate(images(1), prompts)
    with pytest.raises(ValueError, match="got 1 for 2"):
        model.generate(images(2), prompts[:1])
    options = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    left = torch.tensor([[0, 0, 1, 7, 9]])
    assert torch.equal(model.generate(images(1), left, **options), model.generate(images(1), prompts[:1], **options))


def test_the_original_order_has_the_mask_by_name():
    model, ids = tiny_model(), texts(6, 4)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]])
    with torch.no_grad():
        per_image, per_text = model(image=images(), text=ids, attention_mask=mask, mode="InternVL-G")
        expected = model(images(3)[:2], ids, mask, mode="InternVL-G")
        other = model(images(3), ids, mask)
    assert torch.equal(per_image, per_text.T) and per_image.shape == (2, 2)
    torch.testing.assert_close(per_text, model(images(), ids, mask, mode="InternVL-G").logits_per_text)
    assert other.logits_per_image.shape == (3, 2) and other.logits_per_text.shape == (2, 3)
    assert expected.logits_per_text.shape == (2, 2)


def test_stage_2_trains_what_it_adds():
    model = tiny_model(InternVLDualEncoderModel)
    model.freeze_for_stage_2()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {"query_tokens", "logit_scale", "itm_head.weight", "itm_head.bias"} <= trained
    assert "clip_projector2.proj.weight" in trained or "clip_projector2.cross_attn.proj.weight" in trained
    assert not any(name.startswith(("clip_projector.", "vision_model.", "text_projection")) for name in trained)
    bridge = {name for name, _ in model.named_parameters() if name.startswith("qllama.") and ".cross_attn." in name}
    assert bridge and bridge == {name for name in trained if name.startswith("qllama.")}
