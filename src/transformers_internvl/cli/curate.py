# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl curate`: a pipeline file, run or gone on with."""

import argparse
import dataclasses
import json
import sys
from typing import Any

from .errors import UserError, user_errors
from .tables import table


def run(arguments: argparse.Namespace) -> None:
    """Check the file, run its stages, and print what they did."""
    try:
        import datatrove
    except ImportError as error:
        raise UserError("`internvl curate` needs `pip install 'transformers_internvl[curation]'`.") from error
    del datatrove
    from ..curation.pipeline import read_pipeline
    from ..curation.running import run_pipeline

    with user_errors("cannot use the pipeline"):
        pipeline = read_pipeline(arguments.pipeline)
    if arguments.workers is not None:
        executor = dataclasses.replace(pipeline.executor, workers=arguments.workers)
        pipeline = dataclasses.replace(pipeline, executor=executor)
    if arguments.dry_run:
        _show(pipeline)
        return
    with user_errors("curation stopped"):
        report = run_pipeline(pipeline, _progress)
    if report is None:
        print(f"The stages are Slurm's now. The report will be {pipeline.output}/report.md.")
    elif arguments.json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        _print_report(report, pipeline.output)


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(pipeline: Any) -> None:
    from ..curation.pipeline import stages_of
    from ..curation.running import count_sources

    with user_errors("cannot use the pipeline"):
        sources = count_sources(pipeline)
    print(table(("set", "format", "rows"), [(s.name, s.format, f"{s.count:,}") for s in sources]))
    stages = stages_of(pipeline)
    print("\n" + table(("stage", "tasks"), [(stage.name, str(stage.tasks)) for stage in stages]))


def _print_report(report: dict[str, Any], output: str) -> None:
    findings = [
        (row["step"], row["reason"], f"{row['rows']:,}", "dropped" if row["dropped"] else "flagged")
        for row in report["findings"]
    ]
    if findings:
        print(table(("step", "reason", "rows", ""), findings) + "\n")
    costs = [
        (cost["step"], *(f"{cost[name]:,}" for name in ("replies", "tokens_in", "tokens_out")), f"{cost['price']:.2f}")
        for cost in report["costs"]
    ]
    if costs:
        print(table(("step", "replies", "tokens in", "tokens out", "price"), costs) + "\n")
    print(f"{report['rows written']:,} of {report['rows read']:,} rows are in {output}/data; see {output}/report.md.")
