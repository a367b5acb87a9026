# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a request to `internvl serve` may say, at the exact bounds, and how it is answered then. No server runs."""

import base64
import json
from types import SimpleNamespace

import pytest
from transformers import GenerationConfig

from transformers_internvl.serving.app import ChatHandler, ServedModels
from transformers_internvl.serving.bodies import check_text
from transformers_internvl.serving.media import Limits, Reading
from transformers_internvl.serving.preparing import kind_of
from transformers_internvl.serving.requests import RequestError, check_request

HI = {"role": "user", "content": "Hi"}


def asked(**fields):
    return {"messages": [HI]} | fields


def parts(number):
    return [{"role": "user", "content": [{"type": "text", "text": ""}] * number}]


def options(**fields):
    return asked(generation_config=json.dumps(fields))


# What is taken, and what just is not, with words of the reason.
BOUNDS = {
    "messages": (asked(messages=[HI] * 1000), asked(messages=[HI] * 1001), "1 to 1000 messages"),
    "no message": (asked(), asked(messages=[]), "1 to 1000 messages"),
    "parts": (asked(messages=parts(500) * 2), asked(messages=parts(500) + parts(501)), "1000 parts together"),
    "fields": (
        asked(**{f"f{i}": None for i in range(99)}),
        asked(**{f"f{i}": None for i in range(100)}),
        "100 fields at most, got 101",
    ),
    # each field is an object, a name and a value: 3, and the characters of the name and the value
    "options": (
        asked(model="x" * (65536 - 4 - 5)),
        asked(model="x" * (65536 - 4 - 4)),
        "more than 65536 characters",
    ),
    "stops": (asked(stop=["a"] * 16), asked(stop=["a"] * 17), "`stop` must be"),
    "second stop": (asked(stop=["a", "b"]), asked(stop=["a", ""]), "`stop` must be"),
    "no stop": (asked(stop="a"), asked(stop=[]), "`stop` must be"),
    "stop of no text": (asked(stop=None), asked(stop={"a": 1}), "`stop` must be"),
    "biases": (
        asked(logit_bias={str(i): 1 for i in range(1000)}),
        asked(logit_bias={str(i): 1 for i in range(1001)}),
        "`logit_bias` must be",
    ),
    "bias": (asked(logit_bias={"0": -100, "1": 100}), asked(logit_bias={"0": 1, "1": 100.1}), "`logit_bias` must be"),
    "low bias": (asked(logit_bias={"1": -100}), asked(logit_bias={"1": -100.1}), "`logit_bias` must be"),
    "token": (asked(logit_bias={"1" * 10: 1}), asked(logit_bias={"1" * 11: 1}), "`logit_bias` must be"),
    "digits of others": (asked(logit_bias={"12": 1}), asked(logit_bias={"1\u0662": 1}), "`logit_bias` must be"),
    "no digits": (asked(logit_bias={}), asked(logit_bias={"-1": 1}), "`logit_bias` must be"),
    "max_tokens": (asked(max_tokens=1), asked(max_tokens=0), "`max_tokens` must be"),
    "truth as a number": (asked(max_tokens=2), asked(max_tokens=True), "`max_tokens` must be"),
    "many tokens": (asked(max_tokens=2**31 - 1), asked(max_tokens=2**31), "`max_tokens` must be"),
    "completion": (asked(max_completion_tokens=1), asked(max_completion_tokens=0), "`max_completion_tokens` must"),
    "temperature": (asked(temperature=2), asked(temperature=2.01), "`temperature` must be"),
    "cold": (asked(temperature=0), asked(temperature=-1e-9), "`temperature` must be"),
    "top_p": (asked(top_p=1), asked(top_p=1.001), "`top_p` must be"),
    "low top_p": (asked(top_p=1e-6), asked(top_p=0), "`top_p` must be"),
    "penalty": (asked(frequency_penalty=2), asked(frequency_penalty=2.1), "`frequency_penalty` must be"),
    "low penalty": (asked(frequency_penalty=0), asked(frequency_penalty=-0.1), "`frequency_penalty` must be"),
    "seed": (asked(seed=2**63 - 1), asked(seed=2**63), "`seed` must be"),
    "low seed": (asked(seed=0), asked(seed=-1), "`seed` must be"),
    "stream": (asked(stream=True), asked(stream=1), "`stream` must be"),
    "patches": (
        asked(chat_template_kwargs={"max_patches": 10_000}),
        asked(chat_template_kwargs={"max_patches": 10_001}),
        "`max_patches` must be",
    ),
    "frames": (
        asked(chat_template_kwargs={"num_frames": 1}),
        asked(chat_template_kwargs={"num_frames": 0}),
        "`num_frames` must be",
    ),
    "thinking": (
        asked(chat_template_kwargs={"enable_thinking": False}),
        asked(chat_template_kwargs={"enable_thinking": 0}),
        "`enable_thinking` must be",
    ),
    "option temperature": (options(temperature=1e-3), options(temperature=0), "`temperature` must be"),
    "option top_k": (options(top_k=0), options(top_k=-1), "`top_k` must be"),
    "option min_p": (options(min_p=1), options(min_p=1.1), "`min_p` must be"),
    "option repetition": (options(repetition_penalty=10), options(repetition_penalty=10.1), "`repetition_penalty`"),
    "option low repetition": (options(repetition_penalty=1e-3), options(repetition_penalty=0), "`repetition_penalty`"),
    "options without use": (
        options(transformers_version="5", _from_model_config=True, num_beams=None),
        options(num_beams=2),
        r"`generation_config` may hold .* got \['num_beams'\]",
    ),
    "options that are a list": (asked(generation_config="{}"), asked(generation_config="[]"), "must be a JSON object"),
    "deep options": (asked(generation_config=None), asked(generation_config="[" * 60_000), "is no JSON"),
    "one answer": (asked(n=1), asked(n=2), "`n` is not served"),
    "no penalty": (asked(presence_penalty=0), asked(presence_penalty=1), "`presence_penalty` is not served"),
    "choice": (asked(tool_choice="auto"), asked(tool_choice="required"), "`tool_choice` is not served"),
    "second message": (
        asked(messages=[HI, HI | {"name": None}]),
        asked(messages=[HI, HI | {"name": "x"}]),
        r"`messages\[1\]` has an unknown field 'name'",
    ),
    "similar name": (
        asked(),
        asked(messages=[HI | {"contents": "x"}]),
        "'contents'. Did you mean `content`?",
    ),
    "second part": (
        asked(messages=parts(2)),
        asked(messages=[{"role": "user", "content": [*parts(1)[0]["content"], {"type": "audio"}]}]),
        r"`messages\[0\].content\[1\]` must be of type",
    ),
    "role": (asked(messages=[HI | {"role": "developer"}]), asked(messages=[HI | {"role": "tool"}]), "got 'tool'"),
    "calls": (
        asked(messages=[HI | {"tool_calls": []}]),
        asked(messages=[HI | {"tool_calls": [1]}]),
        "calls tools",
    ),
    "older calls": (
        asked(messages=[HI | {"function_call": None}]),
        asked(messages=[HI | {"function_call": {"name": "f"}}]),
        "calls tools",
    ),
    "thoughts": (
        asked(messages=[{"role": "assistant", "content": "a", "reasoning_content": "b"}]),
        asked(messages=[{"role": "user", "content": "a", "reasoning_content": "b"}]),
        "unknown field 'reasoning_content'",
    ),
    "half a character": (
        asked(messages=[{"role": "user", "content": "\U0001f600"}]),
        asked(messages=[{"role": "user", "content": "\ud83d"}]),
        "must be Unicode text",
    ),
    "half a character in a part": (
        asked(messages=[{"role": "user", "content": [{"type": "text", "text": "\U0001f600"}]}]),
        asked(messages=[{"role": "user", "content": [{"type": "text", "text": "\ud83d"}]}]),
        "needs Unicode text",
    ),
    "detail of a video": (
        asked(
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x", "detail": "low"}}]}]
        ),
        asked(
            messages=[{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x", "detail": "low"}}]}]
        ),
        "unknown field 'detail'",
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_requests_at_their_bounds(name):
    taken, refused, reason = BOUNDS[name]
    check_request(taken)
    with pytest.raises(RequestError, match=reason) as error:
        check_request(refused)
    assert error.value.status == (413 if name == "options" else 400) and len(str(error.value)) < 500


# As OpenAI's API has them; the second value would change the answer.
NOT_SERVED = {
    "audio": (None, {}),
    "function_call": ("none", {"name": "f"}),
    "functions": ([], [1]),
    "logprobs": (False, True),
    "modalities": (["text"], ["audio"]),
    "prediction": (None, {}),
    "reasoning_effort": (None, "low"),
    "response_format": ({"type": "text"}, {"type": "json_object"}),
    "tools": ([], [1]),
    "top_logprobs": (0, 1),
    "web_search_options": (None, {}),
}


@pytest.mark.parametrize("name", NOT_SERVED)
def test_what_is_not_served_is_refused_unless_it_has_no_effect(name):
    harmless, other = NOT_SERVED[name]
    check_request(asked(**{name: harmless}))
    with pytest.raises(RequestError, match=f"`{name}` is not served here") as error:
        check_request(asked(**{name: other}))
    assert error.value.param == name


def test_errors_in_the_form_of_openais_clients():
    body = RequestError("no \ud83d" + "x" * 2000, 413, "messages", "too_large").body()["error"]
    assert body["type"] == "invalid_request_error" and (body["param"], body["code"]) == ("messages", "too_large")
    assert body["message"] == "no ?" + "x" * 996
    kinds = [RequestError("", status).body()["error"]["type"] for status in (400, 499, 500, 503)]
    assert kinds == ["invalid_request_error"] * 2 + ["server_error"] * 2


def test_no_name_is_suggested_for_a_long_one():
    for name, suggested in (("content" + "s" * 6, True), ("content" + "s" * 93, False), ("c" * 101, False)):
        with pytest.raises(RequestError, match="has an unknown field") as error:
            check_request(asked(messages=[HI | {name: "x"}]))
        assert ("Did you mean" in str(error.value)) == suggested and len(error.value.param) <= 100


def test_values_are_shown_in_part():
    """A value of a million elements is not written out to show the first ones."""
    for value in ("x" * 10**6, [0] * 10**6, {"a": "x" * 10**6}):
        with pytest.raises(RequestError, match="must be one of") as error:
            check_request(asked(messages=[{"role": value, "content": "x"}]))
        assert len(str(error.value)) < 200


def test_texts_of_all_messages_count():
    body = asked(messages=[HI, {"role": "user", "content": [{"type": "text", "text": "é"}]}])
    check_text(body, 4)
    with pytest.raises(RequestError, match="have 4 bytes, and no more than 3 can fit") as error:
        check_text(body, 3)
    assert error.value.code == "context_length_exceeded"


def pictures(*sizes):
    uris = (f"data:image/png;base64,{base64.b64encode(b'x' * size).decode()}" for size in sizes)
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": uri}} for uri in uris]}]


def test_bytes_and_numbers_of_images_are_bounded_together():
    limits = Limits(bytes=100, items=3)
    (message,) = Reading(limits).messages(pictures(40, 60))
    assert [len(part["data"]) for part in message["content"]] == [40, 60]
    with pytest.raises(RequestError, match="may have 100 bytes together") as error:
        Reading(limits).messages(pictures(40, 61))
    assert error.value.status == 413
    assert Reading(limits).messages(pictures(1, 1) + pictures(1))
    with pytest.raises(RequestError, match="may have 3 images and videos at most"):
        Reading(limits).messages(pictures(1, 1) + pictures(1, 1))


@pytest.mark.parametrize(
    "kinds, kind",
    [(["text"], "text"), (["text", "image"], "image"), (["video", "image"], "video"), (["image", "video"], "video")],
)
def test_the_kind_that_takes_longest_counts(kinds, kind):
    assert kind_of([{"content": [{"type": "text"}]}, {"content": [{"type": one} for one in kinds]}]) == kind


# --- how an answer is generated ---


def configured(body, prompt=10, context=64, stride=1.0, **own):
    """The generation config for a request to a checkpoint that samples."""
    text = SimpleNamespace(vocab_size=50)
    model = SimpleNamespace(
        generation_config=GenerationConfig(**({"do_sample": True, "temperature": 0.7, "num_beams": 3} | own)),
        config=SimpleNamespace(get_text_config=lambda decoder: text),
    )
    served = SimpleNamespace(model=model, context=context, v2pe_stride=stride)
    return ChatHandler(ServedModels({}), None, Limits())._config(body, served, prompt)


def test_a_checkpoint_that_samples_does_as_it_is_told():
    assert configured({}).do_sample and configured({}).temperature == 0.7 and configured({}).num_beams == 1
    assert not configured({"temperature": 0}).do_sample
    assert not configured({"temperature": 9.9e-5}).do_sample
    assert configured({"temperature": 1e-4}).do_sample
    assert configured({"temperature": 1e-4}).temperature == 1e-4
    assert configured({"top_p": 0.5}).top_p == 0.5 and configured({"top_p": 0.5}).temperature == 0.7
    for body in ({"temperature": 0.3}, {"top_p": 0.9}):
        assert configured(body, do_sample=False).do_sample
    assert not configured({}, do_sample=False).do_sample


def test_prompt_and_answer_fit_into_the_context_exactly():
    assert configured({"max_tokens": 54}).max_new_tokens == 54
    assert configured({"max_tokens": 3, "max_completion_tokens": 4}).max_new_tokens == 4
    assert configured({"generation_config": '{"max_new_tokens": 5, "top_k": 7}'}).max_new_tokens == 5
    assert configured({"generation_config": '{"max_new_tokens": 5, "top_k": 7}'}).top_k == 7
    both = {"max_tokens": 3, "generation_config": '{"max_new_tokens": 999}'}
    assert configured(both).max_new_tokens == 3  # the field of OpenAI's API wins, and the context holds
    assert configured({}).max_new_tokens == 54  # what fits
    assert configured({}, context=9999).max_new_tokens == 1024
    assert configured({}, context=9999, max_new_tokens=2000).max_new_tokens == 2000
    assert configured({}, prompt=63).max_new_tokens == 1
    for body, prompt, param in (
        ({"max_tokens": 55}, 10, "max_tokens"),
        ({}, 64, "messages"),
        ({"max_tokens": 1}, 64, "messages"),
    ):
        with pytest.raises(RequestError, match="context is 64") as error:
            configured(body, prompt)
        assert error.value.param == param and error.value.code == "context_length_exceeded"
        assert f"The prompt has {prompt} tokens" in str(error.value)
    with pytest.raises(RequestError, match="The prompt has 64 positions"):
        configured({}, 64, stride=0.25)


def test_biases_are_of_tokens_of_the_model():
    assert configured({"logit_bias": {"0": 1, "49": -2}}).sequence_bias == {(0,): 1.0, (49,): -2.0}
    with pytest.raises(RequestError, match="beyond the 50"):
        configured({"logit_bias": {"0": 1, "50": 1}})
