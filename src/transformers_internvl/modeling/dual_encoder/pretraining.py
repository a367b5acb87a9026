# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stage 2 of InternVL-14B's training: QLLaMA learns to match, to compare and to caption.

Every pair passes through QLLaMA three times, as queries and text under three masks:

    matching        all see each other      the queries decide whether the text belongs to the image
    contrastive     each by themselves      the queries' vector and the text's vector are compared over all ranks
    generation      text sees queries       the text is predicted

Shape letters: B pairs, L text positions, N queries, M tokens of the tower, W its width, D width of QLLaMA.

Stage 1 is [`InternVLDualEncoderModel`] with `return_loss=True` in mode InternVL-C.

Source: arXiv:2312.14238, section 3.3; `internvl_stage2/modeling_internvl.py` of the original repository.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers.modeling_outputs import ModelOutput

from ..losses import IGNORE_INDEX, supervised_loss
from ..pretrained.upstream import on_every_rank
from .losses import contrastive_loss, draw_hard_negatives, mean_cross_entropy
from .model import InternVLDualEncoderModel
from .qllama import contrastive_mask, generation_mask, matching_mask

Mask = Callable[[torch.Tensor, int, torch.dtype], torch.Tensor]

# Real tokens of an empty caption: begin and end. (The original code counts five with `summarize:`, the same caption
# under the released tokenizer, and under another one a caption of a word or two.)
EMPTY_CAPTION = 2


@dataclass
class InternVLDualEncoderForPreTrainingOutput(ModelOutput):
    """`loss` is the sum of the three parts.

    `query_hidden_states` `(3*B, N, D)` and `text_hidden_states` `(3*B, L, D)`: QLLaMA's output, the rows of the
    matching task first, then the contrastive ones, then those of generation. `negative_index` `(B,)`: whose captions
    were taken as negatives, where they were drawn here.
    """

    loss: torch.Tensor | None = None
    loss_itm: torch.Tensor | None = None
    loss_itc: torch.Tensor | None = None
    loss_itg: torch.Tensor | None = None
    query_hidden_states: torch.Tensor | None = None
    text_hidden_states: torch.Tensor | None = None
    negative_index: torch.Tensor | None = None


class InternVLDualEncoderForPreTraining(InternVLDualEncoderModel):
    """InternVL-14B with the losses of stage 2; `freeze_for_stage_2` leaves trainable what the paper trains.

    Arguments of `forward`; all ids, masks and labels are `(B, L)`, padded on the right:
        pixel_values: `(B, 3, height, width)`.
        input_ids, attention_mask: `English caption:` and the caption, which is to be generated.
        labels: its ids, -100 where nothing is to be learned (prompt and padding).
        summarize_input_ids, summarize_attention_mask: `summarize:` and the caption, to be compared.
        positive_input_ids, positive_attention_mask: the caption as it is, between begin and end token. Where it is
            empty, nothing is matched or compared.
        negative_input_ids, negative_attention_mask: a caption of another image, as it is. None: hard negatives are
            drawn from the positives by the similarities of the contrastive task. The first half of the rows is
            matched with negatives, the rest with positives. Several ranks draw each from its own batch.
        return_loss: accepted for `Trainer`; the losses are always computed.
    """

    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        summarize_input_ids: torch.Tensor,
        summarize_attention_mask: torch.Tensor,
        positive_input_ids: torch.Tensor,
        positive_attention_mask: torch.Tensor,
        negative_input_ids: torch.Tensor | None = None,
        negative_attention_mask: torch.Tensor | None = None,
        return_loss: bool = True,
    ) -> InternVLDualEncoderForPreTrainingOutput:
        """The three losses of stage 2; the arguments are described at the class.

        Raises:
            ValueError: texts of the tasks have different shapes; no negative can be drawn; negatives without a mask.
        """
        _check_shapes(input_ids, labels, summarize_input_ids, positive_input_ids)
        _check_negatives(negative_input_ids, negative_attention_mask)
        vision = self.vision_model(pixel_values).last_hidden_state  # (B, M, W)

        itc_queries, itc_text = self._run(vision, summarize_input_ids, summarize_attention_mask, contrastive_mask)
        empty = positive_attention_mask.sum(dim=-1) == EMPTY_CAPTION
        loss_itc, similarities = self._contrastive_loss(itc_queries, itc_text, summarize_attention_mask, empty)

        drawn = None
        if negative_input_ids is None or negative_attention_mask is None:
            drawn = draw_hard_negatives(similarities, positive_input_ids)
            negative_input_ids, negative_attention_mask = positive_input_ids[drawn], positive_attention_mask[drawn]
        itm_ids = _first_half(negative_input_ids, positive_input_ids)
        itm_mask = _first_half(negative_attention_mask, positive_attention_mask)
        itm_queries, itm_text = self._run(vision, itm_ids, itm_mask, matching_mask)
        loss_itm = self._matching_loss(itm_queries, itm_mask)

        itg_queries, itg_text = self._run(vision, input_ids, attention_mask, generation_mask)
        loss_itg = supervised_loss(itg_text, self.qllama.lm_head, labels)

        return InternVLDualEncoderForPreTrainingOutput(
            loss=loss_itm + loss_itc + loss_itg,
            loss_itm=loss_itm.detach(),
            loss_itc=loss_itc.detach(),
            loss_itg=loss_itg.detach(),
            query_hidden_states=torch.cat([itm_queries, itc_queries, itg_queries]),
            text_hidden_states=torch.cat([itm_text, itc_text, itg_text]),
            negative_index=drawn,
        )

    def _contrastive_loss(
        self, queries: torch.Tensor, text: torch.Tensor, attention_mask: torch.Tensor, empty: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compare images with texts over all ranks, without captions that are `empty` `(B,)`.

        Returns:
            The loss, and the scaled similarities of this rank's images and texts, `(B, B)`.
        """
        image_embeds = nn.functional.normalize(self.clip_projector2(queries))
        text_embeds = nn.functional.normalize(self._project_text(text, attention_mask))
        scale = on_every_rank(self.logit_scale).exp()
        smoothing, copies = self.config.label_smoothing, self.tp_size or 1
        loss = contrastive_loss(image_embeds, text_embeds, scale, smoothing, empty, copies)
        return loss, scale * image_embeds @ text_embeds.T

    def _run(
        self, vision: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor, make_mask: Mask
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """QLLaMA on queries and texts under a mask: the queries' output `(B, N, D)` and the text's `(B, L, D)`."""
        embeds, padding = self._behind_queries(input_ids, attention_mask)
        queries = self.config.num_query_token
        mask = make_mask(padding, queries, embeds.dtype)
        outputs = self.qllama.model(
            inputs_embeds=embeds, attention_mask=mask, vision_hidden_states=vision, use_cache=False
        )
        return outputs.last_hidden_state[:, :queries], outputs.last_hidden_state[:, queries:]

    def _matching_loss(self, queries: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Does the text belong to the image? The queries' answers are averaged; empty captions are left out."""
        logits = self.itm_head(queries).mean(dim=1).float()  # (B, 2)
        targets = (torch.arange(len(logits), device=logits.device) >= _num_negatives(logits)).long()
        return mean_cross_entropy(logits, targets.masked_fill(mask.sum(dim=-1) == EMPTY_CAPTION, IGNORE_INDEX))


def _check_shapes(*texts: torch.Tensor) -> None:
    shapes = {tuple(ids.shape) for ids in texts}
    if len(shapes) > 1:
        raise ValueError(f"The texts of all tasks must have one shape `(B, L)`, got {sorted(shapes)}: pad them.")


def _check_negatives(input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None) -> None:
    if (input_ids is None) != (attention_mask is None):
        raise ValueError(
            "`negative_input_ids` and `negative_attention_mask` belong together: give both, or neither to have "
            "negatives drawn."
        )


def _num_negatives(rows: torch.Tensor) -> int:
    """How many of the rows, from the first one on, are matched with negatives."""
    return len(rows) - len(rows) // 2


def _first_half(negatives: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """Negatives in the first half of the rows, positives in the rest, `(B, L)`."""
    half = _num_negatives(positives)
    return torch.cat([negatives[:half], positives[half:]])


__all__ = ["InternVLDualEncoderForPreTraining", "InternVLDualEncoderForPreTrainingOutput"]
