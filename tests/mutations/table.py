# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which test files belong to a module of the package: those that mirror it, those that import it, and a table."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "transformers_internvl"
TESTS = ROOT / "tests"

SERVING = ("reliability/test_serving.py", "reliability/test_serving_bounds.py", "reliability/test_hostile_requests.py")
ROWS: dict[str, tuple[str, ...]] = {
    "__init__": ("test_registry.py", "test_readme.py"),
    "backend_classes": ("test_registry.py", "processing/test_image_processing.py"),
    "cli/__main__": ("cli/test_names.py", "test_readme.py"),
    "cli/caption": ("cli/test_dual_encoder_verbs.py",),
    "cli/classify": ("cli/test_dual_encoder_verbs.py",),
    "cli/retrieve": ("cli/test_dual_encoder_verbs.py",),
    "cli/serve": SERVING,
    "cli/serving/addresses": SERVING,
    "cli/serving/app": SERVING,
    "cli/serving/connections": SERVING,
    "cli/serving/generation": SERVING,
    "cli/serving/guard": SERVING,
    "cli/serving/helper": SERVING,
    "cli/serving/hosts": SERVING,
    "cli/serving/inputs": SERVING,
    "cli/serving/media": SERVING,
    "cli/serving/preparing": SERVING,
    "cli/serving/requests": SERVING,
    "cli/serving/slots": SERVING,
    "cli/tables": ("cli/test_profile.py", "cli/test_inspect.py", "cli/test_plan.py"),
    "cli/verify": ("cli/test_convert_and_verify.py",),
    "conversion/llava_tower": ("modeling/test_llava_layout.py", "conversion/test_convert.py", "parity/test_llava.py"),
    "conversion/pickled": ("reliability/test_untrusted.py",),
    "hub/arguments": ("test_hub.py", "test_loading.py"),
    "hub/model_card": ("test_hub.py",),
    "internvl_chat": ("parity/test_chat_surface.py",),
    "modeling/authors_calls": ("test_authors_surface.py", "parity/test_chat_surface.py"),
    "modeling/authors_parts": ("test_authors_surface.py", "parity/test_chat_surface.py"),
    "modeling/dual_encoder": ("parity/test_internvl_14b.py",),
    "modeling/exact_decoding": ("modeling/test_generation.py",),
    "modeling/image_features": ("parity/test_chat_models.py",),
    "modeling/internlm2": ("parity/test_chat_models.py",),
    "modeling/internvl": ("parity/test_chat_models.py",),
    "modeling/limits": ("reliability/test_untrusted.py", "test_loading.py"),
    "modeling/middleware": ("parity/test_llava.py",),
    "modeling/packed_masks": ("parity/test_packed_models.py",),
    "modeling/patch_dropout": ("modeling/test_dual_encoder.py",),
    "modeling/projector": ("parity/test_chat_models.py",),
    "modeling/qllama": ("parity/test_internvl_14b.py",),
    "modeling/rotary": ("parity/test_chat_models.py",),
    "modeling/sharding": ("modeling/test_distributed.py", "training/test_data_ranks.py"),
    "modeling/tensor_parallel": ("modeling/test_distributed.py",),
    "modeling/vision": ("parity/test_intern_vit.py",),
    "nano/evaluation": ("nano/test_training.py",),
    "processing/chat_templates/__init__": ("parity/test_chat_surface.py", "reliability/test_text.py"),
    "processing/image_processing_llava": ("parity/test_llava.py",),
    "processing/leading_prefix": ("processing/test_tokenization.py", "processing/test_sentencepiece_library.py"),
    "processing/processor_dual_encoder": ("parity/test_internvl_14b_processing.py",),
    "processing/processor_llava": ("parity/test_llava.py",),
    "processing/resampling": ("parity/test_preprocessing.py", "processing/test_threads.py"),
    "processing/text_as_data": ("reliability/test_text.py",),
    "processing/tokenization_dual_encoder": ("parity/test_internvl_14b_processing.py",),
    "processing/tokenization_llama": ("processing/test_tokenization.py", "parity/test_real_vocabulary.py"),
    "processing/tokenization_slow": ("processing/test_tokenization_internlm2.py",),
    "processing/video_frames": ("processing/test_video_decoding.py", "parity/test_video.py"),
    "processing/video_processing": ("parity/test_video.py",),
    "processing/video_timing": ("parity/test_video.py",),
    "registry": ("test_loading.py", "test_internvl_chat.py"),
    "training/checkpoints": ("training/test_resume.py",),
    "training/configs/__init__": ("training/test_data_ranks.py",),
    "training/data_trainer": ("training/test_resume.py", "training/test_data_ranks.py"),
    "training/loading": ("training/test_resume.py", "training/test_data_ranks.py"),
    "training/objectives": ("training/test_run.py",),
    "training/plan": ("cli/test_train.py",),
    "training/run": ("cli/test_train.py",),
    "training/run_folder": ("cli/test_train.py",),
    "training/samples": ("parity/test_labels.py",),
    "training/trainer": ("training/test_experts.py", "training/test_gradient_checkpointing.py"),
}


def modules() -> list[str]:
    """Every module that has functions, as a path below the package without `.py`."""
    paths = sorted(path for path in PACKAGE.rglob("*.py"))
    named = [path.relative_to(PACKAGE).with_suffix("").as_posix() for path in paths]
    return [name for name, path in zip(named, paths, strict=True) if len(tree_of(path).body) > 1]


def mirrors(module: str) -> list[str]:
    """Test files with the module's name, also with something behind it, in the folder of the same name or above."""
    parts = module.removesuffix("/__init__").split("/")
    folder, name = "/".join(parts[:-1]), parts[-1]
    places = {TESTS / folder, TESTS}
    found = {path for place in places for path in [*place.glob(f"test_{name}.py"), *place.glob(f"test_{name}_*.py")]}
    return sorted(path.relative_to(TESTS).as_posix() for path in found)


@cache
def importers() -> dict[str, list[str]]:
    """Module -> test files that import it, or a public name of it."""
    public = {}
    for node in tree_of(PACKAGE / "__init__.py").body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            public |= {alias.name: module_of(node.module.split(".")) for alias in node.names}
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for module in sorted(imports_of(path, public)):
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


def imports_of(path: Path, public: dict[str, str]) -> set[str]:
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
                found.add(public[rest[0]] if rest[0] in public else module_of(rest))
    return found - {""}


def module_of(names: list[str]) -> str:
    """The longest beginning of dotted names that is a module: `cli.serving.app.Server` is in `cli/serving/app`."""
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
    """The test files of a module, below `tests/`: its mirrors, its row, those that import it, its users' mirrors."""
    theirs = [path for user in users().get(module, ()) for path in mirrors(user)]
    return list(dict.fromkeys([*mirrors(module), *ROWS.get(module, ()), *importers().get(module, ()), *theirs]))
