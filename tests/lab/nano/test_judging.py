# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How the embedded model is judged, and one step of its optimizer, by hand."""

import pytest
import torch
from PIL import Image

from lab.nano import evaluation
from lab.nano.drawing import Drawing, Mark, Style
from lab.nano.evaluation import Reply, accuracy, fresh_drawings, replies, size_bands
from lab.nano.fonts import common_families
from lab.nano.muon import Muon, orthogonalized


def reply(text: str, *heights: float, answer: str = "12", side: int = 100) -> Reply:
    marks = tuple(Mark("1", None, (0, 10, 5, 10 + height)) for height in heights)
    return Reply(Drawing(Image.new("RGB", (2 * side, side)), "number", "What?", answer, marks), text)


def test_an_answer_is_right_character_for_character():
    results = [reply("12", 20), reply("12 ", 20), reply("012", 20), reply("", 20)]
    assert [each.exact for each in results] == [True, False, False, False]
    assert accuracy(results) == 0.25 and accuracy([]) == 0


def test_bands_by_the_lowest_mark():
    """A mark of exactly 15 % belongs to the band that begins there; the lowest one counts, relative to the height."""
    results = [
        reply("12", 14.9),
        reply("x", 90, 15),
        reply("12", 25, 99),
        reply("12", 24.9),
        reply("x", 40),
        reply("12", 39),
    ]
    assert size_bands(results) == {"to 15 %": "1/1", "15 to 25 %": "1/2", "25 to 40 %": "2/2", "over 40 %": "0/1"}
    assert size_bands([])["over 40 %"] == "0/0"
    assert size_bands([reply("12", 100, side=100)])["over 40 %"] == "1/1"


def test_questions_go_in_batches_and_answers_come_in_order(monkeypatch):
    batches = []

    class Model:
        device = torch.device("cpu")

        def generate(self, input_ids, max_new_tokens, do_sample):
            assert max_new_tokens == 8 and not do_sample
            return torch.cat([input_ids, 10 * input_ids[:, -1:]], dim=1)

    class Inputs(dict):
        def to(self, device):
            return self

    class Processor:
        def apply_chat_template(self, conversations, **options):
            assert options["add_generation_prompt"] and options["processor_kwargs"] == {"padding": True}
            numbers = [int(turns[0]["content"][1]["text"]) for turns in conversations]
            assert [turns[0]["content"][0]["image"] for turns in conversations] == [f"p{n}" for n in numbers]
            batches.append(numbers)
            return Inputs(input_ids=torch.tensor([[7, number] for number in numbers]))

        def batch_decode(self, ids, skip_special_tokens):
            assert skip_special_tokens
            return [" ".join(map(str, row)) for row in ids.tolist()]

    asked = [(f"p{number}", str(number)) for number in range(5)]
    found = list(evaluation.answer(Model(), Processor(), asked, batch_size=2))
    assert batches == [[0, 1], [2, 3], [4]] and found == ["0", "10", "20", "30", "40"]
    drawings = [Drawing(f"p{n}", "number", str(n), str(10 * n), ()) for n in (3, 1)]
    assert [each.exact for each in replies(Model(), Processor(), drawings)] == [True, True]
    assert list(evaluation.answer(Model(), Processor(), [])) == []


def test_fresh_images_are_of_their_own_seeds():
    style = Style(min_side=100, max_side=120, families=())
    first, again, other = (
        [drawing.image.tobytes() for drawing in fresh_drawings("count", 3, style, *seed)]
        for seed in ((), ("fresh",), ("train",))
    )
    assert first == again and len(set(first + other)) == 6


def test_common_fonts_come_more_often():
    families = {"DejaVu Sans": ("a", "b"), "Rare": ("c",), "Roboto": ("d",)}
    table = common_families(families, exclude=("Roboto",))
    assert table == (("a", "b"),) * 12 + (("c",),)


@pytest.mark.parametrize("shape", [(4, 4), (8, 2), (2, 8)])
def test_two_steps_of_the_optimizer_by_hand(shape):
    """Momentum 0.9 of gradients, Nesterov's look ahead, decay apart from the step, tall matrices further."""
    generator = torch.Generator().manual_seed(0)
    weight, *gradients = (torch.randn(shape, generator=generator) for _ in range(3))
    parameter, idle = torch.nn.Parameter(weight.clone()), torch.nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([parameter, idle], lr=0.1, momentum=0.9, weight_decay=0.5)
    momentum, expected = torch.zeros(shape), weight.clone()
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        momentum = 0.9 * momentum + 0.1 * gradient
        direction = orthogonalized(0.1 * gradient + 0.9 * momentum)
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * (2.0 if shape == (8, 2) else 1.0) * direction
        torch.testing.assert_close(parameter.detach(), expected)
    assert (idle == 1).all()
