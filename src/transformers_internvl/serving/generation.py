# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Generation of one answer on the model's thread, until its end, a stop text, or the client leaves.

With `--max-batch 1` answers are generated one after another; else several at a time, see `batching.py`.
"""

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.cli.serving.utils import BaseGenerateManager, InferenceThread, _StreamError, set_torch_seed
from transformers.utils import logging

from .requests import FAILED

logger = logging.get_logger(__name__)


class Cancelled(Exception):
    """The client has left."""


class Answer:
    """The streamer of one `generate` call: collects the text, passes it on, and detects stop texts.

    Args:
        decode: token ids to text.
        stops: texts that end the answer and are not part of it.
        emit: called with each new piece of text; None keeps it.
        cancelled: set when the client has left.
    """

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        stops: list[str],
        emit: Callable[[str], None] | None,
        cancelled: threading.Event,
    ):
        self.decode, self.stops, self.emit, self.cancelled = decode, stops, emit, cancelled
        self.ids: list[int] = []
        self.text, self.stopped = "", False
        self._prompt_seen = False
        self._start = self._read = self._sent = 0  # start and end of the last piece, length passed on

    @property
    def total_tokens(self) -> int:
        return len(self.ids)

    def cancel(self) -> None:
        """The client has left: the next token ends the call."""
        self.cancelled.set()

    def put(self, value: Any) -> None:
        """Called by `generate` with the prompt, then with every token."""
        if self.cancelled.is_set():
            raise Cancelled
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        if self.stopped:  # `generate` looks at criteria before it passes a token on
            return
        self.ids += value.tolist()
        if self.emit is None and not self.stops:
            return  # nobody looks at pieces
        # A piece is decoded together with the one before: spaces and characters can depend on several tokens.
        piece, known = self.decode(self.ids[self._start :]), self.decode(self.ids[self._start : self._read])
        if len(piece) > len(known) and not piece.endswith("\ufffd"):
            self.text += piece[len(known) :]
            self._start, self._read = self._read, len(self.ids)
            self._look_for_stops()
            self._send(self._held())

    def end(self) -> None:
        """Called by `generate` at the end: the text that was held back, and the decoding of all tokens together."""
        whole = self.decode(self.ids)
        if not self.stopped and whole.startswith(self.text):
            self.text = whole
            self._look_for_stops()
        self._send(0)

    def _look_for_stops(self) -> None:
        found = [at for at in (self.text.find(stop) for stop in self.stops) if at >= 0]
        if found and not self.stopped:
            self.text, self.stopped = self.text[: min(found)], True

    def _held(self) -> int:
        """The number of last characters that may begin a stop text."""
        if self.stopped:
            return 0
        longest = max((len(stop) - 1 for stop in self.stops), default=0)
        sizes = range(min(longest, len(self.text)), 0, -1)
        return next((n for n in sizes if any(stop.startswith(self.text[-n:]) for stop in self.stops)), 0)

    def _send(self, held: int) -> None:
        new = self.text[self._sent : len(self.text) - held]
        if new and self.emit is not None:
            self._sent += len(new)
            self.emit(new)


class StopText(StoppingCriteria):
    """Ends an answer whose text has a stop text."""

    def __init__(self, answer: Answer):
        self.answer = answer

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        import torch

        return torch.full((input_ids.shape[0],), self.answer.stopped, device=input_ids.device, dtype=torch.bool)


def generate_alone(model: Any, inputs: dict[str, Any], gen_config: Any, answer: Answer, seed: int | None) -> None:
    """One call of `generate`. A seed sets the random generator that all such calls share."""
    if answer.cancelled.is_set():
        raise Cancelled
    if seed is not None:
        set_torch_seed(seed)
    criteria = StoppingCriteriaList([StopText(answer)])
    model.generate(**inputs, generation_config=gen_config, streamer=answer, stopping_criteria=criteria)


class Turn(BaseGenerateManager):
    """The generation manager of one request, for transformers' chat handler.

    Args:
        thread: the model's.
        stops: texts that end the answer.
        seed: of sampling.
        cancelled: set when the client has left.
        done: called on the event loop when generation has ended.
        taken: called on the event loop when the inputs are no longer needed, before `done`.
        decoder: answers several requests at a time; None: `generate` is called for each.
    """

    def __init__(
        self,
        thread: InferenceThread,
        stops: list[str],
        seed: int | None,
        cancelled: threading.Event,
        done: Callable[[], None],
        taken: Callable[[], None] | None = None,
        decoder: Any = None,
    ):
        self.thread, self.stops, self.seed, self.cancelled, self.done = thread, stops, seed, cancelled, done
        self.taken, self.decoder = taken or (lambda: None), decoder
        self.begun = False

    def generate_streaming(
        self, model, processor, inputs, gen_config, request_id, response_parser=None
    ) -> tuple[asyncio.Queue, Any]:
        """Begin, and return the queue of texts. It ends with None or an error."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue = asyncio.Queue()

        def emit(item: Any) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        def finish(future: Future) -> None:
            error = future.exception()
            if error is not None and not isinstance(error, Cancelled):
                logger.error("A streamed answer failed", exc_info=error)
                emit(_StreamError(json.dumps(FAILED)[1:-1]))
            else:
                emit(None)

        answer = self._answer(processor, emit)
        self._begin(model, inputs, gen_config, answer).add_done_callback(finish)
        return queue, answer

    async def generate_non_streaming(
        self, model, processor, inputs, gen_config, request_id
    ) -> tuple[str, int, list[int]]:
        """The whole answer, the number of the prompt's tokens, the ids."""
        answer = self._answer(processor, None)
        # Shielded: cancelling a future that the thread works on would end the thread.
        await asyncio.shield(asyncio.wrap_future(self._begin(model, inputs, gen_config, answer)))
        return answer.text, inputs["input_ids"].shape[-1], answer.ids

    def stop(self) -> None:
        """There is nothing to stop."""

    def _answer(self, processor: Any, emit: Callable[[str], None] | None) -> Answer:
        def decode(ids: list[int]) -> str:
            return processor.decode(ids, skip_special_tokens=True)

        return Answer(decode, self.stops, emit, self.cancelled)

    def _begin(self, model: Any, inputs: Any, gen_config: Any, answer: Answer) -> Future:
        loop = asyncio.get_running_loop()

        def taken() -> None:
            loop.call_soon_threadsafe(self.taken)

        self.begun = True
        if self.decoder is not None:
            future = self.decoder.submit(inputs, gen_config, answer, self.seed, taken)
        else:
            future = self.thread.submit(generate_alone, model, inputs, gen_config, answer, self.seed)
            future.add_done_callback(lambda _: taken())
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self.done))
        return future
