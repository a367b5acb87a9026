# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The dual encoder by itself; its numbers are judged in `tests/parity/test_internvl_14b.py`."""

import json
import re
import sys

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForZeroShotImageClassification,
    Trainer,
    TrainingArguments,
)

from tests.closeness import assert_same_results
from tests.ranks import launch
from tests.tiny_dual_encoder import BEGIN, END, PAD, images, texts
from tests.tiny_dual_encoder import tiny_dual_config as tiny_config
from tests.tiny_dual_encoder import tiny_dual_encoder as tiny_model
from transformers_internvl import (
    InternVLDualEncoderConfig,
    InternVLDualEncoderForPreTraining,
    InternVLDualEncoderModel,
    InternVLDualEncoderTextModel,
    InternVLDualEncoderVisionModel,
)
from transformers_internvl.modeling.dual_encoder.losses import (
    contrastive_loss,
    draw_hard_negatives,
    mean_cross_entropy,
)


@pytest.fixture
def model() -> InternVLDualEncoderModel:
    return tiny_model()


# --- vectors ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_text_is_its_last_real_token(model):
    ids = texts(8, 5)
    features = model.get_text_features(ids)
    for row, last in enumerate((7, 4)):
        expected = features.last_hidden_state[row, last] @ model.text_projection
        torch.testing.assert_close(features.pooler_output[row], expected)


@torch.no_grad()
def test_texts_are_the_same_alone_and_padded_on_either_side(model):
    ids = texts(9, 5)
    both = model.get_text_features(ids).pooler_output
    alone = model.get_text_features(ids[1:, :5]).pooler_output
    left = torch.cat([torch.full((1, 4), PAD), ids[1:, :5]], dim=1)
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(model.get_text_features(left).pooler_output, alone, rtol=1e-4, atol=2e-5)


@torch.no_grad()
def test_a_given_mask_holds_over_the_ids(model):
    ids = texts(6)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]])
    torch.testing.assert_close(
        model.get_text_features(ids, attention_mask=mask).pooler_output,
        model.get_text_features(ids[:, :4]).pooler_output,
        rtol=1e-4,
        atol=2e-5,
    )


@torch.no_grad()
def test_mode_g_adds_the_queries_to_mode_c(model):
    c, g = (model.get_image_features(images(), mode=mode) for mode in ("InternVL-C", "InternVL-G"))
    assert c.query_hidden_states is None and g.query_hidden_states.shape == (2, 5, 32)
    queries = torch.nn.functional.normalize(model.clip_projector2(g.query_hidden_states))
    torch.testing.assert_close(g.pooler_output, torch.nn.functional.normalize(c.pooler_output) + queries)


@torch.no_grad()
def test_the_text_vector_does_not_depend_on_the_mode_or_the_image(model):
    ids = texts(6, 4)
    one, other = (
        model(image, ids, mode=mode) for image, mode in ((images(), "InternVL-C"), (-images(), "InternVL-G"))
    )
    assert torch.equal(one.text_embeds, other.text_embeds)
    torch.testing.assert_close(one.text_embeds.norm(dim=-1), torch.ones(2))
    assert one.logits_per_image.shape == (2, 2) and not torch.allclose(one.image_embeds, other.image_embeds)


@torch.no_grad()
def test_outputs_come_as_tuples_on_request(model):
    expected = model(images(), texts(6, 4), return_loss=True)
    asked = model(images(), texts(6, 4), return_loss=True, return_dict=False)
    model.config.return_dict = False
    configured = model(images(), texts(6, 4), return_loss=True)
    for loss, per_image, per_text, *_ in (asked, configured):
        assert torch.equal(loss, expected.loss)
        assert torch.equal(per_image, expected.logits_per_image) and torch.equal(per_text, expected.logits_per_text)
    assert model.encode_text(texts(6, 4)).shape == model.encode_image(images(), "InternVL-G").shape == (2, 16)


@torch.no_grad()
def test_images_of_other_sizes_are_encoded(model):
    assert model.get_image_features(images(side=56), mode="InternVL-G").pooler_output.shape == (2, 16)


@torch.no_grad()
def test_bfloat16(model):
    exact = model(images(), texts(6, 4), mode="InternVL-G").logits_per_image
    rough = model.to(torch.bfloat16)(images(), texts(6, 4), mode="InternVL-G").logits_per_image
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, rtol=0.1, atol=0.5)


# --- captions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_is_captioned_like_its_images_one_by_one(model, beams):
    prompt = torch.tensor([[BEGIN, 7, 9], [BEGIN, 7, 9]])
    options = {"max_new_tokens": 6, "do_sample": False, "num_beams": beams, "eos_token_id": None}
    together = model.generate(images(), prompt, **options)
    assert together.shape == (2, 6)
    for row in range(2):
        assert torch.equal(model.generate(images()[row : row + 1], prompt[:1], **options)[0], together[row])


def test_the_image_decides_the_caption(model):
    prompt = torch.tensor([[BEGIN, 7, 9]])
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    one, other = (model.generate(pixels, prompt, **options) for pixels in images()[:, None])
    assert not torch.equal(one, other)


def test_captions_stop_at_the_end_token_of_the_configuration(model):
    assert model.generation_config.eos_token_id == END and model.generation_config.pad_token_id == PAD
    with torch.no_grad():
        model.qllama.lm_head.weight.zero_()  # all logits are equal: the greedy choice is token 0
    prompt = torch.tensor([[BEGIN, 7]])
    assert model.generate(images(1), prompt, max_new_tokens=5, do_sample=False).tolist() == [[0] * 5]
    model.generation_config.eos_token_id = 0
    assert model.generate(images(1), prompt, max_new_tokens=5, do_sample=False).tolist() == [[0]]


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_the_released_sizes():
    """The defaults are InternVL-14B; its parts have the sizes that the paper rounds to 6, 1 and 7 billion."""
    with torch.device("meta"):
        model = InternVLDualEncoderModel(InternVLDualEncoderConfig())
    count = {name: parameter.numel() for name, parameter in model.named_parameters()}
    bridge = sum(size for name, size in count.items() if name.startswith("qllama.") and ".cross_attn." in name)
    llama = sum(size for name, size in count.items() if name.startswith("qllama.")) - bridge
    assert (bridge, count["query_tokens"], llama) == (956_418_048, 393_216, 6_885_494_784)
    assert sum(size for name, size in count.items() if name.startswith("vision_model.")) == 5_902_793_600


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda m: m.get_image_features(images(), mode="InternVL-X"),
            "one of InternVL-C, InternVL-G, got 'InternVL-X'",
        ),
        (lambda m: m(images(), texts(4), mode="c"), "`mode` must be one of"),
        (lambda m: m.get_image_features(images(side=50)), "multiples of the patch size"),
        (lambda m: m.get_text_features(texts(41)), "41 positions, the model 40"),
        (lambda m: m.get_text_features(torch.zeros(2, 4, dtype=torch.long)), "Text 0 of the batch has no token"),
        (lambda m: m(images(), None), "give `pixel_values` and `input_ids`"),
        (lambda m: m(images(), texts(4), return_loss=True), "one text per image"),
        (lambda m: m.generate(images(), texts(4)), "one prompt per image: got 1 for 2"),
        (lambda m: m.generate(images(), texts(5, 4)), "pad on the left"),
        (lambda m: m.generate(images(1), texts(36)), "41 positions, the model 40.*5 of them queries"),
    ],
)
def test_what_does_not_fit(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model)


def test_configurations_that_cannot_be(tmp_path):
    with pytest.raises(ValueError, match="multiple of `attn_pool_num_heads`"):
        tiny_config(attn_pool_num_heads=5)
    with pytest.raises(ValueError, match="`label_smoothing` must be in"):
        tiny_config(label_smoothing=1.0)


# --- folders ---------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded_again(model, tmp_path):
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "internvl_dual_encoder"
    for auto_class in (AutoModel, AutoModelForZeroShotImageClassification):
        again = auto_class.from_pretrained(tmp_path)
        assert type(again) is InternVLDualEncoderModel
        for part in ("vision_config", "qllama_config"):
            mine, theirs = (getattr(one.config, part).to_dict() for one in (model, again))
            assert {**mine, "dtype": "float32"} == {**theirs, "dtype": "float32"}
        for (name, expected), (_, got) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
            assert torch.equal(expected, got), name


def test_changes_to_a_configuration_are_saved(tmp_path):
    config = tiny_config(label_smoothing=0.1, cross_attention_frequency=1)
    config.qllama_config.rms_norm_eps = 0.5
    config.vision_config.use_qk_norm = False
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["vision_config"]["qk_normalization"] is False
    again = AutoConfig.from_pretrained(tmp_path)
    assert again.label_smoothing == 0.1 and again.qllama_config.cross_attention_frequency == 1
    assert again.qllama_config.rms_norm_eps == 0.5 and again.vision_config.use_qk_norm is False
    assert again.qllama_config.num_query_token == 5 and again.qllama_config.vision_hidden_size == 24


def test_force_image_size_is_the_size_of_the_position_table():
    config = tiny_config(force_image_size=56)
    assert InternVLDualEncoderModel(config).vision_model.embeddings.position_embeddings.shape == (1, 17, 24)


def test_no_buffer_and_no_parameter_comes_up_empty(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded, buffers = AutoModel.from_pretrained(tmp_path), dict(model.named_buffers())
    assert buffers
    for name, buffer in loaded.named_buffers():
        torch.testing.assert_close(buffer, buffers[name], rtol=0, atol=0)
    with torch.device("meta"):
        hollow = InternVLDualEncoderModel(tiny_config())
    hollow = hollow.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*hollow.parameters(), *hollow.buffers()):
            tensor.fill_(torch.nan)
    hollow.init_weights()
    for name, tensor in (*hollow.named_parameters(), *hollow.named_buffers()):
        assert tensor.isfinite().all(), name
    assert hollow.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    assert hollow.query_tokens.std() > 0 and hollow.text_projection.std() > 0


def test_the_halves_load_alone_and_name_what_they_lack(model, tmp_path):
    model.save_pretrained(tmp_path / "whole")
    vision = InternVLDualEncoderVisionModel.from_pretrained(tmp_path / "whole")
    text = InternVLDualEncoderTextModel.from_pretrained(tmp_path / "whole")
    assert not any("cross_attn" in name or "lm_head" in name for name in text.state_dict())
    with torch.no_grad():
        assert_same_results(vision(images()).pooler_output, model.get_image_features(images()).pooler_output)
        assert_same_results(text(texts(5)).pooler_output, model.get_text_features(texts(5)).pooler_output)
    with pytest.raises(ValueError, match="no text encoder"):
        vision.get_text_features(texts(5))
    with pytest.raises(ValueError, match="needs QLLaMA"):
        vision.get_image_features(images(), mode="InternVL-G")

    vision.save_pretrained(tmp_path / "vision")
    text.save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match="no text half"):
        AutoModel.from_pretrained(tmp_path / "vision")
    with pytest.raises(ValueError, match="no vision half"):
        AutoModel.from_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match="no text half"):
        InternVLDualEncoderTextModel.from_pretrained(tmp_path / "vision")
    again = InternVLDualEncoderVisionModel.from_pretrained(tmp_path / "vision")
    assert torch.equal(again.clip_projector.cross_attn.q_bias, vision.clip_projector.cross_attn.q_bias)


def test_unexpected_and_missing_weights(model, tmp_path):
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("itm_head.bias")
    weights["qllama.model.layers.0.self_attn.q_proj.lora_A.weight"] = torch.ones(2)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="no place for 1 .*no weights for 1 of them: itm_head.bias.*LoRA weights"):
        AutoModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("device_map", ["cpu", {"": "cpu"}, "auto"])
@torch.no_grad()
def test_device_maps(model, tmp_path, device_map):
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, device_map=device_map)
    expected = model(images(), texts(5, 4), mode="InternVL-G").logits_per_image
    assert_same_results(loaded(images(), texts(5, 4), mode="InternVL-G").logits_per_image, expected)


def test_kernels_that_cannot_express_the_masks_are_refused_for_qllama_alone(tmp_path, model):
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="flex"):
        AutoModel.from_pretrained(tmp_path, attn_implementation="flex_attention")
    mixed = {"vision_config": "flex_attention", "qllama_config": "eager"}
    loaded = AutoModel.from_pretrained(tmp_path, attn_implementation=mixed)
    assert loaded.vision_model.config._attn_implementation == "flex_attention"
    assert loaded.qllama.config._attn_implementation == "eager"


# --- training --------------------------------------------------------------------------------------------------------


def test_contrastive_loss_against_its_definition():
    torch.manual_seed(0)
    image, text = (torch.nn.functional.normalize(torch.randn(4, 6)) for _ in range(2))
    scores = (10 * image @ text.T).log_softmax(dim=-1), (10 * text @ image.T).log_softmax(dim=-1)
    plain = -sum(score.diagonal().mean() for score in scores) / 2
    torch.testing.assert_close(contrastive_loss(image, text, torch.tensor(10.0)), plain)
    spread = -sum(score.mean() for score in scores) / 2
    smooth = contrastive_loss(image, text, torch.tensor(10.0), label_smoothing=0.2)
    torch.testing.assert_close(smooth, 0.8 * plain + 0.2 * spread)
    ignore = torch.tensor([False, True, False, False])
    kept = -sum(score.diagonal()[~ignore].mean() for score in scores) / 2
    torch.testing.assert_close(contrastive_loss(image, text, torch.tensor(10.0), ignore=ignore), kept)


def test_no_question_is_no_loss():
    logits = torch.randn(3, 2, requires_grad=True)
    loss = mean_cross_entropy(logits, torch.full((3,), -100))
    loss.backward()
    assert loss.item() == 0.0 and not logits.grad.any()


def test_the_loss_of_stage_1_trains_both_halves(model):
    outputs = model.train()(images(3), texts(6, 4, 5), return_loss=True)
    outputs.loss.backward()
    assert model.logit_scale.grad.abs() > 0 and model.text_projection.grad.abs().sum() > 0
    assert model.vision_model.embeddings.cls_token.grad.abs().sum() > 0
    assert model.query_tokens.grad is None  # the queries are stage 2's
    expected = contrastive_loss(outputs.image_embeds, outputs.text_embeds, model.logit_scale.exp())
    torch.testing.assert_close(outputs.loss, expected)


def stage_2_batch() -> dict[str, torch.Tensor]:
    captions = texts(8, 6, 7, 8)
    prompted = {"input_ids": captions, "labels": captions.masked_fill(captions == PAD, -100)}
    names = ("positive", "summarize")
    batch = {**prompted, "attention_mask": (captions > 0).long(), "pixel_values": images(4)}
    batch |= {f"{name}_input_ids": captions for name in names}
    return batch | {f"{name}_attention_mask": (captions > 0).long() for name in names}


def test_frozen_parameters_stay_bit_identical():
    model = tiny_model(InternVLDualEncoderForPreTraining).train()
    model.freeze_for_stage_2()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.05)
    losses = []
    for _ in range(10):
        loss = model(**stage_2_batch()).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in changed} == {
        "query_tokens", "logit_scale", "clip_projector2", "itm_head", "qllama"
    }  # fmt: skip
    assert all(".cross_attn." in name for name in changed if name.startswith("qllama."))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("pairs", [2, 4])
def test_trainer_averages_the_loss_over_accumulation_steps(tmp_path, pairs):
    """Two steps of two identical batches move the weights as one step of either does."""
    model = tiny_model(InternVLDualEncoderForPreTraining).train()
    batch = {name: tensor[:2] for name, tensor in stage_2_batch().items()}
    batch |= {f"negative_{part}": batch[f"positive_{part}"].flip(0) for part in ("input_ids", "attention_mask")}
    rows = [{name: tensor[row % 2] for name, tensor in batch.items()} for row in range(pairs)]
    arguments = TrainingArguments(
        tmp_path, max_steps=1, per_device_train_batch_size=2, gradient_accumulation_steps=pairs // 2,
        report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True, max_grad_norm=0.0, optim="sgd",
        learning_rate=1.0, lr_scheduler_type="constant", train_sampling_strategy="sequential",
    )  # fmt: skip
    start = model.query_tokens.detach().clone()
    model(**batch).loss.backward()
    expected = start - model.query_tokens.grad
    model.zero_grad()
    Trainer(model, arguments, train_dataset=rows).train()
    torch.testing.assert_close(model.query_tokens.detach(), expected, rtol=1e-4, atol=1e-5)


def test_hard_negatives_are_other_captions_and_mostly_the_similar_ones():
    captions = torch.tensor([[1, 5, 2], [1, 6, 2], [1, 5, 2], [1, 7, 2]])
    similar = torch.tensor([[9.0, 1.0, 9.0, 6.0], [0.0, 9.0, 0.0, 0.0], [9.0, 6.0, 9.0, 1.0], [1.0, 1.0, 6.0, 9.0]])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([draw_hard_negatives(similar, captions, generator) for _ in range(200)])
    assert not (captions[drawn] == captions).all(dim=-1).any()
    assert (drawn[:, 0] == 3).float().mean() > 0.9 and (drawn[:, 2] == 1).float().mean() > 0.9
    with pytest.raises(ValueError, match="Row 0 of the batch has no caption but its own"):
        draw_hard_negatives(similar[:1, :1], captions[:1])


def test_drawn_negatives_give_the_loss_of_the_same_negatives_given():
    model, batch = tiny_model(InternVLDualEncoderForPreTraining), stage_2_batch()
    with torch.no_grad():
        drawn = model(**batch)
        index = drawn.negative_index
        assert (index != torch.arange(4)).all()
        given = {f"negative_{part}": batch[f"positive_{part}"][index] for part in ("input_ids", "attention_mask")}
        assert torch.equal(model(**batch, **given).loss, drawn.loss)


def test_texts_of_different_shapes_are_refused():
    batch = stage_2_batch()
    batch["summarize_input_ids"] = batch["summarize_input_ids"][:, :-1]
    with pytest.raises(ValueError, match="must have one shape"):
        tiny_model(InternVLDualEncoderForPreTraining)(**batch)


def one_of_two(folder):
    """What each of two ranks does in the next test."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    mine = slice(2 * rank, 2 * rank + 2)
    model = tiny_model(label_smoothing=0.1).train()
    outputs = model(images(4)[mine], texts(6, 5, 4, 6)[mine], mode="InternVL-G", return_loss=True)
    outputs.loss.backward()
    for parameter in model.parameters():
        if parameter.grad is not None:  # as DDP does
            dist.all_reduce(parameter.grad)
            parameter.grad /= 2
    loss = outputs.loss.detach()
    dist.all_reduce(loss)
    if rank == 0:
        torch.save({"loss": loss / 2, **{n: p.grad for n, p in model.named_parameters()}}, f"{folder}/result.pt")
    with pytest.raises(ValueError, match=re.escape("same number of pairs, got [1, 2]")):
        model(images(rank + 1), texts(*[5] * (rank + 1)), return_loss=True)
    dist.destroy_process_group()


def test_two_processes_give_the_loss_and_gradients_of_one(tmp_path):
    launch(2, tmp_path, "tests.modeling.test_dual_encoder", str(tmp_path))
    together = torch.load(tmp_path / "result.pt")

    model = tiny_model(label_smoothing=0.1).train()
    loss = model(images(4), texts(6, 5, 4, 6), mode="InternVL-G", return_loss=True).loss
    loss.backward()
    torch.testing.assert_close(together.pop("loss"), loss.detach(), rtol=1e-5, atol=1e-6)
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert together[name] is None
        else:
            torch.testing.assert_close(together[name], parameter.grad, rtol=1e-4, atol=5e-6, msg=lambda t: name + t)  # noqa: B023


if __name__ == "__main__":
    one_of_two(sys.argv[1])
