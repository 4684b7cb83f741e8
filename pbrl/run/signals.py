"""What the process of a cell and the one that watches it tell each other.

The watching process asks it to stop by a signal. The cell's process writes on a `Board`, a piece of
memory that both see, so that what stands there outlives any death: that it is alive, whose code it
is in, and how it ended.
"""

import json
import mmap
import os
import struct
import tempfile
from collections.abc import Callable
from typing import Any, Literal

from pbrl.errors import MESSAGE, CellError, PbrlError, shown, where

Party = Literal["method", "environment", "teacher", "learner", "world"]
PARTIES: tuple[Party, ...] = ("method", "environment", "teacher", "learner", "world")


class Interrupted(BaseException):
    """A signal asked the run to stop; what could be saved of its state is checkpointed."""


class Stop:
    """Set by the worker's signal handler; the loop looks at it between iterations."""

    handled = False
    """whether a handler is installed: a KeyboardInterrupt then comes from somebody's code"""
    signal: int | None = None


def is_interruption(error: BaseException) -> bool:
    """Whether somebody asked this process to stop; if not, the code that raised it is at fault."""
    if isinstance(error, KeyboardInterrupt):
        return not Stop.handled or Stop.signal is not None
    return isinstance(error, Interrupted)


class Board:
    """Beats, whose code runs, whether it compiles, the outcome; a write costs no system call."""

    SIZE = 8192
    _PARTY, _COMPILING, _TOLD = 8, 9, 16  # where they stand, in bytes; the beats stand first
    _ROOM = SIZE - _TOLD - 4

    def __init__(self, memory: "bytearray | mmap.mmap | None" = None) -> None:
        self.memory = bytearray(self.SIZE) if memory is None else memory
        self._words = memoryview(self.memory)[:8].cast("Q")

    @classmethod
    def shared(cls) -> "tuple[Board, int]":
        """A board whose memory children share, and the file descriptor that stands for it."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("pbrl")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, cls.SIZE)
        return cls.of(fd), fd

    @classmethod
    def of(cls, fd: int) -> "Board":
        """The board that a file descriptor stands for."""
        return cls(mmap.mmap(fd, cls.SIZE))

    @property
    def beats(self) -> int:
        """A number that changes for as long as the run goes on."""
        return self._words[0]

    def beat(self) -> None:
        """Show that the run goes on."""
        self._words[0] = (self._words[0] + 1) & 0xFFFFFFFF

    @property
    def party(self) -> Party:
        """Whose code is running, or was when the process died."""
        return PARTIES[self.memory[self._PARTY]]

    def within(self, party: Party, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Call what belongs to `party`."""
        before = self.memory[self._PARTY]
        self.memory[self._PARTY] = PARTIES.index(party)
        try:
            return call(*given, **named)
        finally:
            self.memory[self._PARTY] = before

    @property
    def compiling(self) -> bool:
        """Whether machine code is being made."""
        return bool(self.memory[self._COMPILING])

    @compiling.setter
    def compiling(self, is_so: bool) -> None:
        self.memory[self._COMPILING] = is_so

    def tell(self, code: int, message: str) -> None:
        """How the cell ended, in the words of its own process."""
        text = json.dumps([code, message]).encode()
        while len(text) > self._ROOM:
            message = message[: len(message) // 2]
            text = json.dumps([code, message]).encode()
        start = self._TOLD + 4
        self.memory[start : start + len(text)] = text
        self.memory[self._TOLD : start] = struct.pack("I", len(text))

    def told(self) -> tuple[int, str] | None:
        """Code and message of `tell`; None when the process died before."""
        start = self._TOLD + 4
        (size,) = struct.unpack("I", self.memory[self._TOLD : start])
        if not size:
            return None
        code, message = json.loads(bytes(self.memory[start : start + size]))
        return code, message


class Here:
    """The board of this process: nobody looks at it until a worker puts a shared one here."""

    board = Board()


def beat() -> None:
    """Show that the run goes on; a process that does not for `hang_timeout` seconds is ended."""
    Here.board.beat()


def within(party: Party, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Call an environment or a teacher so that a hang or a crash inside is known to be its own."""
    return Here.board.within(party, call, *given, **named)


def guarded(
    party: Party, name: str, doing: str, call: Callable[..., Any], *given: Any, **named: Any
) -> Any:
    """Call what belongs to `party`, so that what goes wrong in it is told as its own."""
    try:
        return within(party, call, *given, **named)
    except PbrlError as error:
        raise type(error)(f"{party} {name!r}: {error}{where(error)}") from error
    except BaseException as error:
        if is_interruption(error):
            raise
        text = shown(error, limit=MESSAGE)
        raise CellError(
            f"{party} {name!r} raised {type(error).__name__} in {doing}: {text}{where(error)}"
        ) from error
