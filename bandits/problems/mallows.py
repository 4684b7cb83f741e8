"""The Mallows model: pairwise marginals of noisy rankings."""

import numpy as np

from bandits.preferences import Problem, complete, stationary
from bandits.problems.orders import check_arms, check_open, steps
from bandits.registry import problem


@problem("mallows")
def mallows(K: int = 10, phi: float = 0.5) -> Problem:
    """Rankings fall off by phi per swapped pair from 0, 1, ..., K-1; a duel asks one such ranking.

    p_ij = h(j-i+1) - h(j-i) for i < j with h(k) = k/(1 - phi^k), 0 < phi < 1 (Busa-Fekete et al.,
    2014).
    """
    check_arms(K)
    check_open("mallows", "phi", phi, 0, 1)
    apart = steps(K).clip(min=1)
    return stationary(complete(_h(apart + 1, phi) - _h(apart, phi)))


def _h(k: np.ndarray, phi: float) -> np.ndarray:
    return k / -np.expm1(k * np.log(phi))
