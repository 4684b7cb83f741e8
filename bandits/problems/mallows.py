"""The Mallows model: pairwise marginals of noisy rankings."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from bandits.preferences import Problem, complete, stationary
from bandits.problems.orders import steps
from bandits.registry import problem


@problem("mallows")
def mallows(
    K: Annotated[int, Ge(2)] = 10, phi: Annotated[float, Interval(gt=0, lt=1)] = 0.5
) -> Problem:
    """Rankings fall off by phi per swapped pair from 0, 1, ..., K-1; a duel asks one such ranking.

    p_ij = h(j-i+1) - h(j-i) for i < j with h(k) = k/(1 - phi^k) (Busa-Fekete et al.,
    2014).
    """
    apart = steps(K).clip(min=1)
    return stationary(complete(_h(apart + 1, phi) - _h(apart, phi)))


def _h(k: np.ndarray, phi: float) -> np.ndarray:
    return k / -np.expm1(k * np.log(phi))
