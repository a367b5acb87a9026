# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a model costs before there is any: parameters and multiply-accumulates of its parts, from its config alone.

The model is built on the meta device, so even the largest takes a second and no memory. Parameters are counted on it.
Multiply-accumulates are counted by these rules (a FLOP count is twice as much):

- a matrix multiplies once for every position that passes it; of a stack of experts, as many as the router chooses;
- attention: every pair of a position that looks and one that is looked at costs two products per channel, masked or
  not: a causal mask or a sliding window saves nothing unless the kernel is written for it;
- norms, activations, biases, rotations and look-ups in a table cost nothing.

One forward pass is counted: images through tower and projector, image tokens and text through the language model once,
logits at every position; for the dual encoder, the images and one text.

Shape letters: M tokens of the tower, N queries, L positions of the language model.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForZeroShotImageClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers import InternVLConfig as UpstreamInternVLConfig
from transformers import InternVLVisionConfig as UpstreamInternVLVisionConfig

from ..hub.config_values import hidden_state_index, tokens_per_tile
from ..modeling.dual_encoder.base import check_mode
from ..modeling.dual_encoder.configuration import InternVLDualEncoderConfig
from ..modeling.flash.router import HEADS, ROUNDS

# The whole of a model rather than a part: with its head where it has one.
_AUTO_CLASSES = (
    AutoModelForImageTextToText,
    AutoModelForZeroShotImageClassification,
    AutoModelForCausalLM,
    AutoModel,
)


@dataclass(frozen=True)
class Part:
    """A part of a model.

    Attributes:
        name: what it is.
        parameters: its own; tied ones count where they are read first.
        active_parameters: those that a position meets: of experts, as many as are chosen.
        macs: multiply-accumulates of the pass.
    """

    name: str
    parameters: int
    active_parameters: int
    macs: int


@dataclass(frozen=True)
class Work:
    """What passes through the model once.

    Attributes:
        num_tiles: tiles of a chat model, images of a tower or of the dual encoder.
        image_size: their side in pixels; None is the config's.
        text_length: text tokens of a chat model, not counting image tokens, or of the dual encoder's one text.
        mode: of the dual encoder: `"InternVL-C"` leaves the queries out.
        compressed_tiles: of InternVL3.5-Flash: how many of the tiles the router compresses; None: it is not asked.
    """

    num_tiles: int = 1
    image_size: int | None = None
    text_length: int = 80
    mode: str = "InternVL-G"
    compressed_tiles: int | None = None


@dataclass(frozen=True)
class Profile:
    """Parts of a model and what they cost, with their sums.

    Attributes:
        model: the name of the class.
        work: what was passed through it, the image size filled in.
        parts: in the order in which they are used.
    """

    model: str
    work: Work
    parts: tuple[Part, ...]

    @property
    def parameters(self) -> int:
        """All parameters."""
        return sum(part.parameters for part in self.parts)

    @property
    def active_parameters(self) -> int:
        """Those that a position meets."""
        return sum(part.active_parameters for part in self.parts)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the pass."""
        return sum(part.macs for part in self.parts)

    def part(self, name: str) -> Part:
        """The part of a name. Raises `ValueError` if there is none."""
        for part in self.parts:
            if part.name == name:
                return part
        raise ValueError(f"There is no part {name!r}, only {', '.join(part.name for part in self.parts)}.")


def build_on_meta(config: PreTrainedConfig) -> PreTrainedModel:
    """The model of a config, without memory for its weights.

    Raises:
        ValueError: no model class belongs to the config.
    """
    for auto_class in _AUTO_CLASSES:
        if type(config) in auto_class._model_mapping:
            with torch.device("meta"):
                return auto_class.from_config(config)
    raise ValueError(f"No model class belongs to {type(config).__name__} (model type {config.model_type!r}).")


def profile(config: PreTrainedConfig, work: Work = Work()) -> Profile:
    """Parameters and multiply-accumulates of every part.

    Args:
        config: of a chat model in either layout, an InternViT, the dual encoder, or a language model.
        work: what passes through.

    Raises:
        ValueError: another kind of model, or work that it cannot do.
    """
    if work.num_tiles < 0 or work.text_length < 0:
        raise ValueError(f"Tiles and text cannot be fewer than none, got {work.num_tiles} and {work.text_length}.")
    if work.image_size is not None and work.image_size < 1:
        raise ValueError(f"`image_size` must be at least 1 pixel, got {work.image_size}.")
    _check_compressed(config, work)
    model = build_on_meta(config)
    for kind, (size_of, parts_of) in _KINDS.items():
        if isinstance(config, kind):
            work = replace(work, image_size=work.image_size or size_of(config), mode=check_mode(work.mode))
            return Profile(type(model).__name__, work, tuple(parts_of(model, work)))
    if not hasattr(model, "lm_head"):
        raise ValueError(
            f"{type(model).__name__} is neither a chat model, an InternViT, the dual encoder nor a language model."
        )
    return Profile(type(model).__name__, work, tuple(_decoder_parts(model, model.model, config, work.text_length)))


def _check_compressed(config: PreTrainedConfig, work: Work) -> None:
    """Raise `ValueError` where so many tiles cannot be compressed."""
    compressed = work.compressed_tiles
    if compressed is None:
        return
    if getattr(config, "flash_mode", None) is None:
        raise ValueError("`compressed_tiles` is for InternVL3.5-Flash: this config has no `flash_mode`.")
    if not 0 <= compressed <= work.num_tiles:
        raise ValueError(f"`compressed_tiles` must be from 0 to the {work.num_tiles} tiles, got {compressed}.")


def _chat_parts(model: Any, work: Work) -> Iterable[Part]:
    config, images = model.config, work.num_tiles
    vision, tower, projector = config.vision_config, model.model.vision_tower, model.model.multi_modal_projector
    rows, columns = _grid(vision, work.image_size)
    shuffle = round(1 / config.downsample_ratio)
    if rows % shuffle or columns % shuffle:
        raise ValueError(
            f"`image_size` {work.image_size} gives {rows} x {columns} patches, which a pixel shuffle by {shuffle} "
            f"does not divide: take a multiple of {shuffle * vision.patch_size[0]}."
        )
    cells = tokens_per_tile(rows, columns, config.downsample_ratio)  # image tokens of a tile, without queries
    middleware = getattr(config, "middleware_config", None)
    if middleware is None:
        yield _tower(tower, vision, work, hidden_state_index(config.vision_feature_layer, vision.num_hidden_layers))
        queries, projected = 0, _products(projector) * cells
    else:  # InternVL-Chat v1 with QLLaMA, whose queries look at the last block's output
        yield _tower(tower.vision_model, vision, work, vision.num_hidden_layers)
        queries = middleware.num_query_token
        yield _part("queries", [tower.query_tokens], 0)
        yield from _qllama_parts(tower.qllama, middleware, rows * columns + 1, images)
        projected = _products(projector.mlp1) * cells + _products(projector.mlp2) * queries
    compressed = work.compressed_tiles or 0
    yield _part("projector", projector, (images - compressed) * projected)
    if getattr(config, "flash_mode", None) is not None:
        yield from _flash_parts(model.model, work, rows * columns, cells // 4)
    positions = work.text_length + images * (queries + cells) - compressed * (cells - cells // 4)
    yield from _decoder_parts(model, model.model.language_model, config.text_config, positions)


def _flash_parts(body: Any, work: Work, patches: int, cells: int) -> Iterable[Part]:
    """What InternVL3.5-Flash has more: the router, which sees all tiles, and the projector of compressed ones."""
    router, projector = body.resolution_router, body.compressed_projector
    width = router.pooling.query_token.shape[-1]
    rounds = len(ROUNDS) * (4 * width**2 + 2 * HEADS * patches * width)  # one query: neither keys nor values
    asked = 0 if work.compressed_tiles is None else work.num_tiles
    yield _part("resolution router", router, asked * (rounds + _products(router.gating)))
    yield _part("compressed projector", projector, (work.compressed_tiles or 0) * _products(projector) * cells)


def _tower_parts(model: Any, work: Work) -> Iterable[Part]:
    yield _tower(model, model.config, work, model.config.num_hidden_layers)


def _dual_encoder_parts(model: Any, work: Work) -> Iterable[Part]:
    config, images = model.config, work.num_tiles
    vision, queries = config.vision_config, config.num_query_token
    rows, columns = _grid(vision, work.image_size)
    seen = rows * columns + 1  # M
    asking = images if work.mode == "InternVL-G" else 0  # images whose queries run
    yield _tower(model.vision_model, vision, work, vision.num_hidden_layers)
    yield _part("image pool", model.clip_projector, images * _pool_macs(model.clip_projector, seen))
    yield _part("queries", [model.query_tokens], 0)
    yield _part("text embeddings", model.qllama.model.embed_tokens, 0)
    yield from _qllama_parts(model.qllama.model, config.qllama_config, seen, asking, work.text_length)
    yield _part("query pool", model.clip_projector2, asking * _pool_macs(model.clip_projector2, queries))
    projected = model.text_projection.numel() if work.text_length else 0
    yield _part("text projection, scale", [model.text_projection, model.logit_scale], projected)
    yield _part("matching head (training)", model.itm_head, 0)
    yield _part("lm head (captions)", model.qllama.lm_head, 0)


def _qllama_parts(body: Any, config: Any, seen: int, images: int, length: int = 0) -> Iterable[Part]:
    """QLLaMA on the queries of images, which look at `seen` tokens of each, and on one text."""
    queries = config.num_query_token
    crosses = [layer.cross_attn for layer in body.layers if layer.cross_attn is not None]
    bridge = {id(parameter) for cross in crosses for parameter in cross.parameters()}
    own = [parameter for parameter in _decoder_body(body) if id(parameter) not in bridge]
    plain = sum(_products(layer) - _products(layer.cross_attn) for layer in body.layers)
    macs = plain * (images * queries + length) + images * _attention(config, queries) + _attention(config, length)
    yield _part("QLLaMA body", own, macs)
    macs = sum(images * _cross_macs(cross, queries, seen) for cross in crosses)
    yield _part("QLLaMA cross attention", nn.ModuleList(crosses), macs)


def _decoder_parts(model: Any, body: Any, config: Any, length: int) -> Iterable[Part]:
    """Embeddings, layers and head of a language model that `length` positions pass."""
    embeddings = model.get_input_embeddings()
    tied = model.lm_head.weight is embeddings.weight
    chosen = getattr(config, "num_experts_per_tok", None)
    yield _part("text embeddings", embeddings, 0)
    # Of the two networks of a layer with visual experts, which have the same shape, a position meets one.
    spared = _products(nn.ModuleList(layer.mlp_ve for layer in body.layers if hasattr(layer, "mlp_ve")))
    macs = (_products(body.layers, chosen) - spared) * length + _attention(config, length)
    active = _active(body.layers, chosen) - spared + sum(p.numel() for p in body.norm.parameters())
    yield Part("language model", sum(p.numel() for p in _decoder_body(body)), active, macs)
    head = model.lm_head
    if tied:
        yield Part("lm head (tied)", 0, 0, _products(head) * length)
    else:
        yield _part("lm head", head, _products(head) * length)


def _decoder_body(body: Any) -> list[nn.Parameter]:
    return [*body.layers.parameters(), *body.norm.parameters()]


def _tower(tower: Any, config: Any, work: Work, used: int) -> Part:
    """A tower of which `used` blocks run."""
    rows, columns = _grid(config, work.image_size)
    tokens = rows * columns + 1  # M
    patches = tower.embeddings.patch_embeddings.projection.weight.numel() * rows * columns
    blocks = sum(_products(layer) for layer in tower.encoder.layer[:used]) * tokens
    attention = 2 * tokens**2 * config.hidden_size * used
    return _part("vision tower", tower, work.num_tiles * (patches + blocks + attention))


def _grid(config: Any, image_size: int | None) -> tuple[int, int]:
    """Rows and columns of patches."""
    sides = (image_size, image_size) if isinstance(image_size, int) else config.image_size
    for side, patch in zip(sides, config.patch_size, strict=True):
        if side % patch:
            raise ValueError(f"`image_size` must be a multiple of the patch size {patch}, got {side}.")
    rows, columns = (side // patch for side, patch in zip(sides, config.patch_size, strict=True))
    return rows, columns


def _pool_macs(pool: Any, tokens: int) -> int:
    """Attention from the mean of the tokens to all of them."""
    attention = pool.cross_attn
    once = attention.q.weight.numel() + attention.proj.weight.numel()
    each = attention.k.weight.numel() + attention.v.weight.numel() + 2 * attention.q.weight.shape[0]
    return once + each * tokens


def _cross_macs(cross: Any, queries: int, seen: int) -> int:
    """Attention from the queries to the tower's tokens."""
    width = cross.q_proj.weight.shape[0]
    asking = cross.q_proj.weight.numel() + cross.o_proj.weight.numel()
    asked = cross.k_proj.weight.numel() + cross.v_proj.weight.numel()
    return asking * queries + asked * seen + 2 * queries * seen * width


def _attention(config: Any, length: int) -> int:
    """Scores and their sums over `length` positions, in every layer; shared keys save memory, not products."""
    width = (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads) * (
        config.num_attention_heads
    )
    return 2 * length**2 * width * config.num_hidden_layers


def _products(module: nn.Module | None, chosen: int | None = None) -> int:
    """Products that one position costs in the matrices of a module, of whose experts `chosen` are used."""
    total = 0
    for part in () if module is None else module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.dim() == 3:
                total += _of_experts(parameter, chosen)
            elif parameter.dim() == 2 and not name.endswith("bias"):
                total += parameter.numel()
    return total


def _active(module: nn.Module, chosen: int | None) -> int:
    """Parameters that a position meets in a module, of whose experts `chosen` are used."""
    total = 0
    for part in module.modules():
        own = list(part.parameters(recurse=False))
        experts = any(parameter.dim() == 3 for parameter in own)
        total += sum(_of_experts(parameter, chosen) if experts else parameter.numel() for parameter in own)
    return total


def _of_experts(stack: nn.Parameter, chosen: int | None) -> int:
    """Parameters of the chosen ones in a stack of experts."""
    if chosen is None:
        raise ValueError(
            f"A layer has a stack of {len(stack)} experts, but the config has no `num_experts_per_tok` to say how "
            "many a position uses."
        )
    return stack.numel() // len(stack) * chosen


def _part(name: str, owner: nn.Module | Iterable[nn.Parameter], macs: int) -> Part:
    parameters = owner.parameters() if isinstance(owner, nn.Module) else owner
    count = sum(parameter.numel() for parameter in parameters)
    return Part(name, count, count, macs)


def _vision_size(config: Any) -> int:
    height, width = config.image_size
    if height != width:
        raise ValueError(f"The config is for images of {height} x {width} pixels: give the side of a square.")
    return height


def chat_tile_size(config: Any) -> int:
    """The side of a chat model's tiles in pixels. Raises `ValueError` where they are no squares."""
    return getattr(config, "tile_size", None) or _vision_size(config.vision_config)


# Kind of config -> side of its images, parts of its model.
_KINDS: dict[type, tuple[Callable[[Any], int], Callable[[Any, Work], Iterable[Part]]]] = {
    UpstreamInternVLConfig: (chat_tile_size, _chat_parts),
    InternVLDualEncoderConfig: (lambda config: _vision_size(config.vision_config), _dual_encoder_parts),
    UpstreamInternVLVisionConfig: (_vision_size, _tower_parts),
}

__all__ = ["Part", "Profile", "Work", "build_on_meta", "chat_tile_size", "profile"]
