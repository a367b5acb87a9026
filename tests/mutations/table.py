# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which test files belong to a module of the package: those that mirror it, those that import it, and a table."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "transformers_internvl"
TESTS = ROOT / "tests"

SERVING = tuple(
    f"reliability/test_{name}.py"
    for name in (
        "serving_guard",
        "serving_requests",
        "serving_places",
        "serving_generation",
        "serving_bounds",
        "serving",
    )
) + ("reliability/test_hostile_connections.py", "reliability/test_hostile_requests.py")
ROWS: dict[str, tuple[str, ...]] = {
    "conversion/weights/quantized_ops": ("conversion/test_ops.py", "modeling/test_quantized_files.py"),
    "modeling/dual_encoder/base": ("modeling/test_dual_encoder.py",),
    "processing/addresses": SERVING,
    "curation/executors": ("curation/test_curate.py",),
    "curation/files": ("curation/test_pipeline.py",),
    "curation/image_duplicates": ("curation/test_curate.py",),
    "curation/report": ("curation/test_curate.py",),
    "curation/statistics": ("curation/test_curate.py",),
    "curation/text_duplicates": ("curation/test_curate.py",),
    "curation/writers": (
        "curation/test_curate.py",
        "curation/test_formats.py",
    ),
    "modeling/internvl/losses": (
        "training/test_experts.py",
        "parity/test_chat_models.py",
    ),
    "processing/text/template_meter": (
        "reliability/test_hostile_templates.py",
        "processing/test_untrusted_text.py",
    ),
    "serving/bodies": (
        "reliability/test_serving_requests.py",
        "reliability/test_hostile_requests.py",
    ),
    "training/data/encoding": ("training/test_samples.py",),
    "training/data/streamed_files": ("training/test_streamed.py",),
    "training/data/streamed_tables": ("training/test_streams.py",),
    "training/data/tar_rows": (
        "training/test_streamed.py",
        "training/test_mixture.py",
    ),
    "training/reinforcement/policy_trainer": ("training/test_reinforcement.py",),
    "training/reinforcement/rewards": ("training/test_rewards.py",),
    "__init__": (
        "test_registry.py",
        "test_readme.py",
    ),
    "backend_classes": (
        "test_registry.py",
        "processing/test_image_processing.py",
    ),
    "cli/__main__": (
        "cli/test_names.py",
        "test_readme.py",
    ),
    "cli/caption": ("cli/test_dual_encoder_verbs.py",),
    "cli/classify": ("cli/test_dual_encoder_verbs.py",),
    "cli/curate": ("curation/test_curate.py",),
    "cli/evaluate": ("evaluation/test_run.py",),
    "cli/evaluate_encoders": ("evaluation/test_encoders.py",),
    "cli/listening": SERVING,
    "cli/look": ("visualization/test_answer.py",),
    "cli/pairs": ("training/test_preferences.py",),
    "cli/parity": ("evaluation/test_parity.py",),
    "cli/retrieve": ("cli/test_dual_encoder_verbs.py",),
    "cli/serve": SERVING,
    "cli/tables": (
        "cli/test_profile.py",
        "cli/test_inspect.py",
        "cli/test_plan.py",
    ),
    "cli/verify": ("cli/test_convert_and_verify.py",),
    "conversion/files/shapes": ("reliability/test_untrusted.py",),
    "conversion/layouts/llava_tower": (
        "modeling/test_llava_layout.py",
        "conversion/test_convert.py",
        "parity/test_llava.py",
    ),
    "curation/image_files": ("curation/test_formats.py",),
    "curation/tables": ("curation/test_formats.py",),
    "demo/page": ("demo/test_handlers.py",),
    "demo/server": ("demo/test_own_pages.py",),
    "evaluation/encoders/captions": ("evaluation/test_encoders.py",),
    "evaluation/encoders/classification": ("evaluation/test_encoders.py",),
    "evaluation/encoders/measure": ("evaluation/test_encoders.py",),
    "evaluation/encoders/probing": ("evaluation/test_encoders.py",),
    "evaluation/encoders/retrieval": ("evaluation/test_encoders.py",),
    "evaluation/encoders/running": ("evaluation/test_encoders.py",),
    "evaluation/encoders/segments": ("evaluation/test_encoders.py",),
    "evaluation/prompts/settings": ("parity/test_eval_prompts.py",),
    "evaluation/harnesses/lmms_eval": ("evaluation/test_harnesses.py",),
    "evaluation/harnesses/vlmevalkit": ("evaluation/test_harnesses.py",),
    "hub/arguments": (
        "test_hub.py",
        "test_loading.py",
    ),
    "hub/model_card": ("test_hub.py",),
    "internvl_chat": ("parity/test_chat_surface.py",),
    "modeling/dual_encoder/__init__": ("parity/test_internvl_14b.py",),
    "modeling/dual_encoder/losses": ("modeling/test_dual_encoder_losses.py",),
    "modeling/dual_encoder/pretraining": ("modeling/test_dual_encoder_losses.py", "training/test_pairs.py"),
    "modeling/dual_encoder/qllama": ("parity/test_internvl_14b.py",),
    "modeling/internvl/__init__": ("parity/test_chat_models.py",),
    "modeling/internvl/image_features": (
        "parity/test_chat_models.py",
        "parity/test_llava.py",
    ),
    "modeling/language_models": ("parity/test_chat_models.py", "modeling/test_missing_weights.py"),
    "modeling/limits": (
        "reliability/test_untrusted.py",
        "test_loading.py",
    ),
    "modeling/original/attributes": (
        "test_original_surface.py",
        "parity/test_chat_surface.py",
    ),
    "modeling/original/calls": (
        "test_original_surface.py",
        "parity/test_chat_surface.py",
    ),
    "modeling/pretrained/context_parallel": ("modeling/test_context_parallel.py",),
    "modeling/pretrained/generation": ("modeling/test_generation.py",),
    "modeling/pretrained/packed_masks": ("parity/test_packed_models.py",),
    "modeling/pretrained/parallel": (
        "modeling/test_distributed.py",
        "training/test_data_ranks.py",
    ),
    "modeling/pretrained/stepwise": ("reliability/test_batching.py", "modeling/test_prefix_cache.py"),
    "modeling/vision/__init__": ("parity/test_intern_vit.py",),
    "modeling/vision/layers": ("modeling/test_dual_encoder.py",),
    "processing/chat_templates/__init__": (
        "parity/test_chat_surface.py",
        "reliability/test_text.py",
    ),
    "processing/images/image_processing_llava": ("parity/test_llava.py",),
    "processing/images/resampling": (
        "parity/test_preprocessing.py",
        "processing/test_threads.py",
    ),
    "processing/processor_dual_encoder": ("parity/test_internvl_14b_processing.py",),
    "processing/processor_llava": ("parity/test_llava.py",),
    "processing/text/untrusted_text": ("reliability/test_text.py",),
    "processing/tokenizers/dual_encoder": ("parity/test_internvl_14b_processing.py",),
    "processing/tokenizers/leading_prefix": (
        "processing/test_tokenization.py",
        "processing/test_sentencepiece_library.py",
    ),
    "processing/tokenizers/llama": (
        "processing/test_tokenization.py",
        "parity/test_real_vocabulary.py",
    ),
    "processing/tokenizers/slow": ("processing/test_tokenization_internlm2.py",),
    "processing/videos/video_frames": (
        "processing/test_video_decoding.py",
        "parity/test_video.py",
    ),
    "processing/videos/video_processing": ("parity/test_video.py",),
    "processing/videos/video_timing": ("parity/test_video.py",),
    "registry": (
        "test_loading.py",
        "test_internvl_chat.py",
    ),
    "serving/app": SERVING,
    "serving/batching": ("reliability/test_batching.py",),
    "serving/connections": SERVING,
    "serving/generation": SERVING,
    "serving/guard": SERVING,
    "serving/helper": SERVING,
    "serving/hosts": SERVING,
    "serving/inputs": SERVING,
    "serving/media": SERVING,
    "serving/preparing": SERVING,
    "serving/requests": SERVING,
    "serving/row_caches": ("reliability/test_batching.py",),
    "serving/slots": SERVING,
    "training/configs/__init__": ("training/test_data_ranks.py",),
    "training/data/dataloader": (
        "training/test_resume.py",
        "training/test_data_ranks.py",
    ),
    "training/data/samples": ("parity/test_labels.py",),
    "training/reinforcement/__init__": ("training/test_reinforcement.py",),
    "training/run/__init__": ("cli/test_train.py",),
    "training/run/folder": ("cli/test_train.py",),
    "training/run/objectives": ("training/test_run.py",),
    "training/run/plan": ("training/test_run_parts.py", "cli/test_train.py"),
    "training/trainers/checkpoints": ("training/test_resume.py",),
    "training/trainers/data_trainer": (
        "training/test_resume.py",
        "training/test_data_ranks.py",
    ),
    "training/trainers/reference": (
        "training/test_mpo.py",
        "training/test_vico.py",
    ),
    "training/trainers/trainer": (
        "training/test_experts.py",
        "training/test_gradient_checkpointing.py",
    ),
}


def modules() -> list[str]:
    """Every module with something to change, as a path below the package without `.py`."""
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py" or has_functions(path)]
    return [path.relative_to(PACKAGE).with_suffix("").as_posix() for path in paths]


def has_functions(path: Path) -> bool:
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(tree_of(path)))


def mirrors(module: str) -> list[str]:
    """Test files with the module's name, also with something behind it, in the folder of the same name or above."""
    *folders, name = module.removesuffix("/__init__").split("/")
    places = [TESTS.joinpath(*folders[:end]) for end in range(len(folders), -1, -1)]
    found = [
        path for place in places for path in (*place.glob(f"test_{name}.py"), *sorted(place.glob(f"test_{name}_*.py")))
    ]
    return [path.relative_to(TESTS).as_posix() for path in found]


@cache
def exports() -> dict[str, str]:
    """Public names, dotted, such as `processing.images.select_grid` -> the module that they are in, from the stubs."""
    found = {}
    for stub in sorted(PACKAGE.rglob("__init__.pyi")):
        folder = list(stub.relative_to(PACKAGE).parts[:-1])
        for node in ast.parse(stub.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.level:
                above = folder[: len(folder) + 1 - node.level] + (node.module or "").split(".")
                for alias in node.names:
                    found[".".join([*folder, alias.name])] = module_of([*filter(None, above), alias.name])
    return found


@cache
def importers() -> dict[str, list[str]]:
    """Module -> test files that import it, or a public name of it."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for module in sorted(imports_of(path)):
            found.setdefault(module, []).append(path.relative_to(TESTS).as_posix())
    return found


@cache
def users() -> dict[str, list[str]]:
    """Module -> modules of the package that import it."""
    found: dict[str, list[str]] = {}
    for user in modules():
        *folder, _ = user.split("/")
        for node in ast.walk(tree_of(PACKAGE / f"{user}.py")):
            if isinstance(node, ast.ImportFrom) and node.level and user != "__init__":
                above = [*folder[: len(folder) + 1 - node.level], *filter(None, (node.module or "").split("."))]
                for alias in node.names:
                    found.setdefault(module_of([*above, alias.name]), []).append(user)
    return {module: sorted(set(names)) for module, names in found.items()}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(tree_of(path)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = (
                [f"transformers_internvl.{node.attr}"] if node.value.id in ("ours", "transformers_internvl") else []
            )
        for name in names:
            first, *rest = name.split(".")
            if first == "transformers_internvl" and rest:
                found.add(exports().get(".".join(rest)) or module_of(rest))
    return found - {""}


def module_of(names: list[str]) -> str:
    """The longest beginning of dotted names that is a module: `serving.app.Server` is in `serving/app`."""
    for end in range(len(names), 0, -1):
        path = PACKAGE.joinpath(*names[:end])
        if path.with_suffix(".py").is_file():
            return "/".join(names[:end])
        if (path / "__init__.py").is_file():
            return "/".join([*names[:end], "__init__"])
    return ""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def belonging(module: str) -> list[str]:
    """The test files of a module, below `tests/`: its mirrors, its row, those that import it, its users' mirrors.

    Where there is none of them, all that belong to its users.
    """
    using = users().get(module, ())
    theirs = [path for user in using for path in mirrors(user)]
    found = [*mirrors(module), *ROWS.get(module, ()), *importers().get(module, ()), *theirs]
    found = found or [path for user in using for path in (*ROWS.get(user, ()), *importers().get(user, ()))]
    return list(dict.fromkeys(found))
