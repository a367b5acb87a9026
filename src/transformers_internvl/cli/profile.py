# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl profile`: parameters and multiply-accumulates of a model, part by part, from its config alone."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from .errors import user_errors
from .loading import log_errors_only, model_config
from .tables import percent, table


def run(arguments: argparse.Namespace) -> None:
    """Print the table."""
    log_errors_only()
    print(_study(arguments) if arguments.study else _model(arguments))


def _model(arguments: argparse.Namespace) -> str:
    from ..profiling.model_profile import Work, profile

    config = model_config(arguments.model)
    with user_errors(f"cannot profile {arguments.model}"):
        work = Work(arguments.tiles, arguments.image_size, arguments.text_length, arguments.mode, arguments.compressed)
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
    if work.compressed_tiles is not None:
        passes.append(f"{work.compressed_tiles} of them compressed")
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
