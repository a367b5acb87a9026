# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Options that would change nothing in a run are refused, and so are trackers that are not installed.

What a run does with a field is in `recipes.py`, `run.py` and transformers' `Trainer`; the tables here name the others.
"""

import os
from collections.abc import Callable
from typing import Any

from transformers.integrations import get_reporting_integration_callbacks

from ..data.streamed_files import is_streamed
from ..recipes import REINFORCED, get_recipe
from .options import UNUSED, RunOptions, argument_types, rollout_types

OWN_LOADERS = ("sft", "prm", "mpo", "vico", "vico-router")
CHATS = (*OWN_LOADERS, *REINFORCED)
_COLLATOR = "the collator decides what a row becomes"
_LOSS_ONLY = "of an evaluation the loss is kept, and a few answers"

# Field of `TrainingArguments` -> why a run has no use for it, or what does it instead.
_NO_USE = {
    "do_train": "`internvl train` trains",
    "do_eval": "`eval_data` is what is evaluated",
    "do_predict": "`eval_data` gives a few answers",
    "resume_from_checkpoint": "`--resume` continues from the last checkpoint of the output folder",
    "local_rank": "torchrun sets it",
    "adam_beta1": "`adam_betas` has both",
    "adam_beta2": "`adam_betas` has both",
    "remove_unused_columns": _COLLATOR,
    "label_names": _COLLATOR,
    "length_column_name": _COLLATOR,
    "prediction_loss_only": _LOSS_ONLY,
    "include_for_metrics": _LOSS_ONLY,
    "batch_eval_metrics": _LOSS_ONLY,
    "eval_do_concat_batches": _LOSS_ONLY,
    "eval_use_gather_object": _LOSS_ONLY,
    "eval_accumulation_steps": _LOSS_ONLY,
    "use_liger_kernel": "Liger's kernels replace the forward that has the recipe's loss",
    "liger_kernel_config": "Liger's kernels replace the forward that has the recipe's loss",
}
_OWN_LOADER = "samples come in the order of their mixture, to each rank and worker its share"
_NO_USE_OF_CHATS = {
    "train_sampling_strategy": _OWN_LOADER,
    "dataloader_persistent_workers": _OWN_LOADER,
    "dataloader_in_order": _OWN_LOADER,
}
_LOADER_KEYS = ("split_batches", "dispatch_batches", "even_batches", "use_seedable_sampler", "data_seed")

_OF_EVALUATION = (
    "eval_strategy",
    "eval_steps",
    "eval_delay",
    "eval_on_start",
    "eval_answers",
    "eval_metric",
    "per_device_eval_batch_size",
    "bf16_full_eval",
    "fp16_full_eval",
    "load_best_model_at_end",
    "metric_for_best_model",
    "greater_is_better",
)


def _is(name: str, *values: str, otherwise: Any = None) -> Callable[[dict[str, Any]], bool]:
    return lambda given: str(getattr(given.get(name, otherwise), "value", given.get(name, otherwise))) in values


# Field -> the test of the given fields under which it does something, and the name of that condition.
_NEEDS: dict[str, tuple[Callable[[dict[str, Any]], bool], str]] = {
    **dict.fromkeys(_OF_EVALUATION, (lambda given: bool(given.get("eval_data")), "`eval_data`")),
    **dict.fromkeys(
        ("hub_model_id", "hub_token", "hub_private_repo", "hub_strategy", "hub_always_push", "hub_revision"),
        (lambda given: bool(given.get("push_to_hub")), "`push_to_hub`"),
    ),
    "shuffle_buffer": (
        lambda given: bool(given.get("stream")) or is_streamed(given["data"]),
        "streamed data",
    ),
    "allow_hosts": (lambda given: bool(given.get("allow_urls")), "`allow_urls`"),
    "fsdp_config": (lambda given: bool(given.get("fsdp")), "`fsdp`"),
    "save_steps": (_is("save_strategy", "steps", otherwise="steps"), "`save_strategy: steps`"),
    "logging_steps": (_is("logging_strategy", "steps", otherwise="steps"), "`logging_strategy: steps`"),
    "optim_target_modules": (
        lambda given: any(part in str(given.get("optim")).lower() for part in ("galore", "apollo", "lomo")),
        "an `optim` of GaLore or APOLLO",
    ),
    "activation_checkpointing_kwargs": (
        lambda given: given.get("activation_checkpointing", True) is not False,
        "`gradient_checkpointing`",
    ),
    **dict.fromkeys(
        ("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
        (lambda given: "trackio" in str(given.get("report_to")), "`report_to: trackio`"),
    ),
}


def check_options(options: RunOptions) -> None:
    """Check that every given field has an effect in the run, before anything is loaded.

    Raises:
        ValueError: one does not; or `report_to` names what is not there.
    """
    recipe, arguments = options.recipe, options.arguments
    given = {**{name: getattr(options, name, getattr(recipe, name, None)) for name in options.given}, **arguments}
    no_use = {**_NO_USE, **(_NO_USE_OF_CHATS if recipe.objective in OWN_LOADERS else {})}
    for name in given:
        if name in no_use:
            raise ValueError(f"`{name}` does nothing in a run: {no_use[name]}. Leave it out.")
        acts, needed = _NEEDS.get(name, (lambda _: True, ""))
        if given[name] is not None and not acts(given):
            raise ValueError(f"`{name}` does nothing without {needed}: give that, too, or leave it out.")
    of_rollouts = [] if recipe.objective in REINFORCED else rollout_types_of(arguments)
    if of_rollouts:
        raise ValueError(
            f"`{of_rollouts[0]}` does nothing for objective {recipe.objective!r}: TRL has it for `gspo` and `grpo`. "
            "Leave it out."
        )
    row = get_recipe(recipe.name)
    for name, reason in UNUSED.get(recipe.objective, {}).items():
        if name in options.given and given[name] != getattr(row, name, None) and name != "image_size":
            raise ValueError(f"`{name}` does nothing for objective {recipe.objective!r}: {reason}. Leave it out.")
    _check_batch_size(options, given)
    _check_loader_keys(options)
    check_trackers(arguments.get("report_to"))


def rollout_types_of(arguments: dict[str, Any]) -> list[str]:
    """Those of the arguments that are TRL's alone."""
    return [name for name in arguments if name not in argument_types() and name in rollout_types()]


def _check_batch_size(options: RunOptions, given: dict[str, Any]) -> None:
    if not {"batch_size", "gradient_accumulation_steps"} <= given.keys():
        return
    ranks = int(os.environ.get("WORLD_SIZE", "1")) // options.context_parallel_size
    device, steps = given.get("per_device_train_batch_size", 1), given["gradient_accumulation_steps"]
    whole = device * steps * ranks
    if whole != options.recipe.batch_size:
        raise ValueError(
            f"`batch_size` is {options.recipe.batch_size}, but {ranks} rank(s) with `per_device_train_batch_size` "
            f"{device} and `gradient_accumulation_steps` {steps} make {whole}: give one of the two."
        )


def _check_loader_keys(options: RunOptions) -> None:
    config = options.arguments.get("accelerator_config")
    if options.recipe.objective in OWN_LOADERS and isinstance(config, dict):
        for name in _LOADER_KEYS:
            if name in config:
                raise ValueError(
                    f"`{name}` of `accelerator_config` does nothing in a run: {_OWN_LOADER}. Leave it out."
                )


def check_trackers(report_to: Any) -> None:
    """Check that the packages of `report_to` are installed.

    Raises:
        ValueError: one is not, or there is no such tracker.
    """
    names = [report_to] if isinstance(report_to, str) else report_to or []
    for name in names:
        if name in ("none", "all"):
            continue
        (callback,) = get_reporting_integration_callbacks([name])
        try:
            callback()
        except (RuntimeError, ImportError) as error:
            raise ValueError(
                f"`report_to` names {name}, which cannot be used here: {' '.join(str(error).split())} The log is in "
                "log.jsonl of the output folder in any case."
            ) from error


def check_image_size(options: RunOptions, config: Any) -> None:
    """Check that a given size of tiles is the chat model's.

    Raises:
        ValueError: it is another one.
    """
    if options.recipe.objective not in CHATS or "image_size" not in options.given:
        return
    size = config.vision_config.image_size
    side = size[0] if isinstance(size, (list, tuple)) else size
    if side != options.recipe.image_size:
        raise ValueError(
            f"`image_size` is {options.recipe.image_size}, but the tiles of {options.model} have {side} pixels, and a "
            f"run does not change them. `internvl surgery resize-positions {options.model} NEW --image-size "
            f"{options.recipe.image_size}` makes a model whose tiles do; or leave it out."
        )


__all__ = ["check_image_size", "check_options", "check_trackers"]
