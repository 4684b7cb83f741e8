"""Teachers with an oracle: identities of regret, closed forms, discounts, absorbing states."""

import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pbrl import registry
from pbrl.errors import CellError
from pbrl.segments import Segments
from pbrl.teachers.oracle import TabularOracle
from pbrl.teachers.values import AdvantageGreedy, Bootstrapped, Mixture, Regret

STATES, ACTIONS = 12, 3
ALPHA = 1e-6


class World:
    """Random rewards and moves, deterministic or not; the last state is absorbing."""

    def __init__(self, seed: int, gamma: float, *, noisy: bool = False) -> None:
        g = np.random.default_rng(seed)
        self.gamma, self.rewards = gamma, g.normal(size=(STATES, ACTIONS))
        self.moves = np.eye(STATES)[g.integers(STATES, size=(STATES, ACTIONS))]
        if noisy:
            self.moves = g.dirichlet(np.full(STATES, 0.3), (STATES, ACTIONS))
        self.rewards[-1], self.moves[-1] = 0, np.eye(STATES)[-1]
        v = np.zeros(STATES)
        for _ in range(3000):
            q = self.rewards + gamma * self.moves @ v
            v = q.max(1)
        v[-1] = 0
        self.v, self.q = v, self.rewards + gamma * self.moves @ v
        self.oracle = TabularOracle(self.v, self.q, gamma=gamma)

    def segments(self, n: int, length: int, seed: int, *, greedy: bool = False) -> Segments:
        """Walks that end, if they reach the absorbing state, in a masked rest."""
        g = np.random.default_rng(seed)
        state = g.integers(STATES - 1, size=n)
        shape = (n, length)
        obs, nxt, act = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        reward, mask, terminal = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
        for t in range(length):
            alive = state != STATES - 1
            action = self.q[state].argmax(1) if greedy else g.integers(ACTIONS, size=n)
            cumulated = self.moves[state, action].cumsum(1)
            after = np.minimum((g.random((n, 1)) > cumulated).sum(1), STATES - 1)
            obs[:, t], act[:, t], nxt[:, t] = state * alive, action * alive, after * alive
            reward[:, t], mask[:, t] = self.rewards[state, action] * alive, alive
            terminal[:, t] = alive & (after == STATES - 1)
            state = after
        column = lambda x: torch.from_numpy(x)[..., None].float()  # noqa: E731
        flags = torch.from_numpy(terminal), torch.from_numpy(mask)
        return Segments(column(obs), column(act), column(nxt), *flags, torch.from_numpy(reward))


def taught(teacher, world: World):
    teacher.consult(world.oracle)
    return teacher


@given(st.integers(0, 200), st.sampled_from([0.8, 0.99]), st.integers(1, 6))
def test_both_forms_of_regret_are_one_where_nothing_is_random(seed, gamma, length) -> None:
    """Σ γ^t A = Σ γ^t r + γ^L V(s_L) - V(s_0) to 1e-9, also for segments that end early."""
    world = World(seed, gamma)
    walks = world.segments(40, length, seed)
    advantages = taught(Regret(), world).score(walks)
    outcome = taught(Regret(form="outcome"), world).score(walks)
    np.testing.assert_allclose(advantages, outcome, rtol=0, atol=1e-9)
    assert (advantages <= 1e-9).all()
    best = world.segments(40, length, seed, greedy=True)
    np.testing.assert_allclose(taught(Regret(), world).score(best), 0, atol=1e-9)


def test_luck_has_mean_zero_and_only_the_outcome_form_sees_it() -> None:
    world = World(3, 0.9, noisy=True)
    walks = world.segments(60_000, 4, 1)
    luck = taught(Regret(form="outcome"), world).score(walks) - taught(Regret(), world).score(walks)
    assert luck.std() > 0.1
    assert abs(luck.mean()) < 5 * luck.std() / len(luck) ** 0.5


def test_bootstrapped_and_mixture_are_what_they_say() -> None:
    world = World(5, 0.9)
    walks = world.segments(500, 5, 2)
    weights = 0.9 ** np.arange(5)
    steps = walks.mask.sum(1).numpy()
    last = walks.next_obs[np.arange(500), steps - 1, 0].long().numpy()
    reward = (walks.ground_truth.numpy() * weights).sum(1)
    end = 0.9**steps * world.v[last]  # the value of the absorbing state is 0
    start = world.v[walks.obs[:, 0, 0].long().numpy()]
    score = lambda t: taught(t, world).score(walks)  # noqa: E731
    np.testing.assert_allclose(score(Bootstrapped()), reward + end, atol=1e-9)
    found = score(Mixture(w_return=0.3, w_end=0.28, w_start=0.16))
    np.testing.assert_allclose(found, 0.3 * reward + 0.28 * end - 0.16 * start, atol=1e-9)
    regret = score(Mixture(w_return=1, w_end=1, w_start=1))
    np.testing.assert_allclose(regret, score(Regret()), atol=1e-9)
    greedy = world.q.argmax(1)
    is_best = walks.act[..., 0].long().numpy() == greedy[walks.obs[..., 0].long().numpy()]
    counted = (is_best & walks.mask.numpy()).sum(1)
    np.testing.assert_allclose(score(AdvantageGreedy(gamma=1.0)), counted)


def test_the_discount_of_a_segment_can_be_set_apart() -> None:
    world = World(5, 0.9)
    walks = world.segments(100, 5, 2)
    advantage = taught(Regret(gamma=1.0), world).score(walks)
    one_step = [taught(Regret(), world).score(_step(walks, t)) for t in range(5)]
    np.testing.assert_allclose(advantage, sum(one_step), atol=1e-9)


def _step(walks: Segments, t: int) -> Segments:
    return walks._map(lambda x: x[:, t : t + 1])


def test_regrets_equal_to_two_decimals_are_draws_without_noise_alone() -> None:
    world = World(7, 0.9)
    walks = world.segments(2000, 3, 4)
    first, second = walks[:1000], walks[1000:]
    exact = taught(Regret(decimals=None), world).score(walks)
    gain = exact[1000:] - exact[:1000]
    labels = taught(Regret(), world).label(first, second, np.random.default_rng(0))
    rounded = np.round(exact, 2)
    np.testing.assert_array_equal(labels, 0.5 + 0.5 * np.sign(rounded[1000:] - rounded[:1000]))
    assert 0 < (labels == 0.5).mean() < 0.5
    p = taught(Regret(beta=0.7), world).probability(first, second)
    np.testing.assert_allclose(p, stats.logistic.cdf(0.7 * gain), atol=1e-12)


@pytest.mark.parametrize("name", ["regret", "bootstrapped", "mixture", "advantage-greedy"])
def test_labels_come_as_often_as_the_closed_form_says(name: str) -> None:
    world = World(9, 0.95, noisy=True)
    walks = world.segments(200_000, 4, 6)
    first, second = walks[:100_000], walks[100_000:]
    config = {"name": name, "beta": 0.8, "eps_mistake": 0.1, "eps_uniform": 0.2}
    teacher = taught(registry.make("teacher", config), world)
    score = taught(registry.make("teacher", {"name": name, "decimals": None}), world).score
    p = stats.logistic.cdf(0.8 * (score(second) - score(first)))
    p = 0.8 * p + 0.1
    p = 0.9 * p + 0.1 * (1 - p)
    tracemalloc.start()
    began = time.process_time()
    labels = teacher.label(first, second, np.random.default_rng(3))
    seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 1e9
    np.testing.assert_allclose(teacher.probability(first, second), p, atol=1e-12)
    bins = np.minimum((p * 10).astype(int), 9)
    for k in np.unique(bins):
        inside = bins == k
        bounds = stats.binom.ppf([ALPHA / 2, 1 - ALPHA / 2], inside.sum(), p[inside].mean())
        assert bounds[0] <= labels[inside].sum() <= bounds[1]


def test_a_teacher_without_its_oracle_says_so() -> None:
    walks = World(1, 0.9).segments(4, 3, 0)
    with pytest.raises(CellError, match="consult"):
        Regret().label(walks, walks, np.random.default_rng(0))
