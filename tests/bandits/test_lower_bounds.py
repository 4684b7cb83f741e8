"""Constants of ln T: the published matrices' values, and linear programs solved by scipy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from bandits.lower_bounds import (
    cheapest_cover,
    ecw_rmed_constant,
    kl,
    lower_bound_constant,
    rmed1_constant,
)
from bandits.preferences import relabel
from bandits.problems.intransitive import borda_versus_condorcet
from bandits.problems.orders import arithmetic
from bandits.problems.published import published_matrix
from bandits.problems.random_matrices import condorcet_matrix
from bandits.regret import NAMES, table


@st.composite
def with_winner(draw: st.DrawFn) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    K = draw(st.integers(2, 8))
    return condorcet_matrix(K, int(rng.integers(K)), 0.52, 1.0, rng)


@pytest.mark.parametrize(
    ("p", "c1", "c2"),
    [
        (published_matrix("six-rankers"), 20.735, 20.735),
        (arithmetic().matrices[0], 12.712, 12.712),
        (published_matrix("cyclic"), 7.450, 0.815),
        (borda_versus_condorcet().matrices[0], 474.97, 25.26),
    ],
    ids=["six-rankers", "arithmetic", "cyclic", "borda-versus-condorcet"],
)
def test_constants_of_known_matrices(p: np.ndarray, c1: float, c2: float) -> None:
    assert rmed1_constant(p) == pytest.approx(c1, rel=1e-4)
    assert lower_bound_constant(p) == pytest.approx(c2, rel=1e-3)


def test_constant_of_the_rounded_mslr_table_is_close_to_that_of_the_full_one() -> None:
    # 11.120 with eight decimals; the smallest gap loses 0.6 % by rounding to three.
    assert rmed1_constant(published_matrix("mslr5")) == pytest.approx(11.120, rel=0.01)


@pytest.mark.parametrize(("T", "bound"), [(1e4, 191), (1e5, 239), (1e6, 286)])
def test_lower_bound_on_six_rankers_in_duels(T: float, bound: float) -> None:
    assert lower_bound_constant(published_matrix("six-rankers")) * np.log(T) == pytest.approx(
        bound, abs=0.5
    )


def test_divergence_of_coins() -> None:
    assert kl(0.5, 0.5) == 0
    assert kl(0.0, 0.5) == pytest.approx(np.log(2))
    assert kl(0.4, 0.5) == pytest.approx(0.0201355)
    assert kl([0.3, 0.7], 0.5) == pytest.approx([0.0822828] * 2, rel=1e-5)


@given(with_winner())
def test_the_bound_solves_its_linear_program(p: np.ndarray) -> None:
    # min regret . q over duels q of unordered pairs such that every arm but the winner is known
    # to lose: sum over its superiors j of q_ij d(p_ij, 1/2) >= 1.
    K = len(p)
    pairs = list(itertools.combinations(range(K), 2))
    winner = int((p > 0.5).sum(axis=1).argmax())
    losers = [i for i in range(K) if i != winner]
    shown = np.zeros((len(losers), len(pairs)))
    for row, i in enumerate(losers):
        for column, pair in enumerate(pairs):
            if i in pair:
                j = sum(pair) - i
                shown[row, column] = kl(p[i, j], 0.5) if p[i, j] < 0.5 else 0.0
    for name in ("average", "strong", "copeland"):
        prices = [table(p, name)[pair] for pair in pairs]
        best = linprog(prices, A_ub=-shown, b_ub=-np.ones(len(losers)))
        assert lower_bound_constant(p, name) == pytest.approx(best.fun, rel=1e-6), name


@given(with_winner())
def test_rmed1_is_never_below_the_bound(p: np.ndarray) -> None:
    for name in NAMES[:6]:
        assert rmed1_constant(p, name) >= lower_bound_constant(p, name) - 1e-9, name
    assert lower_bound_constant(p, "weak") == 0
    assert lower_bound_constant(p, "binary_weak") == 0


@given(with_winner(), st.integers(0, 100))
def test_constants_do_not_depend_on_the_names_of_the_arms(p: np.ndarray, seed: int) -> None:
    q = relabel(p, np.random.default_rng(seed).permutation(len(p)))
    assert lower_bound_constant(q) == pytest.approx(lower_bound_constant(p))
    assert rmed1_constant(q) == pytest.approx(rmed1_constant(p))
    assert ecw_rmed_constant(q) == pytest.approx(ecw_rmed_constant(p))


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=6), st.integers(0, 5))
def test_cheapest_cover_solves_its_linear_program(prices: list[float], spare: int) -> None:
    # Removing any `spare` entries must leave a sum of at least 1.
    n = len(prices)
    spare = min(spare, n - 1)
    kept = [[float(k in s) for k in range(n)] for s in itertools.combinations(range(n), n - spare)]
    best = linprog(prices, A_ub=-np.array(kept), b_ub=-np.ones(len(kept)))
    assert cheapest_cover(np.array(prices), spare) == pytest.approx(best.fun, rel=1e-6)
    assert cheapest_cover(np.array(prices), -1) == 0


@given(with_winner())
def test_ecw_rmed_with_a_condorcet_winner_draws_only_its_own_pairs(p: np.ndarray) -> None:
    # Every inferior of the winner is priced by its Copeland regret against the winner.
    assert ecw_rmed_constant(p) == pytest.approx(rmed1_constant(p, "copeland"))


def test_without_condorcet_winner_the_copeland_constant_exists_and_the_others_say_why_not() -> None:
    p = published_matrix("mslr5-noncondorcet")
    assert ecw_rmed_constant(p) == pytest.approx(261.954, rel=1e-4)
    with pytest.raises(ValueError, match="no Condorcet winner"):
        lower_bound_constant(p)
    with pytest.raises(ValueError, match="no Condorcet winner"):
        rmed1_constant(p)
