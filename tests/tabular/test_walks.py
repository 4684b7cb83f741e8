"""Pairs of walks: drawn by the tables, nested budgets, what a teacher and a learner get of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.tabular import chains, grids
from pbrl.errors import CellError
from pbrl.segments import GroundTruthError
from pbrl.tabular import walks

DELIVERY = grids.delivery()
STOCHASTIC = grids.random_mdp("stochastic").sample(np.random.default_rng(1))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("absorbing", [True, False])
@given(st.integers(0, 3000), st.integers(0, 3000))
def test_fewer_pairs_are_the_first_of_more(absorbing: bool, m: int, n: int) -> None:
    few, many = sorted((m, n))
    one = walks.draw(DELIVERY, few, 3, rng(), absorbing=absorbing)
    other = walks.draw(DELIVERY, many, 3, rng(), absorbing=absorbing)
    for a, b in zip(one, other, strict=True):
        assert np.array_equal(a.states, b[:few].states)
        assert np.array_equal(a.actions, b[:few].actions)


def test_walks_go_where_the_tables_lead_as_often_as_they_say() -> None:
    first, second = walks.draw(STOCHASTIC, 100_000, 2, rng())
    counts = np.zeros_like(STOCHASTIC.transitions)
    for side in (first, second):
        for t in range(2):
            now = side.mask[:, t]
            place = (side.states[now, t], side.actions[now, t], side.states[now, t + 1])
            np.add.at(counts, place, 1)
            assert (~STOCHASTIC.terminal[side.states[now, t]]).all()
    assert (counts[STOCHASTIC.transitions == 0] == 0).all()
    total = counts.sum(-1, keepdims=True)
    expected = STOCHASTIC.transitions * total
    spread = np.sqrt(expected * (1 - STOCHASTIC.transitions))
    assert (np.abs(counts - expected) <= 6 * spread + 3).all()
    starts = np.bincount(first.states[:, 0], minlength=STOCHASTIC.states) / 100_000
    assert np.abs(starts - STOCHASTIC.start).max() < 0.005


def test_an_ended_walk_stays_in_steps_that_do_not_exist() -> None:
    first, _ = walks.draw(DELIVERY, 5000, 6, rng())
    ended = DELIVERY.terminal[first.states[:, :-1]]
    assert 0 < ended.mean() < 0.5
    assert np.array_equal(first.mask, ~ended)
    assert (first.states[:, 1:][ended] == first.states[:, :-1][ended]).all()
    whole, _ = walks.draw(DELIVERY, 5000, 6, rng(), absorbing=False)
    assert whole.mask.all()
    assert DELIVERY.terminal[whole.states[:, -1]].any()  # the last step may enter an end


def test_a_teacher_reads_the_true_reward_and_a_learner_none() -> None:
    first, _ = walks.draw(DELIVERY, 500, 4, rng())
    found = walks.segments(DELIVERY, first)
    returns = first.features(DELIVERY) @ DELIVERY.weights
    np.testing.assert_allclose(found.ground_truth.sum(1).numpy(), returns, atol=1e-12)
    assert np.array_equal(found.mask.numpy(), first.mask)
    states = found.obs[..., 0].numpy()
    assert np.array_equal(states[first.mask], first.states[:, :-1][first.mask])
    entered = found.terminal.numpy()
    assert np.array_equal(entered, DELIVERY.terminal[first.states[:, 1:]] & first.mask)
    with pytest.raises(GroundTruthError):
        found.without_reward().ground_truth  # noqa: B018


def test_worlds_in_which_no_walk_is_long_enough_are_told(monkeypatch) -> None:
    monkeypatch.setattr(walks, "BLOCKS", 3)
    short = chains.deep_sea_treasure()
    with pytest.raises(CellError, match=r"only \d+ go on for 60 steps; 5000 are asked for"):
        walks.draw(short, 5000, 60, rng(), absorbing=False)
