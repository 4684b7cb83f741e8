"""Arms in a total order 0, 1, ..., K-1, best first, by the textbook rules."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from bandits.preferences import Problem, complete, stationary
from bandits.registry import problem


@problem("arithmetic")
def arithmetic(
    K: Annotated[int, Ge(2)] = 8, gap: Annotated[float, Interval(gt=0, le=0.5)] = 0.05
) -> Problem:
    """Preferences grow by equal steps along the order: p_ij = 1/2 + gap (j - i).

    Komiyama et al., COLT 2015 (K = 8, gap = 0.05). Raises ValueError when gap (K - 1) exceeds 1/2.
    """
    if gap * (K - 1) > 0.5:
        raise ValueError(
            f"arithmetic: gap = {gap} and K = {K} make p = {0.5 + gap * (K - 1):g}; "
            f"expected 0 < gap <= {0.5 / (K - 1):g} for {K} arms"
        )
    return stationary(complete(0.5 + gap * steps(K)))


@problem("geometric")
def geometric(
    K: Annotated[int, Ge(2)] = 10, rho: Annotated[float, Interval(gt=0, lt=1)] = 0.5
) -> Problem:
    """Utilities fall by a constant factor: p_ij = 1/(1 + rho^(j-i)).

    With rho = 1/2 the instance of Suk & Agarwal's experiments, 2^-i/(2^-i + 2^-j).
    """
    return stationary(geometric_matrix(K, rho))


@problem("constant-gap")
def constant_gap(
    K: Annotated[int, Ge(2)] = 10, gap: Annotated[float, Interval(gt=0, le=0.5)] = 0.1
) -> Problem:
    """The better arm wins with the same probability 1/2 + gap whatever the pair."""
    return stationary(complete(np.full((K, K), 0.5 + gap)))


@problem("hard-condorcet")
def hard_condorcet(K: Annotated[int, Ge(2)] = 10) -> Problem:
    """Adjacent good arms are hard to tell apart: p_ij = 1/2 + j/(2K) for arms 1..K, i < j.

    Urvoy et al., 2013. The winner's smallest gap is 1/K, its largest 1/2.
    """
    return stationary(complete(np.tile(0.5 + np.arange(1, K + 1) / (2 * K), (K, 1))))


@problem("fixed-gap")
def fixed_gap(
    K: Annotated[int, Ge(2)] = 10, gap: Annotated[float, Interval(gt=0, le=1)] = 0.1
) -> Problem:
    """One good arm among equals: p_0j = 1/2 + gap (K-1)/K, all else 1/2; `gap` is the Borda gap.

    Saha, Koren & Mansour, Adversarial Dueling Bandits, 2021. Raises ValueError when gap (K-1)/K
    exceeds 1/2.
    """
    if gap * (K - 1) / K > 0.5:
        most = 0.5 * K / (K - 1)
        raise ValueError(f"fixed-gap: gap = {gap} and K = {K}; expected gap <= {most:g}")
    p = np.full((K, K), 0.5)
    p[0] += gap * (K - 1) / K
    return stationary(complete(p))


def geometric_matrix(K: int, rho: float) -> np.ndarray:
    """p_ij = 1/(1 + rho^(j-i)), [K, K]."""
    return complete(1 / (1 + rho ** steps(K).clip(min=0)))


def steps(K: int) -> np.ndarray:
    """[K, K] of j - i, as floats."""
    return np.subtract.outer(np.arange(K), np.arange(K)).T.astype(np.float64)
