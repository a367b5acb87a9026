# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""LoRA as in the original code: peft on the fused layers of their model, and the checkpoints that come of it.

The reference is a model of ours whose `q_proj`, `k_proj` and `v_proj` only pick their part of what one fused layer
gives; peft adapts that layer. Nothing of the package's own conversions takes part.
"""

import json
import re
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel

TOWER = ["qkv", "projection_layer", "fc1", "fc2"]
# `wrap_llm_lora` by language model; of InternLM2 under our names but for the fused layer.
SEPARATE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LANGUAGE = {
    "internlm2": ["wqkv", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
}
_NAMES = {
    r"^model\.language_model\.": "language_model.model.",
    r"^model\.vision_tower\.encoder\.layer\.": "vision_model.encoder.layers.",
    r"attention\.qkv$": "attn.qkv",
    r"attention\.projection_layer$": "attn.proj",
}
_INTERNLM2_NAMES = {
    r"self_attn\.wqkv$": "attention.wqkv",
    r"self_attn\.o_proj$": "attention.wo",
    r"mlp\.gate_proj$": "feed_forward.w1",
    r"mlp\.up_proj$": "feed_forward.w3",
    r"mlp\.down_proj$": "feed_forward.w2",
}


class Picks(nn.Module):
    """A part of the output of its owner's fused layer."""

    def __init__(self, owner: nn.Module, fused: str, pick):
        super().__init__()
        self.__dict__.update(owner=owner, fused=fused, pick=pick)

    def forward(self, x):
        return self.pick(getattr(self.owner, self.fused)(x))


def fuse(owner: nn.Module, fused: str, weights: dict[str, torch.Tensor], picks) -> None:
    """One layer in the place of three."""
    weight, bias = weights["weight"], weights.get("bias")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict(weights)
    setattr(owner, fused, layer)
    for name, pick in zip(("q_proj", "k_proj", "v_proj"), picks, strict=True):
        setattr(owner, name, Picks(owner, fused, pick))


def fused_model(folder: Path) -> nn.Module:
    """The model of a folder with the original fused layers."""
    model, weights = AutoModel.from_pretrained(folder).eval(), load_file(folder / "model.safetensors")

    def of(module: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(module): value for key, value in weights.items() if key.startswith(module)}

    for index, layer in enumerate(model.model.vision_tower.encoder.layer):
        thirds = [lambda x, i=i: x.unflatten(-1, (3, -1))[..., i, :] for i in range(3)]
        fuse(layer.attention, "qkv", of(f"vision_model.encoder.layers.{index}.attn.qkv."), thirds)
    text = model.config.text_config
    if text.model_type == "internlm2":
        heads, kv = text.num_attention_heads, text.num_key_value_heads

        def group(x):
            return x.view(*x.shape[:2], kv, heads // kv + 2, -1)

        picks = (
            lambda x: group(x)[..., :-2, :].flatten(2),
            lambda x: group(x)[..., -2, :].flatten(2),
            lambda x: group(x)[..., -1, :].flatten(2),
        )
        for index, layer in enumerate(model.model.language_model.layers):
            fuse(layer.self_attn, "wqkv", of(f"language_model.model.layers.{index}.attention.wqkv."), picks)
    return model


def adapt(model: nn.Module, llm: int = 0, backbone: int = 0, **kwargs) -> dict[str, torch.Tensor]:
    """Adapters of these ranks, drawn at random, in the model; returned under the original names."""
    torch.manual_seed(3)
    text = model.config.text_config.model_type
    parts = {
        "language_model": (llm, LANGUAGE.get(text, SEPARATE)),
        "vision_tower": (backbone, TOWER),
    }
    tensors = {}
    for part, (rank, targets) in parts.items():
        if rank:
            options = {"lora_dropout": 0.05, **kwargs}
            config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, **options)
            inject_adapter_in_model(config, getattr(model.model, part))
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            with torch.no_grad():
                parameter.normal_(std=0.1)
            if "magnitude" in name:
                with torch.no_grad():
                    parameter.add_(1.0)
            module, _, kind = name.partition(".lora_")
            tensors[f"{original_name(module, text)}.lora_{kind}"] = parameter.detach().clone()
    model.eval()
    return tensors


def original_name(module: str, text: str) -> str:
    names = _NAMES | (_INTERNLM2_NAMES if text == "internlm2" else {})
    for ours, theirs in names.items():
        module = re.sub(ours, theirs, module)
    return module


def write_legacy(source: Path, target: Path, lora: dict, llm: int, backbone: int, base_layer: str = ".base_layer"):
    """The folder that the original script saves."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors", "README.md"))
    wrapped = {part for part, rank in (("language_model", llm), ("vision_model", backbone)) if rank}
    adapted = {name.partition(".lora_")[0] for name in lora}

    def wrap(name: str) -> str:
        part, _, rest = name.partition(".")
        return f"{part}.base_model.model.{rest}" if part in wrapped else name

    weights = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        module, _, kind = name.rpartition(".")
        weights[wrap(f"{module}{base_layer}.{kind}" if module in adapted else name)] = tensor
    save_file(weights | {wrap(name): t for name, t in lora.items()}, target / "model.safetensors", {"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    config |= {"use_llm_lora": llm, "use_backbone_lora": backbone}
    (target / "config.json").write_text(json.dumps(config, indent=2))


def write_adapter(target: Path, lora: dict, rank: int, **kwargs) -> None:
    """The folder that peft saves when it wraps the original whole model."""
    modules = {name.partition(".lora_")[0] for name in lora}
    LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=modules, **kwargs).save_pretrained(target)
    tensors = {f"base_model.model.{name}".replace(".default", ""): tensor for name, tensor in lora.items()}
    save_file(tensors, target / "adapter_model.safetensors")


def inputs_of(folder: Path) -> dict[str, torch.Tensor]:
    """The case's rows with their tiles, padded on the right."""
    inputs = load_file(folder / "inputs.safetensors")
    row = {key: inputs[f"right.{key}"] for key in ("input_ids", "attention_mask")}
    return {**row, **{key: inputs[key] for key in ("pixel_values", "image_flags")}}


def logits(model: nn.Module, folder: Path) -> torch.Tensor:
    """Of those rows, where there is no padding."""
    inputs = inputs_of(folder)
    model.config.image_token_id = json.loads((folder / "ids.json").read_text())["image_token_id"]
    with torch.no_grad():
        return model(**inputs).logits[inputs["attention_mask"].bool()]
