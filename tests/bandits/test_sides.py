"""P(theta > 1/2) for theta ~ Beta(1 + wins, 1 + losses), followed duel by duel."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from interpreted import Draws
from scipy import stats

from bandits.numerics import beats, forget_side, record_side, sides


def after(outcomes):
    """(side, W) of two arms after duels, True for a win of the first."""
    side, W = sides(2), np.zeros((2, 2))
    for won in outcomes:
        winner, loser = (0, 1) if won else (1, 0)
        record_side(side, W, winner, loser)
        W[winner, loser] += 1
    return side, W


def exact(W):
    return stats.beta.sf(0.5, 1 + W[0, 1], 1 + W[1, 0])


@given(st.lists(st.booleans(), max_size=200))
@example([True] * 200)
@example([False] * 200)
def test_probability_is_that_of_the_beta_law(outcomes):
    side, W = after(outcomes)
    assert side[0, 1] == pytest.approx(exact(W), abs=1e-14)


@given(st.floats(0.3, 0.7), st.integers(0, 100))
@example(0.5, 0)
def test_it_stays_so_after_many_duels(p, seed):
    side, W = after(np.random.default_rng(seed).random(3000) < p)
    assert side[0, 1] == pytest.approx(exact(W), abs=1e-13)


@pytest.mark.parametrize("first", [True, False])
def test_it_recovers_where_its_change_has_underflowed(first):
    """1,500 wins in a row, 2^-1500 under all doubles, then as many losses: even again."""
    side, W = after([first] * 1500)
    assert side[0, 1] == pytest.approx(float(first), abs=1e-15)
    assert side[1, 0] == 0.0
    side, W = after([first] * 1500 + [not first] * 1450)
    assert side[0, 1] == pytest.approx(exact(W), abs=1e-12)
    side, W = after([first] * 1500 + [not first] * 1500)
    assert side[0, 1] == pytest.approx(0.5, abs=1e-12)


@given(st.lists(st.booleans(), max_size=100), st.lists(st.booleans(), min_size=1, max_size=100))
@example([], [True] * 1200)
def test_what_was_recorded_can_be_taken_back(kept, taken):
    side, W = after(taken + kept)
    for won in taken:
        winner, loser = (0, 1) if won else (1, 0)
        forget_side(side, W, winner, loser)
        W[winner, loser] -= 1
    expected, _ = after(kept)
    np.testing.assert_allclose(side, expected, rtol=1e-9, atol=1e-12)


def test_a_side_is_drawn_as_often_as_a_sample_falls_on_it():
    side, W = after([True] * 5 + [False] * 3)
    draws = Draws(np.random.default_rng(0))
    n = 40_000
    found = [sum(beats(side, i, 1 - i, draws) for _ in range(n)) / n for i in (0, 1)]
    sampled = np.mean([draws.beta(6.0, 4.0) > 0.5 for _ in range(n)])
    error = 4 * 0.5 / n**0.5
    assert found == pytest.approx([exact(W), 1 - exact(W)], abs=error)
    assert sampled == pytest.approx(exact(W), abs=error)
