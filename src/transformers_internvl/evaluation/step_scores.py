# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How good the steps of a solution are, as a chat model judges them: VisualPRM (arXiv:2503.10291), and best of N.

    scorer = StepScorer(model, tokenizer)
    best, *others = scorer.rank("How many cats are there?", responses, pixel_values)

The model answers every step with `+` or `-`. A step's score is the probability of `+` among these two, at the token
in front of the answer; earlier steps are taken to be right. A response's score is the mean of its steps'.

An image is encoded once for all steps of all responses, and prompts of one length or nearly so run together.

Shape letters: B rows of a batch, L positions, P positions whose logits are read, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..modeling.original.calls import tiles_of_images
from ..modeling.pretrained.generation import rotary_limit
from ..processing.chat_templates import TEMPLATES, find_chat_template, get_chat_template
from ..processing.text.conversation import chat_prompt
from ..processing.text.placeholders import IMAGE, IMAGE_CONTEXT
from ..processing.text.solution_steps import MINUS, PLUS, split_response, step_questions
from ..processing.text.untrusted_text import Prompt, control_pattern, encode_batch, find_token
from ..processing.tokenizers.loading import as_trained

# Mode -> what it does. `orm_soft` is the original name of `orm`.
MODES = {
    "soft_v2": "all steps in one prompt, in one pass",
    "soft": "a pass for every step; the same numbers",
    "orm": "the whole response as one step",
    "hard": "the answer to every step is generated, and looked up in a table",
}
ALIASES = {"orm_soft": "orm"}
# What a generated answer counts, in mode `hard`; any other counts as `-`.
HARD_SCORES = {"Good": 2, "Slightly Good": 1, "Neural": 0, "Slightly Bad": -1, "Bad": -2, PLUS: 0, MINUS: -100}
_LAST_ANSWERS = ("Bad", MINUS)  # behind which `early_stop` stops
_ANSWER_TOKENS = 10

# Tiles of every image, and all of them encoded.
_Images = tuple[list[int], BaseModelOutputWithPooling | None]


@dataclass(frozen=True)
class StepScores:
    """How good a response is.

    Attributes:
        response: the text.
        steps: its steps.
        turns: what was asked about each: of the first one the question, too.
        scores: of every step: P(+) in [0, 1]; in mode `hard` a number of the table.
        overall: the mean of the scores; in mode `hard` their sum.
    """

    response: str
    steps: tuple[str, ...]
    turns: tuple[str, ...]
    scores: tuple[float, ...]
    overall: float


@dataclass
class _Row:
    """A prompt, and the positions in front of its answers.

    Attributes:
        ids: of the prompt.
        positions: whose logits say how good a step is.
    """

    ids: list[int]
    positions: list[int]


@dataclass
class _Dialogue:
    """The turns about a response in mode `hard`: questions, and answers as far as there are any."""

    questions: list[str]
    answers: list[str] = field(default_factory=list)
    stopped: bool = False


class StepScorer:
    """Scores the steps of responses with a chat model.

    Args:
        model: a chat model of any layout, such as [`InternVLRewardModel`].
        tokenizer: the checkpoint's, or its processor.
        template: name of the conversation template. None: the one of the model's configuration, or of the processor.
        system_message: None: the configuration's, else the template's own. VisualPRM was trained with
            `PRM_SYSTEM_PROMPT` of `processing.text`.
        batch_size: maximum number of prompts that run together.

    Raises:
        ValueError: the vocabulary lacks `+` or `-`, there is no template, or `batch_size` is below 1.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        template: str | None = None,
        system_message: str | None = None,
        batch_size: int = 8,
    ):
        if batch_size < 1:
            raise ValueError(f"`batch_size` is at least 1, got {batch_size}.")
        self.model, self.batch_size = model, batch_size
        self.tokenizer = as_trained(getattr(tokenizer, "tokenizer", tokenizer))
        self.template, own = _template_of(model.config, tokenizer) if template is None else (template, None)
        if self.template not in TEMPLATES:
            raise ValueError(f"`template` is one of {', '.join(TEMPLATES)}; got {self.template!r}.")
        self.system_message = own if system_message is None else system_message
        self.pattern = control_pattern(self.tokenizer, get_chat_template(self.template))
        found = {sign: find_token(self.tokenizer, sign) for sign in (PLUS, MINUS)}
        missing = [sign for sign, index in found.items() if index is None or index == self.tokenizer.unk_token_id]
        if missing:
            raise ValueError(
                f"The vocabulary has no token {' and no token '.join(map(repr, missing))}, which stands for the "
                "judgement of a step: give the tokenizer of the reward model."
            )
        self.answer_ids = list(found.values())  # of + and -
        if model.config.image_token_id is None:
            model.config.image_token_id = self.tokenizer.convert_tokens_to_ids(IMAGE_CONTEXT)

    @torch.no_grad()
    def score(
        self,
        question: str,
        responses: Sequence[str],
        pixel_values: torch.Tensor | None = None,
        num_patches_list: Sequence[int] | None = None,
        *,
        mode: str = "soft_v2",
        max_steps: int | None = None,
        early_stop: bool = False,
    ) -> list[StepScores]:
        """Scores of responses to one question, in their order.

        Args:
            question: `<image>` marks the place of an image; without any mark one image goes in front.
            responses: solutions, whose steps are separated by blank lines.
            pixel_values: `(T, 3, height, width)`, the tiles of every image one after the other; None for text alone.
            num_patches_list: tiles of every image; None: all tiles are one image.
            mode: a key of `MODES`.
            max_steps: maximum number of steps of a response, see [`split_response`]; public evaluations take 12.
            early_stop: in mode `hard`, whether steps behind the first bad one are left out.

        Raises:
            ValueError: no responses; something else than texts; tiles or `<image>` marks that do not fit; an unknown
                mode, or an option that does nothing in it.
        """
        mode = ALIASES.get(mode, mode)
        _check(question, responses, mode, max_steps, early_stop)
        tiles = tiles_of_images(pixel_values, num_patches_list)
        question = _with_mark(question, len(tiles), always=mode == "hard")
        steps = [[text] if mode == "orm" else split_response(text, max_steps=max_steps) for text in responses]
        dialogues = [step_questions(question, own) for own in steps]
        features = None
        if pixel_values is not None:
            features = self.model.get_image_features(pixel_values.to(self.model.device), return_dict=True)
        if mode == "hard":
            scores: list[list[float]] = self._generated(dialogues, (tiles, features), early_stop)
        else:
            rows = [row for turns in dialogues for row in self._rows(turns, tiles, apart=mode == "soft")]
            probabilities = iter(self._probabilities(rows, features))
            scores = [[next(probabilities) for _ in own] for own in steps]
        results = []
        for text, own, turns, found in zip(responses, steps, dialogues, scores, strict=True):
            judged, overall = len(found), sum(found) if mode == "hard" else sum(found) / len(found)
            results.append(StepScores(text, tuple(own[:judged]), tuple(turns[:judged]), tuple(found), overall))
        return results

    def rank(self, question: str, responses: Sequence[str], *args: Any, **kwargs: Any) -> list[StepScores]:
        """The arguments of `score`. Best response first; those with equal scores keep their order."""
        return sorted(self.score(question, responses, *args, **kwargs), key=lambda one: one.overall, reverse=True)

    # --- probabilities of + and - ------------------------------------------------------------------------------------

    def _rows(self, turns: list[str], tiles: list[int], apart: bool) -> list[_Row]:
        """The one prompt of a dialogue, or one for every step."""
        if not apart:
            return [self._encoded(self._prompt(turns, [PLUS] * len(turns), tiles))]
        ends = range(1, len(turns) + 1)
        rows = [self._encoded(self._prompt(turns[:end], [PLUS] * end, tiles)) for end in ends]
        return [_Row(row.ids[: row.positions[-1] + 1], row.positions[-1:]) for row in rows]

    def _prompt(self, turns: list[str], answers: list[str], tiles: list[int]) -> Prompt:
        """Questions and answers; without an answer to the last question its turn is left open."""
        last = answers[len(turns) - 1] if len(answers) == len(turns) else None
        return chat_prompt(
            self.template,
            turns[-1],
            list(zip(turns[:-1], answers, strict=False)),
            answer=last,
            num_patches=tiles,
            num_image_token=self.model.config.image_seq_length,
            system_message=self.system_message,
            tokenizer=self.tokenizer,
        )

    def _encoded(self, prompt: Prompt) -> _Row:
        if not self.tokenizer.is_fast:
            raise ValueError("The places of answers need offsets of tokens: load a tokenizer of `tokenizers`.")
        batch = encode_batch(self.tokenizer, [prompt], self.pattern, return_offsets_mapping=True)
        ids, offsets = batch["input_ids"][0], batch["offset_mapping"][0]
        positions = []
        for start, _ in prompt.generation:
            at = next(at for at, (begin, end) in enumerate(offsets) if begin >= start and end > begin)
            if ids[at] != self.answer_ids[0]:
                raise ValueError(
                    f"The tokenizer does not write {PLUS!r} behind the opening of the assistant's turn as one token, "
                    f"but as {self.tokenizer.convert_ids_to_tokens(ids[at])!r}: it is not the reward model's."
                )
            positions.append(at - 1)
        return _Row(ids, positions)

    def _probabilities(self, rows: list[_Row], features: BaseModelOutputWithPooling | None) -> list[float]:
        """P(+) at every position of every row, in order."""
        found: dict[int, list[float]] = {}
        for numbers in self._batches([len(row.ids) for row in rows]):
            found |= zip(numbers, self._batch([rows[number] for number in numbers], features), strict=True)
        return [score for number in range(len(rows)) for score in found[number]]

    def _batches(self, lengths: list[int]) -> Iterator[list[int]]:
        """Which prompts run together, by their lengths. One beyond the length from which the rotary base depends on
        that of the batch runs alone."""
        limit, _ = rotary_limit(self.model.config.get_text_config())
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        together = [number for number in order if limit is None or lengths[number] <= limit]
        for start in range(0, len(together), self.batch_size):
            yield together[start : start + self.batch_size]
        yield from ([number] for number in order[len(together) :])

    def _batch(self, rows: list[_Row], features: BaseModelOutputWithPooling | None) -> list[list[float]]:
        length = max(len(row.ids) for row in rows)
        ids = torch.zeros(len(rows), length, dtype=torch.long)  # (B, L)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row.ids)] = torch.tensor(row.ids)
            mask[place, : len(row.ids)] = 1
        wanted = sorted({position for row in rows for position in row.positions})
        device = self.model.device
        logits = self.model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            logits_to_keep=torch.tensor(wanted, device=device),
            use_cache=False,
            **({} if features is None else {"mm_encoder_outputs": {"image": features}, "image_copies": len(rows)}),
        ).logits  # (B, P, V)
        right = logits[..., self.answer_ids].float().softmax(dim=-1)[..., 0].tolist()  # B lists of P
        place_of = {position: place for place, position in enumerate(wanted)}
        return [[own[place_of[at]] for at in row.positions] for own, row in zip(right, rows, strict=True)]

    # --- generated answers -------------------------------------------------------------------------------------------

    def _generated(self, dialogues: list[list[str]], images: _Images, early_stop: bool) -> list[list[float]]:
        """The numbers of the answers that the model writes, step by step, for all responses together."""
        found = [_Dialogue(turns) for turns in dialogues]
        while open_ones := [one for one in found if len(one.answers) < len(one.questions) and not one.stopped]:
            for start in range(0, len(open_ones), self.batch_size):
                batch = open_ones[start : start + self.batch_size]
                for one, answer in zip(batch, self._answers(batch, images), strict=True):
                    one.answers.append(answer)
                    known = answer if answer in HARD_SCORES else MINUS
                    one.stopped = early_stop and known in _LAST_ANSWERS
        return [[HARD_SCORES.get(answer, HARD_SCORES[MINUS]) for answer in one.answers] for one in found]

    def _answers(self, dialogues: list[_Dialogue], images: _Images) -> list[str]:
        """What the model says to the next step of every dialogue, greedily."""
        tiles, features = images
        prompts = [self._prompt(one.questions[: len(one.answers) + 1], one.answers, tiles) for one in dialogues]
        batch = encode_batch(
            self.tokenizer, prompts, self.pattern, padding=True, padding_side="left", return_tensors="pt"
        )
        inputs = {key: batch[key].to(self.model.device) for key in ("input_ids", "attention_mask")}
        if features is not None:
            inputs["mm_encoder_outputs"] = {"image": _repeated(features, len(prompts))}
        stop = TEMPLATES[self.template].stop
        sequences = self.model.generate(
            **inputs,
            max_new_tokens=_ANSWER_TOKENS,
            do_sample=False,
            eos_token_id=self.tokenizer.convert_tokens_to_ids(stop),
            pad_token_id=self.tokenizer.pad_token_id,
        )
        texts = self.tokenizer.batch_decode(sequences[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.split(stop)[0].strip() for text in texts]


def read_tiles(processor: Any, images: Any) -> tuple[torch.Tensor | None, list[int]]:
    """The tiles `(T, 3, height, width)` of images, and how many each has.

    Args:
        processor: the checkpoint's.
        images: an image, a list of them, or None; PIL images, arrays, paths or URLs.
    """
    listed = [] if images is None else list(images) if isinstance(images, (list, tuple)) else [images]
    if not listed:
        return None, []
    inputs = processor.image_processor(images=listed, return_tensors="pt")
    return inputs["pixel_values"], [int(count) for count in inputs["num_patches"]]


def _repeated(features: BaseModelOutputWithPooling, times: int) -> BaseModelOutputWithPooling:
    """All tiles so many times, one copy after the other."""
    tokens: Any = features.pooler_output  # (T, n, D)
    return BaseModelOutputWithPooling(pooler_output=tokens.repeat(times, *[1] * (tokens.dim() - 1)))


def _template_of(config: Any, processor: Any) -> tuple[str, str | None]:
    """Name and system message of a checkpoint's conversation template; `processor` may be a tokenizer."""
    name = getattr(config, "template", None)
    if name is not None:
        if name not in TEMPLATES:
            raise ValueError(
                f"`config.template` must name a conversation template, one of {', '.join(TEMPLATES)}; got {name!r}."
            )
        return name, config.system_message
    text = getattr(processor, "chat_template", None)
    found = find_chat_template(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(
            "Neither the model's configuration nor its processor has a conversation template of this package: name "
            f"one by `template`, one of {', '.join(TEMPLATES)}."
        )
    return found


def _with_mark(question: str, images: int, always: bool) -> str:
    """The question with a mark for every image.

    Args:
        always: as the original code does in mode `hard`: a mark goes in front whether there are any or not.
    """
    if images and (always or IMAGE not in question):
        question = f"{IMAGE}\n{question}"
    marks = question.count(IMAGE)
    if images and not always and marks != images:
        raise ValueError(
            f"There are {images} images, but the question has {marks} times `{IMAGE}`: write one at the place of "
            "every image."
        )
    return question


def _check(question: Any, responses: Any, mode: str, max_steps: Any, early_stop: bool) -> None:
    if mode not in MODES:
        raise ValueError(f"`mode` is one of {', '.join((*MODES, *ALIASES))}; got {mode!r}.")
    if not isinstance(question, str):
        raise ValueError(f"`question` is a text, got {question!r:.80}.")
    if isinstance(responses, str) or not responses:
        raise ValueError(f"`responses` is a list of at least one text, got {responses!r:.80}.")
    for number, text in enumerate(responses):
        if not isinstance(text, str):
            raise ValueError(f"Response {number} should be a text, got {text!r:.80}.")
    if early_stop and mode != "hard":
        raise ValueError(f"`early_stop` is for mode 'hard', which generates answers; mode {mode!r} scores all steps.")
    if max_steps is not None and mode == "orm":
        raise ValueError("`max_steps` does nothing in mode 'orm', which takes a response as one step: leave it out.")


__all__ = ["ALIASES", "HARD_SCORES", "MODES", "StepScorer", "StepScores", "read_tiles"]
