"""Let every change a cell makes to the file system fail in turn, then resume; prints one report.

    python tests/fault_driver.py MODE FOLDER STRIDE

Every STRIDE-th call is tried. Modes: `die` ends the process at call k (half of a write is done),
`raise` lets call k fail once with "no space left", `full` lets it and all later ones fail. A
process of its own, because every trial is a fork, and forking a test process with busy threads is
not safe.
"""

import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before tests/envs
import tiny_cells
from kill_resume import result_digest

from pbrl.jobs import fork_server, worker
from pbrl.store import Cell, atomic, journal, lease

CALLS = ("open", "write", "fsync", "replace", "rename", "unlink", "rmdir", "makedirs")
CONFIG = tiny_cells.config(4, steps=4, every=1)


class Faulty:
    """Stands for the module `os`: counts the calls that change files, and lets one go wrong."""

    def __init__(self, mode: str, at: int) -> None:
        self.mode, self.at, self.count = mode, at, 0
        self.save_file = safetensors.torch.save_file

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        return self.counted(call, name) if name in CALLS else call

    def counted(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counting(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.at or (self.mode == "full" and self.count > self.at):
                if name == "write":
                    fd, data = arguments
                    os.write(fd, data[: len(data) // 2])
                if self.mode == "die":
                    os._exit(9)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*arguments, **options)

        return counting

    def save(self, arrays: Any, path: Path) -> None:
        """safetensors writes from Rust: here its file is cut in half."""
        self.save_file(arrays, path)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        self.counted(lambda: path.write_bytes(data), "save_file")()


def attempt(root: Path, mode: str = "", at: int = 0) -> tuple[int, int]:
    """Compute the cell in a forked process: its exit code, and the number of calls it made."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code, faulty = 70, Faulty(mode, at)
        try:
            cell = Cell(root, CONFIG)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            for module in (atomic, journal, lease):
                module.os = faulty  # type: ignore[attr-defined]
            safetensors.torch.save_file = faulty.save  # type: ignore[assignment]
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
    code, calls = attempt(folder / "reference")
    assert code == worker.DONE
    expected = list(result_digest(folder / "reference").values())
    wrong, codes = [], {}
    for at in range(1, calls + 1, stride):
        root = folder / f"{mode}{at}"
        code, _ = attempt(root, mode, at)
        codes[at] = code
        resumed, _ = attempt(root)
        left = [str(p) for p in root.rglob("*") if p.name.endswith(".tmp")]
        same = list(result_digest(root).values()) == expected
        if resumed not in (worker.DONE, worker.ALREADY) or not same or left:
            wrong.append({"at": at, "code": code, "resumed": resumed, "same": same, "left": left})
        with contextlib.suppress(OSError):
            for path in root.rglob("*.safetensors"):
                path.unlink()
    print(json.dumps({"calls": calls, "wrong": wrong, "codes": codes}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
