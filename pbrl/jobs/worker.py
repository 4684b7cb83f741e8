"""The process that computes one cell; this is also the command that repeats a failed one.

python -m pbrl.jobs.worker runs/quick/cells/<id> [--plugin FILE]...
"""

import argparse
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
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from pbrl.errors import (
    MESSAGE,
    EnvironmentFault,
    PbrlError,
    StoreError,
    is_users,
    shown,
    where,
)
from pbrl.run.signals import Board, Here
from pbrl.store import Cell, FailureKind, LeaseLost, Locked
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
DONE, FAILED, UNWRITABLE, LOCKED, STOPPED, ALREADY = 0, 1, 74, 75, 76, 77  # outcomes, exit codes
RETRIES = 2  # of a cell whose process was killed
GRACE = 4.0  # seconds a stopped cell has to write its checkpoint
TRACEBACK = 100_000  # characters of a traceback that are kept
_USED_UP = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


class Ended(NamedTuple):
    """How a cell's process ended: by exit code or signal, and in its own words if it had any."""

    cell_id: str
    code: int
    """exit code, or minus the number of the signal that ended it"""
    told: int | None = None
    """the outcome that `compute` told; None when the process ended in another way"""
    message: str = ""
    inside: str = "method"
    """whose code was running: method, environment or teacher"""
    hung: bool = False


def compute(cell: Cell, *, plugins: Sequence[str], expired_token: str | None = None) -> int:
    """Compute a cell, or the rest of it, in this process; tells the outcome and returns it.

    DONE, FAILED (failure.json says why), LOCKED (another process has it), STOPPED by a signal,
    ALREADY done by another process, or UNWRITABLE when even the failure cannot be written down.
    """
    process = os.getpid()
    message = ""
    try:
        with cell.lock(expired_token=expired_token):
            code = ALREADY if cell.status() == "done" else _compute(cell, plugins, process)
    except (Locked, LeaseLost) as error:
        code, message = LOCKED, str(error)
    except StoreError as error:
        code, message = UNWRITABLE, shown(error, limit=MESSAGE)
    _log(message)
    Here.board.tell(code, message)
    return code


def _compute(cell: Cell, plugins: Sequence[str], process: int) -> int:
    from pbrl import registry, run
    from pbrl.run.compiling import watched
    from pbrl.run.signals import Stop, is_interruption

    def stop(number: int, frame: Any) -> None:
        if Stop.signal == number == signal.SIGINT:  # a second Ctrl-C does not wait for the loop
            signal.default_int_handler(number, frame)
        Stop.signal = number

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    Stop.handled = True
    source_digest()  # kept from here on: the source may be edited while the cell is computed
    try:
        for plugin in plugins:
            registry.load_plugin(plugin)
        with watched() as compiling:
            result = run.execute(cell)
        _stay_one(process)
        if compiling.seconds:  # bandits say more exactly
            result = {"compile_seconds": compiling.seconds} | result
        weights = result.pop("weights", None)
        cell.finish(result, weights=weights)
    except LeaseLost:
        raise
    except BaseException as error:
        _stay_one(process)
        if is_interruption(error):
            _log("stopped; running the same command again continues it")
            return STOPPED
        _fail(cell, error, plugins)
        return FAILED
    return DONE


def _stay_one(process: int) -> None:
    """A process forked by a method or an environment must not end what its parent computes."""
    if os.getpid() != process:
        os._exit(FAILED)


def _fail(cell: Cell, error: BaseException, plugins: Sequence[str]) -> None:
    text = shown("".join(traceback.format_exception(error)), limit=TRACEBACK)
    _log(text)
    message = message_of(error)
    try:
        cell.fail(
            failure_kind(error),
            message,
            traceback=text,
            command=repeat_command(cell, plugins),
        )
    except StoreError as unwritable:
        raise StoreError(f"{message}; and this cannot be recorded: {unwritable}") from error


def _log(text: str) -> None:
    """Write to standard error, which the cell may have closed or replaced."""
    with suppress(BaseException):
        print(text, file=sys.stderr, end="\n" if text else "", flush=True)


def message_of(error: BaseException) -> str:
    """What happened, with the line of the user's file that it went through, if it did."""
    text, place = shown(error, limit=MESSAGE), where(error)
    if not isinstance(error, PbrlError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if re.search(r"\(\S+, line \d+\)", text) else text + place


def failure_kind(error: BaseException) -> FailureKind:
    """Who is at fault: decides whether it is worth trying again, and whom the report blames."""
    if isinstance(error, StoreError) or any(map(_is_used_up, _chain(error))):
        return "resource"
    if isinstance(error, EnvironmentFault):
        return "environment"
    if isinstance(error, ArithmeticError):  # includes FloatingPointError
        return "numeric"
    if isinstance(error, PbrlError) or not isinstance(error, Exception) or is_users(error):
        return "user"
    return "bug"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what caused it, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_used_up(error: BaseException) -> bool:
    """Memory, disk, or files that may be open: more of it, or later, and the cell may succeed."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return True
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in shown(error, limit=1000):
        return True
    return isinstance(error, OSError) and error.errno in _USED_UP


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


def redirect(output: int) -> None:
    """Standard input from nowhere, output and error into a pipe."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)


def show_board(board: Board) -> None:
    """From here on this process writes on a board that its parent sees."""
    Here.board = board
    faulthandler.enable()
    faulthandler.register(signal.SIGQUIT, all_threads=True)  # where it hangs, when asked


def leave(code: int) -> NoReturn:
    """End this process at once, whatever threads it has: they are not waited for."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m pbrl.jobs.worker`."""
    parser = argparse.ArgumentParser(prog="python -m pbrl.jobs.worker", description=__doc__)
    parser.add_argument("folder", help="a cell's folder, such as runs/quick/cells/<id>")
    parser.add_argument("--plugin", action="append", default=[], help="import this file first")
    # What an executor adds:
    parser.add_argument("--expired-token", help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--board", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if any(os.environ.get(key) != value for key, value in ENVIRONMENT.items()):
        os.execve(sys.executable, sys.orig_argv, os.environ | ENVIRONMENT)
    if options.output is not None:
        redirect(options.output)
    show_board(Board() if options.board is None else Board.of(options.board))
    if options.parent is not None:
        follow_parent(options.parent)
    try:
        cell = Cell.at(Path(options.folder).absolute())  # the cell may change directory
        plugins = [os.path.abspath(plugin) for plugin in options.plugin]
        return compute(cell, plugins=plugins, expired_token=options.expired_token)
    except StoreError as error:
        print(f"pbrl: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    code = FAILED
    try:
        code = main()
    except SystemExit as stop:  # of the command line's parser
        code = stop.code if isinstance(stop.code, int) else FAILED
    except BaseException:
        traceback.print_exc()
    leave(code)
