# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Former names of modules, functions, arguments and values: they still work, with a `FutureWarning`.

This file goes with version 0.3.0.
"""

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = __name__.partition(".")[0]

# Former name -> present name, both below the package.
RENAMED = {
    "cli.serving": "serving",
    "cli.serving.app": "serving.app",
    "cli.serving.connections": "serving.connections",
    "cli.serving.generation": "serving.generation",
    "cli.serving.guard": "serving.guard",
    "cli.serving.helper": "serving.helper",
    "cli.serving.hosts": "serving.hosts",
    "cli.serving.inputs": "serving.inputs",
    "cli.serving.media": "serving.media",
    "cli.serving.preparing": "serving.preparing",
    "cli.serving.requests": "serving.requests",
    "cli.serving.slots": "serving.slots",
    "conversion.adapter_names": "conversion.lora.names",
    "conversion.adapters": "conversion.lora.adapters",
    "conversion.atomic": "conversion.files.folders",
    "conversion.companions": "conversion.layouts.auxiliary_files",
    "conversion.convert": "conversion.layouts.convert",
    "conversion.copying": "conversion.files.folders",
    "conversion.folders": "conversion.files.copies",
    "conversion.language_model_swap": "conversion.surgery.language_model_swap",
    "conversion.legacy_adapters": "conversion.lora.inside_checkpoints",
    "conversion.legacy_dual_encoder": "conversion.weights.legacy_dual_encoder",
    "conversion.llava_tower": "conversion.layouts.llava_tower",
    "conversion.mappings": "conversion.weights.mappings",
    "conversion.operations": "conversion.surgery.operations",
    "conversion.ops": "conversion.weights.ops",
    "conversion.pickled": "conversion.files.shapes",
    "conversion.plan": "conversion.layouts.plan",
    "conversion.quantized_ops": "conversion.weights.quantized_ops",
    "conversion.shapes": "conversion.files.shapes",
    "conversion.sources": "conversion.layouts.configurations",
    "conversion.transplant": "conversion.surgery.transplant",
    "conversion.verify": "conversion.layouts.verify",
    "conversion.vocabulary": "conversion.surgery.vocabulary",
    "conversion.weight_streams": "conversion.files.weight_streams",
    "evaluation.caption_metrics": "evaluation.metrics.captions",
    "evaluation.device_map": "profiling.device_map",
    "evaluation.fitting": "profiling.fitting",
    "evaluation.memory": "profiling.memory",
    "evaluation.memory_trace": "profiling.memory_trace",
    "evaluation.profile": "profiling.model_profile",
    "evaluation.released": "profiling.released",
    "evaluation.study": "profiling.study",
    "modeling.answer_decoding": "modeling.pretrained.answer_decoding",
    "modeling.attention_pool": "modeling.vision.layers",
    "modeling.authors_calls": "modeling.original.calls",
    "modeling.authors_keys": "modeling.original_keys",
    "modeling.authors_parts": "modeling.original.attributes",
    "modeling.cache_names": "modeling.pretrained.older_arguments",
    "modeling.canonical": "modeling.original.canonical",
    "modeling.configuration": "modeling.internvl.configuration",
    "modeling.configuration_chat": "modeling.original.configuration_chat",
    "modeling.configuration_dual_encoder": "modeling.dual_encoder.configuration",
    "modeling.configuration_llava": "modeling.original.configuration_llava",
    "modeling.configuration_qllama": "modeling.dual_encoder.configuration",
    "modeling.contrastive": "modeling.dual_encoder.losses",
    "modeling.dual_encoder_base": "modeling.dual_encoder.base",
    "modeling.dual_encoder_pretraining": "modeling.dual_encoder.pretraining",
    "modeling.exact_decoding": "modeling.pretrained.generation",
    "modeling.image_features": "modeling.internvl.image_features",
    "modeling.internlm2": "modeling.language_models",
    "modeling.loading": "modeling.pretrained.loading",
    "modeling.middleware": "modeling.internvl.image_features",
    "modeling.module_names": "modeling.pretrained.module_names",
    "modeling.native_adapters": "modeling.pretrained.native_adapters",
    "modeling.offloading": "modeling.pretrained.base",
    "modeling.older_arguments": "modeling.pretrained.older_arguments",
    "modeling.out_of_vocabulary": "modeling.pretrained.generation",
    "modeling.packed_masks": "modeling.pretrained.packed_masks",
    "modeling.patch_dropout": "modeling.vision.layers",
    "modeling.pixel_shapes": "modeling.vision.layers",
    "modeling.projector": "modeling.internvl.image_features",
    "modeling.qllama": "modeling.dual_encoder.qllama",
    "modeling.quantized": "modeling.pretrained.quantized",
    "modeling.rotary": "modeling.pretrained.upstream",
    "modeling.saved_names": "modeling.pretrained.loading",
    "modeling.sharding": "modeling.pretrained.parallel",
    "modeling.tensor_parallel": "modeling.pretrained.upstream",
    "modeling.vision_backbone": "modeling.vision.backbone",
    "modeling.vision_heads": "modeling.vision.heads",
    "processing.conversation": "processing.text.conversation",
    "processing.conversations": "processing.text.messages",
    "processing.frame_sampling": "processing.videos.frame_sampling",
    "processing.grounding": "processing.text.grounding",
    "processing.image_processing": "processing.images.image_processing",
    "processing.image_processing_llava": "processing.images.image_processing_llava",
    "processing.leading_prefix": "processing.tokenizers.leading_prefix",
    "processing.pixels": "processing.images.pixels",
    "processing.placeholders": "processing.text.placeholders",
    "processing.released_tokens": "processing.tokenizers.released_tokens",
    "processing.resampling": "processing.images.resampling",
    "processing.sentencepiece_library": "processing.tokenizers.sentencepiece_library",
    "processing.sentencepiece_model": "processing.tokenizers.sentencepiece_model",
    "processing.text_as_data": "processing.text.untrusted_text",
    "processing.tiling": "processing.images.tiling",
    "processing.tokenization": "processing.tokenizers.loading",
    "processing.tokenization_dual_encoder": "processing.tokenizers.dual_encoder",
    "processing.tokenization_internlm2": "processing.tokenizers.internlm2",
    "processing.tokenization_llama": "processing.tokenizers.llama",
    "processing.tokenization_slow": "processing.tokenizers.slow",
    "processing.video_decoding": "processing.videos.video_decoding",
    "processing.video_frames": "processing.videos.video_frames",
    "processing.video_processing": "processing.videos.video_processing",
    "processing.video_timing": "processing.videos.video_timing",
    "processing.video_token": "processing.text.video_token",
    "training.answers": "training.run.answers",
    "training.augmentation": "training.data.augmentation",
    "training.checkpoints": "training.trainers.checkpoints",
    "training.collation": "training.data.collation",
    "training.data_trainer": "training.trainers.data_trainer",
    "training.dataset": "training.data.dataset",
    "training.evaluating": "training.trainers.evaluation",
    "training.feature_store": "training.feature_cache.store",
    "training.footprint": "profiling.training_memory",
    "training.foreign_options": "training.run.other_names",
    "training.freezing": "training.parameters",
    "training.image_size": "training.data.pairs",
    "training.loading": "training.data.dataloader",
    "training.mpo": "training.trainers.mpo",
    "training.mpo_trainer": "training.trainers.mpo_trainer",
    "training.objectives": "training.run.objectives",
    "training.option_checks": "training.run.option_checks",
    "training.packing": "training.data.packing",
    "training.pairs": "training.data.pairs",
    "training.parameter_groups": "training.parameters",
    "training.plan": "training.run.plan",
    "training.recipe_table": "training.recipes",
    "training.records": "training.data.records",
    "training.report": "training.run.report",
    "training.rows": "training.data.rows",
    "training.run_data": "training.run.data",
    "training.run_folder": "training.run.folder",
    "training.run_options": "training.run.options",
    "training.samples": "training.data.samples",
    "training.sampling": "training.data.sampling",
    "training.trainer": "training.trainers.trainer",
    "training.tuning": "training.parameters",
}


class _Finder(MetaPathFinder):
    """Finds modules by their former names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, _Former(RENAMED[name])) if package == PACKAGE and name in RENAMED else None


class _Former(Loader):
    """Loads the present module in place of the former one."""

    def __init__(self, present: str):
        self.present = f"{PACKAGE}.{present}"

    def exec_module(self, module: ModuleType) -> None:
        warnings.warn(
            f"{module.__name__} is called {self.present} now; the former name goes with version 0.3.0.",
            FutureWarning,
            stacklevel=2,
        )
        sys.modules[module.__name__] = import_module(self.present)


def alias_former_names(module: str, **present: str) -> None:
    """Let names of a module or package be imported as they were called before: `former=present`."""

    others = vars(sys.modules[module]).get("__getattr__")  # of a package, whose names are resolved on use

    def resolve(name: str) -> Any:
        if name not in present:
            if others is not None:
                return others(name)
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        message = f"`{name}` is called `{present[name]}` now; the former name goes with version 0.3.0."
        warnings.warn(message, FutureWarning, stacklevel=2)
        return getattr(sys.modules[module], present[name])

    vars(sys.modules[module])["__getattr__"] = resolve


def present_layout(name: str) -> str:
    """The present name of a checkpoint's layout: the original layout was called `"authors"`."""
    if name != "authors":
        return name
    warnings.warn("The layout 'authors' is called 'original' now.", FutureWarning, stacklevel=3)
    return "original"


def accept_former_names() -> None:
    """Let modules be imported by their former names."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # before a former package finds its modules under both names


def former_argument(former: str, given: Any, name: str, value: Any) -> Any:
    """The value of an argument that was given under its former name; `value` where it was not (None)."""
    if given is None:
        return value
    message = f"`{former}` is called `{name}` now; the former name goes with version 0.3.0."
    warnings.warn(message, FutureWarning, stacklevel=4)
    return given


def former_value(argument: str, value: Any, values: Mapping[str, str]) -> Any:
    """The present value of an argument whose values have changed, of former value -> present value."""
    if not isinstance(value, str) or value not in values:
        return value
    message = f"`{argument}={value!r}` is {values[value]!r} now; the former value goes with version 0.3.0."
    warnings.warn(message, FutureWarning, stacklevel=4)
    return values[value]
