"""Segment scores: closed forms, identities between methods, and indifference to padding."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pbrl import scores

N, T = 6, 9


def values(seed: int, *shape: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (N, T)), generator=g, dtype=torch.float64)


def prefix_mask(seed: int = 0) -> torch.Tensor:
    lengths = np.random.default_rng(seed).integers(1, T + 1, N)
    return torch.from_numpy(np.arange(T) < lengths[:, None])


V, MASK, FULL = values(0), prefix_mask(), torch.ones(N, T, dtype=torch.bool)
LOG_P = -values(1).abs() - 0.1
ALL = {
    "masked_sum": lambda v, m: scores.masked_sum(v, m),
    "masked_mean": lambda v, m: scores.masked_mean(v, m),
    "weighted_sum": lambda v, m: scores.weighted_sum(v, V.exp(), m),
    "discounted_sum": lambda v, m: scores.discounted_sum(v, m, 0.9),
    "myopic_sum": lambda v, m: scores.myopic_sum(v, m, 0.9),
    "implied_return": lambda v, m: scores.implied_return(v, V, m, 0.9),
    "policy_score": lambda v, m: scores.policy_score(v, m, alpha=0.1, gamma=0.9),
    "log_ratio_score": lambda v, m: scores.log_ratio_score(v, LOG_P, m, beta=0.1),
    "length_normalized_score": lambda v, m: scores.length_normalized_score(v, m, beta=2.0),
    "log_odds_score": lambda v, m: scores.log_odds_score(-v.abs() - 0.1, m),
    "expected_return_change": lambda v, m: scores.expected_return_change(
        v, m, value_start=V[:, 0], value_end=V[:, 1], gamma=0.9
    ),
    "distance_score": lambda v, m: scores.distance_score(
        v[..., None].expand(*v.shape, 2), V[..., None].expand(N, T, 2) + 1, m, temperature=0.1
    ),
}


@pytest.mark.parametrize("score", ALL.values(), ids=ALL)
def test_padding_never_counts_and_its_gradient_is_zero(score) -> None:
    clean = values(2).requires_grad_()
    dirty = clean.detach().masked_fill(~MASK, math.nan).requires_grad_()
    one, other = score(clean, MASK), score(dirty, MASK)
    assert one.shape == (N,)
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    one.sum().backward()
    assert clean.grad is not None
    assert not clean.grad[~MASK].any()


@given(st.floats(0.1, 1.0), st.integers(1, T))
def test_discounts_run_from_the_named_end(gamma: float, length: int) -> None:
    mask = FULL & (torch.arange(T) < length)
    v, rows = V.numpy()[:, :length], np.arange(length)
    from_start = (v * gamma**rows).sum(1)
    from_end = (v * gamma ** rows[::-1]).sum(1)
    np.testing.assert_allclose(scores.discounted_sum(V, mask, gamma), from_start, rtol=1e-12)
    np.testing.assert_allclose(scores.myopic_sum(V, mask, gamma), from_end, rtol=1e-12)


def test_undiscounted_sums_are_plain_sums() -> None:
    for score in (scores.discounted_sum, scores.myopic_sum):
        torch.testing.assert_close(score(V, MASK, 1.0), (V * MASK).sum(1))


def test_the_myopic_golden_value() -> None:
    mask = torch.ones(1, 3, dtype=torch.bool)
    first, second = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 0, 0.95]])
    assert scores.myopic_sum(first, mask, 0.9).item() == pytest.approx(0.81)
    assert scores.myopic_sum(second, mask, 0.9).item() == pytest.approx(0.95)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_both_forms_of_regret_agree_when_transitions_are_certain(gamma: float) -> None:
    """A random deterministic MDP solved by value iteration: the sum of A* telescopes."""
    g = np.random.default_rng(3)
    states, actions, horizon = 5, 3, 60
    successor, reward = g.integers(0, states, (states, actions)), g.normal(size=(states, actions))
    if gamma == 1.0:
        successor = np.minimum(np.arange(states)[:, None] + 1 + successor % 2, states - 1)
        reward[-1] = 0  # absorbing
    value = np.zeros(states)
    for _ in range(horizon * 20):
        q = reward + gamma * value[successor]
        value = q.max(1)
    advantage = q - value[:, None]

    state, act = np.zeros((N, T + 1), dtype=int), g.integers(0, actions, (N, T))
    state[:, 0] = g.integers(0, states, N)
    for t in range(T):
        state[:, t + 1] = successor[state[:, t], act[:, t]]
    ends = MASK.sum(1).numpy()
    change = scores.expected_return_change(
        torch.from_numpy(reward[state[:, :-1], act]),
        MASK,
        value_start=torch.from_numpy(value[state[:, 0]]),
        value_end=torch.from_numpy(value[state[np.arange(N), ends]]),
        gamma=gamma,
    )
    regret = torch.from_numpy(advantage[state[:, :-1], act])
    torch.testing.assert_close(change, scores.discounted_sum(regret, MASK, gamma))
    assert (change <= 1e-9).all()
    best = torch.from_numpy(advantage.max(1)[state[:, :-1]])
    assert not scores.masked_sum(best, MASK).any()


def test_ipl_with_gamma_zero_is_the_partial_return_of_q() -> None:
    score = scores.implied_return(V, values(4), MASK, gamma=0.0)
    torch.testing.assert_close(score, scores.masked_sum(V, MASK))


def test_cpl_is_dpo_with_a_uniform_reference() -> None:
    uniform = torch.full_like(LOG_P, -math.log(4))
    dpo = scores.log_ratio_score(LOG_P, uniform, FULL, beta=0.3)
    cpl = scores.policy_score(LOG_P, FULL, alpha=0.3)
    torch.testing.assert_close((dpo - dpo[:1]), (cpl - cpl[:1]))


def test_log_odds_match_the_definition() -> None:
    p = torch.exp((LOG_P * MASK).sum(1) / MASK.sum(1))
    torch.testing.assert_close(scores.log_odds_score(LOG_P, MASK), torch.log(p / (1 - p)))


def test_the_dppo_score_has_no_gradient_where_the_policy_is_exact() -> None:
    actions = values(5, N, T, 2)
    policy = actions.clone().requires_grad_()
    score = scores.distance_score(policy, actions, MASK, temperature=0.1)
    score.sum().backward()
    assert not score.any()
    assert policy.grad is not None
    assert not policy.grad.any()
    moved = scores.distance_score(
        actions + torch.tensor([0.6, 0.8]), actions, MASK, temperature=0.1
    )
    torch.testing.assert_close(moved, torch.full((N,), -5.0, dtype=torch.float64))


def test_a_member_axis_may_lead() -> None:
    stacked = torch.stack([V, 2 * V])
    torch.testing.assert_close(
        scores.discounted_sum(stacked, MASK, 0.9)[1], 2 * scores.discounted_sum(V, MASK, 0.9)
    )
