"""Answers of a file, scored by the command, have the official scorers' tables: from files in VLMEvalKit's columns."""

import json

import pytest

from internvl_cli import main
from tests.parity.golden import golden_cases

# File, section -> the data set, or None where each case names its own, and the factor from its shares to our percent.
SECTIONS = {
    ("mmbench.json", "circular"): (None, "mmbench_circular"),
    ("mmbench.json", "vanilla_sets"): (None, "mcq_vlmevalkit"),
    ("mmbench.json", "mmmu_vlmevalkit"): ("MMMU_DEV_VAL", "mmmu_vlmevalkit"),
    ("yes_no.json", "vlmevalkit_pope"): ("POPE", "pope_vlmevalkit"),
    ("yes_no.json", "hallusionbench"): ("HallusionBench", "hallusionbench"),
    ("ocrbench.json", "mtvqa"): ("MTVQA_TEST", "mtvqa"),
    ("relaxed_accuracy.json", "vlmevalkit_table"): (None, None),
}
# A scorer of short answers is chosen by the name of the set.
SHORT_ANSWERS = {
    "TextVQA": "vqa_accuracy_vlmevalkit",
    "ChartQA": "relaxed_accuracy_vlmevalkit",
    "OCRVQA": "ocrvqa_vlmevalkit",
    "GQA": "gqa_vlmevalkit",
    "DocVQA": "anls_vlmevalkit",
    "InfoVQA": "anls_vlmevalkit",
}


def rows_of(case):
    return case["in"]["rows"] if isinstance(case["in"], dict) else case["in"]


def numbers(table, path=()):
    """The numbers of a nested table, by their path in lower case; None of what is not one."""
    found = {}
    for name, value in table.items():
        place = (*path, str(name).lower())
        if isinstance(value, dict):
            found |= numbers(value, place)
        else:
            found[place] = None if value is None else float(value)
    return found


@pytest.mark.parametrize(("file", "section"), SECTIONS)
def test_fixed_answers_have_the_official_scores(file, section, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dataset, metric = SECTIONS[file, section]
    run = 0
    for folder in golden_cases("eval_metrics"):
        if not (folder / file).exists():
            continue
        for number, case in enumerate(json.loads((folder / file).read_text(encoding="utf-8"))[section]["cases"]):
            if "raises" in case or number >= 6:  # all cases: test_eval_metrics; here the way to the scorer
                continue
            name = dataset or case["in"]["dataset"]
            scorer = metric or next(value for part, value in SHORT_ANSWERS.items() if part in name)
            check(rows_of(case), case["out"], name, scorer, f"{run}")
            run += 1
    assert run


def check(rows, expected, name, metric, where):
    data = f"data-{where}"
    write(data, name, [{"index": number, **row} for number, row in enumerate(rows)])
    arguments = ["--data", data, "--answers", f"{data}/answers.jsonl", "--metric", metric, "--prompts", "vlmevalkit"]
    code = main(["evaluate", "--task", name, *arguments, "--output", f"out-{where}", "--no-plot"])
    assert code == 0
    with open(f"out-{where}/scores.json") as file:
        (task,) = json.load(file)["tasks"]
    got, wanted = numbers(task["table"]), numbers(expected.get("table", expected))
    shared = {place: value for place, value in wanted.items() if place in got}
    assert shared, (sorted(got), sorted(wanted))
    for place, value in shared.items():
        if value is None:
            assert got[place] is None
        else:
            assert got[place] == pytest.approx(value, abs=1e-9) or got[place] == pytest.approx(100 * value, abs=1e-9)


def write(data, name, rows):
    from pathlib import Path

    folder = Path(data)
    folder.mkdir()
    answers = [{"index": row["index"], "prediction": row["prediction"]} for row in rows]
    questions = [
        {"question": "q", **{key: value for key, value in row.items() if key != "prediction"}} for row in rows
    ]
    for file, lines in ((f"{name}.jsonl", questions), ("answers.jsonl", answers)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / file).write_text(text, encoding="utf-8")
