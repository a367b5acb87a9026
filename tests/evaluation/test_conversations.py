# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""ConvBench: three turns of one conversation, each with the answers before it, and a judge who compares them."""

import json

import pytest
from PIL import Image

from tests.evaluation.test_judge import prompt_of, served
from transformers_internvl.evaluation.benchmarks import Asking
from transformers_internvl.evaluation.metrics import score_answers
from transformers_internvl.evaluation.prompts import asking_style
from transformers_internvl.evaluation.run import (
    EndpointModel,
    JudgeModel,
    Reply,
    Task,
    Wanted,
    answer_task,
    evaluate,
    metric_of,
    open_task,
    read_answers,
)
from transformers_internvl.evaluation.run.local import conversation

TURNS = ("first", "second", "third")
PROMPTS = """
_PROMPT_SYSTEM_ANSWER_EXTRACTION_V1 = 'extract'
_ICL_SYSTEM_ANSWER_EXTRACTION_V1 = [('long', 'Final Answer: Response B')]
_UNUSED = len('x')
"""
for kind in ("first_turn", "second_turn", "third_turn", "overall_conversation"):
    for who in ("SYSTEM", "USER", "ASSISTANT"):
        PROMPTS += f"_PROMPT_{who}_PAIRWISE_V1_MT_{kind} = '''{who} {kind}'''\n"
PLACES = " ".join(["{}"] * 13)
CODE = f"""
def generate_request(turn_str):
    if turn_str == '_overall_conversation':
        user_content = ('OK {PLACES} evaluations {{}} {{}} {{}} of {{}}'.format(turn_str))
    elif turn_str == '_third_turn':
        user_content = ('OK {PLACES} demands {{}} of {{}}'.format(turn_str))
    elif turn_str == '_first_turn':
        user_content = ('OK {PLACES} of {{}}'.format(turn_str))
    elif turn_str == '_second_turn':
        user_content = ('OK {PLACES} of {{}}'.format(turn_str))
import nothing_of_this_name  # the file is read, not run
"""


def draw(folder, count=2):
    """Conversations in the columns of ConvBench, and made-up texts of a judge where its repository has them."""
    rows = []
    for number in range(count):
        Image.new("RGB", (40, 30), (9, 90 * number, 9)).save(folder / f"{number}.png")
        row = {"index": number + 1, "image": f"{number}.png", "position": number % 2, "third_turn_demands": None}
        row |= {f"The_{turn}_turn_instruction": f"{turn} {number}?" for turn in TURNS}
        row |= {f"{turn}_turn_answer": f"human {turn}" for turn in TURNS}
        rows.append(row | {"instruction-conditioned-caption": f"caption {number}"})
    (folder / "convbench.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code = folder / "ConvBench" / "ConvBenchEval"
    code.mkdir(parents=True)
    (code / "prompts.py").write_text(PROMPTS)
    (code / "convbencheval.py").write_text(CODE)


def task_of(data, folder, **more):
    benchmark, questions = open_task(Wanted("convbench", data))
    asking = Asking(asking_style("InternVL2_5-1B", "direct"))
    return Task(benchmark, questions, asking, folder, metric=metric_of(benchmark, asking, None), **more)


def text_of(messages):
    """What was said, without images."""
    return [
        (message["role"], "".join(part["text"] for part in message["content"] if part["type"] == "text").strip())
        for message in messages
    ]


class Echo:
    """Answers with thoughts and the number of the question; dies after so many answers."""

    name, batch_size = "echo", 1

    def __init__(self, left=99):
        self.asked, self.left = [], left

    def answer(self, batches, prepare):
        for batch in batches:
            for job in batch:
                if not self.left:
                    raise InterruptedError
                self.left -= 1
                self.asked.append((job.index, conversation(prepare(job))))
                yield [(job, Reply(f"<think>hm</think>\nsaid {job.index}"))]


def test_each_turn_has_the_answers_before_it(tmp_path):
    draw(tmp_path)
    echo = Echo()
    evaluate([task_of(tmp_path, tmp_path / "out")], echo, tmp_path / "out", model="m", quiet=True, plot=False)
    assert [index for index, _ in echo.asked] == ["1.1", "2.1", "1.2", "2.2", "1.3", "2.3"]
    messages = dict(echo.asked)
    assert text_of(messages["2.3"])[-5:] == [
        ("user", "first 1?"), ("assistant", "said 2.1"), ("user", "second 1?"), ("assistant", "said 2.2"),
        ("user", "third 1?"),
    ]  # fmt: skip
    pictures = [part["type"] for message in messages["2.3"] for part in message["content"]].count("image")
    first = next(message for message in messages["2.3"] if message["role"] == "user")
    assert pictures == 1 and first["content"][0]["type"] == "image"
    assert [role for role, _ in text_of(messages["1.1"])][-1] == "user"
    report = (tmp_path / "out" / "report.md").read_text()
    assert "a language model must grade the answers first (`--judge-url`)" in report


def test_a_conversation_is_resumed_turn_by_turn_on_two_ranks(tmp_path):
    draw(tmp_path, count=3)
    asked = []
    for turn in range(3):
        for rank in (0, 1):
            for left in (1, 99):
                echo = Echo(left)
                try:
                    answer_task(task_of(tmp_path, tmp_path / "out"), echo, rank=rank, ranks=2, quiet=True, turn=turn)
                except InterruptedError:
                    assert left == 1
                asked += [index for index, _ in echo.asked]
    assert sorted(asked) == [f"{number}.{turn}" for number in (1, 2, 3) for turn in (1, 2, 3)]
    assert {index for index, _ in read_answers(tmp_path / "out")} == set(asked)
    with pytest.raises(ValueError, match="Question 1.2 follows 1.1, which has no answer yet: ask that first"):
        answer_task(task_of(tmp_path, tmp_path / "late"), Echo(), quiet=True, turn=1)


def test_limits_and_samples_of_conversations(tmp_path):
    draw(tmp_path, count=3)
    limited = task_of(tmp_path, tmp_path / "out", limit=2)
    assert [job.index for job in limited.jobs()] == ["1.1", "1.2", "1.3", "2.1", "2.2", "2.3"]
    assert [job.index for job in limited.jobs(turn=1)] == ["1.2", "2.2"]
    with pytest.raises(ValueError, match="ConvBench is a conversation.*expected 1 sample"):
        task_of(tmp_path, tmp_path / "out", samples=2)


def test_conversations_without_a_question(tmp_path):
    draw(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "convbench.jsonl").read_text().split("\n")]
    rows[1]["The_third_turn_instruction"] = None
    (tmp_path / "convbench.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match="line 2: the conversation has no question in The_third_turn_instruction"):
        task_of(tmp_path, tmp_path / "out")
    (tmp_path / "convbench.jsonl").write_text(json.dumps({"question": "q"}))
    with pytest.raises(ValueError, match="The_third_turn_instruction lacks"):
        task_of(tmp_path, tmp_path / "out")


def test_a_server_is_sent_the_conversation(tmp_path):
    draw(tmp_path, count=1)
    from huggingface_hub.utils import httpx

    bodies = []

    def handle(request):
        if request.method == "GET":
            return httpx.Response(200, json={"data": [{"id": "m"}]})
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"choices": [{"message": {"content": f"said {len(bodies)}"}}]})

    client = httpx.Client(transport=httpx.MockTransport(handle))
    server = EndpointModel("http://m/v1", client=client, requests=1)
    evaluate([task_of(tmp_path, tmp_path / "out")], server, tmp_path / "out", model="m", quiet=True, plot=False)
    roles = [message["role"] for message in bodies[2]["messages"]]
    assert roles[-5:] == ["user", "assistant", "user", "assistant", "user"]
    assert [message["content"] for message in bodies[2]["messages"] if message["role"] == "assistant"] == [
        "said 1", "said 2",
    ]  # fmt: skip


def test_the_judge_compares_turns_and_the_whole(tmp_path):
    draw(tmp_path)
    given = {
        "first turn": "Overall, Response A is better.",
        "second turn": "Hard to say.",
        "third turn": "response a is better, no, Response B is better",
        "overall conversation": "Response B is better",
    }

    def replies(number, body):
        if body["messages"][0]["content"] == "extract":
            return "Unknown" if "Hard" in prompt_of(body) else "Final Answer: Response A"
        return next(reply for kind, reply in given.items() if prompt_of(body).endswith(f"of {kind}"))

    with served(replies) as (url, bodies):
        judge = JudgeModel(url, "gpt", requests=1)
        task = task_of(tmp_path, tmp_path / "out")
        (result,) = evaluate([task], Echo(), tmp_path / "out", model="m", judge=judge, quiet=True, plot=False)
    prompts = [prompt_of(body) for body in bodies]
    spoken = "caption 0 first 0? said 1.1 second 0? said 1.2 third 0? said 1.3 "
    human = "first 0? human first second 0? human second third 0? human third"
    assert prompts[0] == f"OK {spoken}{human} of first turn"
    swapped = "OK caption 1 first 1? human first second 1? human second third 1? human third first 1? said 2.1"
    assert any(prompt.startswith(swapped) for prompt in prompts)  # position 1: the model is B
    assert any(f"{human} demands nan of third turn" in prompt for prompt in prompts)
    told = " ".join(given[kind] for kind in ("first turn", "second turn", "third turn"))
    assert any(prompt.endswith(f"evaluations {told} of overall conversation") for prompt in prompts)
    second = next(body for body in bodies if body["messages"][0]["content"] == "SYSTEM second_turn")
    assert [message["content"] for message in second["messages"][:3]] == [
        "SYSTEM second_turn", "USER second_turn", "ASSISTANT second_turn",
    ]  # fmt: skip
    assert (second["max_tokens"], second["temperature"]) == (512, 1)
    extraction = next(body for body in bodies if body["messages"][0]["content"] == "extract")
    assert [message["role"] for message in extraction["messages"]] == ["system", "user", "assistant", "user"]
    assert prompt_of(extraction) == "Hard to say.\nPlease extract the final answer from the above text."
    # the first conversation wins the turns 1 and 3 as A, the second one the whole as B
    assert result.table["S1"] == pytest.approx(100 / 577) and result.table["S2"] == 0
    assert result.table["S3"] == pytest.approx(100 / 577) and result.table["S_O"] == pytest.approx(100 / 577)
    assert result.score == pytest.approx((200 / 577 / 3 + 100 / 577) / 2)
    assert result.judgement.asked == 2 and result.judgement.replies == 12
    assert result.judgement.calls == len(bodies) == 10  # both conversations ask what the same two replies mean


def test_texts_of_the_judge_that_are_missing(tmp_path):
    draw(tmp_path)
    evaluate([task_of(tmp_path, tmp_path / "out")], Echo(), tmp_path / "out", model="m", quiet=True, plot=False)
    code = tmp_path / "ConvBench" / "ConvBenchEval"

    def judged():
        judge = JudgeModel("http://127.0.0.1:9/v1", "gpt")
        evaluate([task_of(tmp_path, tmp_path / "out")], None, tmp_path / "out", model="m", judge=judge, plot=False)

    (code / "convbencheval.py").write_text(CODE.replace("demands {}", "demands"))
    with pytest.raises(ValueError, match="third_turn has 14 places, expected 15"):
        row = {"predictions": list("abc"), "position": 0, "instruction-conditioned-caption": "c", "index": 1}
        row |= {f"The_{turn}_turn_instruction": turn for turn in TURNS} | {f"{turn}_turn_answer": "" for turn in TURNS}
        from transformers_internvl.evaluation.run.convbench import convbench_judge

        third = convbench_judge(tmp_path).follow.follow.follow.follow
        third.prompt({**row, "third_turn_demands": ""})
    (code / "prompts.py").write_text("_ICL_SYSTEM_ANSWER_EXTRACTION_V1 = []")
    with pytest.raises(ValueError, match="expected _PROMPT_SYSTEM_PAIRWISE_V1_MT_first_turn"):
        judged()
    (code / "prompts.py").unlink()
    with pytest.raises(ValueError, match="put a copy of it beside the questions, as the folder ConvBench"):
        judged()


def test_a_conversation_that_was_graded_before(tmp_path):
    row = {"position": 1, "prediction": "", "predictions": list("abc"), "first_evaluation": "", "index": 1}
    row |= dict.fromkeys((*TURNS, "overall"), "B")
    assert score_answers("convbench", [row]).overall == pytest.approx(100 / 577)
