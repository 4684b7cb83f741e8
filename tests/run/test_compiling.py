"""A cell that compiles is alive, and says how long it took; its products run on one thread."""

import os
import subprocess
import sys

import numba
from numba.core.event import Listener, install_listener

from pbrl.jobs import worker
from pbrl.run.compiling import watched
from pbrl.run.signals import Here

THREADS = """
import os
import numpy as np
from pbrl import compiled
x = np.ones((600, 600), np.float32)
net = compiled.Network((x[None],), (x[:1, None],))
before = len(os.listdir("/proc/self/task"))
compiled.forward(net, 0, x, np.float32(0))
print(len(os.listdir("/proc/self/task")) - before, before)
"""


def test_each_function_compiled_shows_life_and_is_counted_once(capfd) -> None:
    @numba.njit
    def inner(x):
        return x + 1

    @numba.njit
    def outer(x):
        return inner(x) * 2

    with watched() as compiling:
        before = Here.board.beats
        assert outer(1.0) == 4
        assert Here.board.beats > before + 20  # passes over both
        seconds = compiling.seconds
        assert seconds > 0
        assert outer(2.0) == 6
        assert compiling.seconds == seconds
    outer(1)  # another type: compiled, but nobody watches
    assert compiling.seconds == seconds
    assert capfd.readouterr().err.count("compiled outer in") == 1


def test_the_board_says_whether_it_compiles_and_someone_else_may_be_told_instead() -> None:
    seen = []

    @numba.njit
    def function(x):
        return x + 1

    class Look(Listener):
        def on_start(self, event):
            seen.append(Here.board.compiling)

        def on_end(self, event):
            pass

    with watched(), install_listener("numba:run_pass", Look()):
        function(1.0)
    assert seen
    assert all(seen)
    assert not Here.board.compiling
    told: list[bool] = []
    with watched(told.append):
        function(1)
    assert told == [True, False]


def test_products_of_compiled_code_use_one_thread_in_a_cell() -> None:
    found = subprocess.run(
        [sys.executable, "-c", THREADS],
        env=os.environ | worker.ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["0", "1"]
