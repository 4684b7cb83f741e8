"""Winners: definitions on known matrices, laws on random ones, the LP against Hedge self-play."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.preferences import complete, relabel
from bandits.problems.intransitive import borda_versus_condorcet, circle, cyclic_blocks, swirl
from bandits.problems.published import published_matrix
from bandits.winners import (
    borda_scores,
    borda_winners,
    condorcet_winner,
    copeland_scores,
    copeland_winners,
    require_condorcet,
    von_neumann_winner,
)


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    K = draw(st.integers(2, 7))
    percent = draw(st.lists(st.integers(0, 100), min_size=K * K, max_size=K * K))
    return complete(np.array(percent, float).reshape(K, K) / 100)


def hedge_self_play(p: np.ndarray, rounds: int = 40_000) -> np.ndarray:
    """Average play of a learner with exponential weights against itself in the game p - 1/2."""
    game, gains = p - 0.5, np.zeros(len(p))
    average = np.zeros(len(p))
    eta = np.sqrt(8 * np.log(len(p)) / rounds)
    for _ in range(rounds):
        pi = np.exp(eta * (gains - gains.max()))
        pi /= pi.sum()
        average += pi / rounds
        gains += game @ pi
    return average


def test_six_rankers_has_winner_0_with_gap_four_percent() -> None:
    p = published_matrix("six-rankers")
    assert condorcet_winner(p) == 0
    assert p[0] - 0.5 == pytest.approx([0, 0.05, 0.05, 0.04, 0.11, 0.11])
    assert (
        copeland_scores(p)[3] == copeland_scores(p)[5] + 0.2
    )  # the tie of 3 and 5 counts for neither


def test_published_matrix_without_condorcet_winner() -> None:
    p = published_matrix("mslr5-noncondorcet")
    assert condorcet_winner(p) is None
    assert copeland_scores(p) * 4 == pytest.approx([3, 3, 3, 1, 0])
    assert copeland_winners(p).tolist() == [0, 1, 2]
    assert borda_scores(p) == pytest.approx([0.5125, 0.5165, 0.5040, 0.4850, 0.4820])
    assert borda_winners(p).tolist() == [1]


def test_borda_and_condorcet_winners_can_differ() -> None:
    p = borda_versus_condorcet().matrices[0]
    assert condorcet_winner(p) == 0
    assert borda_winners(p).tolist() == [1]


def test_require_condorcet_says_who_is_not_beaten() -> None:
    p = published_matrix("mslr5-noncondorcet")
    with pytest.raises(ValueError, match=r"no Condorcet winner.*\[0, 1, 2\].*not beat arms \[1\]"):
        require_condorcet(p)
    with pytest.raises(ValueError, match="clicks has no Condorcet winner"):
        require_condorcet(p, "clicks")


def test_a_tie_with_the_best_arm_leaves_no_condorcet_winner() -> None:
    assert condorcet_winner(complete(np.array([[0.5, 0.5], [0, 0.5]]))) is None


@given(a=st.floats(0.01, 0.5), b=st.floats(0.01, 0.5), c=st.floats(0.01, 0.5))
def test_von_neumann_of_three_in_a_cycle_weighs_each_by_the_opposite_margin(
    a: float, b: float, c: float
) -> None:
    # 0 beats 1 by a, 2 beats 0 by b, 1 beats 2 by c: closed form (c, b, a)/(a + b + c).
    p = complete(0.5 + np.array([[0, a, -b], [0, 0, c], [0, 0, 0]]))
    assert von_neumann_winner(p) == pytest.approx(np.array([c, b, a]) / (a + b + c), abs=1e-6)


@given(matrices())
def test_von_neumann_winner_beats_every_arm_half_the_time(p: np.ndarray) -> None:
    pi = von_neumann_winner(p)
    assert pi.min() >= 0
    assert pi.sum() == pytest.approx(1)
    assert (pi @ p).min() >= 0.5 - 1e-7


@given(matrices())
def test_a_condorcet_winner_is_the_only_copeland_and_von_neumann_winner(p: np.ndarray) -> None:
    winner = condorcet_winner(p)
    if winner is not None:
        assert copeland_winners(p).tolist() == [winner]
        assert von_neumann_winner(p)[winner] == pytest.approx(1)


@pytest.mark.parametrize(
    "p", [cyclic_blocks().matrices[0], circle(5, 0.2)], ids=["blocks", "circle"]
)
def test_von_neumann_by_linear_program_agrees_with_hedge_self_play(p: np.ndarray) -> None:
    assert von_neumann_winner(p) == pytest.approx(hedge_self_play(p), abs=0.02)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10_000))
def test_hedge_self_play_is_no_better_than_the_linear_program(seed: int) -> None:
    p = complete(np.random.default_rng(seed).random((6, 6)))
    worst = (hedge_self_play(p) @ p).min()
    assert 0.5 - 0.01 < worst <= (von_neumann_winner(p) @ p).min() + 1e-9


@given(matrices(), st.randoms(use_true_random=False))
def test_winners_do_not_depend_on_the_names_of_the_arms(p: np.ndarray, random: object) -> None:
    order = np.array(random.sample(range(len(p)), len(p)))  # type: ignore[attr-defined]
    q = relabel(p, order)
    winner = condorcet_winner(q)
    assert (None if winner is None else order[winner]) == condorcet_winner(p)
    assert copeland_scores(q) == pytest.approx(copeland_scores(p)[order])
    assert borda_scores(q) == pytest.approx(borda_scores(p)[order])
    assert (von_neumann_winner(q) @ q).min() == pytest.approx((von_neumann_winner(p) @ p).min())


@given(matrices())
def test_average_scores_are_those_of_a_symmetric_contest(p: np.ndarray) -> None:
    assert borda_scores(p).mean() == pytest.approx(0.5)
    assert copeland_scores(p).mean() <= 0.5 + 1e-9  # ties count for neither


def test_scores_of_many_matrices_at_once_are_those_of_each() -> None:
    stack = np.stack([swirl().matrices[0], borda_versus_condorcet().matrices[0]])
    assert borda_scores(stack).tolist() == [borda_scores(p).tolist() for p in stack]
    assert copeland_scores(stack).tolist() == [copeland_scores(p).tolist() for p in stack]
