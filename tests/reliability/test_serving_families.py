# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every row of the README's status table that is served, is: one server with a model of each kind, as direct calls."""

import pytest
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.llava import write_folder
from tests.parity.golden import golden_root
from tests.reliability.serving import client_of, data_uri, png, running_server

NAMES = [
    "chat_flash",
    "chat_gpt_oss",
    "chat_internlm2",
    "chat_llama_v1_2",
    "chat_phi3",
    "chat_qwen3",
    "mono_internvl",
    "v2pe",
    "visual_prm",
    "llava_mlp2x_gelu",
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    llava = tmp_path_factory.mktemp("served") / "llava_mlp2x_gelu"
    write_folder(llava)
    return {name: llava if name == llava.name else golden_root() / name for name in NAMES}


@pytest.fixture(scope="module")
def client(folders):
    arguments = [word for folder in folders.values() for word in ("--model", str(folder))]
    with running_server(*arguments) as (url, _), client_of(url) as client:
        yield client


@pytest.mark.parametrize("name", NAMES)
def test_it_is_served(name, folders, client):
    image = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
    parts = [{"type": "image_url", "image_url": {"url": data_uri(png(image))}}, {"type": "text", "text": "hi"}]
    messages = [{"role": "user", "content": parts}]
    served = client.chat.completions.create(model=name, messages=messages, temperature=0, max_tokens=3)
    processor = AutoProcessor.from_pretrained(folders[name])
    model = AutoModelForImageTextToText.from_pretrained(folders[name]).eval()
    content = [{"type": "image", "image": image}, parts[1]]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    prompt = inputs["input_ids"].shape[1]
    answer = model.generate(**inputs, max_new_tokens=3, do_sample=False)[0, prompt:]
    assert served.usage.prompt_tokens == prompt and served.usage.completion_tokens == len(answer)
    assert served.choices[0].message.content == processor.decode(answer, skip_special_tokens=True)
