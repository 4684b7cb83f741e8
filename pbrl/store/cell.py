"""One cell and its folder `<root>/cells/<id>/`.

config.json       what it computes
lease             the process computing it, if any
journal.jsonl     rows so far                       } only until
checkpoints/      state at one step, the newest two } it is finished
metrics.parquet   all rows                          } only when
weights/          what was learned                  } it is finished
manifest.json     sizes, digests, versions, time: written last
failure.json      why it stopped, and the command that repeats it
log.txt           standard output and error of its process
"""

import contextlib
import logging
import re
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import pbrl
from pbrl.errors import Damaged, StoreError
from pbrl.store import atomic, checkpoint, frames, inputs, journal
from pbrl.store.lease import Lease, holder
from pbrl.store.provenance import changed, changed_packages, circumstances, environment

Status = Literal["done", "running", "failed", "missing"]
FailureKind = Literal["user", "numeric", "environment", "resource", "lost", "bug"]
SCHEMA = 2  # of the manifest
METRICS = "metrics.parquet"
UNFINISHED = ("checkpoints", "journal.jsonl", "failure.json")  # what a done cell has no use for
AXES = ("algorithm", "method", "learner", "problem", "env", "world", "teacher")
_log = logging.getLogger("pbrl")


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """What of a configuration decides the result: not labels, places of files, or its execution."""
    return {
        key: _unlabeled(value)
        for key, value in inputs.without_places(config).items()
        if key != "execution"
    }


def _unlabeled(value: Any) -> Any:
    return {k: v for k, v in value.items() if k != "label"} if isinstance(value, dict) else value


def cell_id(config: dict[str, Any], spelled: "Spelled | None" = None) -> str:
    """Names and seed, then twelve hex digits of the SHA-256 of configuration, input files, version.

    At most 80 characters out of a-z, 0-9, dot, underscore and hyphen: safe as a folder's name.
    `spelled` remembers texts of values that many configurations share, and is filled here.
    """
    names = [config[axis]["name"] for axis in AXES if config.get(axis)]
    slug = re.sub(r"[^a-z0-9_-]+", "-", "-".join([*names, f"s{config.get('seed', 0)}"]).lower())
    known = {} if spelled is None or config.get("inputs") else spelled
    parts = []
    for key, value in sorted(inputs.without_places(config).items()):
        if key != "execution":
            if id(value) not in known:
                known[id(value)] = value, atomic.canonical(_unlabeled(value))
            parts.append(b"%s:%s" % (atomic.canonical(key), known[id(value)][1]))
    whole = sha256(b'{"config":{%s},"version":' % b",".join(parts))
    whole.update(atomic.canonical(pbrl.__version__) + b"}")
    return f"{slug[:67].strip('-_')}-{whole.hexdigest()[:12]}"


Spelled = dict[int, tuple[Any, bytes]]
"""The canonical text of objects by their `id`, with the object, so that no other can have it."""


def cells_of(root: Path, configs: Iterable[dict[str, Any]]) -> list["Cell"]:
    """The cells of many configurations, such as a suite's: what they share is spelled once."""
    spelled: Spelled = {}
    return [Cell(root, config, spelled) for config in configs]


class Cell:
    """One run of a suite, known by its configuration; nothing is created before `lock`."""

    def __init__(self, root: Path, config: dict[str, Any], spelled: Spelled | None = None) -> None:
        self.root, self.config = Path(root), config
        self.id = cell_id(config, spelled)
        self.notices: list[str] = []
        """what a user should know though the cell went on, such as a damaged checkpoint"""
        self._lease: Lease | None = None
        self._journal: journal.Journal | None = None
        self._seconds = 0.0
        self._opened = time.monotonic()

    @cached_property
    def path(self) -> Path:
        """The cell's folder."""
        return self.root / "cells" / self.id

    @classmethod
    def at(cls, path: Path) -> "Cell":
        """The cell of an existing folder, as its config.json says.

        Raises Damaged when that is missing, torn, changed or another cell's, else StoreError.
        """
        config = atomic.read_sealed(path / "config.json")
        try:
            cell = cls(path.parent.parent, config)
        except (KeyError, TypeError, AttributeError) as error:
            raise Damaged(f"{path / 'config.json'} is not a cell's: {error!r}") from error
        if cell.id != path.name:
            raise Damaged(
                f"{path} is of another version of pbrl or was edited: its config.json now stands "
                f"for {cell.id}; run its suite again"
            )
        return cell

    # --- what can be said without running it ----------------------------------------------------

    def status(self) -> Status:
        """Done, running, failed, or missing (which includes: interrupted, will resume).

        Raises StoreError when that cannot be looked at.
        """
        if atomic.is_there(self.path / "manifest.json"):
            return "done"
        if self._is_running():
            return "running"
        return "failed" if atomic.is_there(self.path / "failure.json") else "missing"

    def check(self, manifest: dict[str, Any], *, weights: bool = True) -> bytes:
        """The Parquet file of a cell that is done; `weights` are checked, else by size alone.

        Raises Damaged unless every file is as the manifest says, StoreError for what cannot be
        read, which says nothing about it.
        """
        for name, seal in manifest["files"].items():
            if name != METRICS:
                atomic.check(self.path / name, seal, content=weights)
        return atomic.read_checked(self.path / METRICS, manifest["files"][METRICS])

    def discard(self) -> None:
        """Take back that a cell is done, with what it gave, so that it is computed again."""
        for name in ("manifest.json", METRICS, "weights"):
            atomic.remove(self.path / name)

    def _is_running(self) -> bool:
        found = holder(self.path)
        if found is None or found.is_dead():
            return False
        # Only shown, so the wall clocks of two machines may be compared, with an hour's slack.
        with contextlib.suppress(FileNotFoundError):
            return time.time() - (self.path / "lease").stat().st_mtime < 3600
        return False

    def failure(self) -> dict[str, Any] | None:
        """kind, message, traceback, seed, log, command, step; None when it did not fail."""
        try:
            if atomic.is_there(self.path / "failure.json"):
                return atomic.read_sealed(self.path / "failure.json")
        except StoreError as error:
            return {"kind": "lost", "message": str(error)}
        return None

    def manifest(self) -> dict[str, Any] | None:
        """What `whole_manifest` gives; None when that is not there, or cannot be read."""
        try:
            return self.whole_manifest()
        except StoreError:
            return None

    def whole_manifest(self) -> dict[str, Any]:
        """Summary, seconds, environment, files and rows of a cell that is done.

        Raises Damaged when it is missing, torn, changed or not this cell's, else StoreError.
        """
        path = self.path / "manifest.json"
        manifest = atomic.read_sealed(path)
        if manifest.get("id") != self.id:
            raise Damaged(f"{path} is that of {manifest.get('id', 'no cell')}, not of {self.id}")
        if manifest.get("schema") != SCHEMA:
            raise Damaged(f"{path} is of another version of pbrl")
        return manifest

    def cure(self, failure: dict[str, Any]) -> list[str]:
        """What is not as it was when the cell failed, so that it may succeed now."""
        then, now = failure.get("circumstances", {}), circumstances(self.config)
        return sorted(name for name in then.keys() & now.keys() if then[name] != now[name])

    def progress(self) -> dict[str, Any] | None:
        """step (for a bandit: repetitions) so far, and of the newest checkpoint; None at first."""
        row = journal.last(self.path / "journal.jsonl")
        if row is None:
            return None
        saved = checkpoint.steps(self.path / "checkpoints")
        step = row["repetition"] + 1 if "repetition" in row else row.get("step")
        return {"step": step, "checkpoint": saved[0] if saved else None}

    # --- running it -----------------------------------------------------------------------------

    def create(self) -> None:
        """Make the folder and its config.json; raises StoreError when that is not possible."""
        for folder in (self.path.parent, self.path, self.path / "checkpoints"):
            atomic.refuse_link(folder)
        atomic.make_folder(self.path)
        path, text = self.path / "config.json", atomic.sealed(self.config)
        with contextlib.suppress(Damaged):
            if atomic.read_file(path) == text:
                return
        atomic.write_file(path, text)

    def is_known(self) -> bool:
        """Whether its config.json is whole; raises StoreError when it cannot be read."""
        try:
            return bool(atomic.read_sealed(self.path / "config.json"))
        except Damaged:
            return False

    @contextlib.contextmanager
    def lock(self, *, expired_token: str | None = None) -> Iterator[None]:
        """Hold the cell; creates its folder. Raises Locked when another process computes it.

        `expired_token` (from lease.Watch) allows taking over the lease that was seen to expire.
        """
        self.create()
        lease = Lease(self.path)
        lease.take(expired_token=expired_token)
        self._lease = lease
        self._opened = time.monotonic()
        try:
            try:
                if self.status() == "done":
                    self._tidy()
                else:
                    self._prepare()
                yield
            except BaseException:
                with contextlib.suppress(StoreError):  # the first reason is the one to tell
                    self._close_journal()
                raise
            self._close_journal()
        finally:
            self._lease = None
            lease.release()

    def _close_journal(self) -> None:
        opened, self._journal = self._journal, None
        if opened is not None:
            opened.close()

    def sweep(self) -> None:
        """Remove from a done cell what a process left that died after it had finished.

        Silent where that is not possible: the result is whole.
        """
        names = atomic.entries(self.path)
        if any(name in UNFINISHED or name.endswith(atomic.TEMPORARY) for name in names):
            with contextlib.suppress(StoreError), self.lock():
                pass

    def _tidy(self) -> None:
        atomic.clean(self.path)
        for leftover in UNFINISHED:
            atomic.remove(self.path / leftover)

    def _prepare(self) -> None:
        atomic.clean(self.path)
        atomic.clean(self.path / "checkpoints")
        atomic.remove(self.path / "failure.json")

    def _held(self) -> Lease:
        if self._lease is None:
            raise RuntimeError("a cell is written only inside `with cell.lock():`")
        return self._lease

    def restore(self) -> tuple[dict[str, Any], int] | None:
        """State and step of the newest intact checkpoint, and the journal cut to that moment.

        None, with an empty journal, when there is no checkpoint or none is intact. Every damaged
        one is deleted, logged and kept in `notices`. Raises StoreError, and deletes nothing, when
        one cannot be read or the disk refuses.
        """
        self._held()
        folder = self.path / "checkpoints"
        for step in checkpoint.steps(folder):
            try:
                state, manifest = checkpoint.read(folder, step)
                other = changed(manifest["environment"], environment())
                if other:
                    self._start_again(step, other)
                    return None
                self._journal = self._journal_at(manifest["journal"])
            except Damaged as error:
                self._note(f"checkpoint of step {step} is not used: {error}")
                atomic.remove(checkpoint.place(folder, step))
                continue
            self._seconds = manifest["seconds"]
            self.notices = [*manifest["notices"], *self.notices]
            packages = changed_packages(manifest["environment"], environment())
            if packages:
                self._note(f"continued from step {step} with other versions: {packages}")
            return state, step
        if self.notices:
            self._note("no intact checkpoint is left: the cell starts again from its beginning")
        self._journal = journal.Journal(self.path / "journal.jsonl")
        return None

    def _start_again(self, step: int, other: list[str]) -> None:
        """Forget the checkpoints of other code: half of a run by each would be a run by neither."""
        for saved in checkpoint.steps(self.path / "checkpoints"):
            atomic.remove(checkpoint.place(self.path / "checkpoints", saved))
        self._note(
            f"{' and '.join(other)} changed after the checkpoint of step {step}: the cell starts "
            "again from its beginning"
        )
        self._journal = journal.Journal(self.path / "journal.jsonl")

    def _journal_at(self, seal: dict[str, Any]) -> journal.Journal:
        path = self.path / "journal.jsonl"
        kept = atomic.read_file(path)[: seal["size"]]
        if sha256(kept).hexdigest() != seal["sha256"]:
            raise Damaged(f"{path} is damaged before the place this checkpoint continues from")
        return journal.Journal(path, size=seal["size"])

    def _note(self, text: str) -> None:
        self.notices.append(text)
        _log.warning("%s: %s", self.id, text)

    def _rows(self) -> journal.Journal:
        self._held()
        if self._journal is None:
            self.restore()
        assert self._journal is not None
        return self._journal

    def journal(self, row: dict[str, Any]) -> None:
        """Append one flat row of scalars; it is durable from the next checkpoint on."""
        self._rows().append(row)

    def checkpoint(self, state: dict[str, Any], *, step: int) -> None:
        """Save the state before iteration `step`, durably; the one before it is kept too.

        Raises CellError for a state that cannot be stored, StoreError when the disk refuses, and
        LeaseLost when another process took the cell over; the last checkpoint then stays valid.
        """
        seal = self._rows().sync()
        target = checkpoint.place(self.path / "checkpoints", step)
        temp = atomic.temporary(target)
        try:
            atomic.make_folder(temp)
            manifest = {
                "step": step,
                "journal": seal,
                "seconds": self.seconds,
                "notices": self.notices,
                "environment": environment(),
                "files": checkpoint.write_state(temp, state),
            }
            atomic.write_file(temp / "manifest.json", atomic.sealed(manifest))
            self._publish(temp, target)
        except BaseException:
            with contextlib.suppress(StoreError):
                atomic.remove(temp)
            raise
        for old in checkpoint.steps(target.parent)[checkpoint.KEPT :]:
            atomic.remove(checkpoint.place(target.parent, old))

    def _publish(self, temp: Path, target: Path) -> None:
        with self._held().publishing(), atomic.explained(target):
            if atomic.is_there(target):
                atomic.remove(target)
            atomic.rename_folder(temp, target)

    @property
    def seconds(self) -> float:
        """Time spent on this cell by all its processes, without what was lost in a crash."""
        return self._seconds + time.monotonic() - self._opened

    def finish(self, summary: dict[str, Any], *, weights: dict[str, Any] | None = None) -> None:
        """Publish the rows and what was learned, then the manifest; then drop the checkpoints.

        metrics.parquet and weights/ hold no time and no path: equal runs give equal bytes. Raises
        StoreError when the disk refuses and LeaseLost when another process took the cell over.
        """
        seal = self._rows().sync()
        with self._held().publishing():
            atomic.check(self.path / "journal.jsonl", seal)
            frame = frames.from_rows(journal.read(self.path / "journal.jsonl")[0])
            atomic.write_file(self.path / METRICS, frames.to_parquet(frame))
        files = {METRICS: atomic.seal_of(self.path / METRICS)}
        if weights is not None:
            target = self.path / "weights"
            temp = atomic.temporary(target)
            atomic.make_folder(temp)
            seals = checkpoint.write_state(temp, weights)
            self._publish(temp, target)
            files |= {f"weights/{name}": seal for name, seal in seals.items()}
        manifest = {
            "schema": SCHEMA,
            "id": self.id,
            "seconds": self.seconds,
            "summary": summary,
            "notices": self.notices,
            "environment": environment() | {"device": self.config.get("device", "cpu")},
            "files": files,
            "rows": {"number": frame.height, "columns": frames.types(frame)},
        }
        with self._held().publishing():
            atomic.write_file(self.path / "manifest.json", atomic.sealed(manifest))
        self._tidy()

    def weights(self) -> Any:
        """What a finished cell learned; raises Damaged, or StoreError when there is none."""
        manifest = self.whole_manifest()
        seals = {n: s for n, s in manifest["files"].items() if n.startswith("weights/")}
        if not seals:
            raise StoreError(f"{self.id} has no weights")
        for name, seal in seals.items():
            atomic.check(self.path / name, seal)
        return checkpoint.read_state(self.path / "weights")

    def fail(self, kind: FailureKind, message: str, *, traceback: str, command: str) -> None:
        """Record why the cell stopped, and under what circumstances, which decide on another try.

        `command` repeats the cell alone, in the foreground.
        """
        saved = checkpoint.steps(self.path / "checkpoints")
        content = {
            "kind": kind,
            "message": message,
            "traceback": traceback,
            "command": command,
            "circumstances": circumstances(self.config),
            "seed": self.config.get("seed"),
            "log": str(self.path / "log.txt"),
            "checkpoint": saved[0] if saved else None,
        }
        with self._held().publishing():
            atomic.write_file(self.path / "failure.json", atomic.sealed(content))
