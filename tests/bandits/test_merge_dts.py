"""MergeDTS: who duels whom, and that it finds the winner with less regret than MergeRUCB."""

import numpy as np
import pytest

from bandits.algorithms import create
from bandits.problems.orders import arithmetic
from bandits.simulate import simulate


def started(wins):
    """MergeDTS in Python with one batch of three arms and the counts `wins`."""
    algorithm = create("merge-dts", batch=3)
    algorithm.start(3, 1000, np.random.default_rng(0))
    for i in range(3):
        for j in range(3):
            for _ in range(int(wins[i, j])):
                algorithm.observe(i, j, True)
    return algorithm


def test_the_likely_winner_meets_the_arm_it_beats_most_surely():
    # Arm 1 beats arm 0 in nine of ten duels and arm 2 in six of ten; too few duels to drop an arm.
    algorithm = started(np.array([[0, 2, 10], [18, 0, 12], [10, 8, 0]]))
    rng, pairs = np.random.default_rng(1), np.zeros((3, 3), int)
    for _ in range(500):
        pairs[algorithm.choose(rng)] += 1
    assert pairs[1, 0] > 375
    assert (np.diag(pairs) == 0).all()


def test_an_arm_drops_out_when_its_upper_bound_falls_below_one_half():
    # N = 1000: U < 1/2 needs p < 1/2 - sqrt(alpha ln(t + C)/N) = 0.437 at t = 1.
    edge = 0.5 - np.sqrt(0.8**6 * np.log(4_000_001) / 1000)
    assert edge == pytest.approx(0.4369, abs=1e-4)
    for lost, left in ((436, 2), (437, 3)):
        wins = np.zeros((3, 3))
        wins[0, 1], wins[1, 0] = lost, 1000 - lost
        algorithm = started(wins)
        algorithm.choose(np.random.default_rng(0))
        assert algorithm.batches.left == left


def test_less_regret_than_merge_rucb_and_the_right_winner():
    problem, T = arithmetic(K=16, gap=0.03), 500_000
    found = {}
    for name in ("merge-dts", "merge-rucb"):
        found[name] = simulate(problem, create(name), horizon=T, repetitions=8, seed=0)
    regret = {name: result.regret["average"].mean(axis=0) for name, result in found.items()}
    assert regret["merge-dts"][-1] < 0.5 * regret["merge-rucb"][-1]
    assert (found["merge-dts"].winner[:, -1] == 0).all()
