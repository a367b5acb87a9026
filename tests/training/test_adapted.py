# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Models that carry adapters are trained on from what they have learned, and all that trains is saved."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForImageTextToText,
    AutoModelForPreTraining,
    AutoProcessor,
    Trainer,
    TrainingArguments,
)

from lab.nano.dual_encoder import SMALL, Settings, build_model, build_processor, build_tokenizer
from tests.tiny import logits, shaken, tiny_batch, tiny_model
from tests.training.drawn import short, write_data
from transformers_internvl import nano_path
from transformers_internvl.cli import main
from transformers_internvl.training.adapted import (
    adapters_change_nothing,
    check_adapters,
    go_on_with_adapter,
    keep_exact,
    merged,
)
from transformers_internvl.training.lora import lora_config
from transformers_internvl.training.parameters import freeze, set_trainable, trainable_table, unfreeze
from transformers_internvl.training.recipes import get_recipe
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.plan import make_plan
from transformers_internvl.training.run.report import read_log
from transformers_internvl.training.run.run import prepare
from transformers_internvl.training.trainers.mpo_trainer import MPOTrainer
from transformers_internvl.training.trainers.trainer import InternVLTrainer

LORA, MPO = "internvl2.5-1b-lora", "internvl2.5-8b-mpo"
STILL = {"learning_rate": 0, "weight_decay": 0, "drop_path": 0}  # a run that changes nothing


def adapted(model, folder, **options):
    """A model with an adapter that matters, and the adapter in a folder."""
    wrapped = shaken(get_peft_model(model, lora_config("llm", model, r=4, dropout=0.0, **options)))
    wrapped.save_pretrained(folder)
    return wrapped


@pytest.fixture
def folder(tmp_path):
    return write_data(tmp_path / "data")


@pytest.fixture
def nano_adapter(folder):
    model = AutoModelForImageTextToText.from_pretrained(nano_path(), dtype="float32")
    adapted(model, folder / "adapter")
    AutoProcessor.from_pretrained(nano_path()).save_pretrained(folder / "adapter")
    return folder / "adapter"


def nano_logits(model):
    torch.manual_seed(0)
    ids = torch.randint(5, 300, (1, 20))
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits


def run(recipe, assigned, **kwargs):
    return prepare(read_options(recipe, assigned), **kwargs)


def tensors(path):
    from safetensors.torch import load_file

    return load_file(path / "adapter_model.safetensors")


@pytest.mark.parametrize("recipe, data", [(LORA, "chat.jsonl"), (MPO, "prefs.jsonl")])
def test_a_run_goes_on_with_the_adapter_of_a_folder(recipe, data, folder, nano_adapter):
    fields = short(folder, data, model=str(nano_adapter), lora_rank=4)
    ready = run(recipe, {**fields, **STILL})
    before = nano_logits(
        PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(nano_path()), nano_adapter)
    )
    torch.testing.assert_close(nano_logits(ready.model), before, rtol=1e-5, atol=1e-5)
    result = ready.train()
    assert result.adapters
    old, new = tensors(nano_adapter), tensors(folder / "out")
    assert old.keys() == new.keys() and any(name.endswith("lora_B.weight") for name in old)
    for name, value in old.items():
        torch.testing.assert_close(new[name], value, rtol=1e-5, atol=1e-6)
    config = json.loads((folder / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(nano_path())
    moved = run(recipe, {**fields, "output": str(folder / "moved"), "learning_rate": 1e-2})
    moved.train()
    changed = [name for name, value in tensors(folder / "moved").items() if not torch.equal(value, old[name])]
    assert len(changed) == len(old)


@pytest.mark.parametrize("recipe, data", [("internvl2.5-1b-full", "chat.jsonl"), (MPO, "prefs.jsonl")])
def test_a_recipe_without_adapters_trains_the_sum(recipe, data, folder, nano_adapter):
    base = AutoModelForImageTextToText.from_pretrained(nano_path(), dtype="float32")
    before = nano_logits(PeftModel.from_pretrained(base, nano_adapter))
    plain = nano_logits(AutoModelForImageTextToText.from_pretrained(nano_path(), dtype="float32"))
    assert (before - plain).abs().max() > 0.5
    result = run(recipe, {**short(folder, data, model=str(nano_adapter)), **STILL}).train()
    assert not result.adapters and not (folder / "out" / "adapter_config.json").exists()
    after = nano_logits(AutoModelForImageTextToText.from_pretrained(folder / "out", dtype="float32"))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_preferences_are_rewarded_against_the_adapter_as_it_began(folder, nano_adapter):
    fields = short(folder, "prefs.jsonl", model=str(nano_adapter), lora_rank=4, learning_rate=1e-2, max_steps=2)
    run(MPO, {**fields, "drop_path": 0}).train()
    first, second = read_log(folder / "out")
    # The policy is its own reference at first, but for rounding of another shape of batch; later it is not.
    assert abs(first["rewards/chosen"]) < 1e-4 and abs(first["rewards/rejected"]) < 1e-4
    assert abs(second["rewards/chosen"]) > 1e-2


def test_the_reference_shares_what_does_not_train():
    model = tiny_model()
    fresh = get_peft_model(tiny_model(), lora_config("llm", model, r=4, dropout=0.0))
    arguments = TrainingArguments("unused", use_cpu=True, report_to="none")
    assert adapters_change_nothing(fresh) and MPOTrainer(fresh, arguments).reference is None
    learned = shaken(fresh)
    reference = MPOTrainer(learned, arguments).reference
    of = dict(reference.named_parameters())
    shared = {name for name, parameter in learned.named_parameters() if parameter is of[name]}
    assert shared == {name for name, _ in learned.named_parameters() if ".lora_" not in name}
    with torch.no_grad():
        before = logits(reference)
        for name, parameter in learned.named_parameters():
            if ".lora_B" in name:
                parameter.zero_()
    torch.testing.assert_close(logits(reference), before, rtol=0, atol=0)


@pytest.mark.parametrize("stage", ["contrastive", "generative"])
def test_adapters_of_the_dual_encoder_are_merged(stage, folder):
    captions = [json.loads(line)["caption"] for line in (folder / "pairs.jsonl").read_text().splitlines()]
    tokenizer = build_tokenizer(captions)
    build_model(len(tokenizer), Settings(width=32, vision_layers=2, text_layers=2)).save_pretrained(folder / "dual")
    build_processor(tokenizer, SMALL).save_pretrained(folder / "dual")
    model = AutoModelForPreTraining.from_pretrained(folder / "dual")
    wrapped = shaken(get_peft_model(model, LoraConfig(r=2, target_modules=["fc1", "fc2"])))
    wrapped.save_pretrained(folder / "adapter")
    expected = wrapped.merge_and_unload().state_dict()
    fields = short(folder, "pairs.jsonl", model=str(folder / "adapter"), image_size=SMALL, batch_size=4)
    run(
        f"internvl-14b-{stage}", {**fields, **STILL, "part_learning_rates": "{}", "per_device_train_batch_size": 4}
    ).train()
    after = AutoModelForPreTraining.from_pretrained(folder / "out").state_dict()
    fitted = [name for name in after if "fc1.weight" in name]
    assert fitted
    for name in fitted:
        torch.testing.assert_close(after[name], expected[name], rtol=1e-5, atol=1e-5)


def test_a_dry_run_of_an_adapter(folder, nano_adapter):
    fields = short(folder, model=str(nano_adapter))
    plan = make_plan(read_options(LORA, {**fields, "lora_rank": 4}))
    parts = {part.name: part for part in plan.parts}
    assert plan.facts["adapter"] == "is trained on"
    assert parts["adapters"].trainable == sum(value.numel() for value in tensors(nano_adapter).values())
    parts = {part.name: part for part in make_plan(read_options("internvl2.5-1b-full", fields)).parts}
    assert "adapters" not in parts and parts["language"].trainable == parts["language"].parameters
    with pytest.raises(ValueError, match=r"adapter .LORA. of rank 4, and the recipe's have rank 16: set `lora_rank`"):
        make_plan(read_options(LORA, fields))
    with pytest.raises(ValueError, match="of rank 4, and the recipe's have rank 16"):
        run(LORA, fields)


def test_without_processor_files_beside_the_adapter_its_models_are_taken(folder, nano_adapter):
    for path in nano_adapter.iterdir():
        if not path.name.startswith("adapter_"):
            path.unlink()
    ready = run(LORA, short(folder, model=str(nano_adapter), lora_rank=4))
    assert ready.processor.tokenizer.vocab_size == AutoProcessor.from_pretrained(nano_path()).tokenizer.vocab_size


def test_an_adapter_with_other_names_is_refused(folder, nano_adapter):
    from safetensors.torch import save_file

    renamed = {name.replace("language_model.", "llm."): value for name, value in tensors(nano_adapter).items()}
    save_file(renamed, nano_adapter / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="has no weights for 70 of the 70 tensors of its adapter"):
        run(LORA, short(folder, model=str(nano_adapter), lora_rank=4))


def test_recipes_go_on_with_a_peft_model_or_merge_it(tmp_path):
    expected = logits(adapted(tiny_model(), tmp_path / "adapter"))
    loaded = PeftModel.from_pretrained(tiny_model(), tmp_path / "adapter")  # frozen: for inference
    going_on = get_recipe(LORA, lora_rank=4).apply(loaded)
    assert going_on is loaded
    trained = {name for name, parameter in going_on.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in going_on.named_parameters() if ".lora_" in name}
    torch.testing.assert_close(logits(going_on.eval()), expected, rtol=0, atol=0)
    whole = get_recipe("internvl2.5-1b-full").apply(loaded)
    assert not hasattr(whole, "peft_config") and not any(".lora_" in name for name, _ in whole.named_parameters())
    torch.testing.assert_close(logits(whole.eval()), expected, rtol=1e-4, atol=1e-4)


def test_recipes_refuse_what_they_cannot_go_on_with(tmp_path):
    wrapped = adapted(tiny_model(), tmp_path / "adapter")
    with pytest.raises(ValueError, match="of rank 4, and the recipe's have rank 16"):
        get_recipe(LORA).apply(wrapped)
    with pytest.raises(ValueError, match="trains multi_modal_projector whole, which is no part of"):
        get_recipe(LORA, lora_rank=4, trains=("projector",)).apply(wrapped)
    native = tiny_model()
    native.load_adapter(str(tmp_path / "adapter"))
    for name in (LORA, "internvl2.5-1b-full"):
        with pytest.raises(ValueError, match="PeftModel.from_pretrained"):
            get_recipe(name, **({"lora_rank": 4} if name.endswith("lora") else {})).apply(native)


@pytest.mark.parametrize("part, module", [("projector", "multi_modal_projector"), ("vision", "vision_tower")])
def test_a_part_trains_whole_beside_adapters_and_is_saved(part, module, tmp_path):
    recipe = get_recipe(LORA, trains=(part,), drop_path=0.2)
    model = recipe.apply(tiny_model().bfloat16())
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    beside = {name for name in trained if ".lora_" not in name}
    assert beside and all(f"{module}.modules_to_save." in name for name in beside)
    assert {p.dtype for p in trained.values()} == {torch.float32}
    rates = [layer.drop_path.probability for layer in model.model.model.vision_tower.encoder.layer]
    assert rates[-1] == pytest.approx(0.2)
    check_adapters(model)
    model = recipe.apply(tiny_model())
    model.train()
    batch = tiny_batch([1, 2])
    model(**batch, labels=batch["input_ids"]).loss.backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    expected = logits(model.eval())
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_model(), tmp_path).eval()
    torch.testing.assert_close(logits(again), expected, rtol=1e-5, atol=1e-5)
    assert (logits(tiny_model().eval()) - expected).abs().max() > 1e-4


def test_weights_that_no_adapter_saves_do_not_train(tmp_path):
    model = tiny_model()
    model = get_peft_model(model, lora_config("llm", model, r=4, modules_to_save=["multi_modal_projector"]))
    before = trainable_table(model)
    for change in (set_trainable, unfreeze):
        for selector in ("vision", "projector", "*.language_model.layers.0.*"):
            with pytest.raises(ValueError, match="weights would train that are saved with no adapter, such as "):
                change(model, [selector] if change is set_trainable else selector)
            assert trainable_table(model) == before
    freeze(model, "adapters")
    set_trainable(model, ["adapters"])
    assert trainable_table(model) == before
    name, parameter = next((n, p) for n, p in model.named_parameters() if "vision_tower" in n)
    parameter.requires_grad_(True)
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", max_steps=1)
    with pytest.raises(ValueError, match=f"1 weights would train .*{name}"):
        InternVLTrainer(model, arguments, train_dataset=[1]).train()


def test_biases_and_tokens_that_peft_saves_may_train():
    model = tiny_model()
    wrapped = get_peft_model(model, lora_config("llm", model, r=2, bias="all"))
    check_adapters(wrapped)
    model = tiny_model()
    wrapped = get_peft_model(model, lora_config("llm", model, r=2, trainable_token_indices=[1, 2]))
    assert any("trainable_tokens" in name for name, p in wrapped.named_parameters() if p.requires_grad)
    check_adapters(wrapped)
    set_trainable(wrapped, ["adapters"])
    assert any("trainable_tokens" in name for name, p in wrapped.named_parameters() if p.requires_grad)


def test_modules_to_save_that_name_nothing_are_an_error():
    with pytest.raises(
        ValueError, match="`modules_to_save` names 'mlp9'.* end of no module.* model.multi_modal_projector"
    ):
        lora_config("llm", tiny_model(), modules_to_save=["mlp9"])
    late = get_peft_model(tiny_model(), lora_config("llm", modules_to_save=["mlp9"]))
    with pytest.raises(ValueError, match="`modules_to_save` names 'mlp9'"):
        check_adapters(late)


def test_adapters_that_begin_elsewhere_change_something():
    model = tiny_model()
    pissa = get_peft_model(model, lora_config("llm", model, r=2, init_lora_weights="pissa"))
    assert not adapters_change_nothing(pissa)
    model = tiny_model()
    whole = get_peft_model(model, lora_config("llm", model, r=2, modules_to_save=["multi_modal_projector"]))
    assert adapters_change_nothing(whole)
    with torch.no_grad():
        next(p for n, p in whole.named_parameters() if ".modules_to_save." in n).add_(1)
    assert not adapters_change_nothing(whole)


def test_upstream_trainers_still_take_the_model(tmp_path):
    recipe = get_recipe(LORA, max_steps=1, batch_size=1)
    model = recipe.apply(tiny_model())
    rows = [{**tiny_batch([1]), "labels": tiny_batch([1])["input_ids"]}]
    trainer = Trainer(
        model,
        recipe.to_training_arguments(tmp_path, use_cpu=True, bf16=False, report_to="none", save_strategy="no"),
        train_dataset=rows,
        data_collator=lambda batch: batch[0],
    )
    trainer.train()
    shutil.rmtree(tmp_path)


def test_a_model_whose_adapter_is_frozen_says_so(tmp_path):
    adapted(tiny_model(), tmp_path / "adapter")
    frozen = PeftModel.from_pretrained(tiny_model(), tmp_path / "adapter")
    with pytest.raises(ValueError, match="nothing of it trains: .*is_trainable=True"):
        check_adapters(frozen)


def test_the_command_line_says_what_becomes_of_an_adapter_and_how_to_merge_it(folder, nano_adapter, capsys):
    words = ["train", LORA, "--lora-rank", "4", "--max-steps", "1", "--batch-size", "1", "--no-bf16"]
    words += ["--model", str(nano_adapter), "--data", str(folder / "chat.jsonl"), "--output", str(folder / "out")]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert f"the adapter in {nano_adapter} is trained on" in said
    lines = said.splitlines()
    place = lines.index("To merge the adapters into the model:")
    code = "\n".join(line.strip() for line in lines[place + 1 :]).replace("'merged'", repr(str(folder / "merged")))
    exec(compile(code, "what it says", "exec"), {})
    merged = AutoModelForImageTextToText.from_pretrained(folder / "merged", dtype="float32")
    base = AutoModelForImageTextToText.from_pretrained(nano_path(), dtype="float32")
    expected = nano_logits(PeftModel.from_pretrained(base, folder / "out"))
    torch.testing.assert_close(nano_logits(merged), expected, rtol=1e-3, atol=1e-3)


def test_going_on_trains_one_adapter_and_nothing_else():
    model = tiny_model().to(torch.bfloat16)
    model = get_peft_model(model, lora_config("llm", model, r=4, modules_to_save=["multi_modal_projector"]))
    model.peft_config["default"].inference_mode = True
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    assert go_on_with_adapter(model, 4, ["multi_modal_projector"]) is model
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all(".lora_" in name or ".modules_to_save.default." in name for name in trained)
    assert {p.dtype for p in trained.values()} == {torch.float32}
    assert model.peft_config["default"].inference_mode is False
    with pytest.raises(ValueError, match="of rank 4, and the recipe's have rank 5"):
        go_on_with_adapter(model, 5, [])
    with pytest.raises(ValueError, match="trains vision_tower whole, which is no part"):
        go_on_with_adapter(model, 4, ["multi_modal_projector", "vision_tower"])
    model.add_adapter("other", lora_config("llm", model.get_base_model(), r=4))
    model.base_model.set_adapter(["default", "other"])
    with pytest.raises(ValueError, match="One adapter is trained, but 2 are active"):
        go_on_with_adapter(model, 4, [])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fresh_adapter_changes_nothing_until_any_part_of_it_does(dtype):
    """Also beside weights in half precision, of which the trained copy is kept exact."""

    def fresh(**options):
        model = tiny_model().to(dtype)
        return get_peft_model(model, lora_config("llm", model, r=2, **options))

    for options, part in (
        ({}, ".lora_B."),
        ({"modules_to_save": ["multi_modal_projector"]}, "modules_to_save.default.linear_2.bias"),
        ({"modules_to_save": ["multi_modal_projector"]}, "modules_to_save.default.layer_norm.weight"),
    ):
        model = fresh(**options)
        keep_exact(model)
        assert adapters_change_nothing(model)
        last = [p for name, p in model.named_parameters() if part in name][-1]
        with torch.no_grad():
            last.view(-1)[-1] += 1
        assert not adapters_change_nothing(model), part
    embedding = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=["embed_tokens"], init_lora_weights=True))
    names = {
        name.split(".lora_embedding_")[1][0]: p for name, p in embedding.named_parameters() if ".lora_emb" in name
    }
    zero = [letter for letter, p in names.items() if not p.any()]
    assert adapters_change_nothing(embedding) == (zero == ["B"])


def test_modules_of_every_adapter_are_looked_for():
    model = tiny_model()
    model = get_peft_model(model, lora_config("llm", model, r=2))
    check_adapters(model)
    model.add_adapter("other", lora_config("llm", model.get_base_model(), r=2))
    model.peft_config["other"].modules_to_save = ["nowhere"]
    with pytest.raises(ValueError, match="names 'nowhere'"):
        check_adapters(model)


def test_quantized_weights_under_an_adapter_are_not_merged():
    model = tiny_model()
    model = get_peft_model(model, lora_config("llm", model, r=2))
    model.get_base_model().is_quantized = True
    with pytest.raises(ValueError, match="quantized under an adapter"):
        merged(model)
