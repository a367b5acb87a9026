# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl evaluate`: benchmarks and own questions, asked as the official code asks, beside the published scores."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import UserError, user_errors
from .evaluate_encoders import measures_encoders
from .evaluate_encoders import run as run_encoders
from .loading import load_chat_model, load_processor, log_errors_only, model_name, place
from .names import server_url
from .tables import table


def run(arguments: argparse.Namespace) -> None:
    """Ask, score and report; or compare two runs; or list the benchmarks."""
    if arguments.list:
        print(_listed())
        return
    if arguments.compare is not None:
        _compare(*arguments.compare)
        return
    if measures_encoders(arguments):
        run_encoders(arguments)
        return
    _Run(arguments).finish()


def _listed() -> str:
    from ..evaluation.benchmarks import BENCHMARKS

    rows = [
        (
            row.task,
            f"{row.name}, {row.split}".rstrip(", "),
            row.metric or "-",
            ", ".join(row.modes) or "-",
            str(len(row.published)),
        )
        for row in BENCHMARKS.values()
    ]
    return table(("task", "benchmark", "metric", "modes", "published"), rows)


def _compare(before: str, after: str) -> None:
    from ..evaluation.run import compare_runs, comparison_page

    with user_errors("cannot compare"):
        print(comparison_page(before, after, compare_runs(before, after)))


class _Run:
    """The tasks of the arguments, and who answers them."""

    def __init__(self, arguments: argparse.Namespace):
        from ..evaluation.run import join_ranks, release_name

        log_errors_only()
        if not arguments.no_plot and find_spec("matplotlib") is None:
            raise UserError("plots need `pip install 'transformers_internvl[evaluation]'`; or give --no-plot.")
        self.arguments = arguments
        self.ranks = join_ranks(cpu=arguments.device == "cpu")
        self.name = self._name()
        self.release = arguments.release or release_name(self.name)
        self.folder = Path(arguments.output or Path("evaluations") / release_name(self.name))

    def _name(self) -> str:
        """The model, as its path, Hub id, or name on the server."""
        if self.arguments.answers is not None:
            return self.arguments.model or Path(self.arguments.answers).stem
        if self.arguments.endpoint is not None:
            self.server = self._server()
            return self.server.name
        return self.arguments.model or "nano"

    def finish(self) -> None:
        """Run, and print the page."""
        from ..evaluation.run import evaluate, page, release_name

        published = self.arguments.published or self.release
        if self.arguments.grid:
            self._run_grid(published)
            return
        with user_errors("cannot evaluate"):
            tasks = self._tasks()
            results = evaluate(
                tasks,
                self._answerer({}, tasks),
                self.folder,
                model=release_name(published),
                ranks=self.ranks,
                choose=self._choose(tasks),
                judge=self._judge(),
                plot=not self.arguments.no_plot,
            )
        if results:
            print(page(release_name(published), results))
            print(f"written to {self.folder}", file=sys.stderr)

    def _tasks(self) -> list[Any]:
        from ..evaluation.run import Wanted, open_task

        names = self.arguments.task.split(",")
        opened = [open_task(Wanted(name.strip(), self.arguments.data)) for name in names]
        return [
            self._task(benchmark, questions, self._asking(mode), self.folder / benchmark.task / mode)
            for benchmark, questions in opened
            for mode in (self.arguments.mode or "direct").split(",")
        ]

    def _task(self, benchmark: Any, questions: Any, asking: Any, folder: Path) -> Any:
        from ..evaluation.run import Task, metric_of

        given = self.arguments
        metric = metric_of(benchmark, asking, given.metric)
        if metric is None and benchmark.dataset is None and benchmark.script is None:
            raise ValueError(f"{benchmark.task} is a file of your own: say how it is scored (`--metric`).")
        return Task(
            benchmark,
            questions,
            asking,
            folder,
            metric=metric,
            samples=given.samples,
            seed=given.seed,
            limit=given.limit,
        )

    def _asking(self, mode: str) -> Any:
        from ..evaluation.benchmarks import Asking
        from ..evaluation.prompts import asking_style
        from ..evaluation.run import release_name

        given = self.arguments
        generation = {} if given.max_new_tokens is None else {"max_new_tokens": given.max_new_tokens}
        return Asking(
            asking_style(self.release, mode.strip()),
            model=release_name(self.release),
            prompts=given.prompts,
            max_tiles=given.max_tiles,
            use_thumbnail=not given.no_thumbnail,
            frames=given.frames,
            instruction=given.instruction,
            dynamic=False if given.no_dynamic else None,
            generation=generation,
        )

    def _server(self) -> Any:
        from ..evaluation.run import EndpointModel

        with user_errors("cannot ask the server"):
            return EndpointModel(
                server_url(self.arguments.endpoint),
                self.arguments.model,
                requests=self.arguments.requests,
                key=os.environ.get("OPENAI_API_KEY", "none"),
                system_message=self.arguments.system,
            )

    def _answerer(self, point: Mapping[str, Any], tasks: Sequence[Any] = ()) -> Any:
        from ..evaluation.run import LocalModel, read_fixed_answers

        if self.arguments.answers is not None:
            if len(tasks) != 1:
                raise ValueError("a file of answers belongs to one task: give one `--task` and one `--mode`.")
            (task,) = tasks
            indexes = [task.questions.rows[position]["index"] for position in task.positions]
            return read_fixed_answers(self.arguments.answers, indexes)
        if self.arguments.endpoint is not None:
            return self.server
        adapter = point.get("adapter")
        name = model_name(self.arguments) if adapter in (None, "none") else str(adapter)
        if getattr(self, "_loaded", (None, None))[0] != name:
            self._loaded = (name, self._load(name, LocalModel))
        return self._loaded[1]

    def _load(self, name: str, local: Any) -> Any:
        from ..evaluation.prompts import default_system_message
        from ..evaluation.run import sends_system_message

        device, dtype = place(self.arguments.device or self.ranks.device, self.arguments.dtype)
        processor = load_processor(name)
        model = load_chat_model(name, device, dtype)
        system = self.arguments.system
        if system is None and not sends_system_message(processor):
            system = default_system_message(self.release)
        batch_size = self.arguments.batch_size or 1
        return local(model, processor, name=self.name, batch_size=batch_size, system_message=system)

    def _choose(self, tasks: Sequence[Any]) -> Any:
        """Best of N by the reward model; None = a vote."""
        if self.arguments.reward is None or self.ranks.rank > 0:
            return None
        if len(tasks) != 1:
            raise ValueError(
                "a reward model judges the answers of one task at a time: give one `--task` and `--mode`."
            )
        from ..evaluation.run import RewardModel, best_by

        name = self.arguments.reward
        device, dtype = place(self.arguments.device or self.ranks.device, self.arguments.dtype)
        reward = RewardModel(load_chat_model(name, device, dtype), load_processor(name), tasks[0])
        return best_by(reward, weighted_vote=self.arguments.weighted_vote)

    def _judge(self) -> Any:
        """Who judges answers; None = nobody."""
        if self.arguments.judge_url is None:
            return None
        from ..evaluation.run import JudgeModel

        given = self.arguments
        key = os.environ.get("JUDGE_API_KEY") or os.environ.get("OPENAI_API_KEY", "none")
        return JudgeModel(server_url(given.judge_url), given.judge_model, requests=given.requests, key=key)

    def _run_grid(self, published: str) -> None:
        from ..evaluation.run import Wanted, open_task, read_grid, run_grid

        with user_errors("cannot evaluate"):
            grid = read_grid(self.arguments.grid)
            benchmark, questions = open_task(Wanted(self.arguments.task, self.arguments.data))

            def answerer_at(point: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
                answerer = self._answerer(point)
                parts = {name: getattr(answerer, name) for name in ("model", "processor") if hasattr(answerer, name)}
                return answerer, parts

            scores = run_grid(
                grid,
                lambda asking, folder: self._task(benchmark, questions, asking, folder),
                self._asking(self.arguments.mode or "direct"),
                answerer_at,
                self.folder / benchmark.task / "grid",
                model=published,
                ranks=self.ranks,
                judge=self._judge(),
                plot=not self.arguments.no_plot,
            )
        if scores:
            shown = [(name, "-" if score is None else f"{score:.2f}") for name, score in scores.items()]
            print(table(("settings", "score"), shown))
