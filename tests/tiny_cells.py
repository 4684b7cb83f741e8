"""Cells that take milliseconds, and misbehave on request; given to the runner as a plug-in.

Given as a plug-in, this file replaces what a cell computes: a random walk whose every step
depends on all steps before it, so that a wrong resume shows in the metrics and in the weights.
"""

import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pbrl.run
from pbrl import registry
from pbrl.errors import EnvironmentFault
from pbrl.jobs.watch import LOOK
from pbrl.run.signals import Here, Interrupted, Stop, beat, within
from pbrl.store import Cell

PLUGIN = str(Path(__file__).resolve())


def config(seed: int = 0, *, hang_timeout: float = 60.0, **settings: Any) -> dict[str, Any]:
    """A cell's configuration; settings are those of `execute`."""
    method = {"name": "walk", "label": "walk", **settings}
    execution = {"hang_timeout": hang_timeout, "checkpoint_seconds": 0.0, "gpus": 0.0}
    return {"kind": "online", "env": {"name": "line", "label": "line"}, "method": method} | {
        "teacher": None,
        "seed": seed,
        "steps": settings.get("steps", 20),
        "device": "cpu",
        "execution": execution,
    }


class Walk:
    """Everything the walk knows."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.position = torch.zeros(3, dtype=torch.float64)

    def state(self) -> dict[str, Any]:
        return {"rng": self.rng.bit_generator.state, "position": self.position}

    def load(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.position = state["position"]

    def step(self) -> float:
        self.position = torch.tanh(self.position) + torch.from_numpy(self.rng.normal(size=3))
        return float(self.position.sum())


def execute(cell: Cell) -> dict[str, Any]:
    """The walk, with a checkpoint every `every` steps and `mischief` at step `at`."""
    settings = cell.config["method"]
    walk, start = Walk(cell.config["seed"]), 0
    restored = cell.restore()
    if restored is not None:
        state, start = restored
        walk.load(state)
    for step in range(start, cell.config["steps"]):
        beat()
        stopping = Stop.signal is not None
        if step > start and (stopping or step % settings.get("every", 5) == 0):
            cell.checkpoint(walk.state(), step=step)
        if stopping:
            raise Interrupted(Stop.signal)
        if step == settings.get("at", 7):
            misbehave(cell, settings.get("mischief"))
        time.sleep(settings.get("sleep", 0.0))
        busy_until = time.process_time() + settings.get("busy", 0.0)
        while time.process_time() < busy_until:
            pass
        cell.journal({"event": "eval", "step": step, "return": walk.step()})
    return {"counts": {"steps": cell.config["steps"]}, "weights": {"position": walk.position}}


def misbehave(cell: Cell, mischief: str | None) -> None:
    """One of the ways in which real cells go wrong."""
    once = cell.path / "mischief-done"
    first_time = not once.exists()
    if mischief is not None:
        once.touch()
    if mischief == "raise":
        raise EnvironmentFault("environment 'line' raised ValueError in step: no ground (step 7)")
    if mischief == "full":  # nothing can be written any more, not even why
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        raise EnvironmentFault("environment 'line' has no ground")
    if mischief == "show gpu":
        print("visible GPUs:", os.environ.get("CUDA_VISIBLE_DEVICES"))
    if mischief == "compiles":
        Here.board.compiling = True
        time.sleep(3 * LOOK)
        Here.board.compiling = False
    if mischief == "bug":
        raise KeyError("position")
    if mischief == "nan":
        raise FloatingPointError("loss is nan")
    if mischief == "disk full":
        raise OSError(28, "No space left on device")
    if mischief == "hang":
        time.sleep(3600)
    if mischief == "abort":
        os.abort()
    if mischief == "exit":
        os._exit(3)
    word, _, number = (mischief or "").partition(" ")
    if word == "code":
        within("environment", os._exit, int(number))
    if word == "signal":
        within("environment", os.kill, os.getpid(), int(number))
    if mischief == "killed" or (mischief == "killed once" and first_time):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__.startswith("pbrl_plugin_"):  # given to a runner; not when a test imports this file
    pbrl.run.execute = execute
    registry.teacher("tiny")(misbehave)  # a plug-in has to register something; nothing asks it
