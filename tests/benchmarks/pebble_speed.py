"""Milliseconds per environment step of PEBBLE against Stable-Baselines3's plain SAC, one thread.

walker-walk, networks of 2 x 256, batches of 256, reward ensemble 3 x (3 x 256). User CPU time,
both in this process, in turns, best block of each; one step is acting, the environment and one
update, for PEBBLE also the learned reward of the new step. B-Pref's numbers were measured apart on
the same kind of machine (its SAC update 11.7 ms, its reward inference 0.37 ms a step), to which the
environment's own time is added here.

    python tests/benchmarks/pebble_speed.py [blocks]
"""

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.callbacks import BaseCallback

import envs
from pbrl.methods import pebble
from pbrl.run.env import ActingEnv

ENV, BLOCK = "walker-walk", 100
BPREF_UPDATE, BPREF_REWARD = 11.7, 0.37  # ms, B-Pref's own code, same networks and batch


class Stopwatch:
    """Milliseconds of user CPU time per step, in blocks of steps."""

    def __init__(self) -> None:
        self.blocks: list[float] = []
        self.start = time.process_time()
        self.count = 0

    def tick(self) -> None:
        self.count += 1
        if self.count % BLOCK == 0:
            now = time.process_time()
            self.blocks.append(1e3 * (now - self.start) / BLOCK)
            self.start = now


class TimedRun:
    """What `pebble.train` needs of a run, with a clock in place of the journal."""

    def __init__(self) -> None:
        self.env = ActingEnv(ENV, {}, seed=0, stream="env")
        self.spec = envs.registry.spec(ENV)
        self.device = torch.device("cpu")
        self.observation_space = self.env.env.observation_space
        self.action_space = self.env.env.action_space
        self.rngs: dict[str, np.random.Generator] = {}
        self.step = self.env.step

    @property
    def obs(self) -> np.ndarray:
        return self.env.obs

    def rng(self, name: str) -> np.random.Generator:
        return self.rngs.setdefault(name, np.random.default_rng(0))

    def torch_seed(self, name: str) -> int:
        return 0

    def track(self, **objects: Any) -> None: ...

    def log(self, event: str, **values: Any) -> None: ...

    def ask(self, first: Any, second: Any) -> torch.Tensor:
        return (first.ground_truth.sum(1) < second.ground_truth.sum(1)).float()


def pebble_blocks(blocks: int) -> Iterator[float]:
    """One block of PEBBLE's main loop after another; the session before them is not counted."""
    switch = 1100
    cfg = pebble.Config(
        steps=switch + blocks * BLOCK + 1,
        labels=10,
        seed_steps=switch - 50,
        unsup_steps=50,
        reset_updates=5,
        reward_epochs=1,
        hidden=256,
        layers=2,
        batch_size=256,
        reward_hidden=256,
        reward_layers=3,
    )
    run, found = TimedRun(), []

    def loop(steps: int) -> Iterator[int]:
        for step in range(steps):
            if step == switch + 1:
                watch = Stopwatch()
            yield step
            if step > switch:
                watch.tick()
                found[:] = watch.blocks

    run.loop = loop  # type: ignore[attr-defined]
    pebble.train(run, cfg)  # type: ignore[arg-type]
    yield from found


def sb3_blocks(blocks: int) -> list[float]:
    """Blocks of Stable-Baselines3's SAC on the same environment with its true reward."""
    learning_starts = 300

    class Clock(BaseCallback):
        watch: Stopwatch | None = None

        def _on_step(self) -> bool:
            if self.num_timesteps == learning_starts + 50:
                self.watch = Stopwatch()
            elif self.watch is not None:
                self.watch.tick()
            return True

    clock = Clock()
    model = stable_baselines3.SAC(
        "MlpPolicy",
        envs.make(ENV),
        batch_size=256,
        buffer_size=10_000,
        learning_starts=learning_starts,
        policy_kwargs={"net_arch": [256, 256]},
        seed=0,
    )
    model.learn(learning_starts + 51 + blocks * BLOCK, callback=clock)
    assert clock.watch is not None
    return clock.watch.blocks


def env_milliseconds(steps: int = 500) -> float:
    """The environment alone, random actions."""
    env, rng = ActingEnv(ENV, {}, seed=0, stream="env"), np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (steps, *env.env.action_space.shape)).astype(np.float32)
    start = time.process_time()
    for action in actions:
        env.step(action)
    return 1e3 * (time.process_time() - start) / steps


def main(blocks: int) -> None:
    """Print milliseconds per step and the two ratios."""
    torch.set_num_threads(1)
    ours, theirs = [], []
    for _ in range(3):  # in turns, so that a busy machine slows both
        ours += pebble_blocks(blocks)
        theirs += sb3_blocks(blocks)
    env = env_milliseconds()
    best, sb3, bpref = min(ours), min(theirs), BPREF_UPDATE + BPREF_REWARD + env
    print(f"environment alone            {env:7.2f} ms a step")
    print(f"PEBBLE, this suite           {best:7.2f} ms a step  (median {np.median(ours):.2f})")
    print(f"SAC, Stable-Baselines3       {sb3:7.2f} ms a step  (median {np.median(theirs):.2f})")
    print(f"PEBBLE, B-Pref (see above)   {bpref:7.2f} ms a step")
    print(f"steps/s against SB3's plain SAC {sb3 / best:.2f}x (wanted: 1.0x)")
    print(f"steps/s against B-Pref          {bpref / best:.2f}x (wanted: 1.3x)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
