# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What each pipeline is asked. Stand in for `tests/pipelines/`, which the source distribution lacks."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from PIL import Image
from transformers import pipeline


def picture(seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return Image.fromarray(levels)


class PipelineTests(ABC):
    """A pipeline of a task made of a model and its parts, and inputs for it."""

    task: str
    parts: tuple[str, ...] = ("image_processor",)
    options: dict = {}

    def get_test_pipeline(self, model, tokenizer=None, dtype="float32", **processors):
        parts = {"tokenizer": tokenizer, **processors}
        given = {name: parts[name] for name in self.parts}
        return pipeline(self.task, model=model, dtype=dtype, **given, **self.options), self.examples()

    def examples(self) -> list:
        return [picture(0), picture(1)]

    def run_pipeline_test(self, pipe, examples: list) -> None:
        one = pipe(examples[0])
        self.check(pipe, one)
        several = pipe(examples)
        assert len(several) == len(examples)
        for output in several:
            self.check(pipe, output)

    @abstractmethod
    def check(self, pipe, output) -> None:
        """Whether an output is one of this task's."""


class ImageTextToTextPipelineTests(PipelineTests):
    task, parts = "image-text-to-text", ("processor",)
    options = {"max_new_tokens": 3}

    def examples(self) -> list:
        return [self._chat(seed) for seed in (0, 1)]

    @staticmethod
    def _chat(seed: int) -> list:
        content = [{"type": "image", "image": picture(seed)}, {"type": "text", "text": "What is this?"}]
        return [{"role": "user", "content": content}]

    def check(self, pipe, output) -> None:
        (answer,) = output
        turns = answer["generated_text"]
        assert [turn["role"] for turn in turns] == ["user", "assistant"]
        assert isinstance(turns[-1]["content"], str)

    def run_pipeline_test(self, pipe, examples: list) -> None:
        super().run_pipeline_test(pipe, examples)
        (plain,) = pipe(images=picture(), text="<image> This", return_full_text=False)
        assert isinstance(plain["generated_text"], str)


class TextGenerationPipelineTests(PipelineTests):
    task, parts = "text-generation", ("tokenizer",)
    options = {"max_new_tokens": 3}

    def examples(self) -> list:
        return ["A boat", "On the sand"]

    def check(self, pipe, output) -> None:
        (answer,) = output
        assert isinstance(answer["generated_text"], str)


class FeatureExtractionPipelineTests(PipelineTests):
    task, parts = "feature-extraction", ("tokenizer",)

    def examples(self) -> list:
        return ["A boat", "On the sand"]

    def check(self, pipe, output) -> None:
        features = torch.tensor(output)
        assert features.shape[0] == 1 and features.shape[2] == pipe.model.config.get_text_config().hidden_size


class ImageFeatureExtractionPipelineTests(PipelineTests):
    task = "image-feature-extraction"

    def check(self, pipe, output) -> None:
        features = torch.tensor(output)
        assert features.shape[0] == 1 and features.shape[2] == pipe.model.config.hidden_size


class ImageClassificationPipelineTests(PipelineTests):
    task = "image-classification"

    def check(self, pipe, output) -> None:
        labels = set(pipe.model.config.id2label.values())
        assert output and {entry["label"] for entry in output} <= labels
        scores = [entry["score"] for entry in output]
        assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)


class WithLabels:
    """A pipeline that is asked for the same labels every time: the suite calls it with the images alone."""

    labels = ["cat", "boat"]

    def __init__(self, pipe):
        self.pipe, self.model, self.tokenizer = pipe, pipe.model, pipe.tokenizer

    def __call__(self, pictures, **options):
        return self.pipe(pictures, candidate_labels=self.labels, **options)


class ZeroShotImageClassificationPipelineTests(PipelineTests):
    task, parts = "zero-shot-image-classification", ("tokenizer", "image_processor")

    def get_test_pipeline(self, *args, **kwargs):
        pipe, examples = super().get_test_pipeline(*args, **kwargs)
        return WithLabels(pipe), examples

    def check(self, pipe, output) -> None:
        assert {entry["label"] for entry in output} == set(pipe.labels)
        assert abs(sum(entry["score"] for entry in output) - 1) < 1e-2
