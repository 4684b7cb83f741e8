"""Cells as processes of this machine."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pbrl.errors import PbrlError
from pbrl.jobs import worker
from pbrl.jobs.worker import Ended
from pbrl.store import Cell


class Local:
    """Cells as processes forked from one `fork_server`, which is started again if it dies."""

    def __init__(self, jobs: int, cells: Sequence[Cell]) -> None:
        self.slots = jobs
        self.running: set[str] = set()
        axes = {"env": "env", "method": "method", "teacher": "teacher"}
        axes |= {"problem": "problem", "algorithm": "bandit"}
        axes |= {"world": "world", "learner": "learner"}
        self.names = sorted(
            {
                (kind, cell.config[axis]["name"])
                for cell in cells
                for axis, kind in axes.items()
                if cell.config.get(axis)
            }
        )
        methods = [cell.config.get("method") or {} for cell in cells]
        compiled = [method for method in methods if method.get("core") == "compiled"]
        self.depths = sorted({method["layers"] for method in compiled if "layers" in method})
        self.server: subprocess.Popen[bytes] | None = None
        self.rest = b""
        self.is_ready = False
        self._compiling: list[str] | None = []  # None: the server compiles what all wait for

    @property
    def compiling(self) -> set[str]:
        """Of the running cells, those for which machine code is being made."""
        return self.running if self._compiling is None else self.running & {*self._compiling}

    def _serve(self) -> subprocess.Popen[bytes]:
        if self.server is None:
            # Open for as long as the server lives.
            self.errors = tempfile.TemporaryFile()  # noqa: SIM115
            self.server = subprocess.Popen(
                [sys.executable, "-m", "pbrl.jobs.fork_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                env=os.environ | worker.ENVIRONMENT,
            )
            self.rest = b""
            self._send(preload=self.names, depths=self.depths)
        return self.server

    def _send(self, **request: Any) -> None:
        assert self.server is not None
        assert self.server.stdin is not None
        with suppress(BrokenPipeError):  # `ended` finds the server dead
            self.server.stdin.write(json.dumps(request).encode() + b"\n")
            self.server.stdin.flush()

    def start(self, cell: Cell, *, plugins: Sequence[str], expired_token: str | None) -> None:
        self._serve()
        self.running.add(cell.id)
        self._send(
            cell=os.path.abspath(cell.path),  # it may change directory
            plugins=[os.path.abspath(plugin) for plugin in plugins],
            expired_token=expired_token,
            hang_timeout=worker.hang_timeout(cell),
        )

    def ended(self, timeout: float) -> list[Ended]:
        if self.server is None or self.server.stdout is None:
            time.sleep(timeout)
            return []
        if not select.select([self.server.stdout], [], [], timeout)[0]:
            return []
        data = os.read(self.server.stdout.fileno(), 65536)
        if not data:
            return self._dead_server()
        *lines, self.rest = (self.rest + data).split(b"\n")
        reports = [json.loads(line) for line in lines]
        self.is_ready |= any("ready" in report for report in reports)
        for report in reports:
            self._compiling = report.get("compiling", self._compiling)
        found = [Ended(*report["ended"]) for report in reports if "ended" in report]
        self.running -= {ended.cell_id for ended in found}
        return found

    def _dead_server(self) -> list[Ended]:
        assert self.server is not None
        code = self.server.wait()
        self._kill_group()
        self.server = None
        if not self.is_ready:
            self.errors.seek(0)
            text = self.errors.read().decode(errors="replace").strip()
            raise PbrlError(f"the worker process does not start (code {code}):\n{text}")
        lost = [Ended(cell_id, -signal.SIGKILL) for cell_id in sorted(self.running)]
        self.running.clear()
        return lost

    def _kill_group(self) -> None:
        """End the server and all it started, and see them gone."""
        assert self.server is not None
        deadline = time.monotonic() + 1
        with suppress(ProcessLookupError, PermissionError):  # the group is empty
            while time.monotonic() < deadline:
                os.killpg(self.server.pid, signal.SIGKILL)
                self.server.wait()
                time.sleep(0.005)

    def stop(self) -> None:
        if self.server is not None:
            self._send(stop=True)

    def close(self) -> None:
        if self.server is not None and self.server.stdin is not None:
            if not self.running:
                self.server.stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    self.server.wait(timeout=1)
            self._kill_group()
