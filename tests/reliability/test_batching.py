# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Answers that are decoded together are those of direct calls, whoever joins, leaves or fails in between."""

import asyncio
import copy
import threading

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.parity.golden import golden_root
from tests.tiny import IMAGE_TOKEN, tiny_batch, tiny_model
from transformers_internvl.modeling.pretrained.stepwise import Stepwise
from transformers_internvl.serving import batching
from transformers_internvl.serving.app import Served
from transformers_internvl.serving.batching import BatchedDecoder
from transformers_internvl.serving.generation import Answer, Cancelled, Turn
from transformers_internvl.serving.row_caches import RowsCache

FAMILIES = [
    "chat_flash",
    "chat_gpt_oss",
    "chat_internlm2",
    "chat_llama_v1_2",
    "chat_phi3",
    "chat_qwen3",
    "mono_internvl",
    "v2pe",
    "visual_prm",
]


class Inline:
    """The model's thread: runs what was submitted when it is told to."""

    def __init__(self):
        self.waiting = []

    def submit(self, function, *arguments):
        self.waiting.append((function, arguments))

    def run(self):
        while self.waiting:
            function, arguments = self.waiting.pop(0)
            function(*arguments)


@pytest.fixture(scope="module")
def model():
    model = tiny_model()
    model.generation_config.eos_token_id = None
    return model


class Asked:
    """A request of a decoder: the ids of its answer, and what became of it."""

    def __init__(self, decoder, inputs, stops=(), seed=None, emit=None, **settings):
        self.model, self.inputs = decoder.model, inputs
        self.config = copy.deepcopy(self.model.generation_config)
        self.config.update(**{"max_new_tokens": 6, "do_sample": False} | settings)
        self.seed, self.left, self.taken = seed, threading.Event(), 0
        self.answer = Answer(lambda ids: "".join(f"{one}," for one in ids), list(stops), emit, self.left)
        self.done = decoder.submit(dict(inputs), copy.deepcopy(self.config), self.answer, seed, self._take)

    def _take(self):
        self.taken += 1

    @property
    def ids(self):
        self.done.result(0)
        return self.answer.ids

    def direct(self):
        """The ids of the same call alone."""
        if self.seed is not None:
            torch.manual_seed(self.seed)
        ids = self.model.generate(**self.inputs, generation_config=self.config, use_prefix_cache=False)
        return ids[0, self.inputs["input_ids"].shape[1] :].tolist()


def decoder_of(model, rows=8, size=1 << 30):
    return BatchedDecoder(model, Inline(), rows, size)


def prompt(tiles=1, length=20, seed=0):
    batch = tiny_batch([tiles], length, seed)
    return {name: value for name, value in batch.items() if tiles or name != "pixel_values"}


def test_each_row_has_its_own_length_pictures_and_settings(model):
    decoder = decoder_of(model)
    asked = [
        Asked(decoder, prompt(1, 20, 0)),
        Asked(decoder, prompt(2, 31, 1), max_new_tokens=11),
        Asked(decoder, prompt(0, 9, 2), max_new_tokens=1),
        Asked(decoder, prompt(0, 12, 3), repetition_penalty=3.0, max_new_tokens=12),
        Asked(decoder, prompt(1, 17, 4), sequence_bias={(5,): 90.0}),
        Asked(decoder, prompt(0, 40, 5), no_repeat_ngram_size=1, max_new_tokens=9),
        Asked(decoder, prompt(1, 20, 6), do_sample=True, temperature=1.4, top_k=0, seed=3, max_new_tokens=12),
        Asked(decoder, prompt(1, 20, 6), do_sample=True, temperature=1.4, top_p=0.9, seed=4, max_new_tokens=12),
    ]
    decoder.thread.run()
    for one in asked:
        assert one.ids == one.direct() and one.taken == 1
        assert len(one.ids) == one.config.max_new_tokens
    assert asked[4].ids == [5] * 6 and len(set(asked[5].ids)) == 9 and asked[6].ids != asked[7].ids


@pytest.mark.parametrize("settings", [{"do_sample": True, "temperature": 2.0, "seed": 7}, {}])
def test_whoever_else_is_there_an_answer_stays_the_same(model, settings):
    """The number of rows, their lengths, when they join and when they leave."""
    settings = {"max_new_tokens": 20, **settings}
    decoder = decoder_of(model)
    alone = Asked(decoder, prompt(1, 20, 0), **settings)
    decoder.thread.run()
    assert alone.ids == alone.direct()

    others, count = [], 0

    def emit(_):
        nonlocal count
        count += 1
        if count % 3 == 0:
            others.append(Asked(decoder, prompt(count % 2, 8 + 5 * count, count), max_new_tokens=1 + count // 2))

    others.append(Asked(decoder, prompt(1, 50, 9), max_new_tokens=4))
    among = Asked(decoder, prompt(1, 20, 0), emit=emit, **settings)
    decoder.thread.run()
    assert among.ids == alone.ids
    assert len(others) > 5 and all(one.ids == one.direct() for one in others)


def test_an_answer_ends_at_its_stop_text_or_token_and_frees_its_row(model):
    decoder = decoder_of(model, rows=2)
    whole = Asked(decoder, prompt(1, 20, 0), max_new_tokens=12)
    decoder.thread.run()
    third, first = whole.ids[2], whole.ids.index(whole.ids[2])
    stopped = Asked(decoder, prompt(1, 20, 0), max_new_tokens=12, stops=[f"{third},"])
    ended = Asked(decoder, prompt(1, 20, 0), max_new_tokens=12, eos_token_id=[third, 98], pad_token_id=0)
    waiting = Asked(decoder, prompt(0, 20, 1))
    decoder.thread.run()
    assert stopped.ids == ended.ids == whole.ids[: first + 1] == ended.direct()
    assert stopped.answer.text == "".join(f"{one}," for one in whole.ids[:first])
    assert waiting.ids == waiting.direct()


def test_the_switch_off_is_a_direct_call_with_the_same_ids(model):
    assert Served(model, None, max_batch=1).decoder is None
    decoder = Served(model, None, max_batch=2).decoder

    class Words:
        def decode(self, ids, skip_special_tokens):
            return "".join(f"{one}," for one in ids)

    async def ask(decoder, **changes):
        config = copy.deepcopy(model.generation_config)
        config.update(**{"max_new_tokens": 9, **changes})
        left, served = threading.Event(), Served(model, None)
        one = Turn(served.thread, ["9,"], 5, left, lambda: None, lambda: None, decoder)
        return await one.generate_non_streaming(model, Words(), prompt(1, 24, 3), config, "id")

    for changes in ({"do_sample": False}, {"do_sample": True, "temperature": 1.5}):
        alone, together = (asyncio.run(ask(one, **changes)) for one in (None, decoder))
        assert alone == together and alone[1] == 24


def test_who_leaves_frees_the_row_with_the_next_token(model):
    decoder = decoder_of(model, rows=2)
    staying = Asked(decoder, prompt(1, 20, 0), max_new_tokens=20)
    leaving = Asked(decoder, prompt(1, 30, 1), max_new_tokens=20, emit=lambda _: leaving.left.set())
    unread = Asked(decoder, prompt(1, 30, 2))
    unread.left.set()
    following = Asked(decoder, prompt(0, 25, 3))
    decoder.thread.run()
    for one in (leaving, unread):
        with pytest.raises(Cancelled):
            one.done.result(0)
        assert one.taken == 1
    assert len(leaving.answer.ids) == 1 and unread.answer.ids == []
    assert staying.ids == staying.direct() and following.ids == following.direct()


@pytest.mark.parametrize("when", ["before", "prompt", "step"])
def test_a_request_that_fails_fails_alone(model, when, monkeypatch):
    def fail(_):
        raise OSError("broken")

    decoder = decoder_of(model, rows=3)
    inputs = prompt(1, 20, 0)
    if when == "before":
        inputs = {**inputs, "pixel_values": inputs["pixel_values"][:, :1]}
    elif when == "prompt":
        inputs = {**inputs, "input_ids": inputs["input_ids"].masked_fill(inputs["input_ids"] == IMAGE_TOKEN, 2)}
    failing = Asked(decoder, inputs, emit=fail if when == "step" else None)
    staying = Asked(decoder, prompt(1, 22, 1), max_new_tokens=9)
    decoder.thread.run()
    assert failing.done.exception(0) is not None and failing.taken == 1
    assert staying.ids == staying.direct()


def test_a_step_that_fails_ends_its_rows_and_the_next_are_answered(model, monkeypatch):
    decoder = decoder_of(model)
    asked = [Asked(decoder, prompt(0, 20, seed)) for seed in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(RowsCache, "mask", lambda *_: 1 / 0)
        decoder.thread.run()
    assert all(isinstance(one.done.exception(0), ZeroDivisionError) for one in asked)
    after = Asked(decoder, prompt(0, 20, 2))
    decoder.thread.run()
    assert after.ids == after.direct()
    with monkeypatch.context() as patch:  # a fault of the decoder itself
        patch.setattr(decoder, "_decode", lambda _: 1 / 0)
        lost = Asked(decoder, prompt(0, 20, 3))
        with pytest.raises(ZeroDivisionError):
            decoder.thread.run()
    assert isinstance(lost.done.exception(0), ZeroDivisionError)
    after = Asked(decoder, prompt(0, 20, 4))
    decoder.thread.run()
    assert after.ids == after.direct()


def test_a_short_prompt_does_not_wait_for_a_long_one(model, monkeypatch):
    """Prompts run in pieces and in turn, images a few tiles at a time; running rows go on meanwhile."""
    monkeypatch.setattr(batching, "_PIECE", 16)
    decoder, order = decoder_of(model), []
    running = Asked(decoder, prompt(0, 10, 0), max_new_tokens=60, emit=lambda _: order.append("running"))
    tall = Asked(decoder, prompt(12, 160, 1), emit=lambda _: order.append("long"))
    short = Asked(decoder, prompt(1, 14, 2), emit=lambda _: order.append("short"))
    decoder.thread.run()
    for one in (running, tall, short):
        assert one.ids == one.direct()
    first = {name: order.index(name) for name in ("running", "long", "short")}
    assert first["running"] < first["short"] < first["long"]
    assert order[: first["short"]].count("running") <= 4  # rounds
    assert order[: first["long"]].count("running") >= (12 * 4 + 160) // 16  # tiles have 16 patches, four tokens


def test_memory_is_bounded_by_who_waits(model):
    keys = 2 * 2 * 2 * 8 * 4  # bytes of a position: keys and values, layers, heads, their width, float32
    most, peak = 3 * 36 * keys, 0
    decoder = decoder_of(model, rows=8, size=most)

    def look(_):
        nonlocal peak
        rows = [row for group in decoder._groups.values() for row in group.rows] + list(decoder._prompts)
        peak = max(peak, len(rows))
        assert len(rows) < 2 or len(rows) * max(row.final for row in rows) * keys <= most

    first = Asked(decoder, prompt(0, 30, 9))
    decoder.thread.run()  # from now on it knows how large a position is
    asked = [Asked(decoder, prompt(0, 30, seed), emit=look) for seed in range(7)]
    asked.append(Asked(decoder, prompt(0, 300, 8), emit=look))  # alone, as it never fits
    decoder.thread.run()
    assert peak == 3 and all(one.ids == one.direct() for one in [first, *asked])


def test_rows_of_very_different_lengths_are_decoded_apart(model, monkeypatch):
    monkeypatch.setattr(batching, "_SHORT", 40)
    decoder = decoder_of(model)
    decoder._weights = 0
    groups = set()
    asked = [
        Asked(decoder, prompt(0, length, length), emit=lambda _: groups.add(tuple(decoder._groups)))
        for length in (20, 34, 35, 150, 160)
    ]
    decoder.thread.run()
    assert all(one.ids == one.direct() for one in asked)
    assert max(groups, key=len) == (40, 160, 640)  # the last one has 166 positions at its end


def test_positions_of_images_are_fractions_where_the_server_says_so(model):
    """V2PE: rows with and without images, and a further question that goes on from what is kept."""
    own = copy.deepcopy(model)
    own.keep_prefixes(1 << 30)
    decoder, stride, last = decoder_of(own), {"v2pe_stride": 0.25}, []
    own.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: last.append(kwargs["position_ids"][:, -1].tolist()), with_kwargs=True
    )
    asked = [Asked(decoder, {**prompt(tiles, 20 + 9 * tiles, tiles), **stride}) for tiles in (0, 1, 2, 3)]
    decoder.thread.run()
    assert last[:5] == [[19], [25], [31], [37], [20, 26, 32, 38]]  # an image of four tokens takes one position
    ids = torch.cat([asked[1].inputs["input_ids"], torch.tensor([asked[1].ids]), torch.tensor([[5, 6, 7]])], dim=1)
    further = Asked(decoder, {**asked[1].inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)})
    decoder.thread.run()
    assert all(one.ids == one.direct() for one in [*asked, further])


def test_what_is_kept_of_a_row_is_its_own(model):
    """Beginnings are kept behind the prompt and behind the answer, and serve rows and direct calls."""
    own = copy.deepcopy(model)
    own.keep_prefixes(1 << 30)
    decoder, seen = decoder_of(own), []
    own.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["inputs_embeds"].shape[:2]), with_kwargs=True
    )
    first = [Asked(decoder, prompt(1, 20 + seed, seed), max_new_tokens=5 + seed) for seed in range(3)]
    same = Asked(decoder, prompt(1, 21, 1), max_new_tokens=3)
    decoder.thread.run()
    assert (1, 1) in seen[:4]  # the same prompt again: its last position
    further = []
    for one in first:
        ids = torch.cat([one.inputs["input_ids"], torch.tensor([one.ids]), torch.tensor([[5, 6, 7]])], dim=1)
        inputs = {"input_ids": ids, "pixel_values": one.inputs["pixel_values"]}
        further.append(Asked(decoder, inputs))
    seen.clear()
    decoder.thread.run()
    assert seen[:3] == [(1, 4)] * 3  # the last id of the answer has no keys yet
    assert all(one.ids == one.direct() for one in [*first, same, *further])


@pytest.mark.parametrize("name", FAMILIES)
def test_families(name):
    folder = golden_root() / name
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    model.generation_config.eos_token_id = None
    decoder, asked = decoder_of(model), []
    for index, words in enumerate(["hi", "and what is behind it?", "one more"]):
        image = Image.linear_gradient("L").resize((60 + 40 * index, 50)).convert("RGB")
        content = [{"type": "image", "image": image}] * (index != 1) + [{"type": "text", "text": words}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        asked.append(Asked(decoder, inputs, max_new_tokens=4 + 2 * index))
    decoder.thread.run()
    for one in asked:
        assert one.ids == one.direct()


@pytest.mark.parametrize(
    "text, settings, apart",
    [
        ({}, {}, False),
        ({"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1}, {}, False),
        ({"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1}, {}, True),
        (
            {
                "max_position_embeddings": 64,
                "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
            },
            {},
            False,
        ),
        (
            {
                "max_position_embeddings": 24,
                "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
            },
            {},
            True,
        ),
        (
            {
                "max_position_embeddings": 16,
                "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
            },
            {},
            True,
        ),
        ({}, {"cache_implementation": "static"}, True),
        ({}, {"use_cache": False}, None),
        ({}, {"num_return_sequences": 2, "do_sample": True}, None),
    ],
)
def test_what_shares_no_pass_is_decoded_alone(text, settings, apart, monkeypatch):
    """Alone, but in turn; and what takes no steps by a call of its own."""
    model = tiny_model(text=text)
    model.generation_config.eos_token_id = None
    monkeypatch.setattr(batching, "_PIECE", 8)
    decoder, seen = decoder_of(model), set()

    def look(_):
        seen.add((bool(decoder._groups), bool(decoder._alone)))

    asked = [Asked(decoder, prompt(1, 18 + seed, seed), emit=look, max_new_tokens=7, **settings) for seed in range(2)]
    decoder.thread.run()
    shared = any(group for group, _ in seen), any(alone for _, alone in seen)
    assert shared == ((False, False) if apart is None else (not apart, apart))
    if "num_return_sequences" not in settings:
        assert all(one.ids == one.direct() for one in asked)
    assert all(one.done.result(0) is None for one in asked)


@pytest.mark.parametrize("length, passes", [(24, [8, 8, 8]), (25, [25])])
def test_a_prompt_whose_keys_depend_on_its_length_runs_at_once(length, passes, monkeypatch):
    """Up to the trained length they do not."""
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    model = tiny_model(text={"max_position_embeddings": 24, "rope_parameters": rope})
    model.generation_config.eos_token_id = None
    monkeypatch.setattr(batching, "_PIECE", 8)
    decoder, seen = decoder_of(model), []
    model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    asked = Asked(decoder, prompt(0, length), max_new_tokens=2)
    decoder.thread.run()
    assert seen == [*passes, 1] and asked.ids == asked.direct()


# --- pieces of a prompt ---


@pytest.mark.parametrize("size", [None, 5, 20, 200])
def test_pieces_of_a_prompt_are_the_prompt(model, size):
    inputs, call = prompt(3, 40, 2), Stepwise()
    returned = model.generate(**inputs, max_new_tokens=3, custom_generate=call)
    assert torch.equal(returned, inputs["input_ids"])
    features = model.get_image_features(inputs["pixel_values"], return_dict=True)
    call.kwargs["mm_encoder_outputs"] = {"image": features}
    call.kwargs.pop("pixel_values", None)
    with torch.no_grad():
        pieces = list(call.pieces(model, size))
        expected = model(**inputs).logits[:, -1]
    assert pieces == ([5] * 7 if size == 5 else [20] if size == 20 else [])
    torch.testing.assert_close(call.logits, expected, rtol=1e-5, atol=1e-5)
    assert int(call.kwargs["position_ids"][0, -1]) == 40


# --- rows of a cache ---


def layers(length, value):
    return tuple(
        (torch.full((1, 2, length, 3), value + k), torch.full((1, 2, length, 3), -value - k)) for k in range(2)
    )


def test_rows_keep_their_keys_when_others_come_and_go():
    cache = RowsCache(layers(1, 0.0))
    for row, length in enumerate((3, 5, 2)):
        cache.add(layers(length, 10.0 * (row + 1)))
    cache.make_room_for_next()
    assert cache.get_seq_length() == 5 and cache.get_mask_sizes(1, 0) == (6, 0)
    assert cache.mask("cpu").tolist() == [[1, 1, 1, 1, 0, 0], [1] * 6, [1, 1, 1, 0, 0, 0]]
    for index in range(2):
        new = torch.arange(18.0).view(3, 2, 1, 3)
        keys, values = cache.update(new, -new, index)
        assert keys.shape == (3, 2, 6, 3) and torch.equal(keys, -values)
        for row, length in enumerate((3, 5, 2)):
            assert (keys[row, :, :length] == 10.0 * (row + 1) + index).all()
            assert torch.equal(keys[row, :, length], new[row, :, 0])
            assert (keys[row, :, length + 1 :] == 0).all()
    cache.grow()
    assert cache.lengths == [4, 6, 3]
    cache.remove(0)
    assert cache.lengths == [3, 6]
    for row, (length, value) in enumerate(((2, 30.0), (5, 20.0))):
        keys, values = cache.copy_of(row)[1]
        assert keys.shape == (1, 2, length + 1, 3) and torch.equal(keys, -values)
        assert (keys[0, :, :length] == value + 1).all()
    cache.remove(1)
    assert cache.lengths == [3] and (cache.copy_of(0)[0][0][0, :, :2] == 30.0).all()


@pytest.mark.parametrize("leaves", [0, 2], ids=["another takes its place", "one joins in its place"])
def test_a_row_that_overflowed_leaves_nothing_behind(leaves):
    """A mask gives NaN the weight zero, and zero times NaN is NaN."""
    values = [1.0, 1.0, 1.0]
    values[leaves] = float("nan")
    cache = RowsCache(layers(1, 0.0))
    for length, value in zip((9, 8, 4), values, strict=True):
        cache.add(layers(length, value))
    cache.remove(leaves)
    cache.add(layers(2, 1.0))
    cache.make_room_for_next()
    for index in range(2):
        keys, values = cache.update(torch.ones(3, 2, 1, 3), torch.ones(3, 2, 1, 3), index)
        assert keys.isfinite().all() and values.isfinite().all()


def test_room_follows_the_rows():
    cache = RowsCache(layers(1, 0.0))
    shapes = []
    for length in (10, 10, 10, 10, 700, 10):
        cache.add(layers(length, 1.0))
        shapes.append(tuple(cache.layers[0].keys.shape[::2]))
    assert shapes == [(1, 256), (2, 256), (3, 256), (5, 256), (6, 768), (6, 768)]
    cache.remove(4)
    cache.make_room_for_next()
    assert cache.layers[1].values.shape == (6, 2, 256, 3)
    for _ in range(4):
        cache.remove(0)
    cache.make_room_for_next()
    assert cache.layers[0].keys.shape == (1, 2, 256, 3) and cache.lengths == [10]
    cache.lengths = [255]
    cache.make_room_for_next()
    assert cache.layers[0].keys.shape[2] == 256
    cache.lengths = [256]
    cache.make_room_for_next()
    assert cache.layers[0].keys.shape[2] == 512
