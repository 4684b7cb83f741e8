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

from pbrl.errors import ConfigError, StoreError
from pbrl.jobs import worker
from pbrl.store import Cell, FailureKind, Locked
from pbrl.store.atomic import make_folder
from pbrl.store.lease import Watch, holder

_PATIENCE = 0.2  # seconds between two looks at what is not reported
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
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
    """Where cells are computed; codes are those of `worker`, or minus a signal's number."""

    reasons: dict[str, str]
    """why a cell failed whose process could not even write that down, by cell id"""

    @property
    def slots(self) -> int:
        """How many cells fit at once."""

    def start(self, cell: Cell, *, plugins: Sequence[str], expired_token: str | None) -> None:
        """Begin computing a cell."""

    def ended(self, timeout: float) -> list[tuple[str, int]]:
        """Ids and codes of cells that ended; waits for the first at most `timeout` seconds."""

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

    Events are started, done, skipped (done before, or by another runner), failed, retry, waiting
    (another runner is computing it). SIGINT and SIGTERM stop within five seconds: running cells
    write a checkpoint, and running the same cells again continues them. A cell that failed before
    is computed again when it lacked resources or was lost, when anything it could depend on has
    changed since, or with "failed" in `retry`; otherwise it is reported as failed. A cell computed
    by other code stays as it is and is reported; with "outdated" in `retry` it is computed again.
    Raises StoreError when `root` cannot be written and
    ConfigError for an unknown executor or a missing Ray.
    """
    schedule = _Schedule(cells, plugins=plugins, retry=retry, on_event=on_event)
    place: Executor
    if not schedule.queue:
        return schedule.summary
    make_folder(root / "cells")
    if executor == "local":
        from pbrl.jobs.local import Local

        place = Local(jobs, (cell for cell, _ in schedule.queue))
    elif executor == "ray":
        from pbrl.jobs.ray import Ray

        place = Ray(jobs, address=address)
    else:
        raise ConfigError(f"executor {executor!r}; expected local or ray")
    with _signals(schedule.summary):
        try:
            while schedule.step(place):
                if schedule.summary.signal is not None:
                    schedule.stop(place)
                    break
        finally:
            place.close()
    return schedule.summary


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


class _Schedule:
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
        self.queue: deque[tuple[Cell, str | None]] = deque()
        self.running: set[str] = set()
        self.elsewhere: dict[str, Watch] = {}
        self.losses: Counter[str] = Counter()
        self.waiting_told = False
        for cell in self.cells.values():
            with self._told(cell):
                self._sort(cell)

    def _sort(self, cell: Cell) -> None:
        """What a cell needs: to be computed, once more for a reason, or nothing."""
        status = cell.status()
        if status == "done":
            damage = cell.damage()
            if damage is not None:
                return self._again(cell, f"its result is damaged: {damage}")
            other = cell.outdated()
            if other and "outdated" in self.retry:
                return self._again(cell, f"computed with another version of {', '.join(other)}")
            if other:
                self.summary.outdated[cell.id] = other
            self._skip(cell)
        elif status == "failed":
            cause = self._cure(cell)
            if cause is None:
                return self._failed(cell)
            self.event("retry", cell, cause)
            self.queue.append((cell, None))
        else:
            self.queue.append((cell, None))

    @contextmanager
    def _told(self, cell: Cell) -> Iterator[None]:
        """A cell whose files cannot be read or written fails, and nothing of it is touched."""
        try:
            yield
        except StoreError as error:
            self.elsewhere.pop(cell.id, None)
            self.running.discard(cell.id)
            self._failed(cell, str(error))

    def _again(self, cell: Cell, reason: str) -> None:
        cell.discard()
        self.event("retry", cell, reason)
        self.queue.append((cell, None))

    def _cure(self, cell: Cell) -> str | None:
        """Why a cell that failed may succeed now; None when nothing speaks for it."""
        kind, changed = (cell.failure() or {}).get("kind"), cell.cure()
        if kind in _AGAIN:
            return f"it failed as {kind}"
        if changed:
            return f"changed since it failed: {', '.join(changed)}"
        return "asked for by --retry failed" if "failed" in self.retry else None

    def step(self, place: Executor) -> bool:
        """Start what can start, take in what ended; False when nothing is left to do."""
        while self.queue and len(self.running) < place.slots:
            cell, expired_token = self.queue.popleft()
            with self._told(cell):
                self._start(cell, expired_token, place)
        for cell_id, code in place.ended(_PATIENCE if self.running or self.elsewhere else 0):
            self.running.discard(cell_id)
            cell = self.cells[cell_id]
            with self._told(cell):
                self._ended(cell, code, place.reasons.pop(cell_id, ""))
        for cell_id in list(self.elsewhere):
            with self._told(self.cells[cell_id]):
                self._look(self.cells[cell_id])
        if self.elsewhere and not self.running and not self.queue and not self.waiting_told:
            self.waiting_told = True
            for cell_id in self.elsewhere:
                self.event("waiting", self.cells[cell_id], "another runner is computing it")
        return bool(self.queue or self.running or self.elsewhere)

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
            self.queue.append((cell, token))
        del self.elsewhere[cell.id]

    def _ended(self, cell: Cell, code: int, reason: str) -> None:
        status = cell.status()
        if code == worker.ALREADY or (code == worker.LOCKED and status == "done"):
            self._skip(cell)
        elif status == "done":
            self.summary.done.append(cell)
            self.event("done", cell, "; ".join((cell.manifest() or {}).get("notices", [])))
        elif code == worker.LOCKED:
            self.elsewhere[cell.id] = Watch(cell.path)
        elif status == "failed":
            self._failed(cell)
        elif code == worker.STOPPED and self.summary.signal is not None:
            return
        elif code < 0 or code == worker.STOPPED:
            self._lost(cell, code)
        else:
            self._died(cell, code, reason)

    def _lost(self, cell: Cell, code: int) -> None:
        self.losses[cell.id] += 1
        how = "stopped" if code == worker.STOPPED else f"killed by {signal.Signals(-code).name}"
        if self.losses[cell.id] <= worker.RETRIES:
            self.event("retry", cell, f"its process was {how}")
            self.queue.append((cell, None))
            return
        crashed = -code in _CRASHES
        advice = {signal.SIGKILL: "perhaps memory ran out", signal.SIGTERM: "from outside"}
        note = "it crashed" if crashed else advice.get(signal.Signals(abs(code)), "")
        self._record(
            cell,
            "environment" if crashed else "lost",
            f"its process was {how} {self.losses[cell.id]} times{f' ({note})' if note else ''}",
            _tail(cell),
        )

    def _died(self, cell: Cell, code: int, reason: str) -> None:
        """The process ended without saying why: the watchdog, or a bug."""
        hang = worker.hang_report(cell.path / "log.txt")
        if code == worker.UNWRITABLE:
            self._record(cell, "resource", reason or _tail(cell).rpartition("\n")[2], "")
        elif hang is not None:
            seconds = worker.hang_timeout(cell)
            inside = "run/env.py" in hang  # the environment is stepped there and nowhere else
            message = (
                f"no sign of life for {seconds:.0f} s; the traceback shows where it hung"
                if inside
                else f"one iteration took more than {seconds:.0f} s; the traceback shows where: "
                "if it would have ended, raise hang_timeout in the suite"
            )
            self._record(cell, "environment" if inside else "user", message, hang)
        else:
            message = f"its process ended with exit code {code} and wrote no result"
            self._record(cell, "bug", message, _tail(cell))

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
        self.summary.failed.append(cell)
        self.event("failed", cell, message or (cell.failure() or {}).get("message", ""))

    def _skip(self, cell: Cell) -> None:
        self.summary.skipped.append(cell)
        self.event("skipped", cell, "")

    def stop(self, place: Executor) -> None:
        """Let the running cells write their checkpoints, at most for the grace period."""
        place.stop()
        deadline = time.monotonic() + worker.GRACE
        while self.running and time.monotonic() < deadline:
            for cell_id, code in place.ended(_PATIENCE):
                self.running.discard(cell_id)
                cell = self.cells[cell_id]
                with self._told(cell):
                    if cell.status() in ("done", "failed"):
                        self._ended(cell, code, "")


def _tail(cell: Cell) -> str:
    """The last lines of a cell's log."""
    with suppress(OSError):
        return "\n".join((cell.path / "log.txt").read_text(errors="replace").splitlines()[-60:])
    return ""
