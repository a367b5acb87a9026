# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl look`: an answer, how certain each of its tokens is, and what in the image it looks at, drawn."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from ..processing.fetching import is_url
from .errors import UserError, user_errors
from .loading import load_chat_model, load_processor, log_errors_only, model_name, place, visual_stride


def run(arguments: argparse.Namespace) -> None:
    """Print the answer with its figures, and write the drawing."""
    from ..visualization import draw_attention, explain_answer

    output = arguments.output or _beside((arguments.image + arguments.video)[0])
    if find_spec("matplotlib") is None:
        raise UserError("drawing needs matplotlib: `pip install 'transformers_internvl[look]'`.")
    log_errors_only()
    name = model_name(arguments)
    processor = load_processor(name)
    with user_errors(f"cannot load the model {name}"):
        device, dtype = place(arguments.device, arguments.dtype)
    model = load_chat_model(name, device, dtype)
    sources = [("image", source) for source in arguments.image] + [("video", source) for source in arguments.video]
    content = [{"type": kind, "url" if is_url(source) else "path": source} for kind, source in sources]
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": arguments.question}]}]
    limits = {name: getattr(arguments, name) for name in ("max_patches", "num_frames")}
    with user_errors("cannot answer"):
        answer = explain_answer(
            model,
            processor,
            messages,
            layers=arguments.layers,
            heads=arguments.heads,
            processor_kwargs={name: value for name, value in limits.items() if value is not None},
            max_new_tokens=arguments.max_new_tokens,
            do_sample=False,
            v2pe_stride=visual_stride(arguments),
        )
    print(f"answer      {answer.text}")
    print(f"confidence  {answer.confidence:.3f}, mean log-probability {answer.mean_log_probability:.3f}")
    for index, token in enumerate(answer.tokens):
        shares = ", ".join(f"{image.share[index]:.2f}" for image in answer.images)
        print(f"token       {token!r}: probability {answer.probabilities[index]:.3f}, attention {shares}")
    for box in answer.boxes:
        corners = ", ".join(f"{number:.0f}" for number in box.region)
        print(f"box         {box.label or '(no label)'} at {corners} px: confidence {box.confidence:.3f}")
    with user_errors(f"cannot write {output}"):
        draw_attention(answer, output)
    print(f"drawing     {output}")


def _beside(source: str) -> Path:
    """Where the drawing goes by default: `<image>.look.png` beside the image."""
    if is_url(source) or not Path(source).exists():
        raise UserError(f"{source} is no file: say with --output where the drawing goes.")
    return Path(source).with_suffix(".look.png")
