# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Several answers of a model at a time: a step decodes one token of each, and new requests join between steps.

transformers' continuous batching (5.24) takes the ids of prompts only, neither embeddings nor images, and one set of
sampling settings for all requests. So the schedule is ours; what a request needs is prepared by `generate` itself
(`modeling/pretrained/stepwise.py`). In each round:

1. Requests are taken in, up to `max_rows`, as long as their keys and values fit into `max_bytes`.
2. Some hundred positions of prompts that are not finished run, or a few tiles of their images. Prompts take turns, so
   a short one does not wait for a long one.
3. All finished prompts, the rows, decode one token together (`row_caches.py`). Logits processors, sampling and ends
   are each row's own.

Rows whose length differs much are decoded apart, so that padding costs less than the weights that are read again.
Decoded alone, though in turn with the others, are rows that cannot share a pass: language models with sliding windows
that the row may outgrow, rotary bases that change with the length within the row, and caches that a checkpoint
asks for.

The ids are those of a direct call, but for rounding: a matrix product of several rows sums in another order than that
of one. A row with a seed draws the same numbers whoever else is there.

Shape letters: B rows of a pass, L positions of a row, V vocabulary.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache, EosTokenCriteria, MaxLengthCriteria, StoppingCriteriaList
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation.configuration_utils import GenerationMode
from transformers.utils import logging

from ..modeling.pretrained.generation import rotary_limit
from ..modeling.pretrained.prefix_cache import as_outputs, encode_tiles, kept_layers, weights_of
from ..modeling.pretrained.stepwise import Layers, Stepwise
from .generation import Answer, Cancelled, StopText, generate_alone
from .row_caches import RowsCache

logger = logging.get_logger(__name__)

_PIECE = 512  # positions of prompts, or of patches of images, between two steps
_SHORT = 4096  # rows up to this length are decoded together in any case
_LONGER = 4  # factor from one group of lengths to the next
# What `generate` hands to the steps of a model in any case. With anything else, a row is decoded alone.
_SHARED = {"cache", "position_ids", "attention_mask", "use_cache", "logits_to_keep"}
_PLAIN_CRITERIA = (MaxLengthCriteria, EosTokenCriteria, StopText)  # looked at without tensors
_STEPS = (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)


@dataclass(eq=False)
class Row:
    """A request, from its arrival to the end of its answer.

    Attributes:
        inputs: arguments of `generate`; given up once they are used.
        config: settings of the request.
        answer: takes the tokens.
        seed: of sampling; None: another one every time.
        taken: called when `inputs` are used.
        done: gets None at the end, or the reason why there is none.
        final: the length at which the answer ends at the latest.
        work: what is left of the prompt's run.
        call: what `generate` prepared.
        ids: `(1, L)`, the prompt and the answer so far.
        position: `(1, 1)`, of the next token.
        generator: of sampling.
        ends: ids that end the answer.
        has_criteria: whether there are reasons to end other than these, the length and stop texts.
    """

    inputs: dict[str, Any]
    config: Any
    answer: Answer
    seed: int | None
    taken: Callable[[], None]
    done: Future = field(default_factory=Future)
    final: int = 0
    work: Any = None
    call: Stepwise = field(default_factory=Stepwise)
    ids: Any = None
    position: Any = None
    generator: Any = None
    ends: frozenset[int] = frozenset()
    has_criteria: bool = False

    def begin(self) -> None:
        """Take over what `generate` prepared, once the prompt has run."""
        call = self.call
        self.ids, self.final = call.ids, int(call.config.max_length)
        self.position = call.kwargs["position_ids"][..., -1:]
        self.generator = torch.Generator(self.ids.device)
        if self.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(self.seed)
        ends = call.config._eos_token_tensor
        self.ends = frozenset() if ends is None else frozenset(ends.flatten().tolist())
        self.answer.put(call.ids)  # the prompt, as `generate` does
        self.has_criteria = any(type(one) not in _PLAIN_CRITERIA for one in call.criteria)

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """The next token `(1,)` for logits `(1, V)`, by the settings of the request, as transformers' `_sample`."""
        scores = self.call.processors(self.ids, logits)
        if not self.call.config.do_sample:
            return scores.argmax(-1)
        return torch.multinomial(scores.softmax(-1), 1, generator=self.generator)[:, 0]

    def append(self, token: torch.Tensor) -> bool:
        """Add a token `(1,)` to the answer. Returns whether it is the last one. Raises `Cancelled`."""
        self.ids = torch.cat([self.ids, token[:, None]], dim=1)
        self.answer.put(token.cpu())
        if self.answer.stopped or self.ids.shape[1] >= self.final or self.answer.ids[-1] in self.ends:
            return True
        return self.has_criteria and bool(self.call.criteria(self.ids, None).all())


class BatchedDecoder:
    """Answers up to `max_rows` requests of a model at the same time.

    Args:
        model: the model.
        thread: runs everything that uses it.
        max_rows: maximum number of requests that are answered at the same time.
        max_bytes: maximum number of bytes of their keys and values. A request that needs more is answered when there
            is no other.
    """

    def __init__(self, model: Any, thread: Any, max_rows: int, max_bytes: int):
        self.model, self.thread, self.max_rows, self.max_bytes = model, thread, max_rows, max_bytes
        self._lock = threading.Lock()
        self._arrived: deque[Row] = deque()
        self._active = False
        self._prompts: deque[Row] = deque()
        self._groups: dict[int, _Group] = {}
        self._alone: list[Row] = []
        self._position_bytes = 0  # of keys and values of one position in all layers; 0: not known yet
        self._weights = sum(p.numel() * p.element_size() for p in model.parameters())
        self._tiles = max(1, _PIECE // _patches(model.config.vision_config))
        self._is_flash = bool(getattr(model.config, "flash_mode", None))

    def submit(
        self, inputs: dict[str, Any], config: Any, answer: Answer, seed: int | None, taken: Callable[[], None]
    ) -> Future:
        """Answer a request, see [`Row`]. The future gets None at the end, or an error."""
        row = Row(inputs, config, answer, seed, taken)
        row.final = inputs["input_ids"].shape[1] + (config.max_new_tokens or 0)
        with self._lock:
            self._arrived.append(row)
            begin, self._active = not self._active, True
        if begin:
            self.thread.submit(self._run)
        return row.done

    def _rows(self) -> list[Row]:
        return [*self._prompts, *(row for group in self._groups.values() for row in group.rows), *self._alone]

    def _run(self) -> None:
        """Rounds until there is nothing left to answer."""
        try:
            with torch.no_grad():
                while self._take_in():
                    self._run_prompts()
                    for length, group in list(self._groups.items()):
                        self._decode(group)
                        if not group.rows:
                            del self._groups[length]
                    for row in list(self._alone):
                        self._decode_alone(row)
        except Exception as error:
            self._give_up(error)
            raise

    def _give_up(self, error: Exception) -> None:
        """A fault of this class: nobody shall wait for ever."""
        with self._lock:
            rows = [*self._rows(), *self._arrived]
            self._arrived.clear()
            self._prompts.clear()
            self._groups.clear()
            self._alone.clear()
            self._active = False
        for row in rows:
            if not row.done.done():
                row.done.set_exception(error)

    def _take_in(self) -> bool:
        """Let requests begin for which there is room. Returns whether there is anything to do."""
        with self._lock:
            rows = self._rows()
            while self._arrived and len(rows) < self.max_rows:
                row = self._arrived[0]
                if rows and self._bytes([*rows, row]) > self.max_bytes:
                    break
                rows.append(self._arrived.popleft())
                row.work = self._work(row)
                self._prompts.append(row)
            self._active = bool(rows)
            return self._active

    def _bytes(self, rows: list[Row]) -> int:
        """How many bytes keys and values of rows take at the end: in a group, each as many as the longest."""
        lengths: dict[int, list[int]] = {}
        for row in rows:
            lengths.setdefault(self._group_length(row), []).append(row.final)
        return self._position_bytes * sum(len(finals) * max(finals) for finals in lengths.values())

    def _group_length(self, row: Row) -> int:
        """The longest row of the group that a row belongs to.

        In the first group, padding of all rows takes at most as many bytes as the weights.
        """
        longest = max(_SHORT, self._weights // (self._position_bytes * self.max_rows or 1 << 62))
        while longest < row.final:
            longest *= _LONGER
        return longest

    # --- prompts ---

    def _run_prompts(self) -> None:
        """Run a part of the prompts, in turn."""
        spent = 0
        while self._prompts and spent < _PIECE:
            row = self._prompts.popleft()
            try:
                if row.answer.cancelled.is_set():
                    raise Cancelled
                spent += next(row.work)
                self._prompts.append(row)
            except StopIteration as done:
                spent += done.value
                self._release(row)
            except Exception as error:  # noqa: BLE001 the request fails, not the others
                self._release(row)
                row.done.set_exception(error)

    def _release(self, row: Row) -> None:
        row.inputs = {}
        row.work = None
        row.taken()

    def _work(self, row: Row) -> Generator[int, None, int]:
        """Encode the images of a request, run its prompt, choose the first token.

        Yields the positions of each piece but the last, and returns those of the last.
        """
        arguments = dict(row.inputs)
        # InternVL3.5-Flash decides about all tiles of a sample together.
        if arguments.get("pixel_values") is not None and not self._is_flash:
            features = yield from self._encode(arguments.pop("pixel_values"))
            arguments["mm_encoder_outputs"] = {"image": as_outputs(features)}
        call = row.call
        criteria = StoppingCriteriaList([StopText(row.answer)])
        self.model.generate(
            **arguments, generation_config=row.config, stopping_criteria=criteria, custom_generate=call
        )
        if not _steps(call):
            generate_alone(self.model, arguments, row.config, row.answer, row.seed)
            row.done.set_result(None)
            return 0
        positions = yield from call.pieces(self.model, None if self._at_once(call) else _PIECE)
        if call.keep is not None:
            call.keep(call.ids[0], kept_layers(call.kwargs["cache"]))
        row.begin()
        if self._goes_on(row, call.logits):
            self._join(row)
        return positions

    def _encode(self, pixels: torch.Tensor) -> Generator[int, None, list[torch.Tensor]]:
        """Features `(n, D)` of every tile `(T, C, height, width)`. Yields the positions of each piece."""
        store = self.model.prefix_cache
        if store is not None:
            store.belong_to(weights_of(self.model))
        work = encode_tiles(self.model, store, pixels, self._tiles)
        while True:
            try:
                tiles = next(work)
            except StopIteration as done:
                return done.value[1]
            yield tiles * _PIECE // self._tiles

    def _at_once(self, call: Stepwise) -> bool:
        """Whether keys depend on the length of the prompt."""
        limit, _ = rotary_limit(self.model.config.get_text_config())
        return limit is not None and call.ids.shape[1] > limit

    # --- rows ---

    def _join(self, row: Row) -> None:
        """A prompt has run, and its answer goes on."""
        layers = self._shared_layers(row)
        if not layers:
            self._alone.append(row)
            return
        self._position_bytes = sum(part[:, :, :1].numel() * part.element_size() for pair in layers for part in pair)
        length = self._group_length(row)
        if length not in self._groups:
            self._groups[length] = _Group(RowsCache(layers))
        row.call.kwargs = {}
        self._groups[length].cache.add(layers)
        self._groups[length].rows.append(row)

    def _shared_layers(self, row: Row) -> Layers:
        """Keys and values of a row that can share passes with others; else none."""
        kwargs = row.call.kwargs
        cache = kwargs["cache"]
        limit, _ = rotary_limit(self.model.config.get_text_config())
        given = {name for name, value in kwargs.items() if value is not None}
        if type(cache) is not DynamicCache or cache.offloading or kwargs.get("attention_mask") is not None:
            return ()
        if not kwargs["use_cache"] or not given <= _SHARED or (limit is not None and row.final > limit):
            return ()
        for layer in cache.layers:
            fits = type(layer) is DynamicSlidingWindowLayer and layer.sliding_window >= row.final
            if type(layer) is not DynamicLayer and not fits:
                logger.warning_once(
                    "Answers are decoded one row at a time: the language model has sliding windows or another state "
                    "than keys and values of all positions."
                )
                return ()
        return tuple((layer.keys, layer.values) for layer in cache.layers)

    def _decode(self, group: "_Group") -> None:
        """One token of every row of a group."""
        for row in [row for row in group.rows if row.answer.cancelled.is_set()]:
            group.remove(row)
            row.done.set_exception(Cancelled())
        if not group.rows:
            return
        rows, cache = list(group.rows), group.cache
        try:
            cache.make_room_for_next()
            tokens = torch.cat([row.ids[:, -1:] for row in rows])
            outputs = self.model(
                input_ids=tokens,
                attention_mask=cache.mask(tokens.device),
                position_ids=torch.cat([row.position for row in rows]),
                cache=cache,
                use_cache=True,
                logits_to_keep=1,
                return_dict=True,
            )
            cache.grow()
            logits = outputs.logits[:, -1].to(dtype=torch.float32, device=tokens.device)
        except Exception as error:  # noqa: BLE001 these rows fail, not the server
            for row in rows:
                row.done.set_exception(error)
            group.rows.clear()
            return
        for row, one in zip(rows, logits.split(1), strict=True):
            row.position = row.position + 1
            if not self._goes_on(row, one):
                if row.call.keep is not None and row.done.exception() is None:
                    row.call.keep(row.ids[0], cache.copy_of(group.rows.index(row)))
                group.remove(row)

    def _decode_alone(self, row: Row) -> None:
        """One token of a row that shares no pass with others, as transformers' `_sample`."""
        call, model = row.call, self.model
        try:
            if row.answer.cancelled.is_set():
                raise Cancelled
            inputs = model.prepare_inputs_for_generation(row.ids, next_sequence_length=1, **call.kwargs)
            outputs = model(**inputs, return_dict=True)
            call.kwargs = model._update_model_kwargs_for_generation(outputs, call.kwargs)
            logits = outputs.logits[:, -1].to(copy=True, dtype=torch.float32, device=row.ids.device)
        except Exception as error:  # noqa: BLE001 the request fails, not the others
            row.done.set_exception(error)
            self._alone.remove(row)
            return
        if not self._goes_on(row, logits):
            if call.keep is not None and row.done.exception() is None:
                call.keep(row.ids[0], kept_layers(call.kwargs["cache"]))
            self._alone.remove(row)

    def _goes_on(self, row: Row, logits: torch.Tensor) -> bool:
        """Add the next token for logits `(1, V)`. Returns whether there is more to come."""
        try:
            if not row.append(row.choose(logits)):
                return True
            row.answer.end()
            row.done.set_result(None)
        except Exception as error:  # noqa: BLE001 the request fails, not the others
            row.done.set_exception(error)
        return False


class _Group:
    """Rows that are decoded together, in the order of their cache."""

    def __init__(self, cache: RowsCache):
        self.cache, self.rows = cache, list[Row]()

    def remove(self, row: Row) -> None:
        """Remove a row; the last one takes its place."""
        place = self.rows.index(row)
        self.cache.remove(place)
        last = self.rows.pop()
        if last is not row:
            self.rows[place] = last


def _steps(call: Stepwise) -> bool:
    """Whether the answer can be decoded by steps: one sequence with a cache, whose tokens are chosen one by one."""
    kwargs = call.kwargs
    has_cache = kwargs.get("cache") is not None and kwargs["use_cache"] and kwargs.get("position_ids") is not None
    return has_cache and len(call.ids) == 1 and call.config.get_generation_mode() in _STEPS


def _patches(vision_config: Any) -> int:
    """Patches of a tile."""
    (height, width), (patch_height, patch_width) = vision_config.image_size, vision_config.patch_size
    return (height // patch_height) * (width // patch_width)


__all__ = ["BatchedDecoder"]
