# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A judge on a server that fails, stalls and answers rubbish: what is scored, what is kept, what it took."""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from tests.evaluation.drawn import base64_of
from transformers_internvl.evaluation.benchmarks import Asking
from transformers_internvl.evaluation.prompts import asking_style
from transformers_internvl.evaluation.run import (
    FixedAnswers,
    JudgeModel,
    Task,
    Wanted,
    evaluate,
    metric_of,
    open_task,
)


@contextmanager
def served(replies):
    """A server for chats; `replies` makes an answer from the number of the request and its body.

    Answers are a text (of a reply), a status, bytes (sent as they are), or None: nothing comes.
    """
    bodies, lock, over = [], threading.Lock(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                bodies.append(body)
                answer = replies(len(bodies) - 1, body)
            if answer is None:
                over.wait(30)
                return
            status = answer if isinstance(answer, int) else 200
            usage = {"prompt_tokens": 7, "completion_tokens": 2}
            message = {"choices": [{"message": {"content": answer}}], "usage": usage}
            data = answer if isinstance(answer, bytes) else json.dumps(message).encode()
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", bodies
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def prompt_of(body):
    return body["messages"][-1]["content"]


def judged(name, rows, answers, folder, replies, **more):
    """The result of a benchmark whose answers such a server judges, and the requests that it got."""
    benchmark, questions = opened(name, rows, folder)
    asking = Asking(asking_style("InternVL2_5-1B", "direct"))
    task = Task(benchmark, questions, asking, folder / "out", metric=metric_of(benchmark, asking, None))
    with served(replies) as (url, bodies):
        judge = JudgeModel(url, "gpt", **{"requests": 1, "timeout": 30, **more})
        fixed = FixedAnswers(dict(enumerate_texts(answers)))
        (result,) = evaluate([task], fixed, folder / "out", model="m", judge=judge, quiet=True, plot=False)
    return result, bodies


def enumerate_texts(answers):
    return ((str(number), answer) for number, answer in enumerate(answers))


def opened(name, rows, folder):
    dataset = {"mmvet": "MMVet", "llavabench": "LLaVABench", "mathvista_mini": "MathVista_MINI"}[name]
    lines = [json.dumps({"index": number, **row}) for number, row in enumerate(rows)]
    (folder / f"{dataset}.jsonl").write_text("\n".join(lines))
    return open_task(Wanted(name, folder))


MMVET = [{"question": f"q{n}", "answer": "1<AND>2", "category": category} for n, category in enumerate(("ocr", "rec"))]


def test_failures_and_rubbish_are_asked_again(tmp_path):
    given = [500, 503, b"<html>", b'{"choices": []}', "good", "1.5", "nan", "0.4", 429, "1.0"]
    result, bodies = judged("mmvet", MMVET, ["x", "y | z"], tmp_path, lambda number, _: given[number])
    assert result.score == pytest.approx(70)
    assert [body["temperature"] for body in bodies] == [0, 0, 0, 0, 0, 0.5, 1.0, 1.5, 0, 0]
    assert {body["max_tokens"] for body in bodies} == {3} and {body["model"] for body in bodies} == {"gpt"}
    assert prompt_of(bodies[0]).endswith(" | 1.0\n\nq0 | 1 <AND> 2 | x | ")
    took = result.judgement
    assert (took.asked, took.replies, took.calls, took.unread) == (2, 5, 5, 0)
    assert (took.tokens_in, took.tokens_out) == (35, 10)
    page = (tmp_path / "out" / "report.md").read_text()
    assert "2 answers were judged by gpt: 5 replies (5 new), 35 tokens in, 10 out." in page


def test_a_server_that_stalls_is_asked_again(tmp_path):
    result, bodies = judged("mmvet", MMVET, "xy", tmp_path, lambda number, _: "0.5" if number else None, timeout=1)
    assert result.score == 50 and len(bodies) >= 3


def test_replies_are_kept_by_prompt_and_model(tmp_path):
    def gone(number, body):
        return 400

    with pytest.raises(ValueError, match="refused a question to the judge"):
        judged("mmvet", MMVET, "xy", tmp_path, lambda number, _: "0.5" if number == 0 else 400)
    with open(tmp_path / "out" / "judge.jsonl", "a") as file:
        file.write('{"key": "torn')
    result, bodies = judged("mmvet", MMVET, "xy", tmp_path, lambda *_: "1.0")
    assert result.score == 75 and len(bodies) == 1 and "q1" in prompt_of(bodies[0])
    assert (result.judgement.replies, result.judgement.calls, result.judgement.tokens_in) == (2, 1, 14)
    result, bodies = judged("mmvet", MMVET, "xy", tmp_path, gone)
    assert result.score == 75 and not bodies
    graded = [{**MMVET[0], "score": 0.25}, MMVET[1]]
    assert judged("mmvet", graded, "xy", tmp_path, gone)[0].score == pytest.approx(62.5)


def test_a_judge_that_never_answers_in_the_form_counts_as_officially(tmp_path):
    result, bodies = judged("mmvet", MMVET, "xy", tmp_path, lambda *_: "perfect!")
    assert result.score == 0 and result.judgement.unread == 2 and len(bodies) == 10
    assert "No reply could be read for 2" in (tmp_path / "out" / "report.md").read_text()


def test_a_server_that_is_gone_is_said_and_the_answers_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers_internvl.evaluation.run.connection._FIRST_PAUSE", 0.001)
    with pytest.raises(OSError, match="gave no answer to a question to the judge in 8 attempts"):
        judged("mmvet", MMVET, "xy", tmp_path, lambda *_: 503, requests=2)
    assert (tmp_path / "out" / "answers.rank0.jsonl").read_text().count("\n") == 2


def test_llava_bench_compares_with_gpt4(tmp_path):
    row = {"question": "q", "caption": "a dog", "gpt4_ans": "It is a dog.", "category": "conv"}
    rows = [row, {**row, "category": "detail"}, {**row, "question": "other"}]
    given = ["8 6\nWell.", "8,4", "no idea"]
    result, bodies = judged("llavabench", rows, "abc", tmp_path, lambda number, _: given[number])
    assert result.score == pytest.approx(100 * (6 + 4 - 1) / (8 + 8 - 1))
    assert result.table["detail"]["relative"] == pytest.approx(50)
    assert bodies[0]["messages"][0]["role"] == "system" and bodies[0]["temperature"] == 0.2
    assert "[Assistant 2]\na\n\n[End of Assistant 2]" in prompt_of(bodies[0])
    with pytest.raises(ValueError, match="Question 0 lacks caption, gpt4_ans"):
        judged("llavabench", [{"question": "q", "category": "conv"}], "a", tmp_path, lambda *_: "8 6")


def test_equal_prompts_in_flight_are_asked_once(tmp_path):
    row = {"question": "q", "answer": "1", "category": "ocr", "prediction": "x"}
    rows = [row] * 6 + [{**row, "prediction": "y"}]
    seen, both = [], threading.Barrier(2, timeout=20)

    def replies(number, body):
        seen.append(prompt_of(body))
        return "0.5" if "| x |" in prompt_of(body) else "1.0"

    class Slow(JudgeModel):
        def reply(self, judge, content, temperature):
            both.wait()  # until both prompts are under way at the same time
            return super().reply(judge, content, temperature)

    with served(replies) as (url, bodies):
        graded, took = Slow(url, "gpt", requests=7).judge("mmvet", rows, tmp_path, quiet=True)
    assert [row["score"] for row in graded] == [0.5] * 6 + [1.0]
    assert len(bodies) == took.calls == 2 and took.replies == 7
    assert (tmp_path / "judge.jsonl").read_text().count("\n") == 2


def test_who_waits_for_a_reply_is_forgotten(tmp_path):
    from transformers_internvl.evaluation.run.judge import _Replies

    entered, leave = threading.Event(), threading.Event()

    def wait_and_hold():
        with kept.alone("k"):
            entered.set()
            leave.wait(20)

    with _Replies(tmp_path / "judge.jsonl") as kept:
        thread = threading.Thread(target=wait_and_hold)
        with kept.alone("k"):
            thread.start()
            for _ in range(2000):
                if kept._asking["k"][1] == 2 or entered.wait(0.01):
                    break
            assert kept._asking["k"][1] == 2 and not entered.is_set()
        assert entered.wait(20) and kept._asking["k"][1] == 1
        leave.set()
        thread.join(20)
        assert not kept._asking
    assert JudgeModel("http://h/v1", "m").requests == 8


def test_a_failed_request_is_made_by_another_that_waits(tmp_path):
    rows = [{"question": "q", "answer": "1", "category": "ocr", "prediction": "x"}] * 2
    with served(lambda number, _: "0.5" if number else 400) as (url, bodies):
        with pytest.raises(ValueError, match="refused a question to the judge"):
            JudgeModel(url, "gpt", requests=1).judge("mmvet", rows, tmp_path, quiet=True)
        graded, took = JudgeModel(url, "gpt", requests=2).judge("mmvet", rows, tmp_path, quiet=True)
    assert [row["score"] for row in graded] == [0.5, 0.5] and took.calls <= 1


def test_half_of_a_surrogate_pair_in_a_reply_is_replaced(tmp_path):
    row = {"question": "q", "question_for_eval": "q", "answer": "3", "prediction": "\u00e9"}
    texts = ["a\\ud83d", "1"]

    def replies(number, _):
        return f'{{"choices": [{{"message": {{"content": "{texts[number]}"}}}}]}}'.encode()

    with served(replies) as (url, bodies):
        (graded,), _ = JudgeModel(url, "gpt", requests=1).judge("mathverse", [row], tmp_path, quiet=True)
        again, took = JudgeModel(url, "gpt", requests=1).judge("mathverse", [row], tmp_path, quiet=True)
    assert graded["extraction"] == "a\ufffd" and again == [graded] and took.calls == 0
    assert "[Model_answer] : a\ufffd" in prompt_of(bodies[1])


def test_wildvision_shows_the_image_of_the_file(tmp_path):
    image = Image.new("RGB", (8, 8), (200, 0, 0))
    image.save(tmp_path / "a.jpg")
    row = {"question": "Q?", "claude3_sonnet": "c"}
    (tmp_path / "WildVision.jsonl").write_text(
        "\n".join(json.dumps(one) for one in ({**row, "image": "a.jpg"}, {**row, "image": base64_of(image)}))
    )
    benchmark, questions = open_task(Wanted("wildvision", tmp_path))
    asking = Asking(asking_style("InternVL2_5-1B", "direct"))
    task = Task(benchmark, questions, asking, tmp_path / "out", metric="wildvision")
    with served(lambda number, _: "[[B>A]]") as (url, bodies):
        judge = JudgeModel(url, "gpt", requests=1)
        fixed = FixedAnswers({"0": "x", "1": "y"})
        (result,) = evaluate([task], fixed, tmp_path / "out", model="m", judge=judge, quiet=True, plot=False)
    assert result.score == 100
    shown = [prompt_of(body)[1]["image_url"]["url"] for body in bodies]
    prefix = "data:image/jpeg;base64,"
    assert shown == [prefix + base64.b64encode((tmp_path / "a.jpg").read_bytes()).decode(), prefix + base64_of(image)]
    (tmp_path / "WildVision.jsonl").write_text(json.dumps(row))
    _, questions = open_task(Wanted("wildvision", tmp_path))
    with pytest.raises(ValueError, match="line 1: expected an image, which the judge sees"):
        questions.base64(0)
    (tmp_path / "WildVision.jsonl").write_text(json.dumps({**row, "image": "no/such.jpg"}))
    _, questions = open_task(Wanted("wildvision", tmp_path))
    with pytest.raises(ValueError, match="line 1: an image cannot be read: Neither a file"):
        questions.base64(0)


def test_rules_decide_before_the_judge(tmp_path):
    row = {"question": "How many?", "answer": "3", "question_type": "free_form", "answer_type": "integer"}
    row |= {"choices": "[]", "answer_option": "", "skills": "['counting']", "task": "t"}
    rows, answers = [row] * 3, ["3", "There are three.", "four"]
    reply = {"There are three.": "3", "four": "4"}

    def replies(number, body):
        return next(text for said, text in reply.items() if f"Model respone: {said}Extracted" in prompt_of(body))

    result, bodies = judged("mathvista_mini", rows, answers, tmp_path, replies, requests=2)
    assert result.score == pytest.approx(200 / 3) and len(bodies) == 2
    assert result.table["Overall"]["prefetch"] == 1


def test_hallusionbench_reads_what_the_judge_read(tmp_path):
    from transformers_internvl.evaluation.metrics import score_answers

    rows = [{"index": f"VD_math_1_0_{n}_0", "question": "Is it?", "answer": "Yes", "prediction": said} for n, said in
            enumerate(("yes", "It is.", "It is not.", "no"))]  # fmt: skip
    reply = {"It is.": "Yes", "It is not.": "no."}

    def replies(number, body):
        if number == 0:
            return "Unknown"
        return next(text for said, text in reply.items() if f"Is it??\nAnswer: {said}\n" in prompt_of(body))

    with served(replies) as (url, bodies):
        graded, took = JudgeModel(url, "gpt", requests=1).judge("hallusionbench", rows, tmp_path, quiet=True)
    assert [row.get("extraction") for row in graded] == [None, "Yes", "No", None]
    assert score_answers("hallusionbench", rows).table["Overall"]["aAcc"] == 25
    assert score_answers("hallusionbench", graded).table["Overall"]["aAcc"] == 50
    assert took.replies == 3 and [body["temperature"] for body in bodies] == [0, 0.5, 0]


def test_the_command_judges(tmp_path, capsys, monkeypatch):
    from internvl_cli import main

    opened("mmvet", MMVET, tmp_path)
    (tmp_path / "answers.txt").write_text("x\ny\n")
    line = f"evaluate --task mmvet --data {tmp_path} --answers {tmp_path}/answers.txt --output {tmp_path}/o --no-plot"
    assert main(line.split()) == 0
    assert "grade the answers first (`--judge-url`), into the column score" in capsys.readouterr().out
    assert main(f"{line} --judge-url http://h".split()) == 2
    assert "both --judge-url and --judge-model" in capsys.readouterr().err
    with served(lambda *_: "0.5") as (url, bodies):
        assert main(f"{line} --judge-url {url} --judge-model gpt".split()) == 0
    assert len(bodies) == 2 and "| MM-Vet, test | direct | 50.00 |" in capsys.readouterr().out
