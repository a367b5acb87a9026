# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl pairs`: preference data, from answers of a loaded or served model."""

import argparse
import os
from typing import Any

from .errors import user_errors
from .loading import load_chat_model, load_processor, log_errors_only, model_name, place
from .names import server_url
from .tables import table


def run(arguments: argparse.Namespace) -> None:
    """Ask, write the pairs, and print numbers."""
    from ..training.data.questions import Questions
    from ..training.data.records import SkipPolicy
    from ..training.preferences import PairSettings, build_pairs, pairable
    from ..training.run.data import read_by_number

    log_errors_only()
    with user_errors("cannot make pairs"):
        policy = SkipPolicy.of(arguments.on_bad_sample)
        sets = read_by_number(arguments.questions, "questions are", root=arguments.data_root)
        questions = Questions(sets, policy, check=pairable(arguments.method))
        settings = PairSettings(
            arguments.method,
            samples=arguments.samples or (1 if arguments.method == "dropout" else 32),
            pairs=arguments.pairs,
            temperature=arguments.temperature,
            max_new_tokens=arguments.max_new_tokens,
            max_tiles=arguments.max_tiles,
            cot=arguments.cot,
            seed=arguments.seed,
        )
        report = build_pairs(questions, _answerer(arguments), arguments.output, settings)
    rows = [("questions", f"{report.questions}"), ("answers", f"{report.answers}"), ("pairs", f"{report.pairs}")]
    rows.append(("questions without pairs", f"{report.without_pairs}"))
    if report.right is not None:
        rows.append(("right answers", f"{report.right:.1%}"))
    rows += [("left out", f"{where}: {reason}") for where, reason in policy.skipped]
    print(table(("", ""), rows))
    print(f"\npairs  {report.path}")


def _answerer(arguments: argparse.Namespace) -> Any:
    from ..evaluation.run import EndpointModel, LocalModel

    if arguments.endpoint is not None:
        key = os.environ.get("OPENAI_API_KEY", "none")
        url = server_url(arguments.endpoint)
        return EndpointModel(url, arguments.model, requests=arguments.requests, key=key)
    name = model_name(arguments)
    processor = load_processor(name)
    model = load_chat_model(name, *place(arguments.device, arguments.dtype))
    return LocalModel(model, processor, name=arguments.model or "nano", batch_size=arguments.batch_size)
