# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""An answer of `internvl serve` token by token: what is passed on and when, stop texts, seeds, clients that leave."""

import asyncio
import threading

import pytest
import torch
from transformers.cli.serving.utils import InferenceThread

from transformers_internvl.serving import generation
from transformers_internvl.serving.generation import Answer, Cancelled, Turn


def spelled(pieces):
    """Decodes ids to the pieces that they stand for; bytes that are half a character to U+FFFD."""

    def decode(ids):
        return b"".join(pieces[i] if isinstance(pieces[i], bytes) else pieces[i].encode() for i in ids).decode(
            "utf-8", errors="replace"
        )

    return decode


def passed_on(pieces, stops=(), decode=None):
    """What an `Answer` has passed on after each token, and after the end."""
    sent: list[str] = []
    answer = Answer(decode or spelled(pieces), list(stops), sent.append, threading.Event())
    answer.put(torch.zeros(1, 3, dtype=torch.long))
    after = []
    for token in range(len(pieces)):
        answer.put(torch.tensor([token]))
        after.append("".join(sent))
        if answer.stopped:
            break  # as the criterion of `generate` does
    answer.end()
    return [*after, "".join(sent)], answer


@pytest.mark.parametrize(
    "pieces, stops, expected",
    [
        (["a", "b"], [], ["a", "ab", "ab"]),
        (["", "a", ""], [], ["", "a", "a", "a"]),
        (["aE", "N", "x"], ["END"], ["a", "a", "aENx", "aENx"]),  # held back, and let go
        (["aE", "ND", "x"], ["END"], ["a", "a", "a"]),
        (["aE", "N"], ["END"], ["a", "a", "aEN"]),  # let go at the end
        (["END", "x"], ["END"], ["", ""]),  # at the very beginning
        (["a", "xy"], ["y", "x"], ["a", "a", "a"]),  # the first in the text, not in the list
        (["ab"], ["b", "ab"], ["", ""]),
        (["E"], ["E"], ["", ""]),
        (["EE", "N"], ["EN"], ["E", "E", "E"]),
        ([b"\xe5\xa5", b"\xbd", "!"], [], ["", "好", "好!", "好!"]),  # a character in two tokens
        ([b"a\xe5"], [], ["", "a\ufffd"]),  # and one that stays half
        (["a", "ENDbEND"], ["END"], ["a", "a", "a"]),  # nothing behind the first
    ],
)
def test_pieces_are_passed_on_as_soon_as_they_are_sure(pieces, stops, expected):
    after, answer = passed_on(pieces, stops)
    assert after == expected and answer.text == expected[-1]
    assert answer.ids == list(range(len(expected) - 1)) and answer.total_tokens == len(expected) - 1
    assert answer.stopped == any(stop in spelled(pieces)(answer.ids) for stop in stops)


def test_pieces_are_decoded_with_the_one_before():
    """A decoder that drops the space of the first token, as those of sentencepiece models: no space is lost."""

    def decode(ids):
        return "".join(f" w{index}" for index in ids).removeprefix(" ")

    after, answer = passed_on([0] * 4, decode=decode)
    assert after == ["w0", "w0 w1", "w0 w1 w2", "w0 w1 w2 w3", "w0 w1 w2 w3"] and answer.text == after[-1]
    seen = []

    def noted(ids):
        seen.append(len(ids))
        return decode(ids)

    passed_on([0] * 30, decode=noted)
    assert max(seen[:-1]) == 2 and seen[-1] == 30  # all tokens together only at the end


@pytest.mark.parametrize("whole, expected", [("ab!", "ab!"), ("xb!", "ab"), ("abSTOPc", "ab"), ("ab", "ab")])
def test_the_end_takes_the_decoding_of_all_tokens_where_it_goes_on_from_the_text(whole, expected):
    sent: list[str] = []
    answer = Answer(lambda ids: whole, ["STOP"], sent.append, threading.Event())
    answer.text, answer.ids = "ab", [0, 1, 2]
    answer.end()
    assert answer.text == "".join(sent) == expected


def test_nothing_comes_behind_a_stop_text_at_the_end():
    answer = Answer(lambda ids: "abc", ["b"], None, threading.Event())
    answer.text, answer.stopped, answer.ids = "a", True, [0, 1]
    answer.end()
    assert answer.text == "a"


def test_who_has_left_is_noticed_with_the_next_token():
    answer = Answer(spelled(["a"]), [], None, threading.Event())
    answer.put(torch.zeros(1, 1))
    answer.cancel()
    with pytest.raises(Cancelled):
        answer.put(torch.tensor([0]))
    assert answer.ids == []


# --- turns ---


class Model:
    """Generates the ids that it is told, as transformers calls a streamer and criteria."""

    def __init__(self, ids, error=None):
        self.ids, self.error, self.seen = ids, error, []

    def generate(self, input_ids, generation_config, streamer, stopping_criteria):
        self.seen.append((generation_config, torch.rand(1).item()))
        streamer.put(input_ids)
        if self.error:
            raise self.error
        for token in self.ids:
            streamer.put(torch.tensor([token]))
            if stopping_criteria(torch.zeros(1, 2, dtype=torch.long), None).all():
                break
        streamer.end()


class Processor:
    def decode(self, ids, skip_special_tokens):
        assert skip_special_tokens
        return "".join("abcdef"[index] for index in ids)


def turn(model, stops=(), seed=None, streams=False, left=False):
    """What a client gets: the pieces, or text, number of prompt tokens and ids; and how often the turn ended."""
    done, cancelled = [], threading.Event()
    if left:
        cancelled.set()

    async def ask():
        one = Turn(InferenceThread(), list(stops), seed, cancelled, lambda: done.append(one.begun))
        inputs, processor = {"input_ids": torch.zeros(1, 7, dtype=torch.long)}, Processor()
        if streams:
            queue, answer = one.generate_streaming(model, processor, inputs, "config", "id")
            pieces = []
            while isinstance(piece := await asyncio.wait_for(queue.get(), 10), str):
                pieces.append(piece)
            await asyncio.sleep(0.05)
            return pieces, piece, answer.total_tokens
        try:
            return await asyncio.wait_for(one.generate_non_streaming(model, processor, inputs, "config", "id"), 10)
        finally:
            await asyncio.sleep(0.05)

    return asyncio.run(ask()), done


def test_a_turn_ends_once_with_the_text_before_the_stop():
    model = Model([0, 1, 2, 3])
    assert turn(model, ["c"]) == (("ab", 7, [0, 1, 2]), [True])
    assert turn(model) == (("abcd", 7, [0, 1, 2, 3]), [True])
    assert turn(model, ["c"], streams=True) == ((["a", "b"], None, 3), [True])
    assert model.seen[0][0] == "config"


@pytest.mark.parametrize("seed", [0, 3])
def test_a_seed_is_set_when_the_turn_begins(seed):
    model = Model([0])
    for _ in range(2):
        torch.rand(5)
        turn(model, seed=seed)
    torch.manual_seed(seed)
    expected = torch.rand(1).item()
    assert [drawn for _, drawn in model.seen] == [expected] * 2
    turn(model)
    assert model.seen[-1][1] != expected


def test_who_left_before_their_turn_is_not_answered():
    for streams in (False, True):
        model = Model([0])
        if streams:
            assert turn(model, streams=True, left=True) == (([], None, 0), [True])
        else:
            with pytest.raises(Cancelled):
                turn(model, left=True)
        assert model.seen == []


def test_a_fault_is_logged_and_told_without_its_reason(caplog, monkeypatch):
    monkeypatch.setattr(generation.logger, "propagate", True)
    (pieces, end, _), done = turn(Model([0], ValueError("secret")), streams=True)
    assert pieces == [] and end is not None and "secret" not in str(vars(end) if hasattr(end, "__dict__") else end)
    assert done == [True]
    with pytest.raises(ValueError, match="secret"):  # the application answers it with status 500
        turn(Model([0], ValueError("secret")))


def test_a_client_that_leaves_does_not_end_the_thread():
    """Its future is shielded: the next turn on the same thread is answered."""
    begun, go, thread = threading.Event(), threading.Event(), InferenceThread()

    class Slow(Model):
        def generate(self, **kwargs):
            begun.set()
            go.wait(10)
            super().generate(**kwargs)

    async def ask():
        inputs = {"input_ids": torch.zeros(1, 2, dtype=torch.long)}
        one, two = (Turn(thread, [], None, threading.Event(), lambda: None) for _ in range(2))
        waiting = asyncio.ensure_future(one.generate_non_streaming(Slow([0]), Processor(), inputs, None, "id"))
        await asyncio.to_thread(begun.wait, 10)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        return await asyncio.wait_for(two.generate_non_streaming(Model([1]), Processor(), inputs, None, "id"), 10)

    assert asyncio.run(ask()) == ("b", 2, [1])
