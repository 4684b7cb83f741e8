"""Regret tables: definitions by hand, laws on random matrices, exact regret of uniform play."""

import numpy as np
import pytest
from bandit_references import uniform_dynamic_regret, uniform_regret
from hypothesis import given
from hypothesis import strategies as st

from bandits.preferences import complete, piecewise, relabel
from bandits.problems.orders import arithmetic
from bandits.problems.published import published_matrix
from bandits.problems.random_matrices import condorcet_matrix
from bandits.regret import (
    NAMES,
    policy_regret,
    table,
    tables,
)
from bandits.winners import condorcet_winner

BY_GAPS = NAMES[:6]


@st.composite
def with_winner(draw: st.DrawFn) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    K = draw(st.integers(2, 8))
    return condorcet_matrix(K, int(rng.integers(K)), 0.51, 1.0, rng)


def test_every_definition_by_hand() -> None:
    # Arms 0 > 1 > 2 with gaps 0, .1, .3 to the winner; 1 beats 2 with .6.
    p = complete(np.array([[0, 0.6, 0.8], [0, 0, 0.6], [0, 0, 0]]))
    expected = {  # of the duels (0, 0), (0, 2), (1, 2), (2, 2)
        "average": (0, 0.15, 0.2, 0.3),
        "unhalved": (0, 0.3, 0.4, 0.6),
        "strong": (0, 0.3, 0.3, 0.3),
        "weak": (0, 0, 0.1, 0.3),
        "binary_strong": (0, 1, 1, 1),
        "binary_weak": (0, 0, 1, 1),
        "copeland": (0, 0.5, 0.75, 1),  # Copeland scores 1, 1/2, 0
        "borda": (0, 0.2, 0.3, 0.4),  # Borda scores .7, .5, .3
    }
    for name, values in expected.items():
        r = table(p, name)
        found = (r[0, 0], r[0, 2], r[1, 2], r[2, 2])
        assert found == pytest.approx(values), name
    assert set(expected) == set(tables(p)) == set(NAMES)


@given(with_winner())
def test_regrets_are_symmetric_nonnegative_and_ordered(p: np.ndarray) -> None:
    r = tables(p)
    winner = condorcet_winner(p)
    for name, values in r.items():
        assert values == pytest.approx(values.T), name
        assert values.min() >= -1e-12, name
        if name != "borda":
            assert values[winner, winner] == 0, name
    assert (r["weak"] <= r["average"] + 1e-12).all()
    assert (r["average"] <= r["strong"] + 1e-12).all()
    assert r["weak"] + r["strong"] == pytest.approx(r["unhalved"])
    assert r["unhalved"] == pytest.approx(2 * r["average"])
    assert (r["weak"] <= r["binary_weak"]).all()
    assert (r["strong"] <= r["binary_strong"]).all()


@given(with_winner(), st.integers(0, 100))
def test_relabeled_arms_carry_their_regret_with_them(p: np.ndarray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(p))
    for name, values in tables(relabel(p, order)).items():
        assert values == pytest.approx(relabel(tables(p)[name], order)), name


def test_without_condorcet_winner_only_scores_have_regret() -> None:
    r = tables(published_matrix("mslr5-noncondorcet"))
    assert all(np.isnan(r[name]).all() for name in BY_GAPS)
    # c = (3, 3, 3, 1, 0)/4 and b = (.5125, .5165, .504, .485, .482).
    assert r["copeland"][0, 4] == pytest.approx(0.375)
    assert r["borda"][0, 4] == pytest.approx(0.5165 - (0.5125 + 0.4820) / 2)


def test_tables_of_many_matrices_are_those_of_each() -> None:
    stack = np.stack([published_matrix("mslr5"), published_matrix("mslr5-noncondorcet")])
    for name, values in tables(stack).items():
        assert np.array_equal(values, np.stack([table(p, name) for p in stack]), equal_nan=True)


def test_two_arms() -> None:
    r = tables(arithmetic(K=2, gap=0.1).matrices[0])
    assert all(values[0, 0] == 0 for values in r.values())
    assert all(np.isfinite(values).all() for values in r.values())
    assert r["binary_weak"].tolist() == [[0, 0], [0, 1]]


def test_utility_regrets_of_the_linear_link_are_twice_the_others() -> None:
    # p = (1 + u_i - u_j)/2 makes g_i = (u* - u_i)/2.
    u = np.array([0.9, 0.4, 0.6])
    p = complete((1 + np.subtract.outer(u, u)) / 2)
    r = tables(p, u)
    for name in ("average", "strong", "weak"):
        assert r[f"utility_{name}"] == pytest.approx(2 * r[name]), name


@given(with_winner(), st.integers(0, 100))
def test_policy_regret_of_a_fixed_matrix_is_average_regret_if_the_winner_wins_most(
    p: np.ndarray, seed: int
) -> None:
    # Every duel (i, j) adds one play to i and one to j; the best arm in hindsight is at least as
    # good as the Condorcet winner, which the average regret compares with.
    rng = np.random.default_rng(seed)
    pairs = rng.integers(len(p), size=(50, 2))
    plays = np.bincount(pairs.ravel(), minlength=len(p))
    average = table(p)[pairs[:, 0], pairs[:, 1]].sum()
    assert policy_regret(p[None], plays[None]) >= average - 1e-9
    only_winner = np.eye(len(p))[condorcet_winner(p)] * 100
    assert policy_regret(p[None], only_winner[None]) == pytest.approx(0)


def test_policy_regret_of_preferences_that_cancel_is_zero() -> None:
    p = published_matrix("six-rankers")
    assert policy_regret(np.stack([p, p.T]), np.ones((2, 6))) == pytest.approx(0)


@pytest.mark.parametrize(
    ("name", "mean_gap"), [("six-rankers", 0.06), ("cyclic", 0.075), ("mslr5", 0.134)]
)
def test_uniform_average_regret_is_the_mean_gap(name: str, mean_gap: float) -> None:
    p = published_matrix(name)
    assert uniform_regret(p, distinct=False) == pytest.approx(mean_gap, abs=1e-9)
    assert uniform_regret(p, distinct=True) == pytest.approx(mean_gap, abs=1e-9)


@given(with_winner(), st.sampled_from(NAMES))
def test_uniform_regret_averages_over_all_pairs(p: np.ndarray, name: str) -> None:
    K = len(p)
    pairs = [(i, j) for i in range(K) for j in range(K)]
    r = table(p, name)
    all_pairs = [r[i, j] for i, j in pairs]
    distinct = [r[i, j] for i, j in pairs if i != j]
    assert uniform_regret(p, name, distinct=False) == pytest.approx(np.mean(all_pairs))
    assert uniform_regret(p, name, distinct=True) == pytest.approx(np.mean(distinct))


@pytest.mark.parametrize(
    ("T", "in_first", "in_second"), [(50, 50, 0), (100, 100, 0), (130, 100, 30)]
)
def test_uniform_dynamic_regret_counts_each_segment(T: int, in_first: int, in_second: int) -> None:
    p, q = arithmetic(K=6).matrices[0], published_matrix("six-rankers")
    changing = piecewise(np.stack([p, q]), [0, 100])
    expected = in_first * uniform_regret(p, distinct=True)
    expected += in_second * uniform_regret(q, distinct=True)
    assert uniform_dynamic_regret(changing, T, distinct=True) == pytest.approx(expected)


def test_bad_requests_are_refused() -> None:
    p = published_matrix("cyclic")
    with pytest.raises(ValueError, match=r"unknown regret 'avg'.*average, unhalved"):
        table(p, "avg")
