"""Which process computes a cell: one lease per cell, kept alive by a heartbeat.

Two runners, on one machine or several, may share a results folder. Whoever creates the lease file
computes the cell. It is taken over when its owner is known to be dead (same machine, process gone),
or when its modification time has not changed for `EXPIRY` seconds of the watcher's own monotonic
clock: wall clocks of different machines are never compared. An owner that slept past its expiry
finds another token in the lease and publishes nothing.
"""

import contextlib
import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pbrl.errors import CellError, Damaged, StoreError
from pbrl.store import atomic
from pbrl.store.process import machine, started

BEAT = 5.0
EXPIRY = 60.0  # twelve missed beats
FILE = "lease"


class Locked(StoreError):
    """Another process is computing the cell."""


class LeaseLost(CellError):
    """Another process took the cell over while this one was stopped; it publishes nothing."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease. `started` tells a process from a later one with the same number."""

    token: str
    machine: str
    host: str
    pid: int
    started: str

    def is_dead(self) -> bool:
        """True when the process ran on this machine and is gone; False when alive or unknown."""
        return self.machine == machine() and started(self.pid) != self.started


def holder(folder: Path) -> Holder | None:
    """Who holds the lease of a cell's folder; None when nobody does.

    A lease file torn by a crash of its writer reads as a dead holder. Raises StoreError for one
    that cannot be read: it may be somebody's.
    """
    if not atomic.is_there(folder / FILE):
        return None
    try:
        return Holder(**json.loads(atomic.read_file(folder / FILE)))
    except Damaged:
        if not atomic.is_there(folder / FILE):
            return None  # given back since
        raise
    except (ValueError, TypeError):
        return Holder(token="", machine=machine(), host="?", pid=0, started="torn")


class Watch:
    """Remembers when a lease was last seen to change, to tell an expired one."""

    def __init__(self, folder: Path, *, expiry: float | None = None) -> None:
        self.folder, self.expiry = folder, EXPIRY if expiry is None else expiry
        self._seen: tuple[str, int] | None = None
        self._since = 0.0

    def expired_token(self) -> str | None:
        """The token of the lease if it has not changed for `expiry` seconds since first watched."""
        found = holder(self.folder)
        try:
            changed = (self.folder / FILE).stat().st_mtime_ns
        except FileNotFoundError:
            found = None
        if found is None:
            self._seen = None
            return None
        now = time.monotonic()
        if (found.token, changed) != self._seen:
            self._seen, self._since = (found.token, changed), now
        return found.token if now - self._since >= self.expiry else None


@contextlib.contextmanager
def guard(folder: Path) -> Iterator[None]:
    """A short critical section on a folder, freed by the kernel if its owner dies."""
    with atomic.explained(folder):
        fd = atomic.open_own(folder / ".guard", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class Lease:
    """A cell's lease, held by this process from `take` until `release`."""

    def __init__(self, folder: Path, *, beat: float | None = None) -> None:
        self.folder, self.beat = folder, BEAT if beat is None else beat
        pid = os.getpid()
        self.holder = Holder(
            secrets.token_hex(8), machine(), os.uname().nodename, pid, started(pid)
        )
        self._stop = threading.Event()

    def take(self, *, expired_token: str | None = None) -> None:
        """Take a free lease, that of a dead process, or the one with `expired_token`.

        Raises Locked when another process holds it.
        """
        path = self.folder / FILE
        with guard(self.folder):
            found = holder(self.folder)
            if found is not None:
                if not found.is_dead() and found.token != expired_token:
                    raise Locked(
                        f"{self.folder.name} is being computed by process {found.pid} on "
                        f"{found.host}; wait for it, or stop that process"
                    )
                atomic.remove(path)
            with atomic.explained(path):
                # O_EXCL as well as the guard: some shared file systems ignore flock.
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                try:
                    atomic.write_all(fd, json.dumps(asdict(self.holder)).encode())
                    os.fsync(fd)
                finally:
                    os.close(fd)
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def _keep(self) -> None:
        while not self._stop.wait(self.beat):
            with contextlib.suppress(OSError, StoreError):
                if not self._is_mine():
                    return
                os.utime(self.folder / FILE, follow_symlinks=False)

    def _is_mine(self) -> bool:
        found = holder(self.folder)
        return found is not None and found.token == self.holder.token

    @contextlib.contextmanager
    def publishing(self) -> Iterator[None]:
        """While inside, nobody can take the lease; raises LeaseLost when somebody has."""
        with guard(self.folder):
            if not self._is_mine():
                raise LeaseLost(
                    f"{self.folder.name}: this process was stopped for longer than {EXPIRY:.0f} s "
                    "and another one took the cell over; nothing of it was overwritten"
                )
            yield

    def release(self) -> None:
        """Give the lease back, unless another process has it by now."""
        self._stop.set()
        with guard(self.folder):
            if self._is_mine():
                atomic.remove(self.folder / FILE)
