# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The one table: which of upstream's suites runs on which classes. A new suite is a new row."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """One of our drivers, and the classes that it puts through upstream's suite.

    Attributes:
        name: what `--suite` and `not_passed.txt` call it.
        driver: a file below `overlay/tests/internvl/`; it gets the classes from `given.given_classes()`.
        ours: classes by name, in the order in which the driver takes them; `module:Name` if not public.
        stock: upstream's classes for the same places; None if it has none. They run with `--long` only.
        long: runs with `--long` only.
    """

    name: str
    driver: str
    ours: tuple[str, ...]
    stock: tuple[str, ...] | None = None
    long: bool = False


CHAT = ("InternVLConfig", "InternVLForConditionalGeneration", "InternVLModel")
ORIGINAL_CHAT = ("InternVLChatConfig", "InternVLChatModel")  # `AutoModel` gives that class, too
LLAVA_CHAT = ("InternVLLlavaConfig", "InternVLLlavaForConditionalGeneration")
TOWER = ("InternVLVisionConfig", "InternVLVisionModel")
TOWER_HEADS = tuple(
    f"InternVLVision{head}" for head in ("ForImageClassification", "ForSemanticSegmentation", "Backbone")
)
ORIGINAL_TOWER = tuple(name.replace("InternVLVision", "InternVision") for name in TOWER + TOWER_HEADS)
INTERNLM2 = ("InternLM2Config", "InternLM2ForCausalLM", "InternLM2Model")
PROCESSORS = tuple(f"InternVL{kind}Processor" for kind in ("", "Llava", "DualEncoder"))
TOKENIZERS = (
    "InternLM2Tokenizer",
    "transformers_internvl.processing.tokenizers.loading:LlamaTokenizer",
    "InternVLDualEncoderTokenizer",
)
SERVING = (  # pipelines
    "InternVLForConditionalGeneration",
    "InternVLModel",
    "InternVLChatModel",
    "InternVLDualEncoderModel",
    "InternLM2ForCausalLM",
    "InternLM2Model",
    "InternVLVisionModel",
    "InternVisionModel",
    "InternVisionForImageClassification",
)
DUAL_ENCODER = tuple(f"InternVLDualEncoder{part}" for part in ("Config", "Model", "VisionModel", "TextModel"))

# The slowest first: two run at a time. Short forms prefer the original layout, whose weights are cut while they load.
SUITES = (
    Suite("parallel", "test_parallel.py", ours=CHAT, stock=CHAT, long=True),
    Suite("parallel original", "test_parallel.py", ours=ORIGINAL_CHAT),
    Suite("dual encoder", "test_dual_encoder.py", ours=DUAL_ENCODER, long=True),
    Suite("model", "test_model.py", ours=CHAT, stock=CHAT),
    Suite("model original", "test_model.py", ours=ORIGINAL_CHAT),
    Suite("model llava", "test_model.py", ours=LLAVA_CHAT, long=True),
    Suite("tower", "test_tower.py", ours=TOWER + TOWER_HEADS, stock=TOWER, long=True),
    Suite("tower original", "test_tower.py", ours=ORIGINAL_TOWER),
    Suite("language model", "test_language_model.py", ours=INTERNLM2),
    Suite("tokenizers", "test_tokenizer.py", ours=TOKENIZERS),
    Suite("pipelines", "test_pipelines.py", ours=SERVING),
    # Upstream's own processors of text and videos cannot be made without torchvision.
    Suite("processors", "test_processor.py", ours=PROCESSORS),
    Suite(
        "image processors",
        "test_image_processor.py",
        ours=("InternVLImageProcessor", "InternVLLlavaImageProcessor"),
        stock=("GotOcr2ImageProcessorPil", "LlavaImageProcessorPil"),
    ),
    Suite("video processors", "test_video_processor.py", ours=("InternVLVideoProcessor",)),
    Suite("training", "test_training.py", ours=CHAT, stock=CHAT, long=True),
    Suite("training original", "test_training.py", ours=ORIGINAL_CHAT, long=True),
)
