# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Common beginnings of prompts and features of images that were seen: the same ids, less work."""

import copy
import threading

import pytest
import torch
from transformers import AutoModel, AutoModelForImageTextToText, AutoTokenizer, pipeline

from tests.parity.golden import golden_root
from tests.tiny import IMAGE_TOKEN, tiny_batch, tiny_model
from transformers_internvl.modeling.pretrained.prefix_cache import PrefixCache, PromptKey
from transformers_internvl.nano import nano_path, sample_images

GREEDY = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}


@pytest.fixture
def model():
    model = tiny_model().eval()
    model.keep_prefixes(2**24)
    return model


class Work:
    """Tiles and positions that pass through a model."""

    def __init__(self, model):
        self.tiles, self.positions = 0, 0
        model.model.vision_tower.register_forward_hook(self._tower)
        model.model.language_model.register_forward_hook(self._decoder, with_kwargs=True)

    def _tower(self, module, inputs, output):
        self.tiles += output.last_hidden_state.shape[0]

    def _decoder(self, module, inputs, kwargs, output):
        self.positions += kwargs["inputs_embeds"].shape[1]

    def take(self) -> tuple[int, int]:
        done, self.tiles, self.positions = (self.tiles, self.positions), 0, 0
        return done


def plain(model, **arguments):
    return model.generate(**arguments, **GREEDY, use_prefix_cache=False)


def further(ids: torch.Tensor, answer: torch.Tensor, *words: int) -> torch.Tensor:
    return torch.cat([answer, torch.tensor([words])], dim=1)


def test_a_further_question_runs_its_own_tokens_alone(model):
    work, batch = Work(model), tiny_batch([2])
    answer = model.generate(**batch, **GREEDY)
    length = batch["input_ids"].shape[1]
    assert work.take() == (2, length + 5)  # the last token of an answer is not run
    second = {"input_ids": further(batch["input_ids"], answer, 7, 8, 9), "pixel_values": batch["pixel_values"]}
    again = model.generate(**second, **GREEDY)
    assert work.take() == (0, 1 + 3 + 5)
    assert torch.equal(answer, plain(model, **batch)) and torch.equal(again, plain(model, **second))


def test_another_conversation_about_an_image_that_was_seen(model):
    work, batch = Work(model), tiny_batch([2])
    model.generate(**batch, **GREEDY)
    work.take()
    other = {**batch, "input_ids": batch["input_ids"].clone()}
    other["input_ids"][0, 0] += 1  # no common beginning
    found = model.generate(**other, **GREEDY)
    assert work.take() == (0, batch["input_ids"].shape[1] + 5)
    assert torch.equal(found, plain(model, **other))


def test_the_same_prompt_again_runs_its_last_position(model):
    work, batch = Work(model), tiny_batch([2])
    first = model.generate(**batch, **GREEDY)
    work.take()
    assert torch.equal(model.generate(**batch, **GREEDY), first)
    assert work.take() == (0, 1 + 5)


def test_another_image_in_the_same_place_is_another_prompt(model):
    work, batch = Work(model), tiny_batch([2])
    model.generate(**batch, **GREEDY)
    work.take()
    other = {**batch, "pixel_values": batch["pixel_values"].clone()}
    other["pixel_values"][1] += 1  # the first tile stays
    found = model.generate(**other, **GREEDY)
    tiles, positions = work.take()
    first_tile_ends = int((batch["input_ids"][0] == IMAGE_TOKEN).nonzero()[0]) + model.config.image_seq_length
    assert (tiles, positions) == (1, batch["input_ids"].shape[1] - first_tile_ends + 5)
    assert torch.equal(found, plain(model, **other))


def test_tiles_that_stand_twice_are_encoded_once(model):
    work, batch = Work(model), tiny_batch([2])
    batch["pixel_values"][1] = batch["pixel_values"][0]
    found = model.generate(**batch, **GREEDY)
    assert work.take()[0] == 1
    assert torch.equal(found, plain(model, **batch))


def test_positions_of_images_are_part_of_a_beginning(model):
    """V2PE: a conversation goes on at its stride; at another one the keys are the same up to the first image."""
    work, batch = Work(model), tiny_batch([2])
    length, begin = batch["input_ids"].shape[1], int((batch["input_ids"][0] == IMAGE_TOKEN).nonzero()[0])
    answer = model.generate(**batch, **GREEDY, v2pe_stride=0.25)
    assert work.take() == (2, length + 5)
    second = {"input_ids": further(batch["input_ids"], answer, 7, 8, 9), "pixel_values": batch["pixel_values"]}
    again = model.generate(**second, **GREEDY, v2pe_stride=0.25)
    assert work.take() == (0, 1 + 3 + 5)
    assert torch.equal(again, plain(model, **second, v2pe_stride=0.25))
    work.take()
    for options in ({}, {"v2pe_stride": 1}, {"v2pe_stride": 0.5}):
        model.keep_prefixes(2**24)
        model.generate(**batch, **GREEDY, v2pe_stride=0.25)
        work.take()
        other = model.generate(**batch, **GREEDY, **options)
        assert work.take() == (0, length - begin + 5)
        assert torch.equal(other, plain(model, **batch, **options))


def fused_step(model):
    """The optimizer that `Trainer` takes by default; it does not count the versions of weights up."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    batch = tiny_batch([2])
    with torch.enable_grad():
        model(**batch, labels=batch["input_ids"]).loss.backward()
    optimizer.step()


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.lm_head.weight.mul_(-1),
        lambda model: setattr(model.lm_head, "weight", torch.nn.Parameter(-model.lm_head.weight)),
        lambda model: model.load_state_dict({k: v * 0.5 for k, v in model.state_dict().items()}),
        lambda model: setattr(model.config, "vision_feature_layer", 0),
        lambda model: model.model.language_model.layers[0].self_attn.v_proj.weight.data.mul_(-3),
        lambda model: setattr(model.lm_head.weight, "data", -model.lm_head.weight.data),
        lambda model: fused_step(model),
        lambda model: model.double(),
        lambda model: model.model.multi_modal_projector.register_forward_hook(lambda module, inputs, out: -out),
    ],
    ids=[
        "in place",
        "replaced",
        "loaded",
        "another layer of the tower",
        "in place, behind autograd's back",
        "other data",
        "a step of a fused optimizer",
        "another dtype",
        "a hook",
    ],
)
def test_nothing_is_used_that_other_weights_computed(model, change):
    work, batch = Work(model), tiny_batch([2])
    model.generate(**batch, **GREEDY)
    with torch.no_grad():
        change(model)
    work.take()
    found = model.generate(**batch, **GREEDY)
    assert work.take()[0] == 2
    assert torch.equal(found, plain(model, **batch))


def test_adapters_that_are_switched(model):
    from peft import LoraConfig, get_peft_model

    batch = tiny_batch([2])
    wrapped = get_peft_model(model, LoraConfig(target_modules=r".*language_model.*q_proj", init_lora_weights=False))
    wrapped.eval()
    work = Work(model)
    with_adapter = wrapped.generate(**batch, **GREEDY)
    work.take()
    with wrapped.disable_adapter():
        without = wrapped.generate(**batch, **GREEDY)
        assert work.take()[0] == 2
        assert torch.equal(without, wrapped.generate(**batch, **GREEDY, use_prefix_cache=False))
    assert torch.equal(with_adapter, wrapped.generate(**batch, **GREEDY))
    work.take()
    for layer in (module for module in model.modules() if hasattr(module, "scale_layer")):
        layer.scale_layer(-4)
    scaled = wrapped.generate(**batch, **GREEDY)
    assert work.take()[0] == 2
    assert torch.equal(scaled, wrapped.generate(**batch, **GREEDY, use_prefix_cache=False))


def test_what_cannot_be_reused_is_computed(model):
    batch, work = tiny_batch([2]), Work(model)
    rows = {"input_ids": batch["input_ids"].repeat(2, 1), "pixel_values": batch["pixel_values"].repeat(2, 1, 1, 1)}
    for arguments in (
        {**rows, **GREEDY},
        {**batch, **GREEDY, "num_beams": 2},
        {**batch, **GREEDY, "v2pe_stride": torch.tensor([0.25])},
        {**batch, **GREEDY, "cache_implementation": "static"},
        {**batch, **GREEDY, "use_cache": False},
        {**batch, **GREEDY, "assistant_model": tiny_model(seed=2).eval()},
        {**batch, **GREEDY, "attention_mask": torch.ones_like(batch["input_ids"]).index_fill(1, torch.tensor([0]), 0)},
    ):
        model.generate(**batch, **GREEDY)
        work.take()
        found = model.generate(**arguments)
        assert work.take()[0] > 0
        assert torch.equal(found, model.generate(**arguments, use_prefix_cache=False))


def test_padding_that_generate_finds_by_itself(model):
    """Without a mask, `generate` leaves out what is padding by its id."""
    batch = tiny_batch([1])
    batch["input_ids"][0, -4] = 55
    prompt = {name: batch[name] for name in ("input_ids", "pixel_values")}
    found = [model.generate(**prompt, **GREEDY, pad_token_id=55, **fields(use)) for use in (True, True, False)]
    masked = model.generate(**prompt, **GREEDY, **fields(False), attention_mask=(batch["input_ids"] != 55).long())
    assert all(torch.equal(one.logits[0], masked.logits[0]) for one in found)


def fields(use_prefix_cache: bool) -> dict:
    return {"use_prefix_cache": use_prefix_cache, "output_logits": True, "return_dict_in_generate": True}


def test_sampling_from_a_known_beginning_is_the_same(model):
    batch = tiny_batch([1])
    model.generate(**batch, **GREEDY)
    options = {"max_new_tokens": 6, "do_sample": True, "temperature": 2.0, "eos_token_id": None}
    torch.manual_seed(4)
    known = model.generate(**batch, **options)
    torch.manual_seed(4)
    assert torch.equal(known, model.generate(**batch, **options, use_prefix_cache=False))


def test_what_is_kept_is_bounded(model):
    work = Work(model)
    for seed in range(4):
        model.generate(**tiny_batch([2], seed=seed), **GREEDY)
    one = PrefixCache(2**24)
    model.prefix_cache, sizes = one, []
    model.generate(**tiny_batch([2]), **GREEDY)
    model.keep_prefixes(one.bytes_used + one.bytes_used // 2)
    for seed in range(6):
        model.generate(**tiny_batch([2], seed=seed), **GREEDY)
        sizes.append(model.prefix_cache.bytes_used)
    assert max(sizes) <= model.prefix_cache.max_bytes and min(sizes) >= one.bytes_used // 2
    work.take()
    model.generate(**tiny_batch([2], seed=5), **GREEDY)
    assert work.take() == (0, 1 + 5)  # the latest is there
    model.keep_prefixes(16)
    found = model.generate(**tiny_batch([2]), **GREEDY)
    assert model.prefix_cache.bytes_used == 0 and torch.equal(found, plain(model, **tiny_batch([2])))


def test_a_conversation_keeps_one_beginning(model):
    batch = tiny_batch([1])
    ids = batch["input_ids"]
    for _ in range(4):
        answer = model.generate(input_ids=ids, pixel_values=batch["pixel_values"], **GREEDY)
        ids = further(ids, answer, 5, 6)
    kept = [entry for entry in model.prefix_cache._entries.values() if isinstance(entry, tuple)]
    assert len(kept) == 1 and len(kept[0][0].ids) == answer.shape[1] - 1


def test_threads_share_what_is_kept(model):
    batches = [tiny_batch([2], seed=seed) for seed in range(3)] * 3
    expected = [plain(model, **batch) for batch in batches]
    found: dict[int, torch.Tensor] = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: model.generate(**batches[i], **GREEDY)}))
        for i in range(len(batches))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[i], expected[i]) for i in range(len(batches)))


@pytest.mark.parametrize("name", ["chat_qwen2", "chat_internlm2", "chat_phi3", "chat_llama_v1_2", "chat_gpt_oss"])
def test_conversations_of_released_layouts(name):
    model = AutoModel.from_pretrained(golden_root() / name, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(golden_root() / name)
    side = model.config.tile_size
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    talks = []
    for keeps in (False, True):
        if keeps:
            model.keep_prefixes()
        history, answers = None, []
        for question in ("What is it?", "And the color?", "Why?"):
            options = {"max_new_tokens": 5, "do_sample": False}
            answer, history = model.chat(tokenizer, pixels, question, options, history, return_history=True)
            answers.append(answer)
        talks.append(answers)
    assert talks[0] == talks[1]


@pytest.mark.parametrize("name", ["nano", "chat_internlm2"])
def test_a_growing_conversation_in_the_pipeline(name):
    """transformers' pipeline encodes the image once, and runs what each question adds; the ids stay the same."""
    folder = nano_path() if name == "nano" else golden_root() / name
    pipe = pipeline("image-text-to-text", model=str(folder), device="cpu")
    model, talks, done = pipe.model, [], []
    prompts, work = [], Work(model)
    encode = pipe.processor.apply_chat_template
    pipe.processor.apply_chat_template = lambda *args, **kwargs: prompts.append(encode(*args, **kwargs)) or prompts[-1]
    image = {"type": "image", "path": str(sample_images()["number"])}
    for keeps in (False, True):
        model.keep_prefixes(2**28 if keeps else None)
        chat, ids = [{"role": "user", "content": [image, {"type": "text", "text": "What number is it?"}]}], []
        for question in ("Is it red?", "And again?", "Why?"):
            options = {"max_new_tokens": 5, "generate_kwargs": {"do_sample": False}}
            ids.append(pipe(text=chat, return_tensors=True, **options)[0]["generated_token_ids"].tolist())
            done.append(work.take())
            answer = pipe.processor.decode(ids[-1][prompts[-1]["input_ids"].shape[1] :], skip_special_tokens=True)
            chat = [
                *chat,
                {"role": "assistant", "content": answer},
                {"role": "user", "content": [{"type": "text", "text": question}]},
            ]
        talks.append(ids)
    assert talks[0] == talks[1]
    again, kept = done[:3], done[3:]
    assert all(tiles == again[0][0] > 1 for tiles, _ in again) and kept[0][0] > 1
    assert [tiles for tiles, _ in kept[1:]] == [0, 0]
    assert all(positions < 60 < again[index][1] for index, (_, positions) in enumerate(kept) if index)


def test_copies_and_saved_models_begin_again(model, tmp_path):
    model.generate(**tiny_batch([1]), **GREEDY)
    twin = copy.deepcopy(model)
    assert twin.prefix_cache.bytes_used == 0 and twin.prefix_cache.max_bytes == 2**24
    model.save_pretrained(tmp_path)
    assert AutoModelForImageTextToText.from_pretrained(tmp_path).prefix_cache is None
    model.keep_prefixes(None)
    assert model.prefix_cache is None


def test_mistakes(model):
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="`max_bytes` must be a whole number"):
            model.keep_prefixes(wrong)
    with pytest.raises(ValueError, match="call `model.keep_prefixes"):
        tiny_model().generate(**tiny_batch([1]), **GREEDY, use_prefix_cache=True)
    with pytest.raises(ValueError, match="do not match"):
        model.generate(input_ids=tiny_batch([2])["input_ids"], pixel_values=tiny_batch([1])["pixel_values"], **GREEDY)


def key(ids: list[int], *tiles: str) -> PromptKey:
    return PromptKey.of(torch.tensor(ids), 9, [tile.encode() for tile in tiles], [2] * len(tiles))


@pytest.mark.parametrize(
    ("mine", "other", "length"),
    [
        (key([1, 2, 3]), key([1, 2, 4, 5]), 2),
        (key([1, 2]), key([1, 2, 3]), 2),
        (key([1, 9, 9, 2], "a"), key([1, 9, 9, 2], "a"), 4),
        (key([1, 9, 9, 2], "a"), key([1, 9, 9, 2], "b"), 1),
        (key([1, 9, 9, 9, 9, 2], "a", "b"), key([1, 9, 9, 9, 9, 2], "a", "c"), 3),
        (key([1, 9, 9, 9, 9, 2], "a", "b"), key([1, 9, 9, 3], "a"), 3),
        (key([9, 9, 1], "a"), key([2, 9, 9, 1], "a"), 0),
    ],
)
def test_common_length(mine, other, length):
    assert mine.common_length(other) == length == other.common_length(mine)
