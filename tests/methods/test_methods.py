"""The methods end to end on small runs: phases, sessions, budgets, early ends.

That they resume exactly and never see the true reward is tested with `pbrl check`.
"""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from pbrl import check, registry, schedule
from pbrl.errors import CellError
from pbrl.methods import pebble, reed, sac
from pbrl.run import execute

SMALL: dict[str, Any] = {
    "seed_steps": 110,
    "unsup_steps": 40,
    "label_interval": 50,
    "labels_per_session": 6,
    "segment_length": 8,
    "reward_epochs": 2,
    "reward_hidden": 16,
    "reset_updates": 3,
    "hidden": 16,
    "batch_size": 16,
}
TINY_SFC = {"sfc_updates": 3, "obs_width": 4, "act_width": 4}
LEARNERS = {"pebble": {}, "reed": TINY_SFC}


def cell(method: str, *, steps: int = 310, labels: int = 20, env: str = "pointmass", **settings):
    """A cell in memory, its run done: the rows it logged and what it returned."""
    teacher = settings.pop("teacher", "oracle")
    if method != "sac":
        settings = SMALL | LEARNERS[method] | settings | {"labels": labels}
    config = {
        "kind": "online",
        "env": {"name": env},
        "method": {"name": method, "steps": steps, **settings},
        "teacher": None if method == "sac" else {"name": teacher},
        "seed": 0,
        "steps": steps,
        "labels": labels,
        "eval_every": 10_000,
        "eval_episodes": 1,
        "device": "cpu",
        "execution": {"hang_timeout": 600.0, "checkpoint_seconds": 1e9},
    }
    memory = check.MemoryCell(config)
    return memory.rows, execute(memory)  # type: ignore[arg-type]


def sessions(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["event"] == "session"]


@pytest.mark.parametrize("module", [sac, pebble, reed])
def test_settings_are_frozen_known_and_explained(module) -> None:
    with pytest.raises(ValueError, match="extra"):
        module.Config(stepz=3)
    with pytest.raises(ValueError, match="frozen"):
        module.Config().steps = 3
    parameters = registry.describe("method", module.__name__.rpartition(".")[2]).parameters
    assert parameters.keys() == module.Config.model_fields.keys()
    for name, parameter in parameters.items():
        assert parameter.doc, name
        assert parameter.default == module.Config.model_fields[name].default


@pytest.mark.parametrize("module", [pebble, reed])
def test_the_default_budget_can_be_spent(module) -> None:
    settings = module.Config().model_dump()
    assert schedule.realisable(settings) == settings["labels"]


@pytest.mark.parametrize("method", LEARNERS)
def test_the_budget_is_spent_at_the_planned_steps(method: str) -> None:
    rows, result = cell(method)
    found = [(row["step"], row["asked"]) for row in sessions(rows)]
    assert found == [(150, 6), (200, 6), (250, 6), (300, 2)]
    assert result["counts"]["asked"] == 20


@pytest.mark.parametrize("query", sorted(registry.names("query")))
def test_the_first_session_is_uniform_the_next_follow_the_rule(query: str, monkeypatch) -> None:
    called: list[tuple[str, int, int]] = []
    resolve = registry.resolve

    def spied(kind: str, name: str) -> Any:
        original = resolve(kind, name)
        if kind != "query":
            return original

        def choose(first, second, n, **given):
            assert first.reward is None
            assert second.reward is None
            called.append((name, len(first), n))
            return original(first, second, n, **given)

        return choose

    monkeypatch.setattr(registry, "resolve", spied)
    rows, result = cell("pebble", steps=220, labels=12, query=query, query_candidates=5)
    assert called == [("uniform", 6, 6), (query, 30, 6)]
    assert result["counts"]["answered"] == 12
    assert len(sessions(rows)) == 2


def test_a_session_in_which_every_question_is_skipped() -> None:
    if "test-silent" not in registry.names("teacher"):
        registry.teacher("test-silent")(Silent)
    rows, result = cell("pebble", teacher="test-silent")
    assert result["counts"] | {"asked": 20, "answered": 0, "skipped": 20} == result["counts"]
    assert [row["epochs"] for row in sessions(rows)] == [0, 0, 0, 0]


class Silent:
    """A teacher that refuses every question."""

    def label(self, first: Any, second: Any, rng: np.random.Generator) -> np.ndarray:
        return np.full(len(first), np.nan)

    def probability(self, first: Any, second: Any) -> np.ndarray:
        return np.full(len(first), 0.5)


class Brittle(gymnasium.Env[np.ndarray, np.ndarray]):
    """Ends for good after 1 to 12 steps, so most episodes are shorter than a segment."""

    observation_space = gymnasium.spaces.Box(-20.0, 20.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 13))
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.left -= 1
        obs = np.array([self.left, float(action[0])], np.float32)
        return obs, float(action[0]), self.left == 0, False, {}


@pytest.mark.parametrize("method", LEARNERS)
def test_episodes_of_any_length(method: str) -> None:
    if "test-brittle" not in registry.names("env"):
        registry.env("test-brittle", horizon=12, reward_range=(-1, 1))(Brittle)
    rows, result = cell(method, env="test-brittle")
    assert result["counts"]["answered"] == 20
    assert all(np.isfinite(row["loss"]) for row in sessions(rows))


def test_asking_before_an_episode_is_complete_says_so() -> None:
    with pytest.raises(CellError, match="before the first episode was complete"):
        cell("pebble", seed_steps=10, unsup_steps=10)


def test_dynamics_phases_come_every_nth_session() -> None:
    rows, _ = cell("reed", sfc_interval=2)
    assert [row["sfc_loss"] is None for row in sessions(rows)] == [False, True, False, True]


def test_the_contrastive_variant() -> None:
    rows, _ = cell("reed", variant="contrast", sfc_temperature=0.1)
    assert all(row["sfc_loss"] > 0 for row in sessions(rows))


def test_critics_are_reset_once_and_the_actor_is_kept(monkeypatch) -> None:
    seen = []
    original = pebble.SAC.reset_critic

    def spied(agent):
        before = [p.clone() for p in agent.actor.parameters()]
        original(agent)
        kept = zip(before, agent.actor.parameters(), strict=True)
        seen.append((agent._n_updates, len(agent.replay), all(torch.equal(*p) for p in kept)))

    monkeypatch.setattr(pebble.SAC, "reset_critic", spied)
    cell("pebble")
    building, switching = seen
    assert building[:2] == (0, 0)
    assert switching == (40, 150, True)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sac", "pebble"])
def test_it_learns_to_reach_the_goal(method: str) -> None:
    learner = {"labels": 100} if method == "pebble" else {}
    rows, _ = defaults_on_pointmass(method, **learner)
    returns = [row["return"] for row in rows if row["event"] == "eval"]
    assert returns[-1] > 3 * returns[0], returns


def defaults_on_pointmass(method: str, **settings):
    config = {
        "kind": "online",
        "env": {"name": "pointmass"},
        "method": {"name": method, "steps": 4000, **settings},
        "teacher": None if method == "sac" else {"name": "oracle"},
        "seed": 1,
        "steps": 4000,
        "eval_every": 4000,
        "eval_episodes": 10,
        "device": "cpu",
        "execution": {"hang_timeout": 600.0, "checkpoint_seconds": 1e9},
    }
    memory = check.MemoryCell(config)
    return memory.rows, execute(memory)  # type: ignore[arg-type]
