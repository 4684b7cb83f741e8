"""Small numerics that several algorithms share; usable in Python and inside compiled code."""

import math
from typing import Any

import numpy as np
from numba.extending import register_jitable


@register_jitable
def permutation(K: int, rng: Any) -> np.ndarray:
    """The arms 0..K-1 in uniformly random order, int64 [K]."""
    order = np.arange(K)
    for last in range(K - 1, 0, -1):
        k = rng.integers(last + 1)
        order[last], order[k] = order[k], order[last]
    return order


@register_jitable
def pick(member: np.ndarray, rng: Any) -> int:
    """An index of `member` (bool [K], at least one true), uniformly among the true ones."""
    count = 0
    for k in range(member.size):
        count += member[k]
    nth = rng.integers(count) if count > 1 else 0
    for k in range(member.size):
        if member[k]:
            if nth == 0:
                return k
            nth -= 1
    return -1


@register_jitable
def kl(x: float, y: float) -> float:
    """d(x, y) = x ln(x/y) + (1-x) ln((1-x)/(1-y)), divergence of Bernoulli laws; 0 < y < 1."""
    value = 0.0
    if x > 0.0:
        value += x * math.log(x / y)
    if x < 1.0:
        value += (1.0 - x) * math.log((1.0 - x) / (1.0 - y))
    return value
