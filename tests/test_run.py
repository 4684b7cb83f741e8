"""The run loop: exact resume, named streams, and faults of an environment blamed on it."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from pydantic import BaseModel

from pbrl import registry, suite
from pbrl.check import MemoryCell, _digest, _execute
from pbrl.errors import CellError, EnvironmentFault
from pbrl.run import stream_int, stream_seed


class Faulty(gymnasium.Env):
    """A one-dimensional walk that breaks at a chosen step."""

    observation_space = Box(-100, 100, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, fault: str = "none", at: int = 60) -> None:
        self.fault, self.at, self.count = fault, at, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.normal(size=1).astype(np.float32)
        return self.x, {}

    def step(self, action):
        self.count += 1
        broken = self.count == self.at
        if broken and self.fault == "raise":
            raise ZeroDivisionError("by zero")
        self.x = np.clip(self.x + action + self.np_random.normal(size=1), -99, 99).astype(
            np.float32
        )
        reward = float("nan") if broken and self.fault == "reward" else 1.0
        obs = self.x * np.nan if broken and self.fault == "obs" else self.x
        return obs, reward, False, False, {}


registry.env("test-faulty", horizon=50, reward_range=(0.0, 1.0))(Faulty)


class Walker:
    """An agent whose weights are a function of every draw and observation it met."""

    def __init__(self) -> None:
        self.weights_ = torch.zeros(2)

    def act(self, obs: np.ndarray, deterministic: bool = False) -> np.ndarray:
        return np.tanh(self.weights_[:1].numpy())

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights_}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights_ = state["weights"]


class Config(BaseModel):
    steps: int = 100
    loops: int = 1


def train(run: Any, cfg: Config) -> None:
    agent = Walker()
    rng = run.rng("noise")
    run.track(agent=agent)
    for _ in range(cfg.loops):
        for _step in run.loop(cfg.steps):
            moved = run.step(agent.act(run.obs) * 0 + rng.uniform(-1, 1, 1).astype(np.float32))
            agent.weights_ = 0.9 * agent.weights_ + torch.randn(2) + float(moved.next_obs[0])


registry.method("test-walker", labels=False)(train)


def cell(*, stop_at: int | None = None, **changes: Any) -> MemoryCell:
    env = {"name": "test-faulty", **changes.pop("env", {})}
    method = {"name": "test-walker", **changes.pop("method", {})}
    block = {"kind": "online", "env": env, "method": method, "steps": 173, "eval_every": 40,
             "eval_episodes": 2, "checkpoint_seconds": 0}  # fmt: skip
    (config,) = suite.cells({"name": "t", "seeds": 1, "blocks": [block | changes]})
    return MemoryCell(config, stop_at=stop_at)


def learned(cell: MemoryCell) -> str:
    return _digest(_execute(cell)["weights"])


def test_an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one() -> None:
    """The environment has no get_state: it is saved at episode starts and resumed exactly."""
    whole = cell()
    expected = learned(whole)
    for stop_at in (0, 40, 80, 120):  # an episode has 50 steps
        stopped = cell(stop_at=stop_at)
        assert learned(stopped) == expected
        assert stopped.rows == whole.rows


@pytest.mark.parametrize("changes", [{"eval_every": 7}, {"eval_episodes": 5}, {"eval_every": 999}])
def test_how_often_it_is_evaluated_does_not_change_what_is_learned(changes) -> None:
    assert learned(cell(**changes)) == learned(cell())


def test_evaluations_are_due_at_multiples_and_at_the_end() -> None:
    one = cell()
    _execute(one)
    assert [r["step"] for r in one.rows if r["event"] == "eval"] == [0, 40, 80, 120, 160, 173]
    assert [r["step"] for r in one.rows if r["event"] == "episode"] == [49, 99, 149]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("reward", r"'test-faulty' returned reward nan.*step \d+ of stream 'env', action \["),
        ("obs", r"'test-faulty' returned an observation that is not finite at index \[0\]"),
        ("raise", r"'test-faulty' raised ZeroDivisionError in step: by zero \(step \d+"),
    ],
)
def test_a_fault_of_the_environment_stops_the_run_and_is_blamed_on_it(fault, message) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        _execute(cell(env={"fault": fault, "at": 60}, eval_every=999, eval_episodes=1))


def test_a_second_loop_is_refused() -> None:
    with pytest.raises(CellError, match="a method has one loop"):
        _execute(cell(method={"loops": 2}))


def test_streams_of_different_names_and_seeds_are_unrelated() -> None:
    draws = {
        (seed, name): np.random.default_rng(stream_seed(seed, name)).random(2000)
        for seed in (0, 1)
        for name in ("env", "agent")
    }
    keys = list(draws)
    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            # |r| of 2000 independent pairs exceeds 0.1 with probability 1e-5
            assert abs(np.corrcoef(draws[a], draws[b])[0, 1]) < 0.1
    assert stream_int(0, "env/0") != stream_int(0, "env/1")
    assert 0 <= stream_int(3, "torch") < 2**31
