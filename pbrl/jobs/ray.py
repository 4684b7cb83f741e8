"""Cells on a Ray cluster whose nodes share the results folder and have pbrl installed."""

import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pbrl.errors import MESSAGE, ConfigError, StoreError, shown
from pbrl.jobs import worker
from pbrl.jobs.watch import Watched
from pbrl.jobs.worker import Ended
from pbrl.store import Cell


def _compute(folder: str, command: list[str], hang_timeout: float) -> Ended:
    """On a node: one cell in a fresh process that lives no longer than this one."""
    if not Path(folder, "config.json").is_file():
        raise StoreError(
            f"{folder} is not visible on node {os.uname().nodename}; Ray needs a results folder "
            "that all nodes share (-o DIR)"
        )
    watched = Watched(Path(folder), hang_timeout=hang_timeout)
    shared = {"--parent": os.getpid(), "--output": watched.write, "--board": watched.board_fd}
    process = subprocess.Popen(
        [sys.executable, *command, *(str(word) for option in shared.items() for word in option)],
        env=_environment(),
        pass_fds=(watched.read, watched.write, watched.board_fd),
    )
    watched.started(process.pid)
    try:
        while process.poll() is None:
            # ray.cancel takes effect between Python instructions, not in a wait
            select.select([watched.read] if watched.is_open else [], [], [], 0.1)
            watched.pump()
            watched.look()
        return watched.ended(process.returncode)
    except BaseException:
        process.terminate()
        try:
            process.wait(worker.GRACE)
        finally:
            process.kill()
        raise


def _environment() -> dict[str, str]:
    return os.environ | worker.ENVIRONMENT


class Ray:
    """Each cell is a Ray task of one CPU and its share of a GPU, tried again when its node dies."""

    def __init__(self, jobs: int, *, address: str | None) -> None:
        try:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            import ray
        except ImportError as error:
            raise ConfigError(
                "executor 'ray' needs Ray, which is not installed: pip install 'pbrl[ray]'"
            ) from error
        self.ray = ray
        self.tasks: dict[Any, str] = {}
        self.owns = not ray.is_initialized()
        if self.owns:
            here = address is None and "RAY_ADDRESS" not in os.environ
            local: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False} if here else {}
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ConfigError(
                    f"no Ray cluster at {address or os.environ.get('RAY_ADDRESS')}: {error}"
                ) from error
        self.remote = ray.remote(_compute)
        self.compiling: set[str] = set()  # which cells compile is not told

    @property
    def slots(self) -> int:
        """As many as the cluster's nodes, which come and go, have CPUs."""
        return int(self.ray.cluster_resources().get("CPU", 1))

    def start(self, cell: Cell, *, plugins: Sequence[str], expired_token: str | None) -> None:
        folder = cell.path.resolve()
        command = ["-m", "pbrl.jobs.worker", str(folder)]
        command += [
            word for plugin in plugins for word in ("--plugin", str(Path(plugin).resolve()))
        ]
        command += ["--expired-token", expired_token] if expired_token else []
        task = self.remote.options(
            name=cell.id,
            num_cpus=1,
            num_gpus=cell.config.get("execution", {}).get("gpus", 0),
            max_retries=worker.RETRIES,
        )
        self.tasks[task.remote(str(folder), command, worker.hang_timeout(cell))] = cell.id

    def ended(self, timeout: float) -> list[Ended]:
        if not self.tasks:
            return []
        ready, _ = self.ray.wait(list(self.tasks), num_returns=1, timeout=timeout)
        return [self._ended(task, self.tasks.pop(task)) for task in ready]

    def _ended(self, task: Any, cell_id: str) -> Ended:
        errors = self.ray.exceptions
        try:
            return self.ray.get(task)
        except errors.TaskCancelledError:
            return Ended(cell_id, worker.STOPPED, worker.STOPPED)
        except errors.RayTaskError as error:  # its process could not be started there
            cause = error.as_instanceof_cause()
            if isinstance(cause, StoreError):
                raise cause from None  # no node sees the folder: nothing will work
            return Ended(cell_id, worker.FAILED, worker.UNWRITABLE, shown(error, limit=MESSAGE))
        except errors.RayError:  # the node or its worker died more often than Ray tries again
            return Ended(cell_id, -signal.SIGKILL)

    def stop(self) -> None:
        for task in self.tasks:
            self.ray.cancel(task)

    def close(self) -> None:
        for task in self.tasks:
            self.ray.cancel(task, force=True)
        if self.owns:
            self.ray.shutdown()
