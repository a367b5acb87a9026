# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What memory a chat model needs for an answer, part by part, before there is any model.

The model is built and run on the meta device (`memory_trace.py`), so nothing here is a table or a formula of some
architecture. Of equal layers one is run. The answer goes through three phases, whose peaks do not add up: the images
through tower and projector, the prompt through the language model, and the last of the new tokens.

Counted are weights, key-value cache and all tensors of the forward pass, the inputs included. Not counted is what a
device needs for itself: a CUDA context (about half a gigabyte), the workspaces of kernels, fragmentation.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedConfig
from transformers import InternVLConfig as UpstreamInternVLConfig

from ..renamed_modules import alias_former_names
from .memory_trace import LiveMemory, pretend_fused_attention
from .model_profile import build_on_meta, chat_tile_size

PHASES = ("images", "prompt", "answer")
IMAGES, PROMPT, ANSWER = range(len(PHASES))

# Weight format -> bytes a weight and bytes an output row of a linear layer in the language model; everything else, and
# the computation, stays in bfloat16. `int4` is bitsandbytes' NF4, with a float32 scale for every 64 weights.
QUANTIZED = {"int8": (1.0, 4.0), "int4": (0.5 + 4.0 / 64, 0.0)}


@dataclass(frozen=True)
class Request:
    """What a model is asked at once.

    Attributes:
        tiles: tiles of an image, its thumbnail included.
        images: images of a conversation.
        context: positions of a conversation before the answer, image tokens included.
        new_tokens: of the answer, at most.
        batch_size: conversations at a time.
        logits_to_keep: of how many positions of the prompt logits are computed: 1 in `generate`, 0 means all.
    """

    tiles: int = 12
    images: int = 1
    context: int = 8192
    new_tokens: int = 512
    batch_size: int = 1
    logits_to_keep: int = 1

    def __post_init__(self) -> None:
        least = {"tiles": 0, "images": 0, "context": 1, "new_tokens": 0, "batch_size": 1, "logits_to_keep": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"`{name}` must be at least {bound}, got {getattr(self, name)}.")

    @property
    def all_tiles(self) -> int:
        """Tiles that pass through the tower."""
        return self.batch_size * self.images * self.tiles


@dataclass(frozen=True)
class Unit:
    """A part of a model that is on one device as a whole.

    Attributes:
        name: its path in the model.
        weights: bytes of its parameters and buffers.
        cache: bytes of its keys and values in each of `PHASES`.
        activations: bytes of all tensors that are alive while it runs, cache apart, at most, in each of `PHASES`.
        is_layer: whether it is a layer of the language model.
    """

    name: str
    weights: int
    cache: tuple[int, int, int]
    activations: tuple[int, int, int]
    is_layer: bool = False


@dataclass(frozen=True)
class MemoryEstimate:
    """What some units need on a device, in bytes, when they need the most: `total` is the sum of the others."""

    weights: int
    cache: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.activations


def needs(units: Iterable[Unit], executed: Iterable[Unit] = ()) -> MemoryEstimate:
    """What units need together on one device.

    Args:
        units: whose weights lie there.
        executed: others that are computed there, too.
    """
    units, executed = list(units), list(executed)
    running = units + executed
    phases = [
        (sum(unit.cache[phase] for unit in running), max((unit.activations[phase] for unit in running), default=0))
        for phase in range(len(PHASES))
    ]
    cache, activations = max(phases, key=sum)
    return MemoryEstimate(sum(unit.weights for unit in units), cache, activations)


def memory_units(
    config: PreTrainedConfig, request: Request = Request(), dtype: torch.dtype | str = torch.bfloat16
) -> list[Unit]:
    """The parts of a chat model in the order in which they run, and what memory each needs.

    Args:
        config: of a chat model in any layout.
        request: what it is asked.
        dtype: of weights and computation, or one of `QUANTIZED`.

    Raises:
        ValueError: another kind of model or format, or a context that the image tokens do not fit into.
    """
    if not isinstance(config, UpstreamInternVLConfig):
        raise ValueError(f"Memory is planned for chat models, not for a {type(config).__name__}.")
    if isinstance(dtype, str) and dtype not in QUANTIZED:
        raise ValueError(f"`dtype` must be a torch.dtype or one of {', '.join(QUANTIZED)}, got {dtype!r}.")
    tokens = request.images * request.tiles * config.image_seq_length
    if tokens > request.context:
        raise ValueError(
            f"{request.images} images of {request.tiles} tiles are {tokens} image tokens, which a context of "
            f"{request.context} does not hold: take fewer tiles or images, or a longer context."
        )
    model = build_on_meta(_plain(config)).to(torch.bfloat16 if isinstance(dtype, str) else dtype).eval()
    modules, weights = dict(_split(model)), {}
    for name, module in modules.items():
        weights[name] = _weight_bytes(name, module, model, dtype)
    alike = _keep_one_of_each(model)
    run = {name: module for name, module in modules.items() if alike.get(name, name) == name}
    activations, cache = _run(model, run, request)
    layers = {id(layer) for layer in model.model.language_model.layers}
    units = []
    for name, module in modules.items():
        like = alike.get(name, name)
        extra = _largest_dequantized(name, module, model) if isinstance(dtype, str) else 0
        peaks = [activations[phase].get(like, 0) for phase in range(len(PHASES))]
        busy = (peaks[IMAGES], *(peak + extra for peak in peaks[PROMPT:]))
        is_layer = id(modules[like]) in layers
        units.append(Unit(name, weights[name], cache.get(like, (0, 0, 0)), busy, is_layer))
    return units


def _plain(config: PreTrainedConfig) -> PreTrainedConfig:
    """A copy whose rotary positions do not look at the numbers of the positions, of which there are none here."""
    config = copy.deepcopy(config)
    text = config.text_config
    rope = getattr(text, "rope_parameters", None)
    if rope is not None and rope.get("rope_type", "default") in ("dynamic", "longrope"):
        kept = ("rope_theta", "partial_rotary_factor")
        text.rope_parameters = {"rope_type": "default", **{key: rope[key] for key in kept if key in rope}}
    return config


# --- parts -----------------------------------------------------------------------------------------------------------


def _split(model: Any, name: str = "", module: nn.Module | None = None) -> Iterator[tuple[str, Any]]:
    """Modules that stay whole, and parameters beside them, with their names, in the order in which they run."""
    module = model if module is None else module
    whole = type(module).__name__ in model._no_split_modules or module is model.model.multi_modal_projector
    if whole or not any(True for _ in module.children()):
        if any(True for _ in _tensors(module)):
            yield name, module
        return
    prefix = f"{name}." if name else ""
    for leaf, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
        yield prefix + leaf, tensor
    for leaf, child in module.named_children():
        yield from _split(model, prefix + leaf, child)


def _tensors(part: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers of a module by name; a tensor by itself."""
    if isinstance(part, torch.Tensor):
        yield "", part
    else:
        yield from part.named_parameters()
        yield from part.named_buffers()


def _is_quantized(name: str, part: Any, model: Any) -> bool:
    """Whether a quantizer takes this module: linear layers, outside the parts that stay exact."""
    return isinstance(part, nn.Linear) and not name.startswith(model.modules_to_not_convert)


def _weight_bytes(name: str, part: Any, model: Any, dtype: torch.dtype | str) -> int:
    tied = model.all_tied_weights_keys  # counted where they are tied to
    total = sum(
        tensor.numel() * tensor.element_size() for leaf, tensor in _tensors(part) if f"{name}.{leaf}" not in tied
    )
    if isinstance(dtype, str):
        each, row = QUANTIZED[dtype]
        for weight in _quantized_weights(name, part, model):
            total += round(weight.numel() * each + len(weight) * row) - weight.numel() * weight.element_size()
    return total


def _quantized_weights(name: str, part: Any, model: Any) -> list[torch.Tensor]:
    if isinstance(part, torch.Tensor):
        return []
    return [m.weight for leaf, m in part.named_modules() if _is_quantized(f"{name}.{leaf}".strip("."), m, model)]


def _largest_dequantized(name: str, part: Any, model: Any) -> int:
    """A quantized weight is unpacked while it is used, one at a time."""
    weights = _quantized_weights(name, part, model)
    return max((weight.numel() * weight.element_size() for weight in weights), default=0)


def _keep_one_of_each(model: Any) -> dict[str, str]:
    """Shorten every stack of layers to its first ones, until every kind has come; returns who stands for whom."""
    alike = {}
    for path, module in list(model.named_modules()):
        if (
            not isinstance(module, nn.ModuleList)
            or not len(module)
            or type(module[0]).__name__ not in model._no_split_modules
        ):
            continue
        types = getattr(model.config.text_config, "layer_types", None) if "language_model" in path else None
        kinds = [
            (tuple(tensor.shape for tensor in layer.parameters()), types[index] if types else None)
            for index, layer in enumerate(module)
        ]
        first = [kinds.index(kind) for kind in kinds]
        alike.update({f"{path}.{index}": f"{path}.{other}" for index, other in enumerate(first)})
        owner, _, leaf = path.rpartition(".")
        setattr(model.get_submodule(owner), leaf, module[: max(first) + 1])
    return alike


# --- phases ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _run(
    model: Any, parts: dict[str, Any], request: Request
) -> tuple[list[dict[str, int]], dict[str, tuple[int, int, int]]]:
    """Every phase once: by phase, the bytes alive, cache apart, by part; and the cache's bytes by layer."""
    pretend_fused_attention(model)
    modules = {name: part for name, part in parts.items() if isinstance(part, nn.Module)}
    names = {id(module): name for name, module in modules.items()}
    layers = [names[id(layer)] for layer in model.model.language_model.layers]
    projector, embeddings, head = (
        names[id(module)]
        for module in (model.model.multi_modal_projector, model.get_input_embeddings(), model.lm_head)
    )
    with torch.device("meta"), LiveMemory() as live, live.watch(modules):
        with live.during(projector):
            side = chat_tile_size(model.config)
            pixels = torch.empty(request.all_tiles, 3, side, side, dtype=model.dtype)  # alive to the end
            encoded = model.get_image_features(pixels, return_dict=True) if request.all_tiles else None
        peaks = [live.take_peaks()]

        cache = DynamicCache(config=model.config.text_config)
        forgetting = [
            layer.register_forward_hook(lambda *_: live.disown(_cached(cache)))
            for layer in model.model.language_model.layers
        ]
        ids = torch.empty(request.batch_size, request.context, dtype=torch.long)
        with live.during(embeddings):
            embeds = model.get_input_embeddings()(ids)  # (B, L, D)
            if encoded is not None:
                mask = torch.empty(*ids.shape, 1, dtype=torch.bool)
                embeds = embeds.masked_scatter(mask, encoded.pooler_output)
            states = _decode(model, embeds, cache)
        with live.during(head):
            _next_scores(model, states, request.logits_to_keep)
        peaks.append(live.take_peaks())
        after_prompt = _cache_bytes(cache)
        for name, grown in zip(layers, after_prompt, strict=True):
            peaks[PROMPT][name] -= grown

        del encoded, embeds, states
        for hook in forgetting:
            hook.remove()
        if request.new_tokens < 2:  # the first token comes from the prompt
            return [*peaks, {}], {name: (0, size, size) for name, size in zip(layers, after_prompt, strict=True)}
        cache = _longer(cache, model.config.text_config, request.context + request.new_tokens - 2)
        with live.during(embeddings):
            states = _decode(model, model.get_input_embeddings()(ids[:, :1]), cache)
        with live.during(head):
            _next_scores(model, states, 1)
        at_the_end = _cache_bytes(cache)
        peaks.append({name: peak - sum(at_the_end) for name, peak in live.take_peaks().items()})
    return peaks, {name: (0, a, b) for name, a, b in zip(layers, after_prompt, at_the_end, strict=True)}


def _decode(model: Any, embeds: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
    """Embeddings `(B, L, D)` to the states `(B, L, D)` of the last layer; the cache grows."""
    outputs = model.model.language_model(inputs_embeds=embeds, cache=cache, use_cache=True)
    return outputs.last_hidden_state


def _next_scores(model: Any, states: torch.Tensor, logits_to_keep: int) -> None:
    """Logits, and of the last ones the copy in float32 that `generate` chooses by."""
    model.lm_head(states[:, -logits_to_keep:])[:, -1].float()


def _cached(cache: DynamicCache) -> list[torch.Tensor]:
    return [tensor for layer in cache.layers if layer.is_initialized for tensor in (layer.keys, layer.values)]


def _cache_bytes(cache: DynamicCache) -> list[int]:
    """Of every layer that was run; of views the whole."""
    sizes = [tensor.untyped_storage().nbytes() for tensor in _cached(cache)]
    return [sum(pair) for pair in zip(sizes[::2], sizes[1::2], strict=True)]


def _longer(cache: DynamicCache, config: PreTrainedConfig, length: int) -> DynamicCache:
    """A cache of the same layers with `length` positions."""
    longer = DynamicCache(config=config)
    for index, layer in enumerate(cache.layers):
        if layer.is_initialized:
            keys, values = ((*t.shape[:2], length, t.shape[3]) for t in (layer.keys, layer.values))
            longer.update(
                torch.empty(keys, dtype=layer.keys.dtype), torch.empty(values, dtype=layer.keys.dtype), index
            )
            copy_of = longer.layers[index]
            copy_of.keys, copy_of.values = copy_of.keys.clone(), copy_of.values.clone()  # what a window leaves alone
    return longer


alias_former_names(__name__, Needs="MemoryEstimate")


__all__ = [
    "ANSWER",
    "IMAGES",
    "PHASES",
    "PROMPT",
    "QUANTIZED",
    "MemoryEstimate",
    "Request",
    "Unit",
    "memory_units",
    "needs",
]
