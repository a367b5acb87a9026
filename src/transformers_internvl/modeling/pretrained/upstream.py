# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Workarounds for faults of upstream libraries in models. When a fault is mended, its row, functions and calls go.

`keep_used_rows` (transformers 5.24, until it remembers the rows that were used)
    Under ZeRO-3 a model remembers all rows of its key map, and saves by rows of older layouts.
`tied_copies_joined` (transformers 5.24, until gathering keeps ties)
    Tied weights are gathered from the ranks one by one, and written twice.
`scalars_aside`, `replicate_scalars`, `on_every_rank` (torch 2.13, until `fully_shard` takes scalars)
    FSDP2 refuses parameters without dimensions; optimizers refuse them beside sharded ones.
`with_whole_heads` (transformers 5.24, until plans depend on the heads)
    Tensor parallelism splits attention whose heads the ranks do not divide, and fails in the first forward.
`split_summed`, `sum_shared_gradients` (transformers 5.24, until each pass is summed once)
    Gradients of earlier accumulation passes are summed over the ranks again.
`without_padding` (transformers 5.24, until it counts ids only)
    Behind embeddings a `repetition_penalty` ignores as many answer tokens as the prompt has padding.
`short_drafts` (transformers 5.24, until drafts end one token before it)
    Drafts of prompt lookup and of assistants with another tokenizer go beyond the longest answer.
`replace_stateful_rope` and its classes (transformers 5.24, until nothing of a call is kept in the module)
    Rotary tables depend on the lengths of earlier calls, and are shared between threads.
`IGNORE_POSITIONS`, `masks_by_layer_type` (transformers 5.24, until its forward passes positions to the mask functions)
    GPT-OSS makes its masks without `position_ids`, so packed samples see each other.
`with_peft_check` (transformers 5.24, until that peft is published)
    Adapter methods ask for peft 0.22, which is not published; their error says to install it.
`existing_blocks` (accelerate 1.15, until they are ignored)
    Names in `_no_split_modules` that the model lacks are refused.
`first_loaded_device` (transformers 5.24, until it skips offloaded weights)
    `device` is the meta device where the first weight is offloaded.
`list_video_processors` (transformers 5.24, until the table is always there)
    Without torchvision a placeholder stands for the table of video processors, and fails when classes are looked
    up by name.
`backbone_from_pretrained` (transformers 5.24, until it loads as other Auto classes do)
    `AutoBackbone` asks the Hub whether a repository exists, also offline and without the token.

Workarounds in tokenizers are in `processing/tokenizers/upstream.py`. Ways of generation that upstream gets wrong, and
that are refused, are in `generation.py`.

Shape letters: B rows, L positions, C channels of a head.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from importlib.metadata import version
from threading import Lock
from typing import Any

import torch
from packaging.version import Version
from torch import nn
from transformers import AutoBackbone, PreTrainedConfig, PreTrainedModel
from transformers import __version__ as transformers_version
from transformers.integrations.peft import MIN_PEFT_VERSION
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

# --- loading, saving, devices ----------------------------------------------------------------------------------------


def keep_used_rows(model: Any, load_config: Any) -> None:
    """Let a loaded model remember only the rows of its key map that its weights came by; saving reads them."""
    rows = getattr(model, "_weight_conversions", None)
    if rows is not None and rows is load_config.weight_mapping:
        model._weight_conversions = [row for row in rows if row.was_used()]


def existing_blocks(model: nn.Module) -> set[str]:
    """The names of the classes of a model's modules."""
    return {type(module).__name__ for module in model.modules()}


def first_loaded_device(model: nn.Module) -> torch.device:
    """Where inputs go: the device of the first weight that is on one.

    Weights that wait in main memory or on the disk (`device_map`) are on the meta device in between; if all of them
    do, the processor runs them. Only of a model without weights it is the meta device itself.
    """
    for parameter in model.parameters():
        if not parameter.is_meta:
            return parameter.device
    return torch.device("cpu" if getattr(model, "hf_device_map", None) else "meta")


def list_video_processors() -> None:
    """Put the table of video processors where transformers looks for classes by name."""
    transformers: Any = sys.modules["transformers"]  # importing `transformers.processing_utils` replaces the module
    transformers.VIDEO_PROCESSOR_MAPPING = VIDEO_PROCESSOR_MAPPING


def backbone_from_pretrained(cls: type, name: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
    """`AutoBackbone.from_pretrained` for folders and Hub ids, like that of every other Auto class.

    Upstream's method still serves timm's own names, which have no slash.
    """
    asks_the_hub = AutoBackbone.__base__
    if not os.path.isdir(name) and "/" not in str(name):
        return asks_the_hub.from_pretrained.__func__(cls, name, *args, **kwargs)
    kwargs.pop("use_timm_backbone", None)
    return asks_the_hub.__base__.from_pretrained.__func__(cls, name, *args, **kwargs)


def with_peft_check(method: str) -> Callable[..., Any]:
    """A method of `PreTrainedModel` with an error that leads on.

    Raises:
        ValueError: by the method, if peft is older than transformers asks for.
    """
    upstream = getattr(PreTrainedModel, method)

    @wraps(upstream)
    def checked(self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        installed = version("peft")
        if Version(installed) < Version(MIN_PEFT_VERSION):
            raise ValueError(
                f"`{method}` of transformers {transformers_version} needs peft {MIN_PEFT_VERSION} or newer, and peft "
                f"{installed} is installed. Use peft's own classes: `get_peft_model(model, config)` for a new "
                "adapter, `PeftModel.from_pretrained(model, folder)` for one that was saved; they train, switch, save "
                "and merge."
            )
        return upstream(self, *args, **kwargs)

    return checked


# --- weights that are spread over ranks ------------------------------------------------------------------------------


def tied_copies_joined(model: Any, weights: dict[str, Any]) -> dict[str, Any]:
    """Gathered weights, in which tied ones are one tensor again, and so written once."""
    live = dict(model.named_parameters(remove_duplicate=False))
    for copy, original in (model.all_tied_weights_keys or {}).items():
        if copy in weights and original in weights and live[copy] is live[original]:
            weights[copy] = weights[original]
    return weights


@contextmanager
def scalars_aside(model: nn.Module) -> Iterator[None]:
    """Take the parameters without dimensions, which FSDP2 refuses, out of the model within the context."""
    scalars = _scalars(model)
    for module, name, _ in scalars:
        del module._parameters[name]
    try:
        yield
    finally:
        for module, name, scalar in scalars:
            module.register_parameter(name, scalar)


def replicate_scalars(model: Any) -> None:
    """Make scalars of a sharded model distributed tensors as all others are, whole on every rank.

    Optimizers and the clipping of gradients take no mixture.
    """
    spread = model.config.distributed_config if model._mesh_manager is not None else None
    if spread is not None and spread.dp_size > 1:
        names = ("dp_replicate", "fsdp") if spread.dp_replicate_size > 1 else "fsdp"
        _replicate_scalars(model, model._mesh_manager.get_mesh(names))


def _replicate_scalars(model: nn.Module, mesh: Any) -> None:
    """Make scalars distributed tensors as all others are: optimizers and the clipping of gradients take no mixture."""
    from torch.distributed.tensor import DTensor, Replicate

    for owner, name, scalar in _scalars(model):
        copies = DTensor.from_local(scalar.detach(), mesh, [Replicate()] * mesh.ndim, run_check=False)
        owner.register_parameter(name, nn.Parameter(copies, requires_grad=scalar.requires_grad))


def _scalars(model: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """Parameters without dimensions: their owner, their name in it, and they."""
    named = ((owner, name, p) for owner in model.modules() for name, p in owner.named_parameters(recurse=False))
    return [(owner, name, parameter) for owner, name, parameter in named if parameter.ndim == 0]


def on_every_rank(scalar: torch.Tensor) -> torch.Tensor:
    """A parameter without dimensions for computing with it; its gradient is the mean over ranks, as FSDP2's are."""
    from torch.distributed.tensor import DTensor

    if not isinstance(scalar, DTensor):
        return scalar
    mesh = scalar.device_mesh
    local = scalar.to_local()

    def average(gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        for dimension in range(mesh.ndim):
            torch.distributed.all_reduce(gradient, group=mesh.get_group(dimension))
        return gradient / mesh.size()

    if local.requires_grad:
        local.register_hook(average)
    return local


_RULE = re.compile(r"(?P<body>.*?)\.?layers\.\*\.self_attn\.(?P<leaf>.+)")
_SUMMED = "replicated_with_grad_allreduce"  # the style of weights that the heads share
# A projection's style in upstream's plans -> the one that keeps the heads together.
_GATHERED = {"colwise": "colwise_gather_output", "rowwise": "rowwise_split_input"}


def with_whole_heads(model: nn.Module, plan: dict[str, str], ranks: int) -> dict[str, str]:
    """The plan, with outputs gathered in the attention of every decoder whose heads `ranks` does not divide.

    Args:
        model: what the names of the plan are relative to.
        plan: module, layer numbers written as `*`, to style.
        ranks: how many share the tensors.
    """
    changed = {}
    for name, style in plan.items():
        match = _RULE.fullmatch(name)
        if match is None or _divides(model.get_submodule(match["body"]).config, ranks):
            changed[name] = style
        elif match["leaf"].endswith("_proj"):
            changed[name] = _GATHERED.get(style, style)
        # What else has a rule (norms and sinks of some heads) is whole on every rank, as are its gradients.
    return changed


def _divides(config: Any, ranks: int) -> bool:
    heads = config.num_attention_heads
    return heads % ranks == 0 and (getattr(config, "num_key_value_heads", None) or heads) % ranks == 0


def split_summed(tp_plan: dict[str, str]) -> tuple[frozenset[str], dict[str, str]]:
    """Whose gradients the model sums itself ([`sum_shared_gradients`]), and the plan without these rows."""
    summed = frozenset(name for name, style in tp_plan.items() if style == _SUMMED)
    return summed, {name: style for name, style in tp_plan.items() if style != _SUMMED}


def sum_shared_gradients(model: Any) -> None:
    """Sum the gradients of weights that the heads of all ranks share over the ranks, pass by pass."""
    for name, parameter in model.named_parameters():
        if not model._summed.isdisjoint((name, name.rpartition(".")[0])):
            parameter.register_hook(partial(_sum_over, model._mesh_manager.get_mesh("tp").get_group()))


def _sum_over(group: Any, gradient: torch.Tensor) -> torch.Tensor:
    gradient = gradient.clone()
    torch.distributed.all_reduce(gradient, group=group)
    return gradient


# --- generation ------------------------------------------------------------------------------------------------------


def without_padding(model_kwargs: dict[str, Any] | None, prompt_ids: int | None) -> dict[str, Any] | None:
    """Arguments of a model for making logits processors: without the padding of a prompt that has no ids."""
    if prompt_ids:
        return model_kwargs
    return {key: value for key, value in (model_kwargs or {}).items() if key != "attention_mask"}


def short_drafts(generator: Any, max_length: int) -> Any:
    """A generator of drafts that end one token before the longest answer: the model adds that one."""
    generator.get_candidates = partial(_short_enough, generator.get_candidates, max_length)
    return generator


def _short_enough(
    draft: Callable[..., tuple[torch.Tensor, torch.Tensor | None]],
    max_length: int,
    input_ids: torch.Tensor,
    *args: Any,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Ids with candidates behind them `(1, L)`, and the candidates' scores if there are any, within the length."""
    candidates, scores = draft(input_ids, *args, **kwargs)
    longest = max(max_length - 1, input_ids.shape[1])
    return candidates[:, :longest], None if scores is None else scores[:, : longest - input_ids.shape[1]]


# --- rotary positions and masks --------------------------------------------------------------------------------------

_WRITING = Lock()  # of the module, since models are copied and locks are not


class InternLM2RotaryEmbedding(LlamaRotaryEmbedding):
    """Rotary positions; under dynamic NTK scaling the base depends on the present length alone.

    Llama's (and the original code's) table stays enlarged after a long sequence, so that a later, shorter one gets
    other numbers than it would have got first, and it cannot be compiled as one graph. Here nothing is kept.
    """

    @torch.no_grad()
    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine `(B, L, C)` for positions `(B, L)`, in the dtype of `x`."""
        inv_freq = self.inv_freq.to(x.device, torch.float32)
        if self.rope_type == "dynamic":
            inv_freq = self._scaled(inv_freq, position_ids.max() + 1)
        freqs = position_ids[..., None].float() * inv_freq  # (B, L, C/2)
        emb = torch.cat((freqs, freqs), dim=-1)
        return emb.cos().to(x.dtype), emb.sin().to(x.dtype)

    def _scaled(self, inv_freq: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """The frequencies for sequences of this length: NTK-scaled beyond `max_position_embeddings`."""
        rope = self.config.rope_parameters
        limit, dim = self.config.max_position_embeddings, 2 * len(inv_freq)
        growth = rope["factor"] * length.clamp(min=limit) / limit - (rope["factor"] - 1)
        base = rope["rope_theta"] * growth ** (dim / (dim - 2))
        exponents = torch.arange(0, dim, 2, device=inv_freq.device, dtype=torch.float32) / dim
        return torch.where(length > limit, 1.0 / base**exponents, inv_freq)


class LongRotaryEmbedding(Phi3RotaryEmbedding):
    """LongRoPE of Phi-3, whose table of short or long factors is chosen and used by one thread at a time.

    Compiled graphs hold the table themselves: threads that share a compiled model of this kind must take turns.
    """

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine `(B, L, C)` for positions `(B, L)`, in the dtype of `x`."""
        if torch.compiler.is_compiling():
            return super().forward(x, position_ids)
        with _WRITING:
            return super().forward(x, position_ids)


def replace_stateful_rope(model: nn.Module) -> None:
    """Give a language model rotary positions of this file where it has some that keep lengths: Llama under dynamic NTK
    scaling, which is InternLM2 in the canonical layout, and Phi-3 under LongRoPE."""
    rotary: Any = getattr(model, "rotary_emb", None)
    if type(rotary) is LlamaRotaryEmbedding and rotary.rope_type == "dynamic":
        model.rotary_emb = InternLM2RotaryEmbedding(rotary.config)
    if type(rotary) is Phi3RotaryEmbedding and rotary.rope_type == "longrope":
        model.rotary_emb = LongRotaryEmbedding(rotary.config)


# Model types whose forward does not hand positions to the mask functions (transformers 5.24).
IGNORE_POSITIONS = ("gpt_oss",)
MASKS = {"full_attention": create_causal_mask, "sliding_attention": create_sliding_window_causal_mask}


def masks_by_layer_type(config: PreTrainedConfig, **inputs: Any) -> dict[str, Any]:
    """A mask for each type of a language model's layers, made from `inputs` with their `position_ids`."""
    return {kind: MASKS[kind](config=config, **inputs) for kind in set(config.layer_types)}


__all__ = [
    "IGNORE_POSITIONS",
    "InternLM2RotaryEmbedding",
    "LongRotaryEmbedding",
    "MASKS",
    "backbone_from_pretrained",
    "existing_blocks",
    "first_loaded_device",
    "keep_used_rows",
    "list_video_processors",
    "masks_by_layer_type",
    "on_every_rank",
    "replace_stateful_rope",
    "replicate_scalars",
    "scalars_aside",
    "short_drafts",
    "split_summed",
    "sum_shared_gradients",
    "tied_copies_joined",
    "with_peft_check",
    "with_whole_heads",
    "without_padding",
]
