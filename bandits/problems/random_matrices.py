"""Random preference matrices, drawn anew in each repetition or once for all."""

import numpy as np

from bandits.preferences import Problem, RandomProblem, complete, drawn, stationary
from bandits.problems.orders import check_arms
from bandits.registry import problem
from bandits.winners import condorcet_winner, copeland_winners


@problem("random-condorcet")
def random_condorcet(
    K: int = 10, p_min: float = 0.55, p_max: float = 1.0, instance: int | None = None
) -> Problem | RandomProblem:
    """A Condorcet winner whose preferences are uniform on [p_min, p_max], one of them p_min.

    All other pairs are uniform on [0, 1]: the recipe of Kolpaczki et al. 2022 (p_max = 1). With
    p_max = p_min every gap is the smallest one, the hard variant. Drawn anew in each repetition
    unless `instance` gives a seed. 1/2 < p_min <= p_max <= 1.
    """
    check_arms(K)
    check_p_min(p_min, p_max)
    return drawn(
        lambda rng: stationary(condorcet_matrix(K, int(rng.integers(K)), p_min, p_max, rng)),
        instance,
    )


@problem("random-copeland")
def random_copeland(
    K: int = 10, gap: float = 0.05, instance: int | None = None
) -> Problem | RandomProblem:
    """A single Copeland winner that is no Condorcet winner; p - 1/2 uniform on +-[gap, 1/2].

    Matrices are drawn until one qualifies; fewer than 5 arms admit none. Drawn anew in each
    repetition unless `instance` gives a seed. 0 <= gap < 1/2.
    """
    check_arms(K, least=5)
    if not 0 <= gap < 0.5:
        raise ValueError(f"random-copeland: gap = {gap}; expected 0 <= gap < 0.5")
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


def check_p_min(p_min: float, p_max: float = 1.0) -> None:
    """Raise ValueError unless 1/2 < p_min <= p_max <= 1."""
    if not 0.5 < p_min <= p_max <= 1:
        raise ValueError(
            f"p_min = {p_min} and p_max = {p_max}; expected 0.5 < p_min <= p_max <= 1, "
            "or the winner would not beat every arm"
        )


def another(K: int, arm: int, rng: np.random.Generator) -> int:
    """A uniformly random arm other than `arm`."""
    other = int(rng.integers(K - 1))
    return other + (other >= arm)
