# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The memory that a step of training takes, found by running the step without numbers.

A model of fake tensors, which have shapes and no data, goes forward and backward as the real one would, with the same
autocast, checkpointing and attention; what is alive at a time is added up. A few layers stand for all of their stack.
So every architecture counts as it is, and the largest takes seconds and no memory. Weights and optimizer states are
sums.

The stages of InternVL3.5-Flash (ViCO) are passes with full logits over whole tiles, the longest rows they can draw: of
the reference, and with gradients of the model (`"vico"`); or, for a router that alone trains (`"vico-router"`), of
the model, the reference, and twice the model again.

Not counted: what a process needs before it has a model (the libraries, CUDA's context), blocks that an allocator
cannot reuse, buffers of communication.

Shape letters: B rows, L positions, T tiles, S tile side.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ..hub.config_values import hidden_state_index
from ..modeling.chunked_cross_entropy import CHUNK_ELEMENTS, cross_entropies_of, weighted_cross_entropy
from ..modeling.vision.model import InternVLVisionEncoder
from .memory_trace import FUSED_ATTENTION, LiveMemory, storage_key

FEW = 2  # layers of a stack that are run; with one more, what a layer takes is known

# Optimizer, as transformers names it -> values that it keeps a trained parameter; AdamW and most others keep two.
_STATES = {"sgd": 0, "adagrad": 1, "rmsprop": 1, "adafactor": 0, "lion_32bit": 1}
_STATES_IN_BYTES = {"adamw_8bit": 2, "adamw_bnb_8bit": 2, "paged_adamw_8bit": 2, "lion_8bit": 1, "paged_lion_8bit": 1}


@dataclass(frozen=True)
class Work:
    """What a device passes through the model at a time.

    Attributes:
        rows, length: texts, and tokens of each.
        tiles, tile_size: tiles of all rows, and their side in pixels.
        copies: how often the rows are there for their tiles: 2 for pairs of answers (MPO).
        stage: `"vico"` or `"vico-router"`; None: a loss of labels.
    """

    rows: int
    length: int
    tiles: int
    tile_size: int
    copies: int = 1
    stage: str | None = None


@dataclass(frozen=True)
class Setup:
    """How the step is computed.

    Attributes:
        autocast: dtype of the products, where it is another one than the weights'.
        optimizer: name of `TrainingArguments.optim`.
        accumulates: whether gradients of earlier pieces are there while a piece is computed.
        ranks: devices that share what is sharded.
        shard: what is sharded: 0 nothing, 1 optimizer states, 2 and gradients, 3 and weights (ZeRO's stages; FSDP: 3).
        master_bytes: bytes a trained parameter has in the optimizer's own copy, if it keeps one (DeepSpeed: 4).
    """

    autocast: torch.dtype | None = None
    optimizer: str = "adamw_torch_fused"
    accumulates: bool = False
    ranks: int = 1
    shard: int = 0
    master_bytes: int = 0


@dataclass(frozen=True)
class Use:
    """What a step adds, in bytes: `activations` at the end of the forward pass, `loss` beyond them while the logits
    are computed, and the `peak` of everything, weights included."""

    activations: int
    loss: int
    peak: int


@dataclass(frozen=True)
class Footprint:
    """Bytes of one device: weights, gradients, optimizer states, a reference model (MPO), and the step with
    activations `kept` or `recomputed` (gradient checkpointing)."""

    weights: int
    gradients: int
    optimizer: int
    reference: int
    kept: Use
    recomputed: Use


def footprint(model: nn.Module, work: Work, setup: Setup = Setup(), reference_bytes: int = 0) -> Footprint:
    """The memory of a step of a chat model.

    Args:
        model: on the meta device, in the dtype of its weights and with what trains marked. It is used up.
        work: what passes through at a time.
        setup: how it is computed.
        reference_bytes: of a second model that is only asked, for MPO without adapters.
    """
    weights = _size(model.parameters()) + _size(model.buffers())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients, optimizer = _size(trained), optimizer_bytes(trained, setup)
    shares = [setup.ranks if setup.shard >= stage else 1 for stage in (3, 2, 1)]
    largest = max((_size(layer.parameters()) for stack in _stacks(model) for layer in stack[0]), default=0)
    gathered = 2 * largest if shares[0] > 1 else 0  # the layer that computes, and the next one
    weights, gradients, optimizer = (
        _share(n, by) for n, by in zip((weights, gradients, optimizer), shares, strict=True)
    )
    reference = _share(reference_bytes, shares[0])
    always = weights + optimizer + reference + gathered
    waiting = gradients if setup.shard >= 2 or setup.accumulates else 0
    with FakeTensorMode():
        _make_fake(model)
        model.train()
        _chat(model).set_attn_implementation(FUSED_ATTENTION)
        uses = []
        for recomputes in (False, True):
            _set_checkpointing(model, recomputes)
            use = _at_full_depth(model, lambda: _step(model, work, setup))
            uses.append(replace(use, peak=always + max(use.peak + waiting, gradients)))
    return Footprint(weights, gradients, optimizer, reference, *uses)


def _at_full_depth(model: nn.Module, step: Callable[[], "_Trace"]) -> Use:
    """What a step takes, from steps of the same model with few layers.

    All layers of a stack are alike, so that what is alive at a layer, counted from a stack's end, grows evenly with
    the number of layers in every stack.
    """
    stacks = [(layers, list(layers), used) for layers, used in _stacks(model)]
    depths = [min(used, FEW) for _, _, used in stacks]

    def shortened(longer: int | None) -> "_Trace":
        for number, (layers, whole, _) in enumerate(stacks):
            _put(layers, whole[: depths[number] + (number == longer)])
        trace = step()
        for layers, whole, _ in stacks:
            _put(layers, whole)
        return trace

    base = shortened(None)
    total = dict(base)
    for number, (_, _, used) in enumerate(stacks):
        if used > depths[number]:
            with_one_more = shortened(number)
            for name, size in base.items():
                total[name] += (used - depths[number]) * (with_one_more[name] - size)
    peak = max(size for name, size in total.items() if name not in ("activations", "loss"))
    return Use(total["activations"], total["loss"], peak)


def optimizer_bytes(trained: list[nn.Parameter], setup: Setup) -> int:
    """Bytes of the optimizer's states, and of its own copy of the weights where it has one."""
    count = sum(parameter.numel() for parameter in trained)
    if setup.optimizer in _STATES_IN_BYTES:
        return count * (_STATES_IN_BYTES[setup.optimizer] + setup.master_bytes)
    states = _STATES.get(setup.optimizer, 2)
    if setup.master_bytes:
        return count * setup.master_bytes * (states + 1)
    return states * _size(trained)


_Trace = dict[str, int]


def _step(model: nn.Module, work: Work, setup: Setup) -> _Trace:
    """One piece of a step: what is alive at its stages, without weights, and with gradients unless they are counted
    apart. The stages of the way back are a layer each, named from the ends of their stack, of which the middle is
    left out."""
    handles = []
    if setup.shard >= 2 or setup.accumulates:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        handles += [parameter.register_post_accumulate_grad_hook(_drop_gradient) for parameter in trained]
    with LiveMemory() as memory, memory.during("forward"):
        handles += _mark_layers(model, memory)
        with torch.autocast("cpu", dtype=setup.autocast) if setup.autocast else nullcontext():
            expected = _answers(model, work) if work.stage == "vico" else None
            hidden, head, gate = _hidden_states(model, work)
            activations = memory.now
            memory.enter("loss and forward")
            if work.stage is None:
                loss = _loss(hidden, head, work)
            else:
                loss = _loss_of_stage(model, work, hidden, gate, expected)
            del expected, gate
        trace = {"activations": activations, "loss": max(0, memory.peaks["loss and forward"] - activations)}
        memory.enter("backward")
        loss.backward()
    for handle in handles:
        handle.remove()
    for parameter in model.parameters():
        parameter.grad = None
    return {**trace, **memory.peaks}


def _mark_layers(model: nn.Module, memory: LiveMemory) -> list[Any]:
    """Let the memory know, on the way back, which layer is at work: the first and the last of each stack."""
    handles = []
    for number, (layers, _) in enumerate(_stacks(model)):
        for place, layer in ((0, layers[0]), (1, layers[-1])):
            stage = f"stack {number}, {'first' if place == 0 else 'last'}"

            def watch(module: Any, inputs: Any, output: Any, stage: str = stage) -> None:
                states = output[0] if isinstance(output, tuple) else output
                if states.requires_grad:
                    states.register_hook(lambda gradient: memory.enter(stage))

            handles.append(layer.register_forward_hook(watch))
    return handles


def _hidden_states(model: nn.Module, work: Work) -> tuple[torch.Tensor, nn.Module, torch.Tensor | None]:
    """What the head sees `(B * copies, L, D)`, the head, and in a stage of Flash the router's gate `(T, 2)`."""
    chat = _chat(model)
    ids = torch.zeros(work.rows * work.copies, work.length, dtype=torch.long)
    embeds, gate = chat.get_input_embeddings()(ids), None  # (B * copies, L, D)
    if work.tiles:
        pixels = torch.zeros(work.tiles, chat.config.vision_config.num_channels, work.tile_size, work.tile_size)
        images = chat.model.get_image_features(pixels, return_dict=True)
        if work.stage is not None:
            gate = chat.model.resolution_router(images.last_hidden_state[:, 1:]).softmax(-1)
        features = images.pooler_output.to(embeds.dtype)
        features = features.repeat(work.copies, 1, 1) if work.copies > 1 else features
        places = torch.zeros(*ids.shape, 1, dtype=torch.bool)
        embeds = embeds.masked_scatter(places, features)
    outputs = chat.model.language_model(inputs_embeds=embeds, use_cache=False)
    return outputs.last_hidden_state, chat.lm_head, gate


def _loss(hidden: torch.Tensor, head: nn.Module, work: Work) -> torch.Tensor:
    """The loss with every position supervised."""
    chosen = hidden.flatten(0, 1).clone()  # as positions are picked
    targets = torch.zeros(len(chosen), dtype=torch.long)
    if work.copies > 1:
        return cross_entropies_of(head, chosen, targets).sum()
    if type(head) is nn.Linear:
        return _ChunkOfLoss.apply(chosen, head.weight)
    return weighted_cross_entropy(head, chosen, targets, torch.ones(len(chosen)))


@torch.no_grad()
def _answers(model: nn.Module, work: Work) -> torch.Tensor:
    """Logits `(N, V)` of all positions that predict one, of a pass without gradients."""
    hidden, head, _ = _hidden_states(model, work)
    return head(hidden)[:, :-1].flatten(0, 1).clone()


def _loss_of_stage(
    model: nn.Module, work: Work, hidden: torch.Tensor, gate: torch.Tensor | None, expected: torch.Tensor | None
) -> torch.Tensor:
    """The loss of a stage of ViCO (`training/trainers/vico.py`), with every position an answer's.

    Args:
        expected: logits `(N, V)` of the reference; of the router's stage they are made here.

    Raises:
        ValueError: the router's stage has no tiles.
    """
    logits = _chat(model).lm_head(hidden)  # (B, L, V), there until the loss is
    if expected is not None:
        return _divergences(expected, logits[:, :-1].flatten(0, 1).clone()).sum()
    if gate is None:
        raise ValueError("The router learns from the tiles of images, and these samples have none.")
    reference, compressed, whole = (_answers(model, work) for _ in range(3))
    costs = [_divergences(reference, found).sum() for found in (compressed, whole)]
    return -gate.float().log().sum() * (costs[0] / costs[1]) + 0 * logits[0, 0, 0].detach()


def _divergences(reference: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """As `divergences` of that module."""
    expected = reference.float().log_softmax(-1)
    return (expected.exp() * (expected - logits.float().log_softmax(-1))).sum(-1)


class _ChunkOfLoss(torch.autograd.Function):
    """What `chunked_cross_entropy` has in memory at a time with a plain head: one of its chunks, and the gradients.

    Chunks are many, and of the same size. And it looks at values, which fake tensors have not.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else hidden.dtype
        with torch.autocast("cpu", enabled=False):
            table = weight.to(dtype)  # (V, D)
            ctx.gradients = [
                torch.empty_like(given) if wanted else None
                for given, wanted in zip((hidden, weight), ctx.needs_input_grad, strict=True)
            ]
            part = hidden[: max(1, CHUNK_ELEMENTS // len(weight))].to(dtype)  # (n, D)
            scores = torch.empty(len(part), len(weight))  # (n, V)
            if dtype != scores.dtype:
                scores.copy_(part @ table.t())
            gradient = scores.to(dtype)
            if ctx.gradients[1] is not None and dtype != weight.dtype:
                ctx.gradients[1] += gradient.t() @ part
            return scores.sum()

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        return tuple(gradients)


def _size(tensors: Any) -> int:
    storages = {storage_key(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _share(size: int, ranks: int) -> int:
    return -(-size // ranks)


def _drop_gradient(parameter: torch.Tensor) -> None:
    parameter.grad = None


def _stacks(model: nn.Module) -> list[tuple[nn.ModuleList, int]]:
    """The layers of tower and language model, and how many of them run."""
    chat = _chat(model)
    found = []
    for module in chat.model.vision_tower.modules():
        if isinstance(module, InternVLVisionEncoder) and len(module.layer):
            found.append((module.layer, hidden_state_index(chat.config.vision_feature_layer, len(module.layer))))
    layers = chat.model.language_model.layers
    return [*found, (layers, len(layers))]


def _put(stack: nn.ModuleList, layers: list[nn.Module]) -> None:
    stack._modules = {str(place): layer for place, layer in enumerate(layers)}


def _make_fake(model: nn.Module) -> None:
    """Give every parameter and buffer on the meta device a fake tensor of the CPU for its value."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, old in module._parameters.items():
            if old is not None and id(old) not in made:
                made[id(old)] = nn.Parameter(torch.empty(old.shape, dtype=old.dtype), old.requires_grad)
            module._parameters[name] = None if old is None else made[id(old)]
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else torch.empty(buffer.shape, dtype=buffer.dtype)


def _chat(model: Any) -> Any:
    """The model itself, without the wrapper of adapters."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _set_checkpointing(model: Any, recomputes: bool) -> None:
    if recomputes:
        _chat(model).activation_checkpointing_enable()
    else:
        _chat(model).activation_checkpointing_disable()


__all__ = ["Footprint", "Setup", "Use", "Work", "footprint", "optimizer_bytes"]
