# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL3.5-Flash on a tiny model: tiles of four image tokens, of one where they are compressed."""

import json
import shutil

import pytest
import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from peft import PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, DynamicCache, pipeline

from tests.closeness import assert_same_results
from tests.parity.golden import golden_root
from tests.tiny import IMAGE_TOKEN, shaken, tiny_config, tiny_model
from transformers_internvl import InternVLForConditionalGeneration
from transformers_internvl.conversion.surgery.transplant import replace_language_model, replace_tower
from transformers_internvl.modeling.flash import Shortening, at_kept, compressed_tiles, shifted_at_kept
from transformers_internvl.training.lora import lora_config

FLASH = {"flash_mode": True, "flash_relative_threshold": 0.3, "flash_absolute_threshold": 0.1}
GREEDY = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
TILES = [3, 1, 2]  # of the rows


@pytest.fixture(scope="module")
def model():
    return tiny_model(vision={"hidden_size": 32}, **FLASH)


def row(tiles: int, seed: int, length: int = 0) -> torch.Tensor:
    """Ids `(L,)` of a prompt: text, the placeholders of the tiles, text."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(2, 99, (4 + seed + length,), generator=generator)
    return torch.cat([text[:2], torch.full((4 * tiles,), IMAGE_TOKEN), text[2:]])


@pytest.fixture(scope="module")
def samples():
    """Prompts one by one, and the tiles of each."""
    pixels = torch.randn(sum(TILES), 3, 56, 56, generator=torch.Generator().manual_seed(1))
    return [row(tiles, seed) for seed, tiles in enumerate(TILES)], list(pixels.split(TILES))


def padded(rows: list[torch.Tensor], side: str, value: int = 0) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value, padding_side=side)


def batched(samples, side: str) -> dict[str, torch.Tensor]:
    ids, pixels = samples
    masks = [torch.ones_like(one) for one in ids]
    return {
        "input_ids": padded(ids, side),
        "attention_mask": padded(masks, side),
        "pixel_values": torch.cat(pixels),
    }


def alone(model, samples, **options):
    """The outputs of every sample by itself."""
    with torch.no_grad():
        return [
            model(input_ids=ids[None], pixel_values=pixels, flash_mode=True, **options)
            for ids, pixels in zip(*samples, strict=True)
        ]


def generate(model, samples, index: int, **options):
    ids, pixels = samples[0][index][None], samples[1][index]
    return model.generate(input_ids=ids, pixel_values=pixels, **{**GREEDY, **options})


# --- what is decided -------------------------------------------------------------------------------------------------


def test_the_smallest_probability_of_a_sample_stays_whole():
    probabilities = torch.tensor([0.9, 0.2, 0.5, 0.7, 0.7])
    assert compressed_tiles(probabilities, 0.0, 0.0, [5]).tolist() == [True, False, True, True, True]
    assert compressed_tiles(probabilities, 0.5, 0.0, [5]).tolist() == [True, False, False, False, False]
    assert compressed_tiles(probabilities, 0.0, 0.7, [5]).tolist() == [True, False, False, True, True]
    assert compressed_tiles(probabilities, 0.0, 0.0, [2, 1, 2]).tolist() == [True, False, False, False, False]
    assert compressed_tiles(probabilities, 0.0, 0.0, [0, 5, 0]).sum() == 4
    assert compressed_tiles(probabilities[:0], 0.0, 0.0, [0]).tolist() == []


def test_decisions_compare_float32_values():
    exact = torch.tensor([0.1, 0.3], dtype=torch.float64)
    assert exact[1] < exact[1].float().double()  # rounded up: in float64 it would be below its own rounded value
    assert compressed_tiles(exact, 0.0, float(exact[1].float()), [2]).tolist() == [False, True]


def test_some_tiles_are_compressed_and_some_are_not(model, samples):
    chosen = [one.image_outputs.compressed_tiles for one in alone(model, samples)]
    assert [len(tiles) for tiles in chosen] == TILES
    assert all(not tiles.all() for tiles in chosen) and chosen[0].any() and chosen[2].any()


def test_the_relative_threshold_is_of_each_sample(model, samples):
    single = torch.cat([one.image_outputs.compressed_tiles for one in alone(model, samples)])
    with torch.no_grad():
        together = model(**batched(samples, "left"), flash_mode=True).image_outputs
        joined = model.get_image_features(torch.cat(samples[1]), flash_mode=True)
        apart = model.get_image_features(torch.cat(samples[1]), flash_mode=True, tiles_per_sample=TILES)
    assert torch.equal(together.compressed_tiles, single) and torch.equal(apart.compressed_tiles, single)
    assert not torch.equal(joined.compressed_tiles, single)  # all tiles of a call are one sample's unless it says so


def test_chunks_of_tiles_are_decided_together(model, samples):
    pixels = torch.cat(samples[1])
    with torch.no_grad():
        whole, chunks = (model.get_image_features(pixels, flash_mode=True, vision_chunk_size=size) for size in (16, 2))
    assert torch.equal(whole.compressed_tiles, chunks.compressed_tiles)
    assert_same_results(torch.cat(chunks.pooler_output), torch.cat(whole.pooler_output))


# --- shorter sequences -----------------------------------------------------------------------------------------------


def test_what_stays_of_a_row():
    is_image = torch.tensor([[0, 1, 1, 1, 1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0, 0, 0, 0, 0]]).bool()
    left = Shortening.of(is_image, [4, 1, 1], pads_left=True)
    assert left.kept.tolist() == [[0, 1, 2, 3, 4, 5, 9], [0, 1, 5, 6, 7, 8, 9]]
    assert left.mask(None) is None
    mask = torch.tensor([[1] * 10, [1] * 6 + [0] * 4])
    right = Shortening.of(is_image, [4, 1, 1], mask)
    assert right.kept.tolist() == [[0, 1, 2, 3, 4, 5, 9], [0, 1, 5, -1, -1, -1, -1]]
    assert right.mask(mask).tolist() == [[1] * 7, [1] * 3 + [0] * 4]
    assert right.apply(torch.arange(20).reshape(2, 10), -7).tolist()[1] == [10, 11, 15, -7, -7, -7, -7]
    past = torch.cat([torch.tensor([[1, 1], [0, 1]]), mask], dim=1)
    assert Shortening.of(is_image, [4, 1, 1], past).mask(past).tolist()[1] == [0, 1, 1, 1, 1, 0, 0, 0, 0]


def test_positions_count_on_over_what_is_left():
    is_image = torch.tensor([[1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0]]).bool()
    short = Shortening.of(is_image, [1, 1])
    pack = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5]])
    assert short.positions(pack).tolist() == [[0, 1, 0, 1, 2]]
    assert short.positions(torch.arange(7, 18)[None]).tolist() == [[7, 8, 9, 10, 11]]
    assert short.positions(None) is None


def test_shifted_labels_follow_the_next_kept_position():
    labels = torch.arange(10)[None]
    shifted = torch.cat([labels[:, 1:], torch.tensor([[77]])], dim=1)
    kept = torch.tensor([[0, 1, 5, 9]])
    assert shifted_at_kept(shifted, kept).tolist() == [[1, 5, 9, 77]]
    assert shifted_at_kept(shifted, torch.tensor([[0, 1, 5, -1]])).tolist() == [[1, 5, -100, -100]]
    assert at_kept(labels, torch.tensor([[3, -1]]), -100).tolist() == [[3, -100]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_gives_what_its_rows_give(model, samples, side):
    single = alone(model, samples)
    with torch.no_grad():
        together = model(**batched(samples, side), flash_mode=True)
    for index, one in enumerate(single):
        kept = together.kept_positions[index]
        assert_same_results(together.logits[index][kept >= 0], one.logits[0])
    assert together.logits.shape[1] == max(one.logits.shape[1] for one in single)


def test_the_sequence_is_really_shorter(model, samples, monkeypatch):
    lengths, forward = [], model.model.language_model.forward
    monkeypatch.setattr(
        model.model.language_model,
        "forward",
        lambda **given: lengths.append(given["inputs_embeds"].shape[1]) or forward(**given),
    )
    generate(model, samples, 0, flash_relative_threshold=0.0, flash_absolute_threshold=0.0)
    assert lengths == [len(samples[0][0]) - 2 * 3, 1, 1, 1, 1]


def test_each_tile_passes_one_projector(model, samples, monkeypatch):
    passed = {}
    for name in ("multi_modal_projector", "compressed_projector"):
        part = getattr(model.model, name)
        monkeypatch.setattr(
            part, "forward", lambda x, name=name, run=part.forward: passed.update({name: x.shape[0]}) or run(x)
        )
    with torch.no_grad():
        model.get_image_features(samples[1][0], compressed_tiles=torch.tensor([True, False, True]))
    assert passed == {"multi_modal_projector": 1, "compressed_projector": 2}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_samples_give_what_they_give_alone(samples, attention):
    model = tiny_model(vision={"hidden_size": 32}, **FLASH, attn_implementation=attention)
    ids = torch.cat(samples[0])[None]
    positions = torch.cat([torch.arange(len(one)) for one in samples[0]])[None]
    with torch.no_grad():
        pack = model(input_ids=ids, position_ids=positions, pixel_values=torch.cat(samples[1]), flash_mode=True)
    single = alone(model, samples)
    assert_same_results(pack.logits[0], torch.cat([one.logits[0] for one in single]))
    assert torch.equal(
        pack.image_outputs.compressed_tiles, torch.cat([one.image_outputs.compressed_tiles for one in single])
    )


def test_the_loss_of_a_batch_is_that_of_its_rows(model, samples):
    batch = batched(samples, "right")
    labels = batch["input_ids"].masked_fill((batch["input_ids"] == IMAGE_TOKEN) | (batch["attention_mask"] == 0), -100)
    weights = torch.rand(labels.shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        each = model(**batch, labels=labels, loss_reduction="none", flash_mode=True)
        mean = model(**batch, labels=labels, flash_mode=True).loss
        weighted = model(**batch, labels=labels, loss_weight=weights, flash_mode=True).loss
        skipped = model(**batch, labels=labels, skip_logits=True, flash_mode=True)
        shifted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
        given = model(**batch, labels=labels, shift_labels=shifted, flash_mode=True).loss
    kept = each.kept_positions
    mine, share = at_kept(labels, kept, -100), at_kept(weights, kept)
    counted = mine[:, 1:] != -100
    losses = torch.nn.functional.cross_entropy(
        each.logits[:, :-1].transpose(1, 2), mine[:, 1:], ignore_index=-100, reduction="none"
    )
    assert_same_results(mean, losses[counted].mean())
    assert_same_results(given, mean)
    assert skipped.logits is None
    assert_same_results(skipped.loss, mean)
    assert_same_results(weighted, (losses * share[:, 1:] * counted).sum() / share[:, 1:].sum())


def test_two_answers_share_the_tiles(model, samples):
    """Rows that go through all tiles twice, as those of preferences."""
    ids, pixels = samples
    batch = batched(([*ids, *ids], pixels), "right")
    with torch.no_grad():
        twice = model(**batch, image_copies=2, flash_mode=True)
        once = model(**batched(samples, "right"), flash_mode=True)
    assert_same_results(twice.logits[:3], once.logits)
    assert_same_results(twice.logits[3:], once.logits)


def test_dummy_tiles_have_no_say(model, samples):
    ids, pixels = samples[0][0][None], samples[1][0]
    flags = torch.tensor([1, 0, 1, 1])
    padded_pixels = torch.cat([pixels[:1], torch.full_like(pixels[:1], 9.0), pixels[1:]])
    with torch.no_grad():
        plain = model(input_ids=ids, pixel_values=pixels, flash_mode=True)
        dummy = model(input_ids=ids, pixel_values=padded_pixels, image_flags=flags, flash_mode=True)
    assert_same_results(dummy.logits, plain.logits)


def test_text_alone_and_no_request_compress_nothing(model, samples):
    ids, pixels = samples[0][0][None], samples[1][0]
    with torch.no_grad():
        plain = model(input_ids=ids, pixel_values=pixels)
        text = model(input_ids=torch.tensor([[5, 6, 7]]), flash_mode=True)
    assert plain.logits.shape[1] == ids.shape[1] and plain.kept_positions is None
    assert text.kept_positions is None
    sequences = model.generate(input_ids=torch.tensor([[5, 6, 7]]), **GREEDY)
    assert sequences.shape == (1, 8)


# --- generation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"use_cache": False},
        {"cache_implementation": "static"},
        {"prefill_chunk_size": 3},
        {"prompt_lookup_num_tokens": 2},
        {"num_beams": 1, "num_return_sequences": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_ways_of_generation_agree(model, samples, options):
    for index in (0, 2):
        assert torch.equal(generate(model, samples, index, **options), generate(model, samples, index))


def test_greedy_ids_are_those_of_forward(model, samples):
    ids, pixels = samples[0][0][None], samples[1][0]
    written = generate(model, samples, 0)
    with torch.no_grad():
        logits = model(input_ids=written[:, :-1], pixel_values=pixels, flash_mode=True).logits
    assert torch.equal(logits[0, -5:].argmax(-1), written[0, ids.shape[1] :])


def test_a_batch_answers_as_its_rows(model, samples):
    batch = batched(samples, "left")
    together = model.generate(**batch, **GREEDY)
    assert torch.equal(together[:, : batch["input_ids"].shape[1]], batch["input_ids"])
    for index in range(3):
        assert torch.equal(together[index, -5:], generate(model, samples, index)[0, -5:])
    inferred = model.generate(**{**batch, "attention_mask": None}, **GREEDY)
    assert torch.equal(inferred, together)


def test_beams_and_several_answers(model, samples):
    options = {"num_beams": 3, "num_return_sequences": 2}
    batch = batched(samples, "left")
    together = model.generate(**batch, **{**GREEDY, **options})
    assert torch.equal(together[:, : batch["input_ids"].shape[1]], batch["input_ids"].repeat_interleave(2, dim=0))
    single = torch.cat([generate(model, samples, index, **options)[:, -5:] for index in range(3)])
    assert torch.equal(together[:, -5:], single)


def test_prompts_of_embeddings(model, samples):
    ids, pixels = samples[0][0][None], samples[1][0]
    embeds = model.get_input_embeddings()(ids).detach()
    written = model.generate(inputs_embeds=embeds, pixel_values=pixels, **GREEDY)
    assert torch.equal(written, generate(model, samples, 0)[:, -5:])


def test_features_that_were_encoded_earlier(model, samples):
    ids, pixels = samples[0][0][None], samples[1][0]
    with torch.no_grad():
        routed = model.get_image_features(pixels, flash_mode=True)
        whole = model.get_image_features(pixels)
        logits = model(input_ids=ids, mm_encoder_outputs={"image": routed}).logits
        expected = model(input_ids=ids, pixel_values=pixels, flash_mode=True).logits
    assert_same_results(logits, expected)
    written = model.generate(input_ids=ids, mm_encoder_outputs={"image": routed}, **GREEDY)
    assert torch.equal(written, generate(model, samples, 0))
    written = model.generate(input_ids=ids, mm_encoder_outputs={"image": whole}, **GREEDY)
    assert torch.equal(written, generate(model, samples, 0, flash_mode=False))
    with pytest.raises(ValueError, match="`flash_mode` comes too late"):
        model.generate(input_ids=ids, mm_encoder_outputs={"image": routed}, flash_mode=True)


def test_a_conversation_goes_on_from_its_cache(model, samples):
    first = generate(model, samples, 0, return_dict_in_generate=True)
    assert first.compressed_tiles.any()
    turn = torch.cat([first.sequences, torch.tensor([[8, 9, 10]])], dim=1)
    again = {**GREEDY, "input_ids": turn}
    expected = model.generate(pixel_values=samples[1][0], **again)
    written = model.generate(cache=first.cache, compressed_tiles=first.compressed_tiles, **again)
    assert torch.equal(written, expected)
    with pytest.raises(ValueError, match="pass the `compressed_tiles` of the output"):
        model.generate(cache=first.cache, **again)
    fresh = model.generate(cache=DynamicCache(config=model.config.text_config), pixel_values=samples[1][0], **again)
    assert torch.equal(fresh, expected)


def test_what_the_caller_decides(model, samples):
    tiles = torch.tensor([True, True, True])  # the router alone never compresses all
    output = generate(model, samples, 0, compressed_tiles=tiles, return_dict_in_generate=True)
    assert torch.equal(output.compressed_tiles, tiles)
    none = generate(model, samples, 0, compressed_tiles=~tiles)
    assert torch.equal(none, generate(model, samples, 0, flash_mode=False))


# --- training, saving ------------------------------------------------------------------------------------------------


def test_gradients_reach_the_chosen_branch_alone(samples):
    model = tiny_model(vision={"hidden_size": 32}, **FLASH).train()
    ids = samples[0][0][None]
    labels = ids.masked_fill(ids == IMAGE_TOKEN, -100)
    for tiles, reached, other in (
        ([True] * 3, "compressed_projector", "multi_modal_projector"),
        ([False] * 3, "multi_modal_projector", "compressed_projector"),
    ):
        model.zero_grad()
        tiles = torch.tensor(tiles)
        model(input_ids=ids, pixel_values=samples[1][0], labels=labels, compressed_tiles=tiles).loss.backward()
        grads = {
            name: sum(p.grad.abs().sum() for p in getattr(model.model, name).parameters() if p.grad is not None)
            for name in (reached, other)
        }
        assert grads[reached] > 0 and grads[other] == 0
        assert all(p.grad is None for p in model.model.resolution_router.parameters())


def test_attention_pooling_is_that_of_torch(model):
    """Without the keys and values of every patch: the numbers of `nn.MultiheadAttention`."""
    own = model.model.resolution_router.pooling.attn1
    torchs = torch.nn.MultiheadAttention(32, 16, batch_first=True)
    torchs.load_state_dict(own.state_dict())
    generator = torch.Generator().manual_seed(0)
    query, patches = torch.randn(3, 32, generator=generator), torch.randn(3, 16, 32, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(own(query, patches), torchs(query[:, None], patches, patches)[0][:, 0])


def test_saved_and_loaded(model, samples, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert torch.equal(generate(loaded, samples, 0), generate(model, samples, 0))
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_fresh_weights_are_finite():
    config = tiny_config(vision={"hidden_size": 32}, **FLASH)
    with torch.device("meta"):
        empty = InternVLForConditionalGeneration(config)
    empty.to_empty(device="cpu").init_weights()
    router = empty.model.resolution_router.state_dict()
    assert all(tensor.isfinite().all() for tensor in router.values())
    assert router["pooling.query_token"].std() > 0 and router["pooling.attn1.in_proj_weight"].std() > 0


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(golden_root() / "chat_flash", tmp_path / "checkpoint")


def edit_weights(folder, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder, **changes) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    kept = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def test_the_mode_in_config_json(folder):
    """`false`: the router is there and not asked; missing, with weights: said; missing without weights: plain."""
    edit_config(folder, flash_mode=False)
    model = AutoModel.from_pretrained(folder)
    assert model.model.resolution_router is not None and model.config.flash_mode is False
    assert model.config.loss_reduction == "token"
    edit_config(folder, flash_mode=None)
    with pytest.raises(ValueError, match="resolution router of InternVL3.5-Flash.*`flash_mode=False`"):
        AutoModel.from_pretrained(folder)
    assert AutoModel.from_pretrained(folder, flash_mode=False).config.flash_mode is False
    own = ("mlp2.", "gating.", "pooling_before_gating.")
    edit_weights(folder, lambda weights: [weights.pop(key) for key in list(weights) if key.startswith(own)])
    assert not hasattr(AutoModel.from_pretrained(folder).model, "resolution_router")


@pytest.mark.parametrize("part", ["mlp2.", "gating.", "pooling_before_gating.", "mlp2.7.bias"])
def test_a_folder_without_weights_of_the_router(folder, part):
    edit_weights(folder, lambda weights: [weights.pop(key) for key in list(weights) if key.startswith(part)])
    with pytest.raises(
        ValueError, match="no weights for .*resolution router of InternVL3.5-Flash.*complete the folder"
    ):
        AutoModel.from_pretrained(folder)


def test_the_pipeline_answers_as_chat_does():
    path = golden_root() / "chat_flash"
    pipe = pipeline("image-text-to-text", model=str(path), device="cpu")
    image = Image.linear_gradient("L").resize((150, 90)).convert("RGB")
    content = [{"type": "image", "image": image}, {"type": "text", "text": "Describe it."}]
    messages = [{"role": "user", "content": content}]
    options = {"generate_kwargs": {**GREEDY, "eos_token_id": 368}, "return_full_text": False}
    answer = pipe(text=messages, images_kwargs={"max_patches": 2}, **options)[0]["generated_text"]
    pixels = pipe.processor.image_processor([image], max_patches=2, return_tensors="pt")["pixel_values"]
    pipe.model.eval()
    assert answer == pipe.model.chat(pipe.tokenizer, pixels, "Describe it.", {"max_new_tokens": 5, "do_sample": False})


def test_modules_on_other_devices_by_their_original_names(tmp_path):
    path = golden_root() / "chat_flash"
    whole = AutoModel.from_pretrained(path).eval()
    places = {"vision_model": "cpu", "mlp1": "cpu", "language_model": "cpu"}
    places |= {"mlp2": "disk", "gating": "disk", "pooling_before_gating": "disk"}
    spread = AutoModel.from_pretrained(path, device_map=places, offload_folder=tmp_path).eval()
    assert (
        spread.model.compressed_projector[1].weight.is_meta
        and spread.model.resolution_router.pooling.query_token.is_meta
    )
    inputs = load_file(path / "inputs.safetensors")
    batch = {
        "input_ids": inputs["tiles.input_ids"],
        "pixel_values": inputs["pixel_values"][inputs["tiles.pixel_rows"]],
    }
    options = {**GREEDY, "max_new_tokens": 2}
    assert torch.equal(spread.generate(**batch, **options), whole.generate(**batch, **options))


def test_adapters_of_the_language_model(samples, tmp_path):
    model = tiny_model(vision={"hidden_size": 32}, **FLASH)
    wrapped = shaken(get_peft_model(model, lora_config("llm", model, r=2)))
    expected = generate(wrapped, samples, 0)
    assert not any("router" in name or "compressed" in name for name in wrapped.state_dict() if "lora_" in name)
    wrapped.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_model(vision={"hidden_size": 32}, **FLASH), tmp_path).eval()
    assert torch.equal(generate(again, samples, 0), expected)


def test_another_tower_and_another_language_model(model):
    wide = tiny_model(vision={"hidden_size": 48, "num_attention_heads": 4}, **FLASH)
    same = replace_tower(model, tiny_model(seed=3, vision={"hidden_size": 32}, **FLASH))
    for name in ("resolution_router", "compressed_projector"):
        for key, tensor in getattr(model.model, name).state_dict().items():
            assert torch.equal(getattr(same.model, name).state_dict()[key], tensor), key
    fresh = replace_tower(model, wide, reset_projector=True)
    assert fresh.model.compressed_projector[0].weight.shape == (16 * 48,)
    assert fresh.model.resolution_router.pooling.attn1.in_proj_weight.std() > 0
    text = AutoModelForCausalLM.from_config(tiny_config(text={"hidden_size": 64}).text_config)
    joined = replace_language_model(model, text, IMAGE_TOKEN)
    assert joined.model.compressed_projector[7].weight.shape == (64, 64 * 2)
    assert torch.equal(
        joined.model.resolution_router.gating.gate[1].weight, model.model.resolution_router.gating.gate[1].weight
    )


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), True, "0.5"])
@pytest.mark.parametrize("name", ["flash_relative_threshold", "flash_absolute_threshold"])
def test_thresholds_outside_of_0_and_1(model, samples, name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be a number in \[0, 1\]"):
        generate(model, samples, 0, **{name: value})
    with pytest.raises((ValueError, StrictDataclassFieldValidationError), match=name):
        tiny_config(vision={"hidden_size": 32}, **{**FLASH, name: value})


def test_thresholds_that_nobody_gave(samples):
    model = tiny_model(vision={"hidden_size": 32}, flash_mode=True, flash_relative_threshold=0.5)
    with pytest.raises(ValueError, match="no `flash_absolute_threshold`.*pass both, or `flash_mode=False`"):
        generate(model, samples, 0)
    generate(model, samples, 0, flash_absolute_threshold=0.2)
    generate(model, samples, 0, flash_mode=False)


def test_arguments_that_contradict_each_other(model, samples):
    with pytest.raises(ValueError, match="`flash_mode=False` and `flash_relative_threshold` contradict"):
        generate(model, samples, 0, flash_mode=False, flash_relative_threshold=0.5)
    with pytest.raises(ValueError, match="`compressed_tiles` or thresholds, not both"):
        generate(model, samples, 0, compressed_tiles=torch.ones(3).bool(), flash_relative_threshold=0.5)


def test_a_model_without_router(samples):
    plain = tiny_model(vision={"hidden_size": 32})
    with pytest.raises(ValueError, match="`flash_relative_threshold` is for InternVL3.5-Flash"):
        generate(plain, samples, 0, flash_relative_threshold=0.5)
    assert generate(plain, samples, 0, flash_mode=False).shape[1] == len(samples[0][0]) + 5


@pytest.mark.parametrize("tiles", [torch.ones(2).bool(), torch.ones(3), torch.ones(3, 1).bool()])
def test_decisions_about_other_tiles(model, samples, tiles):
    with pytest.raises(ValueError, match="`compressed_tiles` must say of each of the 3 tiles"):
        generate(model, samples, 0, compressed_tiles=tiles)


def test_prompts_that_do_not_fit_the_tiles(model, samples):
    ids, pixels = samples[0][0], samples[1][0]
    with pytest.raises(ValueError, match="11 image tokens for 3 tiles"):
        model.generate(input_ids=torch.cat([ids[:2], ids[3:]])[None], pixel_values=pixels, **GREEDY)
    batch = batched(samples, "left")
    batch["input_ids"][1, -1], batch["input_ids"][0, 2] = IMAGE_TOKEN, 7
    with pytest.raises(ValueError, match="Sample 0 has 11 image tokens, no multiple of the 4 of a tile"):
        model.generate(**batch, **GREEDY)
    mask = torch.ones(1, 1, len(ids), len(ids))
    with pytest.raises(ValueError, match="A mask of pairs is not shortened"):
        model(input_ids=ids[None], pixel_values=pixels, attention_mask=mask, compressed_tiles=torch.ones(3).bool())


def test_towers_that_the_router_does_not_suit():
    with pytest.raises(ValueError, match="16 heads, which do not divide the tower's `hidden_size` 24"):
        tiny_config(**FLASH)
