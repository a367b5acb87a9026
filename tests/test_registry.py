# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What importing the package does to transformers; upstream's classes and ours read each other's folders."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForSemanticSegmentation,
    AutoProcessor,
    AutoTokenizer,
    CLIPImageProcessorPil,
)
from transformers.models.auto import (
    image_processing_auto,
    modeling_auto,
    processing_auto,
    tokenization_auto,
)
from transformers.models.internvl import configuration_internvl as upstream_configuration
from transformers.models.internvl import modeling_internvl as upstream_modeling
from transformers.models.internvl import processing_internvl as upstream_processing

import transformers_internvl as ours
from tests.closeness import assert_same_results
from tests.forked import TRANSFORMERS
from tests.parity.golden import golden_root
from tests.tiny import tiny_batch, tiny_model
from transformers_internvl.registry import FAMILIES

# What only some users have installed, or what costs start-up time: never imported by importing the package.
NOT_ON_IMPORT = {"av", "cv2", "decord", "fastapi", "matplotlib", "openai", "peft", "torchcodec", "torchvision", "trl"}


def test_importing_is_silent_and_light_and_leaves_the_environment_alone():
    code = f"""
import os, sys
import torch._inductor.runtime.cache_dir_utils  # torch sets a variable of its own
before = dict(os.environ)
import transformers_internvl
added = {{name for name, value in os.environ.items() if before.get(name) != value}}
assert all(name.startswith("TORCH") for name in added), added
loaded = sorted({NOT_ON_IMPORT!r} & set(sys.modules))
assert not loaded, loaded
"""
    loud = {name: value for name, value in os.environ.items() if name != "TRANSFORMERS_VERBOSITY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=loud, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.config.model_type)
def test_every_row_of_the_table_is_registered(family):
    from transformers import AutoConfig

    assert type(AutoConfig.for_model(family.config.model_type)) is family.config
    for auto_class, model in family.models.items():
        assert auto_class._model_mapping[family.config] is model


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.config.model_type)
def test_a_class_of_several_is_found_by_its_name(family):
    for auto_class in family.models:
        classes = family.classes(auto_class)
        named = [([model.__name__], model) for model in classes]
        for names, wanted in [*named, (["Unknown"], classes[0]), (family.config().architectures, classes[0])]:
            config = family.config()
            config.architectures = names
            with torch.device("meta"):
                assert len(classes) == 1 or type(auto_class.from_config(config)) is wanted


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.config.model_type)
def test_every_name_that_transformers_looks_up_is_there(family):
    """By the server of transformers, by `Trainer` to smooth labels of next tokens, by the pipeline of masks."""
    chats = [model.__name__ for model in family.classes(AutoModelForImageTextToText)]
    masks = [model.__name__ for model in family.classes(AutoModelForSemanticSegmentation)]
    by_type = (
        modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
    )
    for table in by_type:
        assert table.get(family.config.model_type) == (chats[0] if chats else None)
    assert set(chats) <= set(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    assert set(masks) <= set(modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES.values())


def test_upstream_configurations_stay_what_they_are():
    assert issubclass(ours.InternVLConfig, upstream_configuration.InternVLConfig)
    assert issubclass(ours.InternVLVisionConfig, upstream_configuration.InternVLVisionConfig)
    assert type(upstream_configuration.InternVLConfig().vision_config) is upstream_configuration.InternVLVisionConfig


def test_upstream_can_keep_its_registration():
    code = """
import transformers_internvl
from transformers import AutoConfig, AutoModelForImageTextToText
print(type(AutoConfig.for_model("internvl")).__module__, type(AutoConfig.for_model("internvl_chat")).__module__)
"""
    done = TRANSFORMERS.run(code, TRANSFORMERS_INTERNVL_KEEP_STOCK="1")
    assert done.stdout.split() == [
        "transformers.models.internvl.configuration_internvl",
        "transformers_internvl.modeling.original.configuration_chat",
    ]


def test_the_private_tables_that_are_touched_exist():
    """`registry.py` writes to these; a release that renames them shall fail here, by name."""
    assert "internvl" not in processing_auto.PROCESSOR_MAPPING_NAMES
    assert processing_auto.processor_class_from_name("InternVLProcessor") is ours.InternVLProcessor
    assert processing_auto.processor_class_from_name("LlavaProcessor").__name__ == "LlavaProcessor"
    assert ours.InternVLConfig in image_processing_auto.IMAGE_PROCESSOR_MAPPING
    assert modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES["internvl_chat"] == "InternVLChatModel"
    names = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    assert {"InternVLChatModel", "InternVLForConditionalGeneration"} <= set(names.values())
    assert len(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING.values()) > 1
    # Upstream finds all classes that it names.
    assert len(modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING.values()) > 1
    assert tokenization_auto.TOKENIZER_MAPPING_NAMES["internvl_dual_encoder"] == "InternVLDualEncoderTokenizer"
    assert {"internlm2", "internvl_dual_encoder"} <= tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
    assert tokenization_auto.TOKENIZER_MAPPING_NAMES["internvl"] == "Qwen2Tokenizer"  # upstream's, left alone


def test_transformers_finds_every_class_by_its_name():
    """As MLflow does when it saves a pipeline: by walking the tables, and through the Auto classes' own look-up."""
    code = """
import transformers_internvl as ours
from transformers.processing_utils import ProcessorMixin
from transformers.models.auto.image_processing_auto import AutoImageProcessor, get_image_processor_class_from_name
from transformers.models.auto.image_processing_auto import _find_mapping_for_image_processor, _load_class_with_fallback
from transformers.models.auto.video_processing_auto import AutoVideoProcessor, video_processor_class_from_name

find = ProcessorMixin.get_possibly_dynamic_module
names = ("InternVLImageProcessor", "InternVLLlavaImageProcessor", "InternLM2Tokenizer",
         "InternVLDualEncoderTokenizer")
for name in names:
    assert find(name) is getattr(ours, name), name
assert get_image_processor_class_from_name(names[0]) is ours.InternVLImageProcessor
assert video_processor_class_from_name("InternVLVideoProcessor") is ours.InternVLVideoProcessor
row = _find_mapping_for_image_processor(names[0])
for backend in ("pil", "torchvision", "of another package"):
    assert _load_class_with_fallback(row, backend) is ours.InternVLImageProcessor, backend
assert dict(row.items()) == {key: row[key] for key in row.keys()}

class Other(ours.InternVLImageProcessor): pass
AutoImageProcessor.register(ours.InternVLChatConfig, image_processor_classes={"other": Other}, exist_ok=True)
assert find("Other") is Other and find(names[0]) is ours.InternVLImageProcessor
try:
    find("Nothing")
except ValueError as error:
    assert "Could not find module Nothing" in str(error)
else:
    raise AssertionError("found")
"""
    done = TRANSFORMERS.run(code)
    assert done.stdout + done.stderr == ""


def test_the_tokenizer_is_found_by_name():
    assert type(AutoTokenizer.from_pretrained(golden_root() / "chat_internlm2")) is ours.InternLM2Tokenizer


def test_clip_folders_are_left_alone(tmp_path):
    """InternVL-14B borrows CLIP's image processor, which stays CLIP's for everyone else."""
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "CLIPImageProcessor"}')
    assert type(AutoImageProcessor.from_pretrained(tmp_path, backend="pil")) is CLIPImageProcessorPil
    found = image_processing_auto._find_mapping_for_image_processor("CLIPImageProcessor")
    assert found == {"torchvision": "CLIPImageProcessor", "pil": "CLIPImageProcessorPil"}


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    (tmp_path / "config.json").write_text((golden_root() / "chat_qwen2_5" / "config.json").read_text())
    with pytest.raises((ValueError, OSError), match="tokenizer"):
        AutoProcessor.from_pretrained(tmp_path)


def test_upstream_loads_what_we_save(tmp_path):
    folders = [tmp_path / "apart", tmp_path / "tied"]
    for folder, tied in zip(folders, (False, True), strict=True):
        model = tiny_model(tie_word_embeddings=tied, text={"tie_word_embeddings": tied})
        model.save_pretrained(folder)
        batch = tiny_batch([2, 1])
        with torch.no_grad():
            torch.save({"batch": batch, "logits": model(**batch).logits}, folder / "expected.pt")
    code = """
import sys, torch
from transformers import AutoModelForImageTextToText
for folder in sys.argv[1:]:
    model, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert type(model).__module__.startswith("transformers.models."), type(model)
    assert not report["missing_keys"] and not report["unexpected_keys"], (folder, report)
    saved = torch.load(folder + "/expected.pt")
    with torch.no_grad():
        logits = model.eval()(**saved["batch"]).logits
    torch.testing.assert_close(logits, saved["logits"], rtol=1e-5, atol=2e-5, msg=folder)
assert "transformers_internvl" not in sys.modules
"""
    TRANSFORMERS.run(code, *folders)


@pytest.mark.parametrize("tied", [False, True])
def test_we_load_what_upstream_saves(tmp_path, tied):
    mine = tiny_model(tie_word_embeddings=tied, text={"tie_word_embeddings": tied})
    arguments = json.loads(mine.config.to_json_string())
    theirs = upstream_modeling.InternVLForConditionalGeneration(
        upstream_configuration.InternVLConfig(**arguments)
    ).eval()
    theirs.load_state_dict(mine.state_dict())
    theirs.save_pretrained(tmp_path / "stock")
    mine.save_pretrained(tmp_path / "ours")
    again = AutoModelForImageTextToText.from_pretrained(tmp_path / "stock")
    assert type(again) is ours.InternVLForConditionalGeneration
    batch = tiny_batch([2, 1])
    with torch.no_grad():
        assert_same_results(again(**batch).logits, theirs(**batch).logits)
    assert _keys(tmp_path / "ours") == _keys(tmp_path / "stock")
    assert type(AutoModel.from_pretrained(tmp_path / "stock")) is ours.InternVLModel


def _keys(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return set(file.keys())


def test_our_processor_stands_in_for_upstreams():
    names = ("image_processor", "tokenizer", "video_processor", "image_seq_length", "chat_template")
    import inspect

    theirs = inspect.signature(upstream_processing.InternVLProcessor.__init__).parameters
    mine = inspect.signature(ours.InternVLProcessor.__init__).parameters
    assert all(name in theirs and name in mine for name in names)


MODELS = {model: family for family in FAMILIES for auto in family.models for model in family.classes(auto)}


@pytest.mark.parametrize(
    "model_class", sorted(MODELS, key=lambda model: model.__name__), ids=lambda model: model.__name__
)
def test_every_class_builds_on_the_meta_device(model_class):
    with torch.device("meta"):
        model = model_class(MODELS[model_class].config())
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model.all_tied_weights_keys is not None  # `post_init` ran
