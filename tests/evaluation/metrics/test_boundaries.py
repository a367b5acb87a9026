# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Boundaries of the scorers, worked out by hand."""

import pytest

from transformers_internvl.evaluation.metrics import (
    anls,
    choice_table,
    choices,
    correctness,
    exact_match,
    grounding,
    mathvista,
    mmmu,
    original_sets,
    relaxed_accuracy,
    video,
    vqa_accuracy,
    yes_no,
)
from transformers_internvl.evaluation.metrics.arithmetic import arithmetic_value
from transformers_internvl.evaluation.metrics.correctness import _letter as option_letter
from transformers_internvl.evaluation.metrics.extraction import boxed_content, final_answer, split_thoughts
from transformers_internvl.evaluation.metrics.reading import read_answers
from transformers_internvl.evaluation.metrics.spreadsheet import through_spreadsheet


def test_anls_counts_half_and_drops_less():
    assert anls.anls(["abcd"], "abxy") == 0.5
    assert anls.anls(["abcde"], "abxyz") == 0
    assert anls.anls([""], "") == 1
    assert anls.anls(["a b"], "A   b") == 1
    assert anls.anls(["ß"], "x") == 0.5  # one edit, of the length of SS
    with pytest.raises(ValueError, match="at least one accepted answer"):
        anls.anls([], "x")


def test_five_percent_is_still_right():
    assert relaxed_accuracy.relaxed_correctness("100", "105")
    assert not relaxed_accuracy.relaxed_correctness("100", "105.01")
    assert relaxed_accuracy.relaxed_correctness("50%", "0.5")
    assert not relaxed_accuracy.relaxed_correctness("nan", "nan ")
    assert relaxed_accuracy.relaxed_correctness("0", "0") and not relaxed_accuracy.relaxed_correctness("0", "0.0")
    # The original scripts take the tolerance of the prediction.
    assert relaxed_accuracy.relaxed_accuracy_internvl(["95"], "100")
    assert not relaxed_accuracy.relaxed_accuracy_internvl(["100"], "95")


def test_vqa_accuracy_leaves_each_annotator_out():
    answers = ["cat"] * 3 + ["dog"] * 7
    assert vqa_accuracy.textvqa_accuracy(answers, "a cat") == pytest.approx((7 * 1 + 3 * 2 / 3) / 10)
    assert vqa_accuracy.textvqa_accuracy(["cat"] + ["dog"] * 9, "cat") == pytest.approx(9 * (1 / 3) / 10)


def test_only_the_first_32_stops_go():
    assert vqa_accuracy.normalise_evalai("a." * 40).count(".") == 8
    assert vqa_accuracy.normalise_vlmevalkit("5.") == "5." and vqa_accuracy.normalise_evalai("5.") == "5"


def test_gqa_strips_stops_alone():
    assert exact_match.gqa_prediction("Red..") == "red" and exact_match.gqa_prediction("red. ") == "red. "


def test_an_option_is_among_the_last_four_words():
    options = {"A": "cat", "B": "dog"}
    assert choices.can_infer_option("B one two three", options) == "B"
    assert choices.can_infer_option("B one two three four", options) == ""
    assert choices.can_infer_option("A or B", options) == ""
    assert choices.can_infer_text("a dog", options) == "B"
    assert choices.can_infer_text("a dog and a long text after it", options) == ""


def test_original_option_rules():
    options = {"A": "cat", "B": "dog"}
    assert choices.post_process_internvl("Apple", options) == "A"
    assert choices.post_process_internvl(" ", options) == ""
    assert (
        choices.post_process_scienceqa("(C) x", options) == "C"
        and choices.post_process_scienceqa("(x", options) == "(x"
    )


def test_circular_questions_need_every_rotation():
    first = {"index": 1, "A": "cat", "B": "dog", "answer": "A", "prediction": "A"}
    second = {"index": 1_000_001, "A": "dog", "B": "cat", "answer": "B", "prediction": "B"}
    assert choice_table.score_mmbench_circular([first, second]).overall == 100
    assert choice_table.score_mmbench_circular([first, second | {"prediction": "A"}]).overall == 0
    undecided = second | {"prediction": "zebra"}
    assert choice_table.circular_group([first, undecided], ["A", "B"]) is None
    assert choice_table.score_mmbench_circular([first, undecided]).samples == (0.0, None)
    with pytest.raises(ValueError, match="Row 0: .index. must be a whole number"):
        choice_table.score_mmbench_circular([first | {"index": "a"}])


def test_pairs_of_mmvp_must_be_pairs():
    row = {"index": 0, "question": "q", "A": "x", "B": "y", "answer": "A", "prediction": "A"}
    with pytest.raises(ValueError, match="two rows for each pair, got 1 rows"):
        choice_table.score_mmvp_vlmevalkit([row])
    with pytest.raises(ValueError, match="are a pair of MMVP"):
        choice_table.score_mmvp_vlmevalkit([row, row | {"index": 1, "question": "other"}])


def test_yes_and_no_together_are_neither():
    assert yes_no.yes_or_no_vlmevalkit("Yes, not no.") == "Unknown"
    assert yes_no.pope_answer_internvl("") == "yes" and yes_no.pope_answer_internvl("I see. No") == "yes"
    assert yes_no.mme_answer("not sure") == "no" and yes_no.mme_answer("oh, yes") == "other"
    assert yes_no.mme_post_processing("不是") == "no"


def test_an_image_of_mme_is_right_with_both_questions():
    rows = [
        {"category": "OCR", "answer": answer, "prediction": said}
        for answer, said in (("Yes", "Yes"), ("No", "Yes"), ("Yes", "yes."), ("No", "no"))
    ]
    assert yes_no.score_mme_internvl(rows).overall == 75 + 50
    with pytest.raises(ValueError, match="two questions of each image, got 3 rows"):
        yes_no.score_mme_internvl(rows[:3])
    with pytest.raises(ValueError, match="must have a task"):
        yes_no.score_mme_internvl([rows[0] | {"category": "ocr"}])


def test_a_box_is_read_by_its_largest_number():
    assert grounding.to_absolute((0.1, 0.2, 1.5, 0.4), 100, 200) == (10, 40, 100, 80)
    assert grounding.to_absolute((100, 200, 1000, 400), 100, 200) == (10, 40, 100, 80)
    assert grounding.to_absolute((90, 1, 10, 1001), 100, 2000) == (10, 1, 90, 1001)  # pixels, corners in order
    assert grounding.parse_prediction("a 1 b 2 c 3") is None
    # The original script: numbers whose sum is below 4 are shares.
    assert grounding.refcoco_internvl("[0, 0, 2, 1]", (0, 0, 200, 100), 100, 100) == 1
    assert grounding.refcoco_internvl("[0, 0, 2, 2]", (0, 0, 200, 100), 100, 100) < 1e-5
    with pytest.raises(ValueError, match="needs the true box"):
        grounding.true_box({"width": 10, "height": 10})


def test_mmmu_takes_the_last_letter_in_brackets():
    assert mmmu.parse_multi_choice_response("(A) or (B)", ["x", "y"]) == "B"
    assert mmmu.parse_multi_choice_response("neither", ["x", "y"]) == ""
    assert mmmu.parse_mmmu_pro_response("USA today", ["x", "y"]) == "A"
    assert mmmu.eval_open("a", mmmu.parse_open_response("It is a"))
    assert not mmmu.eval_open("a", mmmu.parse_open_response("It is cat"))
    assert mmmu.eval_open("1,234", mmmu.parse_open_response("So 1234.004"))
    with pytest.raises(ValueError, match="must be split_Subject_number"):
        mmmu.score_mmmu([{"id": "x_Nothing_1", "answer": "A", "prediction": "A"}])


def test_mathvista_takes_the_most_similar_option():
    question = {"question_type": "multi_choice", "answer_type": "text", "choices": ["12", "21"], "precision": None}
    assert mathvista.normalize_extracted_answer("(b) or (a)", question) == "21"
    assert mathvista.normalize_extracted_answer("2", question) == "12"
    number = {"question_type": "free_form", "answer_type": "float", "choices": None, "precision": 1}
    assert mathvista.normalize_extracted_answer("2.45", number) == str(round(2.45, 1))
    assert mathvista.normalize_extracted_answer("inf", number | {"answer_type": "integer"}) is None


def test_an_empty_answer_is_right_in_mvbench():
    assert video.mvbench_internvl("", "(A) cat") and video.mvbench_vlmevalkit("(", "(A) cat")
    assert not video.mvbench_vlmevalkit("cat", "(A) cat") and video.check_ans_advanced("cat", "(A) cat.")
    assert video.extract_characters_videomme("Cannot") == "C"


def test_mean_relative_accuracy_by_hand():
    assert video.mean_relative_accuracy("10 m", "10") == 1
    assert video.mean_relative_accuracy("7.4", "10") == pytest.approx(5 / 10)  # within 0.5 to 0.3, not 0.25
    assert video.mean_relative_accuracy("ten", "10") is None
    assert video.mean_relative_accuracy("0", "0") == 1 and video.mean_relative_accuracy("1", "0") == 0


def test_formats_of_mpo():
    assert correctness.parse_answer("a\nb\nFinal answer: x", "en") == ("a\nb", "x")
    with pytest.raises(ValueError, match="must be en, zh"):
        correctness.parse_answer("x", "fr")
    with pytest.raises(ValueError, match="must be of .*got bleu"):
        correctness.check_answer("a", "b", ["bleu"])


def test_thoughts_are_split_off():
    assert split_thoughts("<think>a</think>\nB") == ("a", "B")
    assert split_thoughts("a</think>B") == ("a", "B")  # where the template opens the thoughts
    assert split_thoughts("<think>never ends") == ("never ends", "")
    assert split_thoughts(" B ") == ("", " B ")


def test_boxes_and_final_answers():
    assert boxed_content(r"\boxed{1} \boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert boxed_content(r"\boxed{1") == r"\boxed{1"
    assert final_answer("x\nFINAL ANSWER:\n\n B. \nmore") == "B."


def test_lists_in_cells_are_read_without_running_them():
    assert read_answers("['a', 'b']") == ["a", "b"] and read_answers("[1/2, -3]") == [0.5, -3]
    assert read_answers("[__import__('os')]") == ["[__import__('os')]"]
    assert read_answers("a") == ["a"] and read_answers("[1") == ["[1"]
    assert arithmetic_value("abs(-2) < 3") is True and arithmetic_value("2 * a", {"a": 3}) == 6
    with pytest.raises(ValueError, match="too large"):
        arithmetic_value("9**9**9")
    with pytest.raises(ValueError, match="No arithmetic"):
        arithmetic_value("open('x')")


def test_what_a_spreadsheet_does_to_columns():
    rows = through_spreadsheet(
        [
            {"whole": "05", "broken": "1", "text": "05", "truth": "true", "mark": "None"},
            {"whole": " 7", "broken": "", "text": "x", "truth": "False", "mark": "a\rb"},
        ]
    )
    assert [row["whole"] for row in rows] == [5, 7]
    assert [row["broken"] for row in rows] == [1.0, None] and isinstance(rows[0]["broken"], float)
    assert [row["text"] for row in rows] == ["05", "x"]
    assert [row["truth"] for row in rows] == [True, False]
    assert [row["mark"] for row in rows] == [None, "a_x000D_b"]
    assert through_spreadsheet([{"a": "1_000"}, {"a": "１２"}]) == [{"a": "1_000"}, {"a": "１２"}]


def test_words_of_numbers_in_mirb():
    words = {"zero": "0", "one": "1", "ten": "10", "first": "1", "second": "2", "tenth": "10"}
    assert [original_sets.mirb(word, number, "count") for word, number in words.items()] == [1.0] * 6
    assert original_sets.mirb("second", "3", "count") == 0


def test_whole_numbers_stay_whole_in_a_spreadsheet():
    def cells(*texts):
        return [row["prediction"] for row in through_spreadsheet([{"prediction": text} for text in texts])]

    assert [str(cell) for cell in cells("05", "-7")] == ["5", "-7"]
    assert [str(cell) for cell in cells("05", "")] == ["5.0", "None"]
    largest = str(2**64 - 1)
    assert cells(largest) == [2**64 - 1] and cells(str(2**64)) == [str(2**64)]
    assert cells(str(-(2**63))) == [-(2**63)] and cells(str(-(2**63) - 1)) == [str(-(2**63) - 1)]


def test_rotations_of_questions_with_large_indexes():
    row = {"A": "cat", "B": "dog", "split": "dev", "category": "c", "l2-category": "l"}
    rows = [{**row, "index": 70_000, "answer": "A", "prediction": "A"}]
    rows.append({**row, "index": 1_070_000, "A": "dog", "B": "cat", "answer": "B", "prediction": "B"})
    assert choice_table.score_mmbench_circular(rows).samples == (1.0, None)


def test_first_characters_in_seed_may_be_of_any_script():
    rows = [{"question_type_id": 1, "answer": "甲", "prediction": said} for said in ("甲。", "乙")]
    assert original_sets.score_seed_internvl(rows).samples == (1.0, 0.0)


def test_the_letter_of_an_option_begins_a_prediction():
    for prediction in ("B", "b", " **B** ", "B. cat", "b) cat", "B cat", "(B) cat", "(b)"):
        assert option_letter(prediction) == "B", prediction
    for prediction in ("", "**", "Bs", "Z. cat", "(B", "(Bs)", "(Z)", "cat (B)"):
        assert option_letter(prediction) is None, prediction
