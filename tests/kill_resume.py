"""Kill a command without grace at random moments, start it again, compare the results' bytes."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Trial:
    """One folder: how often its command was killed, and what it ended with."""

    kills: int
    digest: dict[str, str]


def result_digest(root: Path) -> dict[str, str]:
    """SHA-256 of the rows and weights of every cell under `root`, by path."""
    files = [*root.glob("cells/*/metrics.parquet"), *root.glob("cells/*/weights/*")]
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
    }


def kill_and_resume(
    command_factory: Callable[[Path], Sequence[str]],
    times: int,
    rng: np.random.Generator,
    *,
    folder: Path,
    kills: int = 2,
    timeout: float = 300.0,
) -> tuple[dict[str, str], list[Trial]]:
    """Digest of an uninterrupted run, and of `times` runs killed up to `kills` times each.

    `command_factory(root)` prepares a results folder and gives the command that computes it, such
    as `[sys.executable, "-m", "pbrl.jobs.worker", str(cell.path)]`; it is called before every
    start. A kill comes uniformly within the time the uninterrupted run took, counted from the
    moment a cell is being computed (imports are over), and hits the whole process group. Cells
    need `checkpoint_seconds: 0`, or they are killed before their first checkpoint.
    """
    reference = folder / "reference"
    began = _start(command_factory(reference), reference)
    took = _finish(began, timeout)
    expected = result_digest(reference)
    assert expected, "the command left no results"
    trials = []
    for number in range(times):
        root = folder / f"trial{number}"
        killed = 0
        for _ in range(kills):
            process, since = _start(command_factory(root), root)
            if _sleep(process, since + rng.uniform(0, took)):
                os.killpg(process.pid, signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
            else:  # the reference compiled something first, or the machine was busy
                took = min(took, time.monotonic() - since)
                shutil.rmtree(root)
        _finish(_start(command_factory(root), root), timeout)
        trials.append(Trial(killed, result_digest(root)))
    return expected, trials


def _start(command: Sequence[str], root: Path) -> tuple["subprocess.Popen[bytes]", float]:
    """The process, and when it began to compute a cell (or ended, having nothing to do)."""
    root.mkdir(parents=True, exist_ok=True)
    log = (root / "output.txt").open("ab")
    for stale in root.glob("cells/*/lease"):
        stale.unlink()
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    log.close()
    while process.poll() is None and not any(root.glob("cells/*/lease")):
        time.sleep(0.002)
    return process, time.monotonic()


def _sleep(process: "subprocess.Popen[bytes]", until: float) -> bool:
    """Wait until then; False when the process ended before."""
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        time.sleep(0.001)
    return process.poll() is None


def _finish(started: tuple["subprocess.Popen[bytes]", float], timeout: float) -> float:
    """Seconds until the process ended by itself, successfully."""
    process, since = started
    code = process.wait(timeout)
    assert code in (0, 77), f"the command ended with {code}; see output.txt and log.txt"
    return time.monotonic() - since
