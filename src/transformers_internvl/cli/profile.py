# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl profile`: parameters and multiply-accumulates of a model, part by part, from its config alone."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from .errors import UserError, user_errors
from .loading import count, log_errors_only, model_config, positive
from .tables import percent, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add = parser.add_argument
    add(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a folder, a config.json, a Hub id, or the name of a released chat model such as InternVL3_5-8B, whose "
        "shape is known without a download",
    )
    add("--tiles", type=count, default=1, metavar="N", help="tiles of a chat model, else images (%(default)s)")
    add("--image-size", type=positive, metavar="PX", help="their side in pixels (default: the config's)")
    add("--text-length", type=count, default=80, metavar="N", help="text tokens beside the image's (%(default)s)")
    add("--mode", default="InternVL-G", help="of the dual encoder: InternVL-C or InternVL-G (%(default)s)")
    add("--study", action="store_true", help="the search space of the first paper instead of a model")
    add("--budget", type=positive, metavar="N", help="parameters of a candidate of the study (default: 6000000000)")
    add("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print the table."""
    log_errors_only()
    if arguments.study == (arguments.model is not None):
        raise UserError("give the name of a model, or --study, and not both.")
    if arguments.budget is not None and not arguments.study:
        raise UserError("--budget needs --study.")
    print(_study(arguments) if arguments.study else _model(arguments))


def _model(arguments: argparse.Namespace) -> str:
    from ..profiling.model_profile import Work, profile

    config = model_config(arguments.model)
    with user_errors(f"cannot profile {arguments.model}"):
        work = Work(arguments.tiles, arguments.image_size, arguments.text_length, arguments.mode)
        result = profile(config, work)
    if arguments.json:
        sums = {name: getattr(result, name) for name in ("parameters", "active_parameters", "macs")}
        parts = [asdict(part) for part in result.parts]
        return json.dumps(
            {"model": result.model, "work": asdict(result.work), "parts": parts, "total": sums}, indent=2
        )
    unit, size = ("G-MACs", 1e9) if result.macs >= 1e9 else ("M-MACs", 1e6)
    rows = [_row(part.name, part, result, size) for part in result.parts]
    rows.append(_row("total", result, result, size))
    lines = [*_headlines(result), "", table(("part", "parameters", "%", unit, "%"), rows, rule_above=-1)]
    if result.active_parameters < result.parameters:
        lines.append(f"active per token: {result.active_parameters:,} ({_round(result.active_parameters)})")
    return "\n".join(lines)


def _row(name: str, part: Any, whole: Any, size: float) -> tuple[str, ...]:
    macs_share = percent(part.macs / whole.macs) if whole.macs else "-"
    parameters_share = percent(part.parameters / whole.parameters)
    return name, f"{part.parameters:,}", parameters_share, f"{part.macs / size:,.1f}", macs_share


def _headlines(result: Any) -> list[str]:
    work, names = result.work, [part.name for part in result.parts]
    passes = []
    if work.image_size is not None:
        images = "tiles" if "projector" in names else "images"
        passes.append(f"{work.num_tiles} {images} of {work.image_size} x {work.image_size} px")
    if "text embeddings" in names:
        passes.append(f"{work.text_length} text tokens")
    if "queries" in names:
        passes.append(work.mode)
    return [f"{result.model}: {_round(result.parameters)} parameters", f"one pass: {', '.join(passes)}"]


def _round(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.2f} M"


def _study(arguments: argparse.Namespace) -> str:
    from ..profiling.study import BUDGET, architecture_study

    with user_errors("cannot fit the candidates"):
        candidates = architecture_study(arguments.budget or BUDGET)
    if arguments.json:
        return json.dumps([_candidate(candidate) for candidate in candidates], indent=2)
    head = ("depth", "head dim", "MLP ratio", "width", "heads", "M parameters", "G-MACs", "Table 11")
    rows = []
    for candidate in candidates:
        figures = _candidate(candidate)
        cells = [f"{figures[name]}" for name in ("depth", "head_dim", "mlp_ratio", "width", "heads")]
        cells += [f"{figures['parameters'] / 1e6:.1f}", f"{figures['macs'] / 1e9:.1f}"]
        variant, parameters, macs = candidate.published or ("", "", "")
        rows.append((*cells, f"variant {variant}: {parameters}M, {macs}G" if variant else ""))
    return table(head, rows) + "\nTable 11 of arXiv:2312.14238 calls multiply-accumulates FLOPs."


def _candidate(candidate: Any) -> dict[str, Any]:
    config, result = candidate.config, candidate.profile
    figures = {
        "depth": config.num_hidden_layers,
        "head_dim": candidate.head_dim,
        "mlp_ratio": candidate.mlp_ratio,
        "width": config.hidden_size,
        "heads": config.num_attention_heads,
        "parameters": result.parameters,
        "macs": result.macs,
    }
    if candidate.published:
        names = ("variant", "published_m_parameters", "published_g_macs")
        figures |= dict(zip(names, candidate.published, strict=True))
    return figures
