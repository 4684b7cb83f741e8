"""Segment scores: closed forms, and indifference to padding."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pbrl import scores

N, T = 6, 9


def values(seed: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(N, T, generator=g, dtype=torch.float64)


def prefix_mask(seed: int = 0) -> torch.Tensor:
    lengths = np.random.default_rng(seed).integers(1, T + 1, N)
    return torch.from_numpy(np.arange(T) < lengths[:, None])


V, MASK, FULL = values(0), prefix_mask(), torch.ones(N, T, dtype=torch.bool)
ALL = {
    "masked_sum": scores.masked_sum,
    "myopic_sum": lambda v, m: scores.myopic_sum(v, m, 0.9),
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
def test_the_myopic_discount_runs_from_the_end(gamma: float, length: int) -> None:
    mask = FULL & (torch.arange(T) < length)
    expected = (V.numpy()[:, :length] * gamma ** np.arange(length)[::-1]).sum(1)
    np.testing.assert_allclose(scores.myopic_sum(V, mask, gamma), expected, rtol=1e-12)


def test_the_undiscounted_sum_is_the_plain_one() -> None:
    torch.testing.assert_close(scores.masked_sum(V, MASK), (V * MASK).sum(1))
    torch.testing.assert_close(scores.myopic_sum(V, MASK, 1.0), (V * MASK).sum(1))


def test_the_myopic_golden_value() -> None:
    mask = torch.ones(1, 3, dtype=torch.bool)
    first, second = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 0, 0.95]])
    assert scores.myopic_sum(first, mask, 0.9).item() == pytest.approx(0.81)
    assert scores.myopic_sum(second, mask, 0.9).item() == pytest.approx(0.95)


@pytest.mark.parametrize("score", ALL.values(), ids=ALL)
def test_a_member_axis_may_lead(score) -> None:
    torch.testing.assert_close(score(torch.stack([V, 2 * V]), MASK)[1], 2 * score(V, MASK))
