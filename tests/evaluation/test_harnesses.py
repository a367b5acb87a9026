# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The model for lmms-eval gives the answers of `internvl evaluate`, in any batch.

lmms-eval itself is not among the packages of the tests. A stand-in has the names that our module imports from it.
"""

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType, SimpleNamespace

import pytest
import torch
from PIL import Image

from transformers_internvl.evaluation.benchmarks.asking import Asked
from transformers_internvl.evaluation.prompts import ChatRequest, ImageRule, default_system_message
from transformers_internvl.evaluation.run import LocalModel
from transformers_internvl.evaluation.run.jobs import Job
from transformers_internvl.nano import nano_path

MODULE = "transformers_internvl.evaluation.harnesses.lmms_eval"
COLORS = ("red", "blue", "green")
TOKENS = {"max_new_tokens": 4, "temperature": 0, "do_sample": False}


@dataclass
class TokenCounts:
    output_tokens: int | None = None


@dataclass
class GenerationResult:
    text: str
    token_counts: TokenCounts | None = None


@dataclass
class ModelManifest:
    model_id: str
    chat_class_path: str
    aliases: tuple[str, ...] = ()


class Base:
    def __init__(self):
        self._rank, self.task_dict = 0, {}
        self.cached = []
        self.cache_hook = SimpleNamespace(add_partial=lambda *given: self.cached.append(given))

    rank = property(lambda self: self._rank)

    @staticmethod
    def _resolve_system_prompt(value):
        return value


@pytest.fixture
def harness(monkeypatch):
    names = {
        "lmms_eval": {},
        "lmms_eval.api": {},
        "lmms_eval.api.model": {"lmms": Base},
        "lmms_eval.api.instance": {"GenerationResult": GenerationResult, "TokenCounts": TokenCounts},
        "lmms_eval.models": {},
        "lmms_eval.models.registry_v2": {"ModelManifest": ModelManifest},
    }
    for name, members in names.items():
        module = ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield import_module(MODULE)
    sys.modules.pop(MODULE, None)


def request_of(number, settings=TOKENS):
    def messages(document):
        content = [{"type": "image", "url": document["image"]}, {"type": "text", "text": document["question"]}]
        return [{"role": "user", "content": content}]

    return SimpleNamespace(args=(f"{'x' * number}", messages, dict(settings), number, "drawn", "test"))


def documents():
    sizes = ((96, 64), (200, 60), (64, 64))
    return [
        {"image": Image.new("RGB", size, color), "question": f"What is the color?{' Say it.' * number}"}
        for number, (size, color) in enumerate(zip(sizes, COLORS, strict=True))
    ]


def ours(model):
    """What `internvl evaluate` makes of the same questions."""
    local = LocalModel(
        model.model, model.processor, name="nano", system_message=default_system_message("InternVL2_5-1B")
    )
    found = []
    for number, document in enumerate(documents()):
        rule = ImageRule(max_tiles=3)
        request = ChatRequest(document["question"], (rule,), generation={"max_new_tokens": 4, "do_sample": False})
        job = Job(number, str(number), 0, 0)
        (replies,) = local.answer([[job]], lambda _, r=request, d=document: Asked(r, [d["image"]]))
        found.append(replies[0][1].text)
    return found


@pytest.mark.parametrize("batch_size", ["1", 3])
def test_answers_are_those_of_evaluate(harness, batch_size):
    torch.set_num_threads(1)
    options = {"dtype": "float32", "device": "cpu", "max_patches": 3, "release": "InternVL2_5-1B"}
    model = harness.InternVLChat(str(nano_path()), batch_size, **options)
    model.task_dict = {"drawn": {"test": documents()}}
    results = model.generate_until([request_of(number) for number in range(3)])
    texts = [result.text for result in results]
    assert texts == ours(model) and len(set(texts)) > 1
    assert all(result.token_counts.output_tokens for result in results)
    assert sorted(answer for _, _, answer in model.cached) == sorted(texts)
    ended = model.generate_until([request_of(0, {**TOKENS, "until": [texts[0][1:]]})])
    assert ended[0].text == texts[0][0]


def test_generation_of_tasks(harness, caplog):
    model = harness.InternVLChat.__new__(harness.InternVLChat)
    model._unused = set()
    assert model._generation({}) == {"max_new_tokens": 1024, "do_sample": False}
    assert model._generation({"temperature": 0.5, "top_p": None}) == {
        "max_new_tokens": 1024,
        "temperature": 0.5,
        "do_sample": True,
    }
    assert model._generation({"do_sample": False, "temperature": 1, "top_p": 0.9, "num_beams": 2}) == {
        "max_new_tokens": 1024,
        "num_beams": 2,
        "do_sample": False,
    }
    for _ in range(2):
        model._generation({"image_aspect_ratio": "pad", "until": ["\n"]})
    assert caplog.text.count("no use for") == 1 and "image_aspect_ratio" in caplog.text


def test_what_is_refused(harness):
    with pytest.raises(ValueError, match="must be a number from 1"):
        harness.InternVLChat(str(nano_path()), batch_size="auto")
    model = harness.InternVLChat.__new__(harness.InternVLChat)
    model._image = {}
    with pytest.raises(ValueError, match="the task gives 'audio'"):
        model._content([{"type": "audio", "url": "a.wav"}])
    with pytest.raises(NotImplementedError):
        model.loglikelihood([])


def test_the_entry_point_leads_to_the_model(harness):
    from transformers_internvl.evaluation.harnesses import lmms_eval_models

    manifest = lmms_eval_models()
    assert manifest.chat_class_path == f"{MODULE}.InternVLChat"
    assert harness.InternVLChat.is_simple is False
    for point in entry_points(group="lmms_eval.models"):  # an installation from before this entry point has none
        assert point.value == "transformers_internvl.evaluation.harnesses:lmms_eval_models"


# --- VLMEvalKit ------------------------------------------------------------------------------------------------------

KIT = "transformers_internvl.evaluation.harnesses.vlmevalkit"


class KitChat:
    """As the kit's class: it puts pixels on `cuda`."""

    def __init__(self, model_path, model=None, use_lmdeploy=False):
        self.model_path, self.model, self.use_lmdeploy, self.device = model_path, model, use_lmdeploy, "cuda"


@pytest.fixture
def kit(monkeypatch):
    chat = type(
        "InternVLChat", (KitChat,), {"__init__": lambda self, *given, **more: KitChat.__init__(self, *given, **more)}
    )
    names = ["vlmeval", "vlmeval.vlm", "vlmeval.vlm.internvl", "vlmeval.vlm.internvl.internvl_chat"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules[names[-1]].InternVLChat = chat
    monkeypatch.delitem(sys.modules, KIT, raising=False)
    yield import_module(KIT), chat
    sys.modules.pop(KIT, None)


def test_vlmevalkit_puts_pixels_where_the_model_is(kit):
    module, chat = kit
    module.use_in_vlmevalkit()
    wrapped = chat.__init__
    module.use_in_vlmevalkit()
    assert chat.__init__ is wrapped
    model = SimpleNamespace(device="cpu", chat=print)
    assert chat("folder", model=model).device == "cpu"
    assert chat("folder", model=object(), use_lmdeploy=True).device == "cuda"
    with pytest.raises(ValueError, match="internvl convert some/path FOLDER --to original"):
        chat("some/path", model=object())


def test_a_script_of_vlmevalkit_runs_with_its_arguments(kit, tmp_path, monkeypatch, capsys):
    module, chat = kit
    script = tmp_path / "run.py"
    script.write_text("import sys; print(__name__, sys.argv)")
    monkeypatch.setattr(sys, "argv", ["vlmevalkit", str(script), "--data", "MMStar"])
    module.main()
    assert capsys.readouterr().out == f"__main__ {[str(script), '--data', 'MMStar']}\n"
    assert hasattr(chat.__init__, "__wrapped__")
    monkeypatch.setattr(sys, "argv", ["vlmevalkit"])
    with pytest.raises(SystemExit, match="Give a script of VLMEvalKit"):
        module.main()
