# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a recipe's objective needs: which model, which data, which collator, which trainer. One row per objective."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import AutoModel, AutoModelForImageTextToText, AutoModelForPreTraining, Trainer

from ..adapted import load_with_adapter
from ..data.collation import PackingCollator, PaddingCollator
from ..data.dataset import ChatDataset, PackedDataset
from ..data.pairs import ContrastiveCollator, PretrainingCollator
from ..data.questions import Questions
from ..data.records import DataSet
from ..data.samples import SampleEncoder
from ..data.streamed import StreamedDataset
from ..data.streams import StreamSet
from ..recipes import REINFORCED, rollout_config
from ..trainers.mpo_trainer import MPOTrainer, PairCollator
from ..trainers.trainer import InternVLTrainer
from ..trainers.vico import ConsistencyTrainer, RatioWindow, RouterTrainer
from .data import PairRows, read_by_number, read_sets
from .options import RunOptions

PAIRS_ARE = "pairs of images and captions are"


@dataclass(frozen=True)
class Data:
    """What a run trains on.

    Attributes:
        samples: by number; `policy` of it knows what was left out.
        stream: what the trainer reads: the samples, or packs of them.
        collator: makes batches of it; None: the trainer's own.
        arguments: fields of `TrainingArguments` that go with it, unless the user says otherwise.
        eval_collator: makes batches of samples that are evaluated; None: `collator`.
    """

    samples: Any
    stream: Any
    collator: Callable[[Any], dict[str, Any]] | None
    arguments: dict[str, Any]
    eval_collator: Callable[[Any], dict[str, Any]] | None = None


@dataclass(frozen=True)
class Objective:
    """A row of the table.

    Attributes:
        auto_class: loads the model.
        read: options, processor and seed to data.
        evaluates: the same to what is evaluated, samples by number.
        trainer: runs it.
        chats: whether its models are chat models, else dual encoders.
        own_arguments: options and processor to arguments of its trainer alone.
        check: whether a model's config suits it; raises `ValueError`.
        rates_by_part: whether parts and depths may have learning rates of their own.
        logs_answers: whether a few answers are generated at evaluations.
        plans_memory: whether its steps are those that `profiling.training_memory` works out.
    """

    auto_class: Any
    read: Callable[[RunOptions, Any, int], Data]
    evaluates: Callable[[RunOptions, Any, int], Any]
    trainer: Callable[..., Trainer]
    chats: bool
    own_arguments: Callable[[RunOptions, Any], dict[str, Any]] = lambda options, processor: {}
    check: Callable[[RunOptions, Any], None] = lambda options, config: None
    rates_by_part: bool = True
    logs_answers: bool = True
    plans_memory: bool = False


class DualEncoderTrainer(InternVLTrainer):
    """`InternVLTrainer` for losses that are means over a batch of pairs, whose labels are not to be counted."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.refuse_smoothing("`config.label_smoothing` is that of the contrastive loss")

    def step_weight(self, batches: list[Any]) -> None:
        """Nothing: the losses are means already."""

    def means_labels(self, inputs: Mapping[str, Any]) -> bool:
        """Not of this one."""
        return False

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer`'s: there are no logits of tokens to leave out."""
        return super(InternVLTrainer, self).prediction_step(*args, **kwargs)


def chat_samples(options: RunOptions, processor: Any, seed: int) -> ChatDataset | StreamedDataset:
    """The samples of a chat model's run, encoded one by one.

    Raises:
        ValueError: as [`read_sets`] does; epochs of a stream whose length is not known.
    """
    recipe = options.recipe
    sets = read_sets(options.data, recipe.max_tiles, options.root_of(options.data), options.stream)
    samples = _samples_of(sets, options, processor, seed)
    if recipe.max_steps is None and samples.entries is None:
        raise ValueError(
            f"How many rows {options.data} has is not known before all are read, so that epochs cannot be counted: "
            "set `max_steps`, or `length` of each set in a meta file."
        )
    return samples


def _evaluated_chats(options: RunOptions, processor: Any, seed: int) -> Any:
    """The samples on which a chat model is evaluated, each once and as it is.

    Raises:
        ValueError: a set is repeated or augmented; as [`read_sets`] does.
    """
    limit, root = options.recipe.max_tiles, options.root_of(options.eval_data)
    sets = read_by_number(str(options.eval_data), "what is evaluated is", limit, root)
    for part in sets:
        if part.repeat != 1 or part.augment:
            raise ValueError(
                f"Set {part.name!r} of {options.eval_data}: what is evaluated is neither repeated nor augmented; set "
                "`repeat_time` to 1 and `data_augment` to false."
            )
    return _samples_of(sets, options, processor, seed)


def _evaluated_pairs(options: RunOptions, processor: Any, seed: int) -> PairRows:
    sets = read_by_number(str(options.eval_data), PAIRS_ARE, root=options.root_of(options.eval_data))
    return PairRows(sets, options.policy(), options.url_rules())


def _samples_of(
    sets: list[DataSet] | list[StreamSet], options: RunOptions, processor: Any, seed: int
) -> ChatDataset | StreamedDataset:
    limits = {"max_length": options.recipe.max_length, "too_long": options.too_long}
    encoder = SampleEncoder(processor, text_tokens=options.writable_tokens(), **limits)  # type: ignore[arg-type]
    own: dict[str, Any] = {"policy": options.policy(), "allow_urls": options.url_rules(), "seed": seed}
    own["mixing"] = options.mixing
    if options.recipe.objective == "prm":
        own["step_labels"] = options.step_labels()
    streamed = [part for part in sets if isinstance(part, StreamSet)]
    if streamed:
        return StreamedDataset(streamed, encoder, shuffle_buffer=options.shuffle_buffer, **own)
    return ChatDataset([part for part in sets if isinstance(part, DataSet)], encoder, **own)


def _read_chats(options: RunOptions, processor: Any, seed: int) -> Data:
    recipe, samples = options.recipe, chat_samples(options, processor, seed)
    pad = processor.tokenizer.pad_token_id or 0
    plain = PaddingCollator(pad)  # evaluation is the mean over labels, however a recipe weighs them
    if recipe.packed_tokens is None or recipe.packed_tiles is None:
        return Data(samples, samples, PaddingCollator(pad, reduction=recipe.loss_reduction), {}, plain)
    endless = recipe.max_steps is not None  # else the packs of an epoch go out at its end
    packs = PackedDataset(samples, recipe.packed_tokens, recipe.packed_tiles, endless=endless)
    return Data(samples, packs, PackingCollator(recipe.loss_reduction, pad), {}, plain)


def _read_preferences(options: RunOptions, processor: Any, seed: int) -> Data:
    samples = chat_samples(options, processor, seed)
    collator = PairCollator(processor.tokenizer.pad_token_id or 0)
    return Data(samples, samples, collator, {})


def _read_unpacked(options: RunOptions, processor: Any, seed: int) -> Data:
    samples = chat_samples(options, processor, seed)
    return Data(samples, samples, PaddingCollator(processor.tokenizer.pad_token_id or 0), {})


def _reference(options: RunOptions, processor: Any) -> dict[str, Any]:
    """The model that the trained one is compared with, in the dtype of its files."""
    if options.reference is None:
        return {}
    return {"reference": load_with_adapter(AutoModelForImageTextToText, options.reference, dtype="auto")}


def _router_arguments(options: RunOptions, processor: Any) -> dict[str, Any]:
    window = RatioWindow(options.router_percentile, options.router_window)
    return {**_reference(options, processor), "window": window}


def questions_of(options: RunOptions, processor: Any, data: str) -> Questions:
    """The questions of `data`, which the rewards of the run can be asked about."""
    from ..reinforcement import askable, read_rewards

    sets = read_by_number(data, "questions are", root=options.root_of(data))
    check = askable(processor, read_rewards(str(options.reward)))
    return Questions(sets, options.policy(), options.url_rules(), check)


def _read_questions(options: RunOptions, processor: Any, seed: int) -> Data:
    from ..reinforcement import as_table

    questions = questions_of(options, processor, options.data)
    return Data(questions, as_table(questions, processor), None, {})


def _evaluated_questions(options: RunOptions, processor: Any, seed: int) -> Any:
    from ..reinforcement import as_table

    return as_table(questions_of(options, processor, str(options.eval_data)), processor)


def _rewarding(options: RunOptions, processor: Any) -> dict[str, Any]:
    from ..reinforcement import read_rewards

    return {"reward_funcs": read_rewards(str(options.reward)), "processing_class": processor}


def _policy_trainer(model: Any, arguments: Any, *, data_collator: Any, eval_collator: Any, **others: Any) -> Trainer:
    from ..reinforcement import PolicyTrainer

    return PolicyTrainer(model, args=arguments, **others)


def _check_rewards(options: RunOptions, config: Any) -> None:
    """Raise `ValueError` where no reward is named, or none of that name is there."""
    from ..reinforcement.rewards import REWARDS, read_rewards

    rollout_config()
    if not options.reward:
        raise ValueError(
            f"Objective {options.recipe.objective!r} needs `reward`, what answers are rewarded for: "
            f"{', '.join(REWARDS)}, `metric:NAME`, or `module:function` of your own, separated by commas."
        )
    read_rewards(options.reward)


def _check_flash(options: RunOptions, config: Any) -> None:
    """Raise `ValueError` where there is no router, or its stage lacks the model that was imitated."""
    if getattr(config, "flash_mode", None) is None:
        raise ValueError(
            f"ViCO trains InternVL3.5-Flash, and {options.model} has no router: "
            f"`internvl surgery add-router {options.model} NEW` makes a model with one."
        )
    if options.recipe.objective == "vico-router" and options.reference is None:
        raise ValueError(
            "The router learns from what the model differs by from the one that the first stage imitated: name that "
            "as `reference`."
        )


def _pairs_with(collator: type[ContrastiveCollator]) -> Callable[[RunOptions, Any, int], Data]:
    def read(options: RunOptions, processor: Any, seed: int) -> Data:
        sets = read_by_number(options.data, PAIRS_ARE, root=options.root_of(options.data))
        rows = PairRows(sets, options.policy(), options.url_rules())
        truncates = options.too_long == "truncate"
        made = collator(processor, truncation=truncates, max_length=options.recipe.max_length)
        return Data(rows, rows, made, {"dataloader_drop_last": True})

    return read


OBJECTIVES = {
    **dict.fromkeys(
        ("sft", "prm"),
        Objective(
            AutoModelForImageTextToText, _read_chats, _evaluated_chats, InternVLTrainer, True, plans_memory=True
        ),
    ),
    "mpo": Objective(
        AutoModelForImageTextToText,
        _read_preferences,
        _evaluated_chats,
        MPOTrainer,
        True,
        _reference,
        rates_by_part=False,
        plans_memory=True,
    ),
    **dict.fromkeys(
        REINFORCED,
        Objective(
            AutoModelForImageTextToText,
            _read_questions,
            _evaluated_questions,
            _policy_trainer,
            True,
            _rewarding,
            _check_rewards,
            rates_by_part=False,
            logs_answers=False,
        ),
    ),
    "vico": Objective(
        AutoModelForImageTextToText,
        _read_unpacked,
        _evaluated_chats,
        ConsistencyTrainer,
        True,
        _reference,
        _check_flash,
        plans_memory=True,
    ),
    "vico-router": Objective(
        AutoModelForImageTextToText,
        _read_unpacked,
        _evaluated_chats,
        RouterTrainer,
        True,
        _router_arguments,
        _check_flash,
        plans_memory=True,
    ),
    "contrastive": Objective(AutoModel, _pairs_with(ContrastiveCollator), _evaluated_pairs, DualEncoderTrainer, False),
    "generative": Objective(
        AutoModelForPreTraining, _pairs_with(PretrainingCollator), _evaluated_pairs, DualEncoderTrainer, False
    ),
}


def objective_of(options: RunOptions) -> Objective:
    """The row of a run.

    Raises:
        ValueError: there is none, or its trainer or its data cannot do what the recipe says.
    """
    recipe = options.recipe
    if recipe.objective not in OBJECTIVES:
        raise ValueError(
            f"Objective {recipe.objective!r} of {recipe.name} cannot be run: the original loss for it (matching, and "
            "comparing with soft targets by image) is not part of this package. Those that can: "
            f"{', '.join(OBJECTIVES)}."
        )
    row = OBJECTIVES[recipe.objective]
    if (recipe.part_learning_rates or recipe.layer_decay) and not row.rates_by_part:
        raise ValueError(
            f"Objective {recipe.objective!r} trains all parts at one rate: leave out `part_learning_rates` and "
            "`layer_decay`."
        )
    if recipe.packed_tokens is not None and row.read is not _read_chats:
        raise ValueError(f"Objective {recipe.objective!r} cannot be packed: leave out `packed_tokens`.")
    return row


__all__ = [
    "OBJECTIVES",
    "PAIRS_ARE",
    "Data",
    "DualEncoderTrainer",
    "Objective",
    "chat_samples",
    "objective_of",
    "questions_of",
]
