"""What a simulation costs: regrets as of a plain loop, charged once a pair, in little memory."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from bandits import simulate as simulator
from bandits.preferences import Later, piecewise, stationary
from bandits.problems import changing
from bandits.registry import PROBLEMS
from bandits.regret import tables
from bandits.rng import generator
from bandits.simulate import LABELS, PROBLEM, simulate
from pbrl import registry

NAMES = [n for n in registry.names("problem") if n not in ("csv", "battles")]


class Wander:
    """Duels random pairs and remembers them."""

    def start(self, K, T, rng):
        self.K = K
        self.pairs = []

    def choose(self, rng):
        self.pairs.append((int(rng.integers(self.K)), int(rng.integers(self.K))))
        return self.pairs[-1]

    def observe(self, i, j, won):
        pass


def plain_regret(problem, pairs, times, name):
    """Counts times a K x K table, over every stretch without a checkpoint or a change."""
    total, found, begin = 0.0, [], 0
    stops = sorted({*times, *problem.starts[problem.starts < times[-1]].tolist()} - {0})
    for end in stops:
        segment = np.flatnonzero(problem.starts <= begin)[-1]
        cost = tables(problem.truth[problem.order[segment]], problem.utilities)[name]
        K = len(cost)
        counts = np.bincount([i * K + j for i, j in pairs[begin:end]], minlength=K * K)
        for pair in np.flatnonzero(counts):
            total += counts[pair] * cost.flat[pair]
        if end in times:
            found.append(total)
        begin = end
    return found


@pytest.mark.parametrize("name", NAMES)
def test_regrets_are_to_the_bit_those_of_a_plain_loop_over_tables(name):
    registry.resolve("problem", name)
    short = {"every": 30} if name in ("drifting", "piecewise", "geometric-phases") else {}
    short |= {"alternating": {"every": 8}, "corrupted": {"budget": 50}}.get(name, {})
    made, wander, times = PROBLEMS[name](**short), Wander(), [1, 40, 41, 120]
    found = simulate(made, wander, horizon=120, repetitions=1, seed=3, checkpoints=times)
    drawn = made.sample(generator(3, 0, PROBLEM)) if hasattr(made, "sample") else made
    arms = generator(3, 0, LABELS).permutation(drawn.K)
    pairs = [(arms[i], arms[j]) for i, j in wander.pairs]
    for regret, values in found.regret.items():
        expected = plain_regret(drawn, pairs, times, regret)
        assert np.array_equal(values[0], expected, equal_nan=True), regret


def test_regrets_stay_the_same_when_the_list_of_pairs_is_full(monkeypatch):
    p = stationary(np.full((20, 20), 0.5) + 0.02 * np.subtract.outer(*[np.arange(20)] * 2) * -1)
    how = {"horizon": 500, "repetitions": 1, "seed": 0}
    roomy = simulate(p, Wander(), **how)
    monkeypatch.setattr(simulator, "ROOM", 7)
    tight = simulate(p, Wander(), **how)
    assert (tight.plays == roomy.plays).all()
    for name, values in roomy.regret.items():
        assert tight.regret[name] == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize("checkpoints", [[2000], None, range(1, 2001)])
def test_a_duel_is_charged_at_most_once_whatever_the_checkpoints(checkpoints, monkeypatch):
    met = []

    def charge(pairs, *rest):
        met.append(len(pairs))
        return original(pairs, *rest)

    original = simulator._charge
    monkeypatch.setattr(simulator, "_charge", charge)
    problem = stationary(np.full((400, 400), 0.5))
    simulate(problem, Wander(), horizon=2000, repetitions=1, seed=0, checkpoints=checkpoints)
    assert 0 < sum(met) <= 2000


def test_memory_stays_under_four_matrices():
    K = 800
    p = np.full((K, K), 0.5)
    tracemalloc.start()
    simulate(stationary(p), Wander(), horizon=3000, repetitions=1, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 8 * K**2


def test_only_segments_before_the_horizon_are_made(monkeypatch):
    made = []

    def linked(u, link):
        made.append(len(u))
        return np.full((len(u), len(u)), 0.5)

    monkeypatch.setattr(changing, "linked", linked)
    drifting = changing.drifting(K=4, segments=100_000, every=100)
    simulate(drifting, Wander(), horizon=1000, repetitions=2, seed=0)
    assert len(made) == 2 * 10


def test_matrices_made_later_play_like_matrices_made_at_once():
    p = np.array([[0.5, 0.7, 0.9], [0.3, 0.5, 0.6], [0.1, 0.4, 0.5]])
    later = Later(2, 3, lambda m: p if m == 0 else p.T)
    starts, order = np.arange(9) * 3, np.arange(9) % 2
    problems = [
        piecewise(matrices, starts, order=order) for matrices in (later, np.stack([p, p.T]))
    ]
    problems.append(SimpleNamespace(matrices=later, starts=starts, order=order))  # a plug-in's
    results = [simulate(x, Wander(), horizon=20, repetitions=1, seed=0) for x in problems]
    for other in results[1:]:
        assert (other.regret["strong"] == results[0].regret["strong"]).all()
    wrong = Later(1, 3, lambda m: p + 0.1)
    with pytest.raises(ValueError, match=r"matrix 0: p\[0, 0\] = 0.6"):
        simulate(piecewise(wrong, [0]), Wander(), horizon=5, repetitions=1, seed=0)


@pytest.mark.parametrize("name", ["cyclic-blocks", "six-rankers", "alternating", "drifting"])
def test_policy_regret_is_that_of_the_best_arm_duel_by_duel(name):
    registry.resolve("problem", name)
    short = {"every": 8} if name in ("alternating", "drifting") else {}
    made, wander = PROBLEMS[name](**short), Wander()
    found = simulate(made, wander, horizon=300, repetitions=1, seed=4)
    drawn = made.sample(generator(4, 0, PROBLEM)) if hasattr(made, "sample") else made
    arms = generator(4, 0, LABELS).permutation(drawn.K)
    gained = np.zeros(drawn.K)
    for t, (i, j) in enumerate(wander.pairs):
        p = drawn.truth[drawn.order[np.flatnonzero(drawn.starts <= t)[-1]]]
        gained += (p[:, arms[i]] + p[:, arms[j]] - 1) / 2
    assert found.policy_regret[0] == pytest.approx(gained.max())
