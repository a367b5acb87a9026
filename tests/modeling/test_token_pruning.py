# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Pruned image tokens on a tiny model: tiles of 16 tokens in a grid of 4 x 4."""

from itertools import combinations

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from tests.closeness import assert_same_results
from tests.parity.golden import golden_root
from tests.tiny import IMAGE_TOKEN, tiny_model
from transformers_internvl.modeling.flash import at_kept
from transformers_internvl.modeling.internvl import PRUNING_METHODS, Pruning, prune
from transformers_internvl.modeling.outputs import InternVLVisionModelOutputWithPooling

GREEDY = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
TILES = [3, 1, 2]  # of the rows
PER_TILE = 16
LARGE = {"vision": {"image_size": 112}, "image_seq_length": PER_TILE}
WAYS = [{"pruning": "random", "pruning_seed": 3}, {"pruning": "pooling"}, {"pruning": "divprune"}]
by_method = pytest.mark.parametrize("way", WAYS, ids=lambda way: way["pruning"])


@pytest.fixture(scope="module")
def model():
    return tiny_model(**LARGE)


@pytest.fixture(scope="module")
def samples():
    """Prompts one by one, and the tiles of each."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(sum(TILES), 3, 112, 112, generator=generator)
    texts = [torch.randint(2, 99, (5 + index,), generator=generator) for index in range(3)]
    ids = [
        torch.cat([text[:2], torch.full((PER_TILE * tiles,), IMAGE_TOKEN), text[2:]])
        for text, tiles in zip(texts, TILES, strict=True)
    ]
    return ids, list(pixels.split(TILES))


def batched(samples, side: str) -> dict[str, torch.Tensor]:
    ids, pixels = samples
    pad = {"batch_first": True, "padding_side": side}
    return {
        "input_ids": torch.nn.utils.rnn.pad_sequence(ids, **pad),
        "attention_mask": torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], **pad),
        "pixel_values": torch.cat(pixels),
    }


def run(model, samples, index: int, **options):
    with torch.no_grad():
        return model(input_ids=samples[0][index][None], pixel_values=samples[1][index], **options)


def generate(model, samples, index: int, **options):
    ids, pixels = samples[0][index][None], samples[1][index]
    return model.generate(input_ids=ids, pixel_values=pixels, **{**GREEDY, **options})


def features_of(*shape: int, seed: int = 0) -> InternVLVisionModelOutputWithPooling:
    tokens = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return InternVLVisionModelOutputWithPooling(pooler_output=tokens)


# --- which tokens are kept -------------------------------------------------------------------------------------------


def farthest_first(tokens: torch.Tensor, count: int) -> list[int]:
    """The selection by the paper's words, one pair after the other."""
    tokens = tokens.double()

    def distance(one: int, other: int) -> float:
        return 1 - float(torch.cosine_similarity(tokens[one], tokens[other], dim=0))

    everyone, chosen = range(len(tokens)), []
    while len(chosen) < count:
        scores = {
            one: min(distance(one, other) for other in (chosen or everyone) if other != one)
            for one in everyone
            if one not in chosen
        }
        chosen.append(max(scores, key=scores.__getitem__))
    return sorted(chosen)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_divprune_takes_the_farthest_from_what_it_has(count):
    outputs = features_of(3, 9, 4, seed=count)
    pruned = prune(outputs, (3, 3), Pruning(count, "divprune"))
    for tile, kept, places in zip(outputs.pooler_output, pruned.pooler_output, pruned.kept_tokens, strict=True):
        assert places.tolist() == farthest_first(tile, count)
        assert torch.equal(kept, tile[places])


def test_divprune_is_near_the_best_of_all_sets():
    """Choosing the farthest keeps at least half of the largest least angle: distances that are chords are a metric."""
    (tokens,) = features_of(1, 9, 4).pooler_output
    directions = torch.nn.functional.normalize(tokens, dim=-1)
    chords = torch.cdist(directions, directions)

    def least(places) -> float:
        return min(float(chords[one, other]) for one, other in combinations(places, 2))

    places = prune(features_of(1, 9, 4), (3, 3), Pruning(4, "divprune")).kept_tokens[0].tolist()
    best = max(least(chosen) for chosen in combinations(range(9), 4))
    assert best / 2 <= least(places) <= best


def test_divprune_of_equal_tokens_takes_each_once():
    outputs = InternVLVisionModelOutputWithPooling(pooler_output=torch.ones(2, 9, 4))
    places = prune(outputs, (3, 3), Pruning(5, "divprune")).kept_tokens
    assert all(len(set(row)) == 5 for row in places.tolist())


def test_random_tokens_are_those_of_the_seed():
    outputs = features_of(6, PER_TILE, 4)

    def places(seed, *tiles):
        pruning = Pruning(5, "random", seed, tiles or None)
        pruned = prune(outputs, (4, 4), pruning)
        assert torch.equal(torch.stack(pruned.pooler_output)[2], outputs.pooler_output[2][pruned.kept_tokens[2]])
        return pruned.kept_tokens

    drawn = places(3)
    assert (drawn.diff(dim=1) > 0).all() and len({tuple(row) for row in drawn.tolist()}) == 6
    assert torch.equal(places(3), drawn) and not torch.equal(places(4), drawn)
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(places(generator), drawn) and not torch.equal(places(generator), drawn)
    torch.manual_seed(3)
    assert torch.equal(places(None), drawn)
    apart = places(3, 3, 1, 2)  # every sample begins with the seed
    assert torch.equal(apart, torch.cat([drawn[:3], drawn[:1], drawn[:2]]))


@pytest.mark.parametrize(
    ("grid", "count", "smaller"),
    [((4, 4), 4, (2, 2)), ((4, 4), 8, (2, 4)), ((4, 4), 1, (1, 1)), ((4, 8), 8, (2, 4)), ((8, 4), 2, (2, 1))],
)
def test_pooling_takes_means_of_neighbours(grid, count, smaller):
    outputs = features_of(2, grid[0] * grid[1], 3)
    pruned = prune(outputs, grid, Pruning(count, "pooling"))
    rows, columns = grid[0] // smaller[0], grid[1] // smaller[1]
    cells = outputs.pooler_output.reshape(2, smaller[0], rows, smaller[1], columns, 3)
    torch.testing.assert_close(torch.stack(pruned.pooler_output), cells.mean((2, 4)).flatten(1, 2))
    assert pruned.kept_tokens is None


@pytest.mark.parametrize("method", PRUNING_METHODS)
@pytest.mark.parametrize(("kept", "count"), [(1, 1), (0.01, 1), (0.25, 4), (0.5, 8), (4, 4)])
def test_numbers_and_shares(method, kept, count):
    pruned = prune(features_of(2, PER_TILE, 4), (4, 4), Pruning(kept, method))
    assert [tuple(tile.shape) for tile in pruned.pooler_output] == [(count, 4)] * 2


def test_shares_of_a_real_tile():
    """Those of the public comparison: two thirds, seven and eight ninths are left out of 256."""
    shares = (1 / 3, 2 / 9, 1 / 9)
    assert [Pruning(share, "divprune").count((16, 16)) for share in shares] == [85, 57, 28]
    assert [Pruning(share, "pooling").count((16, 16)) for share in shares] == [84, 56, 28]


# --- the model -------------------------------------------------------------------------------------------------------


@by_method
@pytest.mark.parametrize("kept", [PER_TILE, 1.0])
def test_all_tokens_are_the_plain_result(model, samples, way, kept):
    plain = run(model, samples, 0)
    pruned = run(model, samples, 0, kept_tokens=kept, **way)
    assert torch.equal(pruned.logits, plain.logits) and pruned.kept_positions is None
    off = run(model, samples, 0, kept_tokens=None, pruning=None, pruning_seed=None)
    assert torch.equal(off.logits, plain.logits)
    written = generate(model, samples, 0)
    assert torch.equal(generate(model, samples, 0, kept_tokens=kept, **way), written)
    assert torch.equal(generate(model, samples, 0, kept_tokens=None, pruning=None), written)


@by_method
def test_a_shorter_prompt_with_the_kept_features(model, samples, way):
    """What pruning computes: the plain model on a prompt that was written for fewer tokens."""
    ids, pixels = samples[0][0], samples[1][0]
    pruned = run(model, samples, 0, kept_tokens=4, **way)
    places = (ids == IMAGE_TOKEN).nonzero().flatten().reshape(3, PER_TILE)[:, 4:]
    stays = torch.ones_like(ids, dtype=torch.bool)
    stays[places.flatten()] = False
    with torch.no_grad():
        features = model.get_image_features(pixels, kept_tokens=4, **way).pooler_output
        embeds = model.get_input_embeddings()(ids[stays])
        embeds[ids[stays] == IMAGE_TOKEN] = torch.cat(features)
        expected = model.lm_head(model.model.language_model(inputs_embeds=embeds[None]).last_hidden_state)
    assert_same_results(pruned.logits, expected)
    assert pruned.kept_positions[0].tolist() == stays.nonzero().flatten().tolist()


def test_chunks_and_dummy_tiles(model, samples):
    pixels = torch.cat(samples[1])
    flags = torch.tensor([1, 0, 1, 1, 1, 1])
    for way in WAYS:
        with torch.no_grad():
            whole = model.get_image_features(pixels, kept_tokens=4, **way)
            chunks = model.get_image_features(pixels, kept_tokens=4, vision_chunk_size=2, **way)
            dummy = model.get_image_features(pixels, kept_tokens=4, image_flags=flags, **way)
            rest = model.get_image_features(pixels[flags == 1], kept_tokens=4, **way)
        assert_same_results(torch.cat(chunks.pooler_output), torch.cat(whole.pooler_output))
        assert_same_results(torch.cat(dummy.pooler_output), torch.cat(rest.pooler_output))


@by_method
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_gives_what_its_rows_give(model, samples, way, side):
    with torch.no_grad():
        together = model(**batched(samples, side), kept_tokens=4, **way)
    for index in range(3):
        alone = run(model, samples, index, kept_tokens=4, **way)
        assert alone.logits.shape[1] == len(samples[0][index]) - 12 * TILES[index]
        assert_same_results(together.logits[index][together.kept_positions[index] >= 0], alone.logits[0])


@by_method
def test_packed_samples_give_what_they_give_alone(model, samples, way):
    positions = torch.cat([torch.arange(len(one)) for one in samples[0]])[None]
    with torch.no_grad():
        pack = model(
            input_ids=torch.cat(samples[0])[None],
            position_ids=positions,
            pixel_values=torch.cat(samples[1]),
            kept_tokens=4,
            **way,
        )
    single = [run(model, samples, index, kept_tokens=4, **way).logits[0] for index in range(3)]
    assert_same_results(pack.logits[0], torch.cat(single))


@by_method
def test_the_loss_is_that_of_the_labels_that_are_left(model, samples, way):
    batch = batched(samples, "right")
    labels = batch["input_ids"].masked_fill((batch["input_ids"] == IMAGE_TOKEN) | (batch["attention_mask"] == 0), -100)
    with torch.no_grad():
        outputs = model(**batch, labels=labels, kept_tokens=4, **way)
    mine = at_kept(labels, outputs.kept_positions, -100)
    expected = torch.nn.functional.cross_entropy(outputs.logits[:, :-1].transpose(1, 2), mine[:, 1:])
    assert (mine != -100).sum() == (labels != -100).sum()
    assert_same_results(outputs.loss, expected)


@by_method
def test_gradients_flow_through_the_kept_tokens(samples, way):
    model = tiny_model(**LARGE).train()
    ids = samples[0][0][None]
    labels = ids.masked_fill(ids == IMAGE_TOKEN, -100)
    outputs = model(input_ids=ids, pixel_values=samples[1][0], labels=labels, kept_tokens=4, **way)
    outputs.loss.backward()
    for part in (model.model.vision_tower.encoder, model.model.multi_modal_projector, model.model.language_model):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters() if p.dim() > 1)


# --- generation ------------------------------------------------------------------------------------------------------


@by_method
def test_ways_of_generation_agree(model, samples, way):
    pruned = {"kept_tokens": 4, **way}
    written = generate(model, samples, 0, **pruned)
    assert torch.equal(written[0, : len(samples[0][0])], samples[0][0])
    for options in ({"use_cache": False}, {"cache_implementation": "static"}, {"prompt_lookup_num_tokens": 2}):
        assert torch.equal(generate(model, samples, 0, **pruned, **options), written)
    with torch.no_grad():
        logits = model(input_ids=written[:, :-1], pixel_values=samples[1][0], **pruned).logits
    assert torch.equal(logits[0, -5:].argmax(-1), written[0, -5:])
    together = model.generate(**batched(samples, "left"), **GREEDY, **pruned)
    for index in range(3):
        assert torch.equal(together[index, -5:], generate(model, samples, index, **pruned)[0, -5:])


def test_the_language_model_runs_fewer_positions(model, samples, monkeypatch):
    lengths, forward = [], model.model.language_model.forward
    monkeypatch.setattr(
        model.model.language_model,
        "forward",
        lambda **given: lengths.append(given["inputs_embeds"].shape[1]) or forward(**given),
    )
    generate(model, samples, 0, kept_tokens=0.25, pruning="divprune")
    assert lengths == [len(samples[0][0]) - 12 * 3, 1, 1, 1, 1]


def test_features_that_were_encoded_earlier(model, samples):
    ids, pixels = samples[0][0][None], samples[1][0]
    pruned = {"kept_tokens": 4, "pruning": "divprune"}
    with torch.no_grad():
        encoded = {"image": model.get_image_features(pixels, **pruned)}
        logits = model(input_ids=ids, mm_encoder_outputs=encoded).logits
    assert_same_results(logits, run(model, samples, 0, **pruned).logits)
    written = model.generate(input_ids=ids, mm_encoder_outputs=encoded, **GREEDY)
    assert torch.equal(written, generate(model, samples, 0, **pruned))
    for call in (model, model.generate):
        with pytest.raises(ValueError, match="`kept_tokens` comes too late"):
            call(input_ids=ids, mm_encoder_outputs=encoded, **pruned)


def test_common_beginnings_are_of_one_way_of_pruning(samples):
    model = tiny_model(**LARGE)
    ways = ({}, {"kept_tokens": 4, "pruning": "divprune"}, {"kept_tokens": 4, "pruning": "pooling"})
    expected = [generate(model, samples, 0, **way) for way in ways]
    model.keep_prefixes()
    for _ in range(2):
        for way, written in zip(ways, expected, strict=True):
            assert torch.equal(generate(model, samples, 0, **way), written)


def test_fractional_positions_count_over_what_is_kept(model, samples):
    options = {"kept_tokens": 4, "pruning": "divprune", "v2pe_stride": 0.25}
    ids, image = samples[0][1], samples[1][1]
    # A tile of 4 tokens takes one position: its last token has that of the next whole number.
    positions = torch.tensor([[0, 1, 1.25, 1.5, 1.75, 2, *range(3, len(ids) - 15)]])
    with torch.no_grad():
        features = model.get_image_features(image, kept_tokens=4, pruning="divprune")
        short = torch.cat([ids[:6], ids[18:]])[None]
        expected = model(input_ids=short, mm_encoder_outputs={"image": features}, position_ids=positions).logits
    assert_same_results(run(model, samples, 1, **options).logits, expected)
    written = generate(model, samples, 1, **options)
    assert torch.equal(written, generate(model, samples, 1, use_cache=False, **options))
    with torch.no_grad():
        logits = model(input_ids=written[:, :-1], pixel_values=image, **options).logits
    assert torch.equal(logits[0, -5:].argmax(-1), written[0, -5:])


def test_text_alone_has_nothing_to_prune(model):
    ids, pruned = torch.tensor([[5, 6, 7]]), {"kept_tokens": 4, "pruning": "divprune"}
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids, **pruned).logits, model(input_ids=ids).logits)
    assert torch.equal(model.generate(input_ids=ids, **GREEDY, **pruned), model.generate(input_ids=ids, **GREEDY))


def test_conversations_take_the_arguments():
    folder = golden_root() / "chat_qwen2"
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    pixels = load_file(folder / "inputs.safetensors")["pixel_values"][:2]
    settings = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    lengths, forward = [], model.model.language_model.forward
    model.model.language_model.forward = lambda **given: (
        lengths.append(given["inputs_embeds"].shape[1]) or forward(**given)
    )
    whole = model.chat(tokenizer, pixels, "What?", settings)
    pruned = {**settings, "kept_tokens": 1, "pruning": "divprune"}
    answer = model.chat(tokenizer, pixels, "What?", pruned)
    assert lengths[0] - lengths[4] == 2 * (model.num_image_token - 1) and lengths[5:] == [1, 1, 1]
    (both, other) = model.batch_chat(tokenizer, pixels, ["What?", "Where?"], pruned, num_patches_list=[1, 1])
    assert both == model.chat(tokenizer, pixels[:1], "What?", pruned)
    assert other == model.chat(tokenizer, pixels[1:], "Where?", pruned)
    assert isinstance(answer, str) and isinstance(whole, str)
    everything = {**settings, "kept_tokens": 1.0, "pruning": "divprune"}
    assert model.chat(tokenizer, pixels, "What?", everything) == whole


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, -3, 0.0, -0.5, 1.5, 64.0, float("nan"), True, "64", [4]])
def test_numbers_that_are_none(model, samples, kept):
    for call in (run, generate):
        with pytest.raises(ValueError, match=r"`kept_tokens` says .* from 1 on, or a share in \(0, 1\]; got"):
            call(model, samples, 0, kept_tokens=kept, pruning="divprune")


@by_method
def test_more_tokens_than_there_are(model, samples, way):
    for call in (run, generate):
        with pytest.raises(ValueError, match="A tile has 16 image tokens, `kept_tokens=17` is more"):
            call(model, samples, 0, kept_tokens=17, **way)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kept_tokens": 4, "pruning": "topk"}, "one of random, pooling, divprune, fastv; got 'topk'"),
        ({"kept_tokens": 4}, "`kept_tokens` and `pruning` go together"),
        ({"pruning": "random"}, "`kept_tokens` and `pruning` go together"),
        ({"pruning_seed": 1}, "`kept_tokens` and `pruning` go together"),
        ({"kept_tokens": 4, "pruning": "divprune", "pruning_seed": 1}, "`pruning_seed` is for `pruning='random'`"),
        ({"kept_tokens": 4, "pruning": "random", "pruning_seed": 0.5}, "a whole number or a `torch.Generator`"),
        ({"kept_tokens": 7, "pruning": "pooling"}, "none has 7: take 6 or 8, or a share"),
        ({"kept_tokens": 4, "pruning": "divprune", "flash_mode": True}, "`flash_mode` is for InternVL3.5-Flash"),
    ],
)
def test_arguments_that_do_not_go(model, samples, options, message):
    for call in (run, generate):
        with pytest.raises(ValueError, match=message):
            call(model, samples, 0, **options)


def test_pooling_of_queries_is_refused():
    with pytest.raises(ValueError, match="5 of the 14 image tokens of a tile are queries"):
        prune(features_of(1, 14, 4), (3, 3), Pruning(4, "pooling"))
    assert len(prune(features_of(1, 14, 4), (3, 3), Pruning(4, "divprune")).pooler_output[0]) == 4


def test_samples_of_other_tiles_are_refused(model, samples):
    with pytest.raises(ValueError, match="`pixel_values` has 3"):
        model.get_image_features(
            samples[1][0], kept_tokens=4, pruning="random", pruning_seed=0, tiles_per_sample=[1, 1]
        )


def test_a_cache_does_not_tell_what_it_holds(model, samples):
    pruned = {"kept_tokens": 4, "pruning": "divprune"}
    first = generate(model, samples, 0, return_dict_in_generate=True, **pruned)
    with pytest.raises(ValueError, match="give the whole conversation without a cache"):
        model.generate(input_ids=first.sequences, cache=first.cache, **GREEDY, **pruned)


def test_flash_compresses_or_prunes(samples):
    flash = {"flash_mode": True, "flash_relative_threshold": 0.3, "flash_absolute_threshold": 0.1}
    model = tiny_model(vision={"image_size": 112, "hidden_size": 32}, image_seq_length=PER_TILE, **flash)
    pruned = {"kept_tokens": 4, "pruning": "divprune"}
    with pytest.raises(ValueError, match="are two ways to make tiles shorter: choose one"):
        generate(model, samples, 0, **pruned)
    with pytest.raises(ValueError, match="are two ways to make tiles shorter: choose one"):
        run(model, samples, 0, flash_mode=True, **pruned)
    written = generate(model, samples, 0, flash_mode=False, **pruned)
    with torch.no_grad():
        logits = model(input_ids=written[:, :-1], pixel_values=samples[1][0], **pruned).logits
    assert torch.equal(logits[0, -5:].argmax(-1), written[0, -5:])
    with torch.no_grad():
        encoded = {"image": model.get_image_features(samples[1][0], flash_mode=True)}
    with pytest.raises(ValueError, match="`flash_mode` comes too late"):
        model(input_ids=samples[0][0][None], mm_encoder_outputs=encoded, flash_mode=True)
