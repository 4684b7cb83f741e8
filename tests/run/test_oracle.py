"""Oracles of runs: exact ones agree with the tables, trained ones with their networks."""

import numpy as np
import pytest
import torch

import envs
from envs.gridworld import GridWorld
from pbrl import suite
from pbrl.agents.sac import SAC
from pbrl.check.method import MemoryCell, _digest, _execute
from pbrl.errors import CellError
from pbrl.methods.expert import Stages
from pbrl.run.oracle import exact
from pbrl.segments import Segments
from pbrl.teachers.expert import ACTIONS, Expert, TrainedOracle
from pbrl.teachers.values import Regret


def agent(env: str = "pointmass") -> SAC:
    made = envs.make(env)
    return SAC(
        made.observation_space,
        made.action_space,
        seed=3,
        capacity=10,
        net_arch=[16, 16],
        batch_size=4,
        learning_rate=1e-3,
        temperature=0.1,
        temperature_lr=1e-3,
        gamma=0.9,
        tau=0.01,
        target_update_interval=1,
        core="torch",
    )


def test_an_experts_values_are_those_of_its_critics() -> None:
    sac = agent()
    expert = Expert(sac.weights(), gamma=0.9)
    g = torch.Generator().manual_seed(0)
    obs, act = torch.randn(5, 7, 4, generator=g), torch.rand(5, 7, 2, generator=g) * 2 - 1
    with torch.no_grad():
        q = sac.twin(torch.cat((obs, act), -1).reshape(35, 6)).mean(0).reshape(5, 7)
        mean, log_std = sac.mean_and_log_std(obs.reshape(35, 4))
        draws = torch.randn(20_000, 1, 2, generator=g)
        found = torch.tanh(mean + log_std.exp() * draws)
        rows = torch.cat((obs.reshape(1, 35, 4).expand(20_000, -1, -1), found), -1)
        many = sac.twin(rows.reshape(-1, 6)).mean(0).reshape(20_000, 35)
    torch.testing.assert_close(expert.action_values(obs, act).float(), q, atol=1e-6, rtol=0)
    values = expert.values(obs)
    assert values.dtype == torch.float64
    error = 6 * many.std(0) / ACTIONS**0.5  # of a mean over so many actions, generously
    assert ((values.reshape(35) - many.mean(0)).abs() < error + 1e-4).all()
    torch.testing.assert_close(values[2:4], expert.values(obs[2:4]), atol=1e-6, rtol=0)


def test_the_stages_that_are_kept_are_those_third_of_the_way_apart() -> None:
    stages = Stages(0.9)
    for step, earned in enumerate([10.0, 18.0, 21.0, 29.0, 31.0, 40.0]):
        for _ in range(5):
            stages.ended(earned)
        stages.keep(step, {"w": torch.tensor([earned])})
    kept = stages.weights()
    assert [kept[level]["return"] for level in ("poor", "medium", "good")] == [21.0, 31.0, 40.0]
    restored = Stages(0.9)
    restored.load_state_dict(stages.state_dict())
    assert restored.weights() == kept
    empty = Stages(0.9)
    empty.keep(1, {"w": torch.zeros(1)})
    assert empty.weights()["poor"]["step"] == empty.weights()["good"]["step"] == 1


def test_an_experts_regret_is_told_by_its_values_and_a_tables_by_its_advantages() -> None:
    g = torch.Generator().manual_seed(1)
    obs = torch.randn(6, 5, 4, generator=g)
    flags = torch.zeros(6, 4, dtype=torch.bool), torch.ones(6, 4, dtype=torch.bool)
    act, reward = torch.rand(6, 4, 2, generator=g), torch.rand(6, 4, generator=g)
    walks = Segments(obs[:, :-1], act, obs[:, 1:], *flags, reward)
    expert = Expert(agent().weights(), gamma=0.9)
    found = {}
    for form in (None, "advantages", "outcome"):
        teacher = Regret(form=form)
        teacher.consult(expert)
        found[form] = teacher.score(walks)
    np.testing.assert_array_equal(found[None], found["outcome"])
    assert np.abs(found[None] - found["advantages"]).max() > 0.01
    gamma = 0.9 ** torch.arange(4)
    v = expert.values(obs)
    expected = (gamma * reward).sum(1) + 0.9**4 * v[:, -1] - v[:, 0]
    np.testing.assert_allclose(found[None], expected.numpy(), atol=1e-5)


def test_other_weights_are_no_oracle() -> None:
    with pytest.raises(CellError, match="not those of the method expert"):
        TrainedOracle({"agent": {}})


@pytest.mark.parametrize("slip", [0.0, 0.3])
def test_the_grid_worlds_oracle_is_optimal_for_every_action_that_is_a_move(slip: float) -> None:
    grid = GridWorld(size=4, slip=slip)
    oracle = exact("gridworld", {"size": 4, "slip": slip}, 0.9)
    states, actions = torch.eye(16), 2 * torch.rand(50, 2) - 1
    edge = torch.tensor([[0.0, 0.0], [-0.5, 0.5], [0.3, -0.3], [-0.0, 0.0]])
    actions = torch.cat((actions, edge))
    q = oracle.action_values(
        states[:, None].expand(-1, len(actions), -1), actions.expand(16, -1, -1)
    )
    v = oracle.values(states)
    moves = [grid.move(a.numpy()) for a in actions]
    expected = grid.rewards + 0.9 * grid.transitions @ v.numpy()
    np.testing.assert_allclose(q.numpy(), expected[:, moves], atol=1e-9)
    np.testing.assert_allclose(v.numpy(), expected.max(1), atol=1e-9)


def test_worlds_have_their_exact_values() -> None:
    oracle = exact("riverswim", {}, 0.95)
    v = oracle.values(torch.arange(6.0)[:, None])
    assert (v.diff() > 0).all()  # the reward is up the river
    assert oracle.gamma == 0.95


def test_a_run_on_the_grid_world_learns_from_exact_regret() -> None:
    block = {
        "kind": "online",
        "env": "gridworld",
        "method": {
            "name": "pebble",
            "core": "torch",
            "hidden": 8,
            "reward_hidden": 8,
            "batch_size": 8,
            "seed_steps": 50,
            "unsup_steps": 50,
        },
        "teacher": "regret",
        "steps": 200,
        "labels": 40,
        "eval_every": 200,
        "eval_episodes": 1,
        "final_episodes": 1,
    }
    (config,) = suite.cells({"name": "t", "seeds": 1, "blocks": [block]})
    assert config["oracle"] == {"exact": True, "gamma": 0.99}
    one, again = MemoryCell(config), MemoryCell(config)
    assert _digest(_execute(one)["weights"]) == _digest(_execute(again)["weights"])
    labels = [row for row in one.rows if row["event"] == "label"]
    assert len(labels) == 40
    assert {row["answer"] for row in labels} <= {0.0, 0.5, 1.0}
    (final,) = (row for row in one.rows if row["event"] == "final")
    assert final["asked"] == 40
