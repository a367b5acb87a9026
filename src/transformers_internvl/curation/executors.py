# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Who runs the tasks of a stage: processes of this machine, a Slurm cluster, or Ray, by datatrove's executors.

A task that ends is written down in `logs/STAGE/completions`. A run with the same output folder leaves it out.
"""

import contextlib
import copy
import io
import logging
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor
from datatrove.executor.base import PipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.stats import PipelineStats
from loguru import logger

from .options import one_of

Told = Callable[[str], None]
"""Gets a line on the progress of a run."""

_OF_SLURM = ("time", "partition", "qos", "venv_path", "env_command", "sbatch_args")


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions:
    """The key `executor`.

    Attributes:
        kind: "local", "slurm" or "ray". On a cluster the output folder must be on a file system that all nodes share.
        workers: tasks at the same time. The number does not change the result.
        cpus_per_task, mem_per_cpu_gb, gpus_per_task: that Slurm or Ray reserve.
        time, partition, qos, sbatch_args: of Slurm's jobs; the first two are needed there.
        venv_path: script that activates the environment on a node, such as `/shared/venv/bin/activate`.
        env_command: shell command in its place.
        address: of the Ray cluster; None = the one that `RAY_ADDRESS` names, or one that is started here.
    """

    kind: str = "local"
    workers: int = 1
    cpus_per_task: int = 1
    mem_per_cpu_gb: int = 2
    gpus_per_task: int = 0
    time: str | None = None
    partition: str | None = None
    qos: str | None = None
    venv_path: str | None = None
    env_command: str | None = None
    sbatch_args: dict | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("local", "slurm", "ray"))
        if self.workers < 1:
            raise ValueError(f"`workers` should be 1 or more, got {self.workers}.")
        unused = [name for name in _OF_SLURM if getattr(self, name) is not None and self.kind != "slurm"]
        unused += ["address"] if self.address is not None and self.kind != "ray" else []
        if unused:
            raise ValueError(f"`{unused[0]}` has no meaning for kind {self.kind!r}.")
        missing = [name for name in ("time", "partition") if self.kind == "slurm" and getattr(self, name) is None]
        if missing:
            raise ValueError(f"Slurm needs `{missing[0]}`.")


def run_stages(
    stages: Sequence[tuple[str, list[PipelineStep], int]], options: ExecutorOptions, output: str, told: Told
) -> bool:
    """Run stages one after another.

    Args:
        stages: name, steps and number of tasks.
        options: who runs them.
        output: the run's folder.
        told: gets a line a stage.

    Returns:
        Whether they have ended; Slurm's jobs are only submitted.

    Raises:
        ValueError, OSError: of a task; the others that ended are not run again.
    """
    if options.kind == "slurm":
        _submit(stages, options, output, told)
        return False
    runs = _run_local if options.kind == "local" else _run_on_ray
    if options.kind == "ray":
        _start_ray(options)
    for name, steps, tasks in stages:
        executor = runs(steps, tasks, options, _logs(output, name))
        open_tasks = executor.get_incomplete_ranks(skip_completed=True)
        if open_tasks:
            raise OSError(
                f"stage {name}: {len(open_tasks)} of {tasks} tasks did not end; see {_logs(output, name)}. Run the "
                "same command again to go on."
            )
        told(f"{name}: {tasks} task{'s' * (tasks > 1)} done")
    return True


def _logs(output: str, name: str) -> str:
    return str(Path(output) / "logs" / name)


class _QuietLocal(LocalPipelineExecutor):
    """Messages of tasks go to their log files, not to the terminal. One worker is this process, without a manager."""

    pipeline: list[Any]

    def run(self) -> None:
        """Run the tasks that are open."""
        if self.workers > 1:
            super().run()
            return
        self.save_executor_as_json()
        pipeline = self.pipeline
        for rank in self.get_incomplete_ranks():
            self.pipeline = copy.deepcopy(pipeline)
            self._run_for_rank(rank)

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> PipelineStats:
        with _quiet():
            return super()._run_for_rank(rank, local_rank, node_rank)


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep datatrove's logger from the terminal. It adds the standard error as it is at that time."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
    logger.remove()


def _run_local(steps: list[PipelineStep], tasks: int, options: ExecutorOptions, logs: str) -> PipelineExecutor:
    workers = min(options.workers, tasks)
    if workers > 1:
        import multiprocess

        # imported once, not by every process of every stage
        multiprocess.get_context("forkserver").set_forkserver_preload(["transformers_internvl.curation.pipeline"])
    logger.remove()
    executor = _QuietLocal(steps, tasks=tasks, workers=workers, logging_dir=logs)
    executor.run()
    return executor


def _start_ray(options: ExecutorOptions) -> None:
    try:
        import ray
    except ImportError as error:
        raise ImportError("`kind: ray` needs Ray: `pip install ray`.") from error
    if not ray.is_initialized():
        ray.init(
            address=options.address or os.environ.get("RAY_ADDRESS"), log_to_driver=False, logging_level=logging.ERROR
        )


def _run_on_ray(steps: list[PipelineStep], tasks: int, options: ExecutorOptions, logs: str) -> PipelineExecutor:
    from datatrove.executor import RayPipelineExecutor

    logger.remove()
    executor = RayPipelineExecutor(
        steps,
        tasks=tasks,
        workers=options.workers,
        logging_dir=logs,
        cpus_per_task=options.cpus_per_task,
        mem_per_cpu_gb=options.mem_per_cpu_gb,
        gpus_per_task=options.gpus_per_task,
    )
    executor.run()
    return executor


def _submit(
    stages: Sequence[tuple[str, list[PipelineStep], int]], options: ExecutorOptions, output: str, told: Told
) -> None:
    """Give all stages to Slurm, each after the one before."""
    previous: SlurmPipelineExecutor | None = None
    for name, steps, tasks in stages:
        executor = SlurmPipelineExecutor(
            steps,
            tasks=tasks,
            workers=options.workers,
            time=options.time,
            partition=options.partition,
            cpus_per_task=options.cpus_per_task,
            mem_per_cpu_gb=options.mem_per_cpu_gb,
            gpus_per_task=options.gpus_per_task,
            venv_path=options.venv_path,
            env_command=options.env_command,
            sbatch_args=options.sbatch_args,
            mail_type="NONE",
            job_name=f"curate-{name}",
            logging_dir=_logs(output, name),
            depends=previous,
            **({} if options.qos is None else {"qos": options.qos}),
        )
        logger.remove()
        try:
            executor.run()
        except FileNotFoundError as error:
            raise OSError(f"`kind: slurm` needs `sbatch` here: {error}") from error
        except subprocess.CalledProcessError as error:
            raise OSError(f"sbatch refused stage {name}: {error}") from error
        told(f"{name}: {'done before' if executor.job_id == -1 else f'job {executor.job_id}'}")
        previous = executor


__all__ = ["ExecutorOptions", "Told", "run_stages"]
