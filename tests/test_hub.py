# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Loading from and pushing to the Hub, with the real client against the endpoint of `hub_endpoint.py`.

The checks of a part share a process, since the start of one costs seconds; what they say is compared here.
"""

import json
import re

import pytest
from huggingface_hub import ModelCard

from tests.hub_endpoint import TOKEN, Hub
from tests.llava import write_folder
from tests.parity.golden import golden_root
from transformers_internvl import nano_path

GOLDEN = golden_root()

HEAD = """
import json, sys
import transformers_internvl
from transformers import AutoBackbone, AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageTextToText
from transformers import AutoProcessor, AutoTokenizer
said = {}
def error_of(load, *arguments, **options):
    try:
        load(*arguments, **options)
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"
"""
TAIL = "\nprint(json.dumps(said))"

READ = """
at = dict(revision="v2", subfolder="authors")
model = AutoModel.from_pretrained("org/parts", **at)
said["authors"] = [type(model).__name__, model.config.image_token_id, model.generation_config.eos_token_id[0]]
processor = AutoProcessor.from_pretrained("org/parts", **at)
said["authors"] += [type(processor).__name__, type(AutoTokenizer.from_pretrained("org/parts", **at)).__name__]
said["authors"] += [type(transformers_internvl.load_tokenizer("org/parts", **at)).__name__]
for part in ("hf", "dual", "llava"):
    at = dict(revision="v2", subfolder=part)
    parts = [AutoConfig, AutoModel, AutoProcessor, AutoTokenizer] + [AutoImageProcessor] * (part == "dual")
    said[part] = [type(each.from_pretrained("org/parts", **at)).__name__ for each in parts]
at = dict(revision="v2", subfolder="vit")
said["vit"] = [type(each.from_pretrained("org/parts", **at)).__name__ for each in (AutoModel, AutoBackbone)]
for revision in ("main", "v2"):
    model = AutoModelForImageTextToText.from_pretrained("org/chat", revision=revision)
    processor = AutoProcessor.from_pretrained("org/chat", revision=revision)
    ids = processor.tokenizer("<IMG_CONTEXT>").input_ids[-1]
    said[revision] = [model.config.image_token_id, ids, type(processor.tokenizer).__name__]
said["no tokenizer"] = error_of(AutoProcessor.from_pretrained, "org/parts", revision="v2", subfolder="bare")
said["gated"] = [error_of(each.from_pretrained, "org/gated", token=False) for each in (AutoModel, AutoProcessor)]
said["gated"] += [error_of(AutoBackbone.from_pretrained, "org/gated", token=False)]
said["member"] = type(AutoBackbone.from_pretrained("org/gated", token=TOKEN)).__name__
said["missing"] = [error_of(each.from_pretrained, "org/none") for each in (AutoModel, AutoProcessor, AutoBackbone)]
said["revision"] = error_of(AutoModel.from_pretrained, "org/chat", revision="v3")
"""

VERBS = """
from pathlib import Path
from PIL import Image
from transformers_internvl.cli import main

home = Path(sys.argv[1])
Image.new("RGB", (90, 60)).save(home / "picture.png")
verbs = [
    ["inspect", home / "picture.png", "--model", "org/chat"],
    ["chat", "--model", "org/base", "--max-new-tokens", 1, "--image", home / "picture.png", "What?"],
    ["profile", "org/chat"],
    ["plan", "org/chat", "--gpus", "1x80GB"],
    ["convert", "org/chat", home / "converted", "--to", "hf", "--revision", "v2"],
    ["verify", "org/chat", home / "converted", "--no-forward"],
    ["surgery", "add-tokens", "org/chat", home / "longer", "--tokens", "<mark>"],
]
said["verbs"] = [main([str(word) for word in verb]) for verb in verbs]
"""


OFFLINE = """
import huggingface_hub
huggingface_hub.constants.HF_HUB_OFFLINE = True  # as the variable of that name, which is read by the import
model = AutoModelForImageTextToText.from_pretrained("org/chat", revision="v2")
processor = AutoProcessor.from_pretrained("org/chat", revision="v2")
said["v2"] = [model.config.image_token_id, type(processor.tokenizer).__name__]
said["backbone"] = type(AutoBackbone.from_pretrained("org/parts", revision="v2", subfolder="vit")).__name__
said["not cached"] = error_of(AutoModel.from_pretrained, "org/other")
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    llava = tmp_path_factory.mktemp("llava")
    write_folder(llava)
    parts = {"authors": GOLDEN / "chat_internlm2", "hf": nano_path(), "dual": GOLDEN / "internvl_14b"}
    parts["vit"] = GOLDEN / "intern_vit_300m"
    with Hub(tmp_path_factory.mktemp("home")) as hub:
        hub.add("org/parts", {}, **{"README.md": b"nothing here"})
        hub.add("org/parts", parts | {"bare": GOLDEN / "chat_qwen2_5", "llava": llava}, branch="v2")
        hub.add("org/chat", {"": GOLDEN / "chat_qwen2"})
        hub.add("org/chat", {"": GOLDEN / "chat_internlm2"}, branch="v2")
        hub.add("org/gated", {"": GOLDEN / "intern_vit_300m"}).gated = True
        hub.add("org/base", {"": nano_path()}, **{"README.md": b"---\nlicense: mit\n---\n# The base\n"})
        yield hub


def ids_of(case: str) -> dict:
    return json.loads((GOLDEN / case / "ids.json").read_text())


def test_reading(hub, tmp_path):
    """Ids, revisions, subfolders; verbs; a download that breaks off; gated and missing repositories; then offline."""
    hub.break_downloads["hf/model.safetensors"] = 10_500_000  # of eleven million; the client writes by ten MiB
    code = HEAD + f"TOKEN = {TOKEN!r}" + READ + VERBS + TAIL
    said = json.loads(hub.client(code, tmp_path).splitlines()[-1])
    second, first = ids_of("chat_internlm2"), ids_of("chat_qwen2")
    ids = [second["image_token_id"], second["eos_token_id"]]
    assert said["authors"] == ["InternVLChatModel", *ids, "InternVLProcessor", *["InternLM2Tokenizer"] * 2]
    assert said["hf"][:3] == ["InternVLConfig", "InternVLModel", "InternVLProcessor"]
    assert said["dual"][1:4] == [
        "InternVLDualEncoderModel",
        "InternVLDualEncoderProcessor",
        "InternVLDualEncoderTokenizer",
    ]
    assert said["llava"][1:3] == ["InternVLLlavaForConditionalGeneration", "InternVLLlavaProcessor"]
    assert said["vit"] == ["InternVisionModel", "InternVisionBackbone"]
    assert said["main"][:2] == [first["image_token_id"]] * 2 and said["main"][2] == "Qwen2Tokenizer"
    assert said["v2"][:2] == [second["image_token_id"]] * 2 and said["v2"][2] == "InternLM2Tokenizer"

    assert "There is no tokenizer in 'org/parts/bare'" in said["no tokenizer"]
    assert all(error.startswith("OSError") and "gated repo" in error for error in said["gated"]), said["gated"]
    assert said["member"] == "InternVisionBackbone"
    assert all(error.startswith("OSError") and "org/none" in error for error in said["missing"]), said["missing"]
    assert "v3" in said["revision"] and said["revision"].startswith("OSError")

    commits = hub.repositories["org/chat"].branches
    asked = {path.split("/")[4] for _, path, _ in hub.log if path.startswith("/org/chat/resolve/")}
    assert asked - {"v3"} == set(
        commits.values()
    )  # every file of the commit that the revision named, none by a branch's name
    # `verify` sees that the second revision of `org/chat`, which was converted, is another model than the first.
    assert said["verbs"] == [0, 0, 0, 0, 0, 1, 0]

    assert not hub.break_downloads
    resumed = [ranged for _, path, ranged in hub.log if path.endswith("/hf/model.safetensors") and ranged]
    assert len(resumed) == 1 and int(re.fullmatch(r"bytes=(\d+)-", resumed[0])[1]) > 0

    hub.log.clear()
    said = json.loads(hub.client(HEAD + OFFLINE + TAIL).splitlines()[-1])
    assert said["v2"] == [second["image_token_id"], "InternLM2Tokenizer"]
    assert said["backbone"] == "InternVisionBackbone"
    assert said["not cached"].startswith("OSError") and "offline mode" in said["not cached"]
    assert hub.log == []


PUSH = """
from transformers import AutoModelForImageClassification, AutoModelForSemanticSegmentation
from huggingface_hub import ModelCard
from peft import LoraConfig, get_peft_model
from transformers import TrainingArguments
from transformers_internvl.training.lora import lora_config
from transformers_internvl.training.trainers.trainer import InternVLTrainer

model = AutoModelForImageTextToText.from_pretrained("org/base")
processor = AutoProcessor.from_pretrained("org/base")
processor.push_to_hub("me/tuned")
said["alone"] = ModelCard.load("me/tuned").content
model.push_to_hub("me/tuned", tags=["shapes"])
tower = dict(revision="v2", subfolder="vit")
AutoModel.from_pretrained("org/parts", **tower).push_to_hub("me/tower")
AutoImageProcessor.from_pretrained("org/parts", **tower).push_to_hub("me/tower")
for head in (AutoModelForImageClassification, AutoModelForSemanticSegmentation):
    repo = f"me/{head.__name__}"
    head.from_pretrained("org/parts", **tower).push_to_hub(repo)
    AutoImageProcessor.from_pretrained("org/parts", **tower).push_to_hub(repo)
dual = dict(revision="v2", subfolder="dual")
AutoModel.from_pretrained("org/parts", **dual).push_to_hub("me/dual")
AutoProcessor.from_pretrained("org/parts", **dual).push_to_hub("me/dual")
model.push_to_hub("me/written")
model.push_to_hub("me/written", revision="draft")

trained = InternVLTrainer(model, TrainingArguments(sys.argv[1], hub_model_id="me/trained", report_to=[]))
trained.processing_class = processor
trained.push_to_hub()

wrapped = get_peft_model(model, lora_config("llm", model, r=2))
wrapped.push_to_hub("me/adapter")
transformers_internvl.create_model_card(wrapped, "me/adapter", license="apache-2.0").push_to_hub("me/adapter")
model = AutoModelForImageTextToText.from_pretrained("org/base")
said["added"] = error_of(model.add_adapter, lora_config("llm", model, r=2))
said["refused"] = error_of(model.push_to_hub, "me/refused", token="hf_of_a_stranger")
"""

RUN = """
from huggingface_hub import ModelCard
said["ran"] = []
for repo in sys.argv[1:]:
    exec(ModelCard.load(f"me/{repo}").text.split("```python\\n")[1].split("```")[0], {})
    said["ran"].append(repo)
"""


def test_pushing(hub, tmp_path):
    """Models, processors and adapters, each with its card, whose snippets run; a card that is there stays."""
    written = b"---\nlicense: mit\n---\n# By hand\n"
    hub.add("me/written", {}, **{"README.md": written})
    code = HEAD + PUSH + TAIL
    said = json.loads(hub.client(code, tmp_path / "run", HF_TOKEN=TOKEN).splitlines()[-1])
    heads = ("AutoModelForImageClassification", "AutoModelForSemanticSegmentation")
    repositories = ("tuned", "tower", "dual", "trained", "adapter", *heads)
    files = {repo: hub.repositories[f"me/{repo}"].files() for repo in repositories}
    cards = {repo: ModelCard(there["README.md"].decode()) for repo, there in files.items()}

    assert 'AutoProcessor.from_pretrained("me/tuned")' in said["alone"]
    data = cards["tuned"].data
    assert (data.pipeline_tag, data.library_name, data.license) == ("image-text-to-text", "transformers", "mit")
    assert (data.base_model, data.base_model_relation) == ("org/base", "finetune")
    assert data.tags == ["internvl", "shapes"]
    assert {"model.safetensors", "tokenizer.json", "processor_config.json"} <= set(files["tuned"])
    assert cards["tower"].data.pipeline_tag == "image-feature-extraction"
    assert [cards[repo].data.pipeline_tag for repo in heads] == ["image-classification", "image-segmentation"]
    assert cards["tower"].data.license is None and "Not stated" in cards["tower"].text
    assert cards["dual"].data.pipeline_tag == "zero-shot-image-classification"
    data = cards["adapter"].data
    assert (data.pipeline_tag, data.library_name) == ("image-text-to-text", "peft")
    assert (data.base_model, data.base_model_relation) == ("org/base", "adapter")
    assert "adapter_model.safetensors" in files["adapter"] and "model.safetensors" not in files["adapter"]
    assert data.license == "apache-2.0" and "get_peft_model" in said["added"]
    data = cards["trained"].data
    assert (data.pipeline_tag, data.base_model, data.license) == ("image-text-to-text", "org/base", "mit")
    assert "Training procedure" in cards["trained"].text and "generated_from_trainer" in data.tags
    for branch in ("main", "draft"):
        there = hub.repositories["me/written"].files(branch)
        assert there["README.md"] == written and "model.safetensors" in there
    assert "refused" not in hub.repositories and "401" in said["refused"]

    said = json.loads(hub.client(HEAD + RUN + TAIL, *repositories, HF_TOKEN=TOKEN).splitlines()[-1])
    assert set(said["ran"]) == set(files)
