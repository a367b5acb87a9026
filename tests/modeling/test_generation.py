# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Generation: every way of decoding gives what greedy decoding of one row gives."""

from functools import partial
from inspect import unwrap

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModel, AutoModelForImageTextToText, GenerationMixin

from tests.llava import write_folder
from tests.parity.golden import golden_root
from tests.tiny import IMAGE_TOKEN, tiny_batch, tiny_model
from tests.tiny_dual_encoder import images
from tests.tiny_dual_encoder import tiny_dual_encoder as dual_encoder
from tests.tiny_dual_encoder import tiny_qllama as qllama
from transformers_internvl.modeling.dual_encoder.qllama import QLlamaForCausalLM
from transformers_internvl.modeling.language_models import InternLM2Config, InternLM2ForCausalLM
from transformers_internvl.training.lora import lora_config

# A random model may write the token that stands for an image, which no trained one does.
GREEDY = {
    "max_new_tokens": 6,
    "do_sample": False,
    "eos_token_id": None,
    "pad_token_id": 0,
    "suppress_tokens": [IMAGE_TOKEN],
}
LLAMA_DYNAMIC = {
    "model_type": "internlm2",
    "max_position_embeddings": 16,  # the prompts are longer: the rotary base is scaled
    "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
}


@pytest.fixture(params=[{}, {"text": LLAMA_DYNAMIC}], ids=["qwen2", "internlm2"])
def model(request):
    return tiny_model(**request.param)


def rows(batch: dict[str, torch.Tensor], tiles: list[int]) -> list[dict[str, torch.Tensor]]:
    """The batch, one row at a time."""
    pixels = batch["pixel_values"].split(tiles)
    return [
        {"input_ids": batch["input_ids"][i : i + 1], "attention_mask": batch["attention_mask"][i : i + 1]}
        | ({"pixel_values": pixels[i]} if tiles[i] else {})
        for i in range(len(tiles))
    ]


@pytest.fixture
def batch():
    return tiny_batch([2, 1])


def test_batched_rows_with_different_images_equal_single_rows(model):
    tiles = [2, 0, 1]
    batch = tiny_batch(tiles)
    together = model.generate(**batch, **GREEDY)
    alone = torch.cat([model.generate(**row, **GREEDY) for row in rows(batch, tiles)])
    assert torch.equal(together, alone)


def test_left_padding_changes_nothing(model):
    if model.config.text_config.model_type == "internlm2":
        model.config.text_config.max_position_embeddings = 512  # a longer batch has another rotary base, by design
    batch = tiny_batch([1, 2])
    plain = model.generate(**batch, **GREEDY)[:, 20:]
    padded = dict(batch)
    padded["input_ids"] = torch.nn.functional.pad(batch["input_ids"], (5, 0), value=0)
    padded["attention_mask"] = torch.nn.functional.pad(batch["attention_mask"], (5, 0), value=0)
    assert torch.equal(model.generate(**padded, **GREEDY)[:, 25:], plain)


@pytest.mark.parametrize(
    "options",
    [
        {"cache_implementation": "static", "disable_compile": True},
        {"prefill_chunk_size": 5},
        {"use_cache": False},
    ],
    ids=lambda options: next(iter(options)),
)
def test_caches_and_chunks_give_the_same_ids(model, batch, options):
    model.config.text_config.max_position_embeddings = 512  # chunks of a prompt beyond it are refused
    assert torch.equal(model.generate(**batch, **GREEDY, **options), model.generate(**batch, **GREEDY))


@pytest.mark.parametrize("how", ["prompt_lookup", "assistant"])
def test_speculation_gives_the_same_ids(model, how):
    model.config.text_config.max_position_embeddings = 512  # the same
    row = tiny_batch([2])
    options = {"prompt_lookup_num_tokens": 2} if how == "prompt_lookup" else {"assistant_model": model}
    assert torch.equal(model.generate(**row, **GREEDY, **options), model.generate(**row, **GREEDY))


def test_beams_of_a_batch_equal_beams_of_its_rows(model, batch):
    options = {**GREEDY, "num_beams": 3, "num_return_sequences": 2}
    together = model.generate(**batch, **options)
    alone = torch.cat([model.generate(**row, **options) for row in rows(batch, [2, 1])])
    assert torch.equal(together, alone)


def test_features_made_earlier(model, batch):
    expected = model.generate(**batch, **GREEDY)
    with torch.no_grad():
        features = model.get_image_features(batch.pop("pixel_values"))
    assert torch.equal(model.generate(**batch, mm_encoder_outputs={"image": features}, **GREEDY), expected)


def test_the_tower_runs_once(model, batch):
    runs = []
    model.model.vision_tower.register_forward_pre_hook(lambda *_: runs.append(1))
    model.generate(**batch, **GREEDY)
    assert len(runs) == 1


def test_a_streamer_gets_every_token(model):
    class Collect:
        def __init__(self):
            self.ids = []

        def put(self, value):
            self.ids += value.flatten().tolist()

        def end(self):
            pass

    streamer, row = Collect(), tiny_batch([1])
    sequence = model.generate(**row, **GREEDY, streamer=streamer)
    assert streamer.ids == sequence[0].tolist()


@pytest.mark.parametrize("kind", ["internlm2", "llama"])  # as in the original layout, and in the canonical one
def test_dynamic_rotary_base_forgets_longer_sequences(kind):
    model = tiny_model(text={**LLAMA_DYNAMIC, "model_type": kind})
    short, long = tiny_batch([1], length=18), tiny_batch([1], length=60)
    with torch.no_grad():
        before = model(**short).logits
        model(**long)
        assert torch.equal(model(**short).logits, before)


# --- in the middle of a training -------------------------------------------------------------------------------------


def of_chat(folder):
    model, batch = tiny_model(), tiny_batch([2, 1])
    return model, lambda **options: model.generate(**batch, **GREEDY, **options)


def of_original_chat(folder):
    model = AutoModel.from_pretrained(golden_root() / "chat_internlm2")
    model.config.image_token_id = IMAGE_TOKEN
    ids = torch.arange(3, 13)[None]
    return model, lambda **options: model.generate(input_ids=ids, **GREEDY, **options)


def of_llava(folder):
    write_folder(folder, "two_mlp")
    model = AutoModelForImageTextToText.from_pretrained(folder)
    ids = torch.tensor([[model.config.image_token_id] * model.config.image_seq_length + [5, 6, 7]])
    pixels = torch.randn(1, 3, 336, 336, generator=torch.Generator().manual_seed(0))
    greedy = {**GREEDY, "suppress_tokens": None, "max_new_tokens": 3}
    return model, lambda **options: model.generate(input_ids=ids, pixel_values=pixels, **greedy, **options)


def of_adapters(folder):
    model, batch = tiny_model(), tiny_batch([2, 1])
    adapted = get_peft_model(model, lora_config("llm", model, r=4, dropout=0.0, init_lora_weights=False))
    return adapted, lambda **options: adapted.generate(**batch, **GREEDY, **options)


def of_dual_encoder(folder):
    model, ids = dual_encoder(), torch.tensor([[1, 5, 6], [1, 7, 8]])
    greedy = {**GREEDY, "suppress_tokens": None}
    return model, lambda **options: model.generate(images(2), ids, **greedy, **options)


def of_qllama(folder):
    model, ids = qllama(QLlamaForCausalLM), torch.tensor([[1, 5, 6], [1, 7, 8]])
    return model, lambda **options: model.generate(ids, **{**GREEDY, "suppress_tokens": None}, **options)


def of_internlm2(folder):
    config = InternLM2Config(
        vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    torch.manual_seed(0)
    model, ids = InternLM2ForCausalLM(config), torch.tensor([[1, 5, 6], [1, 7, 8]])
    return model, lambda **options: model.generate(ids, **{**GREEDY, "suppress_tokens": None}, **options)


GENERATIVE = [of_chat, of_original_chat, of_llava, of_adapters, of_dual_encoder, of_qllama, of_internlm2]


@pytest.mark.parametrize("build", GENERATIVE, ids=lambda build: build.__name__)
def test_a_model_in_training_with_checkpointing_writes_the_same(build, tmp_path):
    model, generate = build(tmp_path)
    expected = [model.eval() and generate(num_beams=beams) for beams in (1, 2)]
    for reentrant in (False, True):
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)(
            {"use_reentrant": reentrant}
        )
        model.train()
        for beams, ids in zip((1, 2), expected, strict=True):
            assert torch.equal(generate(num_beams=beams), ids), (reentrant, beams)
        assert model.training and any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def test_with_gradients_checkpointing_and_a_cache_are_refused():
    model, batch = tiny_model(), tiny_batch([2, 1])
    expected = model.generate(**batch, **GREEDY)
    with_gradients = partial(unwrap(GenerationMixin.generate), model)  # without its `no_grad`
    assert torch.equal(with_gradients(**batch, **GREEDY), expected)
    model.train().activation_checkpointing_enable()
    with pytest.raises(ValueError, match=r"call `model.eval\(\)`"):
        with_gradients(**batch, **GREEDY)
    assert torch.equal(with_gradients(**batch, **GREEDY, use_cache=False), expected)
