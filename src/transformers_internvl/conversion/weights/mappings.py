# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How the original weight names map to this package's: a list of rows per part, read forwards on loading, backwards on
saving.

The rows of a part are relative to it: those of the tower serve an InternViT folder and the tower inside a chat model
alike, those of InternLM2 a chat model and an InternLM2 folder. `registry.py` hands them to transformers, which applies
them shard by shard under `device_map`, quantizers and tensor parallelism.

Source: `modeling_intern_vit.py`, `modeling_internvl_chat.py`, `modeling_internlm2.py` of the released checkpoints.
"""

from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming, WeightTransform

from .converters import BesideBody, FusedConverter
from .ops import SplitFused, merge_grouped_qkv, merge_qkv, split_grouped_qkv, split_qkv


def intern_vit() -> list[WeightTransform]:
    """InternViT (`model_type: intern_vit_6b`), alone or inside a model with a head."""
    return [
        WeightRenaming(r"embeddings\.class_embedding", r"embeddings\.cls_token"),
        WeightRenaming(r"embeddings\.patch_embedding\.", r"embeddings\.patch_embeddings\.projection\."),
        WeightRenaming(r"embeddings\.position_embedding", r"embeddings\.position_embeddings"),
        WeightRenaming(r"encoder\.layers\.", r"encoder\.layer\."),
        WeightRenaming(r"\.attn\.proj\.", r"\.attention\.projection_layer\."),
        WeightRenaming(r"\.attn\.q_norm\.", r"\.attention\.q_norm\."),
        WeightRenaming(r"\.attn\.k_norm\.", r"\.attention\.k_norm\."),
        WeightRenaming(r"\.norm1\.", r"\.layernorm_before\."),
        WeightRenaming(r"\.norm2\.", r"\.layernorm_after\."),
        WeightRenaming(r"\.ls1", r"\.lambda_1"),
        WeightRenaming(r"\.ls2", r"\.lambda_2"),
        *(
            FusedConverter(
                f".attn.qkv.{kind}",
                [f".attention.{part}_proj.{kind}" for part in "qkv"],
                [SplitFused(split_qkv, merge_qkv)],
            )
            for kind in ("weight", "bias")
        ),
    ]


def internlm2() -> list[WeightTransform]:
    """InternLM2 and InternLM2.5 (`model_type: internlm2`), alone or inside a chat model."""
    return [
        BesideBody(r"^output\.", r"^lm_head\."),
        WeightRenaming(r"tok_embeddings\.", r"embed_tokens\."),
        WeightRenaming(r"\.attention\.wo\.", r"\.self_attn\.o_proj\."),
        WeightRenaming(r"\.feed_forward\.w1\.", r"\.mlp\.gate_proj\."),
        WeightRenaming(r"\.feed_forward\.w3\.", r"\.mlp\.up_proj\."),
        WeightRenaming(r"\.feed_forward\.w2\.", r"\.mlp\.down_proj\."),
        WeightRenaming(r"\.attention_norm\.", r"\.input_layernorm\."),
        WeightRenaming(r"\.ffn_norm\.", r"\.post_attention_layernorm\."),
        *(
            FusedConverter(
                f".attention.wqkv.{kind}",
                [f".self_attn.{part}_proj.{kind}" for part in "qkv"],
                [SplitFused(split_grouped_qkv, merge_grouped_qkv)],
            )
            for kind in ("weight", "bias")
        ),
    ]


def internlm2_ve() -> list[WeightTransform]:
    """InternLM2 with visual experts (`model_type: internlm2_ve`), the language model of Mono-InternVL."""
    return [
        WeightRenaming(r"\.feed_forward_ve\.w1\.", r"\.mlp_ve\.gate_proj\."),
        WeightRenaming(r"\.feed_forward_ve\.w3\.", r"\.mlp_ve\.up_proj\."),
        WeightRenaming(r"\.feed_forward_ve\.w2\.", r"\.mlp_ve\.down_proj\."),
        *internlm2(),
    ]


def internvl_chat() -> list[WeightTransform]:
    """A chat model in the original layout (`model_type: internvl_chat`); its parts bring their own rows."""
    return [
        WeightRenaming(r"^vision_model\.", r"^model\.vision_tower\."),
        WeightRenaming(r"^mlp1\.0\.", r"^model\.multi_modal_projector\.layer_norm\."),
        WeightRenaming(r"^mlp1\.1\.", r"^model\.multi_modal_projector\.linear_1\."),
        WeightRenaming(r"^mlp1\.3\.", r"^model\.multi_modal_projector\.linear_2\."),
        WeightRenaming(r"^mlp2\.", r"^model\.compressed_projector\."),  # these three of InternVL3.5-Flash
        WeightRenaming(r"^pooling_before_gating\.", r"^model\.resolution_router\.pooling\."),
        WeightRenaming(r"^gating\.", r"^model\.resolution_router\.gating\."),
        WeightRenaming(r"^language_model\.model\.", r"^model\.language_model\."),
        WeightRenaming(r"^language_model\.lm_head\.", r"^lm_head\."),
    ]


def internvl_llava() -> list[WeightTransform]:
    """InternVL-Chat v1 in LLaVA's layout (`model_type: llava_llama`), with QLLaMA or without; the tower as always."""
    return [
        WeightRenaming(r"^model\.vision_tower\.vision_tower\.", r"^model\.vision_tower\."),
        WeightRenaming(r"^model\.vision_tower\.qllama\.model\.", r"^model\.vision_tower\.qllama\."),
        *(
            WeightRenaming(rf"^model\.mm_projector\.{mlp}{index}\.", rf"^model\.multi_modal_projector\.{mlp}{layer}\.")
            for mlp in ("", r"mlp1\.", r"mlp2\.")
            for index, layer in ((0, "linear_1"), (2, "linear_2"))
        ),
        *(
            WeightRenaming(rf"^model\.{part}\.", rf"^model\.language_model\.{part}\.")
            for part in ("embed_tokens", "layers", "norm")
        ),
    ]


def internvl() -> list[WeightTransform]:
    """The canonical layout (`model_type: internvl`): upstream's rows, applied there to upstream's classes only."""
    return get_checkpoint_conversion_mapping("internvl")


__all__ = ["intern_vit", "internlm2", "internlm2_ve", "internvl", "internvl_chat", "internvl_llava"]
