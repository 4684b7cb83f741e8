"""Compute many cells at once, here or on a Ray cluster, whatever happens to single ones.

A cell that fails never stops the others. One whose process was killed is resumed; one that another
runner is computing is left to it, and taken over if that runner dies.
"""

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pbrl.errors import MESSAGE, ConfigError, Damaged, StoreError, shown
from pbrl.jobs import worker
from pbrl.jobs.worker import Ended
from pbrl.store import Cell, FailureKind, Locked
from pbrl.store.atomic import make_folder
from pbrl.store.lease import Watch, holder
from pbrl.store.provenance import changed, code

_PATIENCE = 0.2  # seconds between two looks at what is not reported
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_BLAMED: dict[str, FailureKind] = {"environment": "environment", "teacher": "user"}
_AGAIN = ("resource", "lost")  # failures that running the suite again may cure by itself
Report = Callable[[str, Cell, str], None]


@dataclass
class Summary:
    """What became of the cells; `signal` is the one that stopped the runner, if any did."""

    done: list[Cell] = field(default_factory=list)
    skipped: list[Cell] = field(default_factory=list)
    failed: list[Cell] = field(default_factory=list)
    outdated: dict[str, list[str]] = field(default_factory=dict)
    """of cells that stay as they are: the code, by cell id, that is not as it was"""
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """0, 1 when a cell failed, or 128 + the signal that stopped the queue."""
        if self.signal is not None:
            return 128 + self.signal
        return 1 if self.failed else 0


class Executor(Protocol):
    """Where cells are computed."""

    @property
    def slots(self) -> int:
        """How many cells fit at once."""

    @property
    def compiling(self) -> set[str]:
        """Of the running cells, those for which machine code is being made, where this is known."""

    def start(self, cell: Cell, *, plugins: Sequence[str], expired_token: str | None) -> None:
        """Begin computing a cell."""

    def ended(self, timeout: float) -> list[Ended]:
        """Cells that ended; waits for the first at most `timeout` seconds."""

    def stop(self) -> None:
        """Ask all running cells to write a checkpoint and stop."""

    def close(self) -> None:
        """End everything that still runs."""


def run_cells(
    cells: Sequence[Cell],
    root: Path,
    *,
    jobs: int = 1,
    plugins: Sequence[str] = (),
    retry: Sequence[str] = (),
    executor: str = "local",
    address: str | None = None,
    on_event: Report = lambda what, cell, note: None,
) -> Summary:
    """Compute the cells that are not done; `jobs` at once here, as many as Ray has CPUs there.

    Events are started, compiling and computing (machine code is made, is there), done, skipped
    (done before, or by another runner), failed, retry, waiting (another runner is computing it),
    stopping.
    SIGINT and SIGTERM stop within five seconds: running cells write a checkpoint, and running the
    same cells again continues them. A cell that failed before is computed again when it lacked
    resources or was lost, when anything it could depend on has changed since, or with "failed" in
    `retry`; otherwise it is reported as failed. A cell computed by other code stays as it is and is
    reported; with "outdated" in `retry` it is computed again.
    Nothing that a cell does or leaves behind ends the others. Raises StoreError when `root` cannot
    be written and ConfigError for an unknown executor or a missing Ray.
    """
    queue = _Queue(cells, plugins=plugins, retry=retry, on_event=on_event)
    place: Executor
    if not queue.waiting:
        return queue.summary
    make_folder(root / "cells")
    if executor == "local":
        from pbrl.jobs.local import Local

        place = Local(jobs, [cell for cell, _ in queue.waiting])
    elif executor == "ray":
        from pbrl.jobs.ray import Ray

        place = Ray(jobs, address=address)
    else:
        raise ConfigError(f"executor {executor!r}; expected local or ray")
    with _signals(queue.summary):
        try:
            while queue.step(place):
                if queue.summary.signal is not None:
                    queue.stop(place)
                    break
        finally:
            place.close()
    return queue.summary


@contextmanager
def _signals(summary: Summary) -> Iterator[None]:
    """Note SIGINT and SIGTERM in the summary while inside."""

    def note(number: int, _: Any) -> None:
        summary.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Queue:
    """Which cells wait, run, are computed elsewhere, or ended."""

    def __init__(
        self,
        cells: Sequence[Cell],
        *,
        plugins: Sequence[str],
        on_event: Report,
        retry: Sequence[str] = (),
    ) -> None:
        self.plugins, self.event, self.retry = plugins, on_event, retry
        self.cells = {cell.id: cell for cell in cells}
        self.summary = Summary()
        self.waiting: deque[tuple[Cell, str | None]] = deque()
        self.running: set[str] = set()
        self.compiling: set[str] = set()
        self.elsewhere: dict[str, Watch] = {}
        self.losses: Counter[str] = Counter()
        self.waiting_told = False
        for cell in self.cells.values():
            with self._alone(cell):
                self._sort(cell)

    @contextmanager
    def _alone(self, cell: Cell) -> Iterator[None]:
        """Whatever goes wrong about one cell, such as an unreadable file, fails this cell alone."""
        try:
            yield
        except Exception as error:
            self.running.discard(cell.id)
            self.elsewhere.pop(cell.id, None)
            name = "" if isinstance(error, StoreError) else f"{type(error).__name__}: "
            self._failed(cell, name + shown(error, limit=MESSAGE))

    def _sort(self, cell: Cell) -> None:
        """What a cell needs: to be computed, once more for a reason, or nothing."""
        status = cell.status()
        if status == "done":
            self._sort_done(cell)
        elif status == "failed":
            failure = cell.failure() or {}
            cause = self._cure(cell, failure)
            if cause is None:
                return self._failed(cell, failure.get("message", ""))
            self.event("retry", cell, cause)
            self.waiting.append((cell, None))
        else:
            self.waiting.append((cell, None))

    def _sort_done(self, cell: Cell) -> None:
        try:
            manifest = cell.whole_manifest()
            cell.check(manifest)
        except Damaged as damage:
            return self._again(cell, f"its result is damaged: {damage}")
        if not cell.is_known():
            cell.create()
        cell.sweep()
        other = changed(manifest["environment"], code())
        if other and "outdated" in self.retry:
            return self._again(cell, f"computed with another version of {', '.join(other)}")
        if other:
            self.summary.outdated[cell.id] = other
        self._skip(cell)

    def _again(self, cell: Cell, reason: str) -> None:
        cell.discard()
        self.event("retry", cell, reason)
        self.waiting.append((cell, None))

    def _cure(self, cell: Cell, failure: dict[str, Any]) -> str | None:
        """Why a cell that failed may succeed now; None when nothing speaks for it."""
        kind, other = failure.get("kind"), cell.cure(failure)
        if kind in _AGAIN:
            return f"it failed as {kind}"
        if other:
            return f"changed since it failed: {', '.join(other)}"
        return "asked for by --retry failed" if "failed" in self.retry else None

    def step(self, place: Executor) -> bool:
        """Start what can start, take in what ended; False when nothing is left to do."""
        while self.waiting and len(self.running) < place.slots:
            cell, expired_token = self.waiting.popleft()
            with self._alone(cell):
                self._start(cell, expired_token, place)
        for ended in place.ended(_PATIENCE if self.running or self.elsewhere else 0):
            self._take_in(ended)
        self._tell_compiling(place.compiling & self.running)
        for cell_id in list(self.elsewhere):
            with self._alone(self.cells[cell_id]):
                self._look(self.cells[cell_id])
        if self.elsewhere and not self.running and not self.waiting and not self.waiting_told:
            self.waiting_told = True
            for cell_id in self.elsewhere:
                self.event("waiting", self.cells[cell_id], "another runner is computing it")
        return bool(self.waiting or self.running or self.elsewhere)

    def _tell_compiling(self, now: set[str]) -> None:
        before, self.compiling = self.compiling, now
        for cell_id in sorted(now - before):
            self.event("compiling", self.cells[cell_id], "")
        for cell_id in sorted((before - now) & self.running):
            self.event("computing", self.cells[cell_id], "")

    def _take_in(self, ended: Ended) -> None:
        self.running.discard(ended.cell_id)
        with self._alone(self.cells[ended.cell_id]):
            self._ended(self.cells[ended.cell_id], ended)

    def _start(self, cell: Cell, expired_token: str | None, place: Executor) -> None:
        if cell.status() == "done":
            return self._skip(cell)
        found = holder(cell.path)
        if found is not None and not found.is_dead() and found.token != expired_token:
            self.elsewhere[cell.id] = Watch(cell.path)
            return
        cell.create()
        self.running.add(cell.id)
        self.event("started", cell, "")
        place.start(cell, plugins=self.plugins, expired_token=expired_token)

    def _look(self, cell: Cell) -> None:
        """Whether a cell computed elsewhere ended there, or has to be taken over."""
        watch = self.elsewhere[cell.id]
        status, found = cell.status(), holder(cell.path)
        token = watch.expired_token()
        if status == "done":
            self._skip(cell)
        elif found is not None and not found.is_dead() and token is None:
            return
        elif status == "failed":
            self._failed(cell)
        else:
            self.waiting.append((cell, token))
        del self.elsewhere[cell.id]

    def _ended(self, cell: Cell, ended: Ended) -> None:
        """What the worker told counts; how its process ended only when it told nothing."""
        told, is_done = ended.told, cell.status() == "done"
        if told == worker.ALREADY or (told == worker.LOCKED and is_done):
            self._skip(cell)
        elif is_done:
            self.summary.done.append(cell)
            self.event("done", cell, "; ".join((cell.manifest() or {}).get("notices", [])))
        elif told == worker.LOCKED:
            self.elsewhere[cell.id] = Watch(cell.path)
        elif told == worker.FAILED:
            self._failed(cell)
        elif told == worker.UNWRITABLE:
            self._record(cell, "resource", ended.message, "")
        elif self.summary.signal is not None:
            return  # it stopped, or died while it was asked to
        elif told == worker.STOPPED:
            self._lost(cell, ended, "stopped from outside")
        elif ended.hung:
            self._hung(cell, ended)
        elif ended.code < 0:
            self._lost(cell, ended, f"killed by {_name(-ended.code)}")
        else:
            party = _party(cell, ended)
            message = f"{party} ended the process with exit code {ended.code}"
            self._record(cell, _BLAMED.get(ended.inside, "user"), message, _tail(cell))

    def _lost(self, cell: Cell, ended: Ended, how: str) -> None:
        self.losses[cell.id] += 1
        if self.losses[cell.id] <= worker.RETRIES:
            self.event("retry", cell, f"its process was {how}")
            self.waiting.append((cell, None))
            return
        kind: FailureKind = "lost"
        note = "; perhaps memory ran out" if ended.code == -signal.SIGKILL else ""
        if -ended.code in _CRASHES:
            kind = _BLAMED.get(ended.inside, "bug")
            note = "; the log ends with the place of the crash"
        message = f"its process was {how} {self.losses[cell.id]} times, in {_party(cell, ended)}"
        self._record(cell, kind, message + note, _tail(cell))

    def _hung(self, cell: Cell, ended: Ended) -> None:
        seconds = worker.hang_timeout(cell)
        message = (
            f"{_party(cell, ended)} gave no sign of life for {seconds:.0f} s; the traceback shows "
            "where it was: if it would have gone on, raise hang_timeout in the suite"
        )
        self._record(cell, _BLAMED.get(ended.inside, "user"), message, _tail(cell))

    def _record(self, cell: Cell, kind: FailureKind, message: str, traceback: str) -> None:
        try:
            with cell.lock():
                cell.fail(
                    kind,
                    message,
                    traceback=traceback,
                    command=worker.repeat_command(cell, self.plugins),
                )
        except Locked:
            self.elsewhere[cell.id] = Watch(cell.path)
        except StoreError as error:
            self._failed(cell, f"{message}; {error}")
        else:
            self._failed(cell)

    def _failed(self, cell: Cell, message: str | None = None) -> None:
        if message is None:
            message = (cell.failure() or {}).get("message", "")
        self.summary.failed.append(cell)
        self.event("failed", cell, message)

    def _skip(self, cell: Cell) -> None:
        self.summary.skipped.append(cell)
        self.event("skipped", cell, "")

    def stop(self, place: Executor) -> None:
        """Let the running cells write their checkpoints, at most for the grace period."""
        place.stop()
        for cell_id in sorted(self.running):
            self.event("stopping", self.cells[cell_id], "")
        deadline = time.monotonic() + worker.GRACE
        while self.running and time.monotonic() < deadline:
            for ended in place.ended(_PATIENCE):
                self._take_in(ended)


def _name(number: int) -> str:
    """The name of a signal; real-time signals beyond the first have none of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _party(cell: Cell, ended: Ended) -> str:
    """Whose code was running: "environment 'walker-walk'"."""
    kind, axis = ended.inside, "env" if ended.inside == "environment" else ended.inside
    if cell.config["kind"] == "bandit":
        kind = axis = "algorithm"
    if cell.config["kind"] == "tabular" and ended.inside == "method":
        kind = axis = "learner"
    named = cell.config.get(axis)
    return f"{kind} {named['name']!r}" if named else kind


def _tail(cell: Cell) -> str:
    """The last lines of a cell's log, 60 at most."""
    with suppress(OSError), (cell.path / "log.txt").open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - worker.TRACEBACK // 2))
        return shown("\n".join(file.read().decode(errors="replace").splitlines()[-60:]))
    return ""
