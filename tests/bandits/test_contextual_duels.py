"""Contextual methods: the logistic estimate against scipy, matrices against numpy, regret."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from bandits.algorithms import create
from bandits.linear import add_contrast, factor, fit, keep_best, max_pair, set_widths, solve
from bandits.preferences import stationary
from bandits.problems.contextual import hypercube
from bandits.simulate import simulate

CONTEXTUAL = ("max-in-p", "colstim", "max-pair-ucb", "vacdb", "sta-d", "fgts-cdb")


def instance(seed: int, K: int = 7, d: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Random features [K, d] and weighted wins [K, K], some pairs without duels."""
    rng = np.random.default_rng(seed)
    wins = rng.integers(0, 30, (K, K)) * (rng.random((K, K)) < 0.5) * rng.random((K, K))
    np.fill_diagonal(wins, 0.0)
    return rng.standard_normal((K, d)), wins


def played(name: str, duels: int = 60, d: int = 3):
    """An algorithm after some duels on a cube, run in Python, with what it played: (i, j, won)."""
    problem = hypercube(d=d, instance=2)
    algorithm, rng = create(name), np.random.default_rng(5)
    algorithm.features = problem.features
    algorithm.start(problem.K, 1000, rng)
    seen = []
    for _ in range(duels):
        i, j = algorithm.choose(rng)
        won = bool(rng.random() < problem.matrices[0, i, j])
        algorithm.observe(i, j, won)
        seen.append((i, j, won))
    return algorithm, seen


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_fit_is_scipys_minimum(seed, ridge):
    x, wins = instance(seed)

    def objective(theta):
        margins = (x @ theta)[:, None] - x @ theta
        return (wins * np.logaddexp(0, -margins)).sum() + ridge / 2 * theta @ theta

    theta = np.full(3, 0.5)
    fit(theta, x, wins, ridge)
    found = minimize(objective, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(theta, found.x, rtol=1e-4, atol=1e-5)


def test_fit_of_separable_duels_stays_finite():
    x = np.eye(3)
    wins = np.zeros((3, 3))
    wins[0, 1] = 1e6
    theta = np.zeros(3)
    fit(theta, x, wins, 1e-3)
    assert np.isfinite(theta).all()
    assert theta[0] > 5
    assert theta[0] == pytest.approx(-theta[1])


@given(seed=st.integers(0, 10_000), weight=st.floats(0.001, 10))
@settings(max_examples=30, deadline=None)
def test_contrasts_keep_the_inverse_and_the_widths(seed, weight):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((6, 4))
    M, inverse = 0.1 * np.eye(4), 10.0 * np.eye(4)
    for _ in range(20):
        i, j = rng.choice(6, 2, replace=False)
        M += weight * np.outer(x[i] - x[j], x[i] - x[j])
        add_contrast(inverse, x, i, j, weight)
    np.testing.assert_allclose(inverse, np.linalg.inv(M), rtol=1e-6, atol=1e-9)
    width = np.zeros((6, 6))
    set_widths(width, inverse, x)
    z = x[:, None] - x
    naive = np.sqrt(np.einsum("ija,ab,ijb->ij", z, np.linalg.inv(M), z))
    np.testing.assert_allclose(width, naive, rtol=1e-5, atol=1e-8)


def test_factor_and_solve_are_numpys():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((5, 8))
    A = A @ A.T
    L, y = A.copy(), rng.standard_normal(5)
    factor(L)
    np.testing.assert_allclose(np.tril(L), np.linalg.cholesky(A))
    np.testing.assert_allclose(solve(L, y), np.linalg.solve(A, y))


@pytest.mark.parametrize("name", ["max-in-p", "colstim", "max-pair-ucb"])
def test_state_is_what_was_played(name):
    algorithm, seen = played(name)
    wins = np.zeros_like(algorithm.wins)
    M = algorithm.ridge * np.eye(3)
    for i, j, won in seen:
        if i != j:
            wins[i if won else j, j if won else i] += 1
            z = algorithm.features[i] - algorithm.features[j]
            M += np.outer(z, z)
    assert (algorithm.wins == wins).all()
    np.testing.assert_allclose(algorithm.inverse, np.linalg.inv(M), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(algorithm.u, algorithm.features @ algorithm.theta)


def test_max_in_p_plays_the_widest_pair_of_possible_winners():
    algorithm, _ = played("max-in-p")
    i, j = algorithm.choose(np.random.default_rng(0))
    gaps = algorithm.u[:, None] - algorithm.u + algorithm.beta * algorithm.width
    C = (gaps >= 0).all(axis=1)
    assert C[i]
    assert C[j]
    assert algorithm.width[i, j] == algorithm.width[np.ix_(C, C)].max()


def test_max_in_p_repeats_its_only_possible_winner():
    algorithm, _ = played("max-in-p")
    algorithm.u[:] = np.arange(8) * 1e6
    assert algorithm.choose(np.random.default_rng(0)) == (7, 7)


def test_max_pair_is_the_largest_score():
    rng = np.random.default_rng(3)
    for _ in range(50):
        u, active = rng.standard_normal(6), rng.random(6) < 0.7
        if not active.any():
            continue
        width = np.abs(rng.standard_normal((6, 6)))
        width = (width + width.T) * (1 - np.eye(6))
        score = np.where(np.outer(active, active), u[:, None] + u + 0.7 * width, -np.inf)
        assert score[max_pair(u, width, 0.7, active, rng)] == score.max()


def test_keep_best_drops_arms_below_the_margin():
    active = np.array([True, True, True, False])
    keep_best(np.array([1.0, 0.4, 0.6, 9.0]), active, 0.5)
    assert active.tolist() == [True, False, True, False]


def test_colstim_perturbations_are_gumbel_cut_off():
    algorithm, _ = played("colstim", duels=0)
    rng = np.random.default_rng(1)
    drawn = np.array([algorithm.perturbation(rng) for _ in range(20_000)])
    assert abs(drawn).max() <= algorithm.cut == pytest.approx(np.sqrt(3 * np.log(1000)))
    for x in (-1.0, 0.0, 1.0, 3.0):
        assert (drawn <= x).mean() == pytest.approx(np.exp(-np.exp(-x)), abs=0.015)


def test_vacdb_weights_keep_every_layer_within_its_level():
    # w^2 |z|^2 <= 4^-l by the choice of w, and a duel needs |z| > 2^-l, so w < 1.
    algorithm, seen = played("vacdb", duels=300)
    weights = np.zeros(algorithm.L)
    for k in range(algorithm.L):
        level = 2.0 ** -(k + 1)
        weights[k] = algorithm.wins[k].sum()
        M = np.linalg.inv(algorithm.inverse[k])
        N = algorithm.wins[k] + algorithm.wins[k].T
        z = algorithm.features[:, None] - algorithm.features
        naive = level**2 * np.eye(3) + np.einsum("ij,ija,ijb->ab", N, z, z) / 2
        np.testing.assert_allclose(M, naive, rtol=1e-6, atol=1e-9)
    assert weights[0] > 0
    assert weights.sum() < len(seen)


def test_sta_d_stages_share_no_duels():
    algorithm, seen = played("sta-d", duels=300)
    assert algorithm.wins.sum() == len(seen)
    assert (algorithm.wins[0] > 0).any()


def test_fgts_without_duels_samples_its_prior():
    # Langevin steps of size 1/4 inflate a variance by 1/(1 - 1/8).
    algorithm, _ = played("fgts-cdb", duels=0)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(4000):
        algorithm.choose(rng)
        drawn.append(algorithm.theta.copy())
    assert np.var(drawn) == pytest.approx(8 / 7, rel=0.06)
    assert abs(np.mean(drawn)) < 0.05
    assert abs(np.corrcoef(np.array(drawn)[:, :, 0].T)[0, 1]) < 0.06


@pytest.mark.parametrize(
    ("name", "horizon"), [(name, 40_000 if name == "max-in-p" else 4_000) for name in CONTEXTUAL]
)
def test_regret_grows_ever_slower_and_stays_below_uniform(name, horizon):
    # MaxInP, with its wide confidence, still explores after 4 000 duels.
    found, uniform = (
        simulate(
            hypercube(d=3, scale=4.0),
            create(player),
            horizon=horizon,
            repetitions=8,
            seed=3,
            checkpoints=[horizon // 2, horizon],
        )
        .regret["average"]
        .mean(axis=0)
        for player in (name, "uniform")
    )
    assert found[1] < 0.5 * uniform[1]
    assert found[1] - found[0] < 0.7 * found[0]


def test_a_problem_without_features_is_refused():
    with pytest.raises(ValueError, match=r"MaxInP.*features.*hypercube"):
        simulate(
            stationary(np.full((3, 3), 0.5)),
            create("max-in-p"),
            horizon=10,
            repetitions=1,
            seed=0,
        )


def test_features_follow_the_shuffled_labels():
    # One arm is far better; whatever its label, it ends up played against itself or its like.
    x = np.array([[3.0, 0.0], [0.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    u = x @ np.array([2.0, 0.0])
    p = 1 / (1 + np.exp(-np.subtract.outer(u, u)))
    found = simulate(
        stationary(p, features=x), create("colstim"), horizon=2000, repetitions=8, seed=1
    )
    assert (found.plays[:, 0, 0] > 1500).all()
