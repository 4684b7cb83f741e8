"""Methods that stop with an answer: sample counts, answers, and comparisons made by hand."""

import numpy as np
import pytest

from bandits.algorithms import create
from bandits.preferences import stationary
from bandits.problems.orders import arithmetic
from bandits.simulate import simulate
from bandits.winners import borda_scores

PAC = ("knockout", "seq-elim", "opt-max")


def run(name, beats, K, **parameters):
    """The algorithm in Python on outcomes beats(i, j); returns it and the duels of its search."""
    algorithm, rng = create(name, **parameters), np.random.default_rng(3)
    algorithm.start(K, 10**9, rng)
    duels = []
    while algorithm.winner() < 0:
        i, j = algorithm.choose(rng)
        if i != j:
            duels.append((i, j))
            algorithm.observe(i, j, beats(i, j))
    assert algorithm.samples == len(duels)
    assert algorithm.choose(rng) == (algorithm.winner(), algorithm.winner())
    algorithm.observe(*algorithm.choose(rng), True)
    assert algorithm.samples == len(duels)
    return algorithm, duels


def meetings(duels):
    """[(i, j, number of duels)] of successive duels of the same pair."""
    found: list[tuple[int, int, int]] = []
    for i, j in duels:
        if found and found[-1][:2] == (i, j):
            found[-1] = (i, j, found[-1][2] + 1)
        else:
            found.append((i, j, 1))
    return found


@pytest.mark.parametrize("K", [1, 2, 3, 8, 13])
def test_knockout_with_sure_outcomes(K):
    algorithm, duels = run("knockout", lambda i, j: i < j, K)
    assert algorithm.winner() == 0
    left, at = K, 0
    matches = meetings(duels)
    r = 0
    while left > 1:
        r += 1
        epsilon, delta = (2 ** (1 / 3) - 1) * 0.05 / 2 ** (r / 3), 0.05 / 2**r
        n = 1
        while np.sqrt(np.log(4 * n**2 / delta) / (2 * n)) - epsilon >= 0.5:
            n += 1
        for i, j, count in matches[at : at + left // 2]:
            assert i != j
            assert count == n
        arms = [arm for match in matches[at : at + left // 2] for arm in match[:2]]
        assert len(set(arms)) == 2 * (left // 2)
        at += left // 2
        left -= left // 2
    assert at == len(matches)


def test_knockout_gives_up_on_equal_arms():
    # Alternating outcomes never decide; the match ends after floor(m) + 1 duels.
    outcomes = iter([True, False] * 10**6)
    _, duels = run("knockout", lambda i, j: next(outcomes), 2)
    epsilon = (2 ** (1 / 3) - 1) * 0.05 / 2 ** (1 / 3)
    radius_below = min(
        n for n in range(1, 10**6) if np.sqrt(np.log(4 * n**2 / 0.025) / (2 * n)) < epsilon
    )
    assert len(duels) == min(int(np.log(2 / 0.025) / (2 * epsilon**2)) + 1, radius_below)


def test_seq_elim_with_sure_outcomes():
    algorithm, duels = run("seq-elim", lambda i, j: i < j, 10)
    assert algorithm.winner() == 0
    matches = meetings(duels)
    assert len(matches) == 9
    delta, won, lost = 0.005, 1, 1
    while np.sqrt(np.log(4 * won**2 / delta) / (2 * won)) >= 0.5 - 0.025:
        won += 1
    while np.sqrt(np.log(4 * lost**2 / delta) / (2 * lost)) >= 0.5 + 0.025:
        lost += 1
    anchor = matches[0][1]
    for c, a, count in matches:
        assert a == anchor
        assert count == (won if c < a else lost)
        anchor = min(anchor, c)


def test_opt_max_passes_over_sample_subset_and_all_arms():
    K = 81
    algorithm, duels = run("opt-max", lambda i, j: i < j, K)
    assert algorithm.winner() == 0
    assert algorithm.subset == 27
    assert algorithm.sample == int(np.ceil(np.sqrt(27 * np.log(4 * 27**2 / 0.05))))
    # Every pass meets each of its arms once, except the anchor it began with.
    assert len(meetings(duels)) == algorithm.sample - 1 + 26 + 80


def test_opt_max_refuses_a_delta_beyond_its_regime():
    with pytest.raises(ValueError, match=r"opt-max: delta = 0.6 with K = 10.*0.464"):
        simulate(arithmetic(K=10), create("opt-max", delta=0.6), horizon=9, repetitions=1, seed=0)


@pytest.mark.parametrize("name", PAC)
def test_answers_are_epsilon_best_as_often_as_promised(name):
    # 200 runs with delta = 0.1; arms 0.03 apart, so that two may be named with epsilon = 0.05.
    problem = arithmetic(K=10, gap=0.03)
    found = simulate(
        problem,
        create(name, epsilon=0.05, delta=0.1),
        horizon=400_000,
        repetitions=200,
        seed=0,
        checkpoints=[400_000],
    )
    answer, at = found.winner[:, 0], np.arange(200)
    assert (answer >= 0).all()
    assert (problem.matrices[0].max(axis=0)[answer] <= 0.55 + 1e-12).mean() >= 0.9
    samples = 400_000 - found.plays[at, answer, answer]
    assert (samples == 400_000 - np.trace(found.plays, axis1=1, axis2=2)).all()
    assert samples.min() > 0
    assert samples.max() < 400_000


def test_borda_elimination_with_sure_outcomes():
    K = 4
    algorithm, _ = run("borda-elimination", lambda i, j: i < j, K)
    assert algorithm.winner() == 0
    # Scores are 1, 2/3, 1/3, 0: the gap of 1/3 to arm 1 needs about t with (K/(K-1)) margin = 1/3.
    t = 1
    while (K / (K - 1)) * np.sqrt(2 * np.log(4 * K * t**2 / 0.05) / t) >= 1 / 3:
        t += 1
    assert algorithm.round == pytest.approx(t, rel=0.15)


def test_borda_elimination_names_the_borda_winner_not_the_condorcet_winner():
    p = np.array([[0.5, 0.6, 0.6, 0.6], [0.4, 0.5, 1, 1], [0.4, 0, 0.5, 0.5], [0.4, 0, 0.5, 0.5]])
    assert borda_scores(p).argmax() == 1
    found = simulate(
        stationary(p), create("borda-elimination"), horizon=60_000, repetitions=100, seed=0
    )
    assert (found.winner[:, -1] == 1).mean() >= 0.95
