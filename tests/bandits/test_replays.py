"""ANACONDA and METASWIFT: sums, replays and tests against naive versions; changing preferences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.algorithms import create
from bandits.preferences import piecewise, relabel
from bandits.problems.changing import geometric_phases
from bandits.problems.orders import geometric, geometric_matrix
from bandits.replays import DyadicSums, Episode
from bandits.simulate import simulate


@given(
    seed=st.integers(0, 10_000),
    rounds=st.integers(1, 200),
    since=st.integers(0, 200),
    b=st.floats(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_blocks_that_stand_out_are_found_by_brute_force(seed, rounds, since, b):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, rounds) * (rng.random(rounds) < 0.5)
    values[-1] = 3
    sums = DyadicSums()
    sums.start(1, 8)
    for n, value in enumerate(values):
        if value:
            sums.add(0, n, value)
    n = rounds - 1
    firsts = {(n >> m) << m for m in range(9)}
    found = [
        first
        for first in firsts
        if first >= since
        and values[first:].sum() - (rounds - first) / 2 > 0.3 * np.sqrt(rounds - first) + b
    ]
    assert sums.latest_above(0, n, 0.3, b, since) == max(found, default=-1)


def test_replays_are_as_frequent_and_as_long_as_scheduled():
    # Round n, arm 0 lost: a replay of length 2^m, m = 2..4, or a longer one, begins with
    # probability 1 - prod over lengths of (1 - P/sqrt(2^m n)).
    rng, n, begun, lengths = np.random.default_rng(0), 50, 0, []
    for _ in range(20_000):
        episode = Episode()
        episode.start(3, 2**4, 1.0)
        episode.n, episode.spoken[0] = n, 0
        episode.begin_round(rng)
        if episode.depth == 2:
            begun += 1
            lengths.append(episode.ends[1] - n)
            assert episode.active(0)
    chance = 1 / np.sqrt(2.0 ** np.arange(2, 5) * n)
    assert begun / 20_000 == pytest.approx(1 - np.prod(1 - chance), rel=0.05)
    assert set(lengths) == {4, 8, 16}
    assert lengths.count(16) / 20_000 == pytest.approx(chance[2], rel=0.1)


def test_runs_end_and_know_what_spoke_against_arms_since_they_began():
    episode, rng = Episode(), np.random.default_rng(0)
    episode.start(3, 2**10, 0.0)
    episode.n = 100
    episode.spoken[:] = [10, -1, -1]
    episode.begins[1:3], episode.ends[1:3], episode.depth = [60, 80], [140, 101], 3
    assert [episode.active(k) for k in range(3)] == [True, True, True]
    episode.spoken[1] = 70  # within the run from 60, not within that from 80
    assert episode.active(1)
    episode.begin_round(rng)
    assert episode.depth == 3
    episode.n = 101
    episode.begin_round(rng)
    assert episode.depth == 2
    assert [episode.active(k) for k in range(3)] == [True, False, True]
    assert not episode.over()
    assert episode.survivor() == 2
    episode.spoken[2] = 0
    assert episode.over()


def test_a_longer_replay_takes_the_place_of_those_it_outlives():
    episode, rng = Episode(), np.random.default_rng(0)
    episode.start(2, 2**4, 1e9)  # a replay in every round, of the greatest length
    for n in range(200):
        episode.n = n
        episode.begin_round(rng)
        episode.spoken[0] = n
        assert episode.depth <= 4
        assert (np.diff(episode.ends[1 : episode.depth]) < 0).all()


def test_anaconda_drops_the_beaten_arm_as_soon_as_theory_says():
    # Two arms, one always winning: w = 1, so r - r/2 > C (e-1)(K sqrt(l r) + K^2 l) in a block.
    algorithm, rng = create("anaconda", C=0.1), np.random.default_rng(0)
    algorithm.start(2, 1000, rng)
    for _ in range(2000):
        i, j = algorithm.choose(rng)
        if i == j:
            break
        algorithm.observe(i, j, i == 0)
    log_term = 4 * np.log2(1000) + 2
    r = np.arange(1, 2000)
    above = r / 2 > 0.1 * (np.e - 1) * (2 * np.sqrt(log_term * r) + 4 * log_term)
    assert algorithm.episode.n == r[above][0]  # the round after
    assert algorithm.winner() == i == 0
    assert algorithm.resets == 0


def test_estimates_of_both_are_unbiased():
    p = geometric_matrix(4, 0.5)
    rng = np.random.default_rng(0)
    n = 2**15  # one block
    anaconda = create("anaconda", C=1e9)
    anaconda.start(4, n, rng)
    metaswift = create("metaswift", C=1e9, C_anchor=1e9)
    metaswift.start(4, n, rng)
    for algorithm in (anaconda, metaswift):
        for _ in range(n):
            i, j = algorithm.choose(rng)
            algorithm.observe(i, j, bool(rng.random() < p[i, j]))
    off = ~np.eye(4, dtype=bool)
    found = anaconda.beaten.sums[:, -1].reshape(4, 4) / n
    np.testing.assert_allclose(found[off], p[off], atol=0.04)
    a = metaswift.anchor
    others = np.arange(4) != a
    np.testing.assert_allclose(metaswift.beaten.sums[others, -1] / n, p[a, others], atol=0.04)
    np.testing.assert_allclose(metaswift.beating.sums[others, -1] / n, p[others, a], atol=0.04)


@pytest.mark.parametrize("name", ["anaconda", "metaswift"])
def test_regret_is_low_on_four_phases_and_restarts_are_few_when_nothing_changes(name):
    # Suk & Agarwal's setup: T = 50 000, K = 10, four phases, geometric preferences.
    changing, still = (
        simulate(problem, create(name), horizon=50_000, repetitions=20, seed=1)
        for problem in (geometric_phases(), geometric())
    )
    uniform = 50_000 * 0.3737
    assert changing.regret["average"][:, -1].mean() < 0.55 * uniform
    assert still.regret["average"][:, -1].mean() < 0.15 * uniform
    assert np.mean([len(times) for times in still.resets]) < 2
    assert np.mean([len(times) for times in changing.resets]) > 1.5


@pytest.mark.parametrize("name", ["anaconda", "metaswift"])
def test_a_new_winner_is_noticed(name):
    # Once one arm is left only replays can notice that another became better.
    p = geometric_matrix(5, 0.3)
    problem = piecewise(np.stack([p, relabel(p, np.array([4, 3, 2, 1, 0]))]), [0, 50_000])
    found = simulate(
        problem,
        create(name),
        horizon=150_000,
        repetitions=10,
        seed=0,
        checkpoints=[50_000, 150_000],
    )
    assert (found.winner[:, 0] == 0).mean() >= 0.7
    assert (found.winner[:, 1] == 4).mean() >= 0.7
