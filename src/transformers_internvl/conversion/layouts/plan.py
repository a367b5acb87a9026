# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which weights of one layout make which of another: planned on the meta device, carried out piece by piece.

The rows are those by which transformers loads the one model and saves the other (`mappings.py`; upstream's own for the
language models), so there is no second table. A weight goes from its name on disk to a parameter, and from the
parameter to its name on the other disk. Weights that are computed together (three projections from one `qkv`) are one
step; everything that only changes its name is copied byte by byte. A conversion that loading does and saving undoes,
as that of the experts of a mixture, is left out, so that a step stays small.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel, WeightConverter
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    PrefixChange,
    WeightRenaming,
    WeightTransform,
    apply_converters,
    apply_renamings,
    dot_natural_key,
    rename_source_key,
)

from ...modeling.pretrained.loading import describe_misfit

Tensors = dict[str, torch.Tensor]


@dataclass
class _Group:
    """Tensors that one transform takes together.

    Attributes:
        transform: a renaming, or what computes.
        members: `(pattern, name)` of what it takes.
    """

    transform: WeightTransform
    members: list[tuple[str, str]] = field(default_factory=list)

    def run(self, name: str, tensors: Mapping[str, torch.Tensor], model: PreTrainedModel) -> Tensors:
        """What comes out of it, by full names; `name` is the group's."""
        transform = deepcopy(self.transform)
        for pattern, member in self.members:
            transform.add_tensor(name, member, pattern, tensors[member])
        made = transform.convert(name, model=model, config=model.config)
        return {key: value[0] if isinstance(value, list) else value for key, value in made.items()}


class Loading:
    """How a checkpoint's weights become parameters.

    Args:
        model: on the meta device, of the class that the checkpoint is loaded into.
        tensors: the checkpoint's weights, on the meta device, in the order in which they lie.
        name: of the checkpoint, for errors.

    Attributes:
        parameters: what comes out, on the meta device.
        left_out: weights that the model's class ignores.

    Raises:
        ValueError: a weight has no place, a place no weight, or a weight another shape.
    """

    def __init__(self, model: PreTrainedModel, tensors: Tensors, name: str):
        self.model, self.name, self.order = model, name, list(tensors)
        transforms = get_model_conversion_mapping(model)
        self.renamings = [row for row in transforms if isinstance(row, WeightRenaming)]
        self.converters = [row for row in transforms if isinstance(row, WeightConverter)]
        self.row_of = {pattern: row for row in self.converters for pattern in row.source_patterns}
        self.places = model.state_dict()
        self.groups: dict[str, _Group] = {}
        self.left_out: list[str] = []
        unexpected: list[str] = []
        for key in sorted(tensors, key=dot_natural_key):
            place = self._find_place(key)
            if place in self.places:
                continue
            ignored = any(re.search(pattern, place) for pattern in model._keys_to_ignore_on_load_unexpected or [])
            (self.left_out if ignored else unexpected).append(key)
        self.made_by: dict[str, str] = {}  # parameter -> group
        self.parameters: Tensors = {}
        for first, group in self.groups.items():
            made = group.run(first, tensors, model)
            self.made_by |= dict.fromkeys(made, first)
            self.parameters |= made
        absent = [place for place in self.places if place not in self.parameters and place not in ties_of(model)]
        if unexpected or absent:
            raise ValueError(describe_misfit(type(model), name, unexpected, absent))
        check_shapes(self.parameters, self.places, name)

    def _find_place(self, key: str) -> str:
        """Put a weight into its group, the way transformers' loader does; its name, if there is no place for it."""
        prefix = self.model.base_model_prefix
        place, pattern = rename_source_key(key, self.renamings, self.converters, prefix, self.places)
        if place not in self.places and key in self.places:  # bears our name already
            place, pattern = key, None
        if place not in self.places:
            return place
        group = self.groups.setdefault(place, _Group(self.row_of.get(pattern) or WeightRenaming(key, place)))
        if pattern is None and group.members:
            raise ValueError(f"Both {group.members[0][1]} and {key} are weights of {place}: remove one of them.")
        group.members.append((key if pattern is None else pattern, key))
        return place


class Saving:
    """How parameters become the weights of a checkpoint.

    Args:
        model: on the meta device, of the class that is saved.
        parameters: what it is given, on the meta device.

    Attributes:
        weights: what comes out, on the meta device.
    """

    def __init__(self, model: PreTrainedModel, parameters: Tensors):
        self.model = model
        self.rows = [
            row for row in get_model_conversion_mapping(model, add_legacy=False) if not isinstance(row, PrefixChange)
        ]
        reverse = [row.reverse_transform() for row in self.rows[::-1]]
        self.renamings = [row for row in reverse if isinstance(row, WeightRenaming)]
        self.converters = [row for row in reverse if isinstance(row, WeightConverter)]
        row_of = {pattern: row for row in self.converters for pattern in row.source_patterns}
        self.groups: dict[str, _Group] = {}
        for name in sorted(parameters, key=dot_natural_key):
            first, pattern = apply_converters(name, self.converters)
            group = self.groups.setdefault(first, _Group(row_of.get(pattern) or WeightRenaming(name, name)))
            group.members.append((name if pattern is None else pattern, name))
        self.made: dict[str, Tensors] = {first: self.run(first, parameters) for first in self.groups}
        self.weights = {key: tensor for made in self.made.values() for key, tensor in made.items()}

    def run(self, first: str, parameters: Mapping[str, torch.Tensor]) -> Tensors:
        """What a group makes of its parameters, under the names on disk."""
        made = self.groups[first].run(first, parameters, self.model)
        return {self.name_on_disk(key): tensor for key, tensor in made.items()}

    def name_on_disk(self, name: str) -> str:
        """The name on disk of what is not computed on any more."""
        return apply_renamings(name, self.renamings)


@dataclass
class Step:
    """Weights of the one checkpoint that make weights of the other.

    Attributes:
        sources: names of the first.
        made: name -> tensor on the meta device, of the second, in the order in which they are written.
        parameters: names of the parameters in between.
        copies: of a step without any computation: the second's name -> the first's.
        loading, saving: groups of those that compute, in order.
    """

    sources: list[str] = field(default_factory=list)
    made: Tensors = field(default_factory=dict)
    parameters: list[str] = field(default_factory=list)
    copies: dict[str, str] | None = None
    loading: list[str] = field(default_factory=list)
    saving: list[str] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Size of what it makes."""
        return sum(tensor.nbytes for tensor in self.made.values())


class Plan:
    """From one checkpoint's weights to another's.

    Args:
        loading: how the first one's weights become parameters.
        target: the model of the second, on the meta device.

    Attributes:
        steps: in the order of the first's weights.

    Raises:
        ValueError: the parameters are not those of the second model.
    """

    def __init__(self, loading: Loading, target: PreTrainedModel):
        self.loading, name = loading, loading.name
        self.tied_copies = self._tied_copies(target)
        parameters = {**self.loading.parameters}
        parameters |= {tied_copy: parameters[original] for tied_copy, original in self.tied_copies.items()}
        places = target.state_dict()
        unexpected = [key for key in parameters if key not in places]
        absent = [place for place in places if place not in parameters and place not in ties_of(target)]
        if unexpected or absent:
            raise ValueError(
                f"The parameters of {name} are not those of the {type(target).__name__} that they should become: it "
                f"has no {', '.join(unexpected[:5]) or 'others'}, and they lack {', '.join(absent[:5]) or 'none'}."
            )
        check_shapes(parameters, places, name)
        self.saving = Saving(target, parameters)
        self.steps = self._steps()

    def _tied_copies(self, target: PreTrainedModel) -> dict[str, str]:
        """Parameters that the first model has for one, and the second for two: the second one -> the first."""
        made, ties = self.loading.parameters, ties_of(self.loading.model)
        free = target.state_dict().keys() - made.keys() - ties_of(target).keys()
        return {name: ties[name] for name in sorted(free) if ties.get(name) in made}

    def _steps(self) -> list[Step]:
        """Groups that share parameters are one step."""
        saved_by = {name: first for first, group in self.saving.groups.items() for _, name in group.members}
        tied_copies = defaultdict(list)
        for tied_copy, original in self.tied_copies.items():
            tied_copies[original].append(tied_copy)
        takes = defaultdict(list)  # loading group -> saving groups, and back
        given_by = defaultdict(list)
        for name, first in self.loading.made_by.items():
            for parameter in (name, *tied_copies[name]):
                takes[first].append(saved_by[parameter])
                given_by[saved_by[parameter]].append(first)
        order = {key: index for index, key in enumerate(self.loading.order)}
        done: set[str] = set()
        steps = []
        for first in self.loading.groups:
            if first in done:
                continue
            loading: dict[str, None] = {first: None}
            saving: dict[str, None] = {}
            waiting = [first]
            while waiting:
                for saved in takes[waiting.pop()]:
                    saving[saved] = None
                    fresh = [other for other in given_by[saved] if other not in loading]
                    loading |= dict.fromkeys(fresh)
                    waiting += fresh
            done |= loading.keys()
            steps.append(self._step(list(loading), list(saving)))
        return sorted(steps, key=lambda step: min(order[key] for key in step.sources))

    def _step(self, loading: list[str], saving: list[str]) -> Step:
        step = Step(loading=loading, saving=saving)
        step.sources = [key for first in loading for _, key in self.loading.groups[first].members]
        step.parameters = [name for first in saving for _, name in self.saving.groups[first].members]
        for first in saving:
            step.made |= self.saving.made[first]
        step.copies = self._copies(step)
        return step

    def _copies(self, step: Step) -> dict[str, str] | None:
        """Name for name, where nothing is computed, or saving undoes what loading does."""
        rows = [self.loading.groups[first].transform for first in step.loading]
        back = [self.saving.groups[first].transform for first in step.saving]
        if all(isinstance(row, WeightRenaming) for row in (*rows, *back)):
            (source,) = step.sources
            return dict.fromkeys(step.made, source)
        undone = {_identity(row) for row in self.saving.rows}
        if any(isinstance(row, WeightRenaming) or _identity(row) not in undone for row in rows):
            return None
        names = [apply_renamings(key, self.loading.renamings) for key in step.sources]
        copies = {self.saving.name_on_disk(name): key for name, key in zip(names, step.sources, strict=True)}
        return {key: copies[key] for key in step.made} if copies.keys() == step.made.keys() else None

    def run(self, step: Step, tensors: Tensors) -> Tensors:
        """Carry out a step that computes: the first checkpoint's tensors to the second's."""
        parameters: Tensors = {}
        for first in step.loading:
            parameters |= self.loading.groups[first].run(first, tensors, self.loading.model)
        parameters |= {
            tied_copy: parameters[original]
            for tied_copy, original in self.tied_copies.items()
            if original in parameters
        }
        made: Tensors = {}
        for first in step.saving:
            made |= self.saving.run(first, parameters)
        return made


def ties_of(model: PreTrainedModel) -> dict[str, str]:
    """Parameters that are another one under a second name, and that one."""
    return dict(getattr(model, "all_tied_weights_keys", None) or {})


def part_of(name: str) -> str:
    """The part of the model that a parameter belongs to."""
    path = name.removeprefix("model.").split(".")
    return path[0] if len(path) > 1 else "others"


def check_shapes(tensors: Tensors, places: Tensors, name: str) -> None:
    """Raise `ValueError` for tensors of other shapes than their places."""
    wrong = [key for key, tensor in tensors.items() if tensor.shape != places[key].shape]
    if wrong:
        rows = [f"{key} is {list(tensors[key].shape)}, expected {list(places[key].shape)}" for key in wrong[:5]]
        raise ValueError(
            f"{len(wrong)} weights in {name} have other shapes than config.json says: {'; '.join(rows)}. Check that "
            "config.json belongs to these weights."
        )


def _identity(row: WeightTransform) -> tuple:
    """What two rows have in common that do the same."""
    operations = tuple(type(operation).__name__ for operation in getattr(row, "operations", ()))
    patterns = (tuple(row._original_source_patterns), tuple(row._original_target_patterns))
    return (*patterns, row.scope_prefix, operations)


__all__ = ["Loading", "Plan", "Saving", "Step", "Tensors", "check_shapes", "part_of", "ties_of"]
