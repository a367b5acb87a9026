# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Names of options in the original scripts, and in others that people come from, and what they are called here.

Source: the dataclasses of `internvl_chat_finetune.py` in the original repository.
"""

import difflib
from collections.abc import Iterable

_OF_MODEL = ("", "it is the model's own, and stays")
_OF_PROCESSOR = ("", "it is the processor's own, and stays")
_PARTS = "which names the parts that train, such as `vision,projector,language,head`"

# Their name -> the field here, if there is one, and what to know of it.
FOREIGN: dict[str, tuple[str, str]] = {
    "model_name_or_path": ("model", ""),
    "vision_path": ("model", "put together before, by `internvl surgery replace-tower`"),
    "llm_path": ("model", "put together before, by `internvl surgery replace-language-model`"),
    "mlp_path": ("model", "put together before"),
    "freeze_llm": ("trains", f"{_PARTS}: leave `language` out"),
    "freeze_backbone": ("trains", f"{_PARTS}: leave `vision` out"),
    "freeze_mlp": ("trains", f"{_PARTS}: leave `projector` out"),
    "unfreeze_lm_head": ("trains", f"{_PARTS}: with `head`"),
    "unfreeze_vit_layers": ("trains", r"which takes patterns, too: `re:vision_tower\.encoder\.layer\.2[0-3]\.`"),
    "use_llm_lora": ("lora_rank", ""),
    "use_backbone_lora": (
        "lora_rank",
        "of the language model's adapters; `trains: vision` beside it trains the tower whole",
    ),
    "lora_r": ("lora_rank", ""),
    "lora_alpha": ("lora_rank", "whose adapters have the original scale, twice the rank"),
    "grad_checkpoint": ("gradient_checkpointing", ""),
    "drop_path_rate": ("drop_path", ""),
    "max_seq_length": ("max_length", ""),
    "model_max_length": ("max_length", ""),
    "force_image_size": ("image_size", "for dual encoders; of a chat model by `internvl surgery resize-positions`"),
    "meta_path": ("data", ""),
    "train_file": ("data", ""),
    "train_data": ("data", ""),
    "dataset": ("data", ""),
    "data_path": ("data", ""),
    "image_folder": ("data_root", ""),
    "image_root": ("data_root", ""),
    "image_dir": ("data_root", ""),
    "media_dir": ("data_root", ""),
    "root": ("data_root", "of plain data; a meta file has a root for each set"),
    "eval_dataset": ("eval_data", ""),
    "eval_file": ("eval_data", ""),
    "val_data": ("eval_data", ""),
    "val_dataset": ("eval_data", ""),
    "validation_file": ("eval_data", ""),
    "use_data_resampling": ("mixing", "of which `root` draws sets by the roots of their sizes"),
    "dynamic_image_size": ("max_tiles", "of which 1 leaves images whole"),
    "max_dynamic_patch": ("max_tiles", ""),
    "max_patches": ("max_tiles", ""),
    "max_num": ("max_tiles", ""),
    "use_packed_ds": ("packed_tokens", "together with `packed_tiles`"),
    "max_packed_tokens": ("packed_tokens", "together with `packed_tiles`"),
    "num_images_expected": ("packed_tiles", "together with `packed_tokens`"),
    "loss_reduction_all_gather": ("", "losses are exact over all ranks always"),
    "split_annotations": ("", "every rank reads its share always"),
    "conv_style": ("", "the conversation template is the model's own, and stays"),
    "template": ("", "the conversation template is the model's own, and stays"),
    "ps_version": _OF_MODEL,
    "down_sample_ratio": _OF_MODEL,
    "vision_select_layer": _OF_MODEL,
    "select_layer": _OF_MODEL,
    "pad2square": _OF_PROCESSOR,
    "use_thumbnail": _OF_PROCESSOR,
    "min_dynamic_patch": _OF_PROCESSOR,
    "normalize_type": _OF_PROCESSOR,
    "use_fast_tokenizer": _OF_PROCESSOR,
    "min_num_frame": ("", "8 to 32 frames of a video are drawn, as in the original shells"),
    "max_num_frame": ("", "8 to 32 frames of a video are drawn, as in the original shells"),
    "max_buffer_size": ("", "at most 20 packs are open, as in the original shells"),
    "allow_overflow": ("", "`packed_tokens` is a limit always"),
    "replacement": ("", "every sample of an epoch comes once"),
    "strict_mode": ("", "packs are not padded with tiles"),
    "log_freq": ("logging_steps", ""),
    "use_liger": ("", "Liger's kernels replace the forward that has the recipe's loss"),
    # Of transformers before v5.
    "evaluation_strategy": ("eval_strategy", ""),
    "warmup_ratio": ("warmup", "which below 1 is a fraction of the steps"),
    "per_gpu_train_batch_size": ("per_device_train_batch_size", ""),
    "no_cuda": ("use_cpu", ""),
    "group_by_length": ("packed_tokens", "together with `packed_tiles`: packs leave no padding"),
    "overwrite_output_dir": ("output", "another folder: what a run has left is never overwritten"),
    "logging_dir": ("", "`log.jsonl` lies in `output`; TensorBoard looks at the variable TENSORBOARD_LOGGING_DIR"),
    "save_safetensors": ("", "weights are always saved so"),
    "tokenizer": ("", "tokenizer and processor are those of `model`"),
}


def explain_unknown(name: str, known: Iterable[str]) -> str:
    """The message about an unknown field: its name here, or fields with similar names."""
    if name in FOREIGN:
        field, note = FOREIGN[name]
        if not field:
            return f"There is no field {name!r}: {note}. Leave it out."
        return f"There is no field {name!r}. Did you mean `{field}`{f', {note}' if note else ''}?"
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.6)
    hint = f"Did you mean {', '.join(near)}?" if near else "See Recipe and transformers.TrainingArguments."
    return f"There is no field {name!r}. {hint}"


__all__ = ["FOREIGN", "explain_unknown"]
