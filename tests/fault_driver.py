"""Let every call a cell makes to the file system fail in turn, then resume; prints one report.

    python tests/fault_driver.py MODE FOLDER STRIDE

Every STRIDE-th call is tried. Modes: `die` ends the process at call k (half of a write is done),
`raise` lets call k fail once with "no space left", `full` lets it and all later ones fail. `EIO`
and `EACCES` let the k-th call that reads fail once with that error, in a cell that continues from
checkpoints, none of which may be lost. A process of its own, because every trial is a fork, and
forking a test process with busy threads is not safe.
"""

import contextlib
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before tests/envs
import tiny_cells
from kill_resume import result_digest

from pbrl.jobs import fork_server, worker
from pbrl.store import Cell, atomic, checkpoint, journal, lease

CHANGES = ("open", "write", "fsync", "replace", "rename", "unlink", "rmdir", "makedirs")
READS = ("open", "read", "listdir", "stat", "lstat")
CONFIG = tiny_cells.config(4, steps=4, every=1)
STOPPED = tiny_cells.config(4, steps=4, every=1, at=3, mischief="killed once")


class Faulty:
    """Stands for the module `os`: counts the calls that change or read files; one goes wrong."""

    def __init__(self, mode: str, at: int) -> None:
        self.mode, self.at, self.count = mode, at, 0
        self.reads = mode in ("EIO", "EACCES")
        self.errno = getattr(errno, mode) if self.reads else errno.ENOSPC
        self.save_file, self.load_file = safetensors.torch.save_file, safetensors.torch.load_file

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        return self.counted(call, name) if name in (READS if self.reads else CHANGES) else call

    def counted(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counting(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.at or (self.mode == "full" and self.count > self.at):
                if name == "write":
                    fd, data = arguments
                    os.write(fd, data[: len(data) // 2])
                if self.mode == "die":
                    os._exit(9)
                raise OSError(self.errno, os.strerror(self.errno))
            return call(*arguments, **options)

        return counting

    def save(self, arrays: Any, path: Path) -> None:
        """safetensors writes from Rust: here its file is cut in half."""
        self.save_file(arrays, path)
        if self.reads:
            return
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        self.counted(lambda: path.write_bytes(data), "save_file")()

    def load(self, path: Path) -> Any:
        """safetensors tells an error of its reads as text."""
        try:
            return (self.counted(self.load_file, "load_file") if self.reads else self.load_file)(
                path
            )
        except OSError as error:
            raise safetensors.SafetensorError(
                f"Error while reading: {error.strerror} (os error {error.errno})"
            ) from None


def attempt(cell: Cell, mode: str = "", at: int = 0) -> tuple[int, int]:
    """Compute the cell in a forked process: its exit code, and the number of calls it made."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code, faulty = 70, Faulty(mode, at)
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            for module in (atomic, journal, lease):
                module.os = faulty  # type: ignore[attr-defined]
            safetensors.torch.save_file = faulty.save  # type: ignore[assignment]
            safetensors.torch.load_file = faulty.load  # type: ignore[assignment]
            code = worker.compute(cell, plugins=[tiny_cells.PLUGIN])
        finally:
            os.write(write, str(faulty.count).encode())
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        count = int(pipe.read() or 0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), count


def main(mode: str, folder: Path, stride: int) -> None:
    """Try the calls; the report names each after which the resumed result was not as expected."""
    fork_server.preload([])
    reads = mode in ("EIO", "EACCES")
    config = STOPPED if reads else CONFIG
    started = folder / "started"
    started.mkdir(parents=True)
    if reads:
        attempt(Cell(started, config))  # is killed, and leaves two checkpoints

    def fresh(name: str) -> Cell:
        shutil.copytree(started, folder / name)
        return Cell(folder / name, config)

    reference = fresh("reference")
    code, calls = attempt(reference, mode if reads else "", 0)
    assert code == worker.DONE
    expected = list(result_digest(reference.root).values())
    wrong, codes = [], {}
    for at in range(1, calls + 1, stride):
        cell = fresh(f"{mode}{at}")
        codes[at], _ = attempt(cell, mode, at)
        steps = checkpoint.steps(cell.path / "checkpoints")
        lost = reads and cell.status() != "done" and max(steps, default=0) < 3
        resumed, _ = attempt(cell)
        left = [str(p) for p in cell.root.rglob("*") if p.name.endswith(".tmp")]
        same = list(result_digest(cell.root).values()) == expected
        notices = (cell.manifest() or {}).get("notices", []) if reads else []
        good = resumed in (worker.DONE, worker.ALREADY) and same
        if not good or left or lost or notices:
            found = {"at": at, "code": codes[at], "resumed": resumed, "same": same, "left": left}
            wrong.append(found | {"lost": lost, "notices": notices})
        with contextlib.suppress(OSError):
            for path in cell.root.rglob("*.safetensors"):
                path.unlink()
    print(json.dumps({"calls": calls, "wrong": wrong, "codes": codes}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
