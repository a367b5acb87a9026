# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Two checkpoints next to each other: what is equal, by how much not, where; what it prints: `tests/cli`."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

import transformers_internvl as ours
from tests.parity.golden import golden_root
from tests.tiny import tiny_model
from transformers_internvl.conversion.layouts import verify


@pytest.mark.parametrize("piece", [3, 7, 1000])
def test_distances_are_found_in_every_piece(monkeypatch, piece):
    monkeypatch.setattr(verify, "PIECE", piece)
    one = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    other = one.clone()
    assert verify._distances(one, other) == (0, 0.0, -1)
    other[2, 4] += 0.5
    other[4, 8] -= 2.0
    count, largest, first = verify._distances(one, other)
    assert (count, first) == (2, 2 * 9 + 4) and largest == (one - other).abs().max().item()
    other[0, 3] = float("nan")
    assert verify._distances(one, other)[1:] == (float("inf"), 3)
    assert verify._distances(one[:0], other[:0]) == (0, 0.0, -1)


@pytest.mark.parametrize("name", ["chat_qwen2", "chat_qwen3_moe"])
def test_outputs_are_compared_at_some_positions(monkeypatch, tmp_path, name):
    """No more logits than a piece at a time; the last position, which every other one reaches, is among them."""
    seen = []
    forward = ours.InternVLChatModel.forward

    def watched(self, *args, **kwargs):
        outputs = forward(self, *args, **kwargs)
        seen.append((outputs.logits.shape, kwargs["logits_to_keep"].tolist(), kwargs["input_ids"].shape[1]))
        return outputs

    monkeypatch.setattr(ours.InternVLChatModel, "forward", watched)
    monkeypatch.setattr(verify, "PIECE", 2000)
    folder = shutil.copytree(golden_root() / name, tmp_path / name)
    result = verify.compare_checkpoints(golden_root() / name, folder, progress=False)
    assert result.equal and result.logits[1] > 0
    for shape, kept, length in seen:
        assert shape.numel() <= 2000 and len(kept) == shape[1] > 2
        assert kept == sorted(set(kept)) and kept[0] == 0 and kept[-1] == length - 1
    weights = load_file(folder / "model.safetensors")
    weights["mlp1.3.bias"] += 0.1  # of the image tokens alone
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    result = verify.compare_checkpoints(golden_root() / name, folder, progress=False)
    assert result.logits[0] > 0 and any(line.startswith("outputs: they differ") for line in result.differences)


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """A model whose head is its embeddings: the file does not hold it."""
    folder = tmp_path_factory.mktemp("tied")
    tiny_model(text={"tie_word_embeddings": True}, tie_word_embeddings=True).save_pretrained(folder)
    assert not any("lm_head" in key for key in load_file(folder / "model.safetensors"))
    return folder


def changed(folder, target, change):
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    change(weights)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def compare(first, second, forward=False):
    return verify.compare_checkpoints(first, second, forward=forward, progress=False)


def test_weights_that_one_of_the_two_has_alone(tied, tmp_path):
    """A head beside the embeddings that it equals."""
    (embeddings,) = (key for key in load_file(tied / "model.safetensors") if key.endswith("embed_tokens.weight"))
    head = embeddings.replace("model.embed_tokens", "lm_head")

    def add(weights):
        weights[head] = weights[embeddings].clone()

    other = changed(tied, tmp_path / "other", add)
    assert compare(tied, other).differences == [f"weights: {head} is in the second alone"]
    assert compare(other, tied).differences == [f"weights: {head} is in the first alone"]
    assert compare(tied, tied).equal and compare(other, other).equal


@pytest.mark.parametrize("largest", ["bias", "weight"])
def test_sums_over_a_part(tied, tmp_path, largest):
    """The largest distance of the part, whichever of its tensors is compared last."""

    def move(weights):
        (stem,) = {key.rpartition(".")[0] for key in weights if "projector.linear_2" in key or "mlp1.3" in key}
        for kind in ("bias", "weight"):
            weights[f"{stem}.{kind}"].view(-1)[3] += 2.0 if kind == largest else 0.5

    found = compare(tied, changed(tied, tmp_path / "other", move))
    part = found.parts["multi_modal_projector"]
    assert part.differing == 2 and part.distance == pytest.approx(2.0) and not found.equal
    norm, first, second = (2 * 96, 96 * 32 + 32, 32 * 32 + 32)
    assert (part.tensors, part.numbers) == (6, norm + first + second)
    assert [each.differing for name, each in found.parts.items() if name != part.name] == [0, 0]
    assert len(found.differences) == 2


def files_with(tmp_path, tensor):
    save_file({"w": tensor}, tmp_path / "model.safetensors")
    files = verify.WeightStream(tmp_path)
    return files.entries["w"], files


@pytest.mark.parametrize(
    ("ours", "theirs", "words", "distance"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0]], "", 0.0),
        ([[1.0, 2.0]], [[1.0], [2.0]], "w is [1, 2], and [2, 1]", float("inf")),
        ([[0.0, 2.0]], [[-0.0, 2.0]], "w: other bits of equal numbers", 0.0),
        ([[0.0, 2.0]], [[0.0, 2.5]], "w: 1 of 2 numbers differ, by 0.5 at most; the first at [0, 1]: 2 and 2.5", 0.5),
        ([[float("nan")]], [[float("nan")]], "", 0.0),  # the same bits
        ([[float("nan")]], [[1.0]], "w: 1 of 1 numbers differ, by inf at most", float("inf")),
        ([[float("inf")]], [[float("-inf")]], "w: 1 of 1 numbers differ, by inf at most", float("inf")),
    ],
)
def test_one_weight(tmp_path, ours, theirs, words, distance):
    found = verify._difference("w", torch.tensor(ours), *files_with(tmp_path, torch.tensor(theirs)))
    assert found[0].startswith(words) and bool(found[0]) == bool(words) and found[1] == distance


def test_number_formats_of_equal_numbers(tmp_path):
    one = torch.tensor([1.0, 2.0])
    for other, words in ((one.bfloat16(), "float32 and bfloat16"), (one.view(torch.int32), "float32 and int32")):
        found, _ = verify._difference("w", one, *files_with(tmp_path, other))
        assert found.startswith(f"w: {words}")
    assert verify._difference("w", one, *files_with(tmp_path, one.bfloat16())) == ("w: float32 and bfloat16", 0.0)
    assert verify._difference("w", one, None, None) == ("w is in the first alone", 0.0)


TOLERANCE = 100 * torch.finfo(torch.float32).eps  # of a largest value of 1


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ([1.0, 0.0], [1.0, TOLERANCE], True),
        ([1.0, 0.0], [1.0, TOLERANCE * (1 + 1e-6)], False),
        ([1.0, 0.0], [4.0, 0.0], False),
        ([0.5, 0.0], [0.5, TOLERANCE], False),  # the first one's largest counts
        ([1.0, 0.0], [1 + TOLERANCE, TOLERANCE * (1 + 5e-6)], False),
        ([0.0, 0.0], [0.0, 0.0], True),
        ([1.0, float("nan")], [1.0, 0.0], False),
        ([1.0, float("nan")], [1.0, float("nan")], False),  # no answer is no proof
        ([1.0, float("inf")], [1.0, float("inf")], False),
    ],
)
def test_outputs_within_rounding(monkeypatch, one, other, equal):
    found = outputs(monkeypatch, torch.tensor(one), torch.tensor(other))
    assert found.equal is equal
    assert equal or found.differences[0].startswith("outputs: they differ by ")


def test_the_coarser_number_format_decides(monkeypatch):
    near = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 2 * TOLERANCE])
    assert not outputs(monkeypatch, *near).equal
    assert outputs(monkeypatch, near[0], near[1].bfloat16()).equal
    assert outputs(monkeypatch, near[0].bfloat16(), near[1]).equal


def test_outputs_of_other_shapes(monkeypatch):
    found = outputs(monkeypatch, torch.ones(1, 2), torch.ones(2, 1))
    assert found.differences == ["outputs: [1, 2], and [2, 1]"] and found.logits is None


def outputs(monkeypatch, one, other):
    given = iter([(list(one.shape), one), (list(other.shape), other)])
    monkeypatch.setattr(verify, "_drawn_inputs", lambda side: {})
    monkeypatch.setattr(verify, "_output", lambda *args, **kwargs: next(given))
    result = verify.Comparison()
    verify._compare_outputs([None, None], [None, None], [], result)
    assert result.notes == ["There is no tokenizer: both saw drawn pixels and ids instead of a prompt."]
    return result


@pytest.mark.parametrize("there", [(True, False), (False, True), (False, False)])
def test_a_tokenizer_that_one_of_the_two_has(monkeypatch, there):
    sides = [SimpleNamespace(folder=name) for name in ("first", "second")]
    monkeypatch.setattr(verify, "has_tokenizer", lambda folder: there[("first", "second").index(folder)])
    result = verify.Comparison()
    assert verify._processors(sides, result) == []
    lacks = {(True, False): ["second"], (False, True): ["first"]}.get(there, [])
    assert result.differences == [f"tokenizer: {name} has none" for name in lacks]


class Words:
    """Stands for a processor: ids are those of letters, changed by `shift` from `start` on."""

    chat_template = None

    def __init__(self, start=10**6, tokens=4, **settings):
        self.image_seq_length = tokens
        self.tokenizer = lambda text, truncation: {"input_ids": [ord(c) + (i >= start) for i, c in enumerate(text)]}
        self.image_processor = SimpleNamespace(to_dict=lambda: {"size": 4, "image_processor_type": "x", **settings})


def test_prompts_and_settings_of_processors():
    def differences(one, other):
        result = verify.Comparison()
        verify._compare_prompts([one, other], result)
        return result.differences

    assert differences(Words(), Words(image_processor_type="y", processor_class="z")) == []
    assert differences(Words(), Words(tokens=5)) == ["processor: image_seq_length is 4, and 5"]
    assert differences(Words(), Words(size=5, mean=[1])) == [
        "processor: mean is None, and [1]",
        "processor: size is 4, and 5",
    ]
    found = differences(Words(), Words(start=3))  # as many ids, but others
    assert [line.split(" is ")[0] for line in found] == [f"tokenizer: {probe!r}" for probe in verify.PROBES]
    assert "is [72, 101, 108, 108, 111, 44, 32, 119, 111, 114, 108, 100, ...], and [72, 101, 108, 109" in found[0]
    assert verify._some([*range(12)]) == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]"
    assert verify._some([*range(13)]) == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...]"
