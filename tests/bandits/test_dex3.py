"""Dex3.P and Dex3.S against literal versions, and on preferences that switch."""

import numpy as np

from bandits.algorithms import create
from bandits.preferences import piecewise
from bandits.simulate import simulate


def outcomes(name, duels=300, K=4, T=500):
    """What the algorithm played in Python, and its distributions [duels, 2, K] before each duel."""
    rng = np.random.default_rng(1)
    algorithm = create(name)
    algorithm.start(K, T, rng)
    seen, q = [], []
    for _ in range(duels):
        i, j = algorithm.choose(rng)
        q.append(algorithm.q.copy())
        won = bool(rng.random() < 0.5 + 0.1 * (j - i))
        seen.append((i, j, won))
        algorithm.observe(i, j, won)
    return algorithm, seen, np.array(q)


def test_dex3_p_is_two_exp3_p_players():
    K, T = 4, 500
    _, seen, q = outcomes("dex3-p", K=K, T=T)
    gamma = min(0.6, 2 * np.sqrt(0.6 * K * np.log(K) / T))
    alpha = 2 * np.sqrt(np.log(K * T / 0.05))
    for player in (0, 1):
        log_w = np.zeros(K)
        for t, (i, j, won) in enumerate(seen):
            w = np.exp(log_w - log_w.max())
            expected = (1 - gamma) * w / w.sum() + gamma / K
            np.testing.assert_allclose(q[t, player], expected)
            arm, gain = ((i, won), (j, not won))[player]
            estimate = np.zeros(K)
            estimate[arm] = gain / expected[arm]
            log_w += gamma / (3 * K) * (estimate + alpha / (expected * np.sqrt(K * T)))


def test_dex3_s_is_two_exp3_s_players():
    K, T, S = 4, 500, 10
    _, seen, q = outcomes("dex3-s", K=K, T=T)
    gamma = min(1, np.sqrt(K * (S * np.log(K * T) + np.e) / ((np.e - 1) * T)))
    for player in (0, 1):
        w = np.ones(K)
        for t, (i, j, won) in enumerate(seen):
            expected = (1 - gamma) * w / w.sum() + gamma / K
            np.testing.assert_allclose(q[t, player], expected)
            arm, gain = ((i, won), (j, not won))[player]
            grown = w.copy()
            grown[arm] *= np.exp(gamma * gain / expected[arm] / K)
            w = grown + np.e / T / K * w.sum()


def test_both_beat_uniform_and_dex3_s_follows_a_switch():
    # A strong order, reversed halfway: Dex3.S, told of one change, ends below Dex3.P and below
    # RMED1 and D-TS, which trust what they saw before.
    T, K = 60_000, 5
    p = 0.5 + 0.1 * np.subtract.outer(np.arange(K), np.arange(K)).T
    problem = piecewise(np.stack([p, p[::-1, ::-1]]), [0, T // 2])
    regret = {}
    for name in ("dex3-p", "dex3-s", "rmed1", "d-ts", "uniform"):
        algorithm = create(name, **({"S": 1} if name == "dex3-s" else {}))
        found = simulate(problem, algorithm, horizon=T, repetitions=10, seed=2)
        regret[name] = found.regret["average"][:, -1].mean()
    assert regret["dex3-s"] < 0.5 * regret["uniform"]
    assert regret["dex3-s"] < min(regret["dex3-p"], regret["rmed1"], regret["d-ts"])
