"""Prompts, tiles, frames and generation settings, equal to those of VLMEvalKit and of the original scripts."""

import json
import re
from dataclasses import replace
from functools import cache

import pytest
from PIL import Image
from transformers.utils.chat_template_utils import render_jinja_template

from tests.parity.golden import golden_cases
from transformers_internvl.evaluation.benchmarks import Asked
from transformers_internvl.evaluation.prompts import (
    VIDEO_SETS,
    ChatRequest,
    ImageRule,
    asking_style,
    builds_prompt,
    chat_request,
    frame_prompt,
    lay_out,
    max_tiles,
    question_text,
    script_request,
    set_type,
)
from transformers_internvl.evaluation.prompts.original_scripts import flags_of
from transformers_internvl.evaluation.prompts.settings import COT_LONG, AskingStyle
from transformers_internvl.evaluation.prompts.vlmevalkit_sets import TOTAL_TILES
from transformers_internvl.evaluation.prompts.vlmevalkit_videos import candidates_of, lettered
from transformers_internvl.evaluation.run.local import conversation
from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.videos.frame_sampling import segment_indices

FILES = ("authors_scripts.json", "vlmevalkit_image.json", "vlmevalkit_video.json")


@cache
def sections():
    """(folder, file) -> its sections."""
    return {
        (folder.name, name): json.loads((folder / name).read_text(encoding="utf-8"))
        for folder in golden_cases("eval_prompts")
        for name in FILES
        if (folder / name).exists()
    }


def cases(name, section):
    """The cases of a section, of every folder. There must be some."""
    found = [case for (_, file), data in sections().items() if file == name for case in data[section]["cases"]]
    assert found
    return found


def style_of(model, cot):
    """The kit takes its switch for chains of thought from the environment, for any model."""
    if model.startswith("cot_prompt_version v2"):  # no release: a setting of the kit
        return AskingStyle(cot=cot, cot_text=COT_LONG)
    return replace(asking_style(model), cot=cot)


def chat_of(request, sizes):
    """What the kit's recorder saw."""
    tiles = request.num_patches(sizes)
    counts = {"each": tiles, "none": None, "one": [1]}[request.counts]
    return {
        "question": request.question,
        "tiles": sum(tiles) if sizes else None,
        "num_patches_list": counts,
        "generation_config": dict(request.generation),
    }


def without_unknown(seen, expected):
    """Tiles are null in the data for the square image of the first models."""
    if expected["tiles"] is None:
        return {**seen, "tiles": None}
    return seen


def test_image_sets():
    for case in cases("vlmevalkit_image.json", "image_sets"):
        given = case["in"]
        name, row, sizes = given["dataset"], given["row"], given["image_sizes"]
        style = style_of(given["model"], given["use_cot"])
        if "raises" in case:  # the kit divides by the number of images; here a question may have none
            assert case["raises"] == "ZeroDivisionError" and not sizes
            assert chat_request([question_text(row, name, style)], name, style).images == ()
            continue
        out = case["out"]
        assert (set_type(name), builds_prompt(name)) == (out["type"], out["custom_prompt"]), name
        if not out["custom_prompt"]:
            continue
        text = question_text(row, name, style)
        assert [text] == [part["value"] for part in out["message"] if part["type"] == "text"], case
        assert (max_tiles(name), TOTAL_TILES) == (out["max_num"], out["total_max_num"]), name
        request = chat_request([text, *[None] * len(sizes)], name, style)
        expected = out["chat"]
        if "messages" in expected:  # the thinking mode, through another engine
            check_messages(request, expected, len(sizes))
            continue
        assert without_unknown(chat_of(request, sizes), expected) == expected, case


def check_messages(request, expected, images):
    """The engine gets the system message, the question with its marks renamed, and the images behind it."""
    (messages,) = expected["messages"]
    system = [message["content"] for message in messages if message["role"] == "system"]
    (text, *pictures) = messages[-1]["content"]
    assert system == [request.system_message]
    assert text["text"] == request.question.replace("<image>", "<IMAGE_TOKEN>")
    assert len(pictures) == images
    assert dict(request.generation) == expected["generation_config"]


def test_reorganized_prompts():
    for case in cases("vlmevalkit_image.json", "reorganize_prompt"):
        given = case["in"]
        pieces = [None if part["type"] == "image" else part["value"] for part in given["message"]]
        assert sum(piece is None for piece in pieces) == given["image_num"]
        assert lay_out(pieces, given["dataset"]) == case["out"], case


def test_video_sets():
    for case in cases("vlmevalkit_video.json", "video_sets"):
        given, out = case["in"], case["out"]
        name, frames = given["dataset"], given["frames"]
        pieces = VIDEO_SETS[name](given["row"], frames)
        assert ["<frame>" if piece is None else piece for piece in pieces] == out["message_texts"], case
        assert max_tiles(name) == out["max_num"]
        request = chat_request(pieces, name, style_of(given["model"], given["use_cot"]))
        expected = out["chat"]
        seen = chat_of(request, [given["frame_size"]] * frames)
        assert without_unknown(seen, expected) == expected, case


def test_video_prompts():
    for case in cases("vlmevalkit_video.json", "build_video_prompt"):
        assert frame_prompt(case["in"]["prompt"], case["in"]["dataset"]) == case["out"], case


def script_sections():
    """(section, its data) of the original scripts, of every folder."""
    return [item for (_, file), data in sections().items() if file == FILES[0] for item in data.items()]


# Section of the data -> the script that it ran, where the name does not say it.
_SCRIPT_OF = {"mmbench_dev_cn_20231003": "mmbench_cn", "mmbench_dev_20230712": "mmbench"}


def script_of(section):
    """Name of the script, and the data set of `vqa`."""
    if section.startswith("vqa_"):
        return "vqa", section.removeprefix("vqa_")
    if section.startswith("mmbench") or section.startswith("ccbench"):
        return ("mmbench_cn" if "_cn" in section or section.startswith("ccbench") else "mmbench"), None
    return re.sub(r"(_plain|_cot|_dynamic(_max-num_\d+)?)+$", "", section), None


def sizes_of(given):
    """Sizes of the images of a case; where the data does not say, from its tiles."""
    if "image_sizes" in given:
        return given["image_sizes"]
    return [given["image_size"]] * given.get("images", given.get("pages", 1)) if "image_size" in given else None


def test_original_scripts():
    run = 0
    for section, data in script_sections():
        if section == "mvbench_frame_index":
            continue
        script, dataset = script_of(section)
        flags = data["source"]
        most = re.search(r"--max-num (\d+)", flags)
        for case in data["cases"]:
            given, out = case["in"], case["out"]
            if section == "mvbench":
                check_mvbench(given, out)
                run += 1
                continue
            sizes = sizes_of(given)
            request = script_request(
                script,
                given,
                [(448, 448)] if sizes is None else sizes,
                dataset=dataset,
                dynamic="--dynamic" in flags,
                max_tiles=int(most[1]) if most else None,
                cot="--cot" in flags,
            )
            expected = {name: value for name, value in out.items() if name != "scored_text"}
            seen = chat_of(request, [(448, 448)] if sizes is None else sizes)
            if sizes is None:  # the sizes of the images are not in the data
                assert out["tiles"] <= request.images[0].max_tiles + 1
                seen["tiles"] = out["tiles"]
            assert seen == expected, (section, case)
            run += 1
    assert run


def check_mvbench(given, out):
    size, frames = given["frame_size"], given["frames"]
    request = script_request("mvbench", given, [size] * frames, dynamic=given["dynamic"], max_tiles=given["max_num"])
    assert request.question == out["question"]
    assert request.num_patches([size] * frames) == out["num_patches_list"]
    listed = lettered(candidates_of(given), "({}) {}").split("\n")
    assert out["answer"] in listed or given["answer"] not in given["candidates"]
    settings = {"max_new_tokens": 1000, "min_new_tokens": 1, "num_beams": 1, "do_sample": False}
    assert settings.items() <= dict(request.generation).items()


def test_frames_of_mvbench():
    for section, data in script_sections():
        if section == "mvbench_frame_index":
            for case in data["cases"]:
                given = case["in"]
                bound = None if given["bound"] is None else tuple(given["bound"])
                chosen = segment_indices(
                    given["max_frame"],
                    given["num_segments"],
                    fps=given["fps"],
                    bound=bound,
                    first_frame=given["first_idx"],
                )
                assert chosen == case["out"], case


def test_flags_of_the_documentation():
    for folder in golden_cases("eval_prompts"):
        for task, versions in json.loads((folder / "authors_settings.json").read_text()).items():
            for flags, models in (item for version in versions.values() for item in version.items()):
                limit = re.search(r"--max-num (\d+)", flags)
                for model in models:
                    assert flags_of(task, model) == ("--dynamic" in flags, int(limit[1]) if limit else None)
    assert flags_of("vqa-docvqa-val", "InternVL3-8B") == (True, 18)  # as the newest that is documented


def test_models_of_the_kit():
    """Every model name of the kit gets the kit's constructor arguments."""
    for folder in golden_cases("eval_prompts"):
        models = json.loads((folder / "models.json").read_text())
        for model, arguments in models.items():
            if not model.startswith("InternVL"):
                continue
            style = asking_style(model)
            layout = {"V1.1": "square", "V1.2": "square", "V1.5": "joined", "V2.0": "marked"}[arguments["version"]]
            assert (style.layout, style.mpo) == (layout, arguments.get("use_mpo_prompt", False)), model
            assert style.max_new_tokens == arguments.get("max_new_tokens", 4096), model
            assert style.sampled == arguments.get("do_sample", False), model
            assert (style.system_message is not None) == (arguments.get("cot_prompt_version") == "r1"), model


def test_modes_that_a_generation_lacks_are_refused():
    with pytest.raises(ValueError, match="not asked in the mode 'thinking'"):
        asking_style("OpenGVLab/InternVL2-8B", "thinking")


@cache
def rendered(template, pieces):
    """A user's turn as a chat template writes it: texts, and None for each image."""
    items = [{"type": "text", "text": piece} if piece is not None else {"type": "image"} for piece in pieces]
    messages = [{"role": "user", "content": items}]
    text = render_jinja_template([messages], chat_template=get_chat_template(template))[0][0]
    return text.split("<|im_start|>user\n", 1)[1].rsplit("<|im_end|>", 1)[0].replace("<IMG_CONTEXT>", "<image>")


# Sets whose images stand side by side in the middle of a text: the templates put each on a line of its own.
SIDE_BY_SIDE = ("MMSIVideo",)


@pytest.mark.parametrize("template", ["internvl2_5", "internvl_hf"])
def test_chat_templates_write_the_official_questions(template):
    """Content items, through the template of the released checkpoints and that of the -hf ones."""
    seen = 0
    for name, section in (("vlmevalkit_image.json", "image_sets"), ("vlmevalkit_video.json", "video_sets")):
        for case in cases(name, section):
            chat = case.get("out", {}).get("chat")
            if chat is None or "question" not in chat or case["in"]["dataset"].startswith(SIDE_BY_SIDE):
                continue
            images = 1 if chat["num_patches_list"] is None else len(chat["num_patches_list"])
            request = ChatRequest(chat["question"], (ImageRule(),) * images)
            items = conversation(Asked(request, [Image.new("RGB", (1, 1))] * images), None, template == "internvl_hf")
            pieces = tuple(item.get("text") for item in items[0]["content"])
            marked = chat["question"] if "<image>" in chat["question"] else "<image>\n" + chat["question"]
            assert rendered(template, pieces) == marked, case
            seen += 1
    assert seen
