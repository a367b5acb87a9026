# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The model `internvl_native` of lmms-eval: the classes of this package, asked in batches.

```bash
python -m lmms_eval --model internvl_native --model_args pretrained=OpenGVLab/InternVL3-8B --tasks ai2d --batch_size 8
```

This module imports lmms-eval, which loads it by its entry point.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms
from tqdm import tqdm
from transformers import AutoModelForImageTextToText, AutoProcessor

from ..prompts import default_system_message
from ..run import release_name, sends_system_message
from ..run.local import breaks_lines

# Arguments of generation that tasks of lmms-eval give and `generate` takes.
_GENERATION = ("max_new_tokens", "do_sample", "temperature", "top_p", "top_k", "num_beams", "repetition_penalty")
_MOST_TOKENS = 1024
"""Of tasks that say nothing, as in the models of lmms-eval."""
_logger = logging.getLogger(__name__)


class InternVLChat(lmms):
    """A chat model.

    Args:
        pretrained: a folder or a Hub id of any InternVL format.
        batch_size: questions of one `generate`.
        device: where the model runs; None = the GPU of this rank, or the CPU.
        dtype: of the weights, such as `bfloat16`; `auto` = the checkpoint's.
        max_patches, min_patches: tiles of an image.
        num_frames: of a video; None = the processor's.
        system_prompt: in place of the release's own; a file's name, or the text.
        release: the model's name on the Hub, where `pretrained` has another.
        max_batch_size: not available; batches have `batch_size`.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 1,
        device: str | None = None,
        dtype: str = "auto",
        max_patches: int = 12,
        min_patches: int = 1,
        num_frames: int | None = None,
        system_prompt: str | None = None,
        release: str | None = None,
        max_batch_size: int | None = None,
    ):
        super().__init__()
        if max_batch_size is not None or not str(batch_size).isdecimal() or int(batch_size) < 1:
            raise ValueError(f"`batch_size` must be a number from 1, without `max_batch_size`; got {batch_size!r}.")
        self.batch_size = int(batch_size)
        gpu = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(gpu if device in (None, "cuda") else device)
        self.processor = AutoProcessor.from_pretrained(pretrained)
        self.model = AutoModelForImageTextToText.from_pretrained(pretrained, dtype=dtype).to(self.device).eval()
        self._image = {"min_patches": int(min_patches), "max_patches": int(max_patches)}
        self._video = {} if num_frames is None else {"num_frames": int(num_frames)}
        self._breaks_lines = breaks_lines(self.processor)
        self._system = self._resolve_system_prompt(system_prompt) if system_prompt else None
        if self._system is None and not sends_system_message(self.processor):
            self._system = default_system_message(release_name(release or pretrained))
        self._unused: set[str] = set()

    @property
    def tokenizer(self) -> Any:
        """The processor's."""
        return self.processor.tokenizer

    def generate_until(self, requests: Sequence[Any]) -> list[GenerationResult]:
        """The answers, in the order of the requests. Questions of similar length are asked together."""
        answers: dict[int, GenerationResult] = {}
        groups: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(repr(sorted(request.args[2].items())), []).append(number)
        bar = tqdm(total=len(requests), desc="internvl", unit="answer", disable=self.rank > 0)
        for numbers in groups.values():
            numbers.sort(key=lambda number: len(requests[number].args[0]), reverse=True)
            settings = requests[numbers[0]].args[2]
            for start in range(0, len(numbers), self.batch_size):
                chosen = numbers[start : start + self.batch_size]
                asked = [self._conversation(requests[number]) for number in chosen]
                answers.update(zip(chosen, self._answers(asked, settings), strict=True))
                for number in chosen:
                    given = (requests[number].args[0], settings)
                    self.cache_hook.add_partial("generate_until", given, answers[number].text)
                bar.update(len(chosen))
        bar.close()
        return [answers[number] for number in range(len(requests))]

    def _conversation(self, request: Any) -> list[dict[str, Any]]:
        """The messages of a request, in the form of the processor."""
        _, to_messages, _, number, task, split = request.args
        messages = [
            {"role": message["role"], "content": self._content(message["content"])}
            for message in to_messages(self.task_dict[task][split][number])
        ]
        if self._system is not None and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": self._system}]})
        return messages

    def _content(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Images, videos and texts of a message. A line break follows an image, as in the original prompts."""
        content: list[dict[str, Any]] = []
        for item in items:
            kind = item["type"]
            if kind == "image":
                content.append({"type": "image", "image": item["url"].convert("RGB"), **self._image})
            elif kind == "video":
                content.append({"type": "video", "video": item["url"], **self._video})
            elif kind == "text":
                follows = bool(content) and content[-1]["type"] == "image"
                text = item["text"].removeprefix("\n") if follows else item["text"]
                content.append({"type": "text", "text": text if self._breaks_lines or not follows else f"\n{text}"})
            else:
                raise ValueError(f"InternVL takes texts, images and videos; the task gives {kind!r}.")
        return content

    @torch.no_grad()
    def _answers(
        self, conversations: list[list[dict[str, Any]]], settings: Mapping[str, Any]
    ) -> list[GenerationResult]:
        inputs = self.processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": "left", "crop_to_patches": True},
        ).to(self.device, dtype=self.model.dtype)
        sequences = self.model.generate(**inputs, **self._generation(settings))
        new = sequences[:, inputs["input_ids"].shape[1] :]  # (rows, tokens)
        texts = self.processor.tokenizer.batch_decode(new, skip_special_tokens=True)
        padding = self.processor.tokenizer.pad_token_id
        lengths = (new != padding).sum(dim=1).tolist()
        return [
            GenerationResult(
                text=_until(text, settings.get("until")).strip(), token_counts=TokenCounts(output_tokens=n)
            )
            for text, n in zip(texts, lengths, strict=True)
        ]

    def _generation(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of `generate`. Others of a task are named in the log, once."""
        unused = {*settings} - {*_GENERATION, "until"} - self._unused
        if unused:
            self._unused |= unused
            _logger.warning("The model has no use for these generation_kwargs of the task: %s", sorted(unused))
        given = {name: settings[name] for name in _GENERATION if settings.get(name) is not None}
        given.setdefault("max_new_tokens", _MOST_TOKENS)
        if not given.get("do_sample", given.get("temperature", 0) > 0) or given.get("temperature") == 0:
            kept = {name: value for name, value in given.items() if name not in ("temperature", "top_p", "top_k")}
            return {**kept, "do_sample": False}
        return {**given, "do_sample": True}

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not available: the benchmarks of InternVL's reports are answered in words."""
        raise NotImplementedError("This model answers in words: take the task in its form that generates.")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not available."""
        raise NotImplementedError("Questions in several rounds are not available.")


def _until(text: str, ends: Any) -> str:
    """The text up to the first of the ends."""
    for end in [ends] if isinstance(ends, str) else ends or ():
        text = text.split(end)[0] if end else text
    return text


__all__ = ["InternVLChat"]
