# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""FastV: image tokens leave the language model behind its first layers. A plain loop over the layers says how."""

import copy
import threading

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText, AutoTokenizer

from tests.closeness import assert_same_results
from tests.parity.golden import golden_root
from tests.tiny import IMAGE_TOKEN, TOKENS_PER_TILE, shaken, tiny_batch, tiny_model
from transformers_internvl.modeling.internvl.layer_pruning import PrunedCache, _chosen

GREEDY = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
FASTV = {"pruning": "fastv", "kept_tokens": 0.5}
FAMILIES = [
    "chat_flash",
    "chat_gpt_oss",
    "chat_internlm2",
    "chat_llama_v1_2",
    "chat_phi3",
    "chat_qwen3",
    "chat_qwen3_moe",
    "mono_internvl",
    "v2pe",
]


class Loop:
    """The layers of a language model one after the other, on whole rows: what has left is hidden by masks.

    No cache, no hooks of the package's, attention weights from `eager` attention.
    """

    def __init__(self, model, layer: int, share: float):
        self.model, self.layer, self.share, self.stays = copy.deepcopy(model), layer, share, None
        self.model.set_attn_implementation("eager")

    def mask(self, visible: torch.Tensor, window: int | None) -> torch.Tensor:
        """`(1, 1, L, L)`: each position sees those before it that are `visible`, the last `window` of them."""
        order = visible.long().cumsum(0)
        distance = order[:, None] - order[None]
        allowed = torch.ones(len(order), len(order)).tril().bool() & visible[None]
        if window is not None:
            allowed &= distance < window
        allowed |= torch.eye(len(order)).bool()  # what has left sees itself: nobody looks there
        return torch.zeros(len(order), len(order)).masked_fill(~allowed, torch.finfo(torch.float32).min)[None, None]

    def logits(self, ids: torch.Tensor, embeds: torch.Tensor, positions: torch.Tensor, prompt: int) -> torch.Tensor:
        """Logits `(V,)` behind a row of embeddings `(1, L, D)`, which begins with the prompt."""
        decoder, hidden = self.model.model.language_model, embeds
        config = decoder.config
        angles = decoder.rotary_emb(hidden, positions)
        everything = torch.ones(embeds.shape[1]).bool()
        images = ids[0] == self.model.config.image_token_id
        routed = {"image_token_mask": images[None]} if hasattr(decoder, "routes_image_tokens") else {}
        seen: list[torch.Tensor] = []  # attention weights, layer by layer
        for index, layer in enumerate(decoder.layers):
            if index == self.layer and self.stays is None:
                scores = seen[-1][0].mean(0)[-1].masked_fill(~images, -1)
                count = max(1, round(int(images.sum()) * self.share))
                self.stays = ~images
                self.stays[scores.topk(count).indices] = True
            visible = everything.clone()
            if index >= self.layer:
                visible[:prompt] = self.stays
            kinds = getattr(config, "layer_types", None)
            sliding = kinds[index] == "sliding_attention" if kinds else getattr(config, "sliding_window", None)
            mask = self.mask(visible, config.sliding_window if sliding else None)
            watched = layer.self_attn.register_forward_hook(lambda _, args, out: seen.append(out[1]))
            hidden = layer(hidden, attention_mask=mask, position_embeddings=angles, position_ids=positions, **routed)
            watched.remove()
        return self.model.lm_head(decoder.norm(hidden))[0, -1]

    @torch.no_grad()
    def greedy(self, ids: torch.Tensor, pixels: torch.Tensor, tokens: int, stride: float = 1) -> torch.Tensor:
        """The answer `(tokens,)` to a prompt `(1, L)`, and logits `(tokens, V)`."""
        body, prompt, found = self.model.model, ids.shape[1], []
        images = ids[0] == self.model.config.image_token_id
        tile = self.model.config.image_seq_length
        steps = torch.where(images, stride, 1.0)
        positions = steps.cumsum(0) - 1
        for end in (images & ~torch.cat([images[1:], images.new_zeros(1)])).nonzero().flatten().tolist():
            if tile * stride < 1:
                positions[end + 1 :] = positions[end + 1 :] - positions[end] + positions[end].ceil()
        features = body.get_image_features(pixels, return_dict=True).pooler_output.flatten(0, 1)
        embeds = body.get_input_embeddings()(ids)
        embeds = embeds.masked_scatter(images[None, :, None], features)
        for _ in range(tokens):
            whole = positions.long() if stride == 1 else positions
            found.append(self.logits(ids, embeds, whole[None], prompt))
            token = found[-1].argmax()[None]
            ids = torch.cat([ids, token[None]], dim=1)
            embeds = torch.cat([embeds, body.get_input_embeddings()(token)[None]], dim=1)
            positions = torch.cat([positions, positions[-1:] + 1])
        return ids[0, prompt:], torch.stack(found)


@pytest.fixture(scope="module")
def model():
    return tiny_model(text={"num_hidden_layers": 4})


def rows(*tiles: int, length: int = 24):
    """A batch whose rows have other lengths: padded on the left."""
    batches = [tiny_batch([count], length + 3 * index, seed=index) for index, count in enumerate(tiles)]
    longest = max(one["input_ids"].shape[1] for one in batches)

    def padded(name: str) -> torch.Tensor:
        return torch.cat([torch.nn.functional.pad(one[name], (longest - one[name].shape[1], 0)) for one in batches])

    together = {name: padded(name) for name in ("input_ids", "attention_mask")}
    for one, count in zip(batches, tiles, strict=True):
        if not count:
            del one["pixel_values"]
    pixels = [one["pixel_values"] for one in batches if "pixel_values" in one]
    return batches, {**together, "pixel_values": torch.cat(pixels)}


def answer(model, batch, **options) -> torch.Tensor:
    ids = model.generate(**batch, **{**GREEDY, **FASTV, **options})
    return ids[:, batch["input_ids"].shape[1] :]


# --- against the loop ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("share, layer", [(0.25, 2), (0.5, 1), (0.75, 3), (0.01, 2)])
def test_it_is_the_loop_over_the_layers(model, attention, share, layer):
    (batch,), _ = rows(3)
    model = copy.deepcopy(model)
    model.set_attn_implementation(attention)
    options = {"pruning": "fastv", "kept_tokens": share, "pruning_layer": layer}
    loop = Loop(model, layer, share)
    expected, logits = loop.greedy(batch["input_ids"], batch["pixel_values"], 5)
    outputs = model.generate(**batch, **GREEDY, **options, return_dict_in_generate=True, output_logits=True)
    assert outputs.sequences[0, -5:].tolist() == expected.tolist()
    assert_same_results(torch.cat(outputs.logits), logits)
    kept = int(loop.stays.sum())
    lengths = [one.keys.shape[2] - 4 for one in outputs.cache.layers]
    assert lengths == [24] * layer + [kept] * (4 - layer) and kept == 12 + max(1, round(12 * share))
    with torch.no_grad():
        found = model(**batch, **options)
    assert found.kept_positions[0].tolist() == loop.stays.nonzero().flatten().tolist()
    assert_same_results(found.logits[:, -1], logits[:1])


@pytest.mark.parametrize("name", FAMILIES)
def test_every_language_model_of_the_family(name):
    folder = golden_root() / name
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    stride = 0.25 if name == "v2pe" else 1
    config = model.config
    side, generator = config.vision_config.image_size[0], torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, side, side, generator=generator)
    text = torch.randint(5, 90, (1, 9), generator=generator)
    config.image_token_id = config.image_token_id or 91  # a folder without a tokenizer
    images = torch.full((1, 2 * config.image_seq_length), config.image_token_id)
    ids = torch.cat([text[:, :2], images, text[:, 2:]], dim=1)
    options = {"pruning": "fastv", "kept_tokens": 0.5, "pruning_layer": 1, "v2pe_stride": stride}
    if name == "chat_flash":
        options["flash_mode"] = False
    loop = Loop(model, 1, 0.5)
    expected, logits = loop.greedy(ids, pixels, 4, stride)
    found = model.generate(
        input_ids=ids,
        pixel_values=pixels,
        **{**GREEDY, "max_new_tokens": 4},
        **options,
        return_dict_in_generate=True,
        output_logits=True,
    )
    assert_same_results(torch.cat(found.logits), logits)
    assert found.sequences[0, ids.shape[1] :].tolist() == expected.tolist()
    assert int((~loop.stays).sum()) == config.image_seq_length


def test_windows_count_what_stays():
    """Sliding layers behind the choice see the last so many positions of those that are left."""
    text = {"num_hidden_layers": 4, "use_sliding_window": True, "sliding_window": 10, "max_window_layers": 2}
    model = tiny_model(text=text)
    (batch,), _ = rows(4, length=30)
    expected, logits = Loop(model, 2, 0.5).greedy(batch["input_ids"], batch["pixel_values"], 8)
    outputs = model.generate(
        **batch, **{**GREEDY, **FASTV, "max_new_tokens": 8}, return_dict_in_generate=True, output_logits=True
    )
    assert_same_results(torch.cat(outputs.logits), logits)
    assert outputs.sequences[0, -8:].tolist() == expected.tolist()


def test_equal_scores_keep_the_first():
    images = torch.tensor([[False, True, True, True, True, False]] * 2)
    scores = torch.tensor([[0.9, 0.1, 0.1, 0.1, 0.1, 0.3], [0.9, 0.1, 0.2, 0.1, 0.3, 0.3]])
    kept = _chosen(scores, images, torch.ones_like(images), 0.5).kept
    assert kept.tolist() == [[0, 1, 2, 5], [0, 2, 4, 5]]


# --- what goes with it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_batch_with_padding_gives_what_its_rows_give(model, attention):
    model = copy.deepcopy(model)
    model.set_attn_implementation(attention)
    batches, together = rows(3, 1, 5, 0)
    alone = [answer(model, one, kept_tokens=1) for one in batches]
    assert torch.equal(answer(model, together, kept_tokens=1), torch.cat(alone))
    with torch.no_grad():
        given = {**together, "attention_mask": together["attention_mask"].flip(1)}
        given["input_ids"] = torch.nn.utils.rnn.pad_sequence(
            [one["input_ids"][0] for one in batches], batch_first=True
        )
        right = model(**given, **FASTV)
        for index, one in enumerate(batches):
            expected = model(**one, **FASTV)
            count = expected.logits.shape[1]
            assert right.kept_positions[index].tolist() == [
                *expected.kept_positions[0].tolist(),
                *[-1] * (right.logits.shape[1] - count),
            ]
            assert_same_results(right.logits[index, :count], expected.logits[0])


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 3},
        {"num_beams": 2, "num_return_sequences": 2},
        {"prompt_lookup_num_tokens": 3},
        {"assistant": True},
    ],
)
def test_ways_of_generation(model, options):
    batches, together = rows(3, 2)
    options = dict(options)
    if options.pop("assistant", False):
        options["assistant_model"] = tiny_model(seed=4)
    if "num_beams" in options:
        alone = torch.cat([answer(model, one, **options) for one in batches])
        assert torch.equal(answer(model, together, **options), alone)
    else:
        assert torch.equal(answer(model, batches[0], **options), answer(model, batches[0]))


def test_off_is_the_plain_result(model):
    (batch,), _ = rows(3)
    plain = model.generate(**batch, **GREEDY)
    for everything in (1.0, TOKENS_PER_TILE):
        assert torch.equal(model.generate(**batch, **GREEDY, pruning="fastv", kept_tokens=everything), plain)
    text = {"input_ids": torch.tensor([[5, 6, 7]])}
    assert torch.equal(model.generate(**text, **GREEDY, **FASTV), model.generate(**text, **GREEDY))
    half, count = answer(model, batch), answer(model, batch, kept_tokens=TOKENS_PER_TILE // 2)
    assert torch.equal(half, count) and not model.model.language_model.layers[2]._forward_pre_hooks


def test_a_conversation_goes_on_from_the_cache(model):
    (batch,), _ = rows(3)
    first = model.generate(**batch, **GREEDY, **FASTV, return_dict_in_generate=True)
    assert isinstance(first.cache, PrunedCache)
    further = torch.cat([first.sequences, torch.tensor([[5, 6, 7]])], dim=1)
    loop = Loop(model, 2, 0.5)
    loop.greedy(batch["input_ids"], batch["pixel_values"], 1)
    expected, _ = loop.greedy(batch["input_ids"], batch["pixel_values"], 5)
    assert first.sequences[0, -5:].tolist() == expected.tolist()
    second = model.generate(input_ids=further, cache=first.cache, **GREEDY, return_dict_in_generate=True)
    with torch.no_grad():
        body = model.model
        ids, prompt = second.sequences[:, :-1], batch["input_ids"].shape[1]
        features = body.get_image_features(batch["pixel_values"], return_dict=True).pooler_output.flatten(0, 1)
        embeds = body.get_input_embeddings()(ids).masked_scatter((ids == IMAGE_TOKEN)[..., None], features)
        positions = torch.arange(ids.shape[1])[None]
        for end in range(further.shape[1], ids.shape[1] + 1):
            logits = loop.logits(ids[:, :end], embeds[:, :end], positions[:, :end], prompt)
            assert logits.argmax() == second.sequences[0, end]


def test_shorter_rows_keep_what_they_were_given_as(model):
    """Features with fewer tokens come first, FastV chooses among them; places are those of the prompt."""
    (batch,), _ = rows(3)
    with torch.no_grad():
        features = model.get_image_features(batch["pixel_values"], kept_tokens=2, pruning="divprune")
        found = model(input_ids=batch["input_ids"], mm_encoder_outputs={"image": features}, **FASTV)
    kept = found.kept_positions[0]
    assert len(kept) == 24 - 12 + 3 and kept[0] == 0 and kept[-11:].tolist() == list(range(13, 24))
    ids = batch["input_ids"][0]
    assert (ids[kept] == IMAGE_TOKEN).sum() == 3


def test_threads_with_other_answers_of_the_model(model):
    batches, _ = rows(3, 2)
    expected = [answer(model, batches[0]), model.generate(**batches[1], **GREEDY)]
    found: dict[int, list] = {0: [], 1: []}

    def work(index):
        for _ in range(4):
            if index:
                found[1].append(model.generate(**batches[1], **GREEDY))
            else:
                found[0].append(answer(model, batches[0]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(2):
        assert len(found[index]) == 4 and all(
            torch.equal(one[:, -5:], expected[index][:, -5:]) for one in found[index]
        )


def test_adapters_count_in_the_choice(model):
    (batch,), _ = rows(3)
    adapted = get_peft_model(copy.deepcopy(model), LoraConfig(r=2, target_modules=["q_proj", "k_proj"]))
    merged = copy.deepcopy(shaken(adapted)).merge_and_unload()
    expected, _ = Loop(merged, 2, 0.5).greedy(batch["input_ids"], batch["pixel_values"], 5)
    assert adapted.generate(**batch, **GREEDY, **FASTV)[0, -5:].tolist() == expected.tolist()


def test_chats_and_pipelines_take_it():
    folder = golden_root() / "chat_qwen2"
    model, tokenizer = (
        AutoModelForImageTextToText.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    side = model.config.tile_size
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    settings = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    pruned = {**settings, "kept_tokens": 0.5, "pruning": "fastv", "pruning_layer": 1}
    one, other = model.batch_chat(tokenizer, pixels, ["What?", "Where?"], pruned, num_patches_list=[1, 1])
    assert one == model.chat(tokenizer, pixels[:1], "What?", pruned)
    assert other == model.chat(tokenizer, pixels[1:], "Where?", pruned)
    model.keep_prefixes()  # not reused, and not in the way
    assert one == model.chat(tokenizer, pixels[:1], "What?", pruned)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"kept_tokens": 1.5}, "`kept_tokens` says how many"),
        ({"kept_tokens": None}, "`kept_tokens` says how many"),
        ({"kept_tokens": 5}, "A tile has 4 image tokens"),
        ({"pruning_layer": 0}, "from 1 to 3 for this language model of 4; got 0"),
        ({"pruning_layer": 4}, "from 1 to 3"),
        ({"pruning_layer": True}, "from 1 to 3"),
        ({"pruning_seed": 1}, "draws nothing"),
        ({"pruning": "divprune", "pruning_layer": 2}, "`pruning_layer` is for `pruning='fastv'`"),
        ({"use_cache": False}, "leave out `use_cache=False`"),
        ({"prefill_chunk_size": 4}, "leave out `prefill_chunk_size=4`"),
    ],
)
def test_arguments_that_do_not_go(model, options, message):
    (batch,), _ = rows(3)
    with pytest.raises(ValueError, match=message):
        model.generate(**batch, **{**GREEDY, **FASTV, **options})


def test_other_mistakes(model):
    (batch,), _ = rows(3)
    with pytest.raises(ValueError, match="chooses within the language model"):
        model.get_image_features(batch["pixel_values"], **FASTV)
    cache = model(**batch, **FASTV).cache
    for call in (model.generate, model):
        with pytest.raises(ValueError, match="makes a cache of its own"):
            call(**batch, **FASTV, cache=cache)
    positions = torch.cat([torch.arange(12), torch.arange(12)])[None]
    pack = {"input_ids": batch["input_ids"], "pixel_values": batch["pixel_values"], "position_ids": positions}
    with pytest.raises(ValueError, match="not packed"):
        model(**pack, **FASTV)
    with pytest.raises(ValueError, match="not for training"):
        copy.deepcopy(model).train()(**batch, **FASTV)
