# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL-Chat v1 for tests: tiny folders in the released layout, and the model written down in plain operations.

The reference takes the weights of a folder under their names on disk and a prompt as in the original code, with -200
where an image stands. It shares nothing with the package: one image, one row, no cache.

Shape letters: S tokens of the tower, C its width, H heads, N queries, L positions, D width of the language model.
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import conv2d, gelu, interpolate, silu

from tests.parity.golden import golden_root

TOKENIZER = golden_root() / "labels" / "tokenizers" / "llama" / "tokenizer.model"  # 400 pieces
VOCABULARY = 400
IMAGE_INDEX = -200
VIT = {"hidden_size": 24, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 40}
VIT |= {"image_size": 224, "patch_size": 14, "qkv_bias": False, "qk_normalization": True, "norm_type": "rms_norm"}
LLAMA = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4}
LLAMA |= {"intermediate_size": 56, "rms_norm_eps": 1e-5, "vocab_size": VOCABULARY}
QLLAMA = {"hidden_size": 40, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48}
QLLAMA |= {"num_query_token": 96, "vocab_size": 30}
NAMES = {"mlp2x_gelu": "./pretrained/InternViT-6B-224px", "two_mlp": "./pretrained/InternVL-14B-224px"}
TOWER, EPS = "model.vision_tower.vision_tower.", 1e-6

# --- folders ---------------------------------------------------------------------------------------------------------


def llava_config(projector: str = "mlp2x_gelu", **changes) -> dict:
    """What stands in `config.json` of the released folders, and the tower's sizes, which tiny ones must tell."""
    config = {
        "_name_or_path": "./pretrained/vicuna-7b-v1.5",
        "architectures": ["LlavaLlamaForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "freeze_mm_mlp_adapter": False,
        "hidden_act": "silu",
        "image_aspect_ratio": "pad",
        "image_grid_pinpoints": None,
        "initializer_range": 0.02,
        "max_position_embeddings": 4096,
        "mm_hidden_size": (VIT if projector == "mlp2x_gelu" else QLLAMA)["hidden_size"],
        "mm_projector_type": projector,
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -4,
        "mm_vision_tower": NAMES[projector],
        "model_type": "llava_llama",
        "pretraining_tp": 1,
        "rope_scaling": None,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.32.0",
        "tune_mm_mlp_adapter": False,
        "use_cache": True,
        "use_mm_proj": True,
        **LLAMA,
        "vision_config": VIT,
    }
    if projector == "two_mlp":
        config["middleware_config"] = QLLAMA
    config.update(changes)
    return {key: value for key, value in config.items() if value is not ...}


def _draw(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights at a scale at which none drowns, norms around one; the same with every version of numpy and torch."""
    random = np.random.RandomState(seed)
    drawn = {}
    for name, shape in shapes.items():
        scale = 0.5 / shape[-1] ** 0.5 if len(shape) > 1 else 0.1
        drawn[name] = torch.from_numpy(random.standard_normal(shape) * scale + ("norm" in name)).float()
    return drawn


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """An image with edges and slopes, another for every seed."""
    row, column = np.mgrid[:height, :width]
    channels = [(row * (3 + seed) + column * (5 + band) + row * column // 7 + 31 * band) % 256 for band in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def vit_shapes(prefix: str = "", vit: dict = VIT) -> dict[str, tuple[int, ...]]:
    """The weights of an InternViT under the original names."""
    width, inner, side = vit["hidden_size"], vit["intermediate_size"], vit["image_size"] // vit["patch_size"]
    shapes = {
        "embeddings.class_embedding": (1, 1, width),
        "embeddings.patch_embedding.weight": (width, 3, vit["patch_size"], vit["patch_size"]),
        "embeddings.patch_embedding.bias": (width,),
        "embeddings.position_embedding": (1, 1 + side * side, width),
    }
    for index in range(vit["num_hidden_layers"]):
        block = f"encoder.layers.{index}."
        shapes |= {block + name: (width,) for name in ("ls1", "ls2", "norm1.weight", "norm2.weight")}
        shapes |= {block + f"attn.{name}_norm.weight": (width,) for name in "qk"}
        shapes |= {block + "attn.qkv.weight": (3 * width, width), block + "attn.proj.weight": (width, width)}
        shapes |= {block + "attn.proj.bias": (width,), block + "mlp.fc1.weight": (inner, width)}
        shapes |= {block + "mlp.fc1.bias": (inner,), block + "mlp.fc2.weight": (width, inner)}
        shapes |= {block + "mlp.fc2.bias": (width,)}
    return {prefix + name: shape for name, shape in shapes.items()}


def llama_shapes(config: dict, cross_width: int | None = None) -> dict[str, tuple[int, ...]]:
    """The weights of a Llama, and of QLLaMA's cross attention in every second layer, head included."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    table = (config["vocab_size"], width)
    shapes = {"model.embed_tokens.weight": table, "model.norm.weight": (width,), "lm_head.weight": table}
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}."
        shapes |= {layer + f"self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        shapes |= {layer + f"mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
        shapes |= {layer + "mlp.down_proj.weight": (width, inner)}
        shapes |= {layer + f"{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
        if cross_width and index % 2 == 0:
            shapes |= {layer + f"cross_attn.{name}_proj.weight": (width, width) for name in "qo"}
            shapes |= {layer + f"cross_attn.{name}_proj.weight": (width, cross_width) for name in "kv"}
            shapes |= {layer + "cross_attn.norm1.weight": (width,), layer + "cross_attn.norm2.weight": (cross_width,)}
    return shapes


def _mlp_shapes(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    hidden = LLAMA["hidden_size"]
    weights = {f"{prefix}0.weight": (hidden, width), f"{prefix}2.weight": (hidden, hidden)}
    return weights | {f"{prefix}{index}.bias": (hidden,) for index in (0, 2)}


def llava_weights(projector: str = "mlp2x_gelu") -> dict[str, torch.Tensor]:
    """Random weights under the names of LLaVA's layout."""
    shapes = llama_shapes(LLAMA)
    if projector == "mlp2x_gelu":
        shapes |= vit_shapes(TOWER) | _mlp_shapes("model.mm_projector.", VIT["hidden_size"])
    else:
        shapes |= vit_shapes(TOWER + "vision_model.")
        shapes |= {f"{TOWER}qllama.{k}": v for k, v in llama_shapes(QLLAMA, VIT["hidden_size"]).items()}
        shapes |= {TOWER + "query_tokens": (1, QLLAMA["num_query_token"], QLLAMA["hidden_size"])}
        shapes |= _mlp_shapes("model.mm_projector.mlp1.", VIT["hidden_size"])
        shapes |= _mlp_shapes("model.mm_projector.mlp2.", QLLAMA["hidden_size"])
    return _draw(shapes)


def write_tokenizer(folder: Path, legacy: bool = False) -> None:
    """Vicuna's tokenizer files, around a tiny sentencepiece model."""
    shutil.copy(TOKENIZER, folder / "tokenizer.model")
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {"add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False, **special}
    settings |= {"legacy": legacy, "model_max_length": 4096, "pad_token": None, "tokenizer_class": "LlamaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").write_text(json.dumps({**special, "pad_token": "<unk>"}))


def write_folder(folder: Path, projector: str = "mlp2x_gelu", **changes) -> dict[str, torch.Tensor]:
    """A checkpoint in LLaVA's layout, cut into two `.bin` files as the released ones; returns its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(llava_config(projector, **changes)))
    generation = {"bos_token_id": 1, "eos_token_id": 2, "max_length": 4096, "pad_token_id": 0}
    generation |= {"temperature": 0.9, "top_p": 0.6}  # as Vicuna's file has them, without `do_sample`
    (folder / "generation_config.json").write_text(json.dumps({**generation, "transformers_version": "4.32.0"}))
    write_tokenizer(folder)
    weights = llava_weights(projector)
    write_weights(folder, weights)
    return weights


def write_weights(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Two `.bin` files and their index."""
    names = list(weights)
    places = {name: f"pytorch_model-0000{1 + (2 * i >= len(names))}-of-00002.bin" for i, name in enumerate(names)}
    for place in sorted(set(places.values())):
        torch.save({name: weights[name] for name in names if places[name] == place}, folder / place)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


# --- the model, in plain operations ----------------------------------------------------------------------------------


def _rms(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def _attend(query, key, value, heads: int, mask=None) -> torch.Tensor:
    """`(S, D)` each to `(S, D)`, head by head."""
    size = query.shape[-1] // heads
    outputs = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T * size**-0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        outputs.append(scores.softmax(-1) @ value[:, part])
    return torch.cat(outputs, dim=-1)


def beginning(weights: dict, prefix: str) -> dict[str, torch.Tensor]:
    """The weights under a prefix, without it."""
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


def _depth(weights: dict, pattern: str) -> int:
    return len({match[1] for name in weights if (match := re.match(pattern, name))})


def vit_states(weights: dict, pixels: torch.Tensor, heads: int = VIT["num_attention_heads"]) -> list[torch.Tensor]:
    """One image `(3, h, w)` to the `(S, C)` after the embeddings and after every block of an InternViT."""
    w = weights
    patches = conv2d(pixels[None], w["embeddings.patch_embedding.weight"], w["embeddings.patch_embedding.bias"], 14)[0]
    rows, columns = patches.shape[1:]
    table = w["embeddings.position_embedding"][0]
    side = round((len(table) - 1) ** 0.5)
    grid = table[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    grid = interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)[0].flatten(1).T
    x = torch.cat([w["embeddings.class_embedding"][0] + table[:1], patches.flatten(1).T + grid])
    states = [x]
    for index in range(_depth(w, r"encoder\.layers\.(\d+)\.")):
        b = beginning(w, f"encoder.layers.{index}.")
        query, key, value = (_rms(x, b["norm1.weight"], EPS) @ b["attn.qkv.weight"].T).chunk(3, -1)
        query, key = _rms(query, b["attn.q_norm.weight"], EPS), _rms(key, b["attn.k_norm.weight"], EPS)
        attended = _attend(query, key, value, heads)
        x = x + (attended @ b["attn.proj.weight"].T + b["attn.proj.bias"]) * b["ls1"]
        inner = gelu(_rms(x, b["norm2.weight"], EPS) @ b["mlp.fc1.weight"].T + b["mlp.fc1.bias"])
        x = x + (inner @ b["mlp.fc2.weight"].T + b["mlp.fc2.bias"]) * b["ls2"]
        states.append(x)
    return states


def _rotate(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Rotary positions from 0, base 10000, halves paired: `(L, D)`."""
    size = x.shape[-1] // heads
    angles = torch.arange(len(x))[:, None] / 10000 ** (torch.arange(0, size, 2) / size)  # (L, size/2)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    first, second = x.unflatten(-1, (heads, 2, size // 2)).unbind(-2)  # (L, H, size/2)
    return torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-2).flatten(1)


def llama_states(
    weights: dict, x: torch.Tensor, heads: int, eps: float, vision: torch.Tensor | None = None
) -> torch.Tensor:
    """Embeddings `(L, D)` to the last hidden states. With `vision` `(S, C)` all positions are QLLaMA's queries."""
    w, mask = weights, torch.ones(len(x), len(x), dtype=torch.bool).tril() if vision is None else None
    for index in range(_depth(w, r"model\.layers\.(\d+)\.")):
        layer = f"model.layers.{index}."
        normed = _rms(x, w[layer + "input_layernorm.weight"], eps)
        query, key, value = (normed @ w[layer + f"self_attn.{name}_proj.weight"].T for name in "qkv")
        attended = _attend(_rotate(query, heads), _rotate(key, heads), value, heads, mask)
        x = x + attended @ w[layer + "self_attn.o_proj.weight"].T
        if vision is not None and index % 2 == 0:
            cross, seen = layer + "cross_attn.", _rms(vision, w[layer + "cross_attn.norm2.weight"], eps)
            query = _rms(x, w[cross + "norm1.weight"], eps) @ w[cross + "q_proj.weight"].T
            key, value = seen @ w[cross + "k_proj.weight"].T, seen @ w[cross + "v_proj.weight"].T
            x = x + _attend(query, key, value, heads) @ w[cross + "o_proj.weight"].T
        normed = _rms(x, w[layer + "post_attention_layernorm.weight"], eps)
        gated = silu(normed @ w[layer + "mlp.gate_proj.weight"].T) * (normed @ w[layer + "mlp.up_proj.weight"].T)
        x = x + gated @ w[layer + "mlp.down_proj.weight"].T
    return _rms(x, w["model.norm.weight"], eps)


def _mlp(weights: dict, prefix: str, x: torch.Tensor) -> torch.Tensor:
    inner = gelu(x @ weights[prefix + "0.weight"].T + weights[prefix + "0.bias"])
    return inner @ weights[prefix + "2.weight"].T + weights[prefix + "2.bias"]


def image_tokens(weights: dict, pixels: torch.Tensor) -> torch.Tensor:
    """One image `(3, h, w)` to what stands in the prompt for it, `(n, D)`."""
    tower = beginning(weights, TOWER)
    if "query_tokens" not in tower:
        return _mlp(weights, "model.mm_projector.", vit_states(tower, pixels)[-4][1:])
    states = vit_states(beginning(tower, "vision_model."), pixels)
    qllama, heads = beginning(tower, "qllama."), QLLAMA["num_attention_heads"]
    queries = llama_states(qllama, tower["query_tokens"][0], heads, 1e-6, vision=states[-1])
    patches = _mlp(weights, "model.mm_projector.mlp1.", states[-4][1:])
    return torch.cat([_mlp(weights, "model.mm_projector.mlp2.", queries), patches])


def _prompt(weights: dict, ids: list[int], images: list[torch.Tensor]) -> torch.Tensor:
    """Embeddings `(L, D)` of ids with -200 at every image, the images' tokens in its place."""
    left = iter(images)
    table = weights["model.embed_tokens.weight"]
    parts = [image_tokens(weights, next(left)) if i == IMAGE_INDEX else table[i][None] for i in ids]
    return torch.cat(parts)


def _logits(weights: dict, embeddings: torch.Tensor) -> torch.Tensor:
    states = llama_states(weights, embeddings, LLAMA["num_attention_heads"], LLAMA["rms_norm_eps"])
    return states @ weights["lm_head.weight"].T


def reference_logits(weights: dict, ids: list[int], images: list[torch.Tensor]) -> torch.Tensor:
    """Logits `(L, V)` of a prompt."""
    return _logits(weights, _prompt(weights, ids, images))


def reference_greedy(weights: dict, ids: list[int], images: list[torch.Tensor], count: int) -> list[int]:
    """The next `count` ids, without a cache."""
    embeddings, written = _prompt(weights, ids, images), []
    for _ in range(count):
        written.append(int(_logits(weights, embeddings)[-1].argmax()))
        embeddings = torch.cat([embeddings, weights["model.embed_tokens.weight"][written[-1]][None]])
    return written
