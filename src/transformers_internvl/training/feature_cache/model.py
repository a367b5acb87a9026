# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Training with a frozen tower: every tile is encoded once, and later epochs read its features from disk.

    trainer = InternVLTrainer(model, arguments, train_dataset=samples, data_collator=collator, feature_cache="folder")

or in your own loop

    cache = FeatureCache("folder", model)
    loader = DataLoader(samples, collate_fn=cache.collator(PaddingCollator(0)))
    for batch in loader:
        loss = model(**cache.encode_new(batch)).loss

What is kept is what the projector gives, `(n, D)` a tile. That is smaller than the tower's output for most released
models (4.6 times for the 1B, 2.1 times for the 26B), as large for the 8B, a quarter larger for the 14B. At 256 tokens
in bfloat16 it is 0.46 MB a tile for the 1B, 2.1 MB for the 8B.

    data loader's workers                                           the training process
    dataset:   images -> names of tiles, and the unknown tiles
    collator:  names -> features from disk, and the unknown tiles   encode_new: tower and projector for these, kept

Shape letters: T tiles of a batch, K of them in the cache, n image tokens of a tile, D width of the language model.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ...modeling.internvl.image_features import ImageFeatureMixin
from ...modeling.pretrained.prefix_cache import sample_values
from ...modeling.vision.layers import StochasticDepth
from ...modeling.vision.model import InternVLVisionAttention
from .store import NEW_TILES, FeatureStore, NamingProcessor, as_names, from_names, tensor_bytes, tile_name

_PARTS = ("vision_tower", "multi_modal_projector")
# What makes features differ between two passes in training mode -> at which rate.
_RANDOM: dict[type, Callable[[Any], float]] = {
    nn.Dropout: lambda module: module.p,
    StochasticDepth: lambda module: module.probability,
    InternVLVisionAttention: lambda module: module.config.attention_dropout,
}
# Settings of a model that change its features, beside those of the tower and the weights.
_SETTINGS = (
    "vision_feature_layer",
    "vision_feature_select_strategy",
    "downsample_ratio",
    "ps_version",
    "projector_type",
    "projector_hidden_act",
)


class FeatureCache:
    """Features of tiles on disk, of one model as it is now.

    Args:
        folder: of the cache. Models may share it: each has a folder of its own in it, named after a fingerprint of its
            weights and settings. So may the processes of a run.
        model: with frozen tower and projector, wrapped by peft or not.
        autocast: the dtype that the model is run in under autocast, if it is.
        max_bytes: maximum number of bytes of features in `folder`; None = as many as the disk has.

    Raises:
        ValueError: tower or projector train, or drop something at random in training; weights are sharded over ranks
            (FSDP, ZeRO-3). [`FeatureCache.encode_new`] raises it, too, and if the weights have changed since, and
            when the cache is full.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        model: nn.Module,
        *,
        autocast: torch.dtype | None = None,
        max_bytes: int | None = None,
    ):
        self.core = refuse_changing_features(model)
        self.autocast = autocast
        self.fingerprint, self._state = self._fingerprint(), self._tensor_state()
        self.store = FeatureStore(folder, self.fingerprint, max_bytes)
        self.store.describe(self._settings())

    def collator(self, collate: Callable[[Any], Mapping[str, Any]]) -> "FeatureCollator":
        """A collator whose batches [`FeatureCache.encode_new`] takes, around one for samples with pixels."""
        return FeatureCollator(collate, self.store)

    def encode_new(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Encode the tiles of a batch that the cache lacks, and keep them.

        Args:
            batch: of [`FeatureCollator`].

        Returns:
            The batch with the features of all tiles, `(T, n, D)`, as `mm_encoder_outputs`, in place of pixels.
        """
        inputs = dict(batch)
        names, cached = inputs.pop("new_names", None), inputs.pop("cached_features", None)
        is_cached = inputs.pop("is_cached", None)
        if names is None and cached is None:
            return inputs
        self.check()
        features = cached
        if names is not None:
            features = new = self._encode(inputs.pop("pixel_values"))
            for name, tile in zip(from_names(names), new, strict=True):
                self.store.write(name, tile)
            if cached is not None:
                features = new.new_empty(len(is_cached), *new.shape[1:])
                features[is_cached], features[~is_cached] = cached.to(new.device, new.dtype), new
        inputs["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=features)}
        return inputs

    def check(self) -> None:
        """Raise `ValueError` if what was kept is not what the model would compute."""
        refuse_changing_features(self.core)
        state = self._tensor_state()
        if state == self._state:
            return
        if self._fingerprint() != self.fingerprint:  # else they were only moved
            raise ValueError(
                "The weights or settings of tower or projector have changed since the feature cache was opened: open "
                "another `FeatureCache` for the model as it is now."
            )
        self._state = state

    @torch.no_grad()
    def _encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        device = next(self.core.vision_tower.parameters()).device
        with torch.autocast(device.type, self.autocast, enabled=self.autocast is not None):
            outputs = self.core.get_image_features(pixel_values.to(device), return_dict=True)
        return outputs.pooler_output

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        return _tensors_of(self.core)

    def _tensor_state(self) -> tuple[list[tuple[int, int]], bytes]:
        """Addresses, versions and some values of the weights: the same as long as no weight was changed."""
        values = [value for _, value in self._tensors() if not _is_sharded(value)]
        return [(value.data_ptr(), value._version) for value in values], sample_values(values)

    def _settings(self) -> dict[str, Any]:
        config = self.core.config
        middleware = config.middleware_config
        return {
            **{name: getattr(config, name) for name in _SETTINGS},
            "vision_config": config.vision_config.to_dict(),
            "middleware_config": None if middleware is None else middleware.to_dict(),
            "dtype": str(self.core.dtype),
            "autocast": str(self.autocast),
        }

    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(json.dumps(self._settings(), sort_keys=True, default=str).encode(), digest_size=16)
        for name, value in self._tensors():
            if _is_sharded(value):
                raise ValueError(
                    f"{name} is spread over ranks or devices (FSDP, ZeRO-3), so that tiles cannot be encoded outside "
                    "the training step: use the feature cache with DDP, ZeRO-2 or one process."
                )
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(tensor_bytes(value))
        return digest.hexdigest()


def refuse_changing_features(model: nn.Module) -> Any:
    """Check that a tile has the same features in every pass of training.

    Args:
        model: prepared for training; weights are not needed.

    Returns:
        The module of it that makes the features.

    Raises:
        ValueError: it has none; its tower or projector train, or drop something at random in training.
    """
    core: Any = next((module for module in model.modules() if isinstance(module, ImageFeatureMixin)), None)
    if core is None:
        raise ValueError(f"{type(model).__name__} has no tower and projector whose features could be kept.")
    trained = [name for name, value in _tensors_of(core) if value.requires_grad]
    if trained:
        raise ValueError(
            f"Features can be kept only while tower and projector are frozen, but {len(trained)} of their "
            f"parameters train, the first {trained[0]!r}: `set_trainable(model, ...)` without them (a recipe's "
            "`trains`), or no cache."
        )
    for part in _PARTS:
        top = getattr(core, part)
        if getattr(top, "frozen", False):  # it stays in evaluation mode
            continue
        for name, module in top.named_modules():
            rate = next((rate(module) for kind, rate in _RANDOM.items() if isinstance(module, kind)), 0.0)
            if rate > 0:
                raise ValueError(
                    f"Features of a tile differ from pass to pass: {part}.{name} ({type(module).__name__}) drops "
                    f"at a rate of {rate} in training. Set it to 0 (a recipe's is `drop_path=0.0`), or train "
                    "without the cache."
                )
    return core


def _tensors_of(core: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors that features depend on, by their names."""
    for part in _PARTS:
        state = getattr(core, part).state_dict(prefix=f"{part}.", keep_vars=True)
        yield from ((name, value) for name, value in state.items() if isinstance(value, torch.Tensor))


def _is_sharded(tensor: torch.Tensor) -> bool:
    return hasattr(tensor, "device_mesh") or hasattr(tensor, "ds_id") or tensor.is_meta


class FeatureCollator:
    """A collator that puts features in the place of tiles that were encoded before.

    Args:
        collate: makes a batch with `pixel_values` `(T, ...)`, and maybe `image_flags` `(T,)`, of samples.
        store: what has been encoded.

    Calling it gives the batch of `collate` without tiles of flag 0, and in place of the others

    - `cached_features` `(K, n, D)`, if there are any;
    - `pixel_values` `(T - K, 3, S, S)` of tiles that were not encoded yet, and their `new_names`, if there are any;
    - `is_cached` `(T,)` bool, if there are both.

    Raises:
        ValueError: (calling) `collate` changed the names of tiles, or features have vanished from the cache.
    """

    def __init__(self, collate: Callable[[Any], Mapping[str, Any]], store: FeatureStore):
        self.collate, self.store = collate, store

    def __call__(self, samples: Any) -> dict[str, Any]:
        new: dict[bytes, torch.Tensor] = {}
        batch = dict(self.collate([_without_new(sample, new) for sample in samples]))
        if batch.get("pixel_values") is None:
            return batch
        tiles, flags = batch.pop("pixel_values"), batch.pop("image_flags", None)
        if flags is not None:
            tiles = tiles[flags.reshape(-1) == 1]
        if tiles.dim() == 2 and tiles.dtype == torch.uint8:
            names = from_names(tiles)
        elif tiles.dim() == 4:
            names = [tile_name(tile) for tile in tiles]
            new = dict(zip(names, tiles, strict=True))
        else:
            raise ValueError(
                "Expected tiles (T, 3, S, S), or their names (T, bytes) uint8, as `pixel_values` of the collator, got "
                f"{tuple(tiles.shape)} {tiles.dtype}: a collator may join and pick names, and nothing else."
            )
        return {**batch, **self._features(names, new)}

    def _features(self, names: list[bytes], new: dict[bytes, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = [self.store.read(name) for name in names]
        cached = [features for features in found if features is not None]
        missing = [name for name, features in zip(names, found, strict=True) if features is None]
        vanished = [name.hex() for name in missing if name not in new]
        if vanished:
            raise ValueError(
                f"The features of {len(vanished)} tiles, the first {vanished[0]}, have vanished from "
                f"{self.store.folder} since their images were passed over: do not delete them while training."
            )
        fields: dict[str, torch.Tensor] = {}
        if cached:
            fields["cached_features"] = torch.stack(cached)
        if missing:
            fields["pixel_values"] = torch.stack([new[name] for name in missing])
            fields["new_names"] = as_names(missing)
        if cached and missing:
            fields["is_cached"] = torch.tensor([features is not None for features in found])
        return fields


def name_tiles(processor: Any, store: FeatureStore) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """Let a processor give tiles by name, and skip images that were encoded before.

    Args:
        processor: changed; of one sample, whose images and videos it will be called with.
        store: what has been encoded.

    Returns:
        A function that adds to the sample the tiles that are not in the store: `new_names` `(M, bytes)` and
        `new_tiles` `(M, 3, S, S)`. [`FeatureCollator`] takes them from there.
    """
    processor.image_processor = NamingProcessor(processor.image_processor, store)
    processor.video_processor = NamingProcessor(processor.video_processor, store)

    def with_new(sample: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        new = {**processor.image_processor.new, **processor.video_processor.new}
        if not new:
            return sample
        return {**sample, "new_names": as_names(list(new)), "new_tiles": torch.stack(list(new.values()))}

    return with_new


def _without_new(sample: Any, new: dict[bytes, torch.Tensor]) -> Any:
    """A sample, or a pack of them, without its new tiles, which go to `new`."""
    if isinstance(sample, list):
        return [_without_new(part, new) for part in sample]
    if isinstance(sample, Mapping) and "new_names" in sample:
        new.update(zip(from_names(sample["new_names"]), sample["new_tiles"], strict=True))
        return {name: value for name, value in sample.items() if name not in NEW_TILES}
    return sample


__all__ = ["FeatureCache", "FeatureCollator", "name_tiles", "refuse_changing_features"]
