# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every branch of the model card, without a server: what it says, of which base, under which licence."""

from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    PreTrainedModel,
    ProcessorMixin,
)

from tests.tiny import tiny_config, tiny_model
from transformers_internvl import InternVLProcessor, InternVLVisionModel, create_model_card, nano_path
from transformers_internvl.hub import model_card
from transformers_internvl.hub.model_card import complete_model_card

OURS = "# By hand\n\n## How to use\n\nAsk me.\n"


@pytest.fixture
def cards(monkeypatch, tmp_path):
    """Cards of bases, by their ids; `asked` are the files that were looked for."""
    there: dict[str, str] = {}
    there_not = {"org/gated": OSError("gated")}
    asked = []

    def find(name, file, **hub):
        asked.append((name, file, hub))
        if name in there_not:
            raise there_not[name]
        if name not in there:
            return None
        path = tmp_path / f"{name.replace('/', '-')}.md"
        path.write_text(there[name], encoding="utf-8")
        return str(path)

    monkeypatch.setattr(model_card, "find_file", find)
    return SimpleNamespace(there=there, asked=asked)


def made_from(base: str, model: PreTrainedModel | None = None) -> PreTrainedModel:
    model = model or tiny_model()
    model.name_or_path = base
    return model


def test_a_model_made_from_another(cards):
    cards.there["org/base"] = "---\nlicense: mit\n---\n# The base\n"
    card = create_model_card(made_from("org/base"), "me/tuned")
    assert (card.data.base_model, card.data.base_model_relation) == ("org/base", "finetune")
    assert (card.data.license, card.data.pipeline_tag, card.data.library_name) == (
        "mit",
        "image-text-to-text",
        "transformers",
    )
    assert card.data.tags == ["internvl"]
    assert "# tuned\n\nA `InternVLForConditionalGeneration` made from `org/base`. Needs" in card.text
    assert "pip install transformers_internvl`." in card.text
    assert 'model="me/tuned"' in card.text and 'org/base")' not in card.text
    assert card.text.endswith("## Licence\n\n`mit`, as that of `org/base`.\n")
    assert cards.asked == [("org/base", "README.md", {})]


def test_the_base_is_the_repository_itself(cards):
    """Trained further and pushed back: not made from itself, and its licence stays."""
    cards.there["me/tuned"] = "---\nlicense: mit\n---\n"
    card = create_model_card(made_from("me/tuned"), "me/tuned")
    assert card.data.base_model is None and "base_model_relation" not in card.data.to_dict()
    assert card.data.license == "mit" and card.text.endswith("## Licence\n\n`mit`.\n")
    assert "made from" not in card.text


@pytest.mark.parametrize("base", ["", "folder", "some/where/else", "org/" + "x" * 100, "-bad-/name-", "/abs"])
def test_what_is_no_hub_id_is_no_base(cards, base):
    card = create_model_card(made_from(base), "me/tuned")
    assert card.data.base_model is None and card.data.license is None
    assert card.text.endswith("## Licence\n\nNot stated.\n")


def test_a_folder_is_no_base(cards, tmp_path, monkeypatch):
    """Though its name reads like a Hub id."""
    (tmp_path / "org" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    cards.there["org/base"] = "---\nlicense: mit\n---\n"
    card = create_model_card(made_from("org/base"), "me/tuned")
    assert card.data.base_model is None and card.data.license == "mit"
    assert create_model_card(made_from("org/other"), "me/tuned").data.base_model == "org/other"


def test_a_base_and_a_licence_by_argument(cards):
    cards.there |= {"org/base": "---\nlicense: mit\n---\n", "org/other": "---\nlicense: gpl-3.0\n---\n"}
    card = create_model_card(made_from("org/base"), "me/tuned", base_model="org/other")
    assert (card.data.base_model, card.data.license) == ("org/other", "gpl-3.0")
    card = create_model_card(made_from("org/base"), "me/tuned", license="apache-2.0")
    assert (card.data.base_model, card.data.license) == ("org/base", "apache-2.0")
    assert card.text.endswith("## Licence\n\n`apache-2.0`.\n")  # which is not the base's


@pytest.mark.parametrize(
    ("fields", "expected", "text"),
    [
        ("license: other\nlicense_name: qwen", {"license": "other", "license_name": "qwen"}, "`qwen`, as that of"),
        (
            "license: other\nlicense_name: qwen\nlicense_link: LICENSE\nlibrary_name: x",
            {"license": "other", "license_name": "qwen", "license_link": "LICENSE"},
            "`qwen`, as that of `org/base`.",
        ),
        ("license_link: LICENSE", {"license_link": "LICENSE"}, "Not stated: see that of `org/base`."),
        ("tags: [x]", {}, "Not stated: see that of `org/base`."),
        ("license: [mit", {}, "Not stated: see that of `org/base`."),  # no YAML
        ("- mit", {}, "Not stated: see that of `org/base`."),  # a list
        ("license: mit\nmodel-index: 3", {"license": "mit"}, "`mit`, as that of `org/base`."),
    ],
)
def test_licence_fields_of_the_base(cards, fields, expected, text):
    cards.there["org/base"] = f"---\n{fields}\n---\n# The base\n"
    card = create_model_card(made_from("org/base"), "me/tuned")
    found = {key: value for key, value in card.data.to_dict().items() if key.startswith("license")}
    assert found == expected and text in card.text and card.data.tags == ["internvl"]


@pytest.mark.parametrize("base", ["org/gated", "org/none"])
def test_a_base_whose_card_cannot_be_had(cards, base):
    card = create_model_card(made_from(base), "me/tuned")
    assert card.data.base_model == base and f"Not stated: see that of `{base}`." in card.text


def test_quantized(cards):
    model = made_from("org/base")
    model.config.quantization_config = {"quant_method": "bitsandbytes"}
    assert create_model_card(model, "me/small").data.base_model_relation == "quantized"
    assert "base_model_relation" not in create_model_card(model, "org/base").data.to_dict()
    model.config.quantization_config = None
    assert create_model_card(model, "me/small").data.base_model_relation == "finetune"


def test_adapters(cards):
    from peft import LoraConfig, get_peft_model

    cards.there["org/base"] = "---\nlicense: mit\n---\n"
    model = get_peft_model(made_from("org/base"), LoraConfig(r=2, target_modules=["q_proj"]))
    card = create_model_card(model, "me/adapter")
    assert (card.data.base_model, card.data.base_model_relation) == ("org/base", "adapter")
    assert (card.data.library_name, card.data.tags, card.data.license) == ("peft", ["internvl", "lora"], "mit")
    assert "An adapter made from `org/base`. Needs `pip install transformers_internvl[peft]`." in card.text
    loads = [line for line in card.text.splitlines() if "from_pretrained(" in line]
    assert [line.partition('"')[2].partition('"')[0] for line in loads] == ["org/base", "me/adapter", "org/base"]
    text = get_peft_model(LlamaForCausalLM(_llama()), LoraConfig(r=2, target_modules=["q_proj"]))
    card = create_model_card(text, "me/adapter")
    assert (card.data.pipeline_tag, card.data.library_name) == ("text-generation", "peft")
    assert 'pipeline("text-generation", model="me/adapter")' in card.text


def _llama() -> LlamaConfig:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaConfig(vocab_size=20, **sizes)


def test_tasks_and_snippets(cards):
    processor = InternVLProcessor.from_pretrained(nano_path())
    models = {
        "image-feature-extraction": (InternVLVisionModel(tiny_config().vision_config), "features = pipe(image"),
        "text-generation": (LlamaForCausalLM(_llama()), 'print(pipe("Once upon a time", max_new_tokens'),
        "feature-extraction": (LlamaModel(_llama()), 'features = pipe("Once upon a time")'),
        "image-text-to-text": (processor, 'loaded = AutoProcessor.from_pretrained("me/it")'),
        None: (_unknown(), 'loaded = AutoModel.from_pretrained("me/it")'),
    }
    for task, (pushed, call) in models.items():
        card = create_model_card(pushed, "me/it")
        assert card.data.pipeline_tag == task, task
        snippet = card.text.split("```python\n")[1].split("```")[0]
        compile(snippet, "snippet", "exec")
        assert call in snippet and "{" not in snippet.replace('{"', "").replace("[{", "")
    card = create_model_card(processor, "me/it")
    assert "The processor `InternVLProcessor`" in card.text and model_card._ALONE in card.text


def _unknown() -> PreTrainedModel:
    """A model of a class that no Auto class gives."""

    class Mine(LlamaModel):
        pass

    return Mine(_llama())


def test_a_processors_base_has_no_relation(cards):
    processor = InternVLProcessor.from_pretrained(nano_path())
    processor.tokenizer.name_or_path = "org/base"
    card = create_model_card(processor, "me/it")
    assert card.data.base_model == "org/base" and "base_model_relation" not in card.data.to_dict()


# --- a card that is there --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", ["tags: mine\n", "tags: [mine, internvl]\n", "", "tags:\n"])
def test_a_card_is_completed_and_what_it_says_stays(cards, tmp_path, tags):
    path = tmp_path / "README.md"
    path.write_text(f"---\nlicense: gpl-3.0\npipeline_tag: image-to-text\n{tags}---\n# By hand\n\nText.\n")
    cards.there["org/base"] = "---\nlicense: mit\n---\n"
    complete_model_card(path, made_from("org/base"), "me/tuned")
    card = ModelCard.load(path)
    assert (card.data.license, card.data.pipeline_tag) == ("gpl-3.0", "image-to-text")
    assert (card.data.base_model, card.data.library_name) == ("org/base", "transformers")
    assert card.data.tags == (["mine", "internvl"] if "mine" in tags else ["internvl"])
    assert card.text.lstrip().startswith("# By hand\n\nText.\n\n## How to use\n")
    assert card.text.count("## How to use") == 1 and "## Licence" not in card.text
    once = path.read_text()
    complete_model_card(path, made_from("org/base"), "me/tuned")
    assert path.read_text() == once


def test_a_card_with_a_usage_of_its_own_gets_no_other(cards, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"---\nlicense: mit\n---\n{OURS}")
    complete_model_card(path, made_from("org/base"), "me/tuned")
    assert ModelCard.load(path).text.strip() == OURS.strip()


# --- pushing ---------------------------------------------------------------------------------------------------------


class Branches:
    """The Hub's side: README by branch. A branch that is not there is a `RevisionNotFoundError`."""

    def __init__(self, folder, **branches):
        self.folder, self.branches, self.asked = folder, branches, []

    def hf_hub_download(self, repo_id, name, revision=None, token=None):
        self.asked.append((repo_id, name, revision, token))
        response = SimpleNamespace(headers={}, request=None, status_code=404)
        if (revision or "main") not in self.branches:
            raise RevisionNotFoundError("no such branch", response=response)
        text = self.branches[revision or "main"]
        if text is None:
            raise RemoteEntryNotFoundError("no card", response=response)
        path = self.folder / f"there-{revision}.md"
        path.write_text(text, encoding="utf-8")
        return str(path)


@pytest.fixture
def push(monkeypatch, tmp_path, cards):
    """Push something to a Hub whose branches hold these cards; what is uploaded as README, and what was asked."""

    def run(pushed, revision=None, written="---\ntags: [shapes, internvl]\n---\n", **branches):
        hub = Branches(tmp_path, **branches)
        monkeypatch.setattr(model_card, "hf_api", lambda: hub)
        working = tmp_path / "working"
        working.mkdir(exist_ok=True)
        (working / "README.md").unlink(missing_ok=True)
        if written is not None:
            (working / "README.md").write_text(written)
        owner = ProcessorMixin if isinstance(pushed, ProcessorMixin) else PreTrainedModel
        given = []
        monkeypatch.setattr(owner, "_upload_modified_files", lambda self, *a, **k: given.append((a, k)) or "done")
        options = {"token": "hf_x", "revision": revision, "commit_message": "m"}
        assert pushed._upload_modified_files(working, "me/it", {"stamps": 1}, **options) == "done"
        assert given == [((working, "me/it", {"stamps": 1}), options)]
        return (working / "README.md").read_text() if written is not None else None, hub.asked

    return run


def test_the_first_push_brings_a_card(push):
    text, asked = push(made_from(""), main=None)
    assert asked == [("me/it", "README.md", None, "hf_x")]
    assert "## How to use" in text and ModelCard(text).data.tags == ["internvl", "shapes"]


def test_a_card_by_hand_stays(push):
    mine = "---\ntags: [x]\n---\n"
    for kept in (
        "---\nlicense: mit\n---\n# By hand\n",
        "No metadata",
        "---\nmodel-index: 3\n---\n",
        "---\na: [\n---\n",
    ):
        assert push(made_from(""), written=mine, main=kept)[0] == mine
        processor = InternVLProcessor.from_pretrained(nano_path())
        assert push(processor, written=mine, main=kept)[0] == mine


def test_a_processors_card_makes_way_for_the_models_alone(push):
    processor, mine = InternVLProcessor.from_pretrained(nano_path()), "---\ntags: [x]\n---\n"
    alone = push(processor, written=mine, main=None)[0]
    assert model_card._ALONE in alone
    assert push(processor, written=mine, main=alone)[0] == mine
    text = push(made_from(""), written=mine, main=alone)[0]
    assert "pipe = pipeline(" in text and model_card._ALONE not in text


def test_a_branch_has_its_own_card_or_the_main_ones(push):
    mine = "---\ntags: [x]\n---\n"
    text, asked = push(made_from(""), revision="draft", written=mine, main="# By hand")  # a branch that is made now
    assert text == mine and [each[2] for each in asked] == ["draft", None]
    text, asked = push(made_from(""), revision="draft", written=mine, main="# By hand", draft=None)
    assert text != mine and [each[2] for each in asked] == ["draft"]
    assert push(made_from(""), revision="draft", written=mine)[0] != mine  # an empty repository


def test_a_push_without_a_card_gets_none(push, tmp_path):
    assert push(made_from(""), written=None, main=None)[0] is None
    assert not (tmp_path / "working" / "README.md").exists()
