# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the page does with a model: answers of a conversation, piece by piece, and what they looked at.

Nothing here knows gradio. Texts are data, as in `internvl chat`: the processor lets none of them become a special
token, a role or the place of an image.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from ..processing.images.image_processing import InternVLImageProcessor
from ..processing.sources import open_image, release
from ..processing.text.grounding import decode_regions, locate_regions
from ..processing.text.messages import normalized
from ..serving.inputs import IMAGE_FORMATS, check_video
from ..serving.media import Limits
from ..serving.requests import RequestError
from ..visualization import Answer, SeenImage, explain_answer, images_seen
from ..visualization.seen import SEEN_OPTIONS

LOOKED_TOKENS = 15  # of an answer whose attention is drawn
_MARK = 128  # bytes at the beginning of a file by which a video is known


@dataclass(frozen=True)
class Settings:
    """How a question is answered.

    Attributes:
        system: the system message; `""` is the template's own.
        max_new_tokens: maximum tokens of an answer.
        max_patches: maximum tiles of an image; 0 is the checkpoint's.
        num_frames: of a video; 0 is the checkpoint's.
        temperature: 0 takes the most likely token; above, tokens are sampled.
        top_p, top_k: among which tokens, when they are sampled; 1 and 0 are all.
        repetition_penalty: above 1, tokens that were used are less likely; 1 is the checkpoint's.
        seed: of sampling; None draws another answer each time.
    """

    system: str = ""
    max_new_tokens: int = 512
    max_patches: int = 0
    num_frames: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None

    def generation(self) -> dict[str, Any]:
        """Arguments of `generate`."""
        options: dict[str, Any] = {"max_new_tokens": self.max_new_tokens, "do_sample": self.temperature > 0}
        if self.temperature > 0:
            options |= {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        if self.repetition_penalty != 1:
            options["repetition_penalty"] = self.repetition_penalty
        return options

    def processing(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """`processor_kwargs` for these messages."""
        kinds = {item["type"] for message in messages for item in message["content"]}
        options = {}
        if self.max_patches and "image" in kinds:
            options["max_patches"] = self.max_patches
        if self.num_frames and "video" in kinds:
            options["num_frames"] = self.num_frames
        return options

    def conversation(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages behind the system message."""
        return [text_message("system", self.system), *messages] if self.system else messages


@dataclass(frozen=True)
class Progress:
    """An answer so far.

    Attributes:
        text: without special tokens.
        prompt_tokens: of the conversation, those of images included.
        image_tokens: of these, those of images and frames.
        seen: the images and frames of the conversation; empty for models whose images are not tiles.
        tokens: of the answer; None until it is complete, as are the rest.
        seconds: until the first token, and from then until the last.
        regions: label and corners in pixels of what the answer locates, if `seen` is one image.
        stopped: whether the answer was stopped before its end.
    """

    text: str
    prompt_tokens: int
    image_tokens: int
    seen: list[SeenImage] = field(default_factory=list)
    tokens: int | None = None
    seconds: tuple[float, float] = (0.0, 0.0)
    regions: list[tuple[str, tuple[float, ...]]] = field(default_factory=list)
    stopped: bool = False


def text_message(role: str, text: str) -> dict[str, Any]:
    """A message without images."""
    return {"role": role, "content": [{"type": "text", "text": text}]}


def question(text: str, files: list[str], limits: Limits) -> dict[str, Any]:
    """The message of a user.

    Args:
        text: what is asked.
        files: paths of images and videos; which of both each is, its content says.
        limits: of an image's pixels.

    Raises:
        ValueError: there is no question, or a file is neither an image nor a video.
    """
    if not text.strip():
        raise ValueError("Write a question about the files." if files else "Write a question first.")
    return {
        "role": "user",
        "content": [*(_item(path, limits) for path in files), {"type": "text", "text": text.strip()}],
    }


def _item(path: str, limits: Limits) -> dict[str, Any]:
    name = Path(path).name
    with open(path, "rb") as file:
        mark = file.read(_MARK)
    try:
        check_video(mark)
        return {"type": "video", "path": path}
    except RequestError:
        pass
    try:
        image = open_image(path)
    except ValueError as error:
        raise ValueError(
            f"{name} is neither an image ({', '.join(IMAGE_FORMATS)}) nor a video (MP4, MOV, Matroska, WebM, AVI)."
        ) from error
    release(image)
    if image.format not in IMAGE_FORMATS:
        raise ValueError(f"{name} is {image.format}; expected one of {', '.join(IMAGE_FORMATS)}.")
    if image.width * image.height > limits.pixels:
        raise ValueError(f"{name} has {image.width} x {image.height} pixels; at most {limits.pixels} are accepted.")
    return {"type": "image", "path": path}


class Answerer:
    """A model that answers one question after another.

    Args:
        model: a chat model.
        processor: its processor.
        v2pe_stride: by how much positions grow from one token of an image to the next.
    """

    def __init__(self, model: Any, processor: Any, v2pe_stride: float = 1.0):
        self.model, self.processor, self.v2pe_stride = model, processor, v2pe_stride
        self.limits = Limits()
        self.has_tiles = isinstance(processor.image_processor, InternVLImageProcessor)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    def close(self) -> None:
        """End the model's thread when it has done what it was asked."""
        self._thread.shutdown()

    def answer(
        self, messages: list[dict[str, Any]], settings: Settings, stop: threading.Event | None = None
    ) -> Iterator[Progress]:
        """Answer a conversation that ends with a question, piece by piece; the last one is complete.

        Args:
            messages: without a system message, contents as lists of items.
            settings: how.
            stop: ends the answer when it is set, as closing the iterator does.

        Raises:
            ValueError: an image or video cannot be read, or the model cannot answer this.
        """
        stop = stop or threading.Event()
        inputs, seen = self._prepare(messages, settings)
        ids = inputs["input_ids"]
        known = Progress("", ids.shape[1], int((ids == self.processor.image_token_id).sum()), seen)
        yield known
        streamer = TextIteratorStreamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        asked = perf_counter()
        first = None
        future = self._thread.submit(self._generate, inputs, settings, streamer, stop)
        future.add_done_callback(lambda _: streamer.on_finalized_text("", stream_end=True))
        try:
            text = ""
            for piece in streamer:
                first = perf_counter() if first is None else first
                text += piece
                if piece:
                    yield replace(known, text=text.strip())
            yield self._complete(known, future, stop, asked, first or perf_counter())
        finally:
            stop.set()
            future.exception()  # waits: the iterator can be closed in the middle

    def _prepare(self, messages: list[dict[str, Any]], settings: Settings) -> tuple[Any, list[SeenImage]]:
        chats, _ = normalized(settings.conversation(messages))
        inputs = self.processor.apply_chat_template(
            chats[0],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=settings.processing(messages) | (SEEN_OPTIONS if self.has_tiles else {}),
        )
        seen = images_seen(self.processor, chats[0], inputs) if self.has_tiles else []
        return inputs.to(self.model.device, dtype=self.model.dtype), seen

    def _generate(self, inputs: Any, settings: Settings, streamer: Any, stop: threading.Event) -> torch.Tensor:
        """The ids of the answer, on the model's thread."""
        if settings.seed is not None:
            torch.manual_seed(settings.seed)
        criteria = StoppingCriteriaList([_Stop(stop)])
        options = settings.generation() | {"v2pe_stride": self.v2pe_stride}
        ids = self.model.generate(**inputs, **options, streamer=streamer, stopping_criteria=criteria)
        return ids[0, inputs["input_ids"].shape[1] :]

    def _complete(
        self, known: Progress, future: "Future[torch.Tensor]", stop: threading.Event, asked: float, first: float
    ) -> Progress:
        ids = future.result()
        regions = []
        if len(known.seen) == 1:
            size = known.seen[0].image.size[::-1]
            (words,) = decode_regions(self.processor.tokenizer, ids)
            regions = [(label, region) for label, region, _ in locate_regions(words, size)]
        return replace(
            known,
            text=self.processor.decode(ids, skip_special_tokens=True).strip(),
            tokens=len(ids),
            seconds=(first - asked, perf_counter() - first),
            regions=regions,
            stopped=stop.is_set(),
        )

    def look(self, messages: list[dict[str, Any]], settings: Settings) -> Answer:
        """Answer again, at most `LOOKED_TOKENS` tokens, and record where they look.

        Args:
            messages: as of `answer`, which ends with a question.
            settings: how.

        Raises:
            ValueError: there is no image, or the images of the model are not tiles.
        """

        def explained() -> Answer:
            if settings.seed is not None:
                torch.manual_seed(settings.seed)
            options = settings.generation() | {"v2pe_stride": self.v2pe_stride}
            options["max_new_tokens"] = min(settings.max_new_tokens, LOOKED_TOKENS)
            chat = settings.conversation(messages)
            kwargs = settings.processing(messages)
            return explain_answer(self.model, self.processor, chat, processor_kwargs=kwargs, **options)

        return self._thread.submit(explained).result()


class _Stop(StoppingCriteria):
    def __init__(self, event: threading.Event):
        self.event = event

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        return torch.full((input_ids.shape[0],), self.event.is_set(), device=input_ids.device, dtype=torch.bool)


__all__ = ["LOOKED_TOKENS", "Answerer", "Progress", "Settings", "question", "text_message"]
