"""A plug-in whose environment, teacher and method each do one of `DEEDS`, and then go on."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from pydantic import BaseModel

from pbrl import registry
from pbrl.methods.random import Uniform
from pbrl.segments import Episodes

PLUGIN = str(Path(__file__).resolve())
ODD = "\x1b[2J[bold]odd \udc80 \x00\u202e text\r\n"


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


def throw(error: BaseException) -> None:
    raise error


def fork_and_leave() -> None:
    """The child leaves by an exception, through everything that computes the cell."""
    if (pid := os.fork()) == 0:
        raise SystemExit("the child of a method")
    os.waitpid(pid, 0)


def fork_and_stay() -> None:
    """The child goes on computing the same cell."""
    if (pid := os.fork()) != 0:
        os.waitpid(pid, 0)


def flood() -> None:
    line = b"\xff\xfe not text \x1b[31m" * 64 * 1024
    for _ in range(100 * 2**20 // len(line)):
        os.write(1, line)
    sys.stdout.buffer.write(b"the end of the flood\n")


def leave_behind() -> None:
    """A thread that never ends, and a subprocess that holds our output open."""
    threading.Thread(target=time.sleep, args=(3600,)).start()
    subprocess.Popen(["sleep", "300"])


def crash() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    ctypes.string_at(0)


FAIL = {
    "odd": lambda: throw(ValueError(ODD)),
    "long": lambda: throw(ValueError("very long " * 10**6)),
    "unspeakable": lambda: throw(Unspeakable()),
    "sys.exit": lambda: sys.exit(),
    "sys.exit 75": lambda: sys.exit(75),
    "SystemExit text": lambda: throw(SystemExit(ODD)),
    "KeyboardInterrupt": lambda: throw(KeyboardInterrupt()),
    "GeneratorExit": lambda: throw(GeneratorExit()),
    "group": lambda: throw(BaseExceptionGroup("several", [ValueError("a"), SystemExit(1)])),
    "_exit 0": lambda: os._exit(0),
    "_exit 75": lambda: os._exit(75),
    "_exit 77": lambda: os._exit(77),
}
SLOW = {"crash": crash, "kill": lambda: os.kill(os.getpid(), signal.SIGKILL)}  # tried three times
HANG = {"hang": lambda: time.sleep(3600)}
USED_UP = {
    "memory": lambda: throw(MemoryError()),
    "disk": lambda: throw(OSError(errno.ENOSPC, "No space left on device")),
}
HARMLESS = {
    "nothing": lambda: None,
    "chdir": lambda: os.chdir("/"),
    "flood": flood,
    "leave behind": leave_behind,
    "fork and leave": fork_and_leave,
    "fork and stay": fork_and_stay,
    "closed output": lambda: (sys.stdout.close(), sys.stderr.close()),
    "no output": lambda: os.closerange(1, 3),
}
DEEDS: dict[str, Any] = FAIL | SLOW | HANG | USED_UP | HARMLESS


class Once:
    """Does its deed at the tenth call."""

    def __init__(self, deed: str) -> None:
        self.deed, self.calls = DEEDS[deed], 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == 10:
            self.deed()


@registry.env("mischief", horizon=5, reward_range=(0.0, 1.0))
class Mischief(gymnasium.Env):
    """A number that does not matter."""

    observation_space = Box(0, 1, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, deed: str = "nothing") -> None:
        self.once = Once(deed)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.once()
        return np.ones(1, np.float32), float(action[0] > 0), False, False, {}


@registry.teacher("mischief")
class Teacher:
    """Always the second."""

    def __init__(self, deed: str = "nothing") -> None:
        self.once = Once(deed)

    def probability(self, first: Any, second: Any) -> np.ndarray:
        return np.ones(len(first))

    def label(self, first: Any, second: Any, rng: np.random.Generator) -> np.ndarray:
        self.once()
        return self.probability(first, second)


class Config(BaseModel):
    """Nothing to set but the deed."""

    steps: int = 40
    labels: int = 20
    deed: str = "nothing"


@registry.method("mischief")
def train(run: Any, cfg: Config) -> None:
    """Act at random and ask about it."""
    agent, once = Uniform(1, run), Once(cfg.deed)
    episodes = Episodes(1, 1, horizon=run.spec.horizon, capacity=20)
    run.track(agent=agent, episodes=episodes)
    for step in run.loop(cfg.steps):
        once()
        episodes.add(run.step(agent.act(run.obs)))
        if step >= 20:
            run.ask(*(episodes.sample(1, 5, run.rng("pairs")) for _ in "12"))
