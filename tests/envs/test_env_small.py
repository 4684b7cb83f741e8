"""The environments of our own against closed forms, and the classic ones against gymnasium."""

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import envs
from envs.gridworld import MOVES, GridWorld
from envs.pointmass import DAMPING, GAIN, REACHED, WIDTH, PointMass

unit = st.floats(-1, 1, width=32)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), unit, unit, st.integers(1, 100))
def test_pointmass_follows_its_closed_form(seed, ax, ay, n):
    env = PointMass()
    start, _ = env.reset(seed=seed)
    for _ in range(n):
        obs, reward, _, _, info = env.step(np.array([ax, ay], np.float32))
    a = np.array([ax, ay])
    moved = GAIN * a / (1 - DAMPING) * (n - DAMPING * (1 - DAMPING**n) / (1 - DAMPING))
    place = env.get_state()["motion"][:2]
    np.testing.assert_allclose(place, start[:2].astype(float) + moved, atol=1e-6)
    np.testing.assert_allclose(obs[2:], GAIN * a * (1 - DAMPING**n) / (1 - DAMPING), atol=1e-7)
    square = place @ place
    assert reward == pytest.approx(1 / (1 + square / WIDTH**2), rel=1e-12)
    assert info["success"] == float(square < REACHED**2)


def test_pointmass_can_be_solved_from_every_start():
    env = envs.make("pointmass")
    for seed in range(20):
        obs, _ = env.reset(seed=seed)
        total = 0.0
        for _ in range(100):
            action = np.clip(-10 * obs[:2] - 40 * obs[2:], -1, 1).astype(np.float32)
            obs, reward, _, truncated, info = env.step(action)
            total += reward
        assert truncated
        assert info["success"] == 1.0
        assert total > 75


def test_gridworld_without_slip_pays_from_the_shortest_path_on():
    for size in (2, 4, 7):
        world = GridWorld(size, slip=0.0)
        values = world.optimal_values(30)
        distance = 2 * (size - 1)
        for steps in range(31):
            assert values[steps, 0] == max(0, steps - distance + 1)


@pytest.mark.parametrize("slip", [0.0, 0.1, 0.5, 1.0])
def test_gridworld_values_solve_the_linear_program_of_the_problem(slip):
    """Minimise v(0) over v_h(s) >= r(s, a) + P v_(h-1): the dual of the finite-horizon problem."""
    world, horizon = GridWorld(3, slip), 7
    n = 9
    rows, bounds = [], []
    for h in range(1, horizon + 1):
        for s in range(n):
            for a in range(4):
                row = np.zeros((horizon + 1, n))
                row[h, s] = -1
                row[h - 1] += world.transitions[s, a]
                rows.append(row.ravel())
                bounds.append(-world.rewards[s, a])
    goal = np.zeros((horizon + 1, n))
    goal[horizon, 0] = 1
    limits = [(0, 0)] * n + [(0, None)] * (horizon * n)
    solution = linprog(goal.ravel(), A_ub=np.array(rows), b_ub=bounds, bounds=limits)
    assert world.optimal_values(horizon)[horizon, 0] == pytest.approx(solution.fun, abs=1e-9)
    np.testing.assert_allclose(world.transitions.sum(-1), 1.0)


def test_gridworld_greedy_play_earns_the_optimal_value():
    world = envs.make("gridworld", size=4, slip=0.2)
    inner = world.env
    values = inner.optimal_values(50)
    returns = []
    for seed in range(400):
        obs, _ = world.reset(seed=seed)
        total = 0.0
        for left in range(50, 0, -1):
            cell = int(obs.argmax())
            best = (inner.rewards[cell] + inner.transitions[cell] @ values[left - 1]).argmax()
            obs, reward, _, truncated, _ = world.step(np.array(MOVES[best], np.float32))
            total += reward
        assert truncated
        returns.append(total)
    error = np.std(returns) / 20
    assert abs(np.mean(returns) - values[50, 0]) < 4 * error


def test_gridworld_refuses_nonsense():
    with pytest.raises(ValueError, match="size = 1; expected at least 2"):
        envs.make("gridworld", size=1)
    with pytest.raises(ValueError, match=r"slip = 1\.5; expected at most 1"):
        envs.make("gridworld", slip=1.5)


def test_pendulum_is_gymnasiums():
    env, gym = envs.make("pendulum"), gymnasium.make("Pendulum-v1")
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(env.reset(seed=1)[0], gym.reset(seed=1)[0])
    mine = theirs = 0.0
    for _ in range(200):
        action = rng.uniform(-1, 1, 1).astype(np.float32)
        obs, reward, _, truncated, _ = env.step(action)
        other = gym.step(2 * action)
        np.testing.assert_array_equal(obs, other[0])
        mine, theirs = mine + reward, theirs + float(other[1])
    assert truncated
    assert other[3]
    assert mine == theirs
    assert env.spec_info.reward_range[0] <= -(np.pi**2 + 6.404)


@pytest.mark.parametrize("push", [0.0, 1.0])
def test_mountaincar_returns_are_gymnasiums(push):
    """Pushing along the velocity reaches the goal; not pushing never does."""
    env, gym = envs.make("mountaincar-continuous"), gymnasium.make("MountainCarContinuous-v0")
    obs, _ = env.reset(seed=3)
    gym.reset(seed=3)
    mine = theirs = 0.0
    gym_over = False
    for _ in range(999):
        action = np.array([push * (1.0 if obs[1] >= 0 else -1.0)], np.float32)
        obs, reward, terminated, truncated, info = env.step(action)
        mine += reward
        if not gym_over:
            other = gym.step(action)
            theirs += float(other[1])
            np.testing.assert_array_equal(obs, other[0])
            gym_over = other[2] or other[3]
        assert not terminated
    assert truncated
    assert info["success"] == float(push == 1.0)
    assert mine == theirs
    assert push or mine == 0
