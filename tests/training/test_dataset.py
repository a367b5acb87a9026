# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rows to batches: mixtures, per-set options, resuming, workers, Trainer."""

import json
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from transformers import AutoModel, Trainer, TrainingArguments

from tests.parity.golden import golden_root
from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.training.data.collation import PackingCollator, PaddingCollator
from transformers_internvl.training.data.dataset import ChatDataset, PackedDataset
from transformers_internvl.training.data.records import DataSet, SkipPolicy, TableRows, read_meta
from transformers_internvl.training.data.rows import UnusableSample
from transformers_internvl.training.data.samples import SampleEncoder
from transformers_internvl.training.trainers.trainer import InternVLTrainer

QWEN2 = golden_root() / "chat_qwen2"
NOISE = np.random.default_rng(0).integers(0, 256, (56 * 2, 56 * 4, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoder():
    processor = InternVLProcessor.from_pretrained(QWEN2)
    processor.chat_template = get_chat_template("internvl2_5", system_message="S")
    return SampleEncoder(processor)


def turns(question, answer="yes"):
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def picture(columns=4, rows=2):
    return Image.fromarray(NOISE[: 56 * rows, : 56 * columns])


def texts(count, name="t"):
    return TableRows(
        name, [{"conversations": turns(f"{name} {number} " * (1 + number % 7))} for number in range(count)]
    )


def images(count, name="i"):
    row = {"image": picture(), "conversations": turns("<image>\nWhat?", "a " * 5)}
    return TableRows(name, [row] * count)


def names(encoder, samples):
    """The questions of samples, by which they are told apart."""
    decoded = [encoder.processor.tokenizer.decode(sample["input_ids"]) for sample in samples]
    return [text.split("user\n")[1].split("<|im_end|>")[0].replace("<IMG_CONTEXT>", "") for text in decoded]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_meta_file_end_to_end(tmp_path, encoder):
    picture(2, 2).save(tmp_path / "a.png")
    rows = [
        {"image": "a.png", "conversations": turns("<image>\nWhat?")},
        {"image": ["a.png", "a.png"], "conversations": turns("<image> <image> Which?")},
        {"conversations": turns("No picture?")},
        {"conversations": [{"from": "pretrain", "value": "a text"}]},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    entry = {"root": str(tmp_path), "annotation": str(tmp_path / "a.jsonl"), "data_augment": False, "repeat_time": 1.5}
    (tmp_path / "meta.json").write_text(json.dumps({"a": {**entry, "max_dynamic_patch": 4}}))
    data = ChatDataset(read_meta(tmp_path / "meta.json"), encoder, seed=1)
    samples = [data[index] for index in range(len(data))]
    assert len(samples) == 6
    counts = sorted(tuple(sample["num_patches"].tolist()) for sample in samples if "num_patches" in sample)
    assert set(counts) <= {(5,), (2 + 1, 2 + 1), (1 + 0, 1 + 0)} and (5,) in counts
    batch = PaddingCollator(encoder.processor.tokenizer.pad_token_id)(samples)
    assert len(batch["input_ids"]) == 6 and len(batch["pixel_values"]) == sum(map(sum, counts))


def test_sets_have_their_own_tile_limits(encoder):
    sets = [DataSet("few", images(1), max_patches=2), DataSet("many", images(1), max_patches=8)]
    data = ChatDataset(sets, encoder)
    assert [len(data.encode(number, 0, 0, 0)["pixel_values"]) for number in (0, 1)] == [3, 9]


def test_jpeg_follows_seed_epoch_and_entry(encoder):
    augmented, plain = (
        ChatDataset([DataSet("x", images(3), augment=flag)], encoder, seed=5) for flag in (True, False)
    )
    one = augmented.encode(0, 0, 0, 7)["pixel_values"]
    assert torch.equal(one, augmented.encode(0, 0, 0, 7)["pixel_values"])
    others = [augmented.encode(0, *rest)["pixel_values"] for rest in ((1, 0, 7), (0, 1, 7), (0, 0, 8))]
    assert not any(torch.equal(one, other) for other in [*others, plain.encode(0, 0, 0, 7)["pixel_values"]])
    assert torch.equal(plain.encode(0, 0, 0, 7)["pixel_values"], plain.encode(0, 1, 3, 8)["pixel_values"])
    video = TableRows("v", [{"videos": [[picture(1, 1)] * 3], "conversations": turns("<video>\nWhat?")}])
    samples = [ChatDataset([DataSet("v", video, augment=flag)], encoder).encode(0, 0, 0, 0) for flag in (True, False)]
    assert equal(*samples)  # off for videos


def test_frames_of_a_video_are_drawn_by_entry(encoder, tmp_path):
    path = tmp_path / "a.gif"
    frames = [Image.new("RGB", (56, 56), (shade, 0, 0)) for shade in range(0, 250, 5)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    rows = TableRows("v", [{"video": str(path), "conversations": turns("<video>\nWhat?")}])
    data = ChatDataset([DataSet("v", rows)], encoder, num_frames=(3, 5))
    samples = [data.encode(0, 0, 0, entry) for entry in range(12)]
    assert {len(sample["pixel_values"]) for sample in samples} == {3, 4, 5}
    assert equal(samples[4], data.encode(0, 0, 0, 4))
    shades = {tuple(sample["pixel_values"][:, 0, 0, 0].tolist()) for sample in samples}
    assert len(shades) == 12
    text = encoder.processor.tokenizer.decode(samples[0]["input_ids"])
    assert "Frame-1: <img>" in text and "Frame1" not in text


def test_preferences_and_messages(encoder):
    preference = {"image": picture(), "question": "<image>\nWhat?", "chosen": "good", "rejected": "bad bad"}
    item = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}
    messages = {"messages": [item, {"role": "assistant", "content": "good"}], "images": [picture()]}
    data = ChatDataset([DataSet("x", TableRows("x", [preference, messages]))], encoder)
    pair, chat = (data.encode(0, sample, 0, 0) for sample in (0, 1))
    assert torch.equal(pair["chosen_input_ids"], chat["input_ids"])
    assert torch.equal(pair["pixel_values"], chat["pixel_values"]) and len(chat["pixel_values"]) == 9
    assert len(pair["rejected_input_ids"]) == len(pair["rejected_labels"]) > len(pair["chosen_labels"])
    with pytest.raises(UnusableSample, match="preference pairs cannot be packed"):
        list(PackedDataset(data, 500, 20))


def test_unusable_samples(encoder, tmp_path):
    (tmp_path / "b.png").write_bytes(b"no picture")
    good = {"conversations": turns("Q")}
    bad = [
        {"conversations": turns("Q"), "image": "missing.png"},
        {"conversations": turns("Q"), "image": "b.png"},
        {"conversations": turns("<image>")},
        {"messages": [{"role": "robot", "content": "x"}]},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, [good, *bad])))
    entry = {"root": str(tmp_path), "annotation": str(tmp_path / "a.jsonl"), "data_augment": False, "repeat_time": 1}
    (tmp_path / "meta.json").write_text(json.dumps({"a": entry}))
    sets = read_meta(tmp_path / "meta.json")
    data = ChatDataset(sets, encoder)
    reasons = ("missing.png", "Cannot open", "0 images, but 1", "Expected a role")
    for sample, reason in enumerate(reasons, start=1):
        with pytest.raises(UnusableSample, match=reason) as caught:
            data.encode(0, sample, 0, 0)
        assert caught.value.where == f"{tmp_path / 'a.jsonl'}, line {sample + 1}"
    policy = SkipPolicy(limit=4)
    skipping = ChatDataset(sets, encoder, policy=policy)
    assert sum(skipping[index] is not None for index in range(5)) == 1 and len(policy.skipped) == 4
    packs = list(PackedDataset(ChatDataset(sets, encoder, policy=SkipPolicy(4)), 100, 10))
    assert [len(pack) for pack in packs] == [1]
    with pytest.raises(ValueError, match="3 unusable samples were left out already"):
        list(PackedDataset(ChatDataset(sets, encoder, policy=SkipPolicy(3)), 100, 10))


def test_an_answer_of_which_nothing_is_learned(encoder):
    """An empty one, of a template whose turns stay open then."""
    older = SampleEncoder(encoder.processor, get_chat_template("Hermes-2", system_message="S"))
    data = ChatDataset([DataSet("t", TableRows("t", [{"conversations": turns("Q", "")}]))], older)
    with pytest.raises(UnusableSample, match="t, row 0: no token is supervised: the answer is empty"):
        data.encode(0, 0, 0, 0)


def mixture(encoder, **options):
    sets = [DataSet("t", texts(23), repeat=1.5), DataSet("u", texts(9, "u")), DataSet("i", images(4), augment=True)]
    return ChatDataset(sets, encoder, seed=3, **options)


@pytest.mark.parametrize("ranks", [1, 3])
def test_packs_hold_every_entry_once(encoder, ranks):
    data = mixture(encoder)
    packs = [p for rank in range(ranks) for p in PackedDataset(data, 200, 20, rank=rank, world_size=ranks, max_open=3)]
    assert all(sum(len(sample["input_ids"]) for sample in pack) <= 200 for pack in packs)
    packed = names(encoder, [sample for pack in packs for sample in pack])
    assert sorted(packed) == sorted(names(encoder, [data[index] for index in range(len(data))]))
    assert len(packed) == len(data) == 34 + 9 + 4 and len(packs) < 30


@pytest.mark.parametrize("stop", [1, 4, 9, -1])
def test_resume_in_mid_epoch(encoder, stop):
    def dataset():
        return PackedDataset(mixture(encoder), 200, 20, max_open=3)

    running = dataset()
    whole, second = list(running), list(running)
    stop = stop % len(whole)
    stopped = dataset()
    assert len(list(islice(iter(stopped), stop))) == stop
    state = json.loads(json.dumps(stopped.state_dict()))
    resumed = dataset()
    resumed.load_state_dict(state)
    resumed.set_epoch(0)
    rest = list(resumed)
    assert len(rest) == len(whole) - stop
    for one, other in zip([*rest, *resumed], [*whole[stop:], *second], strict=True):
        assert len(one) == len(other) and all(map(equal, one, other))
    assert not all(map(equal, whole[0], second[0]))


def test_resume_with_cut_samples_without_end(encoder):
    def dataset():
        return PackedDataset(mixture(encoder), 60, 9, max_open=4, split=True, endless=True)

    for stop in (5, 60):
        running = iter(dataset())
        list(islice(running, stop))
        stopped = dataset()
        list(islice(iter(stopped), stop))
        resumed = dataset()
        resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
        for one, other in zip(islice(running, 20), resumed, strict=False):
            assert len(one) == len(other) and all(map(equal, one, other))


def test_what_packs_refuse(encoder):
    data = mixture(encoder)
    with pytest.raises(UnusableSample, match="i, row .* larger than a pack of 200 tokens and 8 tiles"):
        list(PackedDataset(data, 200, 8))
    with pytest.raises(ValueError, match="a rank from 0 to 1"):
        PackedDataset(data, 200, 8, rank=2, world_size=2)
    with pytest.raises(ValueError, match="Nothing was read yet"):
        PackedDataset(data, 200, 8).state_dict()
    other = PackedDataset(mixture(encoder), 200, 20)
    next(iter(other))
    resumed = PackedDataset(data, 200, 20, rank=0, world_size=2)
    resumed.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="cannot be resumed in mid-epoch"):
        next(iter(resumed))
    with pytest.raises(ValueError, match="minimum and maximum number of frames"):
        ChatDataset([DataSet("t", texts(1))], encoder, num_frames=(9, 8))


def test_workers_share_an_epoch(encoder):
    data = mixture(encoder)
    loader = DataLoader(PackedDataset(data, 200, 20), batch_size=None, num_workers=2)
    packed = names(encoder, [sample for pack in loader for sample in pack])
    assert sorted(packed) == sorted(names(encoder, [data[index] for index in range(len(data))]))


def losses_of(trainer_class, encoder, folder, data, packed):
    """The losses of three steps, each of them over all four samples of the data."""
    model = AutoModel.from_pretrained(QWEN2)
    model.config.loss_reduction = "square"
    arguments = TrainingArguments(
        folder,
        max_steps=3,
        learning_rate=1e-2,
        per_device_train_batch_size=1 if packed else 4,
        use_cpu=True,
        report_to=[],
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
        accelerator_config={"dispatch_batches": False},
    )
    pad = encoder.processor.tokenizer.pad_token_id
    trainer = trainer_class(
        model,
        arguments,
        train_dataset=PackedDataset(data, 1000, 100) if packed else data,
        data_collator=PackingCollator("square") if packed else PaddingCollator(pad),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_packed_and_padded_runs_are_the_same(encoder, tmp_path):
    data = ChatDataset([DataSet("t", texts(3)), DataSet("i", images(1))], encoder)
    packed, padded = (losses_of(InternVLTrainer, encoder, tmp_path, data, flag) for flag in (True, False))
    assert len(packed) == 3 and packed[2] < packed[0]
    assert packed == pytest.approx(padded, rel=1e-5)


@pytest.mark.parametrize("packed", [False, True])
def test_under_the_trainer_of_transformers(encoder, tmp_path, packed):
    losses = losses_of(Trainer, encoder, tmp_path, mixture(encoder), packed)
    assert len(losses) == 3 and all(np.isfinite(losses))


@pytest.mark.parametrize("answers", [("", "bad"), ("good", "")], ids=["chosen", "rejected"])
def test_a_pair_with_one_empty_answer(encoder, answers):
    """Under a template whose empty turns stay open nothing of it is learned, whichever of the two it is."""
    pair = {"question": "Q", "chosen": answers[0], "rejected": answers[1]}
    rows = TableRows("p", [{"question": "Q", "chosen": "good", "rejected": "bad"}, pair])
    older = SampleEncoder(encoder.processor, get_chat_template("Hermes-2", system_message="S"))
    data = ChatDataset([DataSet("p", rows)], older)
    assert (data.encode(0, 0, 0, 0)["rejected_labels"] != -100).any()
    with pytest.raises(UnusableSample, match="p, row 1: no token is supervised"):
        data.encode(0, 1, 0, 0)
    closed = ChatDataset([DataSet("p", rows)], encoder).encode(0, 1, 0, 0)  # here its end is learned
    assert all((closed[f"{side}_labels"] != -100).any() for side in ("chosen", "rejected"))


def test_settings_of_a_dataset(encoder, monkeypatch):
    sets = [DataSet("t", texts(400)), DataSet("u", texts(25, "u"))]
    assert ChatDataset(sets, encoder).num_frames == (8, 32)  # the original shells
    assert ChatDataset(sets, encoder, num_frames=(1, 1)).num_frames == (1, 1)
    for wrong in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="minimum and maximum number of frames"):
            ChatDataset(sets, encoder, num_frames=wrong)
    for mixing in ("size", "root"):
        data = ChatDataset(sets, encoder, mixing=mixing, seed=7)
        assert data.mixture.identity() == {"sizes": [400, 25], "repeats": [1.0, 1.0], "mixing": mixing, "seed": 7}
    assert PackedDataset(data, 100, 10).limits == {"max_tokens": 100, "max_tiles": 10, "max_open": 20, "split": False}


def test_an_epoch_that_was_begun_is_left_for_another(encoder):
    data = ChatDataset([DataSet("t", texts(9))], encoder, seed=1)
    orders = []
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        samples = data.mixture.epoch(epoch)[1].tolist()
        orders.append(names(encoder, [data[index] for index in range(len(data))]))
        assert orders[-1] == names(encoder, [data.encode(0, number, 0, 0) for number in samples])
    assert orders[0] == orders[2] != orders[1]


def test_jpeg_follows_the_run_and_the_set(encoder):
    sets = [DataSet("x", images(1), augment=True), DataSet("y", images(1), augment=True)]
    one, other = (ChatDataset(sets, encoder, seed=seed) for seed in (5, 6))
    found = [data.encode(number, 0, 0, 7)["pixel_values"] for data in (one, other) for number in (0, 1)]
    assert not any(torch.equal(found[a], found[b]) for a in range(4) for b in range(a))


def test_a_clip_is_the_part_that_is_seen(encoder, tmp_path):
    path = tmp_path / "a.gif"
    frames = [Image.new("RGB", (56, 56), (shade, 0, 0)) for shade in range(0, 200, 5)]  # 40, ten a second
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    row = {"video": str(path), "conversations": turns("<video>\nWhat?")}
    rows = TableRows("v", [{**row, "clip": [1, 2]}, row, {**row, "clip": [3, 3.5]}])
    data = ChatDataset([DataSet("v", rows)], encoder, num_frames=(4, 4))
    plain = encoder.processor.image_processor(frames, return_tensors="pt")["pixel_values"][:, 0, 0, 0].tolist()
    shown = [
        [plain.index(level) for level in data.encode(0, sample, 0, entry)["pixel_values"][:, 0, 0, 0].tolist()]
        for sample in range(3)
        for entry in range(4)
    ]
    assert all(len(places) == 4 and places == sorted(places) for places in shown)
    assert all(10 <= place <= 20 for places in shown[:4] for place in places)
    assert all(30 <= place <= 35 for places in shown[8:] for place in places)
    assert min(map(min, shown[4:8])) < 10 and max(map(max, shown[4:8])) > 30


def test_limits_reach_every_form_of_a_row(encoder):
    item = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}
    rows = [
        {"messages": [item, {"role": "assistant", "content": "good"}], "images": [picture()]},
        {"image": picture(), "question": "<image>\nWhat?", "chosen": "good", "rejected": "bad bad"},
        {"image": picture(), "conversations": [{"from": "pretrain", "value": "<image> a text"}]},
    ]
    data = ChatDataset([DataSet("x", TableRows("x", rows), max_patches=2)], encoder)
    context = encoder.processor.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    for sample in range(3):
        found = data.encode(0, sample, 0, 0)
        assert found["num_patches"].tolist() == [3] and len(found["pixel_values"]) == 3
        for name in (name for name in found if name.endswith("input_ids")):
            assert (found[name] == context).sum() == 3 * encoder.processor.image_seq_length, name


def test_what_went_out_is_counted_over_epochs(encoder):
    """What waits in open packs did not go out; what was left out did."""
    rows = [{"conversations": turns(f"Q{number} " * (1 + 40 * (number == 3)))} for number in range(12)]
    sets = [DataSet("a", texts(5)), DataSet("b", TableRows("b", rows))]
    policy = SkipPolicy(1)
    packs = PackedDataset(ChatDataset(sets, encoder, policy=policy), 60, 4, endless=True)
    assert packs.entries_out() == 0
    reading, out = iter(packs), 0
    for _ in range(12):
        out += len(next(reading))
        state = packs.state_dict()
        epochs, place = state["stream"]["epoch"], state["stream"]["position"]
        waiting = len({tuple(piece[0]) for kind in ("open", "ready") for pack in state[kind] for piece in pack})
        assert packs.entries_out() == 17 * epochs + place - waiting
    assert epochs > 0 and {place for place, _ in policy.skipped} == {"b, row 3"}
    left_out = packs.entries_out() - out
    assert 1 <= left_out <= epochs + 1


def test_how_much_of_a_pack_an_entry_fills(encoder):
    def fill(rows, tokens, tiles):
        return PackedDataset(ChatDataset([DataSet("x", rows)], encoder), tokens, tiles).packs_per_entry()

    length = len(ChatDataset([DataSet("x", images(1))], encoder).encode(0, 0, 0, 0)["input_ids"])
    assert fill(images(3), 10 * length, 90) == pytest.approx(1 / 10)  # nine tiles each
    assert fill(images(3), 10 * length, 18) == pytest.approx(1 / 2)
    assert fill(images(3), 2 * length, 90) == pytest.approx(1 / 2)


def test_places_of_packs_with_other_limits_are_refused(encoder):
    first = PackedDataset(mixture(encoder), 200, 20, max_open=3)
    next(iter(first))
    for limits in ((200, 21, 3, False), (201, 20, 3, False), (200, 20, 4, False), (200, 20, 3, True)):
        other = PackedDataset(mixture(encoder), *limits[:2], max_open=limits[2], split=limits[3])
        other.load_state_dict(first.state_dict())
        with pytest.raises(ValueError, match="cannot be resumed in mid-epoch"):
            next(iter(other))


def test_epochs_of_an_endless_stream_and_of_a_state_are_their_own(encoder):
    data = mixture(encoder)
    plain, endless = PackedDataset(data, 200, 20), PackedDataset(data, 200, 20, endless=True)
    for packs in (plain, endless):
        packs.set_epoch(3)
    assert (plain.epoch, endless.epoch) == (3, 0)
    next(iter(plain))
    resumed = PackedDataset(data, 200, 20)
    resumed.load_state_dict(plain.state_dict())
    resumed.set_epoch(7)
    assert resumed.epoch == 3
    next(iter(resumed))
    resumed.set_epoch(7)  # the state was taken up, and the next epoch may be said
    assert resumed.epoch == 7
