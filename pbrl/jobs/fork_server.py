"""A process that imports everything once, then forks a fresh process per cell.

Nothing ever runs in the server itself, so what a cell computes cannot depend on the cells before
it; and no cell waits for torch to be imported.
"""

import contextlib
import faulthandler
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pbrl.errors import StoreError
from pbrl.jobs import worker
from pbrl.store import Cell
from pbrl.store.provenance import environment


def preload(names: Sequence[Sequence[str]]) -> None:
    """Import what cells need; whatever fails here fails again, and is reported, in its cell."""
    import warnings

    import polars  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch

    import pbrl.run.online  # noqa: F401
    from pbrl import registry

    torch.set_num_threads(1)
    environment()  # cached from here on
    for kind, name in names:
        try:
            registry.resolve(kind, name)
        except Exception as error:
            print(f"not preloaded: {kind} {name!r}: {error}", file=sys.stderr)
    # Python 3.12 warns of any fork beside a thread; the only threads here belong to polars, idle.
    warnings.filterwarnings("ignore", message=".*use of fork.*", category=DeprecationWarning)


class Server:
    """Reads requests from standard input, forks a process per cell, reports how each one ended.

    Requests and reports are lines of JSON: {"preload": [[kind, name], ...]},
    {"cell": PATH, "plugins": [...], "expired_token": null}, {"stop": true};
    {"ready": true}, {"cell": PATH, "code": 0} (minus the signal's number if one killed it), and
    before it {"cell": PATH, "reason": "..."} where that could not be written down.
    """

    def __init__(self) -> None:
        os.setsid()  # a Ctrl-C in the terminal is for the runner, which then tells us
        self.pid = os.getpid()
        self.running: dict[int, str] = {}
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
            ready, _, _ = select.select([0, self.wake_read], [], [])
            if self.wake_read in ready:
                os.read(self.wake_read, 4096)
                self.reap()
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    return self.end()
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.handle(json.loads(line))

    def handle(self, request: dict[str, Any]) -> None:
        if "preload" in request:
            preload(request["preload"])
            self.report(ready=True)
        elif "stop" in request:
            self.stop()
        else:
            pid = os.fork()
            if pid == 0:
                self.child(request)
            self.running[pid] = request["cell"]

    def child(self, request: dict[str, Any]) -> None:
        """The forked process: one cell, its output in its log, then exit; never returns."""
        code = worker.FAILED
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for fd in (self.wake_read, self.wake_write):
                os.close(fd)
            cell = Cell.at(Path(request["cell"]).resolve())  # whatever it runs may change directory
            faulthandler.enable()
            worker.redirect(cell.path / "log.txt")
            worker.follow_parent(self.pid)
            code = worker.compute(
                cell,
                plugins=request["plugins"],
                expired_token=request["expired_token"],
                tell=lambda reason: self.report(cell=request["cell"], reason=reason[-2000:]),
            )
        except StoreError as error:  # not even the log can be written
            self.report(cell=request["cell"], reason=str(error)[-2000:])
            code = worker.UNWRITABLE
        except BaseException:
            worker.say(traceback.format_exc())
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)

    def reap(self) -> None:
        while self.running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid in self.running:
                self.report(cell=self.running.pop(pid), code=os.waitstatus_to_exitcode(status))

    def report(self, **content: Any) -> None:
        try:
            os.write(self.reports, json.dumps(content).encode() + b"\n")
        except BrokenPipeError:
            self.end()

    def stop(self) -> None:
        for pid in self.running:
            os.kill(pid, signal.SIGTERM)

    def end(self) -> None:
        """Let the cells write their checkpoints, then kill whatever is left, this server too."""
        self.stop()
        deadline = time.monotonic() + worker.GRACE
        while self.running and time.monotonic() < deadline:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            self.running.pop(pid, None)
            time.sleep(0.02)
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    Server().serve()
