"""Ties up to rounding are ties, for every kind of winner, regret and bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits import lower_bounds, winners
from bandits.preferences import complete, piecewise
from bandits.problems.changing import detect_delta
from bandits.regret import tables
from bandits.winners import TIE, beats, loses


@st.composite
def rounded(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A matrix of tenths, with many ties, and the same one as rounding may leave it."""
    K = draw(st.integers(2, 6))
    tenths = draw(st.lists(st.integers(3, 7), min_size=K * K, max_size=K * K))
    noise = draw(st.lists(st.integers(-9, 9), min_size=K * K, max_size=K * K))
    p = np.array(tenths, float).reshape(K, K) / 10
    return complete(p), complete(p + np.array(noise).reshape(K, K) * np.spacing(0.5))


@given(rounded())
def test_rounding_changes_no_winner_regret_or_bound(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = pair
    assert winners.condorcet_winner(q) == winners.condorcet_winner(p)
    assert (winners.copeland_winners(q) == winners.copeland_winners(p)).all()
    assert (winners.borda_winners(q) == winners.borda_winners(p)).all()
    for name, values in tables(q).items():
        assert values == pytest.approx(tables(p)[name], nan_ok=True, abs=1e-12), name
    bounds = [lower_bounds.ecw_rmed_constant]
    if winners.condorcet_winner(p) is not None:
        bounds += [lower_bounds.lower_bound_constant, lower_bounds.rmed1_constant]
    for bound in bounds:
        assert bound(q) == pytest.approx(bound(p), rel=1e-9)


@given(st.floats(-3 * TIE, 3 * TIE))
def test_one_beats_the_other_exactly_where_that_loses(gap: float) -> None:
    p = complete(np.array([[0.5, 0.5 + gap], [0, 0.5]]))
    assert (beats(p) == loses(p).T).all()
    assert beats(p)[0, 1] == (p[0, 1] > 0.5 + TIE)


def test_two_arms_tied_up_to_rounding_have_no_winner_and_no_bound() -> None:
    p = complete(np.array([[0.5, 0.5 + 1.2e-16], [0, 0.5]]))
    assert p[0, 1] > 0.5
    assert winners.condorcet_winner(p) is None
    assert np.isnan(tables(p)["average"]).all()
    with pytest.raises(ValueError, match="no Condorcet winner"):
        lower_bounds.lower_bound_constant(p)
    with pytest.raises(ValueError, match=r"does not beat arms \[1\]"):
        winners.require_condorcet(p)


def test_the_old_winner_of_a_change_is_not_one_by_rounding() -> None:
    # Arm 1 beats 2; that 0 beats 1 and 2 is rounding alone.
    first = complete(np.array([[0, 0.5 + 1.2e-16, 0.5 + 1.2e-16], [0, 0, 0.6], [0, 0, 0]]))
    then = complete(np.array([[0, 0.9, 0.5], [0, 0, 0.8], [0, 0, 0]]))
    assert detect_delta(piecewise(np.stack([first, then]), [0, 9])) == pytest.approx(0.4)
