"""What an environment step costs beside its simulator, and what evaluation costs beside training.

The first table is microseconds of CPU per step: the simulator alone (the calls into MuJoCo, or the
gymnasium class itself), the library's own environment, and what a run does (adapter, observation,
reward, every check). All three take the same actions from the same start, in turns; the least of
several rounds is shown. The second table is a run with the defaults of its method.

    OMP_NUM_THREADS=1 python tests/benchmarks/step_speed.py [--runs]
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import envs
from pbrl import suite
from pbrl.check.method import MemoryCell
from pbrl.run import online
from pbrl.run.env import ActingEnv

STEPS, ROUNDS = 400, 7
NAMES = [
    "walker-walk", "cheetah-run", "cartpole-swingup", "quadruped-walk", "humanoid-walk",
    "button-press-v3", "sweep-into-v3", "pick-place-v3", "hopper-v5", "ant-v5",
    "pendulum", "pointmass",
]  # fmt: skip


def simulator(name: str, env: ActingEnv) -> Callable[[np.ndarray], Any]:
    """One step of the simulator that stands behind an environment, and nothing else."""
    import mujoco

    inner: Any = env.env.env
    if hasattr(inner, "_advance"):  # dm_control
        model, data, middle, half = inner._model, inner._data, inner._middle, inner._half
        n = inner._substeps

        def step(action: np.ndarray) -> None:
            data.ctrl[:] = middle + half * action
            mujoco.mj_step2(model, data)
            if n > 1:
                mujoco.mj_step(model, data, n - 1)
            mujoco.mj_step1(model, data)

        return step
    if not hasattr(inner, "_original"):
        own = getattr(inner, "_env", inner)
        return own.step
    raw = inner._env
    model, data, n = raw.model, raw.data, raw.frame_skip
    scale = env.env._scale

    def step(action: np.ndarray) -> None:
        if name.endswith("-v3"):  # Meta-World
            data.mocap_pos[0] += action[:3] / 100
            data.ctrl[:] = (action[3], -action[3])
        else:
            data.ctrl[:] = action if scale is None else scale[0] + scale[1] * action
        mujoco.mj_step(model, data, n)
        mujoco.mj_rnePostConstraint(model, data)
        if name.endswith("-v3"):
            mujoco.mj_forward(model, data)

    return step


def library(name: str) -> Any:
    """The library's own environment, with a `step` of the same actions; None for one of ours."""
    spec = envs.spec(name)
    if spec.entry_point == "envs.dm_control:SuiteEnv":
        from dm_control import suite as tasks
        from dm_control.utils import rewards

        raw = tasks.load(*spec.fixed.values(), task_kwargs={"random": 0})
        quick = rewards.tolerance
        return raw, (rewards, quick.original, quick)
    return None


def microseconds(step: Callable[[Any], Any], actions: np.ndarray) -> float:
    start = time.process_time()
    for action in actions:
        step(action)
    return (time.process_time() - start) / len(actions) * 1e6


def env_row(name: str) -> tuple[float, float | None, float]:
    """Least microseconds a step of simulator, library and run."""
    spec = envs.spec(name)
    steps = min(STEPS, spec.horizon - 1)
    keep_up = {"terminate_when_unhealthy": False} if spec.early_termination else {}
    env = ActingEnv(name, keep_up, seed=0, stream="env")
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (steps, *env.env.action_space.shape)).astype(np.float32)
    bare, own = simulator(name, env), library(name)
    least = [np.inf] * 3
    for _ in range(ROUNDS):
        env.begin("env", 0)
        least[0] = min(least[0], microseconds(bare, actions))
        if own is not None:
            raw, (module, slow, quick) = own
            raw._task._random = np.random.RandomState(0)
            raw.reset()
            module.tolerance = slow
            least[1] = min(least[1], microseconds(raw.step, actions))
            module.tolerance = quick
        env.begin("env", 0)
        least[2] = min(least[2], microseconds(env.step, actions))
    return least[0], least[1] if own is not None else None, least[2]


class Timed(online.OnlineCell):
    """A cell that counts the seconds it spends in evaluations."""

    evaluated, evaluating = 0, 0.0

    def _evaluate(self, event: str, episodes: int) -> dict[str, Any]:
        start = time.process_time()
        row = super()._evaluate(event, episodes)
        self.evaluating += time.process_time() - start
        self.evaluated += round(row["length"] * episodes)
        return row


def run_row(method: str, env: str, steps: int | None) -> dict[str, float]:
    """A whole run with the defaults of the method and of suites."""
    from pbrl import registry

    entry = registry.describe("method", method)
    steps = steps or entry.parameters["steps"].default
    labels = entry.parameters["labels"].default if entry.meta.get("labels", True) else 0
    block = {"kind": "online", "env": env, "method": method, "steps": steps, "labels": labels}
    (config,) = suite.cells({"name": "t", "seeds": 1, "blocks": [block]})
    start = time.process_time()
    cell = Timed(MemoryCell(config))  # type: ignore[arg-type]
    online.train(cell)
    seconds = time.process_time() - start
    return {
        "steps": steps,
        "every": config["eval_every"],
        "evaluated": cell.evaluated,
        "seconds": seconds,
        "evaluating": cell.evaluating,
    }


def main() -> None:
    torch.set_num_threads(1)
    print(
        "| us a step | simulator | its library | a run | run / simulator |\n|---|---|---|---|---|"
    )
    for name in NAMES:
        bare, own, ours = env_row(name)
        shown = "-" if own is None else f"{own:.1f}"
        print(f"| {name} | {bare:.1f} | {shown} | {ours:.1f} | {ours / bare:.2f} |", flush=True)
    if "--runs" not in sys.argv:
        return
    print(
        "\n| default run | steps | evaluated every | steps evaluated | ms a training step "
        "| us an evaluation step | share of evaluation |\n|---|---|---|---|---|---|---|"
    )
    for method, env in [("pebble", "walker-walk"), ("sac", "walker-walk"), ("sac", "cheetah-run"),
                        ("pebble", "button-press-v3"), ("pebble", "pointmass")]:  # fmt: skip
        row = run_row(method, env, None)
        training = row["seconds"] - row["evaluating"]
        print(
            f"| {method}, {env} | {row['steps']:,} | {row['every']:,} | {row['evaluated']:,} "
            f"| {1e3 * training / row['steps']:.3f} "
            f"| {1e6 * row['evaluating'] / row['evaluated']:.0f} "
            f"| {row['evaluating'] / row['seconds']:.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
