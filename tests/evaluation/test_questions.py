"""Files of questions in VLMEvalKit's columns: cells, images, videos, and what is refused."""

import base64
import json
from io import BytesIO

import pytest
from PIL import Image

from tests.clips import write_clip
from transformers_internvl.evaluation.benchmarks import (
    Asking,
    Questions,
    ask,
    find_benchmark,
    find_table,
    open_table,
)
from transformers_internvl.evaluation.prompts import asking_style


def png(color, size=(8, 6)):
    buffer = BytesIO()
    Image.new("RGB", size, color).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def write_tsv(path, header, rows):
    quoted = ["\t".join('"' + str(cell).replace('"', '""') + '"' for cell in row) for row in rows]
    path.write_text("\n".join(["\t".join(header), *quoted]) + "\n", encoding="utf-8")
    return path


def test_cells_of_tsv_files(tmp_path):
    rows = [("0", 'a "quoted"\nquestion', "1.50", "NA", "", "007"), ("7", "猫\t狗", "None", "nan", "x", "3")]
    path = write_tsv(tmp_path / "a.tsv", ("index", "question", "A", "B", "C", "width"), rows)
    table = open_table(path)
    first = {"index": 0, "question": 'a "quoted"\nquestion', "A": 1.5, "B": None, "C": None, "width": 7}
    assert table.row(0) == first
    second = {"index": 7, "question": "猫\t狗", "A": None, "B": None, "C": "x", "width": 3}
    assert table.light(1) == table.row(1) == second
    assert table.where(1) == f"{path}, line 4"  # the first question has two lines


def test_cells_are_those_of_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    cells = {
        "whole": ("1", "-2", "+3"),
        "gap": ("1", "", "3"),
        "number": ("1", "2.5", "1e3"),
        "text": ("1", "x", "NA"),
        "truth": ("True", "False", "True"),
        "half": ("True", "", "False"),
        "percent": ("10%", "5", "1"),
        "comma": ("1,000", "2", "3"),
        "empty": ("", "", ""),
    }
    path = write_tsv(tmp_path / "a.tsv", tuple(cells), list(zip(*cells.values(), strict=True)))
    table, frame = open_table(path), pandas.read_csv(path, sep="\t")
    for number in range(3):
        for name, cell in table.row(number).items():
            theirs = frame.iloc[number][name]
            assert (cell is None and pandas.isna(theirs)) or str(cell) == str(frame[name].iloc[number]), (name, cell)


def test_images_of_tsv_files(tmp_path):
    Image.new("RGB", (5, 4), "blue").save(tmp_path / "blue.png")
    rows = [
        ("0", "one", png("red")),
        ("1", "that of row 0", "0"),
        ("2", "several", json.dumps([png("red", (9, 9)), png("green", (7, 7))])),
        ("3", "a path", "blue.png"),
        ("4", "none", ""),
        ("5", "several, as Python writes lists", str([png("red", (3, 3)), "blue.png"])),
    ]
    questions = Questions(open_table(write_tsv(tmp_path / "a.tsv", ("index", "question", "image"), rows)), tmp_path)
    sizes = [[image.size for image in questions.images(number)] for number in range(len(questions))]
    assert sizes == [[(8, 6)], [(8, 6)], [(9, 9), (7, 7)], [(5, 4)], [], [(3, 3), (5, 4)]]
    assert "image" not in questions.rows[0]


def test_image_paths_stand_in_for_images(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"question": "q", "image_path": ["a.png", "a.png"]}) + "\n")
    questions = Questions(open_table(path), tmp_path)
    assert [image.size for image in questions.images(0)] == [(5, 4), (5, 4)]
    assert questions.rows[0]["index"] == "0"


def test_parquet_files_and_folders(tmp_path):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list(
        [{"question": "q", "answer": "a", "image_1": {"bytes": base64.b64decode(png("red")), "path": None}}]
    )
    (tmp_path / "set").mkdir()
    table.to_parquet(str(tmp_path / "set" / "part-0.parquet"))
    questions = Questions(find_table(tmp_path, "set"), tmp_path)
    assert questions.rows[0]["answer"] == "a"
    assert questions.images(0)[0].size == (8, 6)


def test_data_sets_of_the_hub_library(tmp_path):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list([{"question": "q", "answer": "a"}, {"question": "r", "answer": "b"}])
    (tmp_path / "data").mkdir()
    table.to_parquet(str(tmp_path / "data" / "test-0.parquet"))
    questions = Questions(open_table(f"hf:{tmp_path}:test"))
    assert [row["question"] for row in questions.rows] == ["q", "r"]
    assert questions.where_of(1) == f"hf:{tmp_path}:test, row 2"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "index\tquestion\n0\n", "line 2: expected 2 cells"),
        ("a.tsv", "", "is empty"),
        ("a.jsonl", "[1]\n", "expected objects"),
        ("a.jsonl", "{\n", "cannot be read"),
        ("a.csv", "a,b\n", "one of the kinds"),
        ("a.tsv", "index\tquestion\n1\ta\n1\tb\n", "the index '1' is already that of"),
        ("a.tsv", "index\tquestion\n", "holds no question"),
    ],
)
def test_what_is_no_file_of_questions(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        Questions(open_table(tmp_path / name))


def test_broken_images_are_named(tmp_path):
    path = write_tsv(tmp_path / "a.tsv", ("index", "question", "image"), [("0", "q", "nowhere.png")])
    with pytest.raises(ValueError, match="line 2: an image cannot be read"):
        Questions(open_table(path), tmp_path).images(0)


def test_benchmarks_are_found_by_either_name():
    assert find_benchmark("DocVQA_VAL") is find_benchmark("docvqa_val")
    assert find_benchmark("RefCOCO").where is None
    assert find_benchmark("3DSRBench").dataset == "3DSRBench"  # without a row of its own
    with pytest.raises(ValueError, match="Did you mean docvqa_val"):
        find_benchmark("docvqa_vall")


def test_subtitles_of_the_frames(tmp_path):
    blocks = ["1\n00:00:00,000 --> 00:00:01,200\nHello\nthere", "2\n00:00:01,200 --> 00:00:09,000\nagain"]
    (tmp_path / "a.srt").write_text("\n\n".join(blocks) + "\n")
    write_clip(tmp_path / "a.mp4", range(0, 240, 20), rate=4)  # 12 frames, 3 seconds
    row = {"video": "a", "question": "q", "candidates": "['A. x', 'B. y']", "subtitle_path": "a.srt"}
    (tmp_path / "Video-MME.jsonl").write_text(json.dumps(row) + "\n")
    benchmark = find_benchmark("video_mme_subtitles")
    questions = Questions(find_table(tmp_path, benchmark.file), tmp_path)
    asked = ask(benchmark, questions, 0, Asking(asking_style("InternVL2_5-8B"), frames=3))
    assert "listed below:\nHello there\nagain\nagain\nSelect the best" in asked.request.question  # frames 3, 6 and 9
    (tmp_path / "a.srt").write_text("1\n0:0 --> 1\nx")
    with pytest.raises(ValueError, match="expected a time"):
        ask(benchmark, questions, 0, Asking(asking_style("InternVL2_5-8B"), frames=3))
