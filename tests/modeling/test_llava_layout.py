# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL-Chat v1: both forms from LLaVA's layout against the reference of `tests/llava.py`, and what is refused.

The original numbers judge them in `tests/parity/test_llava.py`.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, LlamaConfig, LlamaForCausalLM
from transformers.models.llava.configuration_llava import LlavaConfig
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

import transformers_internvl as ours
from tests import llava
from tests.closeness import assert_same_results
from tests.parity.golden import golden_root
from transformers_internvl.conversion.files import shapes
from transformers_internvl.modeling.internvl.image_features import PROJECTORS

FORMS = ("mlp2x_gelu", "two_mlp")
OUTPUT = {"rtol": 1e-4, "atol": 2e-5}
IMAGE = llava.IMAGE_INDEX
PROMPT = [1, 5, 6, IMAGE, 7, 8, 9]
GREEDY = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}


@pytest.fixture(scope="module", params=FORMS)
def case(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    weights = llava.write_folder(folder, request.param)
    return folder, weights, AutoModelForImageTextToText.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 336, 336, generator=torch.Generator().manual_seed(0))


def inputs_of(model, prompts: list[list[int]], pixels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Model inputs from prompts with -200 at every image, padded on the left."""
    image = [model.config.image_token_id] * model.config.image_seq_length
    rows = [[i for index in ids for i in (image if index == IMAGE else [index])] for ids in prompts]
    width = max(map(len, rows))
    batch = {"input_ids": torch.tensor([[0] * (width - len(row)) + row for row in rows])}
    batch["attention_mask"] = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return batch if pixels is None else batch | {"pixel_values": pixels}


@torch.no_grad()
def logits_of(model, prompt: list[int], pixels: torch.Tensor | None = None) -> torch.Tensor:
    return model(**inputs_of(model, [prompt], pixels)).logits[0]


# --- the reference itself --------------------------------------------------------------------------------------------


def test_the_references_tower_is_the_original_one():
    folder = golden_root() / "intern_vit_6b"
    images = load_file(folder / "inputs.safetensors")["70x42.pixel_values"]
    expected = load_file(folder / "outputs.safetensors")["70x42.last_hidden_state"]
    states = llava.vit_states(load_file(folder / "model.safetensors"), images[0], heads=5)
    torch.testing.assert_close(states[-1], expected[0], **OUTPUT)


def test_the_references_queries_are_the_original_ones():
    folder = golden_root() / "internvl_14b"
    weights, expected = load_file(folder / "model.safetensors"), load_file(folder / "outputs.safetensors")
    config = json.loads((folder / "config.json").read_text())
    heads = config["qllama_config"]["num_attention_heads"], config["vision_config"]["num_attention_heads"]
    image = load_file(folder / "inputs.safetensors")["image"][0]
    tower = llava.vit_states(llava.beginning(weights, "vision_model."), image, heads[1])[-1]
    eps = config["qllama_config"]["rms_norm_eps"]
    queries = llava.llama_states(
        llava.beginning(weights, "qllama."), weights["query_tokens"][0], heads[0], eps, vision=tower
    )
    count = expected["query_features"].shape[1]
    torch.testing.assert_close(queries[:count], expected["query_features"][0], **OUTPUT)


# --- what the model computes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [0, 1, 2])
def test_logits(case, pixels, images):
    _, weights, model = case
    prompt = [1, 5, *([IMAGE, 7] * images), 8, 9]
    expected = llava.reference_logits(weights, prompt, list(pixels[:images]))
    torch.testing.assert_close(logits_of(model, prompt, pixels[:images] if images else None), expected, **OUTPUT)


def test_greedy_ids(case, pixels):
    _, weights, model = case
    expected = llava.reference_greedy(weights, PROMPT, [pixels[0]], GREEDY["max_new_tokens"])
    batch = inputs_of(model, [PROMPT], pixels[:1])
    length = batch["input_ids"].shape[1]
    for options in ({}, {"use_cache": False}, {"prompt_lookup_num_tokens": 3}, {"prefill_chunk_size": 100}):
        assert model.generate(**batch, **GREEDY, **options)[0, length:].tolist() == expected, options


def test_rows_of_a_batch_are_independent(case, pixels):
    _, _, model = case
    prompts, counts = [[1, IMAGE, 5], [1, 6, 7], [1, 8, IMAGE, 9]], [1, 0, 1]
    batch = inputs_of(model, prompts, pixels)
    together = model.generate(**batch, **GREEDY)[:, batch["input_ids"].shape[1] :]
    for row, prompt, images in zip(together, prompts, pixels.split(counts), strict=True):
        alone = inputs_of(model, [prompt], images if len(images) else None)
        assert torch.equal(model.generate(**alone, **GREEDY)[0, alone["input_ids"].shape[1] :], row)


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 2},
        {"repetition_penalty": 1.5},
        {"no_repeat_ngram_size": 2},
        {"do_sample": True, "typical_p": 0.9},
    ],
    ids=lambda options: next(iter(options)),
)
def test_no_way_of_decoding_looks_for_the_image_tokens_score(case, pixels, options):
    _, _, model = case
    batch = inputs_of(model, [PROMPT], pixels[:1])
    written = model.generate(**batch, **{**GREEDY, **options})[0, batch["input_ids"].shape[1] :]
    assert len(written) == 5 and written.max() < llava.VOCABULARY


def test_queries_come_first_and_see_the_end_of_the_tower(case, pixels):
    _, weights, model = case
    ran = []
    tower = getattr(model.model.vision_tower, "vision_model", model.model.vision_tower)
    hooks = [
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
        for index, block in enumerate(tower.encoder.layer)
    ]
    with torch.no_grad():
        features = model.get_image_features(pixels)
        whole = model.get_image_features(pixels, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    form = model.config.projector_type
    assert ran == [*range(6 if form == "two_mlp" else 3), *range(6)]
    assert features.pooler_output.shape == (2, 672 if form == "two_mlp" else 576, 32)
    torch.testing.assert_close(features.pooler_output, whole.pooler_output)
    assert len(whole.hidden_states) == 7
    states = llava.vit_states(
        llava.beginning(weights, llava.TOWER + ("vision_model." * (form == "two_mlp"))), pixels[0]
    )
    torch.testing.assert_close(features.last_hidden_state[0], states[-4], **OUTPUT)


def test_upstreams_projector_and_language_model_agree(tmp_path, pixels):
    weights = llava.write_folder(tmp_path)
    model = AutoModel.from_pretrained(tmp_path).eval()
    text = LlamaConfig(**llava.LLAMA)
    projector = LlavaMultiModalProjector(LlavaConfig(vision_config=model.config.vision_config, text_config=text))
    parts = {"linear_1": "0", "linear_2": "2"}
    prefix = "model.mm_projector."
    projector.load_state_dict(
        {f"{a}.{k}": weights[f"{prefix}{b}.{k}"] for a, b in parts.items() for k in ("weight", "bias")}
    )
    language_model = LlamaForCausalLM(text).eval()
    language_model.load_state_dict({k: v for k, v in weights.items() if k in language_model.state_dict()})
    with torch.no_grad():
        encoded = model.get_image_features(pixels[:1])
        image = projector(encoded.last_hidden_state[:, 1:])
        torch.testing.assert_close(encoded.pooler_output, image)
        table = language_model.get_input_embeddings()
        before, after = (table(torch.tensor([ids])) for ids in (PROMPT[:3], PROMPT[4:]))
        expected = language_model(inputs_embeds=torch.cat([before, image, after], dim=1)).logits[0]
    torch.testing.assert_close(logits_of(model, PROMPT, pixels[:1]), expected, **OUTPUT)


def test_training_reaches_both_mlps_and_the_queries(case, pixels):
    _, _, model = case
    batch = inputs_of(model, [PROMPT], pixels[:1])
    labels = torch.full_like(batch["input_ids"], -100)
    labels[0, -2:] = batch["input_ids"][0, -2:]
    model.train()
    model(**batch, labels=labels).loss.backward()
    model.eval()
    untouched = {name for name, p in model.named_parameters() if p.grad is None}
    model.zero_grad()
    blocks = "model.vision_tower.encoder.layer."
    if model.config.projector_type == "two_mlp":
        assert not untouched
    else:
        assert {int(name.removeprefix(blocks).split(".")[0]) for name in untouched} == {3, 4, 5}


# --- loading and saving ----------------------------------------------------------------------------------------------


def test_what_is_saved_is_canonical_and_equal(case, pixels, tmp_path):
    _, _, model = case
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["model_type"] == "internvl" and written["architectures"] == ["InternVLForConditionalGeneration"]
    again = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert type(again) is ours.InternVLForConditionalGeneration and type(again.config) is ours.InternVLConfig
    assert again.config.image_seq_length == model.config.image_seq_length
    assert again.config.vision_feature_layer == -4 and again.generation_config.eos_token_id == 2
    assert_same_results(logits_of(again, PROMPT, pixels[:1]), logits_of(model, PROMPT, pixels[:1]))


def test_llavas_layout_is_written_bit_for_bit(case, tmp_path):
    folder, weights, model = case
    model.save_pretrained(tmp_path, save_original_format=True)
    again = load_file(tmp_path / "model.safetensors")
    left_out = {key for key in weights if ".qllama." in key and ("embed_tokens" in key or "lm_head" in key)}
    assert again.keys() == weights.keys() - left_out
    assert all(torch.equal(again[key], weights[key]) for key in again)
    was, now = (json.loads((path / "config.json").read_text()) for path in (folder, tmp_path))
    own = ("vision_config", "middleware_config", "transformers_version")
    assert {k: v for k, v in now.items() if k not in own} == {k: v for k, v in was.items() if k not in own}
    assert type(AutoModel.from_pretrained(tmp_path)) is ours.InternVLLlavaForConditionalGeneration


@pytest.mark.parametrize("kind", ["bin", "safetensors", "sharded safetensors"])
def test_every_form_of_file_loads_alike(case, tmp_path, kind):
    folder, weights, model = case
    shutil.copy(folder / "config.json", tmp_path)
    if kind == "bin":
        torch.save(weights, tmp_path / "pytorch_model.bin")
    elif kind == "safetensors":
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    else:
        model.save_pretrained(tmp_path, save_original_format=True, max_shard_size="50KB")
        assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again = AutoModel.from_pretrained(tmp_path)
    for (name, expected), (_, got) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(expected, got), name


def test_disk_offload(case, pixels, tmp_path):
    folder, _, model = case
    parts = {"model.vision_tower": "disk", "model.multi_modal_projector": "cpu", "model.language_model": "disk"}
    offloaded = AutoModel.from_pretrained(folder, device_map=parts | {"lm_head": "cpu"}, offload_folder=tmp_path)
    assert_same_results(logits_of(offloaded, PROMPT, pixels[:1]), logits_of(model, PROMPT, pixels[:1]))


def test_embeddings_may_grow(tmp_path, pixels):
    llava.write_folder(tmp_path)
    model = AutoModel.from_pretrained(tmp_path).eval()
    before = logits_of(model, PROMPT, pixels[:1])
    model.resize_token_embeddings(408)
    torch.testing.assert_close(logits_of(model, PROMPT, pixels[:1])[:, :400], before)


def test_fresh_queries_differ():
    config = ours.InternVLLlavaConfig.from_dict(llava.llava_config("two_mlp"))
    queries = AutoModel.from_config(config).model.vision_tower.query_tokens[0]
    assert 0.01 < queries.std() < 0.03 and not torch.equal(queries[0], queries[1])


def write_tower(folder, weights: dict[str, torch.Tensor], form: str) -> None:
    """The tower's own folder, as InternViT and InternVL-14B are released."""
    folder.mkdir(parents=True)
    tower = {k.removeprefix(llava.TOWER): v for k, v in weights.items() if k.startswith(llava.TOWER)}
    config = {"model_type": "intern_vit_6b", **llava.VIT}
    if form == "two_mlp":
        config = {"model_type": "internvl", "vision_config": config, "qllama_config": llava.QLLAMA}
        config |= {"num_query_token": llava.QLLAMA["num_query_token"], "attn_pool_num_heads": 2, "clip_embed_dim": 8}
        other = ours.InternVLDualEncoderModel(ours.InternVLDualEncoderConfig(**config)).state_dict()
        heads = ("clip_projector", "itm_head", "text_projection", "logit_scale")
        tower |= {key: weight for key, weight in other.items() if key.startswith(heads)}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tower, folder / "model.safetensors", metadata={"format": "pt"})


def write_apart(folder, tower, form: str) -> dict[str, torch.Tensor]:
    """A checkpoint without its tower in `folder`, the tower in a folder of its own; returns all weights."""
    weights = llava.write_folder(folder, form, vision_config=..., middleware_config=...)
    write_tower(tower, weights, form)
    for path in folder.glob("pytorch_model*"):
        path.unlink()
    llava.write_weights(folder, {k: v for k, v in weights.items() if not k.startswith(llava.TOWER)})
    return weights


@pytest.mark.parametrize("place", ["beside", "given"])
@pytest.mark.parametrize("form", FORMS)
def test_the_tower_may_lie_in_its_own_folder(form, place, tmp_path, pixels):
    tower = tmp_path / ("elsewhere" if place == "given" else "") / llava.NAMES[form].split("/")[-1]
    weights = write_apart(tmp_path / "checkpoint", tower, form)
    options = {"mm_vision_tower": str(tower)} if place == "given" else {}
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "checkpoint", **options).eval()
    expected = llava.reference_logits(weights, PROMPT, [pixels[0]])
    torch.testing.assert_close(logits_of(model, PROMPT, pixels[:1]), expected, **OUTPUT)


@pytest.fixture
def apart(tmp_path):
    """A checkpoint without its tower, and the tower's own folder beside it."""
    write_apart(tmp_path / "checkpoint", tmp_path / "InternViT-6B-224px", "mlp2x_gelu")
    return tmp_path


def test_a_tower_of_its_own_must_be_complete(apart):
    file = apart / "InternViT-6B-224px" / "model.safetensors"
    weights = load_file(file)
    save_file({k: v for k, v in weights.items() if "layers.2.ls1" not in k}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="InternViT-6B-224px are not those.*no weights for 1 of them.*2.lambda_1"):
        AutoModel.from_pretrained(apart / "checkpoint")


def test_a_tower_of_its_own_is_not_offloaded_while_it_is_loaded(apart):
    parts = {"model.vision_tower": "disk", "model.multi_modal_projector": "cpu", "model.language_model": "cpu"}
    with pytest.raises(ValueError, match="cannot be offloaded while it is loaded"):
        AutoModel.from_pretrained(
            apart / "checkpoint", device_map=parts | {"lm_head": "cpu"}, offload_folder=apart / "offload"
        )


def test_sizes_come_from_the_weights(tmp_path, monkeypatch):
    monkeypatch.setitem(shapes._HEADS, 24, 2)
    llava.write_folder(tmp_path, vision_config=...)
    vision = AutoModel.from_pretrained(tmp_path).config.vision_config
    assert {key: getattr(vision, key) for key in llava.VIT} == {
        **llava.VIT,
        "image_size": (224, 224),
        "patch_size": (14, 14),
    }


# --- the released sizes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "changes", "tokens", "side"),
    [
        ("mlp2x_gelu", {}, 576, 336),
        ("mlp2x_gelu", {"mm_vision_tower": "./pretrained/InternViT-6B-448px"}, 1024, 448),
        ("two_mlp", {}, 672, 336),
        ("two_mlp", {"force_image_size": 224}, 352, 224),
    ],
)
def test_tokens_of_an_image(form, changes, tokens, side):
    config = ours.InternVLLlavaConfig.from_dict(llava.llava_config(form, **changes))
    assert (config.image_seq_length, config.tile_size) == (tokens, side)
    assert config.to_canonical().image_seq_length == tokens


@pytest.mark.parametrize(
    ("tower", "blocks", "positions"),
    [("InternViT-6B-224px", 48, 224), ("InternViT-6B-448px", 48, 448), ("InternViT-6B-448px-V1-2", 45, 448)],
)
def test_the_towers_name_tells_its_sizes(tower, blocks, positions):
    config = ours.InternVLLlavaConfig(mm_vision_tower=f"./pretrained/{tower}")
    assert config.vision_config.num_hidden_layers == blocks
    assert config.vision_config.image_size == (positions, positions)
    assert config.vision_config.num_attention_heads == 25


@pytest.mark.parametrize("form", FORMS)
def test_a_config_survives_a_dictionary(form, tmp_path):
    config = ours.InternVLLlavaConfig.from_dict(llava.llava_config(form, rope_theta=5000.0))
    again = ours.InternVLLlavaConfig.from_dict(config.to_dict())
    assert again.to_dict() == config.to_dict() and again.text_config.rope_parameters["rope_theta"] == 5000.0
    again.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["hidden_size"] == 32 and written["rope_theta"] == 5000.0 and "text_config" not in written
    first, second = (each.to_canonical().to_dict() for each in (config, AutoConfig.from_pretrained(tmp_path)))
    for canonical in (first, second):
        assert canonical.pop("original_config")["rope_theta"] == 5000.0  # of the file that was read
    assert first == second


def test_parameters_of_the_released_model():
    text = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
    with torch.device("meta"):
        model = AutoModel.from_config(ours.InternVLLlavaConfig(text_config=text))
    body = model.model
    parts = [body.vision_tower, body.multi_modal_projector, body.language_model, model.lm_head]
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert counts == [5_902_793_600, 29_892_608, 6_607_343_616, 131_072_000]  # InternViT-6B, MLP, Vicuna-7B, its head


@pytest.mark.parametrize(("width", "parameters"), [(4096, 63_455_232), (5120, 89_804_800)])
def test_parameters_of_the_double_projector(width, parameters):
    config = ours.InternVLLlavaConfig(
        mm_vision_tower="OpenGVLab/InternVL-14B-224px", text_config={"hidden_size": width}
    )
    with torch.device("meta"):
        projector = PROJECTORS[config.projector_type](config.to_canonical())
    assert sum(parameter.numel() for parameter in projector.parameters()) == parameters


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mm_vision_tower": "openai/clip-vit-large-patch14-336"}, "clip-vit-large.*none of InternVL-Chat v1"),
        ({"mm_vision_tower": ...}, "no mm_vision_tower"),
        ({"mm_vision_select_layer": ...}, "no mm_vision_select_layer"),
        ({"mm_projector_type": "linear"}, "`mm_projector_type` is 'linear'.*has 'mlp2x_gelu'"),
        ({"mm_projector_type": "two_mlp"}, "`mm_projector_type` is 'two_mlp'"),
        ({"mm_vision_select_feature": "cls_patch"}, "'cls_patch'"),
        ({"image_aspect_ratio": "anyres"}, "'anyres'.*'pad' or 'square' or None"),
        ({"mm_use_im_start_end": True}, "`mm_use_im_start_end` is True"),
    ],
)
def test_other_llava_models(tmp_path, changes, message):
    (tmp_path / "config.json").write_text(json.dumps(llava.llava_config(**changes)))
    with pytest.raises(ValueError, match=message):
        AutoConfig.from_pretrained(tmp_path)


def test_a_tower_that_is_nowhere(tmp_path):
    weights = llava.write_folder(tmp_path)
    llava.write_weights(tmp_path, {k: v for k, v in weights.items() if not k.startswith(llava.TOWER)})
    with pytest.raises(
        ValueError, match="does not hold the weights of its vision tower, and './pretrained/InternViT-6B"
    ):
        AutoModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "name", [llava.TOWER + "encoder.layers.1.ls1", "model.mm_projector.2.bias", "model.norm.weight"]
)
def test_missing_weights(tmp_path, name):
    weights = llava.write_folder(tmp_path)
    llava.write_weights(tmp_path, {k: v for k, v in weights.items() if k != name})
    with pytest.raises(ValueError, match="no weights for 1 of them: model."):
        AutoModel.from_pretrained(tmp_path)


def test_weights_without_a_place(tmp_path):
    weights = llava.write_folder(tmp_path)
    llava.write_weights(tmp_path, {**weights, "model.mm_projector.4.weight": torch.ones(2, 2)})
    with pytest.raises(ValueError, match="no place for 1 of them: model.mm_projector.4.weight"):
        AutoModel.from_pretrained(tmp_path)


def test_wrong_sizes(tmp_path):
    llava.write_folder(tmp_path, vision_config={**llava.VIT, "intermediate_size": 41})
    with pytest.raises(RuntimeError, match="mismatched"):
        AutoModel.from_pretrained(tmp_path)


def test_heads_that_nothing_tells(tmp_path):
    llava.write_folder(tmp_path, vision_config=...)
    with pytest.raises(ValueError, match="24 wide.*how many heads it has: write the tower's `vision_config`"):
        AutoModel.from_pretrained(tmp_path)


def test_a_tower_without_its_embeddings(tmp_path, monkeypatch):
    weights = llava.write_folder(tmp_path, vision_config=...)
    llava.write_weights(tmp_path, {k: v for k, v in weights.items() if "position_embedding" not in k})
    with pytest.raises(ValueError, match="incomplete: there is no embeddings.position_embedding"):
        AutoModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("images", [1, 3])
def test_images_that_do_not_fit_the_prompt(case, pixels, images):
    _, _, model = case
    batch = inputs_of(model, [[1, IMAGE, 5, IMAGE]], pixels[[0, 1, 0][:images]])
    with pytest.raises(ValueError, match="Image features and image tokens do not match"):
        model(**batch)


def test_images_cannot_be_placed_by_embeddings(case, pixels):
    _, _, model = case
    with pytest.raises(ValueError, match="Image token 400 has no embedding.*pass `input_ids`"):
        model(inputs_embeds=torch.zeros(1, 3, 32), pixel_values=pixels[:1])


@pytest.mark.parametrize("given", [{"projector_type": "two_mlp"}, {"middleware_config": {}}])
def test_the_double_projector_and_qllama_belong_together(given):
    with pytest.raises(ValueError, match="give both or neither"):
        ours.InternVLConfig(**given)


def test_a_projector_that_does_not_exist():
    with pytest.raises(ValueError, match="`projector_type` must be one of .*got 'resampler'"):
        ours.InternVLConfig(projector_type="resampler")
