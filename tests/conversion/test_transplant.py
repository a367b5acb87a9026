# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Towers and language models that move between models keep their tensors, and their numbers."""

import pytest
import torch
from transformers import AutoModel, AutoModelForImageTextToText, Qwen2Config, Qwen2ForCausalLM, Qwen2Model

from tests import llava
from tests.closeness import assert_same_results
from tests.parity.golden import golden_root
from tests.tiny import tiny_batch, tiny_config, tiny_model
from transformers_internvl import (
    InternLM2ForCausalLM,
    InternVisionModel,
    InternVLDualEncoderModel,
    InternVLVisionModel,
)
from transformers_internvl.conversion.surgery.transplant import extract_tower, replace_language_model, replace_tower


def load(name):
    return AutoModelForImageTextToText.from_pretrained(golden_root() / name).eval()


def language_model(model) -> torch.nn.Module:
    """The language model of a chat model with its head, on its own."""
    kinds = {"internlm2": InternLM2ForCausalLM, "qwen2": Qwen2ForCausalLM}
    alone = kinds[model.config.text_config.model_type](model.config.text_config).eval()
    alone.model.load_state_dict(model.model.language_model.state_dict())
    alone.lm_head.load_state_dict(model.lm_head.state_dict())
    return alone


@torch.no_grad()
def last_hidden(tower, pixels):
    return tower(pixels).last_hidden_state


@pytest.mark.parametrize("to", ["original", "hf"])
@pytest.mark.parametrize("name", ["chat_internlm2", "chat_qwen2", "chat_llama_v1_2", "internvl_14b", "-hf"])
def test_an_extracted_tower_is_the_tower(name, to, tmp_path):
    model = tiny_model() if name == "-hf" else AutoModel.from_pretrained(golden_root() / name).eval()
    inside = model.vision_model if isinstance(model, InternVLDualEncoderModel) else model.model.vision_tower
    tower = extract_tower(model, to)
    assert type(tower) is {"original": InternVisionModel, "hf": InternVLVisionModel}[to]
    tower.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path).eval()
    assert type(again) is type(tower)
    side = tower.config.image_size[0]
    pixels = torch.randn(2, 3, side, side)
    assert_same_results(last_hidden(again, pixels), last_hidden(inside, pixels))


@pytest.mark.parametrize("target", ["chat_internlm2", "chat_phi3", "-hf"])
def test_a_tower_moves(target, tmp_path):
    """A tower of another width and depth, with a norm of another kind; the projector is new."""
    small, model = load("chat_qwen2"), tiny_model() if target == "-hf" else load(target)
    if target == "-hf":
        small = load("chat_internlm2")
    language = {key: tensor.clone() for key, tensor in model.model.language_model.state_dict().items()}
    tokens = model.config.image_seq_length
    wide = small.config.vision_config.hidden_size != model.config.vision_config.hidden_size
    model = replace_tower(model, small, reset_projector=wide)
    pixels = torch.randn(1, 3, 56, 56)
    assert_same_results(last_hidden(model.model.vision_tower, pixels), last_hidden(small.model.vision_tower, pixels))
    assert model.config.image_seq_length == tokens
    assert all(torch.equal(language[k], t) for k, t in model.model.language_model.state_dict().items())
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    assert again.config.vision_config.hidden_size == small.config.vision_config.hidden_size
    assert again.config.image_seq_length == tokens and getattr(again.config, "tile_size", 56) in (56, 28)
    ids = tiny_batch([1])["input_ids"] if target == "-hf" else torch.tensor([[3, *[9] * tokens, 4]])
    for each in (model, again):
        each.config.image_token_id = 1 if target == "-hf" else 9
    side = getattr(model.config, "tile_size", 56)
    inputs = {"input_ids": ids, "pixel_values": torch.randn(1, 3, side, side)}
    with torch.no_grad():
        assert_same_results(again(**inputs).logits, model(**inputs).logits)


def test_a_new_projector_is_pytorchs():
    model = load("chat_qwen2")
    torch.manual_seed(5)
    model = replace_tower(model, load("chat_internlm2"), reset_projector=True)
    torch.manual_seed(5)
    norm = torch.nn.LayerNorm(4 * 28)
    first, second = torch.nn.Linear(4 * 28, 48), torch.nn.Linear(48, 48)
    for name, module in (("layer_norm", norm), ("linear_1", first), ("linear_2", second)):
        for key, parameter in module.named_parameters():
            ours = model.get_parameter(f"model.multi_modal_projector.{name}.{key}")
            assert torch.equal(ours, parameter)


def test_the_layer_that_is_read_goes_along():
    """Another than the last one cannot be guessed in a tower of another depth."""
    model, tower = load("chat_llama_v1_2"), load("chat_qwen2")
    with pytest.raises(ValueError, match=r"reads layer -4 of \d+ blocks, the tower has 4: say which"):
        replace_tower(model, tower, reset_projector=True)
    model = replace_tower(model, tower, reset_projector=True, vision_feature_layer=-2)
    assert model.config.vision_feature_layer == model.config.select_layer == -2
    pixels = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        state = tower.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2]
        features = model.get_image_features(pixels).last_hidden_state
    assert_same_results(features, state)


@pytest.mark.parametrize("layout", ["original", "hf"])
def test_another_language_model(layout, tmp_path):
    """Of another width, family and vocabulary; -hf folders know InternLM2 as Llama."""
    model, donor = load("chat_qwen2"), load("chat_internlm2")
    if layout == "hf":
        model = model.to_canonical()
    alone = language_model(donor)
    joined = replace_language_model(model, alone, image_token_id=448).eval()
    assert type(joined) is type(model) and joined.config.text_config.vocab_size == 455
    assert joined.config.text_config.model_type == {"original": "internlm2", "hf": "llama"}[layout]
    joined.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, image_token_id=448).eval()
    ids, pixels = torch.tensor([[1, 7, 8, 20, 31]]), torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        assert_same_results(again(input_ids=ids).logits, alone(input_ids=ids).logits)
        assert_same_results(
            last_hidden(again.model.vision_tower, pixels), last_hidden(model.model.vision_tower, pixels)
        )
        seeing = torch.tensor([[1, 448, 448, 448, 448, 9]])
        assert again(input_ids=seeing, pixel_values=pixels).logits.isfinite().all()
    assert again.config.text_config.hidden_size == again.model.multi_modal_projector.linear_2.out_features == 48


def test_ties_follow_the_layout(tmp_path):
    """The original code up to 3.0 forces embeddings and head apart: the head becomes a copy."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 40, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Qwen2Config(vocab_size=50, num_key_value_heads=2, tie_word_embeddings=True, **sizes)
    tied = Qwen2ForCausalLM(config).eval()
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    for model, kept in ((load("chat_qwen2"), False), (tiny_model(), True)):
        joined = replace_language_model(model, tied, image_token_id=7).eval()
        assert joined.config.tie_word_embeddings is kept
        assert (joined.lm_head.weight is joined.model.language_model.embed_tokens.weight) is kept
        joined.save_pretrained(tmp_path / str(kept))
        again = type(model).from_pretrained(tmp_path / str(kept)).eval()
        ids = torch.tensor([[3, 4, 5]])
        with torch.no_grad():
            assert_same_results(again(input_ids=ids).logits, tied(input_ids=ids).logits)


def test_what_cannot_be_done_is_refused(tmp_path):
    model = tiny_model()
    with pytest.raises(ValueError, match="'original', 'hf', got 'ours'"):
        extract_tower(model, "ours")
    with pytest.raises(ValueError, match="0 InternViT towers"):
        extract_tower(model.model.language_model)
    with pytest.raises(ValueError, match="no chat model"):
        replace_tower(AutoModel.from_pretrained(golden_root() / "internvl_14b"), model)
    with pytest.raises(ValueError, match=r"in torch.bfloat16, the model in torch.float32"):
        replace_tower(model, tiny_model().bfloat16())
    with pytest.raises(ValueError, match="28 wide, the projector takes 24"):
        replace_tower(model, load("chat_internlm2"))
    with pytest.raises(ValueError, match="within the 4 blocks, got 9"):
        replace_tower(model, tiny_model(), vision_feature_layer=9)
    with pytest.raises(ValueError, match="patches are of"):
        replace_tower(model, InternVLVisionModel(tiny_config(vision={"patch_size": 28}).vision_config))
    text = model.config.text_config
    with pytest.raises(ValueError, match="needs a language modeling head"):
        replace_language_model(model, Qwen2Model(text), 1)
    with pytest.raises(ValueError, match=r"in torch.bfloat16, the model"):
        replace_language_model(model, Qwen2ForCausalLM(text).bfloat16(), 1)
    llava.write_folder(tmp_path / "llava", "mlp2x_gelu")
    old = AutoModelForImageTextToText.from_pretrained(tmp_path / "llava")
    with pytest.raises(ValueError, match="convert it to the -hf layout first"):
        replace_language_model(old, Qwen2ForCausalLM(text), 1)


@pytest.mark.parametrize("layer", [-5, 4, 0, -1])
def test_every_state_of_the_tower_can_be_read(layer):
    model = replace_tower(tiny_model(), tiny_model(seed=1), vision_feature_layer=layer)
    assert model.config.vision_feature_layer == layer
    with torch.no_grad():
        assert model.get_image_features(torch.randn(1, 3, 56, 56)).pooler_output.isfinite().all()


@pytest.mark.parametrize("layer", [-6, 5, [1], "-1"])
def test_what_is_no_state_of_the_tower_is_refused(layer):
    with pytest.raises(ValueError, match="must be within the 4 blocks, got"):
        replace_tower(tiny_model(), tiny_model(seed=1), vision_feature_layer=layer)


def test_the_last_layer_is_the_last_of_any_depth():
    """The last one needs no word; another one does, even where the number fits."""
    deeper = tiny_model(seed=1, vision={"num_hidden_layers": 6})
    assert replace_tower(tiny_model(), deeper).config.vision_feature_layer == -1
    with pytest.raises(ValueError, match="reads layer 2 of 4 blocks, the tower has 6"):
        replace_tower(tiny_model(vision_feature_layer=2), deeper)
    assert replace_tower(tiny_model(vision_feature_layer=2), tiny_model(seed=1)).config.vision_feature_layer == 2


@pytest.mark.parametrize("training", [True, False])
def test_what_is_no_weight_goes_along(training):
    """The mode, and the settings of generation; the parts that were given stay as they are."""
    model, other = tiny_model().train(training), tiny_model(seed=1).train(training)
    model.generation_config.max_new_tokens = 77
    joined = replace_tower(model, other)
    assert joined.training is training and joined.generation_config.max_new_tokens == 77
    assert extract_tower(model, "hf").training is extract_tower(model).training is training
    assert joined.model.vision_tower.training is training and joined.lm_head.weight is model.lm_head.weight
