# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The chunked loss and its gradients against PyTorch's own on all logits at once."""

from functools import partial

import pytest
import torch
from torch import nn

from tests.tiny import tiny_batch, tiny_model
from transformers_internvl.modeling import chunked_cross_entropy as chunked

N, D, V = 37, 16, 101


@pytest.fixture(params=[V * 1, V * 5, 2**25], ids=["rows of one", "rows of five", "one chunk"], autouse=True)
def chunk(request, monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK_ELEMENTS", request.param)


class Case:
    """A head and positions, the same in every test."""

    def __init__(self, dtype: torch.dtype = torch.float32):
        generator = torch.Generator().manual_seed(0)
        self.head = nn.Linear(D, V, bias=False, dtype=dtype)
        with torch.no_grad():
            self.head.weight.normal_(generator=generator)
        self.hidden = torch.randn(N, D, generator=generator).to(dtype).requires_grad_()
        self.targets = torch.randint(0, V, (N,), generator=generator)
        self.weights = torch.rand(N, generator=generator)

    def run(self, loss) -> dict[str, torch.Tensor | None]:
        self.hidden.grad = self.head.weight.grad = None
        value = loss(self.head, self.hidden, self.targets, self.weights)
        (value * 3).backward()
        return {"loss": value.detach(), "hidden": self.hidden.grad, "weight": self.head.weight.grad}


def plain(head, hidden, targets, weights, **smooth):
    return (nn.functional.cross_entropy(head(hidden).float(), targets, reduction="none", **smooth) * weights).sum()


def through_the_module(head, hidden, targets, weights, **smooth):
    return (chunked.cross_entropies_of(head, hidden, targets, **smooth) * weights).sum()


def assert_same(found: dict, expected: dict, **tolerance):
    for name, value in expected.items():
        assert (found[name] is None) == (value is None), name
        if value is not None:
            assert found[name].dtype == value.dtype
            torch.testing.assert_close(found[name], value, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("loss", [chunked.weighted_cross_entropy, through_the_module])
def test_loss_and_gradients(loss):
    case = Case()
    assert_same(case.run(loss), case.run(plain), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
@pytest.mark.parametrize("loss", [chunked.weighted_cross_entropy, through_the_module])
def test_labels_are_smoothed(loss, smoothing):
    case, smooth = Case(), {"label_smoothing": smoothing}
    assert_same(case.run(partial(loss, **smooth)), case.run(partial(plain, **smooth)), rtol=1e-5, atol=1e-5)
    assert case.run(partial(loss, **smooth))["loss"] != case.run(loss)["loss"]


@pytest.mark.parametrize("loss", [chunked.weighted_cross_entropy, through_the_module])
def test_in_double_precision_they_are_the_same_function(loss):
    case = Case(torch.float64)
    assert_same(case.run(loss), case.run(plain), rtol=2e-6, atol=2e-6)  # logits are float32 in both


def test_low_precision():
    case = Case(torch.bfloat16)
    assert_same(case.run(chunked.weighted_cross_entropy), case.run(plain), rtol=3e-2, atol=6e-2)


def test_autocast():
    case = Case()

    def under_autocast(loss):
        def run(*arguments):
            with torch.autocast("cpu", torch.bfloat16):
                return loss(*arguments)

        return run

    found = case.run(under_autocast(chunked.weighted_cross_entropy))
    assert_same(found, case.run(under_autocast(plain)), rtol=3e-2, atol=6e-2)
    exact = case.run(plain)
    assert not torch.equal(found["loss"], exact["loss"])  # it did run in low precision


@pytest.mark.parametrize("frozen", ["weight", "hidden", "both"])
def test_frozen_parts_get_no_gradient(frozen):
    case = Case()
    case.head.weight.requires_grad_(frozen == "hidden")
    case.hidden.requires_grad_(frozen == "weight")
    if frozen == "both":
        loss = chunked.weighted_cross_entropy(case.head, case.hidden, case.targets, case.weights)
        assert not loss.requires_grad
    else:
        assert_same(case.run(chunked.weighted_cross_entropy), case.run(plain), rtol=1e-5, atol=1e-5)


def test_a_graph_that_is_kept_can_be_used_twice():
    case = Case()
    loss = chunked.weighted_cross_entropy(case.head, case.hidden, case.targets, case.weights)
    loss.backward(retain_graph=True)
    once = (case.hidden.grad.clone(), case.head.weight.grad.clone())
    loss.backward()
    for twice, single in zip((case.hidden.grad, case.head.weight.grad), once, strict=True):
        torch.testing.assert_close(twice, 2 * single)


def test_nothing_to_predict():
    case = Case()
    case.hidden, case.targets = case.hidden.detach()[:0].requires_grad_(), case.targets[:0]
    case.weights = case.weights[:0]
    for loss in (chunked.weighted_cross_entropy, through_the_module):
        found = case.run(loss)
        assert found["loss"] == 0 and not found["weight"].any()


class Doubled(nn.Linear):
    """A head that is no plain product."""

    def forward(self, input):
        return 2 * super().forward(input)


def hooked(head: nn.Linear) -> nn.Linear:
    head.register_forward_hook(lambda module, inputs, output: 2 * output)
    return head


def biased(head: nn.Linear) -> nn.Linear:
    changed = nn.Linear(D, V)
    changed.weight = head.weight
    return changed


def subclassed(head: nn.Linear) -> nn.Linear:
    changed = Doubled(D, V, bias=False)
    changed.weight = head.weight
    return changed


def patched(head: nn.Linear) -> nn.Linear:
    head.forward = lambda hidden: 2 * nn.functional.linear(hidden, head.weight)
    return head


@pytest.mark.parametrize("change", [hooked, biased, subclassed, patched])
def test_a_head_that_does_more_is_called_as_it_is(change):
    case = Case()
    case.head = change(case.head)
    assert_same(case.run(chunked.weighted_cross_entropy), case.run(plain), rtol=1e-5, atol=1e-5)


def test_the_model_gives_the_same_gradients_with_and_without_logits():
    gradients = []
    for skip in (True, False):
        model, batch = tiny_model().train(), tiny_batch([1, 2])
        labels = batch["input_ids"].masked_fill(torch.arange(20) < 12, -100)
        outputs = model(**batch, labels=labels, skip_logits=skip)
        assert (outputs.logits is None) == skip
        outputs.loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()} | {"loss": outputs.loss.detach()})
    assert_same(*gradients, rtol=1e-4, atol=1e-6)


def test_positions_without_a_label_cost_nothing(monkeypatch):
    """The head sees supervised positions only, and never more of them at once than a chunk."""
    seen = []
    model, batch = tiny_model().train(), tiny_batch([1, 2])
    monkeypatch.setattr(chunked, "CHUNK_ELEMENTS", 3 * 99)
    model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    labels = torch.full_like(batch["input_ids"], -100)
    labels[0, 13:18] = 5
    with torch.no_grad():
        model(**batch, labels=labels)
    assert seen == [3, 2]


class Unsized(nn.Module):
    """A head that does not say how large its vocabulary is."""

    def __init__(self, head: nn.Linear):
        super().__init__()
        self.head = head

    def forward(self, hidden):
        return self.head(hidden)


@pytest.mark.parametrize(
    ("positions", "expected"), [(4, [4]), (5, [5]), (6, [5, 1]), (10, [5, 5]), (11, [5, 5, 1]), (1, [1])]
)
@pytest.mark.parametrize("sized", [True, False])
def test_chunks_end_where_they_are_full(monkeypatch, positions, expected, sized):
    case, seen = Case(), []
    monkeypatch.setattr(chunked, "CHUNK_ELEMENTS", 5 * V if sized else 5 * 2**17)
    case.head.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    head = case.head if sized else Unsized(case.head)
    part = (case.hidden[:positions], case.targets[:positions])
    expected_loss = plain(case.head, *part, case.weights[:positions])
    seen.clear()
    loss = chunked.weighted_cross_entropy(head, *part, case.weights[:positions])
    torch.testing.assert_close(loss, expected_loss)
    assert seen == expected
    loss.backward()
    again = 1 if len(expected) == 1 else 2  # several are made again in the backward pass, one is kept
    assert sorted(seen) == sorted(expected * again)
    seen.clear()
    with torch.no_grad():
        assert len(chunked.cross_entropies_of(head, *part)) == positions
    assert seen == expected


@pytest.mark.parametrize(("cached", "expected"), [(V - 1, [1] * 5), (V, [1] * 5), (2 * V, [2, 2, 1]), (5 * V, [5])])
def test_blocks_of_a_chunk_end_where_they_are_full(monkeypatch, cached, expected):
    case, seen, plainly = Case(), [], chunked._to_gradient_
    monkeypatch.setattr(chunked, "CHUNK_ELEMENTS", 5 * V)
    monkeypatch.setattr(chunked, "CACHED_ELEMENTS", cached)
    monkeypatch.setattr(chunked, "_to_gradient_", lambda *parts: seen.append(len(parts[0])) or plainly(*parts))
    assert_same(case.run(chunked.weighted_cross_entropy), case.run(plain), rtol=1e-5, atol=1e-5)
    assert seen[: len(expected)] == expected and sum(seen) == N and seen[-1] == min(2, expected[0])


def test_a_vocabulary_larger_than_a_chunk_goes_position_by_position(monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK_ELEMENTS", V - 1)
    for loss in (chunked.weighted_cross_entropy, through_the_module):
        case = Case()
        assert_same(case.run(loss), case.run(plain), rtol=1e-5, atol=1e-5)


def test_logits_that_are_huge_stay_finite():
    case = Case()
    with torch.no_grad():
        case.head.weight.mul_(1e3)
    found = case.run(chunked.weighted_cross_entropy)
    assert_same(found, case.run(plain), rtol=1e-4, atol=1e-2)
    assert all(value.isfinite().all() for value in found.values())


def test_only_a_plain_product_is_taken_for_one():
    class Quantized(nn.Parameter):
        pass

    class Renamed(nn.Linear):
        pass

    assert chunked._is_product(nn.Linear(D, V, bias=False)) and chunked._is_product(Renamed(D, V, bias=False))
    other = nn.Linear(D, V, bias=False)
    other.weight = Quantized(other.weight.data)
    for head in (nn.Linear(D, V), Doubled(D, V, bias=False), other, Unsized(nn.Linear(D, V, bias=False))):
        assert not chunked._is_product(head)
    assert not chunked._has_hooks(nn.Linear(D, V))
    for kind in ("forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"):
        head = nn.Linear(D, V, bias=False)
        getattr(head, f"register_{kind}")(lambda *_: None)
        assert chunked._has_hooks(head), kind
    assert chunked._has_hooks(patched(nn.Linear(D, V, bias=False)))
