# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Compiled and exported models give what eager ones give: the short form of `tests/modeling/compiled.py`."""

import copy

import pytest
import torch
from torch._inductor import config as inductor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, Phi3Config
from transformers.exporters import DynamoConfig, DynamoExporter, ExportedModel

from tests.modeling import compiled
from tests.modeling.compiled import ANY_BATCH, TOLERANCE, Family, compare, counted, generation_compiled
from tests.parity.cases import CHATS
from tests.parity.golden import golden_root
from tests.tiny import IMAGE_TOKEN, tiny_batch, tiny_model
from tests.tiny_dual_encoder import images, texts, tiny_dual_encoder
from transformers_internvl.nano import nano_path, sample_images
from transformers_internvl.processing.tokenizers.loading import load_tokenizer

ONE_LAYER = {"text": {"num_hidden_layers": 1}, "vision": {"num_hidden_layers": 1}}
GREEDY = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
GREEDY["suppress_tokens"] = [IMAGE_TOKEN]


@pytest.fixture
def model():
    return tiny_model(**ONE_LAYER)


def text_only(length: int) -> dict[str, torch.Tensor]:
    batch = tiny_batch([0], length)
    del batch["pixel_values"]
    return batch


# --- torch.compile ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt_oss", "internlm2_dynamic_rope", "phi3_long", "qwen2", "qwen3_moe"])
def test_every_kind_of_language_model_decodes_in_compiled_steps(name):
    compiled.static_cache(compiled.golden_family(golden_root() / f"chat_{name}"), "eager")


def test_internvl_chat_v1_is_one_graph(tmp_path):
    compiled.prefill(compiled.llava_family(tmp_path, "mlp2x_gelu"), "eager")


def test_the_dual_encoder_is_one_graph():
    compare(tiny_dual_encoder(), "eager", images(), texts(8, 5), mode="InternVL-G")


def test_captions_are_decoded_in_compiled_steps():
    compiled.captions("InternVL-G", "eager")


def tiles_with_dummies(flags: list[int]) -> dict[str, torch.Tensor]:
    batch, real = tiny_batch([sum(flags)]), torch.tensor(flags) == 1
    pixels = torch.ones(len(flags), *batch["pixel_values"].shape[1:])
    pixels[real] = batch["pixel_values"]
    return {**batch, "pixel_values": pixels, "image_flags": torch.tensor(flags)}


def test_dummy_tiles_leave_no_trace_in_a_graph(model):
    with counted() as graphs, torch.no_grad():
        whole = torch.compile(model, fullgraph=True, backend="eager")
        for flags in ([1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 0]):
            batch = tiles_with_dummies(flags)
            found, expected = whole(**batch), model(**batch)
            assert len(expected.image_outputs.pooler_output) == 3
            torch.testing.assert_close(found.logits, expected.logits, **TOLERANCE)
            torch.testing.assert_close(
                found.image_outputs.pooler_output[:3], expected.image_outputs.pooler_output, **TOLERANCE
            )
        batch["input_ids"][0, 2] = 5  # one image token less than there are features
        with pytest.raises(RuntimeError):
            whole(**batch)
        with pytest.raises(ValueError, match="tokens: 11, features: 12"):
            model(**batch)
        assert graphs() == 1


def test_two_graphs_serve_every_number_of_tiles(model):
    """First one of constants, then one of symbols; 17 tiles are more than a chunk. (A single tile takes a third.)"""
    assert model.config.vision_chunk_size == 16
    with counted() as graphs, torch.no_grad():
        whole = torch.compile(model, fullgraph=True, backend="eager")
        for tiles in (2, 3, 17):
            batch = tiny_batch([tiles], length=8 + 4 * tiles)
            torch.testing.assert_close(whole(**batch).logits, model(**batch).logits, **TOLERANCE)
        assert graphs() == 2


def test_three_graphs_serve_prompts_of_every_kind(model):
    """Steps of one row share two graphs, whatever stood in the prompt; more rows take a third."""
    options = {"cache_implementation": "static", "compile_config": generation_compiled("eager")}
    batches = [tiny_batch([2]), tiny_batch([2], 30), tiny_batch([3], 25), text_only(9), tiny_batch([1, 2])]
    with counted() as graphs:
        for batch in [*batches, tiny_batch([1, 2, 0])]:
            assert torch.equal(model.generate(**batch, **GREEDY, **options), model.generate(**batch, **GREEDY))
        assert graphs() <= 3


def test_a_compiled_model_generates_with_a_growing_cache(model):
    batch = tiny_batch([2])
    expected = model.generate(**batch, **GREEDY, min_new_tokens=6)
    long = model.generate(**batch, **{**GREEDY, "max_new_tokens": 16})
    with counted() as graphs:
        model.compile(fullgraph=True, backend="eager")
        assert torch.equal(model.generate(**batch, **GREEDY), expected)
        few = graphs()
        assert few <= 3  # the prompt, the first step, all other steps
        assert torch.equal(model.generate(**batch, **{**GREEDY, "max_new_tokens": 16}), long)
        assert graphs() == few


def test_inductor(model):
    """The compiler that users get."""
    batch = tiny_batch([2, 1])
    options = {"cache_implementation": "static", "compile_config": generation_compiled("inductor")}
    # Neither processes that help with one small model, nor trials of the compiler, whose failure is a failure here.
    with counted(), inductor.patch({"compile_threads": 1, "cpp.vec_isa_ok": True}):
        assert torch.equal(model.generate(**batch, **GREEDY, **options), model.generate(**batch, **GREEDY))


# --- torch.export ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_one_exported_program_serves_all_shapes_and_is_saved(model, tmp_path):
    exported = DynamoExporter().export(model, tiny_batch([2, 1]), DynamoConfig(dynamic_shapes=ANY_BATCH))
    exported.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="run code when loaded"):  # a pickle
        ExportedModel.from_pretrained(tmp_path)
    again = ExportedModel.from_pretrained(tmp_path, trust_remote_code=True)
    for batch in (tiny_batch([2, 1]), tiny_batch([1]), tiny_batch([3, 0, 1], length=31), tiny_batch([17], length=80)):
        torch.testing.assert_close(again(**batch).logits, model(**batch).logits, **TOLERANCE)
    wrong = tiny_batch([2])
    wrong["input_ids"][0, 2] = 5
    with pytest.raises(RuntimeError):
        again(**wrong)


@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_dummy_tiles_are_exported(model):
    batch = tiles_with_dummies([1, 0, 1])
    exported = DynamoExporter().export(model, dict(batch), DynamoConfig())
    for flags in ([1, 0, 1], [0, 1, 1]):
        batch = tiles_with_dummies(flags)
        torch.testing.assert_close(exported(**batch).logits, model(**batch).logits, **TOLERANCE)


@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_the_exported_steps_of_a_generation(model):
    batch = tiny_batch([2])
    exported = DynamoExporter().export_for_generation(model, dict(batch), DynamoConfig())
    assert set(exported.components) == {"language_model", "lm_head", "decode"}
    cache = model(**batch, use_cache=True)
    token = cache.logits[:, -1:].argmax(-1)
    step = {"input_ids": token, "position_ids": torch.tensor([[batch["input_ids"].shape[1]]])}
    found = exported.runners["decode"](**step, cache=copy.deepcopy(cache.cache))
    expected = model(**step, cache=cache.cache)
    torch.testing.assert_close(found.logits, expected.logits, **TOLERANCE)


@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_the_dual_encoder_is_exported_for_any_number_of_images_and_texts():
    model = tiny_dual_encoder()
    example = {"pixel_values": images(3), "input_ids": texts(8, 5)}
    shapes = {name: ANY_BATCH[name] for name in example}
    exported = DynamoExporter().export(model, dict(example), DynamoConfig(dynamic_shapes=shapes))
    for inputs in (example, {"pixel_values": images(2), "input_ids": texts(6, 9, 4)}):
        found = exported(**inputs).logits_per_image
        torch.testing.assert_close(found, model(**inputs).logits_per_image, **TOLERANCE)


# --- ways of decoding ------------------------------------------------------------------------------------------------


# Golden folders whose language model is of the kind of another's: the long form takes them, too.
ALIKE = ("chat_llama_v1_2", "chat_qwen2_5", "chat_qwen2_5_tie_flag", "chat_qwen3_moe_aux", "chat_qwen3_tied")


@pytest.mark.parametrize("path", [path for path in CHATS if path.name not in ALIKE], ids=lambda path: path.name)
def test_chunks_and_speculation_give_the_same_ids_or_are_refused(path):
    family = compiled.golden_family(path)
    compiled.chunked_prefill(family, "eager")
    compiled.speculation(family, "eager")


def growing(limit: int) -> Family:
    """A model whose rotary base grows with every token beyond the limit."""
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    text = {"model_type": "internlm2", "max_position_embeddings": limit, "rope_parameters": rope}
    return Family(tiny_model(text={**text, "num_hidden_layers": 1}), tiny_batch([2]))


def test_what_is_refused_would_have_been_wrong(monkeypatch):
    family = growing(16)
    first = {"output_logits": True, "return_dict_in_generate": True, "max_new_tokens": 1}
    whole = family.generate(family.batch, **first).logits[0]
    with pytest.raises(ValueError, match="beyond 16 positions.*prompt of 20"):
        family.generate(family.batch, prefill_chunk_size=5)
    limit = "transformers_internvl.modeling.pretrained.generation.rotary_limit"
    monkeypatch.setattr(limit, lambda config: (None, False))
    chunked = family.generate(family.batch, prefill_chunk_size=5, **first).logits[0]
    assert (whole - chunked).abs().max() > 2e-4  # a hundred times what rounding does


@pytest.mark.parametrize("limit", [20, 512])
def test_what_cannot_be_wrong_is_not_refused(limit):
    family = growing(limit)
    expected = family.generate(family.batch)
    assert torch.equal(family.generate(family.batch, prefill_chunk_size=5), expected)
    assert torch.equal(family.generate(family.batch, prefill_chunk_size=20), expected)
    if limit == 512:
        assert torch.equal(family.generate(family.batch, prompt_lookup_num_tokens=2), expected)
    else:
        with pytest.raises(ValueError, match="within 20"):
            family.generate(family.batch, prompt_lookup_num_tokens=2)


def test_long_factors_are_refused_only_where_they_begin():
    """LongRoPE has two sets of factors: a prompt beyond the limit never meets the short ones."""
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [1.5, 2.0, 2.5, 3.0]}
    for limit, refused in ((16, False), (22, True)):
        text = {"model_type": Phi3Config.model_type, "original_max_position_embeddings": limit}
        text["rope_parameters"] = {**rope, "rope_theta": 10000.0, "original_max_position_embeddings": limit}
        family = Family(tiny_model(text={**text, "num_hidden_layers": 1}), tiny_batch([2]))
        if refused:
            with pytest.raises(ValueError, match="within 22"):
                family.generate(family.batch, prompt_lookup_num_tokens=2)
        else:
            expected = family.generate(family.batch)
            assert torch.equal(family.generate(family.batch, prompt_lookup_num_tokens=2), expected)


def test_embeddings_are_neither_split_nor_drafted_from(model):
    batch = tiny_batch([2])
    batch["inputs_embeds"] = model.get_input_embeddings()(batch["input_ids"])
    expected = model.generate(**batch, **GREEDY)
    assert torch.equal(model.generate(**batch, **GREEDY, prefill_chunk_size=20), expected)
    with pytest.raises(ValueError, match="prefill_chunk_size=5.*inputs_embeds"):
        model.generate(**batch, **GREEDY, prefill_chunk_size=5)
    with pytest.raises(ValueError, match="An assistant.*inputs_embeds"):
        model.generate(**batch, **GREEDY, assistant_model=model)
    with pytest.raises(ValueError, match="assistant_early_exit"):
        model.generate(**tiny_batch([2]), **GREEDY, assistant_early_exit=1)


def test_captions_are_neither_split_nor_drafted():
    model, prompt = tiny_dual_encoder(), torch.tensor([[1, 7, 9]])
    common = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
    expected = model.generate(images(1), prompt, **common)
    for cache in ({}, {"cache_implementation": "static"}):
        found = model.generate(images(1), prompt, **common, **cache, prompt_lookup_num_tokens=2)
        assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="prefill_chunk_size"):
        model.generate(images(1), prompt, **common, prefill_chunk_size=4)
    with pytest.raises(ValueError, match="assistant"):
        model.generate(images(1), prompt, **common, assistant_model=model.qllama)


@pytest.mark.parametrize("how", ["prompt_lookup", "assistant"])
def test_nobody_drafts_an_image_token(model, how):
    """The prompt ends with the token that stands in front of its image, and the assistant likes image tokens."""
    batch = tiny_batch([2])
    batch["input_ids"][0, -1] = batch["input_ids"][0, 0]
    free = {key: value for key, value in GREEDY.items() if key != "suppress_tokens"}
    if how == "prompt_lookup":
        drafts = {"prompt_lookup_num_tokens": 3}
    else:
        drafts = {"assistant_model": tiny_model(seed=3, **ONE_LAYER)}
        drafts["assistant_model"].lm_head.weight.data[:IMAGE_TOKEN] = 0
        drafts["assistant_model"].lm_head.weight.data[IMAGE_TOKEN + 1 :] = 0
    expected = model.generate(**batch, **free)
    assert torch.equal(model.generate(**batch, **free, **drafts), expected)


def test_assistants_of_another_size_and_without_images(model):
    batch = tiny_batch([2])
    expected = model.generate(**batch, **GREEDY)
    smaller = tiny_model(seed=3, text={"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1})
    blind = AutoModelForCausalLM.from_config(model.config.text_config).eval()
    for assistant in (smaller, blind):
        assert torch.equal(model.generate(**batch, **GREEDY, assistant_model=assistant), expected)


def passes_of(model, **arguments) -> tuple[torch.Tensor, int]:
    """What is generated, and how often the model runs for it."""
    passes = []
    handle = model.register_forward_hook(lambda *_: passes.append(1))
    sequences = model.generate(**arguments)
    handle.remove()
    return sequences, len(passes)


@pytest.mark.parametrize("batch", [tiny_batch([2]), tiny_batch([1, 2])["input_ids"][:1]], ids=["images", "text"])
def test_an_assistant_sees_the_images(model, batch):
    """The model's copy drafts what the model says, so every draft is accepted; without its images it could not."""
    batch = batch if isinstance(batch, dict) else {"input_ids": batch.masked_fill(batch == IMAGE_TOKEN, 5)}
    twin = copy.deepcopy(model)
    twin.generation_config.num_assistant_tokens, twin.generation_config.assistant_confidence_threshold = 5, 0
    twin.generation_config.num_assistant_tokens_schedule = "constant"
    options = {**GREEDY, "max_new_tokens": 12, "eos_token_id": None}
    expected, steps = passes_of(model, **batch, **options)
    drafted, checks = passes_of(model, **batch, **options, assistant_model=twin)
    assert torch.equal(drafted, expected)
    assert (steps, checks) == (12, 2)  # five drafts and one token of its own, twice


def test_an_assistant_of_other_tiles_is_refused(model):
    other = tiny_model(downsample_ratio=1.0)
    with pytest.raises(ValueError, match="image tokens of a tile, this model"):
        model.generate(**tiny_batch([2]), **GREEDY, assistant_model=other)


@pytest.mark.parametrize("drafted", [3, 50])
def test_drafts_end_before_the_answer_does(model, drafted):
    """A static cache has no place behind it; the prompt repeats itself, so that lookup drafts all it may."""
    batch = text_only(18)
    batch["input_ids"] = torch.tensor([[5, 6, 7, 8, 9, 10] * 3])
    expected = model.generate(**batch, **GREEDY)
    drafts = {"prompt_lookup_num_tokens": drafted, "cache_implementation": "static"}
    assert torch.equal(model.generate(**batch, **GREEDY, **drafts), expected)


@pytest.mark.parametrize("name", ["chat_qwen2", "chat_internlm2", "chat_llama_v1_2"])
def test_assistants_with_another_tokenizer(name):
    model = AutoModelForImageTextToText.from_pretrained(nano_path()).eval()
    processor = AutoProcessor.from_pretrained(nano_path())
    content = [{"type": "image", "path": str(sample_images()["number"])}, {"type": "text", "text": "What number?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    expected = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    drafts = {
        "assistant_model": AutoModelForImageTextToText.from_pretrained(golden_root() / name).eval(),
        "tokenizer": processor.tokenizer,
        "assistant_tokenizer": load_tokenizer(golden_root() / name),
    }
    for cache in ({}, {"cache_implementation": "static"}):
        assert torch.equal(model.generate(**inputs, max_new_tokens=8, do_sample=False, **cache, **drafts), expected)
