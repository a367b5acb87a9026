# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What earlier prompts have in common with the next one: image features, and keys and values of a common beginning.

    model.keep_prefixes(max_bytes=2**30)
    model.generate(**first)        # encodes the images, runs the whole prompt
    model.generate(**second)       # a further question in the same conversation: runs the new tokens alone
    model.generate(**other)        # another conversation about the same image: the tower does not run again

Both are found by content: tiles by a hash of their pixels, beginnings by their ids and the tiles in them. The ids of
an answer are those without the cache. What is kept is bounded in bytes, the least recently used goes first, and it is
given up when a weight or an active adapter changes. Threads may share it.

Not reused: batches, beams, several answers to a prompt, drafts, static caches, embeddings and positions of the
caller's, visual positions whose stride is drawn or differs from image to image (V2PE), language models with sliding
windows, and prompts beyond the length from which a rotary base depends on the length.

Shape letters: L positions of a prompt, T tiles, n image tokens of a tile, D width of the language model.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging

from .stepwise import Layers, Stepwise

logger = logging.get_logger(__name__)

_PLACES = 16  # of a tensor, along each dimension, whose values say whether it has changed

# Arguments and settings of `generate` -> the values with which a beginning can be reused, beside None.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "inputs_embeds": (),
    "cache": (),
    "past_key_values": (),
    "position_ids": (),
    "assistant_model": (),
    "image_flags": (),
    "vision_feature_layer": (),
    "vision_feature_select_strategy": (),
    "vision_chunk_size": (),
    "prompt_lookup_num_tokens": (),
    "custom_generate": (),
    "cache_implementation": ("dynamic",),
    "use_cache": (True,),
    "num_beams": (1,),
    "num_return_sequences": (1,),
    "output_attentions": (False,),
    "output_hidden_states": (False,),
    "use_mtp": (False,),
}


@dataclass(frozen=True)
class PromptKey:
    """What decides the keys and values of a prompt.

    Attributes:
        ids: `(L,)`, on the CPU.
        tiles: a hash of each of T tiles.
        starts: where the image tokens of each tile start in the prompt.
        ends: the position behind the last image token of each tile.
        stride: the step of image tokens (V2PE).
    """

    ids: torch.Tensor
    tiles: tuple[bytes, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    stride: float = 1.0

    @classmethod
    def of(
        cls,
        ids: torch.Tensor,
        image_token: int | None,
        tiles: Sequence[bytes],
        lengths: Sequence[int],
        stride: float = 1.0,
    ) -> Any:
        """The key of a prompt `(L,)` whose tiles have so many image tokens; None if they do not match its ids."""
        ids = ids.cpu()
        places = (ids == image_token).nonzero().flatten().tolist() if image_token is not None else []
        if len(places) != sum(lengths):
            return None
        starts, ends, seen = [], [], 0
        for length in lengths:
            starts.append(places[seen])
            seen += length
            ends.append(places[seen - 1] + 1)
        return cls(ids, tuple(tiles), tuple(starts), tuple(ends), stride)

    def common_length(self, other: "PromptKey") -> int:
        """How many first positions of both have the same keys and values. No tile is split."""
        shorter = min(len(self.ids), len(other.ids))
        differs = (self.ids[:shorter] != other.ids[:shorter]).nonzero()
        length = int(differs[0]) if len(differs) else shorter
        for start, mine, theirs in zip(self.starts, self.tiles, other.tiles, strict=False):
            if start < length and (mine != theirs or self.stride != other.stride):
                return start
        return self.without_split_tile(length)

    def without_split_tile(self, length: int) -> int:
        """`length`, or less where it is within the image tokens of a tile."""
        inside = (start for start, end in zip(self.starts, self.ends, strict=True) if start < length < end)
        return next(inside, length)

    def tiles_before(self, length: int) -> int:
        """How many tiles lie in the first `length` positions."""
        return sum(end <= length for end in self.ends)


class PrefixCache:
    """Image features and beginnings of prompts, of one model.

    Args:
        max_bytes: how much is kept.
    """

    def __init__(self, max_bytes: int):
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:
            raise ValueError(f"`max_bytes` must be a whole number of at least 1, got {max_bytes!r}.")
        self.max_bytes = max_bytes
        self._entries: OrderedDict[Any, Any] = OrderedDict()  # a hash -> features; a `PromptKey`'s id -> key, layers
        self._bytes = 0
        self._weights: Any = None
        self._lock = Lock()

    def __deepcopy__(self, memo: dict) -> "PrefixCache":
        return type(self)(self.max_bytes)  # a copied model has other weights soon

    def __reduce__(self) -> tuple:
        return type(self), (self.max_bytes,)

    @property
    def bytes_used(self) -> int:
        """Bytes of what is kept."""
        return self._bytes

    def clear(self) -> None:
        """Give up everything that is kept."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def belong_to(self, weights: Any) -> None:
        """Give up everything that was computed with other weights."""
        if weights != self._weights:
            self.clear()
            self._weights = weights

    def tile(self, key: bytes) -> torch.Tensor | None:
        """Features `(n, D)` of a tile, or None."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def keep_tile(self, key: bytes, features: torch.Tensor) -> None:
        """Keep features `(n, D)`."""
        with self._lock:
            self._put(key, features.detach().clone())

    def longest(self, prompt: PromptKey) -> tuple[Layers, int]:
        """The longest known beginning of a prompt, without its last position: keys and values, and the length."""
        with self._lock:
            best: tuple[Any, Any, int] = (None, (), 0)
            for name, entry in self._entries.items():
                if isinstance(entry, tuple):
                    length = min(entry[0].common_length(prompt), prompt.common_length(entry[0]), len(prompt.ids) - 1)
                    length = prompt.without_split_tile(length)
                    best = (name, entry[1], length) if length > best[2] else best
            if best[0] is not None:
                self._entries.move_to_end(best[0])
            return tuple((keys[..., : best[2], :], values[..., : best[2], :]) for keys, values in best[1]), best[2]

    def keep(self, prompt: PromptKey, layers: Layers) -> None:
        """Keep keys and values of all positions of a prompt; what they begin with is no longer needed."""
        with self._lock:
            for name, entry in list(self._entries.items()):
                if isinstance(entry, tuple) and entry[0].common_length(prompt) == len(entry[0].ids):
                    self._drop(name)
            self._put(object(), (prompt, layers))

    def _put(self, name: Any, entry: Any) -> None:
        size = _size(entry)
        if name in self._entries:
            self._drop(name)
        while self._entries and self._bytes + size > self.max_bytes:
            self._drop(next(iter(self._entries)))
        if size <= self.max_bytes:
            self._entries[name] = entry
            self._bytes += size

    def _drop(self, name: Any) -> None:
        self._bytes -= _size(self._entries.pop(name))


def _size(entry: Any) -> int:
    if isinstance(entry, torch.Tensor):
        return entry.numel() * entry.element_size()
    return sum(_size(part) for part in entry) if isinstance(entry, tuple) else 0


def can_reuse(model: Any, config: GenerationConfig, arguments: dict[str, Any]) -> bool:
    """Whether a call of `generate` may go on from an earlier one.

    Args:
        model: the model.
        config: its settings.
        arguments: of the call; they win over the settings.
    """
    ids, mask = arguments.get("input_ids"), arguments.get("attention_mask")
    if model.training or ids is None or ids.dim() != 2 or len(ids) != 1 or ids.shape[1] < 2:
        return False
    if mask is not None and (mask.shape != ids.shape or not bool((mask == 1).all())):
        return False
    pad = config.pad_token_id if arguments.get("pad_token_id") is None else arguments["pad_token_id"]
    if mask is None and pad is not None and bool((ids == pad).any()):
        return False  # `generate` makes a mask
    if isinstance(arguments.get("v2pe_stride"), (str, torch.Tensor)):
        return False
    for name, plain in _PLAIN.items():
        value = arguments.get(name)
        value = getattr(config, name, None) if value is None else value
        if value is not None and value not in plain and not isinstance(value, Stepwise):
            return False
    return True


def weights_of(model: torch.nn.Module) -> Any:
    """What changes with a change of weights, of the adapters that are active, of hooks, or of a setting of the model.

    Versions of tensors do not count what fused optimizers and `.data` write, so some values of each are part of it.
    """
    tensors = [*model.parameters(), *_kept_buffers(model)]
    versions = hash(tuple((id(tensor), tensor._version) for tensor in tensors))
    modules = list(model.modules())
    layers = (module for module in modules if isinstance(getattr(module, "active_adapters", None), list))
    adapters = tuple(
        (tuple(layer.active_adapters), layer.disable_adapters, str(getattr(layer, "scaling", None)))
        for layer in layers
    )
    hooks = tuple(number for one in modules for number in (*one._forward_pre_hooks, *one._forward_hooks))
    return versions, sample_values(tensors), adapters, hooks, str(model.config.to_dict())


def _kept_buffers(model: torch.nn.Module) -> Generator[torch.Tensor, None, None]:
    """Buffers that are saved. Others follow from the settings, and a dynamic rotary base writes to them."""
    for module in model.modules():
        names = module._buffers.keys() - module._non_persistent_buffers_set
        yield from (module._buffers[name] for name in sorted(names) if module._buffers[name] is not None)


def sample_values(tensors: Sequence[torch.Tensor]) -> bytes:
    """A hash of values at evenly spaced places of each tensor, at most twice `_PLACES` along a dimension.

    It changes with what versions of tensors do not count: steps of fused optimizers, and writes through `.data`.
    """
    parts: dict[tuple[torch.dtype, torch.device], list[torch.Tensor]] = {}
    for tensor in tensors:
        tensor = tensor.detach()
        if type(tensor) is torch.Tensor and not tensor.is_meta:  # others have no values here, or none in plain form
            steps = tuple(slice(None, None, max(1, size // _PLACES)) for size in tensor.shape)
            parts.setdefault((tensor.dtype, tensor.device), []).append(tensor[steps].flatten())
    digest = hashlib.sha256()
    for (dtype, device), values in parts.items():
        digest.update(f"{dtype} {device}".encode())
        digest.update(_hash(torch.cat(values)))
    return digest.digest()


def generate_from_prefix(
    model: Any, store: PrefixCache, arguments: dict[str, Any], limit: int | None, generate: Callable[..., Any]
) -> Any:
    """Call `generate` with what is known of the prompt, and keep what it computes.

    Args:
        model: the model, with `get_image_features`.
        store: what is known.
        arguments: of the call, by name.
        limit: positions from which keys depend on the length of a prompt. None: they never do.
        generate: transformers' method.
    """
    store.belong_to(weights_of(model))
    ids = arguments["input_ids"]
    tiles, features = _tiles(model, store, arguments)
    lengths = [len(tile) for tile in features]
    stride = 1.0 if arguments.get("v2pe_stride") is None else float(arguments["v2pe_stride"])
    prompt = PromptKey.of(ids[0], model.config.image_token_id, tiles, lengths, stride)
    if prompt is None:  # refused, or explained, where image tokens meet features
        return generate(**arguments)
    layers, length = store.longest(prompt) if limit is None or ids.shape[1] <= limit else ((), 0)
    rest = features[prompt.tiles_before(length) :]
    wants_fields = bool(_setting(model, arguments, "return_dict_in_generate"))
    call = {name: value for name, value in arguments.items() if name not in ("pixel_values", "mm_encoder_outputs")}
    if rest:
        call["mm_encoder_outputs"] = {"image": as_outputs(rest)}
    call |= {"attention_mask": torch.ones_like(ids), "cache": _cache(model, layers), "return_dict_in_generate": True}
    keep = partial(_keep, store, prompt, limit)
    if isinstance(arguments.get("custom_generate"), Stepwise):
        arguments["custom_generate"].keep = keep
        return generate(**call)
    outputs = generate(**call)
    keep(outputs.sequences[0], kept_layers(outputs.cache))
    return outputs if wants_fields else outputs.sequences


def as_outputs(features: list[torch.Tensor]) -> BaseModelOutputWithPooling:
    """Features `(n, D)` of tiles as `get_image_features` returns them."""
    same = len({len(tile) for tile in features}) == 1
    tokens: Any = torch.stack(features) if same else features
    return BaseModelOutputWithPooling(pooler_output=tokens)


def _setting(model: Any, arguments: dict[str, Any], name: str) -> Any:
    given = arguments.get(name)
    config = arguments.get("generation_config") or model.generation_config
    return getattr(config, name, None) if given is None else given


def _tiles(model: Any, store: PrefixCache, arguments: dict[str, Any]) -> tuple[list[bytes], list[torch.Tensor]]:
    """A hash and the features `(n, D)` of every tile; tiles that are not known are encoded."""
    encoded = (arguments.get("mm_encoder_outputs") or {}).get("image")
    if encoded is not None:
        features = list(encoded.pooler_output)
        return [_hash(tile) for tile in features], features
    pixel_values = arguments.get("pixel_values")
    if pixel_values is None:
        return [], []
    work = encode_tiles(model, store, pixel_values)
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value


def encode_tiles(
    model: Any, store: PrefixCache | None, pixel_values: torch.Tensor, at_once: int | None = None
) -> Generator[int, None, tuple[list[bytes], list[torch.Tensor]]]:
    """Encode tiles `(T, C, height, width)` that are not known, and keep them.

    Args:
        model: the model, with `get_image_features`.
        store: what is known, None: nothing.
        pixel_values: the tiles.
        at_once: how many go through the tower at a time. None: all.

    Yields:
        How many were encoded, after each time.

    Returns:
        A hash and the features `(n, D)` of every tile.
    """
    keys = [_hash(tile) for tile in pixel_values]
    known = {key: None if store is None else store.tile(key) for key in keys}
    missing = list({key: index for index, key in enumerate(keys) if known[key] is None}.items())
    size = at_once or max(len(missing), 1)
    for start in range(0, len(missing), size):
        part = missing[start : start + size]
        with torch.no_grad():
            outputs = model.get_image_features(pixel_values[[index for _, index in part]], return_dict=True)
        for (key, _), tile in zip(part, outputs.pooler_output, strict=True):
            known[key] = tile
            if store is not None:
                store.keep_tile(key, tile)
        yield len(part)
    return keys, [known[key] for key in keys]


def _hash(tensor: torch.Tensor) -> bytes:
    content = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{content.dtype} {tuple(content.shape)}".encode())
    digest.update(content.view(torch.uint8).numpy())
    return digest.digest()


def _cache(model: Any, layers: Layers) -> DynamicCache:
    """A cache that holds keys and values; further ones do not change those that are kept."""
    cache = DynamicCache(config=model.config)
    for layer, (keys, values) in zip(cache.layers, layers, strict=False):
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values  # further ones are joined to them in new memory
    return cache


def kept_layers(cache: Any) -> Layers:
    """Keys and values of all positions in a cache; none where a layer has them of some positions only."""
    if not all(type(layer) is DynamicLayer for layer in cache.layers):
        logger.warning_once("Beginnings of prompts are not reused: the language model has sliding windows.")
        return ()
    return tuple((layer.keys, layer.values) for layer in cache.layers)


def _keep(store: PrefixCache, prompt: PromptKey, limit: int | None, ids: torch.Tensor, layers: Layers) -> None:
    """Keep keys and values of a prompt and its answer, whose ids are `(L,)` or one longer."""
    if not layers:
        return
    length = layers[0][0].shape[-2]
    if limit is not None and length > limit:
        return
    store.keep(replace(prompt, ids=ids[:length].cpu()), layers)


__all__ = [
    "PrefixCache",
    "PromptKey",
    "as_outputs",
    "can_reuse",
    "encode_tiles",
    "generate_from_prefix",
    "kept_layers",
    "sample_values",
    "weights_of",
]
