"""Microseconds of user CPU per step, beside the simulator alone and shimmy's adapter.

python tests/benchmarks/env_steps.py
"""

import resource
from typing import Any

import gymnasium
import numpy as np

import envs
from envs.standard import StandardEnv

SUITE = [("walker", "walk"), ("cartpole", "swingup"), ("quadruped", "walk")]
OTHERS = ["pointmass", "gridworld", "pendulum", "mountaincar-continuous", "button-press-v3"]
STEPS, REPEATS = 1000, 7


def user_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def best(envs_and_seeds: list[tuple[Any, dict[str, int]]], actions: np.ndarray) -> list[float]:
    """Least microseconds per step of each environment; they take turns, so noise hits all alike."""
    from dm_control.utils import rewards

    quick = getattr(rewards.tolerance, "original", None) and rewards.tolerance
    least = [float("inf")] * len(envs_and_seeds)
    for _ in range(REPEATS):
        for i, (env, seed) in enumerate(envs_and_seeds):
            if quick:  # which belongs to our adapter
                ours = isinstance(env, StandardEnv)
                rewards.tolerance = quick if ours else quick.original
            env.reset(**seed)
            start = user_seconds()
            for action in actions:
                env.step(action)
            least[i] = min(least[i], (user_seconds() - start) / len(actions) * 1e6)
    return least


def random_actions(env: Any, n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (n, *env.action_space.shape)).astype(np.float32)


def main() -> None:
    print(
        f"{'task':24}{'dm_control':>12}{'ours':>8}{'shimmy':>8}{'ours/raw':>10}{'shimmy/raw':>12}"
    )
    for domain, task in SUITE:
        ours = envs.make(f"{domain}-{task}")
        # Imported after the first task: `envs` has chosen the OpenGL platform by then.
        from dm_control import suite
        from shimmy.dm_control_compatibility import DmControlCompatibilityV0

        raw = suite.load(domain, task, task_kwargs={"random": 0})
        flat = gymnasium.wrappers.FlattenObservation(
            DmControlCompatibilityV0(suite.load(domain, task, task_kwargs={"random": 0}))
        )
        shimmy = gymnasium.wrappers.DtypeObservation(flat, np.float32)
        actions = random_actions(ours, STEPS)
        seed = {"seed": 0}
        times = best([(raw, {}), (ours, seed), (shimmy, seed)], actions)
        print(
            f"{domain}-{task:16}{times[0]:12.1f}{times[1]:8.1f}{times[2]:8.1f}"
            f"{times[1] / times[0]:10.2f}{times[2] / times[0]:12.2f}"
        )
    for name in OTHERS:
        env = envs.make(name)
        actions = random_actions(env, env.spec_info.horizon)
        print(f"{name:24}{'':12}{best([(env, {'seed': 0})], actions)[0]:8.2f}")


if __name__ == "__main__":
    main()
