"""Preferences with cycles, in which the kinds of winner part ways."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval, MultipleOf

from bandits.preferences import Problem, complete, stationary
from bandits.registry import problem


@problem("borda-versus-condorcet")
def borda_versus_condorcet(
    K: Annotated[int, Ge(3)] = 20, gap: Annotated[float, Interval(gt=0, le=0.5)] = 0.01
) -> Problem:
    """The Condorcet winner 0 wins barely (1/2 + gap) and the Borda winner 1 beats the rest surely.

    With K = 20 and gap = 0.01 RMED1's slope is 18.8 times the lower bound.
    """
    return stationary(_under_a_winner(complete(np.ones((K - 1, K - 1))), gap))


@problem("swirl")
def swirl(
    K: Annotated[int, Ge(4), MultipleOf(2)] = 20,
    gap: Annotated[float, Interval(gt=0, le=0.5)] = 0.1,
) -> Problem:
    """A Condorcet winner 0 (1/2 + gap) above arms that each surely beat the next half of a circle.

    K is even, for the circle of K - 1 arms must be odd.
    """
    return stationary(_under_a_winner(circle(K - 1, 0.5), gap))


@problem("cyclic-blocks")
def cyclic_blocks(
    blocks: Annotated[int, Ge(1)] = 3,
    within: Annotated[float, Interval(gt=0, le=0.5)] = 0.1,
    between: Annotated[float, Interval(gt=0, le=0.5)] = 0.2,
) -> Problem:
    """Rock, paper, scissors inside each block of three arms (1/2 + within); better blocks above.

    K = 3 blocks; any arm of a better block beats any of a worse one with 1/2 + between. No
    Condorcet winner: 0, 1, 2 are the Copeland winners, their even lottery the von Neumann winner.
    """
    p = np.full((3 * blocks, 3 * blocks), 0.5 + between)
    for first in range(0, 3 * blocks, 3):
        p[first : first + 3, first : first + 3] = circle(3, within)
    return stationary(complete(p))


def circle(K: int, gap: float) -> np.ndarray:
    """Each of K arms (odd) beats the next (K-1)/2 in cyclic order with 1/2 + gap: [K, K]."""
    ahead = np.subtract.outer(np.arange(K), np.arange(K)).T % K
    return complete(np.where(ahead <= K // 2, 0.5 + gap, 0.5 - gap))


def _under_a_winner(rest: np.ndarray, gap: float) -> np.ndarray:
    """`rest` [K-1, K-1] with a new arm 0 that beats all with 1/2 + gap."""
    p = np.pad(rest, ((1, 0), (1, 0)))
    p[0] = 0.5 + gap
    return complete(p)
