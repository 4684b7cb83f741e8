"""Contract tests in a process of their own, which is stopped when it hangs.

A plug-in that never returns, exits or crashes ends that process alone, and where it was is told.
"""

import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from typing import IO, Any

from pbrl import check
from pbrl.errors import shown_place, where

# Seconds that the contract tests of one name may take, several times what the slowest built-in
# does: dog-run as env, reed as method, and compiling as bandit.
LIMITS = {
    "env": 300,
    "teacher": 120,
    "method": 600,
    "query": 60,
    "loss": 60,
    "bandit": 300,
    "problem": 120,
    "world": 120,
    "learner": 120,
}


def violations(kind: str, name: str, *, seconds: float | None = None) -> list[str]:
    """`check.violations` within the limit of its kind, or `seconds`; a hang is one of them."""
    limit = LIMITS[kind] if seconds is None else seconds
    # Forked, because what is to be checked was registered by code that ran in this process.
    context: Any = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    with tempfile.TemporaryFile("w+") as trace:
        process = context.Process(target=_child, args=(kind, name, send, trace))
        process.start()
        send.close()
        try:
            if receive.poll(limit):
                return json.loads(receive.recv_bytes())
            os.kill(process.pid, signal.SIGUSR1)
            _until_written(trace)
            how = f"hangs: no answer after {limit:g} s"
        except EOFError:
            process.join()
            how = _ended(process.exitcode)
        finally:
            process.kill()
            process.join()
        trace.seek(0)
        return [how + _innermost(trace.read())]


def _child(kind: str, name: str, send: Any, trace: IO[str]) -> None:
    faulthandler.enable(trace)
    faulthandler.register(signal.SIGUSR1, trace, all_threads=False)
    os.environ["OMP_NUM_THREADS"] = "1"  # as in a cell
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    try:
        found = check.violations(kind, name)
    except SystemExit as error:
        found = [f"calls sys.exit({error.code}){where(error)}; expected to leave the process alone"]
    send.send_bytes(json.dumps(found).encode())


def _until_written(trace: IO[str]) -> None:
    """Wait for the traceback that was asked for, on a busy machine too."""
    patience = time.monotonic() + 5
    while os.fstat(trace.fileno()).st_size == 0 and time.monotonic() < patience:
        time.sleep(0.01)
    time.sleep(0.1)  # the rest of it


def _ended(code: int) -> str:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"ends the process it runs in: {how}"


def _innermost(trace: str) -> str:
    """The innermost line of a user's file in a traceback of faulthandler, or ""."""
    places = []
    for line in trace.splitlines():
        if line.startswith('  File "'):
            file, _, rest = line.removeprefix('  File "').partition('", line ')
            places.append((file, int(rest.split(" ")[0])))
    return shown_place(places)
