"""The process of a cell as its parent sees it: what it prints, whether it lives, how it ended.

A hang is counted in time that the process could run: while it is suspended (SIGSTOP, a cluster's
suspend) nothing counts, and when everything was (a paused container, a sleeping laptop) the gap
between two looks counts as one look.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from pbrl.jobs.worker import Ended
from pbrl.run.signals import Board

LOOK = 0.5  # seconds between two looks
DUMP = 1.0  # seconds that a hung process has to write where it hangs
HEAD, TAIL = 2**20, 2**20  # bytes of a log that are kept: the first and, at least, the last


class Log:
    """A file that stays under HEAD + 2 TAIL bytes however much is written: its beginning and end.

    What the disk does not take is lost: a log is no reason for a cell to fail.
    """

    def __init__(self, path: Path) -> None:
        self.fd = -1
        with contextlib.suppress(OSError):
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        self.size = self._end() if self.fd >= 0 else 0

    def _end(self) -> int:
        return os.lseek(self.fd, 0, os.SEEK_END)

    def write(self, data: bytes) -> None:
        """Append; beyond the limit, leave out the middle of the file."""
        if self.fd < 0:
            return
        with contextlib.suppress(OSError):
            for start in range(0, len(data), TAIL):
                self.size += os.write(self.fd, data[start : start + TAIL])
                if self.size > HEAD + 2 * TAIL:
                    self._shorten()

    def _shorten(self) -> None:
        left_out = self.size - HEAD - TAIL
        tail = os.pread(self.fd, TAIL, self.size - TAIL)
        os.ftruncate(self.fd, HEAD)
        self._end()
        note = f"\n[... {left_out:,} bytes of this log were left out here ...]\n"
        self.size = HEAD + os.write(self.fd, note.encode() + tail)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Watched:
    """A cell's process from before it starts until it ended.

    `board_fd`, `read` and `write` are for the child: the shared memory, and the pipe its output
    goes into. The child keeps the reading end open, so that output never fails, even if this
    process dies.
    """

    def __init__(self, folder: Path, *, hang_timeout: float) -> None:
        self.folder, self.hang_timeout = folder, hang_timeout
        self.board, self.board_fd = Board.shared()
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        self.log = Log(folder / "log.txt")
        self.pid = 0
        self.hung, self.is_open = False, True
        self._idle, self._beats = 0.0, 0
        self._looked = time.monotonic()
        self._kill_at: float | None = None

    def started(self, pid: int) -> None:
        """The child runs: its ends of the pipes are its own."""
        self.pid = pid
        os.close(self.write)
        self.write = -1
        self.log.write(f"--- process {pid}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())

    def pump(self) -> bool:
        """Take over what was printed, at most a megabyte; False when nothing waits."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while self.is_open and len(data) < 2**20:
                part = os.read(self.read, 65536)
                self.is_open = bool(part)  # nothing any more: every writing end is closed
                data += part
        self.log.write(data)
        return bool(data)

    def look(self) -> None:
        """Count the time without a sign of life; end a process that hangs, with a traceback."""
        now, beats = time.monotonic(), self.board.beats
        passed, self._looked = min(now - self._looked, 2 * LOOK), now
        if self._kill_at is not None:
            if now >= self._kill_at:
                self._send(signal.SIGKILL)
        elif beats != self._beats:
            self._idle, self._beats = 0.0, beats
        elif not is_suspended(self.pid):
            self._idle += passed
            if self._idle > self.hang_timeout:
                self.hung = True
                self._kill_at = now + DUMP
                self._send(signal.SIGQUIT)  # faulthandler writes all stacks to the log

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def ended(self, code: int) -> Ended:
        """The process is gone; what is left of its output goes to the log.

        Subprocesses it left behind may hold the pipe open; nobody waits for them.
        """
        for _ in range(8):
            if not self.pump():
                break
        self.close()
        told, message = self.board.told() or (None, "")
        hung = self.hung and told is None
        return Ended(self.folder.name, code, told, message, self.board.party, hung)

    def close(self) -> None:
        """Free files and pipes."""
        self.log.close()
        for fd in (self.read, self.write, self.board_fd):
            if fd >= 0:
                os.close(fd)
        self.read = self.write = self.board_fd = -1


def is_suspended(pid: int) -> bool:
    """Whether a process is stopped by a signal or a debugger; False where that cannot be seen."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return state[0] in "Tt"
    return False
