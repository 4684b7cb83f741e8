"""A process that imports everything once, then forks a fresh process per cell.

Nothing of a cell ever runs in the server itself, so what a cell computes cannot depend on the cells
before it; and no cell waits for torch to be imported, or for an agent's machine code.
"""

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from pbrl.jobs import worker
from pbrl.jobs.watch import LOOK, Watched
from pbrl.jobs.worker import Ended
from pbrl.store import Cell
from pbrl.store.atomic import write_all
from pbrl.store.provenance import environment


def preload(
    names: Sequence[Sequence[str]],
    depths: Sequence[int] = (),
    *,
    tell: Callable[[bool], None] = lambda compiling: None,
) -> None:
    """Import what cells need, and compile or load agents whose networks have these hidden layers.

    `tell` hears when compiling begins and ends: a minute for an agent new to this machine.
    Whatever fails here fails again, and is reported, in its cell.
    """
    import warnings

    import numba
    import polars  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch

    import pbrl.run.bandit
    import pbrl.run.compiling
    import pbrl.run.online
    import pbrl.run.tabular
    from pbrl import registry

    torch.set_num_threads(1)
    environment()  # cached from here on
    numba.njit(lambda: 0)()  # the compiler fills its own tables at its first call, in half a second
    for kind, name in names:
        try:
            registry.resolve(kind, name)
        except (Exception, SystemExit) as error:
            print(f"not preloaded: {kind} {name!r}: {error}", file=sys.stderr)
    for depth in depths:
        try:
            with pbrl.run.compiling.watched(tell):
                preload_agent(depth)
        except Exception as error:
            print(f"not preloaded: an agent of {depth} layers: {error}", file=sys.stderr)
    # Python 3.12 warns of any fork beside a thread; the only threads here belong to polars, idle.
    warnings.filterwarnings("ignore", message=".*use of fork.*", category=DeprecationWarning)


def preload_agent(layers: int) -> None:
    """Let an agent act and learn once, so that what it needs is in memory; it draws from no stream.

    That is its machine code, and what torch imports with the first optimizer (over a second).
    """
    import numpy as np
    import torch
    from gymnasium.spaces import Box

    from pbrl.agents.sac import SAC

    line = Box(-1.0, 1.0, (1,), np.float32)
    rates = {"learning_rate": 0.0, "temperature": 1.0, "temperature_lr": 0.0}
    rest = {"gamma": 0.0, "tau": 1.0, "target_update_interval": 1, "core": "compiled"}
    shape = {"capacity": 1, "batch_size": 1, "net_arch": [1] * layers}
    agent = SAC(line, line, seed=0, **shape, **rates, **rest)  # type: ignore[arg-type]
    obs = np.zeros(1, np.float32)
    agent.replay.add(obs, agent.act(obs), obs, reward=0.0, terminal=True)
    agent.update(torch.zeros(1, dtype=torch.int64))


class Server:
    """Reads requests from standard input, forks a process per cell, reports how each one ended.

    Requests and reports are lines of JSON: {"preload": [[kind, name], ...], "depths": [2]},
    {"cell": PATH, "plugins": [...], "expired_token": null, "hang_timeout": 600}, {"stop": true};
    {"ready": true}, {"compiling": ids of cells, null for what all wait for}, {"ended": fields of
    `Ended`}.
    """

    def __init__(self) -> None:
        os.setsid()  # a Ctrl-C in the terminal is for the runner, which then tells us
        self.pid = os.getpid()
        self.running: dict[int, Watched] = {}
        self.compiling: list[str] = []
        self.reports = os.dup(1)
        os.dup2(2, 1)  # whatever an import prints must not get between the reports
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Work until the runner closes the pipe, or dies; then leave no process behind."""
        rest = b""
        while True:
            ready = self.attend(0)
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    return self.end()
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.handle(json.loads(line))

    def attend(self, *also: int) -> list[int]:
        """Wait for something to happen, take over output, look at the cells, report ended ones."""
        pipes = {watched.read: watched for watched in self.running.values() if watched.is_open}
        timeout = LOOK if self.running else None
        ready, _, _ = select.select([*also, self.wake_read, *pipes], [], [], timeout)
        for fd in ready:
            if fd in pipes:
                pipes[fd].pump()
        if self.wake_read in ready:
            os.read(self.wake_read, 4096)
        for watched in self.running.values():
            watched.look()
        self.reap()
        compiling = [w.folder.name for w in self.running.values() if w.board.compiling]
        if compiling != self.compiling:
            self.compiling = compiling
            self.report(compiling=compiling)
        return ready

    def handle(self, request: dict[str, Any]) -> None:
        if "preload" in request:
            preload(
                request["preload"],
                request["depths"],
                tell=lambda compiling: self.report(compiling=None if compiling else []),
            )
            self.report(ready=True)
        elif "stop" in request:
            self.stop()
        else:
            try:
                self.start(request)
            except OSError as error:  # no process, pipe or memory is left
                message = f"cannot start its process: {error}"
                ended = Ended(Path(request["cell"]).name, worker.FAILED, worker.UNWRITABLE, message)
                self.report(ended=ended)

    def start(self, request: dict[str, Any]) -> None:
        folder = Path(request["cell"])
        watched = Watched(folder, hang_timeout=request["hang_timeout"])
        try:
            pid = os.fork()
        except OSError:
            watched.close()
            raise
        if pid == 0:
            self.child(watched, request)
        watched.started(pid)
        self.running[pid] = watched

    def child(self, watched: Watched, request: dict[str, Any]) -> NoReturn:
        """The forked process: one cell, its output in its log, then exit."""
        code = worker.FAILED
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for fd in (self.reports, self.wake_read, self.wake_write):
                os.close(fd)
            worker.redirect(watched.write)
            worker.show_board(watched.board)
            worker.follow_parent(self.pid)
            cell = Cell.at(watched.folder)
            code = worker.compute(
                cell, plugins=request["plugins"], expired_token=request["expired_token"]
            )
        except BaseException:
            with suppress(BaseException):
                traceback.print_exc()
        finally:
            worker.leave(code)

    def reap(self) -> None:
        while self.running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid in self.running:
                watched = self.running.pop(pid)
                self.report(ended=watched.ended(os.waitstatus_to_exitcode(status)))

    def report(self, **content: Any) -> None:
        try:
            write_all(self.reports, json.dumps(content).encode() + b"\n")
        except BrokenPipeError:
            self.running.clear()
            self.end()

    def stop(self) -> None:
        for pid in self.running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def end(self) -> None:
        """Let the cells write their checkpoints, then kill whatever is left, this server too."""
        self.stop()
        deadline = time.monotonic() + worker.GRACE
        while self.running and time.monotonic() < deadline:
            self.attend()
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    Server().serve()
