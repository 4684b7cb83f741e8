"""Sliding windows and discounts: the base's statistics are those of the counts it should have."""

import numpy as np
import pytest

from bandits.algorithms import create
from bandits.problems.changing import piecewise_stationary
from bandits.simulate import simulate

BASES = ("rucb", "d-ts")


def played(name, base, duels=400, **parameters):
    """The algorithm after some duels of three arms in Python, and what it played."""
    rng = np.random.default_rng(4)
    algorithm = create(name, base=base, **parameters)
    algorithm.start(3, 10_000, rng)
    seen = []
    for _ in range(duels):
        i, j = algorithm.choose(rng)
        won = bool(rng.random() < 0.5 + 0.2 * (j - i))
        algorithm.observe(i, j, won)
        seen.append((i, j, won))
    return algorithm, seen


def same_statistics(alg, base, W):
    """Everything the base derives from its counts is what it would derive from W."""
    np.testing.assert_allclose(alg.W, W, rtol=1e-9, atol=1e-12)
    N = W + W.T
    p = np.where(N > 0, W / np.where(N > 0, N, 1), 0.5)
    lost = N * (p - 0.5) ** 2
    if base == "d-ts":
        np.testing.assert_allclose(alg.loss, np.where((N > 0) & (p <= 0.5), lost, -1.0), atol=1e-9)
        return
    np.testing.assert_allclose(alg.loss, np.where(p < 0.5, lost, 0.0), atol=1e-9)
    np.testing.assert_allclose(alg.worst, np.where(p < 0.5, lost, 0.0).max(axis=1), atol=1e-9)
    off = ~np.eye(3, dtype=bool)
    mean = np.where(N > 0, p.T, 1.0)
    width = np.where(N > 0, 1 / np.sqrt(np.where(N > 0, N, 1)), 0.0)
    np.testing.assert_allclose(alg.rival_mean[off], mean[off])
    np.testing.assert_allclose(alg.rival_width[off], width[off])


@pytest.mark.parametrize("base", BASES)
def test_window_holds_the_last_duels_only(base):
    for duels in (10, 49, 50, 51, 400):
        algorithm, seen = played("sliding-window", base, duels, window=50)
        W = np.zeros((3, 3))
        for i, j, won in seen[-50:]:
            if i != j:
                W[i if won else j, j if won else i] += 1
        same_statistics(algorithm.alg, base, W)
        assert algorithm.alg.t == min(duels, 50)


@pytest.mark.parametrize("base", BASES)
def test_discount_weighs_a_duel_by_its_age(base):
    algorithm, seen = played("discounted", base, gamma=0.98)
    W = np.zeros((3, 3))
    for age, (i, j, won) in enumerate(reversed(seen)):
        if i != j:
            W[i if won else j, j if won else i] += 0.98**age
    same_statistics(algorithm.alg, base, W)
    assert algorithm.alg.t == 50


@pytest.mark.parametrize("base", BASES)
def test_a_window_longer_than_the_run_changes_nothing(base):
    problem = piecewise_stationary(K=4, segments=1, every=3000, instance=0)
    plain = simulate(problem, create(base), horizon=3000, repetitions=2, seed=0)
    windowed = simulate(
        problem,
        create("sliding-window", base=base, window=3000),
        horizon=3000,
        repetitions=2,
        seed=0,
    )
    assert (plain.plays == windowed.plays).all()


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", ["sliding-window", "discounted"])
def test_forgetting_pays_when_preferences_change(name, base):
    problem = piecewise_stationary(K=5, segments=5, every=40_000, p_min=0.7, delta=0.6)
    found, stubborn = (
        simulate(problem, algorithm, horizon=200_000, repetitions=8, seed=0)
        .regret["average"][:, -1]
        .mean()
        for algorithm in (create(name, base=base), create(base))
    )
    assert found < 0.5 * stubborn


@pytest.mark.parametrize("name", ["sliding-window", "discounted"])
def test_a_base_without_counts_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}.*base btw.*expected rucb or d-ts"):
        create(name, base="btw")
