"""Random preference matrices, drawn anew in each repetition or once for all."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from bandits.preferences import Problem, RandomProblem, complete, drawn, stationary
from bandits.registry import problem
from bandits.winners import condorcet_winner, copeland_winners


@problem("random-condorcet")
def random_condorcet(
    K: Annotated[int, Ge(2)] = 10,
    p_min: Annotated[float, Interval(gt=0.5, le=1)] = 0.55,
    p_max: Annotated[float, Interval(gt=0.5, le=1)] = 1.0,
    instance: Annotated[int, Ge(0)] | None = None,
) -> Problem | RandomProblem:
    """A Condorcet winner whose preferences are uniform on [p_min, p_max], one of them p_min.

    All other pairs are uniform on [0, 1]: the recipe of Kolpaczki et al. 2022 (p_max = 1). With
    p_max = p_min every gap is the smallest one, the hard variant. Drawn anew in each repetition
    unless `instance` gives a seed. Raises ValueError when p_min exceeds p_max.
    """
    if p_min > p_max:
        raise ValueError(
            f"random-condorcet: p_min = {p_min} and p_max = {p_max}; expected p_min <= p_max"
        )
    return drawn(
        lambda rng: stationary(condorcet_matrix(K, int(rng.integers(K)), p_min, p_max, rng)),
        instance,
    )


@problem("random-copeland")
def random_copeland(
    K: Annotated[int, Ge(5)] = 10,
    gap: Annotated[float, Interval(ge=0, lt=0.5)] = 0.05,
    instance: Annotated[int, Ge(0)] | None = None,
) -> Problem | RandomProblem:
    """A single Copeland winner that is no Condorcet winner; p - 1/2 uniform on +-[gap, 1/2].

    Matrices are drawn until one qualifies; fewer than 5 arms admit none. Drawn anew in each
    repetition unless `instance` gives a seed.
    """
    return drawn(lambda rng: stationary(copeland_matrix(K, gap, rng)), instance)


def condorcet_matrix(
    K: int, winner: int, p_min: float, p_max: float, rng: np.random.Generator
) -> np.ndarray:
    """A matrix [K, K] with this Condorcet winner: its row on [p_min, p_max], one entry p_min."""
    upper = rng.random((K, K))
    row = p_min + (p_max - p_min) * rng.random(K)
    if K > 1:
        row[another(K, winner, rng)] = p_min
    upper[winner] = row
    upper[:, winner] = 1 - row
    return complete(upper)


def copeland_matrix(K: int, gap: float, rng: np.random.Generator) -> np.ndarray:
    """A matrix [K >= 5, K] with one Copeland winner, no Condorcet winner and |p - 1/2| >= gap."""
    while True:
        sign = rng.choice([-1.0, 1.0], size=(K, K))
        p = complete(0.5 + sign * rng.uniform(gap, 0.5, size=(K, K)))
        if len(copeland_winners(p)) == 1 and condorcet_winner(p) is None:
            return p


def another(K: int, arm: int, rng: np.random.Generator) -> int:
    """A uniformly random arm other than `arm`."""
    other = int(rng.integers(K - 1))
    return other + (other >= arm)
