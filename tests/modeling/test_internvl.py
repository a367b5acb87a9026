# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The chat model's mechanics; its numbers are judged in `tests/parity/test_chat_models.py`."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from tests.parity.golden import golden_root
from tests.tiny import IMAGE_TOKEN, tiny_batch, tiny_model
from transformers_internvl.modeling.internvl.model import pixel_shuffle


def _shuffled_cell(features: torch.Tensor, row: int, column: int, f: int) -> torch.Tensor:
    """One cell of the shuffled grid, read off the definition."""
    return torch.cat([features[row * f + r, column * f + c] for r in range(f) for c in range(f)])


@pytest.mark.parametrize("f", [1, 2, 4])
def test_pixel_shuffle_concatenates_blocks_row_by_row(f):
    features = torch.randn(2, 8, 4, 3)
    shuffled = pixel_shuffle(features, 1 / f)
    assert shuffled.shape == (2, 8 // f, 4 // f, 3 * f * f)
    for tile in range(2):
        for row in range(8 // f):
            for column in range(4 // f):
                assert torch.equal(shuffled[tile, row, column], _shuffled_cell(features[tile], row, column, f))


def test_pixel_shuffle_v1_swaps_the_axes_of_the_result():
    features = torch.randn(2, 4, 6, 3)
    assert torch.equal(pixel_shuffle(features, 0.5, "v1"), pixel_shuffle(features, 0.5, "v2").transpose(1, 2))


def test_pixel_shuffle_refuses_a_grid_that_does_not_divide():
    with pytest.raises(ValueError, match="5 x 4 patches cannot be shuffled by 2"):
        pixel_shuffle(torch.zeros(1, 5, 4, 3), 0.5)


def test_chunks_of_tiles_give_the_same_features():
    model, pixels = tiny_model(), torch.randn(7, 3, 56, 56)
    with torch.no_grad():
        whole = model.get_image_features(pixels, output_hidden_states=True, vision_chunk_size=100)
        parts = model.get_image_features(pixels, output_hidden_states=True, vision_chunk_size=3)
    torch.testing.assert_close(parts.pooler_output, whole.pooler_output)
    torch.testing.assert_close(parts.last_hidden_state, whole.last_hidden_state)
    assert len(parts.hidden_states) == len(whole.hidden_states) == 5
    assert all(len(state) == 7 for state in parts.hidden_states)


def test_no_more_tiles_than_a_chunk_are_in_the_tower_at_once():
    model, seen = tiny_model(vision_chunk_size=3), []
    model.model.vision_tower.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    with torch.no_grad():
        model.get_image_features(torch.randn(8, 3, 56, 56))
    assert seen == [3, 3, 2]


@pytest.mark.parametrize("layer", [-1, -2, -5, 0, 3, [-3]])
def test_blocks_behind_the_layer_that_is_used_do_not_run(layer):
    model, ran = tiny_model(vision_feature_layer=layer), []
    for index, block in enumerate(model.model.vision_tower.encoder.layer):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    pixels = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        features = model.get_image_features(pixels)
        used = layer[0] if isinstance(layer, list) else layer
        assert ran == list(range(used if used >= 0 else 5 + used))
        whole = model.get_image_features(pixels, output_hidden_states=True)
    assert torch.equal(features.last_hidden_state, whole.hidden_states[used])
    assert torch.equal(features.pooler_output, whole.pooler_output)


def test_layers_that_do_not_exist_or_are_several_are_refused():
    model, pixels = tiny_model(), torch.randn(1, 3, 56, 56)
    with pytest.raises(ValueError, match="hidden states 0 to 4"):
        model.get_image_features(pixels, vision_feature_layer=-6)
    with pytest.raises(ValueError, match="must be one layer"):
        model.get_image_features(pixels, vision_feature_layer=[-1, -2])
    with pytest.raises(ValueError, match="must be 'default'"):
        model.get_image_features(pixels, vision_feature_select_strategy="full")


def test_tiles_need_not_be_square():
    model = tiny_model()
    with torch.no_grad():
        assert model.get_image_features(torch.randn(2, 3, 84, 28)).pooler_output.shape == (2, 3, 32)


def test_flagged_tiles_are_left_out():
    model, batch = tiny_model(), tiny_batch([2, 1])
    with torch.no_grad():
        expected = model(**batch).logits
        dummy = torch.randn(1, 3, 56, 56)
        padded = {**batch, "pixel_values": torch.cat([batch["pixel_values"][:1], dummy, batch["pixel_values"][1:]])}
        flags = torch.tensor([[1], [0], [1], [1]])
        torch.testing.assert_close(model(**padded, image_flags=flags).logits, expected)


def test_features_made_earlier_give_the_same_logits():
    model, batch = tiny_model(), tiny_batch([2, 1])
    with torch.no_grad():
        expected = model(**batch).logits
        features = model.get_image_features(batch.pop("pixel_values"))
        assert torch.equal(model(**batch, mm_encoder_outputs={"image": features}).logits, expected)


def test_embeddings_in_place_of_ids_give_the_same_logits():
    model, batch = tiny_model(), tiny_batch([2, 1])
    with torch.no_grad():
        expected = model(**batch).logits
        embeddings = model.get_input_embeddings()(batch.pop("input_ids"))
        assert torch.equal(model(**batch, inputs_embeds=embeddings).logits, expected)


@pytest.mark.parametrize("tiles", [1, 3])
def test_placeholders_and_tiles_must_match(tiles):
    batch = tiny_batch([1, 1])
    batch["pixel_values"] = torch.randn(tiles, 3, 56, 56)
    with pytest.raises(ValueError, match=f"tokens: 8, features: {4 * tiles}"):
        tiny_model()(**batch)


def test_an_unknown_image_token_is_said_at_first_use():
    model = AutoModel.from_pretrained(golden_root() / "chat_qwen2_5")  # no tokenizer beside it
    assert model.config.image_token_id is None
    with pytest.raises(ValueError, match="image_token_id"):
        model(**tiny_batch([1]))


def test_ids_and_embeddings_exclude_each_other():
    model = tiny_model()
    with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
        model()
    batch = tiny_batch([1])
    with pytest.raises(ValueError, match="both pixel_values and mm_encoder_outputs"):
        model(**batch, mm_encoder_outputs={"image": model.get_image_features(batch["pixel_values"])})


def test_a_text_only_training_step_touches_the_tower_with_weight_zero():
    model = tiny_model().train()
    ids = torch.randint(2, 99, (2, 12))
    with torch.no_grad():
        expected = model.eval()(input_ids=ids, labels=ids).loss
    loss = model.train()(input_ids=ids, labels=ids).loss
    torch.testing.assert_close(loss, expected)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if "vision_tower" in name or "projector" in name:
            assert not parameter.grad.any(), name


def test_a_frozen_tower_is_not_run_for_text():
    model = tiny_model().train()
    model.model.vision_tower.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(False)
    model.model.vision_tower.register_forward_pre_hook(lambda *_: pytest.fail("the tower ran"))
    model(input_ids=torch.randint(2, 99, (1, 8)))


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_packed_rows_in_training_equal_separate_rows(implementation):
    model = tiny_model().train()
    model.set_attn_implementation(implementation)
    rows = [tiny_batch([tiles], length=length, seed=tiles) for tiles, length in ((1, 9), (2, 14))]
    packed = {
        "input_ids": torch.cat([row["input_ids"] for row in rows], dim=1),
        "position_ids": torch.cat([torch.arange(row["input_ids"].shape[1]) for row in rows])[None],
        "pixel_values": torch.cat([row["pixel_values"] for row in rows]),
    }
    with torch.no_grad():
        together = model(**packed).logits
        alone = torch.cat([model(**row).logits for row in rows], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_logits_are_skipped_in_training_and_full_in_evaluation():
    model, batch = tiny_model(), tiny_batch([1, 1])
    labels = batch["input_ids"].masked_fill(torch.arange(20) < 15, -100)
    full = model(**batch, labels=labels)
    assert full.logits.shape == (2, 20, 99)
    rows = []
    model.lm_head.register_forward_pre_hook(lambda module, args: rows.append(args[0].shape[0]))
    lean = model.train()(**batch, labels=labels)
    assert lean.logits is None and rows == [10]
    torch.testing.assert_close(lean.loss, full.loss)
    assert model(**batch, labels=labels, skip_logits=False).logits is not None


def test_loss_over_a_whole_batch_counts_its_items():
    model, batch = tiny_model().train(), tiny_batch([1, 1])
    labels = batch["input_ids"].masked_fill(batch["input_ids"] == IMAGE_TOKEN, -100)
    items = (labels[:, 1:] != -100).sum()
    mean = model(**batch, labels=labels).loss
    torch.testing.assert_close(model(**batch, labels=labels, num_items_in_batch=items).loss, mean)
    torch.testing.assert_close(model(**batch, labels=labels, num_items_in_batch=2 * items).loss, mean / 2)


def test_a_batch_without_labels_has_zero_loss_and_a_gradient():
    model, batch = tiny_model().train(), tiny_batch([1, 1])
    loss = model(**batch, labels=torch.full_like(batch["input_ids"], -100)).loss
    loss.backward()
    assert loss.item() == 0.0


def test_labels_shifted_by_the_caller_give_the_same_loss():
    model, batch = tiny_model(), tiny_batch([1, 1])
    labels = batch["input_ids"]
    shifted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
    with torch.no_grad():
        torch.testing.assert_close(
            model(**batch, labels=labels, shift_labels=shifted).loss, model(**batch, labels=labels).loss
        )


def test_a_loss_function_of_the_user_gets_the_logits():
    model, batch = tiny_model().train(), tiny_batch([1])
    model.loss_function = lambda logits, labels, vocab_size, **kwargs: logits.sum() * 0 + vocab_size
    assert model(**batch, labels=batch["input_ids"]).loss.item() == 99


def test_loss_weights_as_the_original_code_has_them():
    folder, case = golden_root() / "loss_weighting", golden_root() / "chat_qwen2"
    expected, inputs = load_file(folder / "outputs.safetensors"), load_file(case / "inputs.safetensors")
    model = AutoModel.from_pretrained(case, attn_implementation="eager").eval()
    batch = {key: inputs[f"right.{key}"] for key in ("input_ids", "attention_mask", "labels")}
    batch |= {"pixel_values": inputs["pixel_values"], "image_flags": inputs["image_flags"]}
    for name in ("token", "sample", "square", "random"):
        model.zero_grad()
        loss = model(**batch, loss_weight=expected[f"{name}.loss_weight"]).loss
        torch.testing.assert_close(loss[None].detach(), expected[f"{name}.loss"], rtol=1e-6, atol=1e-6)
        if name == "random":
            continue
        loss.backward()
        gradient = model.model.multi_modal_projector.linear_2.weight.grad
        torch.testing.assert_close(gradient, expected[f"{name}.grad.mlp1.3.weight"], rtol=1e-4, atol=1e-6)
        model.config.loss_reduction = name  # the same weights, made from the labels
        with torch.no_grad():
            torch.testing.assert_close(model(**batch).loss[None], expected[f"{name}.loss"], rtol=1e-6, atol=1e-6)
    model.config.loss_reduction = "token"
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).loss[None], expected["plain.loss"], rtol=1e-6, atol=1e-6)


def test_attention_can_be_chosen_for_each_part():
    model = tiny_model()
    model.set_attn_implementation({"vision_config": "eager", "text_config": "sdpa"})
    assert model.model.vision_tower.config._attn_implementation == "eager"
    assert model.model.language_model.config._attn_implementation == "sdpa"
