# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Both stages of InternVL-14B's training: batches, what trains, the switch to whole images, `Trainer`."""

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor, Trainer, TrainingArguments

from tests.parity.golden import golden_root
from tests.tiny_dual_encoder import images, texts
from tests.tiny_dual_encoder import tiny_dual_encoder as tiny_model
from tests.training.drawn import CAPTIONS
from tests.training.drawn import pair_rows as rows
from transformers_internvl import (
    InternVLDualEncoderForPreTraining,
    InternVLDualEncoderModel,
    InternVLDualEncoderTextModel,
)
from transformers_internvl.training.data.pairs import ContrastiveCollator, PretrainingCollator, show_whole_images
from transformers_internvl.training.parameters import parameter_groups
from transformers_internvl.training.recipes import get_recipe

PROMPT_LENGTH = 15  # of `English caption:` under the reference data's tokenizer


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(golden_root() / "internvl_14b")


def model_for(processor, model_class=InternVLDualEncoderModel, **vision):
    qllama = {"vocab_size": len(processor.tokenizer), "max_position_embeddings": 100}
    model = tiny_model(model_class, qllama=qllama, vision=vision)
    return model.train()


# --- batches ---------------------------------------------------------------------------------------------------------


def test_the_batch_of_stage_2_is_the_original_one(processor):
    """Their ids, masks and labels, which the reference data holds."""
    expected = load_file(golden_root() / "internvl_14b" / "inputs.safetensors")
    collate = PretrainingCollator(processor, label_prompt_end=True, truncation=True, max_length=24)
    batch = collate(rows())
    names = ["input_ids", "attention_mask", "labels"]
    names += [f"{task}_{part}" for task in ("summarize", "positive") for part in ("input_ids", "attention_mask")]
    assert set(batch) == {"pixel_values", *names}
    for name in names:
        assert torch.equal(batch[name], expected[f"train.{name}"]), name
    labels = PretrainingCollator(processor, truncation=True, max_length=24)(rows())["labels"]
    assert (labels[:, :PROMPT_LENGTH] == -100).all()
    assert torch.equal(labels[:, PROMPT_LENGTH:], expected["train.labels"][:, PROMPT_LENGTH:])


def test_labels_are_the_caption_and_its_end(processor):
    batch = PretrainingCollator(processor)(rows())
    padding = batch["attention_mask"] == 0
    assert padding.any() and (batch["labels"][padding] == -100).all()
    tokenizer = processor.tokenizer
    for row, caption in enumerate(CAPTIONS):
        learned = batch["labels"][row][batch["labels"][row] != -100]
        assert tokenizer.decode(learned[:-1]).strip() == caption and learned[-1] == tokenizer.eos_token_id
    prompt = processor(images=rows(1)[0]["image"], task="caption")["input_ids"][0]
    assert batch["input_ids"][0, : len(prompt)].tolist() == list(prompt)


def test_the_batch_of_stage_1_is_what_the_processor_gives(processor):
    batch = ContrastiveCollator(processor)(rows())
    expected = processor(images=[row["image"] for row in rows()], text=list(CAPTIONS), return_tensors="pt")
    assert batch.pop("return_loss") is True and set(batch) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(batch[name], tensor), name
    assert ContrastiveCollator(processor, mode="InternVL-G")(rows())["mode"] == "InternVL-G"


def test_images_are_augmented_before_they_are_processed(processor):
    flip = lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)  # noqa: E731
    plain, flipped = (ContrastiveCollator(processor, augment=step)(rows())["pixel_values"] for step in (None, flip))
    torch.testing.assert_close(flipped, plain.flip(-1), rtol=0, atol=0.05)


def test_rows_that_are_none(processor):
    collate = ContrastiveCollator(processor)
    for wrong, message in (
        ([], "at least one row"),
        ([{"image": None}], "no 'caption', only .*remove_unused_columns=False"),
        ([{"pixel_values": 1}], "no 'image' and no 'caption'"),
        ([{**rows()[0], "caption": ["a", "b"]}], "is a list, not a string. For several captions"),
        ([{**rows()[0], "caption": "dog " * 200}], "80"),
    ):
        with pytest.raises(ValueError, match=message):
            collate(wrong)
    long = [{**rows()[0], "caption": "dog " * 200}, rows()[0]]
    batch = PretrainingCollator(processor, truncation=True)(long)
    assert batch["input_ids"].shape == (2, 80) and batch["input_ids"][0, -1] == processor.tokenizer.eos_token_id


def test_captions_as_long_as_an_empty_one_of_the_released_tokenizer_are_compared(processor):
    """Five tokens behind `summarize:` are an empty caption there, and a short one under another tokenizer."""
    model = model_for(processor, InternVLDualEncoderForPreTraining)
    batch = PretrainingCollator(processor)(rows())
    keep = slice(0, 5)
    for part in ("input_ids", "attention_mask"):
        batch[f"summarize_{part}"] = torch.cat(
            [batch[f"summarize_{part}"][:, keep], torch.zeros_like(batch[f"summarize_{part}"][:, 5:])], dim=1
        )
    batch["summarize_input_ids"][:, 4] = torch.tensor([7, 8, 9])
    assert model(**batch).loss_itc > 0


# --- what trains -----------------------------------------------------------------------------------------------------


def trained_by(model, recipe: str) -> set[str]:
    get_recipe(recipe).apply(model)
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_stage_1_trains_internvl_c_and_stage_2_what_the_paper_adds(processor):
    model = model_for(processor, InternVLDualEncoderForPreTraining)
    everything = {name for name, _ in model.named_parameters()}
    bridge = {name for name in everything if name.startswith(("query_tokens", "clip_projector2.", "itm_head."))}
    bridge |= {name for name in everything if ".cross_attn." in name and name.startswith("qllama.")}
    stage_1 = trained_by(model, "internvl-14b-contrastive")
    assert stage_1 == everything - bridge - {"qllama.lm_head.weight"}
    assert model.vision_model.config.patch_dropout == 0.5
    stage_2 = trained_by(model, "internvl-14b-generative")
    assert stage_2 == bridge | {"logit_scale"} and model.vision_model.config.patch_dropout == 0.0
    model.freeze_for_stage_2()
    assert stage_2 == {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("recipe", ["internvl-14b-contrastive", "internvl-14b-generative"])
def test_ten_steps_move_what_trains_and_nothing_else(processor, recipe):
    model = model_for(processor, InternVLDualEncoderForPreTraining)
    trained = trained_by(model, recipe)
    contrastive = recipe.endswith("contrastive")
    collate = ContrastiveCollator(processor) if contrastive else PretrainingCollator(processor)
    batch = collate(rows())
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, 1e-3, 0.1)
    optimizer = torch.optim.AdamW(groups)
    forward = InternVLDualEncoderModel.forward if contrastive else InternVLDualEncoderForPreTraining.forward
    for _ in range(10):
        optimizer.zero_grad()
        forward(model, **batch).loss.backward()
        optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == trained


def test_learning_rates_of_stage_1(processor):
    recipe = get_recipe("internvl-14b-contrastive")
    model = recipe.apply(model_for(processor))
    groups = parameter_groups(model, recipe.learning_rate, recipe.weight_decay, recipe.part_learning_rates)
    table = {
        name: (group["lr"], group["weight_decay"])
        for group in groups
        for name, parameter in model.named_parameters()
        if any(parameter is other for other in group["params"])
    }
    assert table["vision_model.encoder.layer.0.mlp.fc1.weight"] == table["clip_projector.cross_attn.q.weight"]
    assert table["vision_model.encoder.layer.0.mlp.fc1.weight"] == (1e-3, 0.1)
    assert table["vision_model.encoder.layer.0.lambda_1"] == table["clip_projector.norm1_q.bias"] == (1e-3, 0.0)
    assert table["qllama.model.layers.0.mlp.up_proj.weight"] == table["text_projection"] == (1e-4, 0.1)
    assert table["qllama.model.norm.weight"] == (1e-4, 0.0)


# --- larger, whole images --------------------------------------------------------------------------------------------


def test_a_model_of_another_image_size_is_saved_and_loaded_exactly(tmp_path):
    for force in (None, 42):
        model = tiny_model(force_image_size=force)
        with torch.no_grad():
            expected = model.get_image_features(images(side=56)).pooler_output  # interpolated at every call
            model.set_image_size(56)
            assert torch.equal(model.get_image_features(images(side=56)).pooler_output, expected)
        model.save_pretrained(tmp_path / str(force))
        again = AutoModel.from_pretrained(tmp_path / str(force))
        assert tuple(again.config.vision_config.image_size) == (56, 56)
        assert again.config.force_image_size == (None if force is None else 56)
        for (name, one), (_, other) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
            assert torch.equal(one, other), name


def test_training_goes_on_with_larger_whole_images():
    model = tiny_model(vision={"patch_dropout": 0.5}).train()
    optimizer = torch.optim.AdamW(parameter_groups(model, 1e-2, 0.1))

    def step(side: int) -> float:
        optimizer.zero_grad()
        loss = model(images(3, side=side), texts(6, 4, 5), return_loss=True).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    step(42)
    old, other = model.vision_model.embeddings.position_embeddings, model.text_projection
    moments = optimizer.state[other]["exp_avg"].clone()
    show_whole_images(model, 56, optimizer)
    table = model.vision_model.embeddings.position_embeddings
    assert table.shape == (1, 17, 24) and old not in optimizer.state
    assert torch.equal(optimizer.state[other]["exp_avg"], moments)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    before = table.detach().clone()
    seen = []
    model.vision_model.encoder.layer[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    losses = [step(56) for _ in range(8)]
    assert seen == [17] * 8 and losses[-1] < losses[0] and not torch.equal(table, before)


def test_image_sizes_that_cannot_be():
    model = tiny_model()
    for size in (50, 0):
        with pytest.raises(ValueError, match=f"multiple of the patch size 14, got {size}"):
            model.set_image_size(size)
    with pytest.raises(ValueError, match="no vision tower"):
        tiny_model(InternVLDualEncoderTextModel).set_image_size(56)
    stranger = torch.optim.SGD(tiny_model().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="does not hold the model's position table"):
        show_whole_images(model, 56, stranger)
    assert tuple(model.config.vision_config.image_size) == (42, 42)


# --- Trainer ---------------------------------------------------------------------------------------------------------


class Rows(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict:
        return {**rows(6)[index], "source": "drawn"}


def arguments(folder, **changes) -> TrainingArguments:
    values = {"max_steps": 8, "per_device_train_batch_size": 3, "per_device_eval_batch_size": 3, "report_to": []}
    values |= {"save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "learning_rate": 3e-3, "logging_steps": 1}
    return TrainingArguments(folder, **{**values, "remove_unused_columns": False, **changes})


@pytest.mark.parametrize(
    "recipe, model_class, collator",
    [
        ("internvl-14b-contrastive", InternVLDualEncoderModel, ContrastiveCollator),
        ("internvl-14b-generative", InternVLDualEncoderForPreTraining, PretrainingCollator),
    ],
)
def test_trainer_runs_both_stages(processor, tmp_path, recipe, model_class, collator):
    model = get_recipe(recipe).apply(model_for(processor, model_class))
    trainer = Trainer(
        model, arguments(tmp_path), train_dataset=Rows(), eval_dataset=Rows(), data_collator=collator(processor)
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 8 and sum(losses[-2:]) < sum(losses[:2])
    assert trainer.evaluate()["eval_loss"] > 0
    trainer.save_model(tmp_path / "model")
    again = model_class.from_pretrained(tmp_path / "model")
    for (name, one), (_, other) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(one, other), name


def test_trainer_that_removes_columns_is_told_not_to(processor, tmp_path):
    trainer = Trainer(
        model_for(processor),
        arguments(tmp_path, remove_unused_columns=True),
        train_dataset=Rows(),
        data_collator=ContrastiveCollator(processor),
    )
    with pytest.raises(ValueError, match="remove_unused_columns=False"):
        trainer.train()


@pytest.mark.parametrize("collator", [ContrastiveCollator, PretrainingCollator])
def test_rows_that_were_left_out_and_other_names_of_columns(processor, collator):
    first, _, last = rows()
    plain = collator(processor)([first, last])
    renamed = [{"picture": row["image"], "text": row["caption"]} for row in (first, last)]
    columns = {"image_column": "picture", "caption_column": "text"}
    for batch in (collator(processor)([None, first, None, last]), collator(processor, **columns)(renamed)):
        assert batch.keys() == plain.keys() and len(batch["pixel_values"]) == 2
        assert all(torch.equal(torch.as_tensor(batch[name]), torch.as_tensor(plain[name])) for name in plain)
    with pytest.raises(ValueError, match="no 'picture' and no 'text'"):
        collator(processor, **columns)([first])
    with pytest.raises(ValueError, match="at least one row"):
        collator(processor)([None])


def test_a_caption_has_as_much_room_as_is_said(processor):
    """The longest text that is taken, and one token more."""
    (row,) = rows(1)
    for collator in (ContrastiveCollator, PretrainingCollator):
        length = collator(processor)([row])["input_ids"].shape[1]
        for truncation in (False, True):
            whole = collator(processor, max_length=length, truncation=truncation)([row])
            assert torch.equal(whole["input_ids"], collator(processor)([row])["input_ids"])
        with pytest.raises(ValueError, match="are allowed"):
            collator(processor, max_length=length - 1)([row])
        cut = collator(processor, max_length=length - 1, truncation=True)([row])
        assert cut["input_ids"].shape == (1, length - 1) and cut["attention_mask"].all()


def test_a_frozen_table_needs_no_optimizer():
    model = tiny_model()
    model.vision_model.embeddings.position_embeddings.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    held = [id(parameter) for parameter in optimizer.param_groups[0]["params"]]
    show_whole_images(model, 56, optimizer)
    table = model.vision_model.embeddings.position_embeddings
    assert table.shape == (1, 17, 24) and not table.requires_grad
    assert [id(parameter) for parameter in optimizer.param_groups[0]["params"]] == held
