"""What holds for a whole run whichever core computes it: bits, resume, how divergence is told."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from pbrl import registry, suite
from pbrl.agents.sac import SAC
from pbrl.check import method as check

CORES = pytest.mark.parametrize("core", ["compiled", "torch"])


class Point(gymnasium.Env):
    """A walk in the plane; `odd` observations are float64, in steps through a larger array."""

    action_space = Box(-1.0, 1.0, (2,), np.float32)
    observation_space = Box(-100.0, 100.0, (2,), np.float32)

    def __init__(self, odd: bool = False) -> None:
        if odd:
            self.observation_space = Box(-100.0, 100.0, (2,), np.float64)
        self.odd = odd

    def _obs(self) -> np.ndarray:
        x = self.x.astype(np.float32)
        return np.repeat(x.astype(np.float64), 3)[::3] if self.odd else x

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.normal(size=2)
        return self._obs(), {}

    def step(self, action):
        self.x = np.clip(self.x + action + self.np_random.normal(size=2), -99, 99)
        return self._obs(), float(-np.abs(self.x).sum() / 200), False, False, {}


registry.env("test-point", horizon=50, reward_range=(-1.0, 0.0))(Point)


def config(method: str, **changes: Any) -> dict[str, Any]:
    """A cell of a small run, evaluated every 37 steps; `odd` is for its environment."""
    env = {"name": "test-point", "odd": changes.pop("odd", False)}
    small = check.SMALL if method != "sac" else {"seed_steps": 40, "hidden": 16, "batch_size": 16}
    tiny = {"sfc_updates": 2, "obs_width": 4, "act_width": 4} if method == "reed" else {}
    block = {
        "kind": "online",
        "env": env,
        "method": {"name": method, **small, **tiny, **changes},
        "steps": 260,
        "labels": 0 if method == "sac" else 16,
        "eval_every": 37,
        "eval_episodes": 1,
        "final_episodes": 1,
    }
    (found,) = suite.cells({"name": "cores", "seeds": 1, "blocks": [block]})
    return found


def outcome(cell: dict[str, Any], stop_at: int | None = None) -> tuple[str, list[Any]]:
    """A digest of what it learned, and its rows; `stop_at` interrupts it once."""
    memory = check.MemoryCell(cell, stop_at=stop_at)
    return check._digest(check._execute(memory)), memory.rows


@CORES
@pytest.mark.parametrize("method", ["sac", "pebble", "reed"])
def test_the_same_cell_has_the_same_bits_also_when_stopped(core: str, method: str) -> None:
    whole = outcome(config(method, core=core))
    assert outcome(config(method, core=core)) == whole
    for stop_at in (74, 185):  # while exploring, and after the switch
        assert outcome(config(method, core=core), stop_at) == whole


@CORES
def test_observations_of_another_type_and_layout_change_no_bit(core: str) -> None:
    assert outcome(config("pebble", core=core)) == outcome(config("pebble", core=core, odd=True))


@CORES
@pytest.mark.parametrize("column", [0, 2, 4, 6])  # of s, a, s', r
def test_what_is_not_finite_in_the_replay_buffer_is_told_as_divergence(
    core: str, column: int, monkeypatch
) -> None:
    original = SAC.update

    def spoiled(agent: SAC, rows: Any, **given: Any) -> None:
        if agent._n_updates == 20:
            agent.replay.rows[rows[0], column] = np.nan
        original(agent, rows, **given)

    monkeypatch.setattr(SAC, "update", spoiled)
    with pytest.raises(FloatingPointError, match=r"the agent's action is not finite.*it diverged"):
        outcome(config("sac", core=core))
