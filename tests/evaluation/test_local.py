# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A question reaches the model as the original `chat()` would hand it over: ids, pixels, and the answer."""

import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

from tests.evaluation.drawn import draw_benchmarks
from tests.parity.golden import golden_root
from transformers_internvl.evaluation.benchmarks import Asked, Asking
from transformers_internvl.evaluation.prompts import asking_style, chat_request
from transformers_internvl.evaluation.run import LocalModel, RewardModel, Task, Wanted, best_by, open_task
from transformers_internvl.evaluation.run.jobs import Job
from transformers_internvl.evaluation.run.local import prepared_images
from transformers_internvl.evaluation.step_scores import StepScorer

# Model whose style is used, data set, images; the first of MMMU are enlarged.
CASES = {
    "one image": ("InternVL2_5-8B", "DocVQA_VAL", 1),
    "several images": ("InternVL3-8B", "BLINK", 2),
    "an enlarged image": ("InternVL2-8B", "MMMU_DEV_VAL", 2),
    "all tiles are one image": ("InternVL-Chat-V1-5", "BLINK", 3),
    "a square": ("InternVL-Chat-V1-2", "MMStar", 1),
    "no image": ("InternVL2_5-8B", "MMStar", 0),
}


@pytest.fixture(scope="module")
def parts():
    path = golden_root() / "chat_qwen2"
    model = AutoModel.from_pretrained(path, attn_implementation="eager").eval()
    return model, AutoProcessor.from_pretrained(path)


def pixels_of(processor, asked):
    """The tiles of each image, as the original `load_image` makes them."""
    return [
        processor.image_processor(image, min_patches=1, max_patches=rule.max_tiles, return_tensors="pt")[
            "pixel_values"
        ]
        for image, rule in zip(prepared_images(asked), asked.request.images, strict=True)
    ]


@pytest.mark.parametrize("case", CASES)
def test_a_question_is_that_of_chat(parts, case, monkeypatch):
    model, processor = parts
    name, dataset, count = CASES[case]
    style = asking_style(name)
    text = "Which of <image>s, or <|im_end|>?" if style.layout == "marked" else "Which, or <|im_end|>?"
    request = chat_request([text, *[None] * count], dataset, style, limit=3)
    images = [Image.new("RGB", (90 + 60 * number, 70), (20 * number, 90, 200)) for number in range(count)]
    asked = Asked(request, images)
    seen = []
    generate = model.generate

    def spy(*args, **kwargs):
        seen.append(kwargs)
        return generate(*args, **kwargs)

    monkeypatch.setattr(model, "generate", spy)
    asked.request.generation["max_new_tokens"] = 8
    ((_, reply),) = next(LocalModel(model, processor, name="m").answer([[Job(0, "0", 0, 0)]], lambda job: asked))
    tiles = pixels_of(processor, asked)
    answer = model.chat(
        processor.tokenizer,
        torch.cat(tiles) if tiles else None,
        request.question,
        {"max_new_tokens": 8, "do_sample": False},
        num_patches_list=[len(pixels) for pixels in tiles] if request.counts == "each" and tiles else None,
    )
    ours, theirs = seen
    assert ours["input_ids"].tolist() == theirs["input_ids"].tolist()
    if tiles:
        assert torch.equal(ours["pixel_values"], theirs["pixel_values"])
    assert reply.text == answer


def test_a_reward_model_sees_the_question_and_its_tiles(parts, tmp_path):
    model, processor = parts
    draw_benchmarks(tmp_path, 2)
    benchmark, questions = open_task(Wanted("blink", tmp_path))
    task = Task(benchmark, questions, Asking(asking_style("InternVL2_5-8B", "cot"), max_tiles=2), tmp_path / "out")
    answers = ["First this.\n\nThen that.", "Only this.", "First this.\n\nThen that."]
    got = RewardModel(model, processor, task)(1, answers)
    asked = task.asked(1)
    tiles = pixels_of(processor, asked)
    scores = StepScorer(model, processor).score(
        asked.request.question, answers, torch.cat(tiles), [len(pixels) for pixels in tiles]
    )
    assert got == pytest.approx([one.overall for one in scores], abs=1e-5)
    assert got[0] != pytest.approx(got[1], abs=1e-5)
    assert best_by(RewardModel(model, processor, task))(1, answers, answers) == max(range(3), key=got.__getitem__)
