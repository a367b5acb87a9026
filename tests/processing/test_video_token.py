# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""No folder gets a token for videos that has no embedding. Judged by transformers' own tokenizer and processor."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoProcessor, AutoTokenizer, GotOcr2ImageProcessorPil
from transformers.models.internvl.processing_internvl import InternVLProcessor

from tests.parity.golden import golden_root
from transformers_internvl.conversion.layouts.convert import convert_checkpoint
from transformers_internvl.processing.tokenizers.loading import added_token_ids, load_tokenizer
from transformers_internvl.processing.videos.video_processing import InternVLVideoProcessor

CASES = ["chat_qwen2", "chat_internlm2", "chat_llama_v1_2", "chat_phi3", "chat_qwen3", "chat_gpt_oss"]
CLIP = torch.zeros(3, 3, 56, 56, dtype=torch.uint8)
ASKED = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "<video>?"}]}]


class StockProcessor(InternVLProcessor):
    """Upstream's, which without torchvision looks for a class of video processors that is not there."""

    def check_argument_for_proper_class(self, argument_name, argument):
        return type(argument)


def rows_of(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text())
    return config.get("llm_config", config.get("text_config"))["vocab_size"]


def with_stray_token(folder: Path) -> Path:
    """What older versions wrote, and public folders have: `<video>` behind the last embedding."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    stand_in = config["video_token"]
    config["video_token"] = config["model_specific_special_tokens"]["video_token"] = "<video>"
    path.write_text(json.dumps(config))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.convert_tokens_to_ids("<video>") == rows_of(folder)
    tokenizer.save_pretrained(folder)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace(stand_in, "<video>"))
    return folder


def prompt_of(processor) -> list[int]:
    options = {"tokenize": True, "return_dict": True, "processor_kwargs": {"do_sample_frames": False}}
    content = [{"type": "video", "video": CLIP}, {"type": "text", "text": "<video>?"}]
    return processor.apply_chat_template([{"role": "user", "content": content}], **options)["input_ids"][0]


@pytest.mark.parametrize("name", CASES)
def test_saved_processors_and_converted_folders_name_tokens_with_embeddings(name, tmp_path):
    source = golden_root() / name
    AutoModel.from_pretrained(source).save_pretrained(tmp_path / "saved")
    AutoProcessor.from_pretrained(source).save_pretrained(tmp_path / "saved")
    convert_checkpoint(source, tmp_path / "hf", "hf", progress=False)
    expected = prompt_of(AutoProcessor.from_pretrained(source))
    for folder in (tmp_path / "saved", tmp_path / "hf"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert max(tokenizer.get_vocab().values()) < rows_of(folder)
        processor = AutoProcessor.from_pretrained(folder)
        assert prompt_of(processor) == expected and "<video>" in processor.chat_template
        # Upstream's own class reads the files, and puts the frames where the template has the video.
        images = GotOcr2ImageProcessorPil(size={"height": 56, "width": 56})
        template = (folder / "chat_template.jinja").read_text()
        stock = StockProcessor(images, tokenizer, InternVLVideoProcessor(), chat_template=template)
        text = stock.apply_chat_template([{"role": "user", "content": [{"type": "video"}, ASKED[0]["content"][1]]}])
        expanded, _ = stock.get_text_with_replacements([text], videos_replacements=["FRAMES"])
        assert expanded[0].count("FRAMES") == 1 and "<video>?" in expanded[0]


@pytest.mark.parametrize("name", CASES)
def test_a_token_without_an_embedding_is_not_carried_on(name, tmp_path, caplog):
    source = golden_root() / name
    convert_checkpoint(source, tmp_path / "old", "hf", progress=False)
    old = with_stray_token(tmp_path / "old")
    processor = AutoProcessor.from_pretrained(old)
    assert "is left out" in caplog.text
    assert prompt_of(processor) == prompt_of(AutoProcessor.from_pretrained(source))
    processor.save_pretrained(tmp_path / "saved")
    shutil.copy(old / "config.json", tmp_path / "saved")
    shutil.rmtree(old / "original")
    convert_checkpoint(old, tmp_path / "hf", "hf", progress=False)
    convert_checkpoint(old, tmp_path / "original", "original", progress=False)
    for folder in (tmp_path / "saved", tmp_path / "hf", tmp_path / "original"):
        assert "<video>" not in added_token_ids(folder)
        assert max(AutoTokenizer.from_pretrained(folder).get_vocab().values()) < rows_of(folder)


def test_a_token_with_an_embedding_stays(tmp_path):
    from transformers_internvl.nano import nano_path

    processor = AutoProcessor.from_pretrained(nano_path())
    processor.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["video_token"] == "<video>"
    assert (tmp_path / "chat_template.jinja").read_text() == (nano_path() / "chat_template.jinja").read_text()
