# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL-C and InternVL-G in miniature: `python -m lab.nano.dual_encoder --out DIR`.

From random weights, by both stages of arXiv:2312.14238, section 3.3, on the 64 drawn pairs of `pairs.py` alone:

1. `masked`: InternVL-C, everything trains, small images of which the tower sees half.
2. `whole`: the same with larger, whole images.
3. `bridge`: InternVL-G, three losses; queries, cross attention and the heads on them train, all else is frozen.

Then it says how often the right caption is found for an image and the other way round (recall@1 among the 64), and
how often the class of a drawing that training never saw. Folders `internvl_c` and `internvl_g` below DIR hold the
models with their processor. What it takes from the real thing: processor, tokenizer of the released kind, collators,
recipes, parameter groups, transformers' `Trainer`.
"""

from __future__ import annotations

import argparse
import io
import math
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import CLIPImageProcessorPil, Trainer, TrainingArguments

from transformers_internvl.evaluation.embedding import embed_images, embed_texts
from transformers_internvl.evaluation.retrieval import recall_at_k
from transformers_internvl.evaluation.zero_shot import classify_images, top_k_accuracy, zero_shot_classifier
from transformers_internvl.modeling.dual_encoder.configuration import InternVLDualEncoderConfig
from transformers_internvl.modeling.dual_encoder.model import InternVLDualEncoderModel
from transformers_internvl.modeling.dual_encoder.pretraining import InternVLDualEncoderForPreTraining
from transformers_internvl.processing.images.image_processing import NORMALIZE_TYPES
from transformers_internvl.processing.processor_dual_encoder import InternVLDualEncoderProcessor
from transformers_internvl.processing.tokenizers.dual_encoder import (
    CAPTION_PROMPT,
    TEXT_PREFIX,
    InternVLDualEncoderTokenizer,
)
from transformers_internvl.training.data.pairs import ContrastiveCollator, PretrainingCollator, show_whole_images
from transformers_internvl.training.parameters import parameter_groups
from transformers_internvl.training.recipes import get_recipe

from .model import sine_positions
from .pairs import CLASSES, TEMPLATES, Pair, draw_pairs, jitter

SMALL, LARGE, PATCH = 28, 32, 4  # as many patches to a side as 98 and 112 pixels have under patches of 14
STAGES = ("masked", "whole", "bridge")


@dataclass(frozen=True)
class Settings:
    """How to train: steps of the three stages, peak learning rates of tower, text half and bridge, the size; side of
    the images and of their patches in pixels."""

    masked: int = 400
    whole: int = 550
    bridge: int = 120
    vision_rate: float = 3e-3
    text_rate: float = 1e-3
    bridge_rate: float = 2e-3
    width: int = 64
    vision_layers: int = 3
    text_layers: int = 2
    queries: int = 8
    seed: int = 0
    side: int = SMALL
    patch: int = PATCH


# --- what is trained -------------------------------------------------------------------------------------------------


def build_tokenizer(captions: list[str], vocab_size: int = 350) -> InternVLDualEncoderTokenizer:
    """A tokenizer of the released kind (sentencepiece, BPE, bytes), trained on captions and the two prompts."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for line in captions for text in (line, f"{TEXT_PREFIX}{line}", CAPTION_PROMPT)]),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,  # 256 of them bytes
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.model").write_bytes(model.getvalue())
        return InternVLDualEncoderTokenizer.from_pretrained(folder)


def build_processor(tokenizer: InternVLDualEncoderTokenizer, side: int) -> InternVLDualEncoderProcessor:
    """The processor for images of a side."""
    mean, std = NORMALIZE_TYPES["imagenet"]
    square = {"height": side, "width": side}
    images = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=square, image_mean=mean, image_std=std)
    return InternVLDualEncoderProcessor(images, tokenizer)


def build_model(vocab_size: int, settings: Settings) -> InternVLDualEncoderForPreTraining:
    """A fresh model: random weights, position table of sines so that places differ from the first step."""
    torch.manual_seed(settings.seed)
    width, spread = settings.width, 1 / math.sqrt(3 * settings.width)
    shape = {"hidden_size": width, "intermediate_size": 3 * width, "num_attention_heads": 4}
    tower = {
        "image_size": settings.side,
        "patch_size": settings.patch,
        "layer_scale_init_value": 1.0,
        "initializer_range": spread,
    }
    config = InternVLDualEncoderConfig(
        vision_config={**shape, **tower, "num_hidden_layers": settings.vision_layers},
        qllama_config={
            **shape,
            "num_hidden_layers": settings.text_layers,
            "vocab_size": vocab_size,
            "max_position_embeddings": 128,
            "initializer_range": spread,
        },
        clip_embed_dim=width,
        attn_pool_num_heads=4,
        num_query_token=settings.queries,
    )
    model = InternVLDualEncoderForPreTraining(config)
    embeddings: Any = model.vision_model.embeddings
    with torch.no_grad():
        embeddings.position_embeddings[0, 1:] = 0.5 * sine_positions(settings.side // settings.patch, width)
        embeddings.cls_token.normal_(std=0.02)
        embeddings.patch_embeddings.projection.weight.normal_(std=0.5 / math.sqrt(3 * settings.patch**2))
    return model


# --- training --------------------------------------------------------------------------------------------------------


class Pairs(torch.utils.data.Dataset):
    """The pairs as rows, with a new augmentation in every epoch."""

    def __init__(self, pairs: list[Pair], seed: int):
        self.pairs, self.rng = pairs, random.Random(seed)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.pairs[index]
        return {"image": jitter(pair.image, self.rng), "caption": pair.caption}


class ContrastiveTrainer(Trainer):
    """`Trainer` for stage 1 of a model that has the losses of stage 2, too."""

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        """The contrastive loss of [`InternVLDualEncoderModel`]."""
        outputs = InternVLDualEncoderModel.forward(model, **inputs)
        return (outputs.loss, outputs) if return_outputs else outputs.loss


def train(model: Any, processor: Any, pairs: list[Pair], stage: str, settings: Settings, folder: Path) -> None:
    """One of `STAGES`, by the recipe's parts, betas and weight decay, at the rates of the settings; in place."""
    bridge = stage == "bridge"
    recipe = get_recipe("internvl-14b-generative" if bridge else "internvl-14b-contrastive", drop_path=0.0)
    recipe.apply(model)
    if stage == "whole":
        show_whole_images(model, LARGE)
    rate = settings.bridge_rate if bridge else settings.vision_rate
    text = {} if bridge else {"text": settings.text_rate, "temperature": settings.text_rate}
    optimizer = torch.optim.AdamW(
        parameter_groups(model, rate, recipe.weight_decay, text), betas=(recipe.adam_betas[0], 0.98)
    )
    arguments = TrainingArguments(
        str(folder),
        max_steps=getattr(settings, stage),
        per_device_train_batch_size=len(pairs),
        learning_rate=rate,
        lr_scheduler_type="constant_with_warmup" if stage == "masked" else "cosine",
        warmup_steps=20,
        remove_unused_columns=False,
        dataloader_drop_last=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        use_cpu=True,
        seed=settings.seed,
    )
    (Trainer if bridge else ContrastiveTrainer)(
        model,
        arguments,
        train_dataset=Pairs(pairs, settings.seed + STAGES.index(stage)),
        data_collator=(PretrainingCollator if bridge else ContrastiveCollator)(processor),
        optimizers=(optimizer, None),
    ).train()


# --- how good it is --------------------------------------------------------------------------------------------------


def evaluate(model: Any, processor: Any, pairs: list[Pair], unseen: list[Pair], mode: str) -> dict[str, float]:
    """Recall@1 among the pairs, both ways, and zero-shot accuracy on unseen drawings; from 0 to 1."""
    model.eval()
    images = embed_images(model, processor, [pair.image for pair in pairs], mode=mode)
    recall = recall_at_k(images @ embed_texts(model, processor, [pair.caption for pair in pairs]).T, ks=(1,))
    classifier = zero_shot_classifier(model, processor, CLASSES, TEMPLATES)
    scores = classify_images(model, processor, [pair.image for pair in unseen], classifier, mode=mode)
    labels = [CLASSES.index(pair.label) for pair in unseen]
    return {
        "image to text": recall["image_to_text_recall@1"],
        "text to image": recall["text_to_image_recall@1"],
        "zero-shot": top_k_accuracy(scores, labels, ks=(1,))["top1"],
    }


def run(out: Path, settings: Settings | None = None, unseen_repeats: int = 6) -> dict[str, dict[str, float]]:
    """Train both, save both, and say how good they are: name -> measure -> value from 0 to 1."""
    settings = settings or Settings()
    pairs, unseen = draw_pairs("train"), draw_pairs("unseen", unseen_repeats)
    tokenizer = build_tokenizer([pair.caption for pair in pairs])
    small, large = (build_processor(tokenizer, side) for side in (SMALL, LARGE))
    model = build_model(len(tokenizer), settings)

    train(model, small, pairs, "masked", settings, out / "logs")
    train(model, large, pairs, "whole", settings, out / "logs")
    report = {"InternVL-C": evaluate(model, large, pairs, unseen, "InternVL-C")}
    _save(model, large, out / "internvl_c")
    train(model, large, pairs, "bridge", settings, out / "logs")
    report["InternVL-G"] = evaluate(model, large, pairs, unseen, "InternVL-G")
    _save(model, large, out / "internvl_g")
    return report


def _save(model: Any, processor: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the two models")
    for stage in STAGES:
        parser.add_argument(f"--{stage}", type=int, default=getattr(Settings, stage), help="steps of this stage")
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    start = time.monotonic()
    steps = {stage: getattr(options, stage) for stage in STAGES}
    report = run(options.out, Settings(seed=options.seed, **steps))
    for name, measures in report.items():
        tqdm.write(f"{name}  " + "  ".join(f"{what} {100 * value:5.1f} %" for what, value in measures.items()))
    tqdm.write(f"{sum(steps.values())} steps, {(time.monotonic() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
