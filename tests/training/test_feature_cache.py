# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Training on features from disk is training on pixels, without the tower and without the images."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from transformers import AutoModel, TrainingArguments

from tests.parity.golden import golden_root
from tests.ranks import launch
from tests.tiny import tiny_batch, tiny_model
from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.training.data.collation import PackingCollator, PaddingCollator
from transformers_internvl.training.data.dataset import ChatDataset, PackedDataset
from transformers_internvl.training.data.records import DataSet, TableRows
from transformers_internvl.training.data.samples import SampleEncoder
from transformers_internvl.training.feature_cache import store as feature_store
from transformers_internvl.training.feature_cache.model import FeatureCache
from transformers_internvl.training.feature_cache.store import FeatureStore, images_name, tile_name
from transformers_internvl.training.lora import lora_config
from transformers_internvl.training.parameters import freeze
from transformers_internvl.training.recipes import set_drop_path
from transformers_internvl.training.trainers.trainer import InternVLTrainer

QWEN2 = golden_root() / "chat_qwen2"


def turns(question, answer="a b c"):
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def pictures(folder, count=3):
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 256, (56 * (1 + index % 2), 56 * 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return [str(folder / f"{index}.png") for index in range(count)]


def rows_of(paths):
    """Single images, two at once with limits of their own, a video between images, and a text."""
    clip = [Image.open(path).convert("RGB") for path in paths[:2]]
    items = [{"type": "image", "path": paths[0], "max_patches": 2}, {"type": "image", "path": paths[1]}]
    question = {"role": "user", "content": [*items, {"type": "text", "text": "Which?"}]}
    return [
        *({"image": path, "conversations": turns("<image>\nWhat?")} for path in paths),
        {"messages": [question, {"role": "assistant", "content": "this one"}]},
        {"images": [paths[2]], "videos": [clip], "conversations": turns("<image> or <video>?")},
        {"conversations": turns("No picture?")},
    ]


@pytest.fixture(scope="module")
def encoder():
    processor = InternVLProcessor.from_pretrained(QWEN2)
    processor.chat_template = get_chat_template("internvl2_5", system_message="S")
    return SampleEncoder(processor)


@pytest.fixture
def data(tmp_path, encoder):
    return lambda: ChatDataset([DataSet("x", TableRows("x", rows_of(pictures(tmp_path))))], encoder)


def frozen_model(lora=False):
    model = AutoModel.from_pretrained(QWEN2)
    if lora:
        import peft

        torch.manual_seed(0)
        return peft.get_peft_model(model, lora_config("llm", model, r=4, dropout=0.0))
    freeze(model, "vision", "projector")
    return model


def train(folder, data, *, packed=False, lora=False, workers=0, epochs=2, bf16=False, **options):
    """The losses of the steps, the trained weights, and how many tiles the tower saw in each epoch."""
    model = frozen_model(lora)
    tower = next(module for name, module in model.named_modules() if name.endswith("vision_tower"))
    seen = []
    tower.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    arguments = TrainingArguments(
        str(folder / "out"),
        num_train_epochs=epochs,
        max_steps=-1 if not packed else 2 * epochs,
        learning_rate=1e-2,
        per_device_train_batch_size=1 if packed else 3,
        dataloader_num_workers=workers,
        train_sampling_strategy="sequential",
        use_cpu=True,
        bf16=bf16,
        report_to=[],
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
        accelerator_config={"dispatch_batches": False},
    )
    trainer = InternVLTrainer(
        model,
        arguments,
        train_dataset=PackedDataset(data, 220, 100) if packed else data,
        data_collator=PackingCollator("square", pad_to_tiles=30) if packed else PaddingCollator(0),
        **options,
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses, [p.detach() for p in model.parameters() if p.requires_grad], seen


WAYS = {
    "packed": {"packed": True},
    "padded": {},
    "packed, adapters": {"packed": True, "lora": True},
    "padded, adapters": {"lora": True},
    "autocast": {"bf16": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_training_is_the_same(tmp_path, data, way):
    plain = train(tmp_path, data(), **WAYS[way])
    cached = train(tmp_path, data(), **WAYS[way], feature_cache=tmp_path / "cache")
    assert len(plain[0]) == 4 and cached[0] == pytest.approx(plain[0], rel=1e-5)
    for one, other in zip(plain[1], cached[1], strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-4)  # the optimizer enlarges what rounds otherwise
    half = sum(plain[2]) // 2  # an epoch's tiles, of which some occur twice
    assert sum(plain[2]) == 2 * half and 0 < sum(cached[2]) <= half
    again = train(tmp_path, data(), **WAYS[way], feature_cache=tmp_path / "cache")
    assert again[2] == [] and again[0] == pytest.approx(plain[0], rel=1e-6)


def test_known_images_are_not_opened_until_they_change(tmp_path, data, monkeypatch):
    opened = []
    plain = InternVLImageProcessor.fetch_images

    def watched(self, images):
        opened.extend([images] if isinstance(images, str) else [])
        return plain(self, images)

    monkeypatch.setattr(InternVLImageProcessor, "fetch_images", watched)
    train(tmp_path, data(), epochs=1, feature_cache=tmp_path / "cache")
    assert len(opened) == 6
    opened.clear()
    train(tmp_path, data(), epochs=1, feature_cache=tmp_path / "cache")
    assert opened == []
    samples, path = data(), tmp_path / "1.png"
    date = path.stat()
    pixels = np.array(Image.open(path))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))  # it looks as old as before
    _, _, seen = train(tmp_path, samples, epochs=1, feature_cache=tmp_path / "cache")
    assert set(opened) == {str(path)}
    assert 0 < sum(seen) <= 10


def test_workers_and_pixels_of_other_data_sets(tmp_path, data):
    plain = train(tmp_path, data(), epochs=1)
    cached = train(tmp_path, data(), epochs=1, workers=2, feature_cache=tmp_path / "cache")
    assert plain[0] == pytest.approx(cached[0], rel=1e-6)
    pixels = list(map(data().__getitem__, range(6)))  # a list of samples with pixels
    losses, _, seen = train(tmp_path, pixels, epochs=1, feature_cache=tmp_path / "cache")
    assert seen == [] and np.isfinite(losses).all()


def test_other_settings_make_other_tiles(tmp_path, data, monkeypatch):
    model, samples = frozen_model(), data()
    cache = FeatureCache(tmp_path / "cache", model)
    samples.use_features(cache.store)
    cache.encode_new(cache.collator(PaddingCollator(0))([samples.encode(0, 0, 0, 0)]))
    known = samples.encode(0, 0, 0, 0)
    assert len(known["pixel_values"]) == 3 and "new_tiles" not in known
    monkeypatch.setattr(samples.encoder.processor.image_processor, "max_patches", 1)
    assert len(samples.encode(0, 0, 0, 0)["pixel_values"]) == 1


# Every option of the image processor that changes tiles -> another value than the default.
OTHER_SETTINGS = {
    "size": {"height": 28, "width": 28},
    "resample": Image.Resampling.NEAREST,
    "do_rescale": False,
    "rescale_factor": 0.5,
    "do_normalize": False,
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.1, 0.2, 0.3],
    "normalize_type": "siglip",
    "crop_to_patches": False,
    "min_patches": 5,
    "max_patches": 1,
    "use_thumbnail": False,
    "pad2square": True,
    "do_resize": False,
    "do_convert_rgb": False,
}


@pytest.mark.parametrize("option", OTHER_SETTINGS)
def test_no_setting_gives_the_tiles_of_another(tmp_path, option):
    """The cache holds the tiles of the defaults; with another one on the object or in the call they are not used."""
    processor = InternVLImageProcessor(size={"height": 56, "width": 56}, backend="pil")
    fixed = {"pad2square": {"crop_to_patches": False}}.get(option, {})
    fixed |= {"do_resize": {"crop_to_patches": False, "size": {"height": 56, "width": 112}}}.get(option, {})
    fixed |= {"do_convert_rgb": {"image_mean": 0.5, "image_std": 0.5}}.get(option, {})
    (path, *_) = pictures(tmp_path, 1)
    picture = Image.open(path).convert("L") if option == "do_convert_rgb" else Image.open(path)
    store = FeatureStore(tmp_path / "cache", "x")

    def names(**options):
        return feature_store.from_names(
            feature_store.NamingProcessor(processor, store)(picture, **options).pixel_values
        )

    def expected(**options):
        return [tile_name(tile) for tile in processor(picture, return_tensors="pt", **options).pixel_values]

    for name in names(return_tensors="pt", **fixed):
        store.write(name, torch.zeros(1, 2))
    known = expected(**fixed)
    assert names(return_tensors="pt", **fixed) == known  # recalled
    if option not in ("do_convert_rgb", "do_resize"):
        assert expected(**fixed, **{option: OTHER_SETTINGS[option]}) != known
    assert names(return_tensors="pt", **fixed, **{option: OTHER_SETTINGS[option]}) == expected(
        **fixed, **{option: OTHER_SETTINGS[option]}
    )
    setattr(processor, option, OTHER_SETTINGS[option])
    assert names(return_tensors="pt", **fixed) == expected(**fixed)


def test_the_settings_above_are_all():
    same_tiles = {"backend", "share_tile_budget", "return_grid", "max_image_pixels", "image_seq_length", "device"}
    upstreams = {
        "crop_size",
        "default_to_square",
        "disable_grouping",
        "do_center_crop",
        "do_pad",
        "pad_size",
    }  # no effect
    formats = {"data_format", "input_data_format", "return_tensors"}
    processor = InternVLImageProcessor(normalize_type="imagenet")
    fields = {name for name in processor.valid_kwargs.__annotations__ if hasattr(processor, name)}
    assert fields - same_tiles - upstreams - formats == set(OTHER_SETTINGS)


def test_going_back_to_pixels(tmp_path, data):
    samples, expected = data(), data()[0]
    samples.use_features(FeatureCache(tmp_path / "cache", frozen_model()).store)
    assert samples[0]["pixel_values"].dtype == torch.uint8
    samples.use_features(None)
    assert torch.equal(samples[0]["pixel_values"], expected["pixel_values"])


def test_cut_samples_take_their_new_tiles_along(tmp_path, data):
    samples, model = data(), frozen_model()
    cache = FeatureCache(tmp_path / "cache", model)
    samples.use_features(cache.store)
    packs = PackedDataset(samples, 100, 100, split=True)
    batches = [cache.encode_new(batch) for batch in DataLoader(packs, 1, collate_fn=cache.collator(_pack))]
    for batch in batches:
        features = batch["mm_encoder_outputs"]["image"].pooler_output if "mm_encoder_outputs" in batch else []
        tokens = int((batch["input_ids"] == model.config.image_token_id).sum())
        assert len(features) * model.config.image_seq_length == tokens and "pixel_values" not in batch
    assert len(batches) > 3


def _pack(packs):
    return PackingCollator("square")(packs)


def _cache(folder, model, **options):
    freeze(model, "vision", "projector")
    return FeatureCache(folder, model, **options)


def _join(rows):
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def test_known_and_new_tiles_in_a_batch(tmp_path):
    model = tiny_model()
    cache = _cache(tmp_path, model)
    rows = [tiny_batch([tiles], seed=tiles) for tiles in (1, 2, 3)]
    collate = cache.collator(_join)
    cache.encode_new(collate(rows[1:2]))
    batch = collate(rows)
    assert batch["is_cached"].tolist() == [False, True, True, False, False, False] and len(batch["pixel_values"]) == 4
    inputs = cache.encode_new(batch)
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, model(**_join(rows)).logits)
    assert set(collate(rows)) == {"input_ids", "attention_mask", "cached_features"}
    text = tiny_batch([0])
    text.pop("pixel_values")
    assert cache.encode_new(collate([text])).keys() == text.keys()


def test_features_are_kept_in_the_dtype_they_are_made_in(tmp_path):
    rows = [tiny_batch([2])]
    caches = [_cache(tmp_path, tiny_model(), autocast=autocast) for autocast in (None, torch.bfloat16)]
    caches.append(_cache(tmp_path, tiny_model().bfloat16()))
    dtypes = []
    for cache in caches:
        collate = cache.collator(_join)
        cache.encode_new(collate(rows))
        dtypes.append(collate(rows)["cached_features"].dtype)
    assert dtypes == [torch.float32, torch.bfloat16, torch.bfloat16]
    assert len({cache.fingerprint for cache in caches}) == 3
    assert json.loads((caches[2].store.folder / "model.json").read_text())["dtype"] == "torch.bfloat16"


def test_what_would_change_features_is_refused(tmp_path):
    with pytest.raises(ValueError, match="parameters train, the first 'vision_tower"):
        FeatureCache(tmp_path, tiny_model())
    model = tiny_model()
    freeze(model, "vision", "projector")
    set_drop_path(model, 0.1)
    with pytest.raises(ValueError, match=r"StochasticDepth\) drops at a rate"):
        FeatureCache(tmp_path, model)
    model.model.vision_tower.frozen = True  # it stays in evaluation mode
    FeatureCache(tmp_path, model)
    for rates in ({"attention_dropout": 0.1}, {"hidden_dropout_prob": 0.1}):
        with pytest.raises(ValueError, match="differ from pass to pass"):
            _cache(tmp_path, tiny_model(vision=rates))
    with pytest.raises(ValueError, match="has no tower and projector"):
        FeatureCache(tmp_path, torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="spread over ranks"):
        _cache(tmp_path, tiny_model().to("meta"))


@pytest.mark.parametrize("part", ["vision_tower", "multi_modal_projector"])
def test_weights_that_were_written_without_a_new_version_are_refused(tmp_path, part):
    """Through `.data`, as some libraries write, and by the kernels of fused optimizers."""
    model = tiny_model()
    cache = _cache(tmp_path, model)
    batch = cache.collator(_join)([tiny_batch([1])])
    weight = next(weight for weight in getattr(model.model, part).parameters() if weight.ndim == 2)
    before = weight.data_ptr(), weight._version
    weight.data.mul_(1.5)
    assert (weight.data_ptr(), weight._version) == before
    with pytest.raises(ValueError, match="have changed since"):
        cache.encode_new(batch)


def test_weights_that_changed_are_refused(tmp_path):
    model = tiny_model()
    cache = _cache(tmp_path, model)
    batch = cache.collator(_join)([tiny_batch([1])])
    projector = model.model.multi_modal_projector.linear_2
    projector.weight.data = projector.weight.data.clone()  # moved, not changed
    cache.encode_new(batch)
    projector.weight.requires_grad_(True)
    with pytest.raises(ValueError, match="train, the first 'multi_modal_projector.linear_2.weight'"):
        cache.encode_new(batch)
    projector.weight.requires_grad_(False)
    projector.weight[0, 0] += 1
    with pytest.raises(ValueError, match="have changed since"):
        cache.encode_new(batch)
    assert FeatureCache(tmp_path, model).fingerprint != cache.fingerprint


def test_settings_belong_to_the_fingerprint(tmp_path):
    models = [tiny_model(), tiny_model(vision_feature_layer=-2), tiny_model(ps_version="v1")]
    assert len({_cache(tmp_path, model).fingerprint for model in models}) == 3
    assert (
        _cache(tmp_path, tiny_model(text={"rope_theta": 5.0})).fingerprint == _cache(tmp_path, models[0]).fingerprint
    )


def test_augmented_sets_are_refused(tmp_path, encoder):
    data = ChatDataset([DataSet("jpegs", TableRows("x", rows_of(pictures(tmp_path))), augment=True)], encoder)
    with pytest.raises(ValueError, match="augmented, as those of jpegs"):
        train(tmp_path, data, feature_cache=tmp_path / "cache")
    with pytest.raises(ValueError, match="augmented"):
        PackedDataset(data, 100, 10).use_features(FeatureStore(tmp_path, "f"))


def test_sharded_training_is_refused(tmp_path):
    trainer = InternVLTrainer(frozen_model(), TrainingArguments(str(tmp_path), use_cpu=True, report_to=[]))
    trainer.is_fsdp_enabled = True
    with pytest.raises(ValueError, match="not FSDP"):
        trainer._open_cache(tmp_path / "cache", None)


def test_damage_is_noticed(tmp_path):
    store, features = FeatureStore(tmp_path, "f"), torch.randn(4, 8)
    name = tile_name(torch.zeros(3, 2, 2))
    assert name not in store and store.read(name) is None
    store.write(name, features)
    assert name in store and torch.equal(store.read(name), features)
    (path,) = tmp_path.rglob("*.safetensors")
    data = path.read_bytes()
    for damaged in (data[:-1], b"", data[:-1] + bytes([data[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="delete the file"):
            store.read(name)
    store.remember(b"p", [name], [1])
    (entry,) = (tmp_path / "images").rglob("*.json")
    assert store.recall(b"p")[1] == [1] and store.recall(b"q") is None
    path.unlink()
    assert store.recall(b"p") is None  # its features are gone
    entry.write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        store.recall(b"p")
    assert not list(tmp_path.rglob(".*"))  # nothing half written


def test_the_limit_counts_what_others_wrote(tmp_path):
    one = FeatureStore(tmp_path, "one")
    one.write(b"1" * 16, torch.zeros(100))
    two = FeatureStore(tmp_path, "two", max_bytes=1500)
    two.write(b"2" * 16, torch.zeros(100))
    with pytest.raises(ValueError, match="is full.*1,500 are allowed"):
        two.write(b"3" * 16, torch.zeros(100))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_what_names_tell_apart(tmp_path):
    one, other = torch.zeros(3, 4, 2), torch.zeros(3, 2, 4)
    assert len({tile_name(tile) for tile in (one, other, one.double(), one + 1)}) == 4
    assert tile_name(one.transpose(1, 2)) == tile_name(other)
    path, _, copy = (*pictures(tmp_path, 2), str(tmp_path / "copy.png"))
    Path(copy).write_bytes(Path(path).read_bytes())
    assert images_name([path], 1) == images_name([copy], 1)
    picture = Image.open(path)
    names = {images_name(*case) for case in (([path], 1), ([path], 2), ([[path]], 1), ([picture], 1), ([], 1))}
    assert len(names) == 5 and None not in names
    assert images_name([picture.convert("P")], 1) is None and images_name(["https://a/b.png"], 1) is None


def test_collators_must_leave_names_alone(tmp_path, data):
    samples = data()
    cache = FeatureCache(tmp_path / "cache", frozen_model())
    samples.use_features(cache.store)
    collate = cache.collator(lambda rows: {"pixel_values": rows[0]["pixel_values"].float()})
    with pytest.raises(ValueError, match="join and pick names"):
        collate([samples[0]])
    plain, sample = cache.collator(PaddingCollator(0)), samples[0]
    with pytest.raises(ValueError, match="vanished"):
        plain([{name: value for name, value in sample.items() if name not in feature_store.NEW_TILES}])


def test_features_of_another_width_are_refused():
    model, batch = tiny_model(), tiny_batch([2])
    features = model.get_image_features(batch.pop("pixel_values"))
    features.pooler_output = features.pooler_output.reshape(1, 4, 64)  # as many numbers
    with pytest.raises(ValueError, match="64 wide, the language model is 32"):
        model(**batch, mm_encoder_outputs={"image": features})


def test_two_ranks_share_a_cache(tmp_path):
    launch(2, tmp_path, "tests.training.test_feature_cache", str(tmp_path))
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for plain, cached, seen in found:
        assert cached == pytest.approx(plain, rel=1e-6)
        assert 0 < sum(seen) <= 20
    # both had the same images, and kept each tile once
    assert len(list((tmp_path / "cache").glob("*/??/*.safetensors"))) == 3 + 5 + 3


if __name__ == "__main__":  # one of two ranks: test_two_ranks_share_a_cache
    processor = InternVLProcessor.from_pretrained(QWEN2)
    processor.chat_template = get_chat_template("internvl2_5", system_message="S")
    folder, rank = Path(sys.argv[1]), os.environ["RANK"]
    own = folder / rank
    own.mkdir()
    rows = [{"image": path, "conversations": turns("<image>\nWhat?")} for path in pictures(own) * 2]
    samples = ChatDataset([DataSet("x", TableRows("x", rows))], SampleEncoder(processor))
    plain, _, _ = train(own, samples)
    cached, _, seen = train(own, samples, feature_cache=folder / "cache")
    (folder / f"{rank}.json").write_text(json.dumps([plain, cached, seen]))
