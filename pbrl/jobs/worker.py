"""The process that computes one cell; this is also the command that repeats a failed one.

python -m pbrl.jobs.worker runs/quick/cells/<id> [--plugin FILE]...
"""

import argparse
import contextlib
import errno
import faulthandler
import os
import re
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pbrl.errors import EnvironmentFault, PbrlError, StoreError
from pbrl.store import Cell, FailureKind, LeaseLost, Locked
from pbrl.store.atomic import explained
from pbrl.store.provenance import source_digest

# One thread per cell: bit-equality holds for a thread count, and small networks are fastest so.
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **dict.fromkeys(("NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"), "1"),
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",  # a folder named envs where the user stands is not our package
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "_RJEM_MALLOC_CONF": "background_thread:false",  # polars' allocator: no thread to lose by fork
}
DONE, FAILED, UNWRITABLE, LOCKED, STOPPED, ALREADY = 0, 1, 74, 75, 76, 77  # exit codes
_USED_UP = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
RETRIES = 2  # of a cell whose process was killed
GRACE = 4.0  # seconds a stopped cell has to write its checkpoint


def say(text: object) -> None:
    """A line on standard error, where it can be written: a full disk must not hide the reason."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def compute(
    cell: Cell,
    *,
    plugins: Sequence[str],
    expired_token: str | None = None,
    tell: Callable[[str], None] = lambda reason: None,
) -> int:
    """Compute a cell, or the rest of it, in this process; returns an exit code.

    DONE, FAILED (failure.json says why), LOCKED (another process has it), STOPPED by a signal,
    ALREADY done by another process, or UNWRITABLE when even the failure cannot be written down;
    its reason then goes to `tell`.
    """
    try:
        with cell.lock(expired_token=expired_token):
            return ALREADY if cell.status() == "done" else _compute(cell, plugins)
    except (Locked, LeaseLost) as error:
        say(error)
        return LOCKED
    except StoreError as error:
        say(error)
        tell(str(error))
        return UNWRITABLE


def _compute(cell: Cell, plugins: Sequence[str]) -> int:
    from pbrl import registry, run
    from pbrl.run.signals import Interrupted, Stop

    def stop(number: int, _: Any) -> None:
        Stop.signal = number

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    source_digest()  # kept from here on: the source may be edited while the cell is computed
    faulthandler.dump_traceback_later(hang_timeout(cell), exit=True)
    try:
        for plugin in plugins:
            registry.load_plugin(plugin)
        result = run.execute(cell)
        weights = result.pop("weights", None)
        cell.finish(result, weights=weights)
    except Interrupted:
        say("stopped; running the same command again continues it")
        return STOPPED
    except LeaseLost:
        raise
    except Exception as error:
        text = traceback.format_exc()
        say(text)
        message = str(error) if isinstance(error, PbrlError) else f"{type(error).__name__}: {error}"
        try:
            cell.fail(
                failure_kind(error),
                message,
                traceback=text,
                command=repeat_command(cell, plugins),
            )
        except StoreError as unwritable:
            raise StoreError(f"{message}; and this cannot be recorded: {unwritable}") from error
        return FAILED
    finally:
        faulthandler.cancel_dump_traceback_later()
    return DONE


def failure_kind(error: Exception) -> FailureKind:
    """Who is at fault: decides whether it is worth trying again, and whom the report blames."""
    if isinstance(error, EnvironmentFault):
        return "environment"
    if isinstance(error, ArithmeticError):  # includes FloatingPointError
        return "numeric"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is a RuntimeError
        return "resource"
    if isinstance(error, StoreError | MemoryError) or getattr(error, "errno", None) in _USED_UP:
        return "resource"
    return "user" if isinstance(error, PbrlError) else "bug"


def hang_timeout(cell: Cell) -> float:
    """Seconds without a sign of life after which a cell counts as hung."""
    return cell.config.get("execution", {}).get("hang_timeout", 600.0)


def repeat_command(cell: Cell, plugins: Sequence[str]) -> str:
    """The shell command that computes this cell alone, in the foreground."""
    options = [word for plugin in plugins for word in ("--plugin", plugin)]
    return shlex.join(["python", "-m", "pbrl.jobs.worker", str(cell.path), *options])


def follow_parent(parent: int) -> None:
    """End this process when process `parent` is gone: no orphans, whatever killed it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(STOPPED)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def redirect(log: Path) -> None:
    """Standard input from nowhere, output and error to the end of a file."""
    with explained(log):
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (fd, 1), (fd, 2)):
        os.dup2(source, target)
    os.close(fd)
    os.close(null)
    os.write(2, f"--- process {os.getpid()}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())


def hang_report(log: Path) -> str | None:
    """The watchdog's traceback, if that is how the newest process of this log ended."""
    try:
        text = log.read_text(errors="replace").rpartition("\n--- process ")[2]
    except OSError:
        return None
    found = re.search(r"^Timeout \(\d+:\d\d:\d\d.*\)!$", text, re.MULTILINE)
    return text[found.start() :] if found else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m pbrl.jobs.worker`."""
    parser = argparse.ArgumentParser(prog="python -m pbrl.jobs.worker", description=__doc__)
    parser.add_argument("folder", help="a cell's folder, such as runs/quick/cells/<id>")
    parser.add_argument("--plugin", action="append", default=[], help="import this file first")
    # What an executor adds:
    parser.add_argument("--expired-token", help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if any(os.environ.get(key) != value for key, value in ENVIRONMENT.items()):
        os.execve(sys.executable, sys.orig_argv, os.environ | ENVIRONMENT)
    faulthandler.enable()
    if options.log is not None:
        redirect(options.log)
    if options.parent is not None:
        follow_parent(options.parent)
    try:
        cell = Cell.at(Path(options.folder).resolve())  # what it runs may change directory
        return compute(cell, plugins=options.plugin, expired_token=options.expired_token)
    except StoreError as error:
        print(f"pbrl: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
