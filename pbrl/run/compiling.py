"""What a cell shows of numba's work: signs of life while it compiles, and how long that took."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core.event import Listener, install_listener

from pbrl.run.signals import Here, beat


class Compiling(Listener):
    """Seconds spent compiling; loading from the cache is not counted."""

    def __init__(self, tell: Callable[[bool], None]) -> None:
        self.seconds = 0.0
        self.tell = tell
        self._depth, self._began = 0, 0.0

    def on_start(self, event: Any) -> None:
        """A function is about to be compiled, or a pass over one to begin."""
        beat()
        if event.kind == "numba:compile":
            if self._depth == 0:
                self._began = time.perf_counter()
                self.tell(True)
            self._depth += 1  # what it calls is compiled within

    def on_end(self, event: Any) -> None:
        """The same is done."""
        beat()
        if event.kind == "numba:compile":
            self._depth -= 1
            if self._depth == 0:
                took = time.perf_counter() - self._began
                self.seconds += took
                self.tell(False)
                name = event.data["dispatcher"].py_func.__name__
                print(f"compiled {name} in {took:.1f} s", file=sys.stderr)


@contextmanager
def watched(tell: Callable[[bool], None] | None = None) -> Iterator[Compiling]:
    """Watch numba: a cell that is busy compiling lives, and its board says so, or `tell` does."""
    listener = Compiling(tell or _on_board)
    with (
        install_listener("numba:compile", listener),
        install_listener("numba:run_pass", listener),
    ):
        yield listener


def _on_board(compiling: bool) -> None:
    Here.board.compiling = compiling
