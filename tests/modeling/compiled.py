# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Whether compiled and exported models give what eager ones give; the command does it for every family.

`python -m tests.modeling.compiled` takes every golden chat model in both layouts, InternVL-Chat v1 in both forms, the
towers and the dual encoder; a row is one model in one mode. The exit status is 1 if a row differs, has graph breaks or
more graphs than it may.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.utils import counters
from transformers import AutoModel, AutoModelForImageTextToText, CompileConfig
from transformers.exporters import DynamoConfig, DynamoExporter

import transformers_internvl  # noqa: F401  (registers)
from tests import llava
from tests.parity.cases import CHATS, Case
from tests.parity.golden import golden_root

TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}
NEW_TOKENS = 12
ANY = torch.export.Dim.DYNAMIC  # refused by the exporter where the model takes the size for a constant
ANY_BATCH = {"input_ids": {0: ANY, 1: ANY}, "attention_mask": {0: ANY, 1: ANY}, "pixel_values": {0: ANY}}


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """A count of the graphs that were compiled since; nothing compiled before or inside is left."""
    torch._dynamo.reset()
    counters.clear()
    try:
        yield lambda: counters["stats"]["unique_graphs"]
    finally:
        torch._dynamo.reset()


def generation_compiled(backend: str) -> CompileConfig:
    """What `generate` needs to compile the decoding of a static cache, on every device, without graph breaks."""
    config = CompileConfig(fullgraph=True, backend=backend, mode=None)
    config._compile_all_devices = True  # by itself transformers compiles on accelerators only
    return config


def tensors(output: Any) -> list[torch.Tensor]:
    """The tensors of a model's output that are numbers of interest."""
    if isinstance(output, torch.Tensor):
        return [output]
    values = output.values() if hasattr(output, "values") else output
    return [value for value in values if isinstance(value, torch.Tensor)]


@torch.no_grad()
def compare(compute: Callable, backend: str, *args: Any, **kwargs: Any) -> float:
    """Compile without graph breaks, and compare all outputs with the eager ones; the largest difference."""
    with counted():
        expected = tensors(compute(*args, **kwargs))
        found = tensors(torch.compile(compute, fullgraph=True, backend=backend)(*args, **kwargs))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)
    return max(float((one - other).abs().max()) for one, other in zip(found, expected, strict=True))


# --- the models ------------------------------------------------------------------------------------------------------


class Family:
    """A generating model with a batch: two rows with images (and dummy tiles), padded on the left."""

    def __init__(self, model: Any, batch: dict[str, torch.Tensor], pad: int = 0):
        self.model, self.batch = model.eval(), batch
        self.config = self.model.config
        self.greedy = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": None, "pad_token_id": pad}
        if self.config.image_token_id < self.config.text_config.vocab_size:
            self.greedy["suppress_tokens"] = [self.config.image_token_id]  # a random model may write it

    def without_dummies(self) -> dict[str, torch.Tensor]:
        batch = dict(self.batch)
        flags = batch.pop("image_flags", None)
        if flags is not None:
            batch["pixel_values"] = batch["pixel_values"][flags.reshape(-1) == 1]
        return batch

    def row(self) -> dict[str, torch.Tensor]:
        """The first row alone, which is what speculation takes."""
        batch = self.without_dummies()
        ids, mask = batch["input_ids"][:1], batch["attention_mask"][:1]
        tiles = int((ids == self.config.image_token_id).sum()) // self.config.image_seq_length
        return {"input_ids": ids, "attention_mask": mask, "pixel_values": batch["pixel_values"][:tiles]}

    def generate(self, batch: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
        return self.model.generate(**batch, **{**self.greedy, **options})

    def rope(self) -> tuple[str, float]:
        """The rotary type, and the length from which on its base depends on the length."""
        text = self.config.text_config
        kind = text.rope_parameters["rope_type"]
        limits = {"dynamic": "max_position_embeddings", "longrope": "original_max_position_embeddings"}
        return kind, getattr(text, limits[kind]) if kind in limits else float("inf")


def golden_family(path: Path) -> Family:
    """One of `golden/chat_*`, in the original layout."""
    # GPT-OSS's attention sinks are an eager or kernel affair.
    attention: Any = {"vision_config": "sdpa", "text_config": "eager"} if "gpt_oss" in path.name else "sdpa"
    case = Case(path, attention)
    batch = case.batch("left")
    batch.pop("labels")
    return Family(case.model, batch, case.ids["pad_token_id"])


def canonical(path: Path, folder: Path) -> Family:
    """The same model, saved in the canonical layout and loaded as its class."""
    family = golden_family(path)
    attention = {"vision_config": "sdpa", "text_config": family.config.text_config._attn_implementation}
    family.model.save_pretrained(folder, save_original_format=False)
    model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation=attention)
    model.config.image_token_id = family.config.image_token_id
    return Family(model, family.batch, family.greedy["pad_token_id"])


def llava_family(folder: Path, projector: str) -> Family:
    """InternVL-Chat v1, in LLaVA's layout."""
    llava.write_folder(folder, projector)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    image = [model.config.image_token_id] * model.config.image_seq_length
    rows = [[1, *image, 5, 6, 7], [1, 8, *image, 9, 10]]
    ids = torch.tensor(rows)
    pixels = torch.randn(2, 3, 336, 336, generator=torch.Generator().manual_seed(0))
    return Family(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels})


# --- the modes -------------------------------------------------------------------------------------------------------


def prefill(family: Family, backend: str) -> str:
    """Images and text in one graph."""
    return f"{compare(family.model, backend, **family.without_dummies()):.0e}"


def prefill_with_dummies(family: Family, backend: str) -> str:
    """The same with `image_flags`; the logits are compared, since dummies stand behind the image features."""

    def logits(**batch: torch.Tensor) -> torch.Tensor:
        return family.model(**batch).logits

    return f"{compare(logits, backend, **family.batch):.0e}" if "image_flags" in family.batch else "no dummies"


def static_cache(family: Family, backend: str) -> str:
    """Decoding with a static cache in compiled steps, of which all but the first two are the same graph."""
    batch = family.without_dummies()
    expected = family.generate(batch)
    with counted() as graphs:
        found = family.generate(batch, cache_implementation="static", compile_config=generation_compiled(backend))
        assert torch.equal(found, expected)
        assert 1 <= graphs() <= 2
        return f"{graphs()} graphs"


def chunked_prefill(family: Family, backend: str) -> str:
    """Chunks that end inside of tiles; refused where the rotary base depends on the length."""
    batch = family.without_dummies()
    length, expected = batch["input_ids"].shape[1], family.generate(batch)
    options = [{"prefill_chunk_size": chunk} for chunk in ((3, 7) if length < 100 else (50, 101))]
    return _same_or_refused(family, batch, expected, options, refused=length > family.rope()[1])


def speculation(family: Family, backend: str) -> str:
    """Prompt lookup, the model as its own assistant, and one with other weights; on growing and static caches."""
    row = family.row()
    length, (kind, limit) = row["input_ids"].shape[1], family.rope()
    torch.manual_seed(0)
    other = type(family.model)(family.config).eval()
    options = [{"prompt_lookup_num_tokens": 3}, {"assistant_model": family.model}, {"assistant_model": other}]
    refused = length + NEW_TOKENS > limit and not (kind == "longrope" and length > limit)
    expected = family.generate(row)
    static = [{**option, "cache_implementation": "static"} for option in options]
    if not refused and "sliding_attention" in (getattr(family.config.text_config, "layer_types", None) or ()):
        for option in static:
            with pytest.raises(ValueError, match="requires a cache that can be cropped"):
                family.generate(row, **option)
        return _same_or_refused(family, row, expected, options, refused) + ", not with a static cache"
    return _same_or_refused(family, row, expected, options + static, refused)


def _same_or_refused(family: Family, batch: dict, expected: torch.Tensor, options: list[dict], refused: bool) -> str:
    for option in options:
        try:
            found = family.generate(batch, **option)
        except ValueError as error:
            assert refused and "rotary base" in str(error), error
        else:
            assert not refused and torch.equal(found, expected), option
    return "refused" if refused else "same ids"


@torch.no_grad()
def export(family: Family, backend: str) -> str:
    """`torch.export` by transformers' exporter, for any number of rows, tiles and tokens; tried with one row."""
    batch, row = family.without_dummies(), family.row()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = DynamoExporter().export(family.model, dict(batch), DynamoConfig(dynamic_shapes=ANY_BATCH))
    for inputs in (batch, row):
        torch.testing.assert_close(exported(**inputs).logits, family.model(**inputs).logits, **TOLERANCE)
    return "same logits"


def export_for_generation(family: Family, backend: str) -> str:
    """The components that transformers' exporter makes of a generation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = DynamoExporter().export_for_generation(family.model, family.without_dummies(), DynamoConfig())
    assert set(exported.components) == {"language_model", "lm_head", "decode"}
    return " ".join(exported.components)


MODES = (
    prefill,
    prefill_with_dummies,
    static_cache,
    chunked_prefill,
    speculation,
    export,
    export_for_generation,
)


# --- towers and the dual encoder -------------------------------------------------------------------------------------


def tower(name: str, backend: str) -> str:
    """A golden InternViT, on square and other images."""
    model = AutoModel.from_pretrained(golden_root() / name).eval()
    side, patch = model.config.image_size[0], model.config.patch_size[0]
    found = [compare(model, backend, torch.randn(2, 3, side + extra, side)) for extra in (0, 2 * patch)]
    return f"{max(found):.0e}"


def dual_encoder(mode: str, backend: str) -> str:
    """InternVL-C or InternVL-G on the golden images and texts."""
    path = golden_root() / "internvl_14b"
    inputs, model = load_file(path / "inputs.safetensors"), AutoModel.from_pretrained(path).eval()
    return f"{compare(model, backend, inputs['image'], inputs['text'], mode=mode):.0e}"


def captions(mode: str, backend: str) -> str:
    """Captions with a static cache, compiled."""
    path = golden_root() / "internvl_14b"
    inputs, model = load_file(path / "inputs.safetensors"), AutoModel.from_pretrained(path).eval()
    prompt = [inputs[key] for key in ("image", "caption.input_ids", "caption.attention_mask")]
    options = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
    expected = model.generate(*prompt, **options)
    with counted() as graphs:
        compiled = {"cache_implementation": "static", "compile_config": generation_compiled(backend)}
        assert torch.equal(model.generate(*prompt, **options, **compiled), expected)
        assert 1 <= graphs() <= 2
        return f"{graphs()} graphs"


OTHERS = (
    (tower, "intern_vit_6b"),
    (tower, "intern_vit_300m"),
    (dual_encoder, "InternVL-C"),
    (dual_encoder, "InternVL-G"),
    (captions, "InternVL-G"),
)


def families(scratch: Path) -> Iterator[tuple[str, Callable[[], Family]]]:
    """Every language model in both layouts, and InternVL-Chat v1: names, and what loads them."""
    for path in CHATS:
        yield path.name, partial(golden_family, path)
        yield f"{path.name} canonical", partial(canonical, path, scratch / path.name)
    for projector in llava.NAMES:
        yield f"llava {projector}", partial(llava_family, scratch / projector, projector)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    parser.add_argument("--only", default="", help="families whose name contains this")
    arguments = parser.parse_args()
    failed = rows = 0
    began = time.process_time()

    def report(name: str, mode: Callable, subject: Any) -> None:
        nonlocal failed, rows
        rows += 1
        try:
            result = mode(subject, arguments.backend)
        except (AssertionError, RuntimeError, ValueError, TypeError) as error:
            failed += 1
            result = f"FAILED: {type(error).__name__} {str(error)[:300]}"
        print(f"{name:38} {mode.__name__:22} {result}", flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        for name, load in families(Path(scratch)):
            if arguments.only in name:
                family = load()
                for mode in MODES:
                    report(name, mode, family)
        for mode, subject in OTHERS:
            if arguments.only in subject:
                report(subject, mode, subject)
    print(f"{rows} rows, {failed} failed, {time.process_time() - began:.0f} s of process time")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
